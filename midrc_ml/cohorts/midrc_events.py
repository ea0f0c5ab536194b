"""The events of an export: tests, stays, deaths, ventilation, diagnoses, medication, observations."""

from collections.abc import Callable

import pandas as pd

from midrc_ml.cohorts.discharge import ALIVE, DIED, OPEN, UNCLEAR, DischargeWords
from midrc_ml.cohorts.midrc_breathing import NONINVASIVE, BreathingWords
from midrc_ml.cohorts.midrc_files import Export
from midrc_ml.cohorts.midrc_lists import exploded
from midrc_ml.cohorts.midrc_patients import one_case_each, site_of
from midrc_ml.errors import TableError
from midrc_ml.tables.checks import NUM_SHOWN
from midrc_ml.tables.keys import is_among
from midrc_ml.tables.schemas import MAX_DAYS

_COLUMNS = ["case_id", "kind", "name", "start_day", "end_day", "value", "unit", "source"]
_BREATHING_SUPPORT = "Breathing Support"
_COVID_19 = "COVID-19"  # the only test_name of the dictionary
_COVID = r"covid|sars.?cov.?2"


EVENT_NODES = ("measurement", "visit", "procedure", "condition", "medication", "observation")


def event_cases(export: Export, known_cases: pd.Series, notes: list[str]) -> list[tuple[str, ...]]:
    """Give each row of the event nodes its `case_id`; the groups of ids that rows name as one person."""
    groups = []
    for name in EVENT_NODES:
        if name in export.nodes:
            node = export.nodes[name]
            case_id, named_together = one_case_each(name, node["case_ids"], known_cases, notes)
            export.nodes[name] = node.assign(case_id=case_id)
            groups += named_together
    return groups


def read_events(
    export: Export,
    cases: pd.DataFrame | None,
    copies: pd.DataFrame | None,
    *,
    discharge: DischargeWords,
    breathing: BreathingWords,
    notes: list[str],
) -> pd.DataFrame:
    """The events table, of nodes whose rows have their `event_cases`.

    copies: every copy of every study, for the days to tests that they name.

    Raises:
        TableError: days to tests that are no days.
    """
    frames = []
    readers: dict[str, Callable[[pd.DataFrame], list[pd.DataFrame]]] = {
        "measurement": lambda node: [_tests(node, notes)],
        "visit": lambda node: _visits(node, _outcomes(node, cases, discharge), notes),
        "procedure": lambda node: _procedures(node, breathing, notes),
        "condition": lambda node: [_conditions(node)],
        "medication": lambda node: [_medications(node)],
        "observation": lambda node: [_observations(node)],
    }
    for name, reader in readers.items():
        if name in export.nodes:
            node = export.nodes[name].dropna(subset="case_id")
            project = node["project_id"]
            frames += [f.assign(source=name, project=project.reindex(f.index)) for f in reader(node)]
    if copies is not None:
        frames.append(_tests_near_studies(copies, frames[0] if "measurement" in export.nodes else None, notes))
    if not frames:
        return pd.DataFrame(columns=_COLUMNS)
    events = pd.concat([frame.reindex(columns=[*_COLUMNS, "project"]) for frame in frames], ignore_index=True)
    return _once_a_case(events, export, notes)[_COLUMNS]


def _once_a_case(events: pd.DataFrame, export: Export, notes: list[str]) -> pd.DataFrame:
    """Events without those that two projects tell of the same case."""
    if "case" not in export.nodes:
        return events
    shared = export.nodes["case"].groupby("submitter_id")["project_id"].nunique()
    of_shared = events["case_id"].isin(shared.index[shared > 1])
    if not of_shared.any():
        return events
    several = events[of_shared].sort_values([*_COLUMNS, "project"])
    again = several.duplicated(_COLUMNS) & ~several.duplicated([*_COLUMNS, "project"])
    if again.any():
        notes.append(f"events: {int(again.sum())} stand in two projects for the same case; each is taken once")
    return events.drop(index=several.index[again])


def _tests(node: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    other = node["test_name"].notna() & ~node["test_name"].str.contains(_COVID, case=False, regex=True).eq(True)
    if other.any():
        notes.append(f"measurement: {int(other.sum())} rows are of another test than {_COVID_19}; they are not read")
        node = node[~other]
    return pd.DataFrame(
        {
            "case_id": node["case_id"],
            "kind": "covid_test",
            "name": node["test_method"],
            "start_day": node["test_days_from_index"],
            "value": node["test_result_text"],
        }
    )


def _tests_near_studies(copies: pd.DataFrame, measured: pd.DataFrame | None, notes: list[str]) -> pd.DataFrame:
    """Tests that only the studies tell of: `days_from_study_to_*`, negative where the test came before the image."""
    found = []
    undated = 0
    problems: list[str] = []
    for column, given, result in (
        ("to_positive", "days_from_study_to_pos_covid_test", "Positive"),
        ("to_negative", "days_from_study_to_neg_covid_test", "Negative"),
    ):
        items = exploded(copies[column])
        items = items[~items.isin(["None", "nan", "null"])]
        days = pd.to_numeric(items, errors="coerce")
        bad = ~days.abs().le(MAX_DAYS)
        if bad.any():
            shown = ", ".join(map(repr, items[bad].head(NUM_SHOWN)))
            problems.append(
                f"imaging_study: {given} must hold days (numbers of at most {MAX_DAYS}, no dates); {int(bad.sum())} "
                f"items are none ({shown}{', ...' if bad.sum() > NUM_SHOWN else ''})"
            )
        at = copies.loc[days.index, ["case_id", "day", "project"]]
        start = at["day"].to_numpy() + days.to_numpy()
        undated += int(at["day"].isna().sum())
        found.append(at[["case_id", "project"]].assign(start_day=start, value=result))
    if problems:
        raise TableError(problems)
    if undated:
        notes.append(
            f"imaging_study: {undated} days from a study to a test have no day of the study; they are not used"
        )
    keys = ["case_id", "start_day", "value"]
    tests = pd.concat(found, ignore_index=True).dropna(subset="start_day").drop_duplicates(keys)
    if measured is not None and len(tests):
        told = measured[keys].drop_duplicates().assign(told=True)
        tests = tests[tests[keys].merge(told, on=keys, how="left")["told"].isna().to_numpy()]
    return tests.assign(kind="covid_test", source="imaging_study")


def _outcomes(node: pd.DataFrame, cases: pd.DataFrame | None, words: DischargeWords) -> pd.Series:
    site = site_of(node["case_id"])
    if cases is not None:
        site = node["case_id"].map(cases.set_index("case_id")["site"]).fillna(site)
    return words.outcomes(node["discharge_type"], site)


def _visits(node: pd.DataFrame, outcome: pd.Series, notes: list[str]) -> list[pd.DataFrame]:
    """Hospital stays, ICU stays and deaths of the visit rows. outcome: how each stay ended, where its words are known.

    A stay that ends before it starts, or has an end and no start, has no day that can be used; both are counted, and
    kept without their days, because a label must not take the patient for one who was never there. So is a death
    without a day, unless another row dates it. A stay whose patient is still there (`open`) has no end, whatever its
    row says. An ICU stay without an end that began before its own row's
    hospital stay is taken to have reached it, and counted: without an end it would belong to neither.
    """
    died = outcome == DIED
    for rows, words in (
        (node["discharge_type"].notna() & outcome.isna(), "that is in no list of words"),
        (outcome == UNCLEAR, "that does not say whether the patient lived"),
    ):
        if rows.any():
            notes.append(
                f"visit: {int(rows.sum())} rows have a discharge_type {words} (cohort.discharge); how they ended "
                f"counts as not recorded"
            )
    stays = []
    for kind, name in (("hospital_stay", "hospital"), ("icu_stay", "icu")):
        start, end = node[f"days_to_{name}_admission"], node[f"days_to_{name}_discharge"]
        no_start = start.isna() & end.notna()
        reversed_days = end < start
        for wrong, words in (
            (no_start, "have a discharge day but no admission day"),
            (reversed_days, "end before they start"),
        ):
            if wrong.any():
                notes.append(f"visit: {int(wrong.sum())} {name} stays {words}; their days are not used")
        unusable = no_start | reversed_days
        frame = pd.DataFrame({"case_id": node["case_id"], "kind": kind})
        frame["start_day"], frame["end_day"] = start.mask(unusable), end.mask(unusable)
        if kind == "hospital_stay":
            frame["value"] = node["discharge_type"].where(outcome.isin([DIED, ALIVE]))
            frame["end_day"] = frame["end_day"].mask(outcome == OPEN)
            stays.append(frame[start.notna() | end.notna()])
            continue
        arrival = node["days_to_hospital_admission"]
        reaches = (frame["start_day"] < arrival) & frame["end_day"].isna()
        frame["end_day"] = frame["end_day"].mask(reaches, arrival)
        if reaches.any():
            notes.append(
                f"visit: {int(reaches.sum())} icu stays without a discharge day begin before the hospital admission "
                f"of their row; they are taken to last until it"
            )
        stays.append(frame[start.notna() | end.notna()])
    ended, admitted = node["days_to_hospital_discharge"], node["days_to_hospital_admission"]
    deaths = pd.DataFrame({"case_id": node["case_id"], "kind": "death", "start_day": ended.mask(ended < admitted)})
    deaths = deaths[died].drop_duplicates()
    undated = deaths["start_day"].isna()
    if undated.any():
        notes.append(f"visit: {int(undated.sum())} cases died on a day that is not recorded; no label is made of it")
    dated = deaths.loc[~undated, "case_id"]
    return [*stays, deaths[~undated | ~is_among(deaths["case_id"], dated)]]


def _procedures(node: pd.DataFrame, breathing: BreathingWords, notes: list[str]) -> list[pd.DataFrame]:
    """Ventilation, and breathing support that is none, of the procedure rows."""
    other = node["procedure_name"].notna() & (node["procedure_name"] != _BREATHING_SUPPORT)
    if other.any():
        notes.append(f"procedure: {int(other.sum())} rows are no {_BREATHING_SUPPORT}; they are not read")
    node = node[~other]
    kind = breathing.kinds(node["breathing_support_type"])
    start, end = node["days_to_procedure_start"], node["days_to_procedure_end"]
    unusable = (start.isna() & end.notna()) | (end < start)
    unknown = kind.isna()
    for wrong, words in (
        (unusable, "end before they start, or have an end and no start"),
        (unknown & ~unusable, "have a breathing_support_type that is in neither list of cohort.breathing_support"),
    ):
        if wrong.any():
            notes.append(
                f"procedure: {int(wrong.sum())} rows {words}; they are kept, but their days are not used, so that they "
                f"count neither for nor against a ventilation"
            )
    words = node["breathing_support_type"]
    frame = pd.DataFrame(
        {
            "case_id": node["case_id"],
            "kind": "ventilation",
            "name": words,
            "start_day": start.mask(unusable | unknown),
            "end_day": end.mask(unusable | unknown),
        }
    )
    is_other = kind == NONINVASIVE
    support = frame.assign(kind="observation", name="breathing_support", value=words)
    return [frame[~is_other], support[is_other]]


def _conditions(node: pd.DataFrame) -> pd.DataFrame:
    columns = {"name": "condition_code", "value": "condition_name", "unit": "condition_code_system"}
    return _spans(node, "condition", **columns)


def _medications(node: pd.DataFrame) -> pd.DataFrame:
    named = node.assign(medication_name=node["medication_name"].fillna(node["medication_code"]))
    return _spans(named, "medication", name="medication_name", value="medication_type")


def _spans(node: pd.DataFrame, kind: str, **columns: str) -> pd.DataFrame:
    days = {"start_day": node[f"days_to_{kind}_start"], "end_day": node[f"days_to_{kind}_end"]}
    texts = {name: node[column] for name, column in columns.items()}
    return pd.DataFrame({"case_id": node["case_id"], "kind": kind, **days, **texts})


def _observations(node: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case_id": node["case_id"],
            "kind": "observation",
            "name": node["observation_name"],
            "start_day": node["days_to_observation"],
            "value": node["observation_answer"],
        }
    )
