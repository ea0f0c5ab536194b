"""DeLong's and Obuchowski's covariance: by hand, by loops over the formulas of the papers, and at the edges."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from midrc_ml.errors import InputError
from midrc_ml.evaluation.delong import (
    auroc_interval,
    clustered_delong,
    delong,
    difference_test,
    why_no_interval,
)


def wins(positive: float, negative: float) -> float:
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


def placements(truth: np.ndarray, score: np.ndarray) -> tuple[list[float], list[float]]:
    """V10 of each positive and V01 of each negative, by all pairs."""
    positive, negative = score[truth == 1], score[truth == 0]
    return (
        [sum(wins(x, y) for y in negative) / len(negative) for x in positive],
        [sum(wins(x, y) for x in positive) / len(positive) for y in negative],
    )


def by_loops(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """S10 / m + S01 / n of DeLong et al. 1988, equations 4 to 6."""
    both = [placements(truth, score) for score in scores]
    models = len(scores)
    found = np.zeros((models, models))
    for first in range(models):
        for second in range(models):
            for side in (0, 1):
                values = both[first][side], both[second][side]
                means = [sum(one) / len(one) for one in values]
                count = len(values[0])
                products = sum((a - means[0]) * (b - means[1]) for a, b in zip(*values, strict=True))
                found[first, second] += products / (count - 1) / count
    return found


def of_clusters(truth: np.ndarray, scores: np.ndarray, patient: np.ndarray) -> float:
    """The variance of Obuchowski 1997, equations 2 to 6, by loops; of several models that of the sum of AUROCs."""
    both = [placements(truth, score) for score in np.atleast_2d(scores)]
    positive, negative = ([sum(values) for values in zip(*side, strict=True)] for side in zip(*both, strict=True))
    auroc = sum(positive) / len(positive)
    names = sorted(set(patient))
    owners = patient[truth == 1], patient[truth == 0]
    sums = [
        [
            (sum(v for v, o in zip(values, owner, strict=True) if o == name), int((owner == name).sum()))
            for name in names
        ]
        for values, owner in zip((positive, negative), owners, strict=True)
    ]
    with_class = [sum(count > 0 for _, count in one) for one in sums]
    m, n, everyone = len(positive), len(negative), len(names)
    s10 = (
        with_class[0]
        / ((with_class[0] - 1) * m)
        * sum((total - count * auroc) ** 2 for total, count in sums[0] if count)
    )
    s01 = (
        with_class[1]
        / ((with_class[1] - 1) * n)
        * sum((total - count * auroc) ** 2 for total, count in sums[1] if count)
    )
    s11 = (
        everyone
        / (everyone - 1)
        * sum((a - count_a * auroc) * (b - count_b * auroc) for (a, count_a), (b, count_b) in zip(*sums, strict=True))
    )
    return s10 / m + s01 / n + 2 * s11 / (m * n)


def studies(seed: int, *, rounded: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(60) < 0.4).astype(float)
    scores = rng.normal(size=(3, 60)) + truth * [[1.0], [0.6], [0.0]]
    patient = rng.integers(0, 25, 60).astype(str)
    return truth, np.round(scores, 1) if rounded else scores, patient


def test_by_hand_with_a_tie() -> None:
    # Positives 3, 2; negatives 2, 1. V10: 1 and (1/2 + 1)/2 = 3/4; V01: (1 + 1/2)/2 = 3/4 and 1. AUROC 7/8.
    # S10 = S01 = (1/8)^2 * 2 / 1 = 1/32; the variance 1/32/2 + 1/32/2 = 1/32.
    aurocs, covariance = delong([1, 1, 0, 0], [[3, 2, 2, 1]])
    assert aurocs[0] == 7 / 8
    assert covariance[0, 0] == pytest.approx(1 / 32, abs=1e-15)


def test_by_hand_of_patients_with_both_classes() -> None:
    # The same studies, a: positive 3 and negative 1, b: positive 2 and negative 2. Both of a's lie 1/8 above the AUROC
    # of 7/8 and both of b's 1/8 below. S10 = S01 = 2 / (1 * 2) * 2/64 = 1/32, S11 = 2 / 1 * 2/64 = 1/16; the variance
    # 1/32/2 + 1/32/2 + 2 * 1/16 / (2 * 2) = 1/16: twice that of four people.
    aurocs, covariance = clustered_delong([1, 1, 0, 0], [[3, 2, 2, 1]], ["a", "b", "b", "a"])
    assert aurocs[0] == 7 / 8
    assert covariance[0, 0] == pytest.approx(1 / 16, abs=1e-15)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rounded", [True, False])
def test_the_covariance_of_models_is_that_of_the_paper_s_formulas(seed: int, rounded: bool) -> None:
    truth, scores, _ = studies(seed, rounded=rounded)
    aurocs, covariance = delong(truth, scores)
    assert aurocs == pytest.approx([roc_auc_score(truth, score) for score in scores], abs=1e-12)
    assert covariance == pytest.approx(by_loops(truth, scores), abs=1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_the_variance_of_clusters_is_that_of_obuchowski_s_formulas(seed: int) -> None:
    truth, scores, patient = studies(seed)
    aurocs, covariance = clustered_delong(truth, scores, patient)
    expected = [of_clusters(truth, score, patient) for score in scores]
    assert aurocs == pytest.approx(delong(truth, scores)[0], abs=1e-15)
    assert np.diag(covariance) == pytest.approx(expected, abs=1e-14)
    of_sum = of_clusters(truth, scores[:2], patient)
    assert 2 * covariance[0, 1] == pytest.approx(of_sum - expected[0] - expected[1], abs=1e-14)
    assert covariance == pytest.approx(covariance.T, abs=1e-17)


def test_with_one_study_a_patient_both_are_equal() -> None:
    truth, scores, _ = studies(1)
    plain, clustered = delong(truth, scores)[1], clustered_delong(truth, scores, np.arange(60))[1]
    assert clustered == pytest.approx(plain, abs=1e-15)


def test_copies_of_a_patient_s_study_add_nothing() -> None:
    truth, scores, _ = studies(2)
    patient, twice = np.arange(60), np.repeat(np.arange(60), 2)
    once = clustered_delong(truth, scores, patient)[1]
    copied = clustered_delong(truth[twice], scores[:, twice], patient[twice])[1]
    assert copied == pytest.approx(once, abs=1e-15)
    assert np.diag(delong(truth[twice], scores[:, twice])[1]).max() < 0.6 * np.diag(once).max()  # which DeLong believes


def test_row_order_changes_nothing_to_the_last_bit() -> None:
    truth, scores, patient = studies(3)
    order = np.random.default_rng(0).permutation(60)
    for one, other in (
        (delong(truth, scores), delong(truth[order], scores[:, order])),
        (clustered_delong(truth, scores, patient), clustered_delong(truth[order], scores[:, order], patient[order])),
    ):
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])


def test_a_difference_is_tested_by_the_normal_distribution() -> None:
    # 0.1 with a variance of 0.04^2 + 0.03^2 - 2 * 0.0006 = 0.0013: z = 2.7735, p = 0.00555 (tables).
    found = difference_test([0.8, 0.7], [[0.0016, 0.0006], [0.0006, 0.0009]])
    assert found.value == pytest.approx(0.1)
    assert found.p_value == pytest.approx(0.00555, abs=1e-5)
    reach = 1.959964 * math.sqrt(0.0013)
    assert (found.low, found.high) == pytest.approx((0.1 - reach, 0.1 + reach), abs=1e-6)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (2, 0)])
def test_the_paired_test_is_that_of_the_paper_s_formulas(first: int, second: int) -> None:
    truth, scores, _ = studies(5)
    found = difference_test(*delong(truth, scores), first=first, second=second, confidence=0.9)
    matrix = by_loops(truth, scores)
    value = roc_auc_score(truth, scores[first]) - roc_auc_score(truth, scores[second])
    error = math.sqrt(matrix[first, first] + matrix[second, second] - 2 * matrix[first, second])
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(value) / error), abs=1e-12)
    assert (found.low, found.high) == pytest.approx(stats.norm.interval(0.9, value, error), abs=1e-12)


def test_different_rankings_of_equal_auroc_have_a_p_value_of_1() -> None:
    found = difference_test(*delong([1, 1, 0, 0], [[4, 2, 3, 1], [2, 4, 3, 1]]))
    assert (found.value, found.p_value, found.reason) == (0, 1, None)
    assert found.low == -found.high < 0


def test_a_difference_stays_within_minus_1_and_1() -> None:
    found = difference_test([0.9, 0.1], [[0.1, 0], [0, 0.1]])
    assert found.low == pytest.approx(0.8 - 1.959964 * math.sqrt(0.2), abs=1e-6)
    assert found.high == 1
    assert difference_test([0.1, 0.9], [[0.1, 0], [0, 0.1]]).low == -1


@pytest.mark.parametrize("other", [lambda score: score, lambda score: 2 * score + 1])
def test_models_that_rank_alike_have_no_test(other: object) -> None:
    truth, scores, patient = studies(0)
    both = np.stack([scores[0], other(scores[0])])  # type: ignore[operator]
    for found in (difference_test(*delong(truth, both)), difference_test(*clustered_delong(truth, both, patient))):
        assert found.value == 0
        assert np.isnan([found.low, found.high, found.p_value]).all()
        assert "no variance" in str(found.reason)


def test_a_separating_model_and_one_of_equal_scores_have_no_test() -> None:
    found = difference_test(*delong([1, 1, 0, 0], [[4, 3, 2, 1], [1, 1, 1, 1]]))
    assert found.value == 0.5
    assert np.isnan([found.low, found.high, found.p_value]).all()
    assert "no variance" in str(found.reason)


@pytest.mark.parametrize("scores", [[4, 3, 2, 1], [1, 2, 3, 4], [1, 1, 1, 1]])
@pytest.mark.parametrize("patient", [["a", "b", "c", "d"], ["a", "b", "b", "a"]])
def test_separated_or_equal_scores_have_no_variance_and_no_interval(scores: list[float], patient: list[str]) -> None:
    for aurocs, covariance in (delong([1, 1, 0, 0], [scores]), clustered_delong([1, 1, 0, 0], [scores], patient)):
        value, variance = aurocs[0], covariance[0, 0]
        assert variance == 0
        assert np.isnan(auroc_interval(value, variance)).all()
        assert "leave no variance" in str(why_no_interval(value, variance))


def test_patients_whose_two_sides_cancel_leave_no_variance_and_not_its_rounding() -> None:
    # By fractions: AUROC 12/25, and what either patient's positives gain his or her negatives lose.
    truth, score = [1, 1, 0, 0, 1, 0, 0, 0, 1, 1], [3, 2, 5, 2, 5, 4, 1, 1, 1, 1]
    aurocs, covariance = clustered_delong(truth, [score], [1, 1, 0, 0, 1, 1, 0, 0, 0, 1])
    assert aurocs[0] == pytest.approx(12 / 25, abs=1e-15)
    assert covariance[0, 0] == 0
    assert np.isnan(auroc_interval(aurocs[0], covariance[0, 0])).all()
    # Of each of 53 patients the positive comes just above the negative; of several models the products are rounded
    # otherwise than of one.
    number = np.arange(53)
    score, patient = np.r_[number + 0.5, number], np.r_[number, number]
    _, covariance = clustered_delong(np.r_[np.ones(53), np.zeros(53)], [score] * 3, patient)
    assert (covariance == 0).all()


def test_one_class_has_no_auroc_and_two_studies_of_a_class_are_needed() -> None:
    scores = [[1, 2, 3], [3, 1, 2]]
    for truth in ([1, 1, 1], [0, 0, 0]):
        for aurocs, covariance in (delong(truth, scores), clustered_delong(truth, scores, [1, 2, 3])):
            assert np.isnan(aurocs).all()
            assert np.isnan(covariance).all()
            assert why_no_interval(aurocs[0], covariance[0, 0]) == "one class only: there is no AUROC"
            assert difference_test(aurocs, covariance).reason == "one class only: there is no AUROC"
    found = delong([1, 0, 0], scores), clustered_delong([1, 1, 0, 0], [[3, 1, 2, 0]] * 2, ["a", "a", "b", "c"])
    for aurocs, covariance in found:
        assert not np.isnan(aurocs).any()
        assert "fewer than two patients" in str(why_no_interval(aurocs[0], covariance[0, 0]))
        assert "fewer than two patients" in str(difference_test(aurocs, covariance).reason)
    assert found[1][0][0] == 0.75


def test_of_no_studies_there_is_nothing() -> None:
    for aurocs, covariance in (delong([], np.zeros((2, 0))), clustered_delong([], np.zeros((2, 0)), [])):
        assert aurocs.shape == (2,)
        assert covariance.shape == (2, 2)
        assert np.isnan(aurocs).all()
        assert np.isnan(covariance).all()


def test_an_interval_on_the_logit_scale_by_hand() -> None:
    # logit 0.9 = 2.197225; error 0.03 / 0.09 = 1/3; 2.197225 -+ 0.653321.
    low, high = auroc_interval(0.9, 0.0009)
    assert (low, high) == pytest.approx((1 / (1 + math.exp(-1.543904)), 1 / (1 + math.exp(-2.850546))), abs=1e-6)
    assert auroc_interval(0.99, 0.0009, transform="wald") == pytest.approx((0.99 - 1.959964 * 0.03, 1.0), abs=1e-6)


def test_an_interval_on_the_logit_scale_stays_within_0_and_1_however_large_the_variance() -> None:
    assert auroc_interval(0.999, 0.25) == (0, 1)
    assert auroc_interval(0.001, 0.25) == (0, 1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"y_true is \(3,\) and y_scores \(1, 4\)"):
        delong([1, 0, 1], [[1, 2, 3, 4]])
    with pytest.raises(InputError, match=r"y_scores \(4,\)"):
        delong([1, 0, 1, 0], [1, 2, 3, 4])
    with pytest.raises(InputError, match="at least one model"):
        clustered_delong([1, 0], np.zeros((0, 2)), ["a", "b"])
    with pytest.raises(InputError, match="patient is"):
        clustered_delong([1, 0], [[1, 2]], ["a"])
    for missing in (np.array(["a", None, "b"], dtype=object), np.array([1.0, np.nan, 2.0])):
        with pytest.raises(InputError, match="1 of 3 studies have no patient"):
            clustered_delong([1, 0, 1], [[1, 2, 3]], missing)
    with pytest.raises(InputError, match="confidence is 95"):
        auroc_interval(0.8, 0.01, 95)
    with pytest.raises(InputError, match="confidence is 95"):
        difference_test([0.8, 0.7], np.eye(2), confidence=95)
    with pytest.raises(ValueError, match="NaN"):
        delong([1, 0], [[1, np.nan]])
    with pytest.raises(ValueError, match="0 or 1"):
        delong([1, 2], [[1, 2]])
    with pytest.raises(InputError, match="transform is 'log'"):
        auroc_interval(0.8, 0.01, transform="log")
