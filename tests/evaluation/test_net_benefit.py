"""Net benefit and decision curves: by hand, and against the values of dcurves in `tests/oracles/net_benefit.json`."""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from midrc_ml.errors import InputError
from midrc_ml.evaluation.net_benefit import (
    decision_curve,
    net_benefit,
    net_benefit_of_treating_all,
    net_benefit_over_default,
    standardized_net_benefit,
)

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "net_benefit.json").read_text(encoding="utf-8"))
ALL = {
    function.__name__: function
    for function in (net_benefit, net_benefit_of_treating_all, net_benefit_over_default, standardized_net_benefit)
}
every_metric = pytest.mark.parametrize("metric", ALL.values(), ids=ALL)

# Four positives and six negatives.
TRUTH = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
SCORE = [0.9, 0.5, 0.3, 0.1, 0.6, 0.2, 0.2, 0.1, 0.1, 0.0]


def studies(seed: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(count) < 0.3).astype(float)
    return truth, np.round(np.clip(0.2 * truth + rng.beta(2, 4, count), 0, 1), 2)


def draws(seed: int, num_draws: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), num_draws).astype(float)


def test_net_benefit_by_hand() -> None:
    # At 0.2 three positives and three negatives are called (0.2 itself is), a false one counting a quarter.
    assert net_benefit(TRUTH, SCORE, threshold_probability=0.2) == pytest.approx((3 - 3 / 4) / 10)
    assert net_benefit_of_treating_all(TRUTH, SCORE, threshold_probability=0.2) == pytest.approx((4 - 6 / 4) / 10)
    assert net_benefit_over_default(TRUTH, SCORE, threshold_probability=0.2) == pytest.approx((2.25 - 2.5) / 10)
    assert standardized_net_benefit(TRUTH, SCORE, threshold_probability=0.2) == pytest.approx(2.25 / 4)


def test_where_treating_all_does_harm_treating_none_is_the_default() -> None:
    # At 0.5 two positives and one negative are called; treating all is worth (4 - 6) / 10.
    assert net_benefit_over_default(TRUTH, SCORE, threshold_probability=0.5) == pytest.approx(1 / 10)


def test_perfect_scores_have_a_standardized_net_benefit_of_1() -> None:
    assert standardized_net_benefit(TRUTH, TRUTH, threshold_probability=0.37) == pytest.approx(1)


def test_the_curve_is_that_of_dcurves() -> None:
    curve = decision_curve(ORACLE["y_true"], ORACLE["y_score"], [], probabilities=ORACLE["probabilities"])
    assert curve["net_benefit"].tolist() == pytest.approx(ORACLE["net_benefit"]["model"], abs=1e-12)
    assert curve["treat_all"].tolist() == pytest.approx(ORACLE["net_benefit"]["all"], abs=1e-12)
    assert curve["treat_none"].tolist() == ORACLE["net_benefit"]["none"]
    assert set(ORACLE["probabilities"]) & set(ORACLE["y_score"])  # a score that is the threshold is among them
    assert curve[["low", "high", "over_default_low", "over_default_high"]].isna().all(axis=None)


@pytest.mark.parametrize("place", range(len(ORACLE["probabilities"])))
def test_net_benefit_is_that_of_dcurves(place: int) -> None:
    value = net_benefit(ORACLE["y_true"], ORACLE["y_score"], threshold_probability=ORACLE["probabilities"][place])
    assert value == pytest.approx(ORACLE["net_benefit"]["model"][place], abs=1e-12)


def test_the_curve_holds_the_metrics_in_the_order_asked() -> None:
    truth, score = studies(0)
    curve = decision_curve(truth, score, [], probabilities=[0.4, 0.1, 0.25])
    assert curve["threshold_probability"].tolist() == [0.4, 0.1, 0.25]
    columns = {
        "net_benefit": net_benefit,
        "treat_all": net_benefit_of_treating_all,
        "over_default": net_benefit_over_default,
        "standardized": standardized_net_benefit,
    }
    for column, metric in columns.items():
        expected = [metric(truth, score, threshold_probability=probability) for probability in (0.4, 0.1, 0.25)]
        assert curve[column].tolist() == expected


def test_the_limits_of_the_curve_hold_the_middle_of_the_draws() -> None:
    truth, score = studies(1)
    weight = draws(2, 400, len(truth))
    curve = decision_curve(truth, score, [weight[:150], weight[150:]], probabilities=[0.2, 0.4], confidence=0.9)
    for row, probability in enumerate((0.2, 0.4)):
        for metric, low, high in (
            (net_benefit, "low", "high"),
            (net_benefit_over_default, "over_default_low", "over_default_high"),
        ):
            drawn = metric(truth, score, threshold_probability=probability, sample_weight=weight)
            expected = np.quantile(drawn, [0.05, 0.95])
            found = [curve.loc[row, low], curve.loc[row, high]]
            # A little wider than the plain percentiles, for a limited number of patients.
            assert found == pytest.approx(expected, abs=0.1 * np.ptp(expected))
            assert found[0] <= expected[0] < expected[1] <= found[1]


def test_fewer_patients_make_wider_limits() -> None:
    truth, score = studies(1)
    weight = draws(2, 400, len(truth))
    alone, shared = (
        decision_curve(truth, score, [weight], probabilities=[0.3], patient=patient).loc[0]
        for patient in (None, np.arange(len(truth)) // 10)
    )
    assert shared["low"] < alone["low"]
    assert shared["high"] > alone["high"]


def test_where_all_draws_are_equal_there_are_no_limits() -> None:
    truth, score = studies(1)
    row = decision_curve(truth, score, [draws(2, 100, len(truth))], probabilities=[0.99]).loc[0]
    assert row["net_benefit"] == 0  # no study is called
    assert math.isnan(row["low"])
    assert math.isnan(row["high"])


@every_metric
def test_the_order_of_studies_changes_nothing_at_all(metric: Callable) -> None:
    truth, score = studies(3)
    weight = draws(4, 20, len(truth))
    order = np.random.default_rng(5).permutation(len(truth))
    first = metric(truth, score, threshold_probability=0.3, sample_weight=weight)
    second = metric(truth[order], score[order], threshold_probability=0.3, sample_weight=weight[:, order])
    assert first.tolist() == second.tolist()


@every_metric
def test_whole_weights_equal_repeated_rows(metric: Callable) -> None:
    truth, score = studies(6)
    weight = np.random.default_rng(7).integers(0, 4, len(truth))
    scored = partial(metric, threshold_probability=0.2)
    repeated = scored(np.repeat(truth, weight), np.repeat(score, weight))
    assert scored(truth, score, sample_weight=weight) == pytest.approx(repeated, abs=1e-12)


@every_metric
def test_no_studies_give_nan(metric: Callable) -> None:
    assert math.isnan(metric([], [], threshold_probability=0.2))
    assert np.isnan(metric(TRUTH, SCORE, threshold_probability=0.2, sample_weight=np.zeros((2, 10)))).all()


def test_without_a_positive_a_standardized_net_benefit_cannot_be_estimated() -> None:
    assert math.isnan(standardized_net_benefit([0, 0], [0.1, 0.6], threshold_probability=0.5))
    assert net_benefit([0, 0], [0.1, 0.6], threshold_probability=0.5) == -0.5


@pytest.mark.parametrize("wrong", [0, 1, -0.1, math.nan])
def test_a_threshold_probability_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(InputError, match="it must be above 0 and below 1"):
        net_benefit(TRUTH, SCORE, threshold_probability=wrong)
    with pytest.raises(InputError, match="it must be above 0 and below 1"):
        decision_curve(TRUTH, SCORE, [], probabilities=[0.5, wrong])


@every_metric
def test_a_score_that_is_no_probability_or_nan_is_refused(metric: Callable) -> None:
    with pytest.raises(ValueError, match="must be a probability"):
        metric([0, 1], [0.5, 1.5], threshold_probability=0.2)
    with pytest.raises(ValueError, match="must not hold NaN"):
        metric([0, 1], [0.5, np.nan], threshold_probability=0.2)
