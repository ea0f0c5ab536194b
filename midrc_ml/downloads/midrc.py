"""A download from MIDRC, or another Gen3 portal, from the request to the last line."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from midrc_ml.cohorts.midrc_nodes import NODES
from midrc_ml.downloads.credentials import find_api_key
from midrc_ml.downloads.files import NOT_DOWNLOADED, alone_in, write_whole
from midrc_ml.downloads.filters import filter_of, names_of, project_names, read_filter
from midrc_ml.downloads.finished import FinishedFiles
from midrc_ml.downloads.node_exports import Exported, export_nodes, node_names
from midrc_ml.downloads.objects import RemoteObject, objects_of_answer, read_manifest, with_safe_names
from midrc_ml.downloads.portal import Portal
from midrc_ml.downloads.transfers import Transfer, TransferSettings, missing_bytes, split_finished
from midrc_ml.errors import InputError
from midrc_ml.progress import size_text

_NUM_SHOWN = 5
_REMINDER = (
    "MIDRC's Data Use Agreement holds for what is in the folder: no copy to others, no attempt to identify a "
    "patient, and MIDRC is acknowledged in what is published."
)

_Failures = list[tuple[RemoteObject, str]]


@dataclass(frozen=True, kw_only=True)
class MidrcRequest:
    """What the command line asks for; one of manifest, query (projects, conditions, filter_file), export_only."""

    endpoint: str
    folder: str
    credentials: str | None = None
    manifest: str | None = None
    filter_file: str | None = None
    projects: Sequence[str] = ()
    conditions: Sequence[str] = ()
    export_only: bool = False
    nodes: Sequence[str] = ()
    tables: bool = True
    dry_run: bool = False

    def __post_init__(self) -> None:
        for option, value in (("--manifest", self.manifest), ("--filter", self.filter_file)):
            if value is not None and not value.strip():
                raise InputError(f"{option} is empty; give a file, or leave the option out")
        query = bool(self.conditions) or self.filter_file is not None
        if self.filter_file is not None and (self.conditions or self.projects):
            raise InputError("--filter is a whole query; put the projects and conditions into its file")
        if sum([self.manifest is not None, query, self.export_only]) > 1:
            raise InputError("give one of --manifest, --where or --filter, and --export")
        if self.export_only and not self.projects:
            raise InputError("--export needs --projects, as Open-A1,Open-R1")
        if self.manifest is None and not query and not self.projects:
            raise InputError("nothing is asked for; give --manifest FILE, --projects or --where, or see --help")
        if self.export_only and not self.tables:
            raise InputError("--export fetches tables and --no-tables none; leave out one of them")
        if self.nodes and not self.tables:
            raise InputError("--nodes says which tables, and --no-tables none; leave out one of them")


def fetch_midrc(request: MidrcRequest, settings: TransferSettings) -> bool:
    """Fetch what the request asks for, and say on the standard output what was done; whether all of it is there.

    Raises:
        InputError: the request, the key or the disk has to be changed.
    """
    folder = Path(request.folder).expanduser()
    projects, nodes = project_names(request.projects), node_names(names_of(request.nodes, "--nodes"))
    if request.export_only and request.dry_run:
        print(f"{len(projects) * len(nodes or NODES)} tables: {', '.join(nodes or NODES)} of {', '.join(projects)}")
        return True
    manifest = read_manifest(Path(request.manifest).expanduser()) if request.manifest is not None else []
    query = _query_of(request, projects)
    key = find_api_key(request.credentials)
    portal = Portal(request.endpoint, key, timeout_s=settings.timeout_s, patience=settings.patience)
    portal.sign_in()
    objects, failures = objects_of_answer(portal.find_files(query)) if query is not None else (manifest, [])
    if query is not None and not objects and not failures:
        raise InputError("the query finds no data file; try fewer conditions, written as in the explorer")
    objects, unknown = _described(objects, portal, with_projects=request.tables and not projects)
    failures += unknown
    if request.dry_run:
        objects, refused = _named(objects, folder, nodes)
        _say_how_much(objects, failures + refused, folder)
        return True
    with alone_in(folder):
        objects, refused = _named(objects, folder, nodes)
        failures += refused
        transfer = Transfer(folder, portal.url_of, settings)
        try:
            if request.tables:
                concerned = projects or sorted({each.project for each in objects if each.project})
                _tables(portal, concerned, nodes, folder, failures)
            if objects:
                _fetch(transfer, objects)
        except BaseException:
            with suppress(OSError):  # the disk may be full
                _report(failures + transfer.outcome.failed, folder, is_whole=False)
            raise
        failures += transfer.outcome.failed
        _report(failures, folder)
    print(f"{_REMINDER}\nnext: python -m midrc_ml.train task=icu cohort=midrc cohort.root={request.folder}")
    return not failures


def _query_of(request: MidrcRequest, projects: Sequence[str]) -> dict[str, Any] | None:
    if request.manifest is not None or request.export_only:
        return None
    if request.filter_file is not None:
        return read_filter(Path(request.filter_file).expanduser())
    return filter_of(projects, request.conditions)


def _described(
    objects: list[RemoteObject], portal: Portal, *, with_projects: bool
) -> tuple[list[RemoteObject], _Failures]:
    """The objects with all that the index knows of them, and those that cannot be had."""
    host = urlsplit(portal.endpoint).hostname
    failures: _Failures = []
    known, asked = [], []
    for each in objects:
        if each.host not in (None, host):
            failures.append(
                (each, f"it lies at {each.host}: --endpoint https://{each.host}, with a key of that portal")
            )
        elif each.is_described and (each.project or not with_projects):
            known.append(each)
        else:
            asked.append(each)
    found, unknown = portal.described(asked)
    return known + found, failures + unknown


def _named(objects: list[RemoteObject], folder: Path, nodes: Sequence[str]) -> tuple[list[RemoteObject], _Failures]:
    return with_safe_names(objects, holders=FinishedFiles(folder).holders(), nodes=[*NODES, *nodes])


def _fetch(transfer: Transfer, objects: list[RemoteObject]) -> None:
    outcome = transfer.fetch(objects)
    print(f"{outcome.fetched:,} files fetched, {outcome.already:,} were there already")
    if outcome.unchecked:
        print(f"{outcome.unchecked:,} of them have no checksum in the portal; only their size was checked")


def _tables(portal: Portal, projects: Sequence[str], nodes: Sequence[str], folder: Path, failures: _Failures) -> None:
    """Export the tables; what could not be had is added to `failures`."""
    if not projects:
        print("no tables: the portal does not say of which project the objects are; give --projects")
    exported = Exported()
    try:
        export_nodes(
            portal.export_node,
            projects=projects,
            nodes=nodes or list(NODES),
            optional=not nodes,
            folder=folder,
            say=print,
            result=exported,
        )
    finally:
        failures += [(RemoteObject(object_id="", name=name), reason) for name, reason in exported.failed]
    if exported.empty:
        print(f"{len(exported.empty)} tables have no rows in the portal and are not written")


def _say_how_much(objects: list[RemoteObject], failures: _Failures, folder: Path) -> None:
    todo, done = split_finished(objects, folder)
    unknown = sum(each.size is None for each in objects)
    print(
        f"{len(objects):,} objects, {size_text(sum(each.size or 0 for each in objects))}"
        + (f" and {unknown:,} objects of unknown size" if unknown else "")
    )
    print(
        f"{len(done):,} are there already; still to come: {len(todo):,}, "
        f"{size_text(sum(missing_bytes(each, folder) for each in todo))}"
    )
    for line in _reasons(failures):
        print(line)


def _report(failures: _Failures, folder: Path, *, is_whole: bool = True) -> None:
    """Say what could not be had and why, and write it down; a list of an earlier time goes.

    is_whole: everything was tried; if not, an earlier list with nothing in the place of it stays.
    """
    path = folder / NOT_DOWNLOADED
    if not failures:
        if is_whole:
            path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["object", "name", "reason"])  # not the portal's words: this is no table of data files
    rows.writerows((each.object_id, each.name or "", reason) for each, reason in failures)
    write_whole(path, text.getvalue().encode("utf-8", "backslashreplace"))
    for line in _reasons(failures):
        print(line)
    print(f"{path} lists them; the same line again tries them once more")


def _reasons(failures: _Failures) -> list[str]:
    counts = Counter(reason for _, reason in failures).most_common()
    lines = [f"{count:,} not to be had: {reason}" for reason, count in counts[:_NUM_SHOWN]]
    return lines + ([f"and {len(counts) - _NUM_SHOWN} more reasons"] if len(counts) > _NUM_SHOWN else [])
