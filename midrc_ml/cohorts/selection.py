"""From the tables to one row per study that a task may use: who, when, which image.

A study is read through one series. Where several fit, the one with a recorded view comes first, then the
lower series id; the others are counted. All studies of a patient stay in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from midrc_ml.cohorts.flow import CohortFlow, reason_where
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import check_kinds

# MIDRC's sequestration bands (MIDRC/Stratified_Sampling); the upper bound is exclusive.
AGE_BANDS = ("0-17", "18-29", "30-39", "40-49", "50-64", "65-74", "75-84", "85+")
AGE_BAND_STARTS = (0, 18, 30, 40, 50, 65, 75, 85)
NOT_REPORTED = "Not Reported"
GROUP_COLUMNS = ("site", "sex", "age_band", "race", "ethnicity", "manufacturer", "view")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which studies a task is about.

    modalities: of the series (`CR`, `DX`, ...). views: allowed values of the recorded view; a series whose
    view is not recorded is kept unless `unknown_view` is false. min_age: in years at imaging; an age that
    is not recorded is excluded where this is set.
    """

    modalities: Sequence[str] = field(default_factory=lambda: ["CR", "DX"])
    views: Sequence[str] = field(default_factory=lambda: ["AP", "PA"])
    unknown_view: bool = True
    min_age: float | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "task.selection")


def age_band(age: pd.Series) -> pd.Series:
    """MIDRC's sequestration band of each age in years; missing becomes `Not Reported`."""
    position = np.searchsorted(np.array(AGE_BAND_STARTS), age.fillna(-1).to_numpy(), side="right") - 1
    names = np.array([*AGE_BANDS, NOT_REPORTED], dtype=object)
    return pd.Series(names[position], index=age.index)


def select_studies(tables: Tables, selection: Selection, flow: CohortFlow) -> pd.DataFrame:
    """Studies that fit `selection`, one row each, with the case's columns and the series to read.

    Columns: study_id, case_id, patient_id, day, age, the group columns, icu_ever, ventilated_ever,
    series_id, file. What is excluded is counted in `flow`, per site.
    """
    cases = tables.cases[
        ["case_id", "patient_id", "project", "site", "sex", "race", "ethnicity", "icu_ever", "ventilated_ever"]
    ].assign(age_at_index=tables.cases["age"])
    studies = tables.studies.merge(cases, on="case_id", how="left")
    # An age at imaging that was not sent is taken from the case; both are in whole years.
    studies["age"] = studies["age"].fillna(studies["age_at_index"])
    no_case = studies["patient_id"].isna()
    studies = flow.step(
        "in the case table", studies, reason_where(no_case, "its case is in no case table", studies.index)
    )

    series = tables.series[tables.series["modality"].isin(list(selection.modalities))]
    wanted = " or ".join(selection.modalities)
    has_modality = studies["study_id"].isin(series["study_id"])
    studies = flow.step(
        f"has a {wanted} series", studies, reason_where(~has_modality, f"no {wanted} series", studies.index)
    )

    if selection.views:
        allowed = series["view"].isin(list(selection.views))
        if selection.unknown_view:
            allowed |= series["view"].isna()
        series = series[allowed]
        has_view = studies["study_id"].isin(series["study_id"])
        words = " or ".join(selection.views)
        studies = flow.step("frontal", studies, reason_where(~has_view, f"no {words} view", studies.index))

    if selection.min_age is not None:
        reasons = reason_where(
            studies["age"] < selection.min_age, f"younger than {selection.min_age:g} years", studies.index
        )
        reasons[studies["age"].isna()] = "age not recorded"
        studies = flow.step(f"{selection.min_age:g} years or older", studies, reasons)

    with_file = series[series["file"].notna()]
    has_file = studies["study_id"].isin(with_file["study_id"])
    studies = flow.step("has an image file", studies, reason_where(~has_file, "no image file found", studies.index))

    ordered = with_file.assign(no_view=with_file["view"].isna()).sort_values(["study_id", "no_view", "series_id"])
    first = ordered.drop_duplicates("study_id")
    unused = int(ordered["study_id"].isin(studies["study_id"]).sum()) - len(studies)
    if unused:
        flow.notes.append(f"{unused} further series of selected studies are not used: one series stands for a study")
    studies = studies.merge(first[["study_id", "series_id", "view", "manufacturer", "file"]], on="study_id", how="left")
    studies["age_band"] = age_band(studies["age"])
    for column in GROUP_COLUMNS:
        studies[column] = studies[column].fillna(NOT_REPORTED)
    return studies.sort_values(["patient_id", "study_id"]).reset_index(drop=True)
