"""What is meant by the names on the command line: folders of runs, and predictions files."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from midrc_ml.errors import InputError
from midrc_ml.reporting.run_folder import STATUS
from midrc_ml.tracking.lookup import RunStore, TrackedRun

PREDICTIONS = "predictions.parquet"
CONFIG = "config.yaml"
FILE_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".parquet", ".pq")
# As `configs/*.yaml` place them, and folders that hydra.run.dir named.
_RUN_FOLDERS = ("*/runs/*", "*/evaluated/*", "*/predicted/*", "multiruns/*/*/*", "*/multiruns/*/*", "*")
_BELOW = ("*", "*/*")
COMPARISON = "comparison.json"
_RUN_ID = re.compile(r"[0-9a-f]{4,32}")
_NAMED = re.compile(r"([^=/\\,]+)=(.+)", re.DOTALL)
_COMPARE = "compare"
_SHOWN = 10


@dataclass(frozen=True)
class Place:
    """A run's folder or a predictions file. asked: the word that named it. name: that it was given as NAME=PLACE.

    chosen: whether it was found through a folder of runs or an experiment, and not named itself.
    """

    path: Path
    asked: str
    name: str | None = None
    chosen: bool = False

    @property
    def told(self) -> str:
        """What a sentence about it calls it."""
        return str(self.path) if self.chosen else self.asked

    @property
    def is_run(self) -> bool:
        """Whether it is a run's folder."""
        return self.path.is_dir()


@dataclass
class Finder:
    """Finds runs below a log folder, and those that a tracking store knows. notes: what was passed over, and why."""

    log_dir: Path
    store: RunStore
    notes: list[str] = field(default_factory=list)

    def places(self, words: Sequence[str]) -> list[Place]:
        """What the words of the command line mean, in their order.

        A word is a run's folder, a predictions file, a folder of runs, the beginning of an MLflow run id, an experiment
        or a glob of experiments; `NAME=A,B` makes A and B the seeds of one model of this name.

        Raises:
            InputError: a word that means nothing, or several things; a run that is named twice.
        """
        named = [(place, word) for word in words for place in self._of_word(word)]
        result: dict[Path, Place] = {}
        for place, word in sorted(named, key=lambda found: found[0].chosen):  # a run may be one of its experiment
            known = result.get(place.path)
            if known is not None and not place.chosen:
                raise InputError(f"{word} and {known.asked} are the same run; name it once")
            result.setdefault(place.path, place)
        return [place for place, _ in named if result[place.path] is place]

    def _of_word(self, word: str) -> list[Place]:
        match = _NAMED.fullmatch(word)
        if match is None or Path(word).expanduser().exists():
            return self._meant(word, None)
        name, inside = match.group(1).strip(), match.group(2)
        words = [inside] if Path(inside).expanduser().exists() else inside.split(",")
        return [place for one in words for place in self._meant(one.strip(), name)]

    def _meant(self, word: str, name: str | None) -> list[Place]:
        if not word:
            raise InputError("an empty name was given; give a run's folder, a run id, an experiment or a file")
        path = Path(word).expanduser().resolve()
        if path.is_file():
            return [Place(_run_of_file(path), word, name)]
        if path.is_dir():
            return self._of_folder(path, word, name)
        if path.name.lower().endswith(FILE_ENDINGS):
            raise InputError(f"{word}: there is no such file")
        if _RUN_ID.fullmatch(word):
            return [Place(self._with_id(word), word, name)]
        return self._of_experiment(word, name)

    def _of_folder(self, path: Path, word: str, name: str | None) -> list[Place]:
        if (path / COMPARISON).is_file():
            raise InputError(f"{word} is a comparison itself; give the runs that it compares")
        if any((path / file).is_file() for file in (STATUS, CONFIG, PREDICTIONS)):
            return [Place(path, word, name)]
        below = sorted({found.parent for pattern in _BELOW for found in path.glob(f"{pattern}/{STATUS}")})
        below = [folder for folder in below if not (folder / COMPARISON).is_file()]
        runs = [folder for folder in below if _is_comparable(folder)]
        if not runs:
            raise InputError(
                f"{word} is not the folder of a run, and no finished run lies in it; give the folder that a run "
                f"printed (logs/<task>/runs/<time>)"
            )
        self._note(word, len(below) - len(runs))
        return [Place(folder, word, name, chosen=True) for folder in runs]

    def _with_id(self, word: str) -> Path:
        found = {folder for run_id, folder in self._by_id.items() if run_id.startswith(word)}
        if len(found) == 1:
            return found.pop()
        if found:
            raise InputError(f"{word} begins the ids of {len(found)} runs; give more of it")
        known = self.store.runs_with_id(word) if self.store.exists else []
        if not known:
            raise InputError(
                f"{word}: no file, folder or experiment, and no run below {self.log_dir} or in {self.store.uri} has an "
                f"id that begins so; see --log-dir and --tracking-uri"
            )
        if known[0].verb == _COMPARE:
            raise InputError(f"{word} is a comparison itself; give the runs that it compares")
        raise InputError(
            f"{word} is run {known[0].name} in MLflow ({known[0].status}), but its folder is not below {self.log_dir}, "
            f"and MLflow holds no scores of patients; give the folder, or its --log-dir"
        )

    def _of_experiment(self, word: str, name: str | None) -> list[Place]:
        if not self.store.exists:
            raise InputError(
                f"{word}: there is no such file or folder, and no tracking store {self.store.uri} with an experiment "
                f"of this name; see --log-dir and --tracking-uri"
            )
        runs = [run for run in self.store.runs_of(word) if run.verb != _COMPARE]
        if not runs:
            known = self.store.experiments()
            more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
            raise InputError(
                f"{word}: there is no such file or folder, and no run in an experiment of this name; experiments of "
                f"{self.store.uri} are {', '.join(known[:_SHOWN])}{more}"
            )
        folders = [folder for run in runs if (folder := self._finished(run)) is not None]
        if not folders:
            raise InputError(
                f"{word}: none of its {len(runs)} runs is finished and has its folder below {self.log_dir}; give the "
                f"--log-dir that the runs had"
            )
        self._note(word, len(runs) - len(folders))
        return [Place(folder, word, name, chosen=True) for folder in folders]

    def _finished(self, run: TrackedRun) -> Path | None:
        folder = self._by_id.get(run.run_id) or self._by_id.get(run.run_key or "")
        return folder if run.status == "FINISHED" and folder is not None and _is_comparable(folder) else None

    @cached_property
    def _by_id(self) -> Mapping[str, Path]:
        """The folder of each run below the log folder, by its id in MLflow and by its own key."""
        found = {}
        for pattern in _RUN_FOLDERS:
            for path in sorted(self.log_dir.glob(f"{pattern}/{STATUS}")):
                status = status_of(path.parent)
                for key in ("tracking_run_id", "run_key"):
                    if isinstance(status.get(key), str):
                        found[str(status[key])] = path.parent
        return found

    def _note(self, word: str, passed_over: int) -> None:
        if passed_over:
            name = Path(word).name if Path(word).expanduser().exists() else word  # notes go where no path belongs
            self.notes.append(f"{name}: {passed_over} runs are not finished, or have no predictions here; passed over")


def status_of(folder: Path) -> Mapping[str, object]:
    """What `status.json` says; empty where there is none that can be read."""
    try:
        status = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def _is_comparable(folder: Path) -> bool:
    return status_of(folder).get("state") == "finished" and (folder / PREDICTIONS).is_file()


def _run_of_file(path: Path) -> Path:
    """The run's folder, where the file is a run's own predictions."""
    return path.parent if path.name == PREDICTIONS and (path.parent / CONFIG).is_file() else path
