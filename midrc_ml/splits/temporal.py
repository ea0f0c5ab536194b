"""Split in time: the test part is who arrived last.

The dates are those of the data batches in which a patient arrived: real dates, unlike the shifted clinical ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

import pandas as pd

from midrc_ml.errors import InputError, check_kinds
from midrc_ml.splits.dealing import check_columns, check_rule, check_share, deal_the_others

DATE = "arrival_date"
DEFAULT_TEST = 0.25
VALIDATION_BY = ("random", "date")
UNDATED = ("refuse", "train", "leave_out")


@dataclass(frozen=True, kw_only=True)
class Temporal:
    """The test part is the patients whose first batch is of `test_from` or later; no batch date is ever cut.

    test_from: YYYYMMDD. test: in its stead a share of the dated patients, the latest; cut between the two batch
    dates where the share comes nearest (the smaller test part of two that are as near). Neither: a quarter.
    A patient known under two ids arrived with the earlier of the batches.
    validation: share of the other dated patients: dealt at `random` (stratified, as training is), or the latest
    of them by `date`. A batch is often one site's, so that the latest may differ from training in more than time.
    undated: patients of no known batch: `refuse`, `train`, `leave_out`.
    """

    test_from: str | int | None = None
    test: float | None = None
    validation: float = 0.15
    validation_by: str = "random"
    undated: str = "refuse"
    stratify: Sequence[str] = ("label", "site", "sex", "age_band")
    seed: int = 0
    sha256: str | None = None

    left_out: ClassVar[str] = "no arrival date"

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        check_share("split.validation", self.validation)
        check_rule("split.validation_by", self.validation_by, VALIDATION_BY)
        check_rule("split.undated", self.undated, UNDATED)
        if self.test is not None:
            check_share("split.test", self.test)
        if self.test_from is not None and not _is_date(str(self.test_from)):
            raise InputError(f"split.test_from is {self.test_from!r}; it must be a date as YYYYMMDD, e.g. 20220301")
        if self.test_from is not None and self.test is not None:
            raise InputError(
                f"split.test_from is {self.test_from} and split.test is {self.test}; give one of them: "
                f"both say where the test part begins"
            )

    @property
    def query(self) -> Mapping[str, object]:
        """The settings: rule, begin or share of the test part, seed, strata."""
        return {
            "split": "temporal",
            "test_from": None if self.test_from is None else str(self.test_from),
            "test": self._test_share,
            "validation": self.validation,
            "validation_by": self.validation_by,
            "undated": self.undated,
            "seed": self.seed,
            "stratify": list(self.stratify),
        }

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`, less those of undated patients where they are left out.

        Raises:
            InputError: no or wrong dates, patients without one where they are refused, or nobody before or after
                the begin of the test part.
        """
        arrival = _first_arrival(studies)
        undated = studies.loc[arrival.isna(), "patient_id"].nunique()
        if undated and self.undated == "refuse":
            raise InputError(
                f"split: {undated} patients have no {DATE}; choose split.undated=train or split.undated=leave_out"
            )
        begin = self._test_begin(studies, arrival)
        if self.undated == "leave_out":
            studies, arrival = studies[arrival.notna()], arrival.dropna()
        # An undated patient is before any date: never in test, and in train by its rule.
        arrival = arrival.fillna("")
        part = pd.Series("train", index=studies.index, dtype="str")
        part[arrival >= begin] = "test"
        earlier = (arrival < begin) & (arrival != "")
        if self.validation_by == "date":
            part[earlier & (arrival >= self._validation_begin(studies[earlier], arrival[earlier]))] = "validation"
        else:
            dated = studies[arrival != ""]
            part[arrival != ""] = deal_the_others(
                dated,
                arrival[arrival != ""] >= begin,
                validation=self.validation,
                stratify=self.stratify,
                seed=self.seed,
            ).to_numpy()
        return studies.assign(part=part)

    def notes(self, studies: pd.DataFrame) -> list[str]:
        """Where the test part begins, and with how many patients; the undated ones."""
        arrival = _first_arrival(studies)
        patients = _of_patients(studies, arrival)
        begin = self._test_begin(studies, arrival)
        notes = [
            f"the test part is the {int((patients >= begin).sum())} of {len(patients)} dated patients whose first "
            f"batch is of {begin} or later"
        ]
        if undated := studies.loc[arrival.isna(), "patient_id"].nunique():
            notes.append(f"{undated} patients have no {DATE}: split.undated is {self.undated}")
        return notes

    @property
    def _test_share(self) -> float | None:
        return DEFAULT_TEST if self.test is None and self.test_from is None else self.test

    def _test_begin(self, studies: pd.DataFrame, arrival: pd.Series) -> str:
        patients = _of_patients(studies, arrival)
        if patients.empty:
            raise InputError(f"split: no patient has an {DATE}; choose another split")
        first, last = patients.min(), patients.max()
        if self._test_share is not None:
            if first == last:
                raise InputError(f"split: all dated patients arrived on {first}; a split in time needs two batch dates")
            return _begin_of_latest(patients, self._test_share)
        begin = str(self.test_from)
        if not first < begin <= last:
            missing = "before" if begin <= first else "on or after"
            raise InputError(
                f"split.test_from is {begin}, but no patient arrived {missing} it; batches are of {first} to {last}"
            )
        return begin

    def _validation_begin(self, studies: pd.DataFrame, arrival: pd.Series) -> str:
        patients = _of_patients(studies, arrival)
        if patients.nunique() < 2:
            raise InputError(
                f"split.validation_by is date, but all patients before the test part arrived on {patients.iloc[0]}; "
                f"choose split.validation_by=random"
            )
        return _begin_of_latest(patients, self.validation)


def _first_arrival(studies: pd.DataFrame) -> pd.Series:
    """The date of each study's patient's first batch, as text; missing where no batch is known."""
    check_columns("split: what a split in time goes by", [DATE], studies)
    dates = studies[DATE].astype("str")
    wrong = [text for text in dates.dropna().unique() if not _is_date(text)]
    if wrong:
        count = studies.loc[dates.isin(wrong), "patient_id"].nunique()
        raise InputError(f"split: {DATE} must be YYYYMMDD; that of {count} patients is not (e.g. {wrong[0]!r})")
    first = pd.DataFrame({"patient_id": studies["patient_id"], "date": dates}).dropna().groupby("patient_id")["date"]
    return studies["patient_id"].map(first.min()).astype("str")


def _of_patients(studies: pd.DataFrame, arrival: pd.Series) -> pd.Series:
    """The date of each dated patient."""
    dated = studies[["patient_id"]].assign(date=arrival).dropna().drop_duplicates("patient_id")
    return dated["date"]


def _begin_of_latest(dates: pd.Series, share: float) -> str:
    """The date on or after which the share of the patients is nearest to `share`; never the first date."""
    counts = dates.value_counts().sort_index(ascending=False)
    reached = (counts.cumsum() / len(dates)).iloc[:-1]
    # From the latest date on, so that of two as near (but for rounding) the later one is taken.
    return str((reached - share).abs().round(9).idxmin())


def _is_date(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return False
    return len(text) == 8 and text.isdigit()
