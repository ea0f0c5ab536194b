"""A patient's days, written by hand."""

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.tables.checks import checked_table
from midrc_ml.tables.schemas import FIVE_TABLES

NOTHING = Tables.checked(origin="test")
Line = tuple[list[dict], float | None, float | str]

# Another patient of the same hospital, so that the hospital is known to date such events.
DATED_THERE = [
    {"case_id": "other", "kind": "icu_stay", "start_day": 500, "end_day": 501},
    {"case_id": "other", "kind": "ventilation", "start_day": 500, "end_day": 501},
    {"case_id": "other", "kind": "hospital_stay", "start_day": 500, "end_day": 501, "value": "Home or Self Care"},
]
OUTSIDE = "excluded: not at risk: outside every hospital stay"
ON_OR_BEFORE = "excluded: not at risk: icu_stay began on or before the day of the study"
BEFORE = "excluded: not at risk: icu_stay began before the day of the study"
STILL_OPEN = "missing: the hospital stay is still open"
ENDED_UNKNOWN = "missing: how the hospital stay ended is not recorded"
DEATH_UNDATED = "missing: death without a usable day on record"


def without(kind: str) -> Tables:
    """A cohort that holds no events of this kind."""
    return replace(NOTHING, absent={kind: "no file holds it"})


def stay(start: float | None, end: float | None, how: str | None = "Home or Self Care", of: str = "c") -> dict:
    return {"case_id": of, "kind": "hospital_stay", "start_day": start, "end_day": end, "value": how}


def open_stay(start: float, of: str = "c") -> dict:
    return stay(start, None, None, of=of)


def icu(start: float | None, end: float | None = None, of: str = "c") -> dict:
    return {"case_id": of, "kind": "icu_stay", "start_day": start, "end_day": end}


def ventilation(start: float | None, end: float | None = None, of: str = "c") -> dict:
    return {"case_id": of, "kind": "ventilation", "start_day": start, "end_day": end}


def death(day: float | None, of: str = "c") -> dict:
    return {"case_id": of, "kind": "death", "start_day": day}


def covid_test(day: float | None, result: str | None, of: str = "c", method: str | None = None) -> dict:
    return {"case_id": of, "kind": "covid_test", "start_day": day, "value": result, "name": method}


def tables_of(*events: dict, cases: list[dict] | None = None, studies: pd.DataFrame | None = None) -> Tables:
    """cases: by default `c` and `other`, both of site A."""
    cases = cases or [{"case_id": "c", "site": "A"}, {"case_id": "other", "site": "A"}]
    given = {"cases": pd.DataFrame([{"patient_id": row["case_id"], **row} for row in cases]), "studies": studies}
    given["events"] = pd.DataFrame(list(events)) if events else None
    checked = {
        table.name: checked_table(given[table.name], table, where="test")
        for table in FIVE_TABLES
        if given.get(table.name) is not None
    }
    return replace(NOTHING, **checked)


def studies_on(*days: float | None, of: str = "c", site: str | None = "A") -> pd.DataFrame:
    days = pd.Series(days, dtype="float64")
    return pd.DataFrame({"study_id": [f"s{i}" for i in range(len(days))], "case_id": of, "site": site, "day": days})


def told(result: pd.DataFrame) -> list[float | str]:
    """For each row its label, or `missing: why`, or `excluded: why`: always exactly one of them."""
    answers = []
    for row in result.to_dict("records"):
        said = [row["label"]] if not pd.isna(row["label"]) else []
        said += [f"{column}: {row[column]}" for column in ("missing", "excluded") if row[column] is not None]
        assert len(said) == 1
        answers += said
    return answers


def wrong(rule: Callable[..., pd.DataFrame], *lines: Line, **settings: object) -> list[str]:
    """Where `rule` gives another answer than the line expects. Each line is a patient of its own, of site A.

    A line: (the patient's events, the day of the study, the answer: a label, or why there is none).
    """
    cases = [{"case_id": f"c{number}", "site": "A"} for number in range(len(lines))]
    events = [
        {**event, "case_id": case["case_id"]} for case, line in zip(cases, lines, strict=True) for event in line[0]
    ]
    tables = tables_of(*DATED_THERE, *events, cases=[*cases, {"case_id": "other", "site": "A"}])
    rows = studies_on(*(line[1] for line in lines)).assign(case_id=[case["case_id"] for case in cases])
    answers = told(rule(tables, rows, **settings))
    return [f"{line}: {said}" for line, said in zip(lines, answers, strict=True) if said != line[2]]
