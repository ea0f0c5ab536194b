"""Calibration: by hand, at its edges, and against statsmodels and scikit-learn."""

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
import statsmodels.api
from scipy.special import logit
from scipy.stats import linregress
from sklearn import calibration as sklearn_calibration
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from midrc_ml.evaluation.calibration import (
    TARGETS,
    brier_reliability_loss,
    brier_resolution,
    brier_skill_score,
    brier_uncertainty,
    brier_within_bins_loss,
    calibration_differences,
    calibration_intercept,
    calibration_slope,
    expected_calibration_error,
    expected_calibration_error_interval,
    linear_calibration_intercept,
    linear_calibration_slope,
    mean_calibration_difference,
)
from midrc_ml.evaluation.calibration_bins import EqualMassBins
from midrc_ml.evaluation.metrics import brier_loss, lower_is_better

BINNED = {
    function.__name__: function
    for function in (
        expected_calibration_error,
        brier_reliability_loss,
        brier_resolution,
        brier_within_bins_loss,
    )
}
PROBABILITY = BINNED | {
    function.__name__: function
    for function in (calibration_slope, calibration_intercept, brier_uncertainty, brier_skill_score)
}
NUMBER = {
    function.__name__: function
    for function in (mean_calibration_difference, linear_calibration_slope, linear_calibration_intercept)
}
ALL = PROBABILITY | NUMBER

every_metric = pytest.mark.parametrize("metric", ALL.values(), ids=ALL)
probability_metric = pytest.mark.parametrize("metric", PROBABILITY.values(), ids=PROBABILITY)
fit = pytest.mark.parametrize("metric", [calibration_slope, calibration_intercept])


def studies(seed: int, count: int = 200, *, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Truth and too extreme probabilities; few digits make many ties."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-1, 1.5, count)
    truth = (rng.random(count) < 1 / (1 + np.exp(0.3 - 0.7 * log_odds))).astype(float)
    return truth, np.clip(np.round(1 / (1 + np.exp(-log_odds)), digits), 0.01, 0.99)


def draws(seed: int, num_draws: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), num_draws).astype(float)


# Slope and intercept.


def test_slope_and_intercept_of_two_scores_by_hand() -> None:
    # Of four at 0.2 one is positive, of four at 0.8 two: log odds of the shares -log 3 and 0, of the scores -/+ log 4.
    truth, score = [1, 0, 0, 0, 1, 1, 0, 0], [0.2] * 4 + [0.8] * 4
    assert calibration_slope(truth, score) == pytest.approx(math.log(3) / (2 * math.log(4)), abs=1e-12)
    # All at 1/2, of which a quarter is positive.
    assert calibration_intercept([1, 0, 0, 0], [0.5] * 4) == pytest.approx(-math.log(3), abs=1e-12)


def test_perfectly_calibrated_scores_have_the_targets() -> None:
    truth, score = [1] * 2 + [0] * 8 + [1] * 8 + [0] * 2, [0.2] * 10 + [0.8] * 10
    for name, metric in ALL.items():
        if name in TARGETS:
            assert metric(truth, score) == pytest.approx(TARGETS[name], abs=1e-12), name
    assert expected_calibration_error(truth, score) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_slope_and_intercept_are_those_of_statsmodels(seed: int, weighted: bool) -> None:
    truth, score = studies(seed)
    weight = np.random.default_rng(seed).random(len(truth)) if weighted else np.ones(len(truth))
    family = statsmodels.api.families.Binomial()
    given = {"family": family, "freq_weights": weight}
    design = statsmodels.api.add_constant(logit(score))
    slope = statsmodels.api.GLM(truth, design, **given).fit(tol=1e-12).params[1]
    offset = statsmodels.api.GLM(truth, np.ones(len(truth)), offset=logit(score), **given).fit(tol=1e-12).params[0]
    assert calibration_slope(truth, score, sample_weight=weight) == pytest.approx(slope, abs=1e-8)
    assert calibration_intercept(truth, score, sample_weight=weight) == pytest.approx(offset, abs=1e-8)


def test_the_slope_is_that_of_scikit_learn() -> None:
    truth, score = studies(5)
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(score)[:, None], truth)
    assert calibration_slope(truth, score) == pytest.approx(fitted.coef_[0, 0], abs=1e-6)


@pytest.mark.parametrize("distance", [0.3, 1e-3, 1e-6])
def test_a_far_solution_is_found_too(distance: float) -> None:
    # Classes that all but part: the slope is many times that from which the search starts.
    truth = np.r_[np.zeros(50), 1, np.ones(50), 0]
    log_odds = np.r_[np.linspace(-8, -1, 50), -distance, np.linspace(1, 8, 50), distance]
    score = 1 / (1 + np.exp(-log_odds))
    weight = np.ones((3, len(truth)))
    weight[1, [10, 20, 80]] = 0
    weight[2, ::2] = 3
    for row, slope in zip(weight, calibration_slope(truth, score, sample_weight=weight), strict=True):
        probability = 1 / (1 + np.exp(-slope * log_odds))
        if (row == row[::-1]).all():  # symmetric, so without an intercept: the likelihood is level at the slope
            assert (row * (truth - probability) * log_odds).sum() == pytest.approx(0, abs=1e-7)
        assert slope > 1


def test_draws_far_from_the_sample_are_solved_from_its_solution() -> None:
    truth, score = studies(6, 400)
    weight = np.zeros((2, 400))
    weight[0, np.random.default_rng(0).choice(400, 30, replace=False)] = 1
    chosen = (truth == 1) == (score < 0.4)  # only those on the wrong side: the slope turns
    weight[1, chosen] = 5
    weight[1, ~chosen] = np.random.default_rng(1).integers(0, 2, (~chosen).sum())
    for row, slope in zip(weight, calibration_slope(truth, score, sample_weight=weight), strict=True):
        held = row > 0
        design = statsmodels.api.add_constant(logit(score[held]))
        model = statsmodels.api.GLM(
            truth[held], design, family=statsmodels.api.families.Binomial(), freq_weights=row[held]
        )
        assert slope == pytest.approx(model.fit(tol=1e-13).params[1], abs=1e-8)


def test_a_draw_whose_slope_turns_from_a_steep_one_is_solved_too() -> None:
    # All studies together have a slope of about 10; drawn are mostly the two on the wrong side.
    log_odds = np.r_[np.linspace(-8, -1, 50), -0.3, np.linspace(1, 8, 50), 0.3]
    truth, score = np.r_[np.zeros(50), 1, np.ones(50), 0], 1 / (1 + np.exp(-log_odds))
    weight = np.zeros((2, 102))
    weight[0, [1, 17, 31, 66, 82, 93]] = 1
    weight[0, [50, 101]] = 25, 19
    weight[1, [0, 12, 41, 66, 68]] = 1
    weight[1, [50, 101]] = 3, 9
    slopes = calibration_slope(truth, score, sample_weight=weight)
    for row, slope in zip(weight, slopes, strict=True):
        held = row > 0
        design = statsmodels.api.add_constant(log_odds[held])
        model = statsmodels.api.GLM(
            truth[held], design, family=statsmodels.api.families.Binomial(), freq_weights=row[held]
        )
        assert slope == pytest.approx(model.fit(tol=1e-13).params[1], abs=1e-8)


def test_classes_that_do_not_overlap_have_no_slope() -> None:
    assert math.isnan(calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]))
    assert math.isnan(calibration_slope([0, 0, 1, 1], [0.4, 0.3, 0.2, 0.1]))
    assert math.isnan(calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.2, 0.4]))  # they only touch
    assert not math.isnan(calibration_slope([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4]))
    assert not math.isnan(calibration_intercept([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]))


def test_equal_scores_have_an_intercept_and_no_slope() -> None:
    truth = [0, 1, 0, 1, 1]
    for metric in (calibration_slope, linear_calibration_slope, linear_calibration_intercept):
        assert math.isnan(metric(truth, [0.3] * 5))
        assert math.isnan(metric([0] * 2 + [1] * 7, [0.01] * 9))  # whose mean is 0.01 but for the last digit
    assert calibration_intercept(truth, [0.3] * 5) == pytest.approx(logit(0.6) - logit(0.3))


def test_a_draw_without_overlap_is_nan_and_leaves_the_others() -> None:
    truth, score = [0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.9]
    weight = [[1, 1, 1, 1, 1], [1, 0, 1, 1, 1], [1, 0, 1, 0, 0], [2, 1, 1, 1, 1]]
    assert np.isnan(calibration_slope(truth, score, sample_weight=weight)).tolist() == [False, True, True, False]
    assert np.isnan(calibration_intercept(truth, score, sample_weight=weight)).tolist() == [False, False, True, False]


@fit
def test_a_probability_of_0_or_1_counts_as_nearly_so(metric: Callable) -> None:
    truth, score = [0, 1, 0, 1, 0, 1], np.array([0, 0.2, 0.6, 0.5, 1, 1])
    found = metric(truth, score)
    assert math.isfinite(found)
    assert found == metric(truth, np.clip(score, 1e-7, 1 - 1e-7))
    assert found != metric(truth, np.clip(score, 1e-6, 1 - 1e-6))


def test_ten_thousand_studies_and_a_thousand_draws_take_seconds_at_most() -> None:
    truth, score = studies(0, 10_000, digits=9)
    weight = draws(1, 1000, 10_000)
    start = time.process_time()
    assert np.isfinite(calibration_slope(truth, score, sample_weight=weight)).all()
    assert time.process_time() - start < 6  # 0.7 s on the machine of 2026; by one regression a draw it took minutes


# Means and lines.


def test_mean_calibration_difference_by_hand() -> None:
    assert mean_calibration_difference([1, 0, 0, 0], [0.9, 0.5, 0.3, 0.1]) == pytest.approx(0.45 - 0.25)
    assert mean_calibration_difference([6, 2], [3, 3]) == -1  # of labels that are numbers


def test_the_line_of_label_on_score_by_hand() -> None:
    # Scores 0, 2, 4 around 2, labels 1, 2, 6: slope (-2 * 1 + 2 * 6) / 8 = 5/4, intercept 3 - 5/2.
    assert linear_calibration_slope([1, 2, 6], [0, 2, 4]) == pytest.approx(5 / 4)
    assert linear_calibration_intercept([1, 2, 6], [0, 2, 4]) == pytest.approx(1 / 2)


def test_the_line_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 9, 80).astype(float)
    score = 2 + 0.5 * truth + rng.normal(0, 1, 80)
    line = linregress(score, truth)
    assert linear_calibration_slope(truth, score) == pytest.approx(line.slope, abs=1e-12)
    assert linear_calibration_intercept(truth, score) == pytest.approx(line.intercept, abs=1e-12)


# Bins.


def test_expected_calibration_error_by_hand() -> None:
    # Two bins of two: |0.15 - 1/2| and |0.75 - 1|.
    truth, score = [0, 1, 1, 1], [0.1, 0.2, 0.6, 0.9]
    assert expected_calibration_error(truth, score, num_bins=2) == pytest.approx((0.35 + 0.25) / 2)
    differences, weights = calibration_differences(truth, score, num_bins=2)
    assert differences == pytest.approx([-0.35, -0.25])
    assert weights.tolist() == [0.5, 0.5]


def test_bins_have_equal_numbers_where_no_scores_are_tied() -> None:
    score = np.random.default_rng(0).permutation(np.arange(100) / 100)
    bins = EqualMassBins.of(score, 10)
    assert np.bincount(bins.bin_of(score)).tolist() == [10] * 10
    assert sorted(score[bins.bin_of(score) == 3]) == pytest.approx(np.arange(30, 40) / 100)
    # What cannot be divided evenly differs by one.
    assert sorted(np.bincount(EqualMassBins.of(score[:23], 5).bin_of(score[:23]))) == [4, 4, 5, 5, 5]


def test_studies_of_one_score_are_in_one_bin() -> None:
    score = np.repeat([0.1, 0.2, 0.3, 0.4], [70, 10, 10, 10])
    # 0.1 goes where the middle of its studies, the 35th of 100, goes: in the second of five bins.
    assert EqualMassBins.of(score, 5).bin_of([0.1, 0.2, 0.3, 0.4]).tolist() == [0, 1, 2, 2]
    assert EqualMassBins.of(score, 5).num_bins == 3
    assert EqualMassBins.of(np.full(50, 0.2), 10).num_bins == 1


def test_no_bin_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="num_bins is 0; it must be at least 1"):
        expected_calibration_error([0, 1], [0.1, 0.2], num_bins=0)


@pytest.mark.parametrize("num_bins", [1, 4, 10])
def test_the_bins_are_scikit_learns_where_no_scores_are_tied(num_bins: int) -> None:
    truth, score = studies(2, 200, digits=15)
    share, average = sklearn_calibration.calibration_curve(truth, score, n_bins=num_bins, strategy="quantile")
    differences, weights = calibration_differences(truth, score, num_bins=num_bins)
    assert differences == pytest.approx(average - share, abs=1e-12)
    assert weights == pytest.approx(np.full(num_bins, 1 / num_bins))
    expected = np.abs(average - share).mean()
    assert expected_calibration_error(truth, score, num_bins=num_bins) == pytest.approx(expected, abs=1e-12)


def test_draws_share_the_bins_of_the_studies() -> None:
    truth, score = [0, 1, 1, 1], [0.1, 0.2, 0.6, 0.9]
    weight = [[3, 0, 0, 1], [0, 0, 2, 2], [0, 0, 0, 0]]
    differences, weights = calibration_differences(truth, score, num_bins=2, sample_weight=weight)
    np.testing.assert_allclose(differences, [[0.1, -0.1], [np.nan, -0.25], [np.nan, np.nan]], atol=1e-12)
    np.testing.assert_allclose(weights, [[0.75, 0.25], [0, 1], [np.nan, np.nan]])
    found = expected_calibration_error(truth, score, num_bins=2, sample_weight=weight)
    np.testing.assert_allclose(found, [0.1, 0.25, np.nan], atol=1e-12)


# The interval of the expected calibration error.


def test_the_interval_of_the_error_by_hand() -> None:
    differences, weights = np.array([0.1, -0.2]), np.array([0.25, 0.75])
    # Error 0.025 + 0.15. Draws 1 to 99 are off by their hundredth in the second bin: 0.75 times that.
    drawn = np.stack([np.full(99, 0.1), -0.2 + np.arange(1, 100) / 100], axis=1)
    low, high = expected_calibration_error_interval(drawn, weights, differences, 0.9)
    assert (low, high) == pytest.approx((0, 0.175 + 0.75 * 0.9))
    low, high = expected_calibration_error_interval(drawn, weights, differences, 0.1)
    assert (low, high) == pytest.approx((0.175 - 0.75 * 0.1, 0.175 + 0.75 * 0.1))
    assert expected_calibration_error_interval(10 * drawn, weights, differences, 0.9) == (0, 1)


def test_a_bin_that_a_draw_leaves_empty_counts_as_wrong_as_it_could_be() -> None:
    drawn = np.full((10, 2), [0.1, np.nan])
    low, high = expected_calibration_error_interval(drawn, np.array([0.9, 0.1]), np.array([0.1, 0.2]), 0.9)
    assert (low, high) == pytest.approx((0, 0.11 + 0.1 * 1.2))


def test_without_draws_or_studies_the_error_has_no_interval() -> None:
    weights, differences = np.array([1.0]), np.array([0.1])
    assert np.isnan(expected_calibration_error_interval(np.zeros((0, 1)), weights, differences, 0.9)).all()
    assert np.isnan(expected_calibration_error_interval(np.zeros((5, 0)), np.zeros(0), np.zeros(0), 0.9)).all()


def test_few_patients_stretch_the_interval_by_students_t() -> None:
    weights, differences = np.array([1.0]), np.array([0.4])
    drawn = 0.4 + np.arange(1, 100)[:, None] / 1000
    # t(0.975; 9) * sqrt(10 / 9) / z(0.975) = 2.262157 * 1.054093 / 1.959964; the quantile of the draws is 0.095.
    low, high = expected_calibration_error_interval(drawn, weights, differences, 0.95, num_patients=[10])
    assert (high - low) / 2 == pytest.approx(0.095 * 1.216616, abs=1e-6)
    one_class = {"num_patients": [3], "one_class": [True]}
    low, high = expected_calibration_error_interval(np.full((10, 1), 0.4), weights, differences, 0.9, **one_class)
    assert (low, high) == pytest.approx((0.4 - 1 / 5, 0.4 + 1 / 5))


# The parts of the Brier loss.


def test_the_parts_of_the_brier_loss_by_hand() -> None:
    truth, score = [0, 1, 1, 1], [0.1, 0.2, 0.6, 0.9]  # two bins: means 0.15 and 0.75, shares 1/2 and 1
    assert brier_reliability_loss(truth, score, num_bins=2) == pytest.approx((0.35**2 + 0.25**2) / 2)
    assert brier_resolution(truth, score, num_bins=2) == pytest.approx(0.25**2)
    assert brier_uncertainty(truth, score) == pytest.approx(3 / 16)
    # Variances 0.05^2 and 0.15^2; covariance in the first bin 0.05 / 2, in the second 0.
    assert brier_within_bins_loss(truth, score, num_bins=2) == pytest.approx((0.05**2 - 0.05 + 0.15**2) / 2)
    assert brier_skill_score(truth, score) == pytest.approx(1 - (0.01 + 0.64 + 0.16 + 0.01) / 4 / (3 / 16))


@pytest.mark.parametrize("num_bins", [1, 3, 10])
@pytest.mark.parametrize("digits", [1, 9])
def test_the_parts_add_up_to_the_brier_loss(num_bins: int, digits: int) -> None:
    truth, score = studies(3, digits=digits)
    weight = draws(4, 20, len(truth))
    total = (
        brier_reliability_loss(truth, score, num_bins=num_bins, sample_weight=weight)
        - brier_resolution(truth, score, num_bins=num_bins, sample_weight=weight)
        + brier_uncertainty(truth, score, sample_weight=weight)
        + brier_within_bins_loss(truth, score, num_bins=num_bins, sample_weight=weight)
    )
    np.testing.assert_allclose(total, brier_loss(truth, score, sample_weight=weight), atol=1e-12)


def test_the_skill_score_is_that_of_scikit_learns_loss() -> None:
    truth, score = studies(7)
    expected = 1 - brier_score_loss(truth, score) / brier_score_loss(truth, np.full(len(truth), truth.mean()))
    assert brier_skill_score(truth, score) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(brier_skill_score([1, 1], [0.5, 0.6]))
    assert brier_uncertainty([1, 1], [0.5, 0.6]) == 0


# Properties of all.


@every_metric
def test_the_order_of_studies_changes_nothing_at_all(metric: Callable) -> None:
    truth, score = studies(8, digits=1)
    weight = draws(9, 30, len(truth))
    order = np.random.default_rng(10).permutation(len(truth))
    assert metric(truth[order], score[order]) == metric(truth, score)
    shuffled = metric(truth[order], score[order], sample_weight=weight[:, order])
    assert metric(truth, score, sample_weight=weight).tolist() == shuffled.tolist()


@every_metric
def test_a_draw_is_the_same_to_the_last_bit_whatever_others_are_with_it(metric: Callable) -> None:
    truth, score = studies(11, 3000, digits=9)
    weight = draws(12, 60, len(truth))
    together = metric(truth, score, sample_weight=weight)
    assert together.shape == (60,)
    assert np.concatenate([metric(truth, score, sample_weight=weight[[row]]) for row in range(60)]).tolist() == (
        together.tolist()
    )
    assert metric(truth, score, sample_weight=weight[7]) == together[7]
    assert np.ndim(metric(truth, score, sample_weight=weight[7])) == 0


@every_metric
def test_whole_weights_equal_repeated_rows(metric: Callable) -> None:
    # Every score has the same weight, so that the bins are those of the repeated rows too.
    truth, score = studies(13)
    weight = (
        np.full(len(truth), 3) if metric in BINNED.values() else np.random.default_rng(4).integers(0, 4, len(truth))
    )
    repeated = metric(np.repeat(truth, weight), np.repeat(score, weight))
    assert metric(truth, score, sample_weight=weight) == pytest.approx(repeated, abs=1e-8)


@every_metric
def test_no_studies_give_nan(metric: Callable) -> None:
    assert math.isnan(metric([], []))
    truth, score = studies(14)
    assert np.isnan(metric(truth, score, sample_weight=np.zeros((2, len(truth))))).all()
    assert metric(truth, score, sample_weight=np.zeros((0, len(truth)))).shape == (0,)


@fit
@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1]])
def test_one_class_has_neither_slope_nor_intercept(metric: Callable, truth: list[int]) -> None:
    assert math.isnan(metric(truth, [0.1, 0.5, 0.9]))


@every_metric
@pytest.mark.parametrize("where", ["truth", "score"])
def test_nan_is_refused_and_never_counted(metric: Callable, where: str) -> None:
    truth, score = np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.2, 0.7])
    (truth if where == "truth" else score)[1] = np.nan
    with pytest.raises(ValueError, match="must not hold NaN"):
        metric(truth, score)


@probability_metric
def test_a_score_that_is_no_probability_is_refused(metric: Callable) -> None:
    for wrong in (1.01, -0.01):
        with pytest.raises(ValueError, match="must be a probability, from 0 to 1"):
            metric([0, 1, 0], [0.2, 0.3, wrong])
    with pytest.raises(ValueError, match="must be 0 or 1"):
        metric([0, 1, 2], [0.2, 0.3, 0.4])


@every_metric
def test_weights_of_another_number_of_studies_are_refused(metric: Callable) -> None:
    with pytest.raises(ValueError, match="of the same studies"):
        metric([0, 1, 0], [0.2, 0.3, 0.4], sample_weight=np.ones((2, 4)))


def test_names_tell_what_is_better_low() -> None:
    low = {"expected_calibration_error", "brier_reliability_loss", "brier_within_bins_loss"}
    assert {name for name in ALL if lower_is_better(name)} == low
    assert set(TARGETS) < set(ALL)
