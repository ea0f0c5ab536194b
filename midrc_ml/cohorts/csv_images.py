"""Where the images of somebody's own tables lie: paths as they stand in the tables, against what is on disk."""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.contradictions import Contradiction

# What an image file or the folder or archive of a series is called; DICOM files often have no ending at all.
_ENDINGS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz", ".zip")


@dataclass(frozen=True)
class FoundImages:
    """files: the absolute path of each image, missing where it is not there. unused: those of no row, by their path."""

    files: pd.Series
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def find_images(paths: pd.Series, folder: Path) -> FoundImages:
    """The images of `paths`: absolute, or relative to `folder`, with slashes of either kind.

    Each is a DICOM file, a picture, a NIfTI file, or the folder or ZIP of a series.
    """
    places = {path: _place(str(path), folder) for path in paths.dropna().unique()}
    files = paths.map(places).astype(object)
    notes = []
    named, lost = int(paths.notna().sum()), int((paths.notna() & files.isna()).sum())
    if lost:
        hint = "; say with `images:` which folder the paths start from" if lost == named else ""
        notes.append(f"{lost} of {named} image paths lead to no file{hint}")
    unused = _unused(folder, {os.path.realpath(place) for place in places.values() if place})
    if unused:
        notes.append(f"{len(unused)} image files in the image folder belong to no study")
    return FoundImages(files=files, unused=tuple(unused), notes=tuple(notes))


def shared_images(
    series: pd.DataFrame, studies: pd.DataFrame, cases: pd.DataFrame
) -> tuple[tuple[str, ...], Contradiction]:
    """A note on images that several studies use, by whatever path, and those that are of several patients."""
    used = series[["study_id", "file"]].dropna()
    real = {place: os.path.realpath(place) for place in used["file"].unique()}
    used = used.assign(image=used["file"].map(real)).merge(studies[["study_id", "case_id"]], on="study_id")
    used = used.merge(cases[["case_id", "patient_id"]], on="case_id")
    by_image = used.groupby("image")
    several = int((by_image["study_id"].nunique() > 1).sum())
    notes = (f"{several} image files are used by several studies each",) if several else ()
    patients = by_image["patient_id"].nunique()
    strange = patients.index[patients > 1]
    of_them = used.loc[used["image"].isin(strange), "case_id"]
    return notes, Contradiction(len(strange), "image files are used by studies of several patients", frozenset(of_them))


def _place(path: str, folder: Path) -> str | None:
    for spelling in (path, path.replace("\\", "/")):
        place = os.path.normpath(os.path.join(folder, os.path.expanduser(spelling)))
        if os.path.exists(place):
            return place
    return None


def _unused(folder: Path, used: set[str]) -> list[str]:
    """The images below `folder` that are neither used nor inside a folder that is, by name.

    used: real paths: the folder, or the way to an image, may lead through a link.
    """
    unused = []
    for place, folders, files in os.walk(folder):
        real = os.path.realpath(place)
        folders[:] = [name for name in folders if not name.startswith(".") and os.path.join(real, name) not in used]
        for name in files:
            if name.startswith(".") or not name.lower().endswith(_ENDINGS):
                continue
            image = os.path.join(real, name)
            if image not in used and not (os.path.islink(image) and os.path.realpath(image) in used):
                unused.append(os.path.join(place, name))
    return sorted(unused)
