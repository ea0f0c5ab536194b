"""How well readers agree with each other, and how well a model agrees with them, on the same studies.

A model cannot be shown to be better than the readers who made its label agree. So a model is compared with single
readers, as readers are with each other.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.evaluation.agreement import cohen_kappa, icc, observed_agreement
from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.intervals import percentile_interval, two_sided_p_value
from midrc_ml.evaluation.metrics import mae, qwk
from midrc_ml.evaluation.settings import Evaluation
from midrc_ml.evaluation.weighted import Array

READER_READER, READER_OTHERS = "reader against reader", "reader against the other readers"
MODEL_READER, MODEL_LABEL = "model against reader", "model against label"
MODEL_MINUS_READERS = "model against reader, minus reader against reader"
LEAST_STUDIES = 10  # that two have in common, to be a pair
Row = dict[str, Any]
Statistic = Callable[..., Any]


def _icc_of_two(first: Array, second: Array, *, sample_weight: Array | None = None) -> Any:
    return icc(np.stack([first, second], axis=1), sample_weight=sample_weight)


_OF_NUMBERS: Mapping[str, Statistic] = {"qwk": qwk, "mae": mae, "icc_2_1": _icc_of_two}
_OF_CLASSES: Mapping[str, Statistic] = {"cohen_kappa": cohen_kappa, "observed_agreement": observed_agreement}


def ceiling_rows(
    ratings: pd.DataFrame,
    patient_ids: pd.Series,
    *,
    kind: str,
    evaluation: Evaluation,
    label: Array | None = None,
    called: Array | None = None,
) -> list[Row]:
    """Rows of `agreement.json`: comparison, metric, value, low, high, p_value, n, num_pairs, method, reason.

    ratings: (study, reader), what each reader would make the label, NaN where he did not rate; patient_ids: (study,).
    label, called: (study,), the label and what the model says, a number or a class; None = readers alone. A value
    is the mean over the readers, or the pairs of them. ICC(2,1), QWK and MAE of ordinal and regression tasks; Cohen's
    kappa and the share of equal classes of the others. Readers with fewer than 10 studies in common are no pair. Empty
    where there is no pair.
    """
    asked = _Asked(ratings.to_numpy(dtype=np.float64), patient_ids, evaluation, label, called)
    metrics = _OF_NUMBERS if kind in ("ordinal", "regression") else _OF_CLASSES
    rows = []
    for name, metric in metrics.items():
        comparisons = asked.comparisons(is_class=metrics is _OF_CLASSES)
        large = {comparison: [pair for pair in pairs if _is_large(*pair)] for comparison, pairs in comparisons.items()}
        found = {comparison: asked.mean_of(metric, pairs) for comparison, pairs in large.items() if pairs}
        if READER_READER not in found:
            return []
        for comparison, one in found.items():
            rows.append(asked.row(comparison, name, one))
        if MODEL_READER in found:
            model, readers = found[MODEL_READER], found[READER_READER]
            change = _Mean(model.value - readers.value, model.drawn - readers.drawn, readers.members, model.num_pairs)
            rows.append(asked.row(MODEL_MINUS_READERS, name, change, is_difference=True))
    return rows


@dataclass(frozen=True)
class _Mean:
    """The mean of a metric over pairs. drawn: (draw,). members: (study,), that are in any of the pairs."""

    value: float
    drawn: Array
    members: NDArray[np.bool_]
    num_pairs: int


@dataclass(frozen=True)
class _Asked:
    ratings: Array
    patient_ids: pd.Series
    evaluation: Evaluation
    label: Array | None
    called: Array | None

    def comparisons(self, *, is_class: bool) -> dict[str, list[tuple[Array, Array]]]:
        """Pairs of columns (study,), NaN where there is none, that each comparison is the mean over."""
        readers = list(self.ratings.T)
        several = (~np.isnan(self.ratings)).sum(axis=1) >= 2
        found = {READER_READER: list(itertools.combinations(readers, 2))}
        if len(readers) > 2:
            others = [_consensus(np.delete(self.ratings, place, axis=1), is_class) for place in range(len(readers))]
            found[READER_OTHERS] = list(zip(others, readers, strict=True))
        if self.called is not None:
            # Only of studies that two rated: where the readers' own agreement is known.
            found[MODEL_READER] = [(np.where(several, reader, np.nan), self.called) for reader in readers]
            if self.label is not None:
                found[MODEL_LABEL] = [(np.where(several, self.label, np.nan), self.called)]
        return found

    def mean_of(self, metric: Statistic, pairs: Sequence[tuple[Array, Array]]) -> _Mean:
        """The mean of the metric over the pairs, of the studies and of each draw of them."""
        chosen = [_both(*pair) for pair in pairs]
        cut = [(first[both], second[both]) for (first, second), both in zip(pairs, chosen, strict=True)]
        value = float(np.mean([metric(*pair) for pair in cut]))
        drawn = [
            np.mean(
                [metric(*pair, sample_weight=block[:, both]) for pair, both in zip(cut, chosen, strict=True)], axis=0
            )
            for block in self._draws.weights()
        ]
        return _Mean(value, np.concatenate(drawn), np.logical_or.reduce(chosen), len(pairs))

    def row(self, comparison: str, metric: str, found: _Mean, *, is_difference: bool = False) -> Row:
        evaluation = self.evaluation
        num_patients = len(np.unique(self._draws.patient[found.members]))
        interval = percentile_interval(found.drawn, evaluation.confidence, num_patients=num_patients)
        known = interval.low is not None
        p_value = two_sided_p_value(found.drawn, num_patients=num_patients) if is_difference and known else math.nan
        method = f"{interval.method}, {evaluation.num_draws} draws, {evaluation.confidence:.0%}" if known else None
        is_value = not math.isnan(found.value)
        return {
            "comparison": comparison,
            "metric": metric,
            "value": found.value if is_value else None,
            "low": interval.low if is_value else None,
            "high": interval.high if is_value else None,
            "p_value": None if math.isnan(p_value) else p_value,
            "n": int(found.members.sum()),
            "num_pairs": found.num_pairs,
            "method": method if is_value else None,
            "reason": interval.reason if is_value else "all ratings are the same, or those of a reader",
        }

    @cached_property
    def _draws(self) -> PatientDraws:
        return PatientDraws.of(self.patient_ids, num_draws=self.evaluation.num_draws, seed=self.evaluation.seed)


def _is_large(first: Array, second: Array) -> bool:
    return int(_both(first, second).sum()) >= LEAST_STUDIES


def _both(first: Array, second: Array) -> NDArray[np.bool_]:
    return ~np.isnan(first) & ~np.isnan(second)


def _consensus(ratings: Array, is_class: bool) -> Array:
    """What the readers say together: the mean, or the class of more than half; NaN where there is none."""
    rated = ~np.isnan(ratings)
    count = rated.sum(axis=1)
    if not is_class:
        return np.where(count > 0, np.nansum(ratings, axis=1) / np.maximum(1, count), np.nan)
    classes = np.unique(ratings[rated])
    votes = (ratings[:, :, None] == classes).sum(axis=1)
    if not len(classes):
        return np.full(len(ratings), np.nan)
    return np.where(2 * votes.max(axis=1) > count, classes[votes.argmax(axis=1)], np.nan)
