"""Real CT slices through the image cache: each real series at hand holds one place, so its volume is refused.

What one of them is made of is checked on volumes that repeat it upwards.
"""

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut

from midrc_ml.images.cache import CachedImages, ImageCache
from midrc_ml.images.ct_recipe import CtRecipe

SPACING, SIZE = 8.0, 72  # 576 mm: more than any of these scanners sees
STEP, COUNT = 10.0, 12


def header(path: Path) -> pydicom.Dataset | None:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, EOFError, ValueError):
        return None


def loaded(cache_dir: Path, recipe: CtRecipe, folders: dict[str, Path]) -> CachedImages:
    cache = ImageCache(cache_dir=str(cache_dir), recipe=recipe)
    return cache.load(list(map(str, folders.values())), series=list(folders), num_processes=1)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, for the files that are damaged on purpose
def test_every_real_series_is_refused_because_it_is_at_one_place_only(midrc_ml_data: Path, tmp_path: Path) -> None:
    found = defaultdict(list)
    for path in [*(midrc_ml_data / "dicom").rglob("*"), *(midrc_ml_data / "ny_sbu" / "ct_dicom").glob("*")]:
        data = header(path) if path.is_file() else None
        if data is not None and data.get("Modality") == "CT":
            found[str(data.SeriesInstanceUID)].append((path, data))
    assert sum(map(len, found.values())) == 34 + 20  # the CT rows of the two manifests
    folders, expected = {}, {}
    for uid, files in found.items():
        folders[uid] = tmp_path / uid
        folders[uid].mkdir()
        for number, (path, _) in enumerate(files):
            os.symlink(path, folders[uid] / f"{number}.dcm")
        places = {tuple(data.get("ImagePositionPatient", ())) for _, data in files}
        assert len(places) == 1
        has_frames = any(data.get("NumberOfFrames", 1) != 1 for _, data in files)
        expected[uid] = "a DICOM file of several frames" if has_frames else "one slice only"
    reasons = dict(zip(folders, loaded(tmp_path / "cache", CtRecipe(), folders).reasons, strict=True))
    assert {uid: str(reason).startswith(expected[uid]) for uid, reason in reasons.items()} == dict.fromkeys(found, True)
    assert len(found) == 29
    assert sum(words == "one slice only" for words in expected.values()) == 28


def test_real_slices_repeated_upwards_become_the_volume_of_their_hu(midrc_ml_data: Path, tmp_path: Path) -> None:
    recipe = CtRecipe(size=[15, SIZE, SIZE], spacing_mm=SPACING, center="volume")
    folders, expected = {}, []
    for path in sorted((midrc_ml_data / "ny_sbu" / "ct_dicom").glob("*.dcm"))[::4]:
        data = pydicom.dcmread(path)
        expected.append(expected_slice(data))
        folders[str(data.SeriesInstanceUID)] = folder = tmp_path / path.stem
        folder.mkdir()
        x, y, z = map(float, data.ImagePositionPatient)
        for number in range(COUNT):
            data.ImagePositionPatient = [x, y, round(z + number * STEP, 3)]
            data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
            data.save_as(folder / f"{number * 7 % COUNT}.dcm")
    images = loaded(tmp_path / "cache", recipe, folders)
    assert list(images.reasons) == [None] * 5
    for volume, plane in zip(images.gather(range(5))[:, 0], expected, strict=True):
        for found in volume:
            assert np.abs(found.astype(int) - plane).max() <= 1
        assert plane.min() < 60 < 200 < plane.max()  # air and soft tissue, in the lung window


def expected_slice(data: pydicom.Dataset) -> np.ndarray:
    """The recipe's definition, by pydicom and two matrices: HU, area mean, lung window, in the middle of air."""
    hu = np.clip(apply_modality_lut(data.pixel_array, data), -1024, None).astype(float)
    down, across = (area_means(len(hu), float(step)) for step in data.PixelSpacing)
    small = down @ hu @ across.T
    plane = np.full((SIZE, SIZE), -1024.0)
    top, left = (-round(length / 2 - SIZE / 2) for length in small.shape)
    plane[top : top + len(small), left : left + small.shape[1]] = small
    return np.clip(np.floor((plane + 1350) * 255 / 1500 + 0.5), 0, 255)


def area_means(length: int, spacing: float) -> np.ndarray:
    """(new, old): the share of each new pixel that each old one covers."""
    count = round(length * spacing / SPACING)
    new, old = np.arange(count)[:, None] * SPACING, np.arange(length) * spacing
    shared = np.clip(np.minimum(new + SPACING, old + spacing) - np.maximum(new, old), 0, None)
    return shared / shared.sum(axis=1, keepdims=True)
