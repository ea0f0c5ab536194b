"""Whose number says how sure an estimate can be: four positives do not make a specificity unsure."""

import functools

import numpy as np
import pandas as pd
import pytest

from midrc_ml.evaluation.calibration import expected_calibration_error
from midrc_ml.evaluation.classes import accuracy, auroc_macro, balanced_accuracy
from midrc_ml.evaluation.evaluate import evaluate_predictions
from midrc_ml.evaluation.metrics import auroc, brier_loss, mae
from midrc_ml.evaluation.rests_on import patients_by, rests_on
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.evaluation.survival import concordance_index
from midrc_ml.evaluation.thresholded import called_rate, ppv, sensitivity, specificity


def test_patients_are_counted_once_each_and_the_rarer_class_is_the_smaller() -> None:
    truth, patient = np.array([1.0, 1, 0, 0, 0, 0]), np.array([0, 0, 0, 1, 2, 2])
    assert patients_by(truth, patient, "binary") == {"everyone": 3, "positive": 1, "negative": 3, "rarer class": 1}
    assert patients_by(truth, patient, "regression") == {"everyone": 3}
    classes = np.array([0.0, 0, 1, 1, 2, 2])
    assert patients_by(classes, np.array([0, 1, 2, 3, 4, 4]), "multiclass")["rarer class"] == 1


@pytest.mark.parametrize(
    ("metric", "kind", "whose"),
    [
        (auroc, "binary", "rarer class"),
        (functools.partial(ppv, threshold=0.5), "binary", "rarer class"),
        (functools.partial(sensitivity, threshold=0.5), "binary", "positive"),
        (specificity, "binary", "negative"),
        (called_rate, "binary", "everyone"),
        (auroc_macro, "multiclass", "rarer class"),
        (balanced_accuracy, "multiclass", "rarer class"),
        (accuracy, "multiclass", "everyone"),
        (mae, "regression", "everyone"),
        (concordance_index, "time_to_event", "positive"),
    ],
)
def test_each_metric_rests_on_its_own(metric: object, kind: str, whose: str) -> None:
    assert rests_on(metric, kind) == whose


def test_a_test_part_without_positives_still_has_a_specificity_with_its_interval() -> None:
    rng, count = np.random.default_rng(0), 120
    groups = dict.fromkeys(("site", "sex", "age_band", "race", "ethnicity", "manufacturer", "view"), "Not Reported")
    table = pd.DataFrame(
        {
            "patient_id": [f"P{number // 2:03d}" for number in range(count)],
            "case_id": "c",
            "study_id": [f"S{number:03d}" for number in range(count)],
            "part": "test",
            "label": 0.0,
            "y_true": 0.0,
            "y_score": rng.random(count),
        }
    ).assign(**groups)
    metrics = {"specificity": specificity, "sensitivity": sensitivity, "auroc": auroc}
    found = evaluate_predictions(
        table, metrics, kind="binary", evaluation=Evaluation(threshold=0.7), fairness=Fairness(columns=[])
    )
    rows = {row["metric"]: row for row in found.metrics if row["part"] == "test"}
    assert rows["specificity"]["low"] < rows["specificity"]["value"] < rows["specificity"]["high"]
    assert rows["sensitivity"]["value"] is None
    assert rows["auroc"]["reason"] == "one class only: 0 of 120 studies are positive"


def test_studies_of_one_patient_have_no_interval_of_any_metric() -> None:
    groups = dict.fromkeys(("site", "sex", "age_band", "race", "ethnicity", "manufacturer", "view"), "Not Reported")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "patient_id": "P",
            "case_id": "c",
            "study_id": [f"S{number:03d}" for number in range(100)],
            "part": "test",
            "label": np.tile([0.0, 1.0], 50),
            "y_true": np.tile([0.0, 1.0], 50),
            "y_score": rng.random(100),
        }
    ).assign(**groups)
    metrics = {"auroc": auroc, "brier_loss": brier_loss, "expected_calibration_error": expected_calibration_error}
    found = evaluate_predictions(
        table, metrics, kind="binary", evaluation=Evaluation(threshold=0.7), fairness=Fairness(columns=[])
    )
    rows = [row for row in found.metrics if row["part"] == "test"]
    assert len(rows) == 4  # and auroc_delong
    assert {row["low"] for row in rows} == {None}
