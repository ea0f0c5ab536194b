"""The verb `audit` and the audit of a run, on invented cohorts with one fault planted at a time."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audits"))

from planted_faults import (
    Plant,
    cohort_overrides,
    films_that_cannot_be_decoded,
    label_in_a_column,
    label_in_a_value,
    label_in_the_border,
    label_in_the_file_size,
    labels_alike,
    nothing_is_known,
    one_patient_under_two_ids,
    one_patient_under_two_ids_retoned,
    one_site,
    write_cohort,
)

from midrc_ml.audit import main

FEW_DRAWS = "evaluation.num_draws=200"


def audited(folder: Path) -> dict[str, dict[str, Any]]:
    return {entry["check"]: entry for entry in json.loads((folder / "audit.json").read_text())}


@pytest.fixture
def audit(said_by: Callable[..., Any], tmp_path: Path, cache_dir: Path) -> Callable[..., tuple[Any, Path]]:
    """Run the verb; what it said, and its folder."""

    def run(*arguments: str, tracking: str = "none") -> tuple[Any, Path]:
        places = [f"paths.log_dir={tmp_path}/logs", f"paths.cache_dir={cache_dir}", f"hydra.run.dir={tmp_path}/audited"]
        return said_by(main, *arguments, FEW_DRAWS, f"tracking={tracking}", *places, cwd=tmp_path), tmp_path / "audited"

    return run


@pytest.fixture
def planted(tmp_path: Path, audit: Callable[..., Any]) -> Callable[..., tuple[Any, Path]]:
    """Audit the invented cohort with a fault in it."""

    def run(plant: Plant | None, *arguments: str) -> tuple[Any, Path]:
        write_cohort(tmp_path / "cohort", plant=plant)
        return audit("task=icu_ever", *cohort_overrides(tmp_path / "cohort"), *arguments)

    return run


def test_a_clean_cohort_fails_nothing_and_every_check_is_there(planted: Callable[..., Any]) -> None:
    said, folder = planted(None)
    assert said.returncode == 0, said.stderr
    found = audited(folder)
    assert not [check for check, entry in found.items() if entry["status"] == "fail"]
    assert {
        *("leakage.patient", "leakage.image", "leakage.near_duplicate", "label_time", "privacy", "privacy.headers"),
        *(f"shortcut.{name}" for name in ("metadata", "file", "border", "thumbnail", "missingness", "source", "site")),
        *(f"floor.{name}" for name in ("prevalence", "age_sex", "clinical", "image")),
    } <= set(found)
    assert found["shortcut.thumbnail"]["value"] > 0.6
    first = (folder / "audit.md").read_text().splitlines()[2]
    assert first.startswith("**A careful reviewer would first say:")
    assert "A careful reviewer would first say:" in said.stdout


@pytest.mark.parametrize(
    ("plant", "check"),
    [
        pytest.param(label_in_a_column, "shortcut.metadata", marks=pytest.mark.slow),
        (label_in_the_border, "shortcut.border"),
        pytest.param(label_in_the_file_size, "shortcut.file", marks=pytest.mark.slow),
        pytest.param(one_patient_under_two_ids, "leakage.image", marks=pytest.mark.slow),
        (one_patient_under_two_ids_retoned, "leakage.near_duplicate"),
    ],
)
def test_a_planted_leak_is_found_and_stops_before_training(
    planted: Callable[..., Any], plant: Plant, check: str
) -> None:
    said, folder = planted(plant)
    assert said.returncode == 2
    assert f"error: audit: {check}: " in said.stderr
    assert audited(folder)[check]["status"] == "fail"
    assert "A careful reviewer would first say:" in said.stdout


@pytest.mark.slow
def test_a_value_that_only_positives_have_is_named_and_refused_where_it_is_read(planted: Callable[..., Any]) -> None:
    said, folder = planted(label_in_a_value, "clinical=bedside")
    assert said.returncode == 2
    found = audited(folder)
    assert (found["label_time.inputs"]["status"], found["shortcut.missingness"]["status"]) == ("fail", "fail")
    assert [row["column"] for row in found["label_time.inputs"]["details"]] == ["laboratory.CRP", "CRP"]
    assert "label_time.inputs: the run's own inputs hold 1 columns that alone tell the label" in said.stderr


def test_duplicates_can_be_dropped_and_are_counted(planted: Callable[..., Any]) -> None:
    said, folder = planted(one_patient_under_two_ids, "audit.duplicates=drop")
    assert said.returncode == 0, said.stderr
    found = audited(folder)
    assert found["leakage.image"]["value"] > 0
    flow = json.loads((folder / "cohort_flow.json").read_text())
    step = next(step for step in flow["steps"] if step["step"] == "not the same film as in another part")
    assert step["n_in"] - step["n_out"] >= found["leakage.image"]["value"] * 0.5
    pairs = pd.read_parquet(folder / "near_duplicates.parquet")
    assert {"first_study_id", "second_study_id", "how"} <= set(pairs)
    assert (folder / "near_duplicates.png").stat().st_size > 10_000


@pytest.mark.slow
def test_findings_can_be_told_without_ending_anything(planted: Callable[..., Any]) -> None:
    said, folder = planted(label_in_the_border, "audit=report")
    assert said.returncode == 0, said.stderr
    assert audited(folder)["shortcut.border"]["status"] == "fail"
    assert said.stdout.index("The outer tenth of each side") > 0


def test_strict_refuses_what_only_warns(planted: Callable[..., Any]) -> None:
    said, _ = planted(None, "audit=strict")
    assert said.returncode == 2
    assert "error: audit: label_time: the label is an undated flag" in said.stderr


def test_tables_alone_are_audited_without_a_pixel(audit: Callable[..., Any]) -> None:
    said, folder = audit("task=icu", "images=none", "cohort.num_patients=120")
    assert said.returncode == 0, said.stderr
    found = audited(folder)
    for check in ("leakage.image", "leakage.near_duplicate", "floor.image", "shortcut.border", "shortcut.thumbnail"):
        assert (found[check]["status"], found[check]["evidence"]) == ("not_applicable", "no image is read")


@pytest.mark.slow
def test_the_scores_of_a_run_are_held_against_the_cohort(
    audit: Callable[..., Any], tracked_run: Path, small_arguments: tuple[str, ...]
) -> None:
    said, folder = audit(
        *(argument for argument in small_arguments if not argument.startswith(("training", "evaluation", "audit"))),
        f"predictions={tracked_run}",
    )
    assert said.returncode == 0, said.stderr
    own, found = audited(tracked_run), audited(folder)
    same = ("shortcut.metadata", "floor.age_sex", "floor.image", "shortcut.site")
    for check in same:
        assert found[check]["evidence"].split(";")[0] is not None
        assert "the model" in found[check]["evidence"]
        assert "the model" in own[check]["evidence"] or own[check]["status"] == "not_applicable"
    assert found["shortcut.features"]["status"] == "not_applicable"


def test_predictions_of_other_studies_are_refused(audit: Callable[..., Any], tmp_path: Path) -> None:
    rows = pd.DataFrame({"study_id": ["x", "y"], "patient_id": ["x", "y"], "y_true": [0, 1], "y_score": [0.1, 0.9]})
    rows.to_csv(tmp_path / "scores.csv", index=False)
    said, _ = audit("task=icu", "images=none", "cohort.num_patients=120", f"predictions={tmp_path}/scores.csv")
    assert said.returncode == 2
    assert "none of its 2 studies is a labelled one" in said.stderr


@pytest.mark.slow
def test_without_site_view_and_maker_what_needs_them_is_not_applicable(planted: Callable[..., Any]) -> None:
    said, folder = planted(nothing_is_known)
    assert said.returncode == 0, said.stderr
    found = audited(folder)
    for check in ("shortcut.metadata", "shortcut.source", "shortcut.site"):
        assert found[check]["status"] == "not_applicable", check
    assert "no site, project, view" in found["shortcut.source"]["evidence"]


@pytest.mark.slow
def test_of_one_site_nothing_can_be_said_of_others(planted: Callable[..., Any]) -> None:
    said, folder = planted(one_site)
    assert said.returncode == 0, said.stderr
    entry = audited(folder)["shortcut.site"]
    assert (entry["status"], entry["evidence"]) == ("not_applicable", "one site only: nothing can be said of others")


@pytest.mark.slow
def test_labels_that_are_all_alike_leave_nothing_to_tell(planted: Callable[..., Any]) -> None:
    said, folder = planted(labels_alike)
    assert said.returncode == 0, said.stderr
    found = audited(folder)
    for check in ("floor.age_sex", "floor.prevalence", "shortcut.border", "shortcut.metadata", "label_time.inputs"):
        assert found[check]["status"] == "not_applicable", check
        assert "alike" in found[check]["evidence"]
    assert found["leakage.near_duplicate"]["status"] == "pass"


@pytest.mark.slow
def test_films_that_cannot_be_decoded_are_counted_and_the_others_audited(planted: Callable[..., Any]) -> None:
    said, folder = planted(films_that_cannot_be_decoded)
    assert said.returncode == 0, said.stderr
    assert "among 128 films" in audited(folder)["leakage.near_duplicate"]["evidence"]
    steps = json.loads((folder / "cohort_flow.json").read_text())["steps"]
    assert sum(entry["n"] for step in steps if step["step"] == "image readable" for entry in step["excluded"]) == 32


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_demo_without_a_shortcut_fails_nothing(audit: Callable[..., Any], seed: int) -> None:
    said, folder = audit("task=icu", "cohort.shortcut=0", f"cohort.seed={seed}", "audit.duplicates=report")
    assert said.returncode == 0, said.stderr
    found = audited(folder)
    print({check: entry["status"] for check, entry in found.items() if entry["status"] == "warn"})
    assert not [check for check, entry in found.items() if entry["status"] == "fail"]
    assert found["leakage.near_duplicate"]["value"] == 0
