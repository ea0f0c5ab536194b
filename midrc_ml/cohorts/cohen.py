"""`cohort=cohen`: chest radiographs and CT pictures cut from publications and teaching files, one row an image.

Source: Cohen et al., "COVID-19 Image Data Collection: Prospective Predictions Are the Future", arXiv 2006.11988,
https://github.com/ieee8023/covid-chestxray-dataset. Each image has its own licence (column `license`).

How it becomes tables:
- A study is one image; its id is the file name. day = `offset`, counted from the first symptoms or from admission: one
  origin a patient, but not the same for all.
- covid_ever: an image's finding names COVID-19 -> true; else another cause (Klebsiella, Lipoid, ...) -> false; else
  ("No Finding", "Pneumonia", "ARDS", "todo", a group of germs) missing. icu_ever, ventilated_ever: went_icu and
  intubated; died: survival = N. "Would have been stated" and "Not visible" are nobody's statement: missing.
- in_icu and intubation_present describe the moment of the image: readings of the study (1 or 0), and so is its finding.
- site = the country, the last part of `location`: hospitals are too few to stand alone. Vital signs and counts are
  events of the image's day; needed_supplemental_O2 and extubated have no day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.public import absent_but, capped_age, one_value_each, public_folder, read_text_table
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import TableError
from midrc_ml.tables.checks import typed_columns
from midrc_ml.tables.schemas import AGE_OVER_89, Column, number, text

SOURCE = "https://github.com/ieee8023/covid-chestxray-dataset"
COVID = "COVID-19"
# Findings that leave the cause open, the groups of germs among them: a virus may be any virus.
_NO_CAUSE = ("", "todo", "Unknown", "No Finding", "Pneumonia", "ARDS", "Bacterial", "Viral", "Fungal")
_UNSTATED = ("Would have been stated", "Not visible", "Unclear")
_YES_NO = ("Y", "N", *_UNSTATED)
_FLAGS = {"icu_ever": ("went_icu", "Y"), "ventilated_ever": ("intubated", "Y"), "died": ("survival", "N")}
_AT_IMAGE = ("in_icu", "intubation_present")
_EVER = ("needed_supplemental_O2", "extubated")
# {column: (kind, unit)}; units as in the collection's SCHEMA.md.
_MEASURED = {
    "temperature": ("observation", "Cel"),
    "pO2_saturation": ("observation", "%"),
    "leukocyte_count": ("laboratory", "10*3/uL"),
    "neutrophil_count": ("laboratory", "10*3/uL"),
    "lymphocyte_count": ("laboratory", "10*3/uL"),
}
_MODALITY = {"X-ray": "DX", "CT": "CT"}
_COLUMNS: tuple[Column, ...] = (
    text("patientid", required=True),
    text("filename", required=True),
    text("modality", required=True, allowed=tuple(_MODALITY)),
    text("finding"),
    text("view"),
    text("location"),
    text("date"),
    text("sex", allowed=("F", "M")),
    number("age", low=0, high=120),
    number("offset"),
    *(text(name, allowed=_YES_NO) for name in ("went_icu", "intubated", "survival", *_AT_IMAGE, *_EVER)),
    *(number(name, low=0) for name in _MEASURED),
)


@dataclass(frozen=True, kw_only=True)
class CohenCohort:
    """Reads `<data_dir>/cohen`: `metadata.csv` and the images that it names."""

    data_dir: str | None

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for."""
        return {"cohort": "cohen"}

    def read(self) -> Tables:
        """The five tables.

        Raises:
            InputError: the data are not there.
            TableError: the file is not the table, or holds values that its columns cannot.
        """
        folder = public_folder(self.data_dir, "cohen", source=SOURCE)
        path = folder / "metadata.csv"
        raw = read_text_table(path, columns=[column.name for column in _COLUMNS], source=SOURCE).replace("?", "")
        rows, problems = typed_columns(raw, _COLUMNS, where=path.name, first_row=2)
        repeated = int(rows["filename"].duplicated(keep=False).sum())
        if repeated:
            problems.append(f"{path.name}: {repeated} rows share their filename with another; each image comes once")
        if problems:
            raise TableError(problems)
        notes: list[str] = []
        return Tables.checked(
            origin="COVID-19 image data collection",
            cases=_cases(rows, notes),
            studies=_studies(rows),
            series=_series(rows, raw, folder, notes),
            events=_events(rows),
            readings=_readings(rows),
            absent=absent_but("laboratory", "observation", why="the collection dates no such event"),
            notes=tuple(notes),
        )


def covid_ever(findings: pd.Series, of: pd.Series) -> pd.Series:
    """By patient in `of`: true, false or missing (see the module's text)."""
    # In later versions a finding is a path: Pneumonia/Viral/COVID-19.
    names = findings.fillna("").str.split("/").str[-1]
    is_covid = findings.fillna("").str.contains(COVID, regex=False)
    other = ~is_covid & ~names.isin(_NO_CAUSE)
    flags = is_covid.groupby(of).any().astype("boolean")
    return flags.where(flags | other.groupby(of).any())


def _cases(rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    of = rows["patientid"]
    country = rows["location"].str.extract(r"([^,]*)$")[0].str.strip()
    found: dict[str, pd.Series] = {}
    for name, values in (("sex", rows["sex"].map({"F": "Female", "M": "Male"})), ("site", country)):
        found[name], several = one_value_each(values, of)
        if several:
            notes.append(f"{several} patients have images with different {name}; theirs counts as not recorded")
    for name, (column, positive) in _FLAGS.items():
        said = rows[column].where(~rows[column].isin(_UNSTATED)).dropna()
        yes = said.eq(positive).groupby(of[said.index])
        found[name] = yes.any().astype("boolean")
        mixed = int((yes.any() != yes.all()).sum())
        if mixed:
            notes.append(f"{column}: {mixed} patients have both Y and N; what was ever so counts")
    found["covid_ever"] = covid_ever(rows["finding"], of)
    age = rows["age"].groupby(of).min()
    cases = pd.DataFrame({"age": capped_age(age), "age_over_89": age > AGE_OVER_89 - 1, **found})
    cases["age_over_89"] = cases["age_over_89"].astype("boolean").mask(age.isna())
    cases = cases.rename_axis("case_id").reset_index()
    return cases.assign(patient_id=cases["case_id"], project="covid-chestxray-dataset")


def _studies(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "study_id": rows["filename"],
            "case_id": rows["patientid"],
            "modality": rows["modality"].map(_MODALITY),
            "body_part": "CHEST",
            "day": rows["offset"],
            "age": capped_age(rows["age"]),
            # `2020`, `May 4, 2010`; the few as `03/09/20` name no century.
            "year": rows["date"].str.extract(r"\b((?:19|20)\d{2})$")[0],
        }
    )


def _series(rows: pd.DataFrame, raw: pd.DataFrame, folder: Path, notes: list[str]) -> pd.DataFrame:
    is_film = rows["modality"] == "X-ray"
    # Copies of the collection may keep a picture under another name than the one it is known by.
    places = raw["stored_path"] if "stored_path" in raw else raw.get("folder", "images") + "/" + raw["filename"]
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    found = places.isin(present)
    if not found.all():
        notes.append(f"{int((~found).sum())} rows have no image file")
    in_folders = {name for name in present if name.split("/")[0] in {place.split("/")[0] for place in places}}
    if unused := len(in_folders - set(places)):
        notes.append(f"{unused} image files belong to no row of the table")
    return pd.DataFrame(
        {
            "series_id": rows["filename"],
            "study_id": rows["filename"],
            "modality": rows["modality"].map(_MODALITY),
            # `AP Supine` is an AP view; `L` = lateral, the side is not told. A CT picture has a plane and no view.
            "view": rows["view"].str.extract(r"^(\S+)")[0].where(is_film),
            "description": rows["view"],
            "instances": 1,
            "file": places.map(lambda place: str(folder / place)).where(found),
        }
    )


def _events(rows: pd.DataFrame) -> pd.DataFrame:
    frames = []
    for name, (kind, unit) in _MEASURED.items():
        known = rows[rows[name].notna()]
        frame = _event(known, kind, name).assign(start_day=known["offset"], end_day=known["offset"], unit=unit)
        frames.append(frame.assign(value=known[name].map("{:g}".format)))
    for name in _EVER:
        known = rows[rows[name].isin(["Y", "N"])]
        frames.append(_event(known, "observation", name).assign(value=known[name]).drop_duplicates())
    return pd.concat(frames, ignore_index=True)


def _event(rows: pd.DataFrame, kind: str, name: str) -> pd.DataFrame:
    return pd.DataFrame({"case_id": rows["patientid"], "kind": kind, "name": name, "source": "metadata.csv"})


def _readings(rows: pd.DataFrame) -> pd.DataFrame:
    frames: list[pd.DataFrame] = []

    def add(of: pd.DataFrame, name: str, **columns: Sequence[object]) -> None:
        frame = pd.DataFrame({"study_id": of["filename"], "reader": "metadata", "name": name, **columns})
        frames.append(frame.assign(source="metadata.csv"))

    for name in _AT_IMAGE:
        known = rows[rows[name].isin(["Y", "N"])]
        add(known, name, value=known[name].eq("Y").astype(float))
    known = rows[rows["finding"].notna() & ~rows["finding"].isin(["todo", "Unknown"])]
    add(known, "finding", category=known["finding"])
    return pd.concat(frames, ignore_index=True)
