"""Read the header of the first DICOM file that a path stands for, and go through its elements; no pixel is decoded."""

import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import IO

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from midrc_ml.images.files import DAMAGED_ZIP, ImageError, file_paths, is_url, is_zip, members, zip_entries

_MOST_TRIED = 100  # files of a folder or ZIP; one whose first hundred are no DICOM is taken for no DICOM
_HEAD = 1 << 18  # bytes of a ZIP's member that are unpacked first; nearly every header ends there
_DEEPEST = 8  # sequences within sequences


def first_header(path: str) -> Dataset | None:
    """The header of the first DICOM file that a path stands for, by name; None where there is none."""
    if is_url(path):
        whole = (BytesIO(member.content) for member in members(path))
        return next((_read(stream) for stream in whole if _is_dicom(stream)), None)
    for place in file_paths(path)[:_MOST_TRIED]:
        with open(place, "rb") as file:
            if place.lower().endswith(".zip") or is_zip(file):
                header = _first_in_zip(file)
            else:
                header = _read(file) if _is_dicom(file) else None
        if header is not None:
            return header
    return None


def _first_in_zip(file: IO[bytes]) -> Dataset | None:
    size = file.seek(0, 2)
    try:
        with zipfile.ZipFile(file) as package:
            for entry in zip_entries(package, size)[:_MOST_TRIED]:
                with package.open(entry) as stream:
                    head = stream.read(_HEAD)
                    if not _is_dicom(BytesIO(head)):
                        continue
                    if len(head) == entry.file_size:
                        return _read(BytesIO(head))
                    return _of_head(head) or _read(BytesIO(head + stream.read(entry.file_size)))
    except DAMAGED_ZIP as error:
        raise ImageError("a damaged ZIP") from error
    return None


def _of_head(head: bytes) -> Dataset | None:
    """The header, where it ends within these bytes."""
    stream = BytesIO(head)
    try:
        header = _read(stream)
    except Exception:  # a value, or a deflated data set, that is cut
        return None
    return header if stream.tell() < len(head) else None


def _is_dicom(stream: IO[bytes]) -> bool:
    start = stream.read(132)
    stream.seek(0)
    return start[128:] == b"DICM"


def _read(stream: IO[bytes]) -> Dataset:
    return pydicom.dcmread(stream, stop_before_pixels=True)


def elements(place: Dataset, depth: int = 0) -> Iterator[tuple[Dataset, int]]:
    """Every element, also those within sequences, with the data set that it stands in."""
    for tag in list(place.keys()):
        yield place, int(tag)
        if depth < _DEEPEST and not tag.is_private and representation(place, tag) == "SQ":
            for item in place[tag].value or ():
                yield from elements(item, depth + 1)


def representation(place: Dataset, tag: int) -> str:
    """The value representation of an element; that of the dictionary where the file does not say."""
    raw = place.get_item(tag)
    if raw is not None and raw.VR not in (None, "UN"):
        return str(raw.VR)
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def is_filled(place: Dataset, tag: int) -> bool:
    """Whether an element is there and holds more than padding."""
    raw = place.get_item(tag)
    if isinstance(raw, RawDataElement):
        return bool((raw.value or b"").strip(b"\0 \\"))
    return raw is not None and not raw.is_empty


def text_of(place: Dataset, key: int | str) -> str:
    """A value as text, several joined by a backslash; empty where it is not there; `?` where it is damaged."""
    try:
        value = place.get(key)
        value = value.value if isinstance(value, pydicom.DataElement) else value
        if value is None:
            return ""
        return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value).strip()
    except Exception:  # its words are of use to nobody, and may quote it
        return "?"
