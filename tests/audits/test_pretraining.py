"""What pretrained weights have seen."""

import functools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from midrc_ml.audits.pretraining import pretraining_overlap
from midrc_ml.cohorts.reader import Tables
from midrc_ml.tables.checks import checked_table
from midrc_ml.tables.schemas import CASES

STUDIES = pd.DataFrame(
    {
        "patient_id": ["a", "b", "c"],
        "case_id": ["a", "b", "c"],
        "study_id": ["1", "2", "3"],
        "part": ["train", "validation", "test"],
        "further_cases": None,
    }
)


def network(num_outputs: int, weights: str | None = None, image: Any = None) -> None:
    """Stands for a network."""


def cohort(project: str) -> Tables:
    cases = pd.DataFrame({"case_id": ["a"], "patient_id": ["a"], "project": [project]})
    return Tables.checked(origin="test", cases=checked_table(cases, CASES, where="test"))


@pytest.mark.parametrize(
    ("weights", "project", "status"),
    [
        (None, "Open-R1", "not_applicable"),
        ("densenet121-res224-nih", "Open-R1", "pass"),
        ("densenet121-res224-all", "RSNA pneumonia", "fail"),
        ("imagenet", "RSNA pneumonia", "pass"),
        ("my_weights.pt", "Open-R1", "warn"),
    ],
)
def test_published_weights_are_known_by_their_collections(weights: str | None, project: str, status: str) -> None:
    model = functools.partial(network, weights=weights)
    assert pretraining_overlap(model, STUDIES, cohort(project)).status == status
    inside = functools.partial(network, image=model)
    assert pretraining_overlap(inside, STUDIES, cohort(project)).status == status


def test_weights_of_a_run_are_known_by_its_split(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.pt").touch()
    model = functools.partial(network, weights=str(tmp_path / "checkpoints" / "best.pt"))
    STUDIES.drop(columns="further_cases").to_parquet(tmp_path / "split.parquet")
    # Its train patient is ours, its validation patient is validated on here too; its test patient it has not seen.
    entry = pretraining_overlap(model, STUDIES, cohort("Open-R1"))
    assert (entry.status, entry.value) == ("fail", 1.0)
    other = STUDIES.assign(patient_id=["x", "y", "z"], case_id=["x", "y", "z"], study_id=["4", "5", "6"])
    assert pretraining_overlap(model, other, cohort("Open-R1")).status == "pass"
