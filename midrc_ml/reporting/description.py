"""What a cohort holds for a task, in counts: nothing here reads a pixel or names a patient."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from midrc_ml.cohorts.flow import label_counts
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import GROUP_COLUMNS, NOT_REPORTED
from midrc_ml.evaluation.ceiling import ceiling_rows
from midrc_ml.evaluation.power import PowerAssumptions
from midrc_ml.evaluation.power_plan import power_plan
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.reporting.power_text import power_lines
from midrc_ml.splits.manifest import PARTS
from midrc_ml.tables.keys import is_among
from midrc_ml.tables.schemas import CASE_FLAGS, EVENT_KINDS
from midrc_ml.tasks.task import Task

LABELS_BY = ("site", "sex", "age_band", "race", "modality")
_MAY_BE_MISSING = (*GROUP_COLUMNS, "age", "day", "modality", "file")
_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def describe_tables(tables: Tables) -> dict[str, Any]:
    """Rows of the five tables, events by kind, readings by name, the case flags in their three states, ages."""
    cases = tables.cases
    flags = {
        name: {
            "true": int(cases[name].eq(True).sum()),
            "false": int(cases[name].eq(False).sum()),
            "blank": int(cases[name].isna().sum()),
        }
        for name in CASE_FLAGS
    }
    return {
        "rows": {
            "cases": len(cases),
            "patients": int(cases["patient_id"].nunique()),
            "studies": len(tables.studies),
            "series": len(tables.series),
            "series with an image file": int(tables.series["file"].notna().sum()),
            "series of no study": len(series_of_no_study(tables)),
        },
        "events": _counts(tables.events["kind"]),
        "readings": _counts(tables.readings["name"]),
        "flags": flags,
        "ages": {
            "over 89": int(cases["age_over_89"].eq(True).sum()),
            "blank": int(cases["age"].isna().sum()),
        },
        "absent": dict(tables.absent),
    }


def series_of_no_study(tables: Tables) -> pd.DataFrame:
    """Series on record, or images on disk, whose study is in no studies table: series_id, study_id, modality, file."""
    series = tables.series[~is_among(tables.series["study_id"], tables.studies["study_id"])]
    return series[["series_id", "study_id", "modality", "file"]]


def describe_labels(tables: Tables, task: Task, rows: pd.DataFrame) -> dict[str, Any]:
    """Labels by group, missingness, follow-up, and the days from image to event, of the rows with a label."""
    return {
        "labels_by": {name: label_counts(rows, name, kind=task.kind, classes=task.classes) for name in LABELS_BY},
        "missing": _missing(rows),
        "follow_up": _follow_up(tables, rows),
        "days_to_event": _days_to_events(tables, task, rows),
    }


def reader_agreement(task: Task, ratings: pd.DataFrame, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """How well the readers of the labels agree with each other: what a model's agreement is to be held against.

    ratings: of `labels_by_reader`.
    """
    return ceiling_rows(ratings, rows["patient_id"], kind=task.kind, evaluation=Evaluation())


def describe_split(task: Task, rows: pd.DataFrame, fairness: Fairness, assumptions: PowerAssumptions) -> dict[str, Any]:
    """Sizes of the parts, and what the test part could show. rows: with `part`."""
    sizes = []
    for part in PARTS:
        chosen = rows[rows["part"] == part]
        entry: dict[str, Any] = {"part": part, "n": len(chosen), "n_patients": int(chosen["patient_id"].nunique())}
        if task.kind in ("binary", "time_to_event"):
            entry["n_positive"] = int((chosen["label"] == 1).sum())
        sizes.append(entry)
    asked: dict[str, Any] = {"classes": task.classes, "fairness": fairness, "assumptions": assumptions}
    return {"split": sizes, "power": power_plan(rows[rows["part"] == "test"], kind=task.kind, **asked)}


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(n) for name, n in values.value_counts().sort_index().items()}


def _missing(rows: pd.DataFrame) -> list[dict[str, Any]]:
    found = []
    for column in _MAY_BE_MISSING:
        count = int((rows[column].isna() | rows[column].eq(NOT_REPORTED)).sum())
        found.append({"column": column, "n": count, "share": count / len(rows)})
    return found


def _quantiles(days: pd.Series) -> dict[str, float]:
    names = ("min", "p10", "median", "p90", "max")
    return dict(zip(names, (float(day) for day in days.quantile(list(_QUANTILES))), strict=True))


def _follow_up(tables: Tables, rows: pd.DataFrame) -> dict[str, Any]:
    """Days from the study to the last thing that is recorded of its case; stays without an end."""
    events = tables.events
    last = events[["start_day", "end_day"]].max(axis=1).groupby(events["case_id"]).max()
    days = (rows["case_id"].map(last) - rows["day"]).dropna()
    stays = events[(events["kind"] == "hospital_stay") & events["case_id"].isin(rows["case_id"])]
    return {
        "n": len(days),
        **(_quantiles(days) if len(days) else {}),
        "stays": len(stays),
        "stays_without_end": int(stays["end_day"].isna().sum()),
    }


def _days_to_events(tables: Tables, task: Task, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """For each kind of event that the task reads: the days from the study to its start, over all pairs of a case."""
    kinds = dict.fromkeys([*(str(value) for value in task.settings.values()), *task.needs])
    found = []
    for kind in (kind for kind in kinds if kind in EVENT_KINDS):
        events = tables.events.loc[tables.events["kind"] == kind, ["case_id", "start_day"]]
        pairs = rows[["case_id", "day"]].merge(events, on="case_id")
        days = (pairs["start_day"] - pairs["day"]).dropna()
        entry: dict[str, Any] = {"kind": kind, "n": len(days), "undated": int(pairs["start_day"].isna().sum())}
        if len(days):
            whole = np.floor(pairs["start_day"]) - np.floor(pairs["day"])
            entry |= _quantiles(days) | {
                "before": int((whole < 0).sum()),
                "same_day": int((whole == 0).sum()),
                "after": int((whole > 0).sum()),
            }
        found.append(entry)
    return found


def text_of(flow: Mapping[str, Any], *, question: str, max_sites: int = 12) -> str:
    """The description for a terminal. flow: `CohortFlow.as_dict()` with what the functions above found."""
    lines = [flow["origin"], question, "", *_tables_text(flow["tables"]), "", "Flow"]
    for step in flow["steps"]:
        if "not_applicable" in step:
            lines.append(f"  {step['step']}: not applicable, {step['not_applicable']}")
            continue
        lines.append(f"  {step['step']}: {step['n_in']:,} -> {step['n_out']:,}  ({step['n_cases_out']:,} cases)")
        for entry in step["excluded"]:
            lines.append(f"    - {entry['n']:,} {entry['reason']}: {_by_site(entry['by_site'], max_sites)}")
    lines += [f"  note: {note}" for note in flow["notes"]]
    if "labels_by" in flow:
        lines += _labels_text(flow)
    return "\n".join(lines)


def _against_population(row: Mapping[str, Any]) -> list[str]:
    title = f"{row['attribute']} against {row['reference']}, {row['n_patients']:,} patients"
    title += f" ({row['n_not_reported']:,} not reported)"
    if row["value"] is None:
        return ["", f"{title}: {row['reason']}"]
    cells = [(one["category"], f"{one['share']:.1%}", f"{one['share_of_reference']:.1%}") for one in row["categories"]]
    return [
        "",
        f"{title}: Jensen-Shannon distance {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]; a sample of the "
        f"reference would have about {row['by_chance']:.3f}",
        *_table((row["attribute"], "here", "reference"), cells),
    ]


def _tables_text(tables: Mapping[str, Any]) -> list[str]:
    lines = ["Tables", "  " + ", ".join(f"{n:,} {name}" for name, n in tables["rows"].items())]
    for name in ("events", "readings"):
        if tables[name]:
            lines.append(f"  {name}: " + ", ".join(f"{n:,} {kind}" for kind, n in tables[name].items()))
    rows = [(name, *(f"{n:,}" for n in states.values())) for name, states in tables["flags"].items()]
    lines += _table(("case flag", "True", "False", "blank"), rows)
    lines.append("  ages of cases: " + ", ".join(f"{n:,} {words}" for words, n in tables["ages"].items()))
    reasons = dict.fromkeys(tables["absent"].values())
    for why in reasons:
        names = ", ".join(name for name, where in tables["absent"].items() if where == why)
        lines.append(f"  absent: {names} ({why})")
    return lines


def _labels_text(flow: Mapping[str, Any]) -> list[str]:
    lines = []
    for column, rows in flow["labels_by"].items():
        told = [name for name in rows[0] if name != column]
        cells = [(str(row[column]), *(f"{row[name]:,g}" for name in told)) for row in rows]
        lines += ["", f"Labels by {column}", *_table((column, *(name.removeprefix("n_") for name in told)), cells)]
    lines += ["", "Missing: " + ", ".join(f"{row['column']} {row['share']:.0%}" for row in flow["missing"])]
    seen = flow["follow_up"]
    if seen["n"]:
        lines.append(
            f"Follow-up: last record {seen['median']:g} days after the study (10 to 90 %: {seen['p10']:g} to "
            f"{seen['p90']:g}); {seen['stays_without_end']:,} of {seen['stays']:,} hospital stays have no end"
        )
    for row in flow["days_to_event"]:
        if row["n"]:
            lines.append(
                f"Days from study to {row['kind']}: median {row['median']:g}, {row['p10']:g} to {row['p90']:g} "
                f"(10 to 90 %); {row['before']:,} before, {row['same_day']:,} on the day, {row['after']:,} after, "
                f"{row['undated']:,} undated"
            )
    constant = "; ".join(flow["constant_sites"]) or "none"
    lines.append(f"Sites that do not record the label: {constant}")
    for row in flow.get("representativeness", ()):
        lines += _against_population(row)
    for row in flow.get("agreement", ()):
        if row["value"] is not None:
            limits = (
                f" [{row['low']:.3f}, {row['high']:.3f}]"
                if row["low"] is not None
                else f" (no interval: {row['reason']})"
            )
            lines.append(
                f"Ceiling: {row['comparison']}, {row['metric']} {row['value']:.3f}{limits}, {row['n']:,} studies"
            )
    if "split" in flow:
        sizes = [
            f"{row['part']} {row['n']:,} ({row['n_patients']:,} patients"
            + (f", {row['n_positive']:,} positive" if "n_positive" in row else "")
            + ")"
            for row in flow["split"]
        ]
        lines += ["Split: " + ", ".join(sizes) + f"; SHA-256 {flow['split_sha256'][:12]}", *power_lines(flow["power"])]
        lines += [f"Training: refused, {flow['trainable']}"] if flow.get("trainable") else []
    return lines


def _by_site(counts: Mapping[str, int], most: int) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{site} {n:,}" for site, n in ordered[:most])
    rest = len(ordered) - most
    return shown + (f", {sum(n for _, n in ordered[most:]):,} at {rest} more" if rest > 0 else "")


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    everything = [header, *rows]
    widths = [max(len(row[place]) for row in everything) for place in range(len(header))]
    return [
        "  " + "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in
                         enumerate(zip(row, widths, strict=True))).rstrip()
        for row in everything
    ]  # fmt: skip
