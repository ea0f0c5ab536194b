"""Where the images of each series of a MIDRC export lie: by the names of ZIPs, folders and files, else by headers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from midrc_ml.cohorts.midrc_disk import ENDING, FOLDER, PICTURE, ZIP, Disk, listed
from midrc_ml.cohorts.midrc_unnamed import FOUND_COLUMNS, series_by_header
from midrc_ml.images.files import pattern_of


@dataclass(frozen=True)
class SeriesFiles:
    """The images of the series of an export.

    files: aligned with the rows asked for: the absolute path of the ZIP, the folder or the one file, or a pattern
    (`images.files.pattern_of`) that stands for several files; missing where there is none. found: the series on disk
    that no row names, one row each with `FOUND_COLUMNS`, as their headers say. notes: sentences with counts.
    """

    files: pd.Series
    found: pd.DataFrame
    notes: tuple[str, ...]


def find_series_files(root: Path, series: pd.DataFrame, *, cache_dir: str | None = None) -> SeriesFiles:
    """The images of each row of `series` (columns series_uid, file_name, object_id: text, missing allowed).

    A series may lie anywhere below `root`: as its ZIP, unpacked in a folder, or in files beside those of others. The
    ZIP, the folder or the file is named by the last part of its file_name, its series_uid or the last part of its
    object_id; the last two may also stand between underscores. A ZIP is taken before a folder, that before files, and
    of several such the first by path. Images with other names are known by their DICOM headers: only those are
    opened, and what they say is kept below `cache_dir`.
    """
    disk = listed(root)
    # Without a file there is nothing to look up, and a million rows need not be prepared for it.
    keys = _Keys(series if len(disk.files) else series.iloc[:0])
    notes: list[str] = []
    owners, code_of_folder = _owners(disk, keys)
    owner = owners[disk.files["folder"].to_numpy()]
    in_folder = (owner >= 0) & (disk.files["kind"] != ZIP).to_numpy()
    folders = np.unique(owner[in_folder])
    unpacked = pd.DataFrame(
        {"code": code_of_folder[folders], "kind": FOLDER, "file": [disk.folders[number] for number in folders]}
    )
    rest = disk.files[~in_folder]
    code, part_ends = keys.find(rest["stem"])
    named = _named_files(disk, rest[code >= 0], code[code >= 0], part_ends[code >= 0])
    unnamed = rest[code < 0]
    pictures = unnamed["kind"] == PICTURE
    if pictures.any():
        notes.append(f"{int(pictures.sum())} pictures are named by no series; they are not used")
    by_header = series_by_header(disk, unnamed[~pictures], cache_dir, notes)
    by_header["code"], _ = keys.find(by_header["series_uid"])
    is_known = by_header["code"] >= 0
    if is_known.any():
        count = by_header.loc[is_known, "code"].nunique()
        notes.append(f"{count} series lie in files whose names do not tell; they were found by their headers")
    columns = ["code", "kind", "file"]
    places = _one_each(pd.concat([unpacked, named, by_header.loc[is_known, columns]], ignore_index=True), "code", notes)
    found = _one_each(by_header[~is_known], "series_uid", notes).sort_values("series_uid", ignore_index=True)
    if disk.num_header_archives:
        notes.append(f"{disk.num_header_archives} ZIPs of headers (*_headers.zip) hold no images and are not read")
    if disk.num_not_listed:
        notes.append(f"{disk.num_not_listed} folders cannot be listed (permissions); what is in them is not found")
    place = np.full(keys.num_codes + 1, -1)  # the last for rows that name nothing
    place[places["code"].to_numpy(np.int64)] = np.arange(len(places))
    code_of_row = keys.code_of_row if len(disk.files) else np.full(len(series), -1)
    files = pd.Series(places["file"].array.take(place[code_of_row], allow_fill=True), index=series.index, dtype="str")
    return SeriesFiles(files=files, found=found[list(FOUND_COLUMNS)], notes=tuple(notes))


class _Keys:
    """The names of series, and the number (code) of the series that each stands for."""

    def __init__(self, series: pd.DataFrame) -> None:
        uid, by_file, by_object = (_last_part(series[name]) for name in ("series_uid", "file_name", "object_id"))
        by_file = by_file.str.replace(ENDING, "", regex=True)
        self.code_of_row, distinct = pd.factorize(uid.fillna(by_file).fillna(by_object))
        self.num_codes = len(distinct)
        ids = [self._table(uid), self._table(by_object)]
        self._parts = self._joined(ids)
        # Nearly always the name of the file is the series_uid.
        self._whole = self._joined([*ids, self._table(by_file.mask(by_file == uid))])

    def find(self, names: pd.Series, *, by_file_name: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Per name the code of its series, -1 for none; and where in it the part ends that told, -1 for the whole."""
        texts = _arrow(names)
        code = _lookup(texts, self._whole if by_file_name else self._parts)
        part_ends = np.full(len(code), -1)
        has_parts = pc.match_substring(texts, "_").fill_null(False).to_numpy(zero_copy_only=False)
        rest = np.flatnonzero((code < 0) & has_parts)
        lists = pc.split_pattern(texts.take(pa.array(rest)), "_")
        parts, of_name = pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()
        found = _lookup(parts, self._parts)
        hits = np.flatnonzero(found >= 0)
        hit_names, first = np.unique(of_name[hits], return_index=True)
        hits = hits[first]
        ends = np.cumsum(pc.utf8_length(parts).to_numpy() + 1)  # each with its underscore, over all names
        begins = np.searchsorted(of_name, hit_names)
        code[rest[hit_names]] = found[hits]
        part_ends[rest[hit_names]] = ends[hits] - np.where(begins > 0, ends[begins - 1], 0)
        return code, part_ends

    def _table(self, names: pd.Series) -> pd.DataFrame:
        """Each name with its code; without those that stand for several series."""
        table = pd.DataFrame({"name": names.array, "code": self.code_of_row}).dropna(subset="name")
        if table["name"].duplicated().any():
            table = table.drop_duplicates()
            table = table[~table["name"].duplicated(keep=False)]
        return table

    @staticmethod
    def _joined(tables: Sequence[pd.DataFrame]) -> tuple[pa.Array, np.ndarray]:
        together = pd.concat(tables).drop_duplicates("name")
        return _arrow(together["name"]), together["code"].to_numpy()


def _last_part(names: pd.Series) -> pd.Series:
    return names.astype(pd.Series(dtype="str").dtype).str.replace(r"^.*[/\\]", "", regex=True)


def _arrow(names: pd.Series) -> pa.Array:
    array = pa.array(names, from_pandas=True).cast(pa.large_string())
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _lookup(names: pa.Array, table: tuple[pa.Array, np.ndarray]) -> np.ndarray:
    known, codes = table
    if names.null_count == len(names):
        return np.full(len(names), -1)  # without the cost of hashing what is known
    place = pc.index_in(names, value_set=known, skip_nulls=True).fill_null(-1).to_numpy()
    return np.append(codes, -1)[place]


def _owners(disk: Disk, keys: _Keys) -> tuple[np.ndarray, np.ndarray]:
    """Per folder the one, it or one above it, that is named for a series, -1 for none; and per folder the code."""
    names = pd.Series([os.path.basename(folder) for folder in disk.folders], dtype="str")
    names[:1] = None  # a user's own name for the root says nothing
    by_any, _ = keys.find(names)
    by_id, _ = keys.find(names.where(by_any >= 0), by_file_name=False)
    owners: list[int] = []
    for number, parent in enumerate(disk.parents):
        owners.append(number if by_id[number] >= 0 or not number else owners[parent])
    # The name of a ZIP need not be an id: `images.zip` unpacks to a folder, but not all below an `images` is of it.
    inherited = np.where(np.array(owners, dtype=np.int64) > 0, owners, -1).astype(np.int64)
    return np.where((inherited < 0) & (by_any >= 0), np.arange(len(names)), inherited), np.where(
        by_id >= 0, by_id, by_any
    )


def _named_files(disk: Disk, files: pd.DataFrame, code: np.ndarray, part_ends: np.ndarray) -> pd.DataFrame:
    """The places (code, kind, file) of files that their names tell: those of one series in one folder are one place."""
    rows = files[["folder", "name", "stem", "kind"]].assign(code=code, file=disk.paths(files))
    is_part = (part_ends >= 0) & (rows["kind"] != ZIP).to_numpy()
    whole, rows = rows[~is_part], rows[is_part]
    stems, names = rows["stem"].to_list(), rows["name"].to_list()
    starts = [stem[:end] for stem, end in zip(stems, part_ends[is_part], strict=True)]
    endings = [name[len(stem) :] for name, stem in zip(names, stems, strict=True)]
    by = ["folder", "code", "start", "ending"]
    rows = rows.assign(start=starts, ending=endings)
    size = rows.groupby(by)["name"].transform("size")
    several = rows[size > 1].drop_duplicates(by)
    patterns = [
        pattern_of(disk.folders[folder], start, ending)
        for folder, start, ending in zip(several["folder"], several["start"], several["ending"], strict=True)
    ]
    places = [whole, rows[size == 1], several.assign(file=patterns)]
    return pd.concat([each[["code", "kind", "file"]] for each in places])


def _one_each(places: pd.DataFrame, key: str, notes: list[str]) -> pd.DataFrame:
    """The place of each series that comes first: by kind, then by path; those in several places are counted."""
    repeated = places[key].duplicated(keep=False)
    if not repeated.any():
        return places
    several = places[repeated]
    # A picture beside a DICOM file is a preview of it.
    best = several.groupby(key)["kind"].transform("min")
    several = several[(several["kind"] != PICTURE) | (best == PICTURE)]
    kinds = several.groupby(key)["kind"].agg(["min", "max", "size"])
    both = (kinds["min"] == ZIP) & (kinds["max"] > ZIP)
    copies = ~both & (kinds["size"] > 1)
    if both.any():
        notes.append(f"{int(both.sum())} series lie both as a ZIP and unpacked; each is counted once, from the ZIP")
    if copies.any():
        notes.append(f"{int(copies.sum())} series lie in several places; each is counted once, from the first by path")
    first = several.sort_values([key, "kind", "file"]).drop_duplicates(key)
    return pd.concat([places[~repeated], first], ignore_index=True)
