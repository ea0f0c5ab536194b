"""Bins of equal mass: about the same number of studies each, studies of one score always together.

Bins are made from the studies as they are given, not from their weights, so that all draws of a bootstrap share them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.evaluation.distinct import DistinctStudies, sums_by_code
from midrc_ml.evaluation.ranks import zero_or_one
from midrc_ml.evaluation.weighted import Array


class BinSums(NamedTuple):
    """Weighted sums over the studies of each bin, lowest scores first: each (bin,) or (draw, bin).

    weight: of 1. positive: of y_true. score: of y_score. product: of y_score (y_score - 2 y_true).
    """

    weight: Array
    positive: Array
    score: Array
    product: Array


def bin_sums(
    y_true: ArrayLike, y_score: ArrayLike, *, num_bins: int, sample_weight: ArrayLike | None = None
) -> BinSums:
    """The sums that calibration in bins is made of, for studies or for draws of them.

    Raises:
        ValueError: y_true is not 0 or 1, y_score is no probability, or num_bins is below 1.
    """
    truth, score = truth_and_probability(y_true, y_score)
    studies, bins = DistinctStudies.of(truth, score), EqualMassBins.of(score, num_bins)
    number = bins.num_bins
    codes = bins.bin_of(studies.score) + number * (studies.truth == 1)
    product = studies.score * (studies.score - 2 * studies.truth)

    def sums(weight: Array) -> Array:
        parts = [
            sums_by_code(values, codes, 2 * number) for values in (weight, weight * studies.score, weight * product)
        ]
        of_bins = [part[:, :number] + part[:, number:] for part in parts]
        return np.stack([of_bins[0], parts[0][:, number:], *of_bins[1:]])

    found = studies.of_draws(sample_weight, lambda weight: np.moveaxis(sums(weight), 0, 1))
    return BinSums(*np.moveaxis(found, -2, 0))


@dataclass(frozen=True)
class EqualMassBins:
    """Which bin a score is in. values: the distinct scores, lowest first; codes: the bin of each, without gaps."""

    values: Array
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, y_score: ArrayLike, num_bins: int) -> "EqualMassBins":
        """The bins of these scores (study,); with many ties they are fewer than `num_bins`.

        The studies of a score go where the middle of them goes in a division of all studies into equal parts.

        Raises:
            ValueError: num_bins is below 1.
        """
        if num_bins < 1:
            raise ValueError(f"num_bins is {num_bins}; it must be at least 1")
        values, count = np.unique(np.asarray(y_score, dtype=np.float64), return_counts=True)
        middle = 2 * np.cumsum(count) - count  # twice the number of studies up to the middle of each score
        part = num_bins * middle // (2 * max(1, int(count.sum())))
        return cls(values, np.unique(part, return_inverse=True)[1].astype(np.int64))

    @property
    def num_bins(self) -> int:
        """How many bins there are."""
        return int(self.codes[-1]) + 1 if len(self.codes) else 0

    def bin_of(self, y_score: ArrayLike) -> NDArray[np.int64]:
        """The bin of each of the scores that the bins were made of."""
        return self.codes[np.searchsorted(self.values, np.asarray(y_score, dtype=np.float64))]


def truth_and_probability(y_true: ArrayLike, y_score: ArrayLike) -> tuple[Array, Array]:
    """Both as float64.

    Raises:
        ValueError: y_true is not 0 or 1, a number is NaN, or a score is outside [0, 1].
    """
    truth, score = zero_or_one(y_true, y_score)
    if len(score) and (score.min() < 0 or score.max() > 1):
        raise ValueError("y_score must be a probability, from 0 to 1, for this metric")
    return truth, score
