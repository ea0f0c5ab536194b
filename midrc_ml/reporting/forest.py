"""The forest plot: differences with their intervals about a line at 0, with what each side favours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from midrc_ml.reporting.figures import BLUE, GREY, RED

_DPI = 130
_LABEL_START, _LABEL_END = 20, 14  # characters
_ONE_LINE = 54  # characters of what both sides favour
_ROW, _ABOVE, _BELOW = 0.27, 0.55, 0.6  # inches


@dataclass(frozen=True)
class ForestRow:
    """label: of the row. low, high: None = no interval. said: the numbers, or the reason why there are none."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    said: str


@dataclass(frozen=True)
class ForestPanel:
    """Rows on one scale.

    direction: which values are the good ones, in words. left, right: what a difference below and above 0 favours.
    better_right: whether above 0 it is the model; None = neither side is better. quantity: what the numbers beside
    the rows are.
    """

    title: str
    direction: str
    rows: Sequence[ForestRow]
    left: str
    right: str
    better_right: bool | None
    quantity: str = "difference"


def forest_plot(panels: Sequence[ForestPanel], path: Path) -> None:
    """Draw the panels one below the other, each with its own scale.

    Blue: the interval lies on the side of the model, red: on that of the reference, grey: on both. An open circle has
    no interval.
    """
    heights = [_ABOVE + _ROW * len(panel.rows) + _BELOW for panel in panels]
    figure = plt.figure(figsize=(9.6, sum(heights)), dpi=_DPI)
    top = sum(heights)
    for panel, height in zip(panels, heights, strict=True):
        bottom = (top - height + _BELOW) / sum(heights)
        axes = figure.add_axes((0.27, bottom, 0.42, _ROW * len(panel.rows) / sum(heights)))
        _draw(axes, panel)
        top -= height
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", pad_inches=0.12, metadata={"Software": None})
    plt.close(figure)


def _draw(axes: Axes, panel: ForestPanel) -> None:
    ends = [0.0]
    for place, row in enumerate(panel.rows):
        axes.axhspan(place - 0.5, place + 0.5, color="#f3f5f7" if place % 2 else "white", linewidth=0, zorder=0)
        color = _color(row, panel.better_right)
        axes.text(1.02, place, row.said, transform=axes.get_yaxis_transform(), fontsize=8, va="center", color="#1c2126")
        if row.value is None:
            continue
        ends.append(row.value)
        if row.low is not None and row.high is not None:
            ends += [row.low, row.high]
            axes.plot([row.low, row.high], [place, place], color=color, linewidth=1.6, solid_capstyle="butt")
        filled = "full" if row.low is not None else "none"
        axes.plot(row.value, place, "s" if filled == "full" else "o", color=color, markersize=4.5, fillstyle=filled)
    widest = max(max(ends) - min(ends), 1e-9)
    axes.set_xlim(min(ends) - 0.06 * widest, max(ends) + 0.06 * widest)
    axes.axvline(0, color="#1c2126", linewidth=0.9, zorder=1)
    axes.set_yticks(range(len(panel.rows)), [short(row.label) for row in panel.rows], fontsize=8)
    axes.set_ylim(len(panel.rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    in_points: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}
    axes.annotate(panel.title, (0, 1), (0, 17), fontsize=9.5, fontweight="bold", **in_points)
    axes.annotate(panel.direction, (0, 1), (0, 4), fontsize=8, color=GREY, **in_points)
    axes.annotate(panel.quantity, (1.02, 1), (0, 4), fontsize=8, color=GREY, **in_points)
    lower_line = 12 if len(panel.left) + len(panel.right) > _ONE_LINE else 0
    for position, words, align, down in (
        (0, f"\N{LEFTWARDS ARROW} {panel.left}", "left", 21),
        (1, f"{panel.right} \N{RIGHTWARDS ARROW}", "right", 21 + lower_line),
    ):
        axes.annotate(
            words, (position, 0), (0, -down), xycoords="axes fraction", textcoords="offset points", fontsize=8,
            color=GREY, ha=align, va="top",
        )  # fmt: skip


def _color(row: ForestRow, better_right: bool | None) -> str:
    if better_right is None or row.low is None or row.high is None or row.low <= 0 <= row.high:
        return GREY
    return BLUE if (row.low > 0) == better_right else RED


def short(label: str) -> str:
    """The beginning and the end of a long name: models often differ there."""
    return f"{label[:_LABEL_START]}…{label[-_LABEL_END:]}" if len(label) > _LABEL_START + _LABEL_END else label
