"""Leave one site out: the test part is a site (or project, or manufacturer) that training never saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.errors import InputError, check_kinds, check_least
from midrc_ml.splits.dealing import check_columns, check_rule, check_share, deal_the_others

COLUMNS = ("site", "project", "manufacturer")
SEEN_AT_TWO = ("refuse", "test")
UNKNOWN = ("refuse", "train", "leave_out")
NUM_SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class LeaveOneSiteOut:
    """The test part is one site whole; the other patients are dealt into train and validation.

    site: its name; or fold: its place among the sorted names, from 0, so that a sweep goes over all of them.
    column: `site`, or `project` or `manufacturer` in its stead. validation: share of the other patients.
    seen_at_two: a patient of the test site who was also seen elsewhere: `refuse`, or `test` = all of the patient's
    studies are in the test part. unknown: a study without a site: `refuse`, `train` (it may be of the test site),
    `leave_out`.
    """

    site: str | int | None = None
    fold: int | None = None
    column: str = "site"
    validation: float = 0.15
    seen_at_two: str = "refuse"
    unknown: str = "refuse"
    stratify: Sequence[str] = ("label", "site", "sex", "age_band")
    seed: int = 0
    sha256: str | None = None

    left_out: ClassVar[str] = "site not recorded"

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        check_least(self, "split", fold=0)
        check_share("split.validation", self.validation)
        check_rule("split.column", self.column, COLUMNS)
        check_rule("split.seen_at_two", self.seen_at_two, SEEN_AT_TWO)
        check_rule("split.unknown", self.unknown, UNKNOWN)
        if self.site is not None and self.fold is not None:
            raise InputError(
                f"split.site is {self.site!r} and split.fold is {self.fold}; give one of them: both name the test site"
            )

    @property
    def query(self) -> Mapping[str, object]:
        """The settings: rule, column, site or fold, seed, strata."""
        return {
            "split": "leave_one_site_out",
            "column": self.column,
            "site": None if self.site is None else str(self.site),
            "fold": self.fold,
            "validation": self.validation,
            "seen_at_two": self.seen_at_two,
            "unknown": self.unknown,
            "seed": self.seed,
            "stratify": list(self.stratify),
        }

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`, less those without a site where they are left out.

        Raises:
            InputError: no such site, only one site, or a patient or study that a rule refuses.
        """
        check_columns("split.column", [self.column], studies)
        sites = studies[self.column].mask(studies[self.column] == NOT_REPORTED)
        test_site = self._test_site(sorted(sites.dropna().unique()))
        if unknown := int(sites.isna().sum()):
            if self.unknown == "refuse":
                raise InputError(
                    f"split.column={self.column}: {unknown} studies have none recorded, and may be of the test "
                    f"{self.column}; choose split.unknown=leave_out or split.unknown=train"
                )
            if self.unknown == "leave_out":
                studies, sites = studies[sites.notna()], sites.dropna()
        at_site = sites.eq(test_site).fillna(False).astype(bool)
        seen_there = studies["patient_id"].isin(studies.loc[at_site, "patient_id"].unique())
        if self.seen_at_two == "refuse" and (count := studies.loc[seen_there & ~at_site, "patient_id"].nunique()):
            raise InputError(
                f"split.site: {count} patients of the test {self.column} have studies elsewhere too, and a patient "
                f"belongs to one part; split.seen_at_two=test puts all of their studies into test"
            )
        if seen_there.all():
            raise InputError(
                f"split.column={self.column}: all patients were seen at the test {self.column}; "
                f"nothing is left to train on"
            )
        return studies.assign(
            part=deal_the_others(
                studies, seen_there, validation=self.validation, stratify=self.stratify, seed=self.seed
            )
        )

    def _test_site(self, names: list[str]) -> str:
        shown = ", ".join(names[:NUM_SHOWN]) + (f" and {len(names) - NUM_SHOWN} more" if names[NUM_SHOWN:] else "")
        if len(names) < 2:
            raise InputError(
                f"split.column={self.column} needs two or more to leave one out; the studies have {shown or 'none'}"
            )
        if self.site is not None:
            if str(self.site) not in names:
                raise InputError(f"split.site is {str(self.site)!r}, which no study has; there are {shown}")
            return str(self.site)
        if self.fold is None:
            raise InputError(
                f"split.site is not set; give the one to leave out, of {shown}, or split.fold=0 to {len(names) - 1}"
            )
        if self.fold >= len(names):
            raise InputError(f"split.fold is {self.fold}, but there are {len(names)} (0 to {len(names) - 1}): {shown}")
        return names[self.fold]
