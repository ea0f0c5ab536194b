"""Shared by all tests: public data where they are, a small synthetic run, the command line."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

if "PYTEST_XDIST_WORKER" in os.environ:
    # The processes share the cores; with all of them each, torch's threads wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

CHECKOUT = Path(__file__).resolve().parent.parent
SMALL = ("cohort.num_patients=120", "images.size=32", "training.epochs=2", "evaluation.num_draws=100", "audit=leakage")


@pytest.fixture(scope="session")
def checkout() -> Path:
    return CHECKOUT


@pytest.fixture(scope="session")
def midrc_ml_data() -> Path:
    """The folder of real public data; found through MIDRC_ML_DATA alone."""
    folder = os.environ.get("MIDRC_ML_DATA")
    if not folder:
        pytest.skip("MIDRC_ML_DATA is not set: no real data here")
    return Path(folder)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all runs of a session, so that the small demo cohort is written once."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent  # of all processes: the cohort is written under a lock
    # The notebook finds it under XDG_CACHE_HOME, by this name.
    return base / "cache" / "midrc_ml"


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess]:
    """Run `python -m midrc_ml.train` with these arguments, as a user would."""

    def run(*arguments: str, cwd: Path | None = None, timeout: float = 240) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "midrc_ml.train", *arguments]
        return subprocess.run(line, capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False)

    return run


@dataclass(frozen=True)
class Said:
    """What a verb said, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def said_by(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a verb's `main` in this process with a command line, as a process of its own would: seconds are saved."""

    def run(main: Callable[[], None], *arguments: str, cwd: Path) -> Said:
        from hydra.core.global_hydra import GlobalHydra

        root, code = logging.getLogger(), 0
        handlers, level = root.handlers[:], root.level
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["midrc-ml", *arguments])
        capsys.readouterr()
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        finally:
            GlobalHydra.instance().clear()
            root.handlers[:] = handlers
            root.setLevel(level)
        found = capsys.readouterr()
        return Said(code, found.out, found.err)

    return run


@pytest.fixture(scope="session")
def small_run(cache_dir: Path) -> Callable[..., Path]:
    """Train on the small demo cohort in this process; the run's folder."""

    def run(log_dir: Path, *overrides: str) -> Path:
        from hydra import compose, initialize_config_dir

        from midrc_ml.config import make_places_absolute, register, shipped_folder
        from midrc_ml.train import _run

        register()
        with initialize_config_dir(str(shipped_folder("configs")), version_base="1.3"):
            places = [f"paths.log_dir={log_dir}", f"paths.cache_dir={cache_dir}"]
            # A setting of what was replaced is none.
            unset = {"cohort=midrc": "cohort.", "images=none": "images."}
            gone = tuple(prefix for choice, prefix in unset.items() if choice in overrides)
            small = [setting for setting in SMALL if not setting.startswith(gone)]
            config = compose("train", overrides=["task=icu", *small, *places, *overrides])
        make_places_absolute(config, base=str(log_dir))
        folder = log_dir / "run"
        _run(config, folder)
        return folder

    return run


@pytest.fixture(scope="session")
def small_arguments() -> tuple[str, ...]:
    """The settings of `small_run`, for a command line."""
    return ("task=icu", *SMALL)


@pytest.fixture(scope="session")
def tracked_run(small_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished run with MLflow; tests read it and leave it as it is. The processes share it."""
    base = tmp_path_factory.getbasetemp()
    base = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "tracked"
    with FileLock(f"{base}.lock"):
        if not (base / "made").exists():
            base.mkdir(exist_ok=True)
            small_run(base, "tracking=mlflow", "audit=default")
            (base / "made").touch()
    return base / "run"
