"""Hospital stays of a case, put together from its visit rows, and which of them a study lies in."""

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.tables.keys import is_among

STAY_COLUMNS = ("start", "end", "is_open", "seen_until", "look_back", "outcome_known", "says_died")
# How a stay that ended in death is said to have ended, in any case of letters.
DEATH_WORDS = ("deceased", "died", "expired", "dead", "death")
# What shows that a patient was alive on its day. A test or a laboratory value may be dated after a death.
_OF_THE_LIVING = ("hospital_stay", "icu_stay", "ventilation", "death", "study")


def hospital_stays(events: pd.DataFrame) -> pd.DataFrame:
    """Hospital stays without overlap: rows of one case that overlap or touch are one stay (transfers, repeats).

    An open row (no end) is the same stay as a row of the same day that has a later end; else it reaches to the start
    of the case's next row at most, and the stay is open from what is surely seen of it to there.

    Columns:
        case_id, start, and end: the last day of the stay. That of an open stay is the start of the next stay
            (infinity = there is none) and belongs to it no more.
        is_open: how and when it ended is not recorded.
        seen_until: the last day that the case is known to be there; equal to `end` where the stay is not open.
        look_back: the start of the unbroken line of open stays before it, which may be the same stay; else its own.
        outcome_known: a last row says how it ended.
        says_died: a row of it says that it ended in death (`says_died`).
    """
    rows = events.loc[events["kind"] == "hospital_stay", ["case_id", "start_day", "end_day", "value"]]
    rows = rows.dropna(subset="start_day")
    # Whole numbers are sorted and compared much faster than names.
    rows["case"] = pd.factorize(rows["case_id"], sort=True)[0]
    rows["lasts"], rows["died"] = rows["end_day"] > rows["start_day"], says_died(rows["value"])
    same_day = rows.groupby([rows["case"], np.floor(rows["start_day"])])
    rows["died"] = same_day["died"].transform("any")
    rows = rows[~(rows["end_day"].isna() & same_day["lasts"].transform("any"))]
    rows["seen"] = rows["end_day"].fillna(rows["start_day"])
    rows = rows.sort_values(["case", "start_day", "seen"])

    case, start, seen = (rows[name].to_numpy() for name in ("case", "start_day", "seen"))
    seen_before = rows.groupby("case")["seen"].cummax().shift().to_numpy()
    first = _differs(case) | (start > seen_before)  # of its stay
    open_until = np.where(rows["end_day"].isna(), _next_start(case, start), -np.inf)

    at = np.flatnonzero(first)
    seen_until = np.maximum.reduceat(seen, at) if len(at) else seen
    open_until = np.maximum.reduceat(open_until, at) if len(at) else open_until
    is_open = open_until > seen_until
    stay = np.cumsum(first) - 1
    tells = rows["value"].notna().to_numpy() & (rows["end_day"].to_numpy() == seen_until[stay])
    after_open = np.concatenate([[False], is_open[:-1]])[: len(at)] & ~_differs(case[at])
    line = np.flatnonzero(~after_open)
    return pd.DataFrame(
        {
            "case_id": rows["case_id"].to_numpy()[at],
            "start": start[at],
            "end": np.where(is_open, open_until, seen_until),
            "is_open": is_open,
            "seen_until": seen_until,
            "look_back": start[at[line]][np.cumsum(~after_open) - 1],
            "outcome_known": np.isin(np.arange(len(at)), stay[tells]) & ~is_open,
            "says_died": np.isin(np.arange(len(at)), stay[rows["died"].to_numpy()]),
        }
    )


def says_died(values: pd.Series) -> pd.Series:
    """Whether each `value` of a hospital stay is one of `DEATH_WORDS`."""
    words = [word for word in values.dropna().unique() if word.strip().casefold() in DEATH_WORDS]
    return is_among(values, pd.Series(words, dtype="str"))


def with_stays(tables: Tables, rows: pd.DataFrame, *, lead_days: float) -> pd.DataFrame:
    """One line per row, in the order of `rows`: its number `row`, case_id, day, has_stay, and the columns of its stay.

    The stay of a row is the one that is known to hold its day; else one that begins within `lead_days` after it;
    else an open one that may hold it; else none (missing). A stay in whole days holds the last of them to its end.
    has_stay: the case has any. outcome_known is also true where the case is seen alive after the end of the stay.
    """
    stays = hospital_stays(tables.events)
    numbered = pd.DataFrame(
        {"row": np.arange(len(rows)), "case_id": rows["case_id"].to_numpy(), "day": rows["day"].to_numpy()}
    )
    pairs = numbered.merge(stays, on="case_id")
    ahead = (pairs["start"] > pairs["day"]) & (pairs["day"] >= pairs["start"] - lead_days)
    surely = (pairs["start"] <= pairs["day"]) & (pairs["day"] <= pairs["seen_until"])
    # A date says nothing of the hour: a film with a time of day may have been taken any hour before the discharge.
    in_whole_days = (pairs["start"] % 1 == 0) & (pairs["seen_until"] % 1 == 0)
    last_day = in_whole_days & (np.floor(pairs["day"]) == pairs["seen_until"])
    perhaps = pairs["is_open"] & (pairs["start"] <= pairs["day"]) & (pairs["day"] < pairs["end"])
    pairs["rank"] = np.select([surely, last_day, ahead, perhaps], [0, 1, 2, 3], 4)
    chosen = pairs[pairs["rank"] < 4].sort_values(["row", "rank", "start"]).drop_duplicates("row").set_index("row")
    at = numbered.join(chosen[list(STAY_COLUMNS)], on="row")
    days = recorded_days(tables)
    alive = at["case_id"].map(days[is_among(days["kind"], pd.Series(_OF_THE_LIVING))].groupby("case_id")["day"].max())
    return at.assign(
        has_stay=at["row"].isin(pairs["row"]),
        is_open=at["is_open"].eq(True),
        says_died=at["says_died"].eq(True),
        outcome_known=at["outcome_known"].eq(True)
        | (~at["is_open"].eq(True) & (np.floor(alive) > np.floor(at["end"]))),
        alive_until=alive,
    )


def recorded_days(tables: Tables) -> pd.DataFrame:
    """case_id, kind (of the event, or `study`) and day of everything that is dated: starts, ends, studies."""
    events = tables.events
    starts, ends = (
        events[["case_id", "kind", name]].set_axis(["case_id", "kind", "day"], axis=1)
        for name in ("start_day", "end_day")
    )
    studies = tables.studies[["case_id", "day"]].assign(kind="study")
    return pd.concat([starts, ends, studies], ignore_index=True).dropna(subset="day")


def at_a_dating_site(tables: Tables, rows: pd.DataFrame, kind: str) -> np.ndarray:
    """Whether the site of each row dates any event of this kind: without one, that none is there says nothing.

    Where no case of the cohort has a site, all of them are of one.
    """
    dated = tables.events.loc[(tables.events["kind"] == kind) & tables.events["start_day"].notna(), "case_id"]
    sites = tables.cases.set_index("case_id")["site"]
    if sites.isna().all():
        return np.full(len(rows), not dated.empty)
    return rows["site"].isin(set(dated.map(sites).dropna())).to_numpy()


def _differs(values: np.ndarray) -> np.ndarray:
    """Whether each value differs from the one before it; the first does."""
    return np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]


def _next_start(case: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The next later start among the rows of the same case; infinity where there is none. Rows in their order."""
    new = np.flatnonzero(_differs(case) | _differs(start))  # the first row of each case and start
    position = np.cumsum(_differs(case) | _differs(start)) - 1
    following = np.append(start[new][1:], np.inf)
    same_case = np.append(~_differs(case[new])[1:], False)
    return np.where(same_case, following[: len(new)], np.inf)[position]
