"""Concordance, correlation and errors of ordered labels: by hand, at their edges, against scipy and scikit-learn."""

import functools
import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import pearsonr, somersd
from sklearn import metrics as sklearn_metrics

from midrc_ml.errors import InputError
from midrc_ml.evaluation import distinct
from midrc_ml.evaluation.metrics import auroc, lower_is_better
from midrc_ml.evaluation.ordered import (
    accuracy_within,
    mean_difference,
    pearson,
    prediction_probability_concordance,
    root_mean_squared_error,
)

CORRELATIONS = {"prediction_probability_concordance": prediction_probability_concordance, "pearson": pearson}
ALL = {
    **CORRELATIONS,
    "mean_difference": mean_difference,
    "root_mean_squared_error": root_mean_squared_error,
    "accuracy_within": functools.partial(accuracy_within, tolerance=1),
}
every_metric = pytest.mark.parametrize("metric", ALL.values(), ids=ALL)
every_correlation = pytest.mark.parametrize("metric", CORRELATIONS.values(), ids=CORRELATIONS)


def labels_and_scores(seed: int, count: int = 90, levels: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Labels from 0 on and scores in steps of a quarter, both with many ties."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, levels, count).astype(float)
    return truth, np.round(4 * (0.6 * truth + rng.normal(1, 1.5, count))) / 4


def by_double_loop(y_true: np.ndarray, y_score: np.ndarray) -> float:
    won = pairs = 0.0
    for i in range(len(y_true)):
        for j in range(len(y_true)):
            if y_true[i] > y_true[j]:
                pairs += 1
                won += 1.0 if y_score[i] > y_score[j] else 0.5 if y_score[i] == y_score[j] else 0.0
    return won / pairs if pairs else math.nan


# By hand.


def test_concordance_by_hand() -> None:
    # Pairs of different labels: 0-1, 0-2, 0-2, 1-2, 1-2; only the label 1 with the first 2 is the wrong way round.
    assert prediction_probability_concordance([0, 1, 2, 2], [1, 3, 2, 4]) == 4 / 5


def test_pairs_of_equal_labels_do_not_count_and_equal_scores_count_half() -> None:
    assert prediction_probability_concordance([0, 0, 1], [1, 9, 9]) == (1 + 1 / 2) / 2
    assert prediction_probability_concordance([0, 1, 2], [5, 5, 5]) == 1 / 2
    assert prediction_probability_concordance([0, 1, 1, 2], [1, 2, 2, 2]) == (1 + 1 + 1 + 1 / 2 + 1 / 2) / 5


def test_concordance_asks_only_for_the_order() -> None:
    assert prediction_probability_concordance([-3.5, 0, 200], [0.1, 0.2, 0.21]) == 1
    assert prediction_probability_concordance([-3.5, 0, 200], [3, 2, 1]) == 0


def test_pearson_by_hand() -> None:
    # Offsets from the means: -2 -1 3 and -1 0 1.
    assert pearson([0, 1, 5], [2, 3, 4]) == pytest.approx(5 / math.sqrt(14 * 2))


def test_errors_by_hand() -> None:
    truth, score = [0, 2, 8], [1, 4, 4]  # differences 1, 2, -4
    assert root_mean_squared_error(truth, score) == pytest.approx(math.sqrt(21 / 3))
    assert mean_difference(truth, score) == pytest.approx(-1 / 3)
    assert mean_difference([0, 2], [1, 5]) == 2  # too high is above 0
    assert [accuracy_within(truth, score, tolerance=at) for at in (0, 1, 1.9, 2, 4)] == [0, 1 / 3, 1 / 3, 2 / 3, 1]


def test_a_difference_of_just_the_tolerance_is_within_it_whatever_rounding_makes_of_it() -> None:
    assert 0.4 - 0.3 > 0.1
    assert accuracy_within([0.3], [0.4], tolerance=0.1) == 1
    assert accuracy_within([0.3], [0.4001], tolerance=0.1) == 0


# Edges.


@every_correlation
def test_of_equal_labels_there_is_no_order_to_find(metric: Callable) -> None:
    assert math.isnan(metric([3, 3, 3], [1, 2, 3]))
    assert math.isnan(metric([3], [1]))
    assert math.isnan(metric([0.1, 0.1, 0.1], [1, 2, 4]))  # whose mean is not 0.1, by rounding
    # Also where the weights leave one label of several, whatever rounding makes of their sums.
    assert math.isnan(metric([0.1, 0.1, 0.7], [1, 2, 3], sample_weight=[0.1, 0.2, 0]))


def test_a_score_that_is_always_the_same_has_no_correlation_and_an_even_concordance() -> None:
    assert math.isnan(pearson([0, 1, 2], [1.1, 1.1, 1.1]))
    assert prediction_probability_concordance([0, 1, 2], [1.1, 1.1, 1.1]) == 0.5


@every_metric
def test_no_studies_give_nan(metric: Callable) -> None:
    assert math.isnan(metric([], []))
    assert np.isnan(metric([], [], sample_weight=np.zeros((2, 0)))).tolist() == [True, True]


@every_metric
@pytest.mark.parametrize("where", ["truth", "score"])
def test_nan_is_refused_and_never_counted(metric: Callable, where: str) -> None:
    truth, score = np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.2, 0.7])
    (truth if where == "truth" else score)[1] = np.nan
    with pytest.raises(ValueError, match="must not hold NaN"):
        metric(truth, score)


@pytest.mark.parametrize("wrong", [-1, math.nan, math.inf])
def test_a_tolerance_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(InputError, match="tolerance is"):
        accuracy_within([0, 1], [0, 1], tolerance=wrong)


# Properties.


@every_metric
def test_the_order_of_studies_does_not_matter_to_the_last_bit(metric: Callable) -> None:
    truth, score = labels_and_scores(1)
    truth += 0.1  # sums of such numbers depend on their order
    rng = np.random.default_rng(2)
    order, weights = rng.permutation(len(truth)), rng.integers(0, 4, (3, len(truth)))
    assert metric(truth[order], score[order]) == metric(truth, score)
    found = metric(truth[order], score[order], sample_weight=weights[:, order])
    np.testing.assert_array_equal(found, metric(truth, score, sample_weight=weights))


@every_metric
def test_whole_weights_equal_repeated_rows(metric: Callable) -> None:
    truth, score = labels_and_scores(3)
    weight = np.random.default_rng(4).integers(0, 4, len(truth))
    repeated = metric(np.repeat(truth, weight), np.repeat(score, weight))
    assert metric(truth, score, sample_weight=weight) == pytest.approx(repeated, abs=1e-12)


@every_metric
def test_many_draws_in_one_call_equal_one_call_for_each(metric: Callable) -> None:
    truth, score = labels_and_scores(5)
    weights = np.random.default_rng(6).integers(0, 3, (7, len(truth)))
    weights[3] = 0  # a draw without any study
    together = metric(truth, score, sample_weight=weights)
    assert together.shape == (7,)
    assert math.isnan(together[3])
    one_by_one = [metric(truth, score, sample_weight=weight) for weight in weights]
    np.testing.assert_array_equal(together, one_by_one)
    assert np.ndim(one_by_one[0]) == 0


@every_correlation
@pytest.mark.parametrize("cells", [1, 200])
def test_how_many_draws_are_held_at_once_changes_nothing(
    metric: Callable, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, score = labels_and_scores(7)
    weights = np.random.default_rng(8).integers(0, 3, (5, len(truth)))
    whole = metric(truth, score, sample_weight=weights)
    monkeypatch.setattr(distinct, "_CELLS_AT_ONCE", cells)
    np.testing.assert_array_equal(metric(truth, score, sample_weight=weights), whole)


def test_of_two_labels_concordance_is_the_auroc() -> None:
    truth, score = labels_and_scores(9, levels=2)
    assert prediction_probability_concordance(truth, score) == pytest.approx(auroc(truth, score), abs=1e-15)


def test_direction_is_in_the_name_where_there_is_one() -> None:
    assert [name for name in ALL if lower_is_better(name)] == ["root_mean_squared_error"]


def test_metrics_of_sums_show_a_plain_signature_and_what_they_are_made_of() -> None:
    assert list(inspect.signature(root_mean_squared_error).parameters) == ["y_true", "y_score", "sample_weight"]
    names = ["y_true", "y_score", "tolerance", "sample_weight"]
    assert list(inspect.signature(accuracy_within).parameters) == names
    truth, score = labels_and_scores(1)
    for metric, settings in ((root_mean_squared_error, {}), (mean_difference, {}), (accuracy_within, {"tolerance": 1})):
        sums = metric.features(truth, score, **settings).sum(axis=0)
        assert metric.of_sums(sums) == pytest.approx(metric(truth, score, **settings), abs=1e-12)


# Against scipy and scikit-learn.


@pytest.mark.parametrize("levels", [2, 3, 9, 25, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_concordance_is_somers_d_of_score_given_label(seed: int, levels: int) -> None:
    truth, score = labels_and_scores(seed, levels=levels)
    expected = (somersd(truth, score).statistic + 1) / 2
    assert prediction_probability_concordance(truth, score) == pytest.approx(expected, abs=1e-12)
    assert prediction_probability_concordance(truth, score) == by_double_loop(truth, score)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighted", [False, True])
def test_errors_and_correlation_equal_scikit_learns_and_numpys(seed: int, weighted: bool) -> None:
    truth, score = labels_and_scores(seed)
    weight = np.random.default_rng(seed).random(len(truth)) if weighted else np.ones(len(truth))
    expected = sklearn_metrics.root_mean_squared_error(truth, score, sample_weight=weight)
    assert root_mean_squared_error(truth, score, sample_weight=weight) == pytest.approx(expected, abs=1e-12)
    expected = np.average(score - truth, weights=weight)
    assert mean_difference(truth, score, sample_weight=weight) == pytest.approx(expected, abs=1e-12)
    covariance = np.cov(truth, score, aweights=weight)
    expected = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    assert pearson(truth, score, sample_weight=weight) == pytest.approx(expected, abs=1e-12)
    if not weighted:
        assert pearson(truth, score) == pytest.approx(pearsonr(truth, score).statistic, abs=1e-12)


def test_pearson_of_numbers_far_from_0_is_that_of_their_differences() -> None:
    truth, score = labels_and_scores(4)
    assert pearson(truth + 1e6, score - 1e6) == pytest.approx(pearson(truth, score), abs=1e-9)
