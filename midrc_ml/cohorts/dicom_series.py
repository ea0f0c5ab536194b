"""The DICOM series below a folder, from their headers: no pixel is read."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pandas as pd
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from midrc_ml.cohorts.public import capped_age

_KEYWORDS = {
    "series_id": "SeriesInstanceUID",
    "study_id": "StudyInstanceUID",
    "patient": "PatientID",
    "sex": "PatientSex",
    "age": "PatientAge",
    "study_date": "StudyDate",
    "modality": "Modality",
    "view": "ViewPosition",
    "manufacturer": "Manufacturer",
    "manufacturer_model": "ManufacturerModelName",
    "description": "SeriesDescription",
    "study_description": "StudyDescription",
    "body_part": "BodyPartExamined",
}
_DAYS_IN = {"Y": 365.25, "M": 365.25 / 12, "W": 7.0, "D": 1.0}
_SEX = {"F": "Female", "M": "Male"}
_RADIOGRAPHS = ("CR", "DX")
_FEW = 20  # files of a folder up to which all are opened; of more, about as many at first
_COLUMNS = (*_KEYWORDS, "is_processed", "instances", "file")

_Headers = list[tuple[Path, dict[str, object] | None]]


def dicom_series(root: Path) -> tuple[pd.DataFrame, list[str]]:
    """One row a series: the columns of `_KEYWORDS`, is_processed, instances, file; and notes on what is left out.

    A folder of many files, of which some from its first to its last (by name) are all of one series, is taken to hold
    just that one, as TCIA's and IDC's downloads do: 560,000 slices need not all be opened. Elsewhere each file is.
    study_date: the DICOM date, which collections shift. age: years, those over 89 as 90. is_processed: a radiograph
    that names the image that it was made from (ReferencedImageSequence; a CT slice so names its scout view).
    file: the folder of the series, or the one file; the first where the folder holds other series too.
    """
    rows: list[dict[str, object]] = []
    unreadable = in_mixed = 0
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() == ".dcm")
    for folder, group in groupby(files, key=lambda file: file.parent):
        in_folder = list(group)
        headers, is_sample = _headers(in_folder)
        unreadable += sum(header is None for _, header in headers)
        series = list(_by_series(headers))
        for members in series:
            file, header = members[0]
            count = len(in_folder) if is_sample else len(members)
            in_mixed += count > 1 and len(series) > 1
            is_folder = count > 1 and len(series) == 1
            rows.append({**header, "instances": count, "file": str(folder if is_folder else file)})
    found = pd.DataFrame(rows, columns=list(_COLUMNS))
    repeated = found.duplicated("series_id")
    notes = [
        f"{count} {words}"
        for count, words in (
            (unreadable, "image files have no readable DICOM header; they are left out"),
            (in_mixed, "series of several images share a folder with others; only their first image is used"),
            (int(repeated.sum()), "series lie in several folders; each is counted once"),
        )
        if count
    ]
    found = found[~repeated].reset_index(drop=True)
    found["is_processed"] = found["is_processed"].astype(bool)
    found["age"] = capped_age(found["age"].map(_years).astype("float64"))
    found["sex"] = found["sex"].map(_SEX)
    found["study_date"] = pd.to_datetime(found["study_date"], format="%Y%m%d", errors="coerce")
    return found, notes


def leave_out(found: pd.DataFrame, left_out: pd.Series, words: str, notes: list[str]) -> pd.DataFrame:
    """`found` without the rows in `left_out`, which are counted in `notes`."""
    if left_out.any():
        notes.append(f"{int(left_out.sum())} {words}; they are left out")
    return found[~left_out].reset_index(drop=True)


def studies_of(found: pd.DataFrame, *, day: pd.Series) -> pd.DataFrame:
    """The studies table of `dicom_series`, whose column case_id was added; day: of each series, aligned with it."""
    with_day = found.assign(day=day).sort_values("series_id")
    groups = with_day.groupby("study_id", sort=True)
    return pd.DataFrame(
        {
            "case_id": groups["case_id"].first(),
            "modality": groups["modality"].agg(lambda names: ",".join(sorted(set(names.dropna()))) or None),
            "description": groups["study_description"].first(),
            "body_part": groups["body_part"].first(),
            "day": groups["day"].min(),
            "age": groups["age"].min(),
        }
    ).reset_index()


def _headers(files: list[Path]) -> tuple[_Headers, bool]:
    """The headers of a folder's files, or, where `_FEW` and more from all of it are of one series, of just these."""
    if len(files) > _FEW:
        some = [(file, _header(file)) for file in [*files[:: len(files) // _FEW], files[-1]]]
        if len({header and header["series_id"] for _, header in some}) == 1 and some[0][1]:
            return some, True
    return [(file, _header(file)) for file in files], False


def _header(file: Path) -> dict[str, object] | None:
    try:
        header = pydicom.dcmread(
            file, stop_before_pixels=True, specific_tags=[*_KEYWORDS.values(), "ReferencedImageSequence"]
        )
        values = {name: _text(header, keyword) for name, keyword in _KEYWORDS.items()}
        values["is_processed"] = values["modality"] in _RADIOGRAPHS and bool(header.get("ReferencedImageSequence"))
    # Damaged headers raise nearly anything; the file is counted.
    except (InvalidDicomError, OSError, ValueError, LookupError, AttributeError, TypeError, EOFError):
        return None
    known = values["series_id"] and values["study_id"] and values["patient"]
    return values if known else None


def _text(header: Dataset, keyword: str) -> object:
    value = header.get(keyword)
    return str(value).strip() or None if value is not None else None


def _by_series(headers: _Headers) -> Iterator[list[tuple[Path, dict[str, object]]]]:
    """The readable files of one folder, by series."""
    groups: dict[object, list[tuple[Path, dict[str, object]]]] = {}
    for file, header in headers:
        if header is not None:
            groups.setdefault(header["series_id"], []).append((file, header))
    yield from groups.values()


def _years(age: object) -> float | None:
    """DICOM's AS: `071Y`, `006M`, `003W`, `012D`."""
    if not isinstance(age, str) or len(age) < 2 or age[-1] not in _DAYS_IN or not age[:-1].isdigit():
        return None
    years = int(age[:-1]) * _DAYS_IN[age[-1]] / _DAYS_IN["Y"]
    return years if years <= 120 else None
