"""Metrics of several classes: by hand, at their edges, and against scikit-learn."""

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from statsmodels.stats.inter_rater import cohens_kappa

from midrc_ml.errors import InputError
from midrc_ml.evaluation.classes import (
    accuracy,
    auprc_macro,
    auroc_macro,
    balanced_accuracy,
    class_sensitivity,
    confusion_cells,
    confusion_matrix,
    f1_macro,
    kappa,
    log_loss,
    mcc_multiclass,
)
from midrc_ml.evaluation.metrics import auprc, auroc, lower_is_better
from midrc_ml.evaluation.thresholded import mcc

MACRO = {
    "auroc_macro": auroc_macro,
    "auprc_macro": auprc_macro,
    "balanced_accuracy": balanced_accuracy,
    "f1_macro": f1_macro,
}
CORRELATIONS = {"kappa": kappa, "mcc_multiclass": mcc_multiclass}
ALL = {
    **MACRO,
    **CORRELATIONS,
    "log_loss": log_loss,
    "accuracy": accuracy,
    "class_sensitivity": functools.partial(class_sensitivity, position=1),
}

every_metric = pytest.mark.parametrize("metric", ALL.values(), ids=ALL)
macro_metric = pytest.mark.parametrize("metric", MACRO.values(), ids=MACRO)

# Four studies of the classes 0, 1, 2, 2; called 0, 0, 2, 1.
TRUTH = np.array([0, 1, 2, 2])
SCORE = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7], [0.2, 0.6, 0.2]])


def table_with_ties(seed: int, count: int = 150, num_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities in steps of a tenth: many scores are tied, and many studies have two highest classes."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(num_classes, count)
    tenths = rng.multinomial(7, np.full(num_classes, 1 / num_classes), count)
    tenths[np.arange(count), truth] += rng.integers(0, 4, count)
    missing = 10 - tenths.sum(axis=1)
    tenths[np.arange(count), rng.choice(num_classes, count)] += missing
    return truth, tenths / 10


# By hand.


def test_accuracy_by_hand() -> None:
    assert accuracy(TRUTH, SCORE) == 0.5


def test_balanced_accuracy_by_hand() -> None:
    assert balanced_accuracy(TRUTH, SCORE) == pytest.approx((1 + 0 + 1 / 2) / 3)


def test_f1_macro_by_hand() -> None:
    # Class 0: one right, two called, one true; class 1: none right; class 2: one right, one called, two true.
    assert f1_macro(TRUTH, SCORE) == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)


def test_kappa_by_hand() -> None:
    # Two of four right; by chance, of the true 1 1 2 and the called 2 1 1: (2 + 1 + 2) / 16.
    assert kappa(TRUTH, SCORE) == pytest.approx((2 / 4 - 5 / 16) / (1 - 5 / 16))


def test_mcc_multiclass_by_hand() -> None:
    # Four times two right, less 1 * 2 + 1 * 1 + 2 * 1; squares of the called 4 + 1 + 1 and of the true 1 + 1 + 4.
    assert mcc_multiclass(TRUTH, SCORE) == pytest.approx((4 * 2 - 5) / math.sqrt((16 - 6) * (16 - 6)))


def test_class_sensitivity_by_hand() -> None:
    assert [class_sensitivity(TRUTH, SCORE, position=position) for position in range(3)] == [1, 0, 0.5]


def test_a_cell_is_the_true_class_and_the_called_one() -> None:
    # Of true 0, 1, 2, 2 and called 0, 0, 2, 1, with three classes in a row.
    assert confusion_cells(TRUTH, SCORE).argmax(axis=1).tolist() == [0, 3, 8, 7]
    assert confusion_cells(TRUTH, SCORE).sum(axis=1).tolist() == [1, 1, 1, 1]


def test_log_loss_by_hand() -> None:
    assert log_loss(TRUTH, SCORE) == pytest.approx(-math.log(0.6 * 0.4 * 0.7 * 0.2) / 4)


def test_auroc_macro_by_hand() -> None:
    # Class 0: .6 above .5, .1, .2. Class 1: .4 above .3 and .2, below .6. Class 2: .7 and .2 above .1 and .1.
    assert auroc_macro(TRUTH, SCORE) == pytest.approx((1 + 2 / 3 + 1) / 3)


def test_auprc_macro_by_hand() -> None:
    # Class 1 is second from the top; the others stand above all that are not of them.
    assert auprc_macro(TRUTH, SCORE) == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_of_equally_probable_classes_the_first_is_called() -> None:
    assert accuracy([0, 1], [[0.5, 0.5], [0.5, 0.5]]) == 0.5
    assert confusion_matrix([0, 1], [[0.5, 0.5], [0.5, 0.5]]).tolist() == [[1, 0], [1, 0]]


def test_the_confusion_matrix_counts_true_classes_down_and_called_ones_across() -> None:
    assert confusion_matrix(TRUTH, SCORE).tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]


def test_a_probability_of_0_for_the_true_class_costs_much_and_not_infinitely_much() -> None:
    assert log_loss([0], [[0.0, 1.0]]) == pytest.approx(-math.log(np.finfo(float).eps))
    assert log_loss([1], [[0.0, 1.0]]) == 0


@pytest.mark.parametrize(("macro", "binary"), [(auroc_macro, auroc), (auprc_macro, auprc)])
def test_of_two_classes_the_mean_is_that_of_both_sides(macro: Callable, binary: Callable) -> None:
    truth, score = table_with_ties(0, num_classes=2)
    expected = (binary(truth, score[:, 1]) + binary(1 - truth, score[:, 0])) / 2
    assert macro(truth, score) == pytest.approx(expected, abs=1e-12)


# Edges.


@macro_metric
def test_a_mean_over_classes_cannot_be_estimated_without_one_of_them(metric: Callable) -> None:
    truth, score = table_with_ties(1)
    assert math.isnan(metric(np.where(truth == 2, 1, truth), score))
    assert math.isnan(metric(np.zeros(len(truth)), score))
    weight = np.stack([truth != 3, np.ones(len(truth))]).astype(float)
    assert np.isnan(metric(truth, score, sample_weight=weight)).tolist() == [True, False]


@pytest.mark.parametrize("metric", [log_loss, accuracy])
def test_what_is_no_mean_over_classes_can_be_estimated_of_one_class(metric: Callable) -> None:
    assert metric([2, 2], SCORE[2:]) == pytest.approx({accuracy: 0.5, log_loss: -math.log(0.7 * 0.2) / 2}[metric])


def test_of_one_class_there_is_no_agreement_beyond_chance() -> None:
    for metric in CORRELATIONS.values():
        assert math.isnan(metric([2, 2], SCORE[2:]))
        assert math.isnan(metric([2, 2], SCORE[[2, 2]]))
        weight = [[0.1, 0.2, 0.3, 0], [1, 1, 1, 1]]
        assert np.isnan(metric([1, 1, 1, 2], SCORE, sample_weight=weight)).tolist() == [True, False]
    always_0 = np.array([[0.6, 0.2, 0.2]] * 4)
    assert kappa(TRUTH, always_0) == 0
    assert math.isnan(mcc_multiclass(TRUTH, always_0))


def test_of_a_class_that_no_study_has_there_is_no_sensitivity() -> None:
    assert math.isnan(class_sensitivity([0, 0, 1, 1], SCORE, position=2))


@pytest.mark.parametrize("wrong", [-1, 3, 0.5])
def test_a_position_without_a_class_is_refused(wrong: float) -> None:
    with pytest.raises(InputError, match=f"position is {wrong}; it must be that of a class: from 0 to 2"):
        class_sensitivity(TRUTH, SCORE, position=wrong)


@every_metric
def test_no_studies_give_nan(metric: Callable) -> None:
    assert math.isnan(metric(np.zeros(0), np.zeros((0, 3))))


@every_metric
@pytest.mark.parametrize("where", ["truth", "score"])
def test_nan_is_refused_and_never_counted(metric: Callable, where: str) -> None:
    truth, score = TRUTH.astype(float), SCORE.copy()
    (truth if where == "truth" else score)[1] = np.nan
    with pytest.raises(ValueError, match="must not hold NaN"):
        metric(truth, score)


@every_metric
@pytest.mark.parametrize("wrong", [3, -1, 0.5])
def test_a_label_that_is_no_class_is_refused(metric: Callable, wrong: float) -> None:
    with pytest.raises(ValueError, match="a whole number from 0 to 2"):
        metric([0, 1, 2, wrong], SCORE)


@every_metric
def test_scores_that_are_not_one_for_each_class_are_refused(metric: Callable) -> None:
    for score in (SCORE[:, 0], SCORE[:, :1], SCORE[:3]):
        with pytest.raises(ValueError, match=r"y_score must be \(study, class\)"):
            metric(TRUTH, score)


# Properties.


@every_metric
def test_the_order_of_studies_does_not_matter(metric: Callable) -> None:
    truth, score = table_with_ties(1)
    order = np.random.default_rng(2).permutation(len(truth))
    assert metric(truth[order], score[order]) == pytest.approx(metric(truth, score), abs=1e-12)


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, f1_macro, kappa, mcc_multiclass, log_loss])
def test_the_order_of_studies_does_not_matter_to_the_last_bit(metric: Callable) -> None:
    truth, score = table_with_ties(1)
    rng = np.random.default_rng(2)
    order, weights = rng.permutation(len(truth)), rng.integers(0, 4, (3, len(truth)))
    assert metric(truth[order], score[order]) == metric(truth, score)
    found = metric(truth[order], score[order], sample_weight=weights[:, order])
    np.testing.assert_array_equal(found, metric(truth, score, sample_weight=weights))


@pytest.mark.parametrize("metric", [accuracy, balanced_accuracy, f1_macro, kappa, mcc_multiclass])
def test_a_metric_is_the_function_of_the_confusion_matrix_that_it_says(metric: Callable) -> None:
    truth, score = table_with_ties(6)
    assert metric.of_sums(confusion_matrix(truth, score).ravel()) == metric(truth, score)
    assert metric.features is confusion_cells
    assert hasattr(metric, "total_of_sums") == (metric is accuracy)


def test_of_two_classes_mcc_is_that_of_a_decision() -> None:
    truth, score = table_with_ties(7, num_classes=2)
    score[:, 1] += 1e-9  # as at a threshold: of equal ones the second is called
    assert mcc_multiclass(truth, score) == pytest.approx(mcc(truth, score[:, 1], threshold=0.5), abs=1e-12)


@every_metric
def test_whole_weights_equal_repeated_rows(metric: Callable) -> None:
    truth, score = table_with_ties(3)
    weight = np.random.default_rng(4).integers(0, 4, len(truth))
    repeated = metric(np.repeat(truth, weight), np.repeat(score, weight, axis=0))
    assert metric(truth, score, sample_weight=weight) == pytest.approx(repeated, abs=1e-12)


@every_metric
def test_many_draws_in_one_call_equal_one_call_for_each(metric: Callable) -> None:
    truth, score = table_with_ties(5)
    weights = np.random.default_rng(6).integers(0, 3, (7, len(truth)))
    weights[3] = 0  # a draw without any study
    together = metric(truth, score, sample_weight=weights)
    assert together.shape == (7,)
    assert math.isnan(together[3])
    one_by_one = [metric(truth, score, sample_weight=weight) for weight in weights]
    np.testing.assert_allclose(together, one_by_one, atol=1e-12)
    assert np.ndim(one_by_one[0]) == 0


def test_only_the_loss_is_better_low() -> None:
    assert [name for name in ALL if lower_is_better(name)] == ["log_loss"]


# Against scikit-learn.


def oracles(truth: np.ndarray, score: np.ndarray, weight: np.ndarray | None) -> dict[str, float]:
    """The same numbers by scikit-learn."""
    given = {"sample_weight": weight}
    members = np.eye(score.shape[1])[truth]
    called = score.argmax(axis=1)
    return {
        "auroc_macro": sklearn_metrics.roc_auc_score(members, score, average="macro", **given),
        "auprc_macro": sklearn_metrics.average_precision_score(members, score, average="macro", **given),
        "log_loss": sklearn_metrics.log_loss(truth, score, labels=range(score.shape[1]), **given),
        "accuracy": sklearn_metrics.accuracy_score(truth, called, **given),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, called, **given),
        "f1_macro": sklearn_metrics.f1_score(truth, called, average="macro", **given),
        "kappa": sklearn_metrics.cohen_kappa_score(truth, called, **given),
        "mcc_multiclass": sklearn_metrics.matthews_corrcoef(truth, called, **given),
        "class_sensitivity": sklearn_metrics.recall_score(truth, called, labels=[1], average="macro", **given),
    }


@pytest.mark.filterwarnings("ignore:.*y_pred.*:FutureWarning")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_classes_equal_scikit_learns(seed: int, weighted: bool) -> None:
    truth, score = table_with_ties(seed, 137, num_classes=3 + seed)
    weight = np.random.default_rng(seed).random(137) if weighted else None
    expected = oracles(truth, score, weight)
    found = {name: metric(truth, score, sample_weight=weight) for name, metric in ALL.items()}
    assert found == pytest.approx(expected, abs=1e-12)


def test_auroc_macro_is_scikit_learns_one_vs_rest() -> None:
    truth, score = table_with_ties(9)
    expected = sklearn_metrics.roc_auc_score(truth, score, multi_class="ovr", average="macro")
    assert auroc_macro(truth, score) == pytest.approx(expected, abs=1e-12)


def test_the_confusion_matrix_equals_scikit_learns() -> None:
    truth, score = table_with_ties(8)
    expected = sklearn_metrics.confusion_matrix(truth, score.argmax(axis=1), labels=range(4))
    assert confusion_matrix(truth, score).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_kappa_equals_that_of_statsmodels(seed: int) -> None:
    truth, score = table_with_ties(seed)
    assert kappa(truth, score) == pytest.approx(cohens_kappa(confusion_matrix(truth, score)).kappa, abs=1e-12)
