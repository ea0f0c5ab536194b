"""Metrics of the order of the scores, of many draws and groups at once: the studies are sorted once.

What such a metric needs stands only where a positive has a score: the weight of the positives and negatives there, and
of those below. A draw then costs one gather and one cumulative sum over the studies, and little else.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.evaluation.weighted import Array, numbers

_LARGEST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class RankSums:
    """Weights (draw, place), a place being a score that a positive has: group after group, lowest score first.

    positive, negative: with this score. all_before, positive_before: of whoever comes before, in this group and in
    those before it. For each group (draw, group): positive_group and negative_group, its own; all_ahead and
    positive_ahead, of the groups before it. They are whole numbers (int32) where the weights are, whose products must
    be made as float64. sum_by_group: (draw, place) -> (draw, group); of_places: (draw, group) -> (draw, place).
    """

    positive: Array
    negative: Array
    all_before: Array
    positive_before: Array
    positive_group: Array
    negative_group: Array
    all_ahead: Array
    positive_ahead: Array
    sum_by_group: Callable[[Array], Array]
    of_places: Callable[[Array], Array]


class RankedStudies:
    """Studies in the order of their scores within each group.

    y_true, y_score: (study,), 0 or 1 and a number. unit: (study,), the column of the weights that is a study's.
    codes: (study,), the group of a study from 0 on, -1 = in none.

    Raises:
        ValueError: y_true is not 0 or 1, or a number is NaN.
    """

    def __init__(
        self,
        y_true: ArrayLike,
        y_score: ArrayLike,
        unit: NDArray[np.int64],
        codes: NDArray[np.int64],
        num_groups: int,
    ) -> None:
        truth, score = zero_or_one(y_true, y_score)
        order = np.lexsort((truth, score, codes))  # of a tie the negatives come first
        order = order[np.searchsorted(codes[order], 0) :]
        truth, score, group = truth[order], score[order], codes[order]
        self._unit, self._num_groups = unit[order], num_groups
        new_group = np.r_[True, group[1:] != group[:-1]][: len(group)]
        new_score = new_group | np.r_[True, score[1:] != score[:-1]][: len(group)]
        starts = np.flatnonzero(new_score)
        ends = np.r_[starts[1:], len(group)][: len(starts)]
        num_positive = np.add.reduceat(truth, starts) if len(starts) else np.zeros(0)
        held = num_positive > 0
        self._start, self._end = starts[held], ends[held]
        self._first_positive = self._end - num_positive[held].astype(np.int64)
        self._group = group[self._start]
        self._first_place = np.flatnonzero(np.r_[True, np.diff(self._group) > 0][: len(self._group)])
        self._present = self._group[self._first_place]
        self._bounds = np.searchsorted(group, np.arange(num_groups + 1))

    def sums(self, times: NDArray[Any]) -> RankSums:
        """The weights at every place. times: (draw, unit), whole numbers or float64."""
        whole = np.issubdtype(times.dtype, np.integer)
        total = np.zeros((len(times), len(self._unit) + 1), np.int32 if whole else np.float64)
        np.cumsum(times.take(self._unit, axis=1), axis=1, out=total[:, 1:])

        def at(place: NDArray[np.int64]) -> Array:
            return total.take(place, axis=1)

        before, first_positive = at(self._start), at(self._first_positive)
        positive = at(self._end) - first_positive
        bounds = at(self._bounds)
        positive_group = self._sum_by_group(positive)
        positive_ahead = np.zeros_like(positive_group)
        np.cumsum(positive_group[:, :-1], axis=1, out=positive_ahead[:, 1:])
        return RankSums(
            positive=positive,
            negative=first_positive - before,
            all_before=before,
            positive_before=np.cumsum(positive, axis=1, dtype=positive.dtype) - positive,
            positive_group=positive_group,
            negative_group=np.diff(bounds, axis=1) - positive_group,
            all_ahead=bounds[:, :-1],
            positive_ahead=positive_ahead,
            sum_by_group=self._sum_by_group,
            of_places=self._of_places,
        )

    def _of_places(self, of_group: Array) -> Array:
        return of_group.take(self._group, axis=1)

    def _sum_by_group(self, values: Array) -> Array:
        result = np.zeros((len(values), self._num_groups), values.dtype)
        if len(self._first_place):
            result[:, self._present] = np.add.reduceat(values, self._first_place, axis=1)
        return result


def from_ranks(of_ranks: Callable[[RankSums], Array]) -> Any:
    """A metric (y_true, y_score, *, sample_weight) from its value by `RankSums`, (draw, group)."""

    @wraps(of_ranks)
    def metric(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
        count = len(np.asarray(y_true))
        studies = RankedStudies(y_true, y_score, np.arange(count), np.zeros(count, np.int64), 1)
        times = np.ones(count, np.int64) if sample_weight is None else np.asarray(sample_weight)
        if times.shape[-1] != count:
            raise ValueError(f"sample_weight has {times.shape[-1]} weights for {count} studies")
        # Only counts whose sum fits into int32 are added as whole numbers.
        whole = np.issubdtype(times.dtype, np.integer) and np.abs(times).sum(axis=-1).max(initial=0) <= _LARGEST
        values = of_ranks(studies.sums(np.atleast_2d(times if whole else times.astype(np.float64))))[:, 0]
        return values if times.ndim == 2 else values[0]

    metric.__signature__ = _PLAIN  # type: ignore[attr-defined]
    metric.of_ranks = of_ranks  # type: ignore[attr-defined]
    metric.over_draws = True  # type: ignore[attr-defined]
    return metric


def zero_or_one(y_true: ArrayLike, y_score: ArrayLike) -> tuple[Array, Array]:
    """Both as float64.

    Raises:
        ValueError: y_true is not 0 or 1, or a number is NaN.
    """
    truth, score = numbers(y_true, y_score)
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("y_true must be 0 or 1 for this metric")
    return truth, score


def _plain(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any: ...


_PLAIN = inspect.signature(_plain)
