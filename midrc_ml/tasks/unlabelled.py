"""The studies that a task selects, whatever is known of their answer: for a model that is to be used, not tested."""

from dataclasses import replace

import numpy as np
import pandas as pd

from midrc_ml.cohorts.flow import CohortFlow, reason_where
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import ImageFiles, one_study_a_case, select_cases, select_studies
from midrc_ml.errors import InputError
from midrc_ml.tasks.task import Task, exclusions

AGE_NOT_RECORDED = "age not recorded"  # as `cohorts.selection` says it


def selected_studies(
    task: Task, tables: Tables, flow: CohortFlow, *, image_files: ImageFiles = "needed", keep_unknown_age: bool = False
) -> pd.DataFrame:
    """The studies that fit `task.selection`, one row each, with `label` NaN; every other one is counted in `flow`.

    Whether the question could be asked of them (a patient in hospital, not yet in intensive care) is not looked at: it
    takes the tables that a label takes. keep_unknown_age: where the task has a least age, a study without any is kept.

    Raises:
        InputError: a table that the images need is absent, or no study is left.
    """
    by_case = "studies" in tables.absent and "studies" not in task.needs and image_files != "needed"
    if not by_case:
        needs = ["studies", "series"] if image_files == "needed" else ["studies"]
        tables.require(needs, needed_by=f"task={task.name}")
    flow.notes += tables.notes
    least = task.selection.min_age
    selection = replace(task.selection, min_age=None) if keep_unknown_age else task.selection
    if by_case:
        flow.unit = "case"
        rows = select_cases(tables, selection, flow)
    else:
        rows = select_studies(tables, selection, flow, image_files=image_files)
    if keep_unknown_age and least is not None:
        name, reason = f"{least:g} years or older, or of unknown age", f"younger than {least:g} years"
        rows = flow.step(name, rows, reason_where(rows["age"] < least, reason, rows.index))
    if not by_case:
        rows = one_study_a_case(rows, tables, selection, flow)
    if rows.empty:
        told = exclusions(flow)
        hint = " Where all are known to be old enough, give unknown_age=keep." if AGE_NOT_RECORDED in told else ""
        raise InputError(f"task={task.name}: no {flow.unit} of the {tables.origin} is selected. {told}{hint}")
    return rows.assign(label=np.nan)
