"""Figures of a run, as PNG files. They name nobody; in a small part a step of a curve, or a cell, may be one study."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from midrc_ml.evaluation.metrics import auroc
from midrc_ml.evaluation.survival import kaplan_meier, num_at_risk, risk_thirds

BLUE, GREY, RED = "#1f5fa8", "#5c6670", "#b3362b"
THIRDS = ("low", "middle", "high")
DPI = 110
_NUM_BINS = 8
_SITES_DRAWN = 4
_BOX_CHARACTERS = 76
_STEP_CHARACTERS = 60


def flow_diagram(flow: Mapping[str, Any], path: Path) -> None:
    """The cohort flow: what stays in down the left, what is excluded, with reasons and sites, on the right."""
    taken = [step for step in flow["steps"] if "not_applicable" not in step]
    steps = [step for step in taken if step["excluded"] or step is taken[-1]]
    by_case = flow["unit"] == "case"
    boxes = [f"{taken[0]['n_in']:,} {'cases' if by_case else 'studies'}\n{flow['origin']}"]
    for step in steps:
        studies = "" if by_case else f"{step['n_out']:,} studies, "
        cases = "" if step["n_cases_out"] is None else f"{step['n_cases_out']:,} cases"  # a copy that is shared
        boxes.append(f"{studies}{cases}\n{textwrap.shorten(step['step'], _STEP_CHARACTERS)}")
    excluded = [[line for entry in step["excluded"] or () for line in _reason_lines(entry)] for step in steps]
    heights = [0.75] + [max(0.75, 0.2 * len(lines) + 0.3) for lines in excluded]
    total = sum(heights) + 0.45 * len(steps)
    figure, axes = plt.subplots(figsize=(10.5, total + 0.3), dpi=DPI)
    axes.set(xlim=(0, 10.5), ylim=(0, total))
    axes.axis("off")
    top = total
    for position, (words, height) in enumerate(zip(boxes, heights, strict=True)):
        middle = top - height / 2
        _box(axes, 0.05, middle - 0.33, 3.6, 0.66, words, BLUE)
        if position:
            lines = excluded[position - 1]
            axes.annotate(
                "", (1.85, middle + 0.35), (1.85, top + 0.52), arrowprops={"arrowstyle": "-|>", "color": GREY}
            )
            if lines:
                _box(axes, 4.2, middle - height / 2 + 0.06, 6.2, height - 0.12, "\n".join(lines), GREY, left=True)
                axes.annotate("", (4.16, middle), (3.68, middle), arrowprops={"arrowstyle": "-|>", "color": GREY})
        top -= height + 0.45
    save_figure(figure, path)


def _reason_lines(entry: Mapping[str, Any]) -> list[str]:
    """How many, why, and at which sites; a line that is too long for its box goes on below."""
    sites = sorted((entry["by_site"] or {}).items(), key=lambda item: -item[1])
    shown = ", ".join(f"{site}: {n:,}" for site, n in sites[:_SITES_DRAWN])
    more = f", {len(sites) - _SITES_DRAWN} more sites" if len(sites) > _SITES_DRAWN else ""
    where = f" ({shown}{more})" if sites else ""
    return textwrap.wrap(f"{entry['n']:,}  {entry['reason']}{where}", _BOX_CHARACTERS, subsequent_indent="      ")


def learning_curves(history: Sequence[Mapping[str, Any]], monitor: str, path: Path) -> None:
    """Loss of the training and validation parts by epoch; the epoch that was kept is marked."""
    frame = pd.DataFrame(list(history))
    figure, axes = plt.subplots(figsize=(5, 3.4), dpi=DPI)
    axes.plot(frame["epoch"], frame["train_loss"], color=GREY, marker="o", markersize=3, label="training")
    axes.plot(frame["epoch"], frame["validation_loss"], color=BLUE, marker="o", markersize=3, label="validation")
    kept = int(frame["best_epoch"].iloc[-1])
    axes.axvline(kept, color=RED, linestyle=":", label=f"kept: epoch {kept} (by {monitor})")
    axes.set(xlabel="epoch", ylabel="loss")
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def roc_curve_figure(y_true: np.ndarray, y_score: np.ndarray, caption: str, path: Path) -> None:
    """The ROC curve of one part."""
    figure, axes = _roc_axes(caption)
    axes.plot(*_roc_points(y_true, y_score), color=BLUE)
    save_figure(figure, path)


def class_roc_figure(y_true: np.ndarray, y_score: np.ndarray, classes: Sequence[str], caption: str, path: Path) -> None:
    """The ROC curve of each class against all others. y_true: positions in `classes`; y_score: (study, class)."""
    figure, axes = _roc_axes(caption)
    for place, name in enumerate(classes):
        truth = (y_true == place).astype(float)
        area = auroc(truth, y_score[:, place])
        said = "not estimable" if np.isnan(area) else f"{area:.3f}"
        false_rate, true_rate = _roc_points(truth, y_score[:, place])
        axes.plot(false_rate, true_rate, label=f"{name}: {said} (n={truth.sum():.0f})")
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), title="auroc against the rest")
    save_figure(figure, path)


def _roc_axes(caption: str) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(3.9, 3.7), dpi=DPI)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
    axes.set_title(caption, fontsize=9)
    return figure, axes


def _roc_points(y_true: np.ndarray, y_score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 - specificity and sensitivity at every threshold, from the highest down."""
    order = np.argsort(-y_score, kind="stable")
    last_of_ties = np.r_[np.diff(y_score[order]) != 0, True]
    true_rate = np.r_[0, np.cumsum(y_true[order])[last_of_ties] / max(1, y_true.sum())]
    false_rate = np.r_[0, np.cumsum(1 - y_true[order])[last_of_ties] / max(1, (1 - y_true).sum())]
    return false_rate, true_rate


def confusion_figure(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Counts of studies (true class, called class); a cell's shade is its share of the true class."""
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    size = 1.9 + 0.62 * len(classes)
    figure, axes = plt.subplots(figsize=(size, size), dpi=DPI)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if share[row, column] > 0.6 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=color)
    places = range(len(classes))
    axes.set_xticks(places, classes, fontsize=8, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, classes, fontsize=8)
    axes.set(xlabel="called (the most probable class)", ylabel="true class")
    axes.set_title("studies; shade: share of the true class", fontsize=9)
    save_figure(figure, path)


def survival_figure(y_true: np.ndarray, y_score: np.ndarray, caption: str, path: Path) -> None:
    """Kaplan-Meier curves of the thirds of the risk, a tick where a study is censored, and the numbers at risk.

    y_true: (study, 2), event and days. y_score: (study,), a risk.
    """
    third, longest = risk_thirds(y_score), max(1.0, y_true[:, 1].max(initial=0))
    figure, axes = plt.subplots(figsize=(4.6, 3.2), dpi=DPI)
    ticks = np.array([tick for tick in MaxNLocator(6, integer=True).tick_values(0, longest) if 0 <= tick <= longest])
    _under(axes, 0, 0, "studies at risk, by third of the predicted risk", GREY, align="left")
    for place, (name, color) in enumerate(zip(THIRDS, (BLUE, GREY, RED), strict=True)):
        event, time = y_true[third == place].T
        days, free = kaplan_meier(y_true[third == place])
        share = np.r_[1, free]
        axes.step(np.r_[0, days, time.max(initial=0)], np.r_[share, share[-1]], where="post", color=color)
        censored = np.unique(time[event == 0])
        axes.plot(censored, share[np.searchsorted(days, censored, side="right")], "|", color=color, markersize=5)
        _under(axes, 0, place + 1, f"{name}, {event.sum():,.0f} events", color, shift=-22, align="right")
        for tick, count in zip(ticks, num_at_risk(time, ticks), strict=True):
            _under(axes, tick, place + 1, f"{count:,}", color)
    axes.set_xticks(ticks)
    axes.set(xlabel="days", ylabel="share free of the event", xlim=(0, longest * 1.02), ylim=(0, 1.03))
    axes.set_title(caption, fontsize=9)
    save_figure(figure, path)


def _under(
    axes: Axes, day: float, line: int, words: str, color: str, *, shift: float = 0, align: str = "center"
) -> None:
    """Words in a line below the axes, at a day, moved by `shift` points."""
    place = axes.get_xaxis_transform()
    axes.annotate(
        words, (day, 0), (shift, -46 - 13 * line), xycoords=place, textcoords="offset points",
        color=color, fontsize=8, ha=align, va="center", annotation_clip=False,
    )  # fmt: skip


def mean_by_score(y_true: np.ndarray, y_score: np.ndarray, label: str, path: Path) -> None:
    """Mean of the truth against mean of the score, in groups of equal size, of an ordinal or regression task."""
    groups = [
        rows for rows in np.array_split(np.argsort(y_score, kind="stable"), min(_NUM_BINS, len(y_score))) if len(rows)
    ]
    predicted, seen = [y_score[rows].mean() for rows in groups], [y_true[rows].mean() for rows in groups]
    ends = [min(*predicted, *seen), max(*predicted, *seen)]
    figure, axes = plt.subplots(figsize=(3.9, 3.7), dpi=DPI)
    axes.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=":")
    axes.plot(predicted, seen, color=BLUE, marker="o", markersize=4)
    axes.set(xlabel=f"mean predicted {label}", ylabel=f"mean observed {label}")
    axes.set_title(f"{len(groups)} groups of about {len(y_true) // max(1, len(groups))} studies", fontsize=9)
    save_figure(figure, path)


def group_figure(rows: Sequence[Mapping[str, Any]], overall: Mapping[str, Any], path: Path) -> None:
    """One metric by group with intervals; groups without a value are named with their reason."""
    figure, axes = plt.subplots(figsize=(6.4, 0.27 * len(rows) + 1.0), dpi=DPI)
    names = []
    for position, row in enumerate(rows):
        group = row["group"]
        names.append(f"{group['column']}: {group['value']} (n={row['n']})")
        if row["value"] is None:
            axes.text(overall["value"] or 0, position, row["reason"], fontsize=7, color=GREY, va="center", ha="center")
            continue
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [position, position], color=BLUE, linewidth=1.4)
        filled = "full" if row["low"] is not None else "none"
        axes.plot(row["value"], position, "o", color=BLUE, markersize=4, fillstyle=filled)
    if overall["value"] is not None:
        axes.axvline(overall["value"], color=RED, linestyle=":", linewidth=1)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"{overall['metric']} (dotted: all studies; open circle: too few patients for an interval)")
    save_figure(figure, path)


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, words: str, color: str, *, left: bool = False
) -> None:
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0.02", fill=False, edgecolor=color))
    place = x + (0.12 if left else width / 2)
    axes.text(place, y + height / 2, words, ha="left" if left else "center", va="center", fontsize=8.5)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, and let it go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
