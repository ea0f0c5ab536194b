"""Cramer's V against numbers by hand and scipy's, and what a score is worth within a source."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats.contingency import association

from midrc_ml.audits.sources import association_rows, cramers_v, label_classes
from midrc_ml.audits.test_part import TestPart
from midrc_ml.audits.within import left_out_scores, within
from midrc_ml.evaluation.metrics import auroc, mae
from midrc_ml.evaluation.settings import Evaluation


def test_a_source_that_tells_the_label_has_a_v_of_one() -> None:
    site = pd.Series(["a"] * 50 + ["b"] * 50)
    assert cramers_v(site, pd.Series([0] * 50 + [1] * 50)) == pytest.approx(1.0)


def test_v_is_corrected_for_bias_as_by_hand() -> None:
    # 30 10 / 10 30: chi2 = 80 x 0.25 = 20, phi2 = 0.25, less 1/79; both sides have 2 - 1/79.
    site = pd.Series(["a"] * 40 + ["b"] * 40)
    label = pd.Series([0] * 30 + [1] * 10 + [0] * 10 + [1] * 30)
    assert cramers_v(site, label) == pytest.approx(np.sqrt((0.25 - 1 / 79) / (1 - 1 / 79)))


def test_of_many_studies_v_is_that_of_scipy() -> None:
    generator = np.random.default_rng(0)
    site = generator.integers(0, 4, 200_000)
    label = (generator.random(200_000) < 0.1 + 0.15 * site).astype(int)
    expected = association(pd.crosstab(site, label).to_numpy(), method="cramer")
    assert cramers_v(pd.Series(site), pd.Series(label)) == pytest.approx(expected, abs=1e-4)


def test_independent_columns_have_no_v_and_one_source_none_at_all() -> None:
    assert cramers_v(pd.Series(list("ab") * 50), pd.Series([0, 0, 1, 1] * 25)) == 0.0
    assert np.isnan(cramers_v(pd.Series(["a"] * 100), pd.Series([0, 1] * 50)))


def test_numbers_are_taken_in_quarters() -> None:
    assert label_classes(pd.Series(np.arange(100.0))).nunique() == 4
    assert list(label_classes(pd.Series([0, 1, 1]))) == [0, 1, 1]


def test_a_patient_with_many_films_counts_once_in_v() -> None:
    rows = pd.DataFrame({"site": ["a", "b"] * 40, "label": [0, 1] * 40, "part": "test"})
    rows["patient_id"] = [f"p{number % 8}" for number in range(80)]
    found = {row["part"]: row for row in association_rows(rows, ["site"])}
    assert found["all"]["n"] == 8
    assert found["train"]["value"] is None


def _part(studies: pd.DataFrame, name: str = "auroc", kind: str = "binary") -> TestPart:
    metric = {"auroc": auroc, "mae": mae}[name]
    return TestPart.of(
        studies,
        np.full(len(studies), studies["label"].mean()),
        metrics={name: metric},
        kind=kind,
        classes=(),
        evaluation=Evaluation(num_draws=200),
    )


def _two_sites() -> tuple[pd.DataFrame, np.ndarray]:
    """Site b has nearly all positives; the score knows the site, and within it the opposite of the label."""
    generator = np.random.default_rng(1)
    site = np.array(["a"] * 200 + ["b"] * 200)
    label = (generator.random(400) < np.where(site == "b", 0.85, 0.15)).astype(float)
    score = np.where(site == "b", 2.0, 0.0) - 0.8 * label + generator.normal(0, 0.3, 400)
    return pd.DataFrame({"patient_id": [f"p{n}" for n in range(400)], "site": site, "label": label}), score


def test_what_only_tells_the_site_is_worth_nothing_within_sites() -> None:
    studies, score = _two_sites()
    found = within(_part(studies), score, studies["site"])
    assert found is not None
    by_hand = [
        auroc(studies["label"][rows].to_numpy(), score[rows])
        for rows in ((studies["site"] == name).to_numpy() for name in "ab")
    ]
    assert found.value == pytest.approx(np.mean(by_hand))
    assert found.value < 0.2 < 0.6 < found.pooled
    assert found.drop_low is not None
    assert found.drop_low > 0.3
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_of_a_metric_that_is_good_when_low_the_drop_is_turned() -> None:
    generator = np.random.default_rng(2)
    site = np.array(["a", "b"] * 100)
    label = np.where(site == "a", 0.0, 10.0) + generator.normal(0, 1, 200)
    studies = pd.DataFrame({"patient_id": [f"p{n}" for n in range(200)], "site": site, "label": label})
    part = _part(studies, "mae", "regression")
    found = within(part, np.where(site == "a", 0.0, 10.0), studies["site"])
    assert found is not None
    assert found.drop == pytest.approx(-(found.pooled - found.value))


def test_one_site_has_nothing_to_pool() -> None:
    studies, score = _two_sites()
    one = studies.assign(site="a")
    assert within(_part(one), score, one["site"]) is None
    unknown = studies.assign(site=np.where(studies["site"] == "a", "a", "Not Reported"))
    assert within(_part(unknown), score, unknown["site"]) is None


def test_a_model_of_an_unseen_site_is_fitted_without_it() -> None:
    rows = pd.DataFrame({"site": ["a", "b", "c"] * 4, "part": (["train"] * 6 + ["test"] * 6)})
    seen = []

    def fit(asked: pd.DataFrame) -> np.ndarray:
        trained = sorted(set(asked.loc[asked["part"] == "train", "site"]))
        seen.append(trained)
        assert not set(asked.loc[asked["part"] == "train"].index) & set(range(6, 12))
        return np.full(len(asked), float(len(seen)))

    scores = left_out_scores(rows, "site", fit)
    assert seen == [["b", "c"], ["a", "c"], ["a", "b"]]
    assert scores is not None
    assert list(scores[:3]) == [1.0, 2.0, 3.0]
