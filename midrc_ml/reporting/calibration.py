"""How far the scores of the test part can be taken for what they say: the tables and figures of it."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from midrc_ml.evaluation import calibration
from midrc_ml.evaluation.calibration_curve import calibration_curve
from midrc_ml.evaluation.classes import log_loss
from midrc_ml.evaluation.decision import Decision
from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.metrics import brier_loss, mae
from midrc_ml.evaluation.net_benefit import decision_curve
from midrc_ml.evaluation.ordered import mean_difference
from midrc_ml.evaluation.settings import Evaluation
from midrc_ml.predictions import class_names, truth_and_score
from midrc_ml.reporting.figures import BLUE, DPI, GREY, RED, mean_by_score, save_figure
from midrc_ml.reporting.tables import Table, number

_CELLS_OF_FIGURES = 50_000_000  # draws x studies that a curve's band is worth: seconds
_LEAST_DRAWS = 200
# What is told, and the value of scores that can be taken at their word.
_OF_PROBABILITIES: Mapping[str, tuple[Callable[..., Any], float | None]] = {
    "brier_loss": (brier_loss, 0),
    "= brier_reliability_loss": (calibration.brier_reliability_loss, 0),
    "- brier_resolution": (calibration.brier_resolution, None),
    "+ brier_uncertainty": (calibration.brier_uncertainty, None),
    "+ brier_within_bins_loss": (calibration.brier_within_bins_loss, None),
    "brier_skill_score": (calibration.brier_skill_score, 1),
    "expected_calibration_error": (calibration.expected_calibration_error, 0),
    "mean_calibration_difference": (calibration.mean_calibration_difference, 0),
    "calibration_intercept": (calibration.calibration_intercept, 0),
    "calibration_slope": (calibration.calibration_slope, 1),
}
_OF_NUMBERS: Mapping[str, tuple[Callable[..., Any], float | None]] = {
    "mae": (mae, 0),
    "mean_difference": (mean_difference, 0),
    "linear_calibration_intercept": (calibration.linear_calibration_intercept, 0),
    "linear_calibration_slope": (calibration.linear_calibration_slope, 1),
}
_TOLD = {
    "binary": _OF_PROBABILITIES,
    "multiclass": {"log_loss": (log_loss, 0)},
    "ordinal": _OF_NUMBERS,
    "regression": _OF_NUMBERS,
}


def calibration_table(test: pd.DataFrame, kind: str) -> Table | None:
    """Calibration of the scores, and of those before recalibration if there was one; None for times to an event.

    test: the predictions of the test part. Intervals stand in the table of metrics.
    """
    if kind not in _TOLD:
        return None
    before = _as_they_came(test)
    lines: list[tuple[str, ...]] = [("", "value", *(["before recalibration"] if before is not None else []), "perfect")]
    tables = [table for table in (test, before) if table is not None]
    for name, (metric, perfect) in _TOLD[kind].items():
        values = [float(metric(*truth_and_score(table, kind=kind))) for table in tables]
        said = ["not estimable" if math.isnan(value) else number(value) for value in values]
        lines.append((name, *said, "-" if perfect is None else f"{perfect:g}"))
    return Table("", lines)


def draw_calibration(
    test: pd.DataFrame, *, kind: str, unit: str, decision: Decision | None, evaluation: Evaluation, place: Path
) -> list[str]:
    """Draw `calibration.png` and, of a binary task, `decision.png` into a folder; what is to be said below them.

    Of a binary task both curves stand there as numbers too, in CSV files of the same names.

    test: the predictions of the test part. unit: of the label.
    """
    y_true, y_score = truth_and_score(test, kind=kind)
    if kind != "binary":
        mean_by_score(y_true, y_score, unit, place / "calibration.png")
        return []
    most = max(_LEAST_DRAWS, _CELLS_OF_FIGURES // max(1, len(test)))
    draws = PatientDraws.of(test["patient_id"], num_draws=min(evaluation.num_draws, most), seed=evaluation.seed)
    asked: dict[str, Any] = {"confidence": evaluation.confidence, "patient": draws.patient}
    curve = calibration_curve(y_true, y_score, draws.weights(), **asked)
    before = _as_they_came(test)
    came = None
    if before is not None:
        came = calibration_curve(*truth_and_score(before, kind=kind), ())
    _calibration_figure(curve, came, y_true, y_score, place / "calibration.png")
    threshold = math.nan if decision is None else decision.threshold
    decided = decision_curve(y_true, y_score, draws.weights(), **asked)
    _decision_figure(decided, threshold, place / "decision.png")
    # For whoever draws them anew; they stay in the run's folder, as a bin may be of few studies.
    curve.to_csv(place / "calibration.csv", index=False)
    decided.to_csv(place / "decision.csv", index=False)
    size = int(curve["n"].median())
    return [
        f"Calibration: bins of about {size} studies; bars: {evaluation.confidence:.0%} intervals of the share of "
        f"positives, bootstrap of patients, {draws.num_draws} draws; below: how many studies have the score.",
        "Decision curve: net benefit of calling positive what is at least as probable as the threshold probability; "
        f"band: its {evaluation.confidence:.0%} interval. A model is of use where it lies above both other lines.",
    ]


def _as_they_came(test: pd.DataFrame) -> pd.DataFrame | None:
    """The predictions with the scores that the model gave; None where these were not recalibrated."""
    names = [f"_{name}" for name in class_names(test)] or [""]
    if f"raw_score{names[0]}" not in test:
        return None
    return test.assign(**{f"y_score{name}": test[f"raw_score{name}"] for name in names})


def _calibration_figure(
    curve: pd.DataFrame, before: pd.DataFrame | None, y_true: np.ndarray, y_score: np.ndarray, path: Path
) -> None:
    figure, (axes, counts) = plt.subplots(
        2, 1, figsize=(4.0, 4.6), dpi=DPI, sharex=True, gridspec_kw={"height_ratios": [4, 1], "hspace": 0.08}
    )
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    if before is not None:
        axes.plot(before["mean_score"], before["share_positive"], color=GREY, marker=".", label="before recalibration")
    axes.vlines(curve["mean_score"], curve["low"], curve["high"], color=BLUE, linewidth=1, alpha=0.6)
    label = "test part" if before is None else "recalibrated"
    axes.plot(curve["mean_score"], curve["share_positive"], color=BLUE, marker="o", markersize=4, label=label)
    axes.set(ylabel="share of positives", xlim=(0, 1), ylim=(-0.01, 1.01))
    axes.set_title("calibration", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    edges = np.linspace(0, 1, 41)
    for truth, color, name in ((0, GREY, "negative"), (1, RED, "positive")):
        counts.hist(y_score[y_true == truth], bins=edges, histtype="step", color=color, label=name)
    counts.set(xlabel="score, a probability", ylabel="studies")
    counts.legend(frameon=False, fontsize=7)
    save_figure(figure, path)


def _decision_figure(curve: pd.DataFrame, threshold: float, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(4.6, 3.7), dpi=DPI)
    at = curve["threshold_probability"]
    axes.fill_between(at, curve["low"], curve["high"], color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(at, curve["net_benefit"], color=BLUE, label="model")
    axes.plot(at, curve["treat_all"], color=GREY, linestyle="--", label="call all positive")
    axes.axhline(0, color=GREY, linewidth=0.8, label="call none positive")
    if 0 < threshold < 1:
        axes.axvline(threshold, color=RED, linestyle=":", linewidth=1, label=f"threshold of the run: {threshold:.3f}")
    top = max(0.02, float(np.nanmax([*curve["net_benefit"], *curve["treat_all"], 0])))
    axes.set(xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.35 * top, 1.15 * top))
    axes.set_title("decision curve", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)
