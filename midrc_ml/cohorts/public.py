"""What the readers of public collections share: where the files lie, tables read as text, one value a patient."""

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pandas as pd

from midrc_ml.errors import InputError, TableError
from midrc_ml.tables.checks import NUM_SHOWN
from midrc_ml.tables.schemas import AGE_OVER_89, EVENT_KINDS

# TCIA gave the same patients another name: MIDRC-RICORD-1C-419639-000001 is MIDRC's 419639-000001.
_RICORD_PREFIX = r"^MIDRC-RICORD-\w+?-"


def public_folder(data_dir: str | None, cohort: str, *, source: str, name: str | None = None) -> Path:
    """`<data_dir>/<name>`, where the collection lies. name: the cohort's, unless given. source: where to get it.

    Raises:
        InputError: no such folder.
    """
    name = name or cohort
    if not data_dir:
        raise InputError(
            f"cohort={cohort} reads public files from paths.data_dir, which is not set; "
            f"set MIDRC_ML_DATA to the folder that holds {name}/, or give paths.data_dir=FOLDER"
        )
    folder = Path(data_dir).expanduser().resolve() / name
    if not folder.is_dir():
        raise InputError(f"cohort={cohort}: no folder {folder}; get it from {source}, or set MIDRC_ML_DATA")
    return folder


def read_text_table(
    path: Path, *, columns: Sequence[str], source: str, separator: str = ",", skip_lines: int = 0
) -> pd.DataFrame:
    """A table with every cell as text without outer spaces ("" where empty), `None` and `000` as they stand.

    columns: those that must be there. source: where to get the file. skip_lines: lines before the header.

    Raises:
        TableError: no such file, not a table, a column is not there, not a row, or rows that are cut short.
    """
    again = f"get it again from {source} and take the table as it is"
    try:
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=separator, skiprows=skip_lines
        )
    except FileNotFoundError as error:
        raise TableError([f"no {path}; {again}"]) from error
    except (ValueError, OSError) as error:
        # The parser's own words may hold a cell of the table.
        raise TableError([f"{path.name}: not a readable table ({type(error).__name__}); {again}"]) from error
    absent = [name for name in columns if name not in table.columns]
    if absent:
        count = len(table.columns)
        raise TableError([f"{path.name}: no column {', '.join(absent)} (it has {count} columns); {again}"])
    # Where every row is longer than the header, the first cells would be taken for row names.
    if table.empty or not isinstance(table.index, pd.RangeIndex):
        what = "no rows below the header" if table.empty else "rows that are longer than the header"
        raise TableError([f"{path.name}: {what}; {again}"])
    # The parser fills them up with blanks, which would be taken for cells.
    if short := _num_short_rows(path, width=len(table.columns), separator=separator, skip_lines=skip_lines):
        what = f"{short} {'row has' if short == 1 else 'rows have'} fewer cells than the header: is the file cut off?"
        raise TableError([f"{path.name}: {what}; {again}"])
    return table.fillna("").apply(lambda cells: cells.str.strip())


def _num_short_rows(path: Path, *, width: int, separator: str, skip_lines: int) -> int:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(islice(lines, skip_lines, None), delimiter=separator)
        return sum(0 < len(row) < width for row in rows)


def bad_rows(values: pd.Series, bad: pd.Series, rule: str, *, where: str, first_row: int = 2) -> list[str]:
    """A sentence on the rows that break `rule`, the first few with their value; none where no row does.

    first_row: the line of the first row, 2 below one header line.
    """
    count = int(bad.sum())
    if not count:
        return []
    found = zip(range(first_row, first_row + len(values)), values, bad, strict=True)
    shown = [f"row {row}: {value!r}" for row, value, is_bad in found if is_bad][:NUM_SHOWN]
    more = f", and {count - NUM_SHOWN} more" if count > NUM_SHOWN else ""
    return [f"{where} {rule}; {count} {'row does' if count == 1 else 'rows do'} not ({', '.join(shown)}{more})"]


def dates(values: pd.Series, *, date_format: str, where: str) -> tuple[pd.Series, list[str]]:
    """The dates in `values` (missing where empty), and a sentence on those that are none."""
    # `today` and `now` would be read as the moment of the run.
    readable = values.mask(values.str.strip().str.lower().isin(["", "today", "now"]))
    found = pd.to_datetime(readable, format=date_format, errors="coerce")
    rule = f"must be a date like {pd.Timestamp(2000, 1, 31).strftime(date_format)}"
    return found, bad_rows(values, found.isna() & (values != ""), rule, where=where)


def one_value_each(values: pd.Series, of: pd.Series) -> tuple[pd.Series, int]:
    """By each key in `of` the one known value; missing for keys with several, and how many those are."""
    known = values.dropna()
    groups = known.groupby(of[known.index])
    several = groups.nunique() > 1
    return groups.first().mask(several), int(several.sum())


def without_ricord_prefix(ids: pd.Series) -> pd.Series:
    """MIDRC's own case ids."""
    return ids.str.replace(_RICORD_PREFIX, "", regex=True)


def capped_age(age: pd.Series) -> pd.Series:
    """Ages in years, those over 89 as 90."""
    return age.mask(age > AGE_OVER_89 - 1, AGE_OVER_89)


def absent_but(*present: str, why: str) -> dict[str, str]:
    """The event kinds that a cohort does not have, each with the reason."""
    return {kind: why for kind in EVENT_KINDS if kind not in present}
