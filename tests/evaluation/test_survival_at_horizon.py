"""Metrics at a horizon, of whom it is known: by hand, at their edges, and by double loops and scikit-survival.

Properties that they share with the concordance index are tested in `test_survival.py`.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import auroc, brier_loss
from midrc_ml.evaluation.survival import (
    auroc_at_horizon,
    concordance_index,
    concordance_index_ipcw,
    ipcw_brier_loss,
    kaplan_meier,
)

ALL = {
    "concordance_index_ipcw": concordance_index_ipcw,
    "auroc_at_horizon": auroc_at_horizon,
    "ipcw_brier_loss": ipcw_brier_loss,
}
every_metric = pytest.mark.parametrize("metric", ALL.values(), ids=ALL)

STORED = json.loads((Path(__file__).parents[1] / "oracles" / "survival.json").read_text(encoding="utf-8"))


def truth_of(event: object, time: object) -> np.ndarray:
    return np.column_stack([event, time]).astype(float)


def followed(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Few days and few risks, so that both are tied often; about half are censored."""
    rng = np.random.default_rng(seed)
    return truth_of(rng.random(count) < 0.5, rng.integers(0, 12, count)), np.round(rng.random(count), 1)


# Event on day 1, censored on day 2, events on days 3 and 4: after day 2, two of three are still followed. By day 3
# those of days 1 and 3 count 1 and 3/2 as having had the event, that of day 4 counts 3/2 as being free of it.
FOUR = truth_of([1, 0, 1, 1], [1, 2, 3, 4])

# By hand.


def test_concordance_at_a_horizon_by_hand() -> None:
    # The first wins two of its three pairs, of weight 1; the third loses its one, of weight (3/2)^2.
    assert concordance_index_ipcw(FOUR, [0.8, 0.9, 0.6, 0.7], horizon_days=3) == pytest.approx(2 / (3 + 9 / 4))
    # Only pairs of the first event by the day 2.
    assert concordance_index_ipcw(FOUR, [0.8, 0.9, 0.6, 0.7], horizon_days=2) == pytest.approx(2 / 3)


def test_auroc_at_a_horizon_by_hand() -> None:
    assert auroc_at_horizon(FOUR, [0.8, 0.1, 0.6, 0.7], horizon_days=3) == pytest.approx(1 / (1 + 3 / 2))
    assert auroc_at_horizon(FOUR, [0.7, 0.1, 0.8, 0.7], horizon_days=3) == pytest.approx((1 / 2 + 3 / 2) / (1 + 3 / 2))


def test_brier_loss_at_a_horizon_by_hand() -> None:
    expected = (0.2**2 + 3 / 2 * 0.4**2 + 3 / 2 * 0.3**2) / 4
    assert ipcw_brier_loss(FOUR, [0.8, 0.5, 0.6, 0.3], horizon_days=3) == pytest.approx(expected)


def test_whoever_is_censored_on_the_horizon_itself_is_known_to_be_free_of_the_event() -> None:
    truth, probability = truth_of([1, 0, 0], [2, 5, 5]), [0.9, 0.9, 0.2]
    assert ipcw_brier_loss(truth, probability, horizon_days=5) == pytest.approx((0.01 + 0.81 + 0.04) / 3)
    assert auroc_at_horizon(truth, probability, horizon_days=5) == 0.75
    # Of one day the event comes first: it was not lost with the one who is censored on that day.
    assert ipcw_brier_loss(truth_of([1, 0, 1], [5, 5, 5]), [0.9, 0.2, 0.6], horizon_days=5) == pytest.approx(0.07)


# Edges.


@every_metric
def test_where_nobody_is_followed_until_the_horizon_there_is_no_value(metric: Callable) -> None:
    truth, score = truth_of([1, 1, 0], [1, 2, 3]), [0.7, 0.8, 0.1]
    assert math.isnan(metric(truth, score, horizon_days=4))
    assert not math.isnan(metric(truth, score, horizon_days=3))
    weights = [[1, 1, 1, 1], [1, 1, 1, 0]]  # a draw without the one who was followed
    found = metric(truth_of([1, 1, 0, 0], [1, 2, 3, 9]), [0.7, 0.8, 0.1, 0.2], horizon_days=4, sample_weight=weights)
    assert np.isnan(found).tolist() == [False, True]


def test_where_all_have_had_the_event_nobody_need_be_followed_further() -> None:
    truth, score = truth_of([1, 0, 1], [1, 2, 3]), [0.7, 0.5, 0.6]
    assert ipcw_brier_loss(truth, score, horizon_days=50) == pytest.approx((0.3**2 + 2 * 0.4**2) / 3)
    assert concordance_index_ipcw(truth, score, horizon_days=50) == 1
    assert math.isnan(auroc_at_horizon(truth, score, horizon_days=50))  # nobody to compare them with


def test_without_an_event_by_the_horizon_only_the_brier_loss_has_a_value() -> None:
    truth, score = truth_of([1, 1, 0], [5, 6, 7]), [0.2, 0.4, 0.1]
    assert math.isnan(concordance_index_ipcw(truth, score, horizon_days=4))
    assert math.isnan(auroc_at_horizon(truth, score, horizon_days=4))
    assert ipcw_brier_loss(truth, score, horizon_days=4) == pytest.approx((0.04 + 0.16 + 0.01) / 3)


@every_metric
def test_no_studies_give_nan(metric: Callable) -> None:
    assert math.isnan(metric(np.zeros((0, 2)), np.zeros(0), horizon_days=5))


@every_metric
@pytest.mark.parametrize("wrong", [0, -3, math.nan, math.inf])
def test_a_horizon_that_is_no_number_of_days_is_refused(metric: Callable, wrong: float) -> None:
    with pytest.raises(InputError, match=r"horizon_days is .*; it must be a number of days above 0"):
        metric(*followed(0), horizon_days=wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1.1])
def test_a_risk_that_is_no_probability_has_no_brier_loss(wrong: float) -> None:
    with pytest.raises(ValueError, match="y_score must be the probability of the event by horizon_days, from 0 to 1"):
        ipcw_brier_loss(truth_of([1, 0], [1, 9]), [0.5, wrong], horizon_days=5)


# Properties.


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("horizon", [3, 6.5, 11])
def test_those_who_are_known_stand_for_all_also_where_events_and_censoring_share_days(
    seed: int, horizon: float
) -> None:
    truth, _ = followed(seed)
    days, free = kaplan_meier(truth)
    by_then = np.r_[1, free][np.searchsorted(days, horizon, side="right")]
    # With a probability of 0 the loss is the share that has had the event, with 1 the share that is free of it.
    assert ipcw_brier_loss(truth, np.zeros(len(truth)), horizon_days=horizon) == pytest.approx(1 - by_then, abs=1e-12)
    assert ipcw_brier_loss(truth, np.ones(len(truth)), horizon_days=horizon) == pytest.approx(by_then, abs=1e-12)


def test_without_censoring_the_metrics_at_a_horizon_are_those_of_a_binary_task() -> None:
    truth, score = followed(8)
    truth[:, 0] = 1
    early = truth[:, 1] <= 6
    assert auroc_at_horizon(truth, score, horizon_days=6) == pytest.approx(auroc(early, score), abs=1e-12)
    assert ipcw_brier_loss(truth, score, horizon_days=6) == pytest.approx(brier_loss(early, score), abs=1e-12)
    expected = concordance_index(truth, score)
    assert concordance_index_ipcw(truth, score, horizon_days=11) == pytest.approx(expected, abs=1e-12)


def still_followed(truth: np.ndarray, day: float) -> float:
    """The probability of not having been censored before `day`, one day after the other."""
    result = 1.0
    for earlier in sorted({time for event, time in truth.tolist() if not event and time < day}):
        at_risk = sum(time > earlier or (time == earlier and not event) for event, time in truth.tolist())
        lost = sum(time == earlier and not event for event, time in truth.tolist())
        result *= 1 - lost / at_risk
    return result


@pytest.mark.parametrize("seed", range(3))
def test_concordance_at_a_horizon_equals_a_double_loop_over_all_pairs(seed: int) -> None:
    truth, score = followed(seed)
    won = pairs = 0.0
    for i in range(len(truth)):
        for j in range(len(truth)):
            later = truth[j, 1] > truth[i, 1] or (truth[j, 1] == truth[i, 1] and not truth[j, 0])
            if truth[i, 0] and truth[i, 1] <= 6 and later:
                weight = still_followed(truth, truth[i, 1]) ** -2
                pairs += weight
                won += weight * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    assert concordance_index_ipcw(truth, score, horizon_days=6) == pytest.approx(won / pairs, abs=1e-12)


# Against scikit-survival: `tests/oracles/survival_oracle.py`.


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_at_a_horizon_equal_scikit_survivals(weighted: bool) -> None:
    truth, risk = truth_of(STORED["event"], STORED["day"]), np.array(STORED["risk"])
    weight = np.array(STORED["weight"]) if weighted else None
    expected = STORED["values_of_repeated_rows" if weighted else "values"]
    for name, metric in ALL.items():
        found = [metric(truth, risk, horizon_days=at, sample_weight=weight) for at in STORED["horizon_days"]]
        assert found == pytest.approx(expected[name], abs=1e-12), name
