"""Ventilation, death in hospital, and any of intensive care, ventilation and death; intensive care has its own file."""

from functools import partial

import pytest
from timelines import (
    DATED_THERE,
    DEATH_UNDATED,
    ENDED_UNKNOWN,
    OUTSIDE,
    STILL_OPEN,
    covid_test,
    death,
    icu,
    open_stay,
    stay,
    studies_on,
    tables_of,
    told,
    ventilation,
    without,
    wrong,
)

from midrc_ml.errors import InputError
from midrc_ml.tasks.outcomes import event_within_horizon

mortality = partial(event_within_horizon, event="death", horizon_days=14)
deterioration = partial(event_within_horizon, event=["icu_stay", "ventilation", "death"], horizon_days=14)
VENTILATED = "excluded: not at risk: ventilation began on or before the day of the study"


def died(day: float, since: float = 0) -> list[dict]:
    return [stay(since, day, "Deceased"), death(day)]


def test_ventilation_is_asked_of_patients_in_hospital_who_are_not_ventilated_so_far() -> None:
    in_hospital = stay(0, 60)
    lines = [
        ([in_hospital, ventilation(9, 9)], 10, VENTILATED),
        ([in_hospital, ventilation(10)], 10, VENTILATED),
        ([in_hospital, ventilation(11)], 10, 1.0),
        ([in_hospital, ventilation(24)], 10, 1.0),
        ([in_hospital, ventilation(25)], 10, 0.0),
        ([in_hospital, icu(5)], 10, 0.0),
        ([in_hospital, ventilation(None)], 10, "missing: ventilation without a usable day on record"),
        ([in_hospital], 61, OUTSIDE),
        ([stay(0, 12, "Deceased"), death(12)], 10, 0.0),
        ([open_stay(0)], 10, STILL_OPEN),
        ([], 10, "missing: no hospital stay on record"),
    ]
    assert wrong(event_within_horizon, *lines, event="ventilation", horizon_days=14) == []


def test_a_site_that_dates_intensive_care_alone_has_no_label_of_ventilation() -> None:
    dated = [{"case_id": "other", "kind": "icu_stay", "start_day": 500}]
    result = event_within_horizon(
        tables_of(*dated, stay(0, 30), ventilation(None)), studies_on(3), event="ventilation", horizon_days=14
    )
    assert told(result) == ["missing: the site dates no ventilation"]


def test_death_in_hospital_from_the_day_of_the_film_to_the_horizon_is_a_positive() -> None:
    lines = [(died(day), 3, label) for day, label in [(3, 1.0), (4, 1.0), (17, 1.0), (18, 0.0), (40, 0.0)]]
    same_day = [(died(3.2), 3.6, OUTSIDE), (died(4), 3.6, 1.0)]
    before_admission = [(died(13), -1, 1.0), (died(14), -1, 0.0)]
    assert wrong(mortality, *lines, *same_day, *before_admission) == []


def test_death_in_hospital_is_a_negative_after_live_discharge_or_in_a_stay_beyond_the_horizon() -> None:
    lines = [
        ([stay(0, 3)], 3, 0.0),
        ([stay(0, 8)], 3, 0.0),
        ([stay(0, 8, None)], 3, ENDED_UNKNOWN),
        ([stay(0, 17, None)], 3, 0.0),
        ([stay(0, 16.5, None)], 3, ENDED_UNKNOWN),
        ([], 3, "missing: no hospital stay on record"),
        ([stay(0, 8)], 9, OUTSIDE),
        ([stay(0, 8, "Deceased"), death(8)], 9, OUTSIDE),
    ]
    assert wrong(mortality, *lines) == []


def test_death_in_the_next_stay_within_the_horizon_is_a_positive_and_one_elsewhere_is_not() -> None:
    lines = [
        ([stay(0, 8), *died(15, since=12)], 3, 1.0),
        ([stay(0, 8), *died(18, since=12)], 3, 0.0),
        ([stay(0, 8), death(12)], 3, 0.0),
        ([stay(0, 8, None), death(12)], 3, 0.0),
        # A record of the day of discharge and one of the hour of death may differ within the day.
        ([stay(0, 8, "Deceased"), death(8.9)], 3, 1.0),
    ]
    assert wrong(mortality, *lines) == []


def test_a_death_that_may_be_of_a_stay_without_days_is_no_negative() -> None:
    undated = "missing: hospital_stay without a usable day on record"
    lines = [
        ([stay(0, 8), stay(None, None, "Deceased"), death(12)], 3, undated),
        ([stay(0, 8), stay(None, None, "Deceased"), death(18)], 3, 0.0),  # after the horizon
        ([stay(0, 8), stay(None, None), death(12)], 3, 0.0),  # left that one alive: elsewhere
        ([stay(0, 8), stay(None, None, "Deceased"), *died(15, since=12)], 3, 1.0),
        ([stay(0, 8), stay(None, None)], 10, undated),  # the film may lie in it
    ]
    assert wrong(mortality, *lines) == []


def test_ventilation_before_the_stay_that_nobody_saw_end_is_no_negative() -> None:
    lasting = "missing: ventilation before the hospital stay has no end: it may have lasted"
    lines = [
        ([stay(0, 60), ventilation(-3)], 10, lasting),
        ([stay(0, 60), ventilation(-3, -2)], 10, 0.0),
        ([stay(-9, -2), stay(0, 60), ventilation(-3)], 10, 0.0),  # it ended with the stay that it was in
        ([stay(0, 60), ventilation(-3), ventilation(12)], 10, lasting),
        ([stay(0, 60), ventilation(-1)], 10, VENTILATED),  # a record may begin a day before the admission's
    ]
    assert wrong(event_within_horizon, *lines, event="ventilation", horizon_days=14) == []


def test_an_open_stay_has_a_label_of_death_only_where_the_day_of_death_or_a_later_sign_of_life_is_known() -> None:
    lines = [
        ([open_stay(0)], 3, STILL_OPEN),
        ([open_stay(0), death(9)], 3, 1.0),
        ([open_stay(0), death(18)], 3, 0.0),
        ([open_stay(0), stay(17, 20)], 3, 0.0),
        ([open_stay(0), stay(16, 16)], 3, STILL_OPEN),
        ([open_stay(0), icu(10, 17)], 3, 0.0),
        ([open_stay(0), *died(12, since=10)], 3, STILL_OPEN),
        ([open_stay(0), *died(12, since=10)], 11, 1.0),
    ]
    assert wrong(mortality, *lines) == []


def test_a_death_without_a_day_forbids_a_negative_unless_the_patient_is_seen_at_the_horizon() -> None:
    lines = [
        ([stay(0, 8), death(None)], 3, DEATH_UNDATED),
        ([stay(0, 17), death(None)], 3, 0.0),
        ([stay(0, 8), stay(30, 31), death(None)], 3, 0.0),
        ([open_stay(0), death(None)], 3, DEATH_UNDATED),
    ]
    assert wrong(mortality, *lines) == []
    cases = [{"case_id": "a", "site": "A", "died": True}, {"case_id": "b", "site": "A", "died": False}]
    events = [stay(0, 8, of="a"), stay(0, 8, of="b")]
    rows = studies_on(3, 3).assign(case_id=["a", "b"])
    assert told(mortality(tables_of(*events, cases=cases), rows)) == [DEATH_UNDATED, 0.0]


@pytest.mark.parametrize("word", ["Deceased", "died", "EXPIRED", "dead", "Death"])
def test_a_stay_that_says_died_without_a_death_on_record_is_no_live_discharge(word: str) -> None:
    lines = [
        ([stay(0, 8, word)], 3, DEATH_UNDATED),
        ([stay(0, None, word)], 3, DEATH_UNDATED),
        ([stay(0, 8), stay(12, 15, word)], 3, DEATH_UNDATED),
        # Alive at the horizon.
        ([stay(0, 17, word)], 3, 0.0),
        ([stay(0, 8), stay(12, 17, word)], 3, 0.0),
        ([stay(0, 8), stay(30, 35, word)], 3, 0.0),
        # The day of death is on record.
        ([stay(0, 8, word), death(8)], 3, 1.0),
    ]
    assert wrong(mortality, *lines) == []
    assert wrong(deterioration, ([stay(0, 8, word)], 3, DEATH_UNDATED), ([stay(0, 8, word), icu(5)], 3, 1.0)) == []


@pytest.mark.parametrize("rule", [mortality, deterioration])
def test_a_later_stay_in_the_horizon_whose_end_is_not_known_forbids_a_negative(rule: partial) -> None:
    home = stay(0, 5)
    lines = [
        ([home, open_stay(8)], 3, STILL_OPEN),
        ([home, stay(6, 10, None)], 3, ENDED_UNKNOWN),
        ([home, stay(6, 10)], 3, 0.0),
        ([home, stay(6, 10), open_stay(12)], 3, STILL_OPEN),
        # From after the end of the stay to the last day of the horizon, 17.
        ([home, open_stay(16.9)], 3, STILL_OPEN),
        ([home, open_stay(18)], 3, 0.0),
        ([home, stay(6, 16.5, None)], 3, ENDED_UNKNOWN),
        ([home, stay(6, 17, None)], 3, 0.0),
        ([home, stay(6, 30, None)], 3, 0.0),
        # Alive at the horizon.
        ([home, open_stay(8), stay(20, 21)], 3, 0.0),
        ([home, open_stay(8), icu(10, 17)], 3, 0.0 if rule is mortality else 1.0),
        ([home, stay(6, 10, None), stay(40, 41)], 3, 0.0),
        ([home, stay(6, 10, None), death(18)], 3, 0.0),
        # Alive after that stay, and nothing is open after it.
        ([home, stay(6, 10, None), stay(12, 14)], 3, 0.0),
        ([home, open_stay(8), stay(12, 14)], 3, 0.0),
        ([home, open_stay(8), stay(12, 14, None)], 3, ENDED_UNKNOWN),
        ([home, open_stay(8), covid_test(12, "Negative")], 3, STILL_OPEN),
        ([home, open_stay(8), death(12)], 3, 1.0),
        # Asked of the later stay itself, the earlier one makes no difference.
        ([open_stay(0), stay(20, 30)], 21, 0.0),
        ([stay(0, 5, None), stay(20, 30)], 21, 0.0),
    ]
    assert wrong(rule, *lines) == []


def test_a_cohort_without_deaths_is_refused_where_death_is_asked_for() -> None:
    for rule in (mortality, deterioration):
        with pytest.raises(InputError, match=r"label\.event=death needs death \(no file holds it\)"):
            rule(without("death"), studies_on(3))


def test_a_film_after_the_hour_of_discharge_is_of_its_day() -> None:
    lines = [([stay(0, 20)], 20.5, 0.0), (died(20), 20.5, 1.0), ([stay(0, 20, None)], 20.5, ENDED_UNKNOWN)]
    assert wrong(mortality, *lines, ([stay(0, 20)], 21, OUTSIDE)) == []


def test_deterioration_is_the_first_of_intensive_care_ventilation_and_death() -> None:
    in_hospital = stay(0, 60)
    lines = [
        ([in_hospital], 3, 0.0),
        ([in_hospital, icu(5)], 3, 1.0),
        ([in_hospital, ventilation(17)], 3, 1.0),
        ([in_hospital, ventilation(18)], 3, 0.0),
        (died(9), 3, 1.0),
        (died(3), 3, 1.0),
        (died(18), 3, 0.0),
        # Whoever had any of them is no longer at risk of the others.
        ([in_hospital, ventilation(2), icu(5)], 3, VENTILATED),
        ([in_hospital, icu(3), ventilation(5)], 3, VENTILATED.replace("ventilation", "icu_stay")),
    ]
    assert wrong(deterioration, *lines) == []


def test_no_deterioration_needs_the_evidence_for_all_three() -> None:
    lines = [
        ([stay(0, 8)], 3, 0.0),
        ([stay(0, 8, None)], 3, ENDED_UNKNOWN),
        ([stay(0, 8, None), ventilation(5)], 3, 1.0),
        ([stay(0, 17, None)], 3, 0.0),
        ([stay(0, 8), death(None)], 3, DEATH_UNDATED),
        ([stay(0, 17), icu(None)], 3, "missing: icu_stay without a usable day on record"),
        ([open_stay(0)], 3, STILL_OPEN),
        # Alive at the horizon, but who knows whether in intensive care until then.
        ([open_stay(0), death(18)], 3, STILL_OPEN),
    ]
    assert wrong(deterioration, *lines) == []


@pytest.mark.parametrize("dated", ["icu_stay", "ventilation"])
def test_a_site_that_dates_one_of_two_components_has_no_label_of_deterioration(dated: str) -> None:
    tables = tables_of(*(event for event in DATED_THERE if event["kind"] == dated), *died(9))
    other = "ventilation" if dated == "icu_stay" else "icu_stay"
    assert told(deterioration(tables, studies_on(3))) == [f"missing: the site dates no {other}"]
