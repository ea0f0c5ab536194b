"""What MLflow is told about a run, and what it is never told."""

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from omegaconf import OmegaConf
from torch import nn

from midrc_ml.errors import InputError
from midrc_ml.tracking.mlflow_tracker import MlflowTracking
from midrc_ml.tracking.tracker import RunFacts

FACTS = RunFacts(
    experiment="midrc/test", name="run", params={"a.b": 1}, tags={"task": "t"}, inputs={"train": 3, "test": 2},
    split_sha256="ab" * 32,
)  # fmt: skip


@pytest.fixture(scope="module")
def client(tracked_run: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{tracked_run.parent}/mlflow.db")


@pytest.fixture(scope="module")
def run(client: MlflowClient) -> mlflow.entities.Run:
    (found,) = client.search_runs([client.get_experiment_by_name("midrc/icu").experiment_id])
    return found


def test_final_metrics_stand_with_their_bounds(run: mlflow.entities.Run, tracked_run: Path) -> None:
    rows = json.loads((tracked_run / "metrics.json").read_text())
    assert run.info.status == "FINISHED"
    for row in rows:
        if row["value"] is not None:
            assert run.data.metrics[f"{row['part']}/{row['metric']}"] == row["value"]
        if row["low"] is not None:
            assert run.data.metrics[f"{row['part']}/{row['metric']}/low"] == row["low"]
    assert not any(math.isnan(value) for value in run.data.metrics.values())


def test_epochs_stand_once_each(client: MlflowClient, run: mlflow.entities.Run) -> None:
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "validation/loss")] == [1, 2]


def test_tags_and_inputs_carry_our_hashes(run: mlflow.entities.Run, tracked_run: Path) -> None:
    sha256 = (tracked_run / "split.sha256").read_text().strip()
    assert run.data.tags["split_sha256"] == sha256
    assert run.data.tags["task_version"] == str(OmegaConf.load(tracked_run / "config.yaml").task.version)
    assert run.data.tags["synthetic"] == "true"
    contexts = {entry.tags[0].value: entry.dataset for entry in run.inputs.dataset_inputs}
    assert set(contexts) == {"training", "validation", "testing"}
    assert all(sha256.startswith(dataset.digest) for dataset in contexts.values())


def test_nothing_that_is_sent_names_a_patient_or_a_path(tracked_run: Path) -> None:
    """Every byte of the store and of the artifacts, the model's files included."""
    split = pd.read_parquet(tracked_run / "split.parquet")
    secrets = {*split["patient_id"], *split["study_id"]}
    store = tracked_run.parent
    files = [store / "mlflow.db", *(path for path in (store / "mlflow-artifacts").rglob("*") if path.is_file())]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        assert [name for name in secrets if name.encode() in content] == [], path.name
    artifacts = [path for path in files if path.suffix in (".html", ".md", ".json")]
    assert [path.name for path in artifacts if str(store).encode() in path.read_bytes()] == []


def test_the_stored_model_gives_the_networks_output(
    client: MlflowClient, run: mlflow.entities.Run, tracked_run: Path
) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tracked_run.parent}/mlflow.db")
    (stored,) = client.search_logged_models([run.info.experiment_id])
    assert {"mlflow.user", "mlflow.source.name"} & set(stored.tags) == set()
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    assert model.metadata.get_input_schema() is not None
    assert not np.any(model.input_example)
    assert model.predict(np.zeros((3, 1, 32, 32), np.float32)).shape == (3, 1)


@pytest.mark.slow
def test_telemetry_is_off_even_where_mlflow_was_imported_first(tmp_path: Path) -> None:
    program = f"""
import mlflow.telemetry
print(mlflow.telemetry.get_telemetry_client() is None)
from pathlib import Path
from types import SimpleNamespace
from midrc_ml.tracking.mlflow_tracker import MlflowTracking
from midrc_ml.tracking.tracker import RunFacts
facts = RunFacts(experiment="midrc/test", name="run", params={{}}, tags={{}}, inputs={{}}, split_sha256="ab")
MlflowTracking().start(facts, log_dir=Path({str(tmp_path)!r}), run_key="key")
print(mlflow.telemetry.get_telemetry_client() is None)
"""
    # Under continuous integration mlflow's telemetry is off by itself: an environment without its variables.
    said = subprocess.check_output([sys.executable, "-c", program], text=True, env={"HOME": str(tmp_path)})
    assert said.split() == ["False", "True"]


def test_what_cannot_be_estimated_is_a_tag_and_no_metric(tmp_path: Path) -> None:
    tracking = MlflowTracking(log_model=False)
    tracking.start(FACTS, log_dir=tmp_path, run_key="key")
    row = {"part": "test", "metric": "auroc", "value": None, "low": None, "high": None, "reason": "one class only"}
    tracking.finish([row], [], None, 32)
    data = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(tracking.run_id).data
    assert data.metrics == {}
    assert data.tags["not_estimable.test/auroc"] == "one class only"


def test_a_failed_run_is_closed_as_failed(tmp_path: Path) -> None:
    tracking = MlflowTracking()
    tracking.start(FACTS, log_dir=tmp_path, run_key="key")
    tracking.fail("LossIsNotFinite")
    assert MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(tracking.run_id).info.status == "FAILED"


def test_a_half_made_store_is_explained(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database, but it is here already" * 100)
    with pytest.raises(InputError, match=r"does not open.*move mlflow.db away"):
        MlflowTracking().start(FACTS, log_dir=tmp_path, run_key="key")


def test_a_start_and_a_finish_that_were_cut_off_are_gone_on_with(tmp_path: Path) -> None:
    row = {"part": "test", "metric": "auroc", "value": 0.7, "low": 0.6, "high": 0.8, "reason": None}
    first = MlflowTracking(log_model=False)
    first.start(FACTS, log_dir=tmp_path, run_key="key")
    first.finish([row], [], None, 32)
    second = MlflowTracking(log_model=False)
    second.start(FACTS, log_dir=tmp_path, run_key="key")
    second.finish([row], [], None, 32)
    other = MlflowTracking(log_model=False)
    other.start(FACTS, log_dir=tmp_path, run_key="another key")
    assert second.run_id == first.run_id != other.run_id
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert [metric.value for metric in client.get_metric_history(first.run_id, "test/auroc")] == [0.7]
    assert len(client.get_run(first.run_id).inputs.dataset_inputs) == len(FACTS.inputs)


def test_a_run_that_failed_and_goes_on_is_not_called_failed(tmp_path: Path) -> None:
    tracking = MlflowTracking(log_model=False)
    tracking.start(FACTS, log_dir=tmp_path, run_key="key")
    tracking.fail("KeyboardInterrupt")
    tracking.start(FACTS, log_dir=tmp_path, run_key="key")
    assert "failed" not in MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(tracking.run_id).data.tags


def test_a_folder_that_an_sqlite_address_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot lie below a name with #"):
        MlflowTracking().start(FACTS, log_dir=tmp_path / "a#b", run_key="key")


def test_the_command_opens_this_store(tmp_path: Path) -> None:
    tracking = MlflowTracking()
    tracking.start(FACTS, log_dir=tmp_path, run_key="key")
    assert tracking.how_to_look() == f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db"


def test_a_compiled_network_is_stored_as_it_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiler(graph: object, examples: object) -> None:
        raise AssertionError("compiled again")

    stored: list[nn.Module] = []

    def log_model(network: nn.Module, **_: object) -> SimpleNamespace:
        stored.append(network)
        return SimpleNamespace(model_id="one")

    monkeypatch.setattr("mlflow.pytorch.log_model", log_model)
    monkeypatch.setattr(MlflowClient, "delete_logged_model_tag", lambda *_: None)
    network = nn.Linear(4, 1)
    network.compile(backend=compiler)
    tracking = MlflowTracking()
    tracking.start(FACTS, log_dir=tmp_path, run_key="key")
    tracking.finish([], [], network, [(4,)])
    assert torch.equal(stored[0](torch.ones(1, 4)), network.forward(torch.ones(1, 4)))
