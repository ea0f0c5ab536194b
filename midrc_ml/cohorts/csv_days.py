"""Days and ages of one block of somebody's own table, and what they are counted from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from midrc_ml.cohorts.csv_cells import BlockCells
from midrc_ml.cohorts.csv_dates import STAMP, completed_years, looks_like_dates
from midrc_ml.cohorts.csv_description import Source
from midrc_ml.cohorts.csv_values import DAYS_PER, MAX_AGE, parse_age
from midrc_ml.tables.schemas import AGE_OVER_89, MAX_DAYS

_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Origins:
    """Of each row: its case's index date, its study's day as a number, and as a date; missing where not known."""

    index_date: pd.Series
    study_day: pd.Series
    study_date: pd.Series


def days(rows: BlockCells, source: Source, origins: Origins) -> pd.Series:
    """Days on the case's own timeline, as float64.

    Those of dates are calendar days: they count from the midnight at which the day of their origin begins.
    """
    cells = rows.text(source)
    if source.date is not None:
        moments = rows.moments(source)
        since = _origin_moments(rows, source, moments, origins, f"{source.name} is missing").dt.normalize()
        result = (moments - since).dt.total_seconds() / _SECONDS_A_DAY
        bad = result.abs() > MAX_DAYS
        if bad.any():
            rows.tell_bad_cells(source, cells, bad, f"must be dates within {MAX_DAYS} days of their origin")
        return result.mask(bad)
    result, bad = rows.read_numbers(source, cells)
    result = result * (DAYS_PER[source.unit] * source.sign) + 0.0  # -0.0 is 0.0
    bad |= result.abs() > MAX_DAYS
    if bad.any():
        if looks_like_dates(cells[bad]):
            hint = (
                "; these are dates: give their format as `date:` (such as '%d.%m.%Y'), and as `origin:` the "
                "column of dates that they are counted from, or the cases' index_date"
            )
        else:
            hint = rows.number_hint(cells, bad) or f"; within {MAX_DAYS} days, in `unit:` (now {source.unit})"
        rows.tell_bad_cells(source, cells, bad, f"must be a number of days{hint}")
    result = result.mask(bad)
    if source.origin is None:
        return result
    start = days(rows, source.origin, origins) if isinstance(source.origin, Source) else origins.study_day
    lost = int((result.notna() & start.isna()).sum())
    if lost:
        rows.notes.append(f"{rows.title}: {lost} rows lack the day that their {source.name} counts from; it is missing")
    return result + start


def ages(rows: BlockCells, source: Source, origins: Origins) -> pd.Series:
    """Years, as float64; over 89 they stand as 90."""
    cells = rows.text(source)
    if source.date is not None:
        birth = rows.moments(source)
        years = completed_years(birth, _origin_moments(rows, source, birth, origins, "the age is missing"))
        bad = (years < 0) | (years > MAX_AGE)
        if bad.any():
            rule = f"must be dates of birth 0 to {MAX_AGE} years before their origin"
            rows.tell_bad_cells(source, cells, bad, rule)
        result = years.mask(bad)
    else:
        result = _spelt_ages(rows, source, cells)
    over = result >= AGE_OVER_89
    if over.any():
        rows.notes.append(f"{rows.title}: {int(over.sum())} ages over 89 stand as {AGE_OVER_89:g}")
    return result.mask(over, AGE_OVER_89)


def _spelt_ages(rows: BlockCells, source: Source, cells: pd.Series) -> pd.Series:
    text = cells
    if rows.block.decimal == "," and source.column not in rows.table.numbers:
        text = cells.str.replace(",", ".", regex=False)
    parsed = {cell: parse_age(cell, unit=source.unit, bands=source.bands) for cell in text.dropna().unique()}
    found = text.map(parsed)
    bad = text.notna() & found.isna()
    if bad.any():
        if looks_like_dates(cells[bad]):
            hint = "; dates of birth need `date:` and an `origin:`"
        else:
            hint = rows.number_hint(cells, bad) or f" in `unit:` (now {source.unit}), up to {MAX_AGE} years"
        rows.tell_bad_cells(source, cells, bad, f"must be an age such as 54, 071Y, 018M, 50-64, 65+ or >89{hint}")
    bands = int(sum(age.is_band for age in found.dropna()))
    if bands:
        rows.notes.append(
            f"{rows.title}: {bands} ages are bands; the {source.bands} of each stands for it, of an open one the "
            f"lower edge: no age at the edge of a band is exact"
        )
    return pd.Series([np.nan if pd.isna(age) else age.years for age in found], index=cells.index, dtype="float64")


def _origin_moments(
    rows: BlockCells, source: Source, moments: pd.Series, origins: Origins, consequence: str
) -> pd.Series:
    """The date that each date is counted from; rows that have none are counted."""
    if isinstance(source.origin, Source):
        since, words = rows.moments(source.origin), "origin"
    elif source.origin == "study":
        since, words = origins.study_date, "day of their study"
    else:
        since, words = origins.index_date, "index date of their case"
    since = since.astype(STAMP)
    lost = int((moments.notna() & since.isna()).sum())
    if lost:
        rows.notes.append(f"{rows.title}: {lost} dates have no {words}; {consequence}")
    return since
