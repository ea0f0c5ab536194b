from functools import partial

import numpy as np
import pandas as pd
import pytest
from timelines import (
    BEFORE,
    DATED_THERE,
    DEATH_UNDATED,
    ENDED_UNKNOWN,
    ON_OR_BEFORE,
    OUTSIDE,
    STILL_OPEN,
    death,
    icu,
    open_stay,
    stay,
    studies_on,
    tables_of,
    told,
    without,
    wrong,
)

from midrc_ml.errors import InputError
from midrc_ml.tasks.outcomes import event_within_horizon

rule = partial(event_within_horizon, event="icu_stay", horizon_days=14)
UNDATED = "missing: icu_stay without a usable day on record"


def test_at_risk_is_a_study_from_one_day_before_admission_to_discharge() -> None:
    days = [(0, 0.0), (5, 0.0), (30, 0.0), (30.5, 0.0), (31, OUTSIDE), (-1, 0.0), (-1.5, OUTSIDE), (-2, OUTSIDE)]
    assert wrong(rule, *(([stay(0, 30)], day, expected) for day, expected in days)) == []


@pytest.mark.parametrize(
    ("lead_days", "days"), [(0, [(-1, OUTSIDE), (-0.5, OUTSIDE), (0, 0.0)]), (3, [(-3, 0.0), (-4, OUTSIDE)])]
)
def test_lead_days_say_how_long_before_admission_a_film_counts_into_the_stay(
    lead_days: float, days: list[tuple[float, float | str]]
) -> None:
    lines = (([stay(0, 30)], day, expected) for day, expected in days)
    assert wrong(rule, *lines, lead_days=lead_days) == []


@pytest.mark.parametrize(
    ("first_day", "answers"),
    [
        (1, [(9, ON_OR_BEFORE), (10, ON_OR_BEFORE), (11, 1.0), (24, 1.0), (24.1, 0.0), (25, 0.0)]),
        (0, [(9, BEFORE), (10, 1.0), (11, 1.0), (24, 1.0), (25, 0.0)]),
    ],
)
def test_positive_is_intensive_care_from_the_first_day_to_the_last_of_the_horizon(
    first_day: int, answers: list[tuple[float, float | str]]
) -> None:
    lines = (([stay(0, 60), icu(day, day + 3)], 10, expected) for day, expected in answers)
    assert wrong(rule, *lines, first_day=first_day) == []


def test_a_patient_who_had_intensive_care_in_this_stay_is_not_at_risk_of_it_a_second_time() -> None:
    over = [stay(0, 60), icu(2, 4)]
    assert wrong(rule, (over, 10, ON_OR_BEFORE), ([*over, icu(12, 14)], 10, ON_OR_BEFORE)) == []


@pytest.mark.parametrize("end", [9, None])
def test_intensive_care_in_an_earlier_stay_leaves_a_patient_at_risk(end: float | None) -> None:
    events = [stay(0, 10), icu(5, end), stay(20, 60)]
    assert wrong(rule, (events, 25, 0.0), ([*events, icu(26, 30)], 25, 1.0)) == []


def test_intensive_care_entered_in_the_emergency_department_before_admission_counts_into_the_stay() -> None:
    # ICU on day -1, admission dated the day after: the film of day -1 or 2 is of a patient in intensive care.
    lines = [([stay(0, 60), icu(-1, end)], day, ON_OR_BEFORE) for end in (4, None) for day in (-1, 2)]
    assert wrong(rule, *lines) == []


def test_a_film_before_admission_is_followed_into_the_stay() -> None:
    assert wrong(rule, *(([stay(0, 60), icu(day)], -1, label) for day, label in [(0, 1.0), (13, 1.0), (14, 0.0)])) == []


def test_a_stay_that_is_still_open_says_nothing_without_intensive_care_in_the_horizon() -> None:
    days = [(8, 1.0), (17, 1.0), (18, STILL_OPEN), (2, ON_OR_BEFORE)]
    lines = [([open_stay(0), icu(day)], 3, expected) for day, expected in days]
    assert wrong(rule, ([open_stay(0)], 3, STILL_OPEN), *lines) == []


def test_an_open_stay_reaches_to_the_next_stay_which_stands_by_itself() -> None:
    two = [open_stay(0), stay(20, 60)]
    lines = [
        (two, 3, STILL_OPEN),
        ([*two, icu(17)], 3, 1.0),
        ([*two, icu(18)], 3, STILL_OPEN),
        (two, 25, 0.0),
        ([*two, icu(26)], 25, 1.0),
        # The open stay may be the same stay as the next: intensive care in it came before.
        ([*two, icu(10, 12)], 25, ON_OR_BEFORE),
        ([*two, icu(10)], 25, ON_OR_BEFORE),
        # Only what lies in the open stay shows that the patient was in hospital on the day of the film.
        ([*two, icu(21)], 10, STILL_OPEN),
        ([*two, icu(19)], 10, 1.0),
        ([*two, death(22)], 10, STILL_OPEN),
        # The day before the next admission belongs to that, as it would without the open stay.
        (two, 19, 0.0),
        (two, 18.9, STILL_OPEN),
        ([open_stay(0), open_stay(20)], 25, STILL_OPEN),
        ([open_stay(0), open_stay(20), stay(30, 50), icu(5)], 31, ON_OR_BEFORE),
        ([stay(0, 10), icu(5), open_stay(20)], 21, STILL_OPEN),
    ]
    assert wrong(rule, *lines) == []


def test_an_open_stay_that_is_seen_to_the_horizon_is_a_negative() -> None:
    # A transfer within the stay, whose end nobody wrote down: the patient was there until day 20 at least.
    moved = [stay(0, 20, "Short Term Hospital"), open_stay(20)]
    assert wrong(rule, (moved, 3, 0.0), (moved, 6, 0.0), (moved, 7, STILL_OPEN), (moved, 25, STILL_OPEN)) == []


def test_live_discharge_before_or_after_the_horizon_is_a_negative() -> None:
    assert wrong(rule, *(([stay(0, end)], 3, 0.0) for end in (3, 8, 17, 40))) == []


@pytest.mark.parametrize("competing_event", ["negative", "positive", "exclude"])
def test_a_stay_whose_end_is_not_told_is_a_negative_only_if_a_death_would_be_one_or_it_is_known_to_be_none(
    competing_event: str,
) -> None:
    unknown = 0.0 if competing_event == "negative" else ENDED_UNKNOWN
    undated = 0.0 if competing_event == "negative" else DEATH_UNDATED
    lines = [
        ([stay(0, 8, None)], 3, unknown),
        ([stay(0, 17, None)], 3, 0.0),
        ([stay(0, 8, None), stay(90, 95)], 3, 0.0),  # seen alive later
        ([stay(0, 8), death(None)], 3, undated),
        ([stay(0, 17), death(None)], 3, 0.0),
        ([stay(0, 8, "Expired")], 3, undated),
        ([stay(0, 17, "Expired")], 3, 0.0),
        ([stay(0, 8, "Expired"), icu(5)], 3, 1.0),
    ]
    assert wrong(rule, *lines, competing_event=competing_event) == []


@pytest.mark.parametrize("competing_event", ["positive", "exclude"])
def test_a_cohort_without_deaths_is_refused_where_they_make_a_difference(competing_event: str) -> None:
    words = rf"label\.competing_event={competing_event} needs death \(no file holds it\)"
    with pytest.raises(InputError, match=words):
        rule(without("death"), ONE_ROW, competing_event=competing_event)
    assert told(rule(without("death"), ONE_ROW)) == ["missing: the site dates no icu_stay"]


@pytest.mark.parametrize(
    ("competing_event", "expected"),
    [("negative", 0.0), ("positive", 1.0), ("exclude", "excluded: died within 14 days without icu_stay")],
)
def test_death_within_the_horizon_counts_as_the_setting_says(competing_event: str, expected: float | str) -> None:
    lines = [([stay(0, day, "Deceased"), death(day)], 3, expected) for day in (3, 4, 17)]
    after = ([stay(0, 18, "Deceased"), death(18)], 3, 0.0)
    after_icu = ([stay(0, 9, "Deceased"), icu(5, 9), death(9)], 3, 1.0)
    in_an_open_stay = ([open_stay(0), death(9)], 3, expected)
    assert wrong(rule, *lines, after, after_icu, in_an_open_stay, competing_event=competing_event) == []


def test_a_film_after_the_death_is_not_at_risk() -> None:
    died = "excluded: not at risk: died before the day of the study"
    assert wrong(rule, ([stay(0, 30), death(2)], 3, died), ([stay(0, 30), death(3.1)], 3.9, 0.0)) == []


def test_a_site_that_dates_no_icu_stay_has_no_label_whatever_its_stays() -> None:
    cases = [{"case_id": "c", "site": "B"}, {"case_id": "other", "site": "A"}]
    tables = tables_of(stay(0, 30), icu(None), *DATED_THERE, cases=cases)
    assert told(rule(tables, studies_on(3, 40, site="B"))) == ["missing: the site dates no icu_stay"] * 2


def test_cases_of_one_hospital_that_has_no_name_are_of_one_site() -> None:
    cases = [{"case_id": "c"}, {"case_id": "other"}]
    dated = tables_of(stay(0, 30), *DATED_THERE, cases=cases)
    assert told(rule(dated, studies_on(3, site="Not Reported"))) == [0.0]
    undated = tables_of(stay(0, 30), cases=cases)
    assert told(rule(undated, studies_on(3, site="Not Reported"))) == ["missing: the site dates no icu_stay"]


def test_without_a_stay_on_record_or_a_day_there_is_no_label() -> None:
    no_stay = "missing: no hospital stay on record"
    lines = [([], 3, no_stay), ([icu(5, 7)], 3, no_stay), ([stay(None, 9)], 3, no_stay)]
    assert wrong(rule, *lines, ([stay(0, 30)], None, "missing: the study has no day")) == []


def test_a_transfer_on_the_same_day_goes_on_in_the_same_stay_and_a_day_later_it_is_another() -> None:
    first = stay(0, 5, "Short Term Hospital")
    lines = [
        ([first, stay(5, 40), icu(2, 4)], 6, ON_OR_BEFORE),
        ([first, stay(5, 40), icu(8, 9)], 3, 1.0),
        ([first, open_stay(5)], 3, STILL_OPEN),
        ([first, stay(6, 40), icu(2, 4)], 7, 0.0),
    ]
    assert wrong(rule, *lines) == []


def test_how_a_stay_ended_is_known_when_one_of_its_last_rows_tells() -> None:
    rows = [stay(0, 8, None), stay(0, 8, "Home or Self Care")]
    earlier_only = [stay(0, 5, "Short Term Hospital"), stay(5, 8, None)]
    lines = [(rows[::order], 3, 0.0) for order in (1, -1)]
    lines += [(earlier_only[::order], 3, ENDED_UNKNOWN) for order in (1, -1)]
    assert wrong(rule, *lines, competing_event="exclude") == []


def test_an_event_without_a_day_is_evidence_that_forbids_a_negative() -> None:
    events = [stay(0, 30), icu(None)]
    # Nor is a later one known to be the first.
    lines = [(events, 3, UNDATED), ([*events, icu(5, 7)], 3, UNDATED), ([*events, icu(2, 7)], 3, ON_OR_BEFORE)]
    assert wrong(rule, *lines) == []


def test_a_flag_without_a_dated_event_forbids_a_negative() -> None:
    cases = [{"case_id": name, "site": "A", "icu_ever": True} for name in "abc"]
    other_stay = [stay(0, 30, of="c"), stay(50, 60, of="c"), icu(52, 53, of="c")]  # the flag is of that other stay
    events = [stay(0, 30, of="a"), stay(0, 30, of="b"), icu(5, 7, of="b"), *other_stay]
    rows = studies_on(3, 3, 3).assign(case_id=list("abc"))
    assert told(rule(tables_of(*events, cases=cases), rows)) == [UNDATED, 1.0, 0.0]


def test_fractions_of_a_day_are_of_the_same_whole_day() -> None:
    lines = [
        ([stay(0, 30), icu(3.0, 7)], 2.5, 1.0),
        ([stay(0, 30), icu(2.9, 7)], 2.5, ON_OR_BEFORE),
        ([stay(0, 30), icu(1.9, 7)], 2.5, ON_OR_BEFORE),
    ]
    assert wrong(rule, *lines) == []
    assert wrong(rule, ([stay(0, 30), icu(2.1, 7)], 2.5, 1.0), first_day=0) == []


def test_every_study_has_a_label_or_a_reason_and_row_order_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(60)]
    events = [*DATED_THERE]
    for name in names:
        for _ in range(int(rng.integers(0, 4))):
            start = int(rng.integers(-5, 20))
            end = None if rng.random() < 0.3 else start + int(rng.integers(0, 25))
            events.append(stay(start, end, rng.choice(["Home or Self Care", "Deceased", None]), of=name))
            if rng.random() < 0.5:
                events.append(icu(start + int(rng.integers(-1, 12)), None, of=name))
            if end is not None and rng.random() < 0.3:
                events.append(death(end, of=name))
    cases = [{"case_id": name, "site": "A"} for name in [*names, "other"]]
    studies = pd.concat([studies_on(*rng.integers(-6, 30, 8), of=name) for name in names], ignore_index=True)
    expected = rule(tables_of(*events, cases=cases), studies, competing_event="exclude")
    assert (expected.notna().sum(axis=1) == 1).all()
    assert expected["label"].nunique() == 2
    for _ in range(2):
        mixed = [events[i] for i in rng.permutation(len(events))]
        shuffled = studies.sample(frac=1, random_state=int(rng.integers(1000)))
        result = rule(tables_of(*mixed, cases=cases[::-1]), shuffled, competing_event="exclude")
        pd.testing.assert_frame_equal(result.sort_index(), expected)


def test_inputs_are_not_changed() -> None:
    tables, studies = tables_of(stay(0, 30), icu(5), *DATED_THERE), studies_on(3)
    before, events = studies.copy(), tables.events.copy()
    rule(tables, studies)
    pd.testing.assert_frame_equal(studies, before)
    pd.testing.assert_frame_equal(tables.events, events)


NO_TABLES, ONE_ROW = tables_of(), studies_on(3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"first_day": 2}, "first_day=2"),
        ({"first_day": -1}, "first_day=-1"),
        ({"horizon_days": 0}, "horizon_days=0"),
        ({"horizon_days": -3, "first_day": 0}, "horizon_days=-3"),
        ({"horizon_days": float("inf")}, "horizon_days=inf"),
        ({"horizon_days": "14"}, "horizon_days=14"),
        ({"lead_days": -1}, "lead_days=-1"),
        ({"competing_event": "censor"}, "competing_event is 'censor'; it must be one of positive, negative, exclude"),
        ({"event": "icu_stays"}, "label.event is 'icu_stays'; it must be one of covid_test, icu_stay"),
        ({"event": "hospital_stay"}, "label.event is 'hospital_stay'"),
        ({"event": []}, "label.event is ''"),
        ({"event": ["icu_stay", "death"], "competing_event": "negative"}, "death is an event asked for; leave it out"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_value(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        event_within_horizon(NO_TABLES, ONE_ROW, **{"event": "icu_stay", "horizon_days": 14, **settings})
