"""The threshold rules: by hand, against every candidate tried one by one, ties, one class, and wrong settings."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import sensitivity, specificity
from midrc_ml.evaluation.thresholds import ThresholdRule, check_rule, choose_threshold, rule_text, youden_threshold

# From the top: positive, negative, positive, negative, negative, positive.
TRUTH = [1, 0, 1, 0, 0, 1]
SCORE = [0.9, 0.8, 0.6, 0.5, 0.4, 0.3]
COSTS = {"cost": {"false_negative": 5, "false_positive": 1}}
RULES = ["youden", {"sensitivity": 0.9}, {"specificity": 0.9}, {"net_benefit": 0.2}, COSTS]

every_rule = pytest.mark.parametrize("rule", RULES, ids=str)


def table_with_ties(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(count) < 0.3).astype(float)
    return truth, np.round(np.clip(0.3 * truth + rng.normal(0.35, 0.25, count), 0, 1), 1 + seed % 2)


# By hand.


@pytest.mark.parametrize(
    ("rule", "threshold"),
    [
        (0.25, 0.25),
        ("youden", 0.9),  # 1/3 + 1 at 0.9, 2/3 + 2/3 at 0.6: equal, and the highest is taken
        ({"sensitivity": 0.5}, 0.6),  # at 0.8 1/3, at 0.6 2/3
        ({"sensitivity": 0.7}, 0.3),
        ({"specificity": 0.6}, 0.6),  # at 0.6 2/3, at 0.5 1/3
        ({"specificity": 0.7}, 0.9),
        # True positives less a quarter of the false ones: 1 at 0.9, 1.75 at 0.6, 2.25 at 0.3.
        ({"net_benefit": 0.2}, 0.3),
        # Less once the false ones: 1 at 0.9, 0 at 0.8, 1 at 0.6: the highest of equal ones.
        ({"net_benefit": 0.5}, 0.9),
        # 5 a missed positive, 1 a false one: 10 at 0.9, 6 at 0.6, 3 at 0.3.
        (COSTS, 0.3),
        # 1 and 1: 2 at 0.9, 2 at 0.6, 3 at 0.3.
        ({"cost": {"false_negative": 1, "false_positive": 1}}, 0.9),
    ],
)
def test_thresholds_by_hand(rule: object, threshold: float) -> None:
    assert choose_threshold(rule, TRUTH, SCORE) == threshold


def test_youden_threshold_by_hand() -> None:
    # Sensitivity + specificity: at 0.8 1/2 + 1, at 0.6 1/2 + 2/3, at 0.4 1 + 2/3 (highest), at 0.3 1 + 1/3.
    assert youden_threshold([1, 0, 1, 0, 0], [0.8, 0.6, 0.4, 0.3, 0.1]) == 0.4


def test_of_equally_good_thresholds_the_highest_is_taken() -> None:
    assert youden_threshold([1, 0, 1, 0], [0.9, 0.5, 0.3, 0.1]) == 0.9


def test_where_no_score_is_better_than_chance_youden_still_takes_one_that_occurs() -> None:
    assert youden_threshold([1, 0, 0], [0.1, 0.5, 0.9]) == 0.1  # all are called; at 0.9 and 0.5 it is worse than that


def test_a_sensitivity_that_is_just_reached_counts_as_reached() -> None:
    # 9 of 10 positives: the share is the number 0.9 itself.
    truth, score = [1] * 10 + [0], [*np.arange(10, 0, -1) / 10, 0.05]
    assert choose_threshold({"sensitivity": 0.9}, truth, score) == 0.2


@pytest.mark.parametrize("rule", [{"specificity": 0.9}, {"net_benefit": 0.9}, COSTS])
def test_where_calling_no_study_is_best_the_threshold_is_just_above_the_highest_score(rule: object) -> None:
    # The highest score is a negative one; the positives are few.
    truth, score = [0, 0, 0, 0, 0, 0, 1], [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.2]
    if rule == COSTS:
        rule = {"cost": {"false_negative": 1, "false_positive": 5}}
    threshold = choose_threshold(rule, truth, score)
    assert threshold == np.nextafter(0.9, 1)
    assert specificity(truth, score, threshold=threshold) == 1


# Against every candidate tried one by one.


def tried(rule: object, truth: np.ndarray, score: np.ndarray) -> float:
    """The threshold by going through all candidates from the highest."""
    above = np.nextafter(score.max(), 2)
    best, chosen = -math.inf, math.nan
    for threshold in [above, *np.unique(score)[::-1]]:
        matrix = sklearn_metrics.confusion_matrix(truth, score >= threshold, labels=[0, 1])
        (right_negative, false_positive), (missed, right) = matrix
        if rule == "youden":
            gain = right / (right + missed) + right_negative / (right_negative + false_positive)
        elif "sensitivity" in rule:
            gain = float(right / (right + missed) >= rule["sensitivity"])
        elif "specificity" in rule:
            reached = right_negative / (right_negative + false_positive) >= rule["specificity"]
            gain = -threshold if reached else -math.inf
        elif "net_benefit" in rule:
            gain = right - false_positive * rule["net_benefit"] / (1 - rule["net_benefit"])
        else:
            gain = -(rule["cost"]["false_negative"] * missed + rule["cost"]["false_positive"] * false_positive)
        if gain > best + 1e-9:
            best, chosen = gain, threshold
    return chosen


@pytest.mark.parametrize("seed", range(6))
@every_rule
def test_the_threshold_is_the_one_found_by_trying_all(rule: object, seed: int) -> None:
    truth, score = table_with_ties(seed)
    assert choose_threshold(rule, truth, score) == tried(rule, truth, score)


@pytest.mark.parametrize("seed", range(3))
def test_no_score_beats_the_youden_threshold(seed: int) -> None:
    truth, score = table_with_ties(seed)
    false_rate, true_rate, _ = sklearn_metrics.roc_curve(truth, score, drop_intermediate=False)
    chosen = youden_threshold(truth, score)
    reached = sensitivity(truth, score, threshold=chosen) + specificity(truth, score, threshold=chosen)
    assert reached == pytest.approx((true_rate + 1 - false_rate).max(), abs=1e-12)


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.7])
def test_a_gain_that_differs_by_rounding_alone_is_a_tie(probability: float) -> None:
    # Calling the ten studies of 0.5 gains as much as it costs, whatever the last digit says.
    positives = round(probability * 10)
    truth = [1] + [1] * positives + [0] * (10 - positives) + [0]
    score = [0.9] + [0.5] * 10 + [0.1]
    assert choose_threshold({"net_benefit": probability}, truth, score) == 0.9


# Edges.


@every_rule
@pytest.mark.parametrize("truth", [[0, 0, 0], [1, 1, 1], []])
def test_without_both_classes_there_is_no_threshold(rule: object, truth: list[int]) -> None:
    assert math.isnan(choose_threshold(rule, truth, [0.1, 0.5, 0.9][: len(truth)]))


def test_a_number_is_the_threshold_whatever_the_studies() -> None:
    assert choose_threshold(0.5, [], []) == 0.5
    assert choose_threshold(1, [1, 1], [0.2, 0.3]) == 1.0


@every_rule
def test_the_order_of_studies_does_not_matter(rule: object) -> None:
    truth, score = table_with_ties(1)
    order = np.random.default_rng(2).permutation(len(truth))
    assert choose_threshold(rule, truth[order], score[order]) == choose_threshold(rule, truth, score)


@every_rule
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(rule: object, wrong: float) -> None:
    with pytest.raises(ValueError, match=r"must not hold NaN|must be finite"):
        choose_threshold(rule, [0, 1, 1], [0.1, wrong, 0.3])


@every_rule
def test_a_label_that_is_neither_0_nor_1_is_refused(rule: object) -> None:
    with pytest.raises(ValueError, match="must be 0 or 1"):
        choose_threshold(rule, [0, 1, 2], [0.1, 0.2, 0.3])


def test_a_hundred_thousand_different_scores_are_no_burden() -> None:
    rng = np.random.default_rng(0)
    truth, score = rng.integers(0, 2, 100_000), rng.random(100_000)
    assert 0 < youden_threshold(truth, score) < 1  # by trying each of them it would take minutes


# Settings.


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("youden", "youden"),
        (0.5, "0.5"),
        (1, "1"),
        ({"sensitivity": 0.9}, "sensitivity of at least 0.9"),
        ({"specificity": 0.95}, "specificity of at least 0.95"),
        ({"net_benefit": 0.2}, "highest net benefit at 0.2"),
        (COSTS, "least cost, 5 a false negative and 1 a false positive"),
    ],
)
def test_a_rule_has_words(rule: object, text: str) -> None:
    assert rule_text(rule) == text
    assert rule_text(check_rule(rule)) == text


def test_a_checked_rule_chooses_as_its_setting_does() -> None:
    assert check_rule(COSTS) == ThresholdRule("cost", (5.0, 1.0))
    assert choose_threshold(check_rule(COSTS), TRUTH, SCORE) == choose_threshold(COSTS, TRUTH, SCORE)


def test_a_rule_read_from_a_config_is_a_rule() -> None:
    from omegaconf import OmegaConf

    assert isinstance(OmegaConf.create(COSTS), Mapping)
    assert check_rule(OmegaConf.create(COSTS)) == check_rule(COSTS)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("best", "evaluation.threshold is 'best'; it must be youden, a number"),
        ("0.5", "evaluation.threshold is '0.5'"),
        (None, "evaluation.threshold is None"),
        (True, "evaluation.threshold is True"),
        (math.nan, "evaluation.threshold is nan"),
        ({}, "evaluation.threshold is {}"),
        ({"sensitivity": 0.9, "specificity": 0.9}, "it must be youden, a number"),
        ({"accuracy": 0.9}, "evaluation.threshold has 'accuracy'; it must be youden"),
        ({"sensitivity": 1.2}, "evaluation.threshold.sensitivity is 1.2; it must be a number above 0 and below 1"),
        ({"specificity": 0}, "evaluation.threshold.specificity is 0; it must be a number above 0"),
        ({"net_benefit": "0.2"}, "evaluation.threshold.net_benefit is '0.2'"),
        ({"cost": 5}, "evaluation.threshold.cost is 5; give false_negative and false_positive"),
        ({"cost": {"false_negative": 5}}, "give false_negative and false_positive"),
        ({"cost": {"false_negative": 5, "false_positive": -1}}, "cost.false_positive is -1; it must be a number above"),
        ({"cost": {"false_negative": 0, "false_positive": 1}}, "cost.false_negative is 0; it must be a number above"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_is_allowed(rule: object, words: str) -> None:
    with pytest.raises(InputError) as raised:
        check_rule(rule)
    assert words in str(raised.value)
