"""The series of an export, each once: from series files, the explorer's data_file table, and manifests."""

from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.midrc_files import Export
from midrc_ml.cohorts.midrc_images import find_series_files
from midrc_ml.cohorts.midrc_lists import exploded, first_item, looked_up, per_distinct
from midrc_ml.cohorts.midrc_nodes import DATA_FILE, DATA_FILE_COLUMNS, SERIES_NODES
from midrc_ml.cohorts.midrc_patients import without_prefix
from midrc_ml.errors import TableError
from midrc_ml.tables.keys import is_among

_IMAGE_SUFFIXES = (".zip", ".dcm", ".nii", ".nii.gz")
_FIRST_FORMAT = "DCM"  # of a series that is there as DICOM and as NIfTI, DICOM has the header


def series_rows(export: Export, copies: pd.DataFrame | None, notes: list[str]) -> pd.DataFrame | None:
    """One row a series; None where no file says anything of series. Takes these nodes out of `export`.

    copies: every copy of every study, by whose ids a series names its study. Columns are those of the series nodes,
    with series_uid and study_uid filled where a link, an object or a path tells them.

    Raises:
        TableError: a series that is linked to two studies.
    """
    frames = []
    for name, modality in SERIES_NODES.items():
        if name in export.nodes:
            node = export.nodes.pop(name)
            frames.append(node.assign(modality=node["modality"].fillna(modality)))
    if DATA_FILE in export.nodes:
        frames.append(_image_files(export.nodes.pop(DATA_FILE), notes))
    if not frames:
        return None
    rows = pd.concat(frames, ignore_index=True)
    frames.clear()
    rows = rows.assign(series_uid=_series_uids(rows))
    rows["study_uid"] = _study_uids(rows, copies)
    nameless = rows["series_uid"].isna()
    if nameless.any():
        notes.append(
            f"series: {int(nameless.sum())} files name no series, by uid, path or object; they are not used "
            f"(a manifest needs the data_file table beside it)"
        )
        rows = rows[~nameless]
    rows = _once(rows, notes)
    nowhere = rows["study_uid"].isna()
    if nowhere.any():
        notes.append(f"series: {int(nowhere.sum())} rows name no study, by link or by path; they are left out")
        rows = rows[~nowhere]
    if copies is not None:
        strays = int((~is_among(rows["study_uid"], copies["study_id"])).sum())
        if strays:
            notes.append(f"series: {strays} rows name a study that is in no imaging_study row; they are not used")
    return rows.reset_index(drop=True)


def with_files(
    rows: pd.DataFrame | None, copies: pd.DataFrame | None, root: Path, cache_dir: str | None, notes: list[str]
) -> pd.DataFrame:
    """The series table: the `rows` with their images, and the series on disk that no row names, of known studies."""
    if rows is None:
        rows = pd.DataFrame({column.name: pd.Series(dtype="str") for column in DATA_FILE_COLUMNS})
    images = find_series_files(root, rows[["series_uid", "file_name", "object_id"]], cache_dir=cache_dir)
    notes += images.notes
    named = pd.DataFrame(
        {
            "series_id": rows["series_uid"],
            "study_id": rows["study_uid"],
            "modality": rows["modality"],
            "view": first_item(rows["view_position"]),
            "manufacturer": rows["manufacturer"],
            "manufacturer_model": rows["manufacturer_model_name"],
            "description": rows["series_description"],
            "instances": rows["number_of_instances"].astype("float64"),
            "file": images.files,
        }
    )
    known = rows["study_uid"] if copies is None else copies["study_id"]
    found = images.found.rename(columns={"series_uid": "series_id", "study_uid": "study_id"})
    is_known = is_among(found["study_id"], known)
    if not is_known.all():
        notes.append(
            f"{int((~is_known).sum())} series on disk are of no study that the export names; they are not used"
        )
    if is_known.any():
        notes.append(
            f"{int(is_known.sum())} series on disk are in no series file node; they are read from their headers"
        )
        strangers = 0 if copies is None else _of_strangers(found[is_known], copies)
        if strangers:
            notes.append(
                f"{strangers} of these name another patient in their header than the case of their study, which is "
                f"believed"
            )
        named = pd.concat([named, found.loc[is_known, list(named.columns)]], ignore_index=True)
    if copies is not None and named["file"].notna().any():
        bare = int((~is_among(known.drop_duplicates(), named.loc[named["file"].notna(), "study_id"])).sum())
        if bare:
            notes.append(f"{bare} studies have no image below the root")
    return named


def _of_strangers(found: pd.DataFrame, copies: pd.DataFrame) -> int:
    """How many series have a PatientID in their header that is none of the cases of their study."""
    named = found.dropna(subset="case_id")
    pairs = named["study_id"] + "\x1f" + without_prefix(named["case_id"])
    known = copies["study_id"] + "\x1f" + without_prefix(copies["case_id"])
    return int((~pairs.isin(known)).sum())


def _image_files(node: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The rows of the data_file table that are image series: the explorer mixes them with annotation files."""
    named = node["source_node"].notna()
    by_name = node["file_name"].isna() | node["file_name"].str.lower().str.endswith(_IMAGE_SUFFIXES, na=False)
    is_image = node["source_node"].isin(SERIES_NODES).where(named, by_name).astype(bool)
    if not is_image.all():
        notes.append(f"data_file: {int((~is_image).sum())} rows are no image series (annotations ...); not read")
    modality = node["modality"].fillna(node["source_node"].map(SERIES_NODES))
    return node.assign(modality=modality)[is_image]


def _series_uids(rows: pd.DataFrame) -> pd.Series:
    """`series_uid`; where it is blank, that of another row with the same object, else the name of the file."""
    uid = rows["series_uid"]
    missing = uid.isna()
    if not missing.any():
        return uid
    uid = uid.fillna(looked_up(rows["object_id"], rows["object_id"], uid))
    return uid.fillna(per_distinct(rows["file_name"].where(missing), _stem))


def _study_uids(rows: pd.DataFrame, copies: pd.DataFrame | None) -> pd.Series:
    """The study of each row: by its column, its link, its object, or the folder in `<case>/<study>/<series>.zip`."""
    link = first_item(rows["imaging_studies.submitter_id"])
    if copies is not None:
        # A study's submitter_id may be its uid or <case>_<uid>: the imaging_study node knows which.
        other = copies[copies["submitter_id"] != copies["study_id"]]
        link = looked_up(link, other["submitter_id"], other["study_id"]).fillna(link)
    study = rows["study_uid"].fillna(link)
    missing = study.isna()
    if missing.any() and copies is not None and copies["object_id"].notna().any():
        objects = exploded(copies["object_id"])
        study = study.fillna(looked_up(rows["object_id"], objects, copies["study_id"].loc[objects.index]))
        missing = study.isna()
    if missing.any():
        study = study.fillna(per_distinct(rows["file_name"].where(missing), _folder))
    return study


def _once(rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Each series once: the row of a node before one of the data_file table, DICOM before another format."""
    repeated = rows["series_uid"].duplicated(keep=False)
    if not repeated.any():
        return rows
    several = rows[repeated].assign(
        _later=rows.loc[repeated, "source_node"].notna() if "source_node" in rows else False,
        _format=rows.loc[repeated, "data_format"].fillna(_FIRST_FORMAT) != _FIRST_FORMAT,
    )
    columns = list(rows.columns)
    several = several.sort_values(["_format", "_later", *columns], na_position="last")
    by_series = several.groupby("series_uid", sort=True)
    torn = int((by_series["study_uid"].nunique() > 1).sum())
    if torn:
        raise TableError([f"series: {torn} series are linked to more than one study; export the nodes again"])
    files = several.groupby("series_uid")["object_id"].nunique()
    further = int((files[files > 1] - 1).sum())
    if further:
        notes.append(f"series: {further} files are further files of a series; the first DICOM one is used")
    lists = {name: "first" for name in columns if name != "series_uid"}
    merged = by_series.agg(lists).reset_index()
    return pd.concat([rows[~repeated], merged[columns]], ignore_index=True)


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(".zip")[0]


def _folder(name: str) -> str | None:
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 else None
