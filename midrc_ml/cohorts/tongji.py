"""`cohort=tongji`: laboratory time series of COVID-19 inpatients of one hospital, with the outcome; no images.

Source: Yan et al., "An interpretable mortality prediction model for COVID-19 patients", Nat Mach Intell 2020;2:283,
doi 10.1038/s42256-020-0180-7; tables of https://github.com/HAIRLAB/Pre_Surv_COVID_19 (MIT). `training`: 375 patients,
74 quantities; `external`: 110 later patients, the three quantities of the published rule, no age and no sex.

How it becomes tables: day 0 = `Admission time`, days have fractions; each value is a laboratory event named by its
column (no units are told); a row without PATIENT_ID belongs to the patient above it (merged cells); outcome 1 = died,
at `Discharge time`; gender 1 = male, 2 = female (224 and 151 patients, as in Table 2 of the paper).
Values after discharge are kept: a sample that was drawn before may be reported late, and its day says so.
A case's id is `<part>-<number>`, as both tables count from 1; project = `tongji_<part>`.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

import openpyxl
import pandas as pd
from openpyxl.utils.exceptions import InvalidFileException

from midrc_ml.cohorts.public import absent_but, bad_rows, capped_age, public_folder
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError, check_kinds
from midrc_ml.tables.schemas import AGE_OVER_89

SOURCE = "https://github.com/HAIRLAB/Pre_Surv_COVID_19 (data/)"
_FILES = {"training": "time_series_375*_en.xlsx", "external": "time_series_test_110*_en.xlsx"}
PARTS = ("training", "external", "both")
_ID, _TAKEN = "PATIENT_ID", "RE_DATE"
_START, _END, _OUTCOME = "Admission time", "Discharge time", "outcome"
_DEMOGRAPHICS = ("age", "gender")
# Coded: -1 is a result, not a quantity.
_CODED = ("2019-nCoV nucleic acid detection",)
_SECONDS_A_DAY = 86_400.0
# What openpyxl raises on a damaged file; its archive or the XML inside may be cut off or overwritten.
_NO_TABLE = (BadZipFile, InvalidFileException, ParseError, zlib.error, EOFError, LookupError, ValueError, OSError)


@dataclass(frozen=True, kw_only=True)
class TongjiCohort:
    """Reads `<data_dir>/tongji`: two XLSX tables. part: `training`, `external` or `both`."""

    data_dir: str | None
    part: str = "both"

    def __post_init__(self) -> None:
        check_kinds(self, "cohort")
        if self.part not in PARTS:
            raise InputError(f"cohort.part is {self.part!r}; it must be one of {', '.join(PARTS)}")

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for."""
        return {"cohort": "tongji", "part": self.part}

    def read(self) -> Tables:
        """The five tables; no studies, series or readings.

        Raises:
            InputError: the data are not there.
            TableError: a file is not its table, or holds values that its columns cannot; all at once.
        """
        folder = public_folder(self.data_dir, "tongji", source=SOURCE)
        parts = [part for part in _FILES if self.part in (part, "both")]
        problems: list[str] = []
        notes: list[str] = []
        frames = []
        for part in parts:
            found = sorted(folder.glob(_FILES[part]))
            if len(found) != 1:
                raise InputError(
                    f"cohort=tongji: {len(found)} files {_FILES[part]} in {folder}; one is needed, from {SOURCE}"
                )
            rows = _read(found[0])
            problems += _problems(rows, where=found[0].name)
            frames.append((part, rows))
        if problems:
            raise TableError(problems)
        tables = [_part(part, rows, notes) for part, rows in frames]
        cases, events = (pd.concat(list(of_parts), ignore_index=True) for of_parts in zip(*tables, strict=True))
        no_image = dict.fromkeys(("studies", "series", "readings"), "the collection has no images")
        return Tables.checked(
            origin="Tongji laboratory time series",
            cases=cases,
            events=events,
            absent={
                **no_image,
                **absent_but("hospital_stay", "death", "laboratory", why="the tables hold laboratory values only"),
            },
            notes=tuple(notes),
        )


def _read(path: Path) -> pd.DataFrame:
    """The rows of the first sheet as Python objects, PATIENT_ID filled in.

    Raises:
        TableError: not such a table.
    """
    again = f"get it again from {SOURCE} and take the table as it is"
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        header, *rows = book.worksheets[0].iter_rows(values_only=True)
        book.close()
    except _NO_TABLE as error:
        raise TableError([f"{path.name}: not a readable XLSX table ({type(error).__name__}); {again}"]) from error
    names = ["" if name is None else str(name).strip() for name in header]
    absent = [name for name in (_ID, _TAKEN, _START, _END, _OUTCOME) if name not in names]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if absent or repeated or not rows:
        what = f"no column {', '.join(absent)}" if absent else f"columns {repeated} come twice"
        raise TableError([f"{path.name}: {what if absent or repeated else 'no rows'}; {again}"])
    table = pd.DataFrame(rows, columns=names, dtype=object).drop(columns=[name for name in names if not name])
    # No cell of an empty row belongs to a patient; Excel keeps such rows below a table.
    table = table[table.notna().any(axis=1)]
    return table.assign(**{_ID: table[_ID].ffill()}).reset_index(drop=True)


def _quantities(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows if name not in (_ID, _TAKEN, _START, _END, _OUTCOME, *_DEMOGRAPHICS)]


def _problems(rows: pd.DataFrame, *, where: str) -> list[str]:
    """Everything that is wrong with the fixed columns."""
    rules: list[tuple[str, pd.Series, str]] = [
        (_ID, rows[_ID].isna(), "must be there in the first row"),
        (_TAKEN, ~rows[_TAKEN].map(_is_time) & rows[_TAKEN].notna(), "must be a date or empty"),
        (_START, ~rows[_START].map(_is_time), "must be a date"),
        (_END, ~rows[_END].map(_is_time), "must be a date"),
        (_OUTCOME, ~rows[_OUTCOME].isin([0, 1]), "must be 0 or 1 (died)"),
    ]
    if "gender" in rows:
        rules.append(("gender", ~rows["gender"].isin([1, 2]), "must be 1 (male) or 2 (female)"))
    if "age" in rows:
        numbers = pd.to_numeric(rows["age"], errors="coerce")
        rules.append(("age", ~numbers.between(0, 120), "must be 0 to 120 years"))
    problems = [
        sentence for name, bad, rule in rules for sentence in bad_rows(rows[name], bad, rule, where=f"{where}: {name}")
    ]
    if problems:
        return problems
    for name in (_START, _END, _OUTCOME, *(name for name in _DEMOGRAPHICS if name in rows)):
        differ = int((rows.groupby(_ID)[name].nunique() > 1).sum())
        if differ:
            problems.append(f"{where}: {differ} patients have several values of {name}; a patient has one")
    ends_first = rows[_END] < rows[_START]
    return problems + bad_rows(rows[_END], ends_first, f"must not be before {_START}", where=f"{where}: {_END}")


def _part(part: str, rows: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cases and events of one table."""
    rows = rows.assign(case_id=f"{part}-" + rows[_ID].map(str))
    patients = rows.drop_duplicates("case_id")
    died = patients[_OUTCOME].eq(1)
    cases = pd.DataFrame(
        {
            "case_id": patients["case_id"],
            "patient_id": patients["case_id"],
            "project": f"tongji_{part}",
            "site": "Tongji",
            "died": died,
            "covid_ever": True,
        }
    )
    if "gender" in rows:
        cases["sex"] = patients["gender"].map({1: "Male", 2: "Female"})
    if "age" in rows:
        age = patients["age"].astype(float)
        cases["age"], cases["age_over_89"] = capped_age(age), age > AGE_OVER_89 - 1
    end_day = _days(patients[_END], patients[_START])
    stays = pd.DataFrame(
        {
            "case_id": patients["case_id"],
            "kind": "hospital_stay",
            "start_day": 0.0,
            "end_day": end_day,
            "value": died.map({True: "Deceased", False: "Discharged"}),
            "source": part,
        }
    )
    deaths = pd.DataFrame({"case_id": patients["case_id"], "kind": "death", "start_day": end_day, "source": part})[died]
    return cases, pd.concat([stays, deaths, _laboratory(part, rows, notes)], ignore_index=True)


def _laboratory(part: str, rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    rows = rows.assign(day=_days(rows[_TAKEN], rows[_START]))
    values = rows.melt(["case_id", "day", _END, _START], _quantities(rows), "name", "value").dropna(subset="value")
    numbers = pd.to_numeric(values["value"], errors="coerce")
    impossible = (numbers < 0) & ~values["name"].isin(_CODED)
    values = values[~impossible]
    without = rows["case_id"].nunique() - values["case_id"].nunique()
    for count, words in (
        (int(impossible.sum()), "values are negative where none can be; they are left out"),
        (int(values["day"].isna().sum()), "values have no date; they have no day"),
        (
            int((values["day"] > _days(values[_END], values[_START])).sum()),
            "values are dated after discharge; they are kept",
        ),
        (without, "patients have no laboratory value; they are kept"),
    ):
        if count:
            notes.append(f"{part}: {count} {words}")
    return pd.DataFrame(
        {
            "case_id": values["case_id"],
            "kind": "laboratory",
            "name": values["name"],
            "start_day": values["day"],
            "end_day": values["day"],
            "value": values["value"].map(str).str.strip(),
            "source": part,
        }
    )


def _days(times: pd.Series, origin: pd.Series) -> pd.Series:
    return (pd.to_datetime(times) - pd.to_datetime(origin)).dt.total_seconds() / _SECONDS_A_DAY


def _is_time(value: object) -> bool:
    return isinstance(value, datetime)
