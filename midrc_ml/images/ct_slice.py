"""What the header of one CT slice says of its place in a volume."""

import math
from dataclasses import dataclass

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from midrc_ml.images.ct_resample import hounsfield, slice_axes
from midrc_ml.images.dicom_pixels import DicomFile, DicomImage
from midrc_ml.images.files import ImageError

_UNIT = 0.01  # direction cosines are written with two decimals by some
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# PS3.3 C.11.1.1.2: what a rescale may lead to; other words are one vendor's for HU.
_NOT_HU = ("OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT")
_KEYWORDS = (
    *("ImageType", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality"),
    *("SliceThickness", "KVP", "ConvolutionKernel", "AcquisitionNumber", "TemporalPositionIdentifier"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType"),
)


@dataclass(frozen=True)
class CtSlice:
    """The header of a slice. axes: the directions in which columns, rows and slices follow each other, unit vectors."""

    file: DicomFile
    sop_uid: str
    series: tuple[str, str]
    axes: np.ndarray
    matrix: tuple[int, int]
    spacing: tuple[float, float]
    kernel: tuple[str, float]
    acquisition: tuple[float, float, float]
    place: np.ndarray  # along `axes`, mm
    slope: float
    intercept: float

    def decoded(self) -> tuple[DicomImage, np.ndarray]:
        """The image as stored, and its HU, (row, column), int16.

        Raises:
            ImageError, Exception: as `DicomFile.image`.
        """
        image = self.file.image()
        return image, hounsfield(image.stored, image.header, self.slope, self.intercept)


def read_slice(content: bytes) -> CtSlice:
    """What the header says of one slice.

    Raises:
        ImageError: not a slice of a CT volume, or one without its place.
        Exception: any of `DAMAGED`, where the header cannot be read.
    """
    file = DicomFile.open(content, _KEYWORDS)
    header = file.header
    kinds = _text(header, "ImageType").split("\\")
    if _text(header, "Modality") != "CT":
        raise ImageError("Modality is not CT")
    if _text(header, "SOPClassUID").startswith(_SECONDARY_CAPTURE) or "SCREEN SAVE" in kinds:
        raise ImageError("a secondary capture")
    if "LOCALIZER" in kinds:
        raise ImageError("a localizer")
    if (_numbers(header, "NumberOfFrames", 1) or (1,)) != (1,):
        raise ImageError("a DICOM file of several frames; files of one frame are read")
    cosines = _numbers(header, "ImageOrientationPatient", 6)
    position = _numbers(header, "ImagePositionPatient", 3)
    spacing = _numbers(header, "PixelSpacing", 2)
    if cosines is None or position is None:
        raise ImageError("no ImageOrientationPatient or ImagePositionPatient")
    if spacing is None or min(spacing) <= 0:
        raise ImageError("no PixelSpacing")
    slope, intercept = _numbers(header, "RescaleSlope", 1), _numbers(header, "RescaleIntercept", 1)
    if slope is None or intercept is None or slope[0] <= 0 or _text(header, "RescaleType") in _NOT_HU:
        raise ImageError("no rescale to HU")
    right, down = np.array(cosines[:3]), np.array(cosines[3:])
    if max(abs(math.sqrt(right @ right) - 1), abs(math.sqrt(down @ down) - 1), abs(right @ down)) > _UNIT:
        raise ImageError("ImageOrientationPatient is not two unit vectors at a right angle")
    axes = slice_axes(cosines)
    return CtSlice(
        file=file,
        sop_uid=_text(header, "SOPInstanceUID"),
        series=(_text(header, "SeriesInstanceUID"), _text(header, "FrameOfReferenceUID")),
        axes=axes,
        matrix=(int(header.get("Rows") or 0), int(header.get("Columns") or 0)),
        spacing=(spacing[0], spacing[1]),
        kernel=(_text(header, "ConvolutionKernel"), _number(header, "KVP")),
        acquisition=(
            _number(header, "AcquisitionNumber"),
            _number(header, "TemporalPositionIdentifier"),
            round(_number(header, "SliceThickness"), 1),
        ),
        place=axes @ position,
        slope=slope[0],
        intercept=intercept[0],
    )


def _text(header: Dataset, keyword: str) -> str:
    """A text as it stands in the file, several values joined by a backslash; empty where there is none."""
    element = header.get_item(tag_for_keyword(keyword) or 0)
    value = "" if element is None or element.value is None else element.value
    if isinstance(value, bytes):
        return value.decode("latin-1").strip("\0 ")
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value).strip()


def _numbers(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers; None where there are not as many."""
    try:
        numbers = tuple(float(text) for text in _text(header, keyword).split("\\"))
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _number(header: Dataset, keyword: str) -> float:
    """One number; -1 where there is none."""
    return (_numbers(header, keyword, 1) or (-1.0,))[0]
