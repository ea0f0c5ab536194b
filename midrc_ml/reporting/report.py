"""`report.html` and `report.md`: the same content, the first for people, the second for a pull request."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from midrc_ml.evaluation.classes import confusion_matrix
from midrc_ml.evaluation.decision import GIVEN, Decision
from midrc_ml.evaluation.evaluate import Row
from midrc_ml.evaluation.settings import Evaluation
from midrc_ml.evaluation.survival import kaplan_meier, risk_thirds
from midrc_ml.predictions import class_names, truth_and_score
from midrc_ml.reporting import figures
from midrc_ml.reporting.agreement_table import agreement_table
from midrc_ml.reporting.audit_table import audit_table
from midrc_ml.reporting.calibration import calibration_table, draw_calibration
from midrc_ml.reporting.group_tables import (
    counted_text,
    group_tables,
    largest_groups,
    of_several_groups,
    size_text,
    value_text,
)
from midrc_ml.reporting.tables import Table, limits_text
from midrc_ml.splits.manifest import PARTS

FIGURE_FOLDER = "figures"
_LEAST_SHARED = 11  # people; see audits.suppression
_FEW = f"not shared: some count is below {_LEAST_SHARED}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a report says.

    primary: the metric of the headline and of the group figure. studies: those analysed, with part, label, and
    `time` of a time_to_event task; None = those of the predictions. flow: None where there was no cohort. history,
    monitor: of training, empty where there was none. audit: rows of `audit.json`. verdict: what a careful reviewer
    would say first, of the audit. warnings: what may be wrong with the numbers, said before them. notes: what else a
    reader has to know. scores_are_ranks: only their order means something, so that no calibration is drawn. gaps,
    agreement: rows of their files. decision: the threshold and recalibration; None = there was none. is_shared: this
    is the copy that may leave the run's folder: rows are those without small counts, and no other is told.
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
    gaps: Sequence[Row] = ()
    agreement: Sequence[Row] = ()
    decision: Decision | None = None
    evaluation: Evaluation = field(default_factory=Evaluation)
    predictions: pd.DataFrame
    min_group_size: int
    facts: Mapping[str, object]
    studies: pd.DataFrame | None = None
    flow: Mapping[str, Any] | None = None
    audit: Sequence[Mapping[str, Any]] = ()
    verdict: Sequence[str] = ()
    history: Sequence[Mapping[str, Any]] = ()
    monitor: str = ""
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    scores_are_ranks: bool = False
    is_shared: bool = False

    def write(self, folder: Path) -> list[Path]:
        """Write the figures, `report.html` and `report.md`; the paths written."""
        place = folder / FIGURE_FOLDER
        test_rows = [row for row in self.metrics if row["part"] == "test"]
        overall = next(row for row in test_rows if row["metric"] == self.primary)
        test_groups = [row for row in self.groups if row["part"] == "test" and row["metric"] == self.primary]
        group_rows, alone = of_several_groups(test_groups)
        if self.flow is not None:
            figures.flow_diagram(self.flow, place / "flow.png")
        if self.history:
            figures.learning_curves(self.history, self.monitor, place / "learning.png")
        test = self.predictions[self.predictions["part"] == "test"]
        detail = self._draw_performance(test, interval_text(overall), place)
        below = []
        if self._has_calibration and not self.is_shared:  # its picture counts studies by bin
            asked: Any = {"decision": self.decision, "evaluation": self.evaluation, "place": place}
            below = draw_calibration(test, kind=self.kind, unit=self.unit, **asked)
        if group_rows:
            figures.group_figure(largest_groups(group_rows), overall, place / "groups.png")
        pictures = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in sorted(place.glob("*.png"))}
        said = self._context(test, test_rows, overall)
        if self.is_shared:
            detail, said["calibration"] = None, None  # they count studies by cell and by bin
        written = sorted(place.glob("*.png"))
        for name in ("report.html", "report.md"):
            environment = Environment(
                loader=FileSystemLoader(Path(__file__).parent),
                autoescape=name.endswith(".html"),
                undefined=StrictUndefined,
                trim_blocks=True,
                keep_trailing_newline=True,
            )
            text = environment.get_template(f"{name}.j2").render(
                **said, figures=pictures, detail=detail, below=below, alone=alone
            )
            (folder / name).write_text(text, encoding="utf-8")
            written.append(folder / name)
        return written

    def _part_facts(self, part: object) -> dict[str, object]:
        studies = self.predictions if self.studies is None else self.studies
        rows = studies[studies["part"] == part]
        label, positive = rows["label"], int((rows["label"] == 1).sum())
        if self.kind == "binary":
            said = f"{positive} positive"
        elif self.kind == "time_to_event":
            said = f"{positive} events; followed for {rows['time'].median():g} days in the median"
        elif self.kind == "multiclass":
            classes = class_names(self.predictions)
            said = ", ".join(f"{name} {int((label == place).sum())}" for place, name in enumerate(classes))
        else:
            said = f"median {label.median():g}"
        patients, studies = rows["patient_id"].nunique(), len(rows)
        counts = [patients, studies]
        if self.kind in ("binary", "time_to_event"):
            counts += [positive, studies - positive]
        elif self.kind == "multiclass":
            counts += list(label.value_counts())
        if self.is_shared and any(0 < count < _LEAST_SHARED for count in counts):
            return {"part": part, "patients": "-", "studies": "-", "label": _FEW}
        return {"part": part, "patients": patients, "studies": studies, "label": said}

    @property
    def _counted(self) -> str:
        """What `n_positive` counts in this kind of task."""
        return {"multiclass": " / ".join(class_names(self.predictions)), "time_to_event": "events"}.get(
            self.kind, "positive"
        )

    @property
    def _has_calibration(self) -> bool:
        return not self.scores_are_ranks and self.kind in ("binary", "ordinal", "regression")

    def _draw_performance(self, test: pd.DataFrame, caption: str, place: Path) -> Table | None:
        """Draw what this kind of task has of the test part; what its picture counts, as a table."""
        y_true, y_score = truth_and_score(test, kind=self.kind)
        if self.kind == "multiclass":
            classes, counts = class_names(test), confusion_matrix(y_true, y_score)
            figures.class_roc_figure(y_true, y_score, classes, caption, place / "performance.png")
            if not self.is_shared:
                figures.confusion_figure(counts, classes, place / "confusion.png")
            rows = [(name, *map(str, row)) for name, row in zip(classes, counts, strict=True)]
            return Table("", [("true class", *(f"called {name}" for name in classes)), *rows])
        if self.kind == "time_to_event":
            figures.survival_figure(y_true, y_score, caption, place / "performance.png")
            return _thirds(y_true, y_score)
        if self.kind == "binary":
            figures.roc_curve_figure(y_true, y_score, caption, place / "performance.png")
        return None

    def _context(self, test: pd.DataFrame, test_rows: list[Row], overall: Row) -> dict[str, Any]:
        marked = " (synthetic)" if self.synthetic else ""
        steps = [
            {**step, "reasons": "; ".join(f"{entry['n']} {entry['reason']}" for entry in step["excluded"] or ()) or "-"}
            for step in (self.flow or {}).get("steps", ())
            if "not_applicable" not in step
        ]
        studies = self.predictions if self.studies is None else self.studies
        methods = sorted({row["method"] for row in test_rows if row["method"]})
        return {
            "title": f"{self.task_name} on the {self.origin}",
            "question": self.question,
            "synthetic": self.synthetic,
            "headline": f"Test part{marked}: {interval_text(overall)}, {overall['n']} studies of "
            f"{test['patient_id'].nunique()} patients.",
            "is_shared": self.is_shared,
            "warnings": self.warnings,
            "test_table": self._metric_table(test_rows),
            "settled": self._settled(),
            "agreement": agreement_table(self.agreement),
            "calibration": None if self.scores_are_ranks else calibration_table(test, self.kind),
            "validation_table": self._metric_table([row for row in self.metrics if row["part"] == "validation"]),
            "group_tables": group_tables(
                [row for row in self.groups if row["part"] == "test"],
                [row for row in self.gaps if row["part"] == "test"],
                self.primary,
                self._counted,
            ),
            "method": "; ".join(methods),
            "audit": self.audit,
            "audit_table": audit_table(self.audit),
            "verdict": self.verdict,
            "steps": steps,
            "notes": [*self.notes, *(self.flow or {}).get("notes", ())],
            "parts": [self._part_facts(part) for part in PARTS if (studies["part"] == part).any()],
            "min_group_size": self.min_group_size,
            "facts": self.facts,
        }

    def _metric_table(self, rows: Sequence[Row]) -> Table:
        lines = [(row["metric"], value_text(row), limits_text(row), size_text(row), counted_text(row)) for row in rows]
        return Table("", [("metric", "value", "interval", "n", self._counted), *lines])

    def _settled(self) -> list[str]:
        """What was settled before the test part was looked at, in sentences."""
        decision, said = self.decision, []
        if decision is None:
            return []
        if not math.isnan(decision.threshold):
            how = "given as a number" if decision.chosen_on == GIVEN else f"by {decision.rule}, on {decision.chosen_on}"
            of_whom = "" if decision.chosen_on == GIVEN else f" ({decision.n} studies, {decision.n_positive} positive)"
            said.append(f"Threshold: {decision.threshold:.4g}, {how}{of_whom}; a score of at least that is positive.")
        if decision.recalibration.method != "none":
            said.append(
                f"Scores were recalibrated ({decision.recalibration.method}), fitted on {decision.n} studies of "
                f"{'validation' if decision.chosen_on == GIVEN else decision.chosen_on}."
            )
        return said


def interval_text(row: Row) -> str:
    """`auroc 0.812 [0.744, 0.871]`; the reason where there is no value or no interval."""
    if row["value"] is None:
        return f"{row['metric']} not estimable ({row['reason']})"
    between = (
        f" [{row['low']:.3f}, {row['high']:.3f}]" if row["low"] is not None else f" (no interval: {row['reason']})"
    )
    return f"{row['metric']} {row['value']:.3f}{between}"


def _thirds(y_true: np.ndarray, y_score: np.ndarray) -> Table:
    """The thirds of the risk: how many studies and events, and when half of them had the event."""
    lines: list[tuple[str, ...]] = [("third of the risk", "studies", "events", "half had the event by day")]
    third = risk_thirds(y_score)
    for place, name in enumerate(figures.THIRDS):
        chosen = y_true[third == place]
        days, free = kaplan_meier(chosen)
        half = days[free <= 0.5]
        by_day = f"{half[0]:g}" if len(half) else "not reached"
        lines.append((name, str(len(chosen)), f"{chosen[:, 0].sum():.0f}", by_day))
    return Table("", lines)
