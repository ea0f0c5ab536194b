"""Somebody's own CSV, TSV and Parquet files as tables of text, cell by cell as they stand in the file."""

import codecs
import csv
import difflib
import gzip
import json
import re
import zlib
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet

from midrc_ml.errors import TableError
from midrc_ml.tables.checks import NUM_SHOWN

_DELIMITERS = (",", ";", "\t", "|")
_TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")
_PARQUET_ENDINGS = (".parquet", ".pq")
_DELIMITER_LINE = re.compile(r'"?sep=(.)"?\r?(?:\n|$)', re.IGNORECASE)  # of Excel, before the header


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """The cells of a file as text, missing where blank; the index is the row of the file that an editor shows.

    columns: as in the file, repeats included. dates, numbers, lists: the columns of these types in a file that has
    types; their texts are ISO dates, numbers with a point, and JSON. undecodable: those whose bytes are no text.
    """

    frame: pd.DataFrame
    columns: tuple[str, ...]
    num_empty: int = 0
    dates: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    undecodable: frozenset[str] = frozenset()


def read_text_file(root: Path, file: str, *, delimiter: str | None, encoding: str) -> TextTable:
    """The table in `root`/`file`, a CSV, TSV (either also `.gz`) or Parquet file by its ending.

    A named index of pandas becomes a column. delimiter: of cells; None = the one that a first line `sep=;` names,
    else the one of , ; tab | that the header holds most often. encoding: of the text, and of bytes in a Parquet file.

    Raises:
        TableError: no such file, not a table, or rows that are longer or shorter than the header.
    """
    path = root / file
    if not path.is_file():
        names = [str(place.relative_to(root)) for place in root.iterdir() if place.is_file()] if root.is_dir() else []
        close = difflib.get_close_matches(file, names, n=1, cutoff=0.6)
        raise TableError([f"no file {file} in cohort.root" + (f", did you mean {close[0]}?" if close else "")])
    lower = path.name.lower()
    try:
        if lower.endswith(_PARQUET_ENDINGS):
            return _from_parquet(path, encoding)
        if not lower.endswith(_TEXT_ENDINGS):
            endings = ", ".join((*_TEXT_ENDINGS, *_PARQUET_ENDINGS))
            raise TableError([f"{file}: a table is read from {endings}; save it as one of them"])
        content = gzip.decompress(path.read_bytes()) if lower.endswith(".gz") else path.read_bytes()
        text = content.decode("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)
        said = _DELIMITER_LINE.match(text)
        if delimiter is None:
            delimiter = said[1] if said else "\t" if ".tsv" in lower else _delimiter_of(text)
        return _from_text(text, file, delimiter, skip_first=said is not None)
    except UnicodeDecodeError as error:
        raise TableError(
            [f"{file}: not in {encoding}; say which encoding it has (`encoding: cp1252` for one from Excel on Windows)"]
        ) from error
    except LookupError as error:
        raise TableError([f"{file}: encoding {encoding!r} is not known; give one such as utf-8 or cp1252"]) from error
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise TableError([f"{file}: a damaged or cut off gz file; copy or save it again"]) from error
    except (pyarrow.ArrowException, OSError) as error:
        raise TableError([f"{file}: not a readable {path.suffix[1:]} file ({type(error).__name__})"]) from error


def _delimiter_of(text: str) -> str:
    header = text.lstrip("\r\n").split("\n", 1)[0]
    return max(_DELIMITERS, key=header.count)


def _from_text(text: str, file: str, delimiter: str, *, skip_first: bool) -> TextTable:
    if len(delimiter) != 1:
        raise TableError([f"{file}: delimiter {delimiter!r} must be one character"])
    if text.lstrip()[:9].lower().startswith(("<!doctype", "<html")):
        raise TableError([f"{file}: a web page, not a table (a failed download?); download it again"])
    rows: list[list[str]] = []
    numbers: list[int] = []
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            rows.append([cell.strip() for cell in row])
            numbers.append(reader.line_num)
    except csv.Error as error:
        raise TableError(
            [f"{file}: not a readable table at row {reader.line_num} ({error}); save it again as CSV"]
        ) from error
    if skip_first:
        del rows[0], numbers[0]
    full = [position for position, row in enumerate(rows) if any(row)]
    if not full:
        raise TableError([f"{file}: an empty file; it must have a row of column names"])
    header = _without_empty_end(rows[full[0]], 0)
    body = [_without_empty_end(rows[position], len(header)) for position in full[1:]]
    lines = [numbers[position] for position in full[1:]]
    widest = max(map(len, body), default=0)
    if len(header) < widest <= len(rows[full[0]]):  # the last columns have cells, but no name
        header = rows[full[0]][:widest]
        body = [row + [""] * (widest - len(row)) for row in body]
    width = len(header)
    odd = [line for line, row in zip(lines, body, strict=True) if len(row) != width]
    if odd:
        shown = ", ".join(map(str, odd[:NUM_SHOWN])) + (" ..." if len(odd) > NUM_SHOWN else "")
        raise TableError(
            [
                f"{file}: {len(odd)} rows have more or fewer cells than the {width} of the header (rows {shown}); "
                f"cells are parted by {delimiter!r}: give another one as `delimiter:`, or repair the file"
            ]
        )
    frame = pd.DataFrame(body, columns=range(width), index=pd.Index(lines), dtype=object)
    columns = tuple(header)
    frame = frame.mask(frame == "", None).set_axis(pd.Index(columns, dtype=object), axis=1)
    return TextTable(frame=frame, columns=columns, num_empty=len(rows) - len(full))


def _without_empty_end(row: list[str], width: int) -> list[str]:
    """The row without empty cells past `width`: spreadsheets leave them behind."""
    end = len(row)
    while end > width and not row[end - 1]:
        end -= 1
    return row[:end]


def _from_parquet(path: Path, encoding: str) -> TextTable:
    table = _with_index(pyarrow.parquet.read_table(path))
    columns = tuple(table.column_names)
    dates, numbers, lists, undecodable = set(), set(), set(), set()
    texts: list[list[str | None]] = []
    for name, column in zip(columns, table.columns, strict=True):
        kind = column.type
        if pyarrow.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
            kind = column.type
        if pyarrow.types.is_date(kind) or pyarrow.types.is_timestamp(kind):
            dates.add(name)
        elif pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_decimal(kind):
            numbers.add(name)
        elif pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind):
            lists.add(name)
        try:
            texts.append([_cell(value, encoding) for value in column.to_pylist()])
        except UnicodeDecodeError:  # pixels, say: no harm unless the description names the column
            undecodable.add(name)
            texts.append([None] * table.num_rows)
    index = pd.RangeIndex(1, table.num_rows + 1)
    frame = pd.DataFrame(dict(enumerate(texts)), index=index, dtype=object).set_axis(
        pd.Index(columns, dtype=object), axis=1
    )
    return TextTable(
        frame=frame,
        columns=columns,
        dates=frozenset(dates),
        numbers=frozenset(numbers),
        lists=frozenset(lists),
        undecodable=frozenset(undecodable),
    )


def _with_index(table: pyarrow.Table) -> pyarrow.Table:
    """`table` with the named index that pandas keeps beside the columns, or under another name, as a column."""
    about = table.schema.pandas_metadata or {}
    names = {column.get("field_name"): column.get("name") for column in about.get("columns", ())}
    for field in about.get("index_columns", ()):
        if isinstance(field, str):
            name = names.get(field)
            if name is not None and field in table.column_names and name not in table.column_names:
                columns = [name if column == field else column for column in table.column_names]
                table = table.rename_columns(columns)
            continue
        # A range is written as its three numbers alone.
        name, values = field.get("name"), range(field["start"], field["stop"], field["step"])
        if name is not None and name not in table.column_names and len(values) == table.num_rows:
            table = table.add_column(0, name, pyarrow.array(values))
    return table


def _cell(value: object, encoding: str) -> str | None:
    """A typed value as the text that a person would write: 7 for an id that pandas made 7.0."""
    if value is None or value != value or value == []:
        return None
    if isinstance(value, list | dict):
        return json.dumps(value, default=lambda item: _cell(item, encoding))
    if isinstance(value, bytes):
        value = value.decode(encoding)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value == value.to_integral_value():  # 1.00 as databases keep a 1
        return str(int(value))
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value).strip() or None
