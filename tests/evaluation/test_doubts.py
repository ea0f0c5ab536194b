"""Results that a person is asked about."""

import pandas as pd
import pytest

from midrc_ml.evaluation.doubts import doubts
from midrc_ml.evaluation.evaluate import Results
from midrc_ml.evaluation.settings import Evaluation


def row(metric: str, value: float, low: float | None, high: float | None, part: str = "test") -> dict:
    return {"part": part, "metric": metric, "value": value, "low": low, "high": high}


def asked_of(
    metrics: list[dict], table: pd.DataFrame, *, gaps: list[dict] | None = None, evaluation: Evaluation | None = None
) -> list[str]:
    return doubts(Results(metrics, [], gaps or []), table, evaluation or Evaluation())


def predictions(*scores: float) -> pd.DataFrame:
    return pd.DataFrame({"part": "test", "y_score": scores})


@pytest.mark.parametrize(
    ("found", "is_asked"),
    [
        (row("auroc", 0.3, 0.2, 0.45), True),
        (row("auroc", 0.3, 0.2, 0.55), False),
        (row("auroc", 0.3, 0.2, 0.45, part="validation"), False),
        (row("auroc", 0.3, None, None), False),
        (row("qwk", -0.4, -0.6, -0.1), True),
        (row("auprc", 0.1, 0.05, 0.2), False),  # its chance level is the prevalence
        (row("concordance_index", 0.4, 0.3, 0.49), True),
    ],
)
def test_a_metric_all_of_whose_interval_is_worse_than_chance(found: dict, is_asked: bool) -> None:
    asked = asked_of([found], predictions(0.1, 0.2))
    assert bool(asked) is is_asked
    if asked:
        assert "is the sign right" in asked[0]


def test_scores_that_are_all_the_same_are_asked_about() -> None:
    assert asked_of([], predictions(0.5, 0.5)) == ["all 2 test studies have the same score: is it the right column?"]
    assert asked_of([], predictions(0.5, 0.4)) == []
    classes = pd.DataFrame({"part": "test", "y_score_a": [0.5, 0.5], "y_score_b": [0.5, 0.5]})
    assert len(asked_of([], classes)) == 1


def test_gaps_of_which_none_can_pass_holm_with_so_many_draws_are_told_with_the_number_that_could() -> None:
    # 32 gaps need p < 0.05 / 32; the smallest of 1,000 draws is 2 / 1001 and, of 20 patients, larger.
    gaps = [
        {"part": part, "quantity": "gap_to_reference", "metric": "auroc", "p_value": 0.004, "num_patients": 20}
        for part in ("validation", "test")
        for _ in range(32)
    ]
    (told,) = asked_of([], predictions(0.1, 0.2), gaps=gaps, evaluation=Evaluation(num_draws=1000))
    assert told.startswith("in 1 of 1 metrics no gap between groups can pass Holm's correction with 1000 draws")
    needed = int(told.partition("evaluation.num_draws=")[2].partition(",")[0])
    assert asked_of([], predictions(0.1, 0.2), gaps=gaps, evaluation=Evaluation(num_draws=needed)) == []
    assert asked_of([], predictions(0.1, 0.2), gaps=gaps, evaluation=Evaluation(num_draws=needed - 1)) != []
    assert asked_of([], predictions(0.1, 0.2), gaps=gaps[:2], evaluation=Evaluation()) == []
