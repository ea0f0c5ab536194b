"""The files below a root that may be images of a MIDRC export."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

# Of several copies of a series the first kind is taken: a ZIP is the object that was downloaded.
ZIP, FOLDER, FILES, PICTURE = range(4)
ENDING = r"(?i)\.(?:zip|dcm|dicom|ima|png|jpe?g|tiff?|nii|nii\.gz)$"
# In a note on what a disk or a permission kept from being read: it is tried again, though nothing may have changed.
NOT_THIS_TIME = "could not be read this time"
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz")
_OTHER_ENDING = r"\.[A-Za-z]\w*$"  # of tables, notes and the like: a UID as a name ends in digits
_HEADER_ARCHIVE = "_headers.zip"  # MIDRC's dicom_header files: no image in them


@dataclass(frozen=True)
class Disk:
    """What a walk found.

    folders: absolute paths, each after the one that it lies in. parents: of each folder the number of that one in
    `folders`; the root is its own. files: folder (number), name, stem (the name without the ending of an image), kind
    (ZIP, FILES for DICOM, PICTURE); in the order of folder and name.
    """

    folders: list[str]
    parents: list[int]
    files: pd.DataFrame
    num_header_archives: int
    num_not_listed: int

    def paths(self, files: pd.DataFrame) -> pd.Series:
        """The path of each of these rows of `files`."""
        folders = pd.Series(self.folders, dtype="str").take(files["folder"].to_numpy()).set_axis(files.index)
        return folders + os.sep + files["name"]

    def names_in(self, folder: int) -> list[str]:
        """The names of the files that lie in a folder itself, sorted."""
        first, end = np.searchsorted(self.files["folder"].to_numpy(), [folder, folder + 1])
        return self.files["name"].iloc[first:end].to_list()


def listed(root: Path) -> Disk:
    """The files below `root` that may be images, by their names: an ending of an image, or none; nothing hidden."""
    numbers: dict[str, int] = {}
    parents: list[int] = []
    names: list[str] = []
    counts: list[int] = []
    errors: list[OSError] = []
    for number, (folder, folders, in_folder) in enumerate(walk(Path(os.path.abspath(root)), onerror=errors.append)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        numbers[folder] = number
        parents.append(numbers.get(os.path.dirname(folder), 0))
        names += in_folder
        counts.append(len(in_folder))
    name = pd.Series(names, dtype="str")
    lower = name.str.lower()
    stem = name.str.replace(ENDING, "", regex=True)
    archive = lower.str.endswith(_HEADER_ARCHIVE)
    # macOS leaves ._film.dcm beside film.dcm.
    may_be = (stem != name) | ~name.str.contains(_OTHER_ENDING, regex=True)
    may_be &= ~archive & ~name.str.startswith(".") & (name != "DICOMDIR")
    kind = np.select([lower.str.endswith(".zip"), lower.str.endswith(_PICTURES)], [ZIP, PICTURE], FILES)
    folder_number = np.repeat(np.arange(len(counts)), counts)
    files = pd.DataFrame({"folder": folder_number, "name": name, "stem": stem, "kind": kind})
    return Disk(
        folders=list(numbers),
        parents=parents,
        files=files[may_be].reset_index(drop=True),
        num_header_archives=int(archive.sum()),
        num_not_listed=len(errors),
    )


def walk(
    root: Path, *, onerror: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder from `root` down with its folders and files, in the order of their names.

    Links are followed; a folder that several paths lead to is entered once, so that a circle of links ends. onerror is
    called with the error of a folder that cannot be listed.
    """
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=onerror):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        yield folder, folders, sorted(files)
