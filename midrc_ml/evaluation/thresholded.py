"""Metrics of a decision: a study is called positive where its score is at least `threshold`.

y_true: (study,), 0 or 1. y_score: (study,). sample_weight and the result are as in `metrics.py`. Each metric is made of
four numbers of studies, the outcome cells: true positives, false negatives, false positives, true negatives. What
cannot be estimated is NaN, as is everything at a threshold of NaN, which stands for none.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.evaluation.ranks import zero_or_one
from midrc_ml.evaluation.rests_on import EVERYONE, NEGATIVE, POSITIVE
from midrc_ml.evaluation.sums import from_sums, share_from_sums
from midrc_ml.evaluation.weighted import Array, ratio


def outcome_cells(y_true: ArrayLike, y_score: ArrayLike, *, threshold: float) -> NDArray[np.bool_]:
    """Whether each study is a true positive, false negative, false positive or true negative: (study, 4).

    Of a threshold of NaN no study is any of them.

    Raises:
        ValueError: y_true is not 0 or 1, or a number is NaN.
    """
    truth, score = zero_or_one(y_true, y_score)
    positive, called = truth == 1, score >= threshold
    cells = np.stack([positive & called, positive & ~called, ~positive & called, ~positive & ~called], axis=1)
    return cells & (not np.isnan(threshold))


@share_from_sums(outcome_cells, rests_on=POSITIVE)
def sensitivity(cells: Array) -> tuple[Any, Any]:
    """Share of the positives with a score of at least `threshold`."""
    true_positive, false_negative, _, _ = _each(cells)
    return true_positive, true_positive + false_negative


@share_from_sums(outcome_cells, rests_on=NEGATIVE)
def specificity(cells: Array) -> tuple[Any, Any]:
    """Share of the negatives with a score below `threshold`."""
    _, _, false_positive, true_negative = _each(cells)
    return true_negative, true_negative + false_positive


@share_from_sums(outcome_cells)
def ppv(cells: Array) -> tuple[Any, Any]:
    """Positive predictive value, or precision: share of the positives among those called positive; NaN for none."""
    true_positive, _, false_positive, _ = _each(cells)
    return true_positive, true_positive + false_positive


@share_from_sums(outcome_cells)
def npv(cells: Array) -> tuple[Any, Any]:
    """Negative predictive value: share of the negatives among those called negative; NaN for none."""
    _, false_negative, _, true_negative = _each(cells)
    return true_negative, true_negative + false_negative


@share_from_sums(outcome_cells)
def accuracy(cells: Array) -> tuple[Any, Any]:
    """Share of the studies that are called what they are."""
    true_positive, _, _, true_negative = _each(cells)
    return true_positive + true_negative, cells.sum(axis=-1)


@share_from_sums(outcome_cells, rests_on=POSITIVE)
def underdiagnosis_rate(cells: Array) -> tuple[Any, Any]:
    """Share of the positives that are called negative: 1 - sensitivity; low is good.

    Source: Seyyed-Kalantari et al., Nat Med 2021;27:2176, for "no finding" as the label: there it is the share of the
    ill who are called healthy.
    """
    true_positive, false_negative, _, _ = _each(cells)
    return false_negative, true_positive + false_negative


@share_from_sums(outcome_cells, rests_on=NEGATIVE)
def overdiagnosis_rate(cells: Array) -> tuple[Any, Any]:
    """Share of the negatives that are called positive: 1 - specificity; low is good."""
    _, _, false_positive, true_negative = _each(cells)
    return false_positive, false_positive + true_negative


@share_from_sums(outcome_cells, rests_on=EVERYONE)
def called_rate(cells: Array) -> tuple[Any, Any]:
    """Share of the studies that are called positive, whatever they are: neither high nor low is good.

    Its gap between groups is the demographic parity difference.
    """
    true_positive, _, false_positive, _ = _each(cells)
    return true_positive + false_positive, cells.sum(axis=-1)


@from_sums(outcome_cells)
def f1(cells: Array) -> Any:
    """Harmonic mean of PPV and sensitivity: 0 where no positive is called, NaN without a positive."""
    true_positive, false_negative, false_positive, _ = _each(cells)
    positive = true_positive + false_negative
    return ratio(2 * true_positive, (positive + true_positive + false_positive) * (positive > 0))


@from_sums(outcome_cells)
def balanced_accuracy(cells: Array) -> Any:
    """Mean of sensitivity and specificity; NaN where one class is absent."""
    true_positive, false_negative, false_positive, true_negative = _each(cells)
    of_positive = ratio(true_positive, true_positive + false_negative)
    return (of_positive + ratio(true_negative, true_negative + false_positive)) / 2


@from_sums(outcome_cells)
def mcc(cells: Array) -> Any:
    """Matthews correlation of label and call; NaN where all labels or all calls are equal (scikit-learn: 0).

    Source: Matthews, Biochim Biophys Acta 1975;405:442.
    """
    true_positive, false_negative, false_positive, true_negative = _each(cells)
    labels = (true_positive + false_negative) * (false_positive + true_negative)
    calls = (true_positive + false_positive) * (false_negative + true_negative)
    return ratio(true_positive * true_negative - false_positive * false_negative, np.sqrt(labels) * np.sqrt(calls))


def _each(cells: Array) -> Array:
    """The four cells, one after the other: (4, ...)."""
    return np.moveaxis(np.asarray(cells), -1, 0)
