"""Turn text into typed columns and say everything that is wrong with a table at once.

A problem names the table or file, the column, how many rows, the first five of them, and the rule.
"""

import ast
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from midrc_ml.errors import TableError
from midrc_ml.tables.schemas import Column, Table

NUM_SHOWN = 5
TRUE_SPELLINGS = frozenset({"true", "yes", "1", "1.0"})
FALSE_SPELLINGS = frozenset({"false", "no", "0", "0.0"})


def parse_list(value: str) -> tuple[str, ...]:
    """The items of a list in any of the three spellings of MIDRC files.

    Comma-joined (`CT,SR`, Gen3 export), Python repr (`['CT', 'SR']`, notebook-saved) or JSON (explorer), each
    also in the quotes of a TSV cell (`"[""CT"", ""SR""]"`, as pandas writes JSON).
    """
    value = value.strip()
    if len(value) > 1 and value.startswith('"') and value.endswith('"'):
        value = value[1:-1].replace('""', '"').strip()
    if value.startswith("["):
        try:
            items = json.loads(value)
        except json.JSONDecodeError:
            try:
                items = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                items = value.strip("[]").split(",")
        return tuple(str(item).strip() for item in items if str(item).strip())
    return tuple(item.strip() for item in value.split(",") if item.strip())


def typed_columns(
    frame: pd.DataFrame, columns: Sequence[Column], *, where: str, first_row: int = 0
) -> tuple[pd.DataFrame, list[str]]:
    """`frame` with just `columns`, each of its type, and a sentence for each problem.

    An empty text is missing. Columns that are not in `columns` are left out; an absent column that is
    `optional` comes back all missing. Row numbers in problems count from `first_row` (2 for a file with
    one header line, so that they are the line numbers that an editor shows).
    """
    problems: list[str] = []
    result: dict[str, pd.Series] = {}
    rows = pd.Index(range(first_row, first_row + len(frame)))
    absent = [column.name for column in columns if column.name not in frame.columns and not column.optional]
    if absent:
        found = ", ".join(map(str, frame.columns)) or "none"
        problems.append(f"{where}: no column {', '.join(absent)} (columns found: {found})")
    for column in columns:
        if column.name not in frame.columns:
            result[column.name] = _all_missing(column, rows)
            continue
        values = frame[column.name].set_axis(rows)
        converted, bad = _convert(values, column)
        result[column.name] = converted
        if bad.any():
            problems.append(_describe(values, bad, _rule(column), where=f"{where}: {column.name}"))
        if column.required and converted.hasnans:
            empty = converted.isna().to_numpy() & ~bad
            if empty.any():
                problems.append(_describe(values, empty, "must not be empty", where=f"{where}: {column.name}"))
    return pd.DataFrame(result, columns=[column.name for column in columns]).reset_index(drop=True), problems


def checked_table(frame: pd.DataFrame, table: Table, *, where: str) -> pd.DataFrame:
    """`frame` as `table` wants it; a column that no row needs a value in may be absent.

    Raises:
        TableError: with every problem: types, ranges, allowed values, repeated keys.
    """
    columns = [replace(column, optional=not column.required) for column in table.columns]
    result, problems = typed_columns(frame, columns, where=f"{table.name} from {where}")
    if table.key and not problems:
        repeated = result.duplicated(list(table.key), keep=False)
        if repeated.any():
            problems.append(
                f"{table.name} from {where}: {int(repeated.sum())} rows share their {' + '.join(table.key)} with "
                f"another row (rows {_first(result.index[repeated])}); each must be there once"
            )
    if problems:
        raise TableError(problems)
    return result


def empty_table(table: Table) -> pd.DataFrame:
    """`table` without a row."""
    return typed_columns(pd.DataFrame(), [replace(c, optional=True) for c in table.columns], where=table.name)[0]


def _all_missing(column: Column, rows: pd.Index) -> pd.Series:
    if column.kind == "list":
        return pd.Series([()] * len(rows), index=rows, dtype=object)
    dtype = {"number": "float64", "flag": "boolean"}.get(column.kind, "str")
    return pd.Series(None, index=rows, dtype=dtype)


def _convert(values: pd.Series, column: Column) -> tuple[pd.Series, np.ndarray]:
    """The typed values, and which rows hold something that could not be taken."""
    if column.kind == "flag" and pd.api.types.is_bool_dtype(values.dtype):
        return values.astype("boolean"), np.zeros(len(values), dtype=bool)
    given = values.notna().to_numpy()
    texts = values
    if not (column.kind == "number" and pd.api.types.is_numeric_dtype(values.dtype)):
        texts = values.astype("str").str.strip()
        given = given & (texts != "").to_numpy()
    if column.kind == "number":
        numbers = _per_distinct(texts.where(given), _numbers).to_numpy(copy=True)
        bad = given & ~np.isfinite(numbers)
        if column.low is not None:
            bad |= numbers < column.low
        if column.high is not None:
            bad |= numbers > column.high
        numbers[bad] = np.nan
        return pd.Series(numbers, index=values.index), bad
    if column.kind == "flag":
        lower = texts.str.lower()
        true = given & lower.isin(TRUE_SPELLINGS).to_numpy()
        known = true | (given & lower.isin(FALSE_SPELLINGS).to_numpy())
        return pd.Series(pd.arrays.BooleanArray(true, ~known), index=values.index), given & ~known
    if column.kind == "list":
        return _per_distinct(texts.where(given, ""), _lists), np.zeros(len(values), dtype=bool)
    bad = given & ~texts.isin(column.allowed).to_numpy() if column.allowed else np.zeros(len(values), dtype=bool)
    kept = given & ~bad
    return texts if kept.all() else texts.where(kept), bad


def _per_distinct(values: pd.Series, function: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """`function` of `values`, called on each distinct value once: tables of a million rows hold few different ones."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return function(values)
    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    return function(pd.Series(distinct)).take(codes).set_axis(values.index)


def _numbers(values: pd.Series) -> pd.Series:
    return pd.to_numeric(values, errors="coerce").astype("float64")


def _lists(values: pd.Series) -> pd.Series:
    return pd.Series([parse_list(value) for value in values], dtype=object)


def _rule(column: Column) -> str:
    if column.allowed:
        return "must be one of " + ", ".join(repr(value) for value in column.allowed)
    if column.kind == "flag":
        return "must be True, False or empty"
    limits = [f"at least {column.low:g}"] if column.low is not None else []
    limits += [f"at most {column.high:g}"] if column.high is not None else []
    meaning = f" ({column.meaning})" if column.meaning else ""
    return "must be a number" + (" of " + " and ".join(limits) if limits else "") + meaning


def _describe(values: pd.Series, bad: np.ndarray, rule: str, *, where: str) -> str:
    """A sentence for the bad rows: how many, the first few with the value found, the rule.

    The value is shown because it is what breaks the rule; no other cell of the row is.
    """
    shown = [f"row {row}: {value!r}" for row, value in values[bad].head(NUM_SHOWN).astype("str").items()]
    count = int(bad.sum())
    more = f", and {count - NUM_SHOWN} more" if count > NUM_SHOWN else ""
    return f"{where} {rule}; {count} {'row does' if count == 1 else 'rows do'} not ({', '.join(shown)}{more})"


def _first(rows: Sequence[Hashable] | pd.Index) -> str:
    shown = ", ".join(str(row) for row in list(rows)[:NUM_SHOWN])
    return shown + (" ..." if len(rows) > NUM_SHOWN else "")
