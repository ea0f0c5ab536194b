"""`cohort=ricord_1c`: chest radiographs of COVID-19 patients, classed and graded by up to three radiologists.

Source: MIDRC-RICORD-1c, TCIA, doi 10.7937/91ah-v663 (CC BY-NC 4.0); Tsai et al., Radiology 2021;299:E204.
One row of the annotation table is one label of one reader on one study.

Readings: `pneumonia_class` (category typical, indeterminate, atypical or negative) and `airspace_grade` (category mild,
moderate or severe; value 1 to 3); the reader's name as in the table, `Adjudication` where the readers' disagreement was
settled. The table repeats some rows; a reader who gives one study two classes is an error. day = days since the
patient's first study (dates are shifted by patient). All patients had a positive test, at a time that is not told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.dicom_series import dicom_series, leave_out
from midrc_ml.cohorts.public import (
    absent_but,
    dates,
    one_value_each,
    public_folder,
    read_text_table,
    without_ricord_prefix,
)
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError, check_kinds
from midrc_ml.tables.checks import typed_columns
from midrc_ml.tables.schemas import text

SOURCE = "https://doi.org/10.7937/91ah-v663 (TCIA, MIDRC-RICORD-1c) or IDC's collection midrc_ricord_1c"
_CLASSES = ("Typical", "Indeterminate", "Atypical", "Negative")
_GRADES = ("Mild", "Moderate", "Severe")
_COLUMNS = (
    text("Anon MRN", required=True),
    text("Anon TCIA Study Date", required=True),
    text("Anon Sex", allowed=("F", "M")),
    text("Modality", required=True, allowed=("CR", "DX")),
    text("StudyInstanceUID", required=True),
    text("Reader_name", required=True),
    text("CLASS_label", allowed=_CLASSES),
    text("GRADE_label", allowed=_GRADES),
)


@dataclass(frozen=True, kw_only=True)
class Ricord1cCohort:
    """Reads `<data_dir>/ricord_1c`: the annotation table, and DICOM files below it.

    images_dir: where the DICOM files lie, if not there.
    """

    data_dir: str | None
    images_dir: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "cohort")

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for, without machine paths."""
        return {"cohort": "ricord_1c"}

    def read(self) -> Tables:
        """The five tables.

        Raises:
            InputError: the data are not there.
            TableError: the file is not the table, a value is not one of its words, or readings contradict each other.
        """
        folder = public_folder(self.data_dir, "ricord_1c", source=SOURCE)
        tables = sorted(folder.glob("*annotations*.csv"))
        if len(tables) != 1:
            raise InputError(
                f"cohort=ricord_1c: {len(tables)} files *annotations*.csv in {folder}; "
                f"one is needed, the MD.ai annotations of {SOURCE}"
            )
        path = tables[0]
        raw = read_text_table(path, columns=[column.name for column in _COLUMNS], source=SOURCE)
        rows, problems = typed_columns(raw, _COLUMNS, where=path.name, first_row=2)
        rows["date"], bad_dates = dates(
            raw["Anon TCIA Study Date"], date_format="%m/%d/%Y", where=f"{path.name}: Anon TCIA Study Date"
        )
        rows["case_id"] = without_ricord_prefix(rows["Anon MRN"])
        problems += bad_dates
        problems += _contradictions(rows, path.name)
        if problems:
            raise TableError(problems)
        notes: list[str] = []
        readings = _readings(rows, notes)
        studies = rows.drop_duplicates("StudyInstanceUID").rename(columns={"StudyInstanceUID": "study_id"})
        first_day = studies["date"].groupby(studies["case_id"]).transform("min")
        sex, several = one_value_each(rows["Anon Sex"].map({"F": "Female", "M": "Male"}), rows["case_id"])
        if several:
            notes.append(f"{several} patients have studies with different sex; theirs counts as not recorded")
        ids = studies["case_id"].drop_duplicates()
        root = Path(self.images_dir).expanduser().resolve() if self.images_dir else folder
        if not root.is_dir():
            raise InputError(
                f"cohort.images_dir is {self.images_dir!r}, which is no folder; get the images from {SOURCE}"
            )
        return Tables.checked(
            origin="MIDRC-RICORD-1c",
            cases=pd.DataFrame(
                {
                    "case_id": ids,
                    "patient_id": ids,
                    "project": "MIDRC-RICORD-1C",
                    "site": ids.str.split("-").str[0],
                    "sex": ids.map(sex),
                    "covid_ever": True,
                }
            ),
            studies=pd.DataFrame(
                {
                    "study_id": studies["study_id"],
                    "case_id": studies["case_id"],
                    "modality": studies["Modality"],
                    "body_part": "CHEST",
                    "day": (studies["date"] - first_day).dt.days,
                }
            ),
            series=_series(studies, root, notes),
            readings=readings,
            absent=absent_but(why="RICORD-1c has no clinical events"),
            notes=tuple(notes),
        )


def _contradictions(rows: pd.DataFrame, where: str) -> list[str]:
    """A sentence for each column in which rows that must agree do not."""
    problems = []
    for column in ("case_id", "date", "Modality"):
        differ = int((rows.groupby("StudyInstanceUID")[column].nunique() > 1).sum())
        if differ:
            problems.append(f"{where}: {differ} studies have several values of {column}; a study has one")
    for column in ("CLASS_label", "GRADE_label"):
        differ = int((rows.groupby(["StudyInstanceUID", "Reader_name"])[column].nunique() > 1).sum())
        if differ:
            problems.append(
                f"{where}: {differ} readings (one reader, one study) have several values of {column}; leave one of each"
            )
    return problems


def _readings(rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    readings = rows.groupby(["StudyInstanceUID", "Reader_name"], sort=True)[["CLASS_label", "GRADE_label"]].first()
    if repeats := len(rows) - len(readings):
        notes.append(f"{repeats} rows repeat a reading (the same reader and study); each reading is counted once")
    odd = int(((readings["CLASS_label"] == "Negative") & readings["GRADE_label"].notna()).sum())
    if odd:
        notes.append(f"{odd} readings say negative and yet give a grade; both are kept")
    readings = readings.reset_index()
    frames = []
    for name, column in (("pneumonia_class", "CLASS_label"), ("airspace_grade", "GRADE_label")):
        known = readings[readings[column].notna()]
        frame = pd.DataFrame(
            {
                "study_id": known["StudyInstanceUID"],
                "reader": known["Reader_name"],
                "name": name,
                "category": known[column].str.lower(),
                "source": "MD.ai annotations",
            }
        )
        if name == "airspace_grade":
            frame["value"] = known[column].map(dict(zip(_GRADES, (1.0, 2.0, 3.0), strict=True)))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _series(studies: pd.DataFrame, root: Path, notes: list[str]) -> pd.DataFrame:
    """The DICOM series below `root`; a study without one has a row of its own id and no file."""
    found, more_notes = dicom_series(root)
    notes += more_notes
    found = leave_out(found, found["is_processed"], "image series were processed from another image", notes)
    strays = ~found["study_id"].isin(studies["study_id"])
    found = leave_out(found, strays, "image series belong to no study of the table", notes)
    without = studies[~studies["study_id"].isin(found["study_id"])]
    if len(without):
        notes.append(f"{len(without)} of {len(studies)} studies have no image here; get them from {SOURCE}")
    placeholder = pd.DataFrame(
        {"series_id": without["study_id"], "study_id": without["study_id"], "modality": without["Modality"]}
    )
    return pd.concat([found, placeholder], ignore_index=True)
