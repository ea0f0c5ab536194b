"""What a test part of this size could ever show, before anything is trained."""

import math

Z_95, Z_80 = 1.959964, 0.841621  # two-sided 5 %, and 80 % power
TYPICAL_AUROC = 0.80


def auroc_standard_error(auroc: float, num_positive: int, num_negative: int) -> float:
    """Standard error of an AUROC from independent patients; NaN without both classes.

    Source: Hanley and McNeil, Radiology 1982;143:29, with the exponential approximation of Q1 and Q2.
    """
    if num_positive < 1 or num_negative < 1:
        return math.nan
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (num_positive - 1) * (q1 - auroc**2) + (num_negative - 1) * (q2 - auroc**2)
    return math.sqrt(variance / (num_positive * num_negative))


def smallest_gap(first: tuple[int, int], second: tuple[int, int], *, auroc: float = TYPICAL_AUROC) -> float:
    """The smallest difference of two groups' AUROC that is found with 80 % power at a two-sided 5 %.

    first, second: (positive, negative) patients of each group, no patient in both.
    """
    errors = [auroc_standard_error(auroc, *counts) for counts in (first, second)]
    return (Z_95 + Z_80) * math.hypot(*errors)


def half_width(auroc: float, num_positive: int, num_negative: int) -> float:
    """Half the width of the 95 % interval of an AUROC."""
    return Z_95 * auroc_standard_error(auroc, num_positive, num_negative)
