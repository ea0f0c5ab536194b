"""What a cell of somebody's own table means: marks, numbers, flags, ages."""

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from midrc_ml.tables.checks import NUM_SHOWN

# English and German, as sites write them; anything else is mapped in the YAML. Blank is missing, never false.
TRUE_WORDS = frozenset({"true", "t", "yes", "y", "ja", "j", "1", "1.0"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "nein", "0", "0.0"})
# What YAML 1.1 reads as true and false where it is not quoted.
_YAML_WORDS = {True: frozenset({"true", "yes", "on"}), False: frozenset({"false", "no", "off"})}

_DAYS_PER_YEAR = 365.2425  # Gregorian mean
DAYS_PER = {"minutes": 1 / 1440, "hours": 1 / 24, "days": 1.0, "weeks": 7.0}
YEARS_PER = {"years": 1.0, "months": 1 / 12, "weeks": 7 / _DAYS_PER_YEAR, "days": 1 / _DAYS_PER_YEAR}
BANDS = ("middle", "lower")
MAX_AGE = 130  # years; more is another unit

# PS3.5 6.2: an AS is three digits and D, W, M or Y.
_UNIT_WORDS = {
    "y": "years", "yr": "years", "yrs": "years", "year": "years", "years": "years",
    "m": "months", "mo": "months", "month": "months", "months": "months",
    "w": "weeks", "week": "weeks", "weeks": "weeks",
    "d": "days", "day": "days", "days": "days",
}  # fmt: skip
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\.?")
_INTERVAL = re.compile(r"([\[(])\s*(\d+)\s*[,;]\s*(\d+)\s*([\])])")  # as `cut` of R and pandas names it
_BAND = re.compile(r"(\d+)\s*(?:-|\u2013|\u2014|to)\s*(\d+)\s*([a-z]*)\.?")
_ABOVE = re.compile(r"(>=|\u2265|>)\s*(\d+)\s*([a-z]*)\.?")
_AND_OVER = re.compile(r"(\d+)\s*([a-z]*?)\s*(?:\+|(?:and|or) (?:over|older|above))")
_BELOW = re.compile(r"(<=|\u2264|<|under )\s*(\d+)\s*([a-z]*)\.?")


@dataclass(frozen=True)
class Age:
    """An age in years, and whether it stands for a band."""

    years: float
    is_band: bool = False


def parse_age(text: str, *, unit: str, bands: str) -> Age | None:
    """The age that `text` says: `071Y`, `018M`, `54`, `0-17`, `65+`, `>89`; None where it says none.

    unit: of a number that stands alone. bands: what stands for one: `middle` in completed years, or its `lower`
    edge; an open one (`65+`) has no middle, and its lower edge stands for it.
    """
    text = text.strip().lower()
    if found := _AGE.fullmatch(text):
        return _age(float(found[1]), None, found[2], unit, bands)
    if found := _BAND.fullmatch(text):
        low, high = int(found[1]), int(found[2])
        return _age(low, high, found[3], unit, bands) if low <= high else None
    if found := _INTERVAL.fullmatch(text):
        low, high = int(found[2]) + (found[1] == "("), int(found[3]) - (found[4] == ")")
        return _age(low, high, "", unit, bands) if low <= high else None
    if found := _ABOVE.fullmatch(text):
        return _age(int(found[2]) + (found[1] == ">"), np.inf, found[3], unit, bands)
    if found := _AND_OVER.fullmatch(text):
        return _age(int(found[1]), np.inf, found[2], unit, bands)
    if found := _BELOW.fullmatch(text):
        high = int(found[2]) - (found[1] in ("<", "under "))
        return _age(0, high, found[3], unit, bands) if high >= 0 else None
    return None


def _age(low: float, high: float | None, word: str, unit: str, bands: str) -> Age | None:
    """high: the last completed year (month ...) of a band, infinite for an open one, None where it is none."""
    unit = _UNIT_WORDS.get(word, "") if word else unit
    if not unit:
        return None
    per = YEARS_PER[unit]
    if low * per > MAX_AGE:
        return None
    if high is None or high == np.inf or bands == "lower":
        return Age(low * per, is_band=high is not None)
    # 18-29 lasts to the day before the 30th birthday.
    middle = (low + high + 1) / 2
    years = float(np.floor(middle)) if unit == "years" else middle * per
    # A band that reaches over 89 does not say that its patient does.
    return Age(min(years, 89.0) if low * per < 90 else years, is_band=True)


def flags(text: pd.Series) -> tuple[pd.Series, pd.Series]:
    """True, false or missing of each text, and which could not be read."""
    lower = text.str.lower()
    result = pd.Series(pd.NA, index=text.index, dtype="boolean")
    result[lower.isin(TRUE_WORDS)] = True
    result[lower.isin(FALSE_WORDS)] = False
    return result, result.isna() & text.notna()


def numbers(text: pd.Series, *, decimal: str) -> tuple[pd.Series, pd.Series]:
    """float64 of each text, and which could not be read.

    decimal: `,` = a point in a number is refused: it would stand for thousands.
    """
    readable = text
    if decimal == ",":
        readable = text.mask(text.str.contains(".", regex=False, na=False)).str.replace(",", ".", regex=False)
    result = pd.to_numeric(readable, errors="coerce").astype("float64")
    bad = text.notna() & ~np.isfinite(result)
    return result.mask(bad), bad


def says(text: pd.Series, mark: Hashable, *, decimal: str = ".") -> pd.Series:
    """Which texts are the `mark` of a YAML: the same text, the same number, or a word for the same truth value.

    An empty mark is a blank cell. YAML turns an unquoted `Yes` into true and `007` into 7, so that the text itself is
    no longer known. decimal: of the numbers in the texts.
    """
    if mark == "":
        return text.isna()
    if isinstance(mark, bool):
        return text.str.lower().isin(_YAML_WORDS[mark])
    if isinstance(mark, int | float):
        return numbers(text, decimal=decimal)[0] == mark
    return text == str(mark)


def without_marks(text: pd.Series, marks: Iterable[Hashable], *, decimal: str = ".") -> pd.Series:
    """`text` with the marks for a missing value taken out."""
    for mark in marks:
        text = text.mask(says(text, mark, decimal=decimal), None)
    return text


def bad_cells(text: pd.Series, bad: pd.Series, rule: str, *, where: str) -> str:
    """A sentence for cells that break `rule`: how many, the first five with the row of the file and the cell."""
    shown = ", ".join(f"row {row}: {cell!r}" for row, cell in text[bad].head(NUM_SHOWN).items())
    return f"{where} {rule}; {_how_many(int(bad.sum()))} not ({shown}{_more(int(bad.sum()))})"


def bad_rows(rows: Sequence[Hashable], rule: str, *, where: str) -> str:
    """A sentence for rows that break `rule`, by their numbers in the file alone."""
    shown = ", ".join(str(row) for row in rows[:NUM_SHOWN])
    return f"{where} {rule}; {_how_many(len(rows))} not (rows {shown}{_more(len(rows))})"


def unknown_words(text: pd.Series, unknown: pd.Series, *, where: str) -> str:
    """The five most frequent of the distinct cells that are not known, with their number of rows.

    None where they are many and differ in half of the rows or more: a wrong column may hold ids or names.
    """
    counts = text[unknown].value_counts()
    told = f"{where}: {int(unknown.sum())} rows hold one of {len(counts)} values that are not known"
    if len(counts) > NUM_SHOWN and 2 * len(counts) >= text.notna().sum():
        return f"{told}; nearly all differ, as ids do (they are not shown): is it the right column?"
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    shown = ", ".join(f"{word!r} ({count})" for word, count in counts.head(NUM_SHOWN).items())
    return f"{told}, {shown}{_more(len(counts))}"


def _how_many(count: int) -> str:
    return f"{count} {'row does' if count == 1 else 'rows do'}"


def _more(count: int) -> str:
    return f", and {count - NUM_SHOWN} more" if count > NUM_SHOWN else ""
