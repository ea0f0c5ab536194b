"""Runs in MLflow: by default an SQLite store under the log folder, created once under a lock."""

import copy
import json
import logging
import os
import re
import shlex
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from midrc_ml.errors import InputError
from midrc_ml.tracking.tracker import RunFacts

log = logging.getLogger(__name__)

_NOT_ALLOWED = re.compile(r"[^0-9A-Za-z_\-. :/]")
_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}
_PARAM_LENGTH = 500
_AUDIT_COLUMNS = ("check", "status", "value", "low", "high", "evidence", "what_to_do")
_WORST_FIRST = ("fail", "warn", "pass")


@dataclass(kw_only=True)
class MlflowTracking:
    """Logs a run to MLflow.

    uri: a tracking server or store; None = `sqlite:///<log_dir>/mlflow.db`, artifacts beside it.
    log_model: also store the network, with its signature and an input example of zeros.
    """

    uri: str | None = None
    log_model: bool = True
    run_id: str | None = None
    _client: Any = field(default=None, repr=False)
    _log_dir: Path = field(default=Path("logs"), repr=False)

    def start(self, facts: RunFacts, *, log_dir: Path, run_key: str) -> None:
        """Begin a run, or continue the one that was begun with the same `run_key`.

        Raises:
            InputError: the store cannot be opened.
        """
        from alembic.util import CommandError
        from mlflow import MlflowClient
        from mlflow.entities import DatasetInput, InputTag, Param
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        quiet()
        self._log_dir = log_dir
        if not self.uri and set(str(log_dir)) & set("#?%"):
            raise InputError(
                f"paths.log_dir is {str(log_dir)!r}; MLflow's store cannot lie below a name with #, ? or %"
            )
        log_dir.mkdir(parents=True, exist_ok=True)
        try:
            # The first process makes the tables; two that do so at once leave a store that no later run can open.
            with FileLock(log_dir / "mlflow.lock"):
                self._client = MlflowClient(tracking_uri=self._store())
                experiment_id = self._experiment(facts.experiment)
        except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:
            raise InputError(
                f"the MLflow store {self._store()} does not open ({_first_line(error)}); if an earlier start was cut "
                f"off, move mlflow.db away, or choose another store with tracking.uri=..., or run with tracking=none"
            ) from error
        # The key is known before the run is, so that a start that was cut off anywhere is found again.
        begun = self._client.search_runs([experiment_id], filter_string=f"tags.run_key = '{run_key}'")
        if begun:
            self.run_id = begun[0].info.run_id
            self._client.set_terminated(self.run_id, "RUNNING")
            if "failed" in begun[0].data.tags:
                self._client.delete_tag(self.run_id, "failed")
        else:
            own = {"run_key": run_key, "split_sha256": facts.split_sha256, "verb": facts.verb}
            source = {"mlflow.runName": facts.name, "mlflow.source.name": f"midrc_ml.{facts.verb}"}
            tags = {**source, **own, **facts.tags}
            self.run_id = self._client.create_run(experiment_id, tags=tags).info.run_id
        params = [Param(_legal(name), str(value)[:_PARAM_LENGTH]) for name, value in facts.params.items()]
        self._client.log_batch(self.run_id, params=params)  # again is no harm: they are the same
        inputs = [
            DatasetInput(_dataset(part, number, facts), [InputTag("mlflow.data.context", _CONTEXTS[part])])
            for part, number in facts.inputs.items()
        ]
        self._client.log_inputs(self.run_id, datasets=inputs)

    def log_epochs(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Log the epochs so far; those logged before are not logged twice."""
        from mlflow.entities import Metric

        seen = {metric.step for metric in self._client.get_metric_history(self.run_id, "train/loss")}
        now = int(time.time() * 1000)
        metrics = []
        for epoch in history:
            if epoch["epoch"] in seen:
                continue
            named = {
                "train/loss": epoch["train_loss"],
                "validation/loss": epoch["validation_loss"],
                "validation/monitor": epoch["monitor"],
                "lr": epoch["lr"],
                "train/images_per_second": epoch["images_per_second"],
                "train/step_ms": epoch["step_ms"],
                "train/data_wait": epoch["data_wait"],
                "train/memory_gb": epoch["memory_gb"],
                **{f"validation/epoch/{name}": value for name, value in epoch["metrics"].items()},
            }
            metrics += [Metric(name, value, now, epoch["epoch"]) for name, value in named.items() if value == value]
        if metrics:
            self._client.log_batch(self.run_id, metrics=metrics)

    def finish(
        self,
        metrics: Sequence[Mapping[str, Any]],
        artifacts: Sequence[Path],
        network: object | None = None,
        shapes: Sequence[Sequence[int]] = (),
        audit: Sequence[Mapping[str, Any]] = (),
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Log final metrics with their bounds, files and, where there is one, the network, and close the run.

        What cannot be estimated is a tag, not a NaN: MLflow sorts NaN above every number. Of the audit each check is a
        tag, `audit.<check>`, the worst status of all is the tag `audit`, and the table is `audit_table.json`.
        """
        from mlflow.entities import Metric, RunTag

        known = self._client.get_run(self.run_id).data  # of a finish that was cut off
        now = int(time.time() * 1000)
        logged, tags = [], []
        for row in metrics:
            name = _legal(f"{row['part']}/{row['metric']}")
            if row["value"] is None:
                tags.append(RunTag(f"not_estimable.{name}", str(row["reason"])[:_PARAM_LENGTH]))
                continue
            logged.append(Metric(name, row["value"], now, 0))
            for bound in ("low", "high"):
                if row[bound] is not None:
                    logged.append(Metric(f"{name}/{bound}", row[bound], now, 0))
        tags += [RunTag(f"audit.{_legal(row['check'])}", row["status"]) for row in audit]
        if audit:
            tags.append(RunTag("audit", _worst([row["status"] for row in audit])))
            columns = {name: [str(row[name]) for row in audit] for name in _AUDIT_COLUMNS}
            self._client.log_table(self.run_id, columns, "audit_table.json")
        new = [metric for metric in logged if metric.key not in known.metrics]
        self._client.log_batch(self.run_id, metrics=new, tags=tags)
        for path in artifacts:
            self._client.log_artifact(self.run_id, str(path), "figures" if path.suffix == ".png" else None)
        if network is not None and self.log_model and "model" not in known.tags:
            self._save_model(network, shapes, about)
            self._client.set_tag(self.run_id, "model", "stored")
        self._client.set_terminated(self.run_id, "FINISHED")

    def fail(self, reason: str) -> None:
        """Close the run as failed, with the reason as a tag."""
        if self.run_id:
            self._client.set_tag(self.run_id, "failed", reason[:_PARAM_LENGTH])
            self._client.set_terminated(self.run_id, "FAILED")

    def how_to_look(self) -> str:
        """The command that opens MLflow's page on this store."""
        return f"mlflow ui --backend-store-uri {shlex.quote(self._store())}"

    def _store(self) -> str:
        return self.uri or f"sqlite:///{self._log_dir / 'mlflow.db'}"

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = None if self.uri else (self._log_dir / "mlflow-artifacts" / name.replace("/", "-")).as_uri()
        # MLflow's page opens such an experiment on its runs, not on chat traces.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(self._client.create_experiment(name, artifact_location=place, tags=tags))

    def _save_model(
        self, network: Any, shapes: Sequence[Sequence[int]], about: Mapping[str, Any] | None = None
    ) -> None:
        """The network with its signature, and what it was trained on as its metadata.

        Its input example is zeros: no pixel of a patient is stored.
        """
        import mlflow
        import numpy as np
        import torch
        from mlflow.models import infer_signature

        # A copy runs eagerly: a compiled network would be compiled once more, for a CPU.
        network = copy.deepcopy(network).cpu().eval().to(memory_format=torch.contiguous_format)
        examples = [np.zeros((1, *shape), np.float32) for shape in shapes]
        with torch.inference_mode():
            output = network(*map(torch.from_numpy, examples)).numpy()
        signature = infer_signature(examples[0], output)
        if len(examples) > 1:  # MLflow can call networks of one input only; the signature still says what it takes
            signature = infer_signature(dict(zip(("image", "table"), examples, strict=True)), output)
        mlflow.set_tracking_uri(self._store())
        with mlflow.start_run(run_id=self.run_id), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = mlflow.pytorch.log_model(
                network,
                name="model",
                signature=signature,
                input_example=examples[0] if len(examples) == 1 else None,
                pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", "monai", "mlflow"],
                serialization_format="pickle",
                metadata=json.loads(json.dumps(about, default=str)) if about is not None else None,
            )
        for name in ("mlflow.user", "mlflow.source.name"):  # the account, and a path of this machine
            self._client.delete_logged_model_tag(stored.model_id, name)


def _worst(statuses: Sequence[str]) -> str:
    return next((status for status in _WORST_FIRST if status in statuses), "not_applicable")


def _dataset(part: str, number: int, facts: RunFacts) -> Any:
    """A dataset entry that carries our own hash: MLflow's digest is equal for tables that differ."""
    from mlflow.entities import Dataset

    return Dataset(
        name=part,
        digest=facts.split_sha256[:32],
        source_type="split_manifest",
        source=f'{{"split_sha256": "{facts.split_sha256}"}}',
        profile=f'{{"num_studies": {number}}}',
    )


def _legal(name: str) -> str:
    """`name` with only the characters that MLflow takes; `sex=F` becomes `sex:F`."""
    return _NOT_ALLOWED.sub("_", name.replace("=", ":"))


def quiet() -> None:
    """Make MLflow send nothing about its use, also where it was imported before."""
    from mlflow.telemetry import set_telemetry_client

    for name in ("mlflow", "alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Where it was imported before this package, mlflow missed the setting; asked again, it reads the environment.
    if os.environ["MLFLOW_DISABLE_TELEMETRY"].lower() in ("true", "1"):
        set_telemetry_client()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
