"""What a mapping for a column must not say in the YAML of `cohort=csv`, and the name that was meant."""

import difflib
import os
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from midrc_ml.cohorts.csv_dates import ISO, is_date_format, names_a_day
from midrc_ml.cohorts.csv_values import BANDS, DAYS_PER, YEARS_PER

_KEYS = {  # what a mapping may say beside `column` or `value`, by the kind of our column
    "text": ("pattern",),
    "list": ("separator", "pattern"),
    "flag": (),
    "number": (),
    "date": ("date",),
    "stamp": ("date",),
    "day": ("unit", "sign", "origin", "date"),
    "age": ("unit", "bands", "origin", "date"),
}
_FOR_ALL = ("column", "value", "missing", "map", "others")
_UNITS = {"day": tuple(DAYS_PER), "age": tuple(YEARS_PER)}


def column_mistakes(name: str, given: Mapping[str, Any], kind: str, where: str) -> list[str]:
    """A sentence for each thing that a mapping for a column of this kind must not say."""
    problems: list[str] = []
    allowed = (*_FOR_ALL, *_KEYS[kind])
    for key in given:
        if key not in allowed:
            problems.append(f"{where}.{key}: not for this column{near(key, allowed)}; it may say {', '.join(allowed)}")
    if (given.get("column") is None) == (given.get("value") is None):
        problems.append(f"{where}: give one of `column:` (a column of the file) and `value:` (the same for every row)")
    for key in ("column", "value"):
        if not isinstance(given.get(key), str | int | float | None):
            problems.append(f"{where}.{key} is {given[key]!r}; it must be one text or number")
    pairs = given.get("map")
    if pairs is not None and not isinstance(pairs, Mapping):
        problems.append(f"{where}.map is {pairs!r}; it must be a mapping {{theirs: ours}}")
    if "others" in given and pairs is None:
        problems.append(f"{where}.others: it says what values that are not in `map:` become; give a `map:`")
    unit, units = given.get("unit"), _UNITS.get(kind, ())
    if unit is not None and unit not in units and "unit" in allowed:
        problems.append(f"{where}.unit is {unit!r}; it must be one of {', '.join(units)}")
    if given.get("sign", 1) not in (1, -1) or isinstance(given.get("sign", 1), bool):
        problems.append(f"{where}.sign is {given['sign']!r}; it must be 1 or -1")
    if given.get("bands", "middle") not in BANDS:
        problems.append(f"{where}.bands is {given['bands']!r}; it must be one of {', '.join(BANDS)}")
    for key in ("separator", "pattern", "date"):
        if key in given and not (isinstance(given[key], str) and given[key]):
            problems.append(f"{where}.{key} is {given[key]!r}; it must be a text")
    if "{}" not in str(given.get("pattern", "{}")):
        problems.append(f"{where}.pattern is {given['pattern']!r}; it must hold {{}}, where the cell goes")
    if os.path.isabs(str(given.get("pattern", ""))):
        problems.append(f"{where}.pattern is {given['pattern']!r}; give the folder of the images as cohort.images")
    date = given.get("date")
    if isinstance(date, str) and not is_date_format(date):
        problems.append(f"{where}.date is {date!r}; it must be {ISO} (2020-03-25), or a format such as '%d.%m.%Y'")
    elif isinstance(date, str) and name != "year" and not names_a_day(date):
        problems.append(f"{where}.date is {date!r}, which names no day; it must have %d and a month, or %j")
    problems += mark_mistakes(given.get("missing"), f"{where}.missing")
    if kind == "stamp" and date is None:
        problems.append(f"{where}: give its format, date: {ISO} or such as '%d.%m.%Y'")
    if date is not None and (given.get("sign") is not None or given.get("unit") is not None):
        problems.append(f"{where}: dates have neither sign nor unit; give `date:` without them")
    return problems


def marks(given: Any) -> tuple[Hashable, ...]:
    """The values that a YAML gives as one, or as a list."""
    if given is None:
        return ()
    return tuple(given) if isinstance(given, list | tuple) else (given,)


def mark_mistakes(given: Any, where: str) -> list[str]:
    """A sentence where `given` is neither a value nor a list of them."""
    wrong = [mark for mark in marks(given) if not isinstance(mark, str | int | float)]
    return [f"{where} is {given!r}; it must be a value, or a list of values"] if wrong else []


def near(name: str, known: Iterable[str]) -> str:
    """`, did you mean ...?` where something known is spelt nearly so."""
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f", did you mean {found[0]}?" if found else ""
