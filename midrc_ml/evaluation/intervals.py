"""Intervals from bootstrap draws: of one number, of the largest of several, and of distances that cannot be negative.

Coverage of all of them is simulated in `tests/evaluation/test_coverage.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midrc_ml.evaluation.weighted import Array

MAX_UNDEFINED = 0.05  # share of draws without a value (one class only) above which no interval is given
LEAST_PATIENTS = 5  # of the rarer class
_JACKKNIFE_GROUPS = 400
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Interval:
    """Limits and how they were found; None, with the reason, where they cannot be given."""

    low: float | None
    high: float | None
    reason: str | None = None
    method: str | None = None


def percentile_interval(drawn: Array, confidence: float, *, num_patients: int) -> Interval:
    """Percentiles of the draws (draw,), set a little apart for few patients; NaN = a draw without a value.

    num_patients: how many the number rests on; of a metric of two classes those of the rarer one. A bootstrap of n
    patients is too narrow by sqrt((n - 1) / n) and knows no Student's t; both are made good as in the expanded
    percentile interval. Source: Hesterberg, Am Stat 2015;69:371.
    """
    reason = why_no_interval(drawn, num_patients)
    if reason:
        return Interval(None, None, reason)
    tail = _NORMAL.cdf(-_expanded_z(confidence, num_patients))
    return Interval(*_quantiles(drawn, tail, 1 - tail), method=_named("percentile", drawn, tail))


def bca_interval(drawn: Array, value: float, left_out: Array, confidence: float, *, num_patients: int) -> Interval:
    """Bias-corrected and accelerated percentiles, with the same allowance for few patients.

    value: of the studies as they are. left_out: the values without each of some equal groups of patients
    (`jackknife_times`). Source: Efron, J Am Stat Assoc 1987;82:171.
    """
    reason = why_no_interval(drawn, num_patients)
    if reason:
        return Interval(None, None, reason)
    known = drawn[~np.isnan(drawn)]
    below = (np.sum(known < value) + 0.5 * np.sum(known == value)) / len(known)
    if not 0 < below < 1:
        return Interval(None, None, f"all {len(known)} bootstrap draws lie on one side of the value")
    left_out = left_out[~np.isnan(left_out)]
    offsets = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    squares = float((offsets**2).sum())
    acceleration = float((offsets**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    shift, reach = _NORMAL.inv_cdf(float(below)), _expanded_z(confidence, num_patients)
    tails = []
    for z in (shift - reach, shift + reach):
        tails.append(_NORMAL.cdf(shift + z / max(1 - acceleration * z, 1e-6)))
    return Interval(*_quantiles(drawn, *tails), method=_named("BCa", drawn, min(tails[0], 1 - tails[1])))


def jackknife_times(num_patients: int) -> NDArray[np.int32]:
    """Weights (group, patient) that leave out one group of patients each: each patient, or 1 in 400 of very many."""
    groups = min(num_patients, _JACKKNIFE_GROUPS)
    left_out = np.arange(num_patients) % max(1, groups) == np.arange(groups)[:, None]
    return np.where(left_out, 0, 1).astype(np.int32)


def simultaneous_band(values: Array, drawn: Array, confidence: float, *, num_patients: int) -> tuple[Array, Array]:
    """Limits (number,) that hold for all `values` (number,) at once: value -+ c times its standard error over draws.

    drawn: (draw, number), without NaN. c: the quantile, over the draws, of the largest studentized distance (max-t).
    Source: Westfall and Young, Resampling-Based Multiple Testing, 1993.
    """
    error = drawn.std(axis=0, ddof=1)
    scale = np.where(error > 0, error, np.inf)
    largest = (np.abs(drawn - values) / scale).max(axis=1)
    single = _NORMAL.inv_cdf(0.5 + confidence / 2)
    few = _expanded_z(confidence, num_patients) / single
    reach = few * float(np.quantile(largest, confidence, method="weibull")) * error
    # No limit lies beyond what any draw gave: a share does not exceed 1.
    return np.maximum(values - reach, drawn.min(axis=0)), np.minimum(values + reach, drawn.max(axis=0))


def extreme_interval(
    values: Array, drawn: Array, confidence: float, *, num_patients: int, extreme: Callable[..., Any] = np.max
) -> Interval:
    """Of the largest (or smallest: `np.min`) of several numbers, as of the worst of several groups.

    values: (number,); drawn: (draw, number). The largest of the limits of a simultaneous band: which of them really is
    the largest need not be known.
    """
    return _of_band(values, drawn, confidence, num_patients, lambda low, high: (extreme(low), extreme(high)))


def distance_interval(values: Array, drawn: Array, confidence: float, *, num_patients: int) -> Interval:
    """Of the largest of the absolute values of several numbers, which is 0 or more however the sample falls."""

    def limits(low: Array, high: Array) -> tuple[Any, Any]:
        nearest = np.maximum(0, np.maximum(low, -high))
        return nearest.max(), np.maximum(np.abs(low), np.abs(high)).max()

    return _of_band(values, drawn, confidence, num_patients, limits)


def two_sided_p_value(drawn: Array, *, num_patients: int) -> float:
    """The p-value of a difference of 0, from its draws (draw,): twice the smaller share beyond 0, as of few patients.

    It is the interval turned round: `percentile_interval` leaves 0 out from a confidence of 1 - p on, with the same
    allowance for few patients and the same place between two draws. Its share is never below 1/(B+1), where all draws
    are on one side; an interval that B draws are too few for (it says so) may then leave 0 out although p is larger.
    NaN where there is no interval. Source: Davison and Hinkley 1997, 4.2, with the sample itself as one draw more.
    """
    from scipy.special import stdtr

    if why_no_interval(drawn, num_patients):
        return math.nan
    known = drawn[~np.isnan(drawn)]
    share = min(0.5, _share_up_to_zero(known), _share_up_to_zero(-known))
    reach = _NORMAL.inv_cdf(share) * math.sqrt((num_patients - 1) / num_patients)
    return min(1.0, 2 * float(stdtr(num_patients - 1, reach)))


def why_no_interval(drawn: Array, num_patients: int) -> str | None:
    """Why these draws (draw,) of so many patients give no interval; None where they do."""
    if reason := why_too_few(num_patients):
        return reason
    undefined = int(np.isnan(drawn).sum())
    if undefined > MAX_UNDEFINED * len(drawn):
        return f"{undefined} of {len(drawn)} bootstrap draws have no value: too few patients, or too few of one class"
    if np.nanmin(drawn) == np.nanmax(drawn):  # a bootstrap at the edge of its range knows nothing of its error
        return f"all {len(drawn)} bootstrap draws give the same value: too few patients, or one score for all"
    return None


def why_too_few(num_patients: int) -> str | None:
    """Why so many patients give no interval; None where they do."""
    if num_patients >= LEAST_PATIENTS:  # of three patients not even the extremes of all draws reach far enough
        return None
    of_whom = f"{num_patients} patient{'' if num_patients == 1 else 's'}"
    return f"it rests on {of_whom}, where classes count those of the rarer one: an interval needs {LEAST_PATIENTS}"


def _of_band(
    values: Array, drawn: Array, confidence: float, num_patients: int, limits: Callable[[Array, Array], tuple[Any, Any]]
) -> Interval:
    complete = drawn[~np.isnan(drawn).any(axis=1)]
    if len(drawn) - len(complete) > MAX_UNDEFINED * len(drawn):
        return Interval(
            None,
            None,
            f"{len(drawn) - len(complete)} of {len(drawn)} bootstrap draws lack one of the values: too few patients",
        )
    if not (np.ptp(complete, axis=0) > 0).any():
        return Interval(None, None, f"all {len(complete)} bootstrap draws give the same values: too few patients")
    low, high = limits(*simultaneous_band(values, complete, confidence, num_patients=num_patients))
    return Interval(float(low), float(high), method="simultaneous bootstrap of patients")


def _share_up_to_zero(drawn: Array) -> float:
    """The share at which the quantile of `_quantiles` is 0; 1/(B+1) where all draws are above it."""
    ordered = np.sort(drawn)
    count = int(np.searchsorted(ordered, 0.0, side="right"))
    if count in (0, len(ordered)):
        return max(1, count) / (len(ordered) + 1)
    low, high = ordered[count - 1], ordered[count]
    return (count + float(-low / (high - low))) / (len(ordered) + 1)


def _named(kind: str, drawn: Array, tail: float) -> str:
    """The method; where a tail is thinner than one draw, that the limits are only the farthest draws."""
    if tail * (int((~np.isnan(drawn)).sum()) + 1) < 1:
        return "farthest draws, which are too few for this confidence, bootstrap of patients"
    return f"{kind} bootstrap of patients"


def _expanded_z(confidence: float, num_patients: int) -> float:
    """What stands for 1.96: Student's t of so many patients, times sqrt(n / (n - 1))."""
    from scipy.special import stdtrit

    count = max(2, num_patients)
    return float(math.sqrt(count / (count - 1)) * stdtrit(count - 1, 0.5 + confidence / 2))


def _quantiles(drawn: Array, low: float, high: float) -> tuple[float, float]:
    # Of B draws the k-th smallest stands at k / (B + 1): between two draws too few would be left outside.
    found = np.nanquantile(drawn, [low, high], method="weibull")
    return float(found[0]), float(found[1])
