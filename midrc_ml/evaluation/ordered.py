"""More metrics of ordinal and regression tasks: the order of the scores, their error, and its sign.

y_true, y_score: (study,), in the label's unit. sample_weight and the result are as in `metrics.py`.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.errors import InputError
from midrc_ml.evaluation.distinct import DistinctStudies
from midrc_ml.evaluation.metrics import over_draws
from midrc_ml.evaluation.pairs import LevelPairs
from midrc_ml.evaluation.sums import from_sums, share_from_sums
from midrc_ml.evaluation.weighted import Array, numbers, ratio, varies

_ROUNDING = 1e-12  # of label and score: 0.4 and 0.3 are 0.1 apart, whatever their difference is as a float64


@over_draws
def prediction_probability_concordance(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> Any:
    """Of the pairs of studies with different labels, the share in which the higher label has the higher score.

    Equal scores count half; NaN where all labels are equal. It is (Somers' d of the score given the label + 1) / 2, and
    of two labels the AUROC. Source: Smith, Dutton and Smith, Anesthesiology 1996;84:38, the prediction probability PK.
    """
    studies = DistinctStudies.of(*numbers(y_true, y_score))
    pairs = LevelPairs(np.unique(studies.truth, return_inverse=True)[1], studies.score)
    return studies.of_draws(sample_weight, lambda weight: ratio(*pairs.sums(weight, weight)))


@over_draws
def pearson(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Pearson's correlation; NaN where all labels or all scores are equal."""
    studies = DistinctStudies.of(*numbers(y_true, y_score))

    def value(weight: Array) -> Array:
        total = weight.sum(axis=1)
        label, score = (
            values - ratio((weight * values).sum(axis=1), total)[:, None] for values in (studies.truth, studies.score)
        )
        both_vary = varies(studies.truth, weight) & varies(studies.score, weight)
        spread = np.sqrt((weight * label**2).sum(axis=1)) * np.sqrt((weight * score**2).sum(axis=1))
        return np.clip(ratio((weight * label * score).sum(axis=1), both_vary * spread), -1, 1)

    return studies.of_draws(sample_weight, value)


def difference_and_one(y_true: ArrayLike, y_score: ArrayLike) -> Array:
    """Score minus label, and 1: (study, 2)."""
    truth, score = numbers(y_true, y_score)
    return np.stack([score - truth, np.ones(len(truth))], axis=1)


def squared_difference_and_one(y_true: ArrayLike, y_score: ArrayLike) -> Array:
    """The square of score minus label, and 1: (study, 2)."""
    return difference_and_one(y_true, y_score) ** 2


def within_and_any(y_true: ArrayLike, y_score: ArrayLike, *, tolerance: float) -> NDArray[np.bool_]:
    """Whether label and score differ by no more than `tolerance`, and true: (study, 2).

    Raises:
        InputError: a tolerance that is negative or not finite.
    """
    if not 0 <= tolerance < math.inf:
        raise InputError(f"tolerance is {tolerance}; it must be a number of at least 0, in the label's unit")
    truth, score = numbers(y_true, y_score)
    allowed = tolerance + _ROUNDING * (np.abs(truth) + np.abs(score))
    return np.stack([np.abs(score - truth) <= allowed, np.ones(len(truth), dtype=bool)], axis=1)


@from_sums(difference_and_one)
def mean_difference(sums: Array) -> Any:
    """Mean of score minus label, in the label's unit: 0 = no bias; neither high nor low is good."""
    return ratio(sums[..., 0], sums[..., 1])


@from_sums(squared_difference_and_one)
def root_mean_squared_error(sums: Array) -> Any:
    """Square root of the mean squared difference, in the label's unit."""
    return np.sqrt(ratio(sums[..., 0], sums[..., 1]))


@share_from_sums(within_and_any)
def accuracy_within(sums: Array) -> tuple[Any, Any]:
    """Share of the studies whose score is no further than `tolerance` from the label, in the label's unit."""
    return sums[..., 0], sums[..., 1]
