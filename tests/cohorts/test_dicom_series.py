from pathlib import Path

import pandas as pd
import pytest
from dicom_headers import ROOT, write_header

from midrc_ml.cohorts import dicom_series as dicom_series_module
from midrc_ml.cohorts.dicom_series import dicom_series, studies_of


def test_a_folder_of_one_series_is_one_row_with_its_number_of_images(tmp_path: Path) -> None:
    folder = tmp_path / "patient" / "study" / "series"
    for number in range(3):
        write_header(folder / f"{number}.dcm", study=1, series=2, patient="P", Modality="CT", StudyDate="19010102")
    (folder / "readme.txt").write_text("no image")
    found, notes = dicom_series(tmp_path)
    assert notes == []
    assert len(found) == 1
    row = found.iloc[0]
    assert (row["series_id"], row["study_id"], row["patient"]) == (f"{ROOT}.1.2", f"{ROOT}.1", "P")
    assert (row["instances"], row["file"], row["modality"]) == (3, str(folder), "CT")
    assert row["study_date"] == pd.Timestamp("1901-01-02")


def test_series_that_share_a_folder_are_told_apart(tmp_path: Path) -> None:
    for name, series in (("a", 1), ("b", 2), ("c", 2), ("d", 3)):
        write_header(tmp_path / f"{name}.dcm", study=1, series=series, patient="P", Modality="DX")
    found, notes = dicom_series(tmp_path)
    assert dict(zip(found["series_id"], found["instances"], strict=True)) == {
        f"{ROOT}.1.1": 1,
        f"{ROOT}.1.2": 2,
        f"{ROOT}.1.3": 1,
    }
    assert [Path(file).name for file in found["file"]] == ["a.dcm", "b.dcm", "d.dcm"]
    assert notes == ["1 series of several images share a folder with others; only their first image is used"]


@pytest.mark.parametrize("count", [3, 12])
def test_a_series_between_files_of_another_is_not_lost(count: int, tmp_path: Path) -> None:
    for number in range(count):
        write_header(tmp_path / f"{number:02}.dcm", study=1, series=1 + (number == 1), patient="P", Modality="DX")
    found, _ = dicom_series(tmp_path)
    assert dict(zip(found["series_id"], found["instances"], strict=True)) == {
        f"{ROOT}.1.1": count - 1,
        f"{ROOT}.1.2": 1,
    }


@pytest.mark.parametrize(("strange", "opened"), [(None, 21), ("another series", 40), ("damaged", 40)])
def test_of_a_folder_of_many_files_all_are_opened_where_some_are_not_of_one_series(
    strange: str | None, opened: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write_header(tmp_path / f"{number:02}.dcm", study=1, series=1, patient="P", Modality="CT")
    if strange == "another series":
        write_header(tmp_path / "20.dcm", study=1, series=2, patient="P", Modality="CT")
    elif strange:
        (tmp_path / "20.dcm").write_bytes(b"not DICOM")
    seen = set()
    header = dicom_series_module._header

    def counted(file: Path) -> dict[str, object] | None:
        seen.add(file)
        return header(file)

    monkeypatch.setattr(dicom_series_module, "_header", counted)
    found, notes = dicom_series(tmp_path)
    assert len(seen) == opened
    files = [Path(file).name for file in found["file"]]
    if strange == "another series":
        assert (found["instances"].tolist(), files) == ([39, 1], ["00.dcm", "20.dcm"])
    else:
        assert (found["instances"].tolist(), files) == ([40 - bool(strange)], [tmp_path.name])
    assert any("1 image files have no readable" in note for note in notes) == (strange == "damaged")


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    write_header(tmp_path / "one" / "0.dcm", study=1, series=1, patient="P")
    write_header(tmp_path / "two" / "0.dcm", study=1, series=1, patient="P")
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "damaged.dcm").write_bytes(b"not DICOM")
    write_header(tmp_path / "three" / "no_patient.dcm", study=2, series=1, patient="")
    found, notes = dicom_series(tmp_path)
    assert found["series_id"].tolist() == [f"{ROOT}.1.1"]
    assert notes == [
        "2 image files have no readable DICOM header; they are left out",
        "1 series lie in several folders; each is counted once",
    ]


@pytest.mark.parametrize(
    ("written", "years"),
    [("071Y", 71), ("006M", 0.5), ("090Y", 90), ("095Y", 90), ("", None), ("999Y", None)],
)
def test_ages_are_years_and_those_over_89_are_90(written: str, years: float | None, tmp_path: Path) -> None:
    write_header(tmp_path / "0.dcm", study=1, series=1, patient="P", PatientAge=written, PatientSex="F")
    age = dicom_series(tmp_path)[0]["age"].iloc[0]
    assert pd.isna(age) if years is None else age == years


def test_a_radiograph_made_from_another_is_marked_and_a_ct_slice_with_its_scout_is_not(tmp_path: Path) -> None:
    for number, (modality, made_from) in enumerate([("DX", True), ("DX", False), ("CT", True)]):
        path = tmp_path / str(number) / "0.dcm"
        write_header(path, study=1, series=number, patient="P", made_from=made_from, Modality=modality)
    assert dicom_series(tmp_path)[0]["is_processed"].tolist() == [True, False, False]


def test_a_study_has_the_modalities_of_its_series_and_its_earliest_day(tmp_path: Path) -> None:
    for series, modality in enumerate(["SR", "CT", "CT"]):
        write_header(tmp_path / str(series) / "0.dcm", study=1, series=series, patient="P", Modality=modality)
    found, _ = dicom_series(tmp_path)
    studies = studies_of(found.assign(case_id="P"), day=pd.Series([4.0, 3.0, 5.0]))
    assert studies[["study_id", "case_id", "modality", "day"]].values.tolist() == [[f"{ROOT}.1", "P", "CT,SR", 3.0]]


def test_a_folder_without_images_gives_an_empty_table(tmp_path: Path) -> None:
    found, notes = dicom_series(tmp_path)
    assert (len(found), notes) == (0, [])
    assert {"series_id", "file", "is_processed"} <= set(found.columns)
