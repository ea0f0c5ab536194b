"""The objects of a download: manifests, and names under which they may be saved."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from midrc_ml.errors import InputError

_OBJECT_ID = re.compile(r"[A-Za-z0-9][\w.:-]*(/[A-Za-z0-9][\w.:-]*)*")
_MD5 = re.compile(r"[0-9a-f]{32}")
_DRIVE = re.compile(r"[A-Za-z]:")
_NUM_SHOWN = 5
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and halves of a character, which no disk takes


@dataclass(frozen=True, kw_only=True)
class RemoteObject:
    """One object of a portal; what is not known yet is None.

    name: as the portal has it until `with_safe_names`, then the path below the folder, with `/`. size: bytes.
    project: `Open-A1`. host: the portal that has it, where a manifest names one.
    """

    object_id: str
    name: str | None = None
    size: int | None = None
    md5: str | None = None
    project: str | None = None
    host: str | None = None

    @property
    def is_described(self) -> bool:
        """Whether name, size and checksum are known."""
        return None not in (self.name, self.size, self.md5)


def read_manifest(path: Path) -> list[RemoteObject]:
    """The objects of a JSON manifest, each once: `[{"object_id": ..., "file_name": ..., ...}, ...]`.

    An entry needs no more than its object_id, which in the explorer's records of studies is a list.

    Raises:
        InputError: no such file, not a manifest, or entries without a proper id, size or checksum, all of them.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"--manifest {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # also not UTF-8
        raise InputError(f"--manifest {path} is not JSON ({error}); download it from the portal again") from error
    if isinstance(entries, dict):
        entries = entries.get("data", [entries])
    if not isinstance(entries, list) or not entries:
        raise InputError(f'--manifest {path} holds no list of objects: [{{"object_id": "dg.MD1R/..."}}, ...]')
    return objects_of(entries, where=path.name)


def objects_of(entries: list[Any], *, where: str) -> list[RemoteObject]:
    """The objects of manifest entries, each once.

    Raises:
        InputError: entries without a proper id, size or checksum, all of them.
    """
    found, problems = _usable(entries)
    if problems:
        texts = [f"entry {number}: {reason}" for number, _, reason in problems]
        shown = "; ".join(texts[:_NUM_SHOWN]) + (" ..." if len(texts) > _NUM_SHOWN else "")
        raise InputError(f"{where}: {len(texts)} of {len(entries)} entries cannot be used: {shown}")
    return found


def objects_of_answer(records: list[Any]) -> tuple[list[RemoteObject], list[tuple[RemoteObject, str]]]:
    """The objects of the portal's own records, each once, and the records that cannot be used, with the reason."""
    found, problems = _usable(records)
    bad = {each.object_id for _, each, _ in problems}
    good = [each for each in found if each.object_id not in bad]
    return good, [(each, f"its record in the portal cannot be used: {reason}") for _, each, reason in problems]


def _usable(entries: list[Any]) -> tuple[list[RemoteObject], list[tuple[int, RemoteObject, str]]]:
    """The objects, each once, and the number, object and reason of each entry that cannot be used."""
    found: dict[str, RemoteObject] = {}
    problems: list[tuple[int, RemoteObject, str]] = []
    for number, entry in enumerate(entries, start=1):
        try:
            made = _objects_of_entry(entry)
        except ValueError as error:
            object_id = _text(entry.get("object_id")) if isinstance(entry, dict) else None
            problems.append((number, RemoteObject(object_id=object_id or ""), str(error)))
            continue
        for each in made:
            known = found.setdefault(each.object_id, each)
            # One object may belong to two projects.
            if (known.name, known.size, known.md5) != (each.name, each.size, each.md5):
                problems.append((number, each, "another size, checksum or name than before for the same id"))
    return list(found.values()), problems


def _objects_of_entry(entry: Any) -> list[RemoteObject]:
    if not isinstance(entry, dict):
        raise ValueError("it must be an object with an object_id")
    ids = entry.get("object_id")
    ids = ids if isinstance(ids, list) else [ids]
    for object_id in ids or [ids]:
        if not isinstance(object_id, str) or not _OBJECT_ID.fullmatch(object_id):
            raise ValueError(f"object_id is {object_id!r}; it must be an id as dg.MD1R/<uuid>")
    common = RemoteObject(object_id="", project=_text(entry.get("project_id")), host=_host(entry.get("commons_url")))
    if len(ids) != 1 or isinstance(entry["object_id"], list):
        # Beside a list of ids stand sets of names and sizes, in no order that could be trusted.
        return [replace(common, object_id=object_id) for object_id in ids]
    size, md5 = entry.get("file_size"), _text(entry.get("md5sum"))
    if isinstance(size, str) and size.isascii() and size.isdecimal():
        size = int(size)
    if size is not None and (type(size) is not int or size < 0):
        raise ValueError(f"file_size is {size!r}; it must be a whole number of bytes")
    if md5 is not None and not _MD5.fullmatch(md5.lower()):
        raise ValueError(f"md5sum is {md5!r}; it must be 32 digits of 0-9 and a-f")
    name = _text(entry.get("file_name"))
    return [replace(common, object_id=ids[0], name=name, size=size, md5=md5.lower() if md5 else None)]


def _text(value: Any) -> str | None:
    """A text; the explorer gives some as a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) and value else None


def _host(url: Any) -> str | None:
    """`data.midrc.org` of `https://data.midrc.org` or of the name alone."""
    text = _text(url)
    return urlsplit(text if "//" in text else f"//{text}").hostname if text else None


def with_safe_names(
    objects: Iterable[RemoteObject], *, holders: Mapping[str, str] | None = None, nodes: Iterable[str] = ()
) -> tuple[list[RemoteObject], list[tuple[RemoteObject, str]]]:
    """The objects with the path below the folder under which each is saved, and those refused, with the reason.

    An object without a name is saved under its id. Of objects with the same name the one with the least id has
    it and the others get their id into theirs, so that the order of a manifest does not matter; neither case nor
    the form of an accent is told apart, as many a disk does not.

    holders: the id of the object that each name belongs to since an earlier time; it stays so.
    nodes: of the tables that a download writes; their names, and those of its lists, are given to no object.
    """
    held = {_folded(name): object_id for name, object_id in (holders or {}).items()}
    tables = "|".join(re.escape(node) for node in nodes)
    reserved = re.compile(rf"not_downloaded\.csv|[^/]*_series\.csv|[a-z0-9]+-[\w-]+_({tables})\.tsv")
    named: dict[str, RemoteObject] = {}
    refused = []
    objects = list(objects)
    for each in sorted(objects, key=lambda each: each.object_id):
        own = each.object_id.rsplit("/", 1)[-1].replace(":", "_")
        try:
            wanted = safe_path(each.name or own)
        except ValueError as error:
            refused.append((each, str(error)))
            continue
        stem, dot, ending = wanted.rpartition(".")
        if not dot or "/" in ending:
            stem, dot, ending = wanted, "", ""
        path, number = wanted, 1
        while reserved.fullmatch(_folded(path)) or held.get(_folded(path), each.object_id) != each.object_id:
            path = f"{stem}_{own}{f'_{number}' if number > 1 else ''}{dot}{ending}"
            number += 1
        held[_folded(path)] = each.object_id
        named[each.object_id] = replace(each, name=path)
    return [named[each.object_id] for each in objects if each.object_id in named], refused


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def safe_path(name: str) -> str:
    """The name as a path below a folder.

    Raises:
        ValueError: it would lead out of the folder, hides itself, or cannot be the name of a file.
    """
    parts = name.split("/")
    if name.startswith(("/", "~")) or _DRIVE.match(name) or "\\" in name or ".." in parts:
        raise ValueError("its name leads out of the folder")
    # Hidden names are kept for the record of a download; one that ends in .part is an unfinished file.
    unusable = any(part == "" or part.startswith(".") or part.endswith(".part") for part in parts)
    if unusable or _CONTROL.search(name):
        raise ValueError("its name cannot be the name of a file")
    return name
