"""Open an image file: a ZIP or folder of one series, a DICOM file, or a picture."""

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_MEMBER_BYTES = 1 << 30
# Reasons that begin so are of this machine and moment, not of the file.
TRY_AGAIN = ("cannot be read", "no decoder")


class ImageError(ValueError):
    """One image cannot be used; the reason is recorded and counted, and the run goes on."""


@dataclass(frozen=True)
class Member:
    """One file of a series: its name for messages, and its bytes."""

    name: str
    content: bytes


def members(path: str) -> Iterator[Member]:
    """The files of a series, by name: of a ZIP, of a folder, or the one file itself.

    Raises:
        ImageError: nothing there, not a ZIP, a damaged one, or a member that is not to be trusted.
    """
    place = Path(path)
    try:
        if place.is_dir():
            for file in sorted(item for item in place.rglob("*") if item.is_file()):
                yield Member(file.name, file.read_bytes())
        elif place.suffix.lower() == ".zip":
            yield from _zip_members(place)
        else:
            yield Member(place.name, place.read_bytes())
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})") from error


def _zip_members(place: Path) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(place) as package:
            for entry in sorted(package.infolist(), key=lambda item: item.filename):
                if entry.is_dir():
                    continue
                # Nothing is ever unpacked to disk; a name that points outside is still a forged archive.
                if entry.filename.startswith(("/", "\\")) or ".." in Path(entry.filename).parts:
                    raise ImageError("the ZIP holds a member whose name points outside of it")
                if entry.file_size > MAX_MEMBER_BYTES:
                    raise ImageError(f"the ZIP holds a member of over {MAX_MEMBER_BYTES >> 30} GiB")
                if entry.flag_bits & 1:
                    raise ImageError("the ZIP is locked with a password")
                yield Member(os.path.basename(entry.filename), package.read(entry))
    except ImageError:
        raise
    # The errors' own words name the member, which MIDRC calls by its UID: they stay out of the reason.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError) as error:
        raise ImageError("a damaged ZIP, or one of a kind that is not read here; download it again") from error
