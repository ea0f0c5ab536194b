"""Who was excluded, where, and why: counts in and out of every step, per site."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

NO_SITE = "Not Reported"
EXCLUDED_FILE = "excluded.parquet"


@dataclass
class CohortFlow:
    """Collects the steps from the first table to the analysed studies; written as `cohort_flow.json`.

    Every step names its unit, and what goes in equals what comes out plus what is excluded. unit: `study`, or
    `case` where there are no studies. details: further tables of counts, by name. excluded: case_id, study_id, step
    and reason of every row that was left out; it stays in the run's folder.
    """

    origin: str
    unit: str = "study"
    notes: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    _left_out: list[pd.DataFrame] = field(default_factory=list)

    def step(self, name: str, before: pd.DataFrame, reasons: pd.Series) -> pd.DataFrame:
        """The rows of `before` without a reason to exclude them; the others are counted.

        before: one row per unit, with `site` and `case_id`. reasons: aligned with it, missing = stays in.
        """
        excluded = reasons.notna().to_numpy()
        after = before[~excluded].reset_index(drop=True)
        sites = _site(before)
        counts = [
            {"reason": str(reason), "n": len(rows), "by_site": _counts(sites[excluded].loc[rows.index])}
            for reason, rows in reasons[excluded].groupby(reasons[excluded], sort=True)
        ]
        self.steps.append(
            {
                "step": name,
                "unit": self.unit,
                "n_in": len(before),
                "n_out": len(after),
                "n_cases_out": int(after["case_id"].nunique()),
                "by_site_out": _counts(_site(after)),
                "excluded": counts,
            }
        )
        if excluded.any():
            rows = before[excluded]
            ids = {"case_id": rows["case_id"], "study_id": rows.get("study_id"), "step": name}
            self._left_out.append(pd.DataFrame(ids, index=rows.index).assign(reason=reasons[excluded]))
        return after

    def not_applicable(self, name: str, why: str) -> None:
        """Record that a step could not be taken, and why."""
        self.steps.append({"step": name, "unit": self.unit, "not_applicable": why, "excluded": []})

    @property
    def taken(self) -> list[dict[str, Any]]:
        """The steps that were taken."""
        return [step for step in self.steps if "not_applicable" not in step]

    def count_labels(self, rows: pd.DataFrame, *, kind: str, classes: Sequence[str] = ()) -> None:
        """Record `label_counts` by site."""
        self.labels = label_counts(rows, "site", kind=kind, classes=classes)

    def as_dict(self) -> dict[str, Any]:
        """The whole flow, ready for JSON."""
        return {
            "origin": self.origin,
            "unit": self.unit,
            "notes": self.notes,
            "steps": self.steps,
            "labels_by_site": self.labels,
            **self.details,
        }

    def save(self, path: Path) -> None:
        """Write the flow as JSON, and beside it the ids of what was left out."""
        path.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")
        if self._left_out:
            everything = pd.concat(self._left_out, ignore_index=True)
            everything.to_parquet(path.with_name(EXCLUDED_FILE), index=False)


def label_counts(rows: pd.DataFrame, column: str, *, kind: str, classes: Sequence[str] = ()) -> list[dict[str, Any]]:
    """For each value of `column`, under its name: n rows, n_cases, and what the labels are.

    That is `n_positive` (kind binary or time_to_event), `n_<class>` for each of `classes` (multiclass), else `median`.
    """
    counts = []
    for value, group in rows.groupby(rows[column].fillna(NO_SITE).astype("str"), sort=True):
        entry: dict[str, Any] = {column: value, "n": len(group), "n_cases": int(group["case_id"].nunique())}
        if kind in ("binary", "time_to_event"):
            entry["n_positive"] = int((group["label"] == 1).sum())
        elif kind == "multiclass":
            entry |= {f"n_{name}": int((group["label"] == position).sum()) for position, name in enumerate(classes)}
        else:
            entry["median"] = float(group["label"].median())
        counts.append(entry)
    return counts


def reason_where(holds: ArrayLike, reason: str, index: pd.Index) -> pd.Series:
    """`reason` where `holds` (a missing value does not), missing elsewhere: what `CohortFlow.step` takes."""
    reasons = np.full(len(index), None, dtype=object)
    reasons[pd.Series(holds, dtype="boolean").fillna(False).to_numpy(dtype=bool)] = reason
    return pd.Series(reasons, index=index, dtype=object)


def _site(frame: pd.DataFrame) -> pd.Series:
    return frame["site"].fillna(NO_SITE).astype("str")


def _counts(values: pd.Series) -> Mapping[str, int]:
    return {str(value): int(n) for value, n in values.value_counts().sort_index().items()}
