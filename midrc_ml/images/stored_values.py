"""From a decoder's samples to stored values (PS3.5 8.1), and the checks that tell values that cannot be."""

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from midrc_ml.images.decoders import LOSSY_SYNTAXES, Facts
from midrc_ml.images.files import ImageError

_BEYOND = "pixels cannot be decoded (values above what BitsStored can hold: the header is wrong)"
_ROWS_FROM = 256  # rows and columns from which neighbouring rows are compared
_ROWS_APART = 8.0


def stored_values(samples: np.ndarray, facts: Facts, header: Dataset) -> np.ndarray:
    """PS3.5 8.1: `bits_stored` bits below `high_bit`, the highest of them the sign where the header says so."""
    bits = facts.bits_stored
    native = not facts.syntax.is_encapsulated
    unsigned = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if unsigned.itemsize * 8 < bits:  # a stream of fewer bits: the sign is where the header says
        unsigned = unsigned.astype(f"{unsigned.dtype.kind}{facts.bits_allocated // 8}")
    if unsigned.dtype.kind == "i":
        unsigned = unsigned.view(f"u{unsigned.itemsize}")
    if unsigned.dtype.kind != "u":
        raise ImageError("pixels cannot be decoded (the decoder gives no whole numbers)")
    if native and facts.high_bit > bits - 1:
        unsigned = unsigned >> (facts.high_bit - bits + 1)
    width = unsigned.itemsize * 8
    if facts.signed:
        return _signed(unsigned, facts, header)
    if bits >= width or not unsigned.size or int(unsigned.max()) < 1 << bits:
        return unsigned
    if native and _has_embedded_overlay(header):
        return unsigned & unsigned.dtype.type((1 << bits) - 1)
    if facts.syntax in LOSSY_SYNTAXES:  # a lossy stream of more bits overshoots
        return np.minimum(unsigned, unsigned.dtype.type((1 << bits) - 1))
    above = unsigned[unsigned >= 1 << bits]
    if (above == _padding(header, width)).all():
        return unsigned
    raise ImageError(_BEYOND)


def _signed(unsigned: np.ndarray, facts: Facts, header: Dataset) -> np.ndarray:
    """The sign of each value from its own bit: the bits above may repeat it, or hold nothing, or an overlay."""
    bits, width = facts.bits_stored, unsigned.itemsize * 8
    whole = unsigned.view(f"i{unsigned.itemsize}")
    if bits >= width:
        return whole
    signed = np.left_shift(whole, width - bits) >> (width - bits)
    differs = signed != whole
    if facts.syntax.is_encapsulated or not differs.any() or _has_embedded_overlay(header):
        return signed
    is_padding = unsigned == _padding(header, width)
    beyond = differs & ~is_padding
    # Where the sign is repeated in one value, it is in all: then the others are too large for BitsStored.
    if (beyond & (unsigned >= 1 << bits)).any() or (beyond.any() and ((whole < 0) & ~differs).any()):
        raise ImageError(_BEYOND)
    return np.where(is_padding, whole, signed) if (differs & is_padding).any() else signed


def padding_limits(given: Sequence[object], kinds: np.iinfo) -> list[int]:
    """PixelPaddingValue and PixelPaddingRangeLimit as stored values: some write them with the other sign."""
    limits = [int(str(value)) for value in given if value not in (None, "")]
    if kinds.min < 0:
        return [limit - (1 << kinds.bits) if limit > kinds.max else limit for limit in limits]
    return [limit + (1 << kinds.bits) if limit < 0 else limit for limit in limits]


def _padding(header: Dataset, width: int) -> int:
    """PixelPaddingValue as it stands in so many bits; -1 where there is none."""
    padding = header.get("PixelPaddingValue")
    return -1 if padding in (None, "") else int(padding) % (1 << width)


def _has_embedded_overlay(header: Dataset) -> bool:
    """Whether the unused bits of the pixels hold an overlay, as was allowed before 2004 (60xx,0102)."""
    positions = (header.get((group, 0x0102)) for group in range(0x6000, 0x6020, 2))
    return any(position is not None and bool(position.value) for position in positions)


def check_rows(stored: np.ndarray) -> None:
    """Refuse an image of which a row does not look like the one above: Rows and Columns are not what they were."""
    rows, columns = stored.shape
    if min(rows, columns) < _ROWS_FROM:
        return
    some = stored[:: max(1, rows // 64)][:-1]
    below = stored[1 :: max(1, rows // 64)][: len(some)]
    some, below = some[: len(below)].astype(np.float32), below.astype(np.float32)
    down = np.abs(below - some).mean()
    across = np.abs(np.diff(some, axis=1)).mean()
    if across > 0 and down > _ROWS_APART * across:
        raise ImageError("pixels cannot be decoded (rows do not continue each other: Rows or Columns is wrong)")
