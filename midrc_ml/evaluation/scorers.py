"""Metrics of all draws and all groups at once.

A metric is a plain function (`metrics.py`). What it can tell of itself makes it fast: `of_ranks` (a function of what
`ranks.py` sums), or `features` and `of_sums` (a function of sums over the studies, `sums.py`); metrics with the same
basis share it. A metric that is only marked `over_draws` is called for each group with the weights of its studies, and
any other function, such as scikit-learn's, on the repeated rows of each draw.
"""

import functools
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midrc_ml.errors import InputError
from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.ranks import RankedStudies
from midrc_ml.evaluation.weighted import Array
from midrc_ml.processes import num_threads

Metric = Callable[..., Any]
Times = NDArray[Any]  # (draw, unit): how often each patient is drawn
Scorer = Callable[[Times], Array]  # (draw, group)

_CELLS_AT_ONCE = 2_000_000  # draws x studies; changes nothing but memory


@dataclass(frozen=True)
class Grouping:
    """Which group each study is in. codes: (study,), from 0 on, -1 = in none."""

    codes: NDArray[np.int64]
    num_groups: int

    @classmethod
    def everyone(cls, num_studies: int) -> "Grouping":
        """One group of all studies."""
        return cls(np.zeros(num_studies, np.int64), 1)

    def rows(self, group: int) -> NDArray[np.int64]:
        """The positions of the studies of a group."""
        return np.flatnonzero(self.codes == group)


class GroupScorers:
    """The metrics of the groups of one grouping, prepared for many draws.

    metrics: {name: function}. y_true, y_score: as the metrics take them. unit: (study,), the column of `times`, the
    patient. A metric that refuses the studies (ValueError) is NaN.
    """

    def __init__(
        self, metrics: Mapping[str, Metric], y_true: Array, y_score: Array, unit: NDArray[np.int64], grouping: Grouping
    ) -> None:
        self._num_groups = grouping.num_groups
        self._bases: dict[Any, Callable[[Times], Any]] = {}
        self._values: dict[str, tuple[Any, Callable[[Any], Array]]] = {}
        for name, metric in metrics.items():
            function, keywords = _unwrapped(metric)
            if hasattr(function, "of_ranks") and not keywords:
                key: Any = "ranks"
                make = functools.partial(_ranked, y_true, y_score, unit, grouping)
                value = function.of_ranks
            elif hasattr(function, "of_sums"):
                key = (function.features, tuple(sorted(keywords.items())))
                make = functools.partial(_summed, function.features, keywords, y_true, y_score, unit, grouping)
                value = function.of_sums
            else:
                key = name
                make = functools.partial(_group_by_group, metric, y_true, y_score, unit, grouping)
                value = _itself
            if key not in self._bases:
                try:
                    self._bases[key] = make()
                except InputError:  # a wrong setting of the metric, whatever the studies are
                    raise
                except ValueError:
                    self._bases[key] = self._refused
                    value = _itself
            elif self._bases[key] == self._refused:
                value = _itself
            self._values[name] = (key, value)

    def values(self, times: Times) -> dict[str, Array]:
        """{metric: (draw, group)}."""
        bases = {key: basis(times) for key, basis in self._bases.items()}
        return {
            name: np.asarray(value(bases[key]), dtype=np.float64).reshape(len(times), self._num_groups)
            for name, (key, value) in self._values.items()
        }

    def _refused(self, times: Times) -> Array:
        return np.full((len(times), self._num_groups), math.nan)


def values_of_studies(
    metrics: Mapping[str, Metric], y_true: Array, y_score: Array, groupings: list[Grouping]
) -> list[dict[str, Array]]:
    """Of each grouping {metric: (group,)} of the studies as they are, by the same way as of the draws."""
    count = len(y_true)
    once = np.ones((1, count), np.int32)
    found = values_of_times(metrics, y_true, y_score, np.arange(count), groupings, once)
    return [{name: values[0] for name, values in of_grouping.items()} for of_grouping in found]


def values_of_draws(
    metrics: Mapping[str, Metric],
    y_true: Array,
    y_score: Array,
    draws: PatientDraws,
    groupings: list[Grouping],
) -> list[dict[str, Array]]:
    """Of each grouping {metric: (draw, group)}; the same to the last bit on any number of cores."""
    scorers = [GroupScorers(metrics, y_true, y_score, draws.patient, grouping) for grouping in groupings]
    rows = max(1, _CELLS_AT_ONCE // max(1, len(y_true)))

    def score(number: int) -> list[list[dict[str, Array]]]:
        block = draws.block(number)
        parts = [block[start : start + rows] for start in range(0, len(block), rows)]
        return [[scorer.values(part) for part in parts] for scorer in scorers]

    with ThreadPoolExecutor(num_threads()) as threads:
        blocks = list(threads.map(score, range(draws.num_blocks)))
    return [
        {name: np.concatenate([part[name] for block in blocks for part in block[place]]) for name in metrics}
        for place in range(len(groupings))
    ]


def values_of_times(
    metrics: Mapping[str, Metric],
    y_true: Array,
    y_score: Array,
    unit: NDArray[np.int64],
    groupings: list[Grouping],
    times: Times,
) -> list[dict[str, Array]]:
    """Of each grouping {metric: (row of times, group)}, for weights of one's own. unit: (study,), its column there."""
    rows = max(1, _CELLS_AT_ONCE // max(1, len(y_true)))
    result = []
    for grouping in groupings:
        scorers = GroupScorers(metrics, y_true, y_score, unit, grouping)
        parts = [scorers.values(times[start : start + rows]) for start in range(0, len(times), rows)]
        result.append({name: np.concatenate([part[name] for part in parts]) for name in metrics})
    return result


def value_of(metric: Metric, y_true: Array, y_score: Array) -> float:
    """The metric of these studies; NaN where it refuses them (scikit-learn raises ValueError for one class)."""
    try:
        return float(metric(y_true, y_score))
    except ValueError:
        return math.nan


def _unwrapped(metric: Metric) -> tuple[Any, dict[str, Any]]:
    """The function and its set keywords; with positional arguments set, or a setting that cannot be a key, itself."""
    if not isinstance(metric, functools.partial) or metric.args:
        return metric, {}
    can_be_keys = all(value.__hash__ is not None for value in metric.keywords.values())
    return (metric.func, dict(metric.keywords)) if can_be_keys else (metric, {})


def _itself(values: Array) -> Array:
    return values


def _ranked(y_true: Array, y_score: Array, unit: NDArray[np.int64], grouping: Grouping) -> Callable[[Times], Any]:
    return RankedStudies(y_true, y_score, unit, grouping.codes, grouping.num_groups).sums


def _summed(
    features: Callable[..., NDArray[Any]],
    keywords: Mapping[str, Any],
    y_true: Array,
    y_score: Array,
    unit: NDArray[np.int64],
    grouping: Grouping,
) -> Scorer:
    """The sums of the features of each group's studies: (draw, group, feature)."""
    values = features(y_true, y_score, **keywords)
    order = np.argsort(grouping.codes, kind="stable")
    order = order[np.searchsorted(grouping.codes[order], 0) :]
    plans = []
    for feature in range(values.shape[1]):
        of_feature = values[order, feature]
        held = order[of_feature != 0]
        codes = grouping.codes[held]
        starts = np.flatnonzero(np.r_[True, np.diff(codes) > 0][: len(codes)])
        # Of yes-or-no features, whose sums are counts, nothing is multiplied.
        factor = None if values.dtype == bool else of_feature[of_feature != 0].astype(np.float64)
        plans.append((unit[held], factor, starts, codes[starts]))

    def sums(times: Times) -> Array:
        result = np.zeros((len(times), grouping.num_groups, len(plans)))
        for feature, (units, factor, starts, present) in enumerate(plans):
            if len(starts):
                weights = times.take(units, axis=1)
                weights = weights if factor is None else weights * factor
                result[:, present, feature] = np.add.reduceat(weights, starts, axis=1)
        return result

    return sums


def _group_by_group(
    metric: Metric, y_true: Array, y_score: Array, unit: NDArray[np.int64], grouping: Grouping
) -> Scorer:
    over_draws = getattr(getattr(metric, "func", metric), "over_draws", False)
    groups = [grouping.rows(group) for group in range(grouping.num_groups)]

    def values(times: Times) -> Array:
        if not groups:
            return np.zeros((len(times), 0))
        return np.stack([of_group(times.take(unit[rows], axis=1), rows) for rows in groups], axis=1)

    def of_group(weights: Times, rows: NDArray[np.int64]) -> Array:
        truth, score = y_true[rows], y_score[rows]
        if over_draws:
            try:
                found = metric(truth, score, sample_weight=weights.astype(np.float64))
            except InputError:
                raise
            except ValueError:
                return np.full(len(weights), math.nan)
            return np.broadcast_to(np.asarray(found, dtype=np.float64), len(weights))
        return np.array(
            [value_of(metric, np.repeat(truth, row, axis=0), np.repeat(score, row, axis=0)) for row in weights]
        )

    return values
