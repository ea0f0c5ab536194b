"""The story of a finished run on other studies, top to bottom; every step is elsewhere."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

import midrc_ml
from midrc_ml.audits.leakage import AuditEntry, stop_on_failure
from midrc_ml.audits.overlap import OverlapRule, overlap_reasons, run_overlap
from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import CohortReader, Tables
from midrc_ml.cohorts.selection import ImageFiles
from midrc_ml.config import CONFIG_FILE, flat, instantiated
from midrc_ml.datasets.clinical_table import ClinicalTable
from midrc_ml.datasets.lean_monai import import_lean
from midrc_ml.errors import InputError
from midrc_ml.evaluation.decision import FILE_NAME as DECISION_FILE
from midrc_ml.evaluation.decision import Decision
from midrc_ml.evaluation.evaluate import Results, evaluate_predictions, with_recalibration
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.images.build import ImageRecipe
from midrc_ml.pipeline import clinical_rows, image_cache, with_images
from midrc_ml.predictions import predictions_table, save_predictions
from midrc_ml.reporting.run_folder import ENVIRONMENT, RunFolder, write_environment
from midrc_ml.splits.manifest import Manifest
from midrc_ml.tasks.task import Task
from midrc_ml.tasks.unlabelled import selected_studies
from midrc_ml.training.apply import TrainedNetwork, check_checkpoints, encoder_of
from midrc_ml.training.fit import Inputs
from midrc_ml.training.settings import Compute, Precision

log = logging.getLogger(__name__)

OF_RUN = ("task", "images", "clinical", "model", "evaluation", "fairness")
"""The objects of a run's config that are applied with it."""
PREDICTIONS = "predictions.parquet"
_TRUTH = ("label", "y_true", "time", "event")
_NOT_KNOWN_STEP = "not known to the run"
_SHOWN = 10  # names in a sentence


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run that came to its end: what its config makes, and what it left.

    batch_size, precision: of its settings. is_ours: the network is made of this package's own parts alone, which need
    little of MONAI. split: `split.parquet`. decision: None where an older run has none.
    """

    folder: Path
    task: Task
    images: ImageRecipe | None
    clinical: ClinicalTable | None
    model: Any
    evaluation: Evaluation
    fairness: Fairness
    batch_size: int
    precision: Precision
    is_ours: bool
    split: pd.DataFrame
    decision: Decision | None

    @property
    def checkpoints(self) -> Path:
        """Their folder."""
        return self.folder / "checkpoints"

    @classmethod
    def read(cls, folder: Path, config: DictConfig) -> "FinishedRun":
        """The run in `folder`. config: its own.

        Raises:
            InputError: it is not finished, something of it is gone, or its config is of another version.
        """
        status = RunFolder(folder)
        if not status.is_finished:
            raise InputError(
                f"run={folder} is not finished (status: {status.status.get('state', 'unknown')}); wait for it, or "
                f"python -m midrc_ml.train resume={folder} goes on with it"
            )
        absent = [name for name in (*OF_RUN, "training", "compute") if name not in config]
        if absent:
            raise InputError(f"run={folder}: its {CONFIG_FILE} has no {', '.join(absent)}; train again")
        made = instantiated(OmegaConf.masked_copy(config, list(OF_RUN)))
        check_checkpoints(folder / "checkpoints", has_table=made["clinical"] is not None)
        parts = OmegaConf.to_container(config.model)
        assert isinstance(parts, dict)
        targets = [value for key, value in flat({str(key): part for key, part in parts.items()}).items()
                   if key.endswith("_target_")]  # fmt: skip
        return cls(
            folder=folder,
            **made,
            batch_size=int(config.training.batch_size),
            precision=config.compute.precision,
            is_ours=all(str(target).startswith("midrc_ml.models.") for target in targets),
            split=_split_of(folder),
            decision=Decision.load(folder) if (folder / DECISION_FILE).is_file() else None,
        )


def _split_of(folder: Path) -> pd.DataFrame:
    path = folder / "split.parquet"
    try:
        return pd.read_parquet(path, columns=["patient_id", "case_id", "study_id", "part"])
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}), and without it nobody can tell which patients the run "
            f"was trained on; copy it back, or train again"
        ) from error


def apply_run(
    run: FinishedRun,
    *,
    cohort: CohortReader,
    compute: Compute,
    paths: Mapping[str, str],
    is_labelled: bool,
    overlap: OverlapRule,
    keep_unknown_age: bool,
    output_dir: Path,
) -> Results | None:
    """Score the studies of `cohort` with `run`, write the scores into `output_dir`, and test them where labels are.

    is_labelled: a study without a label is left out; else no label is asked for, and the result is None. overlap: what
    becomes of patients that the run knows (`audits.overlap`). keep_unknown_age: see `selected_studies`.

    Raises:
        InputError: nothing to score, patients that the run knows, or images that cannot be used.
    """
    if compute.device.startswith("cuda"):
        compute.torch_device()  # refused now rather than after hours of decoding
    folder = RunFolder(output_dir)
    with folder.running():
        log.info("Run folder: %s", output_dir)
        _say_of_run(run)
        folder.update(applied_run_key=RunFolder(run.folder).status.get("run_key"))
        tables = cohort.read()
        cache = None if run.images is None else image_cache(run.images, paths)
        if cache is not None:
            tables = tables.with_files(cache.files_by_series())
        image_shape = None if run.images is None else run.images.input_shape
        flow = CohortFlow(origin=tables.origin)
        try:
            studies = _studies(run, tables, flow, is_labelled=is_labelled, keep_unknown_age=keep_unknown_age)
            reasons = overlap_reasons(studies, run.split)
            audit = run_overlap(studies, reasons, overlap)
            (output_dir / "audit.json").write_text(json.dumps([audit.as_dict()], indent=1) + "\n")
            stop_on_failure([audit])
            studies = _not_known(studies, reasons, audit, overlap, flow).assign(part="test")
            _say_who_is_in(tables, studies, run, flow)
            if is_labelled:
                manifest = Manifest.of(studies, {**run.task.definition, "cohort": dict(cohort.query)})
                manifest.save(output_dir)
                folder.update(split_sha256=manifest.sha256)
            network, cached = _network(run, compute, image_shape), None
            if cache is not None:
                files, series = list(studies["file"]), list(studies["series_id"])
                cached = cache.load(files, series=series, num_processes=compute.processes(), ray=compute.ray)
                studies = with_images(studies, cached, run.task, flow)
            table = None if run.clinical is None else clinical_rows(run.clinical, tables, studies, flow)
            if table is not None:
                _check_table(table, run, flow)
            if not is_labelled:
                flow.labels = []  # there are none
        finally:
            flow.save(output_dir / "cohort_flow.json")
        inputs = Inputs(studies=studies, images=cached, image_shape=image_shape, table=table)
        raw_score = network.scores(inputs)
        write_environment(output_dir)  # again: torch is in use now, and tells its build and the GPU
        predictions = scored_table(studies, raw_score, run.task, run.decision, is_labelled=is_labelled)
        save_predictions(predictions, output_dir / PREDICTIONS)
        if run.decision is not None:
            run.decision.save(output_dir)
        results = _evaluated(predictions, run, output_dir) if is_labelled else None
    _say(results, tables, run.task, output_dir)
    return results


def scored_table(
    studies: pd.DataFrame, raw_score: np.ndarray, task: Task, decision: Decision | None, *, is_labelled: bool
) -> pd.DataFrame:
    """The predictions table of `studies`: y_score as the run recalibrates it, raw_score as the network gave it.

    raw_score: (study,) or (study, class), aligned with `studies`. Where no label was asked for, label, y_true, time and
    event are missing in every row: such a table holds scores, and is refused where a test needs the truth.
    """
    # Whatever else a table has to be is checked with a truth that is then taken out again.
    known = studies if is_labelled else studies.assign(label=0.0, time=0.0)
    made = predictions_table(known, raw_score, kind=task.kind, classes=task.classes)
    if decision is not None:
        made = with_recalibration(made, decision, classes=task.classes)
    return made if is_labelled else made.assign(**{name: np.nan for name in _TRUTH if name in made})


def _evaluated(predictions: pd.DataFrame, run: FinishedRun, output_dir: Path) -> Results:
    """The test, at the threshold of the run; written into `output_dir`."""
    results = evaluate_predictions(
        predictions,
        run.task.metrics,
        kind=run.task.kind,
        classes=run.task.classes,
        evaluation=run.evaluation,
        fairness=run.fairness,
        decision=run.decision,
    )
    results.save(output_dir)
    return results


def _network(run: FinishedRun, compute: Compute, image_shape: tuple[int, ...] | None) -> TrainedNetwork:
    """Before images are decoded, which may take hours: checkpoints may be damaged."""
    if run.is_ours:
        import_lean()
    return TrainedNetwork.load(
        run.checkpoints,
        task=run.task,
        model=run.model,
        image_shape=image_shape,
        has_table=run.clinical is not None,
        precision=run.precision,
        batch_size=run.batch_size,
        compute=compute,
    )


def _studies(
    run: FinishedRun, tables: Tables, flow: CohortFlow, *, is_labelled: bool, keep_unknown_age: bool
) -> pd.DataFrame:
    image_files: ImageFiles = "if any" if run.images is None else "needed"
    if run.images is not None:
        tables.require(("studies", "series"), needed_by="the run, which reads images,")
    if not is_labelled:
        return selected_studies(run.task, tables, flow, image_files=image_files, keep_unknown_age=keep_unknown_age)
    try:
        return run.task.labelled_studies(tables, flow, image_files=image_files)
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}; labels=none gives scores without a test") from error


def _not_known(
    studies: pd.DataFrame, reasons: pd.Series, audit: AuditEntry, overlap: OverlapRule, flow: CohortFlow
) -> pd.DataFrame:
    """The studies that are scored: all, or without the patients that the run knows."""
    if overlap == "drop":
        kept = flow.step(_NOT_KNOWN_STEP, studies, reasons)
        if kept.empty:
            raise InputError(
                f"overlap=drop leaves none of {len(studies)} studies: {audit.evidence}; give other patients"
            )
        return kept
    if audit.status == "warn":
        flow.notes.append(f"{audit.evidence}, and are scored all the same: overlap=keep says that they are others")
    return studies


def _check_table(table: pd.DataFrame, run: FinishedRun, flow: CohortFlow) -> None:
    """Say what is missing of what the network learned from; refuse where nothing is left to tell one from another."""
    encoder = encoder_of(run.checkpoints)
    log.info("%s", encoder.words(table))
    names = [column.name for column in encoder.columns]
    unknown = [name for name in names if name not in table or table[name].isna().all()]
    if len(unknown) == len(names) and run.images is None:
        raise InputError(
            f"clinical: of {len(table)} studies the cohort knows nothing that the run learned from "
            f"({_some(names)}); give a cohort that has some of it"
        )
    if unknown:
        note = (
            f"clinical table: {len(unknown)} of the {len(names)} columns that the run learned from are known of no "
            f"study here: {_some(unknown)}"
        )
        flow.notes.append(note)
        log.warning("Note: %s", note)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _say_of_run(run: FinishedRun) -> None:
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


def _say_who_is_in(tables: Tables, studies: pd.DataFrame, run: FinishedRun, flow: CohortFlow) -> None:
    excluded = sum(entry["n"] for step in flow.steps for entry in step["excluded"])
    log.info("Cohort: %s, %d cases, %d studies", tables.origin, len(tables.cases), len(tables.studies))
    log.info("Scored are %d studies of %d patients; %d left out, by reason and site in cohort_flow.json",
             len(studies), studies["patient_id"].nunique(), excluded)  # fmt: skip
    own = int(studies["study_id"].isin(run.split.loc[run.split["part"] == "test", "study_id"]).sum())
    if own:
        flow.notes.append(f"{own} of {len(studies)} studies are of the run's own test part")
    for note in flow.notes:
        log.info("Note: %s", note)


def _say(results: Results | None, tables: Tables, task: Task, output_dir: Path) -> None:
    path = output_dir / PREDICTIONS
    log.info("")
    if results is None:
        log.info("Predictions: %s (scores alone: y_true is missing in every row)", path)
        return
    from midrc_ml.reporting.report import interval_text  # with matplotlib, which nothing before this needs

    log.info("External test on the %s%s:", tables.origin, " (no real patient)" if tables.synthetic else "")
    for row in results.of_part("test"):
        log.info("  %s", interval_text(row))
    log.info("Predictions: %s", path)
    log.info("Next: python -m midrc_ml.evaluate task=%s predictions=%s", task.name, path)
