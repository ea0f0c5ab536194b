"""What a run says in the terminal of who is in it and of what came out."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.evaluation.evaluate import Results
from midrc_ml.splits.manifest import PARTS, Manifest

log = logging.getLogger(__name__)


class Source(Protocol):
    """What the studies come from: a cohort, or a predictions file."""

    @property
    def origin(self) -> str:
        """Its name, in words."""

    @property
    def synthetic(self) -> bool:
        """Whether no real patient stands behind it."""


def say_who_is_in(tables: Tables, manifest: Manifest, flow: CohortFlow) -> None:
    """Cases, labels, what was repaired or left out, and the parts."""
    excluded = sum(entry["n"] for step in flow.steps for entry in step["excluded"])
    log.info("Cohort: %s, %d cases, %d studies", tables.origin, len(tables.cases), len(tables.studies))
    log.info("Labels: %d studies of %d patients; %d left out, by reason and site in cohort_flow.json",
             len(manifest.rows), manifest.rows["patient_id"].nunique(), excluded)  # fmt: skip
    for note in flow.notes:
        log.info("Note: %s", note)
    sizes = manifest.rows["part"].value_counts()
    log.info(
        "Split: %s studies, SHA-256 %s", ", ".join(f"{part} {sizes[part]}" for part in PARTS), manifest.sha256[:12]
    )


def say_results(
    results: Results, output_dir: Path, source: Source, command: str | None, *, verdict: Sequence[str] = ()
) -> None:
    """What a reviewer would say first, the metrics of the test part, and where the rest is.

    command: that opens the tracking store, if there is one. verdict: sentences of the audit.
    """
    from midrc_ml.reporting.report import interval_text

    log.info("")
    for sentence in verdict:
        log.info("%s", sentence)
    if verdict:
        log.info("")
    log.info("Test part of the %s%s:", source.origin, " (no real patient)" if source.synthetic else "")
    without: dict[str, list[str]] = {}
    for row in results.of_part("test"):
        if row["value"] is None:
            without.setdefault(str(row["reason"]), []).append(row["metric"])
        else:
            log.info("  %s", interval_text(row))
    for reason, names in without.items():
        log.info("  not estimable (%s): %s", reason, ", ".join(names))
    log.info("Report: %s", output_dir / "report.html")
    if command:
        log.info("Compare runs: %s", command)
