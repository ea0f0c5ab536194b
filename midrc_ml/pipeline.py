"""The story of a run, top to bottom; every step is elsewhere."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from midrc_ml.audits.run_audit import RunAudit
from midrc_ml.audits.settings import Audit
from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import CohortReader, Tables
from midrc_ml.datasets.clinical_table import ClinicalTable
from midrc_ml.errors import InputError
from midrc_ml.evaluation.doubts import doubts
from midrc_ml.evaluation.evaluate import Results, decide, evaluate_predictions
from midrc_ml.evaluation.groups import group_columns
from midrc_ml.evaluation.metrics import lower_is_better
from midrc_ml.evaluation.recalibration import check_method
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.images.build import ImageRecipe
from midrc_ml.models.contract import check_dimensions, check_table
from midrc_ml.predictions import predictions_table, save_predictions
from midrc_ml.reporting.run_folder import RunFolder, source_state, write_environment
from midrc_ml.reporting.terminal import say_results, say_who_is_in
from midrc_ml.run_inputs import audited, cached_images, clinical_rows, image_cache, with_images
from midrc_ml.splits.by_patient import Split, assign_parts
from midrc_ml.splits.manifest import PARTS, Manifest
from midrc_ml.tasks.reader_labels import labels_by_reader, save_ratings
from midrc_ml.tasks.task import Task
from midrc_ml.tracking.tracker import RunFacts, RunTracker
from midrc_ml.trained_on import FILE_NAME as TRAINED_ON
from midrc_ml.trained_on import save_trained_on, trained_on
from midrc_ml.training.algorithms import Algorithm, check_groups
from midrc_ml.training.fit import Fitted, Inputs, check_labels, check_model, fit
from midrc_ml.training.losses import check_loss
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Training

log = logging.getLogger(__name__)


def train_and_evaluate(
    *,
    cohort: CohortReader,
    task: Task,
    split: Split,
    images: ImageRecipe | None,
    clinical: ClinicalTable | None,
    model: Callable[..., Any],
    training: Training,
    algorithm: Algorithm,
    evaluation: Evaluation,
    fairness: Fairness,
    audit: Audit,
    compute: Compute,
    tracking: RunTracker,
    ranks: Ranks,
    seed: int,
    paths: Mapping[str, str],
    output_dir: Path,
    params: Mapping[str, object],
) -> Results:
    """Train one model for one task and say how good it is, overall and by group.

    The keyword arguments are the config's keys; images: None = no pixel is read, clinical: None = no table. Of several
    processes that torchrun started this is the first, and `train_along` is what the others do. output_dir: the run's
    folder; where it holds a run that was cut off, that run goes on. params: the same settings as short texts, for the
    tracker.

    Raises:
        InputError: anything that the user can put right; what was done so far stays in `output_dir`.
    """
    if images is None and clinical is None:
        raise InputError(
            "images is none and clinical is none: there is nothing to learn from; give one of them, or both"
        )
    if clinical is not None:
        clinical.check_task(task)
    check_table(model, is_given=clinical is not None)
    if images is not None:
        task.check_modalities(images.modalities)
        check_dimensions(model, images.input_shape)
    check_loss(task.kind, loss=training.loss, class_weight=training.class_weight, name=task.name)
    check_groups(algorithm, task.kind, class_weight=training.class_weight)
    compute.check(training, ranks)
    monitor = _monitor(training, task, fairness)
    if ranks.world > 1:
        log.info("Waiting for the other %d processes", ranks.world - 1)
        ranks.join(compute.torch_device(ranks).type)
    folder = RunFolder(output_dir)
    with folder.running():
        log.info("Run folder: %s", output_dir)
        tables = cohort.read()
        if images is not None:
            tables = tables.with_files(image_cache(images, paths).files_by_series())
        flow = CohortFlow(origin=tables.origin)
        try:
            studies = assign_parts(
                split, task.labelled_studies(tables, flow, image_files="if any" if images is None else "needed"), flow
            )
            manifest = Manifest.of(studies, {**task.definition, "cohort": dict(cohort.query), **split.query})
            manifest.check_pinned(split.sha256)
            manifest.check_classes(task.kind)
            manifest.save(output_dir)
            checks = RunAudit(audit, output_dir)
            checks.of_split(studies, tables, model)
            say_who_is_in(tables, manifest, flow)
            check_labels(studies, task, training)
            check_method(evaluation.recalibration, task.kind)
            group_columns(studies[studies["part"] == "test"], fairness)  # a mistake is told before training
            monitor.on(studies[studies["part"] == "validation"])
            asked = studies

            def before_decoding() -> None:
                check_model(
                    model,
                    algorithm,
                    asked,
                    device=compute.torch_device(ranks),
                    task=task,
                    training=training,
                    image_shape=None if images is None else images.input_shape,
                    has_table=clinical is not None,
                )

            if images is None:
                before_decoding()
            cached = cached_images(asked, images, compute, paths, before=before_decoding)
            if cached is not None:
                studies = with_images(studies, cached, task, flow)
            with checks.timed():
                studies = checks.of_images(studies, cached, flow, recipe=getattr(images, "key", ""))
            table = None if clinical is None else clinical_rows(clinical, tables, studies, flow)
        finally:
            flow.save(output_dir / "cohort_flow.json")
        inputs = Inputs(
            studies=studies, images=cached, image_shape=None if images is None else images.input_shape, table=table
        )
        Manifest.of(studies, {}).check_classes(task.kind)  # unreadable images may have emptied a part of a class
        with checks.timed():
            checks.of_data(audited(studies, tables, task, cached, table), evaluation)

        facts = _run_facts(task, tables, manifest, studies, model, seed, params)

        def track() -> None:
            tracking.start(facts, log_dir=Path(paths["log_dir"]).resolve(), run_key=folder.status["run_key"])
            folder.update(tracking_run_id=tracking.run_id, split_sha256=manifest.sha256)

        try:
            ranks.share((asked[["file", "series_id"]], replace(inputs, images=None), output_dir))
            fitted = fit(
                inputs,
                task=task,
                model=model,
                training=training,
                algorithm=algorithm,
                monitor=monitor,
                compute=compute,
                seed=seed,
                ranks=ranks,
                checkpoints=output_dir / "checkpoints",
                begun=track,  # not before: MLflow takes as long to start as everything else
                seen=tracking.log_epochs,
            )
            ranks.leave()
            of_task: Any = {"kind": task.kind, "classes": task.classes, "evaluation": evaluation}
            predictions, decision = decide(_predictions(fitted, studies, task), **of_task, strict=False)
            write_environment(output_dir)  # again: torch is in use now, and tells its build and the GPU
            save_predictions(predictions, output_dir / "predictions.parquet")
            of_task |= {"ratings": labels_by_reader(task, tables, studies)}
            save_ratings(of_task["ratings"], output_dir)
            results = evaluate_predictions(predictions, task.metrics, **of_task, fairness=fairness, decision=decision)
            results.save(output_dir)
            with checks.timed():
                checks.of_model(predictions, results, evaluation, fitted.features)
            from midrc_ml.reporting.report import Report  # with matplotlib, which nothing before this needs
            from midrc_ml.sharing import identifiers_of, share

            report = Report(
                task_name=task.name,
                question=task.question,
                kind=task.kind,
                unit=task.unit,
                origin=tables.origin,
                synthetic=tables.synthetic,
                primary=next(iter(task.metrics)),
                metrics=results.metrics,
                groups=results.groups,
                gaps=results.gaps,
                agreement=results.agreement,
                decision=results.decision,
                evaluation=evaluation,
                predictions=predictions,
                studies=studies,
                flow=flow.as_dict(),
                history=fitted.history,
                monitor=training.monitor,
                warnings=doubts(results, predictions, evaluation),
                min_group_size=fairness.min_group_size,
                facts={**facts.tags, "split SHA-256": manifest.sha256, "model": facts.name, "seed": seed},
            )
            known: Any = {
                "cohort": {
                    "origin": tables.origin,
                    "synthetic": tables.synthetic,
                    "sha256": facts.tags["cohort_sha256"],
                },
                "inputs": {"images": getattr(images, "key", None), "clinical": None if table is None else list(table)},
            }
            about = trained_on(studies, task, split_sha256=manifest.sha256, **known)
            save_trained_on(output_dir / "checkpoints", about)
            shared = share(
                output_dir, report, results, checks, identifiers_of(tables, paths), others={TRAINED_ON: about}
            )
            log.info("Audit: %d checks in %.0f s", len(checks.entries), checks.seconds)
            folder.update(audit_seconds=round(checks.seconds, 1))
            tracking.finish(
                results.metrics, shared.paths, fitted.network, fitted.shapes, audit=shared.audit, about=about
            )
        except BaseException as error:
            if tracking.run_id is None and isinstance(error, Exception):
                track()
            tracking.fail(type(error).__name__)
            raise
    say_results(results, output_dir, tables, tracking.how_to_look(), verdict=checks.verdict())
    checks.check()
    return results


def train_along(
    *,
    task: Task,
    images: ImageRecipe | None,
    model: Callable[..., Any],
    training: Training,
    algorithm: Algorithm,
    fairness: Fairness,
    compute: Compute,
    ranks: Ranks,
    seed: int,
    paths: Mapping[str, str],
) -> None:
    """What a process of torchrun does that is not the first: wait for the first, then train with it."""
    compute.check(training, ranks)
    ranks.join(compute.torch_device(ranks).type)
    asked, inputs, output_dir = ranks.share(None)
    fit(
        replace(inputs, images=cached_images(asked, images, compute, paths)),
        task=task,
        model=model,
        training=training,
        algorithm=algorithm,
        monitor=_monitor(training, task, fairness),
        compute=compute,
        seed=seed,
        ranks=ranks,
        checkpoints=output_dir / "checkpoints",
        begun=lambda: None,
        seen=lambda epochs: None,
    )
    ranks.leave()


def _monitor(training: Training, task: Task, fairness: Fairness) -> Monitor:
    return Monitor.of(
        training.monitor,
        task.metrics,
        lower_is_better=lower_is_better(training.monitor),
        columns=fairness.columns,
        min_group_size=fairness.min_group_size,
    )


def _predictions(fitted: Fitted, studies: pd.DataFrame, task: Task) -> pd.DataFrame:
    """One table of all parts that were scored."""
    tables = [
        predictions_table(
            studies[studies["part"] == part].reset_index(drop=True), y_score, kind=task.kind, classes=task.classes
        )
        for part, y_score in fitted.scores.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _run_facts(
    task: Task,
    tables: Tables,
    manifest: Manifest,
    studies: pd.DataFrame,
    model: Callable[..., Any],
    seed: int,
    params: Mapping[str, object],
) -> RunFacts:
    name = getattr(getattr(model, "func", model), "__name__", type(model).__name__)
    tags = {
        "task": task.name,
        "task_version": str(task.version),
        "cohort": tables.origin,
        "synthetic": str(tables.synthetic).lower(),
        "cohort_sha256": tables.fingerprint(),
        **{key: str(value).lower() for key, value in source_state().items() if value is not None},
    }
    return RunFacts(
        experiment=f"midrc/{task.name}",
        name=f"{name}-{task.name}-seed{seed}-{manifest.sha256[:6]}",
        params=params,
        tags=tags,
        inputs={part: int((studies["part"] == part).sum()) for part in PARTS},
        split_sha256=manifest.sha256,
    )
