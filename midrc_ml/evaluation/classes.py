"""Metrics of multiclass tasks: y_true (study,) is a position among the classes, y_score (study, class) probabilities.

sample_weight and the result are as in `metrics.py`. A mean over the classes is NaN where one of them has no study:
that of the others would be another quantity, in every bootstrap draw another one.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.evaluation.metrics import auprc, auroc, over_draws
from midrc_ml.evaluation.weighted import Array, mean, numbers, ratio, weights_of

_SMALLEST = float(np.finfo(np.float64).eps)  # a probability of 0 counts as this, as in scikit-learn


@over_draws
def auroc_macro(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Mean over the classes of the AUROC of each against all others."""
    return _mean_against_the_rest(auroc, y_true, y_score, sample_weight)


@over_draws
def auprc_macro(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Mean over the classes of the average precision of each against all others."""
    return _mean_against_the_rest(auprc, y_true, y_score, sample_weight)


@over_draws
def log_loss(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Mean of minus the natural logarithm of the probability that was given to the class that it was."""
    truth, score = _positions(y_true, y_score)
    given = np.take_along_axis(score, truth[:, None], axis=1)[:, 0]
    return mean(-np.log(np.maximum(given, _SMALLEST)), sample_weight)


@over_draws
def accuracy(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Share of the studies whose most probable class, the first of equal ones, is the one that it was."""
    truth, score = _positions(y_true, y_score)
    return mean((called_class(score) == truth).astype(np.float64), sample_weight)


@over_draws
def balanced_accuracy(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Mean over the classes of the share of each that is called it; called is the most probable class."""
    right, true, _ = _by_class(y_true, y_score, sample_weight)
    return ratio(right, true).mean(axis=-1)


@over_draws
def f1_macro(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Mean over the classes of F1, twice the rightly called over the called and the true; called as above."""
    right, true, called = _by_class(y_true, y_score, sample_weight)
    return ratio(2 * right, (true + called) * (true > 0)).mean(axis=-1)


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


def _by_class(y_true: ArrayLike, y_score: ArrayLike, sample_weight: ArrayLike | None) -> tuple[Array, Array, Array]:
    """For each class (..., class): the weight that is rightly called it, that is it, that is called it."""
    truth, score = _positions(y_true, y_score)
    places = np.arange(score.shape[1])
    true, called = truth[:, None] == places, called_class(score)[:, None] == places
    weight = weights_of(truth, sample_weight)
    right, of_class, named = (weight @ members.astype(np.float64) for members in (true & called, true, called))
    return right, of_class, named
