"""What metrics share: checked numbers, and weighted sums over the studies of many draws at once.

A weight is (study,) or (draw, study); a whole weight counts a study that many times, and 0 leaves it out.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def numbers(y_true: ArrayLike, y_score: ArrayLike) -> tuple[Array, Array]:
    """Both as float64.

    Raises:
        ValueError: one of them holds NaN.
    """
    truth, score = np.asarray(y_true, dtype=np.float64), np.asarray(y_score, dtype=np.float64)
    if np.isnan(truth).any() or np.isnan(score).any():
        raise ValueError("y_true and y_score must not hold NaN: leave out what has no label or no score, and count it")
    return truth, score


def weights_of(values: ArrayLike, sample_weight: ArrayLike | None) -> Array:
    """`sample_weight` as float64; 1 a study of `values` (study,) where there is none."""
    return np.ones(np.shape(values)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)


def mean(values: Array, sample_weight: ArrayLike | None) -> Any:
    """The weighted mean of `values` (study,); NaN where nothing has a weight."""
    weight = weights_of(values, sample_weight)
    return ratio((weight * values).sum(axis=-1), weight.sum(axis=-1))


def ratio(above: Any, below: Any) -> Any:
    """Above / below; NaN where below is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.asarray(below) > 0, np.asarray(above) / below, np.nan)[()]


def varies(values: Array, weight: Array) -> Any:
    """Whether `values` (study,) takes more than one value among the studies that have a weight: bool or (draw,)."""
    highest = np.where(weight > 0, values, -np.inf).max(axis=-1, initial=-np.inf)
    lowest = np.where(weight > 0, values, np.inf).min(axis=-1, initial=np.inf)
    return highest > lowest


def middle_ranks(values: Array, weight: Array) -> Array:
    """The rank of each study (..., study), lowest value first; equal values share the middle of theirs."""
    if not len(values):
        return weight
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0])
    held = np.add.reduceat(np.take(weight, order, axis=-1), starts, axis=-1)
    # take keeps C order, unlike [..., place]: a draw's sums must not depend on how many share its chunk.
    return np.take(np.cumsum(held, axis=-1) - held / 2, place, axis=-1)
