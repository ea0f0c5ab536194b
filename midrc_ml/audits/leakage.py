"""Leakage: the same patient in more than one part."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from midrc_ml.errors import InputError

Status = Literal["pass", "warn", "fail", "not_applicable"]


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One check: what was measured, whether it passed, and what to do."""

    check: str
    status: Status
    value: float | None
    evidence: str
    what_to_do: str
    low: float | None = None
    high: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The entry as it stands in `audit.json`."""
        names = ("check", "status", "value", "low", "high", "evidence", "what_to_do")
        return {name: asdict(self)[name] for name in names}


def patient_leakage(split: pd.DataFrame) -> AuditEntry:
    """`leakage.patient`: how many patients have studies in more than one part. split: patient_id, part."""
    parts = split.groupby("patient_id")["part"].nunique()
    shared = int((parts > 1).sum())
    return AuditEntry(
        check="leakage.patient",
        status="fail" if shared else "pass",
        value=float(shared),
        evidence=f"{shared} of {len(parts)} patients have studies in more than one part",
        what_to_do="split by patient; resolve patients who are known under several ids" if shared else "nothing",
    )


def stop_on_failure(audit: list[AuditEntry]) -> None:
    """Refuse to go on where a check failed.

    Raises:
        InputError: naming the checks.
    """
    failed = [entry for entry in audit if entry.status == "fail"]
    if failed:
        raise InputError(
            "audit: " + "; ".join(f"{entry.check}: {entry.evidence}; {entry.what_to_do}" for entry in failed)
        )
