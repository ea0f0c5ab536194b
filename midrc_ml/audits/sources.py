"""Whether a source (site, scanner, view) and the label go together, and what a score knows within one source."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.evaluation.weighted import Array
from midrc_ml.splits.manifest import PARTS

_QUARTERS = 4
_MOST_LABELS = 8


def label_classes(label: pd.Series) -> pd.Series:
    """Labels as classes: themselves where they are few, else quarters of their order."""
    if label.nunique() <= _MOST_LABELS:
        return label
    return pd.Series(pd.qcut(label, _QUARTERS, labels=False, duplicates="drop"), index=label.index)


def cramers_v(first: pd.Series, second: pd.Series) -> float:
    """Cramer's V of two columns of words, corrected for bias: 0 = they do not go together, 1 = one tells the other.

    NaN where one of them does not vary. Source: Bergsma, J Korean Stat Soc 2013;42:323.
    """
    counts = pd.crosstab(first, second).to_numpy(dtype=np.float64)
    total = counts.sum()
    rows, columns = counts.shape
    if min(rows, columns) < 2 or total < 2:
        return math.nan
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / total
    phi = float(((counts - expected) ** 2 / expected).sum() / total)
    phi = max(0.0, phi - (rows - 1) * (columns - 1) / (total - 1))
    least = min(rows - (rows - 1) ** 2 / (total - 1), columns - (columns - 1) ** 2 / (total - 1)) - 1
    return min(1.0, math.sqrt(phi / least)) if least > 0 else math.nan


def association_rows(studies: pd.DataFrame, columns: list[str]) -> list[dict[str, Any]]:
    """Cramer's V of each column and the label, of all studies and by part; one study a patient of each label counts.

    studies: part, label, patient_id and the columns. {column, part, value, n}; value None where one does not vary.
    """
    rows: list[dict[str, Any]] = []
    once = studies.drop_duplicates(["patient_id", "label", *columns])
    for column in columns:
        known = once[once[column].notna() & (once[column] != NOT_REPORTED)]
        for part in ("all", *PARTS):
            of_part = known if part == "all" else known[known["part"] == part]
            value = (
                cramers_v(of_part[column].astype("str"), label_classes(of_part["label"])) if len(of_part) else math.nan
            )
            rows.append({"column": column, "part": part, "value": None if math.isnan(value) else value,
                         "n": len(of_part)})  # fmt: skip
    return rows


@dataclass(frozen=True)
class WithinGroups:
    """A score compared only with others of the same source. value: the mean over groups, weighted by their studies."""

    value: float
    groups: Mapping[str, float]
    num_studies: int


def within_groups(values: Mapping[str, float | None], sizes: Mapping[str, int]) -> WithinGroups | None:
    """Of a metric by group, the mean over the groups in which it has a value; None where it has none in any."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    total = sum(sizes[name] for name in known)
    mean = sum(value * sizes[name] for name, value in known.items()) / total
    return WithinGroups(mean, known, total)


def codes(values: pd.Series) -> Array:
    """Which of its words each study has, from 0 on; -1 = not reported."""
    known = values.where(values.notna() & (values != NOT_REPORTED))
    return np.asarray(pd.factorize(known, sort=True)[0])
