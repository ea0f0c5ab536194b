"""The story of a run, top to bottom; every step is elsewhere."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from midrc_ml.audits.leakage import patient_leakage, stop_on_failure
from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import CohortReader, Tables
from midrc_ml.evaluation.evaluate import Evaluation, Fairness, Results, evaluate_predictions
from midrc_ml.evaluation.metrics import lower_is_better
from midrc_ml.images.cache import CachedImages, ImageCache
from midrc_ml.images.recipe import Recipe
from midrc_ml.predictions import predictions_table, save_predictions
from midrc_ml.reporting.report import Report, interval_text
from midrc_ml.reporting.run_folder import RunFolder, source_state, write_environment
from midrc_ml.splits.by_patient import Split, assign_parts
from midrc_ml.splits.manifest import PARTS, Manifest
from midrc_ml.tasks.task import Task
from midrc_ml.tracking.tracker import RunFacts, RunTracker
from midrc_ml.training.algorithms import Algorithm
from midrc_ml.training.settings import Compute, Monitor, Training

log = logging.getLogger(__name__)


def train_and_evaluate(
    *,
    cohort: CohortReader,
    task: Task,
    split: Split,
    images: Recipe,
    model: Callable[..., Any],
    training: Training,
    algorithm: Algorithm,
    evaluation: Evaluation,
    fairness: Fairness,
    compute: Compute,
    tracking: RunTracker,
    seed: int,
    paths: Mapping[str, str],
    output_dir: Path,
    params: Mapping[str, object],
) -> Results:
    """Train one model for one task and say how good it is, overall and by group.

    The keyword arguments are the config's keys. output_dir: the run's folder; where it holds a run that was
    cut off, that run goes on. params: the same settings as short texts, for the tracker.

    Raises:
        InputError: anything that the user can put right; what was done so far stays in `output_dir`.
    """
    task.check_trainable()
    monitor = Monitor.of(training.monitor, task.metrics, lower_is_better=lower_is_better(training.monitor))
    folder = RunFolder(output_dir)
    with folder.running():
        log.info("Run folder: %s", output_dir)
        tables = cohort.read()
        flow = CohortFlow(origin=tables.origin)
        try:
            studies = assign_parts(split, task.labelled_studies(tables, flow), flow)
            manifest = Manifest.of(studies, {**task.definition, "cohort": dict(cohort.query), **split.query})
            manifest.check_pinned(split.sha256)
            manifest.check_classes(task.kind)
            manifest.save(output_dir)
            audit = [patient_leakage(manifest.rows)]
            (output_dir / "audit.json").write_text(json.dumps([entry.as_dict() for entry in audit], indent=1) + "\n")
            stop_on_failure(audit)
            _say_who_is_in(tables, manifest, flow)
            cached = ImageCache(cache_dir=paths["cache_dir"], recipe=images).load(
                list(studies["file"]),
                series=list(studies["series_id"]),
                num_processes=compute.processes(),
                ray=compute.ray,
            )
            studies = _with_images(studies, cached, task, flow)
        finally:
            flow.save(output_dir / "cohort_flow.json")
        Manifest.of(studies, {}).check_classes(task.kind)  # unreadable images may have emptied a part of a class

        facts = _run_facts(task, tables, manifest, studies, model, seed, params)
        tracking.start(facts, log_dir=Path(paths["log_dir"]).resolve(), run_key=folder.status["run_key"])
        folder.update(tracking_run_id=tracking.run_id, split_sha256=manifest.sha256)
        try:
            predictions, history, network = _trained(
                studies, cached, task, images, model, training, algorithm, monitor, compute, tracking, seed, output_dir
            )
            write_environment(output_dir)  # again: torch is in use now, and tells its build and the GPU
            save_predictions(predictions, output_dir / "predictions.parquet")
            results = evaluate_predictions(
                predictions, task.metrics, kind=task.kind, evaluation=evaluation, fairness=fairness
            )
            results.save(output_dir)
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
                predictions=predictions,
                studies=studies,
                flow=flow.as_dict(),
                audit=[entry.as_dict() for entry in audit],
                history=history,
                monitor=training.monitor,
                min_group_size=fairness.min_group_size,
                facts={**facts.tags, "split SHA-256": manifest.sha256, "model": facts.name, "seed": seed},
            )
            written = report.write(output_dir)
            tables_written = [
                output_dir / name for name in ("metrics.json", "groups.json", "audit.json", "cohort_flow.json")
            ]
            tracking.finish(
                results.metrics,
                [*written, *tables_written, output_dir / "environment.json"],
                network,
                images.input_shape,
            )
        except BaseException as error:
            tracking.fail(type(error).__name__)
            raise
    _say_results(results, output_dir, tables, tracking)
    return results


def _with_images(studies: pd.DataFrame, cached: CachedImages, task: Task, flow: CohortFlow) -> pd.DataFrame:
    """Studies whose image can be read, with its position in `cached`; the others are counted by reason."""
    reasons = pd.Series(list(cached.reasons), index=studies.index, dtype=object)
    left_out = sum(cached.left_out)
    if left_out:
        flow.notes.append(
            f"{left_out} further or damaged files in the series that were read: one film stands for a series"
        )
    if cached.num_absent:
        flow.notes.append(f"{cached.num_absent} image files are gone; their images were decoded before, and are used")
    readable = flow.step("image readable", studies.assign(image=range(len(studies))), reasons)
    flow.count_labels(readable, kind=task.kind, classes=task.classes)
    return readable


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


def _trained(
    studies: pd.DataFrame,
    cached: CachedImages,
    task: Task,
    images: Recipe,
    model: Callable[..., Any],
    training: Training,
    algorithm: Algorithm,
    monitor: Monitor,
    compute: Compute,
    tracking: RunTracker,
    seed: int,
    output_dir: Path,
) -> tuple[pd.DataFrame, list[dict[str, Any]], Any]:
    """The predictions of the best epoch on validation and test, the epochs, and the network."""
    import torch  # late: everything before this needs seconds less without it

    from midrc_ml.datasets.studies import StudyDataset
    from midrc_ml.models.image import check_contract
    from midrc_ml.training.loop import load_best, train
    from midrc_ml.training.losses import Target
    from midrc_ml.training.predict import scores
    from midrc_ml.training.seeds import seed_everything

    if compute.num_threads:
        torch.set_num_threads(compute.num_threads)
    device = compute.torch_device()
    parts = {part: studies[studies["part"] == part].reset_index(drop=True) for part in PARTS}
    data = {part: StudyDataset(rows, cached) for part, rows in parts.items()}
    seed_everything(seed, 0)
    network = model(num_outputs=1).to(device)
    check_contract(network, num_outputs=1, shape=images.input_shape)
    precision = str(compute.autocast_dtype(device) or torch.float32).removeprefix("torch.")
    log.info(
        "Training on %s in %s, %d threads: at most %d epochs",
        device,
        precision,
        torch.get_num_threads(),
        training.epochs,
    )
    history: list[dict[str, Any]] = []
    checkpoints = output_dir / "checkpoints"
    target = Target.of(task.kind, data["train"].labels)
    session = algorithm.begin(parts["train"], device)
    for name, size in session.groups.items():
        log.info("Group of the algorithm: %s, %d training studies", name, size)
    for epoch in train(
        network, data, target, training, compute, monitor, seed=seed, folder=checkpoints, algorithm=session
    ):
        history.append(asdict(epoch))
        tracking.log_epochs(history)
        log.info(
            "Epoch %d: loss %.4f, validation loss %.4f, best epoch %d, %.0f images/s, %.0f %% data wait, %.1f GB",
            epoch.epoch, epoch.train_loss, epoch.validation_loss, epoch.best_epoch, epoch.images_per_second,
            100 * epoch.data_wait, epoch.memory_gb,
        )  # fmt: skip
    target = load_best(network, checkpoints)
    dtype = compute.autocast_dtype(device)
    tables = []
    for part in ("validation", "test"):
        y_score, _ = scores(network, data[part], target, batch_size=training.batch_size, device=device, dtype=dtype)
        tables.append(predictions_table(parts[part], y_score))
    return pd.concat(tables, ignore_index=True), history, network


def _say_who_is_in(tables: Tables, manifest: Manifest, flow: CohortFlow) -> None:
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


def _say_results(results: Results, output_dir: Path, tables: Tables, tracking: RunTracker) -> None:
    log.info("")
    log.info("Test part of the %s%s:", tables.origin, " (no real patient)" if tables.synthetic else "")
    for row in results.of_part("test"):
        log.info("  %s", interval_text(row))
    log.info("Report: %s", output_dir / "report.html")
    command = tracking.how_to_look()
    if command:
        log.info("Compare runs: %s", command)
