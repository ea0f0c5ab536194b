"""Intervals from draws: by hand, against scipy, and what has none. Their coverage: test_coverage.py."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.intervals import (
    bca_interval,
    distance_interval,
    extreme_interval,
    jackknife_times,
    percentile_interval,
    simultaneous_band,
    two_sided_p_value,
)
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.evaluation.scorers import Grouping, values_of_draws, values_of_times


def limits(found: object) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


# One number.


def test_of_very_many_patients_the_limits_are_the_plain_percentiles() -> None:
    drawn = np.arange(1.0, 1000.0)  # 999 draws: the k-th stands at k / 1000
    assert limits(percentile_interval(drawn, 0.9, num_patients=10**9)) == pytest.approx((50.0, 950.0), abs=1e-6)


def test_of_few_patients_the_limits_stand_further_apart_by_students_t() -> None:
    # Ten patients: z = t(0.975; 9) * sqrt(10 / 9) = 2.262157 * 1.054093 = 2.384523, tail 0.0085507.
    drawn = np.arange(1.0, 10000.0)
    low, high = limits(percentile_interval(drawn, 0.95, num_patients=10))
    assert low == pytest.approx(10000 * stats.norm.cdf(-stats.t.ppf(0.975, 9) * math.sqrt(10 / 9)), abs=1e-6)
    assert low == pytest.approx(85.5, abs=0.1)
    assert high == pytest.approx(10000 - low, abs=1e-6)


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    drawn = np.random.default_rng(0).normal(size=500)
    narrow, wide = (limits(percentile_interval(drawn, level, num_patients=100)) for level in (0.8, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_a_few_draws_without_a_value_are_left_out_and_more_give_no_interval_but_the_reason() -> None:
    drawn = np.linspace(0, 1, 100)
    drawn[:5] = math.nan
    kept = np.linspace(0, 1, 100)[5:]
    found = percentile_interval(drawn, 0.9, num_patients=10**9)
    assert limits(found) == pytest.approx(tuple(np.quantile(kept, [0.05, 0.95], method="weibull")))
    drawn[5] = math.nan
    found = percentile_interval(drawn, 0.9, num_patients=10**9)
    assert (found.low, found.high, found.method) == (None, None, None)
    assert found.reason == "6 of 100 bootstrap draws have no value: too few patients, or too few of one class"


def test_draws_that_are_all_equal_give_no_interval_but_the_reason() -> None:
    found = percentile_interval(np.ones(200), 0.95, num_patients=50)
    assert found.reason == "all 200 bootstrap draws give the same value: too few patients, or one score for all"


def test_many_studies_a_patient_widen_the_interval() -> None:
    """Every patient's film five times over: as if one film each, and not five times the evidence."""
    rng = np.random.default_rng(4)
    truth = (rng.random(80) < 0.5).astype(float)
    score = truth + rng.normal(size=80)
    names = pd.Series([f"{number:03d}" for number in range(80)])

    def width(times: int, ids: pd.Series) -> float:
        draws = PatientDraws.of(ids, num_draws=500, seed=0)
        everyone = [Grouping.everyone(80 * times)]
        (drawn,) = values_of_draws({"auroc": auroc}, np.repeat(truth, times), np.repeat(score, times), draws, everyone)
        low, high = limits(percentile_interval(drawn["auroc"][:, 0], 0.95, num_patients=40))
        return high - low

    repeated = names.repeat(5).reset_index(drop=True)
    assert width(5, repeated) == pytest.approx(width(1, names), abs=1e-12)
    assert width(5, pd.Series([f"{number:03d}" for number in range(400)])) < 0.6 * width(1, names)


def test_one_study_a_patient_agrees_with_scipys_bootstrap() -> None:
    rng = np.random.default_rng(2)
    truth = (rng.random(150) < 0.4).astype(float)
    score = 0.8 * truth + rng.normal(size=150)
    draws = PatientDraws.of(pd.Series([f"{number:03d}" for number in range(150)]), num_draws=4000, seed=0)
    everyone = [Grouping.everyone(150)]
    (drawn,) = values_of_draws({"auroc": auroc}, truth, score, draws, everyone)
    (left_out,) = values_of_times({"auroc": auroc}, truth, score, draws.patient, everyone, jackknife_times(150))
    value = auroc(truth, score)
    ours = {
        "percentile": percentile_interval(drawn["auroc"][:, 0], 0.95, num_patients=10**9),
        "BCa": bca_interval(drawn["auroc"][:, 0], value, left_out["auroc"][:, 0], 0.95, num_patients=10**9),
    }
    for method, found in ours.items():
        theirs = stats.bootstrap(
            (truth, score), lambda a, b: auroc(a, b), paired=True, vectorized=False, n_resamples=4000,
            method=method, rng=np.random.default_rng(1),
        ).confidence_interval  # fmt: skip
        assert limits(found) == pytest.approx((theirs.low, theirs.high), abs=0.012)


def test_bca_is_the_percentile_interval_where_there_is_neither_bias_nor_skew() -> None:
    drawn = np.arange(-500.0, 501.0)
    left_out = np.array([-1.0, 1.0, -2.0, 2.0])
    found = bca_interval(drawn, 0.0, left_out, 0.9, num_patients=100)
    assert limits(found) == pytest.approx(limits(percentile_interval(drawn, 0.9, num_patients=100)))


def test_bca_shifts_towards_where_the_value_says_the_draws_are_biased() -> None:
    # 30 % of the draws are below the value: z0 = -0.5244; tails Phi(2 z0 -+ 1.6449) = 0.0035 and 0.7246.
    drawn = np.arange(1.0, 10000.0)
    found = bca_interval(drawn, 3000.0, np.zeros(4), 0.9, num_patients=10**9)
    assert limits(found) == pytest.approx((36, 7246), abs=12)


def test_bca_says_why_it_has_none_where_all_draws_lie_on_one_side() -> None:
    found = bca_interval(np.linspace(0, 1, 100), 2.0, np.zeros(4), 0.9, num_patients=100)
    assert found.reason == "all 100 bootstrap draws lie on one side of the value"


def test_a_jackknife_leaves_each_patient_out_once_and_of_very_many_patients_some_at_a_time() -> None:
    assert np.array_equal(jackknife_times(3), 1 - np.eye(3))
    many = jackknife_times(1000)
    assert many.shape == (400, 1000)
    assert (many.sum(axis=0) == 399).all()
    assert set(many.sum(axis=1)) == {997, 998}


# Several numbers.


def test_a_band_of_one_number_is_its_normal_interval_and_of_several_it_is_wider() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(20000, 4)) * [1, 2, 3, 4]
    values = np.zeros(4)
    low, high = simultaneous_band(values[:1], drawn[:, :1], 0.95, num_patients=10**9)
    assert (low[0], high[0]) == pytest.approx((-1.96, 1.96), abs=0.04)
    low, high = simultaneous_band(values, drawn, 0.95, num_patients=10**9)
    sidak = stats.norm.ppf(0.5 + 0.95 ** (1 / 4) / 2)  # of four independent numbers
    assert high == pytest.approx(sidak * np.array([1, 2, 3, 4]), rel=0.03)
    assert low == pytest.approx(-high)


def test_of_the_worst_the_limits_are_the_smallest_of_the_band() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(5000, 2)) * [0.01, 0.2] + np.array([0.7, 0.8])
    values = np.array([0.7, 0.8])
    low, high = simultaneous_band(values, drawn, 0.95, num_patients=10**9)
    found = extreme_interval(values, drawn, 0.95, num_patients=10**9, extreme=np.min)
    assert limits(found) == (low.min(), high.min())
    assert low.argmin() == 1  # the second may be the worse one
    assert high.argmin() == 0
    assert found.method == "simultaneous bootstrap of patients"


def test_a_distance_reaches_down_to_0_where_0_is_in_the_band_and_never_below() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(5000, 2))
    near = distance_interval(np.array([0.3, -0.5]), drawn + np.array([0.3, -0.5]), 0.95, num_patients=10**9)
    assert near.low == 0
    far = distance_interval(np.array([0.0, -9.0]), drawn + np.array([0.0, -9.0]), 0.95, num_patients=10**9)
    assert limits(far) == pytest.approx((9 - 2.24, 9 + 2.24), abs=0.1)


def test_draws_that_lack_one_of_the_numbers_are_left_out_and_counted() -> None:
    drawn = np.random.default_rng(0).normal(size=(100, 2))
    drawn[:6, 0] = math.nan
    found = extreme_interval(np.zeros(2), drawn, 0.95, num_patients=50)
    assert found.reason == "6 of 100 bootstrap draws lack one of the values: too few patients"
    drawn[5, 0] = 0.0
    assert extreme_interval(np.zeros(2), drawn, 0.95, num_patients=50).low is not None


# Of no difference.


def test_a_p_value_is_twice_the_smaller_share_beyond_0_with_the_sample_as_one_draw_more() -> None:
    drawn, many = np.r_[-np.ones(4), np.ones(95)], 10**9  # of so many patients Student's t is the normal distribution
    # 0 lies half way between the fourth and the fifth of 99 draws, at 4.5 / (99 + 1).
    assert two_sided_p_value(drawn, num_patients=many) == pytest.approx(2 * 4.5 / 100)
    assert two_sided_p_value(-drawn, num_patients=many) == pytest.approx(2 * 4.5 / 100)
    assert two_sided_p_value(np.r_[np.ones(98), 2.0], num_patients=many) == pytest.approx(2 / 100)  # never 0
    assert two_sided_p_value(np.r_[-np.ones(50), np.ones(50)], num_patients=many) == 1.0


@pytest.mark.parametrize("num_patients", [5, 8, 12, 40, 1000])
def test_a_p_value_is_below_5_percent_just_where_the_95_percent_interval_leaves_0_out(num_patients: int) -> None:
    drawn = np.sort(np.random.default_rng(0).normal(size=9999))
    for beyond in range(1, 400):
        moved = drawn - drawn[beyond] + 1e-9  # so many draws lie below 0
        found = percentile_interval(moved, 0.95, num_patients=num_patients)
        is_below = two_sided_p_value(moved, num_patients=num_patients) < 0.05
        assert is_below == (found.low > 0)


def test_draws_that_are_too_few_for_the_confidence_are_said() -> None:
    drawn = 1 + np.random.default_rng(0).random(100)
    # Of 100 draws the thinnest tail is 1 / 101. Seven patients need Student's t of 6 degrees: 0.4 %.
    found = percentile_interval(drawn, 0.95, num_patients=7)
    assert (found.low, found.high) == (drawn.min(), drawn.max())
    assert found.method == "farthest draws, which are too few for this confidence, bootstrap of patients"
    assert two_sided_p_value(drawn, num_patients=7) > 0.05
    assert percentile_interval(drawn, 0.95, num_patients=100).method == "percentile bootstrap of patients"


def test_fewer_than_five_patients_give_neither_interval_nor_p_value() -> None:
    drawn = np.random.default_rng(0).normal(1, 0.1, 1000)
    found = percentile_interval(drawn, 0.95, num_patients=4)
    assert (found.low, found.high) == (None, None)
    assert found.reason == "it rests on 4 patients, where classes count those of the rarer one: an interval needs 5"
    assert math.isnan(two_sided_p_value(drawn, num_patients=4))
    assert percentile_interval(drawn, 0.95, num_patients=5).low is not None


def test_where_there_is_no_interval_there_is_no_p_value() -> None:
    assert math.isnan(two_sided_p_value(np.zeros(100), num_patients=50))
    assert math.isnan(two_sided_p_value(np.full(100, math.nan), num_patients=50))
