"""Say what a cohort holds for a task, without touching a pixel: who is in, who is out and why, labels, split, power.

python -m midrc_ml.describe task=icu                                           the synthetic demo cohort
python -m midrc_ml.describe task=icu cohort=midrc cohort.root=/data/midrc
python -m midrc_ml.describe task=icu_ever cohort=midrc cohort.root=FOLDER      a case table alone is enough
python -m midrc_ml.describe task=covid split=leave_one_site_out split.site=419639
python -m midrc_ml.describe task=icu reference=census.csv                      who is missing, against a population

Writes `cohort_flow.json`, `flow.png`, `excluded.parquet` (ids and reasons of what is left out), the split and, where
there are any, `series_of_no_study.parquet` and `ratings.parquet` (each reader's own label) into the folder that it
prints. It needs neither torch nor images.
"""

import logging
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from midrc_ml.command import run_composed
from midrc_ml.config import instantiated, save_config
from midrc_ml.errors import InputError

log = logging.getLogger("midrc_ml.describe")

_USED = ("cohort", "task", "split", "fairness", "power")


def main() -> None:
    """Run the verb with the process's arguments."""
    run_composed(_run, doc=str(__doc__), config_name="describe")


def _run(config: DictConfig, output_dir: Path) -> None:
    used = OmegaConf.masked_copy(config, list(_USED))
    made = instantiated(used)
    save_config(config, output_dir)
    place = None if config.reference in (None, "") else os.path.abspath(os.path.expanduser(str(config.reference)))
    describe(**made, reference=place, output_dir=output_dir)


def describe(
    *, cohort: Any, task: Any, split: Any, fairness: Any, power: Any, reference: str | None = None, output_dir: Path
) -> dict[str, Any]:
    """Describe `task` on `cohort`, print it, and write it into `output_dir`; what was written as JSON.

    The arguments are the objects of the config groups of the same names. reference: a table of a population
    (`evaluation/reference_population.py`) that the people with a label are held against.

    Raises:
        InputError: nothing to read, a table that the task needs is absent, or no study has a label.
    """
    from midrc_ml.cohorts.flow import CohortFlow
    from midrc_ml.evaluation.reference_population import read_reference
    from midrc_ml.evaluation.representativeness import representativeness_rows
    from midrc_ml.reporting.description import (
        describe_labels,
        describe_split,
        describe_tables,
        reader_agreement,
        series_of_no_study,
        text_of,
    )
    from midrc_ml.reporting.figures import flow_diagram
    from midrc_ml.splits.by_patient import assign_parts
    from midrc_ml.splits.manifest import Manifest
    from midrc_ml.tasks.reader_labels import labels_by_reader, save_ratings

    population = None if reference is None else read_reference(Path(reference))
    if population is not None and population.skipped:
        log.warning(
            "Note: of the reference not used, as studies have no such column: %s", ", ".join(population.skipped)
        )
    tables = cohort.read()
    flow = CohortFlow(origin=tables.origin)
    flow.details["tables"] = describe_tables(tables)
    strays = series_of_no_study(tables)
    if len(strays):
        strays.to_parquet(output_dir / "series_of_no_study.parquet", index=False)
    problem = None
    try:
        rows = task.labelled_studies(tables, flow, image_files="if any")
        flow.count_labels(rows, kind=task.kind, classes=task.classes)
        flow.details |= describe_labels(tables, task, rows)
        if population is not None:
            flow.details["representativeness"] = representativeness_rows(rows, population)
        ratings = labels_by_reader(task, tables, rows)
        save_ratings(ratings, output_dir)
        flow.details["agreement"] = reader_agreement(task, ratings, rows)
        rows = assign_parts(split, rows, flow)
        manifest = Manifest.of(rows, {**task.definition, "cohort": dict(cohort.query), **split.query})
        flow.details["split_sha256"] = manifest.sha256
        flow.details |= describe_split(task, rows, fairness, power)
        manifest.check_pinned(split.sha256)
        manifest.save(output_dir)
        flow.details["trainable"] = _why_not_trained(task, manifest)
    except InputError as error:
        problem = error  # what was counted until then is shown all the same
    flow.save(output_dir / "cohort_flow.json")
    if flow.taken:
        flow_diagram(flow.as_dict(), output_dir / "flow.png")
    log.info("%s", text_of(flow.as_dict(), question=f"task={task.name}, version {task.version}: {task.question}"))
    if tables.synthetic:
        log.info("Synthetic: no patient stands behind any row.")
    log.info("Written: %s", output_dir)
    if problem is not None:
        raise problem
    return flow.as_dict()


def _why_not_trained(task: Any, manifest: Any) -> str | None:
    """What `train` would say of this task and split; None = it would go on."""
    try:
        manifest.check_classes(task.kind)
    except InputError as error:
        return str(error)
    return None


if __name__ == "__main__":
    main()
