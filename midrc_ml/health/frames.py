"""A frame of 16 x 16 pixels in every encapsulated transfer syntax, so that decoding is tried and not only importing.

Written by imagecodecs 2026.3.6 (libjpeg-turbo, CharLS, OpenJPEG, OpenJPH) and, where it has no encoder, by cjpeg of
libjpeg-turbo 2.1.5; the call stands above each. `tests/health/test_doctor_frames.py` decodes them with others.
"""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from midrc_ml.images.decoders import Facts

# (row, column), 12 bits: no two pixels are equal, so that nothing swapped, shifted or transposed goes unseen.
FRAME = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
_EIGHT_BITS = ("50", "53", "55")
# How far the encoder itself was from the frame: it is lossy.
_TOLERANCE = {"50": 1, "51": 1, "53": 1, "55": 1, "81": 2, "91": 16, "203": 16}
# By the last number of the transfer syntax.
_STREAMS = {
    # imagecodecs.jpeg_encode(FRAME // 16, 100, optimize=True)
    "50": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
        "AQEBAQEBAQH/wAALCAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABwr/xAAbEAAABwEAAAAAAAAAAAAAAAAABQklMkRR4v/aAAgBAQAA"
        "PwCdstTbiwZW5CAWptxYMrci8AtTbiwZW5CAWptxYMrcj//Z"
    ),
    # imagecodecs.jpeg_encode(FRAME, 100, bitspersample=12, optimize=True)
    "51": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
        "AQEBAQEBAQH/wQALDAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAACw7/xAAcEAAABgMAAAAAAAAAAAAAAAAACQ0pNUhUZnL/2gAIAQEA"
        "AD8Anb8ttNxoBhfGrbxrQQALbTcaAYXxq28a0LwALbTcaAYXxq28a0EAC203GgGF8atvGtD/2Q=="
    ),
    # cjpeg 2.1.5 -quality 100 -scans '0: 0-0, 0, 0; 0: 1-63, 0, 0;'
    "53": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
        "AQEBAQEBAQH/wgALCAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABwr/2gAIAQEAAAAAnbQLwED/xAAbEAAABwEAAAAAAAAAAAAAAAAA"
        "BQklMkRR4v/aAAgBAQABPwAtTbiwZW5Bam3FgytyC1NuLBlbkFqbcWDK3I//2Q=="
    ),
    # cjpeg 2.1.5 -quality 100 -scans '0: 0-0, 0, 1; 0: 1-63, 0, 1; 0: 0-0, 1, 0; 0: 1-63, 1, 0;'
    "55": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
        "AQEBAQEBAQH/wgALCAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABgn/2gAIAQEAAAABnagvAg//xAAaEAAABwAAAAAAAAAAAAAAAAAA"
        "BAgkMaPh/9oACAEBAAE/ASybYYV4CybYYV4CybYYV4CybYYV4P/aAAgBAQAAABAP/8QAFRABAQAAAAAAAAAAAAAAAAAAAKH/2gAIAQEAAT8Q"
        "gqCoKgr/2Q=="
    ),
    # imagecodecs.jpeg_encode(FRAME, lossless=True, predictor=6, bitspersample=12)
    "57": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALDAAQABABAREA/8QAFwABAQEBAAAAAAAAAAAAAAAACAUJDP/aAAgBAQAGAADn/wChQoUKFChQoUKF"
        "ChQoaAIBAIBAIBAIBAIBAIBAIBAIDQBAIBAIBAIBAIBAIBAIBAIBAaAIBAIBAIBAIBAIBAIBAIBAIDQBAIBAIBAIBAIBAIBAIBAIBAaAIBAI"
        "BAIBAIBAIBAIBAIBAIDQBAIBAIBAIBAIBAIBAIBAIBAaAIBAIBAIBAIBAIBAIBAIBAIDQBAIBAIBAIBAIBAIBAIBAIBAaAIBAIBAIBAIBAIB"
        "AIBAIBAIDQBAIBAIBAIBAIBAIBAIBAIBAaAIBAIBAIBAIBAIBAIBAIBAIDQBAIBAIBAIBAIBAIBAIBAIBAaAIBAIBAIBAIBAIBAIBAIBAIDQ"
        "BAIBAIBAIBAIBAIBAIBAIBAaAIBAIBAIBAIBAIBAIBAIBAID/9k="
    ),
    # imagecodecs.jpeg_encode(FRAME, lossless=True, predictor=1, bitspersample=12)
    "70": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALDAAQABABAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABQkM/9oACAEBAAEAAM/+gggggggggggggghQ"
        "BBBBBBBBBBBBBBBCgCCCCCCCCCCCCCCCFAEEEEEEEEEEEEEEEKAIIIIIIIIIIIIIIIUAQQQQQQQQQQQQQQQoAgggggggggggggghQBBBBBBB"
        "BBBBBBBBCgCCCCCCCCCCCCCCCFAEEEEEEEEEEEEEEEKAIIIIIIIIIIIIIIIUAQQQQQQQQQQQQQQQoAgggggggggggggghQBBBBBBBBBBBBBB"
        "BCgCCCCCCCCCCCCCCCFAEEEEEEEEEEEEEEEP/9k="
    ),
    # imagecodecs.jpegls_encode(FRAME)
    "80": (
        "/9j/6AAgU1BJRkYAAgAAAQAAABAAAAAQChAGAQAAASwAAAEs/+gACAAAAAH/2P/3AAsQABAAEAEBEQD/+AANAf//ABIAQwEUAED/2gAIAQEA"
        "AAAAoPwfg/B2G4PwdhuGYvFYnEY+NwBCCD0OQ1GItFIlIR0ZGRUVCDAERERERGjRo0aNEiRIkHr/IkSJEiRIkSFCiiiihz/Ioooooooooooo"
        "ooa/qKKKKKKKKKKKKKCMfxBCEIQhCEIQhCLftCEIQhCEIQhCEU/SEIQhEREREREvyiIiIiIiIiJD8IiIiIiJJJHfdJJJJJJJGfZJJJJJJUZ9"
        "VVVVVRX0VVVVVFfNX/8I/9k="
    ),
    # imagecodecs.jpegls_encode(FRAME, level=2)
    "81": (
        "/9j/6AAgU1BJRkYAAgAAAQAAABAAAAAQChAGAQAAASwAAAEs/+gACAAAAAH/2P/3AAsQABAAEAEBEQD/+AANAf//ABgATQEiAED/2gAIAQEA"
        "AgAAoLBYPCwcHhYOLDixwxw2aDQ0NGiRJJJIopIoIRZpSlCUoShKEoShuaUKiKiIqIiIbmioiIqIiKiI3NERURJpJJE5JJJJJJJInJJJJJJV"
        "SclVVVVSclVVVVk5P/9Fxf9+Li//cjF//wmL/3xMX/9k/9k="
    ),
    # imagecodecs.jpeg2k_encode(FRAME, level=0, reversible=True, codecformat='j2k', bitspersample=12, resolutions=2)
    "90": (
        "/0//UQApAAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABCwEB/1IADAAAAAEAAQQEAAH/XAAHQGBoaHD/ZAAlAAFDcmVhdGVk"
        "IGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABeAAH/k9/g9BIrAwsLE+S5L4U/OFCLF3Xs/uu7v5kK41dJijMPeCQK4ToLNdAH"
        "+QBsRY8PBFqgRlGN7gnTuodlVO+c/Z/AHzhIPzBQNqGZzz2mNGDP/9k="
    ),
    # imagecodecs.jpeg2k_encode(FRAME, level=60, codecformat='j2k', bitspersample=12, resolutions=2)
    "91": (
        "/0//UQApAAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABCwEB/1IADgECAAEAAQQEAACIiP9cAAtCaCR303fTd2L/ZAAlAAFD"
        "cmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABbAAH/k8+w0BDcQjzmV0PjwMlgHFEhmCG+drQzpg2vck/slq6B88Wr"
        "DIg96CMPm+b0Z8ndKVlDe/MBS8zABHAfGNA2oX49pi1lYRmDbcDtwoAH/9k="
    ),
    # imagecodecs.htj2k_encode(FRAME, reversible=True, resolutions=2)
    "201": (
        "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAIEBEAB/1wACiCIkJCQiIiI"
        "/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAHoAAf+TwAAuoP9//3f/fv9d/3v/W7f52+z/b9/mf+9f5n/3d7nN3VT+APWXQgAx"
        "uADAABUQAAVghmEYqnCCdQB+9MMPP/7AUoHstgDAACsgABaQ7u7u7ufAp6enwngA/v39/f39/f39jGB79jGB7LoA/9k="
    ),
    # imagecodecs.htj2k_encode(FRAME, level=0.0001, resolutions=2)
    "203": (
        "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAAJ/9SAAwAAgABAAIEBEAA/1wAESKEuIUhhSGF"
        "jXz2fPZ8mf9kABcAAU9wZW5KUEggVmVyIDAuMjYuMy7/kAAKAAAAAACOAAH/k8AAXTjNn97Nxs+9TdAnZrPu2dYEXGYjfy3nInOWk8iHZRry"
        "APWXQgAxuADAAFXAAFqgREAgAuAAkt5TFgAYYIABBjMgMyAzIDMgAxgAxyTQuADAAKiAAW+AAOfU9PTydwAQAAAAGmFD2AiNsBEaYSM0wh9A"
        "hAp0whApu1rVaj4A/9k="
    ),
}
_STREAMS["202"] = _STREAMS["201"]  # its packets are in the order of .202, which .201 allows too


def trial_file(syntax: str) -> bytes:
    """A DICOM file with `FRAME` in this transfer syntax.

    Raises:
        LookupError: no frame of this syntax is at hand.
    """
    number = _number(syntax)
    bits = 8 if number in _EIGHT_BITS else 12
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = UID("2.25.1")
    data.Rows, data.Columns = FRAME.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 if bits == 8 else 16, bits, bits - 1
    if UID(syntax).is_encapsulated:
        data.PixelData = encapsulate([trial_frame(syntax)])
        data["PixelData"].VR = "OB"
    else:
        data.PixelData = FRAME.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
        data["PixelData"].VR = "OW"
    stream = BytesIO()
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(stream, data, enforce_file_format=True, little_endian=little, implicit_vr=implicit)
    return stream.getvalue()


def trial_frame(syntax: str) -> bytes:
    """The stream of `FRAME` in an encapsulated transfer syntax.

    Raises:
        LookupError: none is at hand.
    """
    if syntax == RLELossless:
        return _run_length_encoded(FRAME)
    return b64decode("".join(_STREAMS[_number(syntax)]))


def trial_facts(syntax: str) -> Facts:
    """What the header of `trial_file` says."""
    bits = 8 if _number(syntax) in _EIGHT_BITS else 12
    rows, columns = FRAME.shape
    return Facts(UID(syntax), rows, columns, 8 if bits == 8 else 16, bits, bits - 1, False)


def is_right(samples: np.ndarray, syntax: str) -> bool:
    """Whether these are the samples of `FRAME`, exactly where the syntax or its encoder lost nothing."""
    number = _number(syntax)
    expected = FRAME // 16 if number in _EIGHT_BITS else FRAME
    if samples.shape != expected.shape:
        return False
    away = np.abs(samples.astype(np.int64) - expected.astype(np.int64)).max()
    return bool(away <= _TOLERANCE.get(number, 0))


def _number(syntax: str) -> str:
    return syntax.rpartition(".")[2] if syntax.startswith("1.2.840.10008.1.2.4.") else ""


def _run_length_encoded(pixels: np.ndarray) -> bytes:
    """PS3.5 annex G, every run a literal one: the high bytes, then the low ones."""
    literal = [pixels.astype(">u2").tobytes()[first::2] for first in (0, 1)]
    segments = [b"".join(bytes([len(part) - 1]) + part for part in (bytes_[:128], bytes_[128:])) for bytes_ in literal]
    offsets = [2, 64, 64 + len(segments[0])]
    header = b"".join(number.to_bytes(4, "little") for number in offsets).ljust(64, b"\0")
    return header + b"".join(segments)
