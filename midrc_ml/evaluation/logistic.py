"""The logistic fit of an outcome on one number, of many draws at once: log odds = intercept + slope x number.

Newton's method on two parameters, from the solution of all studies on. A step that would move a log odds by more than
a half is shortened by the rule for functions of this kind (Sun and Tran-Dinh, Math Program 2019;178:145), with which
it converges from any start; there is a solution wherever the classes overlap (Albert and Anderson, Biometrika
1984;71:1).
"""

import numpy as np

from midrc_ml.evaluation.distinct import DistinctStudies
from midrc_ml.evaluation.weighted import Array

SMALLEST_PROBABILITY = 1e-7  # nearer to 1 than this, single precision has no number
_MOST_STEPS = 100
_SMALL_STEP = 1e-6  # of a log odds; the error that is left is of the order of its square
_FULL_STEP = 0.5


def logit(probability: Array) -> Array:
    """The log odds; a probability nearer to 0 or 1 than `SMALLEST_PROBABILITY` counts as that."""
    clipped = np.clip(probability, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return np.log(clipped) - np.log1p(-clipped)


def expit(log_odds: Array) -> Array:
    """The probability of these log odds."""
    with np.errstate(over="ignore"):  # exp of much is infinite, and 1 / infinite is the right 0
        return 1 / (1 + np.exp(-log_odds))


def intercept_and_slope(studies: DistinctStudies, weight: Array) -> Array:
    """The most likely intercept and slope of each draw: (draw, 2); NaN where the classes do not overlap.

    studies: truth 0 or 1, score the number. weight: (draw, pair).
    """
    centre = float(studies.score.mean()) if len(studies.score) else 0.0
    number = studies.score - centre
    negatives = int(np.searchsorted(studies.truth, 1))
    start = np.zeros(2)
    everyone = studies.count[None].astype(np.float64)
    if _overlaps(number, everyone, negatives)[0]:
        found = _newton(number, everyone, negatives, start, slope_is_one=False)[0]
        start = found if np.isfinite(found).all() else start
    result = np.full((len(weight), 2), np.nan)
    able = _overlaps(number, weight, negatives)
    result[able] = _newton(number, weight[able], negatives, start, slope_is_one=False)
    result[:, 0] -= centre * result[:, 1]
    return result


def intercept_alone(studies: DistinctStudies, weight: Array) -> Array:
    """The most likely intercept of each draw where the slope is 1: (draw,); NaN without one of the classes."""
    negatives = int(np.searchsorted(studies.truth, 1))
    start = np.array([0.0, 1.0])
    everyone = studies.count[None].astype(np.float64)
    if 0 < negatives < len(studies.truth):
        found = _newton(studies.score, everyone, negatives, start, slope_is_one=True)[0]
        start = found if np.isfinite(found).all() else start
    result = np.full(len(weight), np.nan)
    able = (weight[:, :negatives] > 0).any(axis=1) & (weight[:, negatives:] > 0).any(axis=1)
    result[able] = _newton(studies.score, weight[able], negatives, start, slope_is_one=True)[:, 0]
    return result


def _newton(number: Array, weight: Array, negatives: int, start: Array, *, slope_is_one: bool) -> Array:
    """Intercept and slope (draw, 2) that make the weighted likelihood highest; NaN where no step becomes small."""
    result = np.full((len(weight), 2), np.nan)
    if not len(weight):
        return result
    active = np.arange(len(weight))
    held = np.tile(start, (len(weight), 1))
    positive = weight[:, negatives:].sum(axis=1)
    positive_number = np.einsum("ds,s->d", weight[:, negatives:], number[negatives:])
    ends = np.array([number.min(), number.max()])
    for step_number in range(_MOST_STEPS):
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            # At the start all draws have the same probabilities.
            sums = _gradient_and_curvature(number, weight, held[:1] if step_number == 0 else held)
            step = _step(positive - sums[0], positive_number - sums[1], *sums[2:], slope_is_one=slope_is_one)
            furthest = np.abs(step[:, :1] + step[:, 1:] * ends).max(axis=1)
            held = held + step * np.where(furthest <= _FULL_STEP, 1, np.log1p(furthest) / furthest)[:, None]
        done = furthest <= _SMALL_STEP
        result[active[done]] = held[done]
        left = ~done & np.isfinite(held).all(axis=1)
        if not left.any():
            break
        if not left.all():
            active, held, weight = active[left], held[left], weight[left]
            positive, positive_number = positive[left], positive_number[left]
    return result


def _gradient_and_curvature(number: Array, weight: Array, held: Array) -> tuple[Array, ...]:
    """Of p = the probability and v = p (1 - p), the weighted sums of p, p number, v, v number, v number^2: (draw,)."""
    probability = -held[:, 1:] * number
    probability -= held[:, :1]
    np.exp(probability, out=probability)
    probability += 1
    np.divide(1, probability, out=probability)
    expected = weight * probability
    sums = [expected.sum(axis=1), np.einsum("ds,s->d", expected, number)]
    expected -= expected * probability
    sums += [expected.sum(axis=1), np.einsum("ds,s->d", expected, number), np.einsum("ds,s->d", expected, number**2)]
    return tuple(sums)


def _step(short: Array, short_number: Array, one: Array, first: Array, second: Array, *, slope_is_one: bool) -> Array:
    """Newton's step (draw, 2) of intercept and slope; that of a slope which is held is 0."""
    if slope_is_one:
        return np.stack([short / one, np.zeros(len(one))], axis=1)
    turned = np.stack([second * short - first * short_number, one * short_number - first * short], axis=1)
    return turned / (one * second - first**2)[:, None]


def _overlaps(number: Array, weight: Array, negatives: int) -> Array:
    """Whether in each draw some negative is above some positive, and some positive above some negative: (draw,)."""
    if not 0 < negatives < len(number):
        return np.zeros(len(weight), dtype=bool)
    ends = []
    for members in (slice(None, negatives), slice(negatives, None)):
        drawn, of_class = weight[:, members] > 0, number[members]
        low = of_class[drawn.argmax(axis=1)]
        high = of_class[len(of_class) - 1 - drawn[:, ::-1].argmax(axis=1)]
        ends.append((low, high, drawn.any(axis=1)))
    (low_negative, high_negative, some_negative), (low_positive, high_positive, some_positive) = ends
    return some_negative & some_positive & (high_negative > low_positive) & (high_positive > low_negative)
