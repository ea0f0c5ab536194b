"""`cohort=ralo`: 2,373 AP chest radiographs, each read by two radiologists.

Source: Cohen et al., "Radiographic Assessment of Lung Opacity Score Dataset", doi 10.5281/zenodo.4633999.
The table has two header rows: column 6 and 7 are reader 1's totals, 14 and 15 reader 2's. A study's id is
its row number, which also names its image and stands in the published test list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError

_HEADER_ROWS = 2
_TOTALS = (
    ("reader_1", "geographic_extent", 6),
    ("reader_1", "opacity", 7),
    ("reader_2", "geographic_extent", 14),
    ("reader_2", "opacity", 15),
)
_HIGHEST = 8


@dataclass(frozen=True, kw_only=True)
class RaloCohort:
    """Reads `<data_dir>/ralo`: the table and one JPEG a row."""

    data_dir: str | None

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for."""
        return {"cohort": "ralo"}

    def read(self) -> Tables:
        """The five tables: no case data beyond the patient, two readings of two scores a study.

        Raises:
            InputError: the data are not there.
            TableError: a total that is not a number of 0 to 8.
        """
        if not self.data_dir:
            raise InputError(
                "cohort=ralo reads public files from paths.data_dir, which is not set; "
                "set MIDRC_ML_DATA to the folder that holds ralo/, or give paths.data_dir=FOLDER"
            )
        folder = Path(self.data_dir).expanduser().resolve() / "ralo"
        path = folder / "ralo-dataset-metadata.csv"
        if not path.is_file():
            raise InputError(f"cohort=ralo: no {path}; download doi 10.5281/zenodo.4633999 into it, or set MIDRC_ML_DATA")
        rows = pd.read_csv(path, skiprows=_HEADER_ROWS, header=None, dtype=str, keep_default_na=False)
        needed = max(column for _, _, column in _TOTALS)
        if rows.shape[1] <= needed:
            raise TableError([f"{path.name}: {rows.shape[1]} columns; the RALO table has at least {needed + 1}"])
        study_id = pd.Series([str(number) for number in range(len(rows))])
        images = {file.stem: str(file) for file in (folder / "images").glob("*.jpg")}
        readings, problems = [], []
        for reader, name, column in _TOTALS:
            value = pd.to_numeric(rows[column].replace("", None), errors="coerce")
            bad = ((rows[column] != "") & value.isna()) | (value < 0) | (value > _HIGHEST)
            if bad.any():
                lines = ", ".join(str(row + _HEADER_ROWS + 1) for row in rows.index[bad][:5])
                problems.append(
                    f"{path.name}: {int(bad.sum())} totals of {reader} are not numbers of 0 to {_HIGHEST} (lines {lines})"
                )
            readings.append(
                pd.DataFrame({"study_id": study_id, "series_id": study_id, "reader": reader, "name": name, "value": value})
            )
        if problems:
            raise TableError(problems)
        patient = rows[0]
        return Tables.checked(
            origin="RALO radiographs",
            cases=pd.DataFrame(
                {"case_id": patient.unique(), "patient_id": patient.unique(), "project": "RALO", "site": "Stony Brook"}
            ),
            studies=pd.DataFrame({"study_id": study_id, "case_id": patient, "modality": "DX"}),
            series=pd.DataFrame(
                {"series_id": study_id, "study_id": study_id, "modality": "DX", "view": "AP", "file": study_id.map(images)}
            ),
            readings=pd.concat(readings, ignore_index=True),
            absent=dict.fromkeys(("hospital_stay", "icu_stay", "covid_test", "death", "ventilation"), "RALO has no clinical data"),
            notes=(f"{len(images) - int(study_id.isin(images).sum())} image files belong to no row of the table",)
            if len(images) > int(study_id.isin(images).sum())
            else (),
        )
