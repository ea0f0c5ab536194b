"""Series of a MIDRC export whose files have names that say nothing: known by their DICOM headers."""

import os
from bisect import bisect_left

import pandas as pd

from midrc_ml.cohorts.midrc_disk import FILES, FOLDER, NOT_THIS_TIME, ZIP, Disk
from midrc_ml.images.files import TRY_AGAIN, pattern_of
from midrc_ml.images.headers import scan_headers
from midrc_ml.processes import num_cores

_NUM_PROCESSES = 2
# Column: of `scan_headers`.
_FROM_HEADER = {
    "series_uid": "series_uid",
    "study_uid": "study_uid",
    "case_id": "patient_id",
    "modality": "modality",
    "view": "view",
    "manufacturer": "manufacturer",
    "manufacturer_model": "manufacturer_model",
    "description": "series_description",
}
FOUND_COLUMNS = (*_FROM_HEADER, "instances", "file")


def series_by_header(disk: Disk, files: pd.DataFrame, cache_dir: str | None, notes: list[str]) -> pd.DataFrame:
    """The series in `files` (rows of `disk.files`): `FOUND_COLUMNS` and kind, one row for each place of a series.

    A ZIP is known by its first file; one of several series is counted and not used. A folder that has the name of the
    series in it is known by its first file too; in any other each file is opened. instances: how many files there are
    of the series. file: the ZIP; the folder, where nothing else lies in it; the one file; or the pattern of their
    names, where the files have one of their own, else the first of them.
    """
    files = files.assign(file=disk.paths(files))
    is_zip = files["kind"] == ZIP
    is_first = is_zip | ~files["folder"].where(~is_zip, -1).duplicated()
    headers = _with_headers(files[is_first], cache_dir)
    is_mixed = headers["num_series"] > 1
    if is_mixed.any():
        notes.append(
            f"{int(is_mixed.sum())} ZIPs that are named by no series hold several; they are not used (unpack them)"
        )
        headers = headers[~is_mixed]
    folder_names = [os.path.basename(disk.folders[folder]) for folder in headers["folder"]]
    is_whole = (headers["kind"] == FILES) & (headers["series_uid"] == pd.Series(folder_names, index=headers.index))
    of_whole = ~is_zip & files["folder"].isin(headers.loc[is_whole, "folder"])
    whole = headers[is_whole].assign(
        kind=FOLDER,
        file=lambda rows: [disk.folders[folder] for folder in rows["folder"]],
        instances=lambda rows: rows["folder"].map(files[of_whole].groupby("folder").size()),
    )
    others = pd.concat([headers[~is_whole], _with_headers(files[~is_first & ~of_whole], cache_dir)])
    unreadable = others["series_uid"].isna()
    passing = int(others["reason"].str.startswith(TRY_AGAIN).eq(True).sum())
    if passing:
        notes.append(f"{passing} files that are named by no series {NOT_THIS_TIME} (a disk, a permission)")
    # A file without any ending may be anything; one that is called an image and is none is told.
    lost = int((unreadable & (others["name"] != others["stem"])).sum())
    if lost:
        notes.append(f"{lost} files are named by no series and have no DICOM header that names one; they are not used")
    others = others[~unreadable].sort_values(["folder", "instance_number", "name"])
    is_file = others["kind"] == FILES
    size = (
        others[is_file].groupby(["folder", "series_uid"])["file"].transform("size").reindex(others.index, fill_value=1)
    )
    several = _several(disk, others[size > 1], notes)
    return pd.concat([whole, others[size == 1], several], ignore_index=True)[[*FOUND_COLUMNS, "kind"]]


def _with_headers(files: pd.DataFrame, cache_dir: str | None) -> pd.DataFrame:
    headers = scan_headers(files["file"].to_list(), cache_dir=cache_dir, num_processes=min(_NUM_PROCESSES, num_cores()))
    columns = {**_FROM_HEADER, **{name: name for name in ("instances", "instance_number", "num_series", "reason")}}
    return files.assign(**{name: headers[theirs].to_numpy() for name, theirs in columns.items()})


def _several(disk: Disk, files: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One row for each series of several files in a folder, with the one path that stands for them."""
    rows = files.drop_duplicates(["folder", "series_uid"])
    above = _above_files(disk)
    kinds, paths, sizes, scattered = [], [], [], 0
    # Both groupings keep the order of the rows.
    for folder, in_folder in files.groupby("folder", sort=False):
        names = disk.names_in(int(folder))
        for _, group in in_folder.groupby("series_uid", sort=False):
            kind, path = FILES, _pattern(disk.folders[folder], group["name"].to_list(), names)
            if len(group) == len(names) and folder not in above:
                kind, path = FOLDER, disk.folders[folder]
            elif path is None:
                scattered += 1
                path = group["file"].iloc[0]
            kinds.append(kind)
            paths.append(path)
            sizes.append(len(group))
    if scattered:
        notes.append(
            f"{scattered} series lie in several files beside those of others and without names of their own; "
            f"each is counted with its first image"
        )
    return rows.assign(kind=kinds, file=paths, instances=sizes)


def _pattern(folder: str, names: list[str], in_folder: list[str]) -> str | None:
    """The path that stands for the files with these names and for no others of the folder, if there is one."""
    start = os.path.commonprefix(names)  # noqa: RUF071 of names, not of paths
    endings = {os.path.splitext(name)[1] for name in names}
    ending = endings.pop() if len(endings) == 1 else ""
    if len(start) + len(ending) > min(map(len, names)):
        ending = ""
    first = bisect_left(in_folder, start)
    matching = 0
    for position in range(first, len(in_folder)):
        if not in_folder[position].startswith(start) or matching > len(names):
            break
        matching += in_folder[position].endswith(ending)
    return pattern_of(folder, start, ending) if matching == len(names) else None


def _above_files(disk: Disk) -> set[int]:
    """The folders below which, deeper than in themselves, lie files that may be images."""
    above: set[int] = set()
    for number in disk.files["folder"].unique().tolist():
        parent = disk.parents[number]
        while parent != number and parent not in above:
            above.add(parent)
            number, parent = parent, disk.parents[parent]
    return above
