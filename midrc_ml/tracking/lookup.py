"""Find runs that MLflow knows, by experiment or by id; nothing is changed, and no store is made."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midrc_ml.errors import InputError
from midrc_ml.tracking.mlflow_tracker import quiet

_PAGE = 1000


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow has it. status: MLflow's word, FINISHED for one that came to its end. verb: what was run."""

    run_id: str
    run_key: str | None
    name: str
    experiment: str
    status: str
    verb: str | None


class RunStore:
    """A tracking store, opened when something is asked of it.

    uri: a tracking server or store; None = `mlflow.db` in the log folder.
    """

    def __init__(self, uri: str | None, log_dir: Path) -> None:
        self.uri = uri or f"sqlite:///{log_dir / 'mlflow.db'}"
        self._file = None if uri else log_dir / "mlflow.db"
        self._client: Any = None

    @property
    def exists(self) -> bool:
        """Whether there is a store to ask; of a server that is not known before it is asked."""
        return self._file is None or self._file.is_file()

    def experiments(self) -> list[str]:
        """The names of all experiments, sorted.

        Raises:
            InputError: the store does not open.
        """
        return sorted(str(experiment.name) for experiment in self._experiments())

    def runs_of(self, pattern: str) -> list[TrackedRun]:
        """The runs of the experiments with this name, or whose names fit this glob; the oldest first.

        Raises:
            InputError: the store does not open.
        """
        chosen = [found for found in self._experiments() if fnmatch.fnmatchcase(str(found.name), pattern)]
        return self._runs(chosen)

    def runs_with_id(self, prefix: str) -> list[TrackedRun]:
        """The runs whose id begins so.

        Raises:
            InputError: the store does not open.
        """
        return [run for run in self._runs(self._experiments()) if run.run_id.startswith(prefix)]

    def _experiments(self) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._asked("search_experiments", max_results=_PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _runs(self, experiments: list[Any]) -> list[TrackedRun]:
        names = {str(experiment.experiment_id): str(experiment.name) for experiment in experiments}
        found: list[TrackedRun] = []
        token = None
        while names:
            page = self._asked(
                "search_runs",
                list(names),
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in page:
                tags, info = run.data.tags, run.info
                found.append(
                    TrackedRun(
                        run_id=str(info.run_id),
                        run_key=tags.get("run_key"),
                        name=str(info.run_name or info.run_id[:8]),
                        experiment=names[str(info.experiment_id)],
                        status=str(info.status),
                        verb=tags.get("verb"),
                    )
                )
            token = page.token
            if not token:
                break
        return found

    def _asked(self, question: str, *arguments: Any, **settings: Any) -> Any:
        from alembic.util import CommandError
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        if not self.exists:
            raise InputError(
                f"there is no tracking store {self._file}; give --log-dir or --tracking-uri as the runs had it, or the "
                f"folders of the runs"
            )
        try:
            if self._client is None:
                quiet()
                self._client = MlflowClient(tracking_uri=self.uri)
            return getattr(self._client, question)(*arguments, **settings)
        except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
            said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InputError(
                f"the MLflow store {self.uri} does not answer ({said}); give another --tracking-uri or --log-dir, or "
                f"the folders of the runs"
            ) from error
