"""Undated flags of a case as labels: each may describe a time before or after the study."""

import pandas as pd

from midrc_ml.cohorts.flow import reason_where
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tables.schemas import CASE_FLAGS


def flag(tables: Tables, rows: pd.DataFrame, *, column: str) -> pd.DataFrame:
    """The undated case flag `column` (1, 0 or missing): it may describe a time before the study.

    Raises:
        InputError: no such flag.
    """
    if column not in CASE_FLAGS:
        raise InputError(f"label.column is {column!r}; the flags of the case table are {', '.join(CASE_FLAGS)}")
    values = rows["case_id"].map(tables.cases.set_index("case_id")[column]).astype("boolean")
    missing = reason_where(values.isna(), f"{column} not recorded", rows.index)
    return pd.DataFrame({"label": values.astype("Float64").astype("float64"), "missing": missing, "excluded": None})
