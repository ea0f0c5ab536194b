import logging
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError

# Headers of real exports: case January 2025, imaging_study December 2023, visit from the dictionary.
HEADERS = {
    "case": "type id project_id submitter_id age_at_index age_at_index_gt89 case_ids country_of_residence "
    "covid19_positive ethnicity gen3_linked_subjects_available icu_indicator index_event linked_external_data "
    "long_covid_diagnosis race sex site_id token_record_id treatment_info ventilator_indicator zip datasets.id "
    "datasets.submitter_id",
    "imaging_study": "type id project_id submitter_id age_at_imaging age_at_imaging_gt89 body_part_examined case_ids "
    "days_from_study_to_neg_covid_test days_from_study_to_pos_covid_test days_to_study loinc_code loinc_contrast "
    "loinc_long_common_name loinc_method loinc_system study_description study_modality study_uid study_year "
    "study_year_shifted cases.id cases.submitter_id",
    "measurement": "type id project_id submitter_id case_ids test_days_from_index test_method test_name "
    "test_result_text cases.id cases.submitter_id conditions.id conditions.submitter_id procedures.id "
    "procedures.submitter_id",
    "visit": "type id project_id submitter_id case_ids days_to_hospital_admission days_to_hospital_discharge "
    "days_to_icu_admission days_to_icu_discharge discharge_type cases.id cases.submitter_id",
    "dx_series_file": "type id project_id submitter_id case_ids data_category data_format data_type file_name "
    "file_size manufacturer md5sum modality object_id series_uid view_position core_metadata_collections.id "
    "core_metadata_collections.submitter_id imaging_studies.id imaging_studies.submitter_id",
}
CASE = {
    "age_at_index": "59.0",
    "age_at_index_gt89": "No",
    "covid19_positive": "Yes",
    "ethnicity": "Not Hispanic or Latino",
    "race": "White",
    "sex": "Male",
    "zip": "000",
}


def write_node(path: Path, node: str, *rows: dict[str, str], header: str | None = None) -> Path:
    names = (header or HEADERS[node]).split()
    assert all(set(row) <= {name.lstrip("*") for name in names} for row in rows)
    lines = ["\t".join(names)]
    lines += [
        "\t".join({"type": node, "project_id": "Open-A1", **row}.get(n.lstrip("*"), "") for n in names) for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def case(name: str, **other: str) -> dict[str, str]:
    return {**CASE, "submitter_id": name, "case_ids": name, **other}


def study(uid: str, of: str, **other: str) -> dict[str, str]:
    return {
        "submitter_id": uid,
        "study_uid": uid,
        "case_ids": of,
        "cases.submitter_id": of,
        "study_modality": "DX",
        "days_to_study": "0",
        **other,
    }


def series(uid: str, of: str, **other: str) -> dict[str, str]:
    return {
        "submitter_id": uid,
        "series_uid": uid,
        "modality": "DX",
        "view_position": "AP",
        "file_name": f"c/{of}/{uid}.zip",
        "imaging_studies.submitter_id": of,
        **other,
    }


def visit(of: str, **days: str) -> dict[str, str]:
    return {"case_ids": of, "cases.submitter_id": of, **days}


def read(root: Path) -> Tables:
    return MidrcCohort(root=str(root)).read()


def test_a_whole_export_becomes_the_tables(tmp_path: Path) -> None:
    write_node(
        tmp_path / "Open-A1_case.tsv",
        "case",
        case(
            "100-1",
            project_id="Open-A1",
            icu_indicator="True",
            **{"datasets.submitter_id": "ACR_20220301,ACR_20210826"},
        ),
    )
    write_node(
        tmp_path / "Open-A1_imaging_study.tsv",
        "imaging_study",
        study("1.2", "100-1", days_to_study="-3", age_at_imaging="58", loinc_code="36589-0", study_modality="DX,CR"),
    )
    write_node(
        tmp_path / "Open-A1_measurement.tsv",
        "measurement",
        visit("100-1", test_days_from_index="0", test_method="RT-PCR", test_result_text="Positive"),
    )
    write_node(
        tmp_path / "Open-A1_visit.tsv",
        "visit",
        visit(
            "100-1",
            days_to_hospital_admission="-1",
            days_to_hospital_discharge="9",
            days_to_icu_admission="2",
            days_to_icu_discharge="5",
            discharge_type="Deceased",
        ),
    )
    write_node(tmp_path / "Open-A1_dx_series_file.tsv", "dx_series_file", series("1.2.3", "1.2", manufacturer="GE"))
    tables = read(tmp_path)
    (row,) = tables.cases.to_dict("records")
    assert (row["case_id"], row["patient_id"], row["site"], row["project"]) == ("100-1", "100-1", "100", "Open-A1")
    assert (row["sex"], row["age"], row["icu_ever"], row["arrival_date"]) == ("Male", 59.0, True, "20210826")
    (row,) = tables.studies.to_dict("records")
    assert (row["study_id"], row["case_id"], row["day"], row["age"]) == ("1.2", "100-1", -3.0, 58.0)
    assert (row["modality"], row["loinc"]) == ("CR,DX", "36589-0")
    (row,) = tables.series.to_dict("records")
    assert (row["series_id"], row["study_id"], row["view"], row["manufacturer"]) == ("1.2.3", "1.2", "AP", "GE")
    assert pd.isna(row["file"])
    events = tables.events.set_index("kind")
    assert sorted(events.index) == ["covid_test", "death", "hospital_stay", "icu_stay"]
    assert events.loc["covid_test", "value"] == "Positive"
    assert tuple(events.loc["hospital_stay", ["start_day", "end_day", "value"]]) == (-1.0, 9.0, "Deceased")
    assert tuple(events.loc["icu_stay", ["start_day", "end_day"]]) == (2.0, 5.0)
    assert events.loc["death", "start_day"] == 9.0
    assert tables.absent == {}


def test_none_and_triple_zero_stay_text(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("000-1", site_id="000"))
    write_node(
        tmp_path / "imaging_study.tsv",
        "imaging_study",
        study("1.2", "000-1", study_description="None", loinc_code="NA"),
    )
    tables = read(tmp_path)
    assert tables.cases["site"].tolist() == ["000"]
    assert tables.studies[["description", "loinc"]].iloc[0].tolist() == ["None", "NA"]


def test_a_quote_in_a_cell_is_a_letter_like_any_other(tmp_path: Path) -> None:
    words = ('XR "CHEST" 1 VIEW', '"PORTABLE')
    write_node(
        tmp_path / "imaging_study.tsv",
        "imaging_study",
        *(study(f"1.{i}", "100-1", study_description=text) for i, text in enumerate(words)),
    )
    assert tuple(read(tmp_path).studies["description"]) == words


def test_true_false_and_blank_are_three_states(tmp_path: Path) -> None:
    spelled = {"100-1": "True", "100-2": "False", "100-3": ""}
    write_node(tmp_path / "case.tsv", "case", *(case(name, icu_indicator=value) for name, value in spelled.items()))
    flags = read(tmp_path).cases.set_index("case_id")["icu_ever"]
    assert flags["100-3"] is pd.NA
    assert flags.dropna().to_dict() == {"100-1": True, "100-2": False}


@pytest.mark.parametrize("spelling", ["CR,DX", "['CR', 'DX']", '["CR", "DX"]', '"[""CR"", ""DX""]"'])
def test_the_three_list_spellings_read_alike(tmp_path: Path, spelling: str) -> None:
    links = {
        "CR,DX": "100-1",
        "['CR', 'DX']": "['100-1']",
        '["CR", "DX"]': '["100-1"]',
        '"[""CR"", ""DX""]"': '"[""100-1""]"',
    }[spelling]
    row = {
        "study_uid": "1.2",
        "submitter_id": "1.2",
        "study_modality": spelling,
        "case_ids": links,
        "cases.submitter_id": links,
    }
    write_node(tmp_path / "imaging_study.tsv", "imaging_study", row)
    assert read(tmp_path).studies[["case_id", "modality"]].to_numpy().tolist() == [["100-1", "CR,DX"]]


def test_a_blank_age_over_89_is_90_with_a_mark_and_a_blank_age_alone_is_missing(tmp_path: Path) -> None:
    rows = [
        case("100-1", age_at_index="", age_at_index_gt89="Yes"),
        case("100-2", age_at_index="", age_at_index_gt89="No"),
    ]
    write_node(tmp_path / "case.tsv", "case", *rows, case("100-3", age_at_index="0"))
    ages = read(tmp_path).cases.set_index("case_id")
    assert ages.loc["100-1", "age"] == 90.0
    assert pd.isna(ages.loc["100-2", "age"])
    assert ages.loc["100-3", "age"] == 0.0
    assert ages["age_over_89"].tolist() == [True, False, False]


def test_a_blank_age_at_imaging_over_89_is_90(tmp_path: Path) -> None:
    row = study("1.2", "100-1", age_at_imaging="", age_at_imaging_gt89="Yes")
    write_node(tmp_path / "imaging_study.tsv", "imaging_study", row)
    assert read(tmp_path).studies["age"].tolist() == [90.0]


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


def test_another_node_is_noted_and_not_read(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    (tmp_path / "dataset.tsv").write_text("type\tsubmitter_id\ndataset\tACR_20210826\n")
    assert read(tmp_path).notes == ("1 TSV files below the root are no node export and are not read",)


def test_a_ricord_prefix_names_the_same_patient(tmp_path: Path) -> None:
    write_node(
        tmp_path / "case.tsv",
        "case",
        case("419639-000001", project_id="Open-R1"),
        case("MIDRC-RICORD-1A-419639-000001", project_id="TCIA-RICORD"),
        case("MIDRC-RICORD-1C-419639-000002", project_id="TCIA-RICORD"),
    )
    cases = read(tmp_path).cases
    assert cases["patient_id"].tolist() == ["419639-000001", "419639-000001", "419639-000002"]
    assert cases["site"].tolist() == ["419639"] * 3
    assert cases["case_id"].nunique() == 3


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


@pytest.mark.parametrize("form", ["uid", "case_uid", "file_name"])
def test_a_series_finds_its_study_by_link_by_compound_id_and_by_file_name(tmp_path: Path, form: str) -> None:
    compound = "100-1_1.2" if form == "case_uid" else "1.2"
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.2", "100-1", submitter_id=compound))
    link = "" if form == "file_name" else compound
    write_node(tmp_path / "s.tsv", "dx_series_file", series("1.2.3", "1.2", **{"imaging_studies.submitter_id": link}))
    assert read(tmp_path).series["study_id"].tolist() == ["1.2"]


def test_a_series_that_names_no_study_is_left_out_and_given_to_no_other(tmp_path: Path) -> None:
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.2", "100-1", submitter_id=""))
    row = series("1.2.3", "1.2", file_name="1.2.3.zip", **{"imaging_studies.submitter_id": ""})
    write_node(tmp_path / "s.tsv", "dx_series_file", row, series("1.2.4", "1.2"))
    tables = read(tmp_path)
    assert tables.series[["series_id", "study_id"]].to_numpy().tolist() == [["1.2.4", "1.2"]]
    assert tables.notes == ("series: 1 rows name no study, by link or by path; they are left out",)


def test_rows_whose_case_or_study_is_nowhere_are_counted(tmp_path: Path) -> None:
    test = {"test_days_from_index": "0", "test_result_text": "Positive"}
    write_node(tmp_path / "s.tsv", "dx_series_file", *(series(f"{of}.1", of) for of in ("1.1", "1.8", "1.9")))
    write_node(tmp_path / "m.tsv", "measurement", visit("100-1", **test), visit("100-9", **test))
    days = {"days_to_hospital_admission": "1", "days_to_icu_admission": "2"}
    write_node(tmp_path / "v.tsv", "visit", *(visit(of, **days) for of in ("100-1", "100-8", "100-9")))
    assert read(tmp_path).notes == ()  # neither cases nor studies are there to be missed in
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1"))
    write_node(tmp_path / "case.tsv", "case", case("100-1"), case("100-2"))
    assert sorted(read(tmp_path).notes) == [
        "measurement: 1 rows name a case that is in no case row; they are not used",
        "series: 2 rows name a study that is in no imaging_study row; they are not used",
        "visit: 2 rows name a case that is in no case row; they are not used",
    ]


def test_a_row_of_several_cases_or_none_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [study("1.1", "100-1"), study("1.2", "100-1,100-2"), study("1.3", ""), study("1.4", "100-1,100-1")]
    write_node(tmp_path / "i.tsv", "imaging_study", *rows)
    tables = read(tmp_path)
    assert tables.studies["study_id"].tolist() == ["1.1", "1.4"]
    assert tables.notes == (
        "imaging_study: 1 rows name no case; they are left out",
        "imaging_study: 1 rows name several cases; they are left out",
    )


def test_visits_that_cannot_be_used_are_left_out_and_counted(tmp_path: Path) -> None:
    write_node(
        tmp_path / "v.tsv",
        "visit",
        visit("100-1", days_to_hospital_admission="5", days_to_hospital_discharge="2"),
        visit("100-2", days_to_hospital_discharge="2"),
        visit("100-3", days_to_hospital_admission="1", days_to_icu_discharge="4"),
        visit("100-4", days_to_hospital_admission="1", discharge_type="Deceased"),
        visit("100-5", days_to_hospital_admission="1", days_to_hospital_discharge="1"),
        visit("100-6", days_to_icu_admission="4", days_to_icu_discharge="3"),
        visit("100-7", days_to_icu_admission="4", days_to_icu_discharge="6"),
    )
    tables = read(tmp_path)
    assert tables.events[["case_id", "kind"]].to_numpy().tolist() == [
        ["100-3", "hospital_stay"],
        ["100-4", "hospital_stay"],
        ["100-5", "hospital_stay"],
        ["100-3", "icu_stay"],
        ["100-6", "icu_stay"],
        ["100-7", "icu_stay"],
    ]
    # An ICU stay without a usable day is still evidence that there was one.
    icu = tables.events[tables.events["kind"] == "icu_stay"]
    assert icu[["start_day", "end_day"]].fillna(-99).to_numpy().tolist() == [[-99, -99], [-99, -99], [4, 6]]
    assert sorted(tables.notes) == [
        "visit: 1 deaths have no day; they are left out",
        "visit: 1 hospital stays end before they start; they are left out",
        "visit: 1 hospital stays have a discharge day but no admission day; they are left out",
        "visit: 1 icu stays end before they start; they are kept, but their days are not used",
        "visit: 1 icu stays have a discharge day but no admission day; they are kept, but their days are not used",
    ]


def test_a_discharge_of_an_unknown_word_is_no_live_discharge(tmp_path: Path) -> None:
    words = ["home or self care", "Hospice/Home ", "DECEASED", "Expired", "07", ""]
    days = {"days_to_hospital_admission": "1", "days_to_hospital_discharge": "3"}
    rows = (visit(f"100-{i}", discharge_type=word, **days) for i, word in enumerate(words))
    write_node(tmp_path / "v.tsv", "visit", *rows)
    tables = read(tmp_path)
    stays = tables.events[tables.events["kind"] == "hospital_stay"]
    assert stays["value"].fillna("missing").tolist() == [
        "home or self care",
        "Hospice/Home",
        "DECEASED",
        "missing",
        "missing",
        "missing",
    ]
    deaths = tables.events[tables.events["kind"] == "death"]
    assert deaths[["case_id", "start_day"]].to_numpy().tolist() == [["100-2", 3.0]]
    assert tables.notes == (
        "visit: 2 rows have a discharge_type that is no known word; how those stays ended counts as not recorded",
    )


# The values of UMich (shared/midrc-data.md 1.6), as they are spelled there.
@pytest.mark.parametrize(
    "word",
    [
        "Home or Self Care",
        "Home-Health Care Svc",
        "Long Term Care",
        "Acute/Inpatient Rehab Facility",
        "Subacute Rehab/Skilled Nursing Facility",
        "Hospice/Home",
        "Hospice/Medical Facility",
        "Left Against Medical Advice",
        "Intermediate Care Facility",
        "Court/Law Enforcement",
        "Short Term Hospital",
    ],
)
def test_the_words_of_umich_are_live_discharges(tmp_path: Path, word: str) -> None:
    row = visit("100-1", days_to_hospital_admission="1", days_to_hospital_discharge="3", discharge_type=word)
    write_node(tmp_path / "v.tsv", "visit", row)
    tables = read(tmp_path)
    assert tables.events[["kind", "value"]].to_numpy().tolist() == [["hospital_stay", word]]
    assert tables.notes == ()


def test_an_absent_node_is_named_with_what_comes_from_it(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    with pytest.raises(
        InputError, match=r"task=icu needs icu_stay \(from the visit node: no such TSV in cohort.root\)"
    ):
        read(tmp_path).require(["cases", "icu_stay"], needed_by="task=icu")


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
    with pytest.raises(InputError, match="1 TSV files, none with a `type` column naming case, imaging_study"):
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
    with caplog.at_level(logging.INFO, logger="midrc_ml.cohorts.midrc_files"):
        tables = read(tmp_path)
    assert len(tables.cases) == 1
    assert tables.notes == ("6 TSV files below the root are no node export and are not read",)
    assert "results/doe0.tsv" in caplog.text


@pytest.mark.parametrize("name", ["case.tsv", "Open-A1_case.tsv", "Open-A1_dx_series_file.tsv"])
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


def test_a_row_with_a_tab_too_many_shifts_no_column(tmp_path: Path) -> None:
    path = write_node(tmp_path / "case.tsv", "case", case("100-1"), case("100-2"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line + "\t" for line in lines[1:])]) + "\n")
    with pytest.raises(TableError, match=r"^case.tsv: not a readable TSV"):
        read(tmp_path)


def test_a_case_that_two_rows_describe_differently_is_refused(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1", sex="Male"), case("100-1", sex="Female"))
    with pytest.raises(TableError, match="2 rows share their case_id"):
        read(tmp_path)


def test_the_real_case_export_has_its_known_counts(midrc_ml_data: Path, tmp_path: Path) -> None:
    for path in (midrc_ml_data / "midrc" / "react").glob("*.tsv"):
        shutil.copy(path, tmp_path)
    tables = read(tmp_path)
    cases = tables.cases
    assert len(cases) == 3_700
    assert [int((cases["icu_ever"] == value).sum()) for value in (True, False)] == [154, 314]
    assert int(cases["icu_ever"].isna().sum()) == 3_232
    assert [int((cases["ventilated_ever"] == value).sum()) for value in (True, False)] == [4, 81]
    assert int(cases["ventilated_ever"].isna().sum()) == 3_615
    # 227 ages are blank in the file; every one of them has the mark and stands as 90.
    assert int(cases["age_over_89"].sum()) == 227
    assert int((cases["age"] == 90).sum()) == 227
    assert int(cases["age"].isna().sum()) == 0
    assert {"studies", "hospital_stay"} <= set(tables.absent)
