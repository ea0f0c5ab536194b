"""How precise a test part of some size can be, before anything is trained: standard errors and smallest differences."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from midrc_ml.errors import InputError, check_kinds

_STEPS_OF_BISECTION = 60


@dataclass(frozen=True, kw_only=True)
class PowerAssumptions:
    """What has to be assumed before a model exists: the config group `power`.

    auroc, sensitivity, specificity: of the model. power, confidence: of a two-sided test. patient_correlation: of two
    studies of one patient; 1 = a second study tells nothing new. model_correlation: of two models' estimates on the
    same studies; the higher, the smaller a difference is seen.
    """

    auroc: float = 0.8
    sensitivity: float = 0.8
    specificity: float = 0.8
    power: float = 0.8
    confidence: float = 0.95
    patient_correlation: float = 0.5
    model_correlation: float = 0.5

    def __post_init__(self) -> None:
        check_kinds(self, "power")
        ranges = {
            "auroc": (0.5, 1), "sensitivity": (0, 1), "specificity": (0, 1), "power": (0.5, 1), "confidence": (0.5, 1),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low < getattr(self, name) < high:
                raise InputError(f"power.{name} is {getattr(self, name)}; it must lie between {low:g} and {high:g}")
        for name in ("patient_correlation", "model_correlation"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"power.{name} is {getattr(self, name)}; it must be at least 0 and at most 1")

    def reach(self, family: int = 1) -> float:
        """How many standard errors a difference must have to be found with this power, as one of `family` tests.

        Of several it is that of Holm's first step, which all of them may have to pass.
        """
        normal = NormalDist()
        return normal.inv_cdf(1 - (1 - self.confidence) / 2 / family) + normal.inv_cdf(self.power)

    @property
    def two_sided(self) -> float:
        """1.96 for a confidence of 0.95."""
        return NormalDist().inv_cdf((1 + self.confidence) / 2)


def effective_size(studies_of_patients: ArrayLike, correlation: float) -> float:
    """How many independent patients the studies are worth. studies_of_patients: (patient,), how many each has.

    N^2 / (N + correlation (sum of squares - N)): N of uncorrelated studies; at most the number of patients of those
    that are all alike. Source: Kish, Survey Sampling 1965, 5.4 and 8.2.
    """
    count = np.asarray(studies_of_patients, dtype=np.float64)
    total = float(count.sum())
    return total**2 / (total + correlation * (float((count**2).sum()) - total)) if total else 0.0


def auroc_standard_error(auroc: float, num_positive: float, num_negative: float) -> float:
    """Standard error of an AUROC from independent patients; NaN without both classes.

    Source: Hanley and McNeil, Radiology 1982;143:29, with the exponential approximation of Q1 and Q2.
    """
    if num_positive < 1 or num_negative < 1:
        return math.nan
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (num_positive - 1) * (q1 - auroc**2) + (num_negative - 1) * (q2 - auroc**2)
    return math.sqrt(variance / (num_positive * num_negative))


def proportion_standard_error(share: float, size: float) -> float:
    """Standard error of a proportion, drawn to the middle for few patients; NaN of none.

    Source: Agresti and Coull, Am Stat 1998;52:119.
    """
    if size <= 0:
        return math.nan
    near = (share * size + 2) / (size + 4)
    return math.sqrt(near * (1 - near) / (size + 4))


def smallest_difference(standard_error: float, assumptions: PowerAssumptions) -> float:
    """The smallest difference of two models on the same studies that is found; standard_error: of each of them."""
    return assumptions.reach() * standard_error * math.sqrt(2 * (1 - assumptions.model_correlation))


def smallest_gap(
    standard_errors: tuple[Callable[[float], float], Callable[[float], float]],
    value: float,
    floor: float,
    assumptions: PowerAssumptions,
    *,
    family: int = 1,
) -> float:
    """How far below `value` a group must lie for the gap to its reference to be found; NaN = however far, never.

    standard_errors: of the reference and of the group, each a function of its true value; no patient is in both.
    floor: the lowest value that can be, such as 0.5 of an AUROC. family: how many gaps are tested together (Holm).
    """
    of_reference, of_group = standard_errors[0](value), standard_errors[1]

    def lacking(gap: float) -> float:
        return assumptions.reach(family) * math.hypot(of_reference, of_group(value - gap)) - gap

    low, high = 0.0, value - floor
    if not lacking(high) <= 0:  # NaN too
        return math.nan
    for _ in range(_STEPS_OF_BISECTION):
        middle = (low + high) / 2
        low, high = (middle, high) if lacking(middle) > 0 else (low, middle)
    return high
