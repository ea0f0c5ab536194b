"""What procedures, conditions, medication, observations, tests and annotations become."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from midrc_export import case, plain, read, series, study, visit, words, write_node

from midrc_ml.cohorts.midrc_breathing import BreathingWords
from midrc_ml.errors import InputError, TableError
from midrc_ml.tasks.scores import mrale

HEADERS = {
    "procedure": "type id project_id submitter_id breathing_support_type case_ids days_to_procedure_end "
    "days_to_procedure_start procedure_name cases.id cases.submitter_id",
    "condition": "type id project_id submitter_id case_ids condition_code condition_code_system condition_name "
    "days_to_condition_end days_to_condition_start cases.id cases.submitter_id",
    "medication": "type id project_id submitter_id case_ids days_to_medication_end days_to_medication_start "
    "medication_name medication_type cases.id cases.submitter_id",
    "observation": "type id project_id submitter_id case_ids days_to_observation observation_answer observation_name "
    "cases.id cases.submitter_id",
    "annotation": "type id project_id submitter_id airspace_disease_grading annotation_method annotation_name "
    "annotator_id case_ids class_covid19_pneumonia midrc_mRALE_score sift_image_quality_index cases.submitter_id "
    "dx_series_files.submitter_id imaging_studies.submitter_id",
}
EVENT = ["kind", "name", "start_day", "end_day", "value", "unit"]


def write(root: Path, node: str, *rows: dict[str, str]) -> None:
    write_node(root / f"{node}.tsv", node, *rows, header=HEADERS[node])


def support(kind: str, start: str = "2", end: str = "6", **other: str) -> dict[str, str]:
    days = {"days_to_procedure_start": start, "days_to_procedure_end": end}
    return visit("100-1", procedure_name="Breathing Support", breathing_support_type=kind, **days, **other)


# Free text: no real values are public; the words are those of clinical practice.
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Invasive Mechanical Ventilation", "invasive"),
        ("Ventilator", "invasive"),
        ("Intubated", "invasive"),
        ("endotracheal tube", "invasive"),
        ("V-V ECMO", "invasive"),
        ("Extracorporeal membrane oxygenation", "invasive"),
        ("Tracheostomy / vent", "invasive"),
        ("Nasal Cannula", "noninvasive"),
        ("High-Flow Nasal Cannula", "noninvasive"),
        ("Venturi mask", "noninvasive"),
        ("Supplemental oxygen", "noninvasive"),
        ("CPAP", "noninvasive"),
        ("BiPAP", "noninvasive"),
        ("Non-invasive ventilation", "noninvasive"),
        ("Noninvasive mechanical ventilation", "noninvasive"),
        ("Non-Rebreather", "noninvasive"),
        ("Ventilator, weaned to nasal cannula", None),
        ("Ventilation", None),
        ("Not intubated", None),
        ("No ventilator", None),
        ("Off ventilator", None),
        ("Extubated to nasal cannula", None),
        ("Other", None),
        ("eventually", None),
        (None, None),
    ],
)
def test_the_shipped_words_tell_ventilation_from_other_support(text: str | None, kind: str | None) -> None:
    (found,) = BreathingWords(words("breathing_support")).kinds(pd.Series([text], dtype="str")).fillna("none")
    assert found == (kind or "none")


def test_ventilation_has_its_days_other_support_is_an_observation_and_the_unknown_has_no_day(tmp_path: Path) -> None:
    kinds = ["Ventilator", "Nasal Cannula", "Something", ""]
    write(tmp_path, "procedure", *(support(kind) for kind in kinds))
    tables = read(tmp_path)
    events = plain(tables.events[EVENT])
    assert events == [
        ["observation", "breathing_support", 2.0, 6.0, "Nasal Cannula", "-"],
        ["ventilation", "Something", "-", "-", "-", "-"],
        ["ventilation", "Ventilator", 2.0, 6.0, "-", "-"],
        ["ventilation", "-", "-", "-", "-", "-"],
    ]
    assert len(tables.notes) == 1
    assert tables.notes[0].startswith("procedure: 2 rows have a breathing_support_type that is in neither list")


def test_a_ventilation_whose_days_cannot_be_is_kept_without_them_and_counted(tmp_path: Path) -> None:
    write(
        tmp_path, "procedure", support("Ventilator", "9", "3"), support("Ventilator", "", "3"), support("ECMO", "3", "")
    )
    tables = read(tmp_path)
    assert plain(tables.events[["name", "start_day"]]) == [
        ["ECMO", 3.0],
        ["Ventilator", "-"],
        ["Ventilator", "-"],
    ]
    assert tables.notes[0].startswith("procedure: 2 rows end before they start, or have an end and no start")


def test_a_procedure_of_another_name_is_counted_and_no_ventilation(tmp_path: Path) -> None:
    write(tmp_path, "procedure", {**support("Ventilator"), "procedure_name": "Dialysis"})
    tables = read(tmp_path)
    assert len(tables.events) == 0
    assert tables.notes == ("procedure: 1 rows are no Breathing Support; they are not read",)


def test_the_words_are_those_of_the_settings(tmp_path: Path) -> None:
    write(tmp_path, "procedure", support("Beatmung"))
    tables = read(tmp_path, breathing_support={"invasive": ["beatmung"]})
    assert tables.events["start_day"].tolist() == [2.0]


@pytest.mark.parametrize("setting", [{"invasive": "vent"}, {"yes": ["vent"]}, ["vent"]])
def test_words_of_another_form_are_refused(setting: Any) -> None:
    with pytest.raises(InputError, match=r"cohort.breathing_support.*; it must (be a list|hold lists) of words"):
        BreathingWords(setting)


def test_conditions_medication_and_observations_keep_code_name_and_days(tmp_path: Path) -> None:
    write(
        tmp_path,
        "condition",
        visit("100-1", condition_code="U09.9", condition_code_system="ICD-10", condition_name="Post COVID-19 condition",
              days_to_condition_start="40", days_to_condition_end="90"),
    )  # fmt: skip
    write(
        tmp_path,
        "medication",
        visit(
            "100-1", medication_name="remdesivir", medication_type="Protease inhibitor", days_to_medication_start="-1"
        ),
    )
    write(
        tmp_path,
        "observation",
        visit("100-1", observation_name="smoking", observation_answer="never", days_to_observation="0"),
    )
    assert plain(read(tmp_path).events[EVENT]) == [
        ["condition", "U09.9", 40.0, 90.0, "Post COVID-19 condition", "ICD-10"],
        ["medication", "remdesivir", -1.0, "-", "Protease inhibitor", "-"],
        ["observation", "smoking", 0.0, "-", "never", "-"],
    ]


def test_days_to_a_test_count_from_the_study_and_negative_is_before_it(tmp_path: Path) -> None:
    spelled = ("-7,5", "[-7, 5]", "['-7', '5']", "-7.0,5.0")
    rows = (
        study(f"1.{number}", f"100-{number}", days_to_study="20.0", days_from_study_to_pos_covid_test=text)
        for number, text in enumerate(spelled)
    )
    write_node(tmp_path / "i.tsv", "imaging_study", *rows)
    tables = read(tmp_path)
    assert tables.events[["case_id", "kind", "start_day", "value", "source"]].to_numpy().tolist() == [
        [f"100-{number}", "covid_test", day, "Positive", "imaging_study"] for number in range(4) for day in (13.0, 25.0)
    ]


def test_a_test_that_measurement_or_another_study_tells_of_counts_once(tmp_path: Path) -> None:
    days = {"days_from_study_to_pos_covid_test": "0", "days_from_study_to_neg_covid_test": "0"}
    studies = [study("1.1", "100-1", days_to_study="4", **days), study("1.2", "100-1", days_to_study="4", **days)]
    write_node(tmp_path / "i.tsv", "imaging_study", *studies)
    test = {"test_days_from_index": "4.0", "test_result_text": "Negative", "test_method": "RT-PCR"}
    write_node(tmp_path / "m.tsv", "measurement", visit("100-1", submitter_id="m", **test))
    events = read(tmp_path).events[["value", "source"]].to_numpy().tolist()
    assert sorted(events) == [["Negative", "measurement"], ["Positive", "imaging_study"]]


def test_days_to_a_test_without_a_day_of_the_study_are_counted(tmp_path: Path) -> None:
    rows = [
        study("1.1", "100-1", days_to_study="", days_from_study_to_pos_covid_test="3"),
        study("1.2", "100-1", days_to_study="1", days_from_study_to_neg_covid_test="None,2"),
    ]
    write_node(tmp_path / "i.tsv", "imaging_study", *rows)
    tables = read(tmp_path)
    assert tables.events["start_day"].tolist() == [3.0]
    assert tables.notes == ("imaging_study: 1 days from a study to a test have no day of the study; they are not used",)


def test_days_that_are_dates_or_words_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    tests = "days_from_study_to_pos_covid_test"
    rows = [study("1.1", "100-1", days_to_study="20200311"), study("1.2", "100-1", **{tests: "2020-03-01,soon,2"})]
    write_node(tmp_path / "i.tsv", "imaging_study", *rows)
    write_node(tmp_path / "v.tsv", "visit", visit("100-1", days_to_hospital_admission="43901"))
    rule = "must be a number of at least -40000 and at most 40000 (days from the index event, not a date)"
    with pytest.raises(TableError) as caught:
        read(tmp_path)
    assert caught.value.problems == (
        f"i.tsv: days_to_study {rule}; 1 row does not (row 2: '20200311')",
        f"v.tsv: days_to_hospital_admission {rule}; 1 row does not (row 2: '43901')",
    )
    (tmp_path / "v.tsv").unlink()
    write_node(tmp_path / "i.tsv", "imaging_study", rows[1])
    message = rf"{tests} must hold days \(.*\); 2 items are none \('2020-03-01', 'soon'\)"
    with pytest.raises(TableError, match=message):
        read(tmp_path)


def test_a_day_as_far_off_as_anyone_lives_is_a_day(tmp_path: Path) -> None:
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1", days_to_study="-40000"))
    assert read(tmp_path).studies["day"].tolist() == [-40000.0]


def test_a_test_for_another_illness_is_no_covid_test_and_is_counted(tmp_path: Path) -> None:
    positive = {"test_days_from_index": "1", "test_result_text": "Positive"}
    names = ("Influenza A", "COVID-19", "", "SARS-CoV-2 PCR")
    rows = [visit("100-1", submitter_id=f"m{i}", test_name=name, **positive) for i, name in enumerate(names)]
    write_node(tmp_path / "m.tsv", "measurement", *rows)
    tables = read(tmp_path)
    assert tables.events["kind"].tolist() == ["covid_test"] * 3
    assert tables.notes == ("measurement: 1 rows are of another test than COVID-19; they are not read",)


def test_an_event_of_several_ids_makes_them_one_patient_and_is_counted(tmp_path: Path) -> None:
    write_node(tmp_path / "c.tsv", "case", case("100-2"), case("100-3"))
    write_node(
        tmp_path / "m.tsv",
        "measurement",
        visit("100-1,100-3,100-2", submitter_id="m", test_days_from_index="0", test_result_text="Positive"),
    )
    tables = read(tmp_path)
    assert tables.events["case_id"].tolist() == ["100-3"]
    assert tables.cases["patient_id"].tolist() == ["100-1", "100-1"]
    assert len(tables.notes) == 1
    assert tables.notes[0].startswith("measurement: 1 rows name several cases; they are taken for one patient")


def test_an_annotation_of_several_studies_is_a_reading_of_each(tmp_path: Path) -> None:
    write_node(tmp_path / "c.tsv", "case", case("100-1"))
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1"), study("1.2", "100-1"))
    write_node(tmp_path / "s.tsv", "dx_series_file", *(series(f"{of}.{n}", of) for of in ("1.1", "1.2") for n in "12"))
    write(
        tmp_path,
        "annotation",
        {"midrc_mRALE_score": "14", "imaging_studies.submitter_id": "1.1,1.2", "annotator_id": "A"},
        {"midrc_mRALE_score": "9", "dx_series_files.submitter_id": "1.1.1,1.2.1", "annotator_id": "B"},
        {"midrc_mRALE_score": "7", "dx_series_files.submitter_id": "1.2.1,1.2.2", "annotator_id": "C"},
        {"midrc_mRALE_score": "5", "dx_series_files.submitter_id": "1.1.2", "annotator_id": "D"},
    )
    tables = read(tmp_path)
    assert plain(tables.readings[["study_id", "series_id", "reader", "value"]]) == [
        ["1.1", "1.1.2", "D", 5.0],
        ["1.1", "-", "A", 14.0],
        ["1.1", "-", "B", 9.0],
        ["1.2", "-", "A", 14.0],
        ["1.2", "-", "B", 9.0],
        ["1.2", "-", "C", 7.0],
    ]
    assert "annotation: rows link to 2 further studies; each of these has the reading too" in tables.notes


def test_an_old_export_without_the_days_to_tests_lacks_covid_tests(tmp_path: Path) -> None:
    header = "type submitter_id case_ids days_to_study study_modality study_uid cases.submitter_id"
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1"), header=header)
    assert "covid_test" in read(tmp_path).absent


def test_covid_ever_is_known_from_yes_and_no_alone(tmp_path: Path) -> None:
    ever = {"Yes": True, "No": False, "Indeterminate": "-", "Not Reported": "-", "": "-"}
    rows = (case(f"100-{number}", covid19_positive=answer) for number, answer in enumerate(ever))
    write_node(tmp_path / "c.tsv", "case", *rows)
    assert plain(read(tmp_path).cases[["covid_ever"]]) == [[value] for value in ever.values()]


def test_long_covid_is_never_a_no(tmp_path: Path) -> None:
    answers = ("Positive", "Not Reported", "")
    write_node(tmp_path / "c.tsv", "case", *(case(f"1-{i}", long_covid_diagnosis=a) for i, a in enumerate(answers)))
    cases = read(tmp_path).cases
    assert cases["long_covid"].fillna(False).tolist() == [True, False, False]
    assert int(cases["long_covid"].isna().sum()) == 2
    assert cases["died"].isna().all()


def reading(of: str, **values: str) -> dict[str, str]:
    return {"submitter_id": "a", "imaging_studies.submitter_id": of, **values}


def test_annotations_become_readings_of_score_grade_class_and_quality(tmp_path: Path) -> None:
    write(
        tmp_path,
        "annotation",
        reading("1.1", midrc_mRALE_score="14", annotator_id="r1"),
        reading("1.1", submitter_id="b", airspace_disease_grading="moderate", class_covid19_pneumonia="typical",
                annotation_method="Retrospective_expert"),
        reading("1.1", submitter_id="c", sift_image_quality_index="B"),
        reading("1.1", submitter_id="d", sift_image_quality_index="Not Reported"),
    )  # fmt: skip
    found = plain(read(tmp_path).readings[["name", "reader", "value", "category"]])
    assert sorted(found) == [
        ["airspace_grade", "Retrospective_expert", 2.0, "moderate"],
        ["image_quality", "unknown", "-", "B"],
        ["mrale_total", "r1", 14.0, "-"],
        ["pneumonia_class", "Retrospective_expert", "-", "typical"],
    ]


def test_a_reader_with_several_rows_of_a_study_is_told_apart(tmp_path: Path) -> None:
    rows = [reading("1.1", submitter_id=name, midrc_mRALE_score=score) for name, score in (("b", "3"), ("a", "7"))]
    write(tmp_path, "annotation", *rows)
    readings = read(tmp_path).readings
    assert readings[["reader", "value"]].to_numpy().tolist() == [["unknown", 7.0], ["unknown (2)", 3.0]]


def test_an_annotator_with_several_rows_of_a_study_is_one_reader_of_several_images(tmp_path: Path) -> None:
    rows = [
        reading("1.1", submitter_id=name, midrc_mRALE_score=score, annotator_id=reader)
        for name, score, reader in (("b", "3", "A"), ("a", "7", "A"), ("c", "0", "B"))
    ]
    write(tmp_path, "annotation", *rows)
    tables = read(tmp_path)
    assert plain(tables.readings[["reader", "image", "value"]]) == [["A", "2", 3.0], ["A", "-", 7.0], ["B", "-", 0.0]]
    assert "annotation: 1 are further readings of one reader, who counts once" in tables.notes
    at = pd.DataFrame({"study_id": ["1.1"], "case_id": ["100-1"]})
    assert mrale(tables, at, readers="mean")["label"].tolist() == [2.5]  # of 5 (A's mean) and 0


def test_a_reading_of_a_series_is_one_of_its_study_and_one_of_a_case_alone_is_counted(tmp_path: Path) -> None:
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1", submitter_id="100-1_1.1"))
    write_node(tmp_path / "s.tsv", "dx_series_file", series("1.1.1", "100-1_1.1", submitter_id="film"))
    write(
        tmp_path,
        "annotation",
        {"submitter_id": "a", "dx_series_files.submitter_id": "film", "midrc_mRALE_score": "3"},
        {"submitter_id": "b", "imaging_studies.submitter_id": "100-1_1.1", "midrc_mRALE_score": "5"},
        {"submitter_id": "c", "case_ids": "100-1", "midrc_mRALE_score": "9"},
    )
    tables = read(tmp_path)
    found = plain(tables.readings[["study_id", "series_id", "value"]])
    assert found == [["1.1", "1.1.1", 3.0], ["1.1", "-", 5.0]]
    assert tables.notes == ("annotation: 1 readings name no known study or series; they are left out",)


@pytest.mark.parametrize("other", ["7", "8"])
def test_readings_of_a_study_in_two_projects_count_once_or_are_refused(tmp_path: Path, other: str) -> None:
    for project in ("Open-R1", "TCIA-RICORD"):
        write_node(tmp_path / project / "i.tsv", "imaging_study", study("1.1", "100-1", project_id=project))
    rows = [
        reading("1.1", project_id=project, midrc_mRALE_score=score, annotator_id=reader)
        for project, score, reader in (("Open-R1", "7", "r1"), ("TCIA-RICORD", other, "one"))
    ]
    write(tmp_path, "annotation", *rows)
    if other == "7":
        assert read(tmp_path).readings[["reader", "value"]].to_numpy().tolist() == [["r1", 7.0]]
    else:
        with pytest.raises(
            TableError, match="1 studies have copies with another day, age, flag of the case, or reading"
        ):
            read(tmp_path)


def test_readings_of_two_projects_are_refused_too_where_only_one_has_the_study(tmp_path: Path) -> None:
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1"))
    rows = [reading("1.1", project_id=project, midrc_mRALE_score=score) for project, score in (("A", "7"), ("B", "14"))]
    write(tmp_path, "annotation", *rows)
    with pytest.raises(TableError, match=r"^1 studies have copies with another day, age, flag of the case, or reading"):
        read(tmp_path)
