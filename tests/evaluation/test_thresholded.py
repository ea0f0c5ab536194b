"""Metrics of a decision: by hand, at their edges, by the sums that they are made of, and against scikit-learn."""

import functools
import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from midrc_ml.evaluation import thresholded
from midrc_ml.evaluation.thresholded import (
    accuracy,
    balanced_accuracy,
    called_rate,
    f1,
    mcc,
    npv,
    outcome_cells,
    overdiagnosis_rate,
    ppv,
    sensitivity,
    specificity,
    underdiagnosis_rate,
)

SHARES = [sensitivity, specificity, ppv, npv, accuracy, underdiagnosis_rate, overdiagnosis_rate, called_rate]
ALL = [*SHARES, f1, balanced_accuracy, mcc]
every_metric = pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.__name__)
every_share = pytest.mark.parametrize("metric", SHARES, ids=lambda metric: metric.__name__)

# At 0.5 three true positives, one false negative, two false positives, four true negatives.
TRUTH = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
SCORE = [0.9, 0.7, 0.5, 0.4, 0.8, 0.5, 0.3, 0.2, 0.1, 0.0]


def table_with_ties(seed: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count).astype(float)
    return truth, np.round(np.clip(0.3 * truth + rng.normal(0.35, 0.25, count), 0, 1), 1)


# By hand.


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (sensitivity, 3 / 4),
        (specificity, 4 / 6),
        (ppv, 3 / 5),
        (npv, 4 / 5),
        (accuracy, 7 / 10),
        (underdiagnosis_rate, 1 / 4),
        (overdiagnosis_rate, 2 / 6),
        (called_rate, 5 / 10),
        (f1, 6 / 9),
        (balanced_accuracy, (3 / 4 + 4 / 6) / 2),
        (mcc, (3 * 4 - 2 * 1) / math.sqrt(5 * 4 * 6 * 5)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_metric_by_hand(metric: Callable, expected: float) -> None:
    assert metric(TRUTH, SCORE, threshold=0.5) == pytest.approx(expected, abs=1e-15)


def test_the_four_cells_stand_in_the_order_that_their_names_say() -> None:
    cells = outcome_cells(TRUTH, SCORE, threshold=0.5)
    assert cells.dtype == bool
    assert cells.sum(axis=0).tolist() == [3, 1, 2, 4]
    assert cells.sum(axis=1).tolist() == [1] * 10


def test_a_score_of_exactly_the_threshold_is_called_positive() -> None:
    assert outcome_cells([1, 0, 1], [0.5, 0.5, np.nextafter(0.5, 0)], threshold=0.5).argmax(axis=1).tolist() == [
        0,
        2,
        1,
    ]


# Edges.


def undefined(truth: list[int], score: list[float]) -> set[str]:
    return {metric.__name__ for metric in ALL if math.isnan(metric(truth, score, threshold=0.5))}


def test_of_one_class_what_needs_the_other_cannot_be_estimated() -> None:
    both = {"balanced_accuracy", "mcc"}
    assert undefined([0, 0], [0.1, 0.9]) == both | {"sensitivity", "underdiagnosis_rate", "f1"}
    assert undefined([1, 1], [0.1, 0.9]) == both | {"specificity", "overdiagnosis_rate"}


def test_where_nobody_or_everybody_is_called_the_predictive_value_of_the_call_that_nobody_got_cannot_be() -> None:
    assert undefined([0, 1], [0.1, 0.2]) == {"ppv", "mcc"}
    assert undefined([0, 1], [0.8, 0.9]) == {"npv", "mcc"}
    assert f1([0, 1], [0.1, 0.2], threshold=0.5) == 0


@every_metric
def test_no_studies_and_no_threshold_give_nan(metric: Callable) -> None:
    assert math.isnan(metric([], [], threshold=0.5))
    assert math.isnan(metric(TRUTH, SCORE, threshold=math.nan))


@every_metric
def test_thresholds_without_end_call_all_or_none(metric: Callable) -> None:
    for threshold, called in ((-math.inf, 1.0), (math.inf, 0.0)):
        expected = metric(TRUTH, [called] * 10, threshold=0.5)
        np.testing.assert_equal(metric(TRUTH, SCORE, threshold=threshold), expected)


@every_metric
@pytest.mark.parametrize("where", ["truth", "score"])
def test_nan_is_refused_and_never_counted(metric: Callable, where: str) -> None:
    truth, score = np.array(TRUTH, dtype=float), np.array(SCORE)
    (truth if where == "truth" else score)[1] = np.nan
    with pytest.raises(ValueError, match="must not hold NaN"):
        metric(truth, score, threshold=0.5)


@every_metric
def test_a_label_that_is_neither_0_nor_1_is_refused(metric: Callable) -> None:
    with pytest.raises(ValueError, match="must be 0 or 1"):
        metric([0, 1, 2], [0.1, 0.2, 0.3], threshold=0.5)


# Properties.


@every_metric
def test_the_order_of_studies_does_not_matter_to_the_last_bit(metric: Callable) -> None:
    truth, score = table_with_ties(1)
    rng = np.random.default_rng(2)
    order, weights = rng.permutation(len(truth)), rng.integers(0, 4, (3, len(truth)))
    expected = metric(truth, score, threshold=0.5, sample_weight=weights)
    found = metric(truth[order], score[order], threshold=0.5, sample_weight=weights[:, order])
    np.testing.assert_array_equal(found, expected)
    assert metric(truth[order], score[order], threshold=0.5) == metric(truth, score, threshold=0.5)


@every_metric
def test_whole_weights_equal_repeated_rows_to_the_last_bit(metric: Callable) -> None:
    truth, score = table_with_ties(3)
    weight = np.random.default_rng(4).integers(0, 4, len(truth))
    repeated = metric(np.repeat(truth, weight), np.repeat(score, weight), threshold=0.5)
    assert metric(truth, score, threshold=0.5, sample_weight=weight) == repeated


@every_metric
def test_many_draws_in_one_call_equal_one_call_for_each(metric: Callable) -> None:
    truth, score = table_with_ties(5)
    weights = np.random.default_rng(6).integers(0, 3, (7, len(truth)))
    weights[3] = 0  # a draw without any study
    together = metric(truth, score, threshold=0.5, sample_weight=weights)
    assert together.shape == (7,)
    assert math.isnan(together[3])
    one_by_one = [metric(truth, score, threshold=0.5, sample_weight=weight) for weight in weights]
    np.testing.assert_array_equal(together, one_by_one)
    assert np.ndim(one_by_one[0]) == 0


@every_metric
def test_a_metric_is_the_function_of_sums_that_it_says(metric: Callable) -> None:
    truth, score = table_with_ties(7)
    weights = np.random.default_rng(8).integers(0, 3, (5, len(truth)))
    assert metric.features is outcome_cells
    sums = weights @ metric.features(truth, score, threshold=0.4)
    found = metric(truth, score, threshold=0.4, sample_weight=weights)
    np.testing.assert_array_equal(found, metric.of_sums(sums))
    # Any axes before that of the cells, such as draws and groups.
    np.testing.assert_array_equal(metric.of_sums(np.stack([sums, sums], axis=1))[:, 1], found)


@every_share
def test_a_share_tells_of_how_many_studies_it_is(metric: Callable) -> None:
    sums = outcome_cells(TRUTH, SCORE, threshold=0.5).sum(axis=0)
    total = metric.total_of_sums(sums)
    part = metric.of_sums(sums) * total
    assert part == pytest.approx(round(part), abs=1e-12)
    assert total in {4, 5, 6, 10}
    assert not any(hasattr(other, "total_of_sums") for other in (f1, balanced_accuracy, mcc))


@every_metric
def test_a_metric_shows_a_plain_signature_and_its_own_name_and_sentence(metric: Callable) -> None:
    names = ["y_true", "y_score", "threshold", "sample_weight"]
    parameters = inspect.signature(metric).parameters
    assert list(parameters) == names
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in names[2:])
    assert metric is getattr(thresholded, metric.__name__)
    assert metric.__doc__
    assert metric.over_draws
    with pytest.raises(TypeError, match="threshold"):
        metric(TRUTH, SCORE)
    bound = functools.partial(metric, threshold=0.5)
    assert bound(TRUTH, SCORE) == metric(TRUTH, SCORE, threshold=0.5)


# Against scikit-learn.


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighted", [False, True])
def test_each_metric_equals_scikit_learns(seed: int, weighted: bool) -> None:
    truth, score = table_with_ties(seed, 137)
    called = score >= 0.4
    weight = np.random.default_rng(seed).random(137) if weighted else None
    given = {"sample_weight": weight}
    expected = {
        sensitivity: sklearn_metrics.recall_score(truth, called, **given),
        specificity: sklearn_metrics.recall_score(truth, called, pos_label=0, **given),
        ppv: sklearn_metrics.precision_score(truth, called, **given),
        npv: sklearn_metrics.precision_score(truth, called, pos_label=0, **given),
        accuracy: sklearn_metrics.accuracy_score(truth, called, **given),
        underdiagnosis_rate: 1 - sklearn_metrics.recall_score(truth, called, **given),
        overdiagnosis_rate: 1 - sklearn_metrics.recall_score(truth, called, pos_label=0, **given),
        called_rate: np.average(called, weights=weight),
        f1: sklearn_metrics.f1_score(truth, called, **given),
        balanced_accuracy: sklearn_metrics.balanced_accuracy_score(truth, called, **given),
        mcc: sklearn_metrics.matthews_corrcoef(truth, called, **given),
    }
    assert set(expected) == set(ALL)
    found = {metric: metric(truth, score, threshold=0.4, sample_weight=weight) for metric in ALL}
    assert found == pytest.approx(expected, abs=1e-12)
