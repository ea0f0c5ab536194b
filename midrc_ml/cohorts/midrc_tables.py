"""The five tables of a MIDRC export, from its nodes, the words of its sites, and the images beside them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.contradictions import Contradiction, settle_contradictions
from midrc_ml.cohorts.discharge import DischargeWords
from midrc_ml.cohorts.midrc_breathing import BreathingWords
from midrc_ml.cohorts.midrc_cases import note_odd_ages, one_study_each, read_cases, study_copies
from midrc_ml.cohorts.midrc_events import event_cases, read_events
from midrc_ml.cohorts.midrc_files import Export, read_export
from midrc_ml.cohorts.midrc_lists import sorted_by
from midrc_ml.cohorts.midrc_nodes import SERIES_NODES, SUPPLIED_BY
from midrc_ml.cohorts.midrc_patients import patient_ids, project_ranks
from midrc_ml.cohorts.midrc_readings import read_readings
from midrc_ml.cohorts.midrc_series import series_rows, with_files
from midrc_ml.cohorts.reader import Tables
from midrc_ml.tables.schemas import FIVE_TABLES, SERIES, Table

_TEST_DAYS = ("days_from_study_to_pos_covid_test", "days_from_study_to_neg_covid_test")


def read_tables(
    root: Path,
    *,
    synthetic: bool,
    aliases: Sequence[tuple[str, ...]],
    projects_first: Sequence[str],
    on_contradiction: str,
    cache_dir: str | None,
    discharge: DischargeWords,
    breathing: BreathingWords,
) -> Tables:
    """The five tables of what lies below `root`; settings as of `MidrcCohort`.

    Raises:
        InputError: no folder, or nothing to read in it.
        TableError: rows that break the dictionary's rules or contradict each other, all at once.
    """
    export = read_export(root)
    notes = list(export.notes)
    ranks = project_ranks(_projects(export), projects_first)
    found: list[Contradiction] = []
    cases = copies = studies = readings = None
    groups: list[tuple[str, ...]] = list(aliases)
    if "case" in export.nodes:
        cases, contradictory = read_cases(export.nodes["case"], ranks, notes)
        found += contradictory
    known = cases["case_id"] if cases is not None else pd.Series([], dtype="str")
    if "imaging_study" in export.nodes:
        copies, named_together = study_copies(export.nodes["imaging_study"], known, ranks, notes)
        groups += named_together
    groups += event_cases(export, known, notes)
    series = series_rows(export, copies, notes)
    differently: frozenset[str] = frozenset()
    if "annotation" in export.nodes:
        readings, differently = read_readings(export.nodes["annotation"], copies, series, notes)
    if cases is not None:
        cases["patient_id"] = patient_ids(known, groups)
        known_ids = set(known)
        strays = sum(name not in known_ids for name, _ in aliases)
        if strays:
            notes.append(f"aliases: {strays} rows have an id that is in no case row")
    if copies is not None:
        empty = pd.DataFrame({"case_id": pd.Series(dtype="str")})
        studies, contradictory = one_study_each(copies, empty if cases is None else cases, differently, notes)
        found += contradictory
        if cases is not None:
            note_odd_ages(cases, studies, notes)
    events = read_events(export, cases, copies, discharge=discharge, breathing=breathing, notes=notes)
    series = with_files(series, copies, root, cache_dir, notes)
    given = {"cases": cases, "studies": studies, "series": series, "events": events, "readings": readings}
    absent = _absent(export, series)
    tables = Tables.checked(
        origin="synthetic MIDRC export" if synthetic else "MIDRC export",
        synthetic=synthetic,
        **{table.name: _in_order(given[table.name], table) for table in FIVE_TABLES},
        absent=absent,
        notes=tuple(notes),
    )
    return settle_contradictions(tables, rule=on_contradiction, found=found)  # type: ignore[arg-type]


def _projects(export: Export) -> set[str]:
    return {
        name
        for node in ("case", "imaging_study")
        if node in export.nodes
        for name in export.nodes[node]["project_id"].dropna().unique()
    }


def _absent(export: Export, series: pd.DataFrame | None) -> dict[str, str]:
    """What no file holds: {table or kind of event: where it would come from}."""
    absent = {
        name: f"from {words}: no such export in cohort.root"
        for name, (nodes, words) in SUPPLIED_BY.items()
        if not any(node in export.columns for node in nodes)
    }
    if series is not None and len(series):
        absent.pop("series", None)  # the images tell of themselves
    elif not SERIES_NODES.keys() & export.columns.keys():
        absent["series"] = f"from {SUPPLIED_BY['series'][1]}: no export in cohort.root names a series"
    if any(column in export.columns.get("imaging_study", ()) for column in _TEST_DAYS):
        absent.pop("covid_test", None)
    return {**absent, "laboratory": "MIDRC has no node for laboratory values"}


def _in_order(frame: pd.DataFrame | None, table: Table) -> pd.DataFrame | None:
    """Rows in an order of their own: that of the files, and of the rows in them, makes no difference.

    A million series are left as they come: who takes one of a study chooses it by its id.
    """
    if frame is None or table is SERIES:
        return frame
    return sorted_by(frame, table.key or [column.name for column in table.columns if column.name in frame])
