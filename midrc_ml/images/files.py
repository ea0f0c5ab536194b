"""Open an image file: a ZIP or folder of one series, files of one series among others, a DICOM file, or a picture."""

import hashlib
import os
import re
import stat
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from errno import ENOENT
from functools import lru_cache
from glob import escape
from io import BytesIO
from pathlib import Path
from typing import IO

MAX_MEMBERS = 100_000
MAX_MEMBER_BYTES = 1 << 30
# What a ZIP may expand to: a blank film may do so a thousand times, a series of images never to so much.
MAX_TOTAL_BYTES = 16 << 30
MAX_RATIO = 200
RATIO_FROM_BYTES = 64 << 20
# Reasons that begin so are of this machine and moment, not of the file.
TRY_AGAIN = ("cannot be read", "no decoder")
# Of bzip2 and LZMA, zipfile cannot take out a part: a few bytes fill the memory.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ZIP_START = b"PK\x03\x04"
_DICOM_START = 128  # bytes of preamble before `DICM`
_POINTS_OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")
_STAR = re.compile(r"(?<!\[)\*")
_ESCAPED = re.compile(r"\[([*?\[])\]")


class ImageError(ValueError):
    """One image cannot be used; the reason is recorded and counted, and the run goes on."""


@dataclass(frozen=True)
class Member:
    """One file of a series: its name for messages, and its bytes."""

    name: str
    content: bytes


def members(path: str) -> Iterator[Member]:
    """The files of a series, by name: of a ZIP, of a folder, those of a pattern (`pattern_of`), or the one file itself.

    A ZIP or file may also lie in an object store (`s3://bucket/series.zip`), read through fsspec.

    A ZIP is known by its ending or by its first bytes, as a download may be named by an id without any ending.
    A ZIP inside a ZIP is a member like any other: it is not opened.

    Raises:
        ImageError: nothing there, not a ZIP, a damaged one, or one that is not to be trusted.
    """
    if is_url(path):
        content = _object(path)
        if path.lower().endswith(".zip") or is_zip(BytesIO(content)):
            yield from _zip_members(BytesIO(content), len(content))
        else:
            yield Member(os.path.basename(path), content)
        return
    try:
        places = file_paths(path)
        if places != [path]:
            for place in places:
                with open(place, "rb", buffering=0) as file:
                    yield Member(os.path.basename(place), _whole(file))
            return
        with open(path, "rb", buffering=0) as file:  # a buffer would be joined to the rest: twice the memory
            if not path.lower().endswith(".zip") and not is_zip(file):
                yield Member(os.path.basename(path), _whole(file))
                return
        with open(path, "rb") as package:
            yield from _zip_members(package, os.fstat(package.fileno()).st_size)
    except OSError as error:
        raise ImageError(f"{TRY_AGAIN[0]} ({error.strerror or error})") from error


def _whole(file: IO[bytes]) -> bytes:
    if os.fstat(file.fileno()).st_size > MAX_MEMBER_BYTES:
        raise ImageError(f"a file of over {MAX_MEMBER_BYTES >> 30} GiB")
    return file.read()


def pattern_of(folder: str, start: str, ending: str) -> str:
    """The path that stands for all files in `folder` whose names have this start and ending.

    So the films of one series are named that lie in one folder with those of others, as one path.
    """
    return os.path.join(folder, f"{escape(start)}*{escape(ending)}")


def file_paths(path: str) -> list[str]:
    """The files that `path` stands for, by name: those below a folder, those of a pattern, or the one file.

    Raises:
        OSError: a pattern that no file is named by, or a folder that cannot be listed.
    """
    if os.path.isdir(path):
        return [str(file) for file in sorted(item for item in Path(path).rglob("*") if item.is_file())]
    folder, name = os.path.split(path)
    star = _STAR.search(name)
    if star is None or os.path.exists(path):
        return [path]
    start, ending = (_ESCAPED.sub(r"\1", part) for part in (name[: star.start()], name[star.end() :]))
    names = _listing(folder, os.stat(folder).st_mtime_ns)
    found = []
    for position in range(bisect_left(names, start), len(names)):
        if not names[position].startswith(start):
            break
        if names[position].endswith(ending) and len(names[position]) >= len(start) + len(ending):
            found.append(os.path.join(folder, names[position]))
    if not found:
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT))
    return found


def stamp(path: str) -> tuple[int, int]:
    """What tells that a file has changed: its bytes and its time (ns).

    Of a folder or a pattern: the bytes of all its files, and 63 bits of a hash of their names, sizes and times. (-1,
    -1) where there is nothing. Of an object at a URL whose store tells no time: 0.
    """
    if is_url(path):
        try:
            return _stamp_of_object(path)
        except Exception:  # each store raises its own, also for a package that is missing; `members` says which
            return -1, -1
    try:
        places = file_paths(path)
        states = [os.stat(place) for place in places]
    except (OSError, ValueError):
        return -1, -1
    total = sum(state.st_size for state in states)
    if places == [path]:
        return total, states[0].st_mtime_ns
    said = [(place, state.st_size, state.st_mtime_ns) for place, state in zip(places, states, strict=True)]
    return total, int.from_bytes(hashlib.blake2b(repr(said).encode(), digest_size=8).digest(), "big") >> 1


def absolute(path: str) -> str:
    """The name of a file whatever the working folder is; a URL is one already."""
    return path if is_url(path) else os.path.abspath(path)


def is_url(path: str) -> bool:
    """Whether a path is of an object store or another place that fsspec reads (`s3://`, `gs://`, `https://` ...)."""
    return "://" in path


def _stamp_of_object(url: str) -> tuple[int, int]:
    import fsspec

    store, name = fsspec.url_to_fs(url)
    found = store.info(name)
    try:
        changed = int(store.modified(name).timestamp() * 1e9)
    except (NotImplementedError, AttributeError, KeyError):
        changed = 0
    return int(found.get("size") or 0), changed


def _object(url: str) -> bytes:
    """The bytes of the object at a URL.

    Raises:
        ImageError: it cannot be read, or the package that reads such a store is not installed.
    """
    import fsspec

    scheme = url.split("://", 1)[0]
    try:
        store, name = fsspec.url_to_fs(url)
        size = int(store.info(name).get("size") or 0)
        if size > MAX_TOTAL_BYTES:
            raise ImageError(f"an object of over {MAX_TOTAL_BYTES >> 30} GiB")
        return bytes(store.cat_file(name))
    except ImportError as error:
        raise ImageError(f"{TRY_AGAIN[0]} (the package that reads {scheme}:// is not installed: {error})") from error
    except ImageError:
        raise
    except Exception as error:  # each store raises its own; their words may hold names
        words = getattr(error, "strerror", None) or type(error).__name__
        raise ImageError(f"{TRY_AGAIN[0]} ({scheme}://: {words})") from error


@lru_cache(maxsize=4)
def _listing(folder: str, mtime_ns: int) -> list[str]:
    """The sorted names in a folder that was last changed then: a million films may lie in one."""
    return sorted(os.listdir(folder))


def is_zip(file: IO[bytes]) -> bool:
    """Whether an open file starts as a ZIP and not as DICOM; it is set back to its start."""
    start = file.read(_DICOM_START + 4)
    file.seek(0)
    return start.startswith(_ZIP_START) and start[_DICOM_START:] != b"DICM"


def zip_entries(package: zipfile.ZipFile, size: int) -> list[zipfile.ZipInfo]:
    """The files in a ZIP of `size` bytes, by name, once what its directory says of them was found harmless.

    Raises:
        ImageError: too many or too large members, names that point outside, links, a password, another packing.
    """
    entries = sorted((entry for entry in package.infolist() if not entry.is_dir()), key=lambda item: item.filename)
    if len(entries) > MAX_MEMBERS:
        raise ImageError(f"the ZIP holds more than {MAX_MEMBERS} members")
    for entry in entries:
        # Nothing is ever unpacked to disk; a name that points outside is still a forged archive.
        if _POINTS_OUTSIDE.search(entry.filename):
            raise ImageError("the ZIP holds a member whose name points outside of it")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ImageError("the ZIP holds a link in place of a file")
        if entry.flag_bits & 1:
            raise ImageError("the ZIP is locked with a password")
        if entry.compress_type not in _METHODS:
            raise ImageError("the ZIP is packed in a way that is not read here (only stored and deflated are)")
        if entry.file_size > MAX_MEMBER_BYTES:
            raise ImageError(f"the ZIP holds a member of over {MAX_MEMBER_BYTES >> 30} GiB")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_TOTAL_BYTES or (total > RATIO_FROM_BYTES and total > MAX_RATIO * size):
        raise ImageError("the ZIP expands to far more than a series of images would")
    return entries


def _zip_members(file: IO[bytes], size: int) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(file) as package:
            for entry in zip_entries(package, size):
                # What the directory says of sizes was found harmless but may be a lie: no more than that is taken out.
                with package.open(entry) as stream:
                    content = stream.read(entry.file_size + 1)
                if len(content) != entry.file_size:
                    raise ImageError(DAMAGED_ZIP_REASON)
                yield Member(os.path.basename(entry.filename), content)
    except ImageError:
        raise
    except DAMAGED_ZIP as error:
        raise ImageError(DAMAGED_ZIP_REASON) from error


# The errors' own words name the member, which MIDRC calls by its UID: they stay out of the reason.
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)
DAMAGED_ZIP_REASON = "a damaged ZIP, or one of a kind that is not read here; download it again"
