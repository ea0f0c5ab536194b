"""How far the people of a cohort are from a reference population, by the Jensen-Shannon distance to base 2.

0 = the same shares, 1 = no category in common; the square root of the divergence, as in MIDRC-REACT.
Source: Lin, IEEE Trans Inf Theory 1991;37:145; Endres and Schindelin, IEEE Trans Inf Theory 2003;49:1858.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from midrc_ml.cohorts.selection import AGE_BAND_STARTS, NOT_REPORTED
from midrc_ml.errors import InputError
from midrc_ml.evaluation.reference_population import ReferencePopulation, known_name, least_age

Row = dict[str, Any]


def jensen_shannon_distance(first: ArrayLike, second: ArrayLike) -> float:
    """The distance of two distributions (category,), to base 2; both are made to add up to 1. NaN where one is empty.

    Raises:
        InputError: negative or missing numbers, or arrays of different lengths.
    """
    both = [np.asarray(values, dtype=np.float64) for values in (first, second)]
    if both[0].shape != both[1].shape or both[0].ndim != 1:
        raise InputError(
            f"the distributions have shapes {both[0].shape} and {both[1].shape}; they must be equally long"
        )
    if any((~np.isfinite(values) | (values < 0)).any() for values in both):
        raise InputError("the distributions hold negative or missing numbers; they must be counts or shares")
    if any(values.sum() <= 0 for values in both):
        return math.nan
    shares = [values / values.sum() for values in both]
    middle = (shares[0] + shares[1]) / 2
    divergence = 0.0
    for share in shares:
        held = share > 0
        divergence += float((share[held] * np.log2(share[held] / middle[held])).sum()) / 2
    return math.sqrt(min(1.0, max(0.0, divergence)))


def distance_limits(
    distance: float, num_patients: int, num_categories: int, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of the distance of a cohort, a sample of `num_patients`, from a population that is known exactly.

    8 n ln(2) times the squared distance is, near the reference, a noncentral chi-square of one degree of freedom less
    than categories; its noncentrality is inverted. So 0 is in the interval where sampling alone could explain the
    distance. Coverage is simulated in `tests/evaluation/test_representativeness.py`.
    """
    from scipy.special import chdtrc, chndtrinc

    scale, degrees, tail = 8 * math.log(2) * num_patients, num_categories - 1, (1 - confidence) / 2
    statistic = scale * distance**2
    below = 1 - float(chdtrc(degrees, statistic))
    low, high = (0.0 if below <= share else float(chndtrinc(statistic, degrees, share)) for share in (1 - tail, tail))
    return math.sqrt(low / scale), min(1.0, math.sqrt(high / scale))


def distance_by_chance(num_patients: int, num_categories: int) -> float:
    """The distance (root of the mean of its square) that a sample of the reference population itself would have."""
    return math.sqrt((num_categories - 1) / (8 * math.log(2) * num_patients))


def representativeness_rows(
    rows: pd.DataFrame, reference: ReferencePopulation, *, confidence: float = 0.95
) -> list[Row]:
    """A row for each attribute of the reference: the distance, its interval, and both shares of every category.

    rows: studies with patient_id, sex, age_band, race and ethnicity; each patient counts once, with what is reported in
    any of his or her studies (of several age bands the youngest). People whose value is
    not reported are left out on both sides and counted. Age bands are joined until both sides have the same bounds.
    """
    rows = rows.reset_index(drop=True)
    patients = rows["patient_id"].drop_duplicates()
    found = []
    for column, shares in reference.shares.items():
        of_studies = _values(rows, column)
        # Of several the first in alphabetical order, so that the order of the rows changes nothing.
        reported = of_studies[of_studies != NOT_REPORTED].groupby(rows["patient_id"]).min()
        values = reported.reindex(patients).fillna(NOT_REPORTED)
        known = values[values != NOT_REPORTED]
        counts: Mapping[str, float] = known.map(known_name).value_counts().to_dict()
        expected = dict(shares)
        if column == "age_band":
            counts, expected = _same_bands(counts, expected)
        names = sorted(
            set(counts) | set(expected), key=lambda name: (least_age(name) if column == "age_band" else 0, name)
        )
        both = [np.array([side.get(name, 0.0) for name in names], dtype=np.float64) for side in (counts, expected)]
        distance = jensen_shannon_distance(*both) if len(known) else math.nan
        reason = "nobody's value is reported"
        if len(known) and len(names) < 2:
            distance, reason = math.nan, "the bands of both sides have no bound in common: one is left, of all ages"
        elif len(known) and not (both[0] * both[1]).any():
            distance, reason = math.nan, "no category is in both: are they named alike?"
        row: Row = {
            "attribute": column,
            "reference": reference.name,
            "value": None,
            "low": None,
            "high": None,
            "by_chance": None,
            "n_patients": len(known),
            "n_not_reported": len(patients) - len(known),
            "categories": [
                {"category": name, "share": count / max(1, len(known)), "share_of_reference": share}
                for name, count, share in zip(names, *both, strict=True)
            ],
            "reason": reason,
        }
        if not math.isnan(distance):
            low, high = distance_limits(distance, len(known), len(names), confidence)
            by_chance = distance_by_chance(len(known), len(names))
            row |= {"value": distance, "low": low, "high": high, "by_chance": by_chance, "reason": None}
        found.append(row)
    return found


def _values(patients: pd.DataFrame, column: str) -> pd.Series:
    if column != "race and ethnicity":
        return patients[column].astype(object).fillna(NOT_REPORTED).astype(str)
    race, ethnicity = _values(patients, "race"), _values(patients, "ethnicity")
    not_hispanic = race.where(race == NOT_REPORTED, race + ", Not Hispanic or Latino")
    is_known = ethnicity.isin(["Hispanic or Latino", "Not Hispanic or Latino"])
    return not_hispanic.mask(ethnicity == "Hispanic or Latino", ethnicity).where(is_known, NOT_REPORTED)


def _same_bands(counts: Mapping[str, float], shares: Mapping[str, float]) -> list[dict[str, float]]:
    """Both by the age bands that can be told from both sides' bands."""
    cuts = sorted({0.0} | ({float(start) for start in AGE_BAND_STARTS} & {least_age(name) for name in shares}))
    ends = [f"-{int(cut) - 1}" for cut in cuts[1:]] + ["+"]
    joined: list[dict[str, float]] = []
    for side in (counts, shares):
        held = dict.fromkeys((f"{int(cut)}{end}" for cut, end in zip(cuts, ends, strict=True)), 0.0)
        for name, number in side.items():
            place = int(np.searchsorted(cuts, least_age(name), side="right")) - 1
            held[f"{int(cuts[place])}{ends[place]}"] += number
        joined.append(held)
    return joined
