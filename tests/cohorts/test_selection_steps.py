"""Portable, body part, one study a case, and cases without studies."""

from dataclasses import replace

import pandas as pd
import pytest

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import Selection, one_study_a_case, select_cases, select_studies
from midrc_ml.errors import InputError


def tables_of(studies: list[dict], events: list[dict] | None = None, *, file: str | None = "/x/film") -> Tables:
    frame = pd.DataFrame(studies)
    return Tables.checked(
        origin="test",
        cases=pd.DataFrame(
            [{"case_id": case, "patient_id": case, "site": "A"} for case in sorted(set(frame["case_id"]))]
        ),
        studies=frame,
        series=pd.DataFrame(
            {"series_id": frame["study_id"], "study_id": frame["study_id"], "modality": "DX", "file": file}
        ),
        events=pd.DataFrame(events) if events else None,
    )


def reasons(flow: CohortFlow) -> dict[str, int]:
    return {entry["reason"]: entry["n"] for step in flow.steps for entry in step["excluded"]}


def test_portable_films_alone_are_kept_and_what_is_not_known_is_counted_apart() -> None:
    tables = tables_of(
        [
            {"study_id": "1", "case_id": "a", "loinc_method": "XR.portable"},
            {"study_id": "2", "case_id": "a", "loinc_method": "XR"},
            {"study_id": "3", "case_id": "b", "description": "XR PORT CHEST 1V"},
            {"study_id": "4", "case_id": "b"},
        ]
    )
    flow = CohortFlow(origin="test")
    assert select_studies(tables, Selection(portable=True), flow)["study_id"].tolist() == ["1", "3"]
    assert reasons(flow) == {"not portable": 1, "not known whether it is portable": 1}
    flow = CohortFlow(origin="test")
    assert select_studies(tables, Selection(portable=False), flow)["study_id"].tolist() == ["2"]


def test_other_body_parts_are_excluded_and_silent_studies_kept_unless_told_otherwise() -> None:
    tables = tables_of(
        [
            {"study_id": "1", "case_id": "a", "body_part": "CHEST"},
            {"study_id": "2", "case_id": "a", "body_part": "HAND"},
            {"study_id": "3", "case_id": "a"},
        ]
    )
    flow = CohortFlow(origin="test")
    assert select_studies(tables, Selection(body_parts=["chest"]), flow)["study_id"].tolist() == ["1", "3"]
    assert reasons(flow) == {"not of the chest": 1}
    assert "1 studies say nothing of the body part; they are kept" in flow.notes
    strict = Selection(body_parts=["chest"], unknown_body_part=False)
    flow = CohortFlow(origin="test")
    assert select_studies(tables, strict, flow)["study_id"].tolist() == ["1"]
    assert reasons(flow) == {"not of the chest": 1, "body part not recorded": 1}


ROWS = pd.DataFrame(
    {
        "study_id": ["s1", "s2", "s3", "s4", "s5"],
        "case_id": ["a", "a", "a", "b", "b"],
        "site": "A",
        "day": [0.0, 4.0, 9.0, 2.0, None],
    }
)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"studies": "every"}, ["s1", "s2", "s3", "s4", "s5"]),
        ({"studies": "first"}, ["s1", "s4"]),
        ({"studies": "last"}, ["s3", "s4"]),
        ({"studies": "nearest", "nearest_to": "covid_test"}, ["s2", "s4"]),  # tests of a: day 6 (2 from s2), 20
        ({"studies": "nearest", "nearest_to": "icu_stay"}, ["s3"]),  # b has none
    ],
)
def test_one_study_a_case(settings: dict[str, str], kept: list[str]) -> None:
    events = [
        {"case_id": "a", "kind": "covid_test", "start_day": 6},
        {"case_id": "a", "kind": "covid_test", "start_day": 20},
        {"case_id": "b", "kind": "covid_test", "start_day": 0},
        {"case_id": "a", "kind": "icu_stay", "start_day": 8},
        {"case_id": "a", "kind": "icu_stay"},
    ]
    tables = tables_of([{"study_id": row, "case_id": "a"} for row in ROWS["study_id"]], events)
    flow = CohortFlow(origin="test")
    rows = one_study_a_case(ROWS, tables, Selection(**settings), flow)
    assert rows["study_id"].tolist() == kept
    assert sum(reasons(flow).values()) == len(ROWS) - len(kept)


def test_of_two_studies_on_one_day_the_lower_id_is_taken_whatever_the_row_order() -> None:
    rows = ROWS.assign(day=1.0).sample(frac=1, random_state=3).reset_index(drop=True)
    tables = tables_of([{"study_id": "s1", "case_id": "a"}])
    kept = one_study_a_case(rows, tables, Selection(studies="first"), CohortFlow(origin="test"))
    assert sorted(kept["study_id"]) == ["s1", "s4"]


def case_tables() -> Tables:
    return Tables.checked(
        origin="test",
        cases=pd.DataFrame(
            [
                {"case_id": "a", "patient_id": "a", "site": "A", "age": 50},
                {"case_id": "b", "patient_id": "b", "site": "B", "age": 12},
                {"case_id": "c", "patient_id": "c"},
            ]
        ),
        events=pd.DataFrame(
            [
                {"case_id": "a", "kind": "hospital_stay", "start_day": 3, "end_day": 12},
                {"case_id": "a", "kind": "hospital_stay", "start_day": -2, "end_day": 1},
                {"case_id": "a", "kind": "laboratory", "name": "LDH", "start_day": 4.5},
                {"case_id": "a", "kind": "laboratory", "name": "LDH", "start_day": 11.25},
                {"case_id": "a", "kind": "laboratory", "name": "LDH", "start_day": 40},  # after discharge
                {"case_id": "c", "kind": "laboratory", "name": "LDH", "start_day": 7},
            ]
        ),
        absent={"studies": "no studies here"},
    )


@pytest.mark.parametrize(("time", "days"), [("admission", [-2.0, None, None]), ("last", [11.25, None, 7.0])])
def test_cases_without_studies_are_asked_on_the_day_of_the_prediction(time: str, days: list[float | None]) -> None:
    flow = CohortFlow(origin="test", unit="case")
    rows = select_cases(case_tables(), Selection(prediction_time=time), flow)
    assert rows["study_id"].tolist() == ["a", "b", "c"]
    assert [None if pd.isna(day) else day for day in rows["day"]] == days
    assert rows["site"].tolist() == ["A", "B", "Not Reported"]
    skipped = [step["step"] for step in flow.steps if "not_applicable" in step]
    assert skipped == ["has a series of the modality", "body part", "frontal", "portable", "has an image file"]
    assert all("no studies here" in step["not_applicable"] for step in flow.steps)


def test_the_age_rule_holds_for_cases_too() -> None:
    flow = CohortFlow(origin="test", unit="case")
    assert select_cases(case_tables(), Selection(min_age=18), flow)["case_id"].tolist() == ["a"]
    assert reasons(flow) == {"younger than 18 years": 1, "age not recorded": 1}


def test_a_cohort_of_tables_alone_keeps_its_studies_when_images_are_not_needed() -> None:
    tables = tables_of([{"study_id": "1", "case_id": "a"}], file=None)
    flow = CohortFlow(origin="test")
    assert len(select_studies(tables, Selection(), flow, image_files="if any")) == 1
    assert flow.steps[-1] == {
        "step": "has an image file",
        "unit": "study",
        "not_applicable": "no image file is there: tables alone",
        "excluded": [],
    }
    assert select_studies(tables, Selection(), CohortFlow(origin="test")).empty


def test_one_study_without_a_file_among_others_is_excluded_even_when_describing() -> None:
    tables = tables_of([{"study_id": "1", "case_id": "a"}, {"study_id": "2", "case_id": "a"}])
    tables.series.loc[0, "file"] = None
    flow = CohortFlow(origin="test")
    assert select_studies(tables, Selection(), flow, image_files="if any")["study_id"].tolist() == ["2"]
    assert reasons(flow) == {"no image file found": 1}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"studies": "newest"}, r"task\.selection\.studies is 'newest'; it must be one of every, first, last, nearest"),
        ({"prediction_time": "now"}, r"prediction_time is 'now'; it must be one of admission, last"),
        ({"studies": "nearest"}, r"studies=nearest and nearest_to=EVENT belong together"),
        ({"nearest_to": "icu_stay"}, r"belong together"),
        ({"studies": "nearest", "nearest_to": "birthday"}, r"nearest_to is 'birthday'; it must be one of covid_test"),
        ({"portable": "yes"}, r"task\.selection\.portable is 'yes'; it must be true or false"),
        ({"body_parts": "chest"}, r"body_parts is 'chest'; give a list"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Selection(**wrong)


def test_without_a_table_of_series_the_modalities_are_those_of_the_studies() -> None:
    studies = [
        {"study_id": name, "case_id": name, "modality": of}
        for name, of in (("a", "DX"), ("b", "CT,SR"), ("c", "CR,CT"), ("d", None))
    ]
    why = "no export names a series"
    tables = replace(tables_of(studies), series=tables_of(studies).series.iloc[:0], absent={"series": why})
    flow = CohortFlow(origin="test")
    rows = select_studies(tables, Selection(), flow, image_files="if any")
    assert rows[["study_id", "modality"]].to_numpy().tolist() == [["a", "DX"], ["c", "CR"]]
    assert reasons(flow) == {"no CR or DX series": 2}
    assert [step["not_applicable"] for step in flow.steps if step["step"] == "frontal"] == [why]


def test_an_age_at_imaging_that_was_not_sent_is_that_of_the_case_with_whole_years_between() -> None:
    studies = [
        {"study_id": "1", "case_id": "a", "day": 1000.0},
        {"study_id": "2", "case_id": "b", "day": -700.0},
        {"study_id": "3", "case_id": "b", "day": 300.0},
        {"study_id": "4", "case_id": "c", "day": 4000.0},
        {"study_id": "5", "case_id": "a", "day": 1000.0, "age": 17.5},
        {"study_id": "6", "case_id": "b"},
    ]
    tables = tables_of(studies)
    aged = tables.cases.assign(age=tables.cases["case_id"].map({"a": 17.0, "b": 18.0, "c": 90.0}))
    flow = CohortFlow(origin="test")
    rows = select_studies(replace(tables, cases=aged), Selection(), flow).set_index("study_id")
    assert rows["age"].to_dict() == {"1": 19.0, "2": 17.0, "3": 18.0, "4": 90.0, "5": 17.5, "6": 18.0}
    words = "2 ages at imaging that were not sent are those of their cases with the whole years between added"
    assert words in flow.notes
    flow = CohortFlow(origin="test")
    assert "2" not in set(select_studies(replace(tables, cases=aged), Selection(min_age=18), flow)["study_id"])


def test_a_patient_known_under_two_ids_arrived_with_the_first_batch_of_either() -> None:
    tables = tables_of([{"study_id": "1", "case_id": "a"}])
    cases = pd.DataFrame(
        {"case_id": ["a", "b"], "patient_id": "p", "site": "A", "arrival_date": ["20230101", "20200101"]}
    )
    tables = Tables.checked(origin="test", cases=cases, studies=tables.studies, series=tables.series)
    rows = select_studies(tables, Selection(), CohortFlow(origin="test"))
    assert rows["arrival_date"].tolist() == ["20200101"]


@pytest.mark.parametrize("age", [float("nan"), -1.0, 91.0])
def test_an_age_limit_that_makes_no_sense_is_refused(age: float) -> None:
    with pytest.raises(InputError, match=r"task.selection.min_age is .*; it must be 0 to 90 years, or null"):
        Selection(min_age=age)
