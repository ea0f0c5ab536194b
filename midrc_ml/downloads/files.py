"""Files that are written whole or not at all, and one download at a time in a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from midrc_ml.errors import InputError

NOT_DOWNLOADED = "not_downloaded.csv"
LOCK = ".midrc_ml_download.lock"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is never seen half-written."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make the folder and keep every other download out of it.

    Raises:
        InputError: another one is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another download is writing into {folder}; wait for it, or give another --to") from None
    try:
        yield
    finally:
        lock.release()
