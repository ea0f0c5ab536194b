"""One part of the predictions, scored overall and by group with the same draws: rows of the result files."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.evaluation.calibration import expected_calibration_error, is_distance
from midrc_ml.evaluation.calibration_curve import calibration_error_interval
from midrc_ml.evaluation.delong import auroc_interval, clustered_delong, why_no_interval
from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.edge_shares import with_drawn_edges
from midrc_ml.evaluation.gaps import Scored, gap_rows
from midrc_ml.evaluation.groups import GroupColumn, group_columns
from midrc_ml.evaluation.intervals import Interval, bca_interval, jackknife_times, percentile_interval, why_too_few
from midrc_ml.evaluation.metrics import is_better_low
from midrc_ml.evaluation.proportions import wilson_interval
from midrc_ml.evaluation.rests_on import EVERYONE, WHOSE, patients_by, rests_on
from midrc_ml.evaluation.scorers import Grouping, Metric, values_of_draws, values_of_studies, values_of_times
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.evaluation.sums import from_sums
from midrc_ml.evaluation.thresholded import outcome_cells, sensitivity, specificity
from midrc_ml.predictions import truth_and_score

Row = dict[str, Any]
TOO_MANY = "more than fairness.max_groups"
Values = dict[str, NDArray[np.float64]]
NO_THRESHOLD = (
    "no threshold: it is chosen on a validation part with both classes; give one, a run's decision, or "
    "evaluation.threshold=NUMBER"
)


@dataclass(frozen=True)
class Asked:
    """What the task is: the arrays of its metrics, what is counted beside them, and what is not to be estimated."""

    kind: str
    classes: tuple[str, ...]
    withheld: dict[str, str]

    def arrays(self, studies: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """y_true and y_score as the metrics take them."""
        return truth_and_score(studies, kind=self.kind, classes=self.classes)

    def num_positive(self, truth: pd.Series) -> int | dict[str, int] | None:
        """How many are positive or have an event; by class; None where there is nothing to count."""
        if self.kind in ("binary", "time_to_event"):
            return int((truth == 1).sum())
        if self.kind == "multiclass":
            return {name: int((truth == place).sum()) for place, name in enumerate(self.classes)}
        return None

    def why_not(self, name: str, metric: Metric, truth: pd.Series, refused: str | None) -> str:
        """Why a metric has no value for studies with this truth. refused: what it said itself."""
        if name in self.withheld:
            return self.withheld[name]
        found, count = self.num_positive(truth), len(truth)
        if isinstance(found, dict):
            absent = [name for name, number in found.items() if not number]
            if absent:
                return f"no study of class {', '.join(absent)} among {count}"
        elif self.kind == "time_to_event":
            return refused or f"{'no pair to compare' if found else 'no event'} among {count} studies"
        elif truth.nunique() < 2:
            binary = f"one class only: {found} of {count} studies are positive"
            return binary if self.kind == "binary" else f"all {count} studies have the same label"
        if math.isnan(getattr(metric, "keywords", {}).get("threshold", 0.0)):
            return NO_THRESHOLD
        return refused or f"not defined for these {count} studies"


@dataclass(frozen=True)
class _Group:
    """Some studies of a part, the group `number` of the grouping `place`.

    patients: how many an estimate rests on, by `rests_on`. one_each: no patient has several of these studies.
    """

    place: int
    number: int
    members: NDArray[np.bool_]
    truth: pd.Series
    patients: dict[str, int]
    one_each: bool


class ScoredPart:
    """One part, scored overall and by group with the same draws.

    studies: of the part, with ids, truth, score and group columns. metrics: with their threshold bound. threshold: of
    the odds differences; NaN = none.

    Raises:
        InputError: group columns that the studies do not have.
    """

    def __init__(
        self,
        studies: pd.DataFrame,
        metrics: Mapping[str, Metric],
        asked: Asked,
        evaluation: Evaluation,
        fairness: Fairness,
        threshold: float,
    ) -> None:
        self._truth, self._asked, self._evaluation, self._fairness = studies["y_true"], asked, evaluation, fairness
        self._metrics = metrics
        self._y_true, self._y_score = asked.arrays(studies)
        self._columns = group_columns(studies, fairness)
        self._groupings = [Grouping.everyone(len(studies)), *(column.grouping for column in self._columns)]
        self._draws = PatientDraws.of(studies["patient_id"], num_draws=evaluation.num_draws, seed=evaluation.seed)
        self._known = {name: metric for name, metric in metrics.items() if name not in asked.withheld}
        self._odds = odds_metrics(asked.kind, threshold, fairness.positive_from)
        self._values, self._drawn = self._scored(self._known | self._odds)
        self._left_out = self._jackknifed() if evaluation.interval == "bca" else None
        self._everyone = self._group(0, 0, np.ones(len(studies), dtype=bool))
        self._groups = [
            [self._group(place, number, column.codes == number) for number in range(len(column.values))]
            for place, column in enumerate(self._columns, start=1)
        ]

    def overall(self) -> list[Row]:
        """A row for each metric, and DeLong's interval of auroc as a check on the bootstrap."""
        rows = [self._row(name, metric, self._everyone) for name, metric in self._metrics.items()]
        if self._asked.kind == "binary" and "auroc" in self._known:
            rows.append(self._delong_row())
        return rows

    def by_group(self) -> list[Row]:
        """A row for each metric in each group of each column."""
        rows = []
        for column, groups in zip(self._columns, self._groups, strict=True):
            if column.too_many is not None:
                rows += self._too_many(column)
            for value, group in zip(column.values, groups, strict=True):
                of_group = {"group": {"column": column.name, "value": value}}
                size, least = len(group.truth), self._fairness.min_group_size
                why = f"{size} studies, fewer than {least}" if size < least else None
                rows += [of_group | self._row(name, metric, group, why) for name, metric in self._metrics.items()]
        return rows

    def gaps(self) -> list[Row]:
        """The gaps of every column, without Holm's correction."""
        rows: list[Row] = []
        for place, (column, groups) in enumerate(zip(self._columns, self._groups, strict=True), start=1):
            scored = {
                name: with_drawn_edges(
                    Scored(
                        self._values[place][name],
                        self._drawn[place][name],
                        is_better_low(name),
                        np.array([self._few(group, name, metric) for group in groups], dtype=np.int64),
                        is_distance(metric),
                    ),
                    is_share=hasattr(getattr(metric, "func", metric), "total_of_sums") or name in self._odds,
                    # Positives and negatives are other patients: their draws must not move together in the odds.
                    seed=(self._evaluation.seed, place, WHOSE.index(rests_on(metric, self._asked.kind))),
                )
                for name, metric in (self._known | self._odds).items()
            }
            odds = [scored.pop(name) for name in self._odds]
            rows += gap_rows(
                column, scored, confidence=self._evaluation.confidence, odds=(odds[0], odds[1]) if odds else None
            )
        return [row | {"method": self._described(row["method"])} for row in rows]

    def _scored(self, metrics: Mapping[str, Metric]) -> tuple[list[Values], list[Values]]:
        values = values_of_studies(metrics, self._y_true, self._y_score, self._groupings)
        return values, values_of_draws(metrics, self._y_true, self._y_score, self._draws, self._groupings)

    def _jackknifed(self) -> list[Values]:
        times = jackknife_times(self._draws.num_patients)
        unit = self._draws.patient
        return values_of_times(self._known, self._y_true, self._y_score, unit, self._groupings, times)

    def _group(self, place: int, number: int, members: NDArray[np.bool_]) -> _Group:
        truth = self._truth[members]
        patients = patients_by(truth.to_numpy(dtype=np.float64), self._draws.patient[members], self._asked.kind)
        return _Group(place, number, members, truth, patients, one_each=patients[EVERYONE] == len(truth))

    def _few(self, group: _Group, name: str, metric: Metric) -> int:
        """The patients that a metric of a group rests on; the odds of an ordinal task have classes of their own."""
        cut = self._fairness.positive_from
        if name in self._odds and self._asked.kind != "binary" and cut is not None:
            truth = (group.truth >= cut).to_numpy(dtype=np.float64)
            return patients_by(truth, self._draws.patient[group.members], "binary")[rests_on(metric, "binary")]
        return group.patients[rests_on(metric, self._asked.kind)]

    def _row(self, name: str, metric: Metric, group: _Group, why: str | None = None) -> Row:
        value = math.nan if why or name not in self._known else float(self._values[group.place][name][group.number])
        if math.isnan(value):
            found = Interval(None, None, why or self._why_not(name, metric, group))
        else:
            found = self._interval(name, metric, value, group)
        return self._named_row(name, value, found, group.truth)

    def _interval(self, name: str, metric: Metric, value: float, group: _Group) -> Interval:
        confidence, function = self._evaluation.confidence, getattr(metric, "func", metric)
        if hasattr(function, "total_of_sums") and group.one_each:
            return self._wilson(metric, value, group)
        if function is expected_calibration_error:
            if reason := why_too_few(group.patients[EVERYONE]):
                return Interval(None, None, reason)
            return calibration_error_interval(
                self._y_true[group.members],
                self._y_score[group.members],
                (weights.compress(group.members, axis=1) for weights in self._draws.weights()),
                confidence=confidence,
                patient=self._draws.patient[group.members],
                **getattr(metric, "keywords", {}),
            )
        drawn, few = self._drawn[group.place][name][:, group.number], group.patients[rests_on(metric, self._asked.kind)]
        if self._left_out is not None:
            left_out = self._left_out[group.place][name][:, group.number]
            return bca_interval(drawn, value, left_out, confidence, num_patients=few)
        return percentile_interval(drawn, confidence, num_patients=few)

    def _why_not(self, name: str, metric: Metric, group: _Group) -> str:
        refused = None
        if name in self._known:
            try:
                metric(self._y_true[group.members], self._y_score[group.members])
            except ValueError as error:
                refused = str(error)
        return self._asked.why_not(name, metric, group.truth, refused)

    def _wilson(self, metric: Metric, value: float, group: _Group) -> Interval:
        """Of a share with one study a patient; also where all draws would give the same."""
        function: Any = getattr(metric, "func", metric)
        keywords = getattr(metric, "keywords", {})
        features = function.features(self._y_true[group.members], self._y_score[group.members], **keywords)
        total = float(function.total_of_sums(features.sum(axis=0)))
        low, high = wilson_interval(value * total, total, self._evaluation.confidence)
        return Interval(float(low), float(high), method="Wilson")

    def _delong_row(self) -> Row:
        value = float(self._values[0]["auroc"][0])
        if math.isnan(value):
            found = Interval(None, None, self._why_not("auroc", self._metrics["auroc"], self._everyone))
            return self._named_row("auroc_delong", value, found, self._truth)
        _, covariance = clustered_delong(self._y_true, self._y_score[None], self._draws.patient)
        variance = float(covariance[0, 0])
        reason = why_no_interval(value, variance)
        if reason:
            found = Interval(None, None, reason)
        else:
            method = "DeLong" if self._draws.one_study_each else "DeLong, patients as clusters (Obuchowski)"
            found = Interval(*auroc_interval(value, variance, self._evaluation.confidence), method=method)
        return self._named_row("auroc_delong", value, found, self._truth)

    def _too_many(self, column: GroupColumn) -> list[Row]:
        why = f"{column.too_many} values, {TOO_MANY}={self._fairness.max_groups}: give bands or leave the column out"
        of_column = {"group": {"column": column.name, "value": f"({column.too_many} values)"}}
        nothing = Interval(None, None, why)
        return [of_column | self._named_row(name, math.nan, nothing, self._truth) for name in self._metrics]

    def _named_row(self, name: str, value: float, found: Interval, truth: pd.Series) -> Row:
        return {
            "metric": name,
            "value": None if math.isnan(value) else value,
            "low": found.low,
            "high": found.high,
            "n": len(truth),
            "n_positive": self._asked.num_positive(truth),
            "method": self._described(found.method),
            "reason": found.reason,
        }

    def _described(self, method: str | None) -> str | None:
        """The method with the number of draws, where it has some, and the confidence."""
        if method is None:
            return None
        draws = f", {self._evaluation.num_draws} draws" if "bootstrap" in method else ""
        return f"{method}{draws}, {100 * self._evaluation.confidence:.6g}%"


def odds_metrics(kind: str, threshold: float, positive_from: float | None) -> dict[str, Metric]:
    """Sensitivity and specificity for the odds differences; none where the task has no threshold.

    Of ordinal and regression tasks a label, and a score, of at least `positive_from` is positive.
    """
    if kind in ("ordinal", "regression") and positive_from is not None:
        cut = float(positive_from)

        def features(y_true: np.ndarray, y_score: np.ndarray, *, threshold: float) -> np.ndarray:
            return outcome_cells((np.asarray(y_true) >= cut).astype(float), y_score, threshold=threshold)

        threshold = cut
    elif kind == "binary" and not math.isnan(threshold):
        features = outcome_cells
    else:
        return {}
    return {
        f"odds {name}": functools.partial(
            from_sums(features, rests_on=metric.rests_on)(metric.of_sums), threshold=threshold
        )
        for name, metric in (("sensitivity", sensitivity), ("specificity", specificity))
    }
