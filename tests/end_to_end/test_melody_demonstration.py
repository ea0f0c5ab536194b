"""MIDRC-MELODY's demonstration through `evaluate`, beside the package's own values (`tests/oracles/melody.json`)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from midrc_ml.evaluation.gaps import AAOD, EOD

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "melody.json").read_text())
SIX_DIGITS = {"ai_model_1": 0.853122, "ai_model_2": 0.844956, "ai_model_3": 0.710993}
COLUMNS = {"age_binned": "age_band"}  # its name: ours
QUANTITIES = {
    "delta_kappa": ("gap_to_reference", "qwk_of_levels_seen"),
    "eod": (EOD, "sensitivity"),
    "aaod": (AAOD, "sensitivity and specificity"),
}


@pytest.fixture(scope="module")
def folders(midrc_ml_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three models, evaluated in turn as a user would."""
    data, base, models = midrc_ml_data / "melody", tmp_path_factory.mktemp("melody"), list(ORACLE["values"]["kappa"])
    line = [
        sys.executable, "-m", "midrc_ml.evaluate", "-m", "task=mrale", "form=melody", "tracking=none",
        f"predictions={data}/demo_scores.csv", f"truth={data}/demo_truthNdemographics.csv",
        f"columns.y_score={','.join(models)}", "fairness.positive_from=4", "evaluation.num_draws=200",
        "fairness.columns=[age_band,ethnicity,race,sex,intersectional_race_ethnicity]", f"hydra.sweep.dir={base}",
        r"hydra.sweep.subdir=${hydra.job.num}",
    ]  # fmt: skip
    subprocess.run(line, check=True, capture_output=True, timeout=240)
    return {model: base / str(number) for number, model in enumerate(models)}


def test_the_kappas_are_its_own(folders: dict[str, Path]) -> None:
    for model, expected in ORACLE["values"]["kappa"].items():
        metrics = json.loads((folders[model] / "metrics.json").read_text())
        (row,) = [row for row in metrics if (row["part"], row["metric"]) == ("test", "qwk_of_levels_seen")]
        assert row["value"] == pytest.approx(expected, abs=1e-12)
        assert round(row["value"], 6) == SIX_DIGITS[model]


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_difference_of_every_group_is_its_own(name: str, folders: dict[str, Path]) -> None:
    quantity, metric = QUANTITIES[name]
    compared = 0
    for category, models in ORACLE["values"][name].items():
        for model, groups in models.items():
            gaps = json.loads((folders[model] / "gaps.json").read_text())
            column = COLUMNS.get(category, category)
            ours = {
                row["group"]: row
                for row in gaps
                if (row["column"], row["quantity"], row["metric"]) == (column, quantity, metric)
            }
            assert ours.keys() == groups.keys()
            for group, expected in groups.items():
                assert ours[group]["value"] == pytest.approx(expected, abs=1e-9)
                assert ours[group]["reference"] == ORACLE["reference"][category]
                compared += 1
    assert compared == 3 * 12  # models x groups that are no reference
