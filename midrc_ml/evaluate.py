"""Evaluate predictions of any model, from any framework: the report, metrics and tracking of a trained run.

python -m midrc_ml.evaluate task=icu predictions=scores.csv columns.y_score=prob columns.patient_id=subject
python -m midrc_ml.evaluate task=icu predictions=scores.csv manifest=logs/icu/runs/<time>       labels from that split
python -m midrc_ml.evaluate task=icu predictions=scores.csv decision=logs/icu/runs/<time>       its threshold
python -m midrc_ml.evaluate task=mrale form=melody truth=truth.csv predictions=scores.csv columns.y_score=ai_model_1
python -m midrc_ml.evaluate task=mrale form=midrc_challenge truth=annotations.csv predictions=submission.csv
python -m midrc_ml.evaluate task=icu --cfg job                                                  every setting

A file needs a row for each study: study_id, patient_id, y_true and y_score; y_score_<class> for tasks with classes,
time and event for time-to-event tasks; part, site, sex, age_band, race, ethnicity, manufacturer and view where they are
known. It needs neither torch nor monai. See docs/evaluate.md.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from midrc_ml.command import run_composed
from midrc_ml.config import instantiated, save_config, shareable_params, shipped_folder
from midrc_ml.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from midrc_ml.evaluation.decision import Decision
    from midrc_ml.prediction_files.reading import PredictionFile

log = logging.getLogger("midrc_ml.evaluate")  # also where the module runs as __main__

_OBJECTS = ("task", "evaluation", "fairness", "audit", "tracking")
_FILES = ("predictions", "truth", "manifest", "decision")
_PLAIN = ("readers", "name", "export", "paths")
_EXPORTS = (None, "melody")
_OF_ANOTHER = " of another run"
_RANKS = "scores are declared as ranks, and this metric needs probabilities: scores=as_given, or scores=logit"


def main() -> None:
    """Run the verb with the process's arguments."""
    run_composed(_run, doc=str(__doc__), config_name="evaluate")


def _run(config: DictConfig, output_dir: Path) -> None:
    from midrc_ml.prediction_files.form import FORM_SETTINGS, PredictionForm

    known = (*_OBJECTS, *_FILES, *_PLAIN, *FORM_SETTINGS)
    # A task may choose settings for training, which are no harm.
    groups = {place.name for place in shipped_folder("configs").iterdir() if place.is_dir()}
    strange = [str(name) for name in config if name not in known and name not in groups]
    if strange:
        raise InputError(f"{', '.join(strange)}: there is no such setting; `task=... --cfg job` lists them all")
    if config.predictions in (None, ""):
        raise InputError("give predictions=FILE: CSV or Parquet with a row for each study, or the folder of a run")
    if config.export not in _EXPORTS:
        raise InputError(f"export is {config.export!r}; it must be melody, or null")
    for name in _FILES:
        if config[name] not in (None, ""):
            config[name] = os.path.abspath(os.path.expanduser(str(config[name])))
    used = OmegaConf.masked_copy(config, [name for name in known if name in config])
    made = instantiated(OmegaConf.masked_copy(used, list(_OBJECTS)))
    plain = OmegaConf.to_container(used)
    assert isinstance(plain, dict)
    form = PredictionForm(**{name: _without_nulls(plain[name]) for name in FORM_SETTINGS})
    save_config(used, output_dir)
    params = shareable_params(OmegaConf.masked_copy(used, [*_OBJECTS, *FORM_SETTINGS]))
    evaluate(
        **made,
        predictions=config.predictions,
        truth=config.truth or None,
        manifest=config.manifest or None,
        decision=config.decision or None,
        form=form,
        readers=[str(reader) for reader in plain["readers"] or []],
        name=config.name,
        export=config.export,
        log_dir=Path(config.paths.log_dir),
        output_dir=output_dir,
        params=params,
    )


def evaluate(
    *,
    task: Any,
    evaluation: Any,
    fairness: Any,
    audit: Any,
    tracking: Any,
    predictions: str,
    truth: str | None,
    manifest: str | None,
    decision: str | None,
    form: Any,
    readers: Sequence[str],
    name: str | None,
    export: str | None,
    log_dir: Path,
    output_dir: Path,
    params: Mapping[str, object],
) -> Any:
    """Read, check and score predictions, and leave what a trained run leaves of them in `output_dir`; the results.

    task, evaluation, fairness, tracking: the objects of the config groups of these names. predictions, truth, manifest,
    decision: places (`configs/evaluate.yaml`). form: a `PredictionForm`. readers: columns of the readers' own labels.
    params: the settings, for the tracker.

    Raises:
        InputError: predictions that cannot be read, or are not the task's.
    """
    from midrc_ml.evaluation.ceiling import LEAST_STUDIES
    from midrc_ml.evaluation.doubts import doubts
    from midrc_ml.evaluation.evaluate import decide, evaluate_predictions
    from midrc_ml.prediction_files.readers import ratings_in_columns
    from midrc_ml.prediction_files.reading import read_predictions
    from midrc_ml.predictions import save_predictions
    from midrc_ml.reporting.run_folder import RunFolder
    from midrc_ml.reporting.terminal import say_results
    from midrc_ml.tasks.reader_labels import load_ratings, save_ratings

    folder = RunFolder(output_dir)
    with folder.running():
        log.info("Run folder: %s", output_dir)
        columns = [*fairness.columns, *(column for columns in fairness.intersections for column in columns), *readers]
        given = read_predictions(
            predictions, task, form=form, truth=truth, manifest=manifest, further=list(dict.fromkeys(columns))
        )
        notes = list(given.notes)
        table, settled = given.table, _carried_over(decision, given, task, evaluation, notes)
        if decision is not None and settled is not None:
            table = _recalibrated_as(settled, table, given, task, form, notes)
        if settled is None:
            _check_recalibration(evaluation, table, form)
            table, settled = decide(table, kind=task.kind, classes=task.classes, evaluation=evaluation)
        save_predictions(table, output_dir / "predictions.parquet")
        given.save_split(output_dir)
        folder.update(split_sha256=given.split_sha256, predictions_sha256=given.sha256)
        _say_who_is_in(given, notes)
        ratings = None if given.split is None else load_ratings(given.split.folder)
        if readers:
            ratings = ratings_in_columns(table, readers)
        save_ratings(ratings, output_dir)
        results = evaluate_predictions(
            table,
            task.metrics,
            kind=task.kind,
            classes=task.classes,
            evaluation=evaluation,
            fairness=fairness,
            decision=settled,
            withheld=_withheld(task.metrics) if form.scores == "rank" else None,
            ratings=ratings,
        )
        results.save(output_dir)
        checks = _audited(table, task, results, evaluation, audit, output_dir)
        if readers and not results.agreement:
            notes.append(f"readers: no two of {', '.join(readers)} read {LEAST_STUDIES} studies in common")
            log.info("Note: %s", notes[-1])
        model = name or given.score_name or "predictions"
        if export == "melody":
            from midrc_ml.prediction_files.melody import export_melody

            for path in export_melody(table, output_dir, kind=task.kind, model=model):
                log.info("Written: %s", path)
        facts = _run_facts(model, task, given, params)
        from midrc_ml.reporting.report import Report  # with matplotlib, which nothing before this needs

        report = Report(
            task_name=task.name,
            question=task.question,
            kind=task.kind,
            unit=task.unit,
            origin=given.origin,
            synthetic=given.synthetic,
            primary=next(iter(task.metrics)),
            metrics=results.metrics,
            groups=results.groups,
            gaps=results.gaps,
            agreement=results.agreement,
            decision=results.decision,
            evaluation=evaluation,
            predictions=table,
            warnings=doubts(results, table, evaluation),
            notes=notes,
            scores_are_ranks=form.scores == "rank",
            min_group_size=fairness.min_group_size,
            facts={**facts.tags, "split SHA-256": given.split_sha256, "model": model},
        )
        from midrc_ml.sharing import identifiers_of_rows, share

        shared = share(output_dir, report, results, checks, identifiers_of_rows(table, {"log_dir": str(log_dir)}))
        tracking.start(facts, log_dir=log_dir.resolve(), run_key=folder.status["run_key"])
        folder.update(tracking_run_id=tracking.run_id)
        try:
            tracking.finish(results.metrics, shared.paths, audit=shared.audit)
        except BaseException as error:
            tracking.fail(type(error).__name__)
            raise
    say_results(results, output_dir, given, tracking.how_to_look(), verdict=checks.verdict())
    replace(checks, settings=audit).check()
    return results


def _audited(table: "pd.DataFrame", task: Any, results: Any, evaluation: Any, settings: Any, output_dir: Path) -> Any:
    """What can be said of the numbers by the predictions alone; the files are written whatever it says."""
    from midrc_ml.audits.leakage import patient_leakage, study_leakage
    from midrc_ml.audits.rivals import Studies
    from midrc_ml.audits.run_audit import RunAudit

    checks = RunAudit(replace(settings, refuse="never"), output_dir)
    checks.add(patient_leakage(table), study_leakage(table))
    checks.of_data(Studies(rows=table, tables=None, task=task), evaluation)
    checks.of_model(table, results, evaluation)
    return checks


def _carried_over(
    place: str | None, given: "PredictionFile", task: Any, evaluation: Any, notes: list[str]
) -> "Decision | None":
    """The decision in `place`, or beside the predictions; None = one is to be made on the validation part."""
    from midrc_ml.evaluation.decision import FILE_NAME, Decision

    is_number = isinstance(evaluation.threshold, int | float)
    if place is None:
        beside = given.path.parent
        if task.kind != "binary" or is_number or evaluation.recalibration != "none":
            return None
        if not (beside / FILE_NAME).is_file():
            return None
        notes.append(f"the threshold is that of the {FILE_NAME} that lies beside the predictions")
        return Decision.load(beside)
    path = Path(place)
    if not path.exists() or (path.is_file() and path.name != FILE_NAME):
        raise InputError(f"decision={place}: no such place; give the folder of a run, or its {FILE_NAME}")
    if is_number or evaluation.recalibration != "none":
        also = f"evaluation.threshold={evaluation.threshold} and evaluation.recalibration={evaluation.recalibration}"
        raise InputError(f"decision={place} was settled before, and {also} would settle it anew; give one of them")
    found = Decision.load(path if path.is_dir() else path.parent)
    notes.append(f"the threshold is that of another run ({found.rule} on {found.chosen_on})")
    return replace(found, chosen_on=found.chosen_on.removesuffix(_OF_ANOTHER) + _OF_ANOTHER)


def _recalibrated_as(
    settled: "Decision", table: "pd.DataFrame", given: "PredictionFile", task: Any, form: Any, notes: list[str]
) -> "pd.DataFrame":
    """The predictions recalibrated as another run recalibrates, on whose scale its threshold is."""
    from midrc_ml.evaluation.decision import FILE_NAME, Decision
    from midrc_ml.evaluation.evaluate import with_recalibration

    method = settled.recalibration.method
    if method == "none":
        return table
    beside = given.path.parent
    if (beside / FILE_NAME).is_file() and Decision.load(beside).recalibration.method != "none":
        notes.append("the scores were recalibrated where the predictions were made, and are not again")
        return table
    if form.scores == "rank":
        raise InputError(
            f"decision= is of a run whose scores are recalibrated ({method}), which ranks cannot be: its threshold is "
            f"on another scale; give evaluation.threshold=NUMBER on the scale of the file"
        )
    notes.append(f"the scores are recalibrated ({method}) as in that run")
    return with_recalibration(table, settled, classes=task.classes if task.kind == "multiclass" else ())


def _check_recalibration(evaluation: Any, table: "pd.DataFrame", form: Any) -> None:
    if evaluation.recalibration != "none" and (form.scores == "rank" or not (table["part"] == "validation").any()):
        raise InputError(
            f"evaluation.recalibration={evaluation.recalibration} is fitted to the probabilities of a validation part, "
            f"which these predictions do not have; leave it out"
        )


def _withheld(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The metrics that need probabilities, with the reason why they are not estimated of ranks."""
    functions = {name: getattr(metric, "func", metric) for name, metric in metrics.items()}
    return {
        name: _RANKS
        for name, function in functions.items()
        if function.__module__.startswith(("midrc_ml.evaluation.calibration", "midrc_ml.evaluation.net_benefit"))
        or function.__name__ in ("brier_loss", "log_loss")
    }


def _say_who_is_in(given: "PredictionFile", notes: list[str]) -> None:
    table = given.table
    sizes = table["part"].value_counts()
    log.info("Predictions: %s, SHA-256 %s", given.path, given.sha256[:12])
    log.info("Evaluated: %d studies of %d patients: %s",
             len(table), table["patient_id"].nunique(),
             ", ".join(f"{part} {count}" for part, count in sizes.items()))  # fmt: skip
    if given.split is not None:
        log.info("Split: %s, SHA-256 %s", given.split.folder, given.split_sha256[:12])
    for note in notes:
        log.info("Note: %s", note)


def _run_facts(model: str, task: Any, given: "PredictionFile", params: Mapping[str, object]) -> Any:
    from midrc_ml.reporting.run_folder import source_state
    from midrc_ml.tracking.tracker import RunFacts

    tags = {
        "task": task.name,
        "task_version": str(task.version),
        "cohort": given.origin,
        "synthetic": str(given.synthetic).lower(),
        "predictions_sha256": given.sha256,
        **({"truth_sha256": given.truth_sha256} if given.truth_sha256 else {}),
        **{key: str(value).lower() for key, value in source_state().items() if value is not None},
    }
    return RunFacts(
        experiment=f"midrc/{task.name}",
        name=f"{model}-{task.name}-{given.sha256[:6]}",
        params={**params, "name": model},
        tags=tags,
        inputs={str(part): int(count) for part, count in given.table["part"].value_counts().sort_index().items()},
        split_sha256=given.split_sha256,
        verb="evaluate",
    )


def _without_nulls(value: Any) -> Any:
    """A mapping without the settings that are null; None where none is left."""
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if item is not None}


if __name__ == "__main__":
    main()
