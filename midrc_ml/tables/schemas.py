"""Columns, types, units and allowed values of the five tables.

Days are signed numbers on the patient's own timeline (negative = before the index event); fractions are
allowed. An empty value is missing: it is never a "no".
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "flag", "list"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its type and the values it may take.

    kind: `text`; `number` (float64); `flag` (true, false or missing); `list` (a tuple of texts).
    required: every row must have a value. optional: the column itself may be absent.
    """

    name: str
    kind: Kind = "text"
    required: bool = False
    optional: bool = False
    allowed: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    meaning: str = ""  # what the values are, for messages


def text(name: str, *, required: bool = False, optional: bool = False, allowed: tuple[str, ...] = ()) -> Column:
    """A column of text, from a list of allowed values where there is one."""
    return Column(name=name, required=required, optional=optional, allowed=allowed)


def number(
    name: str, *, required: bool = False, optional: bool = False, low: float | None = None, high: float | None = None
) -> Column:
    """A column of numbers between `low` and `high`, both included."""
    return Column(name=name, kind="number", required=required, optional=optional, low=low, high=high)


# Nobody lives so long: what is further off is a date (20200311, or 43901 as Excel has it) where a day should be.
MAX_DAYS = 40_000


def day(name: str) -> Column:
    """A column of days from the index event, signed."""
    return Column(
        name=name, kind="number", low=-MAX_DAYS, high=MAX_DAYS, meaning="days from the index event, not a date"
    )


def flag(name: str, *, optional: bool = False) -> Column:
    """A column with three states: true, false, missing."""
    return Column(name=name, kind="flag", optional=optional)


# MIDRC dictionary 2026-06-29 (uc-cdis/midrc_dictionary d7befda), node `case`.
SEX = ("Female", "Male", "Not Reported")
RACE = (
    "American Indian or Alaska Native",
    "Asian",
    "Black or African American",
    "Native Hawaiian or other Pacific Islander",
    "Other",
    "White",
    "Not Reported",
)
ETHNICITY = ("Hispanic or Latino", "Not Hispanic or Latino", "Not Reported")

# Node `measurement`.
TEST_RESULT = ("Positive", "Negative", "Indeterminate", "Not Reported")

# Ages over 89 arrive blank with a mark; they stand as 90 here, with `age_over_89` true.
AGE_OVER_89 = 90.0

EVENT_KINDS = (
    "covid_test",
    "hospital_stay",
    "icu_stay",
    "ventilation",
    "death",
    "condition",  # a diagnosis
    "medication",
    "laboratory",
    "observation",  # a symptom, a vital sign, an answer: everything else that was noted on a day
)

# Undated yes / no / unknown of a case: each may describe a time before or after any image.
CASE_FLAGS = ("covid_ever", "icu_ever", "ventilated_ever", "died", "severe", "long_covid")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: its columns in order, and the columns that together name a row (no repeats allowed)."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()


CASES = Table(
    name="cases",
    key=("case_id",),
    columns=(
        text("case_id", required=True),
        text("patient_id", required=True),  # aliases resolved; the only key that splits use
        text("project"),
        text("site"),
        text("sex", allowed=SEX),
        text("race", allowed=RACE),
        text("ethnicity", allowed=ETHNICITY),
        number("age", low=0, high=AGE_OVER_89),  # years at the index event
        flag("age_over_89"),
        *(flag(name) for name in CASE_FLAGS),
        text("arrival_date"),  # YYYYMMDD of the first data batch, not a clinical date
    ),
)

STUDIES = Table(
    name="studies",
    key=("study_id",),
    columns=(
        text("study_id", required=True),
        text("case_id", required=True),
        text("modality"),  # DICOM modalities of its series, sorted and joined by commas
        text("description"),  # StudyDescription: the site's own words
        text("body_part"),  # DICOM BodyPartExamined, several joined by commas
        text("loinc"),
        text("loinc_method"),  # LOINC's own words, e.g. XR.portable
        text("loinc_system"),  # the part of the body by LOINC, e.g. Chest
        day("day"),
        number("age", low=0, high=AGE_OVER_89),  # years at imaging
        number("year"),
    ),
)

SERIES = Table(
    name="series",
    key=("series_id",),
    columns=(
        text("series_id", required=True),
        text("study_id", required=True),
        text("modality"),
        text("view"),  # DICOM ViewPosition
        text("manufacturer"),
        text("manufacturer_model"),
        text("description"),
        number("instances", low=0),
        # Absolute path of a ZIP, a folder or one image, or a pattern of files (`images.files.pattern_of`).
        text("file"),
    ),
)

EVENTS = Table(
    name="events",
    columns=(
        text("case_id", required=True),
        text("kind", required=True, allowed=EVENT_KINDS),
        text("name"),
        day("start_day"),
        day("end_day"),
        text("value"),
        text("unit"),
        text("source"),
    ),
)

READINGS = Table(
    name="readings",
    key=("study_id", "series_id", "image", "reader", "name"),
    columns=(
        text("study_id", required=True),
        text("series_id"),
        text("image"),  # which of them, where one reader read several of the study or series
        text("reader", required=True),
        text("name", required=True),
        number("value"),
        text("category"),  # where the reading is a class, in the readers' words
        text("source"),
    ),
)

FIVE_TABLES = (CASES, STUDIES, SERIES, EVENTS, READINGS)
