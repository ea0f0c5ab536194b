"""Calibration: whether what a score says agrees with what happened.

For binary tasks y_true is 0 or 1 and y_score a probability, refused outside [0, 1]. sample_weight and results are as in
`metrics.py`, with NaN for what cannot be estimated. Bins are those of `calibration_bins.py`.
"""

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from midrc_ml.evaluation.calibration_bins import BinSums, bin_sums, truth_and_probability
from midrc_ml.evaluation.distinct import DistinctStudies
from midrc_ml.evaluation.logistic import intercept_alone, intercept_and_slope, logit
from midrc_ml.evaluation.metrics import over_draws
from midrc_ml.evaluation.weighted import Array, mean, numbers, ratio, varies

# What a perfectly calibrated score has, of metrics of which neither high nor low is better.
TARGETS = {
    "calibration_slope": 1.0,
    "calibration_intercept": 0.0,
    "mean_calibration_difference": 0.0,
    "linear_calibration_slope": 1.0,
    "linear_calibration_intercept": 0.0,
}


@over_draws
def calibration_slope(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Slope of the logistic regression of what happened on the log odds of the score: below 1 = too extreme.

    NaN where it has no solution: one class, or no score at which the classes overlap. Probabilities nearer to 0 or 1
    than 1e-7 count as that. Source: Van Calster et al., J Clin Epidemiol 2016;74:167.
    """
    studies = _log_odds(y_true, y_score)
    return studies.of_draws(sample_weight, lambda weight: intercept_and_slope(studies, weight)[:, 1])


@over_draws
def calibration_intercept(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Calibration in the large: log odds to be added to every score, the slope being 1; above 0 = too low a score.

    NaN for one class. Probabilities nearer to 0 or 1 than 1e-7 count as that. Source: Van Calster et al., BMC Med
    2019;17:230.
    """
    studies = _log_odds(y_true, y_score)
    return studies.of_draws(sample_weight, lambda weight: intercept_alone(studies, weight))


@over_draws
def mean_calibration_difference(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> Any:
    """Mean score minus share of positives, or minus mean label: above 0 = too high a score."""
    studies = DistinctStudies.of(*numbers(y_true, y_score))
    difference = studies.score - studies.truth
    return studies.of_draws(sample_weight, lambda weight: mean(difference, weight))


@over_draws
def expected_calibration_error(
    y_true: ArrayLike, y_score: ArrayLike, *, num_bins: int = 10, sample_weight: ArrayLike | None = None
) -> Any:
    """Mean over bins of equal mass of the absolute difference of mean score and share of positives.

    It is above 0 even for perfect scores, the more so the fewer studies: see `expected_calibration_error_interval`.
    Source: Naeini et al., AAAI 2015; equal mass: Nixon et al., CVPR Workshops 2019.
    """
    sums = bin_sums(y_true, y_score, num_bins=num_bins, sample_weight=sample_weight)
    return ratio(np.abs(sums.score - sums.positive).sum(axis=-1), sums.weight.sum(axis=-1))


def is_distance(metric: Any) -> bool:
    """Whether its draws lie above its value: of the difference of two such the bootstrap tells no interval."""
    return getattr(metric, "func", metric) is expected_calibration_error


def calibration_differences(
    y_true: ArrayLike, y_score: ArrayLike, *, num_bins: int = 10, sample_weight: ArrayLike | None = None
) -> tuple[Array, Array]:
    """Mean score minus share of positives of each bin, and the bin's share of the weight: both (bin,) or (draw, bin).

    The difference of a bin without a weight is NaN.
    """
    sums = bin_sums(y_true, y_score, num_bins=num_bins, sample_weight=sample_weight)
    share = ratio(sums.weight, sums.weight.sum(axis=-1, keepdims=True))
    return np.asarray(ratio(sums.score - sums.positive, sums.weight)), np.asarray(share)


def expected_calibration_error_interval(
    differences_of_draws: ArrayLike,
    weights: ArrayLike,
    differences: ArrayLike,
    confidence: float,
    *,
    num_patients: ArrayLike | None = None,
    one_class: ArrayLike | None = None,
) -> tuple[float, float]:
    """An interval of the expected calibration error that covers at least `confidence`, in spite of its upward bias.

    differences_of_draws: (draw, bin), of the bootstrap. weights, differences: (bin,), of the studies themselves; all
    by `calibration_differences`. The estimate is wrong by no more than the weighted mean over the bins of what their
    differences are wrong by (triangle inequality); the interval is the estimate -/+ the quantile of that over the
    draws, kept within [0, 1]. A bin that a draw leaves empty counts as wrong by as much as it could be. NaN, NaN
    without draws or studies.

    num_patients: (bin,), how many each has; with it errors are stretched for few patients as in `percentile_interval`.
    one_class: (bin,), whether all studies of a bin are of one class, of which a bootstrap cannot tell how wrong it is:
    with m patients it counts as wrong by at least 1 / (m + 2), Laplace's chance of the other class.
    `calibration_error_interval` gives both.
    """
    drawn = np.asarray(differences_of_draws, dtype=np.float64)
    share, difference = np.asarray(weights, dtype=np.float64), np.asarray(differences, dtype=np.float64)
    if not drawn.size or not np.isfinite(difference).all():
        return np.nan, np.nan
    error = np.where(np.isnan(drawn), 1 + np.abs(difference), np.abs(drawn - difference))
    if num_patients is not None:
        count = np.asarray(num_patients, dtype=np.float64)
        error = error * _stretch(count, confidence)
        if one_class is not None:
            error = np.where(np.asarray(one_class), np.maximum(error, 1 / (count + 2)), error)
    reach = float(np.quantile((error * share).sum(axis=1), confidence, method="weibull"))
    value = float((np.abs(difference) * share).sum())
    return max(0.0, value - reach), min(1.0, value + reach)


@over_draws
def brier_reliability_loss(
    y_true: ArrayLike, y_score: ArrayLike, *, num_bins: int = 10, sample_weight: ArrayLike | None = None
) -> Any:
    """Mean squared difference of each bin's mean score and its share of positives.

    Brier loss = reliability - resolution + uncertainty + within bins. Source: Murphy, J Appl Meteorol 1973;12:595.
    """
    sums = bin_sums(y_true, y_score, num_bins=num_bins, sample_weight=sample_weight)
    return _mean_over_bins((_mean_score(sums) - _share_positive(sums)) ** 2, sums)


@over_draws
def brier_resolution(
    y_true: ArrayLike, y_score: ArrayLike, *, num_bins: int = 10, sample_weight: ArrayLike | None = None
) -> Any:
    """Mean squared difference of each bin's share of positives and that of all (Murphy 1973)."""
    sums = bin_sums(y_true, y_score, num_bins=num_bins, sample_weight=sample_weight)
    everyone = ratio(sums.positive.sum(axis=-1, keepdims=True), sums.weight.sum(axis=-1, keepdims=True))
    return _mean_over_bins((_share_positive(sums) - everyone) ** 2, sums)


@over_draws
def brier_within_bins_loss(
    y_true: ArrayLike, y_score: ArrayLike, *, num_bins: int = 10, sample_weight: ArrayLike | None = None
) -> Any:
    """What scores do within their bins: their variance there minus twice their covariance with what happened.

    With it the parts of the Brier loss add up exactly. It may be below 0, where scores tell studies of one bin apart.
    Source: Stephenson et al., Weather Forecast 2008;23:752.
    """
    sums = bin_sums(y_true, y_score, num_bins=num_bins, sample_weight=sample_weight)
    score, share = _mean_score(sums), _share_positive(sums)
    return _mean_over_bins(ratio(sums.product, sums.weight) - score * (score - 2 * share), sums)


@over_draws
def brier_uncertainty(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Share of positives times that of negatives: the Brier loss of giving every study that share (Murphy 1973)."""
    sums = bin_sums(y_true, y_score, num_bins=1, sample_weight=sample_weight)
    share = _share_positive(sums)
    return _mean_over_bins(share * (1 - share), sums)


@over_draws
def brier_skill_score(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """1 - Brier loss / that of giving every study of the same draw its share of positives: 1 = perfect, 0 = no better.

    NaN for one class.
    """
    studies = DistinctStudies.of(*truth_and_probability(y_true, y_score))
    square = (studies.score - studies.truth) ** 2

    def value(weight: Array) -> Array:
        share = mean(studies.truth, weight)
        return np.asarray(1 - ratio(mean(square, weight), share * (1 - share)))

    return studies.of_draws(sample_weight, value)


@over_draws
def linear_calibration_slope(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Slope of the least-squares line of the label on the score: below 1 = too extreme; NaN where all scores are equal.

    For ordinal and regression tasks.
    """
    return linear_calibration(y_true, y_score, sample_weight=sample_weight)[..., 1]


@over_draws
def linear_calibration_intercept(
    y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> Any:
    """Label at a score of 0 on the least-squares line of the label on the score; NaN where all scores are equal."""
    return linear_calibration(y_true, y_score, sample_weight=sample_weight)[..., 0]


def linear_calibration(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Array:
    """Intercept and slope of the least-squares line of the label on the score: (2,) or (draw, 2)."""
    studies = DistinctStudies.of(*numbers(y_true, y_score))
    truth, score = studies.truth, studies.score

    def value(weight: Array) -> Array:
        average = mean(score, weight)
        offset = score - average[:, None]
        slope = ratio((weight * offset * truth).sum(axis=1), varies(score, weight) * (weight * offset**2).sum(axis=1))
        return np.stack([mean(truth, weight) - slope * average, slope], axis=1)

    return np.asarray(studies.of_draws(sample_weight, value))


def _stretch(num_patients: Array, confidence: float) -> Array:
    """By what Student's t, and a bootstrap's own narrowness, make the error of so few patients larger."""
    from scipy.special import stdtrit

    count, upto = np.maximum(2, num_patients), (1 + confidence) / 2
    return np.asarray(np.sqrt(count / (count - 1)) * stdtrit(count - 1, upto) / NormalDist().inv_cdf(upto))


def _mean_score(sums: BinSums) -> Array:
    return np.asarray(ratio(sums.score, sums.weight))


def _share_positive(sums: BinSums) -> Array:
    return np.asarray(ratio(sums.positive, sums.weight))


def _mean_over_bins(values: Array, sums: BinSums) -> Any:
    """The mean of the bins' values by their weights; a bin without a weight counts for nothing."""
    held = np.where(sums.weight > 0, sums.weight * values, 0)
    return ratio(held.sum(axis=-1), sums.weight.sum(axis=-1))


def _log_odds(y_true: ArrayLike, y_score: ArrayLike) -> DistinctStudies:
    truth, score = truth_and_probability(y_true, y_score)
    return DistinctStudies.of(truth, logit(score))
