"""The rules of the house, checked by the tools that know them."""

import subprocess
import sys
from pathlib import Path

import pytest

MAX_LINES = 350


@pytest.mark.parametrize(
    "arguments",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], pytest.param(["mypy"], marks=pytest.mark.slow)],
)
def test_the_tools_have_nothing_to_say(arguments: list[str], checkout: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=checkout, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]


def test_imports_go_one_way(checkout: Path) -> None:
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=checkout, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]


def test_no_file_is_longer_than_the_budget(checkout: Path) -> None:
    lines = {path: len(path.read_text().splitlines()) for path in (checkout / "midrc_ml").rglob("*.py")}
    assert {str(path): count for path, count in lines.items() if count > MAX_LINES} == {}


def test_only_tracking_imports_mlflow(checkout: Path) -> None:
    guilty = [
        path
        for path in (checkout / "midrc_ml").rglob("*.py")
        if path.parent.name != "tracking" and any(word in path.read_text() for word in ("import mlflow", "from mlflow"))
    ]
    assert guilty == []


def test_a_whole_run_imports_no_torchvision(tracked_run: Path) -> None:
    assert "monai" in sys.modules
    assert "torchvision" not in sys.modules


def test_statistics_work_where_torch_cannot_be_imported() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['monai'] = None\n"
        "import midrc_ml.evaluation.evaluate, midrc_ml.reporting.report, midrc_ml.cohorts.demo"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
