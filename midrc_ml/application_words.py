"""What is said in the terminal of a finished run and of the studies that it is applied to."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import midrc_ml
from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.evaluation.decision import FILE_NAME as DECISION_FILE
from midrc_ml.evaluation.evaluate import Results
from midrc_ml.finished_run import FinishedRun
from midrc_ml.reporting.run_folder import ENVIRONMENT
from midrc_ml.reporting.terminal import say_results
from midrc_ml.tasks.task import Task

log = logging.getLogger(__name__)

PREDICTIONS = "predictions.parquet"


def say_of_run(run: FinishedRun) -> None:
    """Which run is applied, and what of it may be of another version."""
    log.info("Applying %s: %s", run.folder, run.task.question)
    if run.decision is None:
        log.warning(
            "The run has no %s (an older version made it): its scores are left as the network gives them, and nothing "
            "that needs a threshold is said",
            DECISION_FILE,
        )
    try:
        version = json.loads((run.folder / ENVIRONMENT).read_text(encoding="utf-8"))["midrc_ml"]
    except (OSError, ValueError, KeyError, TypeError):
        version = "unknown version"
    if version != midrc_ml.__version__:
        log.warning(
            "The run was made by midrc_ml %s, and this is %s: CHANGELOG.md says whether an image is decoded otherwise",
            version, midrc_ml.__version__,
        )  # fmt: skip


def say_who_is_in(tables: Tables, studies: pd.DataFrame, run: FinishedRun, flow: CohortFlow) -> None:
    """Who is scored, and how many were left out."""
    excluded = sum(entry["n"] for step in flow.steps for entry in step["excluded"])
    log.info("Cohort: %s, %d cases, %d studies", tables.origin, len(tables.cases), len(tables.studies))
    log.info("Scored are %d studies of %d patients; %d left out, by reason and site in cohort_flow.json",
             len(studies), studies["patient_id"].nunique(), excluded)  # fmt: skip
    own = int(studies["study_id"].isin(run.split.loc[run.split["part"] == "test", "study_id"]).sum())
    if own:
        flow.notes.append(f"{own} of {len(studies)} studies are of the run's own test part")
    for note in flow.notes:
        log.info("Note: %s", note)


def say_scores(
    results: Results | None,
    tables: Tables,
    task: Task,
    output_dir: Path,
    command: str | None,
    verdict: Sequence[str],
) -> None:
    """Where the scores are, and what the test says; results: None = there was none. verdict: of the audit."""
    path = output_dir / PREDICTIONS
    if results is None:
        log.info("Predictions: %s (scores alone: y_true is missing in every row)", path)
        return
    say_results(results, output_dir, tables, command, verdict=verdict)
    log.info("Predictions: %s", path)
    log.info("Other groups or metrics: python -m midrc_ml.evaluate task=%s predictions=%s", task.name, path)
