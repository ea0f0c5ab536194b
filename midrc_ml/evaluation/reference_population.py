"""A table of a reference population: what share of it each sex, age band, race or ethnicity has.

Two forms are read: CSV or TSV with the columns `attribute`, `category` and `share` (or `count`), and the workbooks of
MIDRC-REACT, a sheet for each attribute, of which the last row counts.
"""

import csv
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from midrc_ml.errors import InputError

# Attribute, in lower case without spaces and underscores: our column.
_COLUMNS = {
    "sex": "sex", "gender": "sex", "age": "age_band", "ageband": "age_band", "ageatindex": "age_band",
    "agegroup": "age_band", "race": "race", "ethnicity": "ethnicity", "raceandethnicity": "race and ethnicity",
}  # fmt: skip
# Names that population tables have for values of the dictionary.
_NAMES = {
    "black": "black or african american",
    "multiple or other": "other",
    "american indian/alaska native": "american indian or alaska native",
}
_SUM_WITHIN = 0.02  # of 1: shares may have been rounded
UNKNOWN = ("not reported", "unknown", "")


@dataclass(frozen=True)
class ReferencePopulation:
    """shares: {column: {category: share}}, each adding up to 1; skipped: attributes that studies have no column for."""

    name: str
    shares: Mapping[str, Mapping[str, float]]
    skipped: tuple[str, ...] = ()


def known_name(category: object) -> str:
    """A category in lower case, by the name that the MIDRC dictionary has for it."""
    name = re.sub(r"\s+", " ", str(category)).strip().casefold()
    first, comma, rest = name.partition(",")
    return _NAMES.get(first, first) + comma + rest


def least_age(band: str) -> float:
    """The least age of an age band: 18 of `18-29`, 85 of `85+`, `>=85` and `over 84`, 0 of `<18` and `under 18`.

    Raises:
        InputError: it is no such band.
    """
    text = band.strip().casefold().removesuffix("years").rstrip()
    if found := re.fullmatch(r"(\d+)\s*(\+|and (over|older|above)|(-|to|\u2013)\s*\d+)?", text):
        return float(found.group(1))
    if re.fullmatch(r"(<|<=|\u2264|under|below|up to)\s*\d+", text):
        return 0.0
    if found := re.fullmatch(r"(>=|\u2265|from)\s*(\d+)", text):
        return float(found.group(2))
    if found := re.fullmatch(r"(>|over|above)\s*(\d+)", text):
        return float(found.group(2)) + 1
    raise InputError(f"reference: the age band {band!r} is none that can be read; write it as 18-29, 85+ or <18")


def read_reference(path: Path) -> ReferencePopulation:
    """Read the table at `path`.

    Raises:
        InputError: no such file, another form, or shares that are none.
    """
    if not path.is_file():
        raise InputError(f"reference={path}: there is no such file; give a CSV table, or a workbook of MIDRC-REACT")
    is_workbook = path.suffix.lower() in (".xlsx", ".xlsm")
    if not path.stat().st_size:
        raise InputError(f"reference={path.name} is empty; it must have attribute, category and share, or count")
    try:
        found, are_shares = (_of_workbook(path), False) if is_workbook else _of_table(path)
    except InputError:
        raise
    except (ValueError, OSError, KeyError, csv.Error, zipfile.BadZipFile) as error:
        raise InputError(f"reference={path.name} cannot be read as a table: {type(error).__name__}") from None
    shares, skipped = {}, []
    for attribute, counts in found.items():
        column = _COLUMNS.get(re.sub(r"[\s_]+", "", str(attribute)).casefold())
        if column is None:
            skipped.append(str(attribute))
            continue
        numbers: dict[str, float] = {}
        for category, count in counts.items():
            value = pd.to_numeric(count, errors="coerce")
            if pd.isna(value) or value < 0:
                raise InputError(
                    f"reference={path.name}: {attribute}, {category!r} has the share {count!r}; it must be a number of "
                    "at least 0: a share, a percentage or a count"
                )
            if known_name(category) not in UNKNOWN:
                numbers[known_name(category)] = numbers.get(known_name(category), 0.0) + float(value)
        total = sum(numbers.values())
        if len(numbers) < 2 or total <= 0:
            raise InputError(f"reference={path.name}: {attribute} needs at least two categories, not all of them 0")
        every = sum(float(pd.to_numeric(count)) for count in counts.values())
        if are_shares and not any(abs(every - whole) <= _SUM_WITHIN * whole for whole in (1, 100)):
            raise InputError(
                f"reference={path.name}: the shares of {attribute} add up to {every:g}; they must add up to 1, or to "
                f"100 per cent; numbers of people stand in a column count"
            )
        if column == "age_band":
            for category in numbers:
                least_age(category)
        shares[column] = {category: value / total for category, value in numbers.items()}
    if not shares:
        raise InputError(
            f"reference={path.name} has {', '.join(skipped) or 'no attribute'}; at least one of sex, age, race, "
            "ethnicity is needed"
        )
    return ReferencePopulation(path.stem, shares, tuple(skipped))


def _of_table(path: Path) -> tuple[dict[str, dict[str, Any]], bool]:
    frame = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False)
    frame.columns = [str(name).strip().casefold() for name in frame.columns]
    value = next((name for name in ("share", "count") if name in frame), None)
    absent = [name for name in ("attribute", "category") if name not in frame]
    if value is None or absent:
        raise InputError(
            f"reference={path.name} has the columns {', '.join(frame.columns)}; it must have attribute, category and "
            "share (or count), a row for each category"
        )
    found: dict[str, dict[str, Any]] = {}
    for attribute, category, number in zip(frame["attribute"], frame["category"], frame[value], strict=True):
        if category in found.setdefault(attribute, {}):
            raise InputError(f"reference={path.name}: {attribute}, {category!r} stands there twice; keep one row of it")
        found[attribute][category] = number
    return found, value == "share"


def _of_workbook(path: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for sheet, frame in pd.read_excel(path, sheet_name=None).items():
        last = frame.iloc[-1, 1:]  # the first column is the date, or what the row is
        counts = {str(name): value for name, value in last.items() if not str(name).strip().endswith("(%)")}
        found[str(sheet)] = {re.sub(r"\s*\(CUSUM\)$", "", name): value for name, value in counts.items()}
    return found
