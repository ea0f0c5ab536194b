"""Results that a person is asked about."""

import pandas as pd
import pytest

from midrc_ml.evaluation.doubts import doubts


def row(metric: str, value: float, low: float | None, high: float | None, part: str = "test") -> dict:
    return {"part": part, "metric": metric, "value": value, "low": low, "high": high}


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
    asked = doubts([found], predictions(0.1, 0.2))
    assert bool(asked) is is_asked
    if asked:
        assert "is the sign right" in asked[0]


def test_scores_that_are_all_the_same_are_asked_about() -> None:
    assert doubts([], predictions(0.5, 0.5)) == ["all 2 test studies have the same score: is it the right column?"]
    assert doubts([], predictions(0.5, 0.4)) == []
    classes = pd.DataFrame({"part": "test", "y_score_a": [0.5, 0.5], "y_score_b": [0.5, 0.5]})
    assert len(doubts([], classes)) == 1
