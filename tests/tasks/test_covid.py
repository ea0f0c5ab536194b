import numpy as np
import pandas as pd
import pytest
from timelines import Line, covid_test, studies_on, tables_of, wrong

from midrc_ml.errors import InputError
from midrc_ml.tasks.covid import WINDOWS, covid_at_imaging

NONE_THERE = "missing: no test in the window"
NO_TEST = "missing: no COVID test on record"
CONFLICT = "tests of the nearest day contradict each other"
UNCLEAR = "missing: only indeterminate or unreported tests in the window"


def positive(day: float | None) -> dict:
    return covid_test(day, "Positive")


def negative(day: float | None) -> dict:
    return covid_test(day, "Negative")


@pytest.mark.parametrize(("window", "last"), [("covidx2022", 14), ("mrale", 2), ("week", 7), ([0, 3], 3)])
def test_a_window_is_from_the_day_of_the_test_to_its_last_day_after_it(window: str | list, last: int) -> None:
    days = [(-1, NONE_THERE), (0, 1.0), (last, 1.0), (last + 1, NONE_THERE)]
    lines: list[Line] = [([positive(10)], 10 + day, expected) for day, expected in days]
    assert wrong(covid_at_imaging, *lines, window=window) == []


def test_the_named_windows_are_those_of_the_challenges() -> None:
    assert WINDOWS == {"covidx2022": (0, 14), "mrale": (0, 2), "week": (0, 7)}


def test_the_test_nearest_before_the_film_decides() -> None:
    lines = [
        ([positive(0), negative(5)], 5, 0.0),
        ([positive(0), negative(5)], 4, 1.0),
        ([negative(5), positive(0), negative(8)], 7, 0.0),
        ([negative(0), positive(9)], 10, 1.0),
        ([positive(0), positive(3)], 10, 1.0),
        ([positive(-20), negative(-15)], -10, 0.0),
    ]
    assert wrong(covid_at_imaging, *lines, window="covidx2022") == []


def test_tests_without_a_result_or_a_day_never_count() -> None:
    unclear = [covid_test(5, "Indeterminate"), covid_test(5, "Not Reported"), covid_test(5, None)]
    lines = [
        ([positive(0), *unclear], 5, 1.0),
        (unclear, 5, UNCLEAR),
        (unclear, 4, NONE_THERE),
        ([positive(None)], 5, NONE_THERE),
        ([], 5, NO_TEST),
        ([positive(5)], None, "missing: the study has no day"),
    ]
    assert wrong(covid_at_imaging, *lines, window="covidx2022") == []


@pytest.mark.parametrize(
    ("same_day", "expected"),
    [("positive", 1.0), ("negative", 0.0), ("exclude", f"excluded: {CONFLICT}"), ("missing", f"missing: {CONFLICT}")],
)
def test_tests_of_the_nearest_day_that_contradict_each_other_count_as_the_setting_says(
    same_day: str, expected: float | str
) -> None:
    lines = [
        ([positive(3), negative(3)], 5, expected),
        ([negative(3), positive(3)], 5, expected),
        ([negative(3.2), positive(3.9)], 5.1, expected),
        ([negative(2), positive(2), negative(3)], 5, 0.0),
        ([positive(3), positive(3), covid_test(3, "Indeterminate")], 5, 1.0),
    ]
    assert wrong(covid_at_imaging, *lines, window="covidx2022", same_day=same_day) == []


def test_fractions_of_a_day_are_of_the_same_whole_day() -> None:
    lines = [([positive(5.9)], 5.1, 1.0), ([positive(5.1)], 19.9, 1.0), ([positive(5.9)], 20.1, NONE_THERE)]
    assert wrong(covid_at_imaging, *lines, window="covidx2022") == []


def test_a_window_to_both_sides_takes_the_test_fewest_days_away_or_the_latest() -> None:
    events = [positive(8), negative(12)]
    same = [([positive(8), positive(12)], 10, 1.0), ([positive(9)], 5, NONE_THERE)]
    absolute = [(events, 9, 1.0), (events, 11, 0.0), (events, 10, f"excluded: {CONFLICT}"), *same]
    assert wrong(covid_at_imaging, *absolute, window=[-3, 3]) == []
    assert wrong(covid_at_imaging, (events, 9, 0.0), (events, 10, 0.0), *same, window=[-3, 3], nearest="latest") == []


def test_only_the_methods_asked_for_count() -> None:
    events = [covid_test(3, "Positive", method="RT-PCR"), covid_test(4, "Negative", method="Rapid antigen test")]
    lines = [(events, 5, 1.0), (events[1:], 5, NO_TEST)]
    assert wrong(covid_at_imaging, *lines, window="week", methods=["RT-PCR"]) == []
    assert wrong(covid_at_imaging, (events, 5, 0.0), window="week") == []


def test_the_labels_are_those_of_the_challenges_own_steps() -> None:
    """COVIDx_Challenge_Study_Selection.ipynb, steps 2 to 4, written again row by row, on tests without a conflict."""
    rng = np.random.default_rng(0)
    tests = pd.DataFrame({"case": rng.integers(0, 30, 200), "day": rng.integers(-20, 20, 200)})
    tests = tests.drop_duplicates()
    tests["result"] = rng.choice(["Positive", "Negative", "Indeterminate", "Not Reported"], len(tests))
    films = pd.DataFrame({"case": rng.integers(0, 30, 150), "day": rng.integers(-20, 30, 150)})
    expected = []
    for case, day in films.itertuples(index=False):
        of_case = tests[(tests["case"] == case) & tests["result"].isin(["Positive", "Negative"])]
        distance = day - of_case["day"]
        near = distance[(distance >= 0) & (distance <= 14)]
        expected.append(float(of_case.loc[near.idxmin(), "result"] == "Positive") if len(near) else None)
    cases = [{"case_id": str(case), "site": "A"} for case in range(30)]
    events = [covid_test(row.day, row.result, of=str(row.case)) for row in tests.itertuples()]
    rows = studies_on(*films["day"]).assign(case_id=films["case"].astype("str").to_numpy())
    labels = covid_at_imaging(tables_of(*events, cases=cases), rows, window="covidx2022")["label"]
    assert [None if np.isnan(label) else label for label in labels] == expected
    assert {0.0, 1.0, None} == set(expected)


NO_TABLES, ONE_ROW = tables_of(), studies_on(0)


@pytest.mark.parametrize(
    "window", ["month", None, 14, [14], [0, 1, 2], [3, 0], ["0", "14"], [0, float("nan")], [0, float("inf")]]
)
def test_a_window_that_makes_no_sense_is_refused_with_the_names_there(window: object) -> None:
    with pytest.raises(
        InputError, match=r"label.window is .*; it must be covidx2022, mrale, week, or \[least, greatest\]"
    ):
        covid_at_imaging(NO_TABLES, ONE_ROW, window=window)


def test_settings_and_results_that_no_one_knows_are_refused() -> None:
    tables = tables_of(positive(0), covid_test(0, "DETECTED"), covid_test(1, "ik"), covid_test(2, "negative"))
    with pytest.raises(InputError, match="covid_test: 2 results in the test are none of Positive, Negative, Indet"):
        covid_at_imaging(tables, ONE_ROW, window="week")
    with pytest.raises(InputError, match=r"label.same_day is 'first'; it must be one of positive, negative, exclude"):
        covid_at_imaging(NO_TABLES, ONE_ROW, window="week", same_day="first")
    with pytest.raises(InputError, match=r"label.nearest is 'first'; it must be one of absolute, latest"):
        covid_at_imaging(NO_TABLES, ONE_ROW, window="week", nearest="first")
    named = tables_of(covid_test(0, "Positive", method="RT-PCR"))
    for methods in (["PCR"], "RT-PCR"):
        with pytest.raises(InputError, match=r"label.methods is .*; it must be a list of methods .*: RT-PCR"):
            covid_at_imaging(named, ONE_ROW, window="week", methods=methods)
