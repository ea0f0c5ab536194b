"""Intervals of a share of independent patients, and of the difference of two shares."""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from midrc_ml.errors import InputError
from midrc_ml.evaluation.weighted import Array


def wilson_interval(count: ArrayLike, total: ArrayLike, confidence: float = 0.95) -> tuple[Array, Array]:
    """Wilson's interval of a share: its lower and upper limits, of the shape that count and total have together.

    count: how many of `total` independent ones; both may be arrays. NaN where total is 0. It stays within [0, 1] and
    holds where the share is 0 or 1. Source: Wilson, J Am Stat Assoc 1927;22:209.

    Raises:
        InputError: a count below 0 or above its total, or a confidence outside (0, 1).
    """
    z = two_sided_z(confidence)
    successes, trials = np.broadcast_arrays(np.asarray(count, np.float64), np.asarray(total, np.float64))
    wrong = (successes < 0) | (successes > trials)
    if wrong.any():
        place = np.argwhere(np.atleast_1d(wrong))[0]
        raise InputError(
            f"{int(wrong.sum())} counts are below 0 or above their total (the first at {place.tolist()}); a share is "
            f"of 0 to all of them"
        )
    square = z**2
    with np.errstate(divide="ignore", invalid="ignore"):
        share = successes / trials
        centre = (share + square / (2 * trials)) / (1 + square / trials)
        reach = np.sqrt(square * (share * (1 - share) + square / (4 * trials)) / trials) / (1 + square / trials)
        # At the ends the formula gives 0 and 1 but for rounding.
        low = np.where(successes == 0, 0.0, centre - reach)
        high = np.where(successes == trials, 1.0, centre + reach)
    known = trials > 0
    return np.where(known, low, np.nan)[()], np.where(known, high, np.nan)[()]


def newcombe_interval(
    first_count: ArrayLike,
    first_total: ArrayLike,
    second_count: ArrayLike,
    second_total: ArrayLike,
    confidence: float = 0.95,
) -> tuple[Array, Array]:
    """Newcombe's interval of the first share minus the second, of different people: its lower and upper limits.

    The counts and totals are those of `wilson_interval`, whose limits it joins; they may be arrays. NaN where a total
    is 0. It stays within [-1, 1]. Source: Newcombe, Stat Med 1998;17:873, method 10 (hybrid score).

    Raises:
        InputError: a count below 0 or above its total, or a confidence outside (0, 1).
    """
    shares, below, above = [], [], []
    for count, total in ((first_count, first_total), (second_count, second_total)):
        low, high = wilson_interval(count, total, confidence)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.asarray(count, np.float64) / np.asarray(total, np.float64)
        shares.append(share)
        below.append(share - low)
        above.append(high - share)
    difference = shares[0] - shares[1]
    return difference - np.hypot(below[0], above[1]), difference + np.hypot(above[0], below[1])


def two_sided_z(confidence: float) -> float:
    """The number of standard errors on either side of an estimate: 1.96 for 0.95.

    Raises:
        InputError: a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; it must be above 0 and below 1, such as 0.95")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
