"""What a JPEG, JPEG-LS or JPEG 2000 stream says of itself, and where it is damaged though a decoder reads it.

Decoders read on over much of the damage: libjpeg fills up with grey, OpenJPEG and OpenJPH lose a part of the image.
What can be told without decoding twice is told here. Bits that were changed, or lost, within the entropy-coded data of
a lossless JPEG are seen by no decoder, and not here either.
"""

import struct
from importlib import import_module

import numpy as np

_JPEG = b"\xff\xd8"
_JPEG2000 = b"\xff\x4f\xff\x51"  # start of a codestream and of its SIZ segment, ISO 15444-1 A.5.1
_TILE_PART = b"\xff\x90\x00\x0a"  # SOT and its length, ISO 15444-1 A.4.2
_END = b"\xff\xd9"
_NOT_A_FRAME = (0xC4, 0xC8, 0xCC)  # of the markers C0..CF, those that start no frame (ISO 10918-1 table B.1)
_JPEG_LS_FRAME = 0xF7
_LOSSLESS_FRAME = 0xC3
_HEAD = 4096
_BLOCK = 8  # rows of a block of the discrete cosine transform


def stream_size(frame: bytes) -> tuple[int, int, int] | None:
    """Rows (0: given later), columns and samples that a stream says of itself; None where it does not.

    A decoder takes memory for what the stream says: one wrong byte can claim 16 GiB.
    """
    start = _codestream(frame)
    if start >= 0 and len(frame) >= start + 42:
        right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
        (samples,) = struct.unpack_from(">H", frame, start + 40)
        return bottom - top, right - left, samples
    found = _jpeg_frame(frame)
    if found is None:
        return None
    _, _, rows, columns, samples = found
    return rows, columns, samples  # ISO 10918-1 B.2.5: 0 rows are given later, by a DNL segment


def is_broken(frame: bytes) -> bool:
    """Whether the tile parts of a JPEG 2000 codestream do not follow each other to its end (ISO 15444-1 A.4.2)."""
    start = _codestream(frame)
    if start < 0:
        return False
    position = frame.find(_TILE_PART, start)
    while position >= 0 and frame.startswith(_TILE_PART, position) and len(frame) >= position + 10:
        (length,) = struct.unpack_from(">L", frame, position + 6)
        if not length:  # the last one, which reaches to the end
            return False
        position += length
    return position < 0 or not frame.startswith(_END, position)


def is_filled_up(frame: bytes, samples: np.ndarray) -> bool:
    """Whether the decoder of a JPEG came to the end of the data before that of the image, and filled up the rest.

    What is filled up is the middle of the range. A lossless stream of which the last row is so is decoded once more,
    by a decoder that refuses what is cut off; of a lossy one no whole row of blocks has one value by itself.
    """
    found = _jpeg_frame(frame)
    if found is None or found[0] == _JPEG_LS_FRAME:
        return False
    marker, precision = found[:2]
    middle = 1 << (precision - 1)
    is_lossless = marker == _LOSSLESS_FRAME
    rows = 1 if is_lossless else min(_BLOCK, len(samples))
    if not (samples[-rows:] == middle).all():
        return False
    if not is_lossless:
        return True
    try:
        import_module("imagecodecs").ljpeg_decode(frame)
    except ImportError:
        return True
    except RuntimeError:  # imagecodecs' errors
        return True
    return False


def _codestream(frame: bytes) -> int:
    """Where a JPEG 2000 codestream starts; -1 = there is none."""
    return -1 if frame.startswith(_JPEG) else frame[:_HEAD].find(_JPEG2000)


def _jpeg_frame(frame: bytes) -> tuple[int, int, int, int, int] | None:
    """Marker, precision, rows, columns and samples of a JPEG or JPEG-LS frame header, ISO 10918-1 B.2.2."""
    if not frame.startswith(_JPEG):
        return None
    position = 2
    while position + 10 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == _JPEG_LS_FRAME or (0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME):
            precision, rows, columns, samples = struct.unpack_from(">BHHB", frame, position + 4)
            return marker, precision, rows, columns, samples
        position += 2 + struct.unpack_from(">H", frame, position + 2)[0]
    return None
