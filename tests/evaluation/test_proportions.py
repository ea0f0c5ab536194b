"""Wilson's interval: the paper's behaviour at the ends, statsmodels as oracle, and what is refused."""

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from midrc_ml.errors import InputError
from midrc_ml.evaluation.proportions import wilson_interval


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
    assert low[0] == 0
    assert high[1] == 1
    assert high[0] == pytest.approx(3.841459 / 23.841459, abs=1e-6)
    assert low[1] == pytest.approx(1 - high[0])


def test_of_nobody_there_is_none() -> None:
    assert all(math.isnan(limit) for limit in wilson_interval(0, 0))


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5)])
def test_counts_that_cannot_be_are_refused(count: int, total: int) -> None:
    with pytest.raises(InputError, match="1 counts are below 0 or above their total"):
        wilson_interval(count, total)


def test_a_confidence_in_percent_is_refused() -> None:
    with pytest.raises(InputError, match="confidence is 95; it must be above 0 and below 1"):
        wilson_interval(1, 2, 95)
