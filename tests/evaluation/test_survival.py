"""Time until an event: by hand, at its edges, against published counts, double loops and other programs."""

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from statsmodels.duration.survfunc import SurvfuncRight

from midrc_ml.evaluation import distinct
from midrc_ml.evaluation.metrics import auroc, lower_is_better
from midrc_ml.evaluation.survival import (
    auroc_at_horizon,
    concordance_index,
    concordance_index_ipcw,
    ipcw_brier_loss,
    kaplan_meier,
    num_at_risk,
    risk_thirds,
)

ALL = {
    "concordance_index": concordance_index,
    "concordance_index_ipcw": functools.partial(concordance_index_ipcw, horizon_days=6),
    "auroc_at_horizon": functools.partial(auroc_at_horizon, horizon_days=6),
    "ipcw_brier_loss": functools.partial(ipcw_brier_loss, horizon_days=6),
}
every_metric = pytest.mark.parametrize("metric", ALL.values(), ids=ALL)

STORED = json.loads((Path(__file__).parents[1] / "oracles" / "survival.json").read_text(encoding="utf-8"))

# Remission of 11 patients with maintained chemotherapy (Miller, Survival Analysis, 1981, the data `aml` of R), a
# marker and weights as in the tests of R's package survival (tests/concordance.R), where pairs were counted by hand:
# 14 concordant, 24 discordant, 2 of equal marker; with weights 70, 91 and 7. A high marker says short survival.
AML_DAYS = [9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161]
AML_SEEN = [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0]
AML_MARKER = [1, 6, 2, 7, 3, 7, 3, 8, 4, 4, 5]
AML_WEIGHT = [1, 2, 3, 2, 1, 2, 3, 4, 3, 2, 1]

# 6-mercaptopurine in leukaemia, weeks of remission: Freireich et al., Blood 1963;21:699.
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
RELAPSED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]


def truth_of(event: object, time: object) -> np.ndarray:
    return np.column_stack([event, time]).astype(float)


def followed(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Few days and few risks, so that both are tied often; about half are censored."""
    rng = np.random.default_rng(seed)
    return truth_of(rng.random(count) < 0.5, rng.integers(0, 12, count)), np.round(rng.random(count), 1)


def by_double_loop(y_true: np.ndarray, y_score: np.ndarray) -> float:
    """Every pair of two studies, one after the other, as the words of the definition say."""
    right = pairs = 0.0
    for i in range(len(y_true)):
        for j in range(i + 1, len(y_true)):
            (a, b) = (i, j) if y_true[i, 1] <= y_true[j, 1] else (j, i)
            if y_true[a, 1] == y_true[b, 1]:
                if y_true[a, 0] == y_true[b, 0]:
                    continue  # both had it on the same day, or nobody knows
                (a, b) = (a, b) if y_true[a, 0] else (b, a)
            elif not y_true[a, 0]:
                continue  # the earlier one was censored
            pairs += 1
            right += 1.0 if y_score[a] > y_score[b] else 0.5 if y_score[a] == y_score[b] else 0.0
    return right / pairs if pairs else math.nan


# Concordance, by hand.


def test_concordance_by_hand() -> None:
    # Days 1, 2+, 3, 4: pairs of the first with all others, and of the third with the fourth. Risks 3, 4, 1, 2: the
    # first wins against 1 and 2 and loses against 4; 1 loses against 2.
    assert concordance_index(truth_of([1, 0, 1, 1], [1, 2, 3, 4]), [3, 4, 1, 2]) == 0.5


def test_a_risk_that_falls_with_time_is_perfect_and_one_that_rises_is_all_wrong() -> None:
    truth = truth_of([1, 1, 0, 1], [1, 2, 3, 4])
    assert concordance_index(truth, [4, 3, 2, 1]) == 1
    assert concordance_index(truth, [1, 2, 3, 4]) == 0


def test_equal_risks_count_half() -> None:
    assert concordance_index(truth_of([1, 1, 0], [1, 2, 3]), [5, 5, 5]) == 0.5
    assert concordance_index(truth_of([1, 0, 0], [1, 2, 3]), [5, 5, 1]) == 0.75


def test_of_one_day_an_event_comes_before_a_censored_study_and_two_of_a_kind_make_no_pair() -> None:
    assert concordance_index(truth_of([1, 0], [5, 5]), [2, 1]) == 1
    assert concordance_index(truth_of([0, 1], [5, 5]), [2, 1]) == 0
    for event in ([1, 1], [0, 0]):
        assert math.isnan(concordance_index(truth_of(event, [5, 5]), [2, 1]))


def test_concordance_equals_the_published_counts_of_the_aml_data() -> None:
    truth = truth_of(AML_SEEN, AML_DAYS)
    assert concordance_index(truth, AML_MARKER) == (14 + 2 / 2) / (14 + 24 + 2)
    assert concordance_index(truth, AML_MARKER, sample_weight=AML_WEIGHT) == (70 + 7 / 2) / (70 + 91 + 7)


# Concordance, edges.


def test_without_an_event_or_without_a_later_study_there_is_no_concordance() -> None:
    assert math.isnan(concordance_index(truth_of([0, 0, 0], [1, 2, 3]), [1, 2, 3]))
    assert math.isnan(concordance_index(truth_of([0, 1], [1, 2]), [1, 2]))
    assert math.isnan(concordance_index(np.zeros((0, 2)), np.zeros(0)))
    assert math.isnan(concordance_index(truth_of([1], [1]), [1]))


@every_metric
@pytest.mark.parametrize("where", ["event", "time", "score"])
def test_nan_is_refused(metric: Callable, where: str) -> None:
    truth, score = followed(0)
    if where == "score":
        score[3] = np.nan
    else:
        truth[3, ("event", "time").index(where)] = np.nan
    with pytest.raises(ValueError, match="must not hold NaN"):
        metric(truth, score)


@pytest.mark.parametrize("wrong", [np.ones(4), np.ones((4, 3)), np.ones((3, 2))])
def test_a_truth_that_is_not_event_and_time_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"y_true must be \(study, 2\)"):
        concordance_index(wrong, np.arange(4))


def test_an_event_that_is_neither_0_nor_1_is_refused() -> None:
    with pytest.raises(ValueError, match="event in y_true must be 0 or 1"):
        concordance_index(truth_of([1, 2], [1, 2]), [1, 2])


# Concordance, properties.


@pytest.mark.parametrize("seed", range(5))
def test_concordance_equals_a_double_loop_over_all_pairs(seed: int) -> None:
    truth, score = followed(seed)
    assert concordance_index(truth, score) == pytest.approx(by_double_loop(truth, score), abs=1e-12)


@every_metric
@pytest.mark.parametrize("cells", [1, 150])
def test_how_many_draws_are_held_at_once_changes_nothing(
    metric: Callable, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, score = followed(1)
    weights = np.random.default_rng(2).integers(0, 3, (5, len(truth)))
    whole = metric(truth, score, sample_weight=weights)
    monkeypatch.setattr(distinct, "_CELLS_AT_ONCE", cells)
    np.testing.assert_array_equal(metric(truth, score, sample_weight=weights), whole)


@every_metric
def test_the_order_of_studies_does_not_matter_to_the_last_bit(metric: Callable) -> None:
    truth, score = followed(2)
    rng = np.random.default_rng(2)
    order, weights = rng.permutation(len(truth)), rng.integers(0, 4, (3, len(truth)))
    assert metric(truth[order], score[order]) == metric(truth, score)
    found = metric(truth[order], score[order], sample_weight=weights[:, order])
    np.testing.assert_array_equal(found, metric(truth, score, sample_weight=weights))


@every_metric
def test_whole_weights_equal_repeated_rows(metric: Callable) -> None:
    truth, score = followed(3)
    weight = np.random.default_rng(4).integers(0, 4, len(truth))
    repeated = metric(np.repeat(truth, weight, axis=0), np.repeat(score, weight))
    assert metric(truth, score, sample_weight=weight) == pytest.approx(repeated, abs=1e-12)


@every_metric
def test_many_draws_in_one_call_equal_one_call_for_each(metric: Callable) -> None:
    truth, score = followed(5)
    weights = np.random.default_rng(6).integers(0, 3, (7, len(truth)))
    weights[3] = 0  # a draw without any study
    together = metric(truth, score, sample_weight=weights)
    assert together.shape == (7,)
    assert math.isnan(together[3])
    one_by_one = [metric(truth, score, sample_weight=weight) for weight in weights]
    np.testing.assert_array_equal(together, one_by_one)
    assert np.ndim(one_by_one[0]) == 0


def test_without_censoring_and_with_two_days_concordance_is_the_auroc() -> None:
    rng = np.random.default_rng(7)
    early, score = rng.random(80) < 0.4, np.round(rng.random(80), 1)
    truth = truth_of(np.ones(80), np.where(early, 1, 2))
    assert concordance_index(truth, score) == pytest.approx(auroc(early, score), abs=1e-12)


def test_only_the_loss_is_better_low() -> None:
    assert [name for name in ALL if lower_is_better(name)] == ["ipcw_brier_loss"]


# Against scikit-survival and lifelines: `tests/oracles/survival_oracle.py`.


@pytest.mark.parametrize("weighted", [False, True])
def test_concordance_equals_scikit_survivals_and_lifelines(weighted: bool) -> None:
    truth, risk = truth_of(STORED["event"], STORED["day"]), np.array(STORED["risk"])
    expected = STORED["values_of_repeated_rows" if weighted else "values"]["concordance_index"]
    found = concordance_index(truth, risk, sample_weight=STORED["weight"] if weighted else None)
    assert dict.fromkeys(expected, found) == pytest.approx(expected, abs=1e-12)


# Kaplan-Meier.


def test_kaplan_meier_by_hand() -> None:
    # Of five: one event on day 1; on day 2 one event and one censored, of four; on day 3 one event of two.
    days, free = kaplan_meier(truth_of([1, 1, 0, 1, 0], [1, 2, 2, 3, 4]))
    assert days.tolist() == [1, 2, 3]
    assert free == pytest.approx([4 / 5, 4 / 5 * 3 / 4, 4 / 5 * 3 / 4 / 2])


def test_kaplan_meier_equals_the_textbooks_curve_of_the_leukaemia_trial() -> None:
    days, free = kaplan_meier(truth_of(RELAPSED, WEEKS))
    assert days.tolist() == [6, 7, 10, 13, 16, 22, 23]
    # Kleinbaum and Klein, Survival Analysis, 3rd ed. 2012, chapter 2.
    assert np.round(free, 4).tolist() == [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482]


@pytest.mark.parametrize("seed", range(3))
def test_kaplan_meier_equals_statsmodels(seed: int) -> None:
    truth, _ = followed(seed)
    expected = SurvfuncRight(truth[:, 1], truth[:, 0].astype(int))
    days, free = kaplan_meier(truth)
    steps = expected.n_events > 0
    assert days.tolist() == expected.surv_times[steps].tolist()
    assert free == pytest.approx(expected.surv_prob[steps], abs=1e-12)


def test_kaplan_meier_equals_lifelines() -> None:
    days, free = kaplan_meier(truth_of(STORED["event"], STORED["day"]))
    found = np.r_[1, free][np.searchsorted(days, STORED["horizon_days"], side="right")]
    assert found == pytest.approx(STORED["values"]["free_of_event"], abs=1e-12)


def test_without_an_event_the_curve_has_no_step() -> None:
    for truth in (truth_of([0, 0], [3, 5]), np.zeros((0, 2))):
        days, free = kaplan_meier(truth)
        assert (days.tolist(), free.tolist()) == ([], [])


def test_whoever_has_the_event_or_is_censored_on_a_day_is_at_risk_until_then() -> None:
    assert num_at_risk([1, 2, 2, 3, 4], [0, 1, 2, 2.5, 4, 5]).tolist() == [5, 5, 4, 2, 1, 0]


# Thirds of the risk.


def test_thirds_are_of_equal_size_and_in_the_order_of_the_risk() -> None:
    risk = np.random.default_rng(0).permutation(np.arange(9.0))
    assert risk_thirds(risk).tolist() == [int(value // 3) for value in risk]


def test_equal_risks_are_never_in_two_thirds() -> None:
    risk = np.random.default_rng(1).integers(0, 4, 50)
    third = risk_thirds(risk)
    assert all(len(set(third[risk == value])) == 1 for value in range(4))
    assert set(risk_thirds([0.2] * 5)) == {0}
    assert risk_thirds([]).tolist() == []
