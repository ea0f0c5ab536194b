"""A CSV, TSV or Parquet file as it is, and the SHA-256 of its bytes."""

import csv
import gzip
import hashlib
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from midrc_ml.errors import InputError

_TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")
_PARQUET_ENDINGS = (".parquet", ".pq")
_DELIMITERS = (",", ";", "\t", "|")
_SHOWN = 20  # column names in a sentence
_OURS = frozenset(("study_id", "patient_id", "case_id", "y_true", "y_score", "label"))
_AGAIN = "save it again as CSV (UTF-8) or Parquet"


@dataclass(frozen=True)
class FileTable:
    """frame: text in every column of a CSV, the types of the file in those of a Parquet. where: the file's name."""

    frame: pd.DataFrame
    where: str
    sha256: str

    def has(self, column: str) -> bool:
        """Whether there is such a column."""
        return column in self.frame.columns

    def texts(self, column: str) -> pd.Series:
        """The cells as a person would write them, stripped; missing where blank."""
        values = self.frame[column]
        if pd.api.types.is_bool_dtype(values):
            values = values.map({True: "1", False: "0"})
        elif pd.api.types.is_float_dtype(values):
            whole = values.notna() & (values == values.round())
            values = values.astype(object).where(~whole, values.where(whole, 0).astype("int64").astype(object))
        texts = values.astype(object).where(values.notna(), "").astype(str).str.strip()
        return texts.astype(object).where(texts != "", None)

    @property
    def has_no_header(self) -> bool:
        """Whether the names of the columns seem to be the values of the first patient, which no message may show."""
        names = [str(name) for name in self.frame.columns]
        return any(map(_is_number, names)) and not {*names} & _OURS

    @property
    def column_names(self) -> str:
        """The columns in words; none of their names where the first line seems to be no header."""
        names = [str(name) for name in self.frame.columns]
        if self.has_no_header:
            return "its first line holds numbers, as if the names of the columns were missing: put them there"
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"it has {', '.join(names[:_SHOWN])}{more}"


def read_table(place: str | Path, *, setting: str) -> FileTable:
    """The table in a file. setting: that named it, for messages; empty = none.

    Raises:
        InputError: no such file, or not a table.
    """
    path = Path(place)
    where = f"{setting}={path}" if setting else str(path)
    if path.is_dir():
        raise InputError(f"{where} is a folder; give a file: CSV, TSV (either also .gz) or Parquet")
    if not path.exists():
        raise InputError(f"{where}: there is no such file")
    name = path.name.lower()
    if not name.endswith((*_TEXT_ENDINGS, *_PARQUET_ENDINGS)):
        raise InputError(f"{where}: a table is read from {', '.join((*_TEXT_ENDINGS, *_PARQUET_ENDINGS))}; {_AGAIN}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{where} cannot be read ({error.strerror}); see who may read it") from error
    if not content:
        raise InputError(f"{where} is empty; it must have a row of column names, and a row for each study")
    frame = _from_parquet(content, where) if name.endswith(_PARQUET_ENDINGS) else _from_text(content, name, where)
    twice = [name for name in frame.columns[frame.columns.duplicated()].unique() if name]
    if twice:
        raise InputError(f"{where}: {len(twice)} column names stand in it more than once; give each column its own")
    if frame.empty:
        raise InputError(f"{where} has column names, but no row; it must have a row for each study")
    return FileTable(frame, where, hashlib.sha256(content).hexdigest())


def _from_parquet(content: bytes, where: str) -> pd.DataFrame:
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{where} is no Parquet file, or a damaged one ({type(error).__name__}); {_AGAIN}") from error
    frame = table.to_pandas()
    # What pandas kept as a named index was a column to the person who saved it.
    named = [name for name in frame.index.names if name is not None and name not in frame.columns]
    frame = frame.reset_index(level=named) if named else frame
    return frame.reset_index(drop=True).rename(columns=str)


def _from_text(content: bytes, name: str, where: str) -> pd.DataFrame:
    if name.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (zlib.error, EOFError, OSError) as error:
            raise InputError(f"{where} is no gz file, or a cut off one; copy or save it again") from error
    if content[:2] == b"PK" or content[:4] == b"PAR1" or b"\0" in content[:4096]:
        raise InputError(f"{where} is not text, so it is no CSV (an Excel or a binary file?); {_AGAIN}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not in UTF-8 (byte {error.start} is no text); {_AGAIN}") from error
    start = text.lstrip()
    if not start:
        raise InputError(f"{where} is empty; it must have a row of column names, and a row for each study")
    if start[:9].lower().startswith(("<!doctype", "<html", "<?xml")):
        raise InputError(f"{where} is a web page, not a table (a failed download?); download it again")
    if start[:1] in ("{", "["):
        raise InputError(f"{where} is JSON, not a table; {_AGAIN}")
    header = start.split("\n", 1)[0]
    delimiter = "\t" if ".tsv" in name else max(_DELIMITERS, key=header.count)
    try:
        names = next(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter))
        table = pyarrow.csv.read_csv(
            io.BytesIO(start.encode()),
            read_options=pyarrow.csv.ReadOptions(use_threads=False),  # so that a message tells the row
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: pyarrow.string() for name in names}, strings_can_be_null=False
            ),
        )
    except (pyarrow.ArrowException, csv.Error) as error:
        found = re.search(r"(Row #\d+: )?Expected \d+ columns, got \d+", str(error))  # what follows is the row itself
        why = found.group(0).replace("Row #", "row ") if found else type(error).__name__
        raise InputError(f"{where} is not a table: {why} (cells parted by {delimiter!r}); {_AGAIN}") from error
    return table.to_pandas().rename(columns=lambda name: str(name).strip())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
