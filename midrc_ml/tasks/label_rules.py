"""Label rules: from the tables to 1, 0, a number, or missing, with the reason.

A rule is any function (tables, studies, **settings of the YAML) -> DataFrame aligned with `studies`:
    label: float; NaN where it is missing or the study is excluded.
    missing: why the label is not known (None elsewhere).
    excluded: why the study is not one that the question can be asked of (None elsewhere).
"""

from typing import Literal

import numpy as np
import pandas as pd

from midrc_ml.cohorts.flow import reason_where
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tables.schemas import EVENT_KINDS

FLAG_OF = {"icu_stay": "icu_ever", "ventilation": "ventilated_ever"}  # the undated flag of the same thing
CompetingEvent = Literal["positive", "negative", "exclude"]


def event_within_horizon(
    tables: Tables,
    studies: pd.DataFrame,
    *,
    event: str,
    horizon_days: float,
    first_day: int = 1,
    lead_days: float = 1,
    competing_event: CompetingEvent = "negative",
) -> pd.DataFrame:
    """1 where `event` starts `first_day`..`horizon_days` days after the study, 0 where it is known not to.

    At risk is a study inside a recorded hospital stay (from `lead_days` before admission to discharge) of a
    site that dates this event, without the event in that stay before day `first_day` after the study;
    other studies are excluded. 0 needs evidence: the stay is seen to the horizon, or ended in live
    discharge before it. A stay that is still open, no stay on record at all, or an event that is known to have
    happened but not when, leaves the label missing.

    competing_event: what death before the event within the horizon counts as.
    first_day: 1 = an event on the day of the study came before it; 0 = it came after it.

    Raises:
        InputError: a setting that makes no sense.
    """
    numbers = all(isinstance(value, int | float) for value in (first_day, horizon_days, lead_days))
    if not numbers or first_day not in (0, 1) or horizon_days < first_day or lead_days < 0:
        raise InputError(
            f"label settings first_day={first_day}, horizon_days={horizon_days}, lead_days={lead_days}: "
            f"numbers are needed; first_day must be 0 or 1, the horizon not before it, lead_days not negative"
        )
    if competing_event not in ("positive", "negative", "exclude"):
        raise InputError(f"competing_event is {competing_event!r}; it must be positive, negative or exclude")
    if event not in EVENT_KINDS:
        raise InputError(f"label.event is {event!r}; it must be one of {', '.join(EVENT_KINDS)}")
    events = tables.events
    stays = merged_stays(events[events["kind"] == "hospital_stay"])
    recorded = events.loc[events["kind"] == event, ["case_id", "start_day", "end_day"]]
    happened = recorded.dropna(subset="start_day")
    undated = _cases_with_undated(tables, event, recorded)
    deaths = events.loc[events["kind"] == "death", ["case_id", "start_day"]].dropna()
    site_of = tables.cases.set_index("case_id")["site"]
    dating_sites = set(happened["case_id"].map(site_of).dropna())

    day = studies["day"]
    stay = _stay_of(studies, stays, lead_days)
    at = pd.DataFrame({"row": np.arange(len(studies)), "case_id": studies["case_id"].to_numpy(), "day": day.to_numpy()})
    at["stay_start"], at["stay_end"] = stay["start"].to_numpy(), stay["end"].to_numpy()
    pairs = at.merge(happened, on="case_id")
    # An event belongs to the stay that it overlaps: its record may begin a day before the admission's. One
    # without an end may belong to an earlier stay, so that it reaches no further than a film before admission.
    ends = pairs["end_day"].fillna(pairs["start_day"] + lead_days)
    in_stay = (pairs["start_day"] <= pairs["stay_end"]) & (ends >= pairs["stay_start"])
    # Days may have fractions; an event on the day of the study is one of the same whole day.
    before = np.floor(pairs["start_day"]) < np.floor(pairs["day"]) + first_day
    already = _any(pairs["row"], in_stay & before, len(studies))
    after = ~before & (pairs["start_day"] <= pairs["day"] + horizon_days)
    positive = _any(pairs["row"], after, len(studies))
    dead = at.merge(deaths, on="case_id")
    died = _any(
        dead["row"],
        (dead["start_day"] >= dead["day"]) & (dead["start_day"] <= dead["day"] + horizon_days),
        len(studies),
    )
    end = stay["end"].to_numpy()
    seen_to_horizon = np.isfinite(end) & (end >= day.to_numpy() + horizon_days)
    outcome_known = stay["outcome_known"].to_numpy(dtype=bool)

    has_stay = studies["case_id"].isin(stays["case_id"]).to_numpy()
    inside = stay["start"].notna().to_numpy()
    days = f"{horizon_days:g} days"
    # The first condition that holds decides.
    rules: list[tuple[np.ndarray, str, str | float]] = [
        (~studies["site"].isin(dating_sites).to_numpy(), "missing", f"the site dates no {event}"),
        (day.isna().to_numpy(), "missing", "the study has no day"),
        (~has_stay, "missing", "no hospital stay on record"),
        (~inside, "excluded", "not at risk: outside every hospital stay"),
        (already, "excluded", f"not at risk: {event} began {'on or ' if first_day else ''}before the day of the study"),
        # It may lie before the study, so that a later one would not be the first.
        (studies["case_id"].isin(undated).to_numpy(), "missing", f"an {event} without a usable day is on record"),
        (positive, "label", 1.0),
    ]
    if competing_event == "exclude":
        rules.append((died, "excluded", f"died within {days} without {event}"))
    else:
        rules.append((died, "label", float(competing_event == "positive")))
    rules += [
        (seen_to_horizon, "label", 0.0),
        (~np.isfinite(end), "missing", "the hospital stay is still open"),
        # Where a death would count as a negative anyway, how the stay ended makes no difference.
        (~outcome_known & (competing_event != "negative"), "missing", "how the hospital stay ended is not recorded"),
        (np.ones(len(studies), dtype=bool), "label", 0.0),
    ]
    return _decide(rules, studies.index)


def flag(tables: Tables, studies: pd.DataFrame, *, column: str) -> pd.DataFrame:
    """The undated case flag `column` (1, 0 or missing): it may describe a time before the study.

    Raises:
        InputError: no such flag.
    """
    if column not in tables.cases.columns:
        raise InputError(f"label.column is {column!r}; the case table has {', '.join(tables.cases.columns)}")
    values = studies["case_id"].map(tables.cases.set_index("case_id")[column]).astype("boolean")
    missing = reason_where(values.isna(), f"{column} not recorded", studies.index)
    return pd.DataFrame({"label": values.astype("Float64").astype("float64"), "missing": missing, "excluded": None})


def readers_mean(tables: Tables, studies: pd.DataFrame, *, name: str, min_readers: int = 1) -> pd.DataFrame:
    """The mean over readers of the reading `name`; missing where fewer than `min_readers` read the study."""
    readings = tables.readings[tables.readings["name"] == name].dropna(subset="value")
    if readings.empty:
        known = ", ".join(sorted(set(tables.readings["name"].dropna()))) or "none"
        raise InputError(f"no reading is named {name!r} in the {tables.origin}; readings there: {known}")
    if not isinstance(min_readers, int) or min_readers < 1:
        raise InputError(f"label.min_readers is {min_readers!r}; it must be a whole number of at least 1")
    by_study = readings.groupby("study_id")["value"].agg(["mean", "count"])
    mean, count = studies["study_id"].map(by_study["mean"]), studies["study_id"].map(by_study["count"]).fillna(0)
    few = (count < min_readers).to_numpy()
    missing = reason_where(few, f"fewer than {min_readers} readers", studies.index)
    return pd.DataFrame({"label": mean.mask(few), "missing": missing, "excluded": None})


def merged_stays(stays: pd.DataFrame) -> pd.DataFrame:
    """Hospital stays without overlap: rows of one case that overlap or touch are one stay (transfers, repeats).

    Columns: case_id, start, end (infinity = still open), outcome_known (whether a last row says how it ended).
    """
    frame = stays[["case_id", "start_day", "end_day", "value"]].dropna(subset="start_day")
    frame = frame.assign(end=frame["end_day"].fillna(np.inf)).sort_values(["case_id", "start_day", "end"])
    latest_end = frame.groupby("case_id")["end"].cummax().groupby(frame["case_id"]).shift()
    frame["stay"] = (latest_end.isna() | (frame["start_day"] > latest_end)).cumsum()
    frame["known"] = frame["value"].notna()
    last = frame.sort_values(["stay", "end", "known"]).drop_duplicates("stay", keep="last")
    start = frame.groupby("stay")["start_day"].min()
    return pd.DataFrame(
        {
            "case_id": last["case_id"].to_numpy(),
            "start": start.loc[last["stay"]].to_numpy(),
            "end": last["end"].to_numpy(),
            "outcome_known": last["known"].to_numpy(),
        }
    )


def _cases_with_undated(tables: Tables, event: str, recorded: pd.DataFrame) -> set[str]:
    """Cases with `event` at a time that nobody wrote down: in a record without a day, or in the case's flag alone."""
    cases = set(recorded.loc[recorded["start_day"].isna(), "case_id"])
    if event in FLAG_OF:
        flagged = tables.cases.loc[tables.cases[FLAG_OF[event]].eq(True), "case_id"]
        cases |= set(flagged) - set(recorded["case_id"])
    return cases


def _stay_of(studies: pd.DataFrame, stays: pd.DataFrame, lead_days: float) -> pd.DataFrame:
    """The stay of each study, aligned with it: the one that holds its day, else one that begins within the lead."""
    left = pd.DataFrame(
        {"row": np.arange(len(studies)), "case_id": studies["case_id"].to_numpy(), "day": studies["day"].to_numpy()}
    )
    pairs = left.merge(stays, on="case_id")
    pairs = pairs[(pairs["day"] >= pairs["start"] - lead_days) & (pairs["day"] <= pairs["end"])]
    one = (
        pairs.assign(ahead=pairs["start"] > pairs["day"]).sort_values(["row", "ahead", "start"]).drop_duplicates("row")
    )
    result = one.set_index("row").reindex(left["row"])
    return result.assign(outcome_known=result["outcome_known"].eq(True))


def _any(rows: pd.Series, holds: pd.Series, count: int) -> np.ndarray:
    result = np.zeros(count, dtype=bool)
    result[rows[holds].to_numpy()] = True
    return result


def _decide(rules: list[tuple[np.ndarray, str, str | float]], index: pd.Index) -> pd.DataFrame:
    result = pd.DataFrame({"label": np.nan, "missing": None, "excluded": None}, index=index)
    result = result.astype({"missing": object, "excluded": object})
    open_rows = np.ones(len(index), dtype=bool)
    for holds, column, value in rules:
        result.loc[open_rows & holds, column] = value
        open_rows &= ~holds
    return result
