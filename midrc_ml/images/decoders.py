"""Encoded frames to samples: for each transfer syntax the decoders that read it, the fastest correct one first.

Which is fastest was measured on films of 3000 x 2500 pixels (`tests/speed/decoders.py`); all of a lossless syntax
agree bit for bit (`tests/images/test_decoders.py`). Names of transfer syntaxes: PS3.6 table A-1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from midrc_ml.processes import num_threads


@dataclass(frozen=True)
class Facts:
    """What the header says of a frame; the decoders need no more of it."""

    syntax: UID
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    in_bytes: bool = False  # uncompressed, and written as OB


@dataclass(frozen=True)
class Decoder:
    """One way to decode a frame. name: the package, and its function where it has several. module: to import."""

    name: str
    module: str
    decode: Callable[[Any, bytes, Facts], np.ndarray]


def _native(_: Any, frame: bytes, facts: Facts) -> np.ndarray:
    order = "<" if facts.syntax.is_little_endian else ">"
    kind = np.dtype(f"{order}u{facts.bits_allocated // 8}")
    count = facts.rows * facts.columns
    if order == ">" and facts.bits_allocated == 8 and not facts.in_bytes:
        # PS3.5 8.1.1: 8-bit samples as 16-bit words (OW), of which the second byte comes first.
        words = np.frombuffer(frame, np.uint8, count + count % 2)
        return words.reshape(-1, 2)[:, ::-1].reshape(-1)[:count].reshape(facts.rows, facts.columns)
    return np.frombuffer(frame, kind, count).reshape(facts.rows, facts.columns)


def _rle(rle: Any, frame: bytes, facts: Facts) -> np.ndarray:
    decoded = rle.decode_frame(frame, facts.rows * facts.columns, facts.bits_allocated, "<")
    return np.frombuffer(decoded, f"<u{facts.bits_allocated // 8}").reshape(facts.rows, facts.columns)


def _jpeg2k(imagecodecs: Any, frame: bytes, _: Facts) -> np.ndarray:
    return imagecodecs.jpeg2k_decode(frame, numthreads=num_threads())


def _openjpeg(openjpeg: Any, frame: bytes, _: Facts) -> np.ndarray:
    return openjpeg.decode(frame)


def _gdcm(_: Any, frame: bytes, facts: Facts) -> np.ndarray:
    # Through pydicom, which knows the ways of this package.
    options: Any = {
        "decoding_plugin": "gdcm",
        "transfer_syntax_uid": facts.syntax,
        "rows": facts.rows,
        "columns": facts.columns,
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": facts.bits_allocated,
        "bits_stored": facts.bits_stored,
        "pixel_representation": int(facts.signed),
        "pixel_keyword": "PixelData",
    }
    pixels, _ = get_decoder(facts.syntax).as_array(encapsulate([frame]), raw=True, **options)
    return pixels


def _imagecodecs(function: str) -> Decoder:
    return Decoder(
        f"imagecodecs.{function}", "imagecodecs", lambda codecs, frame, _: getattr(codecs, f"{function}_decode")(frame)
    )


GDCM = Decoder("gdcm", "gdcm", _gdcm)
_OPENJPEG = Decoder("pylibjpeg-openjpeg", "openjpeg", _openjpeg)
NATIVE = Decoder("numpy", "numpy", _native)

_UNCOMPRESSED = (NATIVE,)
_RLE = (Decoder("pylibjpeg-rle", "rle.utils", _rle),)  # pydicom's own cuts a stream of too many rows to the header's
_JPEG_LOSSY = (_imagecodecs("jpeg"), GDCM)
_JPEG_RETIRED = (_imagecodecs("jpeg"),)  # pydicom has no way to give these to gdcm
# Not imagecodecs.jpegsof3, which reads on where the others stop at a damaged stream.
_JPEG_LOSSLESS = (_imagecodecs("jpeg"), GDCM)
_JPEG_LS = (_imagecodecs("jpegls"), GDCM)
_JPEG_2000 = (Decoder("imagecodecs.jpeg2k", "imagecodecs", _jpeg2k), _OPENJPEG, GDCM)
_HTJ2K = (_imagecodecs("htj2k"), _OPENJPEG)

DECODERS: dict[str, tuple[Decoder, ...]] = {
    "1.2.840.10008.1.2": _UNCOMPRESSED,  # Implicit VR Little Endian
    "1.2.840.10008.1.2.1": _UNCOMPRESSED,  # Explicit VR Little Endian
    "1.2.840.10008.1.2.1.99": _UNCOMPRESSED,  # Deflated: unpacked with the header
    "1.2.840.10008.1.2.2": _UNCOMPRESSED,  # Explicit VR Big Endian
    "1.2.840.10008.1.2.5": _RLE,
    "1.2.840.10008.1.2.4.50": _JPEG_LOSSY,  # JPEG Baseline, 8 bits
    "1.2.840.10008.1.2.4.51": _JPEG_LOSSY,  # JPEG Extended, 8 and 12 bits
    "1.2.840.10008.1.2.4.53": _JPEG_RETIRED,  # Spectral Selection
    "1.2.840.10008.1.2.4.55": _JPEG_RETIRED,  # Full Progression
    "1.2.840.10008.1.2.4.57": _JPEG_LOSSLESS,  # JPEG Lossless
    "1.2.840.10008.1.2.4.70": _JPEG_LOSSLESS,  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": _JPEG_LS,
    "1.2.840.10008.1.2.4.81": _JPEG_LS,  # near-lossless
    "1.2.840.10008.1.2.4.90": _JPEG_2000,  # lossless only
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
    "1.2.840.10008.1.2.4.201": _HTJ2K,  # lossless only
    "1.2.840.10008.1.2.4.202": _HTJ2K,  # lossless only, resolutions first
    "1.2.840.10008.1.2.4.203": _HTJ2K,
}
# Of these a whole stream ends with the marker FFD9: of JPEG, JPEG-LS and JPEG 2000 alike.
ENDED_SYNTAXES = frozenset(uid for uid, decoders in DECODERS.items() if decoders not in (_UNCOMPRESSED, _RLE))
LOSSY_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in ("50", "51", "53", "55", "81", "91", "203"))
HTJ2K_SYNTAXES = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in ("201", "202", "203"))
