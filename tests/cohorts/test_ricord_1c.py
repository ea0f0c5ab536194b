import csv
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import pytest
from dicom_headers import ROOT, write_header

from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.ricord_1c import Ricord1cCohort
from midrc_ml.errors import InputError, TableError

COLUMNS = (
    *("Anon MRN", "Anon TCIA Study Date", "Anon Sex", "Modality", "StudyInstanceUID", "Reader_name", "CLASS_label"),
    "GRADE_label",
)


def label(study: int, reader: str, words: str, grade: str = "", **other: str) -> dict[str, str]:
    return {
        **{"Anon MRN": "419639-1", "Anon TCIA Study Date": "01/31/2000", "Anon Sex": "F", "Modality": "CR"},
        **{"StudyInstanceUID": f"{ROOT}.{study}", "Reader_name": reader, "CLASS_label": words, "GRADE_label": grade},
        **other,
    }


def write(folder: Path, *rows: dict[str, str]) -> Ricord1cCohort:
    (folder / "ricord_1c").mkdir(parents=True)
    with (folder / "ricord_1c" / "ricord_1c_annotations.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return Ricord1cCohort(data_dir=str(folder))


@pytest.fixture(scope="module")
def real(midrc_ml_data: Path) -> Tables:
    return Ricord1cCohort(data_dir=str(midrc_ml_data)).read()


@pytest.fixture(scope="module")
def real_rows(midrc_ml_data: Path) -> list[dict[str, str]]:
    path = midrc_ml_data / "ricord_1c" / "ricord_1c_annotations_2021-01-08_v3.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_readings_patients_days_and_images_are_read(tmp_path: Path) -> None:
    later = {"Anon TCIA Study Date": "02/02/2000", "Anon MRN": "MIDRC-RICORD-1C-419639-1"}
    cohort = write(
        tmp_path,
        label(1, "Bear", "Typical", "Severe", **later),
        label(1, "Bear", "", "Severe", **later),
        label(1, "Adjudication", "Negative", "Mild", **later),
        label(2, "Bear", "Atypical", ""),
        label(3, "Bear", "Indeterminate", "", **{"Anon MRN": "SITE2-7", "Anon Sex": "M"}),
    )
    images = tmp_path / "ricord_1c" / "images"
    write_header(images / "a" / "0.dcm", study=1, series=1, patient="X", Modality="DX", ViewPosition="AP")
    write_header(images / "b" / "0.dcm", study=1, series=2, patient="X", Modality="DX", made_from=True)
    write_header(images / "c" / "0.dcm", study=9, series=1, patient="X", Modality="DX")
    tables = cohort.read()
    readings = tables.readings.set_index(["study_id", "reader", "name"])
    assert readings["category"].to_dict() == {
        (f"{ROOT}.1", "Bear", "pneumonia_class"): "typical",
        (f"{ROOT}.1", "Bear", "airspace_grade"): "severe",
        (f"{ROOT}.1", "Adjudication", "pneumonia_class"): "negative",
        (f"{ROOT}.1", "Adjudication", "airspace_grade"): "mild",
        (f"{ROOT}.2", "Bear", "pneumonia_class"): "atypical",
        (f"{ROOT}.3", "Bear", "pneumonia_class"): "indeterminate",
    }
    assert readings["value"].dropna().tolist() == [1.0, 3.0]
    # January 31 to February 2.
    assert tables.studies.set_index("study_id")["day"].tolist() == [2.0, 0.0, 0.0]
    cases = tables.cases.set_index("patient_id")
    assert cases[["site", "sex"]].values.tolist() == [["419639", "Female"], ["SITE2", "Male"]]
    series = tables.series.set_index("series_id")
    assert series.loc[f"{ROOT}.1.1", "view"] == "AP"
    assert Path(series.loc[f"{ROOT}.1.1", "file"]).name == "0.dcm"
    assert series["file"].isna().to_dict() == {f"{ROOT}.1.1": False, f"{ROOT}.2": True, f"{ROOT}.3": True}
    assert tables.notes[:4] == (
        "1 rows repeat a reading (the same reader and study); each reading is counted once",
        "1 readings say negative and yet give a grade; both are kept",
        "1 image series were processed from another image; they are left out",
        "1 image series belong to no study of the table; they are left out",
    )
    assert tables.notes[4].startswith(
        "2 of 3 studies have no image here; get them from https://doi.org/10.7937/91ah-v663"
    )


def test_one_reader_with_two_classes_and_all_bad_words_are_told_at_once(tmp_path: Path) -> None:
    cohort = write(
        tmp_path,
        label(1, "Bear", "Typical", "Mild"),
        label(1, "Bear", "Atypical", "Mild"),
        label(2, "Bear", "Maybe", "Huge"),
        label(3, "Bear", "Typical", **{"Anon TCIA Study Date": "2000-01-31", "Modality": "CT"}),
        label(4, "Bear", "Typical"),
        label(4, "Lion", "Typical", **{"Anon MRN": "SITE2-7"}),
    )
    with pytest.raises(TableError) as error:
        cohort.read()
    text = str(error.value)
    assert "1 readings (one reader, one study) have several values of CLASS_label; leave one of each" in text
    assert "1 studies have several values of case_id; a study has one" in text
    assert (
        "CLASS_label must be one of 'Typical', 'Indeterminate', 'Atypical', 'Negative'; 1 row does not (row 4" in text
    )
    assert "GRADE_label must be one of 'Mild', 'Moderate', 'Severe'" in text
    assert "Anon TCIA Study Date must be a date like 01/31/2000; 1 row does not (row 5: '2000-01-31')" in text
    assert "Modality must be one of 'CR', 'DX'" in text
    assert len(error.value.problems) == 6


def test_absent_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder .*91ah-v663.*MIDRC_ML_DATA"):
        Ricord1cCohort(data_dir=str(tmp_path)).read()
    write(tmp_path, label(1, "Bear", "Typical"))
    with pytest.raises(InputError, match=r"^cohort.images_dir is '/no/where', which is no folder; get the images from"):
        Ricord1cCohort(data_dir=str(tmp_path), images_dir="/no/where").read()
    (tmp_path / "ricord_1c" / "ricord_1c_annotations.csv").rename(tmp_path / "ricord_1c" / "other.csv")
    with pytest.raises(InputError, match=r"0 files \*annotations\*.csv"):
        Ricord1cCohort(data_dir=str(tmp_path)).read()


def test_the_real_table_has_981_studies_of_356_patients(real: Tables, real_rows: list[dict[str, str]]) -> None:
    assert len(real_rows) == 3_164
    assert (len(real.studies), len(real.cases), real.cases["patient_id"].nunique()) == (981, 356, 356)
    dates: dict[str, dict[str, datetime]] = defaultdict(dict)
    for row in real_rows:
        dates[row["Anon MRN"]][row["StudyInstanceUID"]] = datetime.strptime(row["Anon TCIA Study Date"], "%m/%d/%Y")
    days = {study: (date - min(of.values())).days for of in dates.values() for study, date in of.items()}
    assert real.studies.set_index("study_id")["day"].to_dict() == days
    sex = {row["Anon MRN"]: {"F": "Female", "M": "Male"}[row["Anon Sex"]] for row in real_rows}
    assert real.cases.set_index("case_id")["sex"].to_dict() == sex


def test_the_real_readings_are_the_rows_without_repeats(real: Tables, real_rows: list[dict[str, str]]) -> None:
    for name, column in (("pneumonia_class", "CLASS_label"), ("airspace_grade", "GRADE_label")):
        expected = {
            (row["StudyInstanceUID"], row["Reader_name"], row[column].lower()) for row in real_rows if row[column]
        }
        found = real.readings[real.readings["name"] == name]
        assert set(zip(found["study_id"], found["reader"], found["category"], strict=True)) == expected
        assert len(found) == len(expected)
    pairs = {(row["StudyInstanceUID"], row["Reader_name"]) for row in real_rows}
    repeats = len(real_rows) - len(pairs)
    assert real.notes[0].startswith(f"{repeats} rows repeat a reading")
    assert repeats == 132
