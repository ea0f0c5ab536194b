"""Tables of the groups of one part: the value of each, gaps between them, and the odds differences."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from midrc_ml.evaluation.gaps import AAOD, EOD
from midrc_ml.reporting.tables import Table, limits_text, number, p_text

MOST_GROUPS = 40
# What is told of every group beside the headline; of tasks that have none of these, the metrics that they have.
_TOLD = ("underdiagnosis_rate", "overdiagnosis_rate", "called_rate", "mean_calibration_difference")
_MOST_METRICS = 5
_CALIBRATION_GAP = "mean_calibration_difference"
Row = Mapping[str, Any]


def of_several_groups(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows of columns with more than one group, and the others: `race (all Not Reported)`, `zip (812 values)`."""
    values: dict[str, set[str]] = {}
    for row in rows:
        values.setdefault(row["group"]["column"], set()).add(row["group"]["value"])
    lone = {column: next(iter(names)) for column, names in values.items() if len(names) == 1}
    too_many = re.compile(r"\(\d+ values\)")
    alone = [f"{column} {name if too_many.fullmatch(name) else f'(all {name})'}" for column, name in lone.items()]
    return [row for row in rows if len(values[row["group"]["column"]]) > 1], alone


def largest_groups(rows: Sequence[Row]) -> list[Row]:
    """The rows of the groups with most studies, in the order given: a page of 400 groups is not read."""
    sizes = {_group(row): row["n"] or 0 for row in rows}
    kept = set(sorted(sizes, key=lambda group: -sizes[group])[:MOST_GROUPS])
    return [row for row in rows if _group(row) in kept]


def group_tables(groups: Sequence[Row], gaps: Sequence[Row], primary: str, counted: str) -> list[Table]:
    """Every table of the groups of one part. primary: the headline metric. counted: what `n_positive` counts."""
    several, _ = of_several_groups(groups)
    shown = largest_groups(several)
    num_groups = len({_group(row) for row in several})
    cut = f"; the {MOST_GROUPS} largest of {num_groups} groups" if num_groups > MOST_GROUPS else ""
    names = list(dict.fromkeys(row["metric"] for row in groups))
    others = [name for name in (_TOLD if set(_TOLD) & set(names) else names) if name in names and name != primary]
    tables = [_value_table(shown, primary, counted, cut), _other_table(shown, others[:_MOST_METRICS], cut)]
    for metric in (primary, *([_CALIBRATION_GAP] if primary != _CALIBRATION_GAP else [])):
        chosen = [row for row in gaps if row["metric"] == metric]
        tables += [_gap_table(chosen, metric), _extreme_table(chosen, metric)]
    tables.append(_odds_table(gaps))
    return [table for table in tables if len(table.lines) > 1]


def _group(row: Row) -> tuple[str, str]:
    return row["group"]["column"], row["group"]["value"]


def size_text(row: Row) -> str:
    """How many studies; a dash where that is not to be shared."""
    return "-" if row["n"] is None else str(row["n"])


def counted_text(row: Row) -> str:
    """`26`, or `12 / 8 / 6` by class, or a dash."""
    count = row["n_positive"]
    if isinstance(count, Mapping):
        return " / ".join(map(str, count.values()))
    return "-" if count is None else str(count)


def _value_table(rows: Sequence[Row], metric: str, counted: str, cut: str) -> Table:
    lines: list[tuple[str, ...]] = [("group", "value", "interval", "n", counted)]
    for row in rows:
        if row["metric"] == metric:
            name = ": ".join(_group(row))
            lines.append((name, value_text(row), limits_text(row), size_text(row), counted_text(row)))
    return Table(f"{metric}{cut}", lines)


def value_text(row: Row) -> str:
    """`0.812`, or that there is none."""
    return "not estimable" if row["value"] is None else number(row["value"])


def _other_table(rows: Sequence[Row], metrics: Sequence[str], cut: str) -> Table:
    by_group: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        if row["metric"] in metrics:
            between = "" if row["low"] is None else f" [{number(row['low'])}, {number(row['high'])}]"
            text = "-" if row["value"] is None else f"{number(row['value'])}{between}"
            by_group.setdefault(_group(row), {})[row["metric"]] = text
    told = [(": ".join(group), *(cells.get(name, "-") for name in metrics)) for group, cells in by_group.items()]
    title = f"other metrics{cut} (a dash: not estimable, an interval left out: groups.json says why)"
    return Table(title, [("group", *metrics), *(line for line in told if set(line[1:]) != {"-"})] if metrics else [()])


def _gap_table(rows: Sequence[Row], metric: str) -> Table:
    best = {(row["column"], row["group"]): row for row in rows if row["quantity"] == "gap_to_best"}
    chosen = [row for row in rows if row["quantity"] == "gap_to_reference"]
    shown = set(sorted(range(len(chosen)), key=lambda place: -(chosen[place]["n"] or 0))[:MOST_GROUPS])
    cut = f"; the {MOST_GROUPS} largest of {len(chosen)} groups" if len(chosen) > MOST_GROUPS else ""
    lines: list[tuple[str, ...]] = [
        ("group", "reference", "gap", "interval", "p", "p (Holm)", "gap to the best", "interval")
    ]
    for place, row in enumerate(chosen):
        if place in shown:
            to_best = best.get((row["column"], row["group"]))
            lines.append((*_named(row), *_gap(row), *_p_values(row), *(_gap(to_best) if to_best else ("-", "-"))))
    return Table(f"gaps of {metric}, to the reference and to the best group{cut}", lines)


def _extreme_table(rows: Sequence[Row], metric: str) -> Table:
    worst, largest = (
        {row["column"]: row for row in rows if row["quantity"] == quantity}
        for quantity in ("worst_group", "largest_gap")
    )
    lines: list[tuple[str, ...]] = [
        ("groups of", "worst group", "value", "interval", "best group", "largest gap", "interval")
    ]
    for column, row in worst.items():
        gap = largest.get(column)  # in a copy that is shared one may be there without the other
        of_gap = ("-", "-", "-") if gap is None else (gap["reference"], value_text(gap), limits_text(gap))
        lines.append((column, row["group"], value_text(row), limits_text(row), *of_gap))
    return Table(f"extremes of {metric}, among groups with an interval of their own", lines)


def _odds_table(rows: Sequence[Row]) -> Table:
    average = {(row["column"], row["group"]): row for row in rows if row["quantity"] == AAOD}
    chosen = [row for row in rows if row["quantity"] == EOD][:MOST_GROUPS]
    lines: list[tuple[str, ...]] = [("group", "reference", "EOD", "interval", "p", "p (Holm)", "AAOD", "interval")]
    for row in chosen:
        odds = average.get((row["column"], row["group"]))
        of_odds = ("-", "-") if odds is None else (value_text(odds), limits_text(odds))
        lines.append((*_named(row), *_gap(row), *_p_values(row), *of_odds))
    title = "equal opportunity difference (of sensitivity) and average absolute odds difference"
    return Table(f"{title}, at the threshold", lines)


def _named(row: Row) -> Iterable[str]:
    return f"{row['column']}: {row['group']}", row["reference"]


def _gap(row: Row) -> tuple[str, str]:
    value = "not estimable" if row["value"] is None else number(row["value"], signed=True)
    return value, limits_text(row, signed=True)


def _p_values(row: Row) -> tuple[str, str]:
    return p_text(row["p_value"]), p_text(row["p_holm"])
