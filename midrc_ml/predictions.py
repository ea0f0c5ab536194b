"""The predictions table: one row per study. Everything after it needs only this table and the task."""

from pathlib import Path

import numpy as np
import pandas as pd

from midrc_ml.cohorts.selection import GROUP_COLUMNS
from midrc_ml.errors import InputError
from midrc_ml.splits.manifest import PARTS

ID_COLUMNS = ("patient_id", "case_id", "study_id", "part", "label")
COLUMNS = (*ID_COLUMNS, "y_true", "y_score", *GROUP_COLUMNS)


def predictions_table(studies: pd.DataFrame, y_score: np.ndarray) -> pd.DataFrame:
    """studies: ids, part, label and group columns, one row each. y_score: (study,), aligned with them."""
    table = studies[[*ID_COLUMNS, *GROUP_COLUMNS]].assign(
        y_true=studies["label"].astype("float64"), y_score=np.asarray(y_score)
    )
    return checked_predictions(table[list(COLUMNS)])


def checked_predictions(table: pd.DataFrame, *, where: str = "predictions") -> pd.DataFrame:
    """`table`, sorted by patient and study.

    Raises:
        InputError: a missing column, a study twice, or a score or truth that is not a finite number.
    """
    absent = [name for name in COLUMNS if name not in table.columns]
    if absent:
        raise InputError(f"{where}: no column {', '.join(absent)}; a predictions table has {', '.join(COLUMNS)}")
    twice = int(table["study_id"].duplicated().sum())
    if twice:
        raise InputError(f"{where}: {twice} studies stand in it more than once; one row per study")
    unknown = sorted(set(table["part"]) - set(PARTS))
    if unknown:
        raise InputError(f"{where}: part is {', '.join(map(repr, unknown))}; it must be one of {', '.join(PARTS)}")
    for column in ("y_true", "y_score"):
        bad = int((~np.isfinite(table[column].to_numpy(dtype=float))).sum())
        if bad:
            raise InputError(f"{where}: {bad} of {len(table)} rows have no finite {column}; every row needs one")
    return table.sort_values(["patient_id", "study_id"]).reset_index(drop=True)


def save_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write the table as Parquet."""
    table.to_parquet(path, index=False)


def load_predictions(path: Path) -> pd.DataFrame:
    """The checked table in `path`."""
    return checked_predictions(pd.read_parquet(path), where=str(path))
