"""Metrics as plain functions of (y_true, y_score): for binary tasks, and for those of numbers (ordinal, regression).

Direction is in the name: `*_loss` and `*_error`, and `mae` and `mae_sd`, are better low; everything else
better high. y_true and y_score: (study,). sample_weight: (study,) or (draw, study); the result is a float or
(draw,), so that one call scores all draws of a bootstrap. A result of NaN = cannot be estimated (one class,
no study); NaN in y_true or y_score is refused. Multiclass: `classes.py`; time-to-event: `survival.py`.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from midrc_ml.evaluation.ranks import RankSums, from_ranks, zero_or_one
from midrc_ml.evaluation.sums import from_sums
from midrc_ml.evaluation.thresholded import sensitivity as sensitivity
from midrc_ml.evaluation.thresholded import specificity as specificity
from midrc_ml.evaluation.weighted import Array, middle_ranks, numbers, ratio, varies, weights_of

LOWER_IS_BETTER_ENDINGS = ("_loss", "_error", "mae", "mae_sd", "diagnosis_rate")
NEITHER = ("calibration_slope", "calibration_intercept", "_difference", "called_rate", "brier_uncertainty")
_SMALLEST = float(np.finfo(np.float64).tiny)
Metric = Any  # a function (y_true, y_score, *, sample_weight) -> float or (draw,)


def over_draws(metric: Metric) -> Metric:
    """Mark a metric that takes `sample_weight` of shape (draw, study) and gives a value for each draw."""
    metric.over_draws = True
    return metric


def lower_is_better(name: str) -> bool:
    """Whether a low value of the metric called `name` is the good one."""
    return name == "loss" or name.endswith(LOWER_IS_BETTER_ENDINGS)


def is_better_low(name: str) -> bool | None:
    """As `lower_is_better`; None for what is best at a value between, or says nothing of good and bad."""
    return None if name.endswith(NEITHER) else lower_is_better(name)


@from_ranks
def auroc(ranks: RankSums) -> Any:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half."""
    negative_before = ranks.all_before - ranks.positive_before
    negative_ahead = (ranks.all_ahead - ranks.positive_ahead).astype(np.float64)
    wins = ranks.sum_by_group(ranks.positive * (negative_before + 0.5 * ranks.negative))
    wins -= ranks.positive_group * negative_ahead
    return ratio(wins, ranks.positive_group * ranks.negative_group.astype(np.float64))


@from_ranks
def auprc(ranks: RankSums) -> Any:
    """Average precision: precision at each threshold, weighted by the recall that it adds."""
    positives, everyone = ranks.positive_group, ranks.positive_group + ranks.negative_group
    found = ranks.of_places(positives + ranks.positive_ahead) - ranks.positive_before
    called = ranks.of_places(everyone + ranks.all_ahead) - ranks.all_before
    precision = found / np.maximum(called, _SMALLEST)  # where nobody is called nobody is found
    return ratio(ranks.sum_by_group(ranks.positive * precision), positives)


def squared_difference(y_true: ArrayLike, y_score: ArrayLike) -> Array:
    """The squared difference of probability and outcome, and 1: (study, 2)."""
    truth, score = zero_or_one(y_true, y_score)
    return np.stack([(score - truth) ** 2, np.ones(len(truth))], axis=1)


@from_sums(squared_difference)
def brier_loss(sums: Array) -> Any:
    """Mean squared difference between the predicted probability and what happened."""
    return ratio(sums[..., 0], sums[..., 1])


def absolute_difference(y_true: ArrayLike, y_score: ArrayLike) -> Array:
    """The absolute difference of label and score, and 1: (study, 2)."""
    truth, score = numbers(y_true, y_score)
    return np.stack([np.abs(score - truth), np.ones(len(truth))], axis=1)


@from_sums(absolute_difference)
def mae(sums: Array) -> Any:
    """Mean absolute difference, in the label's unit."""
    return ratio(sums[..., 0], sums[..., 1])


@over_draws
def mae_sd(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Sample standard deviation of the absolute difference: what stands behind the +/- of a published MAE."""
    truth, score = numbers(y_true, y_score)
    error, weight = np.abs(score - truth), weights_of(truth, sample_weight)
    total = weight.sum(axis=-1)
    average = ratio((weight * error).sum(axis=-1), total)
    squares = (weight * (error - np.expand_dims(average, -1)) ** 2).sum(axis=-1)
    return np.sqrt(ratio(squares, np.maximum(total - 1, 0)))


@over_draws
def r2(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Share of the label's variance that is explained: 1 = all, below 0 = worse than the mean label for every study."""
    truth, score = numbers(y_true, y_score)
    weight = weights_of(truth, sample_weight)
    average = ratio((weight * truth).sum(axis=-1), weight.sum(axis=-1))
    left = (weight * (score - truth) ** 2).sum(axis=-1)
    return 1 - ratio(left, varies(truth, weight) * (weight * (truth - np.expand_dims(average, -1)) ** 2).sum(axis=-1))


@over_draws
def spearman(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Spearman's correlation: that of the ranks, equal values sharing the middle of theirs."""
    truth, score = numbers(y_true, y_score)
    weight = weights_of(truth, sample_weight)
    both_vary = varies(truth, weight) & varies(score, weight)
    offsets = []
    for values in (truth, score):
        ranks = middle_ranks(values, weight)
        offsets.append(ranks - np.expand_dims(ratio((weight * ranks).sum(axis=-1), weight.sum(axis=-1)), -1))
    squares = [(weight * offset**2).sum(axis=-1) for offset in offsets]
    return ratio((weight * offsets[0] * offsets[1]).sum(axis=-1), both_vary * np.sqrt(squares[0] * squares[1]))


@over_draws
def qwk(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Quadratic weighted kappa of label and score: 1 = equal, 0 = as far apart as by chance; NaN for equal labels.

    Both are rounded to whole numbers, halves up. A level that no study has still counts in the distance between those
    around it, and a score beyond the labels is not moved to the nearest. Source: Cohen, Psychol Bull 1968;70:213.
    """
    truth, score = (np.floor(values + 0.5) for values in numbers(y_true, y_score))
    weight = weights_of(truth, sample_weight)
    seen = (weight * (truth - score) ** 2).sum(axis=-1) * weight.sum(axis=-1)
    # Of every label with every score, whosoever they are: sums of whole numbers, which are exact.
    squares = (weight * (truth**2 + score**2)).sum(axis=-1) * weight.sum(axis=-1)
    by_chance = squares - 2 * (weight * truth).sum(axis=-1) * (weight * score).sum(axis=-1)
    return 1 - ratio(seen, varies(truth, weight) * by_chance)
