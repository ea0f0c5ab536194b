"""Simple models find what is there, nothing that is not, and are never shown the test part."""

import numpy as np
import pandas as pd
import pytest

from midrc_ml.audits.simple_models import constant_score, martingale_residuals, scores_of
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.evaluation.survival import concordance_index


def _studies(count: int = 300, *, parts: bool = True) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    part = np.where(np.arange(count) % 5 == 4, "test", np.where(np.arange(count) % 5 == 3, "validation", "train"))
    return pd.DataFrame(
        {
            "patient_id": [f"p{number // 2}" for number in range(count)],
            "part": part if parts else "test",
            "label": (generator.random(count) < 0.4).astype(float),
        }
    )


def _auroc_of(studies: pd.DataFrame, scores: np.ndarray | None) -> float:
    assert scores is not None
    test = (studies["part"] == "test").to_numpy()
    return float(auroc(studies["label"][test].to_numpy(), scores[test]))


def test_a_feature_that_is_the_label_tells_it() -> None:
    studies = _studies()
    told = scores_of(studies[["label"]].to_numpy(), studies, kind="binary")
    assert _auroc_of(studies, told) == 1.0
    alone = _studies(parts=False)
    assert _auroc_of(alone, scores_of(alone[["label"]].to_numpy(), alone, kind="binary")) == 1.0


def test_noise_tells_nothing_of_patients_that_a_model_has_not_seen() -> None:
    studies = _studies(1000, parts=False)
    noise = np.random.default_rng(1).normal(size=(1000, 30))
    assert 0.4 < _auroc_of(studies, scores_of(noise, studies, kind="binary")) < 0.6


def test_a_patient_is_never_scored_by_a_model_of_his_other_study() -> None:
    studies = _studies(400, parts=False).assign(label=lambda rows: (rows.index // 2 % 3 == 0).astype(float))
    # A feature for each patient: only who has seen the patient knows the label.
    own = np.eye(200)[np.arange(400) // 2]
    assert _auroc_of(studies, scores_of(own, studies, kind="binary", form="linear")) <= 0.6


def test_labels_of_the_test_part_change_no_score() -> None:
    studies = _studies()
    features = np.random.default_rng(2).normal(size=(300, 4)) + studies[["label"]].to_numpy()
    turned = studies.assign(label=np.where(studies["part"] == "test", 1 - studies["label"], studies["label"]))
    first, second = (scores_of(features, one, kind="binary") for one in (studies, turned))
    np.testing.assert_array_equal(first, second)


def test_trees_are_taken_where_they_are_better_on_the_validation_part() -> None:
    studies = _studies(1500)
    number = np.random.default_rng(3).normal(size=1500)
    studies["label"] = (np.abs(number) > 0.8).astype(float)
    features = number[:, None]
    assert _auroc_of(studies, scores_of(features, studies, kind="binary")) > 0.95
    assert _auroc_of(studies, scores_of(features, studies, kind="binary", form="linear")) < 0.7


def test_missing_values_are_no_harm_and_tell_what_they_tell() -> None:
    studies = _studies()
    features = np.where(studies[["label"]].to_numpy() == 1, np.nan, 1.0)
    features = np.column_stack([features, np.random.default_rng(4).normal(size=300)])
    told = scores_of(features, studies, kind="binary", form="boosting")
    assert _auroc_of(studies, told) == 1.0
    assert np.isfinite(scores_of(features, studies, kind="binary", form="linear")).all()


def test_where_nothing_can_be_learned_there_is_no_score() -> None:
    studies = _studies()
    assert scores_of(np.ones((300, 2)), studies, kind="binary") is None
    assert scores_of(np.zeros((300, 0)), studies, kind="binary") is None
    assert scores_of(np.random.default_rng(5).normal(size=(300, 1)), studies.assign(label=0.0), kind="binary") is None


def test_classes_numbers_and_times_have_their_own_scores() -> None:
    studies = _studies().assign(label=lambda rows: rows.index % 3 * 1.0)
    features = studies[["label"]].to_numpy() + np.random.default_rng(6).normal(0, 0.1, (300, 1))
    classes = scores_of(features, studies, kind="multiclass", num_classes=4, form="boosting")
    assert classes is not None
    assert classes.shape == (300, 4)
    np.testing.assert_allclose(classes.sum(axis=1), 1)
    assert (classes[:, 3] == 0).all()
    numbers = scores_of(features, studies, kind="ordinal", form="linear")
    assert numbers is not None
    assert np.abs(numbers - studies["label"]).mean() < 0.2
    timed = studies.assign(label=1.0, time=10.0 - 3 * studies["label"])
    risk = scores_of(features, timed, kind="time_to_event", form="linear")
    assert risk is not None
    assert concordance_index(timed[["label", "time"]].to_numpy(), risk) > 0.95


def test_what_knows_nothing_is_the_prevalence_the_median_or_the_shares() -> None:
    studies = pd.DataFrame({"part": ["train"] * 4 + ["test"], "label": [0.0, 0.0, 1.0, 0.0, 1.0]})
    assert list(constant_score(studies, kind="binary")) == [0.25] * 5
    numbers = studies.assign(label=[1.0, 2.0, 9.0, 4.0, 100.0])
    assert list(constant_score(numbers, kind="regression")) == [3.0] * 5
    np.testing.assert_allclose(constant_score(studies, kind="multiclass", num_classes=2)[0], [0.75, 0.25])


def test_martingale_residuals_are_those_by_hand() -> None:
    # At risk 4, 3, 1: hazards 1/4 at day 1 and 1/3 at day 2; the third is censored at 2.
    event, time = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 2.0, 2.0, 5.0])
    expected = [1 - 1 / 4, 1 - 7 / 12, -7 / 12, -7 / 12]
    np.testing.assert_allclose(martingale_residuals(event, time, np.ones(4, bool)), expected)
    assert martingale_residuals(event, time, np.ones(4, bool)).sum() == pytest.approx(0)
