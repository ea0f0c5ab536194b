import numpy as np
import pandas as pd
import pytest
from timelines import death, icu, open_stay, stay, studies_on, tables_of

from midrc_ml.tasks.stays import hospital_stays, recorded_days, with_stays

ENDLESS = np.inf


def stays_of(*rows: dict) -> list[tuple]:
    """(start, end, is_open, seen_until, look_back, outcome_known) of each stay; the same in any order of rows."""
    return list(frame_of(*rows).drop(columns=["case_id", "says_died"]).itertuples(index=False, name=None))


def frame_of(*rows: dict) -> pd.DataFrame:
    events = tables_of(*rows).events
    found = [hospital_stays(frame) for frame in (events, events[::-1])]
    pd.testing.assert_frame_equal(*found)
    return found[0]


def test_rows_that_overlap_or_touch_are_one_stay_and_others_are_not() -> None:
    rows = [stay(8, 9), stay(0, 3), stay(3, 6), stay(1, 2), stay(0, 3)]
    assert stays_of(*rows) == [(0, 6, False, 6, 0, True), (8, 9, False, 9, 8, True)]
    within = [stay(0, 10), stay(2, 4), stay(9, 12)]
    assert stays_of(*within) == [(0, 12, False, 12, 0, True)]


def test_stays_of_two_cases_are_never_one() -> None:
    events = tables_of(stay(0, 10), open_stay(0, of="d"), stay(5, 6, of="e")).events
    stays = hospital_stays(events)
    assert stays[["case_id", "start", "end"]].to_numpy().tolist() == [["c", 0, 10], ["d", 0, ENDLESS], ["e", 5, 6]]


def test_an_open_row_reaches_to_the_next_row_at_most() -> None:
    assert stays_of(open_stay(0), stay(20, 30)) == [(0, 20, True, 0, 0, False), (20, 30, False, 30, 0, True)]
    assert stays_of(open_stay(0)) == [(0, ENDLESS, True, 0, 0, False)]
    three = [open_stay(0), open_stay(5), stay(20, 30), stay(40, 50)]
    assert stays_of(*three) == [
        (0, 5, True, 0, 0, False),
        (5, 20, True, 5, 0, False),
        (20, 30, False, 30, 0, True),
        (40, 50, False, 50, 40, True),
    ]


def test_an_open_row_is_the_same_stay_as_a_row_of_that_day_that_has_an_end() -> None:
    assert stays_of(open_stay(0), stay(0, 8), stay(20, 21)) == [
        (0, 8, False, 8, 0, True),
        (20, 21, False, 21, 20, True),
    ]
    assert stays_of(open_stay(0), open_stay(0)) == [(0, ENDLESS, True, 0, 0, False)]
    # A visit of the emergency department that ended that day does not end the stay that follows it.
    assert stays_of(open_stay(0), stay(0, 0)) == [(0, ENDLESS, True, 0, 0, False)]


def test_a_stay_with_an_open_row_in_it_is_seen_as_long_as_its_other_rows_say() -> None:
    assert stays_of(stay(0, 10), open_stay(5)) == [(0, ENDLESS, True, 10, 0, False)]
    assert stays_of(stay(0, 10), open_stay(10), stay(30, 31)) == [
        (0, 30, True, 10, 0, False),
        (30, 31, False, 31, 0, True),
    ]
    # The open row ends where the next one starts, which is within the stay: nothing of it is open.
    assert stays_of(stay(0, 10), open_stay(5), stay(8, 20)) == [(0, 20, False, 20, 0, True)]


def test_how_a_stay_ended_is_told_by_its_last_rows_alone() -> None:
    assert [row[-1] for row in stays_of(stay(0, 5), stay(5, 8, None))] == [False]
    assert [row[-1] for row in stays_of(stay(0, 8, None), stay(5, 8))] == [True]


@pytest.mark.parametrize("word", ["Deceased", "died", "EXPIRED", " Dead ", "Death"])
def test_a_stay_says_that_it_ended_in_death_in_any_of_the_words_for_it(word: str) -> None:
    assert frame_of(stay(0, 8, word), stay(20, 21))["says_died"].tolist() == [True, False]
    assert frame_of(stay(0, 8, None), open_stay(20))["says_died"].tolist() == [False, False]
    assert not frame_of(stay(0, 8, "not dead"))["says_died"].any()
    # Whichever of its rows says so.
    for rows in (
        [stay(0, 3, word), stay(3, 8)],
        [stay(0, 8), stay(0, None, word)],
        [stay(0, 8, None), stay(0, 8, word)],
    ):
        assert frame_of(*rows)["says_died"].tolist() == [True]


def test_no_stay_at_all_is_no_row() -> None:
    assert hospital_stays(tables_of(icu(3)).events).empty
    assert with_stays(tables_of(icu(3)), studies_on(1, None), lead_days=1)["has_stay"].tolist() == [False, False]


def test_the_stay_of_a_study_is_the_sure_one_then_the_one_ahead_then_the_open_one() -> None:
    tables = tables_of(stay(0, 10), stay(11, 15), open_stay(30), stay(40, 41))
    starts = with_stays(tables, studies_on(9.9, 10, 11, 16, 30, 38, 39, 40, 29, None), lead_days=1)["start"]
    assert starts.fillna(-99).tolist() == [0, 0, 11, -99, 30, 30, 40, 40, 30, -99]


def starts_at(*events: dict, days: list[float], lead_days: float = 1) -> list[float]:
    """The start of the stay of a film on each of `days`; -99 where there is none."""
    return with_stays(tables_of(*events), studies_on(*days), lead_days=lead_days)["start"].fillna(-99).tolist()


def test_a_stay_in_whole_days_holds_the_films_of_its_last_day_at_any_hour() -> None:
    days = [20, 20.5, 20.99, 21, 0.5, -0.5, -1, -1.5]
    assert starts_at(stay(0, 20), days=days) == [0, 0, 0, -99, 0, 0, 0, -99]
    # The stay of the discharge goes before the one that begins the day after, and before another that may hold it.
    assert starts_at(stay(0, 20), stay(21, 25), days=[20, 20.5, 21.5]) == [0, 0, 21]
    assert starts_at(stay(0, 20), open_stay(20.2), days=[20.1, 20.5]) == [0, 0]
    # The hours before and after admission are told by the date, and half a day ahead is half a day.
    assert starts_at(stay(3, 20), days=[2.9, 3, 3.5], lead_days=0) == [-99, 3, 3]
    assert starts_at(stay(3, 20), days=[2.4, 2.5, 2.9], lead_days=0.5) == [-99, 3, 3]
    # Of an open stay, what is seen of it.
    assert starts_at(open_stay(0), stay(1, 9), days=[0, 0.5, 1]) == [0, 0, 1]
    assert starts_at(open_stay(0), stay(5, 9), days=[3.5, 3.9, 4, 5]) == [0, 0, 5, 5]


def test_a_stay_with_times_of_day_ends_at_its_hour() -> None:
    assert starts_at(stay(0.4, 20.3), days=[20.3, 20.5, 20]) == [0.4, -99, 0.4]
    assert starts_at(stay(0.4, 20), days=[20, 20.5]) == [0.4, -99]
    assert starts_at(stay(0, 20), stay(20.4, 25), days=[20.2, 20.6]) == [0, 20.4]


def test_a_case_that_is_seen_alive_after_its_stay_left_it_alive() -> None:
    def known(*events: dict, later_study: float | None = None) -> bool:
        study = pd.DataFrame({"study_id": ["later"], "case_id": "c", "day": [later_study]})
        at = with_stays(tables_of(stay(0, 8, None), *events, studies=study), studies_on(3), lead_days=1)
        return bool(at["outcome_known"].item())

    assert not known()
    assert known(stay(20, 21))
    assert known(death(9))
    assert known(later_study=9)
    assert not known(death(8))
    assert not known(later_study=8)
    # A result may come in after the death.
    assert not known({"case_id": "c", "kind": "laboratory", "start_day": 9})


def test_everything_that_is_dated_is_recorded_starts_ends_and_studies() -> None:
    studies = pd.DataFrame({"study_id": ["a", "b"], "case_id": "c", "day": [7, None]})
    days = recorded_days(tables_of(stay(0, None), icu(2, 3), studies=studies)).sort_values("day")
    assert days.to_numpy().tolist() == [
        ["c", "hospital_stay", 0],
        ["c", "icu_stay", 2],
        ["c", "icu_stay", 3],
        ["c", "study", 7],
    ]
