"""`cohort=midrc_covidx2022`: the 18,501 chest radiographs of MIDRC's COVIDx challenge of 2022.

Source: MIDRC/COVID19_Challenges fc43c7bc, `Imaging_Covid_Status_Object_Names.tsv` (Apache-2.0): adult, portable,
frontal, with a COVID-19 test up to 14 days before. The table names cases, studies and objects, and no label:
`task=covid` makes them from the tests of the user's own export of data.midrc.org (`cohort.export.root`). Without one,
who and how many is all there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.cohorts.public import absent_but, bad_rows, public_folder, read_text_table, without_ricord_prefix
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import TableError, check_kinds
from midrc_ml.tables.checks import typed_columns
from midrc_ml.tables.schemas import EVENT_KINDS, Column, text

FOLDER = "midrc/challenge2022_covidx"
SOURCE = "https://github.com/MIDRC/COVID19_Challenges"
TABLE = "Imaging_Covid_Status_Object_Names.tsv"
_COLUMNS = (
    Column(name="case_ids", kind="list"),
    text("study_uid", required=True),
    text("project_id", required=True),
    Column(name="object_id", kind="list"),
)


@dataclass(frozen=True, kw_only=True)
class MidrcCovidx2022Cohort:
    """Reads `<data_dir>/midrc/challenge2022_covidx`.

    export: the user's export of data.midrc.org with the images; without its root, the challenge's table alone is read.
    """

    data_dir: str | None
    export: MidrcCohort | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "cohort")

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for, without machine paths."""
        return {"cohort": "midrc_covidx2022", "export": has_export(self.export)}

    def read(self) -> Tables:
        """The five tables, of the listed studies alone.

        Raises:
            InputError: the data are not there, or nothing to read in the export.
            TableError: the file is not the table, or a row of it or of the export breaks its rules.
        """
        folder = public_folder(self.data_dir, "midrc_covidx2022", source=SOURCE, name=FOLDER)
        listed = read_covidx(folder / TABLE)
        objects = listed[["study_id", "object_id"]].explode("object_id").dropna()
        # Radiographs, of which the table does not say whether CR or DX.
        series = pd.DataFrame({"series_id": objects["object_id"], "study_id": objects["study_id"], "modality": "DX"})
        return challenge_tables(
            origin="MIDRC COVIDx challenge 2022",
            export=self.export.read() if self.export and has_export(self.export) else None,
            studies=listed[["study_id", "case_id"]].assign(modality="DX", loinc_system="Chest"),
            cases=cases_of(listed),
            series=series,
        )


def read_covidx(path: Path) -> pd.DataFrame:
    """study_id, case_id, project and object_id (a tuple) of each study of the challenge's table.

    Raises:
        TableError: not the table, a study of no case or of several, a repeated study.
    """
    raw = read_text_table(path, columns=[column.name for column in _COLUMNS], source=SOURCE, separator="\t")
    rows, problems = typed_columns(raw, _COLUMNS, where=path.name, first_row=2)
    one_case = rows["case_ids"].map(len) == 1
    problems += bad_rows(raw["case_ids"], ~one_case, "must name one case", where=f"{path.name}: case_ids")
    repeated = rows["study_uid"].duplicated(keep=False) & rows["study_uid"].notna()
    problems += bad_rows(raw["study_uid"], repeated, "must come once", where=f"{path.name}: study_uid")
    if problems:
        raise TableError(problems)
    return pd.DataFrame(
        {
            "study_id": rows["study_uid"],
            "case_id": rows["case_ids"].str[0],
            "project": rows["project_id"],
            "object_id": rows["object_id"],
        }
    )


def cases_of(listed: pd.DataFrame) -> pd.DataFrame:
    """A row a case: patient, project, and the site, which is the patient's id up to its first hyphen."""
    cases = listed[["case_id", "project"]].drop_duplicates("case_id")
    patient = without_ricord_prefix(cases["case_id"])
    return cases.assign(patient_id=patient, site=patient.str.split("-").str[0])


def has_export(export: MidrcCohort | None) -> bool:
    """Whether the user gave an export."""
    return export is not None and export.root is not None


def challenge_tables(
    *,
    origin: str,
    export: Tables | None,
    studies: pd.DataFrame,
    cases: pd.DataFrame,
    series: pd.DataFrame,
    readings: pd.DataFrame | None = None,
    notes: tuple[str, ...] = (),
) -> Tables:
    """The tables of a challenge's list of studies, with all that the user's export knows about them.

    The export's rows stand for those studies, cases and series that it has; its readings only where `readings` is None.
    """
    if export is None:
        why = "the challenge's table has ids only; give cohort.export.root=FOLDER, an export of data.midrc.org"
        return Tables.checked(
            origin=origin,
            cases=cases,
            studies=studies,
            series=series,
            readings=readings,
            absent={**absent_but(why=why), **({} if readings is not None else {"readings": why})},
            notes=notes,
        )
    known = export.studies[export.studies["study_id"].isin(studies["study_id"])]
    if without := len(studies) - len(known):
        notes = (*notes, f"{without} of {len(studies)} listed studies are not in the export: no day, no test, no image")
    listed_case = known["study_id"].map(dict(zip(studies["study_id"], studies["case_id"], strict=True)))
    if other := int((without_ricord_prefix(known["case_id"]) != without_ricord_prefix(listed_case)).sum()):
        words = "studies are of another case in the export than in the challenge's table; the export's counts"
        notes = (*notes, f"{other} {words}")
    studies = pd.concat([known, studies[~studies["study_id"].isin(known["study_id"])]], ignore_index=True)
    of_export = export.cases[export.cases["case_id"].isin(studies["case_id"])]
    others = cases[~cases["case_id"].isin(of_export["case_id"]) & cases["case_id"].isin(studies["case_id"])]
    known_series = export.series[export.series["study_id"].isin(studies["study_id"])]
    other_series = series[~series["study_id"].isin(known_series["study_id"])]
    if readings is None:
        readings = export.readings[export.readings["study_id"].isin(studies["study_id"])]
    return Tables.checked(
        origin=origin,
        cases=pd.concat([of_export, others], ignore_index=True),
        studies=studies,
        series=pd.concat([known_series, other_series], ignore_index=True),
        events=export.events[export.events["case_id"].isin(studies["case_id"])],
        readings=readings,
        absent={kind: why for kind, why in export.absent.items() if kind in EVENT_KINDS},
        notes=(*notes, *(f"in the whole export: {note}" for note in export.notes)),
    )
