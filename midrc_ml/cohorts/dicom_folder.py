"""A folder of DICOM images and nothing else: patients, studies and series as their headers name them.

Ids stand as in the headers (RICORD's without the prefix that TCIA gave them), so that a score can be brought back to
its study: they stay in the files of the user's own run. No table says what became of a patient: there are no labels.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd
import pydicom
from pydicom.dataset import Dataset

from midrc_ml.cohorts.midrc_images import find_series_files
from midrc_ml.cohorts.midrc_patients import without_prefix
from midrc_ml.cohorts.public import absent_but, capped_age, one_value_each
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, check_kinds
from midrc_ml.images.files import file_paths, is_zip, members

_OF_HEADER = ("study_description", "body_part", "sex", "age", "study_date")
_TAGS = (
    *("StudyDescription", "BodyPartExamined", "PatientSex", "PatientAge", "PatientBirthDate", "StudyDate"),
    "SpecificCharacterSet",
)
_SEX = {"F": "Female", "M": "Male"}
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_DAYS_IN_YEAR = 365.25
_OLDEST = 120  # years; beyond it a date is a placeholder
_WHY = "a folder of DICOM images has no tables"


@dataclass(frozen=True, kw_only=True)
class DicomFolder:
    """Every DICOM series below `root`: single files with or without ending, folders, ZIPs, in any order.

    cache_dir: where what the headers say is kept; None = nowhere.
    """

    root: str
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "dicom")

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for, without machine paths."""
        return {"cohort": "dicom"}

    def read(self) -> Tables:
        """The five tables, of which three are empty.

        Raises:
            InputError: no folder, or no DICOM image in it.
        """
        root = Path(self.root).expanduser().resolve()
        if not root.is_dir():
            raise InputError(f"dicom={self.root} is not a folder; give the folder that holds the images")
        nothing = pd.DataFrame({name: pd.Series(dtype="str") for name in ("series_uid", "file_name", "object_id")})
        images = find_series_files(root, nothing, cache_dir=self.cache_dir)
        notes, found = list(images.notes), images.found
        if found.empty:
            told = "; ".join(notes)
            raise InputError(
                f"dicom={self.root}: no DICOM image is below it{f' ({told})' if told else ''}; give the folder that "
                f"holds the images, as files, folders or ZIPs"
            )
        no_study = found["study_uid"].isna()
        if no_study.any():
            notes.append(f"{int(no_study.sum())} series name no study in their header; they are left out")
        found = found[~no_study].rename(columns={"series_uid": "series_id", "study_uid": "study_id"})
        found = found.assign(case_id=_patients(found, notes)).reset_index(drop=True)
        found = found.join(pd.DataFrame([_header(file) for file in found["file"]], columns=list(_OF_HEADER)))
        return Tables.checked(
            origin="folder of DICOM images",
            cases=_cases(found, notes),
            studies=_studies(found),
            series=found.drop(columns=["case_id", *_OF_HEADER]),
            absent={**absent_but(why=_WHY), "readings": _WHY},
            notes=tuple(notes),
        )


def _patients(found: pd.DataFrame, notes: list[str]) -> pd.Series:
    """The patient of each series: of its study, where its own header names none."""
    named = without_prefix(found["case_id"])
    of_study, several = one_value_each(named, found["study_id"])
    if several:
        notes.append(
            f"{several} studies name several patients in their headers; each is taken for a patient of its own"
        )
    unknown = found["study_id"].nunique() - len(of_study)
    if unknown:
        notes.append(f"{unknown} studies name no patient in their headers; each is taken for a patient of its own")
    return found["study_id"].map(of_study).fillna(found["study_id"])


def _cases(found: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    sex, several = one_value_each(found["sex"], found["case_id"])
    if several:
        notes.append(f"{several} patients have images with different sex; theirs counts as not recorded")
    ids = pd.Series(sorted(found["case_id"].unique()), dtype="str")
    return pd.DataFrame({"case_id": ids, "patient_id": ids, "sex": ids.map(sex)})


def _studies(found: pd.DataFrame) -> pd.DataFrame:
    """day: since the first study of the patient here."""
    first = found.groupby("case_id")["study_date"].transform("min")
    with_day = found.assign(day=(found["study_date"] - first).dt.days)
    groups = with_day.groupby("study_id", sort=True)
    return pd.DataFrame(
        {
            "case_id": groups["case_id"].first(),
            "modality": groups["modality"].agg(lambda names: ",".join(sorted(set(names.dropna()))) or None),
            "description": groups["study_description"].first(),
            "body_part": groups["body_part"].agg(lambda names: ",".join(sorted(set(names.dropna()))) or None),
            "day": groups["day"].min(),
            "age": groups["age"].min(),
        }
    ).reset_index()


def _header(file: str) -> tuple[str | None, str | None, str | None, float | None, pd.Timestamp]:
    """What `_OF_HEADER` names, of the first file of a series; missing where it cannot be read."""
    try:
        path = file_paths(file)[0]
        with open(path, "rb") as opened:
            packed = path.lower().endswith(".zip") or is_zip(opened)
        source = BytesIO(next(members(path)).content) if packed else path
        with _quiet():
            header = pydicom.dcmread(source, stop_before_pixels=True, specific_tags=list(_TAGS))
            said = {keyword: _text(header, keyword) for keyword in _TAGS}
    except Exception:  # damaged bytes raise nearly anything; decoding says why an image cannot be used
        said = {}
    study_date = _date(said.get("StudyDate"))
    return (
        said.get("StudyDescription"),
        said.get("BodyPartExamined"),
        _SEX.get(said.get("PatientSex") or ""),
        _age(said.get("PatientAge"), _date(said.get("PatientBirthDate")), study_date),
        study_date,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and log lines of pydicom, which quote values."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _text(header: Dataset, keyword: str) -> str | None:
    value = header.get(keyword)
    return None if value is None else str(value).strip() or None


def _date(text: str | None) -> pd.Timestamp:
    return pd.to_datetime(text, format="%Y%m%d", errors="coerce") if text else pd.NaT


def _age(text: str | None, born: pd.Timestamp, at: pd.Timestamp) -> float | None:
    """Years, those over 89 as 90, by PatientAge (PS3.5 6.2, AS), else from birth to the study."""
    years = None
    if text and text[:-1].isdigit() and text[-1] in _YEARS:
        years = int(text[:-1]) * _YEARS[text[-1]]
    elif pd.notna(born) and pd.notna(at):
        years = (at - born).days / _DAYS_IN_YEAR
    return float(capped_age(pd.Series([years]))[0]) if years is not None and 0 <= years <= _OLDEST else None
