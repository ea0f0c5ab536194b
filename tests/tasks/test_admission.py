from collections.abc import Callable

import pytest
from timelines import (
    DEATH_UNDATED,
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
from midrc_ml.tasks.admission import admission_within_horizon

IN_HOSPITAL = "excluded: not at risk: in hospital on the day of the study"
NOT_FOLLOWED = "missing: nothing is recorded of the case at or after the horizon"
NO_STAY = "missing: no hospital stay on record"
DIED = "excluded: died within 14 days without hospital_stay"


def test_positive_is_a_stay_that_starts_after_the_day_of_the_film_and_by_the_horizon() -> None:
    starts = [(3, IN_HOSPITAL), (4, 1.0), (17, 1.0), (17.5, 0.0), (18, 0.0)]
    lines = [([stay(start, start)], 3, expected) for start, expected in starts]
    assert wrong(admission_within_horizon, *lines, horizon_days=14) == []


def test_an_admission_on_the_day_of_the_film_counts_as_the_setting_says() -> None:
    lines = [([stay(3, 9)], 3), ([stay(3.8, 9)], 3.2), ([stay(3.2, 9)], 3.8)]
    for first_day, expected in ((1, IN_HOSPITAL), (0, 1.0)):
        answers = [(*line, expected) for line in lines]
        assert wrong(admission_within_horizon, *answers, horizon_days=14, first_day=first_day) == []


def test_at_risk_is_a_film_outside_every_stay() -> None:
    two = [stay(0, 10), stay(40, 50)]
    days = [
        (0, IN_HOSPITAL),
        (10, IN_HOSPITAL),
        (10.5, IN_HOSPITAL),
        (11, 0.0),
        (26, 1.0),
        (25, 0.0),
        (45, IN_HOSPITAL),
    ]
    assert wrong(admission_within_horizon, *((two, day, expected) for day, expected in days), horizon_days=14) == []


def test_in_an_open_stay_it_is_not_known_whether_the_patient_is_in_hospital() -> None:
    events = [stay(0, 5), open_stay(5), stay(40, 50)]
    days = [(3, IN_HOSPITAL), (5, IN_HOSPITAL), (6, STILL_OPEN), (39, STILL_OPEN), (40, IN_HOSPITAL), (-3, 1.0)]
    assert wrong(admission_within_horizon, *((events, day, expected) for day, expected in days), horizon_days=14) == []


def test_a_negative_needs_stays_on_record_and_something_at_the_horizon_or_later() -> None:
    lines = [
        ([], 3, NO_STAY),
        ([covid_test(300, "Negative")], 3, NO_STAY),
        ([stay(-9, -5)], 3, NOT_FOLLOWED),
        ([stay(-9, -5), covid_test(16, "Negative")], 3, NOT_FOLLOWED),
        ([stay(-9, -5), covid_test(17, "Negative")], 3, 0.0),
        ([stay(20, 21)], 3, 0.0),
        ([stay(None, 9), stay(20, 21)], 3, "missing: hospital_stay without a usable day on record"),
        ([stay(20, 21)], None, "missing: the study has no day"),
    ]
    assert wrong(admission_within_horizon, *lines, horizon_days=14) == []


def test_a_site_that_sends_stays_may_be_taken_to_send_all() -> None:
    lines = [([covid_test(17, "Negative")], 3, 0.0), ([covid_test(16, "Negative")], 3, NOT_FOLLOWED)]
    assert wrong(admission_within_horizon, *lines, horizon_days=14, evidence="site") == []
    tables = tables_of(covid_test(300, "Negative"))
    nothing = admission_within_horizon(tables, studies_on(3), horizon_days=14, evidence="site")
    assert told(nothing) == ["missing: the site dates no hospital_stay"]


@pytest.mark.parametrize(("competing_event", "expected"), [("negative", 0.0), ("positive", 1.0), ("exclude", DIED)])
def test_death_without_admission_counts_as_the_setting_says(competing_event: str, expected: float | str) -> None:
    earlier = stay(-9, -5)
    lines = [
        ([earlier, death(3)], 3, expected),
        ([earlier, death(17)], 3, expected),
        ([earlier, death(18)], 3, 0.0),
        ([earlier, stay(5, 9, "Deceased"), death(9)], 3, 1.0),
        ([earlier, death(2)], 3, "excluded: not at risk: died before the day of the study"),
    ]
    assert wrong(admission_within_horizon, *lines, horizon_days=14, competing_event=competing_event) == []


def test_a_death_without_a_day_may_have_come_before_the_horizon() -> None:
    events = [stay(-9, -5), death(None)]
    followed = [*events, covid_test(17, "Negative")]
    said = [stay(-9, -5, "Expired")]
    lines = [(events, 3, DEATH_UNDATED), (followed, 3, 0.0), (said, 3, DEATH_UNDATED)]
    assert wrong(admission_within_horizon, *lines, horizon_days=14) == []


@pytest.mark.parametrize("competing_event", ["positive", "exclude"])
def test_a_cohort_without_deaths_is_refused_where_they_make_a_difference(competing_event: str) -> None:
    settings = {"horizon_days": 14, "competing_event": competing_event}
    with pytest.raises(InputError, match=rf"label\.competing_event={competing_event} needs death \(no file holds it\)"):
        admission_within_horizon(without("death"), ONE_ROW, **settings)
    answers = admission_within_horizon(without("death"), ONE_ROW, horizon_days=14, competing_event="negative")
    assert told(answers) == ["missing: the site dates no hospital_stay"]


UNRECORDED = "missing: intensive care or ventilation without a hospital stay on record"


@pytest.mark.parametrize("care", [icu, ventilation])
def test_intensive_care_that_lies_in_no_stay_shows_that_a_stay_is_not_on_record(care: Callable[..., dict]) -> None:
    # Stays before and long after, followed beyond the horizon: without the care each of these is a 0.
    known = [stay(-9, -5), stay(100, 105)]
    lines = [
        ([*known], 5, 0.0),
        ([*known, care(8, 9)], 5, UNRECORDED),
        ([*known, care(19, 30)], 5, UNRECORDED),
        ([*known, care(19.5, 30)], 5, 0.0),
        ([*known, care(8, None)], 5, UNRECORDED),
        # On the day of the film, by whole days.
        ([*known, care(4, 9)], 5, UNRECORDED),
        ([*known, care(4, 5)], 5.5, UNRECORDED),
        ([*known, care(5, 5)], 5, UNRECORDED),
        ([*known, care(3, 4)], 5, 0.0),
        # Without an end it may go on until the next stay.
        ([*known, care(2, None)], 5, UNRECORDED),
        ([*known, care(2, None), stay(3, 4)], 5, 0.0),
        ([*known, care(-20, None)], 5, 0.0),
        # Part of a stay, or of one that begins the day after.
        ([*known, care(-7, -6)], 5, 0.0),
        ([*known, care(-12, -9)], 5, 0.0),
        ([*known, care(-10, None)], 5, 0.0),
        ([*known, stay(8, 9), care(7, 8)], 5, 1.0),
        ([*known, stay(8, 9), care(7, None)], 5, 1.0),
        ([*known, stay(8, 9), care(7, None)], 7, 1.0),
        # An admission on record is one, whatever is missing of another; who is in intensive care is not at risk.
        ([*known, stay(8, 9), care(12, 13)], 5, 1.0),
        ([*known, stay(8, 9), care(4, 6)], 5, UNRECORDED),
        # It goes before a death "without admission".
        ([*known[:1], care(8, 9), death(9)], 5, UNRECORDED),
    ]
    assert wrong(admission_within_horizon, *lines, horizon_days=14) == []
    later_that_day = [([*known, care(5, 9)], 5, UNRECORDED), ([stay(5, 8), care(5, 6)], 5, 1.0)]
    assert wrong(admission_within_horizon, *later_that_day, horizon_days=14, first_day=0) == []


NO_TABLES, ONE_ROW = tables_of(), studies_on(3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"horizon_days": 0}, "horizon_days=0"),
        ({"first_day": 2}, "first_day=2"),
        ({"evidence": "none"}, "label.evidence is 'none'; it must be one of case, site"),
        ({"competing_event": "censor"}, "label.competing_event is 'censor'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        admission_within_horizon(NO_TABLES, ONE_ROW, **{"horizon_days": 14, **settings})
