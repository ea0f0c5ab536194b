"""The README's commands are the ones that are run."""

import re
from pathlib import Path

import pytest


def first_screen_commands(checkout: Path) -> list[str]:
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", (checkout / "README.md").read_text(), flags=re.DOTALL)
    return [line for block in blocks[:2] for line in block.strip().splitlines()]


def test_the_first_screen_is_two_commands_of_one_line(checkout: Path) -> None:
    assert first_screen_commands(checkout) == [
        "pip install -e . -c constraints.txt && python -m midrc_ml.train task=icu",
        "pip install -e '.[test]' -c constraints.txt && pytest",
    ]


def test_continuous_integration_runs_the_same_two_commands(checkout: Path) -> None:
    lines = (checkout / ".ci/run").read_text().splitlines()
    for command in first_screen_commands(checkout):
        assert command in lines


def test_constraints_pin_versions_and_name_no_host(checkout: Path) -> None:
    lines = [line for line in (checkout / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line) for line in lines)
    assert "torch==2.13.0" in lines


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_paths_named_in_the_documents_exist(name: str, checkout: Path) -> None:
    named = re.findall(
        r"`((?:midrc_ml|configs|experiments|tests|docs|notebooks)/[\w./-]*)`", (checkout / name).read_text()
    )
    assert named
    absent = [path for path in named if "mine" not in path and not (checkout / path).exists()]
    assert absent == []
