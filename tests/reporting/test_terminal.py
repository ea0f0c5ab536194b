"""What a run says of its results in the terminal."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from midrc_ml.evaluation.evaluate import Results
from midrc_ml.reporting.terminal import say_results


def row(metric: str, value: float | None = None, reason: str | None = None) -> dict:
    return {"part": "test", "metric": metric, "value": value, "low": None, "high": None, "reason": reason or "few"}


def test_metrics_without_a_value_are_named_together_with_their_reason(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    rows = [
        row("auroc", 0.75),
        row("ppv", None, "no threshold"),
        row("slope", None, "ranks"),
        row("npv", None, "no threshold"),
    ]
    with caplog.at_level(logging.INFO):
        say_results(Results(rows, []), tmp_path, SimpleNamespace(origin="file", synthetic=True), None)
    assert caplog.messages[1:-1] == [
        "Test part of the file (no real patient):",
        "  auroc 0.750 (no interval: few)",
        "  not estimable (no threshold): ppv, npv",
        "  not estimable (ranks): slope",
    ]
