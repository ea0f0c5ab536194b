"""Draw an invented chest film and write it as DICOM inside a ZIP, the way MIDRC hands out a series.

axes: row (head to feet), column (patient's right to left). Values 0..1, bright = dense.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

from midrc_ml.cohorts.demo_patients import SITES, UID_PREFIX, Site

LABEL = "SYNTHETIC - drawn by midrc_ml, no patient"
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # fixed, so that the same seed writes the same bytes


def draw_film(
    severity: float, *, shape: tuple[int, int], anatomy_seed: int, film_seed: int, lateral: bool = False
) -> np.ndarray:
    """A chest film of `shape` (rows, columns), float32 in 0..1, whose lungs are as opaque as `severity` says.

    The same `anatomy_seed` draws the same person; `film_seed` changes position, exposure and noise.
    """
    person, film = np.random.default_rng(anatomy_seed), np.random.default_rng(film_seed)
    rows, columns = shape
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = y / rows + film.normal(0, 0.012), x / columns + film.normal(0, 0.012)
    width, height, heart = person.normal(1, 0.06), person.normal(1, 0.06), person.normal(1, 0.12)
    # Soft tissue inside a rounded torso, dark air around it.
    picture = 0.04 + 0.52 * _inside((x - 0.5) / 0.47, (y - 0.62) / 0.66, sharpness=14, square=True)
    if lateral:
        lungs = _inside((x - 0.5) / (0.30 * width), (y - 0.45) / (0.34 * height), sharpness=9)
    else:
        right = _inside((x - 0.5 + 0.205) / (0.145 * width), (y - 0.44) / (0.31 * height), sharpness=9)
        left = _inside((x - 0.5 - 0.205) / (0.140 * width), (y - 0.43) / (0.30 * height), sharpness=9)
        lungs = np.maximum(right, left)
    air = 0.40 * lungs
    heart_shadow = _inside((x - 0.545) / (0.125 * heart), (y - 0.60) / (0.13 * heart), sharpness=8)
    spine = np.exp(-(((x - 0.5) / 0.035) ** 2))
    ribs = np.sin((y - 0.9 * (x - 0.5) ** 2) * 2 * np.pi * 10.5 + person.uniform(0, 6)) * lungs
    # Consolidation: patchy, denser below and to the sides, as COVID-19 pneumonia tends to be.
    coarse = film.normal(size=(7, 6)).astype(np.float32)
    patches = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    lower_outer = np.clip(0.35 + 0.9 * (y - 0.2) + 0.6 * np.abs(x - 0.5), 0, 1.3)
    burden = 1 / (1 + np.exp(-1.1 * (severity - 0.6)))
    opacity = lungs * np.clip(burden * lower_outer * (0.85 + 0.45 * patches), 0, 1)
    picture = (
        picture - air * (1 - 0.85 * opacity) + 0.035 * ribs + 0.16 * spine + 0.20 * heart_shadow * (1 - 0.3 * lungs)
    )
    noise = cv2.GaussianBlur(film.standard_normal(shape, dtype=np.float32), (0, 0), 0.8)
    picture = film.normal(1, 0.05) * picture + film.normal(0, 0.02) + 0.02 * noise
    return np.clip(picture, 0, 1).astype(np.float32)


def add_marks(picture: np.ndarray, *, site: int, view: str) -> np.ndarray:
    """A site's lead letter in a top corner and the view below it: the shortcut that an audit can find."""
    rows, columns = picture.shape
    left = int(columns * (0.04 if site % 2 == 0 else 0.80))
    scale = columns / 400
    lead = np.zeros(picture.shape, np.uint8)
    cv2.putText(lead, "RLX"[site], (left, int(rows * 0.09)), cv2.FONT_HERSHEY_SIMPLEX, 1.2 * scale, 255, 3)
    if view == "AP":
        cv2.putText(lead, "AP", (left, int(rows * 0.17)), cv2.FONT_HERSHEY_SIMPLEX, 0.9 * scale, 255, 2)
    return np.maximum(picture, lead.astype(np.float32) / 255)


def write_series(root: str, film: dict[str, Any]) -> tuple[str, int, str]:
    """Write the ZIP of one film below `root`; its name relative to it, its size and MD5."""
    site = SITES[film["site"]]
    picture = draw_film(
        film["severity"],
        shape=site.shape,
        anatomy_seed=film["anatomy_seed"],
        film_seed=int(film["sop_uid"].rsplit(".", 1)[-1]) % 2**32,
        lateral=film["view"] == "LATERAL",
    )
    if film["mark"]:
        picture = add_marks(picture, site=film["site"], view=film["view"])
    content = BytesIO()
    _dicom(picture, film, site).save_as(content, enforce_file_format=True)
    return write_archive(root, film, {film["sop_uid"]: content.getvalue()})


def write_archive(root: str, series: dict[str, Any], files: Mapping[str, bytes]) -> tuple[str, int, str]:
    """Write the ZIP of a series, of `files` by their SOPInstanceUID; its name below `root`, size and MD5."""
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as package:
        for sop_uid, content in files.items():
            package.writestr(zipfile.ZipInfo(f"{series['series_uid']}/{sop_uid}.dcm", _ZIP_DATE), content)
    name = f"{series['case_id']}/{series['study_uid']}/{series['series_uid']}.zip"
    path = Path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive.getvalue())
    return name, archive.tell(), hashlib.md5(archive.getvalue()).hexdigest()


def new_dicom(series: dict[str, Any], sop_class: str, sop_uid: str) -> Dataset:
    """A data set without pixels, that says whose it is and that nobody stands behind it; explicit, little endian."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = sop_class, sop_uid
    data.StudyInstanceUID, data.SeriesInstanceUID = series["study_uid"], series["series_uid"]
    data.PatientID, data.PatientName, data.PatientComments = series["case_id"], "SYNTHETIC", LABEL
    data.PatientIdentityRemoved, data.LongitudinalTemporalInformationModified = "YES", "MODIFIED"
    data.StudyDate, data.StudyTime, data.AccessionNumber, data.StudyID = "19600101", "000000", "", ""
    data.Modality, data.Manufacturer = series["modality"], SITES[series["site"]].manufacturer
    data.BodyPartExamined, data.SeriesNumber, data.InstanceNumber = "CHEST", 1, 1
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(sop_uid)
    data.file_meta.ImplementationClassUID = generate_uid(UID_PREFIX, ["implementation"])
    return data


def _dicom(picture: np.ndarray, film: dict[str, Any], site: Site) -> Dataset:
    top = 2**site.bits - 1
    pixels = np.round(picture * top).astype(np.uint16)
    if site.photometric == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2: the lowest value is shown white
        pixels = (top - pixels).astype(np.uint16)
    is_cr = site.modality == "CR"
    data = new_dicom(
        film, ComputedRadiographyImageStorage if is_cr else DigitalXRayImageStorageForPresentation, film["sop_uid"]
    )
    data.ViewPosition = film["view"]
    data.ImageType = ["DERIVED", "PRIMARY"]
    data.PhotometricInterpretation, data.SamplesPerPixel = site.photometric, 1
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, site.bits, site.bits - 1, 0
    data.PresentationLUTShape = "INVERSE" if site.photometric == "MONOCHROME1" else "IDENTITY"
    data.WindowCenter, data.WindowWidth = top / 2, top
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OW"
    if site.syntax != "raw":
        syntax = RLELossless if site.syntax == "rle" else JPEG2000Lossless
        data.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    return data


def _inside(x: np.ndarray, y: np.ndarray, *, sharpness: float, square: bool = False) -> np.ndarray:
    """1 inside the ellipse (or rounded square) of unit half-axes, 0 outside, soft at the edge."""
    x, y = x * x, y * y
    radius = np.sqrt(np.sqrt(x * x + y * y)) if square else np.sqrt(x + y)
    return 1 / (1 + np.exp(np.clip(sharpness * 3 * (radius - 1), -40, 40)))
