"""What a test part could show, for a terminal."""

from collections.abc import Mapping
from typing import Any

from midrc_ml.reporting.tables import Table, number

_MOST_GROUPS = 40
Row = Mapping[str, Any]


def power_lines(plan: Row) -> list[str]:
    """The lines of a plan of `evaluation/power_plan.py`."""
    overall, assumed = plan["overall"], plan["assumptions"]
    ranked = overall["effective_positive"] is not None
    if overall["half_width"] is None:
        return [f"Power: the test part has {overall['n_patients']} patients; {overall['metric']} cannot be estimated"]
    worth = f"the {overall['n']:,} test studies of {overall['n_patients']:,} patients are worth "
    worth += f"{overall['effective_patients']:.0f} independent ones"
    if ranked:
        worth += f", {overall['effective_positive']:.0f} of them "
        worth += f"of {overall['rarest_class']}, the rarest class" if overall["rarest_class"] else "positive"
    assumption = f"{overall['metric']} {assumed['auroc']:g}" if ranked else f"the {overall['metric']},"
    lines = [
        f"Power {assumed['power']:.0%}, two-sided {1 - assumed['confidence']:.0%} (assumed: configs/power): {worth}",
        f"  {assumption} is known to about +/- {overall['half_width']:.3f}; two models are told apart from "
        f"{_from(overall['smallest_difference'])} on",
    ]
    for name in ("sensitivity", "specificity"):
        if overall.get(f"{name}_half_width") is not None:
            lines.append(
                f"  {name} {assumed[name]:g} to about +/- {overall[f'{name}_half_width']:.3f}; two models from "
                f"{_from(overall[f'{name}_smallest_difference'])} on"
            )
    part_of_all = [row for row in plan["groups"] if row["n"] != overall["n"]]
    judged = [row for row in part_of_all if row["never"] is None]
    if judged:
        shown = sorted(judged, key=lambda row: -row["n"])[:_MOST_GROUPS]
        table = _group_table([row for row in judged if row in shown], plan["family"])
        left_out = len(judged) - len(shown)
        lines += table.as_text().splitlines()
        lines += [f"  {left_out} smaller groups stand in cohort_flow.json"] if left_out else []
    never = [row for row in part_of_all if row["never"] is not None]
    if never:
        lines.append("No gap, or no interval, of these groups can be shown by this test part:")
        lines += [f"  {_name(row)}: {row['never']}" for row in never[:_MOST_GROUPS]]
        lines += [f"  and {len(never) - _MOST_GROUPS} more groups"] if len(never) > _MOST_GROUPS else []
    return lines


def _group_table(rows: list[Row], family: int) -> Table:
    with_sensitivity = any("smallest_sensitivity_gap" in row for row in rows)
    header = ("group", "studies", "worth", "positive", "+/-", "gap from", f"of {family} gaps (Holm)")
    lines: list[tuple[str, ...]] = [(*header, *(("sensitivity gap from",) if with_sensitivity else ()))]
    for row in rows:
        positive = "-" if row["effective_positive"] is None else f"{row['effective_positive']:.0f}"
        cells = (_name(row), f"{row['n']:,}", f"{row['effective_patients']:.0f}", positive, number(row["half_width"]))
        if "smallest_gap" not in row:
            lines.append((*cells, "reference", "", *(("",) if with_sensitivity else ())))
            continue
        gaps = [_from(row["smallest_gap"]), _from(row["smallest_gap_holm"])]
        gaps += [_from(row.get("smallest_sensitivity_gap"))] if with_sensitivity else []
        lines.append((*cells, *gaps))
    return Table("By group: how well it is known, and from where on a gap to the reference is found", lines)


def _name(row: Row) -> str:
    return f"{row['column']}: {row['group']}" if row["group"] is not None else str(row["column"])


def _from(value: float | None) -> str:
    return "never" if value is None else f"{value:.3f}"
