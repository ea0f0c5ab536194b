"""Draw an invented CT of the chest in Hounsfield units and write its slices as DICOM inside a ZIP.

axes: slice (feet to head), row (front to back), column (patient's right to left), as DICOM's z, y and x.
"""

import struct
from io import BytesIO
from typing import Any

import cv2
import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, JPEGLosslessSV1, JPEGLSLossless, generate_uid

from midrc_ml.cohorts.demo_films import new_dicom, write_archive
from midrc_ml.cohorts.demo_patients import UID_PREFIX
from midrc_ml.cohorts.demo_scans import NUM_MISSING, PART_MM, SCANNERS, Scanner

MATRIX = 96  # rows and columns
_AIR, _FAT, _WATER, _LUNG, _BONE, _TABLE = -1000.0, -100.0, 40.0, -850.0, 350.0, -200.0  # HU
_BODY_MM = (165.0, 112.0)  # half axes across and from front to back
_LUNG_MM = (57.0, 78.0, 92.0)  # half axes of one, across, front to back, feet to head
# How opaque, and HU: ground glass is hazy, -750 to -300; consolidation is as dense as soft tissue.
_OPACITY = ((0.0, 0.25, 0.6, 0.85, 1.0), (_LUNG, -740.0, -420.0, -40.0, 40.0))
_NOISE = 8.0  # HU, standard deviation
_OFFSET = 1024  # stored = HU + this
_PADDING = -2000  # stored, of what lies outside the circle that is reconstructed
_SLICE = generate_uid(UID_PREFIX, ["any slice"])  # UIDs made like this one are all of one length
_NUMBER, _HEIGHT = "900001", "90000.01"
_PIXELS = struct.Struct("<HH2sHL")
_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def draw_chest(
    severity: float, *, num_slices: int, spacing: tuple[float, float], anatomy_seed: int, scan_seed: int
) -> np.ndarray:
    """HU (slice, row, column), float32, of `MATRIX` x `MATRIX` pixels; lungs are as opaque as `severity` says.

    spacing: mm between slices, and between pixels. The same `anatomy_seed` draws the same person, of the same width,
    height and heart as on the film; `scan_seed` changes position, opacities and noise.
    """
    person, scan = np.random.default_rng(anatomy_seed), np.random.default_rng(scan_seed)
    wide, tall, heart = person.normal(1, 0.06), person.normal(1, 0.06), person.normal(1, 0.12)
    step, pixel = spacing
    middle = (MATRIX - 1) / 2
    # mm from between the lungs, whose middle is a little below that of a scan.
    z = (np.arange(num_slices, dtype=np.float32)[:, None, None] - (num_slices - 1) / 2) * step + scan.normal(5, 4)
    y = (np.arange(MATRIX, dtype=np.float32)[None, :, None] - middle) * pixel + scan.normal(0, 4)
    x = (np.arange(MATRIX, dtype=np.float32)[None, None, :] - middle) * pixel + scan.normal(0, 4)

    # The same in all slices: fat around the trunk, the spine at the back, the table below.
    across, deep = _BODY_MM[0] * wide, _BODY_MM[1]
    radius = np.sqrt((x / across) ** 2 + (y / deep) ** 2)
    plane = np.full((1, MATRIX, MATRIX), _AIR, np.float32)
    plane[(np.abs(y - deep - 14 + (x / 60) ** 2) < 6) & (np.abs(x) < 200)] = _TABLE
    plane += _edge(radius, 14) * (_FAT - plane)
    plane += _edge(radius / 0.90, 14) * (_WATER - plane)
    plane += _edge(np.hypot(x, y - 68) / 21, 4) * (_BONE - plane)
    hu = np.repeat(plane, num_slices, axis=0)

    shell = np.abs(radius[0] - 0.88) < 0.035
    along = 0.25 * np.abs(x) - 0.2 * y
    is_rib = np.cos(2 * np.pi * (z[:, 0] + along[0, shell]) / 26) > 0.35
    hu[:, shell] = np.where(is_rib, np.float32(_BONE), hu[:, shell])
    airway = np.hypot(x, y + 6)[0] < 9
    hu[(z[:, 0, 0] > 30)[:, None, None] & airway] = _AIR

    # Only the box that the lungs lie in.
    rows, columns = (np.flatnonzero(np.abs(axis) < reach) for axis, reach in ((y, 90.0), (x, 145.0 * wide)))
    box = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    _draw_lungs(hu[box], z, y[:, rows], x[:, :, columns], severity, (wide, tall, heart), scan)
    hu += np.float32(_NOISE) * scan.standard_normal(hu.shape, dtype=np.float32)
    return hu


def _draw_lungs(
    hu: np.ndarray,
    z: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    severity: float,
    person: tuple[float, float, float],
    scan: np.random.Generator,
) -> None:
    """Put lungs with their vessels and opacities into `hu`. person: width, height and heart, 1 = usual."""
    wide, tall, heart = person
    lungs = np.zeros(hu.shape, np.float32)
    for side in (-1, 1):
        away = ((x - side * 76 * wide) / (_LUNG_MM[0] * wide)) ** 2 + (y / _LUNG_MM[1]) ** 2
        ellipsoid = _edge(np.sqrt(away + (z / (_LUNG_MM[2] * tall)) ** 2), 9)
        # The diaphragm's dome is higher on the right, above the liver.
        dome = -52.0 + 8 * (side < 0) - 46 * away
        np.maximum(lungs, ellipsoid * np.clip((z - dome) / 6, 0, 1), out=lungs)
    shadow = ((x - 24) / (58 * heart)) ** 2 + ((y + 18) / (50 * heart)) ** 2 + ((z + 34) / (56 * heart)) ** 2
    lungs *= 1 - _edge(np.sqrt(shadow), 8)
    inside = lungs > 0
    places = (y / _LUNG_MM[1], -z / _LUNG_MM[2], np.abs(x) / 130)
    posterior, basal, lateral = (np.broadcast_to(place, hu.shape)[inside] for place in places)
    vessels = np.clip(_lumps(scan, hu.shape, (len(hu) // 2, 15, 22))[inside] - 1.1, 0, 1) * 450
    patches = _lumps(scan, hu.shape, (6, 4, 5))[inside]
    # As on the films: denser below and to the sides; and at the back, as COVID-19 pneumonia tends to be.
    burden = 1 / (1 + np.exp(-1.1 * (severity - 0.6)))
    where = np.clip(0.45 + 0.30 * basal + 0.25 * posterior + 0.35 * (lateral - 0.5), 0, 1.3)
    opacity = np.clip(burden * where * (0.95 + 0.75 * patches), 0, 1)
    tissue = np.interp(opacity, *_OPACITY) + 30 * posterior + vessels * (1 - opacity)
    hu[inside] += lungs[inside] * (tissue.astype(np.float32) - hu[inside])


def write_scan(root: str, series: dict[str, Any]) -> tuple[str, int, str]:
    """Write the ZIP of one CT series below `root`; its name relative to it, its size and MD5.

    series: a row of `demo_scans.ct_scans`. Neither the order of the files nor their InstanceNumber is that of slices.
    """
    scanner = SCANNERS[series["site"]]
    seed = int(series["series_uid"].rsplit(".", 1)[-1]) % 2**32
    rng = np.random.default_rng([seed, 1])
    pixel = round(float(rng.normal(4.0, 0.1)), 4)
    hu = draw_chest(
        series["severity"],
        num_slices=series["num_slices"],
        spacing=(scanner.step, pixel),
        anatomy_seed=series["patient"],
        scan_seed=seed,
    )
    numbers = rng.permutation(len(hu) + 1) + 1
    stored = _stored(hu, scanner)
    corner = [-pixel * (MATRIX - 1) / 2, -pixel * (MATRIX - 1) / 2, scanner.table_z - scanner.step * (len(hu) - 1) / 2]
    head = _head(series, scanner, pixel, corner)

    def file_of(place: int, uid: str) -> bytes:
        height = corner[2] + place * scanner.step
        return _slice(head, stored[place], scanner, uid, numbers[place], height)

    uids = [_uid(series, place) for place in range(len(hu))]
    slices = [(uid, file_of(place, uid)) for place, uid in enumerate(uids)]
    fault, half = series["fault"], len(hu) // 2
    if fault == "slice damaged":
        uid, content = slices[half]
        slices[half] = uid, content[: len(content) * 2 // 3]
    elif fault == "slice twice":
        copy = _uid(series, len(hu))
        slices.append((copy, file_of(half, copy)))
    elif fault == "slices missing":
        del slices[half : half + NUM_MISSING]
    elif fault == "part only":
        del slices[int(PART_MM / scanner.step) :]
    if fault.startswith("localizer"):
        slices = slices if fault == "localizer inside" else []
        slices.append((_uid(series, -1), _localizer(series, hu, scanner, pixel, corner)))
    return write_archive(root, series, dict(slices))


def _edge(radius: np.ndarray, sharpness: float) -> np.ndarray:
    """1 inside a radius of 1, 0 outside, soft at the edge: what a voxel holds of both."""
    return np.clip(0.5 + sharpness * (1 - radius), 0, 1)


def _lumps(rng: np.random.Generator, shape: tuple[int, ...], size: tuple[int, int, int]) -> np.ndarray:
    """Smooth noise (slice, row, column) of `shape`: linear between `size` values of standard deviation 1."""
    coarse = rng.standard_normal(size, dtype=np.float32)
    planes = np.stack([cv2.resize(plane, shape[:0:-1]) for plane in coarse])
    return cv2.resize(planes.reshape(size[0], -1), (shape[1] * shape[2], shape[0])).reshape(shape)


def _uid(series: dict[str, Any], place: int) -> str:
    return str(generate_uid(UID_PREFIX, [series["series_uid"], str(place)]))


def _stored(hu: np.ndarray, scanner: Scanner) -> np.ndarray:
    stored = np.rint(np.clip(hu, -_OFFSET, 3071 - _OFFSET) + _OFFSET)
    if not scanner.signed:
        return stored.astype(np.uint16)
    far = np.arange(MATRIX) - (MATRIX - 1) / 2
    stored[:, far[:, None] ** 2 + far**2 > (MATRIX / 2) ** 2] = _PADDING
    return stored.astype(np.int16)


def _head(series: dict[str, Any], scanner: Scanner, pixel: float, corner: list[float]) -> bytes:
    """The file of any slice up to its pixels, with `_SLICE`, `_NUMBER` and `_HEIGHT` for what is its own.

    Encoding it for each slice would take longer than everything else.
    """
    data = new_dicom(series, CTImageStorage, _SLICE)
    data.ImageType, data.InstanceNumber, data.AcquisitionNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], _NUMBER, 1
    data.KVP, data.ConvolutionKernel, data.SliceThickness = 120, scanner.kernel, scanner.step
    data.FrameOfReferenceUID = generate_uid(UID_PREFIX, [series["series_uid"], "frame of reference"])
    data.ImagePositionPatient = [f"{corner[0]:.3f}", f"{corner[1]:.3f}", _HEIGHT]
    data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 1, 0], [pixel, pixel]
    _describe_pixels(data, scanner, (MATRIX, MATRIX))
    if scanner.syntax != "raw":
        data.file_meta.TransferSyntaxUID = JPEGLosslessSV1 if scanner.syntax == "jpeg" else JPEGLSLossless
    content = BytesIO()
    data.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _slice(head: bytes, pixels: np.ndarray, scanner: Scanner, uid: str, number: int, height: float) -> bytes:
    for blank, value in ((_SLICE, uid), (_NUMBER, f"{number:<6d}"), (_HEIGHT, f"{height:8.2f}")):
        head = head.replace(blank.encode(), value.encode())
    if scanner.syntax == "raw":
        content = pixels.tobytes()
        return head + _PIXELS.pack(0x7FE0, 0x0010, b"OW", 0, len(content)) + content
    if scanner.syntax == "jpeg":
        frame = imagecodecs.ljpeg_encode(pixels, bitspersample=16)
    else:
        frame = imagecodecs.jpegls_encode(pixels)
    return head + _PIXELS.pack(0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + encapsulate([bytes(frame)]) + _END


def _localizer(series: dict[str, Any], hu: np.ndarray, scanner: Scanner, pixel: float, corner: list[float]) -> bytes:
    """A view from the front through the whole volume, head up, uncompressed, as one file of the series."""
    data = new_dicom(series, CTImageStorage, _uid(series, -1))
    data.ImageType, data.InstanceNumber, data.KVP = ["ORIGINAL", "PRIMARY", "LOCALIZER"], 1, 120
    data.FrameOfReferenceUID = generate_uid(UID_PREFIX, [series["series_uid"], "frame of reference"])
    data.ImagePositionPatient = [round(corner[0], 3), 0, round(corner[2] + scanner.step * (len(hu) - 1), 3)]
    data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 0, -1], [scanner.step, pixel]
    view = np.rint(np.clip(hu.mean(axis=1)[::-1], -_OFFSET, 3071 - _OFFSET) + _OFFSET)
    _describe_pixels(data, scanner, view.shape)
    data.PixelData = view.astype(np.int16).tobytes()
    data["PixelData"].VR = "OW"
    content = BytesIO()
    data.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _describe_pixels(data: Dataset, scanner: Scanner, shape: tuple[int, ...]) -> None:
    data.PhotometricInterpretation, data.SamplesPerPixel = "MONOCHROME2", 1
    data.Rows, data.Columns = shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(scanner.signed)
    if scanner.signed:
        data.PixelPaddingValue = _PADDING
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = -_OFFSET, 1, "HU"
    data.WindowCenter, data.WindowWidth = -600, 1500
