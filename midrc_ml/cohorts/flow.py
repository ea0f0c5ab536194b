"""Who was excluded, where, and why: counts in and out of every step, per site."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

NO_SITE = "Not Reported"


@dataclass
class CohortFlow:
    """Collects the steps from the first table to the analysed studies; written as `cohort_flow.json`.

    Every step names its unit, and what goes in equals what comes out plus what is excluded.
    """

    origin: str
    notes: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)

    def step(self, name: str, before: pd.DataFrame, reasons: pd.Series) -> pd.DataFrame:
        """The rows of `before` without a reason to exclude them; the others are counted.

        before: one row per study, with `site` and `case_id`. reasons: aligned with it, missing = stays in.
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
                "unit": "study",
                "n_in": len(before),
                "n_out": len(after),
                "n_cases_out": int(after["case_id"].nunique()),
                "by_site_out": _counts(_site(after)),
                "excluded": counts,
            }
        )
        return after

    def count_labels(self, studies: pd.DataFrame) -> None:
        """Record the number of studies, cases and (for a 0/1 label) positives, by site."""
        for value, rows in studies.groupby(_site(studies), sort=True):
            entry: dict[str, Any] = {"site": value, "n": len(rows), "n_cases": int(rows["case_id"].nunique())}
            if rows["label"].isin([0.0, 1.0]).all():
                entry["n_positive"] = int((rows["label"] == 1).sum())
            else:
                entry["median"] = float(rows["label"].median())
            self.labels.append(entry)

    def as_dict(self) -> dict[str, Any]:
        """The whole flow, ready for JSON."""
        return {"origin": self.origin, "notes": self.notes, "steps": self.steps, "labels_by_site": self.labels}

    def save(self, path: Path) -> None:
        """Write the flow as JSON."""
        path.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")


def reason_where(holds: ArrayLike, reason: str, index: pd.Index) -> pd.Series:
    """`reason` where `holds`, missing elsewhere: what `CohortFlow.step` takes."""
    return pd.Series([reason if hold else None for hold in np.asarray(holds, dtype=bool)], index=index, dtype=object)


def _site(frame: pd.DataFrame) -> pd.Series:
    return frame["site"].fillna(NO_SITE).astype("str")


def _counts(values: pd.Series) -> Mapping[str, int]:
    return {str(value): int(n) for value, n in values.value_counts().sort_index().items()}
