"""COVID-19 at imaging: what the tests near the study say.

The distance is `days_from_test_to_study`: day of the study minus day of the test, in whole days, positive = imaged
after the test. MIDRC's own `days_from_study_to_*` fields have the opposite sign.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tables.schemas import TEST_RESULT
from midrc_ml.tasks.at_risk import NO_DAY
from midrc_ml.tasks.decisions import Decision, any_of_row, check_choice, decide, otherwise

# Least and greatest days_from_test_to_study, both included.
WINDOWS: dict[str, tuple[float, float]] = {
    # MIDRC's COVIDx challenge 2022: COVID19_Challenges, COVIDx_Challenge_Study_Selection.ipynb.
    "covidx2022": (0, 14),
    # MIDRC's mRALE Mastermind challenge 2023: films within 2 days after a positive test.
    "mrale": (0, 2),
    # MIDRC's tutorials: imaging within 7 days after the test.
    "week": (0, 7),
}
_SAME_DAY = ("positive", "negative", "exclude", "missing")
_CONFLICT = "tests of the nearest day contradict each other"


def covid_at_imaging(
    tables: Tables,
    rows: pd.DataFrame,
    *,
    window: str | Sequence[float],
    same_day: Literal["positive", "negative", "exclude", "missing"] = "exclude",
    nearest: Literal["absolute", "latest"] = "absolute",
    methods: Sequence[str] | None = None,
) -> pd.DataFrame:
    """1 or 0 as the test nearest to the study is positive or negative; missing without one in the window.

    Indeterminate, unreported and undated tests never count.

    window: a name of `WINDOWS`, or [least, greatest] days_from_test_to_study.
    same_day: what tests of the nearest day that contradict each other count as.
    nearest: `absolute` = the test fewest days before or after the study; `latest` = the last test in the window.
        The two differ only where the window reaches to tests after the study.
    methods: the tests that count (`RT-PCR`, `Rapid antigen test`, as in the events' `name`); all if null.

    Raises:
        InputError: a setting that makes no sense, or a test with a result that is no known word.
    """
    low, high = _bounds(window)
    check_choice("same_day", same_day, _SAME_DAY)
    check_choice("nearest", nearest, ("absolute", "latest"))
    tests = _tests(tables, methods)
    count = len(rows)
    at = pd.DataFrame({"row": np.arange(count), "case_id": rows["case_id"].to_numpy(), "day": rows["day"].to_numpy()})
    pairs = at.merge(tests, on="case_id")
    tested = np.isin(at["row"].to_numpy(), pairs["row"].to_numpy())
    pairs["distance"] = np.floor(pairs["day"]) - np.floor(pairs["start_day"])
    pairs = pairs[(pairs["distance"] >= low) & (pairs["distance"] <= high)]
    telling = pairs[pairs["value"].isin(["positive", "negative"])]
    rank = telling["distance"].abs() if nearest == "absolute" else telling["distance"]
    telling = telling[rank == rank.groupby(telling["row"]).transform("min")]
    positive = any_of_row(telling["row"], telling["value"] == "positive", count)
    negative = any_of_row(telling["row"], telling["value"] == "negative", count)
    conflict = positive & negative

    decisions: list[Decision] = [
        (~tested, "missing", "no COVID test on record"),
        (rows["day"].isna().to_numpy(), "missing", NO_DAY),
    ]
    if same_day in ("positive", "negative"):
        decisions.append((conflict, "label", float(same_day == "positive")))
    else:
        decisions.append((conflict, "excluded" if same_day == "exclude" else "missing", _CONFLICT))
    unclear = np.isin(at["row"].to_numpy(), pairs["row"].to_numpy())
    decisions += [
        (positive, "label", 1.0),
        (negative, "label", 0.0),
        (unclear, "missing", "only indeterminate or unreported tests in the window"),
        (otherwise(rows.index), "missing", "no test in the window"),
    ]
    return decide(decisions, rows.index)


def _bounds(window: str | Sequence[float]) -> tuple[float, float]:
    if isinstance(window, str) and window in WINDOWS:
        return WINDOWS[window]
    given = window if isinstance(window, Sequence) and not isinstance(window, str) else ()
    bounds = [float(bound) for bound in given if isinstance(bound, int | float) and np.isfinite(bound)]
    if len(given) != 2 or len(bounds) != 2 or bounds[0] > bounds[1]:
        raise InputError(
            f"label.window is {window!r}; it must be {', '.join(WINDOWS)}, or [least, greatest] days from test to study"
        )
    return bounds[0], bounds[1]


def _tests(tables: Tables, methods: Sequence[str] | None) -> pd.DataFrame:
    """case_id, start_day and value (in lower case) of the tests that count by their method."""
    events = tables.events
    tests = events.loc[events["kind"] == "covid_test", ["case_id", "name", "start_day", "value"]]
    tests["value"] = tests["value"].str.casefold()
    unknown = tests["value"].notna() & ~tests["value"].isin([word.casefold() for word in TEST_RESULT])
    if unknown.any():
        raise InputError(
            f"covid_test: {int(unknown.sum())} results in the {tables.origin} are none of {', '.join(TEST_RESULT)}; "
            f"map them to these words where the cohort is read"
        )
    if methods is None:
        return tests
    found = set(tests["name"].dropna())
    absent = sorted(set(methods) - found)
    if isinstance(methods, str) or absent:
        raise InputError(
            f"label.methods is {methods!r}; it must be a list of methods of the tests in the {tables.origin}: "
            f"{', '.join(sorted(found)) or 'none is named there'}"
        )
    return tests[tests["name"].isin(list(methods))]
