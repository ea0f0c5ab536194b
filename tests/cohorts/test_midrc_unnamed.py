"""Where the images of a series lie whose names say nothing: by their DICOM headers, of which few are read."""

import zipfile
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from image_layouts import dicom, files, put, put_zip, rows, sops_of
from pydicom.errors import InvalidDicomError

from midrc_ml.cohorts.midrc_images import find_series_files
from midrc_ml.images import headers


def test_a_file_name_that_several_series_share_tells_nothing_headers_do(tmp_path: Path) -> None:
    one = put_zip(tmp_path / "a" / "series.zip", "1.1", "5.1")
    two = put_zip(tmp_path / "b" / "series.zip", "1.2", "5.2")
    table = rows("1.2", "1.1", file_name=["b/series.zip", "a/series.zip"])
    found = find_series_files(tmp_path, table)
    assert files(found) == [two, one]
    assert found.notes == ("2 series lie in files whose names do not tell; they were found by their headers",)


def test_a_zip_of_several_series_without_a_name_is_given_to_none_and_counted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as package:
        package.writestr("a.dcm", dicom("1.1", "5.2"))
        package.writestr("b.dcm", dicom("1.2", "5.1", case="100-2"))
    found = find_series_files(tmp_path, rows("1.1", "1.2"))
    assert files(found) == [None, None]
    assert found.notes == ("1 ZIPs that are named by no series hold several; they are not used (unpack them)",)


def test_headers_tell_the_series_of_files_in_a_folder_of_several(tmp_path: Path) -> None:
    for name, series, number in (("a", "1.1", 2), ("b", "1.2", 1), ("c", "1.1", 1), ("d", "1.3", 1)):
        put(tmp_path / "dump" / f"{name}.dcm", dicom(series, f"5.{ord(name)}", number=number))
    found = find_series_files(tmp_path, rows("1.1", "1.2"))
    # a and c have nothing in their names that b has not: the series stands for its first image.
    assert files(found) == [str(tmp_path / "dump" / "c.dcm"), str(tmp_path / "dump" / "b.dcm")]
    (row,) = found.found.to_dict("records")
    assert row == {
        "series_uid": "1.3",
        "study_uid": "1.3.0",
        "case_id": "100-1",
        "modality": "DX",
        "view": "AP",
        "manufacturer": "ACME",
        "manufacturer_model": "Rays",
        "description": "Chest",
        "instances": 1.0,
        "file": str(tmp_path / "dump" / "d.dcm"),
    }
    assert found.notes == (
        "1 series lie in several files beside those of others and without names of their own; each is counted with "
        "its first image",
        "2 series lie in files whose names do not tell; they were found by their headers",
    )


def test_headers_tell_the_series_of_a_whole_folder_and_of_files_with_names_in_common(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "one" / f"IM{number}", dicom("1.1", f"5.{number}", number=number))
        put(tmp_path / "two" / f"x-{number}.dcm", dicom("1.2", f"6.{number}", number=number))
        put(tmp_path / "two" / f"y-{number}.dcm", dicom("1.3", f"7.{number}", number=number))
    found = find_series_files(tmp_path, rows("1.1", "1.2", "1.3"))
    assert files(found) == [
        str(tmp_path / "one"),
        str(tmp_path / "two" / "x-*.dcm"),
        str(tmp_path / "two" / "y-*.dcm"),
    ]
    assert [sops_of(str(file)) for file in found.files][1] == ["x-0.dcm", "x-1.dcm", "x-2.dcm"]


def test_a_folder_with_others_below_does_not_stand_for_its_own_files_by_headers(tmp_path: Path) -> None:
    for number in range(2):
        put(tmp_path / "all" / f"{number}.dcm", dicom("1.1", f"5.{number}"))
        put(tmp_path / "all" / "below" / f"{number}.dcm", dicom("1.2", f"6.{number}"))
    found = find_series_files(tmp_path, rows("1.1", "1.2"))
    assert files(found) == [str(tmp_path / "all" / "*.dcm"), str(tmp_path / "all" / "below")]
    assert sops_of(str(found.files[0])) == ["0.dcm", "1.dcm"]


def test_series_that_no_row_names_are_listed_with_their_headers_once_each(tmp_path: Path) -> None:
    put(tmp_path / "named" / "1.1.zip")
    zipped = put_zip(tmp_path / "100-1" / "1.7.0" / "1.7.zip", "1.7", "5.1", "5.2")
    put(tmp_path / "copy" / "1.7" / "5.1.dcm", dicom("1.7", "5.1"))
    for number in range(3):
        put(tmp_path / "100-2" / "1.8.0" / "1.8" / f"6.{number}.dcm", dicom("1.8", f"6.{number}", case="100-2"))
    found = find_series_files(tmp_path, rows("1.1"))
    listed = found.found[["series_uid", "study_uid", "case_id", "instances", "file"]].to_numpy().tolist()
    assert listed == [
        ["1.7", "1.7.0", "100-1", 2.0, zipped],
        ["1.8", "1.8.0", "100-2", 3.0, str(tmp_path / "100-2" / "1.8.0" / "1.8")],
    ]
    assert found.notes == ("1 series lie both as a ZIP and unpacked; each is counted once, from the ZIP",)


def test_only_one_file_of_a_folder_that_has_the_name_of_its_series_is_opened_for_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    read = headers._header
    monkeypatch.setattr(headers, "_header", lambda file: (opened.append(file), read(file))[1])
    for number in range(5):
        put(tmp_path / "1.8" / f"{number}.dcm", dicom("1.8", f"6.{number}"))
    found = find_series_files(tmp_path, rows("1.1"))
    assert found.found["instances"].tolist() == [5.0]
    assert opened == [str(tmp_path / "1.8" / "0.dcm")]


def test_headers_are_read_once_and_kept_below_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = put(tmp_path / "root" / "film.dcm", dicom("1.1", "5.1"))
    cache = str(tmp_path / "cache")
    assert files(find_series_files(tmp_path / "root", rows("1.1"), cache_dir=cache)) == [place]
    monkeypatch.setattr(headers, "_header", lambda file: pytest.fail("opened again"))
    assert files(find_series_files(tmp_path / "root", rows("1.1"), cache_dir=cache)) == [place]


def test_files_that_are_no_images_are_counted_where_they_are_called_so_by_headers(tmp_path: Path) -> None:
    for name in ("README", "DICOMDIR", "case.tsv", ".hidden.dcm", "film.dcm.part"):
        put(tmp_path / name, b"text")
    put(tmp_path / "broken.dcm", b"<html>")
    put(tmp_path / "code.zip", b"PK")
    put(tmp_path / "figure.png", b"")
    put(tmp_path / "1.1.0" / "1.1_headers.zip", b"")
    found = find_series_files(tmp_path, rows("1.1"))
    assert files(found) == [None]
    assert len(found.found) == 0
    assert found.notes == (
        "1 pictures are named by no series; they are not used",
        "2 files are named by no series and have no DICOM header that names one; they are not used",
        "1 ZIPs of headers (*_headers.zip) hold no images and are not read",
    )


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_every_series_of_a_folder_of_real_files_is_found_by_headers_with_all_its_files(midrc_ml_data: Path) -> None:
    counts: Counter[str] = Counter()
    for file in (midrc_ml_data / "dicom").rglob("*.dcm"):
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
        except InvalidDicomError:
            continue
        counts[str(header.get("SeriesInstanceUID", ""))] += 1
    del counts[""]
    found = find_series_files(midrc_ml_data / "dicom", rows())
    assert len(counts) > 20
    assert dict(zip(found.found["series_uid"], found.found["instances"], strict=True)) == counts
