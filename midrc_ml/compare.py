"""Compare models on the studies that all of them were tested on: paired differences, intervals, p-values.

python -m midrc_ml.compare logs/icu/runs/A logs/icu/runs/B          run folders; the first is the reference
python -m midrc_ml.compare 3f9a1c 77b0e2 scores.csv                 MLflow run ids, and a predictions file
python -m midrc_ml.compare midrc/icu --reference densenet121        all finished runs of an experiment, or of a glob
python -m midrc_ml.compare ours=A,B,C theirs=scores.parquet         named; A, B and C are seeds of one model
python -m midrc_ml.compare A B --metrics auroc,auprc --by sex,race  the same within groups

Runs that differ in their seed alone are one model: the mean over its seeds, with the spread over seeds beside it.
Writes a table, a page and a forest plot into logs/<task>/compared/, and a run of its own into MLflow. Needs neither
torch nor monai. Exit status: 0, compared; 2, the line itself has to be changed. See docs/compare.md.
"""

import argparse
import logging
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from midrc_ml.errors import InputError

if TYPE_CHECKING:
    from midrc_ml.compared.models import Model
    from midrc_ml.compared.places import Place
    from midrc_ml.compared.sources import Source
    from midrc_ml.compared.test_set import CommonTestSet
    from midrc_ml.evaluation.comparison import Comparison
    from midrc_ml.tasks.task import Task

EXIT_INPUT, EXIT_STOPPED = 2, 130
_LEAST_DRAWS = 100
_ROWS_SAID = 20
log = logging.getLogger("midrc_ml.compare")  # also where the module runs as __main__


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb with the process's arguments."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for name in ("alembic", "mlflow", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        compare(given)
    except InputError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        raise SystemExit(EXIT_STOPPED) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _stop(f"{where}{error.strerror or error}; results go below --log-dir, a folder that can be written")


def compare(given: argparse.Namespace) -> Path:
    """Compare what the parsed arguments name; the folder of the results.

    Raises:
        InputError: something that the user can put right.
    """
    from midrc_ml.compared.metrics import check_metrics
    from midrc_ml.compared.models import models_of, reference_first, without_copies
    from midrc_ml.compared.places import Finder
    from midrc_ml.compared.test_set import common_test_set, of_split
    from midrc_ml.evaluation.comparison import ComparedModel, ComparisonSettings, compare_models
    from midrc_ml.tracking.lookup import RunStore

    log_dir = Path(given.log_dir).expanduser().resolve()
    finder = Finder(log_dir, RunStore(given.tracking_uri, log_dir))
    places = finder.places(given.names)
    task = _task(places, given.task)
    metrics, fairness = _metrics(task, given.metrics), _fairness(given)
    sources, copies = without_copies(_sources(places, task, log_dir, given))
    sources, others = of_split(sources, given.split)
    models, seed_notes = models_of(sources, each_seed=given.each_seed)
    models = reference_first(models, sources, given.reference)
    common = common_test_set(sources, task, part=given.part, intersect=given.intersect)
    check_metrics(metrics, common.y_true, common.scores[0])
    notes = [
        *finder.notes,
        *copies,
        *others,
        *seed_notes,
        *common.notes,
        *(note for one in sources for note in one.notes),
    ]
    compared = [
        ComparedModel(
            name=model.name,
            scores=[common.scores[place] for place in model.members],
            thresholds=[sources[place].threshold for place in model.members],
            withheld={name: why for place in model.members for name, why in sources[place].withheld.items()},
        )
        for model in models
    ]
    found = compare_models(
        compared,
        common.studies,
        common.y_true,
        metrics,
        kind=task.kind,
        classes=task.classes,
        settings=ComparisonSettings(
            num_draws=given.num_draws, seed=given.seed, confidence=given.confidence, all_pairs=given.all_pairs
        ),
        fairness=fairness,
    )
    stamp = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{os.getpid()}_{secrets.token_hex(2)}"
    folder = log_dir / task.name / "compared" / stamp
    _keep(found, models, sources, common, task, notes, given, folder)
    return folder


def _task(places: Sequence["Place"], name: str | None) -> "Task":
    """The task of the first run, or the one that is named."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf

    from midrc_ml.compared.sources import config_of
    from midrc_ml.config import composed, explain_hydra_error, instantiated

    if name is not None:
        try:
            config = composed("evaluate", [f"task={name}"])
        except HydraException as error:
            raise InputError(explain_hydra_error(error, [f"task={name}"])) from error
    else:
        first = next((place for place in places if place.is_run), None)
        if first is None:
            raise InputError(
                f"{places[0].asked} does not say which question its scores answer; give --task, as in --task icu"
            )
        config = OmegaConf.create({"task": config_of(first)["task"]})
    made: Task = instantiated(OmegaConf.masked_copy(config, ["task"]))["task"]
    return made


def _metrics(task: "Task", asked: Sequence[str]) -> Mapping[str, Any]:
    """The metrics asked for by name: of the task, else of its kind, else of a module; by default the task's own."""
    from hydra.utils import get_object
    from omegaconf import OmegaConf

    from midrc_ml.compared.metrics import has_better
    from midrc_ml.config import instantiated, shipped_folder

    if not asked:
        return {name: metric for name, metric in task.metrics.items() if has_better(name, metric)}
    config = OmegaConf.load(shipped_folder("configs") / "metrics" / f"{task.kind}.yaml")
    known = {**instantiated(OmegaConf.create({"metrics": config}))["metrics"], **task.metrics}
    found: dict[str, Any] = {}
    for name in asked:
        called = name.rpartition(".")[2]
        if called in found:
            raise InputError(f"--metrics {','.join(asked)}: two of them are called {called}; give one, or rename one")
        if "." in name:
            try:
                found[called] = get_object(name)
            except Exception as error:
                raise InputError(f"--metrics {name}: there is no such function ({type(error).__name__})") from error
        elif name in known:
            found[name] = known[name]
        else:
            raise InputError(
                f"--metrics {name}: there is no such metric for a {task.kind} task; there are {', '.join(known)}, and "
                f"any function (y_true, y_score) by its full name, as my_package.my_metric"
            )
    return found


def _sources(places: Sequence["Place"], task: "Task", log_dir: Path, given: argparse.Namespace) -> list["Source"]:
    from midrc_ml.compared.sources import read_file, read_run
    from midrc_ml.evaluation.settings import INTERSECTION
    from midrc_ml.prediction_files.given_split import SPLIT_FILE

    splits = [place.path for place in places if place.is_run and (place.path / SPLIT_FILE).is_file()]
    manifest = splits[0] if splits else None
    further = list(dict.fromkeys(column for name in given.by for column in name.split(INTERSECTION)))
    return [
        read_run(place, task, log_dir=log_dir)
        if place.is_run
        else read_file(place, task, log_dir=log_dir, manifest=manifest, intersect=given.intersect, further=further)
        for place in places
    ]


def _fairness(given: argparse.Namespace) -> Any:
    from midrc_ml.evaluation.settings import INTERSECTION, Fairness

    if not given.by:
        return None
    return Fairness(
        columns=[name for name in given.by if INTERSECTION not in name],
        intersections=[name.split(INTERSECTION) for name in given.by if INTERSECTION in name],
        min_group_size=given.min_group_size,
    )


def _keep(
    found: "Comparison",
    models: Sequence["Model"],
    sources: Sequence["Source"],
    common: "CommonTestSet",
    task: "Task",
    notes: Sequence[str],
    given: argparse.Namespace,
    folder: Path,
) -> None:
    """Write the report, log it to MLflow, and say what came out."""
    from midrc_ml.compared.tracked import facts_of
    from midrc_ml.reporting.comparison import ComparisonReport
    from midrc_ml.reporting.run_folder import ENVIRONMENT, RunFolder
    from midrc_ml.sharing import identifiers_of_rows, share_comparison
    from midrc_ml.tracking.mlflow_tracker import MlflowTracking
    from midrc_ml.tracking.tracker import NoTracking, RunTracker

    rows = [
        {"model": model.name, "shown": source.shown, "seed": source.seed, "run_id": source.run_id,
         "threshold": None if source.threshold != source.threshold else source.threshold,
         "split_sha256": source.split_sha256, "commit": source.commit}
        for model in models for source in (sources[place] for place in model.members)
    ]  # fmt: skip
    report = ComparisonReport(
        comparison=found,
        task_name=task.name,
        question=task.question,
        part=common.part,
        origin=next((source.origin for source in sources if source.origin), "predictions"),
        synthetic=any(source.synthetic for source in sources),
        split_sha256=common.split_sha256,
        studies_sha256=common.sha256,
        sources=rows,
        notes=notes,
    )
    tracking: RunTracker = NoTracking()
    if given.tracking == "mlflow":
        tracking = MlflowTracking(uri=given.tracking_uri, log_model=False)
    of_folder = RunFolder(folder)
    with of_folder.running():
        written = report.write(folder)
        for table in report.short_tables():
            log.info("\n%s", table.as_text(most=_ROWS_SAID))
        if len(report.models) > 2 and len(report.metrics) > 1:
            log.info("\nIn the report: %s", ", ".join(report.metrics[1:]))
        log.info("\n%s", report.headline[0])
        for note in [*report.warnings, *notes]:
            log.info("Note: %s", note)
        facts = facts_of(report, task, settings=_settings(given))
        log_dir = Path(given.log_dir).expanduser().resolve()
        tracking.start(facts, log_dir=log_dir, run_key=of_folder.status["run_key"])
        of_folder.update(tracking_run_id=tracking.run_id, split_sha256=common.split_sha256)
        try:
            ids = identifiers_of_rows(common.studies, {"log_dir": str(log_dir)})
            tracking.finish(
                report.tracked_rows(), share_comparison(folder, report, [*written, folder / ENVIRONMENT], ids)
            )
        except BaseException as error:
            tracking.fail(type(error).__name__)
            raise
    log.info("Report: %s", folder / "comparison.html")
    if tracking.how_to_look():
        log.info("In MLflow: %s", tracking.how_to_look())


def _settings(given: argparse.Namespace) -> dict[str, object]:
    names = ("part", "num_draws", "seed", "confidence", "all_pairs", "each_seed", "intersect")
    return {"by": ", ".join(given.by) or "nothing", **{name: getattr(given, name) for name in names}}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m midrc_ml.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    what = "run folder, MLflow run id or its beginning, experiment or a glob of them, folder of runs, predictions file"
    add("names", nargs="+", metavar="A", help=f"{what}; NAME=A,B,C names a model and its seeds")
    add("--reference", metavar="NAME", help="what the others are compared with (default: the first)")
    add("--all-pairs", action="store_true", help="each with each")
    add("--each-seed", action="store_true", help="runs that differ in their seed alone are models of their own")
    add(
        "--metrics",
        type=_names,
        default=[],
        metavar="A,B",
        help="default: those of the task that have a good side",
    )
    add("--by", type=_names, default=[], metavar="COLUMN,COLUMN", help="also within groups; 'sex x race' intersects")
    add("--min-group-size", type=_at_least(1), default=10, metavar="N", help="studies of a group (%(default)s)")
    add("--part", choices=("test", "validation"), default="test", help="of the split (default: %(default)s)")
    add("--intersect", action="store_true", help="compare on the studies common to all, where they differ")
    add("--split", metavar="SHA256", help="of an experiment or folder, the runs of this split; the beginning will do")
    add("--task", metavar="NAME", help="what is asked, where predictions files alone are compared")
    add("--num-draws", type=_at_least(_LEAST_DRAWS), default=2000, metavar="N", help="of patients (%(default)s)")
    add("--seed", type=_at_least(0), default=0, metavar="N", help="of the draws (default: %(default)s)")
    add("--confidence", type=_confidence, default=0.95, metavar="C", help="of the intervals (default: %(default)s)")
    add("--log-dir", default="logs", metavar="FOLDER", help="where runs and their store lie, and results go (logs)")
    add("--tracking-uri", metavar="URI", help="of MLflow (default: mlflow.db in the log folder)")
    add("--tracking", choices=("mlflow", "none"), default="mlflow", help="none: log nothing (default: %(default)s)")
    return parser


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different names, as A,B")
    return names


def _at_least(lowest: int) -> Any:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {lowest}")
        return int(text)

    return number


def _confidence(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0.5 and below 1")
    return value


def _stop(sentence: str) -> NoReturn:
    print(f"error: {sentence}", file=sys.stderr)
    raise SystemExit(EXIT_INPUT)


if __name__ == "__main__":
    main()
