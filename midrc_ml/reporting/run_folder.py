"""A run's folder: its status, the environment it ran in, and one writer at a time."""

import importlib.metadata
import json
import platform
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import midrc_ml
from midrc_ml.errors import InputError

_PACKAGES = (
    "torch",
    "monai",
    "mlflow",
    "hydra-core",
    "pydicom",
    "numpy",
    "pandas",
    "scikit-learn",
    "opencv-python-headless",
)
STATUS, ENVIRONMENT = "status.json", "environment.json"


@dataclass
class RunFolder:
    """path: where the run leaves its files."""

    path: Path
    status: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        known = self.path / STATUS
        if known.exists():
            try:
                self.status = json.loads(known.read_text())
            except ValueError as error:
                raise InputError(f"{known} is no longer readable; start a new run") from error

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the folder; on leaving, `status.json` says finished, or failed with the kind of error.

        Raises:
            InputError: another process is writing this run.
        """
        lock = FileLock(self.path / "run.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"the run in {self.path} is being written by another process; wait for it or stop it first"
            ) from error
        for past in ("reason", "ended"):  # of an earlier try that this one goes on from
            self.status.pop(past, None)
        try:
            key = self.status.get("run_key") or secrets.token_hex(16)
            self.update(state="running", started=self.status.get("started", _now()), run_key=key)
            write_environment(self.path)
            yield
            self.update(state="finished", ended=_now())
        except BaseException as error:
            self.update(
                state="failed",
                ended=_now(),
                reason=str(error) if isinstance(error, InputError) else type(error).__name__,
            )
            raise
        finally:
            lock.release()

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.status.get("state") == "finished"

    def update(self, **facts: Any) -> None:
        """Put facts into `status.json`, replaced whole so that it is never half written."""
        self.status |= facts
        unfinished = self.path / f"{STATUS}.unfinished"
        unfinished.write_text(json.dumps(self.status, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(self.path / STATUS)


def write_environment(folder: Path) -> None:
    """`environment.json`: versions, commit, hardware; nothing that names the machine or its user."""
    (folder / ENVIRONMENT).write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")


def environment() -> dict[str, Any]:
    """Versions of what computes, the commit and whether it was changed, the kind of machine.

    The GPU, and the build of torch, are known where torch is in use already.
    """
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    torch = sys.modules.get("torch")  # asking must not import it: that takes seconds
    if torch is not None:
        versions["torch"] = torch.__version__  # says for which CUDA it was built, which the package's version does not
    return {
        "midrc_ml": midrc_ml.__version__,
        **source_state(),
        "python": platform.python_version(),
        "packages": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "gpu": torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None,
    }


def source_state() -> dict[str, Any]:
    """The commit of the checkout that runs, and whether it was changed; None in an installed wheel."""
    top = Path(midrc_ml.__file__).resolve().parent.parent
    if not (top / ".git").exists():
        return {"commit": None, "dirty": None}
    try:
        commit = _git(top, "rev-parse", "HEAD").strip()
        return {"commit": commit, "dirty": bool(_git(top, "status", "--porcelain", "--untracked-files=no").strip())}
    except (OSError, subprocess.CalledProcessError):  # no git, or a checkout without a commit
        return {"commit": None, "dirty": None}


def _git(top: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(top), *arguments], capture_output=True, text=True, check=True).stdout


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
