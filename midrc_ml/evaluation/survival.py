"""Time until an event, with censoring: y_true (study, 2) is (event, time), y_score (study,) a risk.

event: 1 = seen, 0 = censored. time: days until the event, or until the study was last known to be free of it: of one
day, events come before censoring. A higher risk says that the event comes earlier. sample_weight and the result are as
in `metrics.py`.

Those of whom it is not known what happened by `horizon_days` are stood for by those of whom it is: a study that is
known on some day counts 1 / P(still followed on that day), by Kaplan and Meier's estimate of the time until censoring,
made anew for each draw. It supposes that censoring tells nothing of the risk. Where nobody is followed until
`horizon_days`, and not all have had the event, there is no value.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.errors import InputError
from midrc_ml.evaluation.distinct import DistinctStudies, sums_by_code
from midrc_ml.evaluation.metrics import over_draws
from midrc_ml.evaluation.pairs import LevelPairs
from midrc_ml.evaluation.weighted import Array, numbers, ratio


@over_draws
def concordance_index(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Of the pairs of which it is known whose event came first, the share in which that study has the higher risk.

    Equal risks count half. Two studies of the same day make a pair where one was seen to have the event and the other
    was not. NaN without a pair. Source: Harrell et al., Stat Med 1996;15:361.
    """
    followed = _Followed.of(y_true, y_score)
    pairs = followed.pairs()
    return followed.studies.of_draws(sample_weight, lambda weight: ratio(*pairs.sums(weight * followed.event, weight)))


@over_draws
def concordance_index_ipcw(
    y_true: ArrayLike, y_score: ArrayLike, *, horizon_days: float, sample_weight: ArrayLike | None = None
) -> Any:
    """Concordance of the pairs whose first event comes by `horizon_days`, as if nobody had been censored before.

    Unlike `concordance_index`, it does not depend on how long studies were followed. Equal risks count half. Source:
    Uno et al., Stat Med 2011;30:1105.

    Raises:
        InputError: horizon_days is not above 0.
    """
    followed = _Followed.of(y_true, y_score)
    horizon = _checked(horizon_days)
    pairs = followed.pairs()
    counts = followed.event & (followed.day <= horizon)

    def value(weight: Array) -> Array:
        still, at_horizon = followed.still_followed(weight, horizon)
        won, of_pairs = pairs.sums(_over(weight * counts, still**2), weight)
        return np.asarray(ratio(won, of_pairs * (at_horizon > 0)))

    return followed.studies.of_draws(sample_weight, value)


@over_draws
def auroc_at_horizon(
    y_true: ArrayLike, y_score: ArrayLike, *, horizon_days: float, sample_weight: ArrayLike | None = None
) -> Any:
    """AUROC of those with the event by `horizon_days` against those who are free of it then.

    Source: Uno et al., JASA 2007;102:527 (cumulative cases, dynamic controls). NaN without a case or a control.

    Raises:
        InputError: horizon_days is not above 0.
    """
    followed = _Followed.of(y_true, y_score)
    horizon = _checked(horizon_days)
    case, free = followed.at(horizon)
    known = np.flatnonzero(case | free)
    known = known[np.argsort(case[known], kind="stable")]
    pairs = LevelPairs(case[known].astype(np.int64), followed.studies.score[known])

    def value(weight: Array) -> Array:
        still, _ = followed.still_followed(weight, horizon)
        cases = _over(weight * case, still)
        return np.asarray(ratio(*pairs.sums(cases.take(known, axis=1), weight.take(known, axis=1))))

    return followed.studies.of_draws(sample_weight, value)


@over_draws
def ipcw_brier_loss(
    y_true: ArrayLike, y_score: ArrayLike, *, horizon_days: float, sample_weight: ArrayLike | None = None
) -> Any:
    """Mean squared difference between the probability of the event by `horizon_days` and whether it has come by then.

    y_score is that probability, not just a risk. Source: Graf et al., Stat Med 1999;18:2529.

    Raises:
        InputError: horizon_days is not above 0.
        ValueError: y_score is not within 0 and 1.
    """
    followed = _Followed.of(y_true, y_score)
    horizon, score = _checked(horizon_days), followed.studies.score
    if ((score < 0) | (score > 1)).any():
        raise ValueError("y_score must be the probability of the event by horizon_days, from 0 to 1, not just a risk")
    case, free = followed.at(horizon)

    def value(weight: Array) -> Array:
        still, at_horizon = followed.still_followed(weight, horizon)
        loss = (_over(weight * case, still) * (1 - score) ** 2).sum(axis=1)
        loss += _over((weight * free * score**2).sum(axis=1), at_horizon)
        return np.asarray(ratio(loss, weight.sum(axis=1) * (at_horizon > 0)))

    return followed.studies.of_draws(sample_weight, value)


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


@dataclass(frozen=True)
class _Followed:
    """Studies in the order of their days, the latest first, of one day those who are censored first.

    studies: their `truth` numbers these levels. event, day: (pair,). days: all of them, rising. place: (pair,), of its
    day among them.
    """

    studies: DistinctStudies
    event: NDArray[np.bool_]
    day: Array
    days: Array
    place: NDArray[np.int64]

    @classmethod
    def of(cls, y_true: ArrayLike, y_score: ArrayLike) -> "_Followed":
        event, time, score = _followed(y_true, y_score)
        days, place = np.unique(time, return_inverse=True)
        # Whoever has the event first is the upper one of a pair, and none of the same day's events is above another.
        level = 2 * (len(days) - 1 - place) + event
        studies = DistinctStudies.of(level.astype(np.float64), score)
        level = studies.truth.astype(np.int64)
        place = len(days) - 1 - level // 2
        return cls(studies, level % 2 == 1, days[place], days, place)

    def pairs(self) -> LevelPairs:
        """All pairs of which it is known who had the event first, as the upper one."""
        return LevelPairs(self.studies.truth.astype(np.int64), self.studies.score, self.event)

    def at(self, horizon: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Who has had the event by the day `horizon`, and who is known to be free of it then: (pair,) each."""
        return self.event & (self.day <= horizon), (self.day > horizon) | (~self.event & (self.day == horizon))

    def still_followed(self, weight: Array, horizon: float) -> tuple[Array, Array]:
        """The probability of not having been censored before each study's day (draw, pair), and before `horizon`.

        weight: (draw, pair).
        """
        level = self.studies.truth.astype(np.int64)
        sums = sums_by_code(weight, level, 2 * len(self.days))[:, ::-1]  # of each day, from the first, event, censored
        events, censored = sums[:, 0::2], sums[:, 1::2]
        both = events + censored
        exposed = np.cumsum(both[:, ::-1], axis=1)[:, ::-1] - events
        lost = np.divide(censored, exposed, out=np.zeros_like(exposed), where=exposed > 0)
        still = np.concatenate([np.ones((len(weight), 1)), np.cumprod(1 - lost, axis=1)], axis=1)
        return still.take(self.place, axis=1), still[:, np.searchsorted(self.days, horizon)]


def _followed(y_true: ArrayLike, y_score: ArrayLike) -> tuple[NDArray[np.bool_], Array, Array]:
    truth, score = numbers(y_true, y_score)
    if truth.ndim != 2 or truth.shape[1] != 2 or score.shape != truth.shape[:1]:
        raise ValueError("y_true must be (study, 2), of event and time, and y_score (study,)")
    if not np.isin(truth[:, 0], (0, 1)).all():
        raise ValueError("the event in y_true must be 0 or 1")
    return truth[:, 0] == 1, truth[:, 1], score


def _checked(horizon_days: float) -> float:
    if not 0 < horizon_days < math.inf:
        raise InputError(f"horizon_days is {horizon_days}; it must be a number of days above 0")
    return float(horizon_days)


def _over(weight: Array, share: Array) -> Array:
    """Weight / share; 0 where there is no weight."""
    return np.divide(weight, share, out=np.zeros_like(weight), where=(weight > 0) & (share > 0))
