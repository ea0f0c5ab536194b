"""Metrics of multiclass tasks: y_true (study,) is a position among the classes, y_score (study, class) probabilities.

sample_weight and the result are as in `metrics.py`. A mean over the classes is NaN where one of them has no study:
that of the others would be another quantity, in every bootstrap draw another one.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import auprc, auroc, over_draws
from midrc_ml.evaluation.rests_on import RARER_CLASS
from midrc_ml.evaluation.sums import from_sums, share_from_sums
from midrc_ml.evaluation.weighted import Array, numbers, ratio

_SMALLEST = float(np.finfo(np.float64).eps)  # a probability of 0 counts as this, as in scikit-learn


@over_draws
def auroc_macro(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Mean over the classes of the AUROC of each against all others."""
    return _mean_against_the_rest(auroc, y_true, y_score, sample_weight)


@over_draws
def auprc_macro(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Mean over the classes of the average precision of each against all others."""
    return _mean_against_the_rest(auprc, y_true, y_score, sample_weight)


for _mean_over_classes in (auroc_macro, auprc_macro):
    _mean_over_classes.rests_on = RARER_CLASS


def log_loss_and_one(y_true: ArrayLike, y_score: ArrayLike) -> Array:
    """Minus the natural logarithm of the probability of the true class, and 1: (study, 2)."""
    truth, score = _positions(y_true, y_score)
    given = np.take_along_axis(score, truth[:, None], axis=1)[:, 0]
    return np.stack([-np.log(np.maximum(given, _SMALLEST)), np.ones(len(truth))], axis=1)


@from_sums(log_loss_and_one)
def log_loss(sums: Array) -> Any:
    """Mean of minus the natural logarithm of the probability that was given to the class that it was."""
    return ratio(sums[..., 0], sums[..., 1])


def confusion_cells(y_true: ArrayLike, y_score: ArrayLike) -> NDArray[np.bool_]:
    """Which cell of the confusion matrix, row after row, a study is in: (study, class * class)."""
    truth, score = _positions(y_true, y_score)
    count = score.shape[1]
    return np.asarray((count * truth + called_class(score))[:, None] == np.arange(count**2))


def class_and_right(y_true: ArrayLike, y_score: ArrayLike, *, position: int) -> NDArray[np.bool_]:
    """Whether a study is of the class at `position`, and whether it is rightly called so: (study, 2).

    Raises:
        InputError: there is no class at `position`.
    """
    truth, score = _positions(y_true, y_score)
    if position not in range(score.shape[1]):
        raise InputError(f"position is {position}; it must be that of a class: from 0 to {score.shape[1] - 1}")
    return np.stack([truth == position, (truth == position) & (called_class(score) == position)], axis=1)


@share_from_sums(confusion_cells)
def accuracy(cells: Array) -> tuple[Any, Any]:
    """Share of the studies whose most probable class, the first of equal ones, is the one that it was."""
    right, true, _ = _by_class(cells)
    return right.sum(axis=-1), true.sum(axis=-1)


@share_from_sums(class_and_right)
def class_sensitivity(sums: Array) -> tuple[Any, Any]:
    """Share of the studies of the class at `position`, counted from 0, that are called it."""
    return sums[..., 1], sums[..., 0]


@from_sums(confusion_cells, rests_on=RARER_CLASS)
def balanced_accuracy(cells: Array) -> Any:
    """Mean over the classes of the share of each that is called it; called is the most probable class."""
    right, true, _ = _by_class(cells)
    return ratio(right, true).mean(axis=-1)


@from_sums(confusion_cells, rests_on=RARER_CLASS)
def f1_macro(cells: Array) -> Any:
    """Mean over the classes of F1, twice the rightly called over the called and the true; called as above."""
    right, true, called = _by_class(cells)
    return ratio(2 * right, (true + called) * (true > 0)).mean(axis=-1)


@from_sums(confusion_cells)
def kappa(cells: Array) -> Any:
    """Agreement of class and called class beyond chance: 1 = all, 0 = as by chance; NaN where all have one class.

    All mistakes are equally bad, unlike in `qwk`. Source: Cohen, Educ Psychol Meas 1960;20:37.
    """
    right, true, called = _by_class(cells)
    total = true.sum(axis=-1)
    by_chance = (true * called).sum(axis=-1)
    varied = np.count_nonzero(true, axis=-1) > 1
    return ratio(right.sum(axis=-1) * total - by_chance, varied * (total**2 - by_chance))


@from_sums(confusion_cells)
def mcc_multiclass(cells: Array) -> Any:
    """Correlation of class and called class; NaN where all have, or all are called, one class (scikit-learn: 0).

    Of two classes it is `thresholded.mcc`. Source: Gorodkin, Comput Biol Chem 2004;28:367.
    """
    right, true, called = _by_class(cells)
    total = true.sum(axis=-1)
    spreads = [np.sqrt(total**2 - (number**2).sum(axis=-1)) for number in (true, called)]
    return ratio(right.sum(axis=-1) * total - (true * called).sum(axis=-1), spreads[0] * spreads[1])


def called_class(y_score: Array) -> NDArray[np.int64]:
    """The most probable class of each study, the first of equal ones."""
    return np.asarray(y_score).argmax(axis=1)


def confusion_matrix(y_true: ArrayLike, y_score: ArrayLike) -> NDArray[np.int64]:
    """Counts of studies (true class, called class)."""
    truth, score = _positions(y_true, y_score)
    count = score.shape[1]
    return np.bincount(truth * count + called_class(score), minlength=count**2).reshape(count, count)


def _positions(y_true: ArrayLike, y_score: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    truth, score = numbers(y_true, y_score)
    if score.ndim != 2 or score.shape[1] < 2 or truth.shape != score.shape[:1]:
        raise ValueError("y_score must be (study, class), with two classes or more, and y_true (study,)")
    if not np.isin(truth, np.arange(score.shape[1])).all():
        raise ValueError(f"y_true must be the position of a class: a whole number from 0 to {score.shape[1] - 1}")
    return truth.astype(np.int64), score


def _mean_against_the_rest(metric: Any, y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None) -> Any:
    truth, score = _positions(y_true, y_score)
    values = [metric(truth == place, score[:, place], sample_weight=sample_weight) for place in range(score.shape[1])]
    return sum(values) / len(values)


def _by_class(cells: Array) -> tuple[Array, Array, Array]:
    """From (..., class * class), for each class (..., class): what is rightly called it, is it, is called it."""
    count = math.isqrt(cells.shape[-1])
    matrix = np.asarray(cells).reshape(*cells.shape[:-1], count, count)
    return np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1), matrix.sum(axis=-2)
