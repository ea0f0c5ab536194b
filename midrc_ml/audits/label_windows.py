"""How many labels other windows and horizons would change: those that others use, and those a day apart."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from midrc_ml.audits.entry import AuditEntry, Status, not_applicable
from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.task import Task

CHECK = "label_time.windows"
# Li et al., J Med Imaging 2023;10:044504 (24 to 96 hours); 7, 14 and 28 or 30 days elsewhere.
_HORIZONS = (1, 2, 3, 4, 7, 14, 28, 30)
_WINDOWS = ("covidx2022", "mrale", "week")
_SAME_DAY_MATTERS = 0.1  # of the labels, from which the rule for events of the day of the image is a choice to be told


def windows_entry(task: Task, tables: Tables, studies: pd.DataFrame, *, image_files: Any) -> AuditEntry:
    """`label_time.windows`: labels that flip, studies that enter or leave, by each other setting of the label rule.

    studies: those labelled as the task is set. value: the share of them of which the label is another, or none, where
    events of the day of the image count the other way; of rules without that, the largest share of any setting.
    """
    others = alternatives(task)
    if not others:
        return not_applicable(CHECK, "the label rule has no window and no horizon")
    ours = studies.drop_duplicates("study_id").set_index("study_id")["label"]
    asked = task.selected(tables, CohortFlow(origin=tables.origin), image_files=image_files)
    rows = [row for setting in others if (row := _changed(task, tables, asked, ours, setting)) is not None]
    if not rows:
        return not_applicable(CHECK, "no other window or horizon gives any label")
    same_day = [row for row in rows if "first_day" in row["setting"]]
    decisive = same_day or rows
    value = max((row["flip"] + row["leave"]) / max(1, len(ours)) for row in decisive)
    status: Status = "warn" if same_day and value >= _SAME_DAY_MATTERS else "pass"
    told = "; ".join(
        f"{row['setting']}: {row['flip']} flip, {row['enter']} enter, {row['leave']} leave ({row['n']} studies, "
        f"{row['positive']} positive)"
        for row in rows
    )
    return AuditEntry(
        check=CHECK,
        status=status,
        value=float(value),
        evidence=f"of {len(ours)} labels ({int((ours == 1).sum())} positive), with {told}",
        what_to_do="say how events of the day of the image are counted, and report both"
        if status == "warn"
        else "nothing",
        details=rows,
    )


def alternatives(task: Task) -> list[Mapping[str, Any]]:
    """Other settings of the task's label rule: each a mapping of what is changed."""
    settings, rule = task.settings, task.rule_name
    made: list[Mapping[str, Any]] = []
    horizon = settings.get("horizon_days")
    if isinstance(horizon, int | float):
        near = [horizon - 1, horizon + 1]  # the studies at the edge
        made += [{"horizon_days": days} for days in sorted({*_HORIZONS, *near} - {horizon}) if days >= 1]
    if "first_day" in settings:
        made.append({"first_day": 1 - int(settings["first_day"])})  # type: ignore[call-overload]
    if "lead_days" in settings:
        made += [{"lead_days": days} for days in (0, 1, 2) if days != settings["lead_days"]]
    if rule == "covid_at_imaging":
        made += [{"window": name} for name in _WINDOWS if name != settings.get("window")]
    return made


def _changed(
    task: Task, tables: Tables, asked: pd.DataFrame, ours: pd.Series, setting: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What a setting changes; None where the rule refuses it, or nothing has a label then."""
    other = replace(task, label=functools.partial(task.label, **setting))
    try:
        theirs = other.label_known(tables, asked, CohortFlow(origin=tables.origin))
    except InputError:
        return None
    label = theirs.drop_duplicates("study_id").set_index("study_id")["label"]
    both = ours.index.intersection(label.index)
    return {
        "setting": ", ".join(f"{name}={value}" for name, value in setting.items()),
        "flip": int((ours[both] != label[both]).sum()),
        "enter": len(label) - len(both),
        "leave": len(ours) - len(both),
        "n": len(label),
        "positive": int((label == 1).sum()),
    }
