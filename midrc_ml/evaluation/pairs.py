"""Pairs of studies of different levels, and in how many of them the higher level has the higher score.

All pairs of n studies are counted in about n log2(levels) steps a draw, and exactly where weights are whole numbers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midrc_ml.evaluation.distinct import sums_by_code
from midrc_ml.evaluation.weighted import Array

Places = NDArray[np.int64]


class LevelPairs:
    """Every pair of studies of different levels, prepared for many draws.

    level: (study,), whole numbers from 0 on that never fall. score: (study,). can_be_upper: (study,), whether a study
    makes pairs with those of lower levels; by default each does.
    """

    # The levels are halved, each half again, and so on: two different levels are parted in exactly one halving.
    def __init__(self, level: Places, score: Array, can_be_upper: NDArray[np.bool_] | None = None) -> None:
        allowed = np.ones(len(level), dtype=bool) if can_be_upper is None else can_be_upper
        self._level, self._num_levels = level, int(level[-1]) + 1 if len(level) else 0
        values, rank = np.unique(score, return_inverse=True)
        num_halvings = max(0, self._num_levels - 1).bit_length()
        self._halvings = [_Halving.of(level, rank, len(values), allowed, bit) for bit in range(num_halvings)]

    def sums(self, upper: Array, lower: Array) -> tuple[Array, Array]:
        """The weight of the pairs that the higher level wins, ties counting half, and of all: both (draw,).

        upper, lower: weights (draw, study) of a study as the one of the higher and of the lower level of its pairs;
        that of a pair is their product. `upper` must be 0 where a study cannot be it.
        """
        won = np.zeros(len(upper))
        for halving in self._halvings:
            won += halving.won(upper, lower)
        by_level = (sums_by_code(weight, self._level, self._num_levels) for weight in (upper, lower))
        of_upper, of_lower = by_level
        below = np.cumsum(of_lower, axis=1) - of_lower
        return won, (of_upper * below).sum(axis=1)


@dataclass(frozen=True)
class _Halving:
    """Studies of the lower halves, in the order of their scores in each part; where those of the upper halves stand.

    first, left, right: (upper study,), the place among `lower` of its part's first, of the first that does not score
    lower, and of the first that scores higher.
    """

    upper: Places
    lower: Places
    first: Places
    left: Places
    right: Places

    @classmethod
    def of(cls, level: Places, rank: Places, num_ranks: int, allowed: NDArray[np.bool_], bit: int) -> "_Halving":
        part = level >> (bit + 1)
        key = part * num_ranks + rank
        is_upper = (level >> bit) & 1 == 1
        lower, upper = np.flatnonzero(~is_upper), np.flatnonzero(is_upper & allowed)
        lower, upper = (places[np.argsort(key[places], kind="stable")] for places in (lower, upper))
        keys = key[lower]
        return cls(
            upper=upper,
            lower=lower,
            first=np.searchsorted(keys, part[upper] * num_ranks),
            left=np.searchsorted(keys, key[upper], side="left"),
            right=np.searchsorted(keys, key[upper], side="right"),
        )

    def won(self, upper: Array, lower: Array) -> Array:
        total = np.zeros((len(lower), len(self.lower) + 1))
        np.cumsum(lower.take(self.lower, axis=1), axis=1, out=total[:, 1:])
        beaten = 0.5 * (total.take(self.left, axis=1) + total.take(self.right, axis=1))
        beaten -= total.take(self.first, axis=1)
        beaten *= upper.take(self.upper, axis=1)
        return np.asarray(beaten.sum(axis=1))
