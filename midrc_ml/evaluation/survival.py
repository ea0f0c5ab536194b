"""Time until an event, with censoring: y_true (study, 2) is (event, time), y_score (study,) a risk.

event: 1 = seen, 0 = censored. time: days until the event, or until the study was last known to be free of it. A higher
risk says that the event comes earlier. sample_weight and the result are as in `metrics.py`.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.evaluation.metrics import over_draws
from midrc_ml.evaluation.weighted import Array, numbers, ratio, weights_of

_BLOCK_CELLS = 2_000_000  # pairs of studies held at once


@over_draws
def concordance_index(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Of the pairs of which it is known whose event came first, the share in which that study has the higher risk.

    Equal risks count half. Two studies of the same day make a pair where one was seen to have the event and the other
    was not. NaN without a pair. Source: Harrell et al., Stat Med 1996;15:361.
    """
    event, time, score = _followed(y_true, y_score)
    weight = weights_of(time, sample_weight)
    seen = np.flatnonzero(event)
    right, pairs = np.zeros(weight.shape[:-1]), np.zeros(weight.shape[:-1])
    rows = max(1, _BLOCK_CELLS // max(1, len(time)))
    for start in range(0, len(seen), rows):
        first = seen[start : start + rows]
        earlier = (time[:, None] > time[first]) | ((time[:, None] == time[first]) & ~event[:, None])
        lower = (score[:, None] < score[first]) + 0.5 * (score[:, None] == score[first])
        right += ((weight @ (earlier * lower)) * weight[..., first]).sum(axis=-1)
        pairs += ((weight @ earlier.astype(np.float64)) * weight[..., first]).sum(axis=-1)
    return ratio(right, pairs)


def kaplan_meier(y_true: ArrayLike) -> tuple[Array, Array]:
    """The days of events in their order, and the share that is free of the event after each.

    Whoever is censored on the day of an event was still at risk of it. Source: Kaplan and Meier, JASA 1958;53:457.
    """
    event, time, _ = _followed(y_true, np.zeros(len(np.asarray(y_true))))
    days, events = np.unique(time[event], return_counts=True)
    return days, np.cumprod(1 - events / num_at_risk(time, days), dtype=np.float64)


def num_at_risk(time: ArrayLike, days: ArrayLike) -> NDArray[np.int64]:
    """How many studies are still followed, without the event, just before each of `days`."""
    ordered = np.sort(np.asarray(time, dtype=np.float64))
    return len(ordered) - np.searchsorted(ordered, np.asarray(days, dtype=np.float64), side="left")


def risk_thirds(y_score: ArrayLike) -> NDArray[np.int64]:
    """0, 1 or 2 (study,): the low, middle or high third of the risk. Equal risks are in the same third."""
    score = np.asarray(y_score, dtype=np.float64)
    if not len(score):
        return np.zeros(0, dtype=np.int64)
    return np.searchsorted(np.quantile(score, [1 / 3, 2 / 3]), score, side="left")


def _followed(y_true: ArrayLike, y_score: ArrayLike) -> tuple[NDArray[np.bool_], Array, Array]:
    truth, score = numbers(y_true, y_score)
    if truth.ndim != 2 or truth.shape[1] != 2 or score.shape != truth.shape[:1]:
        raise ValueError("y_true must be (study, 2), of event and time, and y_score (study,)")
    if not np.isin(truth[:, 0], (0, 1)).all():
        raise ValueError("the event in y_true must be 0 or 1")
    return truth[:, 0] == 1, truth[:, 1], score
