"""What the peers take for the work that `evaluation.py` times; run by it, in the peers' own environment.

python evaluation_peers.py FOLDER OF THE MELODY FILES, NUMBER OF DRAWS, studies.csv, NUMBER OF DRAWS OF MetricFrame

Prints one line of JSON: seconds by name, and the versions.
"""

import contextlib
import io
import json
import sys
import time
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import yaml
from fairlearn.metrics import MetricFrame
from MIDRC_MELODY.common import eod_aaod_metrics, qwk_metrics
from MIDRC_MELODY.common.data_loading import build_test_and_demographic_data
from sklearn.metrics import recall_score, roc_auc_score


def melody(data: Path, num_draws: int) -> dict[str, float]:
    config = yaml.safe_load((data / "config.yaml").read_text())
    config["input data"] |= {
        "truth file": str(data / "demo_truthNdemographics.csv"),
        "test scores": str(data / "demo_scores.csv"),
    }
    config["bootstrap"]["iterations"] = num_draws
    given = build_test_and_demographic_data(config)
    called = eod_aaod_metrics.binarize_scores(
        given.matched_df.copy(), given.truth_col, given.test_cols, config["binary threshold"]
    )
    seconds = {}
    for name, work in (
        ("eod_aaod", lambda: eod_aaod_metrics.calculate_eod_aaod(replace(given, matched_df=called))),
        ("delta_kappa", lambda: qwk_metrics.calculate_delta_kappa(given)),
    ):
        started = time.perf_counter()
        work()
        seconds[name] = time.perf_counter() - started
    return seconds


def metric_frame(studies: pd.DataFrame, num_draws: int) -> float:
    def sensitivity(y_true, y_score):
        return recall_score(y_true, y_score >= 0.5, zero_division=0)

    started = time.perf_counter()
    MetricFrame(
        metrics={"auroc": roc_auc_score, "sensitivity": sensitivity},
        y_true=studies["y_true"],
        y_pred=studies["y_score"],
        sensitive_features=studies["site"],
        n_boot=num_draws,
        ci_quantiles=[0.025, 0.975],
        random_state=0,
    )
    return time.perf_counter() - started


def main() -> None:
    data, num_draws, studies, num_frame = sys.argv[1:]
    warnings.filterwarnings("ignore")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        seconds = melody(Path(data), int(num_draws))
        seconds["metric_frame"] = metric_frame(pd.read_csv(studies), int(num_frame))
    versions = {name: version(name) for name in ("MIDRC-MELODY", "fairlearn", "scikit-learn", "numpy")}
    print(json.dumps({"seconds": seconds, "versions": versions}))


if __name__ == "__main__":
    main()
