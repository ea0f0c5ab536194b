"""The story of a finished run on other studies, top to bottom; every step is elsewhere."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from midrc_ml.application_words import PREDICTIONS, say_of_run, say_scores, say_who_is_in
from midrc_ml.audits.entry import AuditEntry, stop_on_failure
from midrc_ml.audits.known_images import KnownImages, film_reasons
from midrc_ml.audits.overlap import OverlapRule, overlap_reasons, run_overlap
from midrc_ml.audits.run_audit import RunAudit
from midrc_ml.audits.settings import Audit
from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import CohortReader, Tables
from midrc_ml.cohorts.selection import ImageFiles
from midrc_ml.datasets.lean_monai import import_lean
from midrc_ml.errors import InputError
from midrc_ml.evaluation.decision import Decision
from midrc_ml.evaluation.doubts import doubts
from midrc_ml.evaluation.evaluate import Results, evaluate_predictions, with_recalibration
from midrc_ml.finished_run import FinishedRun
from midrc_ml.predictions import predictions_table, save_predictions
from midrc_ml.reporting.run_folder import RunFolder, source_state, write_environment
from midrc_ml.run_inputs import audited, clinical_rows, image_cache, with_images
from midrc_ml.splits.manifest import Manifest
from midrc_ml.tasks.reader_labels import labels_by_reader
from midrc_ml.tasks.task import Task
from midrc_ml.tasks.unlabelled import selected_studies
from midrc_ml.tracking.tracker import RunFacts, RunTracker
from midrc_ml.training.apply import TrainedNetwork, encoder_of
from midrc_ml.training.fit import Inputs
from midrc_ml.training.settings import Compute

if TYPE_CHECKING:
    from midrc_ml.reporting.report import Report

log = logging.getLogger(__name__)

_TRUTH = ("label", "y_true", "time", "event")
_NOT_KNOWN_STEP = "not known to the run"
_SHOWN = 10  # names in a sentence


def apply_run(
    run: FinishedRun,
    *,
    cohort: CohortReader,
    compute: Compute,
    paths: Mapping[str, str],
    tracking: RunTracker,
    params: Mapping[str, object],
    is_labelled: bool,
    overlap: OverlapRule,
    keep_unknown_age: bool,
    output_dir: Path,
) -> Results | None:
    """Score the studies of `cohort` with `run`, write the scores into `output_dir`, and test them where labels are.

    is_labelled: a study without a label is left out; else no label is asked for, and the result is None. overlap: what
    becomes of patients that the run knows (`audits.overlap`). keep_unknown_age: see `selected_studies`. tracking,
    params: of a test, which is a run of its own in the tracker.

    Raises:
        InputError: nothing to score, patients that the run knows, or images that cannot be used.
    """
    if compute.device.startswith("cuda"):
        compute.torch_device()  # refused now rather than after hours of decoding
    folder = RunFolder(output_dir)
    with folder.running():
        log.info("Run folder: %s", output_dir)
        say_of_run(run)
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
            checks = RunAudit(
                Audit(refuse="never", scope=run.audit_scope), output_dir
            )  # what leaks is for `overlap` to decide
            checks.add(run_overlap(studies, reasons, overlap))
            stop_on_failure(checks.entries)
            studies = _not_known(studies, reasons, checks.entries[:1], overlap, flow, _NOT_KNOWN_STEP)
            studies = studies.assign(part="test")
            say_who_is_in(tables, studies, run, flow)
            if is_labelled:
                manifest = Manifest.of(studies, {**run.task.definition, "cohort": dict(cohort.query)})
                manifest.save(output_dir)
                folder.update(split_sha256=manifest.sha256)
            network, cached = _network(run, compute, image_shape), None
            if cache is not None:
                files, series = list(studies["file"]), list(studies["series_id"])
                cached = cache.load(files, series=series, num_processes=compute.processes(), ray=compute.ray)
                studies = with_images(studies, cached, run.task, flow)
                known = KnownImages.of_run(run.folder)
                recipe: Any = {"cache_folder": cache.folder, "recipe": cache.recipe.key}
                recipe["by_looks"] = run.audit_scope == "all"
                reasons, entries = film_reasons(studies, cached, known, overlap, **recipe)
                checks.add(*entries)
                stop_on_failure(entries)
                studies = _not_known(studies, reasons, entries, overlap, flow, "not a film of the run")
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
        results = None
        if is_labelled:
            results = _evaluated(predictions, run, labels_by_reader(run.task, tables, studies))
            checks.of_data(audited(studies, tables, run.task, cached, table), run.evaluation)
            checks.of_model(predictions, results, run.evaluation)
            facts = _run_facts(run, tables, manifest, studies, params)
            results.save(output_dir)
            from midrc_ml.sharing import identifiers_of, share  # with matplotlib

            report = _report(run, results, predictions, studies, tables, flow, facts)
            shared = share(output_dir, report, results, checks, identifiers_of(tables, paths))
            tracking.start(facts, log_dir=Path(paths["log_dir"]).resolve(), run_key=folder.status["run_key"])
            folder.update(tracking_run_id=tracking.run_id)
            try:
                tracking.finish(results.metrics, shared.paths, audit=shared.audit)
            except BaseException as error:
                tracking.fail(type(error).__name__)
                raise
    command = tracking.how_to_look() if is_labelled else None
    say_scores(results, tables, run.task, output_dir, command, checks.verdict() if is_labelled else [])
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


def _evaluated(predictions: pd.DataFrame, run: FinishedRun, ratings: pd.DataFrame) -> Results:
    """The test, at the threshold of the run."""
    return evaluate_predictions(
        predictions,
        run.task.metrics,
        kind=run.task.kind,
        classes=run.task.classes,
        evaluation=run.evaluation,
        fairness=run.fairness,
        decision=run.decision,
        ratings=ratings,
    )


def _report(
    run: FinishedRun,
    results: Results,
    predictions: pd.DataFrame,
    studies: pd.DataFrame,
    tables: Tables,
    flow: CohortFlow,
    facts: RunFacts,
) -> "Report":
    from midrc_ml.reporting.report import Report  # with matplotlib, which nothing before this needs

    return Report(
        task_name=run.task.name,
        question=run.task.question,
        kind=run.task.kind,
        unit=run.task.unit,
        origin=tables.origin,
        synthetic=tables.synthetic,
        primary=next(iter(run.task.metrics)),
        metrics=results.metrics,
        groups=results.groups,
        gaps=results.gaps,
        agreement=results.agreement,
        decision=results.decision,
        evaluation=run.evaluation,
        predictions=predictions,
        studies=studies,
        flow=flow.as_dict(),
        warnings=doubts(results, predictions, run.evaluation),
        min_group_size=run.fairness.min_group_size,
        facts={**facts.tags, "split SHA-256": facts.split_sha256, "model": facts.name},
    )


def _run_facts(
    run: FinishedRun, tables: Tables, manifest: Manifest, studies: pd.DataFrame, params: Mapping[str, object]
) -> RunFacts:
    applied = RunFolder(run.folder).status
    tags = {
        "task": run.task.name,
        "task_version": str(run.task.version),
        "cohort": tables.origin,
        "synthetic": str(tables.synthetic).lower(),
        "cohort_sha256": tables.fingerprint(),
        **{f"applied_{name}": str(applied[name]) for name in ("run_key", "tracking_run_id") if applied.get(name)},
        **{key: str(value).lower() for key, value in source_state().items() if value is not None},
    }
    return RunFacts(
        experiment=f"midrc/{run.task.name}",
        name=f"predict-{run.task.name}-{manifest.sha256[:6]}",
        params=params,
        tags=tags,
        inputs={"test": len(studies)},
        split_sha256=manifest.sha256,
        verb="predict",
    )


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
    studies: pd.DataFrame,
    reasons: pd.Series,
    entries: Sequence[AuditEntry],
    overlap: OverlapRule,
    flow: CohortFlow,
    step: str,
) -> pd.DataFrame:
    """The studies that are scored: all, or without the patients that the run knows."""
    if overlap == "drop":
        kept = flow.step(step, studies, reasons)
        if kept.empty:
            told = "; ".join(entry.evidence for entry in entries if entry.value)
            raise InputError(f"overlap=drop leaves none of {len(studies)} studies: {told}; give other patients")
        return kept
    for entry in entries:
        if entry.status == "warn":
            flow.notes.append(f"{entry.evidence}, and are scored all the same: overlap=keep says that they are others")
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
