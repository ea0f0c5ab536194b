"""What each reader alone would make the label of a study: the label rule of the task, asked of one reader at a time."""

import inspect
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.task import Task

RATINGS_FILE = "ratings.parquet"
_OF_ONE_READER = {"readers": "mean", "min_readers": 1, "rule": "majority"}


def labels_by_reader(task: Task, tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each study_id of `rows`, a column for each reader, in the terms of the label; NaN = did not read it.

    No columns where the label is no reading, or fewer than two readers read any of these studies. An adjudicator, who
    saw what the others said, is no reader.
    """
    study = pd.Index(rows["study_id"])
    none = pd.DataFrame(index=study)
    if "readings" not in task.needs or "readings" in tables.absent:
        return none
    takes = inspect.signature(task.label).parameters
    alone = partial(task.label, **{name: value for name, value in _OF_ONE_READER.items() if name in takes})
    readings = tables.readings[tables.readings["study_id"].isin(rows["study_id"])]
    found = {}
    for reader in sorted(set(readings["reader"]) - {task.settings.get("adjudicator")}):
        of_reader = replace(tables, readings=readings[readings["reader"] == reader])
        try:
            label = alone(of_reader, rows)["label"].to_numpy(dtype=float)
        except InputError:  # this reader read something else
            continue
        if not pd.isna(label).all():
            found[reader] = label
    return pd.DataFrame(found, index=study) if len(found) > 1 else none


def save_ratings(ratings: pd.DataFrame | None, folder: Path) -> None:
    """Write `ratings.parquet` beside the split, for models that are evaluated later; nothing where nobody rated."""
    if ratings is not None and ratings.shape[1]:
        ratings.rename_axis("study_id").reset_index().to_parquet(folder / RATINGS_FILE, index=False)


def load_ratings(folder: Path) -> pd.DataFrame | None:
    """Those of `save_ratings`; None where the folder has none.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / RATINGS_FILE
    if not path.is_file():
        return None
    try:
        return pd.read_parquet(path).set_index("study_id").astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}); describe the cohort again, or remove it"
        ) from None
