"""`cohort=midrc_mrale2023`: the 2,079 portable chest radiographs of MIDRC's mRALE Mastermind challenge of 2023.

Source: MIDRC/COVID19_Challenges fc43c7bc (Apache-2.0); Armato et al., J Med Imaging 2025;12(2):024505. Adults, frontal
portable films within 2 days after a positive test. mRALE = extent (0-4) x density (0-3) of the right lung + that of the
left: 0-24.

Readings of the reader `challenge`: `mrale_total`, `mrale_extent_right`, `mrale_density_right`, `mrale_extent_left`,
`mrale_density_left`, and `quality_issue` (a category) where one was noted.

The table names no patient. Patients come from the table of the COVIDx challenge where it lies beside this one, as it
holds most of these studies with their cases, and from the user's own export (`cohort.export.root`). project and site
come from the study's UID, whose root names the registry, and RSNA's the site too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.cohorts.midrc_covidx2022 import FOLDER as COVIDX_FOLDER
from midrc_ml.cohorts.midrc_covidx2022 import TABLE as COVIDX_TABLE
from midrc_ml.cohorts.midrc_covidx2022 import cases_of, challenge_tables, has_export, read_covidx
from midrc_ml.cohorts.public import bad_rows, public_folder, read_text_table
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError, check_kinds

SOURCE = "https://github.com/MIDRC/COVID19_Challenges"
_TABLE = "MIDRC_mRALE_Mastermind_Training_Annotations_2079*.csv"
_EXTENT = {"None": 0, "<=25%": 1, "25-50%": 2, "51-75%": 3, ">75%": 4}
_DENSITY = {"None": 0, "Hazy": 1, "Moderate": 2, "Dense": 3}
_SIDES = ("right", "left")
_TOTAL = "mRALE Score"
_STUDY = "StudyInstanceUID"
_RSNA_ROOT = r"^1\.2\.826\.0\.1\.3680043\.10\.474\.(\d+)\."
_ACR_ROOT = "2.16.840.1.114274.1818."
_ALONE = "patient of "  # begins the id of a patient of whom one study is all that is known
UNKNOWN_PATIENTS = ("refuse", "exclude", "each_alone")


@dataclass(frozen=True, kw_only=True)
class MidrcMrale2023Cohort:
    """Reads `<data_dir>/midrc/challenge2023_mrale`.

    export: the user's export of data.midrc.org with the images; not read without its root.
    unknown_patients: for studies whose patient no table tells: `refuse` to read; `exclude` them; `each_alone` = each
    stands as its own patient, so that a split may part films of one patient.
    """

    data_dir: str | None
    export: MidrcCohort | None = None
    unknown_patients: str = "refuse"

    def __post_init__(self) -> None:
        check_kinds(self, "cohort")
        if self.unknown_patients not in UNKNOWN_PATIENTS:
            words = ", ".join(UNKNOWN_PATIENTS)
            raise InputError(f"cohort.unknown_patients is {self.unknown_patients!r}; it must be one of {words}")

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for, without machine paths."""
        return {
            "cohort": "midrc_mrale2023",
            "export": has_export(self.export),
            "unknown_patients": self.unknown_patients,
        }

    def read(self) -> Tables:
        """The five tables.

        Raises:
            InputError: the data are not there, or a study's patient is not known.
            TableError: the file is not the table, or a score does not fit its words or its parts; all at once.
        """
        folder = public_folder(self.data_dir, "midrc_mrale2023", source=SOURCE, name="midrc/challenge2023_mrale")
        paths = sorted(folder.glob(_TABLE))
        if len(paths) != 1:
            raise InputError(
                f"cohort=midrc_mrale2023: {len(paths)} files {_TABLE} in {folder}; one is needed, from {SOURCE}"
            )
        rows = _read(paths[0])
        notes: list[str] = []
        export = self.export.read() if self.export and has_export(self.export) else None
        studies = self._studies(rows[_STUDY], folder, export, notes)
        # What the challenge chose by; the table does not say whether CR or DX.
        chosen = {"modality": "DX", "loinc_system": "Chest", "loinc_method": "XR.portable"}
        ids = studies["study_id"]
        readings = _readings(rows)
        return challenge_tables(
            origin="MIDRC mRALE challenge 2023",
            export=export,
            studies=studies[["study_id", "case_id"]].assign(**chosen),
            cases=_cases(studies),
            series=pd.DataFrame({"series_id": ids, "study_id": ids, "modality": "DX"}),
            readings=readings[readings["study_id"].isin(ids)],
            notes=tuple(notes),
        )

    def _studies(self, uids: pd.Series, folder: Path, export: Tables | None, notes: list[str]) -> pd.DataFrame:
        """study_id, case_id, project and site; the case from the COVIDx challenge's table, else from the export."""
        case = pd.Series(pd.NA, index=uids.index, dtype="str")
        table = folder.parent.parent / COVIDX_FOLDER / COVIDX_TABLE
        if table.is_file():
            listed = read_covidx(table)
            case = uids.map(dict(zip(listed["study_id"], listed["case_id"], strict=True)))
        if export is not None:
            case = case.fillna(uids.map(dict(zip(export.studies["study_id"], export.studies["case_id"], strict=True))))
        unknown = case.isna()
        count = int(unknown.sum())
        if count and self.unknown_patients == "refuse":
            raise InputError(
                f"cohort=midrc_mrale2023: the patient of {count} of {len(uids)} studies is not known, so that a split "
                f"could part films of one patient; give cohort.export.root=FOLDER, an export of data.midrc.org with "
                f"its imaging_study node, or cohort.unknown_patients=exclude (the other {len(uids) - count} studies), "
                f"or cohort.unknown_patients=each_alone"
            )
        if count:
            kept = self.unknown_patients == "each_alone"
            words = "each stands as its own patient" if kept else "they are left out"
            notes.append(f"the patient of {count} of {len(uids)} studies is not known; {words}")
        rsna_site = uids.str.extract(_RSNA_ROOT)[0]
        is_acr = uids.str.startswith(_ACR_ROOT)
        project = pd.Series("Open-R1", index=uids.index).where(rsna_site.notna()).mask(is_acr, "Open-A1")
        studies = pd.DataFrame(
            {
                "study_id": uids,
                "case_id": case.where(~unknown, _ALONE + uids),
                "project": project,
                "site": rsna_site,
            }
        )
        return studies if self.unknown_patients == "each_alone" else studies[~unknown]


def _cases(studies: pd.DataFrame) -> pd.DataFrame:
    """All had a positive test. The site is the case id's, else the UID's."""
    cases = cases_of(studies)
    from_uid = studies.drop_duplicates("case_id").set_index("case_id")["site"]
    alone = cases["case_id"].str.startswith(_ALONE)
    return cases.assign(site=cases["site"].where(~alone, cases["case_id"].map(from_uid)), covid_ever=True)


def _read(path: Path) -> pd.DataFrame:
    """The table with its numbers as numbers.

    Raises:
        TableError: a word that is none of the scale, a number that is not its word's, a total that is not its parts'.
    """
    words = {f"{part}_{side}": scale for side in _SIDES for part, scale in (("extent", _EXTENT), ("density", _DENSITY))}
    names = [_STUDY, *words, "quality_issue", *(f"{name}_numerical" for name in words), _TOTAL]
    rows = read_text_table(path, columns=names, source=SOURCE)
    problems: list[str] = []
    for name, scale in words.items():
        rule = "must be one of " + ", ".join(repr(word) for word in scale)
        problems += bad_rows(rows[name], ~rows[name].isin(list(scale)), rule, where=f"{path.name}: {name}")
        column = f"{name}_numerical"
        value = rows[name].map(scale)
        given = pd.to_numeric(rows[column], errors="coerce")
        differs = value.notna() & (given != value)
        rule = f"must be the number of the word in {name}"
        problems += bad_rows(rows[column], differs, rule, where=f"{path.name}: {column}")
        rows[column] = given
    total = pd.to_numeric(rows[_TOTAL], errors="coerce")
    right, left = (rows[f"extent_{side}_numerical"] * rows[f"density_{side}_numerical"] for side in _SIDES)
    differs = (right + left).notna() & (total != right + left)
    rule = "must be extent x density of the right lung + that of the left"
    problems += bad_rows(rows[_TOTAL], differs, rule, where=f"{path.name}: {_TOTAL}")
    repeated = rows[_STUDY].duplicated(keep=False) | (rows[_STUDY] == "")
    problems += bad_rows(rows[_STUDY], repeated, "must be there, once for each study", where=f"{path.name}: {_STUDY}")
    if problems:
        raise TableError(problems)
    return rows.assign(**{_TOTAL: total})


def _readings(rows: pd.DataFrame) -> pd.DataFrame:
    columns = {"mrale_total": _TOTAL}
    columns |= {f"mrale_{part}_{side}": f"{part}_{side}_numerical" for side in _SIDES for part in ("extent", "density")}
    frames = [
        pd.DataFrame({"study_id": rows[_STUDY], "reader": "challenge", "name": name, "value": rows[column]})
        for name, column in columns.items()
    ]
    noted = rows[rows["quality_issue"] != ""]
    frames.append(
        pd.DataFrame(
            {
                "study_id": noted[_STUDY],
                "reader": "challenge",
                "name": "quality_issue",
                "category": noted["quality_issue"],
            }
        )
    )
    return pd.concat(frames, ignore_index=True).assign(source="mRALE Mastermind 2023")
