"""Where the images of a series lie, by names: every layout that a download, an unpacking or a user leaves behind."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from image_layouts import files, put, rows, sops_of

from midrc_ml.cohorts.midrc_disk import walk
from midrc_ml.cohorts.midrc_images import find_series_files
from midrc_ml.images import headers
from midrc_ml.images.files import members

GUID = "0a1b2c3d-0000-4000-8000-{:012d}"


@pytest.fixture(autouse=True)
def nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "_header", lambda file: pytest.fail(f"{file} was opened"))


def test_zips_lie_by_case_and_study_or_by_study_alone_or_anywhere(tmp_path: Path) -> None:
    places = [
        put(tmp_path / "100-1" / "1.1.0" / "1.1.zip"),
        put(tmp_path / "1.2.0" / "1.2.zip"),
        put(tmp_path / "a" / "b" / "c" / "d" / "1.3.ZIP"),
        put(tmp_path / "1.4.zip"),
    ]
    found = find_series_files(tmp_path, rows("1.1", "1.2", "1.3", "1.4", "1.5"))
    assert files(found) == [*places, None]
    assert len(found.found) == 0
    assert found.notes == ()


def test_a_series_whose_uid_is_the_start_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    put(tmp_path / "1.23.zip")
    put(tmp_path / "1.24" / "a.dcm")
    put(tmp_path / "p_s_1.25_i.dcm")
    found = find_series_files(tmp_path, rows("1.2", "1.23", "1.24", "1.25"))
    assert files(found)[0] is None
    assert found.files.notna().tolist() == [False, True, True, True]


def test_unpacked_series_are_folders_also_with_folders_of_their_own(tmp_path: Path) -> None:
    put(tmp_path / "100-1" / "1.1.0" / "1.1" / "5.1.dcm")
    put(tmp_path / "1.2.0" / "1.2" / "DICOM" / "IM0001")
    put(tmp_path / "1.3" / "1.3" / "5.3.dcm")  # unzip -d 1.3 1.3.zip
    found = find_series_files(tmp_path, rows("1.1", "1.2", "1.3"))
    assert files(found) == [
        str(tmp_path / "100-1" / "1.1.0" / "1.1"),
        str(tmp_path / "1.2.0" / "1.2"),
        str(tmp_path / "1.3" / "1.3"),
    ]
    assert found.notes == ()


def test_a_folder_of_a_series_without_images_is_no_series(tmp_path: Path) -> None:
    (tmp_path / "1.1").mkdir()
    put(tmp_path / "1.2" / "notes.txt")
    put(tmp_path / "1.3" / "._film.dcm")
    found = find_series_files(tmp_path, rows("1.1", "1.2", "1.3"))
    assert files(found) == [None, None, None]


def test_of_a_zip_and_its_unpacked_folder_the_zip_is_taken_and_the_series_counted_once(tmp_path: Path) -> None:
    one = put(tmp_path / "1.1.0" / "1.1.zip")
    put(tmp_path / "1.1.0" / "1.1" / "5.1.dcm")
    two = put(tmp_path / "zips" / "1.2.zip")
    put(tmp_path / "flat" / "100-1_1.2.0_1.2_5.2.dcm")
    three = put(tmp_path / "1.3.zip")
    found = find_series_files(tmp_path, rows("1.1", "1.2", "1.3"))
    assert files(found) == [one, two, three]
    assert found.notes == ("2 series lie both as a ZIP and unpacked; each is counted once, from the ZIP",)


def test_of_two_copies_the_first_by_path_is_taken_and_they_are_counted(tmp_path: Path) -> None:
    put(tmp_path / "second" / "1.1.zip")
    first = put(tmp_path / "first" / "1.1.zip")
    put(tmp_path / "b" / "1.2" / "5.dcm")
    put(tmp_path / "a" / "1.2" / "5.dcm")
    found = find_series_files(tmp_path, rows("1.1", "1.2"))
    assert files(found) == [first, str(tmp_path / "a" / "1.2")]
    assert found.notes == ("2 series lie in several places; each is counted once, from the first by path",)


def test_flattened_files_are_one_series_as_the_pattern_of_their_names(tmp_path: Path) -> None:
    for sop in ("5.1", "5.2"):
        put(tmp_path / f"100-1_1.1.0_1.1_{sop}.dcm", sop.encode())
    put(tmp_path / "100-1_1.1.0_1.12_5.3.dcm", b"5.3")
    alone = put(tmp_path / "MIDRC-RICORD-1C-1_1.3.0_1.3_5.4.dcm")
    put(tmp_path / "100-1_1.1.0_1.1_5.1.json")
    found = find_series_files(tmp_path, rows("1.1", "1.12", "1.3"))
    one, other, last = files(found)
    assert one == str(tmp_path / "100-1_1.1.0_1.1_*.dcm")
    assert [member.content for member in members(str(one))] == [b"5.1", b"5.2"]
    assert [member.content for member in members(str(other))] == [b"5.3"]
    assert last == alone
    assert found.notes == ()


def test_wildcards_in_the_names_of_flattened_files_are_letters(tmp_path: Path) -> None:
    for name in ("[a]*_1.1.0_1.1_5.1.dcm", "[a]*_1.1.0_1.1_5.2.dcm", "ax_1.1.0_1.1_5.3.txt"):
        put(tmp_path / "odd [folder]*" / name)
    (file,) = files(find_series_files(tmp_path, rows("1.1")))
    assert sops_of(str(file)) == ["[a]*_1.1.0_1.1_5.1.dcm", "[a]*_1.1.0_1.1_5.2.dcm"]


def test_zips_flattened_or_renamed_keep_the_series_in_their_name(tmp_path: Path) -> None:
    places = [put(tmp_path / "100-1_1.1.0_1.1.zip"), put(tmp_path / "1.2_2.zip")]  # gen3-client --rename adds _2
    assert files(find_series_files(tmp_path, rows("1.1", "1.2"))) == places


def test_objects_are_known_by_their_guid_in_every_form_that_a_client_gives_it(tmp_path: Path) -> None:
    guids = [GUID.format(number) for number in range(5)]
    places = [
        put(tmp_path / f"{guids[0]}.zip"),
        put(tmp_path / f"dg.MD1R_{guids[1]}.zip"),
        put(tmp_path / f"1.9_{guids[2]}.zip"),
        put(tmp_path / "dg.MD1R" / guids[3]),  # gen3-client --filename-format guid
        put(tmp_path / "dg.MD1R" / f"{guids[4]}_100-1" / "1.5.0" / "series.zip"),
    ]
    table = rows("1.1", "1.2", "1.3", "1.4", "1.5", object_id=[f"dg.MD1R/{guid}" for guid in guids])
    table.loc[4, "file_name"] = "100-1/1.5.0/series.zip"
    found = find_series_files(tmp_path, table)
    assert files(found) == places


def test_a_zip_is_known_by_the_last_part_of_its_file_name_whatever_that_is(tmp_path: Path) -> None:
    place = put(tmp_path / "100-1" / "chest.zip")
    put(tmp_path / "other" / "notes.txt")
    table = rows("1.1", file_name=["100-1/chest.zip"])
    assert files(find_series_files(tmp_path, table)) == [place]


def test_all_below_a_folder_is_not_of_a_series_whose_zip_has_that_name(tmp_path: Path) -> None:
    put(tmp_path / "images" / "1.2" / "5.2.dcm")
    place = put(tmp_path / "images" / "5.1.dcm")
    table = rows("1.1", "1.2", file_name=["images.zip", "1.2.zip"])
    found = find_series_files(tmp_path, table)
    assert files(found) == [os.path.dirname(place), str(tmp_path / "images" / "1.2")]


def test_a_series_is_found_by_its_file_name_where_it_has_no_uid(tmp_path: Path) -> None:
    place = put(tmp_path / "1.1.zip")
    table = rows("1.1", "1.2")
    table["series_uid"] = pd.Series([None, None], dtype="str")
    table.loc[1, "file_name"] = None
    assert files(find_series_files(tmp_path, table)) == [place, None]


def test_pictures_named_for_a_series_are_its_images_and_beside_dicom_a_preview(tmp_path: Path) -> None:
    alone = put(tmp_path / "png" / "1.1.png")
    put(tmp_path / "png" / "1.2.png")
    film = put(tmp_path / "1.2.dcm")
    found = find_series_files(tmp_path, rows("1.1", "1.2"))
    assert files(found) == [alone, film]
    assert found.notes == ()


def test_links_are_followed_and_a_circle_of_them_ends(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "1.1" / "5.1.dcm")
    root = tmp_path / "root"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    found = find_series_files(root, rows("1.1"))
    assert files(found) == [str(root / "images" / "1.1")]
    assert found.notes == ()
    assert len(list(walk(root))) == 3


def test_folders_that_cannot_be_listed_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "closed" / "1.1.zip")
    place = put(tmp_path / "open" / "1.2.zip")
    scandir = os.scandir

    def refused(folder: str) -> object:
        if folder.endswith("closed"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)
    found = find_series_files(tmp_path, rows("1.1", "1.2"))
    assert files(found) == [None, place]
    assert found.notes == ("1 folders cannot be listed (permissions); what is in them is not found",)


def test_rows_keep_their_own_index_and_may_name_the_same_series(tmp_path: Path) -> None:
    place = put(tmp_path / "1.1.zip")
    table = rows("1.1", "1.2", "1.1").set_axis([30, 10, 20])
    found = find_series_files(tmp_path, table)
    assert found.files.index.tolist() == [30, 10, 20]
    assert files(found) == [place, None, place]


@pytest.mark.parametrize("has_files", [True, False])
def test_no_rows_and_no_files_give_nothing(tmp_path: Path, has_files: bool) -> None:
    if has_files:
        put(tmp_path / "1.1.png")
    found = find_series_files(tmp_path, rows())
    assert files(found) == []
    assert files(find_series_files(tmp_path / "absent", rows("1.1"))) == [None]
    assert found.found.columns[0] == "series_uid"
    assert len(found.found) == 0


def test_neither_the_order_of_rows_nor_what_else_is_there_changes_where_a_series_lies(tmp_path: Path) -> None:
    names = [f"1.2.{number}" for number in range(60)]
    rng = np.random.default_rng(0)
    expected = {}
    for number, name in enumerate(names):
        if number % 3 == 0:
            expected[name] = put(tmp_path / f"c{number}" / f"{name}.0" / f"{name}.zip")
        elif number % 3 == 1:
            expected[name] = os.path.dirname(put(tmp_path / f"c{number}" / f"{name}.0" / name / "9.dcm"))
        else:
            expected[name] = put(tmp_path / "flat" / f"c{number}_{name}.0_{name}_9.dcm")
    for order in (names, list(rng.permutation(names))):
        found = find_series_files(tmp_path, rows(*order))
        assert dict(zip(order, files(found), strict=True)) == {name: expected[name] for name in order}
