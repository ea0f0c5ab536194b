"""Say how a number could be wrong, before a GPU hour is spent: leaks, label time, shortcuts, floors, privacy.

python -m midrc_ml.audit task=icu                                       the synthetic demo cohort
python -m midrc_ml.audit task=icu cohort=midrc cohort.root=/data/midrc
python -m midrc_ml.audit task=icu images=none                           the tables alone
python -m midrc_ml.audit task=icu predictions=logs/icu/runs/<time>      a finished run, or any model's scores
python -m midrc_ml.audit task=icu_ever cohort=cohen audit=strict        a warning is an error too

Everything is made on the split, the test part, the draws and the first metric that `train` would use. Writes
`audit.json`, `audit.html`, `audit.md`, `cohort_flow.json`, the split and, where one film stands in it twice, the pairs
into the folder that it prints; what to do about findings is `audit=default | strict | report` (docs/audit.md). Every
run of `train` carries the same audit. It trains nothing and needs no GPU.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from midrc_ml.command import run_composed
from midrc_ml.config import instantiated, save_config, shareable_params
from midrc_ml.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("midrc_ml.audit")

_USED = ("cohort", "task", "split", "images", "clinical", "model", "evaluation", "audit", "compute", "tracking")


def main() -> None:
    """Run the verb with the process's arguments."""
    run_composed(_run, doc=str(__doc__), config_name="audit")


def _run(config: DictConfig, output_dir: Path) -> None:
    made = instantiated(OmegaConf.masked_copy(config, list(_USED)))
    save_config(config, output_dir)
    paths = OmegaConf.to_container(config.paths)
    assert isinstance(paths, dict)
    audit(
        **{"settings" if name == "audit" else name: value for name, value in made.items()},
        predictions=config.predictions or None,
        truth=config.truth or None,
        paths={str(name): str(value) for name, value in paths.items()},
        params=shareable_params(OmegaConf.masked_copy(config, list(_USED))),
        output_dir=output_dir,
    )


def audit(
    *,
    cohort: Any,
    task: Any,
    split: Any,
    images: Any,
    clinical: Any,
    model: Any,
    evaluation: Any,
    settings: Any,
    compute: Any,
    tracking: Any,
    predictions: str | None,
    truth: str | None,
    paths: Mapping[str, str],
    params: Mapping[str, object],
    output_dir: Path,
) -> list[Any]:
    """Audit `task` on `cohort`, print the verdict, and write it into `output_dir`; the entries.

    cohort ... tracking: the objects of the config groups of the same names, audit as `settings`. images: None = no
    pixel is read, nor where the cohort has no image file. predictions, truth: places of a model's scores.

    Raises:
        InputError: nothing to audit, predictions that are not of these studies, or findings that settings refuse.
    """
    from midrc_ml.audits.run_audit import RunAudit
    from midrc_ml.cohorts.flow import CohortFlow
    from midrc_ml.evaluation.evaluate import Results
    from midrc_ml.reporting.audit_report import write_audit_report
    from midrc_ml.reporting.run_folder import RunFolder
    from midrc_ml.run_inputs import audited, cached_images, clinical_rows, image_cache, with_images
    from midrc_ml.splits.by_patient import assign_parts
    from midrc_ml.splits.manifest import Manifest

    given = None
    if predictions is not None:
        from midrc_ml.prediction_files.reading import read_predictions

        given = read_predictions(predictions, task, truth=truth)
    folder = RunFolder(output_dir)
    with folder.running():
        tables = cohort.read()
        if images is not None and tables.series["file"].isna().all():
            log.info("Note: the %s has no image file; the tables alone are audited", tables.origin)
            images = None
        if images is not None:
            task.check_modalities(images.modalities)
            tables = tables.with_files(image_cache(images, paths).files_by_series())
        flow = CohortFlow(origin=tables.origin)
        checks = RunAudit(settings, output_dir)
        try:
            image_files: Any = "if any" if images is None else "needed"
            studies = task.labelled_studies(tables, flow, image_files=image_files)
            studies = assign_parts(split, studies, flow) if given is None else _parts_of(given, studies, flow)
            manifest = Manifest.of(studies, {**task.definition, "cohort": dict(cohort.query), **split.query})
            manifest.save(output_dir)
            folder.update(split_sha256=manifest.sha256)
            checks.of_split(studies, tables, model)
            cached = cached_images(studies, images, compute, paths)
            if cached is not None:
                studies = with_images(studies, cached, task, flow)
            studies = checks.of_images(studies, cached, flow, recipe=getattr(images, "key", ""))
            table = None if clinical is None else clinical_rows(clinical, tables, studies, flow)
            checks.of_data(audited(studies, tables, task, cached, table), evaluation, image_files=image_files)
            if given is not None:
                kept = given.table[given.table["study_id"].isin(studies["study_id"])]
                checks.of_model(kept, Results(metrics=[], groups=[]), evaluation)
            problem = None
        except InputError as error:
            problem = error  # what was found until then is told all the same
        finally:
            flow.save(output_dir / "cohort_flow.json")
        found = problem is None or any(entry.status == "fail" for entry in checks.entries)
        told: Any = {
            "title": f"Audit of {task.name} on the {tables.origin}",
            "question": task.question,
            "synthetic": tables.synthetic,
        }
        audit_rows = [entry.as_dict() for entry in checks.entries]
        write_audit_report(output_dir, **told, verdict=checks.verdict() if found else [], audit=audit_rows)
        if found:
            for sentence in checks.verdict():
                log.info("%s", sentence)
            log.info("Report: %s", output_dir / "audit.html")
        if problem is not None:
            raise problem
        from midrc_ml.sharing import identifiers_of, share_audit

        shared = share_audit(output_dir, told, checks, identifiers_of(tables, paths))
        facts = _run_facts(task, tables, manifest, studies, params)
        tracking.start(facts, log_dir=Path(paths["log_dir"]).resolve(), run_key=folder.status["run_key"])
        folder.update(tracking_run_id=tracking.run_id)
        tracking.finish([], shared.paths, audit=shared.audit)
        checks.check()
    return checks.entries


def _parts_of(given: Any, studies: "pd.DataFrame", flow: Any) -> "pd.DataFrame":
    """The labelled studies with the parts of the predictions; patients who have none are what could be trained on."""
    from midrc_ml.cohorts.flow import reason_where

    part = studies["study_id"].map(given.table.set_index("study_id")["part"])
    if not part.eq("test").any():
        raise InputError(
            f"predictions={given.path}: none of its {len(given.table)} studies is a labelled one of the {flow.origin}; "
            f"give the cohort and the task that they are of"
        )
    if lost := len(given.table) - int(part.notna().sum()):
        flow.notes.append(
            f"{lost} studies of the predictions are not among the labelled ones of the cohort; not audited"
        )
    is_theirs = studies["patient_id"].isin(studies.loc[part.notna(), "patient_id"])
    reasons = reason_where(part.isna() & is_theirs, "of a patient with predictions, without one itself", studies.index)
    studies = studies.assign(part=part.fillna("train"))
    return flow.step("with a prediction, or of another patient", studies, reasons)


def _run_facts(task: Any, tables: Any, manifest: Any, studies: "pd.DataFrame", params: Mapping[str, object]) -> Any:
    from midrc_ml.reporting.run_folder import source_state
    from midrc_ml.tracking.tracker import RunFacts

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
        name=f"audit-{task.name}-{manifest.sha256[:6]}",
        params=params,
        tags=tags,
        inputs={str(part): int(count) for part, count in studies["part"].value_counts().sort_index().items()},
        split_sha256=manifest.sha256,
        verb="audit",
    )


if __name__ == "__main__":
    main()
