"""`cohort=ralo`: 2,373 AP chest radiographs, each read by two radiologists.

Source: Cohen et al., "Radiographic Assessment of Lung Opacity Score Dataset", doi 10.5281/zenodo.4633999.
The table has two header rows; the second names the columns, the totals once for each reader. A study's id
is its row number, which also names its image and stands in the published test list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.public import absent_but, public_folder
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError

_HEADER_ROWS = 2
_TOTALS = {"geographic_extent": "Total GEOGRAPHIC", "opacity": "Total OPACITY"}
_READERS = ("reader_1", "reader_2")
_PATIENT = "Subject_ID"
_HIGHEST = 8
_AGAIN = "download doi 10.5281/zenodo.4633999 again and take its table as it is"


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
            TableError: the file is not the table, a column is not there, or a total is not a number of 0 to 8.
        """
        source = "doi 10.5281/zenodo.4633999"
        folder = public_folder(self.data_dir, "ralo", source=source)
        path = folder / "ralo-dataset-metadata.csv"
        if not path.is_file():
            raise InputError(f"cohort=ralo: no {path}; get it from {source}, or set MIDRC_ML_DATA")
        names, rows = _read(path)
        study_id = pd.Series([str(number) for number in range(len(rows))])
        images = {file.stem: str(file) for file in (folder / "images").glob("*.jpg")}
        readings, problems = [], []
        if _PATIENT not in names:
            problems.append(f"{path.name}: no column {_PATIENT!r}, by which a patient is known; {_AGAIN}")
        for name, title in _TOTALS.items():
            places = [place for place, found in enumerate(names) if found == title]
            if len(places) != len(_READERS):
                problems.append(f"{path.name}: {len(places)} columns {title!r}; one for each of two readers is needed")
                continue
            for reader, place in zip(_READERS, places, strict=True):
                value = pd.to_numeric(rows[place].replace("", None), errors="coerce")
                bad = ((rows[place] != "") & value.isna()) | (value < 0) | (value > _HIGHEST)
                if bad.any():
                    lines = ", ".join(str(row + _HEADER_ROWS + 1) for row in rows.index[bad][:5])
                    problems.append(
                        f"{path.name}: {title!r} of {reader} must be 0 to {_HIGHEST}; {int(bad.sum())} rows are not "
                        f"(lines {lines})"
                    )
                ids = {"study_id": study_id, "series_id": study_id}
                readings.append(pd.DataFrame({**ids, "reader": reader, "name": name, "value": value}))
        if problems:
            raise TableError(problems)
        patient = rows[names.index(_PATIENT)]
        unused = len(images) - int(study_id.isin(list(images)).sum())
        return Tables.checked(
            origin="RALO radiographs",
            cases=pd.DataFrame(
                {"case_id": patient.unique(), "patient_id": patient.unique(), "project": "RALO", "site": "Stony Brook"}
            ),
            studies=pd.DataFrame({"study_id": study_id, "case_id": patient, "modality": "DX"}),
            series=pd.DataFrame(
                {
                    "series_id": study_id,
                    "study_id": study_id,
                    "modality": "DX",
                    "view": "AP",
                    "file": study_id.map(images),
                }
            ),
            readings=pd.concat(readings, ignore_index=True),
            absent=absent_but(why="RALO has no clinical data"),
            notes=(f"{unused} image files belong to no row of the table",) if unused else (),
        )


def _read(path: Path) -> tuple[list[str], pd.DataFrame]:
    """The column names, of which some come twice, and the rows, all as text."""
    try:
        table = pd.read_csv(path, header=None, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise TableError([f"{path.name}: not a readable CSV ({str(error).strip()}); {_AGAIN}"]) from error
    names = list(table.iloc[_HEADER_ROWS - 1]) if len(table) > _HEADER_ROWS else []
    # A web page that was saved under the table's name may well be read as a CSV of one column.
    if not {_PATIENT, *_TOTALS.values()} & set(names):
        raise TableError(
            [f"{path.name}: not the RALO table, whose second line names its columns and is followed by rows; {_AGAIN}"]
        )
    return names, table[_HEADER_ROWS:].reset_index(drop=True)
