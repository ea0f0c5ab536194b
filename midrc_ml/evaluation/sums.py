"""Metrics that are functions of sums over the studies: of many draws and groups at once, sums made once are enough.

Such a metric is a plain function (y_true, y_score, *, ..., sample_weight=None) that also tells what it is made of:
`metric.features`, (y_true, y_score, **settings) -> (study, feature), and `metric.of_sums`, (..., feature) -> (...).
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.evaluation.weighted import Array, ratio, weights_of

Features = Callable[..., NDArray[Any]]  # (y_true, y_score, **settings) -> (study, feature), bool or float64


def from_sums(features: Features, *, rests_on: str | None = None) -> Callable[[Callable[[Array], Any]], Any]:
    """A metric from its value by the weighted sums (..., feature) of `features`, whose settings it takes too.

    rests_on: whose patients count, where it is not as the kind of the task has it (`rests_on.py`).
    """

    def made(of_sums: Callable[[Array], Any]) -> Any:
        @wraps(of_sums)
        def metric(
            y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None, **settings: Any
        ) -> Any:
            return of_sums(weighted_sums(features(y_true, y_score, **settings), sample_weight))

        metric.__signature__ = _signature(features)  # type: ignore[attr-defined]
        metric.features = features  # type: ignore[attr-defined]
        metric.of_sums = of_sums  # type: ignore[attr-defined]
        metric.over_draws = True  # type: ignore[attr-defined]
        metric.rests_on = rests_on  # type: ignore[attr-defined]
        return metric

    return made


def share_from_sums(
    features: Features, *, rests_on: str | None = None
) -> Callable[[Callable[[Array], tuple[Any, Any]]], Any]:
    """A metric that is the share of some studies among others, from the number of both by the sums of `features`.

    `metric.total_of_sums` gives the number that the share is of; the share of none is NaN.
    """

    def made(part_and_whole: Callable[[Array], tuple[Any, Any]]) -> Any:
        @wraps(part_and_whole)
        def of_sums(sums: Array) -> Any:
            return ratio(*part_and_whole(sums))

        metric = from_sums(features, rests_on=rests_on)(of_sums)
        metric.total_of_sums = lambda sums: part_and_whole(sums)[1]
        return metric

    return made


def weighted_sums(features: NDArray[Any], sample_weight: ArrayLike | None) -> Array:
    """The sums of `features` (study, feature) over the studies, each with its weight: (feature,) or (draw, feature).

    The order of the studies does not matter where weights are whole numbers, to the last bit.
    """
    weight = weights_of(features[:, 0], sample_weight)
    if features.dtype == bool:  # whole numbers, exact in any order
        return np.asarray(weight @ features.astype(np.float64))
    order = np.lexsort(features.T)
    features, weight = features[order], np.take(weight, order, axis=-1)
    starts = np.flatnonzero(np.r_[True, (features[1:] != features[:-1]).any(axis=1)][: len(features)])
    if len(starts) < len(features):  # weights of equal rows are added before they are multiplied
        features, weight = features[starts], np.add.reduceat(weight, starts, axis=-1)
    return np.stack([(weight * column).sum(axis=-1) for column in features.T], axis=-1)


def _signature(features: Features) -> inspect.Signature:
    plain = inspect.signature(_plain)
    given = inspect.signature(features).parameters.values()
    settings = [parameter for parameter in given if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    y_true, y_score, sample_weight = plain.parameters.values()
    return plain.replace(parameters=[y_true, y_score, *settings, sample_weight])


def _plain(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any: ...
