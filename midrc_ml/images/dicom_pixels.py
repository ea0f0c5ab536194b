"""The stored values of one DICOM image, and the checks that tell a wrong decoding from a right one.

A decoder that reads on over a damaged stream gives an image that nobody asked for. What can be told from the outside
is checked here: sizes, the end of the stream, values beyond the header's bits, rows that do not continue each other.
"""

import re
import struct
import warnings
import zlib
from dataclasses import dataclass, replace
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

from midrc_ml.images.decoders import DECODERS, ENDED_SYNTAXES, GDCM, HTJ2K_SYNTAXES, NATIVE, Facts
from midrc_ml.images.dicom_head import IMPLICIT, OddError, raw_elements
from midrc_ml.images.files import ImageError
from midrc_ml.images.stored_values import check_rows, stored_values
from midrc_ml.images.streams import is_broken, is_filled_up, stream_size

MAX_PIXELS = 1 << 28  # ten times the largest radiograph
TOO_MANY_PIXELS = f"more pixels than are read ({MAX_PIXELS >> 20} Mi), by its header"
_MAX_INFLATED = 1 << 28
_PIXEL_DATA = (0x7FE0, 0x0010)
_UNDEFINED = 0xFFFFFFFF
_NEEDED = ("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
_OF_PIXELS = (*_NEEDED, "PhotometricInterpretation", "NumberOfFrames", "HighBit")
_OVERLAYS = {0x60000102 + (group << 16): b"US" for group in range(0, 32, 2)}  # OverlayBitPosition
_BITS_ALLOCATED = (8, 16, 32)
_CUT_OFF = "pixels cannot be decoded (the stream is cut off)"
_END_OF_IMAGE = b"\xff\xd9"
_END_WITHIN = 64  # bytes: padding, and what some writers leave behind the marker
# What pydicom and the decoders raise on damaged bytes.
DAMAGED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
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
    """A DICOM file of which the header has been read.

    encoded: the value of PixelData; None where there is none. in_bytes: whether it is written as OB.
    """

    header: Dataset
    encoded: memoryview | bytes | None
    in_bytes: bool = False

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
        _check_inflated(content)
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
        value = view[start:] if length == _UNDEFINED else view[start : start + length]
        return cls(header, value, in_bytes=not implicit and element[4:6] == b"OB")

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
        facts = replace(_facts(self.header), in_bytes=self.in_bytes)
        if facts.rows * facts.columns > MAX_PIXELS:
            raise ImageError(TOO_MANY_PIXELS)
        samples, decoder = _decoded(self.encoded, facts)
        stored = stored_values(samples, facts, self.header)
        if decoder == NATIVE.name:
            check_rows(stored)
        return DicomImage(self.header, stored, facts.syntax, decoder)


def _check_inflated(content: bytes) -> None:
    """Refuse a deflated file that unpacks to far more than an image takes, without keeping what comes out."""
    start = content.find(DeflatedExplicitVRLittleEndian.encode(), 132, 4096)
    if start < 0 or content[132:140] != b"\x02\0\0\0UL\4\0":
        return
    rest = memoryview(content)[144 + struct.unpack_from("<L", content, 140)[0] :]  # behind the group length
    if start >= len(content) - len(rest):  # the name of the syntax stands elsewhere
        return
    inflater = zlib.decompressobj(-15)
    total = 0
    data: bytes | memoryview = rest
    while data and not inflater.eof:
        total += len(inflater.decompress(data, 1 << 20))
        data = inflater.unconsumed_tail
        if total > _MAX_INFLATED:
            raise ImageError(f"a deflated DICOM file that unpacks to over {_MAX_INFLATED >> 20} MiB")


def read_dicom(content: bytes) -> DicomImage:
    """The image in a DICOM file with one frame and one sample a pixel.

    Raises:
        ImageError: no image, of another kind, damaged, or decoded to what cannot be; with the reason.
        Exception: any of `DAMAGED`, where the header cannot be read.
    """
    return DicomFile.open(content).image()


def short(error: BaseException) -> str:
    """The error's own words without the value or the position, so that equal faults are counted together."""
    words = re.split(r"\. |: b?['\"]| \(\d+ | at file position|\n", str(error))[0].rstrip(":.")[:200]
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
        high_bit=stored - 1 if header.get("HighBit") in (None, "") else int(header.HighBit),
        signed=int(header.PixelRepresentation) == 1,
    )


def _decoded(encoded: memoryview | bytes, facts: Facts) -> tuple[np.ndarray, str]:
    """The samples (row, column) of the first decoder that can, and its name."""
    frame = _frame(encoded, facts)
    failed = ""
    installed = False
    blank: tuple[np.ndarray, str] | None = None
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
        except MemoryError:
            raise
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
        if facts.syntax in HTJ2K_SYNTAXES and not samples.any() and blank is None:
            blank = samples, decoder.name  # what OpenJPH gives for a damaged stream, without an error
            continue
        if facts.syntax.is_encapsulated and is_filled_up(frame, samples):
            raise ImageError(_CUT_OFF)
        return samples, decoder.name
    if blank is not None and not failed:
        return blank
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
        if np.frombuffer(encoded, np.uint8)[expected + expected % 2 :].any():
            raise ImageError("pixels cannot be decoded (more bytes than Rows x Columns take)")
        return encoded  # type: ignore[return-value]
    try:
        frame = get_frame(bytes(encoded), 0, number_of_frames=1)
    except DAMAGED as error:
        raise ImageError(f"pixels cannot be decoded ({short(error)})") from error
    size = stream_size(frame)
    if size is not None and (size[0] or facts.rows, *size[1:]) != (facts.rows, facts.columns, 1):
        raise ImageError("pixels cannot be decoded (the stream is not of the size that the header gives)")
    # libjpeg and OpenJPH read on without an error, CharLS may search for a minute.
    if facts.syntax in ENDED_SYNTAXES and _END_OF_IMAGE not in frame[-_END_WITHIN:]:
        raise ImageError(_CUT_OFF)
    if is_broken(frame):
        raise ImageError("pixels cannot be decoded (the stream is damaged: a part of it is not as long as it says)")
    return frame
