"""Whether a gap between groups closes because the worse off gain, or only because the better off lose.

Levelling down: the gap is smaller, and the group that was worst off has not gained. Source: Mittelstadt et al., The
unfairness of fair machine learning, 2023; Zhang et al., CHIL 2022 (chest radiographs).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from midrc_ml.evaluation.groups import GroupColumn
from midrc_ml.evaluation.metrics import is_better_low

Row = dict[str, Any]


def levelling_rows(columns: Sequence[GroupColumn], differences: Sequence[Row]) -> list[Row]:
    """A row for each column and metric of one pair of models: the largest gap under both, who gains and who loses.

    differences: of one pair by group, rows with `group`, `metric`, `value`, `value_reference`, `low` and `high`. Only
    groups that are reported, large enough and have a value under both count; a column of fewer than two has no row, nor
    has a metric of which neither a high nor a low value is the good one.
    harmed, helped: the groups whose interval of the difference lies wholly on the worse, or the better, side of 0.
    """
    rows = []
    for column in columns:
        valid = {value for value, is_valid in zip(column.values, column.valid, strict=True) if is_valid}
        for metric in dict.fromkeys(row["metric"] for row in differences):
            judged = [
                row
                for row in differences
                if row["metric"] == metric
                and row["group"]["column"] == column.name
                and row["group"]["value"] in valid
                and row["difference"] is not None
            ]
            if len(judged) > 1 and is_better_low(metric) is not None:
                rows.append(_row(column.name, metric, judged))
    return rows


def _row(column: str, metric: str, judged: Sequence[Row]) -> Row:
    sign = -1.0 if is_better_low(metric) else 1.0
    good = {key: sign * np.array([row[key] for row in judged]) for key in ("value", "value_reference", "difference")}
    before, after = float(np.ptp(good["value_reference"])), float(np.ptp(good["value"]))
    worst, best = int(good["value_reference"].argmin()), int(good["value_reference"].argmax())
    names = [row["group"]["value"] for row in judged]
    ends = [sorted((sign * row["low"], sign * row["high"])) if row["low"] is not None else None for row in judged]
    return {
        "column": column,
        "metric": metric,
        "model": judged[0]["model"],
        "reference": judged[0]["reference"],
        "gap_reference": before,
        "gap": after,
        "worst_group": names[worst],
        "worst_group_difference": float(judged[worst]["difference"]),
        "best_group": names[best],
        "best_group_difference": float(judged[best]["difference"]),
        "harmed": [name for name, end in zip(names, ends, strict=True) if end is not None and end[1] < 0],
        "helped": [name for name, end in zip(names, ends, strict=True) if end is not None and end[0] > 0],
        "levelling_down": bool(after < before and good["difference"][worst] <= 0),
    }
