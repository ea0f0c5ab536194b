"""Gaps between groups, by hand from a few draws."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from midrc_ml.evaluation.gaps import AAOD, EOD, Scored, gap_rows, with_holm
from midrc_ml.evaluation.groups import GroupColumn, group_columns
from midrc_ml.evaluation.intervals import percentile_interval, two_sided_p_value
from midrc_ml.evaluation.settings import Fairness

RNG = np.random.default_rng(0)
VALUES = np.array([0.70, 0.80, 0.90])  # of Asian, Black and White; White is the reference
DRAWN = VALUES + RNG.normal(0, 0.03, (400, 3))


def column(**settings: object) -> GroupColumn:
    race = ["Asian"] * 20 + ["Black"] * 30 + ["White"] * 40
    (found,) = group_columns(pd.DataFrame({"race": race}), Fairness(columns=["race"], **settings))
    return found


def scored_as(values: np.ndarray, drawn: np.ndarray, lower_is_better: bool | None, **settings: object) -> Scored:
    return Scored(values, drawn, lower_is_better, np.array([20, 30, 40]), **settings)


def rows(scored: Scored, **settings: object) -> list[dict]:
    return gap_rows(column(**settings), {"auroc": scored}, confidence=0.95)


def of(found: list[dict], quantity: str) -> list[dict]:
    return [row for row in found if row["quantity"] == quantity]


def test_a_gap_to_the_reference_is_signed_with_the_interval_of_the_paired_draws() -> None:
    asian, black = of(rows(scored_as(VALUES, DRAWN, False)), "gap_to_reference")
    assert (asian["group"], asian["reference"], asian["n"], asian["n_reference"]) == ("Asian", "White", 20, 40)
    assert asian["value"] == pytest.approx(-0.2)
    assert black["value"] == pytest.approx(-0.1)
    expected = percentile_interval(DRAWN[:, 0] - DRAWN[:, 2], 0.95, num_patients=20)  # of the smaller group
    assert (asian["low"], asian["high"]) == (expected.low, expected.high)
    # No draw of 400 reaches 0, a share of 1/401; the rest is Student's t of 20 patients.
    assert asian["p_value"] == two_sided_p_value(DRAWN[:, 0] - DRAWN[:, 2], num_patients=20)
    assert asian["num_patients"] == 20
    assert asian["p_value"] == pytest.approx(2 * student.cdf(norm.ppf(1 / 401) * math.sqrt(19 / 20), 19))


def test_the_best_the_worst_and_the_largest_gap_are_named() -> None:
    found = rows(scored_as(VALUES, DRAWN, False))
    to_best = of(found, "gap_to_best")
    assert [(row["group"], row["reference"]) for row in to_best] == [("Asian", "White"), ("Black", "White")]
    assert [row["value"] for row in to_best] == pytest.approx([-0.2, -0.1])
    (worst,) = of(found, "worst_group")
    assert (worst["group"], worst["value"]) == ("Asian", 0.70)
    assert worst["low"] < 0.70 < worst["high"]
    (largest,) = of(found, "largest_gap")
    assert (largest["group"], largest["reference"]) == ("Asian", "White")
    assert largest["value"] == pytest.approx(0.2)
    assert 0 < largest["low"] < 0.2 < largest["high"]


def test_of_a_metric_that_is_better_low_the_worst_is_the_highest() -> None:
    found = rows(scored_as(VALUES, DRAWN, True))
    assert of(found, "worst_group")[0]["group"] == "White"
    assert [(row["group"], row["reference"]) for row in of(found, "gap_to_best")] == [
        ("Black", "Asian"), ("White", "Asian"),
    ]  # fmt: skip
    assert all(row["value"] > 0 for row in of(found, "gap_to_best"))


def test_a_gap_to_the_best_never_says_that_a_group_is_better_than_the_best() -> None:
    alike = np.full(3, 0.8)
    drawn = alike + RNG.normal(0, 0.05, (400, 3))
    for lower_is_better in (False, True):
        for row in of(rows(scored_as(alike, drawn, lower_is_better)), "gap_to_best"):
            assert (row["low"] == 0) if lower_is_better else (row["high"] == 0)


def test_the_interval_of_the_worst_group_reaches_below_that_of_the_group_alone() -> None:
    alike = np.full(3, 0.8)
    drawn = alike + RNG.normal(0, 0.05, (400, 3))
    (worst,) = of(rows(scored_as(alike, drawn, False)), "worst_group")
    alone = percentile_interval(drawn[:, 0], 0.95, num_patients=20)
    assert worst["low"] < alone.low


def test_only_groups_that_are_large_enough_and_estimable_have_gaps() -> None:
    found = rows(scored_as(VALUES, DRAWN, False), min_group_size=25)
    assert {row["group"] for row in of(found, "gap_to_reference")} == {"Black"}
    values = np.array([0.7, math.nan, 0.9])
    found = rows(scored_as(values, np.where(np.isnan(values), math.nan, DRAWN), False))
    assert {row["group"] for row in found} == {"Asian"}  # to the reference, to the best, worst and largest


def test_equal_opportunity_and_odds_differences_are_those_of_sensitivity_and_false_positive_rate() -> None:
    sensitivity = scored_as(np.array([0.6, 0.9, 0.8]), np.array([0.6, 0.9, 0.8]) + RNG.normal(0, 0.02, (400, 3)), False)
    specificity = scored_as(np.array([0.9, 0.5, 0.7]), np.array([0.9, 0.5, 0.7]) + RNG.normal(0, 0.02, (400, 3)), False)
    found = gap_rows(column(), {}, confidence=0.95, odds=(sensitivity, specificity))
    assert [row["value"] for row in of(found, EOD)] == pytest.approx([-0.2, 0.1])
    # |sensitivity difference| and |false positive rate difference|: 0.2 and 0.2; 0.1 and 0.2.
    assert [row["value"] for row in of(found, AAOD)] == pytest.approx([0.2, 0.15])
    for row in found:
        assert row["low"] < row["value"] < row["high"]
    assert all(row["low"] > 0 for row in of(found, AAOD))


def test_an_odds_difference_of_equal_groups_reaches_0() -> None:
    alike = scored_as(np.full(3, 0.8), 0.8 + RNG.normal(0, 0.05, (400, 3)), False)
    other = scored_as(np.full(3, 0.7), 0.7 + RNG.normal(0, 0.05, (400, 3)), False)
    found = gap_rows(column(), {}, confidence=0.95, odds=(alike, other))
    assert [row["low"] for row in of(found, AAOD)] == [0, 0]


def test_a_group_without_positives_has_no_odds_difference_but_the_reason() -> None:
    values = np.array([math.nan, 0.9, 0.8])
    one = scored_as(values, np.tile(values, (100, 1)) + RNG.normal(0, 0.02, (100, 3)), False)
    found = gap_rows(column(), {}, confidence=0.95, odds=(one, one))
    (asian,) = [row for row in of(found, AAOD) if row["group"] == "Asian"]
    assert (asian["value"], asian["low"]) == (None, None)
    assert asian["reason"] == "a group without positives or without negatives"
    (asian,) = [row for row in of(found, EOD) if row["group"] == "Asian"]
    assert asian["reason"] == "sensitivity of one of the groups is not estimable"


def test_a_group_whose_draws_are_all_equal_hides_its_error_and_has_no_interval_of_a_gap() -> None:
    """Nobody of twenty was missed: the sensitivity of 1 is not known exactly, though no draw differs."""
    drawn = DRAWN.copy()
    drawn[:, 0] = 1.0
    scored = scored_as(np.array([1.0, 0.8, 0.9]), drawn, False)
    found = rows(scored)
    asian, black = of(found, "gap_to_reference")
    assert asian["value"] == pytest.approx(0.1)
    assert (asian["low"], asian["high"], asian["p_value"]) == (None, None, None)
    assert asian["reason"].startswith("Asian: all 400 bootstrap draws give the same value")
    assert black["low"] is not None
    (worst,) = of(found, "worst_group")
    assert worst["method"].endswith("among 2 of 3 groups")
    odds = gap_rows(column(), {}, confidence=0.95, odds=(scored, scored))
    assert [row["low"] is None for row in of(odds, AAOD)] == [True, False]


def test_a_distance_from_0_has_gaps_without_an_interval_and_no_worst_group() -> None:
    """Of perfect scores the expected calibration error is larger in a smaller group: that is no gap."""
    found = rows(scored_as(VALUES, DRAWN, True, is_distance=True))
    assert {row["quantity"] for row in found} == {"gap_to_reference"}
    assert [row["value"] for row in found] == pytest.approx([-0.2, -0.1])
    assert {(row["low"], row["p_value"]) for row in found} == {(None, None)}
    assert all(row["reason"].startswith("a distance from 0") for row in found)


def test_holms_family_is_one_quantity_and_metric_over_all_columns() -> None:
    def row(quantity: str, p_value: float | None) -> dict:
        return {"quantity": quantity, "metric": "auroc", "p_value": p_value, "p_holm": None}

    found = with_holm([row("gap", 0.01), row("gap", 0.04), row("other", 0.04), row("gap", None)])
    assert [one["p_holm"] for one in found] == [0.02, 0.04, 0.04, None]
