"""The split manifest that predictions are checked against: of a run, or of what `describe` wrote."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from midrc_ml.cohorts.selection import GROUP_COLUMNS
from midrc_ml.errors import InputError
from midrc_ml.splits.manifest import COLUMNS, TIME, check_unchanged
from midrc_ml.tasks.task import Task

SPLIT_FILE, HASH_FILE = "split.parquet", "split.sha256"


@dataclass(frozen=True, kw_only=True)
class GivenSplit:
    """rows: of `split.parquet`, by study id. sha256: of the manifest. where: for messages. folder: it lies in.

    groups: the group columns of the run's own predictions, by study id. origin, synthetic: of its cohort.
    """

    rows: pd.DataFrame
    sha256: str
    where: str
    folder: Path
    groups: pd.DataFrame | None
    origin: str | None
    synthetic: bool


def read_split(place: str | Path, task: Task, *, setting: str = "manifest") -> GivenSplit:
    """The split in a run's folder, or in a `split.parquet` with its `split.sha256` beside it.

    Raises:
        InputError: there is none, it is not whole, or it is of another task or version.
    """
    path = Path(place)
    where = f"{setting}={path}"
    if not path.exists():
        raise InputError(f"{where}: there is no such file or folder; give a run's folder, or its {SPLIT_FILE}")
    file = path / SPLIT_FILE if path.is_dir() else path
    folder = file.parent
    try:
        rows = pd.read_parquet(file)
    except FileNotFoundError as error:
        raise InputError(f"{where}: no {SPLIT_FILE} in this folder; give a run's, or what describe printed") from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{where} is no readable split ({type(error).__name__}); give {SPLIT_FILE} of a run"
        ) from error
    absent = [name for name in COLUMNS if name not in rows.columns]
    if absent:
        raise InputError(f"{where} is no split: no column {', '.join(absent)}; a split has {', '.join(COLUMNS)}")
    if (task.kind == "time_to_event") != (TIME in rows.columns):
        has = "has" if TIME in rows.columns else "has no"
        raise InputError(
            f"{where} {has} column {TIME}, but task={task.name} is of kind {task.kind}: they are files of "
            f"different tasks"
        )
    try:
        sha256 = (folder / HASH_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{where}: no {HASH_FILE} beside it, which tells the split from any other; copy it there from the run"
        ) from error
    check_unchanged(rows, sha256, where)
    config = _config(folder)
    _check_task(config, task, where)
    flow = _json(folder / "cohort_flow.json")
    return GivenSplit(
        rows=rows.astype(dict.fromkeys(("study_id", "patient_id", "case_id"), str)).set_index("study_id", drop=False),
        sha256=sha256,
        where=where,
        folder=folder,
        groups=_groups(folder),
        origin=flow.get("origin") or _selected(config, "source.origin"),
        synthetic=_is_synthetic(config),
    )


def lies_beside(file: Path) -> bool:
    """Whether a split stands beside a predictions file, as in a run's folder."""
    return all((file.parent / name).is_file() for name in (SPLIT_FILE, HASH_FILE))


def _check_task(config: DictConfig | None, task: Task, where: str) -> None:
    name, version = _selected(config, "task.name"), _selected(config, "task.version")
    if name is not None and name != task.name:
        raise InputError(
            f"{where} is of task={name}, and task={task.name} was given: they are files of different tasks"
        )
    if version is not None and version != task.version:
        raise InputError(
            f"{where} is of task={task.name} in version {version}, whose labels may be others than those of version "
            f"{task.version}; make the split again"
        )


def _is_synthetic(config: DictConfig | None) -> bool:
    target = str(_selected(config, "cohort._target_") or "")
    return target.endswith(".DemoCohort") or bool(_selected(config, "cohort.synthetic"))


def _config(folder: Path) -> DictConfig | None:
    try:
        config = OmegaConf.load(folder / "config.yaml")
    except (OSError, YAMLError, UnicodeDecodeError):
        return None
    return config if isinstance(config, DictConfig) else None


def _selected(config: DictConfig | None, key: str) -> Any:
    try:
        return None if config is None else OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _groups(folder: Path) -> pd.DataFrame | None:
    try:
        groups = pd.read_parquet(folder / "predictions.parquet", columns=["study_id", *GROUP_COLUMNS])
    except (OSError, ValueError):
        return None
    return groups.astype({"study_id": str}).drop_duplicates("study_id").set_index("study_id")
