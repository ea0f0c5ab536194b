"""One radiograph from its bytes: DICOM CR or DX, 2-D NIfTI, or a grey picture.

axes: row, column, as stored. Values: high = dense (white on the film), after the modality LUT.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import JPEG2000TransferSyntaxes

from midrc_ml.images.files import ImageError, Member
from midrc_ml.images.nifti import is_nifti, read_nifti

MAX_PIXELS = 1 << 28  # ten times the largest radiograph
_JPEG2000_SIZE = b"\xff\x4f\xff\x51"  # start of a codestream and of its SIZ segment, ISO 15444-1 A.5.1
_ZIP_START = b"PK\x03\x04"
_HTML_STARTS = (b"<!doctype", b"<html", b"<?xml")
# What pydicom, its decoders and OpenCV raise on damaged bytes.
_DAMAGED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
    BytesLengthException,
    InvalidDicomError,
    cv2.error,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class Radiograph:
    """pixels: (row, column), uint16 or float32, high = dense. window: (low, high) of the file's own, if it has one."""

    pixels: np.ndarray
    sop_uid: str = ""
    series_uid: str = ""
    instance_number: int = 0
    window: tuple[float, float] | None = None


def read_radiograph(member: Member) -> Radiograph:
    """The radiograph in `member`: DICOM by its content, NIfTI by its name, anything else as a picture.

    Raises:
        ImageError: not an image, damaged, or of a kind that is not read here, with the reason.
    """
    is_dicom = member.content[128:132] == b"DICM" or member.name.lower().endswith(".dcm")
    kind = "DICOM file" if is_dicom else "NIfTI file" if is_nifti(member.name) else "picture"
    try:
        if kind == "NIfTI file":
            return Radiograph(read_nifti(member.content, max_pixels=MAX_PIXELS))
        return _read_dicom(member.content) if is_dicom else _read_picture(member.content)
    except ImageError:
        raise
    except _DAMAGED as error:
        raise ImageError(_what_it_is(member.content) or f"not a readable {kind} ({_short(error)})") from error


def _read_picture(content: bytes) -> Radiograph:
    # As stored: a camera's note on how to turn the picture is not part of a film.
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if picture is None:
        raise ImageError(_what_it_is(content) or "neither DICOM nor a picture that can be decoded")
    return Radiograph(_wide(picture))


def _read_dicom(content: bytes) -> Radiograph:
    data = pydicom.dcmread(BytesIO(content))
    if "PixelData" not in data:
        raise ImageError("a DICOM file without PixelData (cut off, or not an image)")
    photometric = str(data.get("PhotometricInterpretation", ""))
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(
            f"PhotometricInterpretation is {photometric or 'absent'}; a radiograph is MONOCHROME1 or MONOCHROME2"
        )
    stored = _stored(data)
    if stored.ndim != 2:
        raise ImageError(f"{stored.ndim}-dimensional pixel data; a radiograph has one frame")
    # PS3.4 N.2: modality LUT, then VOI LUT, then presentation.
    pixels = apply_modality_lut(stored, data)
    window = None
    if data.get("VOILUTSequence"):
        descriptor = data.VOILUTSequence[0].LUTDescriptor
        if descriptor[2] == 8:
            descriptor[2] = 16  # pydicom 3.0 looks up in the entries' own type: in 8 bits, past entry 255 it wraps
        pixels = apply_voi_lut(pixels, data)
    elif str(data.get("VOILUTFunction", "LINEAR")) == "SIGMOID":
        pixels = apply_voi_lut(pixels, data)
    else:
        window = _window(data)
    # PS3.3 C.7.6.3.1.2 and C.11.6.1.1: both say that the lowest value is shown white; they are one inversion, not two.
    if photometric == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE":
        pixels, window = _inverted(pixels, stored, data, window)
    return Radiograph(
        pixels=_wide(pixels),
        sop_uid=str(data.get("SOPInstanceUID", "")),
        series_uid=str(data.get("SeriesInstanceUID", "")),
        instance_number=int(data.get("InstanceNumber") or 0),
        window=window,
    )


def _check_size(data: Dataset) -> None:
    """Refuse a damaged size before a decoder takes memory for it: one wrong byte in a header can claim 16 GiB."""
    rows, columns = int(data.Rows), int(data.Columns)
    if rows * columns * int(data.get("NumberOfFrames") or 1) > MAX_PIXELS:
        raise ImageError("the header claims more pixels than a radiograph has")
    start = data.PixelData[:4096].find(_JPEG2000_SIZE)
    if data.file_meta.get("TransferSyntaxUID") in JPEG2000TransferSyntaxes and start >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", data.PixelData, start + 8)
        (samples,) = struct.unpack_from(">H", data.PixelData, start + 40)
        if (bottom - top, right - left, samples) != (rows, columns, 1):
            raise ImageError("pixels cannot be decoded (the JPEG 2000 stream is not of the size that the header gives)")


def _stored(data: Dataset) -> np.ndarray:
    try:
        _check_size(data)
        return data.pixel_array
    except ImageError:
        raise
    except _DAMAGED as error:
        if "missing dependencies" in str(error):
            raise ImageError(f"no decoder is installed for {data.file_meta.TransferSyntaxUID.name}") from error
        raise ImageError(f"pixels cannot be decoded ({_short(error)})") from error
    except BaseException as error:
        # pylibjpeg-rle panics in Rust on a damaged stream: no Exception, and of a type that cannot be imported.
        if type(error).__name__ == "PanicException":
            raise ImageError("pixels cannot be decoded (a damaged RLE stream)") from error
        raise


def _wide(pixels: np.ndarray) -> np.ndarray:
    """uint16 as it is, anything else as float32: an area mean of 8-bit values would be rounded to 8 bits."""
    return pixels if pixels.dtype == np.uint16 else pixels.astype(np.float32)


def _inverted(
    pixels: np.ndarray, stored: np.ndarray, data: Dataset, window: tuple[float, float] | None
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Values mirrored within their range, so that high becomes low."""
    if pixels is stored and stored.dtype == np.uint16:
        top: float = 2 ** int(data.get("BitsStored", 16)) - 1
        mirrored = (int(top) - np.minimum(stored, int(top))).astype(np.uint16)
    else:
        top = float(pixels.max()) + float(pixels.min())
        mirrored = top - pixels.astype(np.float32)
    return mirrored, None if window is None else (top - window[1], top - window[0])


def _window(data: Dataset) -> tuple[float, float] | None:
    """PS3.3 C.11.2.1.2: the first of the windows, as the values shown black and white."""
    center, width = data.get("WindowCenter"), data.get("WindowWidth")
    if center in (None, "") or width in (None, ""):
        return None
    first_center = float(center[0] if isinstance(center, pydicom.multival.MultiValue) else center)
    first_width = float(width[0] if isinstance(width, pydicom.multival.MultiValue) else width)
    if first_width <= 0:
        return None
    # LINEAR counts grey levels, the white one included; LINEAR_EXACT does not.
    last = 0 if str(data.get("VOILUTFunction", "LINEAR")) == "LINEAR_EXACT" else 1
    return first_center - first_width / 2, first_center + first_width / 2 - last


def _what_it_is(content: bytes) -> str | None:
    if content.lstrip()[:9].lower().startswith(_HTML_STARTS):
        return "a web page, not an image (a failed download saved under this name; download it again)"
    if content.startswith(_ZIP_START):
        return "a ZIP inside of another, which is not opened; unpack it"
    return "an empty file" if not content else None


def _short(error: Exception) -> str:
    """The error's own words without the value or the position, so that equal faults are counted together."""
    words = re.split(r"\. |: '| \(\d+ | at file position|\n", str(error))[0].rstrip(":.")[:200]
    return words or type(error).__name__
