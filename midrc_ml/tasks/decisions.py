"""How a label rule decides: the first condition that holds gives a row its label, or the reason why it has none.

A label rule is any function (tables, rows, **settings of the YAML) -> DataFrame aligned with `rows`:
    label: float; NaN where it is missing or the row is excluded.
    missing: why the label is not known (None elsewhere).
    excluded: why the row is not one that the question can be asked of (None elsewhere).
    time: days, for a time-to-event task only.
`rows` has one row per study, or per case in a cohort without studies; a rule uses its case_id, site and day, and
study_id for readings. Reasons are counted by site and shown: they hold nothing of a patient.
"""

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from midrc_ml.errors import InputError

Outcome = Literal["label", "missing", "excluded"]
Decision = tuple[np.ndarray, Outcome, str | float | np.ndarray]


def decide(decisions: Sequence[Decision], index: pd.Index) -> pd.DataFrame:
    """label, missing and excluded of each row: what the first decision that holds for it says.

    decisions: (for which rows it holds, which column it fills, with what); the last one should hold for every row.
    """
    result = pd.DataFrame({"label": np.nan, "missing": None, "excluded": None}, index=index)
    result = result.astype({"missing": object, "excluded": object})
    undecided = np.ones(len(index), dtype=bool)
    for holds, column, value in decisions:
        chosen = undecided & holds
        result.loc[chosen, column] = value[chosen] if isinstance(value, np.ndarray) else value
        undecided &= ~holds
    return result


def otherwise(index: pd.Index) -> np.ndarray:
    """The condition that holds for every row."""
    return np.ones(len(index), dtype=bool)


def any_of_row(row: pd.Series, holds: pd.Series, count: int) -> np.ndarray:
    """For each of `count` rows, whether `holds` for any of the pairs whose `row` is its number."""
    result = np.zeros(count, dtype=bool)
    result[row[holds].to_numpy()] = True
    return result


def check_choice(setting: str, value: object, allowed: Collection[str]) -> None:
    """Refuse a setting of a label rule that is none of the words `allowed`.

    Raises:
        InputError: naming the setting, the value and the words.
    """
    if value not in allowed:
        raise InputError(f"label.{setting} is {value!r}; it must be one of {', '.join(allowed)}")
