"""What one file of an export holds: a node (TSV, CSV, JSON), an explorer download, or a manifest."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.midrc_explorer import (
    KNOWN_FIELDS,
    NODE_EXPORT,
    Records,
    index_of,
    is_list,
    node_rows,
    records_of,
    records_of_flat,
    scalars,
)
from midrc_ml.cohorts.midrc_lists import one_spelling
from midrc_ml.cohorts.midrc_merge import Source
from midrc_ml.cohorts.midrc_nodes import DATA_FILE, DATA_FILE_COLUMNS, NODE_NAMES, NODES, NOT_READ, SERIES_NODES
from midrc_ml.cohorts.midrc_text import Header, NoExportError, has_blank_lines, header_of, read_delimited, read_records
from midrc_ml.tables.checks import NUM_SHOWN, typed_columns

DELIMITERS = {".tsv": "\t", ".csv": ","}
SUFFIXES = (*DELIMITERS, ".json")

# What is counted over all files, as the notes say it.
UNREAD, TEMPLATE, MISNAMED, AMBIGUOUS, NAMELESS = (
    "{} files hold nodes that no table is made of (dataset, core_metadata_collection ...) and are not read",
    "{} submission templates without a row are not read",
    "{} files are named for another node than their `type` column says; the column is believed",
    "{} cells of explorer downloads hold several different values where one is needed; they count as not recorded",
    "{} rows of explorer downloads have no id to know them by; they are left out",
)
FILE_NOTES = (UNREAD, TEMPLATE, MISNAMED, AMBIGUOUS, NAMELESS)

_SCHEMAS = {**NODES, DATA_FILE: DATA_FILE_COLUMNS}


@dataclass
class Content:
    """The rows of a file by node, what is wrong with them, and how often each of FILE_NOTES is to be said."""

    sources: list[tuple[str, Source]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Table:
    """A TSV or CSV of which the header has been read. names: without the stars of a submission template."""

    path: Path
    delimiter: str
    names: list[str]
    header: Header
    is_template: bool

    def rows(self, wanted: Collection[str], *, quoted: bool) -> pd.DataFrame:
        if not self.header.first_row:
            return pd.DataFrame({name: pd.Series(dtype="str") for name in self.names if name in wanted})
        return read_delimited(
            self.path,
            names=self.names,
            header_line=self.header.line,
            wanted=wanted,
            delimiter=self.delimiter,
            quoted=quoted,
        )


def read_file(path: Path, where: str) -> Content:
    """What the file holds. where: its name for messages.

    Raises:
        UnreadableError: it cannot be read.
        NoExportError: it can, and is no export of MIDRC.
    """
    return _of_json(path, where) if path.suffix.lower() == ".json" else _of_table(path, where)


def node_in_name(path: Path) -> str | None:
    """The node that the file is named for: `case.tsv` and `Open-A1_case.tsv` are, `showcase.tsv` is not."""
    named = [node for node in (*NODES, *NOT_READ) if f"_{path.stem}".endswith(f"_{node}")]
    return max(named, key=len, default=None)


def _of_table(path: Path, where: str) -> Content:
    """A TSV or CSV: of a node where there is a `type` column, else of the explorer or a notebook."""
    delimiter = DELIMITERS[path.suffix.lower()]
    header = header_of(path, delimiter)
    names = [name.lstrip("*").strip() for name in header.names]
    table = _Table(path, delimiter, names, header, is_template=names != header.names)
    first_line = header.line + 1
    if "type" in names:
        node = _node_of(table)
        if node in (UNREAD, TEMPLATE):
            return Content(counts=Counter({node: 1}))
        wanted = {"type", *(column.name for column in NODES[node])}
        frame = table.rows(wanted, quoted=header.quoted)
        kinds = sorted(set(frame["type"].dropna().unique())) if len(frame) else [node]
        if kinds != [node]:
            raise NoExportError(_mixed(kinds))
        return _export(node, frame, where, first_line, path, present=frame.columns)
    index = index_of(names)
    named = node_in_name(path)
    if index is None or (named in NODES and named != index and not (named in SERIES_NODES and index == DATA_FILE)):
        other = "" if named in NODES else ", nor an explorer table's fields"
        raise NoExportError(f"no `type` column, by which a node is known{other}")
    records = records_of_flat(table.rows({name for name in names if _is_known_field(name)}, quoted=True))
    return _explorer(index, records, where, first_line)


def _node_of(table: _Table) -> str:
    """The node of a file with a `type` column; UNREAD or TEMPLATE where it is known and there is nothing to read."""
    place, first_row = table.names.index("type"), table.header.first_row
    kind = first_row[place].strip() if len(first_row) > place else ""
    if table.is_template and not any(cell.strip() for at, cell in enumerate(first_row) if at != place):
        return TEMPLATE
    if not first_row:
        kind = node_in_name(table.path) or ""  # an export without rows has no type to read: its name has to do
    if kind in NOT_READ:
        return UNREAD
    if kind not in NODES:
        raise NoExportError(_mixed(sorted(set(table.rows({"type"}, quoted=table.header.quoted)["type"].dropna()))))
    return kind


def _of_json(path: Path, where: str) -> Content:
    """Records of a node export where they have a `type`, else of the explorer or a manifest."""
    entries = read_records(path)
    if not entries:
        return _without_rows(path, where)
    kinds = sorted({str(entry.get("type") or "") for entry in entries})
    if kinds == [""]:
        index = index_of({name for entry in entries for name in entry})
        if index is None:
            raise NoExportError("no `type`, by which a node is known, nor an explorer table's fields")
        return _explorer(index, records_of(entries), where, 1)
    if len(kinds) == 1 and kinds[0] in NOT_READ:
        return Content(counts=Counter({UNREAD: 1}))
    if len(kinds) > 1 or kinds[0] not in NODES:
        raise NoExportError(_mixed(kinds))
    cells = records_of(entries).cells
    present = cells.columns
    omitted = [column.name for column in NODES[kinds[0]] if column.name not in cells]  # as JSON may what is null
    return _export(kinds[0], cells.assign(**dict.fromkeys(omitted)), where, 1, path, present=present)


def _without_rows(path: Path, where: str) -> Content:
    """A JSON export without a record: its name alone can tell its node."""
    node = node_in_name(path)
    if node in NOT_READ:
        return Content(counts=Counter({UNREAD: 1}))
    if node not in NODES:
        raise NoExportError("not the records of an export")
    names = [column.name for column in NODES[node]]
    return _export(node, pd.DataFrame(columns=names, dtype="str"), where, 1, path, present=names)


def _export(
    node: str, frame: pd.DataFrame, where: str, first_row: int, path: Path, *, present: Collection[str]
) -> Content:
    typed, problems = typed_columns(frame, NODES[node], where=where, first_row=first_row)
    if problems and path.suffix.lower() in DELIMITERS and has_blank_lines(path):
        where = f"{where} (blank lines not counted)"
        typed, problems = typed_columns(frame, NODES[node], where=where, first_row=first_row)
    source = Source(_with_lists(typed, node), NODE_EXPORT, _as_read(present))
    misnamed = node_in_name(path) not in (None, node)
    return Content([(node, source)], problems, Counter({MISNAMED: int(misnamed)}))


def _explorer(index: str, records: Records, where: str, first_row: int) -> Content:
    content = Content()
    for rows in node_rows(index, records):
        frame, ambiguous = scalars(rows.frame, rows.node)
        content.counts[AMBIGUOUS] += ambiguous
        columns = [replace(column, optional=True, required=False) for column in _SCHEMAS[rows.node]]
        typed, problems = typed_columns(frame, columns, where=f"{where} ({rows.node})", first_row=first_row)
        content.problems += problems
        key = {"case": "submitter_id", "imaging_study": "study_uid"}.get(rows.node)
        if key is not None:
            content.counts[NAMELESS] += int(typed[key].isna().sum())
            typed = typed[typed[key].notna()].reset_index(drop=True)
        present = _as_read(rows.frame.dropna(axis="columns", how="all").columns)
        content.sources.append((rows.node, Source(_with_lists(typed, rows.node), rows.rank, present)))
    return content


def _with_lists(frame: pd.DataFrame, node: str) -> pd.DataFrame:
    """Lists in one spelling; the case of a row from its link, else from `case_ids`."""
    for name in frame.columns:
        if is_list(node, name):
            frame[name] = one_spelling(frame[name])
    if "cases.submitter_id" in frame:
        frame["case_ids"] = frame.pop("cases.submitter_id").fillna(frame["case_ids"])
    return frame


def _as_read(names: Collection[str]) -> frozenset[str]:
    """The columns of a file, by the names that they have once they are read."""
    return frozenset("case_ids" if name == "cases.submitter_id" else name for name in names)


def _is_known_field(name: str) -> bool:
    """Whether a column of a flat explorer table is one to read: by itself, or numbered (`case_ids_0`)."""
    return name in KNOWN_FIELDS or any(name.startswith((f"{known}_", f"{known}.")) for known in KNOWN_FIELDS)


def _mixed(kinds: list[str]) -> str:
    shown = ", ".join(map(repr, kinds[:NUM_SHOWN])) or "nothing"
    return f"the `type` column holds {shown}, but must hold the same one of {NODE_NAMES} in every row"
