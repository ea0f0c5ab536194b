"""What cannot be true of one person: refused with its counts, or left out by a named rule.

Each case has its own timeline, so that days are compared within a case; between the cases of a patient only sex and
what was ever true are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError
from midrc_ml.tables.schemas import CASE_FLAGS

ContradictionRule = Literal["refuse", "leave_out"]

_LONGEST_YEAR = 366
# What a person must be alive for; a diagnosis may be coded, and a result come in, long after.
# Of a whole life, so that it cannot be true and false of one person; to have died may be, in one hospital and another.
_EVER = tuple(flag for flag in CASE_FLAGS if flag.endswith("_ever"))
_NEEDS_LIFE = ("covid_test", "hospital_stay", "icu_stay", "ventilation", "laboratory")


@dataclass(frozen=True)
class Contradiction:
    """what: what is wrong, as the rest of a sentence after `count`. cases: the ids of those whom it is about."""

    count: int
    what: str
    cases: frozenset[str]


def check_rule(rule: str) -> None:
    """Refuse a rule that is none.

    Raises:
        InputError: naming the rules.
    """
    if rule not in get_args(ContradictionRule):
        raise InputError(f"cohort.on_contradiction is {rule!r}; it must be {' or '.join(get_args(ContradictionRule))}")


def settle_contradictions(tables: Tables, *, rule: ContradictionRule, found: Iterable[Contradiction] = ()) -> Tables:
    """`tables` without contradictions, where the rule is to leave such cases out, with a note for each kind.

    Looked for are: a patient both Female and Male, or by one case ever ill, in intensive care or ventilated and by
    another never; a death, event or study before birth; a death before the index
    event of its case; tests, stays and studies more than a day after death; deaths of one case on different days.
    found: contradictions that the reader saw itself, in rows that the tables no longer hold.

    Raises:
        TableError: the rule is to refuse, with every kind and its count.
    """
    kinds = [kind for kind in (*found, *_in_tables(tables)) if kind.cases]
    if not kinds:
        return tables
    if rule == "refuse":
        raise TableError(
            f"{kind.count} {kind.what}; correct the tables, or leave {_cases(kind)} out with everything of theirs by "
            f"cohort.on_contradiction=leave_out"
            for kind in kinds
        )
    out = frozenset().union(*(kind.cases for kind in kinds))
    studies = tables.studies[~tables.studies["case_id"].isin(out)]
    gone = tables.studies.loc[tables.studies["case_id"].isin(out), "study_id"]
    return replace(
        tables,
        cases=_without(tables.cases, "case_id", out),
        studies=studies.reset_index(drop=True),
        series=_without(tables.series, "study_id", gone),
        events=_without(tables.events, "case_id", out),
        readings=_without(tables.readings, "study_id", gone),
        notes=(
            *tables.notes,
            *(f"{_cases(kind)} left out with everything of theirs: {kind.count} {kind.what}" for kind in kinds),
        ),
    )


def _in_tables(tables: Tables) -> Iterator[Contradiction]:
    cases, events = tables.cases, tables.events
    known_sex = cases[cases["sex"].isin(["Female", "Male"])]
    sexes = known_sex.groupby("patient_id")["sex"].nunique()
    both = sexes.index[sexes > 1]
    if len(both):
        of_both = cases.loc[cases["patient_id"].isin(both), "case_id"]
        yield Contradiction(len(both), "patients are Female in one row and Male in another", frozenset(of_both))
    for flag in _EVER:
        states = cases.dropna(subset=flag).groupby("patient_id")[flag].nunique()
        both = states.index[states > 1]
        of_both = cases.loc[cases["patient_id"].isin(both), "case_id"]
        yield Contradiction(
            len(both), f"patients have {flag} true in one case and false in another", frozenset(of_both)
        )
    deaths = events[(events["kind"] == "death") & events["start_day"].notna()]
    others = events[events["kind"] != "death"]
    first_day = others[["start_day", "end_day"]].min(axis=1)
    born = _earliest_birth(cases)
    for rows, day, what in (
        (deaths, deaths["start_day"], "deaths lie before the birth of the patient"),
        (others, first_day, "events lie before the birth of the patient"),
        (tables.studies, tables.studies["day"], "studies lie before the birth of the patient"),
    ):
        early = rows[day < -_LONGEST_YEAR]  # nobody is younger at the index event
        yield _where(early, day[early.index] < _of_case(early, born), what)
    if deaths.empty:
        return
    yield _where(deaths, deaths["start_day"] < 0, "deaths lie before the index event of their case")
    days = np.floor(deaths["start_day"]).groupby(deaths["case_id"]).agg(["min", "max"])
    twice = days.index[days["min"] < days["max"]]
    yield Contradiction(len(twice), "cases have deaths on different days", frozenset(twice))
    # The next day is allowed: what was taken or begun before midnight is often recorded after it.
    last = days["max"] + 1
    alive = others[others["kind"].isin(_NEEDS_LIFE)]
    for rows, day, what in (
        (alive, alive["start_day"], "tests, stays or ventilations begin after the death of the patient"),
        (tables.studies, tables.studies["day"], "studies lie after the death of the patient"),
    ):
        yield _where(rows, np.floor(day) > _of_case(rows, last), what)


def _earliest_birth(cases: pd.DataFrame) -> pd.Series:
    """The first day on which a case can have been born, by case_id, where it can be said.

    The age at the index event is in whole years; of a person over 89 it is not known.
    """
    age = cases["age"].mask(cases["age_over_89"].fillna(False).astype(bool))
    return pd.Series(-(age + 1) * _LONGEST_YEAR).set_axis(cases["case_id"])


def _of_case(rows: pd.DataFrame, days: pd.Series) -> pd.Series:
    return rows["case_id"].map(days).astype("float64")


def _where(rows: pd.DataFrame, wrong: pd.Series, what: str) -> Contradiction:
    return Contradiction(int(wrong.sum()), what, frozenset(rows.loc[wrong, "case_id"]))


def _without(rows: pd.DataFrame, column: str, values: Iterable[str]) -> pd.DataFrame:
    return rows[~rows[column].isin(list(values))].reset_index(drop=True)


def _cases(kind: Contradiction) -> str:
    return f"{len(kind.cases)} {'case' if len(kind.cases) == 1 else 'cases'}"
