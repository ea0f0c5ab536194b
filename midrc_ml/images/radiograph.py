"""One radiograph from its bytes: DICOM CR or DX, 2-D NIfTI, or a grey picture (PNG, JPEG, TIFF).

axes: row, column, as stored. Values: high = dense (white on the film), after the modality LUT.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from midrc_ml.images.dicom_pixels import DAMAGED, MAX_PIXELS, DicomFile, short
from midrc_ml.images.files import ImageError, Member
from midrc_ml.images.nifti import is_nifti, read_nifti
from midrc_ml.images.pictures import read_picture
from midrc_ml.images.stored_values import padding_limits

_ZIP_START = b"PK\x03\x04"
_HTML_STARTS = (b"<!doctype", b"<html", b"<?xml")
_LAST = (True, math.inf, "")  # a picture beside a DICOM file is a preview of it


@dataclass(frozen=True)
class Radiograph:
    """One film: its values are `pixels * scale + offset`, high = dense.

    pixels: (row, column), uint16, int16 or float32. scale, offset: what is linear of the modality LUT and of the
    inversion; an area mean commutes with it, so that it is applied to the small image. window: (low, high) of the
    file's own, in values. unprocessed: a film FOR PROCESSING, whose values are those of the detector.
    decoder: what decoded it, with the UID of the transfer syntax in `syntax`.
    """

    pixels: np.ndarray
    scale: float = 1.0
    offset: float = 0.0
    sop_uid: str = ""
    series_uid: str = ""
    instance_number: int = 0
    window: tuple[float, float] | None = None
    unprocessed: bool = False
    syntax: str = ""
    decoder: str = ""

    @property
    def values(self) -> np.ndarray:
        """(row, column), float32."""
        return self.pixels.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)


@dataclass(frozen=True)
class Film:
    """A film whose header alone has been read. rank: of the films of a series, that of the lowest stands for it."""

    kind: str
    content: bytes
    rank: tuple[bool, float, str]
    reader: Callable[[bytes], Radiograph]

    def read(self) -> Radiograph:
        """Decode it.

        Raises:
            ImageError: damaged, or of a kind that is not read here, with the reason.
        """
        with _reasons(self.kind, self.content):
            return self.reader(self.content)


def open_film(member: Member) -> Film:
    """The film in `member`: DICOM by its content, NIfTI by its name, anything else as a picture.

    Films are ranked by instance number, then by SOP instance UID.

    Raises:
        ImageError: a DICOM file whose header cannot be read; all else is told when the film is read.
    """
    content = member.content
    if content[128:132] == b"DICM" or member.name.lower().endswith(".dcm"):
        with _reasons("DICOM file", content):
            file = DicomFile.open(content)
            number = int(file.header.get("InstanceNumber") or 0)
            sop_uid = str(file.header.get("SOPInstanceUID", ""))
        return Film("DICOM file", content, (not sop_uid, number or math.inf, sop_uid), lambda _: _read_dicom(file))
    if is_nifti(member.name):
        return Film("NIfTI file", content, _LAST, _read_nifti)
    return Film("picture", content, _LAST, _read_picture)


def read_radiograph(member: Member) -> Radiograph:
    """The radiograph in `member`.

    Raises:
        ImageError: not an image, damaged, or of a kind that is not read here, with the reason.
    """
    return open_film(member).read()


@contextmanager
def _reasons(kind: str, content: bytes) -> Iterator[None]:
    """Whatever damaged bytes raise becomes an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except (*DAMAGED, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise ImageError(_what_it_is(content) or f"not a readable {kind} ({short(error)})") from error


def _read_nifti(content: bytes) -> Radiograph:
    return Radiograph(read_nifti(content, max_pixels=MAX_PIXELS), decoder="nibabel")


def _read_picture(content: bytes) -> Radiograph:
    picture = read_picture(content)
    if picture is None:
        raise ImageError(_what_it_is(content) or "neither DICOM nor a picture that can be decoded")
    pixels, scale = _wide(picture)
    return Radiograph(pixels, scale, decoder="opencv")


def _read_dicom(file: DicomFile) -> Radiograph:
    header = file.header
    image = file.image()
    # PS3.4 N.2: modality LUT, then VOI LUT, then presentation.
    pixels, scale, offset = _after_modality(image.stored, header)
    is_padding = _padding(image.stored, header)
    unprocessed = str(header.get("PresentationIntentType", "")) == "FOR PROCESSING"
    window = None
    if unprocessed:
        pixels, scale, offset = _density(pixels, scale, offset, header, is_padding), 1.0, 0.0
    else:
        has_lut = bool(header.get("VOILUTSequence"))
        if has_lut or str(header.get("VOILUTFunction", "LINEAR")) == "SIGMOID":
            if has_lut and header.VOILUTSequence[0].LUTDescriptor[2] == 8:
                # pydicom 3.0 looks up in the entries' own type: in 8 bits, past entry 255 it wraps.
                header.VOILUTSequence[0].LUTDescriptor[2] = 16
            whole = pixels if (scale, offset) == (1, 0) else pixels.astype(np.float64) * scale + offset
            pixels, scale, offset = apply_voi_lut(whole, header), 1.0, 0.0
        else:
            window = _window(header)
        if is_inverse(header):
            scale, offset, window = _inverted(pixels, scale, offset, header, window)
    pixels, factor = _wide(pixels)
    scale *= factor
    return Radiograph(
        pixels=_without_padding(pixels, is_padding, lowest=scale > 0),
        scale=scale,
        offset=offset,
        sop_uid=str(header.get("SOPInstanceUID", "")),
        series_uid=str(header.get("SeriesInstanceUID", "")),
        instance_number=int(header.get("InstanceNumber") or 0),
        window=window,
        unprocessed=unprocessed,
        syntax=str(image.syntax),
        decoder=image.decoder,
    )


def is_inverse(header: Dataset) -> bool:
    """Whether the lowest value is shown white.

    PS3.3 C.7.6.3.1.2 and C.11.6.1.1: both elements say the same; they are one inversion, not two.
    """
    return header.get("PhotometricInterpretation") == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE"


def _after_modality(stored: np.ndarray, header: Dataset) -> tuple[np.ndarray, float, float]:
    """Pixels, and the scale and offset that make them the modality's values."""
    if header.get("ModalityLUTSequence"):
        descriptor = header.ModalityLUTSequence[0].LUTDescriptor
        if descriptor[2] not in (8, 16):  # pydicom 3.0 looks for a type of so many bits
            descriptor[2] = 16
        return apply_modality_lut(stored, header), 1.0, 0.0
    given = [header.get(name) not in (None, "") for name in ("RescaleSlope", "RescaleIntercept")]
    if not any(given):
        return stored, 1.0, 0.0
    if not all(given):
        raise ImageError("not a readable DICOM file (one of RescaleSlope and RescaleIntercept without the other)")
    return stored, float(header.RescaleSlope), float(header.RescaleIntercept)


def _density(
    pixels: np.ndarray, scale: float, offset: float, header: Dataset, is_padding: np.ndarray | None
) -> np.ndarray:
    """The values of a detector as densities, float32: of the intensity the logarithm, and high = dense.

    PS3.3 C.8.11.3.1.2: PixelIntensityRelationship says whether values are linear (LIN) in the X-ray intensity, its
    sign whether high is more (1) or less (-1) of it; where there is no sign, the photometric interpretation does.
    """
    values = pixels.astype(np.float32) * np.float32(scale) + np.float32(offset)
    if str(header.get("PixelIntensityRelationship", "")) == "LIN":
        lowest = values.min() if is_padding is None else values[~is_padding].min()
        values = np.log1p(np.maximum(values - lowest, 0))
    sign = header.get("PixelIntensityRelationshipSign")
    is_lucent = is_inverse(header) if sign in (None, "") else int(sign) == 1
    return -values if is_lucent else values


def _wide(pixels: np.ndarray) -> tuple[np.ndarray, float]:
    """uint16, int16 or float32, and the factor to multiply with: an area mean of 8-bit values must not be rounded."""
    if pixels.dtype in (np.uint16, np.int16):
        return pixels, 1.0
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) << 8, 1 / 256
    return pixels.astype(np.float32, copy=False), 1.0


def _inverted(
    pixels: np.ndarray, scale: float, offset: float, header: Dataset, window: tuple[float, float] | None
) -> tuple[float, float, tuple[float, float] | None]:
    """Scale and offset that mirror the values within their range, so that high becomes low; and the window."""
    if (scale, offset) == (1, 0) and pixels.dtype == np.uint16:
        top = float(2 ** int(header.get("BitsStored", 16)) - 1)
    else:
        low, high = float(pixels.min()), float(pixels.max())
        top = (low + high) * scale + 2 * offset
    return -scale, top - offset, None if window is None else (top - window[1], top - window[0])


def _padding(stored: np.ndarray, header: Dataset) -> np.ndarray | None:
    """Where pixels pad the film to a rectangle; None where none do, or all.

    PS3.3 C.7.5.1.1.2: those equal to PixelPaddingValue, or between it and PixelPaddingRangeLimit.
    """
    given = [header.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    limits = padding_limits(given, np.iinfo(stored.dtype))
    if given[0] in (None, "") or not limits:
        return None
    is_padding: np.ndarray = (stored >= min(limits)) & (stored <= max(limits))
    return is_padding if is_padding.any() and not is_padding.all() else None


def _without_padding(pixels: np.ndarray, is_padding: np.ndarray | None, *, lowest: bool) -> np.ndarray:
    """Padding becomes as dark as the darkest pixel. lowest: whether low pixels are the dark ones."""
    if is_padding is None:
        return pixels
    within = pixels[~is_padding]
    return np.where(is_padding, within.min() if lowest else within.max(), pixels)


def _window(header: Dataset) -> tuple[float, float] | None:
    """PS3.3 C.11.2.1.2: the first of the windows, as the values shown black and white."""
    center, width = header.get("WindowCenter"), header.get("WindowWidth")
    if center in (None, "") or width in (None, ""):
        return None
    first_center = float(center[0] if isinstance(center, pydicom.multival.MultiValue) else center)
    first_width = float(width[0] if isinstance(width, pydicom.multival.MultiValue) else width)
    if first_width <= 0:
        return None
    # LINEAR counts grey levels, the white one included; LINEAR_EXACT does not.
    last = 0 if str(header.get("VOILUTFunction", "LINEAR")) == "LINEAR_EXACT" else 1
    return first_center - first_width / 2, first_center + first_width / 2 - last


def _what_it_is(content: bytes) -> str | None:
    if content.lstrip()[:9].lower().startswith(_HTML_STARTS):
        return "a web page, not an image (a failed download saved under this name; download it again)"
    if content.startswith(_ZIP_START):
        return "a ZIP inside of another, which is not opened; unpack it"
    return "an empty file" if not content else None
