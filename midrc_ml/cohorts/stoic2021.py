"""`cohort=stoic2021`: chest CT of patients suspected of COVID-19 in France, with a severe course or not.

Source: Revel et al., Radiology 2021, doi 10.1148/radiol.2021210384; challenge and baseline in Boulogne et al., arXiv
2306.10484; the 2,000 public CT at https://registry.opendata.aws/stoic2021-training/ (CC BY-NC 4.0). Layout, as
downloaded: `metadata/reference.csv` (PatientID, probCOVID, probSevere: 0 or 1) and `data/mha/<PatientID>.mha`; age and
sex stand in the header of each image (PatientAge, PatientSex).

covid_ever = probCOVID, by RT-PCR; severe = probSevere, intubation or death within a month, which is asked of COVID-19
patients only. An age is one of 35, 45, ... 85: the ten years around it (under 40, over 80 at the ends). One CT a
patient, so that a study has its patient's id. Days and sites are not told.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.public import absent_but, public_folder, read_text_table
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import TableError
from midrc_ml.tables.checks import typed_columns
from midrc_ml.tables.schemas import flag, text

SOURCE = "https://registry.opendata.aws/stoic2021-training/"
_COLUMNS = (text("PatientID", required=True), flag("probCOVID"), flag("probSevere"))
_SEX = {"F": "Female", "M": "Male"}
_HEADER_BYTES = 1 << 16  # far above any header: the pixels follow in the same file
_HEADER_END = "ElementDataFile"
_OLDEST = 89


@dataclass(frozen=True, kw_only=True)
class Stoic2021Cohort:
    """Reads `<data_dir>/stoic2021`."""

    data_dir: str | None

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for."""
        return {"cohort": "stoic2021"}

    def read(self) -> Tables:
        """The five tables.

        Raises:
            InputError: the data are not there.
            TableError: the file is not the table, or holds values that its columns cannot; all at once.
        """
        folder = public_folder(self.data_dir, "stoic2021", source=SOURCE)
        path = folder / "metadata" / "reference.csv"
        raw = read_text_table(path, columns=[column.name for column in _COLUMNS], source=SOURCE)
        rows, problems = typed_columns(raw, _COLUMNS, where=path.name, first_row=2)
        repeated = int(rows["PatientID"].dropna().duplicated(keep=False).sum())
        if repeated:
            problems.append(f"{path.name}: {repeated} rows share their PatientID with another; each patient comes once")
        if problems:
            raise TableError(problems)
        ids = rows["PatientID"]
        images = {file.stem: file for file in sorted((folder / "data" / "mha").glob("*.mha"))}
        headers = {name: _header(images[name]) for name in ids if name in images}
        age = ids.map({name: _age(header.get("PatientAge", "")) for name, header in headers.items()}).astype("float64")
        sex = ids.map({name: _SEX.get(header.get("PatientSex", "")) for name, header in headers.items()})
        notes = [
            f"{count} {words}"
            for count, words in (
                (int((~ids.isin(list(images))).sum()), f"patients have no image file here; get them from {SOURCE}"),
                (len(images) - len(headers), "image files belong to no patient of the table"),
                (sum(not header for header in headers.values()), "image files have no MetaImage header"),
            )
            if count
        ]
        return Tables.checked(
            origin="STOIC 2021",
            cases=pd.DataFrame(
                {
                    "case_id": ids,
                    "patient_id": ids,
                    "project": "STOIC2021",
                    "sex": sex,
                    "age": age,
                    "covid_ever": rows["probCOVID"],
                    "severe": rows["probSevere"],
                }
            ),
            studies=pd.DataFrame({"study_id": ids, "case_id": ids, "modality": "CT", "body_part": "CHEST", "age": age}),
            series=pd.DataFrame(
                {
                    "series_id": ids,
                    "study_id": ids,
                    "modality": "CT",
                    "instances": 1,
                    "file": ids.map({name: str(images[name]) for name in headers}),
                }
            ),
            absent={**absent_but(why="STOIC tells no days"), "readings": "STOIC has no readings"},
            notes=tuple(notes),
        )


def _header(file: Path) -> dict[str, str]:
    """The `Key = Value` lines of a MetaImage up to its pixels; none where it is no such file."""
    with file.open("rb") as content:
        start = content.read(_HEADER_BYTES).decode("latin-1")
    fields: dict[str, str] = {}
    for line in start.split("\n"):
        key, found, value = line.partition("=")
        if not found:
            return {}
        fields[key.strip()] = value.strip()
        if key.strip() == _HEADER_END:
            return fields
    return {}


def _age(value: str) -> float | None:
    """DICOM's `063Y`, or `63`."""
    years = value.removesuffix("Y")
    return float(years) if years.isdigit() and int(years) <= _OLDEST else None
