"""Which files below a root are read, and what is said of those that are not."""

import csv
import logging
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from image_layouts import dicom, put
from midrc_export import HEADERS, case, plain, read, series, study, visit, write_node

from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.errors import InputError, TableError


def test_a_starred_header_is_the_same_column(tmp_path: Path) -> None:
    header = HEADERS["case"].replace("type", "*type").replace("submitter_id", "*submitter_id", 1)
    write_node(tmp_path / "submission_case_template.tsv", "case", case("100-1"), header=header)
    assert read(tmp_path).cases["case_id"].tolist() == ["100-1"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = write_node(tmp_path / "case.tsv", "case", case("100-1"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read(tmp_path).cases) == 1


def test_columns_are_read_by_name_in_any_order(tmp_path: Path) -> None:
    header = " ".join(reversed(HEADERS["visit"].split()))
    row = visit(
        "100-1", days_to_hospital_admission="1", days_to_hospital_discharge="4", discharge_type="Home or Self Care"
    )
    write_node(tmp_path / "visit.tsv", "visit", row, header=header)
    assert read(tmp_path).events[["start_day", "end_day"]].to_numpy().tolist() == [[1.0, 4.0]]


def test_rows_of_a_master_file_are_counted_once(tmp_path: Path) -> None:
    write_node(tmp_path / "case_tsvs" / "Open-A1_case.tsv", "case", case("100-1"), case("100-2"))
    write_node(tmp_path / "case_tsvs" / "Open-R1_case.tsv", "case", case("200-1"))
    write_node(tmp_path / "master_case.tsv", "case", case("100-1"), case("100-2"), case("200-1"))
    tables = read(tmp_path)
    assert sorted(tables.cases["case_id"]) == ["100-1", "100-2", "200-1"]
    assert tables.notes == ("case: 3 rows stand in the files more than once and are taken once",)


def test_the_node_is_known_by_its_type_and_not_by_the_name_of_its_file(tmp_path: Path) -> None:
    write_node(tmp_path / "visit.tsv", "case", case("100-1"))
    write_node(tmp_path / "download(3).tsv", "imaging_study", study("1.2", "100-1"))
    tables = read(tmp_path)
    assert len(tables.cases) == 1
    assert len(tables.studies) == 1
    assert "hospital_stay" in tables.absent


def test_an_export_without_rows_is_known_by_its_name_and_is_not_absent(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    write_node(tmp_path / "Open-A1_visit.tsv", "visit")
    tables = read(tmp_path)
    assert "hospital_stay" not in tables.absent
    assert len(tables.events) == 0


def test_nodes_that_no_table_is_made_of_are_no_strangers(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    nodes = "annotation_file core_metadata_collection dataset dicom_annotation_file program project radiology_report "
    for node in (nodes + "supplementary_file").split():
        (tmp_path / f"Open-A1_{node}.tsv").write_text(f"type\tsubmitter_id\n{node}\tx\n")
        (tmp_path / f"{node}.json").write_text(f'{{"data": [{{"type": "{node}", "submitter_id": "x"}}]}}')
    assert read(tmp_path).notes == (
        "16 files hold nodes that no table is made of (dataset, core_metadata_collection ...) and are not read",
    )


def test_a_zip_a_folder_and_both_side_by_side_are_one_series_each(tmp_path: Path) -> None:
    write_node(
        tmp_path / "s.tsv", "dx_series_file", *(series(uid, "1.2") for uid in ("1.2.1", "1.2.2", "1.2.3", "1.2.4"))
    )
    place = tmp_path / "images" / "c" / "1.2"
    place.mkdir(parents=True)
    for uid in ("1.2.1", "1.2.3"):
        with zipfile.ZipFile(place / f"{uid}.zip", "w") as archive:
            archive.writestr(f"{uid}/1.dcm", b"x")
    for uid in ("1.2.2", "1.2.3"):
        (place / uid).mkdir()
        (place / uid / "1.dcm").write_bytes(b"x")
    tables = read(tmp_path)
    files = tables.series.set_index("series_id")["file"]
    assert files["1.2.1"] == str(place / "1.2.1.zip")
    assert files["1.2.2"] == str(place / "1.2.2")
    assert files["1.2.3"] == str(place / "1.2.3.zip")
    assert pd.isna(files["1.2.4"])
    assert tables.notes == ("1 series lie both as a ZIP and unpacked; each is counted once, from the ZIP",)


def test_images_that_no_row_names_join_their_study_and_those_of_no_study_are_counted(tmp_path: Path) -> None:
    write_node(tmp_path / "i.tsv", "imaging_study", *(study(uid, "100-1") for uid in ("1.1.0", "1.2.0", "1.3.0")))
    write_node(tmp_path / "s.tsv", "dx_series_file", series("1.1", "1.1.0", view_position="PA"))
    for uid in ("1.1", "1.2", "9.9"):  # `dicom` makes 1.1.0 the study of 1.1
        put(tmp_path / "images" / uid / "1.dcm", dicom(uid, f"{uid}.5"))
    tables = read(tmp_path)
    rows = tables.series[["series_id", "study_id", "view", "manufacturer", "instances"]]
    assert plain(rows) == [["1.1", "1.1.0", "PA", "-", "-"], ["1.2", "1.2.0", "AP", "ACME", 1.0]]
    assert tables.series["file"].str.startswith(str(tmp_path)).all()
    assert tables.notes[-3:] == (
        "1 series on disk are of no study that the export names; they are not used",
        "1 series on disk are in no series file node; they are read from their headers",
        "1 studies have no image below the root",
    )


def test_the_list_of_what_a_download_could_not_have_is_no_table_of_series(tmp_path: Path) -> None:
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1"))
    (tmp_path / "not_downloaded.csv").write_text("object_id,file_name,reason\ndg.1/x,100-1/1.1/1.1.9.zip,refused\n")
    tables = read(tmp_path)
    assert len(tables.series) == 0
    assert tables.notes == ()


def test_images_beside_cases_alone_are_counted(tmp_path: Path) -> None:
    write_node(tmp_path / "c.tsv", "case", case("100-1"))
    put(tmp_path / "1.1" / "1.dcm", dicom("1.1", "1.1.5"))
    assert read(tmp_path).notes == ("1 series on disk are of no study that the export names; they are not used",)


def test_images_whose_header_names_another_patient_than_the_case_of_their_study_are_counted(tmp_path: Path) -> None:
    names = ("100-1", "100-2", "419639-1")
    studies = [study(f"1.{number}.0", name) for number, name in enumerate(names)]
    write_node(tmp_path / "i.tsv", "imaging_study", *studies)
    for number, patient in enumerate(("100-1", "100-9", "MIDRC-RICORD-1C-419639-1")):
        put(tmp_path / f"{number}.dcm", dicom(f"1.{number}", f"5.{number}", case=patient))
    words = "1 of these name another patient in their header than the case of their study, which is believed"
    assert read(tmp_path).notes == (
        "3 series on disk are in no series file node; they are read from their headers",
        words,
    )


def test_images_beside_studies_alone_make_the_series_table(tmp_path: Path) -> None:
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1.0", "100-1"))
    assert "series" in read(tmp_path).absent
    put(tmp_path / "1.1" / "1.dcm", dicom("1.1", "1.1.5"))
    tables = read(tmp_path)
    assert tables.series[["series_id", "study_id", "manufacturer"]].to_numpy().tolist() == [["1.1", "1.1.0", "ACME"]]
    assert "series" not in tables.absent


def test_row_order_and_folder_change_no_fingerprint_and_a_value_does(tmp_path: Path) -> None:
    write_node(tmp_path / "a" / "case.tsv", "case", case("100-1"), case("100-2"))
    write_node(tmp_path / "b" / "x" / "case.tsv", "case", case("100-2"), case("100-1"))
    write_node(tmp_path / "c" / "case.tsv", "case", case("100-1"), case("100-2", sex="Female"))
    one, other, changed = (read(tmp_path / name).fingerprint() for name in "abc")
    assert one == other
    assert changed != one


@pytest.mark.parametrize("root", [None, ""])
def test_an_unset_root_is_told_with_the_setting_and_a_way_out(root: str | None) -> None:
    with pytest.raises(InputError, match=r"cohort.root is not set; give cohort.root=FOLDER .* or try cohort=demo"):
        MidrcCohort(root=root).read()


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cohort.root is '.*nowhere', which is not a folder"):
        read(tmp_path / "nowhere")


def test_an_empty_root_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no node export in .*: 0 TSV files"):
        read(tmp_path)


def test_a_root_of_other_tables_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(InputError, match="1 TSV files and 0 CSV or JSON files, none with a `type` column naming case"):
        read(tmp_path)


def test_a_missing_column_is_named_with_its_file(tmp_path: Path) -> None:
    header = HEADERS["visit"].replace("days_to_icu_admission ", "")
    write_node(tmp_path / "v" / "Open-A1_visit.tsv", "visit", visit("100-1"), header=header)
    with pytest.raises(
        TableError, match=r"v/Open-A1_visit.tsv: no column days_to_icu_admission \(columns found: type, id"
    ):
        read(tmp_path)


def test_an_unknown_value_is_named_with_row_and_allowed_values(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"), case("100-2", sex="F"))
    with pytest.raises(TableError) as error:
        read(tmp_path)
    # Line 3 of the file: one header line, then the second row.
    assert str(error.value) == (
        "case.tsv: sex must be one of 'Female', 'Male', 'Not Reported'; 1 row does not (row 3: 'F')"
    )


def test_bad_rows_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1", sex="F"), case("100-2", age_at_index="92"))
    write_node(
        tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1", days_to_study="2021-03-04"), study("", "100-1")
    )
    write_node(tmp_path / "visit.tsv", "visit", visit("100-1", days_to_icu_admission="soon"))
    (tmp_path / "empty_case.tsv").write_text("")
    with pytest.raises(TableError) as error:
        read(tmp_path)
    assert len(error.value.problems) == 6
    for part in (
        "case.tsv: sex",
        "case.tsv: age_at_index must be a number of at least 0 and at most 89; 1 row does not (row 3: '92')",
        "i.tsv: days_to_study",
        "i.tsv: study_uid must not be empty",
        "visit.tsv: days_to_icu_admission",
        "empty_case.tsv: not a readable TSV",
    ):
        assert part in str(error.value)


def test_ten_thousand_bad_rows_are_counted_and_five_are_shown(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", *(case(f"100-{i}", race="Martian") for i in range(10_000)))
    with pytest.raises(TableError) as error:
        read(tmp_path)
    assert "10000 rows do not" in str(error.value)
    assert "and 9995 more" in str(error.value)
    assert str(error.value).count("'Martian'") == 5


UNREADABLE = [b"type\tid\ncase\t1\ncase\t1\t2\t3\n", b"\xff\xfe\x00c\x00a", b""]


@pytest.mark.parametrize("content", UNREADABLE)
def test_an_unreadable_node_tsv_is_named_and_no_traceback(tmp_path: Path, content: bytes) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    (tmp_path / "broken_visit.tsv").write_bytes(content)
    with pytest.raises(TableError, match=r"^broken_visit.tsv: not a readable TSV \(.*\); export it again$"):
        read(tmp_path)


def test_tsvs_that_are_not_ours_stop_nothing_and_are_counted_without_their_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    (tmp_path / "results").mkdir()
    for i, content in enumerate([*UNREADABLE, b"a\tb\n1\t2\n", b"type\tid\ncase\t1\nvisit\t2\n"]):
        (tmp_path / "results" / f"doe{i}.tsv").write_bytes(content)
    (tmp_path / "showcase.tsv").write_text("a\tb\n")  # ends in `case` by accident
    with caplog.at_level(logging.DEBUG):
        tables = read(tmp_path)
    assert len(tables.cases) == 1
    assert tables.notes == ("6 TSV, CSV or JSON files below the root are no export of MIDRC and are not read",)
    assert "doe" not in caplog.text


@pytest.mark.parametrize("name", ["case.tsv", "Open-A1_case.tsv", "Open-A1_dx_series_file.tsv", "visit.csv"])
def test_a_file_with_the_name_of_a_node_and_no_type_column_is_named(tmp_path: Path, name: str) -> None:
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.2", "100-1"))
    (tmp_path / name).write_text("submitter_id\tsex\n100-1\tMale\n")
    with pytest.raises(TableError, match=f"^{name}: no `type` column, .*; export it from the MIDRC portal as it is$"):
        read(tmp_path)


def test_a_file_with_the_name_of_a_node_and_other_types_is_named(tmp_path: Path) -> None:
    (tmp_path / "case.tsv").write_text("type\tsubmitter_id\ncase\t1\n\t2\n")
    with pytest.raises(TableError, match=r"^case.tsv: the `type` column holds '', 'case', but must hold the same one"):
        read(tmp_path)


def test_an_export_without_rows_is_known_by_the_longest_node_name(tmp_path: Path) -> None:
    write_node(tmp_path / "Open-A1_dx_series_file.tsv", "dx_series_file")
    (tmp_path / "showcase.tsv").write_text("type\tid\n")
    tables = read(tmp_path)
    assert "series" not in tables.absent
    assert "cases" in tables.absent


def test_linked_folders_are_entered_and_a_circle_of_links_ends(tmp_path: Path) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    write_node(store / "case.tsv", "case", case("100-1"))
    write_node(store / "s.tsv", "dx_series_file", series("1.2.3", "1.2"), series("1.2.4", "1.2"))
    (store / "deep").mkdir()
    (store / "deep" / "1.2.3.zip").write_bytes(b"x")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "1.dcm").write_bytes(b"x")
    root.mkdir()
    (root / "export").symlink_to(store)
    (root / "export_again").symlink_to(store)
    (store / "deep" / "back").symlink_to(root)
    (store / "deep" / "1.2.4").symlink_to(tmp_path / "films")
    tables = read(root)
    assert tables.cases["case_id"].tolist() == ["100-1"]
    files = tables.series.set_index("series_id")["file"]
    assert files["1.2.3"] == str(root / "export" / "deep" / "1.2.3.zip")
    assert files["1.2.4"] == str(root / "export" / "deep" / "1.2.4")
    assert tables.notes == ()


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_table_that_another_program_saved_with_quotes_is_read(tmp_path: Path, ending: str) -> None:
    rows = pd.DataFrame(
        [{**study("1.1", "100-1"), "study_description": 'AP, "portable"\t1\nview', "type": "imaging_study"}]
    )
    separator = {"csv": ",", "tsv": "\t"}[ending]
    rows.to_csv(tmp_path / f"x.{ending}", sep=separator, quoting=csv.QUOTE_ALL, index=False)
    assert read(tmp_path).studies[["study_id", "description"]].to_numpy().tolist() == [
        ["1.1", 'AP, "portable"\t1\nview']
    ]


def test_a_csv_of_which_only_what_needs_it_is_quoted_is_read(tmp_path: Path) -> None:
    rows = pd.DataFrame([{**study("1.1", "100-1"), "study_description": "XR CHEST, 1 VIEW", "type": "imaging_study"}])
    rows.to_csv(tmp_path / "x.csv", index=False)
    assert read(tmp_path).studies["description"].tolist() == ["XR CHEST, 1 VIEW"]


@pytest.mark.parametrize("content", ['{"data": []}', '{"data": {"visit": []}}'])
def test_a_json_export_without_records_is_known_by_its_name_and_is_not_absent(tmp_path: Path, content: str) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    (tmp_path / "Open-A1_visit.json").write_text(content)
    (tmp_path / "answers.json").write_text(content)
    tables = read(tmp_path)
    assert "hospital_stay" not in tables.absent
    assert tables.notes == ("1 TSV, CSV or JSON files below the root are no export of MIDRC and are not read",)


def test_rows_are_told_to_be_counted_without_blank_lines_where_there_are_some(tmp_path: Path) -> None:
    path = write_node(tmp_path / "c.tsv", "case", case("100-1"), case("100-2", sex="X"))
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, lines[0], "", "", lines[1]]) + "\n")
    with pytest.raises(TableError, match=r"^c.tsv \(blank lines not counted\): sex must be one of .*row 3: 'X'"):
        read(tmp_path)


def test_a_row_with_a_tab_too_many_shifts_no_column(tmp_path: Path) -> None:
    path = write_node(tmp_path / "case.tsv", "case", case("100-1"), case("100-2"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line + "\t" for line in lines[1:])]) + "\n")
    with pytest.raises(TableError, match=r"^case.tsv: not a readable TSV"):
        read(tmp_path)


@pytest.mark.parametrize("cells", [1, 7, 23])
def test_a_file_that_was_cut_off_is_refused_with_its_row(tmp_path: Path, cells: int) -> None:
    path = write_node(tmp_path / "case.tsv", "case", case("100-1"), case("100-2"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "\t".join(lines[2].split("\t")[:cells])]))
    with pytest.raises(TableError, match=rf"^case.tsv: not a readable TSV \(row 3 has {cells} cells, the header 24\)"):
        read(tmp_path)
