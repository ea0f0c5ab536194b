"""Dated outcomes of patients in hospital: intensive care, ventilation, death, or any of them, within a horizon."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tables.keys import is_among
from midrc_ml.tasks.at_risk import (
    OUTCOME_UNKNOWN,
    STILL_OPEN,
    check_times,
    checked_kinds,
    dated_events,
    events_after,
    not_at_risk,
    undated,
    undated_words,
)
from midrc_ml.tasks.decisions import Decision, any_of_row, check_choice, decide, otherwise
from midrc_ml.tasks.stays import hospital_stays, says_died, with_stays

CompetingEvent = Literal["positive", "negative", "exclude"]


def event_within_horizon(
    tables: Tables,
    rows: pd.DataFrame,
    *,
    event: str | Sequence[str],
    horizon_days: float,
    first_day: int = 1,
    lead_days: float = 1,
    competing_event: CompetingEvent | None = None,
) -> pd.DataFrame:
    """1 where `event` starts `first_day`..`horizon_days` days after the study, 0 where it is known not to.

    At risk is a study inside a recorded hospital stay (from `lead_days` before admission to discharge) of a
    site that dates this event, without the event in that stay before day `first_day` after the study;
    other studies are excluded. 0 needs evidence: the stay is seen to the horizon, or ended in live
    discharge before it; for death, so did any later stay that begins by then. No stay on record at all, an event
    that is known to have happened but not when, or a stay that is still open leaves the label missing. In an open
    stay only what lies before the case's next stay counts; an event in an open stay that precedes the study's own
    counts as one before the study.

    event: a kind of event, or a list: the first of any of them, at risk is who had none, and 0 needs the evidence
        for all. `death` is death in hospital, in this stay or the next; it can only come after the study, so that
        `first_day` does not apply to it, and a patient who is seen alive at the horizon or left hospital alive is
        a 0 (also one whose death elsewhere is on record: other deaths elsewhere are not, so that 1 would depend
        on the site).
    competing_event: what death (anywhere) before the event within the horizon counts as; by default `negative`.
    first_day: 1 = an event on the day of the study came before it; 0 = it came after it.

    Raises:
        InputError: a setting that makes no sense, or a cohort without deaths where they make a difference.
    """
    check_times(first_day=first_day, lead_days=lead_days, horizon_days=horizon_days)
    kinds = checked_kinds(event)
    if "death" in kinds and competing_event is not None:
        raise InputError(f"label.competing_event is {competing_event!r}, but death is an event asked for; leave it out")
    competing = competing_event or "negative"
    check_choice("competing_event", competing, ("positive", "negative", "exclude"))
    if "death" in kinds or competing != "negative":
        setting = "event=death" if "death" in kinds else f"competing_event={competing}"
        tables.require(["death"], needed_by=f"label.{setting}")
    at = with_stays(tables, rows, lead_days=lead_days)
    horizon = (at["day"] + horizon_days).to_numpy()
    events = dated_events(tables, at, dict.fromkeys([*kinds, "death"]))
    positive = np.zeros(len(rows), dtype=bool)
    for kind in kinds:
        if kind != "death":
            found = events_after(events[kind], first_day=first_day)
            positive |= any_of_row(found["row"], found["start_day"] <= horizon[found["row"]], len(rows))
    deaths = events_after(events["death"], first_day=0)
    deaths = deaths[deaths["start_day"] <= horizon[deaths["row"]]]
    died = np.isin(at["row"].to_numpy(), deaths["row"].to_numpy())
    seen_to_horizon = (at["seen_until"] >= horizon).to_numpy()

    decisions = not_at_risk(tables, rows, at, events, first_day=first_day, lead_days=lead_days)
    if "death" in kinds:
        positive |= any_of_row(deaths["row"], _in_hospital(deaths, tables), len(rows))
        in_undated_stay = died & _died_in_a_stay_without_days(tables, rows)
        decisions += [(positive, "label", 1.0), (in_undated_stay, "missing", undated_words("hospital_stay"))]
    elif competing == "exclude":
        words = f"died within {horizon_days:g} days without {' or '.join(kinds)}"
        decisions += [(positive, "label", 1.0), (died, "excluded", words)]
    else:
        decisions += [(positive, "label", 1.0), (died, "label", float(competing == "positive"))]
    decisions.append((seen_to_horizon, "label", 0.0))
    if kinds == ["death"]:
        decisions.append(((at["alive_until"] >= horizon).to_numpy(), "label", 0.0))
    # Where a death would count as a negative anyway, neither its day nor how the stay ended makes a difference.
    if "death" in kinds or competing != "negative":
        decisions += _how_it_ended(tables, rows, at)
    decisions.append((at["is_open"].to_numpy(), "missing", STILL_OPEN))
    if "death" in kinds:
        decisions += _readmission(tables, at, horizon)
    decisions.append((otherwise(rows.index), "label", 0.0))
    return decide(decisions, rows.index)


def _how_it_ended(tables: Tables, rows: pd.DataFrame, at: pd.DataFrame) -> list[Decision]:
    return [
        (undated(tables, rows, "death"), "missing", undated_words("death")),
        ((~at["outcome_known"] & ~at["is_open"]).to_numpy(), "missing", OUTCOME_UNKNOWN),
    ]


def _readmission(tables: Tables, at: pd.DataFrame, horizon: np.ndarray) -> list[Decision]:
    """Decisions on the rows whose case may have died in a later stay that begins by the horizon.

    Who is seen alive after such a stay did not die in it, and who is seen alive at the horizon in none.
    """
    stays = hospital_stays(tables.events)[["case_id", "start", "end", "is_open", "outcome_known"]]
    pairs = at[["row", "case_id", "end", "alive_until"]].merge(stays, on="case_id", suffixes=("", "_later"))
    until = horizon[pairs["row"]]
    begins = (pairs["start"] > pairs["end"]) & (pairs["start"] <= until) & (pairs["alive_until"] < until)
    is_open = begins & pairs["is_open"] & (pairs["alive_until"] < pairs["end_later"])
    not_seen = np.floor(pairs["alive_until"]) <= np.floor(pairs["end_later"])
    unknown = begins & ~pairs["is_open"] & ~pairs["outcome_known"] & not_seen
    return [
        (any_of_row(pairs["row"], is_open, len(at)), "missing", STILL_OPEN),
        (any_of_row(pairs["row"], unknown, len(at)), "missing", OUTCOME_UNKNOWN),
    ]


def _died_in_a_stay_without_days(tables: Tables, rows: pd.DataFrame) -> np.ndarray:
    """Rows of a case that died in a hospital stay of which it is not recorded when it began."""
    stays = tables.events[(tables.events["kind"] == "hospital_stay") & tables.events["start_day"].isna()]
    return is_among(rows["case_id"], stays.loc[says_died(stays["value"]), "case_id"]).to_numpy()


def _in_hospital(deaths: pd.DataFrame, tables: Tables) -> pd.Series:
    """Which `deaths` (case_id, start_day) lie in a hospital stay of their case, by whole days."""
    stays = hospital_stays(tables.events)[["case_id", "start", "end", "is_open"]]
    numbered = pd.DataFrame({"case_id": deaths["case_id"], "on": deaths["start_day"]}).rename_axis("death")
    pairs = numbered.reset_index().merge(stays, on="case_id")
    until_end = (pairs["on"] < pairs["end"]).where(pairs["is_open"], np.floor(pairs["on"]) <= np.floor(pairs["end"]))
    inside = (np.floor(pairs["start"]) <= np.floor(pairs["on"])) & until_end
    return pd.Series(deaths.index.isin(pairs.loc[inside, "death"]), index=deaths.index)
