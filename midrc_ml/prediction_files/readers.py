"""Readers' own labels in columns of a predictions table."""

from collections.abc import Sequence

import pandas as pd

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.errors import InputError


def ratings_in_columns(table: pd.DataFrame, readers: Sequence[str]) -> pd.DataFrame:
    """(study_id, reader), float64, NaN where a reader did not read the study.

    Raises:
        InputError: one reader alone, or a column that holds something other than numbers.
    """
    if len(set(readers)) < 2 or len(set(readers)) < len(readers):
        raise InputError(f"readers is {list(readers)}; it must name at least two columns, each once")
    found = {}
    for reader in readers:
        cells = table[reader].astype(object)
        cells = cells.mask(cells.astype(str).str.strip().isin(["", NOT_REPORTED, "nan", "None"]))
        numbers = pd.to_numeric(cells, errors="coerce")
        strange = int((numbers.isna() & cells.notna()).sum())
        if strange:
            raise InputError(
                f"readers: column {reader} holds something other than a number in {strange} rows; write each reader's "
                "label as y_true is written after its mapping, and leave empty what was not read"
            )
        found[reader] = numbers.to_numpy(dtype=float)
    return pd.DataFrame(found, index=pd.Index(table["study_id"]))
