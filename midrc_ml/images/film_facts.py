"""What is known of an image file without decoding it: its form and size, which may tell where it comes from."""

import os
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any

import pandas as pd
import pydicom
from PIL import Image, UnidentifiedImageError
from pydicom.multival import MultiValue

from midrc_ml.images.files import DAMAGED_ZIP, ImageError, file_paths, is_url, is_zip, zip_entries

NUMBERS = ("bytes", "members", "rows", "columns", "bits", "channels", "row_spacing_mm", "column_spacing_mm")
WORDS = ("ending", "form", "photometric")
COLUMNS = (*NUMBERS, *WORDS)
_HEAD = 1 << 16  # nearly every DICOM header ends before this
_TAGS = (
    *("Rows", "Columns", "BitsStored", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PixelSpacing", "ImagerPixelSpacing"),
)
_BITS = {"1": 1, "L": 8, "P": 8, "RGB": 8, "RGBA": 8, "CMYK": 8, "YCbCr": 8, "LA": 8, "I;16": 16, "I": 32, "F": 32}


def film_facts(files: Sequence[str]) -> pd.DataFrame:
    """One row a file, in their order, with `COLUMNS`; what cannot be told, also of a file that is gone, is missing.

    bytes: of the file, of a folder or pattern those of all its files. members: files in it. rows, columns, bits,
    channels, spacing: as the first image in it says, before any preprocessing. form: the UID of a DICOM transfer
    syntax, or the format of a picture. No pixel is read.
    """
    rows = [_facts(file) if isinstance(file, str) else {} for file in files]
    made = pd.DataFrame(rows, columns=list(COLUMNS))
    return made.astype({**dict.fromkeys(NUMBERS, "float64"), **dict.fromkeys(WORDS, "str")})


def _facts(file: str) -> dict[str, Any]:
    if is_url(file):  # would be fetched whole
        return {"ending": _ending(file)}
    found: dict[str, Any] = {}
    try:
        places = file_paths(file)
        found = {"bytes": sum(os.path.getsize(place) for place in places), "members": len(places)}
        found["ending"] = _ending(places[0])
        with open(places[0], "rb") as opened:
            if not is_zip(opened):
                return found | _of_image(opened)
            with zipfile.ZipFile(opened) as package:
                entries = zip_entries(package, found["bytes"])
                found["members"] = len(entries)
                if entries:
                    with package.open(entries[0]) as stream:
                        head = stream.read(_HEAD)
                        of_image = _of_image(BytesIO(head))
                        found |= of_image if of_image.get("rows") else _of_image(BytesIO(head + stream.read()))
    except (OSError, ImageError, IndexError, *DAMAGED_ZIP):
        pass  # the image cache says why it cannot be used
    return found


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower() or "none"


def _of_image(file: IO[bytes]) -> dict[str, Any]:
    head = file.read(_HEAD)
    if head[128:132] == b"DICM":
        found = _of_dicom(head)
        # A long header, or one that is deflated, can only be read whole.
        return found if found.get("rows") or len(head) < _HEAD else _of_dicom(head + file.read())
    file.seek(0)
    with _quiet():
        try:
            with Image.open(file) as picture:  # reads the header alone
                columns, rows = picture.size
                return {
                    "rows": rows,
                    "columns": columns,
                    "bits": _BITS.get(picture.mode.split(";")[0] if picture.mode != "I;16" else "I;16"),
                    "channels": len(picture.getbands()),
                    "form": picture.format or "unknown",
                    "photometric": picture.mode,
                }
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return {}


def _of_dicom(head: bytes) -> dict[str, Any]:
    with _quiet():
        try:
            header = pydicom.dcmread(BytesIO(head), stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
        except Exception:  # damaged bytes raise nearly anything
            return {}
        found: dict[str, Any] = {}
        for name, keyword in (("rows", "Rows"), ("columns", "Columns"), ("bits", "BitsStored"),
                              ("channels", "SamplesPerPixel")):  # fmt: skip
            found[name] = _number(header, keyword)
        for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
            spacing = _numbers(header, keyword)
            if len(spacing) == 2:
                found["row_spacing_mm"], found["column_spacing_mm"] = spacing
                break
        try:
            found["photometric"] = str(header.get("PhotometricInterpretation") or "unknown")
            found["form"] = str(header.file_meta.get("TransferSyntaxUID") or "unknown")
        except Exception:
            return found
    return found


def _number(header: pydicom.Dataset, keyword: str) -> float | None:
    numbers = _numbers(header, keyword)
    return numbers[0] if numbers else None


def _numbers(header: pydicom.Dataset, keyword: str) -> list[float]:
    try:
        value = header.get(keyword)
        if value is None or value == "":
            return []
        return [float(part) for part in (value if isinstance(value, MultiValue) else [value])]
    except Exception:  # this value is damaged; the others may be used
        return []


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        yield
