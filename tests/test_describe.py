"""`describe`: counts by hand on a small invented cohort, and what it leaves behind."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import Selection
from midrc_ml.describe import describe
from midrc_ml.errors import InputError
from midrc_ml.evaluation.evaluate import Fairness
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.evaluation.power import PowerAssumptions
from midrc_ml.reporting.description import text_of
from midrc_ml.splits.by_patient import ByPatient
from midrc_ml.tasks.task import Task


@dataclass(frozen=True)
class Given:
    tables: Tables

    @property
    def query(self) -> Mapping[str, object]:
        return {"cohort": "given"}

    def read(self) -> Tables:
        return self.tables


def by_flag(tables: Tables, rows: pd.DataFrame, *, event: str = "icu_stay") -> pd.DataFrame:
    """The label is the case's flag; `event` is only named, as a dated rule would."""
    flag = rows["case_id"].map(tables.cases.set_index("case_id")["icu_ever"]).astype("boolean")
    missing = pd.Series(["flag blank" if blank else None for blank in flag.isna()], dtype=object)
    return pd.DataFrame({"label": flag.astype("Float64").astype("float64"), "missing": missing, "excluded": None})


def task(**settings) -> Task:
    given = {
        "name": "flagged",
        "version": 3,
        "question": "Was it so?",
        "source": "test",
        "kind": "binary",
        "label": partial(by_flag, event="icu_stay"),
        "metrics": {"auroc": auroc},
        "needs": ["cases"],
        "selection": Selection(min_age=18),
    }
    return Task(**{**given, **settings})


def cohort(*, studies: bool) -> Given:
    """40 cases at two sites: every second one flagged, four blank, one child; two studies each."""
    cases = pd.DataFrame({"case_id": [f"c{i:02d}" for i in range(40)]})
    cases["patient_id"] = cases["case_id"]
    cases["site"] = ["A" if i < 25 else "B" for i in range(40)]
    cases["sex"] = ["Male" if i % 4 < 2 else "Female" for i in range(40)]
    cases["age"] = [12 if i == 39 else 40 + i for i in range(40)]
    cases["icu_ever"] = [None if i < 4 else i % 2 == 0 for i in range(40)]
    events = pd.DataFrame([{"case_id": "c04", "kind": "icu_stay", "start_day": 5, "end_day": 9}])
    if not studies:
        absent = {"studies": "from the imaging_study node", "series": "from the series_file nodes"}
        return Given(Tables.checked(origin="tables alone", cases=cases, events=events, absent=absent))
    film = pd.DataFrame({"case_id": [case for case in cases["case_id"] for _ in range(2)]})
    film["study_id"] = [f"{case}-{i % 2}" for i, case in enumerate(film["case_id"])]
    film["day"] = [0.0, 5.0] * 40
    series = pd.DataFrame({"series_id": film["study_id"], "study_id": film["study_id"], "modality": "DX", "view": "AP"})
    return Given(Tables.checked(origin="films", cases=cases, studies=film, series=series, events=events))


def run(given: Given, folder: Path, **settings) -> dict:
    return describe(
        cohort=given,
        task=task(**settings),
        split=ByPatient(stratify=["label"]),
        fairness=Fairness(columns=["sex"]),
        power=PowerAssumptions(),
        output_dir=folder,
    )


def test_a_case_table_alone_is_described_case_by_case_and_says_what_could_not_be_asked(tmp_path: Path) -> None:
    flow = run(cohort(studies=False), tmp_path)
    assert flow["unit"] == "case"
    assert flow["tables"]["flags"]["icu_ever"] == {"true": 18, "false": 18, "blank": 4}
    # Case 39, a child, is one of the 18 without the flag.
    assert sum(row["n"] for row in flow["labels_by"]["site"]) == 35
    assert {row["site"]: (row["n"], row["n_positive"]) for row in flow["labels_by"]["site"]} == {
        "A": (21, 11),
        "B": (14, 7),
    }
    assert [step["step"] for step in flow["steps"] if "not_applicable" in step][-1] == "has an image file"
    assert sum(row["n"] for row in flow["split"]) == 35
    left_out = pd.read_parquet(tmp_path / "excluded.parquet")
    assert sorted(left_out["case_id"]) == ["c00", "c01", "c02", "c03", "c39"]


def test_studies_are_counted_with_their_cases_and_the_days_to_the_events(tmp_path: Path) -> None:
    flow = run(cohort(studies=True), tmp_path)
    assert flow["unit"] == "study"
    assert sum(row["n"] for row in flow["labels_by"]["sex"]) == 70
    assert sum(row["n_cases"] for row in flow["labels_by"]["sex"]) == 35
    (row,) = flow["days_to_event"]
    assert row | {} == {
        "kind": "icu_stay", "n": 2, "undated": 0, "before": 0, "same_day": 1, "after": 1,
        "min": 0.0, "p10": 0.5, "median": 2.5, "p90": 4.5, "max": 5.0,
    }  # fmt: skip
    assert {row["column"]: row["n"] for row in flow["missing"]}["race"] == 70
    assert flow["follow_up"]["n"] == 2
    (test_part,) = [row for row in flow["split"] if row["part"] == "test"]
    assert flow["power"]["overall"]["n_patients"] == test_part["n_patients"]
    assert flow["power"]["overall"]["n"] == test_part["n"]


def test_what_is_printed_and_what_is_written_agree(tmp_path: Path) -> None:
    flow = run(cohort(studies=True), tmp_path)
    assert json.loads((tmp_path / "cohort_flow.json").read_text()) == flow
    assert (tmp_path / "flow.png").stat().st_size > 5000
    assert (tmp_path / "split.sha256").read_text().strip() == flow["split_sha256"]
    text = text_of(flow, question="q")
    assert "- 8 flag blank: A 8" in text
    assert "icu_ever" in text
    assert "Labels by race" in text
    assert "c00" not in text


def test_an_image_of_no_study_is_counted_and_listed(tmp_path: Path) -> None:
    given = cohort(studies=True)
    given.tables.series.loc[[0, 5], "study_id"] = "of no study"
    flow = run(given, tmp_path)
    assert flow["tables"]["rows"]["series of no study"] == 2
    listed = pd.read_parquet(tmp_path / "series_of_no_study.parquet")
    assert listed["series_id"].tolist() == ["c00-0", "c02-1"]
    reasons = {entry["reason"]: entry["n"] for step in flow["steps"] for entry in step["excluded"]}
    assert reasons["no CR or DX series"] == 2


def test_a_table_that_is_needed_and_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task=flagged needs studies \(from the imaging_study node\)"):
        run(cohort(studies=False), tmp_path, needs=["cases", "studies"])
    assert json.loads((tmp_path / "cohort_flow.json").read_text())["tables"]["rows"]["cases"] == 40


def test_one_class_alone_is_described_with_what_training_would_say(tmp_path: Path) -> None:
    given = cohort(studies=False)
    given.tables.cases["icu_ever"] = given.tables.cases["icu_ever"].mask(given.tables.cases["icu_ever"].eq(True))
    assert "a binary task needs both classes" in run(given, tmp_path)["trainable"]
    assert json.loads((tmp_path / "cohort_flow.json").read_text())["labels_by"]["site"][0]["n_positive"] == 0


def test_nothing_heavy_is_needed() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['monai'] = sys.modules['mlflow'] = None\n"
        "sys.argv = ['describe', '--help']; from midrc_ml.describe import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "without touching a pixel" in result.stdout


def test_classes_are_counted_by_name(tmp_path: Path) -> None:
    def thirds(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"label": [float(i % 3 == 0) for i in range(len(rows))], "missing": None, "excluded": None})

    flow = run(
        cohort(studies=False),
        tmp_path,
        kind="multiclass",
        classes=["mild", "severe", "never"],
        label=thirds,
    )
    # 39 adults, of whom every third from the first on is severe.
    (male, female) = sorted(flow["labels_by"]["sex"], key=lambda row: row["sex"] == "Female")
    assert male["n_mild"] + female["n_mild"] == 26
    assert male["n_severe"] + female["n_severe"] == 13
    assert male["n_never"] == female["n_never"] == 0
    assert flow["power"]["overall"]["rarest_class"] == "never"
    assert flow["power"]["overall"]["half_width"] is None
    assert flow["trainable"] is None
    assert "severe" in text_of(flow, question="q")
