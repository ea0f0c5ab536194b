"""A run that was killed goes on as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch


def _killed_in_second_epoch(small_arguments: tuple[str, ...], folder: Path, log_dir: Path, cache_dir: Path) -> None:
    """Start the run as a process of its own and SIGKILL it after its first epoch has been written."""
    # Relative, as they are by default: what is resumed must not depend on where it is resumed from.
    places = ["paths.log_dir=.", f"paths.cache_dir={cache_dir}", f"hydra.run.dir={folder}"]
    line = [sys.executable, "-m", "midrc_ml.train", *small_arguments, *places, "tracking.log_model=false"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True, cwd=log_dir)
    started = time.monotonic()
    while not (folder / "checkpoints/last.pt").exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() - started < 200
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_killed_and_resumed_equals_never_stopped(
    tracked_run: Path, cache_dir: Path, small_arguments: tuple[str, ...], command: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    _killed_in_second_epoch(small_arguments, folder, tmp_path, cache_dir)
    assert not (folder / "metrics.json").exists()
    before = json.loads((folder / "status.json").read_text())
    assert before["state"] == "running"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = command(f"resume={folder}", cwd=elsewhere)
    assert result.returncode == 0, result.stderr
    assert list(elsewhere.iterdir()) == []
    assert "Test part" in (folder / "train.log").read_text()
    assert (folder / "metrics.json").read_bytes() == (tracked_run / "metrics.json").read_bytes()
    first, second = (torch.load(run / "checkpoints/best.pt", weights_only=True) for run in (tracked_run, folder))
    assert all(torch.equal(first["network"][key], second["network"][key]) for key in first["network"])

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("midrc/icu").experiment_id])
    assert [run.info.run_id for run in runs] == [before["tracking_run_id"]]
    assert runs[0].info.status == "FINISHED"
    steps = [metric.step for metric in client.get_metric_history(runs[0].info.run_id, "train/loss")]
    assert steps == [1, 2]

    again = command(f"resume={folder}")
    assert again.returncode == 0
    assert "nothing to resume" in again.stdout


def test_a_run_that_is_being_written_is_not_resumed(tracked_run: Path, tmp_path: Path, command: Callable) -> None:
    from filelock import FileLock

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((tracked_run / "config.yaml").read_bytes())
    with FileLock(folder / "run.lock"):
        result = command(f"resume={folder}")
    assert result.returncode == 2
    assert "being written by another process" in result.stderr


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    import psutil

    script = tmp_path / "pool.py"
    script.write_text(
        "import time\nfrom midrc_ml.processes import worker_pool\n"
        "if __name__ == '__main__':\n"
        "    with worker_pool(2) as pool:\n"
        "        list(pool.map(abs, range(8)))\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []


@pytest.mark.slow
def test_eight_cold_starts_at_once_all_succeed(small_arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Neither store nor demo cohort nor image cache is there; each run stays under 2.5 GB."""
    import psutil

    line = [sys.executable, "-m", "midrc_ml.train", *small_arguments]
    places = [f"paths.log_dir={tmp_path}/logs", f"paths.cache_dir={tmp_path}/cache"]
    started = [
        subprocess.Popen([*line, *places, f"seed={seed}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for seed in range(8)
    ]
    peak = 0
    while any(process.poll() is None for process in started):
        for process in started:
            try:
                peak = max(peak, psutil.Process(process.pid).memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.2)
    errors = [process.stderr.read() for process in started if process.stderr]
    assert [process.returncode for process in started] == [0] * 8, errors
    print(f"largest resident memory of one of eight: {peak / 2**30:.2f} GiB")
    assert peak < 2.5e9

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/logs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("midrc/icu").experiment_id])
    assert sorted((run.data.params["seed"], run.info.status) for run in runs) == [
        (str(s), "FINISHED") for s in range(8)
    ]
    assert len({run.data.tags["split_sha256"] for run in runs}) == 1
    assert len(list((tmp_path / "logs/icu/runs").iterdir())) == 8
