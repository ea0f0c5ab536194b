"""Intervals by a bootstrap of patients, drawn once and shared by every metric and group.

A draw takes as many patients as there are, with replacement; a patient brings all of his or her studies.
Because the draws are shared, differences between metrics, groups and models are paired.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_UNDEFINED = 0.05  # share of draws without a value (one class only) above which no interval is given
_CHUNK_CELLS = 4_000_000

Metric = Callable[..., Any]


@dataclass(frozen=True)
class PatientDraws:
    """How often each study is in each draw: `weights()` yields (draw, study) in chunks."""

    patient: NDArray[np.int64]  # (study,), numbered in the order of the sorted patient ids
    num_patients: int
    num_draws: int
    seed: int

    @classmethod
    def of(cls, patient_ids: pd.Series, *, num_draws: int, seed: int) -> "PatientDraws":
        """Draws of the patients of a table sorted by patient; neither core count nor chunk size changes them."""
        codes, names = pd.factorize(patient_ids, sort=True)
        return cls(codes.astype(np.int64), len(names), num_draws, seed)

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """How often each study is drawn, float64 (draw, study), some draws at a time."""
        rng = np.random.default_rng(self.seed)
        chunk = max(1, _CHUNK_CELLS // max(1, len(self.patient)))
        for start in range(0, self.num_draws, chunk):
            count = min(chunk, self.num_draws - start)
            drawn = rng.integers(0, self.num_patients, (count, self.num_patients))
            times = np.stack([np.bincount(row, minlength=self.num_patients) for row in drawn])
            yield times[:, self.patient].astype(np.float64)


@dataclass(frozen=True)
class Interval:
    """Percentile limits; None, with the reason, where they cannot be given."""

    low: float | None
    high: float | None
    reason: str | None = None


def bootstrap_intervals(
    metrics: dict[str, Metric],
    y_true: NDArray[np.float64],
    y_score: NDArray[np.float64],
    draws: PatientDraws,
    *,
    rows: NDArray[np.bool_],
    confidence: float,
) -> dict[str, Interval]:
    """The interval of each metric over the studies in `rows`, from the shared `draws` of all studies."""
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in metrics}
    for weights in draws.weights():
        # compress keeps C order, unlike weights[:, rows]: a draw's sums must not depend on how many share its chunk.
        chosen = weights.compress(rows, axis=1)
        for name, metric in metrics.items():
            values[name].append(scored_draws(metric, y_true[rows], y_score[rows], chosen))
    return {name: _interval(np.concatenate(drawn), confidence) for name, drawn in values.items()}


def scored_draws(
    metric: Metric, y_true: NDArray[np.float64], y_score: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The metric of each draw (draw,). A metric that is not marked `over_draws` is called on the repeated rows."""
    if getattr(getattr(metric, "func", metric), "over_draws", False):
        return np.atleast_1d(np.asarray(metric(y_true, y_score, sample_weight=weights), dtype=np.float64))
    repeats = weights.astype(np.int64)
    return np.array(
        [value_of(metric, np.repeat(y_true, times, axis=0), np.repeat(y_score, times, axis=0)) for times in repeats]
    )


def value_of(metric: Metric, y_true: NDArray[np.float64], y_score: NDArray[np.float64]) -> float:
    """The metric of these studies; NaN where it refuses them (scikit-learn raises ValueError for one class)."""
    try:
        return float(metric(y_true, y_score))
    except ValueError:
        return math.nan


def _interval(drawn: NDArray[np.float64], confidence: float) -> Interval:
    undefined = int(np.isnan(drawn).sum())
    if undefined > MAX_UNDEFINED * len(drawn):
        return Interval(
            None,
            None,
            f"{undefined} of {len(drawn)} bootstrap draws have no value: too few patients, or too few of one class",
        )
    if np.nanmin(drawn) == np.nanmax(drawn):  # a bootstrap at the edge of its range knows nothing of its error
        return Interval(
            None, None, f"all {len(drawn)} bootstrap draws give the same value: too few patients, or one score for all"
        )
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(float(low), float(high))
