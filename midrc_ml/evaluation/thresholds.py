"""The threshold of a decision: a study is called positive where its score is at least the threshold.

A rule is one of `youden`, a number, `{sensitivity: 0.9}`, `{specificity: 0.9}`, `{net_benefit: 0.2}` and
`{cost: {false_negative: 5, false_positive: 1}}`. Candidates are the scores that occur and, except for `youden`, a
number just above the highest of them, which calls no study. Of candidates that are equally good the highest is taken,
which calls the fewest studies; for a specificity the lowest that reaches it is asked for, and there is only one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from midrc_ml.errors import InputError
from midrc_ml.evaluation.ranks import zero_or_one
from midrc_ml.evaluation.weighted import Array

_SHARES = ("sensitivity", "specificity", "net_benefit")
_COSTS = ("false_negative", "false_positive")
_ROUNDING = 1e-12  # of the number of studies: what is nearer than this to the best is as good as it
_ALLOWED = (
    "it must be youden, a number, {sensitivity: 0.9}, {specificity: 0.9}, {net_benefit: 0.2} "
    "or {cost: {false_negative: 5, false_positive: 1}}"
)


@dataclass(frozen=True)
class ThresholdRule:
    """A checked rule; `numbers` is the number given, the share asked for, or the costs of both mistakes."""

    name: Literal["youden", "number", "sensitivity", "specificity", "net_benefit", "cost"]
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        """The rule in words, for reports."""
        given = [f"{number:.12g}" for number in self.numbers]
        if self.name == "number":
            return given[0]
        if self.name == "cost":
            return f"least cost, {given[0]} a false negative and {given[1]} a false positive"
        if self.name == "net_benefit":
            return f"highest net benefit at {given[0]}"
        return f"{self.name} of at least {given[0]}" if given else self.name


def check_rule(rule: Any) -> ThresholdRule:
    """The checked rule of the setting `evaluation.threshold`.

    Raises:
        InputError: an unknown rule, a share that is not between 0 and 1, a cost that is not above 0.
    """
    if isinstance(rule, ThresholdRule):
        return rule
    if isinstance(rule, str) and rule == "youden":
        return ThresholdRule("youden")
    if _is_number(rule):
        return ThresholdRule("number", (float(rule),))
    if not isinstance(rule, Mapping) or len(rule) != 1:
        raise InputError(f"evaluation.threshold is {rule!r}; {_ALLOWED}")
    name, value = next(iter(rule.items()))
    if name in _SHARES:
        if not _is_number(value) or not 0 < value < 1:
            raise InputError(f"evaluation.threshold.{name} is {value!r}; it must be a number above 0 and below 1")
        return ThresholdRule(name, (float(value),))
    if name != "cost":
        raise InputError(f"evaluation.threshold has {name!r}; {_ALLOWED}")
    if not isinstance(value, Mapping) or set(value) != set(_COSTS):
        raise InputError(f"evaluation.threshold.cost is {value!r}; give {' and '.join(_COSTS)}, each a number above 0")
    for mistake in _COSTS:
        if not _is_number(value[mistake]) or value[mistake] <= 0:
            raise InputError(f"evaluation.threshold.cost.{mistake} is {value[mistake]!r}; it must be a number above 0")
    return ThresholdRule("cost", tuple(float(value[mistake]) for mistake in _COSTS))


def rule_text(rule: Any) -> str:
    """The rule in words, for reports.

    Raises:
        InputError: as `check_rule`.
    """
    return str(check_rule(rule))


def choose_threshold(rule: Any, y_true: ArrayLike, y_score: ArrayLike) -> float:
    """The threshold that `rule` chooses on these studies; NaN where one class is absent, unless it is a given number.

    y_true, y_score: (study,). `sensitivity`: the highest threshold that reaches at least this share. `specificity`:
    the lowest that does. `net_benefit`: where the net benefit at this threshold probability is highest (Vickers and
    Elkin, Med Decis Making 2006;26:565). `cost`: where the mean cost of mistakes is lowest.

    Raises:
        InputError: as `check_rule`.
        ValueError: y_true is not 0 or 1, or a number is not finite.
    """
    checked = check_rule(rule)
    if checked.name == "number":
        return checked.numbers[0]
    if checked.name == "youden":
        return youden_threshold(y_true, y_score)
    found = _candidates(y_true, y_score)
    if not found.num_positive or not found.num_negative:
        return math.nan
    true, false = found.true_positive, found.false_positive
    if checked.name == "sensitivity":
        place = int(np.argmax(true / found.num_positive >= checked.numbers[0]))
    elif checked.name == "specificity":
        reached = (found.num_negative - false) / found.num_negative >= checked.numbers[0]
        place = int(np.flatnonzero(reached)[-1])
    elif checked.name == "net_benefit":
        probability = checked.numbers[0]
        place = _first_of_the_best(true - false * (probability / (1 - probability)))
    else:
        missed, called = np.asarray(checked.numbers) / max(checked.numbers)
        place = _first_of_the_best(-(missed * (found.num_positive - true) + called * false))
    return float(found.threshold[place])


def youden_threshold(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """The score at which sensitivity + specificity is highest; NaN where one class is absent.

    Among equal thresholds the highest is taken. Source: Youden, Cancer 1950;3:32.

    Raises:
        ValueError: y_true is not 0 or 1, or a number is not finite.
    """
    found = _candidates(y_true, y_score)
    if not found.num_positive or not found.num_negative:
        return math.nan
    # Sensitivity + specificity - 1, times both numbers of studies: whole numbers, in which ties are exact.
    gain = found.true_positive * found.num_negative - found.false_positive * found.num_positive
    return float(found.threshold[1 + int(np.argmax(gain[1:]))])


@dataclass(frozen=True)
class _Candidates:
    """Thresholds from the highest on, and how many positives and negatives each calls; the first calls none."""

    threshold: Array
    true_positive: NDArray[np.int64]
    false_positive: NDArray[np.int64]

    @property
    def num_positive(self) -> int:
        return int(self.true_positive[-1])

    @property
    def num_negative(self) -> int:
        return int(self.false_positive[-1])


def _candidates(y_true: ArrayLike, y_score: ArrayLike) -> _Candidates:
    truth, score = zero_or_one(y_true, y_score)
    if not np.isfinite(score).all():
        raise ValueError("y_score must be finite to choose a threshold")
    values, place = np.unique(score, return_inverse=True)
    positive = np.bincount(place[truth == 1], minlength=len(values))
    negative = np.bincount(place[truth == 0], minlength=len(values))
    above = np.nextafter(values[-1:], np.inf) if len(values) else np.array([np.inf])
    called = (np.concatenate([[0], np.cumsum(counts[::-1])]).astype(np.int64) for counts in (positive, negative))
    return _Candidates(np.concatenate([above, values[::-1]]), *called)


def _first_of_the_best(gain: Array) -> int:
    """The first place whose gain is the highest, to within rounding."""
    return int(np.argmax(gain >= gain.max() - _ROUNDING * max(1.0, float(np.abs(gain).max()))))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
