"""Find the files of a MIDRC export below a folder, read them all, and make one row of each thing that they describe."""

import re
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.midrc_disk import walk
from midrc_ml.cohorts.midrc_file import FILE_NOTES, SUFFIXES, Content, node_in_name, read_file
from midrc_ml.cohorts.midrc_merge import Source, one_row_each
from midrc_ml.cohorts.midrc_nodes import NODE_NAMES, NODES
from midrc_ml.cohorts.midrc_text import NoExportError, UnreadableError
from midrc_ml.errors import InputError, TableError
from midrc_ml.processes import num_cores

_NOT_DOWNLOADED = "not_downloaded.csv"
_EXPLORER_NAME = re.compile(r"^MIDRC_\w+_(?:table|manifest)", re.IGNORECASE)


@dataclass(frozen=True)
class Export:
    """The rows of each node found below a root, typed, one row a thing; nodes that were not found are absent.

    columns: {node: the columns that its files have}.
    """

    nodes: dict[str, pd.DataFrame]
    columns: Mapping[str, frozenset[str]]
    notes: tuple[str, ...]


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
    paths = [
        Path(folder, name)
        for folder, _, names in walk(root)
        for name in names
        # macOS leaves ._case.tsv beside case.tsv, a download the list of what it could not have.
        if name.lower().endswith(SUFFIXES) and not name.startswith(".") and name != _NOT_DOWNLOADED
    ]
    sources: dict[str, list[Source]] = {}
    problems: list[str] = []
    counts: Counter[str] = Counter()
    strangers = 0
    # Threads: reading and typing is Arrow's and numpy's work, which lets other threads run.
    with ThreadPoolExecutor(num_cores()) as pool:
        for content in pool.map(lambda path: _read(path, str(path.relative_to(root))), paths):
            if content is None:
                strangers += 1
                continue
            problems += content.problems
            counts += content.counts
            for node, source in content.sources:
                sources.setdefault(node, []).append(source)
        if problems:
            raise TableError(sorted(problems))
        columns = {node: frozenset().union(*(s.columns for s in of_node)) for node, of_node in sources.items()}
        order = sorted(sources)
        # Taken out of `sources`, so that a million rows are not there twice for longer than they must.
        merged = list(pool.map(lambda node: one_row_each(node, sources.pop(node)), order))
    problems = [problem for _, found, _ in merged for problem in found]
    if problems:
        raise TableError(problems)
    if not merged:
        num_tsv = sum(path.suffix.lower() == ".tsv" for path in paths)
        raise InputError(
            f"no node export in {root}: {num_tsv} TSV files and {len(paths) - num_tsv} CSV or JSON files, none with a "
            f"`type` column naming {NODE_NAMES} and none of the explorer's tables; export the nodes as TSV from the "
            f"MIDRC portal into it"
        )
    notes = [text.format(counts[text]) for text in FILE_NOTES if counts[text]]
    if strangers:  # without their names: notes go into files that are shared
        notes.append(f"{strangers} TSV, CSV or JSON files below the root are no export of MIDRC and are not read")
    notes += [note for _, _, said in merged for note in said]
    nodes = {node: rows for node, (rows, _, _) in zip(order, merged, strict=True)}
    return Export(nodes=nodes, columns=columns, notes=tuple(notes))


def _read(path: Path, where: str) -> Content | None:
    """What a file holds, or what is wrong with it; None where it is none of ours."""
    try:
        return read_file(path, where)
    except (UnreadableError, NoExportError) as error:
        if node_in_name(path) not in NODES and not _EXPLORER_NAME.match(path.name):
            return None
        if isinstance(error, UnreadableError):
            kind = path.suffix.lstrip(".").upper()
            return Content(problems=[f"{where}: not a readable {kind} ({error}); export it again"])
        return Content(problems=[f"{where}: {error}; export it from the MIDRC portal as it is"])
