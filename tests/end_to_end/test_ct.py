"""`task=covid_ct images=ct_96 model=densenet121_3d` on the demo cohort's CT series, in small."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from midrc_ml.cohorts.demo_patients import invent_patients
from midrc_ml.cohorts.demo_scans import ct_scans

# What each fault becomes: a volume without the file, or a refusal. Slices of the last two scanners lie further apart
# than 5 mm: there one that is missing leaves more than 10 mm.
REFUSED = {
    "localizer alone": "a localizer",
    "slices missing": "slices are missing, or too far apart (more than 10 mm)",
    "part only": "the slices cover less than 100 mm from feet to head",
}


@pytest.mark.slow
def test_a_network_of_volumes_is_trained_and_refused_series_are_counted(
    small_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = small_run(
        tmp_path, "task=covid_ct", "images=ct_96", "images.spacing_mm=12", "model=densenet121_3d", "tracking=none",
        "training.batch_size=4", "training.epochs=1",
    )  # fmt: skip
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    scans = ct_scans(invent_patients(120, seed=0, shortcut=0.5)).set_index("study_uid")
    split = pd.read_parquet(run / "split.parquet").join(scans[["site", "fault"]], on="study_id")
    assert split["fault"].notna().all()  # every study is a CT
    assert split.groupby("part")["label"].nunique().to_dict() == {"train": 2, "validation": 2, "test": 2}

    step = json.loads((run / "cohort_flow.json").read_text())["steps"][-1]
    expected = split["fault"].map(REFUSED)
    far = (split["fault"] == "slice damaged") & (split["site"] != 0)
    expected[far] = REFUSED["slices missing"]
    assert expected.notna().sum() >= 3
    assert {entry["reason"]: entry["n"] for entry in step["excluded"]} == expected.value_counts().to_dict()
    assert step["n_out"] == len(split) - expected.notna().sum()
    assert all(reason in (run / "report.md").read_text() for reason in set(expected.dropna()))

    predictions = pd.read_parquet(run / "predictions.parquet")
    kept = split[expected.isna() & (split["part"] != "train")]
    assert set(predictions["study_id"]) == set(kept["study_id"])
    assert set(predictions["view"]) == {"Not Reported"}
    network = torch.load(run / "checkpoints" / "best.pt", weights_only=True)["network"]
    assert {value.ndim for name, value in network.items() if name.endswith("conv0.weight")} == {5}
