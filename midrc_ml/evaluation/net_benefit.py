"""Net benefit and the decision curve of a binary task.

At a threshold probability p a study is called positive where its score is at least p, and a false positive is as bad
as p / (1 - p) of a true one is good. Source: Vickers and Elkin, Med Decis Making 2006;26:565. sample_weight and results
are as in `metrics.py`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from midrc_ml.errors import InputError
from midrc_ml.evaluation.calibration_bins import truth_and_probability
from midrc_ml.evaluation.calibration_curve import limits_of_columns
from midrc_ml.evaluation.distinct import DistinctStudies, sums_by_code
from midrc_ml.evaluation.metrics import over_draws
from midrc_ml.evaluation.weighted import Array, ratio

PROBABILITIES = tuple(number / 100 for number in range(1, 100))  # the points of a decision curve


@over_draws
def net_benefit(
    y_true: ArrayLike, y_score: ArrayLike, *, threshold_probability: float, sample_weight: ArrayLike | None = None
) -> Any:
    """True positives a study, less false positives a study at the odds of `threshold_probability`; NaN for no study."""
    return _at_one(y_true, y_score, threshold_probability, sample_weight)[..., 0]


@over_draws
def net_benefit_of_treating_all(
    y_true: ArrayLike, y_score: ArrayLike, *, threshold_probability: float, sample_weight: ArrayLike | None = None
) -> Any:
    """The net benefit of calling every study positive; that of calling none is 0."""
    return _at_one(y_true, y_score, threshold_probability, sample_weight)[..., 1]


@over_draws
def net_benefit_over_default(
    y_true: ArrayLike, y_score: ArrayLike, *, threshold_probability: float, sample_weight: ArrayLike | None = None
) -> Any:
    """Net benefit minus that of the better of calling every study positive and calling none, in the same draw."""
    return _at_one(y_true, y_score, threshold_probability, sample_weight)[..., 2]


@over_draws
def standardized_net_benefit(
    y_true: ArrayLike, y_score: ArrayLike, *, threshold_probability: float, sample_weight: ArrayLike | None = None
) -> Any:
    """Net benefit over the share of positives, its highest possible value: 1 = perfect; NaN without a positive.

    Source: Kerr et al., J Clin Oncol 2016;34:2534.
    """
    return _at_one(y_true, y_score, threshold_probability, sample_weight)[..., 3]


def decision_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    weights_of_draws: Iterable[NDArray[Any]],
    *,
    probabilities: Sequence[float] = PROBABILITIES,
    confidence: float = 0.95,
    patient: ArrayLike | None = None,
) -> pd.DataFrame:
    """A row a threshold probability, in the order given, with its `percentile_interval` (NaN without draws).

    Columns: threshold_probability; net_benefit, low, high; treat_all, treat_none; over_default, over_default_low,
    over_default_high (net benefit minus the better of the two defaults); standardized.
    weights_of_draws: blocks (draw, study) of the bootstrap. patient: (study,) numbers the patients; without it each
    study is a patient of its own.

    Raises:
        InputError: a threshold probability that is not between 0 and 1.
        ValueError: y_true is not 0 or 1, or y_score is no probability.
    """
    values = _values(y_true, y_score, probabilities, None)
    drawn = [_values(y_true, y_score, probabilities, np.atleast_2d(block)) for block in weights_of_draws]
    num_patients = np.full(len(values), _num_patients(y_true, patient))
    low, high = limits_of_columns([block[..., 0] for block in drawn], confidence, num_patients)
    over_low, over_high = limits_of_columns([block[..., 2] for block in drawn], confidence, num_patients)
    return pd.DataFrame(
        {
            "threshold_probability": np.asarray(probabilities, dtype=np.float64),
            "net_benefit": values[:, 0],
            "low": low,
            "high": high,
            "treat_all": values[:, 1],
            "treat_none": np.where(np.isnan(values[:, 1]), np.nan, 0.0),
            "over_default": values[:, 2],
            "over_default_low": over_low,
            "over_default_high": over_high,
            "standardized": values[:, 3],
        }
    )


def _at_one(y_true: ArrayLike, y_score: ArrayLike, probability: float, sample_weight: ArrayLike | None) -> Array:
    return _values(y_true, y_score, (probability,), sample_weight)[..., 0, :]


def _values(
    y_true: ArrayLike, y_score: ArrayLike, probabilities: Sequence[float], sample_weight: ArrayLike | None
) -> Array:
    """At each probability the net benefit, that of treating all, the gain over the better default, and standardized.

    (probability, 4) or (draw, probability, 4).
    """
    points = np.asarray(probabilities, dtype=np.float64)
    wrong = points[~((points > 0) & (points < 1))]
    if len(wrong):
        raise InputError(f"threshold_probability is {wrong[0]:g}; it must be above 0 and below 1")
    odds = points / (1 - points)
    studies = DistinctStudies.of(*truth_and_probability(y_true, y_score))
    steps = np.sort(points)
    place, count = np.searchsorted(steps, points), len(steps) + 1
    # Between two neighbouring probabilities all scores are called alike.
    codes = np.searchsorted(steps, studies.score, side="right") + count * (studies.truth == 1)

    def value(weight: Array) -> Array:
        sums = sums_by_code(weight, codes, 2 * count)
        negative, positive = (np.cumsum(part[:, ::-1], axis=1)[:, ::-1] for part in (sums[:, :count], sums[:, count:]))
        all_negative, all_positive = negative[:, :1], positive[:, :1]
        total = all_negative + all_positive
        model = ratio(positive[:, 1 + place] - odds * negative[:, 1 + place], total)
        treat_all = ratio(all_positive - odds * all_negative, total)
        standardized = ratio(model, ratio(all_positive, total))
        return np.stack([model, treat_all, model - np.maximum(treat_all, 0), standardized], axis=-1)

    return np.asarray(studies.of_draws(sample_weight, value))


def _num_patients(y_true: ArrayLike, patient: ArrayLike | None) -> int:
    """How many patients the rarer class has."""
    truth = np.asarray(y_true)
    names = np.arange(len(truth)) if patient is None else np.asarray(patient)
    return min(len(np.unique(names[truth == label])) for label in (0, 1))
