"""Where the images of somebody's own tables lie: paths as they stand in the tables, against what is on disk."""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

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
    unused = _unused(folder, {place for place in places.values() if place})
    if unused:
        notes.append(f"{len(unused)} image files in the image folder belong to no study")
    return FoundImages(files=files, unused=tuple(unused), notes=tuple(notes))


def _place(path: str, folder: Path) -> str | None:
    for spelling in (path, path.replace("\\", "/")):
        place = os.path.normpath(os.path.join(folder, os.path.expanduser(spelling)))
        if os.path.exists(place):
            return place
    return None


def _unused(folder: Path, used: set[str]) -> list[str]:
    """The images below `folder` that are neither used nor inside a folder that is, by name."""
    unused = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and os.path.join(place, name) not in used]
        images = (name for name in files if name.lower().endswith(_ENDINGS) and not name.startswith("."))
        unused += [os.path.join(place, name) for name in images if os.path.join(place, name) not in used]
    return sorted(unused)
