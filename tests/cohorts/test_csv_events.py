"""Events of somebody's own tables that may not have happened, are another's, or end in words that nobody knows."""

from pathlib import Path

import pandas as pd
import pytest
from test_csv_cohort import CASES, PATIENTS, read
from test_csv_refusals import refusal

from midrc_ml.cohorts.csv_events import STAY_ENDS
from midrc_ml.cohorts.reader import Tables
from midrc_ml.tasks.outcomes import event_within_horizon
from midrc_ml.tasks.stays import DEATH_WORDS

STAYS = """
cases: {file: p.csv, columns: {case_id: pid, site: {value: X}}}
studies: {file: p.csv, columns: {study_id: pid, case_id: pid, day: {value: 1}}}
events:
  - {file: p.csv, kind: hospital_stay, columns: {case_id: pid, start_day: adm, end_day: dis, value: how}}
  - {file: p.csv, kind: KIND, columns: {case_id: pid, happened: HAPPENED, start_day: day}}
"""
ROWS = "pid,adm,dis,had,day,how\nA,0,20,,4,discharged\nB,0,20,,,discharged\n"
ROWS += "C,0,20,yes,4,discharged\nD,0,20,no,4,discharged\n"


def labels(tables: Tables, kind: str) -> dict[str, int | None]:
    rows = tables.studies.merge(tables.cases[["case_id", "site"]], on="case_id")
    found = event_within_horizon(tables, rows, event=kind, horizon_days=30)
    return {
        case: None if pd.isna(label) else int(label)
        for case, label in zip(rows["case_id"], found["label"], strict=True)
    }


@pytest.mark.parametrize("kind", ["icu_stay", "ventilation", "death"])
def test_where_nobody_says_whether_it_happened_a_label_is_missing(kind: str, tmp_path: Path) -> None:
    tables = read(tmp_path, {"p.csv": ROWS}, STAYS.replace("KIND", kind).replace("HAPPENED", "had"))
    days = tables.events[tables.events["kind"] == kind].set_index("case_id")["start_day"]
    assert days.fillna(-1).to_dict() == {"A": -1, "B": -1, "C": 4}
    assert labels(tables, kind) == {"A": None, "B": None, "C": 1, "D": 0}
    assert f"events from p.csv: 1 of 4 rows say that it did not happen: no {kind} is made of them" in tables.notes
    (note,) = [note for note in tables.notes if "whether it happened" in note]
    assert note.startswith(
        f"events from p.csv: 2 of 4 rows do not say whether it happened: {kind} is kept without its day"
    )


def test_a_blank_cell_means_no_where_the_description_says_so(tmp_path: Path) -> None:
    happened = "{column: had, map: {'': false}, others: '{}'}"
    tables = read(tmp_path, {"p.csv": ROWS}, STAYS.replace("KIND", "icu_stay").replace("HAPPENED", happened))
    assert labels(tables, "icu_stay") == {"A": 0, "B": 0, "C": 1, "D": 0}
    assert "events from p.csv: 3 of 4 rows say that it did not happen: no icu_stay is made of them" in tables.notes


def test_a_diagnosis_that_may_not_be_one_is_none(tmp_path: Path) -> None:
    """Its absence tells nothing, so that it need not be kept."""
    columns = "{case_id: pid, happened: had, name: {value: flu}}"
    description = f"{CASES}\nevents: {{file: p.csv, kind: condition, columns: {columns}}}"
    tables = read(tmp_path, {"p.csv": ROWS}, description)
    assert tables.events["case_id"].tolist() == ["C"]
    assert "events from p.csv: 2 of 4 rows do not say whether it happened: no condition is made of them" in tables.notes


def test_an_event_by_the_study_of_another_case_is_refused_or_takes_both_cases_out(tmp_path: Path) -> None:
    description = """
    cases: {file: p.csv, columns: {case_id: pid}}
    studies: {file: s.csv, columns: {study_id: acc, case_id: pid, day: day}}
    events:
      file: e.csv
      kind: icu_stay
      columns: {case_id: pid, study_id: acc, start_day: {column: after, origin: {of: study}}}
    """
    files = {
        "p.csv": "pid\nA\nB\nC\n",
        "s.csv": "acc,pid,day\n1,A,100\n2,B,1\n3,C,5\n",
        "e.csv": "pid,acc,after\nB,1,3\nC,3,1\nC,9,1\n",
    }
    told = refusal(tmp_path, files, description)
    assert "e.csv: study_id must be a study of the row's case; 1 row does not (rows 2); correct them" in told
    tables = read(tmp_path, files, description, on_contradiction="leave_out")
    assert tables.cases["case_id"].tolist() == ["C"]
    assert tables.studies["study_id"].tolist() == ["3"]
    assert tables.events["start_day"].fillna(-1).tolist() == [6, -1]
    assert "2 cases left out with everything of theirs: 1 events name a study of another case" in tables.notes


def test_a_stay_ends_in_words_that_labels_know(tmp_path: Path) -> None:
    description = STAYS.replace("KIND", "icu_stay").replace("HAPPENED", "had")
    files = {
        "p.csv": ROWS.replace("A,0,20,,4,discharged", "A,0,20,,4,Discharged").replace(
            "B,0,20,,,discharged", "B,0,20,,,DIED"
        )
    }
    values = read(tmp_path, files, description).events.query("kind == 'hospital_stay'").set_index("case_id")["value"]
    assert values.to_dict() == {"A": "discharged", "B": "died", "C": "discharged", "D": "discharged"}
    files = {
        "p.csv": ROWS.replace("A,0,20,,4,discharged", "A,0,20,,4,verstorben").replace(
            "B,0,20,,,discharged", "B,0,20,,,home"
        )
    }
    told = refusal(tmp_path, files, description)
    assert (
        "p.csv: value of hospital_stay: 2 rows hold one of 2 values that are not known, 'home' (1), 'verstorben' (1)"
        in told
    )
    assert "with a `map:` give each one of discharged, deceased, or '' where it does not say" in told
    mapped = description.replace(
        "value: how", "value: {column: how, map: {discharged: alive, home: alive, verstorben: ''}}"
    )
    tables = read(tmp_path, files, mapped)
    values = tables.events.query("kind == 'hospital_stay'").set_index("case_id")["value"]
    assert values.fillna("").to_dict() == {"A": "", "B": "alive", "C": "alive", "D": "alive"}


def test_the_ends_of_stays_hold_every_word_that_tasks_take_for_a_death() -> None:
    assert set(STAY_ENDS) == {*DEATH_WORDS, "discharged", "alive"}


def test_rows_that_are_asked_for_and_never_found_are_a_mistake(tmp_path: Path) -> None:
    events = "{file: e.csv, kind: icu_stay, only: {type: WANTED}, columns: {case_id: pid, start_day: d}}"
    description = f"{CASES}\nevents: {events}"
    files = {"p.csv": PATIENTS, "e.csv": "pid,type,d\nA,its,1\nB,Its,2\nB,ward,\nB,,3\n"}
    told = refusal(tmp_path, files, description.replace("WANTED", "ITS"))
    assert told == "cohort.events.only: no row of e.csv has 'ITS' in 'type', did you mean 'its' or 'Its'?"
    assert "has 'wards' in 'type', did you mean 'ward'?" in refusal(
        tmp_path, files, description.replace("WANTED", "[its, wards]")
    )
    told = refusal(tmp_path, files, description.replace("WANTED", "[7, xyz]"))
    assert "no row of e.csv has 7 in 'type'; " in told
    assert told.endswith("no row of e.csv has 'xyz' in 'type'")
    tables = read(tmp_path, files, description.replace("WANTED", "[its, '']"))
    assert tables.events["start_day"].tolist() == [1, 3]
    assert (
        "events from e.csv: 2 of 4 rows are left out, as `only:` asks, 1 of them for upper and lower case alone"
        in tables.notes
    )
    none = read(
        tmp_path, files | {"e.csv": "pid,type,d\n"}, description.replace("WANTED", "ITS")
    )  # a table without rows
    assert none.events.empty
