"""The test part as a run and everything that it is held against share it: studies, first metric, draws of patients."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.evaluation.comparison import Comparison, ComparisonSettings, compare_models
from midrc_ml.evaluation.evaluate import with_threshold
from midrc_ml.evaluation.intervals import why_too_few
from midrc_ml.evaluation.metrics import is_better_low
from midrc_ml.evaluation.paired_scoring import ComparedModel, Row
from midrc_ml.evaluation.rests_on import patients_by, rests_on
from midrc_ml.evaluation.scorers import Metric, value_of
from midrc_ml.evaluation.settings import Evaluation
from midrc_ml.evaluation.weighted import Array

MODEL = "the model"


@dataclass(frozen=True, kw_only=True)
class TestPart:
    """Test studies of a task, and how scores of them are judged.

    studies: a row each, with patient_id, label and, of a time_to_event task, time. metric: the task's first.
    no_knowledge, perfect: what the metric gives for the same score of every study (that of the training labels), and
    for the truth as the score; NaN where it has no value.
    """

    __test__ = False  # of a run, not of pytest

    studies: pd.DataFrame
    name: str
    metric: Metric
    kind: str
    classes: tuple[str, ...]
    evaluation: Evaluation
    no_knowledge: float = math.nan
    perfect: float = math.nan

    @classmethod
    def of(
        cls,
        studies: pd.DataFrame,
        constant: Array,
        *,
        metrics: Mapping[str, Callable[..., object]],
        kind: str,
        classes: Sequence[str],
        evaluation: Evaluation,
        threshold: float = math.nan,
    ) -> "TestPart":
        """Of all test studies. constant: the score (study,) or (study, class) that knows nothing of them."""
        name, metric = next(iter(metrics.items()))
        made = cls(
            studies=studies.reset_index(drop=True),
            name=name,
            metric=with_threshold(metric, threshold),
            kind=kind,
            classes=tuple(classes),
            evaluation=evaluation,
        )
        truth = made.y_true
        return replace(
            made,
            no_knowledge=value_of(made.metric, truth, constant),
            perfect=value_of(made.metric, truth, made._truth_as_score()),
        )

    @property
    def y_true(self) -> Array:
        """The truth as the metric takes it: (study,), or (study, 2) of event and time."""
        columns = ["label", "time"] if self.kind == "time_to_event" else "label"
        return self.studies[columns].to_numpy(dtype=np.float64)

    @property
    def is_better_low(self) -> bool:
        """Whether a low value of the metric is the good one; a value between counts as high."""
        return bool(is_better_low(self.name))

    def knowledge(self, value: float | None) -> float:
        """How much of the way from no knowledge (0) to a perfect score (1) a value of the metric is; NaN = unknown."""
        way = self.perfect - self.no_knowledge
        if value is None or math.isnan(way) or way == 0:
            return math.nan
        return (value - self.no_knowledge) / way

    def worst_knowledge(self, row: Row) -> float:
        """The lower limit of `knowledge`; NaN where there is no interval."""
        return self.knowledge(row["high"] if self.is_better_low else row["low"])

    def where(self, members: NDArray[np.bool_]) -> "TestPart":
        """The same of some of the studies, (study,) of bool; what is no knowledge there stays as it is."""
        return replace(self, studies=self.studies[members].reset_index(drop=True))

    def compared(self, scores: Mapping[str, Array]) -> Comparison:
        """The metric of these scores {name: (study,) or (study, class)}, and the differences of all to the first.

        All within the same draws of patients.
        """
        models = [ComparedModel(name=name, scores=[score], thresholds=[math.nan]) for name, score in scores.items()]
        settings = ComparisonSettings(
            num_draws=self.evaluation.num_draws, seed=self.evaluation.seed, confidence=self.evaluation.confidence
        )
        studies = self.studies.assign(y_true=self.studies["label"].astype("float64"))
        return compare_models(
            models,
            studies,
            self.y_true,
            {self.name: self.metric},
            kind=self.kind,
            settings=settings,
            classes=self.classes,
        )

    def with_edge(self, row: Row) -> Row:
        """The row; of a perfect score, which no draw of patients changes, with a limit all the same.

        It is Clopper and Pearson's lower limit of a share of 1, of as many patients as the metric rests on, taken as a
        share of the way from no knowledge, twice as far from 1: an AUROC of 1 is not told from one that ranks so many
        patients wrong.
        """
        if row["value"] is None or row["low"] is not None or not math.isclose(row["value"], self.perfect):
            return row
        patient = pd.factorize(self.studies["patient_id"])[0]
        label = self.studies["label"].to_numpy(dtype=np.float64)
        count = patients_by(label, patient, self.kind)[rests_on(self.metric, self.kind)]
        if why_too_few(count):
            return row
        share = ((1 - self.evaluation.confidence) / 2) ** (1 / count)
        limit = self.no_knowledge + max(0.0, 2 * share - 1) * (self.perfect - self.no_knowledge)
        low, high = sorted((limit, float(row["value"])))
        return {**row, "low": low, "high": high, "method": f"limit of {count} patients who are all told right"}

    def _truth_as_score(self) -> Array:
        truth = self.y_true
        if self.kind == "multiclass":
            return np.eye(len(self.classes))[truth.astype(np.int64)]
        return -truth[:, 1] if self.kind == "time_to_event" else truth


@dataclass(frozen=True, kw_only=True)
class Held:
    """One score held against the others: its row of the metric, and its difference to the model's, if there is one.

    difference: the model's value minus its own, with limits, so that a positive one (of a metric that is good when
    high) favours the model; None without a model.
    """

    name: str
    row: Row
    knowledge: float
    worst_knowledge: float
    difference: Row | None = None
    scores: Array = field(repr=False)

    @property
    def knows_something(self) -> bool:
        """Whether it is better than no knowledge, with its whole interval."""
        return self.worst_knowledge > 0

    def is_beaten(self, better_low: bool) -> bool | None:
        """Whether the model is shown to be better; None without a model, or without an interval of the difference."""
        if self.difference is None or self.difference["low"] is None:
            return None
        return bool(self.difference["high"] < 0 if better_low else self.difference["low"] > 0)


def held_against(part: TestPart, scores: Mapping[str, Array], model: Array | None = None) -> dict[str, Held]:
    """Each of `scores` (study,) or (study, class) on the test part, with the model's paired difference to it."""
    if not scores:
        return {}
    compared = part.compared({**({} if model is None else {MODEL: model}), **scores})
    rows = {row["model"]: part.with_edge(row) for row in compared.values}
    differences = {} if model is None else {row["model"]: _turned(row) for row in compared.differences}
    return {
        name: Held(
            name=name,
            row=rows[name],
            knowledge=part.knowledge(rows[name]["value"]),
            worst_knowledge=part.worst_knowledge(rows[name]),
            difference=_to_a_constant(rows[MODEL], rows[name]) or differences[name] if differences else None,
            scores=scores[name],
        )
        for name in scores
    }


def _to_a_constant(model: Row, row: Row) -> Row | None:
    """The model's difference to what gives the same value in every draw, as 0.5 is the AUROC of one score for all.

    Its interval is the model's own, moved. None where that is not so, or the model has no interval.
    """
    if row["value"] is None or row["low"] is not None or model["low"] is None:
        return None
    if row["sampling_se"] or "same value" not in str(row["reason"]):
        return None
    moved = {name: model[name] - row["value"] for name in ("value", "low", "high")}
    return {
        "difference": moved["value"],
        "low": moved["low"],
        "high": moved["high"],
        "p_value": None,
        "value_model": model["value"],
        "reason": None,
    }


def _turned(row: Row) -> Row:
    """The difference of the model to what is held against it, of the difference the other way round."""
    low, high = row["low"], row["high"]
    return {
        "difference": None if row["difference"] is None else -row["difference"],
        "low": None if high is None else -high,
        "high": None if low is None else -low,
        "p_value": row["p_value"],
        "value_model": row["value_reference"],
        "reason": row["reason"],
    }


def value_words(name: str, row: Mapping[str, Any]) -> str:
    """`auroc 0.712 [0.640, 0.790]`; the reason where there is no value or no interval."""
    if row["value"] is None:
        return f"{name} not estimable ({row['reason']})"
    limits = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{name} {row['value']:.3f}{limits}"


def difference_words(held: Held, better_low: bool) -> str:
    """What the model's paired difference to it says, in words; empty without a model."""
    row = held.difference
    if row is None:
        return ""
    if row["difference"] is None or row["low"] is None:
        if row["value_model"] is None:
            return ""
        return f"the model's {row['value_model']:.3f} is not shown to be better ({row['reason']})"
    between = f"difference {row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
    if held.is_beaten(better_low):
        return f"the model's {row['value_model']:.3f} is better ({between})"
    worse = row["high"] < 0 if not better_low else row["low"] > 0
    return f"the model's {row['value_model']:.3f} {'is worse' if worse else 'is not shown to be better'} ({between})"
