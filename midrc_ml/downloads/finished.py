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
    """One line of JSON for each verified file: its name, size, time and checksum.

    Lines are only ever added, each in one write: after a kill the last one may be cut off, and is not used.
    A file whose size or time is no longer the recorded one counts as unknown.
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
            except ValueError:
                continue
            if isinstance(entry, dict) and all(type(entry.get(name)) is kind for name, kind in _FIELDS.items()):
                self._known[entry["name"]] = entry

    def has(self, remote: RemoteObject) -> bool:
        """Whether the object's file is the one that was verified, and is what the object is now."""
        known = self._known.get(str(remote.name))
        if known is None:
            return False
        try:
            found = os.stat(self._folder / str(remote.name))
        except OSError:
            return False
        unchanged = (found.st_size, found.st_mtime_ns) == (known["size"], known["mtime_ns"])
        return unchanged and remote.size in (None, known["size"]) and remote.md5 in (None, known["md5"])

    def add(self, name: str, md5: str) -> None:
        """Record a file that was just verified."""
        found = os.stat(self._folder / name)
        entry = {"name": name, "size": found.st_size, "mtime_ns": found.st_mtime_ns, "md5": md5}
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
