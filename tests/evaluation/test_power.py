"""Hanley and McNeil's standard error, by hand and against a simulation of continuous scores."""

import math

import numpy as np
import pytest

from midrc_ml.evaluation.power import auroc_standard_error, half_width, smallest_gap


def test_a_case_worked_by_hand() -> None:
    # A 0.893, 51 positive, 58 negative: Q1 = .893/1.107 = .80668, Q2 = 1.594898/1.893 = .84252, A^2 = .797449;
    # (.095551 + 50 * .009236 + 57 * .045075) / 2958 = .0010570, whose root is .03251.
    assert auroc_standard_error(0.893, 51, 58) == pytest.approx(0.0325, abs=1e-4)


def test_it_is_near_the_spread_of_simulated_cohorts() -> None:
    rng = np.random.default_rng(0)
    positive, negative = 40, 80
    scale = math.log(0.8 / 0.2)  # exponential scores, for which the approximation is exact: P(x > y) = r / (1 + r)
    ratio = math.exp(scale)
    x = rng.exponential(ratio, (2000, positive, 1))
    y = rng.exponential(1.0, (2000, 1, negative))
    auroc = (x > y).mean(axis=(1, 2))
    assert auroc.mean() == pytest.approx(0.8, abs=0.005)
    assert auroc_standard_error(0.8, positive, negative) == pytest.approx(auroc.std(), rel=0.05)


def test_without_both_classes_there_is_no_answer() -> None:
    assert math.isnan(auroc_standard_error(0.8, 0, 10))
    assert math.isnan(half_width(0.8, 10, 0))


def test_a_gap_grows_with_the_smaller_group() -> None:
    even, uneven = smallest_gap((50, 50), (50, 50)), smallest_gap((90, 90), (10, 10))
    assert even == pytest.approx(2.8016 * math.sqrt(2) * auroc_standard_error(0.8, 50, 50), rel=1e-3)
    assert uneven > even
