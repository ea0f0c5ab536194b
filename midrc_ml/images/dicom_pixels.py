"""The stored values of one DICOM image, and the checks that tell a wrong decoding from a right one.

A decoder that reads on over a damaged stream gives an image that nobody asked for. What can be told from the outside
is checked here: sizes, the end of the stream, values beyond the header's bits, rows that do not continue each other.
"""

import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from io import BytesIO

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from midrc_ml.images.decoders import DECODERS, ENDED_SYNTAXES, GDCM, LOSSY_SYNTAXES, NATIVE, Facts
from midrc_ml.images.dicom_head import IMPLICIT, OddError, raw_elements
from midrc_ml.images.files import ImageError

MAX_PIXELS = 1 << 28  # ten times the largest radiograph
_PIXEL_DATA = (0x7FE0, 0x0010)
_UNDEFINED = 0xFFFFFFFF
_NEEDED = ("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
_OF_PIXELS = (*_NEEDED, "PhotometricInterpretation", "NumberOfFrames", "HighBit")
_OVERLAYS = {0x60000102 + (group << 16): b"US" for group in range(0, 32, 2)}  # OverlayBitPosition
_BITS_ALLOCATED = (8, 16, 32)
_END_OF_IMAGE = b"\xff\xd9"
_END_WITHIN = 64  # bytes: padding, and what some writers leave behind the marker
_JPEG2000_SIZE = b"\xff\x4f\xff\x51"  # start of a codestream and of its SIZ segment, ISO 15444-1 A.5.1
_NOT_A_FRAME = (0xC4, 0xC8, 0xCC)  # of the markers C0..CF, those that start no frame (ISO 10918-1 table B.1)
_JPEG_LS_FRAME = 0xF7
_ROWS_FROM = 256  # rows and columns from which neighbouring rows are compared
_ROWS_APART = 8.0
# What pydicom and the decoders raise on damaged bytes.
DAMAGED = (
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
    struct.error,
    zlib.error,
)


@dataclass(frozen=True)
class DicomImage:
    """One frame of grey values.

    header: all elements but the pixels. stored: (row, column), unsigned or signed integers of 8, 16 or 32 bits, as
    PS3.5 8.1 defines stored values: without overlay bits, sign extended. decoder: what decoded them.
    """

    header: Dataset
    stored: np.ndarray
    syntax: UID
    decoder: str


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file of which the header has been read. encoded: the value of PixelData; None where there is none."""

    header: Dataset
    encoded: memoryview | bytes | None

    @classmethod
    def open(cls, content: bytes, only: tuple[str, ...] = ()) -> "DicomFile":
        """Read the header; the pixels stay where they are, without a copy where that is possible.

        only: keywords of the elements that are needed besides those of the pixels: a long header takes pydicom longer
        than a CT slice takes to decode. There may be others all the same.

        Raises:
            Exception: any of `DAMAGED`, where the header cannot be read.
        """
        if only and content[128:132] == b"DICM":
            for padding in (b"SS", b"US"):
                try:
                    return cls._with(content, _wanted(only, padding))
                except (OddError, struct.error):
                    continue
        stream = BytesIO(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of values that are not used here
            header = pydicom.dcmread(stream, stop_before_pixels=True)
            if header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                return cls(header, pydicom.dcmread(BytesIO(content)).get("PixelData"))
        start = stream.tell()
        element = content[start : start + 12]
        implicit, little = header.original_encoding
        order = "<" if little else ">"
        if len(element) < 8 or struct.unpack_from(f"{order}HH", element) != _PIXEL_DATA:
            return cls(header, None)
        # PS3.5 7.1: with its VR, PixelData has two reserved bytes and a length of four.
        (length,) = struct.unpack_from(f"{order}L", element, 4 if implicit else 8)
        start += 8 if implicit else 12
        view = memoryview(content)
        return cls(header, view[start:] if length == _UNDEFINED else view[start : start + length])

    @classmethod
    def _with(cls, content: bytes, wanted: dict[int, bytes]) -> "DicomFile":
        """Through `dicom_head`, which raises OddError for what is pydicom's to read."""
        syntax, found, start = raw_elements(content, 0x7FE0000F, wanted)
        implicit = syntax == IMPLICIT
        group, element, length = struct.unpack_from("<HHL", content, start)
        if (group, element) != _PIXEL_DATA:
            raise OddError
        length = length if implicit else struct.unpack_from("<L", content, start + 8)[0]
        header = Dataset()
        for tag, value in found.items():
            kind = None if implicit else wanted[tag].decode()
            header[BaseTag(tag)] = RawDataElement(BaseTag(tag), kind, len(value), value, 0, implicit, True)
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = UID(syntax)
        view = memoryview(content)[start + (8 if implicit else 12) :]
        return cls(header, view if length == _UNDEFINED else view[:length])

    def image(self) -> DicomImage:
        """Decode the one frame of one sample a pixel.

        Raises:
            ImageError: no image, of another kind, damaged, or decoded to what cannot be; with the reason.
            Exception: any of `DAMAGED`, for elements that hold no values of their kind.
        """
        if self.encoded is None:
            raise ImageError("a DICOM file without PixelData (cut off, or not an image)")
        photometric = str(self.header.get("PhotometricInterpretation", ""))
        if photometric not in ("MONOCHROME1", "MONOCHROME2"):
            raise ImageError(
                f"PhotometricInterpretation is {photometric or 'absent'}; grey values (MONOCHROME1 or MONOCHROME2) "
                f"are read"
            )
        if int(self.header.get("NumberOfFrames") or 1) != 1:
            raise ImageError("a DICOM file of several frames; files of one frame are read")
        facts = _facts(self.header)
        if facts.rows * facts.columns > MAX_PIXELS:
            raise ImageError("the header claims more pixels than an image has")
        samples, decoder = _decoded(self.encoded, facts)
        stored = _stored_values(samples, facts, self.header)
        if decoder == NATIVE.name:
            _check_rows(stored)
        return DicomImage(self.header, stored, facts.syntax, decoder)


def read_dicom(content: bytes) -> DicomImage:
    """The image in a DICOM file with one frame and one sample a pixel.

    Raises:
        ImageError: no image, of another kind, damaged, or decoded to what cannot be; with the reason.
        Exception: any of `DAMAGED`, where the header cannot be read.
    """
    return DicomFile.open(content).image()


def short(error: BaseException) -> str:
    """The error's own words without the value or the position, so that equal faults are counted together."""
    words = re.split(r"\. |: '| \(\d+ | at file position|\n", str(error))[0].rstrip(":.")[:200]
    return words or type(error).__name__


@lru_cache(maxsize=4)
def _wanted(only: tuple[str, ...], padding: bytes) -> dict[int, bytes]:
    """Tags and value representations; `padding`: that of pixel padding, which follows the sign of the pixels."""
    tags = filter(None, map(tag_for_keyword, (*only, *_OF_PIXELS)))
    wanted = {tag: dictionary_VR(tag).encode() for tag in tags}
    return wanted | _OVERLAYS | {0x00280120: padding, 0x00280121: padding}


def _facts(header: Dataset) -> Facts:
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise ImageError("pixels cannot be decoded (the file does not name its transfer syntax)")
    if syntax not in DECODERS:
        raise ImageError(f"pixels cannot be decoded (no decoder is known for {UID(syntax).name})")
    missing = [name for name in _NEEDED if header.get(name) is None]
    if missing:
        raise ImageError(f"pixels cannot be decoded (the header has no {missing[0]})")
    allocated, stored = int(header.BitsAllocated), int(header.BitsStored)
    rows, columns = int(header.Rows), int(header.Columns)
    if int(header.SamplesPerPixel) != 1:
        raise ImageError("pixels cannot be decoded (grey, but of several samples a pixel)")
    if rows < 1 or columns < 1:
        raise ImageError(f"pixels cannot be decoded (Rows or Columns is {min(rows, columns)})")
    if allocated not in _BITS_ALLOCATED or not 1 <= stored <= allocated:
        raise ImageError(f"pixels cannot be decoded (BitsAllocated {allocated} with BitsStored {stored})")
    return Facts(
        syntax=UID(syntax),
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=int(header.get("HighBit", stored - 1)),
        signed=int(header.PixelRepresentation) == 1,
    )


def _decoded(encoded: memoryview | bytes, facts: Facts) -> tuple[np.ndarray, str]:
    """The samples (row, column) of the first decoder that can, and its name."""
    frame = _frame(encoded, facts)
    failed = ""
    installed = False
    for decoder in DECODERS[facts.syntax]:
        if decoder is GDCM and installed:
            continue  # on some damaged streams that the others refuse it ends the process
        try:
            module = import_module(decoder.module)
        except ImportError:
            continue
        installed = True
        try:
            samples = np.asarray(decoder.decode(module, frame, facts))
        except DAMAGED as error:
            failed = failed or short(error)
            continue
        except BaseException as error:
            # pylibjpeg-rle panics in Rust on a damaged stream: no Exception, and of a type that cannot be imported.
            if type(error).__name__ == "PanicException":
                failed = failed or "a damaged RLE stream"
                continue
            if isinstance(error, Exception):  # a codec's own
                failed = failed or short(error)
                continue
            raise
        if samples.shape != (facts.rows, facts.columns):
            raise ImageError("pixels cannot be decoded (the stream is not of the size that the header gives)")
        return samples, decoder.name
    if not installed:
        raise ImageError(f"no decoder is installed for {facts.syntax.name}")
    raise ImageError(f"pixels cannot be decoded ({failed})")


def _frame(encoded: memoryview | bytes, facts: Facts) -> bytes:
    """The bytes of the one frame, once their size is found to be what the header says."""
    if not facts.syntax.is_encapsulated:
        expected = facts.rows * facts.columns * facts.bits_allocated // 8
        if len(encoded) < expected:
            raise ImageError("pixels cannot be decoded (fewer bytes than Rows x Columns take)")
        # Zeros are padding; anything else is pixels that Rows and Columns do not count.
        if any(encoded[expected + expected % 2 :]):
            raise ImageError("pixels cannot be decoded (more bytes than Rows x Columns take)")
        return encoded  # type: ignore[return-value]
    try:
        frame = get_frame(bytes(encoded), 0, number_of_frames=1)
    except DAMAGED as error:
        raise ImageError(f"pixels cannot be decoded ({short(error)})") from error
    size = _stream_size(frame, facts)
    if size is not None and size != (facts.rows, facts.columns, 1):
        raise ImageError("pixels cannot be decoded (the stream is not of the size that the header gives)")
    # libjpeg and OpenJPH read on without an error, CharLS may search for a minute.
    if facts.syntax in ENDED_SYNTAXES and _END_OF_IMAGE not in frame[-_END_WITHIN:]:
        raise ImageError("pixels cannot be decoded (the stream is cut off)")
    return frame


def _stream_size(frame: bytes, facts: Facts) -> tuple[int, int, int] | None:
    """Rows, columns and samples that a JPEG or JPEG 2000 stream says of itself; None where it does not.

    A decoder takes memory for what the stream says: one wrong byte can claim 16 GiB.
    """
    start = frame[:4096].find(_JPEG2000_SIZE)
    if start >= 0 and len(frame) >= start + 42 and not frame.startswith(b"\xff\xd8"):
        right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
        (samples,) = struct.unpack_from(">H", frame, start + 40)
        return bottom - top, right - left, samples
    if not frame.startswith(b"\xff\xd8"):
        return None
    position = 2
    while position + 10 <= len(frame) and frame[position] == 0xFF:
        marker = frame[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if marker == _JPEG_LS_FRAME or (0xC0 <= marker <= 0xCF and marker not in _NOT_A_FRAME):
            rows, columns, samples = struct.unpack_from(">HHB", frame, position + 5)
            # ISO 10918-1 B.2.5: 0 rows are given later, by a DNL segment.
            return (rows or facts.rows, columns, samples)
        position += 2 + struct.unpack_from(">H", frame, position + 2)[0]
    return None


def _stored_values(samples: np.ndarray, facts: Facts, header: Dataset) -> np.ndarray:
    """PS3.5 8.1: `bits_stored` bits below `high_bit`, the highest of them the sign where the header says so."""
    bits = facts.bits_stored
    native = not facts.syntax.is_encapsulated
    unsigned = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    if unsigned.dtype.kind == "i":
        unsigned = unsigned.view(f"u{unsigned.itemsize}")
    if unsigned.dtype.kind != "u":
        raise ImageError("pixels cannot be decoded (the decoder gives no whole numbers)")
    if native and facts.high_bit > bits - 1:
        unsigned = unsigned >> (facts.high_bit - bits + 1)
    width = unsigned.itemsize * 8
    if facts.signed:
        signed = unsigned.view(f"i{unsigned.itemsize}")
        if bits < width:
            # The bits above may hold the sign, or nothing, or overlays: the sign is taken from its own bit.
            signed = np.left_shift(signed, width - bits) >> (width - bits)
        return signed
    if bits >= width or not unsigned.size or int(unsigned.max()) < 1 << bits:
        return unsigned
    if native and _has_embedded_overlay(header):
        return unsigned & unsigned.dtype.type((1 << bits) - 1)
    if facts.syntax in LOSSY_SYNTAXES:  # a lossy stream of more bits overshoots
        return np.minimum(unsigned, unsigned.dtype.type((1 << bits) - 1))
    padding = header.get("PixelPaddingValue")
    above = unsigned[unsigned >= 1 << bits]
    if padding is not None and (above == int(padding) % (1 << width)).all():
        return unsigned
    raise ImageError("pixels cannot be decoded (values above what BitsStored can hold: the header is wrong)")


def _has_embedded_overlay(header: Dataset) -> bool:
    """Whether the unused bits of the pixels hold an overlay, as was allowed before 2004 (60xx,0102)."""
    positions = (header.get((group, 0x0102)) for group in range(0x6000, 0x6020, 2))
    return any(position is not None and bool(position.value) for position in positions)


def _check_rows(stored: np.ndarray) -> None:
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
