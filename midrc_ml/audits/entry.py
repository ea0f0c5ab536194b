"""One check of an audit, and what a run does with those that failed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from midrc_ml.errors import InputError

Status = Literal["pass", "warn", "fail", "not_applicable"]
STATUSES: tuple[Status, ...] = ("fail", "warn", "pass", "not_applicable")  # the worst first


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One check: what was measured, whether it passed, and what to do.

    value, low, high: of the check's own number, and its interval where it has one. evidence: sentences, with counts and
    no patient's value. details: rows of numbers behind it, for whoever reads `audit.json`.
    """

    check: str
    status: Status
    value: float | None
    evidence: str
    what_to_do: str
    low: float | None = None
    high: float | None = None
    details: Sequence[Mapping[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The entry as it stands in `audit.json`; details where there are any."""
        names = ("check", "status", "value", "low", "high", "evidence", "what_to_do")
        made = {name: asdict(self)[name] for name in names}
        return made | ({"details": [dict(row) for row in self.details]} if self.details else {})


def not_applicable(check: str, why: str, what_to_do: str = "nothing") -> AuditEntry:
    """A check that could not be made of these data, and why."""
    return AuditEntry(check=check, status="not_applicable", value=None, evidence=why, what_to_do=what_to_do)


def stop_on_failure(audit: Sequence[AuditEntry], *, statuses: Sequence[Status] = ("fail",)) -> None:
    """Refuse to go on where a check has one of these statuses.

    Raises:
        InputError: naming the checks.
    """
    failed = [entry for entry in audit if entry.status in statuses]
    if failed:
        raise InputError(
            "audit: " + "; ".join(f"{entry.check}: {entry.evidence}; {entry.what_to_do}" for entry in failed)
        )
