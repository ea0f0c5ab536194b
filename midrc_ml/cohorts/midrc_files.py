"""Find and read the TSVs of a Gen3 export, and find the image file of every series.

A node is known by its `type` column, not by the name of its file. Everything is read as text: pandas'
own guesses turn the mRALE value `None` into NaN and the zip `000` into 0.
"""

import csv
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.midrc_nodes import NODES
from midrc_ml.errors import InputError, TableError
from midrc_ml.tables.checks import NUM_SHOWN, typed_columns

log = logging.getLogger(__name__)

HEADER_LINES = 1


@dataclass(frozen=True)
class Export:
    """The rows of each node found below a root, typed; nodes that were not found are absent."""

    nodes: Mapping[str, pd.DataFrame]
    notes: tuple[str, ...]


def read_export(root: Path) -> Export:
    """Every node TSV below `root`.

    Rows that stand in two files (`master_case.tsv` beside `Open-A1_case.tsv`) are taken once, and counted. A
    file that is no node export is counted and not read, unless its name says that it should be one.

    Raises:
        InputError: no such folder, or no TSV of a known node in it.
        TableError: files named as a node that do not hold it, missing columns, or values that break the
            dictionary's rules, in all files at once.
    """
    if not root.is_dir():
        raise InputError(
            f"cohort.root is {str(root)!r}, which is not a folder; "
            f"give the folder that holds the node exports (case.tsv, imaging_study.tsv ...)"
        )
    found: dict[str, list[pd.DataFrame]] = {}
    problems: list[str] = []
    notes: list[str] = []
    num_strangers = 0
    paths = [Path(folder, name) for folder, _, files in _walk(root) for name in files if _is_tsv(name)]
    for path in paths:
        where = str(path.relative_to(root))
        try:
            frame = _read_tsv(path)
            node = _node_of(frame, path)
        except _NoNodeError as error:
            if _node_in_name(path):
                problems.append(f"{where}: {error}")
            else:
                num_strangers += 1
                log.info("%s is no node export and is not read", where)
            continue
        typed, bad = typed_columns(frame, NODES[node], where=where, first_row=1 + HEADER_LINES)
        problems += bad
        found.setdefault(node, []).append(typed)
    if problems:
        raise TableError(problems)
    if not found:
        raise InputError(
            f"no node export in {root}: {len(paths)} TSV files, none with a `type` column naming "
            f"{', '.join(NODES)}; export the nodes as TSV from the MIDRC portal into it"
        )
    if num_strangers:  # without their names: notes go into files that are shared
        notes.append(f"{num_strangers} TSV files below the root are no node export and are not read")
    nodes = {}
    for node, frames in found.items():
        together = pd.concat(frames, ignore_index=True)
        once = together[~together.astype("str").duplicated()].reset_index(drop=True)
        if len(once) < len(together):
            notes.append(
                f"{node}: {len(together) - len(once)} rows stand in the files more than once and are taken once"
            )
        nodes[node] = once
    return Export(nodes=nodes, notes=tuple(notes))


class _NoNodeError(Exception):
    """Why a TSV does not hold a node."""


def _is_tsv(name: str) -> bool:
    return name.endswith(".tsv") and not name.startswith(".")  # macOS leaves ._case.tsv beside case.tsv


def _read_tsv(path: Path) -> pd.DataFrame:
    try:
        text = path.read_text(encoding="utf-8-sig")
        # pandas would fill up a row that was cut off, and take surplus cells of the first one as an index.
        cells = {number: line.count("\t") + 1 for number, line in enumerate(text.split("\n"), start=1) if line}
        header = next(iter(cells.values()), 0)
        odd = next((number for number, count in cells.items() if count != header), None)
        if odd is not None:
            raise pd.errors.ParserError(f"row {odd} has {cells[odd]} cells, the header {header}")
        frame = pd.read_csv(StringIO(text), sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise _NoNodeError(f"not a readable TSV ({str(error).strip()}); export it again") from error
    # Submission templates mark required columns with a star.
    frame.columns = [str(name).lstrip("*").strip() for name in frame.columns]
    return frame


def _node_of(frame: pd.DataFrame, path: Path) -> str:
    if "type" not in frame.columns:
        raise _NoNodeError("no `type` column, by which a node is known; export it from the MIDRC portal as it is")
    kinds = sorted(set(frame["type"].astype("str")))
    if not kinds and (node := _node_in_name(path)):
        return node  # an export without rows has no type to read: its name has to do
    if len(kinds) == 1 and kinds[0] in NODES:
        return kinds[0]
    found = ", ".join(map(repr, kinds[:NUM_SHOWN])) or "nothing"
    raise _NoNodeError(
        f"the `type` column holds {found}, but must hold the same one of {', '.join(NODES)} in every row; "
        f"export it from the MIDRC portal as it is"
    )


def _node_in_name(path: Path) -> str | None:
    """The node that the file is named for: `case.tsv` and `Open-A1_case.tsv` are, `showcase.tsv` is not."""
    named = [node for node in NODES if f"_{path.stem}".endswith(f"_{node}")]
    return max(named, key=len, default=None)


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder from `root` down with its folders and files, in the order of their names.

    Links are followed; a folder that several paths lead to is entered once, so that a circle of links ends.
    """
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders.sort()
        yield folder, folders, sorted(files)


def find_series_files(root: Path, file_names: pd.Series) -> tuple[list[str | None], int]:
    """The path of each series named `<case>/<study>/<series>.zip`, and how many are there twice.

    A series may lie as the ZIP or as the folder that it unpacks to, at the named place or anywhere below
    `root`. The ZIP is preferred where both are there: it is the object that was downloaded.
    """
    places: dict[str, str] = {}
    for folder, folders, files in _walk(root):
        for name in [*(file for file in files if file.endswith(".zip")), *folders]:
            places.setdefault(name, os.path.join(folder, name))
    found: list[str | None] = []
    twice = 0
    for file_name in file_names.astype("str"):
        name = file_name.rsplit("/", 1)[-1]
        archive, unpacked = places.get(name), places.get(name.removesuffix(".zip"))
        twice += archive is not None and unpacked is not None
        found.append(archive or unpacked)
    return found, twice
