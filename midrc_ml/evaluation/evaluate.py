"""From a predictions table to `metrics.json`, `groups.json` and `gaps.json`.

A group is the studies that share a value of a column. A group with fewer studies than `min_group_size` gets
no value but a reason; people whose value is not reported are a group of their own.
"""

import functools
import inspect
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from midrc_ml.errors import InputError
from midrc_ml.evaluation.ceiling import ceiling_rows
from midrc_ml.evaluation.classes import called_class
from midrc_ml.evaluation.decision import FILE_NAME, GIVEN, Decision
from midrc_ml.evaluation.gaps import with_holm
from midrc_ml.evaluation.scored_part import TOO_MANY, Asked, Row, ScoredPart
from midrc_ml.evaluation.scorers import Metric
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.predictions import checked_predictions, class_names, truth_and_score

log = logging.getLogger(__name__)

EVALUATED_PARTS = ("validation", "test")
METRICS_FILE, GROUPS_FILE, GAPS_FILE = "metrics.json", "groups.json", "gaps.json"
AGREEMENT_FILE = "agreement.json"  # where the labels have readers
RESULT_FILES = (METRICS_FILE, GROUPS_FILE, GAPS_FILE, AGREEMENT_FILE)


@dataclass(frozen=True)
class Results:
    """metrics, groups, gaps: rows of the three files. decision: the threshold, and how scores were recalibrated.

    agreement: of readers with each other and with the model; rows of `agreement.json`, which is there if they are.
    """

    metrics: list[Row]
    groups: list[Row]
    gaps: list[Row] = field(default_factory=list)
    decision: Decision | None = None
    agreement: list[Row] = field(default_factory=list)

    def save(self, folder: Path) -> list[Path]:
        """Write the files; a value that cannot be estimated is null. The paths of those that hold aggregates only."""
        written = []
        files = {METRICS_FILE: self.metrics, GROUPS_FILE: self.groups, GAPS_FILE: self.gaps}
        if self.agreement:
            files[AGREEMENT_FILE] = self.agreement
        for name, rows in files.items():
            text = json.dumps(rows, indent=1, allow_nan=False)
            (folder / name).write_text(text + "\n", encoding="utf-8")
            written.append(folder / name)
        if self.decision is not None:
            self.decision.save(folder)
            if self.decision.recalibration.method != "isotonic":  # whose places are scores of single studies
                written.append(folder / FILE_NAME)
        return written

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
    decision: Decision | None = None,
    withheld: Mapping[str, str] | None = None,
    ratings: pd.DataFrame | None = None,
) -> Results:
    """Every metric of the task on the validation and test parts, overall and by group, with intervals, and the gaps.

    kind, classes: of the task. decision: whose threshold is used; without one it is chosen on the validation part.
    Its recalibration has been applied to the scores already. withheld: {metric: why it is not to be estimated}.
    ratings: what each reader would make the label, (study_id, reader), NaN where he did not read the study.
    `n_positive` is the number of positives or of events, {class: number}, or None.

    Raises:
        InputError: predictions that are not of the task's form, or groups that they do not have.
    """
    table = checked_predictions(predictions)
    asked = Asked(kind, tuple(classes or class_names(table)), dict(withheld or {}))
    y_true, y_score = asked.arrays(table)
    if decision is None:
        decision = _decision(table, y_true, y_score, kind=kind, rule=evaluation.threshold)
    threshold = decision.threshold
    bound = {name: with_threshold(metric, threshold) for name, metric in metrics.items()}
    overall: list[Row] = []
    groups: list[Row] = []
    gaps: list[Row] = []
    for part in EVALUATED_PARTS:
        studies = table[table["part"] == part].reset_index(drop=True)
        if studies.empty:
            continue
        scored = ScoredPart(studies, bound, asked, evaluation, fairness, threshold)
        overall += [{"part": part, **row} for row in scored.overall()]
        groups += [{"part": part, **row} for row in scored.by_group()]
        gaps += [{"part": part, **row} for row in with_holm(scored.gaps())]
    refused = {row["group"]["column"]: row["reason"] for row in groups if TOO_MANY in (row["reason"] or "")}
    for column, why in refused.items():
        log.warning("Warning: no groups by %s: %s", column, why)
    if kind == "binary":
        overall.append(_threshold_row(decision))
    agreement = [] if ratings is None else _agreement(table, ratings, asked, evaluation, threshold)
    return Results(metrics=overall, groups=groups, gaps=gaps, decision=decision, agreement=agreement)


def _agreement(
    table: pd.DataFrame, ratings: pd.DataFrame, asked: Asked, evaluation: Evaluation, threshold: float
) -> list[Row]:
    """Readers and model on the test part; none of a time_to_event task, and of a binary one without a threshold."""
    test = table[table["part"] == "test"]
    y_true, y_score = asked.arrays(test)
    if asked.kind == "time_to_event" or ratings.shape[1] < 2 or test.empty:
        return []
    called: Any = y_score
    if asked.kind == "binary":
        called = None if math.isnan(threshold) else (y_score >= threshold).astype(np.float64)
    elif asked.kind == "multiclass":
        called = called_class(y_score).astype(np.float64)
    of_test = ratings.reindex(test["study_id"])
    return ceiling_rows(
        of_test, test["patient_id"], kind=asked.kind, evaluation=evaluation, label=y_true, called=called
    )


def decide(
    predictions: pd.DataFrame, *, kind: str, classes: Sequence[str] = (), evaluation: Evaluation, strict: bool = True
) -> tuple[pd.DataFrame, Decision]:
    """What is settled on the validation part: the recalibration, and the threshold of the recalibrated scores.

    Also the predictions with recalibrated scores; where they differ, the model's own are kept as `raw_score`. strict:
    false = a recalibration that cannot be fitted is left out and said, so that it does not cost a trained model.

    Raises:
        InputError: predictions that are not of the task's form, or a recalibration that cannot be fitted.
    """
    table = checked_predictions(predictions)
    y_true, y_score = truth_and_score(table, kind=kind, classes=classes)
    asked = functools.partial(_decision, table, y_true, y_score, kind=kind, rule=evaluation.threshold)
    try:
        decision = asked(recalibration=evaluation.recalibration)
    except InputError as error:
        if strict or evaluation.recalibration == "none":
            raise
        log.warning("Not recalibrated: %s", error)
        decision = asked()
    return with_recalibration(table, decision, classes=classes), decision


def with_recalibration(table: pd.DataFrame, decision: Decision, *, classes: Sequence[str] = ()) -> pd.DataFrame:
    """The predictions with `decision`'s recalibration applied; the scores as they were are kept as `raw_score`."""
    if decision.recalibration.method == "none":
        return table
    names = classes or class_names(table)
    scores = [f"y_score_{name}" for name in names] or ["y_score"]
    raw = table[scores].rename(columns=lambda name: name.replace("y_score", "raw_score", 1))
    before = table[scores].to_numpy(dtype=float)
    after = decision.apply_recalibration(before if names else before[:, 0])
    return table.assign(**raw, **dict(zip(scores, after.reshape(len(table), -1).T, strict=True)))


def _decision(
    table: pd.DataFrame, y_true: np.ndarray, y_score: np.ndarray, *, kind: str, rule: Any, recalibration: str = "none"
) -> Decision:
    rows = (table["part"] == "validation").to_numpy()
    return Decision.of_validation(y_true[rows], y_score[rows], kind=kind, rule=rule, recalibration=recalibration)


def _threshold_row(decision: Decision) -> Row:
    is_given = decision.chosen_on == GIVEN
    why = "a setting, not an estimate"
    if math.isnan(decision.threshold):
        why = "no threshold: validation needs both classes"
    return {
        "part": "validation",
        "metric": "threshold",
        "value": None if math.isnan(decision.threshold) else decision.threshold,
        "low": None,
        "high": None,
        "n": decision.n,
        "n_positive": decision.n_positive,
        "method": GIVEN if is_given else f"{decision.rule} on {decision.chosen_on}",
        "reason": why,
    }


def with_threshold(metric: Metric, threshold: float) -> Metric:
    """The metric with the threshold bound, where it takes one and its own YAML sets none."""
    # Hydra's partial hides the function's `over_draws` and checks its target again at each of thousands of calls.
    if isinstance(metric, functools.partial):
        metric = functools.partial(metric.func, *metric.args, **metric.keywords)
    is_set = "threshold" in getattr(metric, "keywords", {})
    if "threshold" in inspect.signature(metric).parameters and not is_set:
        return functools.partial(metric, threshold=threshold)
    return metric
