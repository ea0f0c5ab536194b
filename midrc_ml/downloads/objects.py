"""The objects of a download: manifests, and names under which they may be saved."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from midrc_ml.errors import InputError

_OBJECT_ID = re.compile(r"[A-Za-z0-9][\w.:-]*(/[A-Za-z0-9][\w.:-]*)*")
_MD5 = re.compile(r"[0-9a-f]{32}")
_DRIVE = re.compile(r"[A-Za-z]:")
_NUM_SHOWN = 5
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


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
    except ValueError as error:  # also not UTF-8
        raise InputError(f"--manifest {path} is not JSON ({error}); download it from the portal again") from error
    if isinstance(entries, dict):
        entries = entries.get("data", [entries])
    if not isinstance(entries, list) or not entries:
        raise InputError(f'--manifest {path} holds no list of objects: [{{"object_id": "dg.MD1R/..."}}, ...]')
    return objects_of(entries, where=path.name)


def objects_of(entries: list[Any], *, where: str) -> list[RemoteObject]:
    """The objects of manifest entries or of records of the portal's `data_file` index, each once.

    Raises:
        InputError: entries without a proper id, size or checksum, all of them.
    """
    found: dict[str, RemoteObject] = {}
    problems: list[str] = []
    for number, entry in enumerate(entries, start=1):
        try:
            made = _objects_of_entry(entry)
        except ValueError as error:
            problems.append(f"entry {number}: {error}")
            continue
        for each in made:
            known = found.setdefault(each.object_id, each)
            if known != each:
                problems.append(f"entry {number}: another size, checksum or name than before for the same id")
    if problems:
        shown = "; ".join(problems[:_NUM_SHOWN]) + (" ..." if len(problems) > _NUM_SHOWN else "")
        raise InputError(f"{where}: {len(problems)} of {len(entries)} entries cannot be used: {shown}")
    return list(found.values())


def _objects_of_entry(entry: Any) -> list[RemoteObject]:
    if not isinstance(entry, dict):
        raise ValueError("it must be an object with an object_id")
    ids = entry.get("object_id")
    ids = ids if isinstance(ids, list) else [ids]
    for object_id in ids:
        if not isinstance(object_id, str) or not _OBJECT_ID.fullmatch(object_id):
            raise ValueError(f"object_id is {object_id!r}; it must be an id as dg.MD1R/<uuid>")
    common = RemoteObject(object_id="", project=_text(entry.get("project_id")), host=_host(entry.get("commons_url")))
    if len(ids) != 1 or isinstance(entry["object_id"], list):
        # Beside a list of ids stand sets of names and sizes, in no order that could be trusted.
        return [replace(common, object_id=object_id) for object_id in ids]
    size, md5 = entry.get("file_size"), _text(entry.get("md5sum"))
    if isinstance(size, str) and size.isdigit():
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


def with_safe_names(objects: Iterable[RemoteObject]) -> tuple[list[RemoteObject], list[tuple[RemoteObject, str]]]:
    """The objects with the path below the folder under which each is saved, and those refused, with the reason.

    An object without a name is saved under its id. Of objects with the same name the one with the least id has
    it and the others get their id into theirs, so that the order of a manifest does not matter; case is not
    told apart, as many a disk does not.
    """
    taken: set[str] = set()
    named: dict[str, RemoteObject] = {}
    refused = []
    objects = list(objects)
    for each in sorted(objects, key=lambda each: each.object_id):
        own = each.object_id.rsplit("/", 1)[-1].replace(":", "_")
        try:
            path = safe_path(each.name or own)
        except ValueError as error:
            refused.append((each, str(error)))
            continue
        if path.casefold() in taken:
            stem, dot, ending = path.rpartition(".")
            path = f"{stem}_{own}.{ending}" if dot and "/" not in ending else f"{path}_{own}"
        taken.add(path.casefold())
        named[each.object_id] = replace(each, name=path)
    return [named[each.object_id] for each in objects if each.object_id in named], refused


def safe_path(name: str) -> str:
    """The name as a path below a folder.

    Raises:
        ValueError: it would lead out of the folder, hides itself, or cannot be the name of a file.
    """
    parts = name.split("/")
    if name.startswith(("/", "~")) or _DRIVE.match(name) or "\\" in name or ".." in parts:
        raise ValueError("its name leads out of the folder")
    # Hidden names are kept for the record of a download; one that ends in .part is an unfinished file.
    if any(part == "" or part.startswith(".") for part in parts) or _CONTROL.search(name) or name.endswith(".part"):
        raise ValueError("its name cannot be the name of a file")
    return name
