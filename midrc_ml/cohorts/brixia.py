"""`cohort=brixia`: radiographs of the collection `cohen`, scored zone by zone by a senior and a junior radiologist.

Source: Signoroni et al., Med Image Anal 2021, arXiv 2006.04603, https://github.com/BrixIA/Brixia-score-COVID-19 (192
films, CC BY-NC-SA 4.0): six zones A-F, 0-3 each, total 0-18. Beside it, where present, the mean of three raters on 94
films (Cohen et al., arXiv 2005.11856, CC BY-SA): geographic extent 0-8 and opacity 0-6 (RALO's opacity is 0-8).

Readings: `brixia_total`, `brixia_A` ... `brixia_F` of the readers `senior` and `junior`; `geographic_extent` and
`opacity` of the reader `mean_of_3`. Patients, days, outcomes and images come from `<data_dir>/cohen`, by file name.
"""

from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.cohen import CohenCohort, covid_ever
from midrc_ml.cohorts.public import absent_but, public_folder, read_text_table
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError, check_kinds
from midrc_ml.tables.checks import typed_columns
from midrc_ml.tables.schemas import number, text

SOURCE = "https://github.com/BrixIA/Brixia-score-COVID-19"
_SEVERITY_SOURCE = "https://github.com/ieee8023/covid-chestxray-dataset (annotations/covid-severity-scores.csv)"
_ZONES = ("A", "B", "C", "D", "E", "F")
_READERS = {"senior": "S", "junior": "J"}
_MEANS = {"geographic_extent": ("geographic_mean", 8), "opacity": ("opacity_mean", 6)}
UNKNOWN_PATIENTS = ("together", "each_alone", "exclude")


@dataclass(frozen=True, kw_only=True)
class BrixiaCohort:
    """Reads `<data_dir>/brixia_severity` and `<data_dir>/cohen`.

    unknown_patients: films that the collection no longer lists have no known patient. `together` = they stand as one
    patient, so that no split can part films of one patient; `each_alone` = each is its own; `exclude` = left out.
    """

    data_dir: str | None
    unknown_patients: str = "together"

    def __post_init__(self) -> None:
        check_kinds(self, "cohort")
        if self.unknown_patients not in UNKNOWN_PATIENTS:
            words = ", ".join(UNKNOWN_PATIENTS)
            raise InputError(f"cohort.unknown_patients is {self.unknown_patients!r}; it must be one of {words}")

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for."""
        return {"cohort": "brixia", "unknown_patients": self.unknown_patients}

    def read(self) -> Tables:
        """The five tables.

        Raises:
            InputError: the data are not there.
            TableError: a file is not its table, a score is not on its scale, or a total is not the sum of its zones.
        """
        folder = public_folder(self.data_dir, "brixia", source=SOURCE, name="brixia_severity")
        readings, problems = _brixia_readings(folder / "brixia_public_annotations.csv")
        means, more_problems = _mean_readings(folder / "covid-severity-scores.csv")
        if problems or more_problems:
            raise TableError([*problems, *more_problems])
        readings = pd.concat([readings, means], ignore_index=True)
        collection = CohenCohort(data_dir=self.data_dir).read()
        images = public_folder(self.data_dir, "cohen", source=SOURCE)
        films = pd.Series(sorted(set(readings["study_id"])), name="study_id")
        notes: list[str] = []
        dropped = _dropped(images / "metadata_dropped.csv")
        studies = self._studies(films, collection, dropped, notes)
        known = collection.series[collection.series["study_id"].isin(films)]
        others = films[films.isin(studies["study_id"]) & ~films.isin(known["study_id"])]
        places = others.map(lambda name: str(images / "images" / name))
        files = places.where(places.map(lambda place: Path(place).is_file()))
        series = pd.concat(
            [
                known,
                pd.DataFrame(
                    {"series_id": others, "study_id": others, "modality": "DX", "instances": 1, "file": files}
                ),
            ],
            ignore_index=True,
        )
        if without := int(series["file"].isna().sum()):
            notes.append(f"{without} of {len(series)} scored films have no image in the collection at hand")
        cases = collection.cases[collection.cases["case_id"].isin(studies["case_id"])]
        new = studies.loc[~studies["case_id"].isin(cases["case_id"]), "case_id"].drop_duplicates()
        flags = covid_ever(dropped["finding"], dropped["patientid"])
        project = collection.cases["project"].iloc[0]
        more = pd.DataFrame({"case_id": new, "patient_id": new, "project": project, "covid_ever": new.map(flags)})
        return Tables.checked(
            origin="Brixia scores of the COVID-19 image data collection",
            cases=pd.concat([cases, more], ignore_index=True),
            studies=studies,
            series=series,
            events=collection.events[collection.events["case_id"].isin(cases["case_id"])],
            readings=readings[readings["study_id"].isin(studies["study_id"])],
            absent=absent_but("laboratory", "observation", why="the collection dates no such event"),
            notes=(*notes, *(f"in the whole collection: {note}" for note in collection.notes)),
        )

    def _studies(self, films: pd.Series, collection: Tables, dropped: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
        """A row a film; the patient from the collection's table, else from the list of what was taken out of it."""
        studies = collection.studies[collection.studies["study_id"].isin(films)]
        others = films[~films.isin(studies["study_id"])]
        patient = others.map(dict(zip(dropped["filename"], dropped["patientid"], strict=True)))
        unknown = patient.isna()
        if count := int(unknown.sum()):
            words = {
                "together": "they stand as one patient",
                "each_alone": "each stands as its own patient, so that a split may part films of one patient",
                "exclude": "they are left out",
            }[self.unknown_patients]
            notes.append(f"{count} scored films are in no list of the collection, their patient is not known; {words}")
        alone = "unknown patient" if self.unknown_patients == "together" else "unknown patient of " + others
        patient = patient.where(~unknown, alone)
        more = pd.DataFrame({"study_id": others, "case_id": patient, "modality": "DX", "body_part": "CHEST"})
        if self.unknown_patients == "exclude":
            more = more[~unknown]
        return pd.concat([studies, more], ignore_index=True)


def _brixia_readings(path: Path) -> tuple[pd.DataFrame, list[str]]:
    scores = [number(f"{letter}-{zone}", low=0, high=3) for letter in _READERS.values() for zone in _ZONES]
    totals = [number(f"{letter}-Global", low=0, high=18) for letter in _READERS.values()]
    columns = (text("filename", required=True), *scores, *totals)
    raw = read_text_table(path, columns=[column.name for column in columns], source=SOURCE)
    rows, problems = typed_columns(raw, columns, where=path.name, first_row=2)
    problems += _repeated(rows, path)
    frames = []
    for reader, letter in _READERS.items():
        zones = [f"{letter}-{zone}" for zone in _ZONES]
        wrong = rows[[*zones, f"{letter}-Global"]].notna().all(axis=1) & (
            rows[zones].sum(axis=1) != rows[f"{letter}-Global"]
        )
        if wrong.any():
            lines = ", ".join(str(row + 2) for row in rows.index[wrong][:5])
            problems.append(
                f"{path.name}: the total of the {reader} reader is not the sum of the zones in {int(wrong.sum())} rows "
                f"(rows {lines})"
            )
        for column in (*zones, f"{letter}-Global"):
            name = "brixia_" + column.split("-")[1].replace("Global", "total")
            frames.append(_reading(rows, reader, name, column, path.name))
    return pd.concat(frames, ignore_index=True), problems


def _mean_readings(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """No rows where the file is not there: it is another project's."""
    if not path.is_file():
        return pd.DataFrame({"study_id": []}, dtype="str"), []
    # As bytes: in which encoding it is comes out below.
    comments = sum(line.startswith(b"##") for line in path.read_bytes().removeprefix(BOM_UTF8).splitlines())
    columns = (text("filename", required=True), *(number(name, low=0, high=high) for name, high in _MEANS.values()))
    names = [column.name for column in columns]
    raw = read_text_table(path, columns=names, source=_SEVERITY_SOURCE, skip_lines=comments)
    rows, problems = typed_columns(raw, columns, where=path.name, first_row=comments + 2)
    problems += _repeated(rows, path)
    frames = [_reading(rows, "mean_of_3", name, column, path.name) for name, (column, _) in _MEANS.items()]
    return pd.concat(frames, ignore_index=True), problems


def _reading(rows: pd.DataFrame, reader: str, name: str, column: str, source: str) -> pd.DataFrame:
    known = rows[rows[column].notna()]
    return pd.DataFrame(
        {"study_id": known["filename"], "reader": reader, "name": name, "value": known[column], "source": source}
    )


def _repeated(rows: pd.DataFrame, path: Path) -> list[str]:
    count = int(rows["filename"].dropna().duplicated(keep=False).sum())
    return [f"{path.name}: {count} rows share their filename with another; each film comes once"] if count else []


def _dropped(path: Path) -> pd.DataFrame:
    """Images that a copy of the collection had to leave out (licence, size), with their patients; may be absent."""
    columns = ("patientid", "filename", "finding")
    if not path.is_file():
        return pd.DataFrame(columns=list(columns), dtype="str")
    return read_text_table(path, columns=columns, source=SOURCE)
