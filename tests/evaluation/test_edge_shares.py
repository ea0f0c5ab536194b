"""A group in which every positive is missed is the worst one, with an interval that covers what it says."""

import functools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.edge_shares import with_drawn_edges
from midrc_ml.evaluation.gaps import EOD, Scored, gap_rows
from midrc_ml.evaluation.groups import GroupColumn
from midrc_ml.evaluation.metrics import sensitivity
from midrc_ml.evaluation.scored_part import Asked, ScoredPart
from midrc_ml.evaluation.scorers import Grouping, values_of_draws, values_of_studies
from midrc_ml.evaluation.settings import Evaluation, Fairness


def scored(value: float, patients: int) -> Scored:
    drawn = np.stack([np.full(2000, value), np.random.default_rng(0).normal(0.7, 0.05, 2000)], axis=1)
    return Scored(np.array([value, 0.7]), drawn, False, np.array([patients, 40]))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_draws_of_a_share_at_the_edge_are_those_of_jeffreys_interval(value: float) -> None:
    found = with_drawn_edges(scored(value, 60), is_share=True, seed=(0, 1))
    expected = beta(60 * value + 0.5, 60 * (1 - value) + 0.5)
    for share in (0.025, 0.5, 0.975):
        assert np.quantile(found.drawn[:, 0], share) == pytest.approx(expected.ppf(share), abs=0.01)
    assert found.drawn[:, 1].tolist() == scored(value, 60).drawn[:, 1].tolist()
    again = with_drawn_edges(scored(value, 60), is_share=True, seed=(0, 1))
    assert again.drawn.tolist() == found.drawn.tolist()


def test_what_is_no_share_or_rests_on_too_few_patients_stays_as_it_is() -> None:
    for given, is_share in ((scored(1.0, 60), False), (scored(1.0, 4), True), (scored(0.5, 60), True)):
        assert with_drawn_edges(given, is_share=is_share, seed=(0, 1)) is given


def test_a_group_of_which_every_positive_is_missed_is_the_worst_and_its_gap_is_found() -> None:
    rng = np.random.default_rng(0)
    site, truth = np.repeat(["A", "B", "C"], 120), np.tile([1.0, 0.0], 180)
    score = np.where(rng.random(360) < 0.75, 0.3 + 0.4 * truth, 0.5)
    score = np.where((site == "B") & (truth == 1), 0.1, score)
    table = pd.DataFrame({"patient_id": [f"P{n}" for n in range(360)], "site": site, "y_true": truth, "y_score": score})
    metrics = {"sensitivity": functools.partial(sensitivity, threshold=0.6)}
    part = ScoredPart(
        table, metrics, Asked("binary", (), {}), Evaluation(num_draws=400), Fairness(columns=["site"]), 0.6
    )
    rows = part.gaps()
    (worst,) = [row for row in rows if row["quantity"] == "worst_group"]
    assert (worst["group"], worst["value"]) == ("B", 0.0)
    assert "Jeffreys' draws" in worst["method"]
    (eod,) = [row for row in rows if row["quantity"] == EOD and "B" in (row["group"], row["reference"])][:1]
    assert eod["low"] is not None
    assert eod["p_value"] < 0.01


def test_positives_and_negatives_of_a_group_at_both_edges_are_drawn_apart() -> None:
    truth = np.tile([1.0, 0.0], 120)
    site, score = np.repeat(["A", "B"], 120), np.where(truth == 1, 0.9, 0.1)  # A: nobody missed, nobody called wrongly
    score = np.where((site == "B") & (np.arange(240) % 5 == 0), 0.5, score)
    table = pd.DataFrame({"patient_id": [f"P{n}" for n in range(240)], "site": site, "y_true": truth, "y_score": score})
    seen = []

    def noted(one: Scored, **settings: object) -> Scored:
        seen.append(with_drawn_edges(one, **settings))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("midrc_ml.evaluation.scored_part.with_drawn_edges", noted)
        asked = Asked("binary", (), {})
        ScoredPart(table, {}, asked, Evaluation(num_draws=2000), Fairness(columns=["site"]), 0.5).gaps()
    of_positives, of_negatives = (one.drawn[:, 0] for one in seen)
    assert of_positives.std() > 0
    assert abs(np.corrcoef(of_positives, of_negatives)[0, 1]) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("true_share", [0.93, 0.98])
def test_intervals_of_gaps_of_shares_near_1_cover_what_they_say(true_share: float) -> None:
    """Groups of 30 and 100 positives; in most cohorts nobody of the small one is missed at 0.98."""
    sizes, covered, truth = np.array([100, 30]), [], true_share - 0.8
    group = np.repeat([0, 1], sizes)
    for number in range(1000):
        rng = np.random.default_rng([5, number])
        score = (rng.random(130) < np.where(group == 1, true_share, 0.8)).astype(float)
        grouping, labels = Grouping(group, 2), np.ones(130)
        metric = {"sensitivity": functools.partial(sensitivity, threshold=0.5)}
        values = values_of_studies(metric, labels, score, [grouping])[0]["sensitivity"]
        draws = PatientDraws(np.arange(130), 130, 400, number)
        drawn = values_of_draws(metric, labels, score, draws, [grouping])[0]["sensitivity"]
        one = with_drawn_edges(Scored(values, drawn, False, sizes), is_share=True, seed=(number, 1))
        column = GroupColumn("g", ("A", "B"), grouping, np.ones(2, bool), sizes, group, reference=0)
        (row,) = [row for row in gap_rows(column, {"s": one}, confidence=0.95) if row["quantity"] == "gap_to_reference"]
        covered.append(row["low"] is not None and row["low"] <= truth <= row["high"])
    print(f"\ngap of a share of {true_share} in 30 patients: covered {np.mean(covered):.1%}")
    assert np.mean(covered) >= 0.93
