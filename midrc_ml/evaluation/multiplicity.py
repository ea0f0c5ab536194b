"""Several questions asked at once: p-values that stay honest over the whole family of them."""

import math
import sys
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from midrc_ml.errors import InputError
from midrc_ml.evaluation.weighted import Array


def holm(p_values: ArrayLike) -> Array:
    """Holm's adjusted p-values, in the given order: below 0.05 = shown, with at most 5 % risk of any false one.

    p_values: (question,). NaN = not asked: it stays NaN and does not count in the family.
    Source: Holm, Scand J Stat 1979;6:65.

    Raises:
        InputError: a p-value below 0 or above 1.
    """
    given = np.asarray(p_values, dtype=np.float64)
    if given.ndim != 1 or ((given < 0) | (given > 1)).any():
        raise InputError(f"p_values of shape {given.shape} must be one row of numbers from 0 to 1, or NaN")
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    left = np.arange(len(order), 0, -1)
    adjusted = np.full(given.shape, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * left))
    return adjusted


def draws_needed(family: int, alpha: float, *, num_patients: int) -> int:
    """The fewest draws with which `two_sided_p_value`, of so many patients, passes Holm's first step.

    That is `family` x p < alpha, where every draw lies on one side of 0.
    """
    from scipy.special import stdtrit

    reach = float(stdtrit(num_patients - 1, alpha / (2 * family))) / math.sqrt((num_patients - 1) / num_patients)
    share = NormalDist().cdf(reach)  # must be above 1 / (draws + 1)
    return math.floor(1 / share) if share > 0 else sys.maxsize
