"""Label time: what is told anew from the events, and inputs that are known too late."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from midrc_ml.audits.label_time import column_tells, distance_entry, event_kinds, inputs_entry
from midrc_ml.audits.label_windows import alternatives, windows_entry
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import Selection
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.tables.checks import checked_table
from midrc_ml.tables.schemas import CASES, EVENTS, READINGS, SERIES, STUDIES
from midrc_ml.tasks.covid import covid_at_imaging
from midrc_ml.tasks.flags import flag
from midrc_ml.tasks.outcomes import event_within_horizon
from midrc_ml.tasks.readings import reading
from midrc_ml.tasks.task import Task

NUM_CASES = 40


def _task(label: Any, *, needs: tuple[str, ...] = ("cases",), kind: Any = "binary") -> Task:
    return Task(
        name="asked", version=1, question="?", source="test", kind=kind, label=label, metrics={"auroc": auroc},
        needs=needs, selection=Selection(modalities=["DX"]),
    )  # fmt: skip


ICU = _task(
    functools.partial(event_within_horizon, event="icu_stay", horizon_days=14),
    needs=("cases", "hospital_stay", "icu_stay"),
)


def _cohort(
    icu_days: dict[int, float], *, events: list[dict] | None = None, readings: list[dict] | None = None
) -> Tables:
    """Cases 0.. with a stay of days 0 to 30, a film on day 5, and ICU from these days on for two days."""
    stays = [
        {"case_id": str(n), "kind": "hospital_stay", "start_day": 0, "end_day": 30, "value": "Home or Self Care"}
        for n in range(NUM_CASES)
    ]
    icu = [{"case_id": str(n), "kind": "icu_stay", "start_day": day, "end_day": day + 2} for n, day in icu_days.items()]
    names = [str(n) for n in range(NUM_CASES)]
    given = {
        CASES: [{"case_id": n, "patient_id": n, "site": "A", "icu_ever": int(n) in icu_days} for n in names],
        STUDIES: [{"study_id": f"s{n}", "case_id": n, "day": 5, "modality": "DX"} for n in names],
        SERIES: [{"series_id": f"e{n}", "study_id": f"s{n}", "modality": "DX", "file": f"/f/{n}"} for n in names],
        EVENTS: [*stays, *icu, *(events or [])],
        READINGS: readings or [],
    }
    checked = {
        table.name: checked_table(pd.DataFrame(rows), table, where="test") for table, rows in given.items() if rows
    }
    return replace(Tables.checked(origin="test"), **checked)


def _studies(label: dict[int, float], day: float = 5.0) -> pd.DataFrame:
    numbers = list(label)
    return pd.DataFrame(
        {
            "study_id": [f"s{n}" for n in numbers],
            "case_id": [str(n) for n in numbers],
            "patient_id": [str(n) for n in numbers],
            "part": "train",
            "day": day,
            "label": [float(value) for value in label.values()],
        }
    )


def test_films_before_the_event_pass_and_their_distance_is_told() -> None:
    icu_days = {n: 6.0 + n % 3 for n in range(20)}
    entry = distance_entry(ICU, _cohort(icu_days), _studies({n: n < 20 for n in range(NUM_CASES)}))
    assert (entry.check, entry.status, entry.value) == ("label_time", "pass", 0.0)
    assert entry.details[0]["begins later"] == 20
    assert (entry.details[0]["least days"], entry.details[0]["median days"], entry.details[0]["most days"]) == (1, 2, 3)


def test_a_film_after_the_event_began_fails_whatever_its_label() -> None:
    cohort = _cohort({0: 4.0, 1: 5.0, 2: 6.0})  # a day before the film, on its day, a day after it
    entry = distance_entry(ICU, cohort, _studies({0: 1, 1: 1, 2: 1, 3: 0}))
    assert (entry.status, entry.value) == ("fail", 2.0)
    assert entry.evidence.startswith("2 of 4 studies (2 of 3 positives) show a patient in whom icu_stay had begun")
    same_day_counts_after = replace(ICU, label=functools.partial(ICU.label, first_day=0))
    assert distance_entry(same_day_counts_after, cohort, _studies({0: 1, 1: 1, 2: 1})).value == 1.0


def test_an_event_that_ended_before_the_film_is_no_fault() -> None:
    assert distance_entry(ICU, _cohort({0: 1.0}), _studies({0: 0, 1: 0})).value == 0.0


def test_a_death_on_the_day_of_the_film_came_after_it() -> None:
    task = replace(ICU, label=functools.partial(event_within_horizon, event="death", horizon_days=30))
    deaths = [{"case_id": str(n), "kind": "death", "start_day": day} for n, day in ((0, 5.0), (1, 9.0))]
    cohort = _cohort({}, events=deaths)
    assert distance_entry(task, cohort, _studies({0: 1, 1: 1, 2: 0})).status == "pass"
    early = [{"case_id": "0", "kind": "death", "start_day": 4.0}]
    assert distance_entry(task, _cohort({}, events=early), _studies({0: 1, 1: 0})).value == 1.0


def test_an_undated_flag_warns_and_tells_what_events_and_readers_know() -> None:
    task = _task(functools.partial(flag, column="icu_ever"))
    assert event_kinds(task) == ["icu_stay"]
    noted = [{"study_id": "s1", "reader": "r", "name": "in_icu", "value": 1}]
    entry = distance_entry(task, _cohort({0: 4.0}, readings=noted), _studies({0: 1, 1: 1, 2: 1, 3: 0}))
    assert (entry.status, entry.value) == ("warn", 2.0)
    assert "of 3 positives 1 have a dated event" in entry.evidence
    assert "2 of 4 studies (2 of 3 positives) show a patient in whom icu_stay had begun" in entry.evidence


def test_a_label_that_is_read_off_the_image_has_no_time_between() -> None:
    task = _task(functools.partial(reading, name="score"), needs=("cases", "readings"), kind="regression")
    assert distance_entry(task, _cohort({}), _studies({0: 1, 1: 0})).status == "not_applicable"


def test_days_of_few_patients_are_not_quoted() -> None:
    entry = distance_entry(ICU, _cohort(dict.fromkeys(range(10), 7.0)), _studies(dict.fromkeys(range(10), 1)))
    assert entry.details[0]["median days"] is None


def test_windows_count_what_others_would_label_otherwise() -> None:
    # ICU on days 1, 3, 10 and 20 after the film.
    cohort = _cohort({0: 6.0, 1: 8.0, 2: 15.0, 3: 25.0})
    used = _studies({0: 1, 1: 1, 2: 1, 3: 0, **dict.fromkeys(range(4, NUM_CASES), 0)})
    entry = windows_entry(ICU, cohort, used, image_files="if any")
    flips = {row["setting"]: (row["flip"], row["positive"]) for row in entry.details}
    assert flips["horizon_days=2"] == (2, 1)
    assert flips["horizon_days=7"] == (1, 2)
    assert flips["horizon_days=13"] == (0, 3)
    assert flips["horizon_days=28"] == (1, 4)
    assert entry.status == "pass"


def test_films_of_the_day_of_the_event_are_a_choice_that_is_told() -> None:
    on_the_day = dict.fromkeys(range(10), 5.0)
    cohort = _cohort(on_the_day)
    task = replace(ICU, label=functools.partial(ICU.label, first_day=0))
    entry = windows_entry(task, cohort, _studies({n: n < 10 for n in range(NUM_CASES)}), image_files="if any")
    row = next(row for row in entry.details if row["setting"] == "first_day=1")
    assert (row["leave"], row["flip"]) == (10, 0)
    assert (entry.status, entry.value) == ("warn", 0.25)


def test_windows_of_tests_are_those_of_the_challenges() -> None:
    task = _task(functools.partial(covid_at_imaging, window="week"))
    assert alternatives(task) == [{"window": "covidx2022"}, {"window": "mrale"}]
    assert windows_entry(_task(functools.partial(flag, column="died")), _cohort({}), _studies({0: 1, 1: 0}),
                         image_files="if any").status == "not_applicable"  # fmt: skip


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0] * 20 + [1.0] * 20, 1.0),  # a number that is the label
        ([None] * 20 + [3.0] * 20, 1.0),  # known of positives alone
        (["no"] * 20 + ["yes"] * 20, 1.0),  # a word that is the label
        ([1.0, 2.0] * 20, 0.0),  # says nothing
        ([0.0] * 15 + [1.0] * 5 + [0.0] * 5 + [1.0] * 15, 0.5),  # AUROC 0.75
    ],
)
def test_what_a_column_tells_is_that_by_hand(values: list, expected: float) -> None:
    label = np.r_[np.zeros(20), np.ones(20)]
    assert column_tells(pd.Series(values), label) == pytest.approx(expected)


def _answers(name: str, values: dict[int, str | None], *, day: float | None = None) -> list[dict]:
    return [
        {"case_id": str(n), "kind": "observation", "name": name, "start_day": day, "value": value}
        for n, value in values.items()
    ]


def test_columns_that_are_known_later_are_named_by_the_cohorts_own_names_and_by_what_they_tell() -> None:
    label = {n: n < 20 for n in range(NUM_CASES)}
    events = [
        *_answers("invasive_vent_days", dict.fromkeys(range(20), "4")),
        *_answers("a secret copy", {n: str(int(n < 20)) for n in range(NUM_CASES)}),
        *_answers("cough", {n: str(n % 2) for n in range(NUM_CASES)}),
        *_answers("of tomorrow", {n: str(int(n < 20)) for n in range(NUM_CASES)}, day=6.0),
    ]
    task = _task(functools.partial(flag, column="icu_ever"))
    entry = inputs_entry(task, _cohort({}, events=events), _studies(label), None)
    assert (entry.status, entry.value) == ("warn", 2.0)
    assert {row["column"]: row["why"] for row in entry.details} == {
        "invasive_vent_days": "known later",
        "a secret copy": "tells the label",
    }
    assert "already the pattern of missing values tells the label" in entry.evidence


def test_an_input_of_the_run_that_is_the_label_fails() -> None:
    label = {n: n < 20 for n in range(NUM_CASES)}
    read = pd.DataFrame({"age": np.arange(NUM_CASES) % 7, "leak": [float(value) for value in label.values()]})
    task = _task(functools.partial(flag, column="icu_ever"))
    entry = inputs_entry(task, _cohort({}), _studies(label), read)
    assert (entry.status, entry.value) == ("fail", 1.0)
    assert "leak" in entry.evidence
    assert inputs_entry(task, _cohort({}), _studies(label), read[["age"]]).status == "pass"
