"""Read one file of an export as text: a TSV or CSV through pyarrow, or JSON.

Everything stays text: pandas' own guesses turn the mRALE value `None` into NaN and the zip `000` into 0.
"""

import csv
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

# A JSON file of another purpose is told by its beginning, so that none of these is read whole.
_PEEK = 4096
_BLOCK = 8 << 20  # bytes; no row may be longer
_JSON_MARKS = tuple(
    f'"{name}"'.encode()
    for name in ("data", "type", "project_id", "submitter_id", "case_ids", "study_uid", "object_id")
)


class UnreadableError(Exception):
    """Why a file could not be read; says nothing of its content."""


class NoExportError(Exception):
    """Why a file that can be read is no export."""


@dataclass(frozen=True)
class Header:
    """names: of the columns. first_row: the cells below, none where there are none. line: of the header, from 1.

    quoted: whether cells may be in double quotes: in a CSV always, in a TSV where its header has them (Gen3 quotes
    nothing, other programs' TSVs quote all texts).
    """

    names: list[str]
    first_row: list[str]
    line: int
    quoted: bool


def header_of(path: Path, delimiter: str) -> Header:
    """The first line with anything in it, and what stands below.

    Raises:
        UnreadableError: not UTF-8 text, or nothing in it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                if text := line.strip("\r\n"):
                    quoted = delimiter == "," or text.startswith('"')
                    below = (row.rstrip("\r\n") + "\n" * quoted for row in file)
                    rows = csv.reader(below, delimiter=delimiter) if quoted else (r.split(delimiter) for r in below)
                    names = next(csv.reader([text], delimiter=delimiter)) if quoted else text.split(delimiter)
                    first_row = next((row for row in rows if any(row)), [])
                    return Header([name.strip().strip('"') for name in names], first_row, number, quoted)
    except csv.Error as error:
        raise UnreadableError("not a table of rows") from error
    except (UnicodeDecodeError, OSError) as error:
        raise UnreadableError(f"not UTF-8 text ({type(error).__name__})") from error
    raise UnreadableError("nothing in it")


def has_blank_lines(path: Path) -> bool:
    """Whether there is a line without anything in it: no row is made of one."""
    with path.open("rb") as file:
        return any(not line.strip(b"\r\n") for line in file)


def read_delimited(
    path: Path, *, names: list[str], header_line: int, wanted: Collection[str], delimiter: str, quoted: bool
) -> pd.DataFrame:
    """The `wanted` columns of a delimited file, as text.

    names: of all columns. quoted: whether cells may be in double quotes and an empty cell is missing (the portal's
    and pandas' files), or each cell stands as it is (Gen3's, which quote nothing).

    Raises:
        UnreadableError: a row with more or fewer cells than the header, or no UTF-8 text.
    """
    included = [name for name in names if name in wanted]
    if len(set(included)) < len(included):
        raise UnreadableError("two columns of one name")
    odd: list[arrow_csv.InvalidRow] = []

    def read(*, threads: bool) -> pa.Table:
        return arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=names, skip_rows=header_line, use_threads=threads, block_size=_BLOCK
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                double_quote=quoted,
                newlines_in_values=quoted,
                invalid_row_handler=_keep(odd),
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=included,
                column_types=dict.fromkeys(included, pa.string()),
                strings_can_be_null=quoted,
                null_values=[""],
            ),
        )

    try:
        table = read(threads=True)
        if odd:
            odd.clear()
            read(threads=False)  # threads do not know the numbers of their rows
            row = odd[0]
            raise UnreadableError(f"row {row.number} has {row.actual_columns} cells, the header {row.expected_columns}")
    except pa.ArrowInvalid as error:
        raise UnreadableError("not UTF-8 text" if "UTF8" in str(error) else "not a table of rows") from error
    return table.to_pandas(split_blocks=True, self_destruct=True)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON list, of `{"data": [...]}`, or of a query's answer `{"data": {index: [...]}}`; maybe none.

    Raises:
        UnreadableError: no JSON.
        NoExportError: JSON of another form.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_PEEK)
        if not start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"[", b"{")) or not any(
            m in start for m in _JSON_MARKS
        ):
            raise NoExportError("not the records of an export")
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise UnreadableError(f"not readable JSON ({type(error).__name__})") from error
    if isinstance(found, dict):
        found = found.get("data")
    if isinstance(found, dict):
        found = [entry for entries in found.values() if isinstance(entries, list) for entry in entries]
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise NoExportError("not the records of an export")
    return found


def _keep(odd: list[arrow_csv.InvalidRow]) -> Callable[[arrow_csv.InvalidRow], str]:
    def handler(row: arrow_csv.InvalidRow) -> str:
        odd.append(row)
        return "skip"

    return handler
