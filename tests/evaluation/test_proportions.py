"""Wilson's and Newcombe's intervals: by hand and from the papers, statsmodels as oracle, the ends, what is refused."""

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from midrc_ml.errors import InputError
from midrc_ml.evaluation.proportions import newcombe_interval, two_sided_z, wilson_interval


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_it_is_statsmodels_s(confidence: float) -> None:
    count, total = np.array([0, 1, 5, 37, 50, 999]), np.array([10, 3, 5, 100, 50, 1000])
    ours = wilson_interval(count, total, confidence)
    theirs = proportion_confint(count, total, alpha=1 - confidence, method="wilson")
    assert ours[0] == pytest.approx(theirs[0], abs=1e-12)
    assert ours[1] == pytest.approx(theirs[1], abs=1e-12)


def test_by_hand() -> None:
    # 8 of 10: centre (0.8 + 3.841459/20) / (1 + 0.3841459), half-width 1.959964 sqrt(0.016 + 0.009604) / 1.3841459.
    low, high = wilson_interval(8, 10)
    assert (low, high) == pytest.approx((0.490162, 0.943318), abs=1e-6)


def test_none_and_all_have_an_interval_that_stays_within_0_and_1() -> None:
    low, high = wilson_interval([0, 20], [20, 20])
    total = np.arange(1, 200)  # of 47 the formula gives 0 but for rounding
    assert (wilson_interval(0, total)[0] == 0).all()
    assert (wilson_interval(total, total)[1] == 1).all()
    assert high[0] == pytest.approx(3.841459 / 23.841459, abs=1e-6)
    assert low[1] == pytest.approx(1 - high[0])


def test_of_nobody_there_is_none() -> None:
    assert all(math.isnan(limit) for limit in wilson_interval(0, 0))
    low, high = wilson_interval([0, 1], [0, 2])
    assert np.isnan([low[0], high[0]]).all()
    assert (low[1], high[1]) == wilson_interval(1, 2)


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5)])
def test_counts_that_cannot_be_are_refused(count: int, total: int) -> None:
    with pytest.raises(InputError, match="1 counts are below 0 or above their total"):
        wilson_interval(count, total)
    with pytest.raises(InputError, match="1 counts are below 0 or above their total"):
        newcombe_interval(1, 2, count, total)


def test_a_confidence_in_percent_is_refused() -> None:
    with pytest.raises(InputError, match="confidence is 95; it must be above 0 and below 1"):
        wilson_interval(1, 2, 95)
    with pytest.raises(InputError, match="confidence is 95; it must be above 0 and below 1"):
        newcombe_interval(1, 2, 1, 2, 95)


def test_standard_errors_on_either_side_are_those_of_the_tables() -> None:
    assert [two_sided_z(level) for level in (0.9, 0.95, 0.99)] == pytest.approx([1.644854, 1.959964, 2.575829])


# The difference of two.


@pytest.mark.parametrize(
    ("counts", "limits"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((0, 10, 0, 10), (-0.2775, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
        ((10, 10, 0, 10), (0.6075, 1.0)),
    ],
)
def test_newcombe_s_are_those_of_table_ii_of_the_paper(counts: tuple[int, ...], limits: tuple[float, float]) -> None:
    assert newcombe_interval(*counts) == pytest.approx(limits, abs=5.1e-5)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_newcombe_s_are_statsmodels_s(confidence: float) -> None:
    rng = np.random.default_rng(0)
    totals = rng.integers(1, 200, (2, 50))
    counts = rng.integers(0, totals + 1)
    low, high = newcombe_interval(counts[0], totals[0], counts[1], totals[1], confidence)
    for place in range(50):
        theirs = confint_proportions_2indep(
            counts[0, place], totals[0, place], counts[1, place], totals[1, place],
            compare="diff", method="newcomb", alpha=1 - confidence,
        )  # fmt: skip
        assert (low[place], high[place]) == pytest.approx(theirs, abs=1e-12)


def test_a_difference_of_shares_turned_round_is_its_negative() -> None:
    low, high = newcombe_interval(8, 10, 3, 12)
    assert newcombe_interval(3, 12, 8, 10) == pytest.approx((-high, -low), abs=1e-15)


def test_every_difference_of_shares_lies_within_its_limits_and_these_within_minus_1_and_1() -> None:
    total = np.arange(1, 31)
    first, second = (axis.ravel() for axis in np.meshgrid(np.arange(31), np.arange(31)))
    for number in total:
        known = (first <= number) & (second <= 30)
        low, high = newcombe_interval(first[known], number, second[known], 30)
        value = first[known] / number - second[known] / 30
        assert ((low >= -1) & (low <= value) & (value <= high) & (high <= 1)).all()


def test_with_nobody_on_one_side_there_is_no_difference() -> None:
    for counts in ((0, 0, 3, 5), (3, 5, 0, 0)):
        assert np.isnan(newcombe_interval(*counts)).all()
