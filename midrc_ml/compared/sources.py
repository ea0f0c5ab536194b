"""One run or predictions file of a comparison: its scores, threshold and split, and what it was made with."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from midrc_ml.compared.places import CONFIG, PREDICTIONS, Place, status_of
from midrc_ml.errors import InputError
from midrc_ml.evaluation.decision import FILE_NAME as DECISION
from midrc_ml.evaluation.decision import Decision
from midrc_ml.prediction_files.form import PredictionForm
from midrc_ml.prediction_files.given_split import HASH_FILE, SPLIT_FILE
from midrc_ml.prediction_files.reading import read_predictions
from midrc_ml.prediction_files.table import read_table
from midrc_ml.predictions import load_predictions, truth_and_score
from midrc_ml.splits.manifest import check_unchanged
from midrc_ml.tasks.task import Task

_METRICS = "metrics.json"
_THRESHOLD_PARTS = ("validation", "test")
# What changes no number: places, where a run is tracked, and how it is spread over a machine.
NOT_CONFIGURATION = ("seed", "paths", "resume", "tracking", "hydra", "run", "fairness", "evaluation", "compute")
_STILL_NUMBERS = (
    ("compute", "precision", None),
    ("evaluation", "recalibration", "none"),
    ("evaluation", "threshold", None),
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run or a file, read.

    shown: its name without the place of this machine. title: what its model is called. table: its scores, as
    `load_predictions` gives them. threshold: NaN = none. split: patient_id, study_id and part of all that it was made
    with, None where nobody says. config: of its training, empty for a file; configuration: a hash over all of it but
    the seed, None where it has none. commit: of the code. origin: its cohort in words. synthetic: no patient stands
    behind it. withheld: {metric: why it is not estimated of these scores}.
    """

    place: Place
    shown: str
    title: str
    table: pd.DataFrame
    task: Mapping[str, Any]
    threshold: float
    split: pd.DataFrame | None
    split_sha256: str | None
    config: Mapping[str, Any]
    configuration: str | None
    seed: int | None
    run_id: str | None
    run_key: str | None
    commit: str | None
    origin: str | None
    synthetic: bool
    withheld: Mapping[str, str]
    notes: Sequence[str] = ()


def config_of(place: Place) -> dict[str, Any]:
    """The config of a run's folder, resolved.

    Raises:
        InputError: it has none, or one that names no task.
    """
    path = place.path / CONFIG
    try:
        # OmegaConf takes ten times as long, which is felt with 500 runs; what it wrote is plain YAML.
        config = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        raise InputError(
            f"{place.told} is not the folder of a run: no {CONFIG} in it; give the folder that a run printed"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no longer a readable config; train or evaluate again") from error
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(task, dict) or not {"name", "version", "kind"} <= set(task):
        raise InputError(f"{path} names no task, so {place.told} is not the folder of a run; give another")
    return config


def read_run(place: Place, task: Task, *, log_dir: Path) -> Source:
    """A run that was trained, evaluated from a file, or applied to another cohort.

    Raises:
        InputError: it is of another task, not finished, or without scores.
    """
    config, status = config_of(place), status_of(place.path)
    _check_task(config["task"], task, place.told)
    state = status.get("state")
    if state != "finished":
        told = {"running": "is still running, or was killed", "failed": "failed"}.get(str(state), "has no status")
        raise InputError(
            f"{place.told} {told}: only finished runs are compared; wait for it, go on with it by "
            f"`python -m midrc_ml.train resume={place.path}`, or leave it out"
        )
    if not (place.path / PREDICTIONS).is_file():
        raise InputError(f"{place.told} is finished, but holds no {PREDICTIONS}; copy it back, or leave the run out")
    table = load_predictions(place.path / PREDICTIONS)
    _, y_score = truth_and_score(table, kind=task.kind, classes=_classes(task), where=place.told)
    outside = int(((y_score < 0) | (y_score > 1)).sum())
    if task.kind == "binary" and config.get("scores") != "rank" and outside:
        raise InputError(
            f"{place.told}: {outside} of {len(table)} scores in {PREDICTIONS} lie outside 0 to 1, but the run gave "
            f"probabilities: the file was changed; copy it back, or make it again"
        )
    split, split_sha256 = _split(place, config)
    trained = _config_of_training(config)
    return Source(
        place=place,
        shown=_shown(place.path, log_dir),
        title=_title(config, trained),
        table=table,
        task=config["task"],
        threshold=_threshold(place.path, table, task),
        split=split,
        split_sha256=split_sha256,
        config=trained or {},
        configuration=None if trained is None else _configuration(config, trained),
        seed=None if trained is None else trained.get("seed"),
        run_id=_string(status.get("tracking_run_id")),
        run_key=_string(status.get("run_key")),
        commit=_commit(place.path),
        origin=_string(_json(place.path / "cohort_flow.json", dict).get("origin")),
        synthetic=_is_synthetic(config),
        withheld=_withheld(place.path, config),
    )


def read_file(
    place: Place, task: Task, *, log_dir: Path, manifest: Path | None, intersect: bool, further: Sequence[str] = ()
) -> Source:
    """A predictions file of any framework.

    manifest: the folder of a run whose split tells patients, parts and labels; whom the file's model was trained on it
    does not tell. intersect: the file may lack studies of the split, and have others. further: columns that make
    groups, where the file has them.

    Raises:
        InputError: it cannot be read, or is not the task's.
    """
    form = PredictionForm(missing="drop", unknown="drop") if intersect else PredictionForm()
    file = read_table(place.path, setting="")
    known = [name for name in further if file.has(name)]
    try:
        given = read_predictions(place.path, task, form=form, manifest=manifest, further=known, setting="")
    except InputError as error:
        raise InputError(
            f"{error}. Settings (name=value) are those of `python -m midrc_ml.evaluate`: evaluate the file with them, "
            f"then compare that run"
        ) from error
    table = given.table
    shown = _shown(place.path, log_dir)
    split = given.split.rows if given.split is not None and manifest is None else given.manifest.rows
    # A file that lies in no run's folder, and names nobody as trained on, does not say on whom its model was trained.
    is_told = (given.split is not None and manifest is None) or (split["part"] == "train").any()
    return Source(
        place=place,
        shown=shown,
        title=place.path.name.partition(".")[0],
        table=table,
        task={"name": task.name, "version": task.version, "kind": task.kind},
        threshold=_threshold(place.path.parent if given.split is not None and manifest is None else None, table, task),
        split=split[["patient_id", "study_id", "part"]].reset_index(drop=True) if is_told else None,
        split_sha256=None if given.split is None else given.split.sha256,
        config={},
        configuration=None,
        seed=None,
        run_id=None,
        run_key=None,
        commit=None,
        origin=given.origin if given.split is not None else None,
        synthetic=given.synthetic,
        withheld={},
        notes=[f"{shown}: {note}" for note in given.notes],
    )


def _check_task(found: Mapping[str, Any], task: Task, asked: str) -> None:
    told = [(name, found[name], getattr(task, name)) for name in ("name", "version", "kind")]
    for name, value, other in told:
        if value != other:
            what = "task" if name == "name" else f"{name} of task {task.name}"
            raise InputError(
                f"{asked} is of {what} {value}, and the first is of {other}: their labels are not the same; compare "
                f"runs of one task in one version"
            )


def _classes(task: Task) -> Sequence[str]:
    return task.classes if task.kind == "multiclass" else ()


def _threshold(folder: Path | None, table: pd.DataFrame, task: Task) -> float:
    """The run's own, else what Youden's rule chooses on the validation part; NaN where there is neither."""
    if task.kind != "binary":
        return math.nan
    if folder is not None and (folder / DECISION).is_file():
        return Decision.load(folder).threshold
    for row in _json(folder / _METRICS, list) if folder is not None else ():
        if row.get("metric") == "threshold":  # of runs that have no decision.json
            return math.nan if row.get("value") is None else float(row["value"])
    part = table[table["part"] == "validation"]
    if part.empty:
        return math.nan
    return Decision.of_validation(*truth_and_score(part, kind=task.kind), kind=task.kind).threshold


def _config_of_training(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The config that the network was trained with: that of the run which was applied here, where one was."""
    if "run" not in config:
        return config if "seed" in config and "training" in config else None
    try:
        return config_of(Place(Path(str(config["run"])), str(config["run"])))
    except InputError:  # the run is gone: whose seed it was can no longer be told
        return None


def _title(config: Mapping[str, Any], trained: Mapping[str, Any] | None) -> str:
    if trained is None:
        file = Path(str(config.get("predictions") or "predictions"))
        return str(config.get("name") or file.name.partition(".")[0])
    model = trained.get("model")
    return str(model.get("_target_")).rpartition(".")[2] if isinstance(model, dict) else "model"


def _configuration(config: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """A hash over what the numbers depend on, but the seed: of the training, and of what the run was applied to."""
    told = []
    for one in (trained, {} if config is trained else config):
        kept = {name: value for name, value in one.items() if name not in NOT_CONFIGURATION}
        still = {
            f"{group}.{name}": (one.get(group) or {}).get(name, default) for group, name, default in _STILL_NUMBERS
        }
        told.append(kept | still)
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _withheld(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Of scores that were declared as ranks: the metrics that need probabilities."""
    if config.get("scores") != "rank":
        return {}
    rows = [row for row in _json(folder / _METRICS, list) if row.get("part") in _THRESHOLD_PARTS]
    return {str(row["metric"]): str(row["reason"]) for row in rows if row.get("value") is None}


def _split(place: Place, config: Mapping[str, Any]) -> tuple[pd.DataFrame | None, str]:
    """Who was trained on, of the run itself and of the run which was applied here; and the hash of the run's split."""
    try:
        own = pd.read_parquet(place.path / SPLIT_FILE)
        sha256 = (place.path / HASH_FILE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:  # of which an undecodable text is one
        raise InputError(
            f"{place.told}: its {SPLIT_FILE} or {HASH_FILE} is gone or unreadable ({type(error).__name__}), without "
            f"which nobody can tell that the test sets are the same; copy them back, or leave the run out"
        ) from error
    check_unchanged(own, sha256, place.told)
    tables = [own]
    if "run" in config:
        try:
            tables.append(pd.read_parquet(Path(str(config["run"])) / SPLIT_FILE))
        except (OSError, ValueError):  # who was trained on is then not known
            return None, sha256
    columns = ["patient_id", "study_id", "part"]
    return pd.concat([table[columns] for table in tables], ignore_index=True), sha256


def _is_synthetic(config: Mapping[str, Any]) -> bool:
    cohort = config.get("cohort")
    if not isinstance(cohort, dict):
        return False
    return str(cohort.get("_target_")).endswith(".DemoCohort") or bool(cohort.get("synthetic"))


def _commit(folder: Path) -> str | None:
    found = _json(folder / "environment.json", dict)
    commit = found.get("commit")
    return f"{commit}{'+' if found.get('dirty') else ''}" if commit else None


def _shown(path: Path, log_dir: Path) -> str:
    return str(path.relative_to(log_dir)) if path.is_relative_to(log_dir) else path.name


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _json(path: Path, kind: type) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return kind()
    return found if isinstance(found, kind) else kind()
