"""What cannot be true of one person is refused with its counts, or left out."""

import pandas as pd
import pytest

from midrc_ml.cohorts.contradictions import Contradiction, check_rule, settle_contradictions
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError


def event(case_id: str, kind: str, start: float, end: float | None = None) -> dict:
    return {"case_id": case_id, "kind": kind, "start_day": start, "end_day": end}


def tables(*events: dict, cases: list[dict] | None = None, studies: list[dict] | None = None) -> Tables:
    known = cases or [{"case_id": name, "age": 40.0} for name in ("a", "b")]
    given = pd.DataFrame(studies or [])
    return Tables.checked(
        origin="test",
        cases=pd.DataFrame([{"patient_id": row["case_id"], **row} for row in known]),
        studies=given if len(given) else None,
        series=pd.DataFrame({"series_id": given["study_id"], "study_id": given["study_id"]}) if len(given) else None,
        readings=pd.DataFrame({"study_id": given["study_id"], "reader": "r", "name": "x"}) if len(given) else None,
        events=pd.DataFrame(list(events)) if events else None,
        notes=("before",),
    )


def problems(of: Tables) -> list[str]:
    try:
        settle_contradictions(of, rule="refuse")
    except TableError as error:
        return list(error.problems)
    return []


def test_tables_without_contradictions_are_returned_as_they_are() -> None:
    fine = tables(
        event("a", "hospital_stay", 0, 5),
        event("a", "death", 5),
        event("a", "covid_test", 6),  # the next day: written down after midnight
        event("a", "condition", 90),  # coded later
        event("b", "covid_test", -4000),
        studies=[{"study_id": "1", "case_id": "a", "day": 6.9}],
    )
    assert settle_contradictions(fine, rule="refuse") is fine


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([event("a", "death", -1)], "1 deaths lie before the index event of their case"),
        # Born at most 41 years of 366 days before the index event, at which the case was 40.
        ([event("a", "covid_test", -15_007)], "1 events lie before the birth of the patient"),
        ([event("a", "hospital_stay", 3, -15_007)], "1 events lie before the birth of the patient"),
        ([event("a", "death", 5), event("a", "death", 9)], "1 cases have deaths on different days"),
        ([event("a", "death", 5), event("a", "covid_test", 7)], "1 tests, stays or ventilations begin after the death"),
        ([event("a", "death", 5), event("a", "icu_stay", 9, 10)], "1 tests, stays or ventilations begin after"),
        ([event("a", "death", 5), event("a", "ventilation", 7.0)], "1 tests, stays or ventilations begin after"),
    ],
)
def test_what_cannot_be_is_refused_with_its_count_and_the_next_step(events: list[dict], message: str) -> None:
    (problem,) = problems(tables(*events))
    assert problem.startswith(message)
    assert problem.endswith("leave 1 case out with everything of theirs by cohort.on_contradiction=leave_out")


@pytest.mark.parametrize(
    "events",
    [
        [event("a", "covid_test", -15_006)],
        [event("a", "death", 0)],
        [event("a", "death", 5.2), event("a", "death", 5.9)],
        [event("a", "death", 5), event("b", "covid_test", 9)],  # another case
        [event("a", "death", 5), event("a", "covid_test", 6.9)],
    ],
)
def test_what_can_just_be_is_not_refused(events: list[dict]) -> None:
    assert problems(tables(*events)) == []


@pytest.mark.parametrize("over_89", [True, None])
def test_birth_is_not_known_of_the_oldest_nor_without_an_age(over_89: bool | None) -> None:
    case = [{"case_id": "a", "age": 90.0 if over_89 else None, "age_over_89": over_89}]
    assert problems(tables(event("a", "covid_test", -40_000), cases=case)) == []


def test_both_sexes_of_one_patient_are_refused_and_not_reported_is_no_sex() -> None:
    rows = [
        {"case_id": "a", "patient_id": "p", "sex": "Female"},
        {"case_id": "b", "patient_id": "p", "sex": "Male"},
        {"case_id": "c", "patient_id": "q", "sex": "Female"},
        {"case_id": "d", "patient_id": "q", "sex": "Not Reported"},
        {"case_id": "e", "patient_id": "q", "sex": None},
    ]
    (problem,) = problems(tables(cases=rows))
    assert problem.startswith(
        "1 patients are Female in one row and Male in another; correct the tables, or leave 2 cases"
    )


def test_a_study_after_death_or_before_birth_is_refused() -> None:
    studies = [
        {"study_id": "1", "case_id": "a", "day": 8.0},
        {"study_id": "2", "case_id": "a", "day": 9.0},
        {"study_id": "3", "case_id": "b", "day": -15_007.0},
    ]
    assert [problem.split(";")[0] for problem in problems(tables(event("a", "death", 5), studies=studies))] == [
        "1 studies lie before the birth of the patient",
        "2 studies lie after the death of the patient",
    ]


def test_leaving_out_takes_all_of_a_case_and_nothing_of_another_and_says_each_kind() -> None:
    given = tables(
        event("a", "death", 5),
        event("a", "covid_test", 0),
        event("b", "covid_test", 0),
        event("c", "death", -2),
        cases=[{"case_id": name, "age": 40.0} for name in "abc"],
        studies=[
            {"study_id": "1", "case_id": "a", "day": 8.0},
            {"study_id": "2", "case_id": "b", "day": 8.0},
            {"study_id": "3", "case_id": "a", "day": 1.0},
        ],
    )
    settled = settle_contradictions(given, rule="leave_out")
    assert settled.cases["case_id"].tolist() == ["b"]
    assert settled.studies["study_id"].tolist() == ["2"]
    assert settled.series["series_id"].tolist() == ["2"]
    assert settled.readings["study_id"].tolist() == ["2"]
    assert settled.events["case_id"].tolist() == ["b"]
    assert settled.notes == (
        "before",
        "1 case left out with everything of theirs: 1 deaths lie before the index event of their case",
        "1 case left out with everything of theirs: 1 studies lie after the death of the patient",
    )


def test_a_patient_who_was_ever_and_never_in_intensive_care_is_refused_and_one_who_died_in_one_hospital_is_not() -> (
    None
):
    of_two = [
        {"case_id": "a", "patient_id": "p", "icu_ever": True, "died": False},
        {"case_id": "b", "patient_id": "p", "icu_ever": False, "died": True},
    ]
    (problem,) = problems(tables(cases=of_two))
    assert problem.startswith("1 patients have icu_ever true in one case and false in another; ")
    assert "leave 2 cases out" in problem
    unknown = [of_two[0], {**of_two[1], "icu_ever": None}]
    assert problems(tables(cases=unknown)) == []


def test_contradictions_that_a_reader_saw_are_settled_by_the_same_rule() -> None:
    seen = [Contradiction(3, "rows say otherwise", frozenset({"a"})), Contradiction(0, "nothing", frozenset())]
    with pytest.raises(TableError, match=r"^3 rows say otherwise; correct the tables, or leave 1 case out"):
        settle_contradictions(tables(), rule="refuse", found=seen)
    assert settle_contradictions(tables(), rule="leave_out", found=seen).cases["case_id"].tolist() == ["b"]


def test_ids_are_in_no_message() -> None:
    secret = [{"case_id": "419639-000001", "age": 40.0}]
    (problem,) = problems(tables(event("419639-000001", "death", -3), cases=secret))
    assert "419639" not in problem


def test_a_rule_that_is_none_is_named() -> None:
    with pytest.raises(InputError, match=r"cohort.on_contradiction is 'ignore'; it must be refuse or leave_out"):
        check_rule("ignore")
