"""configs/ and experiments/ travel inside the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tracked files, built without isolation (no network)."""
    out = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(checkout)]
    result = subprocess.run(line, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_runs_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as package:
        package.extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    code = "import midrc_ml, sys; from midrc_ml.train import main; print(midrc_ml.__file__, file=sys.stderr); main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "task=icu", "--cfg", "job"],
        capture_output=True,
        text=True,
        cwd=tmp_path / "empty",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert str(tmp_path / "site") in result.stderr
    assert "horizon_days: 14" in result.stdout


def test_the_wheel_holds_every_config_and_experiment_and_nothing_else(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as package:
        names = set(package.namelist())
    for folder in ("configs", "experiments"):
        for path in (checkout / folder).rglob("*"):
            if path.is_file():
                assert f"midrc_ml/{path.relative_to(checkout)}" in names
    assert "midrc_ml/reporting/report.html.j2" in names
    top = {name.split("/")[0] for name in names}
    assert top == {"midrc_ml", f"{wheel.name.split('-')[0]}-{wheel.name.split('-')[1]}.dist-info"}
