"""MIDRC-MELODY's two files, written from a predictions table: its tool can then check our numbers.

Source: MIDRC/MIDRC_MELODY 750bc7f3, `config.yaml` and demonstration: truth and demographics by `case_name`, and a score
column for each model. Every other column of the truth's file is a category. Read with `form=melody`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from midrc_ml.cohorts.selection import GROUP_COLUMNS, NOT_REPORTED
from midrc_ml.errors import InputError

TRUTH_FILE, SCORES_FILE = "melody_truth.csv", "melody_scores.csv"


def export_melody(
    predictions: pd.DataFrame, folder: Path, *, kind: str, model: str = "y_score", part: str = "test"
) -> list[Path]:
    """Write the two files of one part into `folder`; the paths.

    Group columns that say nothing of anybody are left out. Labels and scores of an ordinal task are rounded to whole
    numbers, halves up, without which MELODY's kappa cannot be computed. model: the name of its score column.

    Raises:
        InputError: predictions with more or other than one score a study.
    """
    if kind not in ("binary", "ordinal"):
        raise InputError(f"export=melody is for binary and ordinal tasks, which MELODY knows; this is of kind {kind}")
    rows = predictions[predictions["part"] == part]
    known = [name for name in GROUP_COLUMNS if (rows[name] != NOT_REPORTED).any()]
    fixed = {"patient_id", "case_id", "study_id", "part", "label", "y_true", "y_score", *GROUP_COLUMNS}
    further = [name for name in rows.columns if name not in fixed and not name.startswith("raw_score")]
    truth = pd.DataFrame({"case_name": rows["study_id"], "truth": _whole(rows["y_true"])})
    truth = truth.join(rows[[*known, *further]])
    scores = pd.DataFrame({"case_name": rows["study_id"], model: rows["y_score"]})
    if kind == "ordinal":
        scores[model] = _whole(rows["y_score"])
    written = []
    for name, table in ((TRUTH_FILE, truth), (SCORES_FILE, scores)):
        table.to_csv(folder / name, index=False)
        written.append(folder / name)
    return written


def _whole(values: pd.Series) -> pd.Series:
    return np.floor(values + 0.5).astype("int64")
