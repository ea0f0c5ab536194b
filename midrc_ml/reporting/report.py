"""`report.html` and `report.md`: the same content, the first for people, the second for a pull request."""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from midrc_ml.evaluation.evaluate import Row
from midrc_ml.reporting import figures
from midrc_ml.splits.manifest import PARTS

_HEADER = ("metric", "value", "interval", "n", "positive")
FIGURE_FOLDER = "figures"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a report says.

    primary: the metric of the headline and of the group figure. studies: those analysed, with part and label.
    """

    task_name: str
    question: str
    kind: str
    unit: str
    origin: str
    synthetic: bool
    primary: str
    metrics: Sequence[Row]
    groups: Sequence[Row]
    predictions: pd.DataFrame
    studies: pd.DataFrame
    flow: Mapping[str, Any]
    audit: Sequence[Mapping[str, Any]]
    history: Sequence[Mapping[str, Any]]
    monitor: str
    min_group_size: int
    facts: Mapping[str, object]

    def write(self, folder: Path) -> list[Path]:
        """Write the figures, `report.html` and `report.md`; the paths written."""
        place = folder / FIGURE_FOLDER
        test = self.predictions[self.predictions["part"] == "test"]
        y_true, y_score = test["y_true"].to_numpy(), test["y_score"].to_numpy()
        test_rows = [row for row in self.metrics if row["part"] == "test"]
        overall = next(row for row in test_rows if row["metric"] == self.primary)
        group_rows = [row for row in self.groups if row["part"] == "test" and row["metric"] == self.primary]
        figures.flow_diagram(self.flow, place / "flow.png")
        figures.learning_curves(self.history, self.monitor, place / "learning.png")
        if self.kind == "binary":
            figures.roc_curve_figure(y_true, y_score, interval_text(overall), place / "performance.png")
        figures.calibration_figure(
            y_true, y_score, "risk" if self.kind == "binary" else self.unit, place / "calibration.png"
        )
        if group_rows:
            figures.group_figure(group_rows, overall, place / "groups.png")
        pictures = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in sorted(place.glob("*.png"))}
        said = self._context(test_rows, group_rows, overall) | {"figures": pictures}
        written = sorted(place.glob("*.png"))
        for name, table in (("report.html", _html_table), ("report.md", _markdown_table)):
            environment = Environment(
                loader=FileSystemLoader(Path(__file__).parent),
                autoescape=name.endswith(".html"),
                undefined=StrictUndefined,
                trim_blocks=True,
                keep_trailing_newline=True,
            )
            text = environment.get_template(f"{name}.j2").render(**said, table=table)
            (folder / name).write_text(text, encoding="utf-8")
            written.append(folder / name)
        return written

    def _context(self, test_rows: list[Row], group_rows: list[Row], overall: Row) -> dict[str, Any]:
        marked = " (synthetic)" if self.synthetic else ""
        steps = [
            {**step, "reasons": "; ".join(f"{entry['n']} {entry['reason']}" for entry in step["excluded"]) or "-"}
            for step in self.flow["steps"]
            if "not_applicable" not in step
        ]
        methods = sorted({row["method"] for row in test_rows if row["method"]})
        return {
            "title": f"{self.task_name} on the {self.origin}",
            "question": self.question,
            "synthetic": self.synthetic,
            "headline": f"Test part{marked}: {interval_text(overall)}, {overall['n']} studies of "
            f"{self.predictions.loc[self.predictions['part'] == 'test', 'patient_id'].nunique()} patients.",
            "primary": self.primary,
            "test_rows": test_rows,
            "validation_rows": [row for row in self.metrics if row["part"] == "validation"],
            "group_rows": group_rows,
            "method": "; ".join(methods),
            "audit": self.audit,
            "steps": steps,
            "notes": self.flow["notes"],
            "parts": [_part_facts(part, self.studies[self.studies["part"] == part], self.kind) for part in PARTS],
            "min_group_size": self.min_group_size,
            "facts": self.facts,
        }


def interval_text(row: Row) -> str:
    """`auroc 0.812 [0.744, 0.871]`; the reason where there is no value or no interval."""
    if row["value"] is None:
        return f"{row['metric']} not estimable ({row['reason']})"
    between = (
        f" [{row['low']:.3f}, {row['high']:.3f}]" if row["low"] is not None else f" (no interval: {row['reason']})"
    )
    return f"{row['metric']} {row['value']:.3f}{between}"


def _part_facts(part: object, rows: pd.DataFrame, kind: str) -> dict[str, object]:
    label = f"{int(rows['label'].sum())} positive" if kind == "binary" else f"median {rows['label'].median():g}"
    return {"part": part, "patients": rows["patient_id"].nunique(), "studies": len(rows), "label": label}


def _cells(row: Row) -> tuple[str, ...]:
    name = f"{row['group']['column']}: {row['group']['value']}" if "group" in row else row["metric"]
    value = "not estimable" if row["value"] is None else f"{row['value']:.3f}"
    between = row["reason"] or "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
    return name, value, between, str(row["n"]), "-" if row["n_positive"] is None else str(row["n_positive"])


def _markdown_table(rows: Sequence[Row]) -> str:
    lines = [_HEADER, ("---",) * len(_HEADER), *map(_cells, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _html_table(rows: Sequence[Row]) -> Markup:
    lines = [("th", _HEADER), *(("td", _cells(row)) for row in rows)]
    body = "".join(
        "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>" for tag, cells in lines
    )
    return Markup(f"<table>{body}</table>")
