"""`cohort=ny_sbu`: COVID-19 patients of Stony Brook with ICU, ventilation and death; the table, the images, or both.

Source: COVID-19-NY-SBU, TCIA, doi 10.7937/TCIA.BBAG-2923 (CC BY 4.0); IDC's collection covid_19_ny_sbu. One row a
patient, one visit each. Day 0 = the start of that visit (`visit_start_datetime`, shifted by patient as the images'
dates are).

How the table becomes tables:
- hospital_stay from day 0 to `length_of_stay`, ended by death or discharge (`last.status`), named by
  `visit_concept_name`. The shortest stay is 1 day, emergency visits' too, so that the end may be up to a day late.
  death = the end of the stay.
- `is_icu`, `was_ventilated` have no day: the flags icu_ever and ventilated_ever alone.
- Every other column is an event named by it: on day 0 where it was known then; without a day where it is known only
  later (`length_of_stay`, drugs and injuries of the stay, ...), so that nothing can take it for known at admission.
- Ages are given as bands only (`age.splits`): age is missing, the band is an observation of day 0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.dicom_series import dicom_series, leave_out, studies_of
from midrc_ml.cohorts.public import absent_but, dates, one_value_each, public_folder, read_text_table
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError, check_kinds
from midrc_ml.tables.checks import typed_columns
from midrc_ml.tables.schemas import flag, number, text

SOURCE = "https://doi.org/10.7937/TCIA.BBAG-2923 (TCIA, COVID-19-NY-SBU) or IDC's collection covid_19_ny_sbu"
_TABLES = ("deidentified_overlap_tcia.csv.cleaned.csv_20210806.csv", "clinical_20210806.csv")
USES = ("table", "images", "both")
_ALL_VISITS = "every_visit"
STAYS = (_ALL_VISITS, "inpatient")
_INPATIENT = "Inpatient Visit"
_STATUS = {"deceased": "Deceased", "discharged": "Discharged"}
_COLUMNS = (
    text("to_patient_id", required=True),
    text("covid19_statuses", allowed=("positive",)),
    text("last.status", required=True, allowed=tuple(_STATUS)),
    text("age.splits", allowed=("[18,59]", "(59,74]", "(74,90]")),
    text("gender_concept_name", allowed=("FEMALE", "MALE")),
    text("visit_concept_name", required=True),
    flag("is_icu"),
    flag("was_ventilated"),
    number("length_of_stay", low=0),
    number("invasive_vent_days", low=0),
)
_START = "visit_start_datetime"
_NOT_EVENTS = {
    "to_patient_id",
    "covid19_statuses",
    "last.status",
    "gender_concept_name",
    "visit_concept_name",
    "is_icu",
    "was_ventilated",
    _START,
}
# Known only after the visit began: an event without a day. {column: kind}
_LATER = {
    "length_of_stay": "observation",
    "invasive_vent_days": "observation",
    "Acute.Hepatic.Injury..during.hospitalization.": "condition",
    "Acute.Kidney.Injury..during.hospitalization.": "condition",
    "kidney_replacement_therapy": "observation",
    "antibiotics_use_v": "medication",
    "therapeutic.exnox.Boolean": "medication",
    "therapeutic.heparin.Boolean": "medication",
    "Other.anticoagulation.therapy": "medication",
}
_CONDITIONS = (
    *("kidney_transplant", "htn_v", "dm_v", "cad_v", "hf_ef_v", "ckd_v", "malignancies_v", "copd_v"),
    "other_lung_disease_v",
)
_HOME_DRUGS = ("acei_v", "arb_v", "nsaid_use_v")
# Noted, asked or measured at the bedside.
_OBSERVATIONS = (
    *("age.splits", "days_prior_sx", "smoking_status_v", "cough_v", "dyspnea_admission_v", "nausea_v", "vomiting_v"),
    *("diarrhea_v", "abdominal_pain_v", "fever_v", "8331-1_", "59408-5_", "9279-1_", "76282-3_", "8480-6_", "76536-2_"),
    *("39156-5_", "BMI.", "temperature.", "pulseOx.", "Respiration.", "HeartRate.", "SBP.", "MAP."),
)
# A LOINC code and its name, or a band of such a value.
_LABORATORY = re.compile(r"^\d+-\d_|\.(over|under|above|below|between)[\w.]*$|^A1C\.|^Urine\.protein$")


@dataclass(frozen=True, kw_only=True)
class NySbuCohort:
    """Reads `<data_dir>/ny_sbu`: the clinical table, and DICOM files at any depth.

    use: `table` = patients and events, no images; `images` = studies without the table, day 0 = the first of them;
    `both` = the table's patients with their studies. stays: which visits count as a hospital stay, `every_visit`
    (emergency visits are nearly all of one day) or `inpatient`. images_dir: where the DICOM files lie, if not there.
    """

    data_dir: str | None
    use: str = "table"
    stays: str = _ALL_VISITS
    images_dir: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "cohort")
        for name, value, allowed in (("use", self.use, USES), ("stays", self.stays, STAYS)):
            if value not in allowed:
                raise InputError(f"cohort.{name} is {value!r}; it must be one of {', '.join(allowed)}")

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for, without machine paths."""
        return {"cohort": "ny_sbu", "use": self.use, "stays": self.stays}

    def read(self) -> Tables:
        """The five tables.

        Raises:
            InputError: the data are not there.
            TableError: the file is not the table, or holds values that its columns cannot; all at once.
        """
        folder = public_folder(self.data_dir, "ny_sbu", source=SOURCE)
        notes: list[str] = []
        cases = events = studies = series = None
        visit_start = pd.Series(dtype="datetime64[ns]")
        absent = absent_but(
            "hospital_stay", "death", "condition", "medication", "laboratory", "observation", why="the table dates none"
        )
        if self.use != "images":
            rows, raw = _read(folder)
            cases, events = _cases(rows), self._events(rows, raw, notes)
            visit_start = rows.set_index("to_patient_id")["start"]
        else:
            absent = absent_but(why="cohort.use=images leaves the clinical table out")
        if self.use == "table":
            why = "cohort.use=table leaves the images out; give cohort.use=both"
            absent |= dict.fromkeys(("studies", "series"), why)
        else:
            found = self._images(folder, notes)
            if cases is None:
                cases = _cases_of(found, notes)
                origin = found.groupby("case_id")["study_date"].min()
            else:
                strays = ~found["case_id"].isin(cases["case_id"])
                found = leave_out(found, strays, "image series are of no patient of the table", notes)
                origin = visit_start
            day = (found["study_date"] - found["case_id"].map(origin)).dt.days
            studies, series = studies_of(found, day=day), found
        absent["readings"] = "the collection has no readings"
        return Tables.checked(
            origin="COVID-19-NY-SBU",
            cases=cases,
            studies=studies,
            series=series,
            events=events,
            absent=absent,
            notes=tuple(notes),
        )

    def _images(self, folder: Path, notes: list[str]) -> pd.DataFrame:
        root = Path(self.images_dir).expanduser().resolve() if self.images_dir else folder
        found, more = dicom_series(root) if root.is_dir() else (pd.DataFrame(), [])
        notes += more
        if found.empty:
            raise InputError(
                f"cohort.use={self.use}, but no DICOM file is in {root}; get the images from {SOURCE} "
                f"and give cohort.images_dir=FOLDER, or take cohort.use=table"
            )
        found = leave_out(found, found["is_processed"], "image series were processed from another image", notes)
        return found.assign(case_id=found["patient"])

    def _events(self, rows: pd.DataFrame, raw: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
        of = rows["to_patient_id"]
        stay = pd.DataFrame(
            {
                "case_id": of,
                "kind": "hospital_stay",
                "name": rows["visit_concept_name"],
                "start_day": 0.0,
                "end_day": rows["length_of_stay"],
                "value": rows["last.status"].map(_STATUS),
            }
        )
        if self.stays != _ALL_VISITS:
            is_stay = rows["visit_concept_name"] == _INPATIENT
            notes.append(f"{int((~is_stay).sum())} visits are not of inpatients; they count as no hospital stay")
            stay = stay[is_stay]
        died = (rows["last.status"] == "deceased") & rows["length_of_stay"].notna()
        death = pd.DataFrame({"case_id": of, "kind": "death", "start_day": rows["length_of_stay"]})[died]
        columns = [name for name in raw if name not in _NOT_EVENTS]
        # `pandas` marked the second of two columns of one name so when the table was made.
        copies = [name for name in columns if name.endswith(".1") and raw[name].equals(raw.get(name[:-2]))]
        if copies:
            notes.append(f"{len(copies)} columns repeat another one in name and values; each is read once")
        known = raw[[name for name in columns if name not in copies]].assign(case_id=of)
        values = known.melt("case_id", var_name="name", value_name="value")
        values = values[values["value"] != ""]
        kinds = {name: _kind(name) for name in columns}
        unknown = [name for name, kind in kinds.items() if kind is None]
        if unknown:
            notes.append(f"{len(unknown)} columns are not known here; their values are observations without a day")
        undated = values["name"].isin([*_LATER, *unknown])
        values = values.assign(
            kind=values["name"].map(kinds).fillna("observation"),
            start_day=pd.Series(0.0, index=values.index).mask(undated),
        )
        values["end_day"] = values["start_day"]
        return pd.concat([stay, death, values], ignore_index=True).assign(source="clinical table")


def _read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The typed columns with `start`, and the whole table as text ("" where it says NA)."""
    paths = [folder / name for name in _TABLES if (folder / name).is_file()]
    if not paths:
        raise InputError(f"cohort=ny_sbu: no {' or '.join(_TABLES)} in {folder}; get the clinical table from {SOURCE}")
    where = paths[0].name
    raw = read_text_table(paths[0], columns=[*(column.name for column in _COLUMNS), _START], source=SOURCE)
    raw = raw.replace("NA", "")
    rows, problems = typed_columns(raw, _COLUMNS, where=where, first_row=2)
    rows["start"], bad_dates = dates(raw[_START], date_format="%m/%d/%Y", where=f"{where}: {_START}")
    problems += bad_dates
    repeated = int(rows["to_patient_id"].dropna().duplicated(keep=False).sum())
    if repeated:
        problems.append(f"{where}: {repeated} rows share their to_patient_id with another; each patient comes once")
    odd = int((rows["was_ventilated"].eq(False) & rows["invasive_vent_days"].gt(0)).sum())
    if odd:
        problems.append(
            f"{where}: {odd} patients have invasive_vent_days, but was_ventilated says No; correct one of them"
        )
    if problems:
        raise TableError(problems)
    return rows, raw


def _kind(name: str) -> str | None:
    """The kind of event that a column holds; None where it is none that the published table has."""
    if name in _LATER:
        return _LATER[name]
    if name in _CONDITIONS:
        return "condition"
    if name in _HOME_DRUGS:
        return "medication"
    if name.startswith(_OBSERVATIONS):
        return "observation"
    return "laboratory" if _LABORATORY.search(name) else None


def _cases(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case_id": rows["to_patient_id"],
            "patient_id": rows["to_patient_id"],
            "project": "COVID-19-NY-SBU",
            "site": "Stony Brook",
            "sex": rows["gender_concept_name"].str.capitalize(),
            "covid_ever": rows["covid19_statuses"].eq("positive").where(rows["covid19_statuses"].notna()),
            "icu_ever": rows["is_icu"],
            "ventilated_ever": rows["was_ventilated"],
            "died": rows["last.status"] == "deceased",
        }
    )


def _cases_of(found: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Cases from DICOM headers: sex and the lowest age; the collection's patients all had COVID-19."""
    sex, several = one_value_each(found["sex"], found["case_id"])
    if several:
        notes.append(f"{several} patients have images with different sex; theirs counts as not recorded")
    ids = pd.Series(sorted(found["case_id"].unique()))
    return pd.DataFrame(
        {
            "case_id": ids,
            "patient_id": ids,
            "project": "COVID-19-NY-SBU",
            "site": "Stony Brook",
            "sex": ids.map(sex),
            "age": ids.map(found.groupby("case_id")["age"].min()),
            "covid_ever": True,
        }
    )
