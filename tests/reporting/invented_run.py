"""A small invented run of each kind of task, and its report."""

import re

import numpy as np
import pandas as pd

from midrc_ml.audits.leakage import patient_leakage
from midrc_ml.cohorts.flow import CohortFlow, reason_where
from midrc_ml.evaluation.classes import accuracy, auroc_macro
from midrc_ml.evaluation.evaluate import Evaluation, Fairness, evaluate_predictions
from midrc_ml.evaluation.metrics import auroc, brier_loss, mae, mae_sd, qwk, sensitivity, specificity
from midrc_ml.evaluation.survival import concordance_index
from midrc_ml.predictions import GROUP_COLUMNS, predictions_table
from midrc_ml.reporting.report import Report

METRICS = {
    "binary": {"auroc": auroc, "brier_loss": brier_loss, "sensitivity": sensitivity, "specificity": specificity},
    "regression": {"mae": mae, "mae_sd": mae_sd},
    "ordinal": {"qwk": qwk, "mae": mae},
    "multiclass": {"auroc_macro": auroc_macro, "accuracy": accuracy},
    "time_to_event": {"concordance_index": concordance_index},
}
CLASSES = ["negative", "typical", "atypical"]
NUM_STUDIES = 240


def studies(kind: str) -> pd.DataFrame:
    """Two studies a patient, a third of them in each part; five studies of the test part do not say the sex."""
    rng = np.random.default_rng(0)
    if kind in ("binary", "time_to_event"):
        label = (rng.random(NUM_STUDIES) < 0.4).astype(float)
    else:
        label = rng.random(NUM_STUDIES) * 8 if kind == "regression" else rng.integers(0, 3, NUM_STUDIES).astype(float)
    part = np.repeat(["train", "validation", "test"], NUM_STUDIES // 3)
    table = pd.DataFrame(
        {
            "patient_id": [f"PATIENT-{number // 2:04d}" for number in range(NUM_STUDIES)],
            "case_id": [f"CASE-{number // 2:04d}" for number in range(NUM_STUDIES)],
            "study_id": [f"STUDY-{number:04d}" for number in range(NUM_STUDIES)],
            "part": part,
            "label": label,
        }
    )
    table = table.assign(**dict.fromkeys(GROUP_COLUMNS, "Not Reported"))
    table = table.assign(sex=rng.choice(["Female", "Male"], NUM_STUDIES), site=rng.choice(["A", "B"], NUM_STUDIES))
    table.loc[NUM_STUDIES - 5 :, "sex"] = "Not Reported"  # too few for a value
    if kind == "time_to_event":
        table["time"] = np.ceil(rng.exponential(9, NUM_STUDIES))
    return table


def scores(kind: str, label: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    if kind == "multiclass":
        return 0.75 * rng.dirichlet(np.ones(3), len(label)) + 0.25 * np.eye(3)[label.astype(int)]
    return 0.3 * label + 0.7 * rng.random(len(label))


def small_report(*, kind: str = "binary") -> Report:
    table = studies(kind)
    classes = CLASSES if kind == "multiclass" else []
    flow = CohortFlow(origin="invented cohort of a test", notes=["one note on the cohort"])
    flow.step("label known", table, reason_where(table.index < 12, "a stay still open", table.index))
    scored = table[table["part"] != "train"]
    predictions = predictions_table(scored, scores(kind, scored["label"].to_numpy()), kind=kind, classes=classes)
    results = evaluate_predictions(
        predictions,
        METRICS[kind],
        kind=kind,
        classes=classes,
        evaluation=Evaluation(num_draws=100),
        fairness=Fairness(columns=["sex"]),
    )
    return Report(
        task_name="icu",
        question="Who goes to intensive care?",
        kind=kind,
        unit="points",
        origin=flow.origin,
        synthetic=True,
        primary=next(iter(METRICS[kind])),
        metrics=results.metrics,
        groups=results.groups,
        gaps=results.gaps,
        decision=results.decision,
        evaluation=Evaluation(num_draws=100),
        predictions=predictions,
        studies=table,
        flow=flow.as_dict(),
        audit=[patient_leakage(table).as_dict()],
        history=[
            {"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 1.2 / epoch, "best_epoch": min(epoch, 2)}
            for epoch in (1, 2, 3)
        ],
        monitor="loss",
        min_group_size=10,
        facts={"split SHA-256": "0123abcd", "seed": 0},
    )


def cells(texts: dict[str, str], form: str) -> list[list[str]]:
    """Every table row of a report, cell by cell."""
    if form == "html":
        rows = re.findall(r"<tr>(.*?)</tr>", texts["html"], re.DOTALL)
        return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row, re.DOTALL) for row in rows]
    lines = [line for line in texts["md"].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
