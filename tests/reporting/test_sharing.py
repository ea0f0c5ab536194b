"""What leaves a run's folder: no small count, no identifier, and nothing that would tell them."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from invented_run import small_report, studies

from midrc_ml.audits.entry import AuditEntry
from midrc_ml.audits.run_audit import RunAudit
from midrc_ml.audits.settings import Audit
from midrc_ml.evaluation.evaluate import Results
from midrc_ml.reporting.report import Report
from midrc_ml.sharing import Shared, identifiers_of_rows, share
from midrc_ml.trained_on import pooled, trained_on


def shared(folder: Path, report: Report, *entries: AuditEntry) -> tuple[Shared, RunAudit]:
    checks = RunAudit(Audit(), folder)
    checks.add(*entries)
    results = Results(
        metrics=list(report.metrics), groups=list(report.groups), gaps=list(report.gaps), decision=report.decision
    )
    ids = identifiers_of_rows(report.predictions, {"cache_dir": "/data/hospital/cache"})
    return share(folder, report, results, checks, ids, others={"trained_on.json": {"patients": 120}}), checks


def names(found: Shared) -> set[str]:
    return {path.name for path in found.paths}


def test_the_group_of_five_stands_in_the_runs_folder_and_not_in_what_is_shared(tmp_path: Path) -> None:
    found, checks = shared(tmp_path, small_report())
    own = json.loads(json.dumps(small_report().groups))
    assert any(row["n"] == 5 for row in own)
    rows = json.loads((tmp_path / "shared" / "groups.json").read_text())
    sizes = {row["group"]["value"]: row["n"] for row in rows if row["part"] == "test"}
    assert sizes["Not Reported"] is None
    assert sum(size is None for size in sizes.values()) >= 2  # or the total less the others would tell it
    text = (tmp_path / "shared" / "report.md").read_text()
    assert "sex: Not Reported" not in text or "| 5 |" not in text
    assert "Counts under 11 are not told here" in text
    assert "Counts under 11 are not told here" not in (tmp_path / "report.md").read_text()
    small = next(entry for entry in checks.entries if entry.check == "privacy.small_groups")
    assert (small.status, small.value) == ("pass", 1.0)
    assert {"report.html", "report.md", "metrics.json", "groups.json", "trained_on.json"} <= names(found)


@pytest.mark.parametrize("kind", ["regression", "multiclass", "ordinal", "time_to_event"])
def test_every_kind_of_task_can_be_shared(tmp_path: Path, kind: str) -> None:
    found, checks = shared(tmp_path, small_report(kind=kind))
    assert {entry.check: entry.status for entry in checks.entries}["privacy"] == "pass"
    assert "confusion.png" not in names(found)


def test_what_names_a_patient_is_not_uploaded_and_is_said(tmp_path: Path) -> None:
    report = replace(small_report(), notes=["PATIENT-0100 looked strange"])
    found, checks = shared(tmp_path, report)
    entry = next(entry for entry in checks.entries if entry.check == "privacy")
    assert entry.status == "fail"
    assert "PATIENT" not in json.dumps(found.audit)
    assert {"report.html", "report.md"}.isdisjoint(names(found))
    assert "metrics.json" in names(found)


def test_a_path_of_the_machine_is_not_uploaded(tmp_path: Path) -> None:
    found, _ = shared(tmp_path, replace(small_report(), facts={"cache": "/data/hospital/cache/x"}))
    assert {"report.html", "report.md"}.isdisjoint(names(found))


def test_a_flow_of_few_is_left_out_and_the_report_is_made_all_the_same(tmp_path: Path) -> None:
    report = small_report()
    assert report.flow is not None
    steps = [{**report.flow["steps"][0], "n_in": 9, "n_out": 7, "by_site_out": {"A": 7}, "n_cases_out": 7,
              "excluded": [{"reason": "a stay still open", "n": 2, "by_site": {"A": 2}}]}]  # fmt: skip
    found, _ = shared(tmp_path, replace(report, flow={**report.flow, "steps": steps}))
    assert "report.html" in names(found)
    assert "a stay still open" not in (tmp_path / "shared" / "report.md").read_text()


def test_sentences_of_the_audit_tell_no_few_people(tmp_path: Path) -> None:
    entry = AuditEntry(check="leakage.x", status="warn", value=3.0, evidence="3 of 40 patients are there twice",
                       what_to_do="look", details=[{"n": 3}])  # fmt: skip
    found, checks = shared(tmp_path, small_report(), entry)
    row = next(row for row in found.audit if row["check"] == "leakage.x")
    assert "3 of 40" not in row["evidence"]
    assert "details" not in row
    own = next(one for one in json.loads((tmp_path / "audit.json").read_text()) if one["check"] == "leakage.x")
    assert own["evidence"] == "3 of 40 patients are there twice"
    assert checks.verdict()[0].startswith("A careful reviewer would first say: 3 of 40 patients")


def test_groups_of_few_are_pooled_until_they_are_enough() -> None:
    values = pd.Series(["a"] * 50 + ["b"] * 20 + ["c"] * 6 + ["d"] * 3)
    assert pooled(values) == {"a": 50, "others": 29}
    assert pooled(pd.Series(["a"] * 50 + ["b"] * 11)) == {"a": 50, "b": 11}
    assert pooled(pd.Series(["a"] * 50 + ["b"] * 3)) == {"others": 53}
    assert pooled(pd.Series(["a"] * 4)) == {"others": "fewer than 11"}


def test_a_model_says_what_it_was_trained_on_without_an_id() -> None:
    from midrc_ml.tasks.task import Task

    task = Task(name="icu", version=2, kind="binary", question="?", source="test", label=len, metrics={"auroc": max})
    said = trained_on(studies("binary"), task, cohort={"origin": "x"}, split_sha256="ab", inputs={"images": "64"})
    assert said["patients"] == {"train": 40, "validation": 40, "test": 40}
    assert said["training_patients_by"]["site"].keys() == {"A", "B"}
    assert "PATIENT" not in json.dumps(said, default=str)
