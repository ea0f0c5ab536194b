"""Explorer downloads (JSON, TSV, CSV), JSON node exports, manifests and notebook tables beside node exports."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from midrc_export import case, read, series, study, visit, write_node

from midrc_ml.errors import TableError

UID = "1.2.826.0.1.1"

# The form of midrc-data.md 3.2: study_uid, ages and days as in an explorer download, facts of the case as lists.
STUDY: dict[str, Any] = {
    "project_id": "Open-R1",
    "submitter_id": UID,
    "_imaging_study_id": "uuid-study",
    "case_ids": ["419639-000001"],
    "age_at_imaging": 50,
    "body_part_examined": ["CHEST"],
    "days_from_study_to_neg_covid_test": [9],
    "days_from_study_to_pos_covid_test": [5, -2, -7],
    "days_to_study": 20,
    "loinc_code": "36572-6",
    "loinc_method": "XR",
    "loinc_system": "Chest",
    "study_description": "XR CHEST 1 VW, FRONTAL",
    "study_modality": ["DX"],
    "study_year_shifted": "true",
    "sex": ["Male"],
    "race": ["Not Reported"],
    "age_at_index": [50],
    "index_event": [],
    "zip": ["0"],
    "covid19_positive": ["Yes"],
    "dataset_submitter_id": ["RSNA_20220228"],
    "object_id": ["dg.MD1R/a", "dg.MD1R/b"],
    "data_format": ["CSV", "DCM"],
    "imaging_study_annotations": [
        {"midrc_mRALE_score": 14, "annotation_method": "Retrospective_expert", "_annotation_id": "uuid-a"},
        {"annotation_method": "Retrospective_auto", "annotator_id": "SIFT", "instance_uids": ["1.2"]},
    ],
}
CASE: dict[str, Any] = {
    "_case_id": "uuid-case",
    "_imaging_studies_count": 1,
    "project_id": "Open-R1",
    "submitter_id": "419639-000001",
    "sex": "Male",
    "race": "White",
    "ethnicity": "Hispanic or Latino",
    "age_at_index": 51,
    "covid19_positive": "Yes",
    "dataset_submitter_id": ["RSNA_20220228", "RSNA_20211026"],
    "study_uid": [UID],  # what the index gathers from below is not the case's own
    "test_result_text": ["Positive"],
    "measurements": [
        {
            "_measurement_id": "uuid-m",
            "test_name": "COVID-19",
            "test_method": "RT-PCR",
            "test_result_text": "Positive",
            "test_days_from_index": 0,
        }
    ],
    "procedures": [
        {
            "_procedure_id": "uuid-p",
            "procedure_name": "Breathing Support",
            "breathing_support_type": "Mechanical Ventilation",
            "days_to_procedure_start": 3,
            "days_to_procedure_end": 8,
        }
    ],
    "conditions": [{"condition_code": "U07.1", "condition_code_system": "ICD10", "days_to_condition_start": 0}],
    "medications": [{"medication_name": "dexamethasone", "medication_type": "Systemic steroids"}],
    "imaging_studies": [{"_imaging_study_id": "uuid-study", "study_uid": UID, "days_to_study": 20}],
}


def save(path: Path, records: Any) -> Path:
    path.write_text(json.dumps(records))
    return path


def flattened(record: dict[str, Any]) -> dict[str, Any]:
    """As the portal's TSV and CSV have it: lists and records in numbered columns (data-portal, conversion.js)."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        inner = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else None
        if inner is None:
            flat[name] = value
        else:
            flat.update(
                {f"{name}_{key}": item for key, item in flattened({str(k): v for k, v in inner.items()}).items()}
            )
    return flat


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_study_record_gives_study_case_tests_and_readings(tmp_path: Path, wrapped: bool) -> None:
    save(tmp_path / "MIDRC_Imaging_Studies_table.json", {"data": [STUDY]} if wrapped else [STUDY])
    tables = read(tmp_path)
    (row,) = tables.studies.to_dict("records")
    assert (row["study_id"], row["case_id"], row["day"], row["age"]) == (UID, "419639-000001", 20.0, 50.0)
    assert (row["modality"], row["body_part"], row["loinc"]) == ("DX", "CHEST", "36572-6")
    assert (row["loinc_method"], row["loinc_system"]) == ("XR", "Chest")
    assert row["description"] == "XR CHEST 1 VW, FRONTAL"
    (row,) = tables.cases.to_dict("records")
    assert (row["case_id"], row["project"], row["sex"], row["age"]) == ("419639-000001", "Open-R1", "Male", 50.0)
    assert (row["covid_ever"], row["arrival_date"]) == (True, "20220228")
    # Negative = the test came before the image: day 20 - 7 = 13.
    tests = tables.events[["start_day", "value", "source"]].sort_values("start_day").to_numpy().tolist()
    assert tests == [
        [13.0, "Positive", "imaging_study"],
        [18.0, "Positive", "imaging_study"],
        [25.0, "Positive", "imaging_study"],
        [29.0, "Negative", "imaging_study"],
    ]
    (row,) = tables.readings.to_dict("records")
    assert (row["study_id"], row["name"], row["value"]) == (UID, "mrale_total", 14.0)
    assert row["reader"] == "Retrospective_expert"


def test_a_case_record_gives_what_hangs_on_it(tmp_path: Path) -> None:
    save(tmp_path / "cases.json", [CASE])
    tables = read(tmp_path)
    (row,) = tables.cases.to_dict("records")
    assert (row["race"], row["ethnicity"], row["age"]) == ("White", "Hispanic or Latino", 51.0)
    assert row["arrival_date"] == "20211026"
    assert tables.studies[["study_id", "day"]].to_numpy().tolist() == [[UID, 20.0]]
    events = tables.events.set_index("kind")
    assert sorted(events.index) == ["condition", "covid_test", "medication", "ventilation"]
    assert tuple(events.loc["ventilation", ["name", "start_day", "end_day"]]) == ("Mechanical Ventilation", 3.0, 8.0)
    assert tuple(events.loc["condition", ["name", "unit", "start_day"]]) == ("U07.1", "ICD10", 0.0)
    assert tuple(events.loc["medication", ["name", "value"]]) == ("dexamethasone", "Systemic steroids")
    assert {"hospital_stay", "icu_stay", "death", "observation"} <= set(tables.absent)


@pytest.mark.parametrize("record", [STUDY, CASE], ids=["study", "case"])
def test_the_portals_flat_tables_and_a_notebooks_reprs_say_the_same_as_the_json(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    for name in ("json", "tsv", "csv", "notebook"):
        (tmp_path / name).mkdir()
    save(tmp_path / "json" / "x.json", [record])
    flat = pd.DataFrame([flattened(record)])
    assert "case_ids_0" in flat or "measurements_0_test_name" in flat
    flat.to_csv(tmp_path / "tsv" / "x.tsv", sep="\t", index=False)
    flat.to_csv(tmp_path / "csv" / "x.csv", index=False)
    pd.DataFrame([record]).to_csv(tmp_path / "notebook" / "df.tsv", sep="\t", index=False)
    assert "['" in (tmp_path / "notebook" / "df.tsv").read_text()
    as_json = read(tmp_path / "json")
    assert len(as_json.events) > 3
    assert {read(tmp_path / name).fingerprint() for name in ("tsv", "csv", "notebook")} == {as_json.fingerprint()}


def test_explorer_rows_fill_the_gaps_of_a_node_export_and_count_nothing_twice(tmp_path: Path) -> None:
    write_node(
        tmp_path / "case.tsv",
        "case",
        case(
            "419639-000001", id="uuid-case", project_id="Open-R1", age_at_index="50", ethnicity="", icu_indicator="True"
        ),
    )
    write_node(
        tmp_path / "study.tsv",
        "imaging_study",
        study(UID, "419639-000001", id="uuid-study", project_id="Open-R1", days_to_study="20"),
    )
    test = {"test_days_from_index": "0", "test_result_text": "Positive", "test_method": "RT-PCR"}
    write_node(
        tmp_path / "m.tsv",
        "measurement",
        visit("419639-000001", id="uuid-m", submitter_id="m", project_id="Open-R1", test_name="COVID-19", **test),
        visit(
            "419639-000001",
            id="uuid-n",
            submitter_id="n",
            project_id="Open-R1",
            test_days_from_index="13",
            test_result_text="Positive",
        ),
    )
    save(tmp_path / "MIDRC_Cases_table.json", [CASE])
    save(tmp_path / "MIDRC_Imaging_Studies_table.json", [STUDY])
    tables = read(tmp_path)
    (row,) = tables.cases.to_dict("records")
    assert (row["age"], row["icu_ever"], row["ethnicity"]) == (50.0, True, "Hispanic or Latino")
    (row,) = tables.studies.to_dict("records")
    assert (row["loinc_system"], row["body_part"], row["day"]) == ("Chest", "CHEST", 20.0)
    tests = tables.events[tables.events["kind"] == "covid_test"]
    # The study tells of days 13, 18, 25 and 29, the measurements of 0 and 13.
    assert sorted(tests["start_day"]) == [0.0, 13.0, 18.0, 25.0, 29.0]
    assert tests.set_index("start_day").loc[13.0, "source"] == "measurement"
    # The case's age is 51 in the explorer and 50 in the export, which is believed.
    assert any("say something else than a more direct row" in note for note in tables.notes)


def test_records_join_the_node_of_their_study_uid_under_another_id(tmp_path: Path) -> None:
    names = {"project_id": "Open-R1", "submitter_id": f"419639-000001_{UID}"}
    write_node(tmp_path / "i.tsv", "imaging_study", study(UID, "419639-000001", days_to_study="20", **names))
    save(tmp_path / "s.json", [{**STUDY, "imaging_study_annotations": []}])
    save(tmp_path / "f.json", [DATA_FILE])
    tables = read(tmp_path)
    assert tables.studies[["study_id", "loinc"]].to_numpy().tolist() == [[UID, "36572-6"]]
    assert tables.notes == ()


def test_a_record_of_a_node_s_study_under_another_id_is_never_a_second_study(tmp_path: Path) -> None:
    """Even where no id stands twice in the files."""
    names = {"project_id": "Open-R1", "submitter_id": f"419639-000001_{UID}"}
    write_node(tmp_path / "i.tsv", "imaging_study", study(UID, "419639-000001", days_to_study="3", **names))
    save(
        tmp_path / "s.json",
        [
            {
                "submitter_id": UID,
                "study_uid": UID,
                "project_id": "Open-R1",
                "case_ids": ["419639-000001"],
                "days_to_study": 4,
            }
        ],
    )
    tables = read(tmp_path)
    assert tables.studies["day"].tolist() == [3.0]
    assert any("the more direct one is used" in note for note in tables.notes)


def test_what_hangs_on_a_record_without_an_id_is_not_counted_beside_the_node(tmp_path: Path) -> None:
    test = {"test_name": "COVID-19", "test_result_text": "Negative", "test_days_from_index": 4, "test_method": "RT-PCR"}
    bare = {"project_id": "Open-R1", "submitter_id": "419639-000001", "_case_id": "u", "sex": "Male"}
    save(tmp_path / "c.json", [{**bare, "measurements": [test, {**test, "test_days_from_index": 9}]}])
    texts = {name: str(value) for name, value in test.items()}
    write_node(
        tmp_path / "m.tsv", "measurement", visit("419639-000001", submitter_id="m", project_id="Open-R1", **texts)
    )
    assert sorted(read(tmp_path).events["start_day"]) == [4.0, 9.0]


def test_missing_keys_empty_lists_and_nulls_are_missing(tmp_path: Path) -> None:
    bare = {"project_id": "Open-R1", "submitter_id": UID, "_imaging_study_id": "u", "case_ids": ["419639-1"]}
    save(
        tmp_path / "x.json",
        [
            {**bare, "body_part_examined": [], "study_description": None, "sex": []},
        ],
    )
    tables = read(tmp_path)
    assert tables.studies[["day", "body_part", "description"]].isna().all(axis=None)
    assert tables.cases["sex"].isna().all()
    assert tables.notes == ()


def test_a_fact_of_two_cases_is_not_given_to_either(tmp_path: Path) -> None:
    save(tmp_path / "x.json", [{**STUDY, "age_at_imaging": [50, 60]}])
    tables = read(tmp_path)
    assert tables.studies["age"].isna().all()
    assert tables.notes[0].startswith("1 cells of explorer downloads hold several different values")


def test_measurement_and_annotation_tables_are_known_by_their_columns(tmp_path: Path) -> None:
    save(
        tmp_path / "a.json",
        [
            {
                "_measurement_id": "u",
                "project_id": "Open-R1",
                "submitter_id": "m",
                "case_ids": ["419639-1"],
                "test_days_from_index": -2,
                "test_result_text": "Negative",
            }
        ],
    )
    save(
        tmp_path / "b.json",
        [
            {
                "_annotation_id": "a",
                "project_id": "Open-R1",
                "submitter_id": "x",
                "case_ids": ["419639-1"],
                "annotation_name": "SIFT",
                "airspace_disease_grading": "severe",
            }
        ],
    )
    tables = read(tmp_path)
    assert tables.events[["case_id", "start_day", "value"]].to_numpy().tolist() == [["419639-1", -2.0, "Negative"]]
    # The explorer's annotation table names no study.
    assert len(tables.readings) == 0
    assert tables.notes == ("annotation: 1 readings name no known study or series; they are left out",)


def test_an_annotation_without_a_study_finds_it_through_the_studies_record(tmp_path: Path) -> None:
    save(tmp_path / "studies.json", [STUDY])
    save(
        tmp_path / "annotations.json",
        [
            {
                "_annotation_id": "uuid-a",
                "project_id": "Open-R1",
                "submitter_id": "x",
                "case_ids": ["419639-000001"],
                "midrc_mRALE_score": 14,
                "annotator_id": "r1",
            }
        ],
    )
    readings = read(tmp_path).readings
    assert readings[["study_id", "reader", "value"]].to_numpy().tolist() == [[UID, "r1", 14.0]]


DATA_FILE: dict[str, Any] = {
    "_data_file_id": "f",
    "_case_id": ["uuid-case"],
    "project_id": "Open-R1",
    "submitter_id": "1.2.3",
    "case_ids": ["419639-000001"],
    "study_uid": [UID],
    "series_uid": "1.2.3",
    "modality": "DX",
    "view_position": ["AP"],
    "number_of_instances": 2,
    "object_id": "dg.MD1R/a",
    "file_name": f"419639-000001/{UID}/1.2.3.zip",
    "md5sum": "0" * 32,
    "source_node": "dx_series_file",
    "days_to_study": [20],
    "sex": ["Male"],
}


def test_data_file_rows_give_series_studies_and_cases_and_annotation_files_are_counted(tmp_path: Path) -> None:
    annotation = {**DATA_FILE, "_data_file_id": "g", "submitter_id": "x", "source_node": "annotation_file"}
    save(tmp_path / "MIDRC_data_files_table.json", [DATA_FILE, annotation])
    tables = read(tmp_path)
    (row,) = tables.series.to_dict("records")
    assert (row["series_id"], row["study_id"], row["modality"], row["view"]) == ("1.2.3", UID, "DX", "AP")
    assert row["instances"] == 2
    assert tables.studies[["study_id", "case_id", "day"]].to_numpy().tolist() == [[UID, "419639-000001", 20.0]]
    assert tables.cases[["case_id", "sex"]].to_numpy().tolist() == [["419639-000001", "Male"]]
    assert tables.notes == ("data_file: 1 rows are no image series (annotations ...); not read",)


def test_a_series_node_and_the_data_file_table_complement_each_other(tmp_path: Path) -> None:
    row = series("1.2.3", UID, project_id="Open-R1", object_id="dg.MD1R/a", manufacturer="GE")
    write_node(tmp_path / "s.tsv", "dx_series_file", row)
    save(tmp_path / "f.json", [DATA_FILE])
    tables = read(tmp_path)
    (found,) = tables.series.to_dict("records")
    assert (found["manufacturer"], found["instances"]) == ("GE", 2)


def test_a_manifest_with_file_names_gives_series_and_one_without_says_what_it_needs(tmp_path: Path) -> None:
    entry = {"object_id": "dg.MD1R/a", "file_name": f"419639-1/{UID}/1.2.3.zip", "md5sum": "0" * 32, "file_size": 5}
    save(tmp_path / "MIDRC_manifest.json", [entry, {**entry, "object_id": "dg.MD1R/b", "file_name": "x/labels.csv"}])
    tables = read(tmp_path)
    assert tables.series[["series_id", "study_id"]].to_numpy().tolist() == [["1.2.3", UID]]
    save(tmp_path / "MIDRC_manifest.json", [{"object_id": "dg.MD1R/a"}, {"object_id": "dg.MD1R/b"}])
    tables = read(tmp_path)
    assert "series" in tables.absent
    assert tables.notes[0].startswith("series: 2 files name no series")


def test_a_manifest_entry_finds_its_study_through_the_objects_of_the_study(tmp_path: Path) -> None:
    save(tmp_path / "s.json", [STUDY])
    save(tmp_path / "m.json", [{"object_id": "dg.MD1R/b", "file_name": "9.9.zip"}])
    assert read(tmp_path).series[["series_id", "study_id"]].to_numpy().tolist() == [["9.9", UID]]


def test_a_node_export_in_json_reads_like_the_tsv(tmp_path: Path) -> None:
    rows = [
        {"type": "case", "id": "u", "project_id": "Open-A1", "submitter_id": "100-1", "age_at_index": 59.0,
         "age_at_index_gt89": "No", "sex": "Male", "race": "White", "ethnicity": "Not Hispanic or Latino",
         "covid19_positive": "Yes", "icu_indicator": True, "zip": "000", "site_id": None,
         "datasets": [{"id": "d", "submitter_id": "ACR_20220301"}, {"id": "e", "submitter_id": "ACR_20210826"}]},
    ]  # fmt: skip
    (tmp_path / "json").mkdir()
    save(tmp_path / "json" / "case.json", {"data": rows})
    batches = {"datasets.submitter_id": "ACR_20220301,ACR_20210826"}
    write_node(tmp_path / "tsv" / "case.tsv", "case", case("100-1", id="u", icu_indicator="True", **batches))
    assert read(tmp_path / "json").fingerprint() == read(tmp_path / "tsv").fingerprint()


def test_the_answer_of_a_query_is_read(tmp_path: Path) -> None:
    save(tmp_path / "q.json", {"data": {"case": [CASE]}})
    assert read(tmp_path).cases["case_id"].tolist() == ["419639-000001"]


def test_explorer_downloads_of_different_dates_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.json", [CASE])
    save(tmp_path / "b.json", [{**CASE, "covid19_positive": "No"}])
    with pytest.raises(
        TableError, match=r"case: 1 rows stand in the explorer downloads with different content \(in covid"
    ):
        read(tmp_path)


@pytest.mark.parametrize("content", [b'[{"submitter_id": "4', b"", b"[1, 2]", b'{"data": 5}', b'\xff[{"case_ids"'])
@pytest.mark.parametrize("name", ["MIDRC_Cases_table.json", "case.json"])
def test_a_broken_download_is_named_and_not_passed_over(tmp_path: Path, name: str, content: bytes) -> None:
    write_node(tmp_path / "visit.tsv", "visit", visit("100-1", days_to_hospital_admission="1"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=rf"^{name}: .*export it .*again|^{name}: .*as it is"):
        read(tmp_path)


def test_files_of_another_purpose_are_counted_and_stop_nothing(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    strangers = {
        "settings.json": '{"learning_rate": 1}',
        "package.json": '{"data": {"type": 3}}',
        "mine.csv": "submitter_id,sex\n1,Male\n",
        "challenge.csv": "StudyInstanceUID,mRALE Score\n1.2,3\n",
        "notes.tsv": "a\tb\n1\t2\n",
    }
    for name, content in strangers.items():
        (tmp_path / name).write_text(content)
    assert read(tmp_path).notes == ("5 TSV, CSV or JSON files below the root are no export of MIDRC and are not read",)


def test_bad_values_of_a_download_are_told_with_the_file_and_the_node(tmp_path: Path) -> None:
    save(
        tmp_path / "x.json", [STUDY, {**STUDY, "submitter_id": "1.3", "_imaging_study_id": "v", "days_to_study": "May"}]
    )
    with pytest.raises(
        TableError,
        match=r"^x.json \(imaging_study\): days_to_study must be a number .*; 1 row does not \(row 2: 'May'\)",
    ):
        read(tmp_path)


def test_the_challenge_table_gives_the_studies_and_their_cases(midrc_ml_data: Path, tmp_path: Path) -> None:
    place = midrc_ml_data / "midrc" / "challenge2022_covidx"
    for path in place.glob("*.[tj]s*"):
        (tmp_path / path.name).symlink_to(path)
    tables = read(tmp_path)
    # midrc-data.md 3.3 and 4.1: 18,501 studies of 6,800 cases; 22,883 objects in the manifest.
    assert len(tables.studies) == 18_501
    assert tables.studies["case_id"].nunique() == 6_800
    assert tables.notes[0].startswith("series: 22883 files name no series")
