"""Find and read the files of a MIDRC export: node exports (TSV, JSON), explorer downloads, manifests.

A node is known by its `type` column and an explorer download by its fields, not by the name of the file.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
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
from midrc_ml.cohorts.midrc_merge import Source, one_row_each
from midrc_ml.cohorts.midrc_nodes import DATA_FILE, DATA_FILE_COLUMNS, NODE_NAMES, NODES, NOT_READ, SERIES_NODES
from midrc_ml.cohorts.midrc_text import NoExportError, UnreadableError, header_of, read_delimited, read_records
from midrc_ml.errors import InputError, TableError
from midrc_ml.tables.checks import NUM_SHOWN, typed_columns

log = logging.getLogger(__name__)

_DELIMITERS = {".tsv": "\t", ".csv": ","}
_EXPLORER_NAME = re.compile(r"^MIDRC_\w+_(?:table|manifest)", re.IGNORECASE)
_SCHEMAS = {**NODES, DATA_FILE: DATA_FILE_COLUMNS}
_WANTED = frozenset(column.name for columns in NODES.values() for column in columns) | {"type"}


@dataclass(frozen=True)
class Export:
    """The rows of each node found below a root, typed, one row a thing; nodes that were not found are absent.

    columns: {node: the columns that its files have}.
    """

    nodes: dict[str, pd.DataFrame]
    columns: Mapping[str, frozenset[str]]
    notes: tuple[str, ...]


@dataclass
class _Found:
    """What the files held so far, and what is to be said of them."""

    sources: dict[str, list[Source]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


_STRANGER, _UNREAD, _TEMPLATE, _MISNAMED, _AMBIGUOUS, _NAMELESS = (
    "{} TSV, CSV or JSON files below the root are no export of MIDRC and are not read",
    "{} files hold nodes that no table is made of (dataset, core_metadata_collection ...) and are not read",
    "{} submission templates without a row are not read",
    "{} files are named for another node than their `type` column says; the column is believed",
    "{} cells of explorer downloads hold several different values where one is needed; they count as not recorded",
    "{} rows of explorer downloads have no id to know them by; they are left out",
)
_FILE_NOTES = (_STRANGER, _UNREAD, _TEMPLATE, _MISNAMED, _AMBIGUOUS, _NAMELESS)


def read_export(root: Path) -> Export:
    """Every node export, explorer download and manifest below `root`.

    Rows that stand in two files (`master_case.tsv` beside `Open-A1_case.tsv`) are taken once, and counted. A
    file that is no export is counted and not read, unless its name says that it should be one.

    Raises:
        InputError: no such folder, or nothing of a known node in it.
        TableError: files named as a node that do not hold it, missing columns, values that break the
            dictionary's rules, or two exports of different dates, in all files at once.
    """
    if not root.is_dir():
        raise InputError(
            f"cohort.root is {str(root)!r}, which is not a folder; "
            f"give the folder that holds the node exports (case.tsv, imaging_study.tsv ...)"
        )
    found = _Found()
    num_tsv = num_others = 0
    for folder, _, names in walk(root):
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith(".") or suffix not in (*_DELIMITERS, ".json"):  # macOS leaves ._case.tsv beside case.tsv
                continue
            num_tsv += suffix == ".tsv"
            num_others += suffix != ".tsv"
            path = Path(folder, name)
            where = str(path.relative_to(root))
            try:
                (_read_json if suffix == ".json" else _read_flat)(path, where, found)
            except (UnreadableError, NoExportError) as error:
                if _node_in_name(path) in NODES or _EXPLORER_NAME.match(name):
                    kind = suffix.lstrip(".").upper()
                    unreadable = f"not a readable {kind} ({error}); export it again"
                    foreign = f"{error}; export it from the MIDRC portal as it is"
                    found.problems.append(f"{where}: {unreadable if isinstance(error, UnreadableError) else foreign}")
                else:
                    found.counts[_STRANGER] += 1
                    log.info("%s is no export and is not read", where)
    nodes: dict[str, pd.DataFrame] = {}
    columns: dict[str, frozenset[str]] = {}
    notes = [text.format(found.counts[text]) for text in _FILE_NOTES if found.counts[text]]
    if not found.problems:
        for node in sorted(found.sources):
            sources = found.sources.pop(node)  # a million rows need not be there twice for longer than they must
            columns[node] = frozenset().union(*(source.columns for source in sources))
            nodes[node] = one_row_each(node, sources, found.problems, notes)
    if found.problems:
        raise TableError(sorted(found.problems))
    if not nodes:
        raise InputError(
            f"no node export in {root}: {num_tsv} TSV files and {num_others} CSV or JSON files, none with a `type` "
            f"column naming {NODE_NAMES} and none of the explorer's tables; export the nodes as TSV from the "
            f"MIDRC portal into it"
        )
    return Export(nodes=nodes, columns=columns, notes=tuple(notes))


def _read_flat(path: Path, where: str, found: _Found) -> None:
    """A TSV or CSV: of a node where there is a `type` column, else of the explorer or a notebook."""
    delimiter = _DELIMITERS[path.suffix.lower()]
    header, first_row, header_line = header_of(path, delimiter)
    # Submission templates mark required columns with a star.
    names = [name.lstrip("*").strip() for name in header]
    starred = names != header
    if "type" in names:
        node = _node_of_flat(path, names, first_row, header_line, delimiter, starred, found)
        if node is None:
            return
        frame = _rows(path, names, header_line, _WANTED, delimiter, first_row, quoted=delimiter == ",")
        kinds = sorted(set(frame["type"].dropna().unique())) if len(frame) else [node]
        if kinds != [node]:
            raise NoExportError(_mixed(kinds))
        _add_export(node, frame, where, first_row=header_line + 1, found=found, path=path)
        return
    index = index_of(names)
    named = _node_in_name(path)
    if index is None or (named in NODES and named != index and not (named in SERIES_NODES and index == DATA_FILE)):
        raise NoExportError(
            "no `type` column, by which a node is known"
            + ("" if named in NODES else ", nor an explorer table's fields")
        )
    wanted = {name for name in names if _is_known_field(name)}
    records = records_of_flat(_rows(path, names, header_line, wanted, delimiter, first_row, quoted=True))
    _add_explorer(index, records, where, first_row=header_line + 1, found=found)


def _node_of_flat(
    path: Path,
    names: list[str],
    first_row: list[str],
    header_line: int,
    delimiter: str,
    starred: bool,
    found: _Found,
) -> str | None:
    """The node of a file with a `type` column; None, and counted, where it is known and not to be read."""
    place = names.index("type")
    kind = first_row[place].strip() if len(first_row) > place else ""
    if starred and not any(cell.strip() for at, cell in enumerate(first_row) if at != place):
        found.counts[_TEMPLATE] += 1
        return None
    if not first_row and (named := _node_in_name(path)):
        kind = named  # an export without rows has no type to read: its name has to do
    if kind in NOT_READ:
        found.counts[_UNREAD] += 1
        return None
    if kind not in NODES:
        types = _rows(path, names, header_line, {"type"}, delimiter, first_row, quoted=False)
        raise NoExportError(_mixed(sorted(set(types["type"]))))
    return kind


def _read_json(path: Path, where: str, found: _Found) -> None:
    """Records of a node export where they have a `type`, else of the explorer or a manifest."""
    entries = read_records(path)
    kinds = sorted({str(entry.get("type") or "") for entry in entries})
    if kinds != [""]:
        if len(kinds) == 1 and kinds[0] in NOT_READ:
            found.counts[_UNREAD] += 1
        elif len(kinds) == 1 and kinds[0] in NODES:
            cells = records_of(entries).cells
            for name in (column.name for column in NODES[kinds[0]] if column.name not in cells):
                cells[name] = None  # JSON omits what is null
            _add_export(kinds[0], cells, where, first_row=1, found=found, path=path)
        else:
            raise NoExportError(_mixed(kinds))
        return
    index = index_of({name for entry in entries for name in entry})
    if index is None:
        raise NoExportError("no `type`, by which a node is known, nor an explorer table's fields")
    _add_explorer(index, records_of(entries), where, first_row=1, found=found)


def _rows(
    path: Path,
    names: list[str],
    header_line: int,
    wanted: frozenset[str] | set[str],
    delimiter: str,
    first_row: list[str],
    *,
    quoted: bool,
) -> pd.DataFrame:
    if not first_row:
        return pd.DataFrame({name: pd.Series(dtype="str") for name in names if name in wanted})
    return read_delimited(path, names=names, header_line=header_line, wanted=wanted, delimiter=delimiter, quoted=quoted)


def _add_export(node: str, frame: pd.DataFrame, where: str, *, first_row: int, found: _Found, path: Path) -> None:
    named = _node_in_name(path)
    found.counts[_MISNAMED] += named is not None and named != node
    typed, problems = typed_columns(frame, NODES[node], where=where, first_row=first_row)
    found.problems += problems
    found.sources.setdefault(node, []).append(Source(_with_lists(typed, node), NODE_EXPORT, _present(frame)))


def _add_explorer(index: str, records: Records, where: str, *, first_row: int, found: _Found) -> None:
    for rows in node_rows(index, records):
        frame, ambiguous = scalars(rows.frame, rows.node)
        # What the records repeat of their case is one fact in many cells.
        found.counts[_AMBIGUOUS] += ambiguous
        columns = [replace(column, optional=True, required=False) for column in _SCHEMAS[rows.node]]
        typed, problems = typed_columns(frame, columns, where=f"{where} ({rows.node})", first_row=first_row)
        found.problems += problems
        key = {"case": "submitter_id", "imaging_study": "study_uid"}.get(rows.node)
        if key is not None:
            found.counts[_NAMELESS] += int(typed[key].isna().sum())
            typed = typed[typed[key].notna()].reset_index(drop=True)
        present = _present(rows.frame.dropna(axis="columns", how="all"))
        found.sources.setdefault(rows.node, []).append(Source(_with_lists(typed, rows.node), rows.rank, present))


def _present(frame: pd.DataFrame) -> frozenset[str]:
    """The columns of a file, by the names that they have once they are read."""
    return frozenset("case_ids" if name == "cases.submitter_id" else str(name) for name in frame.columns)


def _with_lists(frame: pd.DataFrame, node: str) -> pd.DataFrame:
    """Lists in one spelling; the case of a row from its link, else from `case_ids`."""
    for name in frame.columns:
        if is_list(node, name):
            frame[name] = one_spelling(frame[name])
    if "cases.submitter_id" in frame:
        frame["case_ids"] = frame.pop("cases.submitter_id").fillna(frame["case_ids"])
    return frame


def _is_known_field(name: str) -> bool:
    """Whether a column of a flat explorer table is one to read: by itself, or numbered (`case_ids_0`)."""
    return name in KNOWN_FIELDS or any(name.startswith((f"{known}_", f"{known}.")) for known in KNOWN_FIELDS)


def _mixed(kinds: list[str]) -> str:
    shown = ", ".join(map(repr, kinds[:NUM_SHOWN])) or "nothing"
    return f"the `type` column holds {shown}, but must hold the same one of {NODE_NAMES} in every row"


def _node_in_name(path: Path) -> str | None:
    """The node that the file is named for: `case.tsv` and `Open-A1_case.tsv` are, `showcase.tsv` is not."""
    named = [node for node in (*NODES, *NOT_READ) if f"_{path.stem}".endswith(f"_{node}")]
    return max(named, key=len, default=None)


def walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder from `root` down with its folders and files, in the order of their names.

    Links are followed; a folder that several paths lead to is entered once, so that a circle of links ends.
    """
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        yield folder, folders, sorted(files)
