from functools import partial

import numpy as np
import pandas as pd
import pytest
from timelines import (
    DATED_THERE,
    ENDED_UNKNOWN,
    ON_OR_BEFORE,
    OUTSIDE,
    STILL_OPEN,
    Line,
    covid_test,
    death,
    icu,
    open_stay,
    stay,
    studies_on,
    tables_of,
    without,
    wrong,
)

from midrc_ml.errors import InputError
from midrc_ml.tasks.durations import length_of_stay, time_to_event

time_to_icu = partial(time_to_event, event="icu_stay")
NOT_FOLLOWED = "missing: nothing is recorded after the study"
DEATH_NOT_DATED = "missing: the hospital stay ended in death, of which no day in it is on record"
DIED = "excluded: died in the hospital stay"
UNDATED = "missing: icu_stay without a usable day on record"


def test_the_length_is_from_the_film_to_live_discharge_or_from_admission() -> None:
    lines = [
        ([stay(0, 10)], 3, 7.0, 10.0),
        ([stay(0, 10)], 10, 0.0, 10.0),
        ([stay(0, 10)], -1, 11.0, 10.0),
        ([stay(0, 10)], 3.5, 6.5, 10.0),
        ([stay(0, 10)], 10.5, 0.0, 10.0),
        ([stay(0, 5, "Short Term Hospital"), stay(5, 10)], 3, 7.0, 10.0),
        ([stay(0, 10), stay(20, 22)], 20, 2.0, 2.0),
        ([stay(0, 10)], 11, OUTSIDE, OUTSIDE),
        ([stay(0, 10)], None, *["missing: the study has no day"] * 2),
        ([], 3, *["missing: no hospital stay on record"] * 2),
    ]
    for measure, column in (("remaining", 2), ("total", 3)):
        answers = ((line[0], line[1], line[column]) for line in lines)
        assert wrong(length_of_stay, *answers, measure=measure) == []


def test_a_stay_that_is_open_has_no_length_yet() -> None:
    lines = [
        ([open_stay(0)], 3, STILL_OPEN),
        ([open_stay(0), stay(20, 30)], 3, STILL_OPEN),
        ([open_stay(0), stay(20, 30)], 21, 9.0),
        ([stay(0, 9), open_stay(9)], 3, STILL_OPEN),
    ]
    assert wrong(length_of_stay, *lines) == []


@pytest.mark.parametrize("competing_event", ["exclude", "discharge"])
def test_death_in_the_stay_is_no_discharge_unless_the_setting_says_so(competing_event: str) -> None:
    def either(excluded: str, days: float) -> float | str:
        return excluded if competing_event == "exclude" else days

    lines = [
        ([stay(0, 10, "Deceased"), death(10)], 3, either(DIED, 7.0)),
        ([open_stay(0), death(9)], 3, either(DIED, 6.0)),
        ([stay(0, 10, None)], 3, either(ENDED_UNKNOWN, 7.0)),
        ([stay(0, 10), death(11)], 3, 7.0),
        ([stay(0, 10), stay(20, 22, "Deceased"), death(22)], 3, 7.0),
    ]
    assert wrong(length_of_stay, *lines, competing_event=competing_event) == []


@pytest.mark.parametrize("word", ["Deceased", "died", "EXPIRED", "dead", "Death"])
def test_a_stay_that_says_died_is_no_live_discharge_without_a_death_on_record(word: str) -> None:
    lines = [
        ([stay(0, 10, word)], 3, DEATH_NOT_DATED, 7.0),
        ([stay(0, None, word)], 3, DEATH_NOT_DATED, STILL_OPEN),
        ([stay(0, 10, word), stay(20, 22)], 3, DEATH_NOT_DATED, 7.0),
        ([stay(0, 10, word), death(None)], 3, DEATH_NOT_DATED, 7.0),
        ([stay(0, 10, word), death(12)], 3, DEATH_NOT_DATED, 7.0),
        ([stay(0, 10, word), death(10)], 3, DIED, 7.0),
        # The death is of the other stay.
        ([stay(0, 10), stay(20, 22, word)], 3, 7.0, 7.0),
        ([stay(0, 10), death(None)], 3, 7.0, 7.0),
    ]
    for competing_event, column in (("exclude", 2), ("discharge", 3)):
        answers = ((line[0], line[1], line[column]) for line in lines)
        assert wrong(length_of_stay, *answers, competing_event=competing_event) == []


def test_a_cohort_without_deaths_is_refused_where_they_are_excluded() -> None:
    for rule, other in ((length_of_stay, "discharge"), (time_to_icu, "censor")):
        with pytest.raises(InputError, match=r"label\.competing_event=exclude needs death \(no file holds it\)"):
            rule(without("death"), ONE_ROW, competing_event="exclude")
        assert rule(without("death"), ONE_ROW, competing_event=other)["missing"].notna().all()


def wrong_times(*lines: tuple[list[dict], float, float | str, float], **settings: object) -> list[str]:
    """As `wrong`, of `time_to_icu`; each line ends with the time in days, NaN where there is no label."""
    kept: list[pd.DataFrame] = []

    def labels(*arguments: object, **given: object) -> pd.DataFrame:
        kept.append(time_to_icu(*arguments, **given))
        return kept[-1].drop(columns="time")

    answers: list[Line] = [(events, day, expected) for events, day, expected, _ in lines]
    problems = wrong(labels, *answers, **settings)
    expected = np.array([line[3] for line in lines])
    return problems + [
        f"{line}: {time}"
        for line, time, right in zip(
            lines, kept[0]["time"], np.isclose(kept[0]["time"], expected, equal_nan=True), strict=True
        )
        if not right
    ]


nan = float("nan")


def test_the_time_is_from_the_film_to_intensive_care_or_to_live_discharge() -> None:
    lines = [
        ([stay(0, 30), icu(8)], 3, 1.0, 5),
        ([stay(0, 30), icu(8), icu(12)], 3, 1.0, 5),
        ([stay(0, 30), icu(8)], -1, 1.0, 9),
        ([stay(0, 30), icu(8.25)], 3.5, 1.0, 4.75),
        ([stay(0, 30)], 3, 0.0, 27),
        ([stay(0, 30, None)], 3, 0.0, 27),
        ([stay(0, 5, "Short Term Hospital"), stay(5, 30)], 3, 0.0, 27),
        # After discharge nobody watches: intensive care in the next stay is not seen from this one.
        ([stay(0, 10), stay(12, 30), icu(15)], 3, 0.0, 7),
        ([stay(0, 10), icu(5), stay(12, 30), icu(15)], 13, 1.0, 2),
        ([stay(0, 30), icu(3)], 3, ON_OR_BEFORE, nan),
        ([stay(0, 30), icu(None)], 3, UNDATED, nan),
        ([stay(0, 30)], 31, OUTSIDE, nan),
        ([stay(0, 30)], 30, NOT_FOLLOWED, nan),
        ([], 3, "missing: no hospital stay on record", nan),
        ([stay(0, 30)], nan, "missing: the study has no day", nan),
    ]
    assert wrong_times(*lines) == []


def test_an_event_on_the_day_of_the_film_has_time_0_where_it_counts() -> None:
    lines = [
        ([stay(0, 30), icu(3)], 3, 1.0, 0),
        ([stay(0, 30), icu(3)], 3.5, 1.0, 0),
        ([stay(0, 30), icu(3.7)], 3.5, 1.0, 0.2),
    ]
    assert wrong_times(*lines, first_day=0) == []


def test_an_open_stay_is_censored_at_the_last_record_before_the_next_stay() -> None:
    lines = [
        ([open_stay(0)], 3, NOT_FOLLOWED, nan),
        ([open_stay(0), icu(8)], 3, 1.0, 5),
        ([open_stay(0), covid_test(9, "Negative")], 3, 0.0, 6),
        ([open_stay(0), covid_test(2, "Negative")], 3, NOT_FOLLOWED, nan),
        ([open_stay(0), covid_test(9, "Negative"), stay(20, 30)], 3, 0.0, 6),
        ([open_stay(0), stay(20, 30), icu(22)], 3, NOT_FOLLOWED, nan),
        ([stay(0, 8), open_stay(8)], 3, 0.0, 5),
        ([open_stay(0), icu(10), stay(20, 30)], 25, ON_OR_BEFORE, nan),
    ]
    assert wrong_times(*lines) == []


def test_a_later_film_of_the_case_is_a_record_of_it() -> None:
    rows = studies_on(3, 11)
    tables = tables_of(*DATED_THERE, open_stay(0), studies=rows[["study_id", "case_id", "day"]])
    result = time_to_icu(tables, rows)
    assert result["time"].tolist()[0] == 8
    assert result["missing"].tolist() == [None, NOT_FOLLOWED.removeprefix("missing: ")]


@pytest.mark.parametrize("competing_event", ["censor", "exclude"])
def test_death_in_the_stay_censors_or_excludes_as_the_setting_says(competing_event: str) -> None:
    def either(days: float, reason: str) -> tuple[float | str, float]:
        return (0.0, days) if competing_event == "censor" else (reason, nan)

    died = "excluded: died in the hospital stay without icu_stay"
    lines = [
        ([stay(0, 10, "Deceased"), death(10)], 3, *either(7, died)),
        ([open_stay(0), death(9)], 3, *either(6, died)),
        ([stay(0, 10, None)], 3, *either(7, ENDED_UNKNOWN)),
        ([stay(0, 10, "Expired")], 3, *either(7, DEATH_NOT_DATED)),
        ([stay(0, 10, "Expired"), icu(5)], 3, 1.0, 2),
        ([stay(0, 10, "Deceased"), icu(5), death(10)], 3, 1.0, 2),
        ([stay(0, 10), death(12)], 3, 0.0, 7),
    ]
    assert wrong_times(*lines, competing_event=competing_event) == []


def test_a_site_that_dates_no_intensive_care_has_no_time_to_it() -> None:
    result = time_to_icu(tables_of(stay(0, 30)), studies_on(3))
    assert result["missing"].tolist() == ["the site dates no icu_stay"]
    assert result["time"].isna().all()


NO_TABLES, ONE_ROW = tables_of(), studies_on(3)


@pytest.mark.parametrize(
    ("rule", "settings", "words"),
    [
        (length_of_stay, {"measure": "days"}, "label.measure is 'days'; it must be one of remaining, total"),
        (length_of_stay, {"competing_event": "censor"}, "label.competing_event is 'censor'"),
        (length_of_stay, {"lead_days": -1}, "lead_days=-1"),
        (time_to_icu, {"competing_event": "negative"}, "label.competing_event is 'negative'"),
        (time_to_icu, {"event": ["icu_stay", "ventilation"]}, "time_to_event takes one kind of event"),
        (time_to_icu, {"event": "death"}, "time_to_event takes one kind of event, and not death"),
        (time_to_icu, {"first_day": 2}, "first_day=2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(rule: partial, settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        rule(NO_TABLES, ONE_ROW, **settings)
