"""Admission to hospital of patients who are not in hospital on the day of the study."""

from typing import Literal

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.tasks.at_risk import DIED_BEFORE, NO_DAY, NO_STAY, STILL_OPEN, check_times, undated, undated_words
from midrc_ml.tasks.decisions import Decision, any_of_row, check_choice, decide, otherwise
from midrc_ml.tasks.stays import at_a_dating_site, hospital_stays, recorded_days

CARE_WITHOUT_STAY = "intensive care or ventilation without a hospital stay on record"
NOT_FOLLOWED = "nothing is recorded of the case at or after the horizon"


def admission_within_horizon(
    tables: Tables,
    rows: pd.DataFrame,
    *,
    horizon_days: float,
    first_day: int = 1,
    competing_event: Literal["positive", "negative", "exclude"] = "exclude",
    evidence: Literal["case", "site"] = "case",
) -> pd.DataFrame:
    """1 where a hospital stay starts `first_day`..`horizon_days` days after the study, 0 where it is known not to.

    At risk is a study outside every recorded hospital stay, by whole days; in an open stay it is not known. 0 needs
    evidence, because sites send rows for admitted patients alone: something is dated at or after the horizon, so
    that the case was followed that long, and its stays are recorded (`evidence`). Intensive care or ventilation
    between the study and the horizon that lies in no recorded stay shows that they are not: missing.

    first_day: 1 = an admission on the day of the study came before it, so that the study is no longer at risk;
        0 = it came after it: films of the emergency department count, and those of a ward on the first day too.
    competing_event: what death before admission within the horizon counts as.
    evidence: `case` = the case has an earlier or later stay on record, so that its stays were sent; `site` = its
        site has sent stays, and is taken to have done so for all its cases.

    Raises:
        InputError: a setting that makes no sense, or a cohort without deaths where they make a difference.
    """
    check_times(first_day=first_day, horizon_days=horizon_days)
    check_choice("competing_event", competing_event, ("positive", "negative", "exclude"))
    check_choice("evidence", evidence, ("case", "site"))
    if competing_event != "negative":
        tables.require(["death"], needed_by=f"label.competing_event={competing_event}")
    at = pd.DataFrame(
        {"row": np.arange(len(rows)), "case_id": rows["case_id"].to_numpy(), "day": rows["day"].to_numpy()}
    )
    stays = hospital_stays(tables.events)
    pairs = at.merge(stays, on="case_id")
    day = np.floor(pairs["day"])
    began = np.floor(pairs["start"]) < day + first_day
    inside = any_of_row(pairs["row"], began & (day <= np.floor(pairs["seen_until"])), len(rows))
    perhaps = any_of_row(pairs["row"], began & pairs["is_open"] & (pairs["day"] < pairs["end"]), len(rows))
    admitted = any_of_row(pairs["row"], ~began & (pairs["start"] <= pairs["day"] + horizon_days), len(rows))

    events = tables.events
    care = at.merge(_care_outside(events, stays), on="case_id")
    care_day, care_began = np.floor(care["day"]), np.floor(care["start_day"]) < np.floor(care["day"]) + first_day
    in_care = any_of_row(care["row"], care_began & (care_day <= np.floor(care["until"])), len(rows))
    care_later = any_of_row(care["row"], ~care_began & (care["start_day"] <= care["day"] + horizon_days), len(rows))
    deaths = at.merge(events.loc[events["kind"] == "death", ["case_id", "start_day"]], on="case_id")
    before = np.floor(deaths["start_day"]) < np.floor(deaths["day"])
    within = ~before & (deaths["start_day"] <= deaths["day"] + horizon_days)
    died = any_of_row(deaths["row"], within, len(rows))
    last = at["case_id"].map(recorded_days(tables).groupby("case_id")["day"].max())
    followed = (last >= at["day"] + horizon_days).to_numpy()

    decisions: list[Decision] = [
        (~at_a_dating_site(tables, rows, "hospital_stay"), "missing", "the site dates no hospital_stay"),
        (rows["day"].isna().to_numpy(), "missing", NO_DAY),
        (any_of_row(deaths["row"], before, len(rows)), "excluded", DIED_BEFORE),
        (inside, "excluded", "not at risk: in hospital on the day of the study"),
        (perhaps, "missing", STILL_OPEN),
        (undated(tables, rows, "hospital_stay"), "missing", undated_words("hospital_stay")),
        (in_care, "missing", CARE_WITHOUT_STAY),
        (admitted, "label", 1.0),
        (care_later, "missing", CARE_WITHOUT_STAY),
    ]
    if competing_event == "exclude":
        decisions.append((died, "excluded", f"died within {horizon_days:g} days without hospital_stay"))
    else:
        decisions.append((died, "label", float(competing_event == "positive")))
    if competing_event != "negative":
        decisions.append((undated(tables, rows, "death") & ~followed, "missing", undated_words("death")))
    if evidence == "case":
        decisions.append((~at["row"].isin(pairs["row"]).to_numpy(), "missing", NO_STAY))
    decisions += [(~followed, "missing", NOT_FOLLOWED), (otherwise(rows.index), "label", 0.0)]
    return decide(decisions, rows.index)


def _care_outside(events: pd.DataFrame, stays: pd.DataFrame) -> pd.DataFrame:
    """case_id, start_day and `until` of the intensive care and ventilation that lie in no stay, by whole days.

    until: the last day of it. Where that is not recorded, it is taken to reach to the day before the next stay
    (infinity = there is none), and one that begins the day before a stay is taken to be of that stay.
    """
    care = events[events["kind"].isin(["icu_stay", "ventilation"]) & events["start_day"].notna()]
    care = care[["case_id", "start_day", "end_day"]].reset_index(drop=True)
    pairs = care.rename_axis("care").reset_index().merge(stays[["case_id", "start", "end"]], on="case_id")
    begins, ends = np.floor(pairs["start_day"]), np.floor(pairs["end_day"].fillna(pairs["start_day"] + 1))
    inside = any_of_row(
        pairs["care"], (np.floor(pairs["start"]) <= ends) & (begins <= np.floor(pairs["end"])), len(care)
    )
    following = pairs[pairs["start"] > pairs["start_day"]].groupby("care")["start"].min()
    day_before = np.floor(following.reindex(care.index, fill_value=np.inf)) - 1
    return care.assign(until=care["end_day"].fillna(day_before))[~inside]
