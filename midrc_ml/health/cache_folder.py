"""The folder of decoded images: can it be written, how fast is it, how much room has it, and what lies there."""

import json
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from errno import EACCES
from functools import partial
from pathlib import Path

from midrc_ml.health.findings import Finding
from midrc_ml.health.places import (
    MEMORY_KINDS,
    file_system,
    is_locked,
    is_marked_read_only,
    is_network,
    nearest_folder,
    shown,
    size_text,
)

PART = "cache folder"
_CHUNK = 4 << 20
_TRIAL_BYTES = 64 << 20
_TRIAL_SECONDS = 0.5  # for writing, and for reading
_SLOW = 50e6  # bytes/s: 1000 films of 224 x 224, which one GPU may want
_LITTLE_ROOM = 5e9  # bytes: 100,000 films of 224 x 224
_NO_ROOM = 200e6
_FILM_BYTES = 224 * 224


def cache_findings(cache_dir: Path) -> list[Finding]:
    """What is to be known of the folder; nothing stays behind, and the folder is not made."""
    cache_dir = Path(os.path.abspath(cache_dir.expanduser()))
    finding = partial(Finding, part=PART)
    if cache_dir.exists() and not cache_dir.is_dir():
        advice = "give a folder: --cache-dir FOLDER, in a run paths.cache_dir=FOLDER"
        return [finding(status="fail", what="folder", value=f"{shown(cache_dir)} is a file", what_to_do=advice)]
    place = nearest_folder(cache_dir)
    value = shown(cache_dir) + ("" if place == cache_dir else f", made by the first run below {shown(place)}")
    found = [finding(status="ok", what="folder", value=value), _kind(place), _room(place)]
    found += speed_findings(place)
    return found + (content_findings(cache_dir) if place == cache_dir else [])


def speed_findings(folder: Path) -> list[Finding]:
    """Write and read a file in `folder` that has no name where the system allows that, and is removed in any case.

    Nothing is written where the folder's rights forbid it, also not by an administrator.
    """
    finding = partial(Finding, part=PART)
    try:
        if is_marked_read_only(folder):
            raise PermissionError(EACCES, "marked as read-only")
        with tempfile.TemporaryFile(dir=folder, prefix=".midrc_ml_doctor_") as file:
            descriptor = file.fileno()
            written, write_s = _written(descriptor)
            read, read_s = _read(descriptor, written)
            mapped = _is_mapped(descriptor)
            locked = _can_lock(descriptor)
    except OSError as error:
        value = f"{shown(folder)}: {error.strerror or type(error).__name__}"
        advice = "give a folder that can be written and has room: --cache-dir FOLDER, in a run paths.cache_dir=FOLDER"
        return [finding(status="fail", what="writing", value=value, what_to_do=advice)]
    write_rate, read_rate = written / write_s, read / read_s
    value = (
        f"write {write_rate / 1e6:,.0f} MB/s, read {read_rate / 1e6:,.0f} MB/s ({written >> 20} MB, one after another)"
    )
    facts = {"write_bytes_per_s": round(write_rate), "read_bytes_per_s": round(read_rate), "bytes": written}
    slow = min(write_rate, read_rate) < _SLOW
    advice = "put the cache on a local disk: paths.cache_dir=FOLDER" if slow else ""
    found = [
        finding(status="warn" if slow else "ok", what="speed", value=value, what_to_do=advice, facts=facts),
        finding(status="ok", what="memory mapping", value="works")
        if mapped
        else finding(
            status="fail",
            what="memory mapping",
            value="does not work here",
            what_to_do="put the cache on another file system: paths.cache_dir=FOLDER",
        ),
    ]
    if locked is not None:
        advice = "" if locked else "let one process at a time build the cache, or put it on another file system"
        value = "work" if locked else "do not work here"
        found.append(finding(status="ok" if locked else "warn", what="file locks", value=value, what_to_do=advice))
    return found


def content_findings(cache_dir: Path) -> list[Finding]:
    """How much is cached, of images by recipe, and what killed processes have left."""
    finding = partial(Finding, part=PART)
    found = []
    images = cache_dir / "images"
    for folder in sorted(path for path in _entries(images) if path.is_dir()):
        size, rows = _size(folder), _num_rows(folder)
        value = f"{size_text(size)}, {rows:,} files" if rows is not None else size_text(size)
        old = _is_of_older_code(folder)
        value += "; of an older version, never read again: the folder can be removed" if old else ""
        facts = {"bytes": size, "files": rows, "older_version": old}
        found.append(finding(status="ok", what=f"images/{folder.name}", value=value, facts=facts))
    for name in ("headers", "tables", "demo"):
        if (cache_dir / name).is_dir():
            size = _size(cache_dir / name)
            found.append(finding(status="ok", what=name, value=size_text(size), facts={"bytes": size}))
    left = list(_leftovers(cache_dir))
    if left:
        size = sum(_size(path) for path in left)
        value = f"{len(left)} unfinished file{'s' * (len(left) != 1)}, {size_text(size)}; the next run overwrites them"
        facts = {"files": len(left), "bytes": size}
        found.append(finding(status="ok", what="leftovers", value=value, facts=facts))
    elif not found:
        found.append(finding(status="not_applicable", what="content", value="nothing is cached yet"))
    return found


def _kind(place: Path) -> Finding:
    kind = file_system(place)
    finding = partial(Finding, part=PART, what="file system", facts={"kind": kind})
    if is_network(kind):
        advice = "put the cache on a local disk where there is one: paths.cache_dir=FOLDER"
        return finding(status="warn", value=f"{kind}, over the network: slower, and locks may fail", what_to_do=advice)
    if kind in MEMORY_KINDS:
        advice = "fine for a trial; else paths.cache_dir=FOLDER on a disk"
        return finding(status="warn", value=f"{kind}: it takes memory, and is gone with the machine", what_to_do=advice)
    if kind == "overlay":
        return finding(status="ok", value="overlay, of a container: gone with it")
    return finding(status="ok" if kind else "not_applicable", value=kind or "not known here")


def _room(place: Path) -> Finding:
    usage = shutil.disk_usage(place)
    films = int(usage.free / _FILM_BYTES)
    value = f"{size_text(usage.free)} of {size_text(usage.total)}, room for {films:,} films of 224 x 224"
    facts = {"free_bytes": usage.free, "total_bytes": usage.total}
    status = "fail" if usage.free < _NO_ROOM else "warn" if usage.free < _LITTLE_ROOM else "ok"
    advice = "" if status == "ok" else "make room, or give another folder: paths.cache_dir=FOLDER"
    return Finding(part=PART, status=status, what="free space", value=value, what_to_do=advice, facts=facts)  # type: ignore[arg-type]


def _written(descriptor: int) -> tuple[int, float]:
    """Bytes that reached the disk, and the seconds."""
    noise = os.urandom(_CHUNK)  # some file systems pack
    written, started = 0, time.perf_counter()
    while written < _TRIAL_BYTES and time.perf_counter() - started < _TRIAL_SECONDS:
        written += os.write(descriptor, noise)
        os.fsync(descriptor)
    return written, time.perf_counter() - started


def _read(descriptor: int, size: int) -> tuple[int, float]:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # else memory would be measured
    os.lseek(descriptor, 0, os.SEEK_SET)
    done, started = 0, time.perf_counter()
    while done < size and time.perf_counter() - started < _TRIAL_SECONDS:
        done += len(os.read(descriptor, _CHUNK))
    return done, time.perf_counter() - started


def _is_mapped(descriptor: int) -> bool:
    start = os.pread(descriptor, 4096, 0)
    try:
        with mmap.mmap(descriptor, len(start), access=mmap.ACCESS_READ) as mapped:
            return mapped[:] == start
    except (OSError, ValueError):
        return False


def _can_lock(descriptor: int) -> bool | None:
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    return sum(_size(Path(folder) / name) for folder, _, names in os.walk(path) for name in names)


def _num_rows(folder: Path) -> int | None:
    """How many source files the indexes tell of; None where one cannot be read."""
    import pyarrow.parquet

    try:
        return sum(pyarrow.parquet.read_metadata(path).num_rows for path in folder.glob("*.parquet"))
    except (OSError, ValueError):
        return None


def _is_of_older_code(folder: Path) -> bool:
    """Whether the recipe that made these images has another key today."""
    from midrc_ml.images.ct_recipe import CtRecipe
    from midrc_ml.images.recipe import Recipe

    for kind in (Recipe, CtRecipe):
        try:
            return kind(**json.loads((folder / "recipe.json").read_text())).key != folder.name
        except (OSError, ValueError, TypeError):
            continue  # of the other kind, or of settings that there are no longer
    return False


def _leftovers(cache_dir: Path) -> Iterator[Path]:
    """What was not finished, and what nobody writes at present."""
    for folder, _, names in os.walk(cache_dir):
        for name in names:
            path = Path(folder) / name
            unfinished = name.endswith((".unfinished", ".part"))
            unfinished |= name.endswith(".u8") and not path.with_suffix(".parquet").exists()
            if unfinished and not _is_in_use(path):
                yield path


def _is_in_use(path: Path) -> bool:
    for lock in (path.with_suffix(".lock"), path.parent / "build.lock", path.parent / "scan.lock"):
        try:
            if is_locked(lock):
                return True
        except OSError:
            continue
    return False
