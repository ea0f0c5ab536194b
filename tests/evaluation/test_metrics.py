"""Each metric: by hand, at its edges, and against scikit-learn."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as sklearn_metrics

from midrc_ml.evaluation.metrics import (
    auprc,
    auroc,
    brier_loss,
    lower_is_better,
    mae,
    mae_sd,
    qwk,
    r2,
    sensitivity,
    spearman,
    specificity,
)
from midrc_ml.evaluation.thresholds import youden_threshold


def at_half(metric: Callable) -> Callable:
    def scored(y_true: np.ndarray, y_score: np.ndarray, *, sample_weight: np.ndarray | None = None) -> object:
        return metric(y_true, y_score, threshold=0.5, sample_weight=sample_weight)

    return scored


BINARY = {
    "auroc": auroc,
    "auprc": auprc,
    "brier_loss": brier_loss,
    "sensitivity": at_half(sensitivity),
    "specificity": at_half(specificity),
}
ORDERED = {"r2": r2, "spearman": spearman, "qwk": qwk}
ALL = {**BINARY, "mae": mae, "mae_sd": mae_sd, **ORDERED}

every_metric = pytest.mark.parametrize("metric", ALL.values(), ids=ALL)
binary_metric = pytest.mark.parametrize("metric", BINARY.values(), ids=BINARY)
ordered_metric = pytest.mark.parametrize("metric", ORDERED.values(), ids=ORDERED)


def table_with_ties(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Truth and a score of eleven values: most studies are tied with others."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, count).astype(float)
    return truth, np.round(np.clip(0.3 * truth + rng.normal(0.35, 0.25, count), 0, 1), 1)


# By hand.


def test_auroc_by_hand() -> None:
    # Positives 0.9, 0.4; negatives 0.5, 0.1: of four pairs, 0.9 wins two and 0.4 one.
    assert auroc([1, 1, 0, 0], [0.9, 0.4, 0.5, 0.1]) == 0.75


def test_a_tied_pair_counts_half_in_auroc() -> None:
    assert auroc([1, 0], [0.5, 0.5]) == 0.5
    assert auroc([1, 1, 0], [0.7, 0.5, 0.5]) == 0.75


def test_auroc_of_perfect_and_reversed_scores() -> None:
    assert auroc([0, 0, 1, 1], [1, 2, 3, 4]) == 1.0
    assert auroc([1, 1, 0, 0], [1, 2, 3, 4]) == 0.0


def test_auprc_by_hand() -> None:
    # From the top: positive (precision 1, recall 1/2), negative, positive (precision 2/3, recall 1/2 more).
    assert auprc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_tied_scores_share_one_precision_in_auprc() -> None:
    assert auprc([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5]) == 0.5


def test_brier_loss_by_hand() -> None:
    assert brier_loss([1, 0], [0.8, 0.4]) == pytest.approx((0.04 + 0.16) / 2)


def test_sensitivity_and_specificity_by_hand() -> None:
    truth, score = [1, 1, 1, 0, 0], [0.9, 0.5, 0.2, 0.6, 0.1]
    assert sensitivity(truth, score, threshold=0.5) == pytest.approx(2 / 3)  # 0.5 itself counts as positive
    assert specificity(truth, score, threshold=0.5) == 0.5


def test_mae_and_its_sd_by_hand() -> None:
    truth, score = [0, 2, 8], [1, 4, 4]  # errors 1, 2, 4
    assert mae(truth, score) == pytest.approx(7 / 3)
    assert mae_sd(truth, score) == pytest.approx(
        math.sqrt(((1 - 7 / 3) ** 2 + (2 - 7 / 3) ** 2 + (4 - 7 / 3) ** 2) / 2)
    )


def test_r2_by_hand() -> None:
    # Around the mean 2: squares 4 + 1 + 9 = 14; left over: 1 + 0 + 4.
    assert r2([0, 1, 5], [1, 1, 3]) == pytest.approx(1 - 5 / 14)
    assert r2([0, 1, 5], [2, 2, 2]) == 0
    assert r2([0, 1, 5], [5, 1, 0]) == pytest.approx(1 - 50 / 14)


def test_spearman_by_hand() -> None:
    # Ranks 1, 2, 3, 4 and 1, 3, 2, 4: 1 - 6 * (1 + 1) / (4 * 15).
    assert spearman([0, 2, 5, 9], [0.1, 0.7, 0.2, 50]) == pytest.approx(0.8)
    assert spearman([0, 2, 5], [9, 4, 1]) == pytest.approx(-1)


def test_qwk_by_hand() -> None:
    # Squares of label - score: 0 + 1 + 1 + 0, mean 1/2; of all 16 pairs of a label with a score: 0 1 1 9, 1 0 0 4,
    # 4 1 1 1, 9 4 4 0, mean 40/16.
    assert qwk([0, 1, 2, 3], [0, 1 + 1e-9, 1, 3]) == pytest.approx(1 - (1 / 4) / (40 / 16))


def test_qwk_rounds_score_and_label_to_the_nearest_level_halves_up() -> None:
    scores = [0.49, 0.5, 1.5, 2.49, -0.5]
    assert qwk([0, 1, 2, 2, 0], scores) == 1
    assert qwk(scores, [0, 1, 2, 2, 0]) == 1


def test_qwk_does_not_move_a_score_beyond_the_labels_to_the_nearest_of_them() -> None:
    near, far = qwk([0, 1, 2], [0, 1, 3]), qwk([0, 1, 2], [0, 1, 8])
    assert far < near < 1


# Edges.


@ordered_metric
def test_of_labels_that_are_all_equal_nothing_is_explained(metric: Callable) -> None:
    assert math.isnan(metric([3, 3, 3], [3, 3, 3]))
    assert math.isnan(metric([0.3, 0.3, 0.3], [1, 2, 3]))
    assert math.isnan(metric([3], [3]))
    # Also where the weights leave one label of several, whatever rounding makes of their sums.
    assert math.isnan(metric([0.1, 0.1, 0.7], [1, 2, 3], sample_weight=[0.1, 0.2, 0]))


def test_a_score_that_is_always_the_same_has_no_rank_correlation_and_explains_nothing() -> None:
    truth, score = [0, 1, 2], [1.1, 1.1, 1.1]
    assert math.isnan(spearman(truth, score))
    assert qwk(truth, score) == 0
    assert r2(truth, score) < 0


@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1]])
def test_rank_metrics_of_one_class_cannot_be_estimated(truth: list[int]) -> None:
    assert math.isnan(auroc(truth, [0.1, 0.5, 0.9]))
    assert math.isnan(sensitivity(truth, [0.1, 0.5, 0.9], threshold=0.5)) == (truth[0] == 0)
    assert math.isnan(specificity(truth, [0.1, 0.5, 0.9], threshold=0.5)) == (truth[0] == 1)
    assert math.isnan(youden_threshold(truth, [0.1, 0.5, 0.9]))


def test_auprc_without_a_positive_cannot_be_estimated() -> None:
    assert math.isnan(auprc([0, 0], [0.1, 0.9]))


@every_metric
def test_no_studies_give_nan(metric: Callable) -> None:
    assert math.isnan(metric(np.array([]), np.array([])))


def test_no_studies_give_no_youden_threshold() -> None:
    assert math.isnan(youden_threshold([], []))


@every_metric
@pytest.mark.parametrize("where", ["truth", "score"])
def test_nan_is_refused_and_never_counted(metric: Callable, where: str) -> None:
    truth, score = np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.2, 0.7])
    (truth if where == "truth" else score)[1] = np.nan
    with pytest.raises(ValueError, match="must not hold NaN"):
        metric(truth, score)


@binary_metric
def test_a_label_that_is_neither_0_nor_1_is_refused(metric: Callable) -> None:
    with pytest.raises(ValueError, match="must be 0 or 1"):
        metric(np.array([0.0, 1.0, 2.0]), np.array([0.1, 0.2, 0.3]))


def test_the_spread_of_one_study_cannot_be_estimated() -> None:
    assert math.isnan(mae_sd([1.0], [3.0]))
    assert mae([1.0], [3.0]) == 2.0


@pytest.mark.parametrize("metric", [sensitivity, specificity])
def test_without_a_threshold_there_is_no_value(metric: Callable) -> None:
    assert math.isnan(metric([0, 1], [0.2, 0.8], threshold=math.nan))


# Properties.


@every_metric
def test_the_order_of_studies_does_not_matter(metric: Callable) -> None:
    truth, score = table_with_ties(1)
    order = np.random.default_rng(2).permutation(len(truth))
    assert metric(truth[order], score[order]) == pytest.approx(metric(truth, score), abs=1e-12)


@every_metric
def test_whole_weights_equal_repeated_rows(metric: Callable) -> None:
    truth, score = table_with_ties(3)
    weight = np.random.default_rng(4).integers(0, 4, len(truth))
    repeated = metric(np.repeat(truth, weight), np.repeat(score, weight))
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


@every_metric
def test_a_result_is_a_plain_number(metric: Callable) -> None:
    assert isinstance(float(metric(*table_with_ties(7))), float)
    assert np.ndim(metric(*table_with_ties(7))) == 0


def test_direction_is_in_the_name() -> None:
    assert all(lower_is_better(name) for name in ("loss", "brier_loss", "calibration_error", "mae", "mae_sd"))
    assert not any(lower_is_better(name) for name in ("auroc", "auprc", "sensitivity", "specificity", *ORDERED))


# Against scikit-learn and numpy.


@pytest.mark.parametrize("seed", range(5))
def test_binary_metrics_equal_scikit_learns(seed: int) -> None:
    truth, score = table_with_ties(seed, 137)
    called = score >= 0.5
    assert auroc(truth, score) == pytest.approx(sklearn_metrics.roc_auc_score(truth, score), abs=1e-12)
    assert auprc(truth, score) == pytest.approx(sklearn_metrics.average_precision_score(truth, score), abs=1e-12)
    assert brier_loss(truth, score) == pytest.approx(sklearn_metrics.brier_score_loss(truth, score), abs=1e-12)
    assert sensitivity(truth, score, threshold=0.5) == pytest.approx(sklearn_metrics.recall_score(truth, called))
    assert specificity(truth, score, threshold=0.5) == pytest.approx(
        sklearn_metrics.recall_score(truth, called, pos_label=0)
    )


@pytest.mark.parametrize("seed", range(5))
def test_weighted_binary_metrics_equal_scikit_learns(seed: int) -> None:
    truth, score = table_with_ties(seed, 137)
    weight = np.random.default_rng(seed).random(137)
    for ours, theirs in (
        (auroc, sklearn_metrics.roc_auc_score),
        (auprc, sklearn_metrics.average_precision_score),
        (brier_loss, sklearn_metrics.brier_score_loss),
    ):
        expected = theirs(truth, score, sample_weight=weight)
        assert ours(truth, score, sample_weight=weight) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_mae_and_its_sd_equal_scikit_learns_and_numpys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, score = rng.random(60) * 8, rng.random(60) * 8
    assert mae(truth, score) == pytest.approx(sklearn_metrics.mean_absolute_error(truth, score), abs=1e-12)
    assert mae_sd(truth, score) == pytest.approx(np.std(np.abs(truth - score), ddof=1), abs=1e-12)


def labels_and_scores(seed: int, count: int = 90) -> tuple[np.ndarray, np.ndarray]:
    """Labels of 0 to 8 and scores in steps of a quarter, both with many ties."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 9, count).astype(float)
    return truth, np.round(4 * (0.6 * truth + rng.normal(1, 1.5, count))) / 4


@pytest.mark.parametrize("seed", range(3))
def test_r2_and_spearman_equal_scikit_learns_and_scipys(seed: int) -> None:
    truth, score = labels_and_scores(seed)
    weight = np.random.default_rng(seed).random(len(truth))
    assert r2(truth, score) == pytest.approx(sklearn_metrics.r2_score(truth, score), abs=1e-12)
    expected = sklearn_metrics.r2_score(truth, score, sample_weight=weight)
    assert r2(truth, score, sample_weight=weight) == pytest.approx(expected, abs=1e-12)
    assert spearman(truth, score) == pytest.approx(spearmanr(truth, score).statistic, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighted", [False, True])
def test_qwk_equals_scikit_learns_over_the_levels_of_the_scale(seed: int, weighted: bool) -> None:
    truth, score = labels_and_scores(seed)
    truth[truth == 5] = 4  # a level that no label has
    weight = np.random.default_rng(seed).random(len(truth)) if weighted else None
    expected = sklearn_metrics.cohen_kappa_score(
        truth, np.floor(score + 0.5), weights="quadratic", labels=np.arange(-9, 20), sample_weight=weight
    )
    assert qwk(truth, score, sample_weight=weight) == pytest.approx(expected, abs=1e-12)


# The threshold.


def test_youden_threshold_by_hand() -> None:
    # Sensitivity + specificity: at 0.8 1/2 + 1, at 0.6 1/2 + 2/3, at 0.4 1 + 2/3 (highest), at 0.3 1 + 1/3.
    assert youden_threshold([1, 0, 1, 0, 0], [0.8, 0.6, 0.4, 0.3, 0.1]) == 0.4


def test_of_equally_good_thresholds_the_highest_is_taken() -> None:
    # At 0.9: 1/2 + 1; at 0.3: 1 + 1/2.
    assert youden_threshold([1, 0, 1, 0], [0.9, 0.5, 0.3, 0.1]) == 0.9


@pytest.mark.parametrize("seed", range(3))
def test_no_score_beats_the_youden_threshold(seed: int) -> None:
    truth, score = table_with_ties(seed)
    false_rate, true_rate, _ = sklearn_metrics.roc_curve(truth, score, drop_intermediate=False)
    chosen = youden_threshold(truth, score)
    reached = sensitivity(truth, score, threshold=chosen) + specificity(truth, score, threshold=chosen)
    assert reached == pytest.approx((true_rate + 1 - false_rate).max(), abs=1e-12)
