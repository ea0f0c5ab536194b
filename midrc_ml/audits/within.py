"""What a score knows of studies that share a source: pooled over all, within one site, at a site that it never saw."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.audits.sources import codes
from midrc_ml.audits.test_part import TestPart
from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.intervals import percentile_interval
from midrc_ml.evaluation.rests_on import patients_by, rests_on
from midrc_ml.evaluation.scorers import Grouping, values_of_draws, values_of_studies
from midrc_ml.evaluation.weighted import Array

LEAST_STUDIES = 10  # of a group that is given a value


@dataclass(frozen=True)
class Within:
    """The mean of a metric over the groups of a column, weighted by their studies, and the pooled value beside it.

    drop: pooled minus within, with limits, of the same draws; of a metric that is good when low, within minus pooled.
    groups: {name, value, low, high, n}. n: studies of groups that have a value.
    """

    pooled: float
    value: float
    low: float | None
    high: float | None
    drop: float
    drop_low: float | None
    drop_high: float | None
    n: int
    groups: list[dict[str, Any]]


def within(part: TestPart, score: Array, column: pd.Series) -> Within | None:
    """Of a score of the test studies, compared only with those that share a value of `column`.

    None where fewer than two groups of 10 studies or more have a value: then there is nothing to pool.
    """
    code, names = pd.factorize(column.where(pd.Series(codes(column) >= 0, index=column.index)), sort=True)
    sizes = np.bincount(code[code >= 0], minlength=len(names))
    large = np.flatnonzero(sizes >= LEAST_STUDIES)
    number = np.full(len(names) + 1, -1)
    number[large] = np.arange(len(large))
    grouping = Grouping(number[code].astype(np.int64), len(large))
    everyone = Grouping.everyone(len(column))
    draws = PatientDraws.of(part.studies["patient_id"], num_draws=part.evaluation.num_draws, seed=part.evaluation.seed)
    metrics = {part.name: part.metric}
    truth = part.y_true
    pooled, values = (found[part.name] for found in values_of_studies(metrics, truth, score, [everyone, grouping]))
    known = ~np.isnan(values)
    if known.sum() < 2 or math.isnan(pooled[0]):
        return None
    drawn_pooled, drawn = (
        found[part.name] for found in values_of_draws(metrics, truth, score, draws, [everyone, grouping])
    )
    weight = np.where(known, sizes[large], 0).astype(np.float64)
    value = float(np.nansum(values * weight) / weight.sum())
    mean_drawn = _weighted(drawn, weight)
    confidence = part.evaluation.confidence

    def interval(of_draws: Array, members: NDArray[np.bool_]) -> Any:
        counted = patients_by(_label(truth)[members], draws.patient[members], part.kind)
        return percentile_interval(of_draws, confidence, num_patients=counted[rests_on(part.metric, part.kind)])

    in_any = known[grouping.codes] & (grouping.codes >= 0)
    found = interval(mean_drawn, in_any)
    sign = -1 if part.is_better_low else 1
    fallen = interval(sign * (drawn_pooled[:, 0] - mean_drawn), in_any)
    rows = []
    for place, name in enumerate(large):
        members = grouping.codes == place
        limits = interval(drawn[:, place], members) if known[place] else None
        rows.append(
            {
                "group": str(names[name]),
                "value": float(values[place]) if known[place] else None,
                "low": limits.low if limits else None,
                "high": limits.high if limits else None,
                "n": int(sizes[name]),
            }
        )
    drop = sign * (float(pooled[0]) - value)
    return Within(
        float(pooled[0]), value, found.low, found.high, drop, fallen.low, fallen.high, int(weight.sum()), rows
    )


def left_out_scores(rows: pd.DataFrame, column: str, fit: Callable[[pd.DataFrame], Array | None]) -> Array | None:
    """Scores of each study by a model that never saw its source: of the train and validation studies of the others.

    rows: with part and `column`. fit: scores of all `rows` by a model of those whose part is train. NaN where a source
    has no other, or nothing can be learned without it; None where that is so of all.
    """
    code = codes(rows[column])
    made: Array | None = None
    for source in range(code.max() + 1 if len(code) else 0):
        theirs = code == source
        part = rows["part"].mask(theirs, "test").mask(~theirs & (rows["part"] == "test"), "not used")
        scores = fit(rows.assign(part=part)) if (part == "train").any() else None
        if scores is None:
            continue
        made = np.full(scores.shape, np.nan) if made is None else made
        made[theirs] = scores[theirs]
    return made


def _weighted(drawn: Array, weight: Array) -> Array:
    """The mean over groups of each draw, (draw,), over those that have a value in it; NaN where none has."""
    known = ~np.isnan(drawn) & (weight > 0)
    total = (known * weight).sum(axis=1)
    summed = np.where(known, drawn, 0.0) @ weight
    return np.where(total > 0, summed / np.where(total > 0, total, 1), np.nan)


def _label(truth: Array) -> Array:
    return truth[:, 0] if truth.ndim == 2 else truth
