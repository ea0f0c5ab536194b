"""Metrics as plain functions of (y_true, y_score): for binary tasks, and for those of numbers (ordinal, regression).

Direction is in the name: `*_loss` and `*_error`, and `mae` and `mae_sd`, are better low; everything else
better high. y_true and y_score: (study,). sample_weight: (study,) or (draw, study); the result is a float or
(draw,), so that one call scores all draws of a bootstrap. A result of NaN = cannot be estimated (one class,
no study); NaN in y_true or y_score is refused. Multiclass: `classes.py`; time-to-event: `survival.py`.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.evaluation.weighted import Array, mean, middle_ranks, numbers, ratio, varies, weights_of

LOWER_IS_BETTER_ENDINGS = ("_loss", "_error", "mae", "mae_sd")
Metric = Any  # a function (y_true, y_score, *, sample_weight) -> float or (draw,)


def over_draws(metric: Metric) -> Metric:
    """Mark a metric that takes `sample_weight` of shape (draw, study) and gives a value for each draw."""
    metric.over_draws = True
    return metric


def lower_is_better(name: str) -> bool:
    """Whether a low value of the metric called `name` is the good one."""
    return name == "loss" or name.endswith(LOWER_IS_BETTER_ENDINGS)


@over_draws
def auroc(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half."""
    positive, negative = _by_score(y_true, y_score, sample_weight)
    below = np.cumsum(negative, axis=-1) - negative
    wins = (positive * (below + 0.5 * negative)).sum(axis=-1)
    return ratio(wins, positive.sum(axis=-1) * negative.sum(axis=-1))


@over_draws
def auprc(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Average precision: precision at each threshold, weighted by the recall that it adds."""
    positive, negative = _by_score(y_true, y_score, sample_weight)
    positive, negative = positive[..., ::-1], negative[..., ::-1]
    found = np.cumsum(positive, axis=-1)
    called = found + np.cumsum(negative, axis=-1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    return ratio((positive * precision).sum(axis=-1), found[..., -1] if found.shape[-1] else found.sum(axis=-1))


@over_draws
def brier_loss(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Mean squared difference between the predicted probability and what happened."""
    truth, score = _binary(y_true, y_score)
    return mean((score - truth) ** 2, sample_weight)


@over_draws
def sensitivity(
    y_true: ArrayLike, y_score: ArrayLike, *, threshold: float, sample_weight: ArrayLike | None = None
) -> Any:
    """Share of the positives with a score of at least `threshold`."""
    positive, score = _binary(y_true, y_score)
    return _share_of(positive, score >= threshold, threshold, sample_weight)


@over_draws
def specificity(
    y_true: ArrayLike, y_score: ArrayLike, *, threshold: float, sample_weight: ArrayLike | None = None
) -> Any:
    """Share of the negatives with a score below `threshold`."""
    positive, score = _binary(y_true, y_score)
    return _share_of(1 - positive, score < threshold, threshold, sample_weight)


@over_draws
def mae(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Mean absolute difference, in the label's unit."""
    truth, score = numbers(y_true, y_score)
    return mean(np.abs(score - truth), sample_weight)


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


def youden_threshold(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """The score at which sensitivity + specificity is highest (a positive scores at least as much); NaN for one class.

    Source: Youden, Cancer 1950;3:32. Among equal thresholds the highest is taken.
    """
    candidates = np.unique(np.asarray(y_score, dtype=np.float64))[::-1]
    sums = [sensitivity(y_true, y_score, threshold=t) + specificity(y_true, y_score, threshold=t) for t in candidates]
    return float(candidates[int(np.argmax(sums))]) if len(sums) and not np.isnan(sums).any() else float("nan")


def _binary(y_true: ArrayLike, y_score: ArrayLike) -> tuple[Array, Array]:
    truth, score = numbers(y_true, y_score)
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("y_true must be 0 or 1 for this metric")
    return truth, score


def _share_of(members: Array, called: NDArray[np.bool_], threshold: float, sample_weight: ArrayLike | None) -> Any:
    """Share of `members` (1 or 0 a study) that are `called`; NaN where there is no threshold."""
    weight = weights_of(members, sample_weight)
    return ratio(
        (weight * (members * called)).sum(axis=-1), (weight * members).sum(axis=-1) * (not np.isnan(threshold))
    )


def _by_score(y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None) -> tuple[Array, Array]:
    """Weight of the positives and of the negatives at each distinct score, lowest score first."""
    truth, score = _binary(y_true, y_score)
    weight = weights_of(truth, sample_weight)
    if not len(truth):
        return weight[..., :0], weight[..., :0]
    order = np.argsort(score, kind="stable")
    truth, score, weight = truth[order], score[order], weight[..., order]
    starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])
    return np.add.reduceat(weight * truth, starts, axis=-1), np.add.reduceat(weight * (1 - truth), starts, axis=-1)
