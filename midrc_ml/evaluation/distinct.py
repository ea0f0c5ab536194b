"""Studies of equal truth and score taken together, so that sums do not depend on the order of the rows.

Whole weights add up exactly in any order; products with scores do not. So weights are first added up within each pair
of truth and score, and only those sums are multiplied, always in the order of the pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.evaluation.weighted import Array, weights_of

_CELLS_AT_ONCE = 65_536  # draws x studies held at once: few enough to stay in a core's cache


@dataclass(frozen=True)
class DistinctStudies:
    """The pairs of truth and score that occur: all of the lowest truth first, each from the lowest score on.

    truth, score: (pair,). count: (pair,), how many studies there are of each.
    """

    truth: Array
    score: Array
    count: NDArray[np.int64]
    _order: NDArray[np.int64]
    _starts: NDArray[np.int64]

    @classmethod
    def of(cls, truth: Array, score: Array) -> "DistinctStudies":
        """The pairs of studies; truth and score are (study,)."""
        order = np.lexsort((score, truth))
        truth, score = truth[order], score[order]
        new = np.r_[True, (truth[1:] != truth[:-1]) | (score[1:] != score[:-1])][: len(truth)]
        starts = np.flatnonzero(new)
        return cls(truth[starts], score[starts], np.diff(np.r_[starts, len(truth)]), order, starts)

    def of_draws(self, sample_weight: ArrayLike | None, value: Callable[[Array], Array]) -> Any:
        """What `value` gives for weights (draw, pair): (draw, ...), without the axis where there is one set of weights.

        sample_weight: (study,) or (draw, study). Some draws are given to `value` at a time; what it gives for a draw
        must not depend on the others.

        Raises:
            ValueError: weights of another number of studies.
        """
        weight = weights_of(self._order, sample_weight)
        if weight.ndim not in (1, 2) or weight.shape[-1] != len(self._order):
            raise ValueError(
                f"sample_weight is {weight.shape}; it must be (study,) or (draw, study), of the same studies"
            )
        rows = np.atleast_2d(weight)
        step = max(1, _CELLS_AT_ONCE // max(1, len(self._order)))
        parts = [value(self._of_pairs(rows[start : start + step])) for start in range(0, max(1, len(rows)), step)]
        return np.concatenate(parts) if weight.ndim == 2 else parts[0][0]

    def _of_pairs(self, weight: Array) -> Array:
        ordered = np.take(weight, self._order, axis=1)  # take keeps C order: sums along a row are the same for any step
        return ordered if len(self._starts) == len(self._order) else np.add.reduceat(ordered, self._starts, axis=1)


def sums_by_code(values: Array, codes: NDArray[np.int64], num_codes: int) -> Array:
    """The sums of `values` (draw, pair) over the pairs of each code: (draw, code). codes: (pair,), not falling."""
    result = np.zeros((len(values), num_codes))
    starts = np.flatnonzero(np.r_[True, np.diff(codes) > 0][: len(codes)])
    if len(starts):
        result[:, codes[starts]] = np.add.reduceat(values, starts, axis=1)
    return result
