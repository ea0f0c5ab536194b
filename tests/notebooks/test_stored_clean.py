"""Notebooks are stored without outputs."""

from pathlib import Path

import nbformat


def test_notebooks_are_stored_without_outputs(checkout: Path) -> None:
    paths = sorted((checkout / "notebooks").glob("*.ipynb"))
    assert paths
    for path in paths:
        cells = nbformat.read(path, as_version=4).cells
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
