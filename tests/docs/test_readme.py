"""The README's commands are the ones that are run."""

import re
from pathlib import Path


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


def test_the_file_tree_is_the_tree(checkout: Path) -> None:
    block = (checkout / "README.md").read_text().split("## The file tree")[1]
    lines = re.findall(r"^ {4}( *)([\w./]+)  ", block, flags=re.MULTILINE)
    inside = [name for indent, name in lines if indent]
    for name in inside:
        assert (checkout / "midrc_ml" / name).exists(), name
    for name in [name for indent, name in lines if not indent]:
        assert (checkout / name).exists(), name
    there = {f"{path.name}/" if path.is_dir() else path.name for path in (checkout / "midrc_ml").iterdir()}
    assert there - {"__pycache__/", "__init__.py", "__main__.py", "errors.py"} == set(inside)


def test_paths_named_in_contributing_exist(checkout: Path) -> None:
    named = re.findall(r"`((?:midrc_ml|configs|tests|docs)/[\w./-]*)`", (checkout / "CONTRIBUTING.md").read_text())
    assert len(named) >= 4
    assert [path for path in named if "mine" not in path and not (checkout / path).exists()] == []
