"""Copies of the result files that may be shared: no count of 1 to 10 people, nor what such a count follows from.

The columns of `groups.json` are partitions of a part, whose size `metrics.json` tells. Of a column the small groups and
the next smallest are hidden (`suppression_cells.py`). An intersection (`sex x race`) is left out whole where one of its
own groups is small, or where a group of one of its columns is hidden: what is shared of it then has no hidden cell, and
tells of none. Where the labels of a group are hidden, so is every metric that is a ratio of counts: from 0.625 follows
5 of 8. How many of a group that is shown the model calls right is no such count, and its metrics are shared.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from midrc_ml.audits.entry import AuditEntry, not_applicable
from midrc_ml.audits.privacy.suppression_cells import (
    LEAST,
    hidden_labels,
    hidden_sizes,
    is_small,
    is_told,
    without_small_counts,
)
from midrc_ml.audits.privacy.suppression_flow import shareable_flow, small_counts
from midrc_ml.evaluation.settings import INTERSECTION

__all__ = ["LEAST", "shareable_flow", "shareable_gaps", "shareable_groups", "shareable_metrics", "small_groups_entry"]

Row = dict[str, Any]
_Place = tuple[str, str]  # part, column
CHECK = "privacy.small_groups"
# Means over studies: the number of positives does not follow from their digits. All others are ratios of counts.
NOT_OF_COUNTS = frozenset(
    {
        *("brier_loss", "log_loss", "expected_calibration_error", "mean_calibration_difference"),
        *("calibration_intercept", "calibration_slope", "threshold"),
    }
)


def hidden_reason(least: int = LEAST) -> str:
    """Of a group whose size is hidden; it does not say which of a column's are the small ones."""
    return f"fewer than {least} studies, or hidden so that a smaller group cannot be recomputed: not shared"


def labels_reason(least: int = LEAST) -> str:
    """Of a group whose labels are hidden."""
    return f"fewer than {least} of one label, or hidden so that such a number cannot be recomputed: not shared"


def shareable_metrics(metrics_rows: Sequence[Mapping[str, Any]], *, least: int = LEAST) -> list[Row]:
    """Rows of `metrics.json`: a part that is small has no number, one with few of a label no number of labels."""
    return [_shared_total(row, least) for row in metrics_rows]


def shareable_groups(
    metrics_rows: Sequence[Mapping[str, Any]],
    groups_rows: Sequence[Mapping[str, Any]],
    *,
    least: int = LEAST,
    num_patients: Mapping[tuple[str, str, str], int] | None = None,
) -> list[Row]:
    """Rows of `groups.json` without those of columns that are left out whole, and without what is hidden.

    metrics_rows: those of `metrics.json`, which are taken to be shared as `shareable_metrics` gives them.
    num_patients: {(part, column, group): patients}, where several studies may be of one patient: fewer than `least` of
    them are hidden as well.
    """
    totals = {row["part"]: row for row in metrics_rows if row["metric"] != "threshold"}
    columns: dict[_Place, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for row in groups_rows:
        columns[row["part"], row["group"]["column"]][row["group"]["value"]] = row
    hidden: dict[_Place, tuple[set[str], set[str]] | None] = {}
    for place in sorted(columns, key=lambda place: INTERSECTION in place[1]):
        few = {
            value for value in columns[place] if is_small((num_patients or {}).get((*place, value)), least)
        }  # fmt: skip
        hidden[place] = _hidden(columns[place], totals.get(place[0]), few, least)
        if INTERSECTION in place[1] and (hidden[place] != (set(), set()) or _is_of_hidden(place, hidden)):
            hidden[place] = None
    shared = []
    for row in groups_rows:
        found = hidden[row["part"], row["group"]["column"]]
        if found is not None:
            value = row["group"]["value"]
            shared.append(_shared(row, hides_size=value in found[0], hides_labels=value in found[1], least=least))
    return shared


def shareable_gaps(
    gaps_rows: Sequence[Mapping[str, Any]], groups_shared: Sequence[Mapping[str, Any]], *, least: int = LEAST
) -> list[Row]:
    """Rows of `gaps.json` but those of a hidden group, or of a metric that is hidden in one of the two groups."""
    shown = {(row["part"], row["group"]["column"], row["group"]["value"]): row for row in groups_shared}
    shared = []
    for row in gaps_rows:
        groups = [
            shown.get((row["part"], row["column"], name))
            for name in (row["group"], row["reference"])
            if name is not None
        ]
        if any(group is None or group["n"] is None for group in groups):
            continue
        has_labels = all(group is not None and group["reason"] != labels_reason(least) for group in groups)
        if not (row["metric"] in NOT_OF_COUNTS or has_labels):
            continue
        few = is_small(row.get("num_patients"), least)
        shared.append({**_worded(row, least)} | ({"num_patients": None} if few else {}))
    return shared


def small_groups_entry(
    groups_rows: Sequence[Mapping[str, Any]],
    groups_shared: Sequence[Mapping[str, Any]],
    *,
    gaps_rows: Sequence[Mapping[str, Any]] = (),
    gaps_shared: Sequence[Mapping[str, Any]] = (),
    flow_shared: Mapping[str, Any] | None = None,
    least: int = LEAST,
) -> AuditEntry:
    """`privacy.small_groups`: how many groups are small, and whether what is to be shared still tells of one."""
    if not groups_rows and flow_shared is None:
        return not_applicable(CHECK, "there are no groups")
    sizes = {(row["part"], row["group"]["column"], row["group"]["value"]): row["n"] for row in groups_rows}
    small = {key for key, size in sizes.items() if is_small(size, least)}
    shown = {
        (row["part"], row["group"]["column"], row["group"]["value"]) for row in groups_shared if row["n"] is not None
    }
    left_out = {key[:2] for key in sizes} - {(row["part"], row["group"]["column"]) for row in groups_shared}
    told = sum(_tells(row, least) for row in (*groups_shared, *gaps_shared)) + len(small_counts(flow_shared, least))
    parts = sorted({key[0] for key in sizes})
    evidence = (
        f"{len(small)} of {len(sizes)} groups have fewer than {least} studies; what is meant for sharing hides "
        f"{len(sizes) - len(shown)} groups, {len(left_out)} columns or intersections whole, and "
        f"{len(gaps_rows) - len(gaps_shared)} of {len(gaps_rows)} gaps"
    )
    if told:
        evidence += f"; but {told} of its numbers are counts of fewer than {least}"
    return AuditEntry(
        check=CHECK,
        status="fail" if told else "pass",
        value=float(len(small)),
        evidence=evidence,
        what_to_do="do not share these copies" if told else "share these copies, not the files of the run's folder",
        details=[
            {
                "part": part,
                "groups": sum(key[0] == part for key in sizes),
                "small": sum(key[0] == part for key in small),
                "hidden": sum(key[0] == part for key in sizes) - sum(key[0] == part for key in shown),
            }
            for part in parts
        ],
    )


def _hidden(
    groups: Mapping[str, Mapping[str, Any]], total: Mapping[str, Any] | None, few: set[str], least: int
) -> tuple[set[str], set[str]] | None:
    """The groups whose size, and those whose labels are hidden; None = the column cannot be shared."""
    sizes = {value: int(row["n"]) for value, row in groups.items()}
    size = sum(sizes.values())
    if total is not None and is_small(total["n"], least):
        return None
    # A group of few patients counts as a small one.
    hidden = hidden_sizes({value: 1 if value in few else n for value, n in sizes.items()}, least)
    if hidden and (len(hidden) < 2 or not least <= sum(sizes[value] for value in hidden) > len(hidden)):
        return None
    labels = {value: _labels(row["n_positive"]) for value, row in groups.items()}
    if all(not of_group for of_group in labels.values()):
        return hidden, set(hidden)
    of_all = _labels(total["n_positive"]) if total is not None else _summed(labels.values())
    if is_told(int(total["n"]) if total is not None else size, of_all, least):
        return hidden, set(groups)
    return hidden, hidden_labels(sizes, labels, hidden, least)


def _is_of_hidden(place: _Place, hidden: Mapping[_Place, tuple[set[str], set[str]] | None]) -> bool:
    """Whether a column of an intersection has something hidden, which its groups would add up to."""
    margins = [hidden.get((place[0], name), (set(), set())) for name in place[1].split(INTERSECTION)]
    return any(found is None or found[0] or found[1] for found in margins)


def _labels(n_positive: Any) -> dict[str, int]:
    if isinstance(n_positive, Mapping):
        return {str(name): int(count) for name, count in n_positive.items()}
    return {} if n_positive is None else {"positive": int(n_positive)}


def _summed(labels: Iterable[Mapping[str, int]]) -> dict[str, int]:
    together: dict[str, int] = defaultdict(int)
    for of_group in labels:
        for name, count in of_group.items():
            together[name] += count
    return dict(together)


def _shared_total(row: Mapping[str, Any], least: int) -> Row:
    labels = _labels(row["n_positive"])
    hides_size = is_small(row["n"], least)
    hides_labels = hides_size or (row["n"] is not None and is_told(int(row["n"]), labels, least))
    return _shared(row, hides_size=hides_size, hides_labels=hides_labels, least=least)


def _shared(row: Mapping[str, Any], *, hides_size: bool, hides_labels: bool, least: int) -> Row:
    if hides_size:
        nothing = dict.fromkeys(("value", "low", "high", "n", "n_positive", "method"))
        return {**row, **nothing, "reason": hidden_reason(least)}
    if not hides_labels or row["n_positive"] is None:
        return _worded(row, least)
    if row["metric"] in NOT_OF_COUNTS:
        return _worded(row, least) | {"n_positive": None, "reason": labels_reason(least)}
    return {**row, **dict.fromkeys(("value", "low", "high", "n_positive", "method")), "reason": labels_reason(least)}


def _worded(row: Mapping[str, Any], least: int) -> Row:
    """The row, whose reason tells no small count: "it rests on 3 patients"."""
    reason = row["reason"]
    return {**row, "reason": None if reason is None else without_small_counts(reason, least)}


def _tells(row: Mapping[str, Any], least: int) -> bool:
    counts = [row.get(name) for name in ("n", "n_reference", "num_patients")]
    labels = _labels(row.get("n_positive"))
    return any(is_small(count, least) for count in counts) or (
        row.get("n") is not None and bool(labels) and is_told(int(row["n"]), labels, least)
    )
