"""Read one file of an export as text: a TSV or CSV through pyarrow, or JSON.

Everything stays text: pandas' own guesses turn the mRALE value `None` into NaN and the zip `000` into 0.
"""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv

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


def header_of(path: Path, delimiter: str) -> tuple[list[str], list[str], int]:
    """The column names, the cells of the first row below (none where there is none), and the header's line from 1.

    Raises:
        UnreadableError: not UTF-8 text, or nothing in it.
    """
    lines: list[str] = []
    header_line = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                if line.strip("\r\n"):
                    header_line = header_line or number
                    lines.append(line.rstrip("\r\n"))
                if len(lines) == 2:
                    break
    except (UnicodeDecodeError, OSError) as error:
        raise UnreadableError(f"not UTF-8 text ({type(error).__name__})") from error
    if not lines:
        raise UnreadableError("nothing in it")
    names = [name.strip().strip('"') for name in lines[0].split(delimiter)]
    return names, lines[1].split(delimiter) if len(lines) > 1 else [], header_line


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
    odd: list[csv.InvalidRow] = []

    def read(*, threads: bool) -> pa.Table:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(
                column_names=names, skip_rows=header_line, use_threads=threads, block_size=_BLOCK
            ),
            parse_options=csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                double_quote=quoted,
                newlines_in_values=quoted,
                invalid_row_handler=_keep(odd),
            ),
            convert_options=csv.ConvertOptions(
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
    """The records of a JSON list, of `{"data": [...]}`, or of a query's answer `{"data": {index: [...]}}`.

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
    if not isinstance(found, list) or not found or not all(isinstance(entry, dict) for entry in found):
        raise NoExportError("not the records of an export")
    return found


def _keep(odd: list[csv.InvalidRow]) -> Callable[[csv.InvalidRow], str]:
    def handler(row: csv.InvalidRow) -> str:
        odd.append(row)
        return "skip"

    return handler
