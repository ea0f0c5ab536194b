"""Gaps between groups: to the reference, to the best group, of the worst group, and MIDRC-MELODY's differences.

All of them are of the same draws, so that a gap is paired. Definitions of EOD and AAOD: Hardt et al., NeurIPS 2016;
Bellamy et al., IBM J Res Dev 2019;63:4, as in MIDRC-MELODY (`equal_opportunity_difference`: of sensitivity;
`average_absolute_odds_difference`: the mean of the absolute differences of sensitivity and of 1 - specificity).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midrc_ml.evaluation.groups import GroupColumn
from midrc_ml.evaluation.intervals import (
    Interval,
    distance_interval,
    extreme_interval,
    percentile_interval,
    two_sided_p_value,
    why_no_interval,
)
from midrc_ml.evaluation.multiplicity import holm
from midrc_ml.evaluation.weighted import Array

Row = dict[str, Any]
NO_DIFFERENCE = "a distance from 0, whose draws lie above its value: no difference of such is centred"
EOD, AAOD = "equal_opportunity_difference", "average_absolute_odds_difference"


@dataclass(frozen=True)
class Scored:
    """One metric of the groups of one column. values: (group,); drawn: (draw, group); NaN = not estimable.

    lower_is_better: None = neither is, as of a calibration slope; no group is then the best or the worst.
    num_patients: (group,), that the metric rests on. is_distance: it is one from 0, the larger the fewer there are: its
    gaps have no interval, and no group is called the worst. at_edge: (group,), a share of 0 or 1 (`edge_shares.py`).
    """

    values: Array
    drawn: Array
    lower_is_better: bool | None
    num_patients: NDArray[np.int64]
    is_distance: bool = False
    at_edge: NDArray[np.bool_] | None = None

    def named(self, found: Interval, groups: Any) -> Interval:
        """The interval, whose method says so where the draws of one of these groups are not of the bootstrap."""
        if found.method is None or self.at_edge is None or not self.at_edge[groups].any():
            return found
        return replace(found, method=f"{found.method}, of a share of 0 or 1 Jeffreys' draws")


@dataclass(frozen=True)
class _Judged:
    """A column and what its gaps are made of."""

    column: GroupColumn
    confidence: float

    def gaps_of(self, metric: str, scored: Scored) -> Iterator[Row]:
        known = np.flatnonzero(self.column.valid & ~np.isnan(scored.values))
        reference = self.column.reference
        for group in known:
            if reference is not None and group != reference and reference in known:
                yield self._difference("gap_to_reference", metric, scored, int(group), reference)
        if scored.lower_is_better is not None and not scored.is_distance:
            sure = [group for group in known if self._why_unsure(scored, int(group)) is None]
            yield from self._extremes(metric, scored, np.array(sure, dtype=np.int64))

    def _extremes(self, metric: str, scored: Scored, known: NDArray[np.int64]) -> Iterator[Row]:
        """Gaps to the best group, the worst, and the largest gap, of the groups that have an interval of their own."""
        if len(known) < 2:
            return
        good = -scored.values if scored.lower_is_better else scored.values
        best, worst = (int(known[place(good[known])]) for place in (np.argmax, np.argmin))
        smaller = np.max if scored.lower_is_better else np.min
        few = int(scored.num_patients[known].min())
        among = f"among {len(known)} of {len(self.column.values)} groups"
        for group in known:
            others = known[known != group]
            # To be nearest the best is to have the least favourable of the differences to all others.
            differences = scored.values[group] - scored.values[others]
            drawn = scored.drawn[:, [group]] - scored.drawn[:, others]
            if group != best:
                found = extreme_interval(differences, drawn, self.confidence, num_patients=few, extreme=smaller)
                found = scored.named(_not_beyond_the_best(found, bool(scored.lower_is_better)), known)
                found = _among(found, among)
                yield self._row("gap_to_best", metric, int(group), best, float(smaller(differences)), found)
        found = extreme_interval(
            scored.values[known], scored.drawn[:, known], self.confidence, num_patients=few, extreme=smaller
        )
        yield self._row(
            "worst_group", metric, worst, None, float(scored.values[worst]), _among(scored.named(found, known), among)
        )
        first, second = (known[places] for places in np.triu_indices(len(known), 1))
        found = distance_interval(
            scored.values[first] - scored.values[second],
            scored.drawn[:, first] - scored.drawn[:, second],
            self.confidence,
            num_patients=few,
        )
        value = float(abs(scored.values[best] - scored.values[worst]))
        yield self._row("largest_gap", metric, worst, best, value, _among(scored.named(found, known), among))

    def odds(self, sensitivity: Scored, specificity: Scored) -> Iterator[Row]:
        reference = self.column.reference
        if reference is None:
            return
        for group in np.flatnonzero(self.column.valid).tolist():
            if group == reference:
                continue
            yield self._difference(EOD, "sensitivity", sensitivity, group, reference)
            true, false = (
                (scored.values[group] - scored.values[reference], scored.drawn[:, group] - scored.drawn[:, reference])
                for scored in (sensitivity, specificity)
            )
            # |a| + |b| is the larger of |a + b| and |a - b|.
            values = np.array([true[0] + false[0], true[0] - false[0]]) / 2
            drawn = np.stack([true[1] + false[1], true[1] - false[1]], axis=1) / 2
            few = min(int(scored.num_patients[[group, reference]].min()) for scored in (sensitivity, specificity))
            value = (abs(true[0]) + abs(false[0])) / 2
            reason = self._why_not(sensitivity, group, reference) or self._why_not(specificity, group, reference)
            if math.isnan(value):
                found = Interval(None, None, "a group without positives or without negatives")
            elif reason:
                found = Interval(None, None, reason)
            else:
                found = distance_interval(values, drawn, self.confidence, num_patients=few)
                found = specificity.named(sensitivity.named(found, [group, reference]), [group, reference])
            yield self._row(AAOD, "sensitivity and specificity", group, reference, float(value), found)

    def _difference(self, quantity: str, metric: str, scored: Scored, group: int, reference: int) -> Row:
        value = float(scored.values[group] - scored.values[reference])
        drawn = scored.drawn[:, group] - scored.drawn[:, reference]
        few = int(scored.num_patients[[group, reference]].min())
        reason = NO_DIFFERENCE if scored.is_distance else self._why_not(scored, group, reference)
        if math.isnan(value):
            found = Interval(None, None, f"{metric} of one of the groups is not estimable")
        elif reason:
            found = Interval(None, None, reason)
        else:
            found = scored.named(percentile_interval(drawn, self.confidence, num_patients=few), [group, reference])
        p_value = two_sided_p_value(drawn, num_patients=few) if found.low is not None else math.nan
        row = self._row(quantity, metric, group, reference, value, found, p_value)
        return row | {"num_patients": few}

    def _why_unsure(self, scored: Scored, group: int) -> str | None:
        return why_no_interval(scored.drawn[:, group], int(scored.num_patients[group]))

    def _why_not(self, scored: Scored, *groups: int) -> str | None:
        """Why there is no interval of a difference of these groups: one of them hides what it is unsure of."""
        for group in groups:
            reason = self._why_unsure(scored, group)
            if reason:
                return f"{self.column.values[group]}: {reason}"
        return None

    def _row(
        self,
        quantity: str,
        metric: str,
        group: int,
        reference: int | None,
        value: float,
        found: Interval,
        p_value: float = math.nan,
    ) -> Row:
        return {
            "column": self.column.name,
            "quantity": quantity,
            "metric": metric,
            "group": self.column.values[group],
            "reference": None if reference is None else self.column.values[reference],
            "value": None if math.isnan(value) else value,
            "low": found.low,
            "high": found.high,
            "p_value": None if math.isnan(p_value) else p_value,
            "p_holm": None,
            "n": int(self.column.sizes[group]),
            "n_reference": None if reference is None else int(self.column.sizes[reference]),
            "num_patients": None,  # that a gap to the reference rests on
            "method": found.method,
            "reason": found.reason,
        }


def _among(found: Interval, words: str) -> Interval:
    return replace(found, method=f"{found.method}, {words}") if found.method else found


def _not_beyond_the_best(found: Interval, lower_is_better: bool) -> Interval:
    """A gap to the best group has one sign: the group itself may be the best, and none is better than that."""
    if found.low is None or found.high is None:
        return found
    low, high = (
        (max(0.0, found.low), max(0.0, found.high)) if lower_is_better else (min(0.0, found.low), min(0.0, found.high))
    )
    return replace(found, low=low, high=high)


def gap_rows(
    column: GroupColumn,
    scored: Mapping[str, Scored],
    *,
    confidence: float,
    odds: tuple[Scored, Scored] | None = None,
) -> list[Row]:
    """The gaps of each metric between the groups of one column. odds: sensitivity and specificity, for EOD and AAOD.

    Only groups that are reported and large enough have gaps.
    """
    judged = _Judged(column, confidence)
    rows = [row for name, one in scored.items() for row in judged.gaps_of(name, one)]
    return [*rows, *(judged.odds(*odds) if odds is not None else ())]


def with_holm(rows: list[Row]) -> list[Row]:
    """The rows with `p_holm`: of each quantity and metric, over all groups of all columns together."""
    families: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows):
        if row["p_value"] is not None:
            families.setdefault((row["quantity"], row["metric"]), []).append(place)
    result = [dict(row) for row in rows]
    for places in families.values():
        adjusted = holm(np.array([rows[place]["p_value"] for place in places]))
        for place, value in zip(places, adjusted, strict=True):
            result[place]["p_holm"] = float(value)
    return result
