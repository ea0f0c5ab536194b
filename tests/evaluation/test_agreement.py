"""Agreement of readers: the examples of the papers, statsmodels and scikit-learn as oracles, and the edges."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

from midrc_ml.errors import InputError
from midrc_ml.evaluation.agreement import ICC_FORMS, cohen_kappa, fleiss_kappa, icc, observed_agreement

# Shrout and Fleiss 1979, table 2: six targets, four judges; the coefficients as printed in table 4.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
PRINTED = {"1,1": 0.17, "2,1": 0.29, "3,1": 0.71, "1,k": 0.44, "2,k": 0.62, "3,k": 0.91}
# The example of ten subjects, fourteen raters and five categories that is used everywhere: kappa 0.210.
FLEISS = np.array(
    [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
     [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
)  # fmt: skip


@pytest.mark.parametrize("form", ICC_FORMS)
def test_the_six_forms_are_those_of_shrout_and_fleiss(form: str) -> None:
    assert round(float(icc(JUDGES, form=form)), 2) == PRINTED[form]


@pytest.mark.parametrize("form", ICC_FORMS)
def test_an_analysis_of_variance_by_loops_gives_the_same(form: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(12, 3)) + rng.normal(size=(12, 1)) * 2 + [0, 1, -0.5]
    n, k, grand = 12, 3, values.mean()
    between = k * sum((values[i].mean() - grand) ** 2 for i in range(n)) / (n - 1)
    readers = n * sum((values[:, j].mean() - grand) ** 2 for j in range(k)) / (k - 1)
    within = sum((values[i, j] - values[i].mean()) ** 2 for i in range(n) for j in range(k)) / (n * (k - 1))
    error = (within * n * (k - 1) - readers * (k - 1)) / ((n - 1) * (k - 1))
    expected = {
        "1,1": (between - within) / (between + (k - 1) * within),
        "2,1": (between - error) / (between + (k - 1) * error + k * (readers - error) / n),
        "3,1": (between - error) / (between + (k - 1) * error),
        "1,k": (between - within) / between,
        "2,k": (between - error) / (between + (readers - error) / n),
        "3,k": (between - error) / between,
    }
    assert icc(values, form=form) == pytest.approx(expected[form], abs=1e-12)


def test_fleiss_kappa_of_the_known_example_and_of_statsmodels() -> None:
    ratings = np.array([np.repeat(np.arange(5), counts) for counts in FLEISS])
    assert round(float(fleiss_kappa(ratings)), 3) == 0.210
    rng = np.random.default_rng(1)
    ratings = rng.integers(0, 4, (30, 5))
    table, _ = inter_rater.aggregate_raters(ratings)
    assert fleiss_kappa(ratings) == pytest.approx(inter_rater.fleiss_kappa(table), abs=1e-12)


def test_cohen_kappa_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(2)
    first = rng.integers(0, 3, 50)
    second = np.where(rng.random(50) < 0.6, first, rng.integers(0, 4, 50))
    assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert observed_agreement(first, second) == (first == second).mean()


def test_by_hand() -> None:
    # Two readers, four studies: agree on three; shares of 1 are 1/2 and 3/4: chance 1/2*3/4 + 1/2*1/4 = 1/2.
    assert cohen_kappa([0, 0, 1, 1], [0, 1, 1, 1]) == pytest.approx((0.75 - 0.5) / 0.5)
    # Fleiss takes both readers' shares together, 5/8 and 3/8: chance 34/64.
    assert fleiss_kappa([[0, 0], [0, 1], [1, 1], [1, 1]]) == pytest.approx((48 / 64 - 34 / 64) / (30 / 64))


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_a_reader_who_always_scores_higher_costs_agreement_but_not_consistency(shift: float) -> None:
    one = np.arange(10.0) + shift
    both = np.stack([one, one + 2], axis=1)
    assert icc(both, form="3,1") == pytest.approx(1, abs=1e-6)
    # MSR 2 * 82.5 / 9, MSC 20 * 1, MSE 0: (MSR) / (MSR + 2 * 20 / 10).
    assert icc(both) == pytest.approx((165 / 9) / (165 / 9 + 4), abs=1e-6)


@pytest.mark.parametrize("metric", [icc, fleiss_kappa])
def test_ratings_that_are_all_the_same_are_not_estimable(metric: object) -> None:
    assert math.isnan(metric(np.full((5, 3), 2.3)))  # type: ignore[operator]
    assert math.isnan(metric(np.zeros((0, 2))))  # type: ignore[operator]


def test_one_class_of_two_readers_is_not_estimable() -> None:
    assert math.isnan(cohen_kappa([1, 1, 1], [1, 1, 1]))
    assert observed_agreement([1, 1, 1], [1, 1, 1]) == 1


@pytest.mark.parametrize("metric", [icc, fleiss_kappa])
def test_one_reader_and_missing_ratings_are_refused(metric: object) -> None:
    with pytest.raises(InputError, match="at least two readers"):
        metric(np.zeros((5, 1)))  # type: ignore[operator]
    with pytest.raises(ValueError, match="NaN"):
        metric(np.array([[1, 2], [1, np.nan]]))  # type: ignore[operator]


def test_a_form_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="form is '2'; it must be one of 1,1; 2,1"):
        icc(JUDGES, form="2")


@pytest.mark.parametrize("metric", [icc, fleiss_kappa])
def test_draws_are_studies_repeated_and_row_order_changes_nothing(metric: object) -> None:
    rng = np.random.default_rng(3)
    ratings = rng.integers(0, 4, (20, 3))
    weights = rng.integers(0, 3, (5, 20)).astype(float)
    drawn = metric(ratings, sample_weight=weights)  # type: ignore[operator]
    for row, value in zip(weights, drawn, strict=True):
        assert value == pytest.approx(metric(np.repeat(ratings, row.astype(int), axis=0)), abs=1e-12)  # type: ignore[operator]
    order = rng.permutation(20)
    assert metric(ratings[order]) == pytest.approx(metric(ratings), abs=1e-12)  # type: ignore[operator]


def test_draws_of_cohen_kappa_are_studies_repeated() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.integers(0, 3, (2, 20))
    weights = rng.integers(0, 3, (5, 20)).astype(float)
    for metric in (cohen_kappa, observed_agreement):
        for row, value in zip(weights, metric(first, second, sample_weight=weights), strict=True):
            repeated = np.repeat(np.arange(20), row.astype(int))
            assert value == pytest.approx(metric(first[repeated], second[repeated]), abs=1e-12)
