from pathlib import Path

import pandas as pd
import pytest
from dicom_headers import ROOT, write_header

from midrc_ml.cohorts.dicom_folder import DicomFolder
from midrc_ml.errors import InputError


def test_patients_studies_and_series_are_those_of_the_headers(tmp_path: Path) -> None:
    fields = {"Modality": "DX", "PatientSex": "F", "BodyPartExamined": "CHEST", "StudyDescription": "Chest AP"}
    write_header(tmp_path / "a/film", study=1, series=1, patient="P", StudyDate="20200101", PatientAge="071Y", **fields)
    write_header(tmp_path / "b/film", study=2, series=1, patient="P", StudyDate="20200111", PatientAge="072Y", **fields)
    tables = DicomFolder(root=str(tmp_path)).read()
    assert tables.cases[["case_id", "patient_id", "sex"]].values.tolist() == [["P", "P", "Female"]]
    columns = ["study_id", "case_id", "modality", "description", "body_part", "day", "age"]
    assert tables.studies[columns].values.tolist() == [
        [f"{ROOT}.1", "P", "DX", "Chest AP", "CHEST", 0.0, 71.0],
        [f"{ROOT}.2", "P", "DX", "Chest AP", "CHEST", 10.0, 72.0],
    ]
    assert sorted(tables.series["file"]) == [str(tmp_path / "a/film"), str(tmp_path / "b/film")]
    assert {"covid_test", "hospital_stay", "readings"} <= set(tables.absent)


@pytest.mark.parametrize(
    ("fields", "years"),
    [
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "095Y"}, 90.0),
        ({"PatientBirthDate": "19500101", "StudyDate": "20200101"}, pytest.approx(70.0, abs=0.01)),
        ({"PatientBirthDate": "19000101", "StudyDate": "20230101"}, None),
        ({"PatientBirthDate": "20300101", "StudyDate": "20230101"}, None),
        ({"PatientAge": "old"}, None),
        ({}, None),
    ],
)
def test_an_age_is_that_of_the_header_or_from_birth_to_study_and_no_value_is_logged(
    fields: dict[str, str], years: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_header(tmp_path / "film.dcm", study=1, series=1, patient="P", Modality="DX", **fields)
    caplog.clear()
    (age,) = DicomFolder(root=str(tmp_path)).read().studies["age"]
    assert pd.isna(age) if years is None else age == years
    assert [record for record in caplog.records if record.name.startswith("pydicom")] == []


def test_who_is_not_named_or_named_twice_is_a_patient_of_ones_own_and_counted(tmp_path: Path) -> None:
    write_header(tmp_path / "1/film.dcm", study=1, series=1, patient="", Modality="DX")
    write_header(tmp_path / "2/film.dcm", study=2, series=1, patient="P", Modality="DX")
    write_header(tmp_path / "3/film.dcm", study=2, series=2, patient="Q", Modality="DX")
    write_header(tmp_path / "4/film.dcm", study=3, series=1, patient="MIDRC-RICORD-1C-P", Modality="DX")
    tables = DicomFolder(root=str(tmp_path)).read()
    assert sorted(tables.cases["case_id"]) == [f"{ROOT}.1", f"{ROOT}.2", "P"]
    assert [note.split(" in their")[0] for note in tables.notes] == [
        "1 studies name several patients",
        "1 studies name no patient",
    ]


def test_what_holds_no_image_is_refused_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no DICOM image is below it"):
        DicomFolder(root=str(tmp_path)).read()
    (tmp_path / "film.dcm").write_bytes(b"not DICOM")
    with pytest.raises(InputError, match=r"no DICOM image is below it \(1 files"):
        DicomFolder(root=str(tmp_path)).read()
    with pytest.raises(InputError, match="is not a folder"):
        DicomFolder(root=str(tmp_path / "film.dcm")).read()
