"""MIDRC-MELODY's kappas and differences between groups of its own demonstration, stored in `melody.json`.

    python -m venv /tmp/melody && /tmp/melody/bin/pip install MIDRC-MELODY==0.3.3
    MIDRC_ML_DATA=FOLDER /tmp/melody/bin/python tests/oracles/melody_oracle.py

The package gives medians of its bootstrap draws; here its functions are given the studies as they are, each once, so
that a draw is the sample itself: the point values. The input is the demonstration's two files, of which nothing but
these aggregates is stored.
"""

import contextlib
import io
import json
import os
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import yaml
from MIDRC_MELODY.common import eod_aaod_metrics, qwk_metrics
from MIDRC_MELODY.common.data_loading import build_test_and_demographic_data


def as_they_are(table, **_resampling):
    return table


def main() -> None:
    data = Path(os.environ["MIDRC_ML_DATA"]) / "melody"
    config = yaml.safe_load((data / "config.yaml").read_text())
    config["input data"] |= {
        "truth file": str(data / "demo_truthNdemographics.csv"),
        "test scores": str(data / "demo_scores.csv"),
    }
    config["bootstrap"]["iterations"] = 1
    given = build_test_and_demographic_data(config)
    eod_aaod_metrics.resample = qwk_metrics.resample = as_they_are
    with joblib.parallel_config(backend="threading"), contextlib.redirect_stdout(io.StringIO()):
        kappas, _ = qwk_metrics.calculate_kappas_and_intervals(given)
        delta_kappas = qwk_metrics.calculate_delta_kappa(given)
        table = given.matched_df.copy()
        columns = given.test_cols
        called = eod_aaod_metrics.binarize_scores(table, given.truth_col, columns, config["binary threshold"])
        odds = eod_aaod_metrics.calculate_eod_aaod(replace(given, matched_df=called))
    found = {
        "kappa": kappas,
        "delta_kappa": {
            category: {model: {group: one[0] for group, one in groups.items()} for model, groups in models.items()}
            for category, models in delta_kappas.items()
        },
        **{
            name: {
                category: {
                    model: {group: one[name][0] for group, one in groups.items()} for model, groups in models.items()
                }
                for category, models in odds.items()
            }
            for name in ("eod", "aaod")
        },
    }
    stored = {
        "command": "python tests/oracles/melody_oracle.py",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("MIDRC-MELODY", "scikit-learn", "numpy")},
        "reference": given.reference_groups,
        "values": found,
    }
    text = json.dumps(stored, indent=1, default=lambda number: np.asarray(number).item())
    Path(__file__).with_name("melody.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
