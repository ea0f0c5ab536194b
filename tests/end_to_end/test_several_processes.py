"""`torchrun ... -m midrc_ml.train` is one run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

# A network without batch statistics, of the user's own: what two processes train has to be what one trains. A thread of
# gloo that is alive at the end may touch a tensor when Python is gone, and the process is aborted.
NETWORK = """
import atexit
from pathlib import Path

from torch import nn

THREADS = Path("/proc/self/task").glob
atexit.register(lambda: print("at the end:", *(name.read_text().strip() for name in THREADS("*/comm"))))

def small(*, num_outputs):
    layers = [nn.Conv2d(1, 8, 5, stride=4), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, num_outputs))
"""


def train(folder: Path, *arguments: str, processes: int) -> subprocess.CompletedProcess[str]:
    (folder / "small_network.py").write_text(NETWORK)
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    line = [sys.executable, *(start if processes > 1 else []), "-m", "midrc_ml.train", *arguments]
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        line, capture_output=True, text=True, check=False, cwd=folder, env=os.environ | own, timeout=120
    )


@pytest.mark.slow
def test_two_processes_leave_one_run_which_equals_that_of_one_process(
    small_arguments: tuple[str, ...], cache_dir: Path, tmp_path: Path
) -> None:
    given = [
        *small_arguments,
        f"paths.cache_dir={cache_dir}",
        "model._target_=small_network.small",
        *("~model.spatial_dims", "~model.in_channels", "~model.dropout"),
        "compute.device=cpu",
        "compute.precision=float32",
    ]
    predictions = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        done = train(folder, *given, processes=processes)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("Epoch 1:") == 1
        assert done.stdout.count("at the end:") == processes
        assert "gloo" not in done.stdout
        (run,) = (folder / "logs/icu/runs").iterdir()
        assert json.loads((run / "status.json").read_text())["state"] == "finished"
        predictions.append(pd.read_parquet(run / "predictions.parquet"))

        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{folder}/logs/mlflow.db")
        runs = client.search_runs([client.get_experiment_by_name("midrc/icu").experiment_id])
        assert [run.info.status for run in runs] == ["FINISHED"]
    alone, both = predictions
    assert list(alone["study_id"]) == list(both["study_id"])
    np.testing.assert_allclose(alone["y_score"], both["y_score"], atol=1e-5)


@pytest.mark.slow
def test_what_is_wrong_is_said_once(small_arguments: tuple[str, ...], cache_dir: Path, tmp_path: Path) -> None:
    for wrong, words in (
        ("training.loss=l1", "error: training.loss is 'l1'; for task=icu"),
        ("training.epochs=0", "error: training.epochs is 0"),
    ):
        done = train(tmp_path, *small_arguments, f"paths.cache_dir={cache_dir}", wrong, processes=2)
        assert done.returncode != 0
        assert done.stderr.count(words) == 1, done.stderr[-3000:]
        assert "midrc_ml/training" not in done.stderr  # no traceback of ours


def test_a_sweep_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from midrc_ml.train import main

    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(sys, "argv", ["midrc_ml.train", "-m", "task=icu", "seed=0,1"])
    with pytest.raises(SystemExit, match=r"2"):
        main()
    assert "torchrun starts the processes of one run, and -m asks for several" in capsys.readouterr().err
