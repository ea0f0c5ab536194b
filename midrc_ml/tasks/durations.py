"""How long: days in hospital, and days until an event, with censoring."""

from typing import Literal

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.at_risk import (
    OUTCOME_UNKNOWN,
    STILL_OPEN,
    check_times,
    checked_kinds,
    dated_events,
    events_after,
    not_at_risk,
)
from midrc_ml.tasks.decisions import Decision, check_choice, decide, otherwise
from midrc_ml.tasks.stays import recorded_days, with_stays

NOT_FOLLOWED = "nothing is recorded after the study"
DEATH_NOT_DATED = "the hospital stay ended in death, of which no day in it is on record"


def length_of_stay(
    tables: Tables,
    rows: pd.DataFrame,
    *,
    measure: Literal["remaining", "total"] = "remaining",
    lead_days: float = 1,
    competing_event: Literal["exclude", "discharge"] = "exclude",
) -> pd.DataFrame:
    """Days in hospital, of the stay that the study lies in (from `lead_days` before admission to discharge).

    A stay that is still open has no length yet: missing. A film of the day of discharge has 0 days to it.

    measure: `remaining` = days from the study to live discharge; `total` = from admission to live discharge.
    competing_event: death in the stay is no discharge: `exclude`; `discharge` = the stay ends with it all the same.

    Raises:
        InputError: a setting that makes no sense, or a cohort without deaths where they are to be excluded.
    """
    check_times(lead_days=lead_days)
    check_choice("measure", measure, ("remaining", "total"))
    check_choice("competing_event", competing_event, ("exclude", "discharge"))
    if competing_event == "exclude":
        tables.require(["death"], needed_by="label.competing_event=exclude")
    at = with_stays(tables, rows, lead_days=lead_days)
    events = dated_events(tables, at, ["death"])
    death = _death_in_stay(events["death"], at)
    died = death.notna().to_numpy()
    # A death closes a stay whose discharge nobody wrote down.
    end = np.where(at["is_open"], death, at["end"])
    since = at["day"] if measure == "remaining" else at["start"]
    decisions = not_at_risk(tables, rows, at, events, first_day=0, lead_days=lead_days)
    if competing_event == "exclude":
        decisions.append((died, "excluded", "died in the hospital stay"))
        decisions.append((at["says_died"].to_numpy(), "missing", DEATH_NOT_DATED))
    decisions.append((np.isnan(end), "missing", STILL_OPEN))
    if competing_event == "exclude":
        decisions.append((~at["outcome_known"].to_numpy(), "missing", OUTCOME_UNKNOWN))
    decisions.append((otherwise(rows.index), "label", np.maximum(end - since.to_numpy(), 0)))
    return decide(decisions, rows.index)


def time_to_event(
    tables: Tables,
    rows: pd.DataFrame,
    *,
    event: str,
    first_day: int = 1,
    lead_days: float = 1,
    competing_event: Literal["censor", "exclude"] = "censor",
) -> pd.DataFrame:
    """Days from the study to the start of `event` in the same stay (label 1), or to censoring (label 0), as `time`.

    At risk as in `event_within_horizon`. Censored at live discharge, or, in a stay that is still open, at the last
    day before the case's next stay on which anything is recorded of it; missing where that is not after the study.
    Those who go home are not those who stay: censoring is informative, and a rate of the event that treats it as
    chance is too high.

    competing_event: death in the stay before the event: `censor` (at the day of death) or `exclude`.

    Raises:
        InputError: a setting that makes no sense, or a cohort without deaths where they are to be excluded.
    """
    check_times(first_day=first_day, lead_days=lead_days)
    (kind, *more) = checked_kinds(event)
    if more or kind == "death":
        raise InputError(f"label.event is {event!r}; time_to_event takes one kind of event, and not death")
    check_choice("competing_event", competing_event, ("censor", "exclude"))
    if competing_event == "exclude":
        tables.require(["death"], needed_by="label.competing_event=exclude")
    at = with_stays(tables, rows, lead_days=lead_days)
    events = dated_events(tables, at, [kind, "death"])
    found = events_after(events[kind], first_day=first_day)
    found = found[np.floor(found["start_day"]) <= np.floor(found["end"])]
    first = found.groupby("row")["start_day"].min().reindex(at["row"]).to_numpy()
    death = _death_in_stay(events["death"], at).to_numpy()
    died = ~np.isnan(death)
    end = np.where(at["is_open"], _last_record(tables, at), at["end"])
    censored = np.where(died, death, end)
    decisions: list[Decision] = not_at_risk(tables, rows, at, events, first_day=first_day, lead_days=lead_days)
    decisions.append((~np.isnan(first), "label", 1.0))
    if competing_event == "exclude":
        ends_unknown = (~at["outcome_known"] & ~at["is_open"]).to_numpy()
        decisions.append((died, "excluded", f"died in the hospital stay without {kind}"))
        decisions.append((at["says_died"].to_numpy(), "missing", DEATH_NOT_DATED))
        decisions.append((ends_unknown, "missing", OUTCOME_UNKNOWN))
    decisions.append((~(censored > at["day"].to_numpy()), "missing", NOT_FOLLOWED))
    decisions.append((otherwise(rows.index), "label", 0.0))
    result = decide(decisions, rows.index)
    # Days may have fractions; an event on the day of the study is one of the same whole day, never before it.
    time = np.maximum(np.where(np.isnan(first), censored, first) - at["day"].to_numpy(), 0)
    return result.assign(time=np.where(result["label"].notna(), time, np.nan))


def _death_in_stay(deaths: pd.DataFrame, at: pd.DataFrame) -> pd.Series:
    """The day of the death that lies in the stay of each row, by whole days; missing where there is none."""
    deaths = events_after(deaths, first_day=0)
    deaths = deaths[np.floor(deaths["start_day"]) <= np.floor(deaths["end"])]
    return deaths.groupby("row")["start_day"].min().reindex(at["row"]).reset_index(drop=True)


def _last_record(tables: Tables, at: pd.DataFrame) -> np.ndarray:
    """The last day on which anything is recorded of the case of each row before the end of its stay."""
    days = recorded_days(tables).rename(columns={"day": "recorded"})
    pairs = at.merge(days, on="case_id")
    pairs = pairs[pairs["recorded"] < pairs["end"]]
    return pairs.groupby("row")["recorded"].max().reindex(at["row"]).to_numpy()
