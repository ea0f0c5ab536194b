"""Small CT series as DICOM bytes: slices of an array, or of a function of the place in the patient."""

from collections.abc import Callable, Sequence

import imagecodecs
import numpy as np
import pytest
from films import as_bytes, film
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from midrc_ml.images.ct_series import CtVolume, read_ct_series
from midrc_ml.images.files import ImageError, Member

FLAT = np.full((4, 6), -1000)  # HU
STEP = 3.0  # mm
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
J = "1.2.840.10008.1.2.4."
ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    f"{J}70": lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=16),
    f"{J}80": imagecodecs.jpegls_encode,
    f"{J}90": lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="j2k"),
}


def smooth(places: np.ndarray) -> np.ndarray:
    """HU at places (..., xyz) in mm: waves around -400 of up to 300, with a period of 60 mm or more on each axis."""
    x, y, z = np.moveaxis(places, -1, 0)
    waves = np.sin(2 * np.pi * x / 60) + np.sin(2 * np.pi * (y + 11) / 75) + np.cos(2 * np.pi * (z - 7) / 90)
    return -400 + 100 * waves


def chest(
    shape: tuple[int, int, int] = (40, 48, 48), spacing: tuple[float, float, float] = (5.0, 8.0, 8.0)
) -> np.ndarray:
    """HU (slice, row, column) of an oval body of water in air with two lungs of 2.6 litres."""
    z, y, x = ((np.arange(length) - (length - 1) / 2) * step for length, step in zip(shape, spacing, strict=True))
    z, y, x = np.meshgrid(z, y, x, indexing="ij")
    hu = np.full(shape, -1000.0)
    hu[(x / 160) ** 2 + (y / 110) ** 2 < 1] = 30
    for side in (-1, 1):
        hu[((x - side * 75) / 50) ** 2 + (y / 75) ** 2 + (z / 85) ** 2 < 1] = -850
    return hu


def slice_at(hu: np.ndarray, position: Sequence[float], number: int = 1, **fields: object) -> Dataset:
    """One CT slice of HU (row, column) with its corner at `position`, stored as HU + 1024; `fields` as in `film`."""
    stored = (np.rint(hu) + 1024).astype(np.uint16)
    given: dict[str, object] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": f"1.2.3.4.{number}",
        "SeriesInstanceUID": "1.2.3.5",
        "FrameOfReferenceUID": "1.2.3.6",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "InstanceNumber": number,
        "AcquisitionNumber": 1,
        "ConvolutionKernel": "STANDARD",
        "KVP": 120,
        "ImageOrientationPatient": list(AXIAL),
        "ImagePositionPatient": [round(float(value), 6) for value in position],
        "PixelSpacing": [1.0, 1.0],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "StudyDate": "20200301",
    }
    return film(stored, photometric="MONOCHROME2", **{**given, **fields})


def series(
    hu: np.ndarray,
    *,
    spacing: tuple[float, float, float] = (5.0, 1.0, 1.0),
    origin: tuple[float, float, float] = (-100.0, -120.0, 30.0),
    **fields: object,
) -> list[Dataset]:
    """Axial slices of HU (slice, row, column), feet to head."""
    x, y, z = origin
    return [
        slice_at(pixels, (x, y, z + number * spacing[0]), number + 1, **{"PixelSpacing": list(spacing[1:]), **fields})
        for number, pixels in enumerate(hu)
    ]


def smooth_slice(
    position: Sequence[float],
    number: int,
    cosines: Sequence[float] = AXIAL,
    *,
    shape: tuple[int, int] = (24, 32),
    spacing: tuple[float, float] = (2.0, 1.5),
    **fields: object,
) -> Dataset:
    """A slice of `smooth` as it lies in the patient."""
    position = np.array([round(float(value), 6) for value in position])
    right, down = np.array(cosines[:3]), np.array(cosines[3:])
    rows, columns = np.meshgrid(np.arange(shape[0]) * spacing[0], np.arange(shape[1]) * spacing[1], indexing="ij")
    places = position + rows[..., None] * down + columns[..., None] * right
    own = {"ImageOrientationPatient": list(cosines), "PixelSpacing": list(spacing), **fields}
    return slice_at(smooth(places), position.tolist(), number, **own)


def encoded(data: Dataset, syntax: str) -> Dataset:
    """The same slice in another transfer syntax, one of `ENCODERS`."""
    data.PixelData = encapsulate([ENCODERS[syntax](data.pixel_array)])
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID = syntax
    return data


def members_of(slices: Sequence[Dataset]) -> list[Member]:
    return [Member(f"{number}.dcm", as_bytes(data)) for number, data in enumerate(slices)]


def ramp(count: int = 8, shape: tuple[int, int] = (4, 6)) -> np.ndarray:
    """HU (slice, row, column): slice k is -900 + 50 k everywhere."""
    return np.broadcast_to(-900 + 50 * np.arange(count)[:, None, None], (count, *shape)).copy()


def volume(slices: list[Dataset], planes: str = "axial") -> CtVolume:
    return read_ct_series(members_of(slices), planes=planes)  # type: ignore[arg-type]


def reason(slices: list[Dataset], planes: str = "axial") -> str:
    with pytest.raises(ImageError) as caught:
        volume(slices, planes)
    return str(caught.value)


def places(found: CtVolume) -> np.ndarray:
    """The place (xyz) of each voxel, as the volume says."""
    axes = found.direction * np.array(found.spacing)[:, None]
    numbers = np.stack(np.meshgrid(*map(np.arange, found.hu.shape), indexing="ij"), axis=-1)
    return np.array(found.origin) + numbers @ axes
