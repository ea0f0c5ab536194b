"""Events of somebody's own tables whose day counts from something that is missing: they happened all the same."""

from pathlib import Path

import pandas as pd
import pytest
from test_csv_cohort import CASES, read

from midrc_ml.tasks.outcomes import event_within_horizon

COUNTED = (
    "events from e.csv: 1 of 2 icu_stay rows are kept without their start_day, as what it counts from is missing: "
    "it happened, but nobody knows when"
)
# Patient A's origin is there, B's is not, and C was never in intensive care.
FROM_INDEX_DATE = """
cases: {file: p.csv, columns: {case_id: pid, index_date: {column: index, date: iso}}}
events: {file: e.csv, kind: icu_stay, columns: {case_id: pid, start_day: {column: icu, date: iso}}}
"""
FROM_A_COLUMN = """
cases: {file: p.csv, columns: {case_id: pid}}
events: {file: e.csv, kind: icu_stay, columns: {case_id: pid, start_day: {column: icu, date: iso, origin: adm}}}
"""
FROM_A_DAY = """
cases: {file: p.csv, columns: {case_id: pid}}
events: {file: e.csv, kind: icu_stay, columns: {case_id: pid, start_day: {column: after, origin: adm_day}}}
"""
FILES = {
    "p.csv": "pid,index\nA,2020-03-01\nB,\nC,2020-03-01\n",
    "e.csv": "pid,icu,adm,after,adm_day\nA,2020-03-05,2020-03-01,4,0\nB,2020-03-05,,4,\nC,,2020-03-01,,0\n",
}


@pytest.mark.parametrize("description", [FROM_INDEX_DATE, FROM_A_COLUMN, FROM_A_DAY])
def test_an_event_without_its_origin_is_kept_without_its_day(description: str, tmp_path: Path) -> None:
    tables = read(tmp_path, FILES, description)
    days = tables.events.set_index("case_id")["start_day"]
    assert set(days.index) == {"A", "B"}
    assert days["A"] == 4
    assert pd.isna(days["B"])
    assert COUNTED in tables.notes
    assert "events from e.csv: 1 of 3 rows are blank in start_day: no icu_stay is made of them" in tables.notes


def test_a_patient_whose_icu_day_counts_from_a_study_without_a_day_is_no_negative(tmp_path: Path) -> None:
    """B's first film has no day, so that neither has the ICU stay after it; B's second film must not be a 0."""
    files = {
        "p.csv": "pid,site,adm,dis\nA,X,0,20\nB,X,0,20\nC,X,0,20\n",
        "s.csv": "acc,pid,day\n1,A,1\n2,B,\n3,B,2\n4,C,1\n",
        "e.csv": "acc,icu\n1,4\n2,4\n4,\n",
    }
    description = """
    cases: {file: p.csv, columns: {case_id: pid, site: site}}
    studies: {file: s.csv, columns: {study_id: acc, case_id: pid, day: day}}
    events:
      - {file: p.csv, kind: hospital_stay, columns: {case_id: pid, start_day: adm, end_day: dis, value: {value: alive}}}
      - {file: e.csv, kind: icu_stay, columns: {study_id: acc, start_day: {column: icu, origin: {of: study}}}}
    """
    tables = read(tmp_path, files, description)
    assert COUNTED in tables.notes
    rows = tables.studies.sort_values("study_id").merge(tables.cases[["case_id", "site"]], on="case_id")
    found = event_within_horizon(tables, rows, event="icu_stay", horizon_days=14)
    assert found["label"].astype(object).where(found["label"].notna(), None).tolist() == [1, None, None, 0]


def test_a_row_that_says_no_is_not_counted_as_an_event_that_lost_its_day(tmp_path: Path) -> None:
    files = {"p.csv": "pid,out,died,none\nA,9,yes,\nB,9,no,\nC,9,no,\n"}
    description = f"""
    {CASES}
    events:
      file: p.csv
      kind: death
      columns: {{case_id: pid, happened: died, start_day: {{column: out, origin: none}}}}
    """
    tables = read(tmp_path, files, description)
    assert tables.events["case_id"].tolist() == ["A"]
    assert any(note.startswith("events from p.csv: 1 of 1 death rows are kept without") for note in tables.notes)


def test_marks_for_missing_values_make_no_event(tmp_path: Path) -> None:
    """What the description itself calls missing, by `missing:` or by a map, is as good as a blank cell."""
    files = {"p.csv": "pid,icu,tag\nA,NA,none\nB,3,flu\nC,NA,cold\n"}
    description = f"""
    {CASES}
    events:
      - {{file: p.csv, missing: NA, kind: icu_stay, columns: {{case_id: pid, start_day: icu}}}}
      - file: p.csv
        kind: condition
        columns: {{case_id: pid, name: {{column: tag, map: {{none: '', flu: influenza}}, others: null}}}}
    """
    tables = read(tmp_path, files, description)
    assert list(zip(tables.events["case_id"], tables.events["kind"], strict=True)) == [
        ("B", "icu_stay"),
        ("B", "condition"),
    ]
    others = [note for note in tables.notes if "are not in its map and become missing" in note]
    assert others == ["events from p.csv: 1 values of name are not in its map and become missing"]
