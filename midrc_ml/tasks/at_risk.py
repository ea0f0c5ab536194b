"""Whom a dated question can be asked of: rows inside a hospital stay, alive, without the event so far."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tables.keys import is_among
from midrc_ml.tables.schemas import EVENT_KINDS
from midrc_ml.tasks.decisions import Decision, any_of_row
from midrc_ml.tasks.stays import at_a_dating_site, hospital_stays, says_died

STILL_OPEN = "the hospital stay is still open"
OUTCOME_UNKNOWN = "how the hospital stay ended is not recorded"
NO_STAY = "no hospital stay on record"
NO_DAY = "the study has no day"
OUTSIDE = "not at risk: outside every hospital stay"
DIED_BEFORE = "not at risk: died before the day of the study"
_LASTING = ("icu_stay", "ventilation")
# The undated flag of the same thing.
FLAG_OF = {"icu_stay": "icu_ever", "ventilation": "ventilated_ever", "death": "died"}


def check_times(*, first_day: object = 1, lead_days: object = 0, horizon_days: object = 1) -> None:
    """Refuse settings of time that make no sense.

    Raises:
        InputError: with all of them.
    """
    given = (first_day, horizon_days, lead_days)
    numbers = all(isinstance(value, int | float) and np.isfinite(value) for value in given)
    if not numbers or first_day not in (0, 1) or horizon_days < first_day or lead_days < 0:  # type: ignore[operator]
        raise InputError(
            f"label settings first_day={first_day}, horizon_days={horizon_days}, lead_days={lead_days}: "
            f"numbers are needed; first_day must be 0 or 1, the horizon not before it, lead_days not negative"
        )


def checked_kinds(event: str | Sequence[str]) -> list[str]:
    """The kinds of event that a YAML names, one or a list.

    Raises:
        InputError: none, one that no table knows, or hospital stays, that no patient in hospital is at risk of.
    """
    kinds = [event] if isinstance(event, str) else list(event or ())
    allowed = [kind for kind in EVENT_KINDS if kind != "hospital_stay"]
    for kind in kinds or [""]:
        if kind not in allowed:
            raise InputError(f"label.event is {kind!r}; it must be one of {', '.join(allowed)}, or a list of them")
    return kinds


def dated_events(tables: Tables, at: pd.DataFrame, kinds: Iterable[str]) -> dict[str, pd.DataFrame]:
    """For each kind, the lines of `at` (`with_stays` of the rows) with start_day and end_day of each of its events."""
    events = tables.events[tables.events["start_day"].notna()]
    return {
        kind: at.merge(events.loc[events["kind"] == kind, ["case_id", "start_day", "end_day"]], on="case_id")
        for kind in kinds
    }


def not_at_risk(
    tables: Tables,
    rows: pd.DataFrame,
    at: pd.DataFrame,
    events: Mapping[str, pd.DataFrame],
    *,
    first_day: int,
    lead_days: float,
) -> list[Decision]:
    """Decisions on the rows that cannot be asked when one of `events` comes, in this order.

    at: `with_stays` of the rows. events: `dated_events`, `death` among them, of which a patient is at risk until then.
    first_day: 1 = an event on the day of the study came before it, 0 = after it.
    """
    kinds = [kind for kind in events if kind != "death"]
    decisions: list[Decision] = [
        (~at_a_dating_site(tables, rows, kind), "missing", f"the site dates no {kind}") for kind in kinds
    ]
    death = events["death"]
    decisions += [
        (at["day"].isna().to_numpy(), "missing", NO_DAY),
        (~at["has_stay"].to_numpy(), "missing", NO_STAY),
        # It may lie in the stay whose days nobody wrote down.
        (
            at["start"].isna().to_numpy() & undated(tables, rows, "hospital_stay"),
            "missing",
            undated_words("hospital_stay"),
        ),
        (at["start"].isna().to_numpy(), "excluded", OUTSIDE),
        (any_of_row(death["row"], ~_from_day(death, 0), len(at)), "excluded", DIED_BEFORE),
    ]
    on_or = "on or " if first_day else ""
    for kind in kinds:
        pairs = events[kind]
        # An event belongs to the stay that it overlaps: its record may begin a day before the admission's. One
        # without an end may belong to an earlier stay, so that it reaches no further than a film before admission.
        ends = pairs["end_day"].fillna(pairs["start_day"] + lead_days)
        in_stay = (pairs["start_day"] <= pairs["end"]) & (ends >= pairs["look_back"])
        already = any_of_row(pairs["row"], in_stay & ~_from_day(pairs, first_day), len(at))
        decisions.append((already, "excluded", f"not at risk: {kind} began {on_or}before the day of the study"))
        if kind in _LASTING:
            may_last = _without_end_outside(tables, pairs, len(at), lead_days=lead_days)
            decisions.append((may_last, "missing", f"{kind} before the hospital stay has no end: it may have lasted"))
    # It may lie before the study, so that a later one would not be the first.
    decisions += [(undated(tables, rows, kind), "missing", undated_words(kind)) for kind in kinds]
    return decisions


def _without_end_outside(tables: Tables, pairs: pd.DataFrame, num_rows: int, *, lead_days: float) -> np.ndarray:
    """Rows with an event without an end that began before their stay, and in no other stay of the case."""
    loose = pairs[pairs["end_day"].isna() & (pairs["start_day"] + lead_days < pairs["look_back"])]
    stays = hospital_stays(tables.events)[["case_id", "start", "end"]].set_axis(["case_id", "from", "to"], axis=1)
    others = loose.rename_axis("pair").reset_index().merge(stays, on="case_id")
    inside = (others["from"] - lead_days <= others["start_day"]) & (others["start_day"] <= others["to"])
    return any_of_row(loose["row"], ~loose.index.isin(others.loc[inside, "pair"]), num_rows)


def events_after(pairs: pd.DataFrame, *, first_day: int) -> pd.DataFrame:
    """Those of one kind of `dated_events` that begin on or after day `first_day` after the row's day.

    Where the stay is open, what starts with or after the next stay is left out: that the case was in hospital on
    the day of the study is shown only by what lies within the open stay.
    """
    return pairs[_from_day(pairs, first_day) & (~pairs["is_open"] | (pairs["start_day"] < pairs["end"]))]


def undated(tables: Tables, rows: pd.DataFrame, kind: str) -> np.ndarray:
    """Rows whose case had `kind` at a time that nobody wrote down: a record without a day, or no record of its own.

    The latter is told by the case's flag alone, or, of a death, by how a hospital stay is said to have ended.
    """
    events = tables.events[tables.events["kind"] == kind]
    told = [tables.cases.loc[tables.cases[FLAG_OF[kind]].eq(True), "case_id"]] if kind in FLAG_OF else []
    if kind == "death":
        stays = tables.events[tables.events["kind"] == "hospital_stay"]
        told.append(stays.loc[says_died(stays["value"]), "case_id"])
    without_record = [cases[~is_among(cases, events["case_id"])] for cases in told]
    cases = pd.concat([events.loc[events["start_day"].isna(), "case_id"], *without_record])
    return is_among(rows["case_id"], cases).to_numpy()


def undated_words(kind: str) -> str:
    """The reason for a label that is missing because of `undated`."""
    return f"{kind} without a usable day on record"


def _from_day(pairs: pd.DataFrame, first_day: int) -> pd.Series:
    """Days may have fractions; an event on the day of the study is one of the same whole day."""
    return np.floor(pairs["start_day"]) >= np.floor(pairs["day"]) + first_day
