"""The grey values of a PNG, JPEG or TIFF file, once its size is found to be that of an image."""

import struct

import cv2
import numpy as np

from midrc_ml.images.dicom_pixels import MAX_PIXELS, TOO_MANY_PIXELS
from midrc_ml.images.files import ImageError
from midrc_ml.images.streams import stream_size

_PNG_START = b"\x89PNG\r\n\x1a\n"
_TIFF_STARTS = {b"II*\0": "<", b"MM\0*": ">"}
_WIDTH, _LENGTH, _PHOTOMETRIC = 256, 257, 262  # TIFF 6.0, section 8
_WHITE_IS_ZERO = 0


def read_picture(content: bytes) -> np.ndarray | None:
    """(row, column) as stored, without a camera's turning; None where it is no picture that can be decoded.

    Raises:
        ImageError: of several pages, larger than what is read, or with white as 0 where that cannot be turned round.
    """
    is_white_zero = False
    size = (0, 0)
    if content[:4] in _TIFF_STARTS:
        tags, has_more = _first_directory(content)
        if has_more:
            raise ImageError("a TIFF file of several pages; a radiograph has one")
        size = tags.get(_LENGTH, 0), tags.get(_WIDTH, 0)
        is_white_zero = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    elif content.startswith(_PNG_START) and len(content) >= 24:
        columns, rows = struct.unpack_from(">2L", content, 16)
        size = rows, columns
    else:
        size = (stream_size(content) or (0, 0, 0))[:2]
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(TOO_MANY_PIXELS)
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    picture: np.ndarray | None = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if picture is None or not is_white_zero or picture.dtype == np.uint8:  # of 8 bits OpenCV turns it round itself
        return picture
    if picture.dtype != np.uint16:
        raise ImageError("a TIFF file where 0 is white, of another type than 8 or 16 bits; save it with 0 as black")
    return np.iinfo(np.uint16).max - picture


def _first_directory(content: bytes) -> tuple[dict[int, int], bool]:
    """Numbers by tag of the first directory of a TIFF file, and whether another follows (TIFF 6.0, section 2)."""
    order = _TIFF_STARTS[content[:4]]
    (first,) = struct.unpack_from(f"{order}L", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, first)
    tags = {}
    for position in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}2H", content, position)
        if kind in (3, 4):  # SHORT, LONG
            (tags[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'L'}", content, position + 8)
    (following,) = struct.unpack_from(f"{order}L", content, first + 2 + 12 * count)
    return tags, bool(following)
