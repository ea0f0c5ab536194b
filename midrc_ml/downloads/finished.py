"""The record of files that were fetched and verified, so that no file is hashed at every start."""

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from midrc_ml.downloads.objects import RemoteObject

RECORD = ".midrc_ml_download.jsonl"
_FIELDS = {"name": str, "size": int, "mtime_ns": int, "md5": str}


class FinishedFiles:
    """One line of JSON for each verified file: its name, size, time and checksum, and the id of its object.

    Lines are only ever added, each in one write: after a kill the last one may be cut off, and is not used.
    A file whose size or time is no longer the recorded one counts as unknown. A line without an id is one of an
    older version: any object with its checksum is taken for it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}
        path = folder / RECORD
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        for line in lines:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict) and all(type(entry.get(name)) is kind for name, kind in _FIELDS.items()):
                if type(entry.get("object_id")) is not str:
                    entry.pop("object_id", None)
                self._known[entry["name"]] = entry

    def has(self, remote: RemoteObject) -> bool:
        """Whether the object's file is the one that was verified, and is what the object is now."""
        known = self._known.get(str(remote.name))
        if known is None or known.get("object_id", remote.object_id if remote.md5 else None) != remote.object_id:
            return False
        try:
            found = os.stat(self._folder / str(remote.name))
        except OSError:
            return False
        unchanged = (found.st_size, found.st_mtime_ns) == (known["size"], known["mtime_ns"])
        return unchanged and remote.size in (None, known["size"]) and remote.md5 in (None, known["md5"])

    def holders(self) -> dict[str, str]:
        """The id of the object that each name belongs to."""
        return {name: entry["object_id"] for name, entry in self._known.items() if "object_id" in entry}

    def add(self, remote: RemoteObject, md5: str) -> None:
        """Record the file of an object that was just verified."""
        name = str(remote.name)
        found = os.stat(self._folder / name)
        entry = {
            "name": name,
            "size": found.st_size,
            "mtime_ns": found.st_mtime_ns,
            "md5": md5,
            "object_id": remote.object_id,
        }
        with self._lock, (self._folder / RECORD).open("a+b") as record:
            record.seek(0, os.SEEK_END)
            if record.tell():  # a line that was cut off is ended, so that it spoils no other
                record.seek(-1, os.SEEK_END)
                if record.read(1) != b"\n":
                    record.write(b"\n")
            record.write(json.dumps(entry).encode() + b"\n")
            self._known[name] = entry


def md5_of(path: Path) -> str:
    """The checksum of a file, as 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
