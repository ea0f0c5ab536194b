"""The tables beside the images: the nodes of a project as `<project>_<node>.tsv`.

The forms and names are those of the portal's own export, which `cohort=midrc` reads.
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from midrc_ml.downloads.failures import UnobtainableError
from midrc_ml.downloads.files import write_whole
from midrc_ml.errors import InputError

_NO_SUCH_NODE = (400, 404)
_NODE = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(kw_only=True)
class Exported:
    """Rows by table written, tables without a row, and what the portal refused, with the reason."""

    rows: dict[str, int] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def node_names(names: Sequence[str]) -> list[str]:
    """The names, if they can be names of nodes.

    Raises:
        InputError: a name that cannot be one of a node.
    """
    for name in names:
        if not _NODE.fullmatch(name):
            raise InputError(f"--nodes has {name!r}; give names of nodes, as case,imaging_study,visit")
    return list(names)


def export_nodes(
    export: Callable[[str, str], str],
    *,
    projects: Sequence[str],
    nodes: Sequence[str],
    optional: bool,
    folder: Path,
    say: Callable[[str], None],
    result: Exported,
) -> None:
    """Write each node of each project that has rows, whole or not at all; a refusal does not stop the others.

    A table of an earlier day goes where the portal has no rows for it any longer, and stays where it is refused.

    export: the TSV of (project, node), or UnobtainableError.
    optional: a node that the portal's dictionary does not have counts as one without rows, as long as the
    project has any.
    result: what becomes of each table is added to it, so that it is known also when an error ends the export.
    """
    for project in projects:
        absent: list[tuple[str, str]] = []
        for node in nodes:
            name = f"{project}_{node}.tsv"
            try:
                text = export(project, node)
            except UnobtainableError as error:
                (absent if error.status in _NO_SUCH_NODE else result.failed).append((name, str(error)))
                continue
            header, _, rest = text.partition("\n")
            columns = header.rstrip("\r").split("\t")
            if not text.strip() and (folder / name).is_file():  # no header: perhaps nothing of it came
                result.failed.append((name, "the portal answered with nothing, where there was a table before"))
            elif not text.strip():
                result.empty.append(name)
            elif not {"type", "submitter_id"} <= {column.lstrip("*") for column in columns}:
                result.failed.append((name, "the portal answered with something that is not the node as a TSV"))
            elif not rest.strip():
                result.empty.append(name)
            elif _is_cut_off(text):
                result.failed.append((name, "the portal's answer broke off in the middle of a row"))
            else:
                # The bytes as they came: a `\r` in a cell is the portal's.
                write_whole(folder / name, text.encode("utf-8"))
                result.rows[name] = sum(1 for line in rest.split("\n") if line.strip())
                say(f"{name}: {result.rows[name]:,} rows")
        if optional and len(absent) < len(nodes):
            result.empty += [name for name, _ in absent]
        else:
            result.failed += absent
    for name in result.empty:
        if (folder / name).is_file():
            (folder / name).unlink()
            say(f"{name}: the portal has no rows any longer; the table of an earlier day is removed")
    for name, _ in result.failed:
        if (folder / name).is_file():
            say(f"{name}: not to be had; the table of an earlier day stays")


def _is_cut_off(text: str) -> bool:
    """Whether the last row has fewer cells than the header, be a line or a quoted cell over several lines."""
    lines = text.rstrip("\r\n").split("\n")
    if lines[-1].count("\t") >= lines[0].count("\t"):
        return False
    try:
        rows = list(csv.reader(text.splitlines(keepends=True), delimiter="\t"))
    except csv.Error:
        return True
    return len(rows[-1]) < len(rows[0])
