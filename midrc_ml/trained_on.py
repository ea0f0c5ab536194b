"""What a saved model was trained on, without naming anyone: kept beside its checkpoints, and with it in a tracker."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

import midrc_ml
from midrc_ml.audits.privacy.suppression_cells import LEAST
from midrc_ml.cohorts.selection import GROUP_COLUMNS, NOT_REPORTED
from midrc_ml.splits.manifest import PARTS
from midrc_ml.tasks.task import Task

FILE_NAME = "trained_on.json"
OTHERS = "others"


def trained_on(
    studies: pd.DataFrame, task: Task, *, cohort: Mapping[str, Any], split_sha256: str, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Aggregates of the studies that a model was trained on, and chosen by; groups under 11 patients are pooled.

    studies: with part, label and the group columns. cohort: its origin, whether it is synthetic, and the hash of its
    tables. inputs: what the network reads: the recipe of images, the columns of a clinical table.
    """
    train = studies[studies["part"] == "train"]
    once = train.drop_duplicates("patient_id")
    return {
        "midrc_ml": midrc_ml.__version__,
        "task": task.name,
        "task_version": task.version,
        "question": task.question,
        "label": {"rule": task.rule_name, **task.settings},
        "cohort": dict(cohort),
        "split_sha256": split_sha256,
        "patients": {part: _told(studies.loc[studies["part"] == part, "patient_id"].nunique()) for part in PARTS},
        "studies": {part: _told(int((studies["part"] == part).sum())) for part in PARTS},
        "inputs": dict(inputs),
        "training_patients_by": {name: pooled(once[name]) for name in GROUP_COLUMNS if name in once},
    }


def save_trained_on(folder: Path, said: Mapping[str, Any]) -> Path:
    """Write it beside the checkpoints; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    path.write_text(json.dumps(said, indent=1, default=str) + "\n", encoding="utf-8")
    return path


def pooled(values: pd.Series, least: int = LEAST) -> dict[str, int | str]:
    """How many have each value; those of fewer than `least` together, with the next smallest until they are as many.

    So none can be had as the total less the others.
    """
    counts = values.fillna(NOT_REPORTED).astype("str").value_counts()
    ordered = counts.sort_values(kind="stable")
    taken = int((ordered < least).sum())
    if not taken:
        return {str(name): int(count) for name, count in counts.sort_index().items()}
    while taken < len(ordered) and (ordered.iloc[:taken].sum() < least or taken < 2):
        taken += 1
    kept = {str(name): int(count) for name, count in ordered.iloc[taken:].sort_index().items()}
    return {**kept, OTHERS: _told(int(ordered.iloc[:taken].sum()), least)}


def _told(count: int, least: int = LEAST) -> int | str:
    return count if count == 0 or count >= least else f"fewer than {least}"
