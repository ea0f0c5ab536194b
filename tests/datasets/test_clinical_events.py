"""Only what is known on the day of the study is read; timelines are written by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from midrc_ml.cohorts.reader import Tables
from midrc_ml.datasets.clinical_table import ClinicalTable
from midrc_ml.errors import InputError
from midrc_ml.tables.checks import checked_table
from midrc_ml.tables.schemas import EVENTS

DAY = 10.0
OF_TWO = Tables.checked(origin="test", cases=pd.DataFrame({"case_id": ["a", "b"], "patient_id": ["a", "b"]}))
Event = tuple[str, str | None, float | None, str | None]  # kind, name, day, value


def tables_of(*events: Event, case: str = "a", ends: dict[int, float] | None = None) -> Tables:
    """Cases a and b; the events are those of one of them."""
    ends = ends or {}
    rows = [
        {"case_id": case, "kind": kind, "name": name, "start_day": day, "end_day": ends.get(number), "value": value}
        for number, (kind, name, day, value) in enumerate(events)
    ]
    return replace(OF_TWO, events=checked_table(pd.DataFrame(rows), EVENTS, where="test")) if rows else OF_TWO


def read(tables: Tables, *, day: float | None = DAY, notes: list[str] | None = None, **events: Any) -> pd.DataFrame:
    """What is known of case a, and of case b, on one day."""
    rows = pd.DataFrame({"study_id": ["1", "2"], "case_id": ["a", "b"], "day": [day, day]}, index=[7, 3])
    frame = ClinicalTable(columns=[], events=events).read(tables, rows, notes=notes)
    assert list(frame.index) == [0, 1]
    return frame


def of_a(tables: Tables, **settings: Any) -> Any:
    """The one column of case a; None where it is missing."""
    frame = read(tables, **settings)
    assert frame.shape == (2, 1)
    value = frame.iloc[0, 0]
    return None if pd.isna(value) else value


def crp(day: float | None, value: str | None) -> Event:
    return ("laboratory", "CRP", day, value)


def test_the_last_value_up_to_the_day_of_the_study_is_read() -> None:
    before, same_day, after = crp(8, "1"), crp(10, "2"), crp(11, "3")
    assert of_a(tables_of(after, before), laboratory={}) == "1"
    assert of_a(tables_of(same_day, after, before), laboratory={}) == "2"
    assert of_a(tables_of(after), laboratory={}) is None


def test_a_part_of_a_day_counts() -> None:
    assert of_a(tables_of(crp(10.2, "1"), crp(10.4, "2")), day=10.3, laboratory={}) == "1"


def test_a_value_that_is_known_a_day_later_is_not_read_on_its_own_day() -> None:
    tables = tables_of(crp(8, "1"), crp(9, "2"), crp(10, "3"))
    assert of_a(tables, laboratory={"known_after_days": 1}) == "2"


def test_a_value_older_than_the_window_is_missing() -> None:
    assert of_a(tables_of(crp(8, "1")), laboratory={"within_days": 2}) == "1"
    assert of_a(tables_of(crp(7.5, "1")), laboratory={"within_days": 2}) is None


def test_what_had_not_ended_before_the_window_is_within_it() -> None:
    started = ("medication", "dexamethasone", 1.0, None)
    asked = {"medication": {"within_days": 2}}
    assert of_a(tables_of(started, ends={0: 8}), **asked) == 1
    assert of_a(tables_of(started, ends={0: 20}), **asked) == 1
    assert of_a(tables_of(started, ends={0: 7}), **asked) == 0
    assert of_a(tables_of(started), **asked) == 0


def test_an_event_without_a_day_counts_only_where_it_is_asked_for_by_name() -> None:
    tables = tables_of(crp(None, "1"))
    assert of_a(tables, laboratory={"names": ["CRP"]}) is None
    assert of_a(tables, laboratory={"names": ["CRP"], "undated": True}) == "1"
    with pytest.raises(InputError, match=r"undated is true and names is null; .* give the names of what was known"):
        ClinicalTable(events={"laboratory": {"undated": True}})


def test_a_value_with_a_day_goes_before_one_without() -> None:
    tables = tables_of(crp(None, "1"), crp(3, "2"), crp(None, "4"))
    assert of_a(tables, laboratory={"names": ["CRP"], "undated": True}) == "2"


def test_a_study_without_a_day_is_told_only_what_has_none() -> None:
    tables = tables_of(crp(-100, "1"), ("observation", "Smoking status", None, "Never"))
    asked = {"observation": {"names": ["Smoking status"], "undated": True}, "laboratory": {}}
    frame = read(tables, day=None, **asked)
    assert frame.loc[0, "observation.Smoking status"] == "Never"
    assert frame["laboratory.CRP"].isna().all()


def test_nothing_after_the_study_changes_what_is_read() -> None:
    known = [crp(9, "1"), ("condition", "I10", 2.0, None), ("observation", "Cough", 10.0, "Yes")]
    later = [crp(11, "9"), ("condition", "E11.9", 10.5, None), ("observation", "Cough", 12.0, "No")]
    asked = {"laboratory": {}, "condition": {"names": ["I10", "E11*", "J44*"]}, "observation": {"take": "any"}}
    pd.testing.assert_frame_equal(read(tables_of(*known), **asked), read(tables_of(*known, *later), **asked))


def test_events_of_another_case_are_not_read() -> None:
    frame = read(tables_of(crp(9, "1"), case="b"), laboratory={})
    assert frame["laboratory.CRP"].isna().tolist() == [True, False]


def test_different_numbers_of_one_day_are_averaged_and_different_words_are_missing() -> None:
    notes: list[str] = []
    assert of_a(tables_of(crp(9, "1"), crp(9, "1"), crp(9, "4")), laboratory={}, notes=notes) == "2.5"
    assert notes == []
    cough = [("observation", "Cough", 9.0, "Yes"), ("observation", "Cough", 9.0, "No")]
    assert of_a(tables_of(*cough), observation={}, notes=notes) is None
    assert notes == [
        "clinical table: 1 times different observation words of one name have the same day; they count as missing"
    ]


def test_an_answer_that_says_nothing_is_none() -> None:
    tables = tables_of(("observation", "Cough", 8.0, "Yes"), ("observation", "Cough", 9.0, "Not Reported"))
    assert of_a(tables, observation={}) == "Yes"


@pytest.mark.parametrize(("take", "expected"), [("lowest", 0.5), ("highest", 6.0), ("mean", 2.5)])
def test_numbers_of_a_window_can_be_summed_up(take: str, expected: float) -> None:
    notes: list[str] = []
    tables = tables_of(crp(8, "<0.5"), crp(9, "6"), crp(10, "1"), crp(9, "haemolysed"), crp(11, "100"), crp(7, "0.1"))
    assert of_a(tables, laboratory={"take": take, "within_days": 2}, notes=notes) == expected
    assert notes == ["clinical table: 1 laboratory values are no numbers; they are not read"]


def test_a_condition_is_known_absent_only_where_another_one_was_known() -> None:
    asked = {"condition": {"names": ["I10"]}}
    assert of_a(tables_of(("condition", "I10", 9.0, "Hypertension")), **asked) == 1
    assert of_a(tables_of(("condition", "J44.9", 9.0, None)), **asked) == 0
    assert of_a(tables_of(("condition", "J44.9", 11.0, None)), **asked) is None
    assert (
        of_a(tables_of(("condition", "J44.9", 10.0, None)), condition={"names": ["I10"], "known_after_days": 1}) is None
    )


def test_where_a_cohort_says_no_a_blank_is_missing() -> None:
    tables = tables_of(("condition", "htn_v", 0.0, "No"), ("condition", "dm_v", 0.0, "Yes"))
    frame = read(tables, condition={})
    assert frame.loc[0].to_dict() == {"condition.dm_v": 1.0, "condition.htn_v": 0.0}
    others = tables_of(("condition", "dm_v", 0.0, "Yes"), case="b")
    both = replace(tables, events=pd.concat([tables.events, others.events]))
    assert np.isnan(read(both, condition={}).loc[1, "condition.htn_v"])
    of_b = pd.DataFrame({"case_id": ["b"], "day": [DAY]})  # whoever else is read
    assert np.isnan(ClinicalTable(columns=[], events={"condition": {}}).read(both, of_b).loc[0, "condition.htn_v"])


def test_what_a_blank_means_is_learned_from_what_training_knew() -> None:
    """Neither a test patient's no, nor one that a training patient says later, changes a feature of training."""
    no, yes = ("condition", "htn_v", 0.0, "No"), ("condition", "dm_v", 0.0, "Yes")
    later = ("condition", "htn_v", DAY + 1, "No")

    def of_b(of_a: Event, part_of_a: str) -> float:
        events = [tables_of(of_a, yes).events, tables_of(yes, case="b").events]
        rows = pd.DataFrame({"case_id": ["a", "b"], "day": [DAY, DAY], "part": [part_of_a, "train"]})
        tables = replace(OF_TWO, events=pd.concat(events))
        frame = ClinicalTable(columns=[], events={"condition": {}}).read(tables, rows)
        return float(frame.loc[1, "condition.htn_v"])

    assert np.isnan(of_b(no, "train"))
    assert of_b(no, "test") == 0
    assert of_b(later, "train") == 0


def test_one_column_can_gather_events_that_go_by_several_names() -> None:
    tables = tables_of(("condition", "E11.9", 1.0, None), ("condition", "I10", 1.0, None))
    assert of_a(tables, condition={"names": {"diabetes": ["E10*", "E11*"]}}) == 1
    assert read(tables, condition={"names": {"diabetes": "E1?.9"}}).loc[0, "condition.diabetes"] == 0  # only * is any
    assert read(tables, condition={"names": ["E11*", "I10"]}).columns.tolist() == ["condition.E11*", "condition.I10"]


def test_a_name_that_no_event_has_is_told_with_the_nearest_one() -> None:
    notes: list[str] = []
    assert of_a(tables_of(("laboratory", "Ferritin", 9.0, "1")), laboratory={"names": ["Feritin"]}, notes=notes) is None
    assert notes == ["clinical table: no laboratory event of the cohort is called Feritin (did you mean Ferritin?)"]


def test_covid_tests_of_all_methods_are_one_column() -> None:
    tests = [("covid_test", "RT-PCR", 3.0, "Positive"), ("covid_test", None, 9.0, "Negative")]
    frame = read(tables_of(*tests), covid_test={})
    assert frame.columns.tolist() == ["covid_test"]
    assert frame["covid_test"].tolist()[0] == "Negative"
    assert read(tables_of(*tests), covid_test={"names": ["RT-PCR"]}).loc[0, "covid_test.RT-PCR"] == "Positive"


def test_events_without_a_name_or_a_day_are_counted() -> None:
    notes: list[str] = []
    tables = tables_of(crp(9, "1"), ("laboratory", None, 9.0, "2"), ("laboratory", "IL-6", None, "3"))
    assert of_a(tables, notes=notes, laboratory={}) == "1"
    assert notes == [
        "clinical table: 1 laboratory events have no day; they are not read",
        "clinical table: 1 laboratory events have no name; they are not read",
    ]


def test_a_cohort_without_such_events_gives_no_column_and_a_note() -> None:
    notes: list[str] = []
    assert read(tables_of(), notes=notes, laboratory={}).shape == (2, 0)
    assert notes == ["clinical table: the cohort has no laboratory events"]
    assert read(tables_of(), covid_test={})["covid_test"].isna().all()
    assert read(tables_of(), condition={"names": ["I10"]})["condition.I10"].isna().all()
    assert read(tables_of(), laboratory={"names": ["CRP"], "take": "mean"})["laboratory.CRP"].isna().all()


def test_more_names_than_anybody_chose_are_refused() -> None:
    tables = tables_of(*(("condition", f"Z{number}", 1.0, None) for number in range(1001)))
    with pytest.raises(InputError, match=r"names is null, and the cohort has 1001 names, more than 1000; give those"):
        read(tables, condition={})


def test_what_is_undated_because_it_is_known_later_is_refused() -> None:
    tables = tables_of(("observation", "length_of_stay", None, "4"))
    with pytest.raises(InputError, match=r"length_of_stay is known only after the day"):
        read(tables, observation={"names": ["length*"], "undated": True})


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("icu_stay", {}, r"events.icu_stay: this kind of event is no input: it is what tasks ask for"),
        ("death", {}, r"events.death: this kind of event is no input"),
        ("symptom", {}, r"events.symptom: this kind of event is no input; take one of laboratory, observation"),
        ("laboratory", {"within": 2}, r"events.laboratory.within: there is no such setting; it has names, within_days"),
        ("laboratory", {"within_days": -1}, r"events.laboratory.within_days is -1; it must be at least 0"),
        ("laboratory", {"known_after_days": -1}, r"known_after_days is -1; it must be at least 0"),
        ("laboratory", {"take": "median"}, r"take is 'median'; it must be one of last, lowest, highest, mean, any"),
        ("laboratory", {"names": "CRP"}, r"names is 'CRP'; it must be a list of texts"),
        ("laboratory", {"names": []}, r"names is \[\]; give at least one name, or null"),
        ("laboratory", {"names": [3]}, r"names is \[3\]; it must be a list of texts"),
        ("laboratory", ["CRP"], r"events.laboratory is \['CRP'\]; it must be settings"),
    ],
)
def test_events_that_cannot_be_read_are_refused(kind: str, settings: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ClinicalTable(events={kind: settings})
