"""A finished run leaves what DESIGN.md 6 promises."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from midrc_ml.reporting.run_folder import environment

FILES = (
    "config.yaml",
    "cohort_flow.json",
    "split.parquet",
    "split.sha256",
    "predictions.parquet",
    "metrics.json",
    "groups.json",
    "audit.json",
    "report.html",
    "report.md",
    "environment.json",
    "status.json",
    "checkpoints/last.pt",
    "checkpoints/best.pt",
)


def test_every_promised_file_is_there(tracked_run: Path) -> None:
    assert [name for name in FILES if not (tracked_run / name).is_file()] == []
    assert json.loads((tracked_run / "status.json").read_text())["state"] == "finished"


def test_split_and_predictions_have_the_contract_columns(tracked_run: Path) -> None:
    split = pd.read_parquet(tracked_run / "split.parquet")
    assert list(split.columns) == ["patient_id", "case_id", "study_id", "part", "label"]
    assert set(split["part"]) == {"train", "validation", "test"}
    assert split.groupby("patient_id")["part"].nunique().max() == 1
    assert re.fullmatch(r"[0-9a-f]{64}\n", (tracked_run / "split.sha256").read_text())
    predictions = pd.read_parquet(tracked_run / "predictions.parquet")
    groups = ["site", "sex", "age_band", "race", "ethnicity", "manufacturer", "view"]
    assert list(predictions.columns) == [*split.columns, "y_true", "y_score", *groups]
    kept = split[split["part"] != "train"].set_index("study_id")
    assert set(predictions["study_id"]) == set(kept.index)
    assert (predictions.set_index("study_id")["part"] == kept["part"].reindex(predictions["study_id"])).all()


def test_metrics_are_those_of_the_predictions(tracked_run: Path) -> None:
    predictions = pd.read_parquet(tracked_run / "predictions.parquet")
    rows = json.loads((tracked_run / "metrics.json").read_text())
    found = {(row["part"], row["metric"]): row["value"] for row in rows}
    threshold = found["validation", "threshold"]
    for part, studies in predictions.groupby("part"):
        truth, score = studies["y_true"], studies["y_score"]
        called = score >= threshold
        expected = {
            "auroc": roc_auc_score(truth, score),
            "auprc": average_precision_score(truth, score),
            "brier_loss": brier_score_loss(truth, score),
            "sensitivity": (called & (truth == 1)).sum() / (truth == 1).sum(),
            "specificity": (~called & (truth == 0)).sum() / (truth == 0).sum(),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[part, name], value, rtol=1e-9)
    test_rows = [row for row in rows if row["part"] == "test"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in test_rows if row["metric"] == "auroc")


def test_groups_are_by_all_group_columns_and_gaps_stand_beside_them(tracked_run: Path) -> None:
    groups, gaps = (json.loads((tracked_run / f"{name}.json").read_text()) for name in ("groups", "gaps"))
    columns = {"sex", "age_band", "race", "ethnicity", "site", "manufacturer", "view"}
    assert {row["group"]["column"] for row in groups} == columns
    assert {row["column"] for row in gaps} <= columns
    assert {"gap_to_reference", "equal_opportunity_difference"} <= {row["quantity"] for row in gaps}
    assert json.loads((tracked_run / "decision.json").read_text())["chosen_on"] == "validation"
    small = [row for row in groups if row["n"] < 10]
    assert small
    assert all(row["value"] is None and "fewer than 10" in row["reason"] for row in small)


def test_the_audit_holds_patient_leakage_and_every_other_check(tracked_run: Path) -> None:
    entry, *others = json.loads((tracked_run / "audit.json").read_text())
    assert set(entry) == {"check", "status", "value", "low", "high", "evidence", "what_to_do"}
    assert (entry["check"], entry["status"], entry["value"]) == ("leakage.patient", "pass", 0)
    names = [other["check"] for other in others]
    assert len(set(names)) == len(names) >= 20
    assert {other["status"] for other in others} <= {"pass", "warn", "fail", "not_applicable"}
    assert all(set(entry) <= set(other) for other in others)


def test_the_flow_accounts_for_every_study(tracked_run: Path) -> None:
    flow = json.loads((tracked_run / "cohort_flow.json").read_text())
    steps = flow["steps"]
    for before, after in itertools.pairwise(steps):
        assert before["n_out"] == after["n_in"]
    for step in steps:
        excluded = sum(entry["n"] for entry in step["excluded"])
        assert step["n_in"] - excluded == step["n_out"] == sum(step["by_site_out"].values())
        assert all(sum(entry["by_site"].values()) == entry["n"] for entry in step["excluded"])
    split = pd.read_parquet(tracked_run / "split.parquet")
    assert steps[-1]["n_in"] == len(split)


def test_the_report_says_that_the_data_are_synthetic(tracked_run: Path) -> None:
    assert "Synthetic data." in (tracked_run / "report.html").read_text()
    assert "Synthetic data." in (tracked_run / "report.md").read_text()


def test_the_environment_names_versions_and_no_machine(tracked_run: Path) -> None:
    import platform

    text = (tracked_run / "environment.json").read_text()
    facts = json.loads(text)
    assert facts["packages"]["torch"] == torch.__version__
    assert platform.node() not in text.replace(facts["cpu"], "")


def test_the_environment_names_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU of some kind")
    assert environment()["gpu"] == "GPU of some kind"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(tracked_run: Path, small_run: Callable[..., Path], tmp_path: Path) -> None:
    again = small_run(tmp_path, "tracking=none")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # and tracking=none leaves no store
    for name in ("metrics.json", "groups.json", "split.sha256", "cohort_flow.json"):
        assert (again / name).read_bytes() == (tracked_run / name).read_bytes()
    first, second = (torch.load(folder / "checkpoints/best.pt", weights_only=True) for folder in (tracked_run, again))
    assert all(torch.equal(first["network"][key], second["network"][key]) for key in first["network"])


@pytest.mark.slow
def test_another_seed_keeps_the_test_set_and_changes_the_model(
    tracked_run: Path, small_run: Callable[..., Path], tmp_path: Path
) -> None:
    other = small_run(tmp_path, "tracking=none", "seed=1", "training.epochs=1")
    assert (other / "split.sha256").read_bytes() == (tracked_run / "split.sha256").read_bytes()
    assert (other / "metrics.json").read_bytes() != (tracked_run / "metrics.json").read_bytes()
