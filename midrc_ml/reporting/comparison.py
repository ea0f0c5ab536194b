"""What a comparison leaves in its folder: `comparison.json`, `.md`, `.html`, and forest plots."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from midrc_ml.evaluation.comparison import Comparison, Row
from midrc_ml.evaluation.doubts import worse_than_chance
from midrc_ml.evaluation.metrics import is_better_low
from midrc_ml.evaluation.settings import MOST_DRAWS
from midrc_ml.reporting.comparison_tables import (
    best_first,
    difference_tables,
    direction,
    group_table,
    levelling_table,
    pair_of,
    source_table,
    value_table,
)
from midrc_ml.reporting.forest import ForestPanel, ForestRow, forest_plot, short
from midrc_ml.reporting.tables import Table, number, p_text

JSON_FILE, MARKDOWN_FILE, HTML_FILE = "comparison.json", "comparison.md", "comparison.html"
_ROWS_DRAWN = 60  # of one figure; the tables have all
_PANELS = 6
_LEVELLED_SAID = 10
_TRACKED = 400  # differences in MLflow
_REASON_LENGTH = 50


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """Everything that is said of a comparison.

    sources: a mapping for each run or file: model, shown, seed, threshold, run_id, split_sha256, commit. notes: what
    was left out, and what is not known. split_sha256: that all share, None = none. studies_sha256: of the common
    studies and their truth.
    """

    comparison: Comparison
    task_name: str
    question: str
    part: str
    origin: str
    synthetic: bool
    split_sha256: str | None
    studies_sha256: str
    sources: Sequence[Mapping[str, Any]]
    notes: Sequence[str]

    def write(self, folder: Path) -> list[Path]:
        """Write the files; their paths."""
        figures = self._draw(folder)
        tables = {"differences": self.differences, "values": self.values, "by_group": self.by_group,
                  "levelling": self.levelling, "sources": [source_table(self.sources)]}  # fmt: skip
        pictures = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in figures}
        said = {
            "title": self.title,
            "question": self.question,
            "synthetic": self.synthetic,
            "headline": self.headline,
            "notes": [*self.warnings, *self.notes],
            "method": self.method,
            "figures": pictures,
            "facts": self._facts(),
        }
        written = list(figures)
        for name in (HTML_FILE, MARKDOWN_FILE):
            environment = Environment(
                loader=FileSystemLoader(Path(__file__).parent),
                autoescape=name == HTML_FILE,
                undefined=StrictUndefined,
                trim_blocks=True,
                keep_trailing_newline=True,
            )
            text = environment.get_template(f"{name}.j2").render(**said, **tables)
            (folder / name).write_text(text, encoding="utf-8")
            written.append(folder / name)
        stored = json.dumps(self._stored(), indent=1, allow_nan=False)
        (folder / JSON_FILE).write_text(stored + "\n", encoding="utf-8")
        return [*written, folder / JSON_FILE]

    @cached_property
    def models(self) -> list[str]:
        """The names of the models, the reference first."""
        return list(dict.fromkeys(row["model"] for row in self.comparison.values))

    @cached_property
    def metrics(self) -> list[str]:
        """The names of the metrics, the headline first."""
        return list(dict.fromkeys(row["metric"] for row in self.comparison.values))

    @property
    def title(self) -> str:
        """What is compared, where."""
        return f"{len(self.models)} models for {self.task_name}, {self.part} part of the {self.origin}"

    @property
    def headline(self) -> list[str]:
        """What came out, in sentences."""
        rows, alpha = self.comparison.differences, 1 - self.comparison.settings.confidence
        known = [row for row in rows if row["p_holm"] is not None]
        shown = [row for row in known if row["p_holm"] < alpha]
        many = "comparison" if len(known) == 1 else "comparisons"
        lie = "is" if len(shown) == 1 or len(known) == 1 else "are"
        said = [f"{len(shown)} of {len(known)} {many} {lie} below p = {alpha:.2g} after Holm's correction."]
        of_headline = [row for row in rows if row["metric"] == self.metrics[0]]
        if len(of_headline) <= 6:
            said += [self._sentence(row) for row in of_headline]
        return said

    def _sentence(self, row: Row) -> str:
        if row["difference"] is None:
            return f"{row['metric']}, {pair_of(row)}: not estimable ({row['reason']})."
        between = f"{number(row['value'])} against {number(row['value_reference'])}"
        change = f"{row['metric']}, {pair_of(row)}: {between}, difference {number(row['difference'], signed=True)}"
        if row["low"] is None:
            return f"{change}; no interval: {row['reason']}."
        interval = f"[{number(row['low'], signed=True)}, {number(row['high'], signed=True)}]"
        holm = f" (Holm {p_text(row['p_holm'])})" if len(self.comparison.differences) > 1 else ""
        return f"{change} {interval}, p {p_text(row['p_value'])}{holm}."

    @property
    def warnings(self) -> list[str]:
        """What limits the comparison."""
        comparison = self.comparison
        settings, said = comparison.settings, []
        for name, (family, needed) in comparison.draws_that_could().items():
            what = "comparisons" if name == "differences" else "comparisons within groups"
            more = f"--num-draws {needed} could, and so could fewer --metrics"
            if needed > MOST_DRAWS:
                more = "nor could any number of draws that can be made: ask for fewer --metrics, models or groups"
            said.append(
                f"{settings.num_draws} draws of so few patients cannot show p < {1 - settings.confidence:.2g} after "
                f"Holm over {family} {what}; {more}"
            )
        said += [f"{row['model']}: {doubt}" for row in comparison.values if (doubt := worse_than_chance(row))]
        single = sum(row["num_seeds"] == 1 for row in comparison.values if row["metric"] == self.metrics[0])
        if single:
            have = "has one run" if single == 1 else "have one run each"
            said.append(
                f"{single} of {len(self.models)} models {have}: how much another seed would change the numbers is not "
                f"known"
            )
        levelled = [row for row in comparison.levelling if row["levelling_down"] and row["harmed"]]
        said += [
            f"Levelling down, {row['metric']} by {row['column']}: the largest gap between groups is "
            f"{number(row['gap'])} with {row['model']} and {number(row['gap_reference'])} with {row['reference']}, but "
            f"{', '.join(row['harmed'])} lost, and {row['worst_group']}, which was worst off, has not gained "
            f"({number(row['worst_group_difference'], signed=True)})"
            for row in levelled[:_LEVELLED_SAID]
        ]
        if len(levelled) > _LEVELLED_SAID:
            said.append(f"and {len(levelled) - _LEVELLED_SAID} more cases of levelling down, in the table below")
        return said

    @property
    def method(self) -> str:
        """How it was done."""
        settings, comparison = self.comparison.settings, self.comparison
        return (
            f"{comparison.num_studies} studies of {comparison.num_patients} patients. Each difference is taken "
            f"within {settings.num_draws} bootstrap draws of patients (seed {settings.seed}), which all models "
            f"share. Intervals are percentiles, {settings.confidence:.0%}; p-values are two-sided, of the same "
            f"draws, with Holm's correction over all comparisons that were asked for. p DeLong: of DeLong's "
            f"covariance with patients as clusters (Obuchowski), as a check. Runs that differ in their seed alone "
            f"are one model, whose value is the mean over its seeds in each draw: the interval tells of other "
            f"patients, not of other seeds. How the seeds scatter stands beside it. Combined SD of a model: of one "
            f"run with a new seed on other patients, the root of sampling SE squared + seed SD squared. Combined "
            f"SE of a difference: the root of sampling SE squared + seed SD squared / number of seeds, of both "
            f"models. A mean over a few seeds +- 1.96 of their standard errors is used nowhere."
        )

    @cached_property
    def differences(self) -> list[Table]:
        """A table for each metric, or one for all."""
        return difference_tables(self.comparison.differences, in_full=True)

    @cached_property
    def values(self) -> list[Table]:
        """A table for each metric."""
        rows = self.comparison.values
        return [value_table(name, [row for row in rows if row["metric"] == name]) for name in self.metrics]

    @cached_property
    def by_group(self) -> list[Table]:
        """A table for each metric, where groups were asked for."""
        rows = self.comparison.by_group
        return [group_table(name, [row for row in rows if row["metric"] == name]) for name in self.metrics if rows]

    @cached_property
    def levelling(self) -> list[Table]:
        """One table, where groups were asked for."""
        return [levelling_table(self.comparison.levelling)] if self.comparison.levelling else []

    def short_tables(self) -> list[Table]:
        """The same in fewer columns, for a terminal: of many models the headline metric alone."""
        return difference_tables(self.comparison.differences, in_full=False)[:1]

    def note(self) -> str:
        """What MLflow's page shows of the run: what came out, and the table of the headline metric."""
        table = self.short_tables()[0]
        return "\n".join(
            [*(f"- {sentence}" for sentence in self.headline), "", f"**{table.title}**", "", table.as_markdown()]
        )

    def tracked_rows(self) -> list[Row]:
        """The metrics of the comparison's own run: `difference/auroc/B-vs-A` with its bounds and p-values.

        Of very many models those of the headline metric.
        """
        rows: list[Row] = []
        differences, values = self.comparison.differences, self.comparison.values
        if len(differences) > _TRACKED:
            differences, values = (
                [row for row in some if row["metric"] == self.metrics[0]] for some in (differences, values)
            )
        for row in differences:
            name = f"{row['metric']}/{row['model']}-vs-{row['reference']}"
            rows.append({"part": "difference", "metric": name, "value": row["difference"], "low": row["low"],
                         "high": row["high"], "reason": row["reason"]})  # fmt: skip
            for which, key in (("p", "p_value"), ("p_holm", "p_holm")):
                if row[key] is not None:
                    rows.append({"part": "difference", "metric": f"{name}/{which}", "value": row[key], "low": None,
                                 "high": None, "reason": None})  # fmt: skip
        for row in values:
            rows.append({"part": self.part, "metric": f"{row['metric']}/{row['model']}", "value": row["value"],
                         "low": row["low"], "high": row["high"], "reason": row["reason"]})  # fmt: skip
        return rows

    def _draw(self, folder: Path) -> list[Path]:
        panels: list[ForestPanel] = []
        room = _ROWS_DRAWN
        for name in self.metrics:
            rows = [row for row in self.comparison.differences if row["metric"] == name]
            if panels and (len(rows) > room or len(panels) == _PANELS):
                break
            left_out = max(0, len(rows) - _ROWS_DRAWN)
            chosen = rows if not left_out else [rows[place] for place in best_first(rows)[:_ROWS_DRAWN]]
            panels.append(self._panel(chosen, left_out=left_out))
            room -= len(rows)
        if len(panels) < len(self.metrics):
            more = f"; {len(panels)} of {len(self.metrics)} metrics are drawn, the tables have all"
            panels[-1] = replace(panels[-1], direction=panels[-1].direction + more)
        forest_plot(panels, folder / "figures" / "forest.png")
        written = [folder / "figures" / "forest.png"]
        pairs: dict[str, list[Row]] = {}
        for row in self.comparison.by_group:
            if row["metric"] == self.metrics[0]:
                pairs.setdefault(pair_of(row), []).append(row)
        if pairs:
            drawn = list(pairs.items())[:_PANELS]
            by_group = [self._panel(rows[:_ROWS_DRAWN], title=f"{self.metrics[0]}: {pair}") for pair, rows in drawn]
            forest_plot(by_group, folder / "figures" / "groups.png")
            written.append(folder / "figures" / "groups.png")
        return written

    def _panel(self, rows: Sequence[Row], *, title: str | None = None, left_out: int = 0) -> ForestPanel:
        name, is_low = rows[0]["metric"], is_better_low(rows[0]["metric"])
        pairs = {(row["model"], row["reference"]) for row in rows}
        references = {row["reference"] for row in rows}
        model = f"favours {short(rows[0]['model'])}" if len(pairs) == 1 else "favours the model"
        other = f"favours {short(rows[0]['reference'])}" if len(references) == 1 else "favours the second"
        if len(references) > 1:
            model = "favours the first"
        more = f"; the best of {len(rows) + left_out}" if left_out else ""
        against = f", difference from {short(rows[0]['reference'])}" if len(references) == 1 else ""
        sides = {None: ("lower", "higher"), True: (model, other), False: (other, model)}[is_low]
        return ForestPanel(
            title=title or f"{name}{against}",
            direction=f"{direction(name)}{more}",
            rows=[_forest_row(row, is_alone=len(references) == 1) for row in rows],
            left=sides[0],
            right=sides[1],
            better_right=None if is_low is None else not is_low,
            quantity=f"difference [{self.comparison.settings.confidence:.0%} interval]   p (Holm)",
        )

    def _facts(self) -> dict[str, object]:
        return {
            "task": self.task_name,
            "part": self.part,
            "reference": self.comparison.reference,
            "split SHA-256": self.split_sha256 or "no common one",
            "SHA-256 of studies and truth": self.studies_sha256,
        }

    def _stored(self) -> dict[str, Any]:
        comparison = self.comparison
        return {
            "task": self.task_name,
            "part": self.part,
            "origin": self.origin,
            "synthetic": self.synthetic,
            "num_studies": comparison.num_studies,
            "num_patients": comparison.num_patients,
            "split_sha256": self.split_sha256,
            "studies_sha256": self.studies_sha256,
            "settings": asdict(comparison.settings),
            "reference": comparison.reference,
            "sources": list(self.sources),
            "values": comparison.values,
            "differences": comparison.differences,
            "by_group": comparison.by_group,
            "levelling": comparison.levelling,
            "notes": [*self.warnings, *self.notes],
        }


def _forest_row(row: Row, *, is_alone: bool) -> ForestRow:
    label = row["model"] if is_alone else pair_of(row)
    if "group" in row:
        label = f"{row['group']['column']}: {row['group']['value']} (n={row['n']})"
    if row["low"] is None:
        said = str(row["reason"])[:_REASON_LENGTH]
        if row["difference"] is not None:
            said = f"{number(row['difference'], signed=True)}   no interval"
    else:
        said = (
            f"{number(row['difference'], signed=True)} [{number(row['low'], signed=True)}, "
            f"{number(row['high'], signed=True)}]   {p_text(row['p_holm'])}"
        )
    return ForestRow(label, row["difference"], row["low"], row["high"], said)
