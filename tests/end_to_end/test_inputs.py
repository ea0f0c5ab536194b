"""Every kind of task, and every kind of input, from the command line to the report."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

OF_RUN = ("metrics.json", "groups.json", "predictions.parquet", "report.html", "cohort_flow.json")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "headline", "columns"),
    [
        ("pneumonia_class", "auroc_macro", {"y_score_negative", "y_score_typical"}),
        ("time_to_icu", "concordance_index", {"y_score", "time", "event"}),
        ("mrale", "qwk", {"y_score"}),
        ("length_of_stay", "mae", {"y_score"}),
    ],
)
def test_a_task_of_another_kind_is_trained_and_scored(
    task: str, headline: str, columns: set[str], small_run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = small_run(tmp_path / "run", f"task={task}", f"training.monitor={headline}", "cohort.num_patients=200")
    assert all((folder / name).exists() for name in OF_RUN)
    rows = json.loads((folder / "metrics.json").read_text())
    (found,) = [row for row in rows if row["part"] == "test" and row["metric"] == headline]
    assert found["value"] is not None or found["reason"]
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert columns <= set(predictions.columns)
    assert set(predictions["part"]) == {"validation", "test"}


@pytest.mark.slow
def test_a_table_alone_and_an_image_with_a_table_are_read(small_run: Callable[..., Path], tmp_path: Path) -> None:
    alone = small_run(tmp_path / "alone", "model=mlp", "clinical=demographics", "images=none")
    encoder = json.loads((alone / "checkpoints/clinical_encoder.json").read_text())
    assert [column["name"] for column in encoder["columns"]] == ["age", "sex"]
    both = small_run(tmp_path / "both", "model=fusion", "clinical=bedside")
    weights = torch.load(both / "checkpoints/best.pt", weights_only=True)["network"]
    assert any(values.ndim == 4 for values in weights.values())
    # The same studies in the same parts: the two can be compared.
    assert (alone / "split.sha256").read_text() == (both / "split.sha256").read_text()
