"""Power first: which differences and gaps the test part of a split could ever show, and for which groups none."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.evaluation.groups import GroupColumn, group_columns
from midrc_ml.evaluation.intervals import LEAST_PATIENTS
from midrc_ml.evaluation.power import (
    PowerAssumptions,
    auroc_standard_error,
    effective_size,
    proportion_standard_error,
    smallest_difference,
    smallest_gap,
)
from midrc_ml.evaluation.settings import Fairness

_CHANCE = 0.5
_RANKED = {"binary": "auroc", "time_to_event": "concordance_index", "multiclass": "auroc"}
Plan = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True)
class _Size:
    """What some studies are worth, in independent patients. few: whole patients of the rarer class."""

    patients: float
    positive: float
    negative: float
    few: int


def power_plan(
    test: pd.DataFrame, *, kind: str, classes: Sequence[str], fairness: Fairness, assumptions: PowerAssumptions
) -> Plan:
    """The precision of the test part as a whole, and of each group the smallest gap to its reference that is found.

    test: its studies with patient_id, label and group columns. In a multiclass task the rarest class is taken against
    the rest; in a time_to_event task those with an event against those without. Of ordinal and regression tasks it is
    the mean error that is judged, in standard deviations of the error. None = cannot be known, or never.

    Raises:
        InputError: group columns that the studies do not have.
    """
    positive, rarest = _positive(test, kind, classes)
    ranked = kind in _RANKED
    patient = pd.factorize(test["patient_id"])[0]
    correlation = assumptions.patient_correlation
    everyone = _size(patient, positive, np.ones(len(test), dtype=bool), ranked, correlation)
    error = _standard_error(everyone, kind)
    value = assumptions.auroc if ranked else 0.0
    overall: Plan = {
        "metric": _RANKED.get(kind, "mean error, in SD of the error"),
        "rarest_class": rarest,
        "n": len(test),
        "n_patients": int(test["patient_id"].nunique()),
        "effective_positive": everyone.positive if ranked else None,
        "effective_patients": everyone.patients,
        "half_width": _known(assumptions.two_sided * error(value)),
        "smallest_difference": _known(smallest_difference(error(value), assumptions)),
    }
    for name, size in (("sensitivity", everyone.positive), ("specificity", everyone.negative)):
        if kind == "binary":
            spread = proportion_standard_error(getattr(assumptions, name), size)
            overall[f"{name}_half_width"] = _known(assumptions.two_sided * spread)
            overall[f"{name}_smallest_difference"] = _known(smallest_difference(spread, assumptions))
    columns = group_columns(test.assign(y_true=test["label"]), fairness)
    family = sum(int(column.valid.sum()) - 1 for column in columns if column.reference is not None)
    groups = [
        row
        for column in columns
        for row in _of_column(
            column,
            [_size(patient, positive, column.codes == code, ranked, correlation) for code in range(len(column.values))],
            partial(_judged, kind=kind, family=max(1, family), fairness=fairness, assumptions=assumptions),
        )
    ]
    return {"assumptions": vars(assumptions).copy(), "family": family, "overall": overall, "groups": groups}


def _positive(test: pd.DataFrame, kind: str, classes: Sequence[str]) -> tuple[NDArray[np.bool_], str | None]:
    """(study,), who counts as positive; of a multiclass task also the name of the rarest class."""
    label = test["label"].to_numpy()
    if kind != "multiclass":
        return label == 1, None
    counts = np.array([(label == place).sum() for place in range(len(classes))])
    rarest = int(np.argmin(counts))
    return label == rarest, classes[rarest]


def _size(
    patient: NDArray[np.int64],
    positive: NDArray[np.bool_],
    members: NDArray[np.bool_],
    ranked: bool,
    correlation: float,
) -> _Size:
    counts = [np.unique(patient[members & some], return_counts=True)[1] for some in (positive, ~positive, True)]
    few = min(len(counts[0]), len(counts[1])) if ranked else len(counts[2])
    of_positive, of_negative, of_all = (effective_size(count, correlation) for count in counts)
    return _Size(of_all, of_positive, of_negative, few)


def _standard_error(size: _Size, kind: str) -> Callable[[float], float]:
    """Of the headline metric, as a function of its true value."""
    if kind in _RANKED:
        return partial(auroc_standard_error, num_positive=size.positive, num_negative=size.negative)
    error = 1 / math.sqrt(size.patients) if size.patients else math.nan
    return lambda _value: error


def _of_column(column: GroupColumn, sizes: Sequence[_Size], judged: Callable[..., Row]) -> list[Row]:
    if column.too_many is not None:
        why = f"{column.too_many} values, too many to be groups"
        return [{"column": column.name, "group": None, "n": None, "never": why}]
    reference = None if column.reference is None else sizes[column.reference]
    named = None if column.reference is None else column.values[column.reference]
    rows = []
    for code, (name, size) in enumerate(zip(column.values, sizes, strict=True)):
        is_reference = code == column.reference
        found = judged(size, None if is_reference else reference, int(column.sizes[code]), bool(column.valid[code]))
        of_whom = {"column": column.name, "group": name, "reference": None if is_reference else named}
        rows.append(of_whom | {"n": int(column.sizes[code])} | found)
    return rows


def _judged(
    size: _Size,
    reference: _Size | None,
    num_studies: int,
    valid: bool,
    *,
    kind: str,
    family: int,
    fairness: Fairness,
    assumptions: PowerAssumptions,
) -> Row:
    """What can be said of a group: its own interval, and the gap to the reference; None = it is that itself."""
    ranked = kind in _RANKED
    value, floor = (assumptions.auroc, _CHANCE) if ranked else (0.0, -math.inf)
    error = _standard_error(size, kind)
    row: Row = {
        "effective_patients": size.patients,
        "effective_positive": size.positive if ranked else None,
        "half_width": _known(assumptions.two_sided * error(value)),
    }
    if num_studies < fairness.min_group_size:
        return row | {"half_width": None, "never": f"{num_studies} studies, fewer than {fairness.min_group_size}"}
    if size.few < LEAST_PATIENTS:
        who = "patients of the rarer class" if ranked else "patients"
        return row | {"half_width": None, "never": f"{size.few} {who}, fewer than {LEAST_PATIENTS}: no interval"}
    if not valid:
        return row | {"never": "not reported: no gap is asked of it"}
    if reference is None:
        return row | {"never": None}
    if not ranked:
        spread = math.hypot(error(0), _standard_error(reference, kind)(0))
        gaps = [assumptions.reach(count) * spread for count in (1, family)]
    else:
        both = (_standard_error(reference, kind), error)
        gaps = [smallest_gap(both, value, floor, assumptions, family=count) for count in (1, family)]
    row |= {"smallest_gap": _known(gaps[0]), "smallest_gap_holm": _known(gaps[1])}
    if kind == "binary":
        of_reference, of_group = (partial(proportion_standard_error, size=one.positive) for one in (reference, size))
        gap = smallest_gap((of_reference, of_group), assumptions.sensitivity, 0.0, assumptions)
        row["smallest_sensitivity_gap"] = _known(gap)
    why = "a gap to the reference is missed even where the model is no better than chance in this group"
    return row | {"never": why if math.isnan(gaps[0]) else None}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
