"""What an audit asks for, and what is done about what it finds: the config group `audit`."""

from dataclasses import dataclass
from typing import Literal, get_args

from midrc_ml.audits.entry import Status
from midrc_ml.errors import InputError, check_kinds

Refuse = Literal["fail", "warn", "never"]
DuplicateRule = Literal["refuse", "drop", "report"]
Scope = Literal["all", "leakage"]
_STATUSES: dict[str, tuple[Status, ...]] = {"fail": ("fail",), "warn": ("fail", "warn"), "never": ()}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """How a run is audited.

    refuse: `fail` = a check that fails ends the run, before training where it can be made before; `warn` = one that
    warns does too; `never` = findings are only told. scope: `leakage` = only what ids and hashes tell, and what
    leaves the run's folder. duplicates: of the same film in two parts: `refuse` the run, `drop` it from training (and
    from validation, where the other one is in the test part), or `report` it.
    headers: how many files are read for what their DICOM headers give away; null = all.
    shortcut_warn, shortcut_fail: how much of the way from no knowledge (0) to a perfect score (1), in the task's first
    metric, something that is not the disease may tell of the label: 0.2 is an AUROC of 0.6, 0.8 one of 0.9. A shortcut
    fails only where the lower limit of its interval is that high.
    """

    refuse: Refuse = "fail"
    scope: Scope = "all"
    duplicates: DuplicateRule = "refuse"
    headers: int | None = 2000
    shortcut_warn: float = 0.2
    shortcut_fail: float = 0.8

    def __post_init__(self) -> None:
        check_kinds(self, "audit")
        for name, allowed in (("refuse", get_args(Refuse)), ("scope", get_args(Scope)),
                              ("duplicates", get_args(DuplicateRule))):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise InputError(f"audit.{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        if self.headers is not None and self.headers < 0:
            raise InputError(f"audit.headers is {self.headers!r}; it must be at least 0, or null for all files")
        if not 0 <= self.shortcut_warn <= self.shortcut_fail <= 1:
            raise InputError(
                f"audit.shortcut_warn is {self.shortcut_warn} and shortcut_fail is {self.shortcut_fail}; they must be "
                f"from 0 to 1, the first not above the second"
            )

    @property
    def refused(self) -> tuple[Status, ...]:
        """The statuses that end a run."""
        return _STATUSES[self.refuse]
