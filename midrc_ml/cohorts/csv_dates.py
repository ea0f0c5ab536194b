"""Dates in the cells of somebody's own table. They are local wall time: zones and offsets are dropped."""

import re
from datetime import datetime

import pandas as pd

ISO = "iso"
STAMP = "datetime64[us]"

_DAY = r"\d{4}-\d{1,2}-\d{1,2}|\d{8}"
_TIME = r"[T ]\d{1,2}(?::?\d{2}(?::?\d{2}(?:\.\d+)?)?)?"
_ZONE = r"\s?(?:Z|UTC|[+-]\d{2}(?::?\d{2})?)"
_ISO_CELL = re.compile(rf"({_DAY})(?:({_TIME})(?:{_ZONE})?)?", re.ASCII)
_ISO_MONTH = re.compile(r"\d{4}(?:-\d{1,2})?", re.ASCII)
_LIKE_A_DATE = re.compile(
    r"\d{4}-\d{1,2}(?:-\d{1,2}.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}.*|\d{4}/\d{1,2}/\d{1,2}.*|(?:19|20)\d{6}"
)
_OF_A_MONTH = ("%m", "%b", "%B")


def stamps(text: pd.Series, *, date: str, partial: bool = False) -> tuple[pd.Series, pd.Series]:
    """The local moment of each text, and which could not be read.

    date: `iso`, or a format as of `strptime`. partial: an ISO date may lack its day or its month.
    """
    once = pd.Series(text.dropna().unique(), dtype=object)
    if date == ISO:
        cells = once.map(lambda cell: _iso_moment(cell, partial=partial))
        read = pd.to_datetime(cells, format="ISO8601", errors="coerce")
    elif "%z" in date or "%Z" in date:
        read = once.map(lambda cell: _local(cell, date))
    else:
        read = pd.to_datetime(without_words_for_now(once), format=date, errors="coerce")
    result = text.map(dict(zip(once, read, strict=True))).astype(STAMP)
    return result, text.notna() & result.isna()


def without_words_for_now(text: pd.Series) -> pd.Series:
    """`text` with `today` and `now` taken out, that pandas reads as the moment of the run."""
    return text.mask(text.str.strip().str.lower().isin(["now", "today"]), None)


def _iso_moment(cell: str, *, partial: bool) -> str | None:
    found = _ISO_CELL.fullmatch(cell)
    if found:
        return found[1] + (found[2] or "")
    return cell if partial and _ISO_MONTH.fullmatch(cell) else None


def _local(cell: str, date: str) -> datetime | None:
    try:
        return datetime.strptime(cell, date).replace(tzinfo=None)
    except ValueError:
        return None


def is_date_format(date: str) -> bool:
    """Whether dates can be read by it: `iso`, or a format as of `strptime` with a year."""
    try:
        pd.to_datetime(pd.Series(["-"]), format="ISO8601" if date == ISO else date, errors="coerce")
    except ValueError:
        return False
    return date == ISO or "%Y" in date or "%y" in date


def names_a_day(date: str) -> bool:
    """Whether dates of this format tell their day: of a month, or of a year."""
    return date == ISO or "%j" in date or ("%d" in date and any(month in date for month in _OF_A_MONTH))


def looks_like_dates(text: pd.Series) -> bool:
    """Whether any of the texts is written as a date."""
    return bool(text.dropna().str.fullmatch(_LIKE_A_DATE).any())


def completed_years(birth: pd.Series, until: pd.Series) -> pd.Series:
    """Birthdays between two moments, as float64; missing where either is."""
    birth, until = birth.astype(STAMP), until.astype(STAMP)
    years = (until.dt.year - birth.dt.year).astype("float64")
    before = (until.dt.month * 100 + until.dt.day) < (birth.dt.month * 100 + birth.dt.day)
    return years - before.astype("float64")
