"""From a predictions table to `metrics.json` and `groups.json`.

A group is the studies that share a value of a column. A group with fewer studies than `min_group_size` gets
no value but a reason; people whose value is not reported are a group of their own.
"""

import functools
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.errors import InputError, check_kinds, check_least
from midrc_ml.evaluation.intervals import Interval, Metric, PatientDraws, bootstrap_intervals, value_of
from midrc_ml.evaluation.metrics import youden_threshold
from midrc_ml.predictions import GROUP_COLUMNS, checked_predictions, class_names, truth_and_score

Row = dict[str, Any]
EVALUATED_PARTS = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How predictions are scored. seed: of the bootstrap alone. threshold: `youden`, or a number."""

    num_draws: int = 1000
    confidence: float = 0.95
    seed: int = 0
    threshold: str | float = "youden"

    def __post_init__(self) -> None:
        check_kinds(self, "evaluation")
        check_least(self, "evaluation", seed=0)
        if self.num_draws < 100 or not 0.5 <= self.confidence < 1:
            raise InputError(
                f"evaluation.num_draws is {self.num_draws} and confidence {self.confidence}; "
                f"at least 100 draws, and a confidence of at least 0.5 and below 1"
            )
        if isinstance(self.threshold, str) and self.threshold != "youden":
            raise InputError(f"evaluation.threshold is {self.threshold!r}; it must be youden or a number")


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """Which columns make groups, and how many studies a group needs to be given a value."""

    columns: Sequence[str] = field(default_factory=lambda: ["sex", "age_band"])
    min_group_size: int = 10

    def __post_init__(self) -> None:
        check_kinds(self, "fairness")
        check_least(self, "fairness", min_group_size=0)
        unknown = [name for name in self.columns if name not in GROUP_COLUMNS]
        if unknown:
            raise InputError(f"fairness.columns has {', '.join(unknown)}; columns are {', '.join(GROUP_COLUMNS)}")


@dataclass(frozen=True)
class Results:
    """metrics: rows of `metrics.json`. groups: rows of `groups.json`."""

    metrics: list[Row]
    groups: list[Row]

    def save(self, folder: Path) -> None:
        """Write both files; a value that cannot be estimated is null."""
        for name, rows in (("metrics", self.metrics), ("groups", self.groups)):
            text = json.dumps(rows, indent=1, allow_nan=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    def of_part(self, part: str) -> list[Row]:
        """The overall rows of a part."""
        return [row for row in self.metrics if row["part"] == part]


def evaluate_predictions(
    predictions: pd.DataFrame,
    metrics: Mapping[str, Metric],
    *,
    kind: str,
    classes: Sequence[str] = (),
    evaluation: Evaluation,
    fairness: Fairness,
) -> Results:
    """Every metric of the task on the validation and test parts, overall and by group, with intervals.

    The threshold of sensitivity and specificity comes from the validation part and stands as a row of its own.
    kind, classes: of the task. `n_positive` is the number of positives or of events, {class: number}, or None.

    Raises:
        InputError: predictions that are not of the task's form.
    """
    table = checked_predictions(predictions)
    asked = _Asked(kind, tuple(classes or class_names(table)))
    asked.arrays(table)
    threshold = _threshold(table, evaluation) if kind == "binary" else math.nan
    bound = {name: _with_threshold(metric, threshold) for name, metric in metrics.items()}
    overall: list[Row] = []
    groups: list[Row] = []
    for part in EVALUATED_PARTS:
        studies = table[table["part"] == part].reset_index(drop=True)
        if studies.empty:
            continue
        draws = PatientDraws.of(studies["patient_id"], num_draws=evaluation.num_draws, seed=evaluation.seed)
        everyone = np.ones(len(studies), dtype=bool)
        overall += [{"part": part, **row} for row in _rows(studies, everyone, bound, draws, asked, evaluation)]
        for column in fairness.columns:
            values = studies[column].astype(object).fillna(NOT_REPORTED).astype(str)
            for value in sorted(values.unique()):
                rows = (values == value).to_numpy()
                group = {"column": column, "value": value}
                found = _rows(studies, rows, bound, draws, asked, evaluation, least=fairness.min_group_size)
                groups += [{"part": part, "group": group, **row} for row in found]
    if kind == "binary":
        why = "no threshold: validation needs both classes" if math.isnan(threshold) else "a setting, not an estimate"
        row = _row("threshold", threshold, Interval(None, None, why), table[table["part"] == "validation"], asked)
        overall.append(row | {"part": "validation", "method": f"{evaluation.threshold} on validation"})
    return Results(metrics=overall, groups=groups)


@dataclass(frozen=True)
class _Asked:
    """What the task is: the arrays of its metrics, and what is counted beside them."""

    kind: str
    classes: tuple[str, ...]

    def arrays(self, studies: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        return truth_and_score(studies, kind=self.kind, classes=self.classes)

    def num_positive(self, studies: pd.DataFrame) -> int | dict[str, int] | None:
        if self.kind in ("binary", "time_to_event"):
            return int((studies["y_true"] == 1).sum())
        if self.kind == "multiclass":
            return {name: int((studies["y_true"] == place).sum()) for place, name in enumerate(self.classes)}
        return None

    def why_not(self, studies: pd.DataFrame) -> str:
        """Why a metric has no value for these studies."""
        found, count = self.num_positive(studies), len(studies)
        if isinstance(found, dict):
            absent = [name for name, number in found.items() if not number]
            if absent:
                return f"no study of class {', '.join(absent)} among {count}"
        elif self.kind == "time_to_event":
            return f"no event among {count} studies" if not found else f"no pair to compare among {count} studies"
        elif studies["y_true"].nunique() < 2:
            binary = f"one class only: {found} of {count} studies are positive"
            return binary if self.kind == "binary" else f"all {count} studies have the same label"
        return f"not defined for these {count} studies"


def _rows(
    studies: pd.DataFrame,
    rows: np.ndarray,
    metrics: Mapping[str, Metric],
    draws: PatientDraws,
    asked: _Asked,
    evaluation: Evaluation,
    *,
    least: int = 0,
) -> list[Row]:
    chosen = studies[rows]
    if len(chosen) < least:
        reason = f"{len(chosen)} studies, fewer than {least}"
        return [_row(name, math.nan, Interval(None, None, reason), chosen, asked) for name in metrics]
    y_true, y_score = asked.arrays(studies)
    values = {name: value_of(metric, y_true[rows], y_score[rows]) for name, metric in metrics.items()}
    known = {name: metric for name, metric in metrics.items() if not math.isnan(values[name])}
    intervals = bootstrap_intervals(known, y_true, y_score, draws, rows=rows, confidence=evaluation.confidence)
    method = f"percentile bootstrap of patients, {evaluation.num_draws} draws, {evaluation.confidence:.0%}"
    nothing = Interval(None, None, asked.why_not(chosen))
    return [_row(name, value, intervals.get(name, nothing), chosen, asked, method) for name, value in values.items()]


def _row(
    name: str, value: float, interval: Interval, studies: pd.DataFrame, asked: _Asked, method: str | None = None
) -> Row:
    return {
        "metric": name,
        "value": None if math.isnan(value) else value,
        "low": interval.low,
        "high": interval.high,
        "n": len(studies),
        "n_positive": asked.num_positive(studies),
        "method": method if interval.low is not None else None,
        "reason": interval.reason,
    }


def _threshold(table: pd.DataFrame, evaluation: Evaluation) -> float:
    if not isinstance(evaluation.threshold, str):
        return float(evaluation.threshold)
    validation = table[table["part"] == "validation"]
    return youden_threshold(validation["y_true"], validation["y_score"])


def _with_threshold(metric: Metric, threshold: float) -> Metric:
    # Hydra's partial hides the function's `over_draws` and checks its target again at each of thousands of calls.
    if isinstance(metric, functools.partial):
        metric = functools.partial(metric.func, *metric.args, **metric.keywords)
    is_set = "threshold" in getattr(metric, "keywords", {})  # in the metric's own YAML
    if "threshold" in inspect.signature(metric).parameters and not is_set:
        return functools.partial(metric, threshold=threshold)
    return metric
