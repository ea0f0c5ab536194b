"""From the tables to one row per study (or per case, where there are none) that a task may use: who, when, which image.

A study is read through one series. Where several fit, the one with a recorded view comes first, then the
lower series id; the others are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from midrc_ml.cohorts.exam import CHEST, is_of_body_part, is_portable
from midrc_ml.cohorts.flow import CohortFlow, reason_where
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, check_kinds
from midrc_ml.tables.keys import is_among
from midrc_ml.tables.schemas import AGE_OVER_89, CASE_FLAGS, EVENT_KINDS

# MIDRC's sequestration bands (MIDRC/Stratified_Sampling); the upper bound is exclusive.
AGE_BANDS = ("0-17", "18-29", "30-39", "40-49", "50-64", "65-74", "75-84", "85+")
AGE_BAND_STARTS = (0, 18, 30, 40, 50, 65, 75, 85)
NOT_REPORTED = "Not Reported"
_DAYS_IN_YEAR = 365.25
GROUP_COLUMNS = ("site", "sex", "age_band", "race", "ethnicity", "manufacturer", "view")
_OF_CASE = ("project", "site", "sex", "race", "ethnicity", "arrival_date", *CASE_FLAGS)

STUDIES = ("every", "first", "last", "nearest")
PREDICTION_TIMES = ("admission", "last")
ImageFiles = Literal["needed", "if any"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which studies a task is about.

    modalities: of the series (`CR`, `DX`, ...). views: allowed values of the recorded view; a series whose
    view is not recorded is kept unless `unknown_view` is false. body_parts: `chest`, or words of LOINC's system
    or BodyPartExamined; a study that says nothing of it is kept unless `unknown_body_part` is false. portable: true
    = only those known to be portable, false = only those known not to be, null = both. min_age: in years at
    imaging; an age that is not recorded is excluded where this is set. studies: of those with a label, `every`
    one, or one a case: the `first`, the `last`, the one `nearest` to an event of the kind `nearest_to`.
    prediction_time: where there are no studies, the day that the question is asked on: `admission` to hospital,
    or the `last` dated laboratory value or observation before discharge or death.
    """

    modalities: Sequence[str] = field(default_factory=lambda: ["CR", "DX"])
    views: Sequence[str] = field(default_factory=lambda: ["AP", "PA"])
    unknown_view: bool = True
    body_parts: Sequence[str] = field(default_factory=list)
    unknown_body_part: bool = True
    portable: bool | None = None
    min_age: float | None = None
    studies: str = "every"
    nearest_to: str | None = None
    prediction_time: str = "admission"

    def __post_init__(self) -> None:
        check_kinds(self, "task.selection")
        for name, value, allowed in (
            ("studies", self.studies, STUDIES),
            ("prediction_time", self.prediction_time, PREDICTION_TIMES),
            ("nearest_to", self.nearest_to, (*EVENT_KINDS, None)),
        ):
            if value not in allowed:
                words = ", ".join(str(word) for word in allowed if word)
                raise InputError(f"task.selection.{name} is {value!r}; it must be one of {words}")
        if (self.studies == "nearest") != (self.nearest_to is not None):
            raise InputError(
                f"task.selection.studies is {self.studies!r} and nearest_to is {self.nearest_to!r}; "
                f"studies=nearest and nearest_to=EVENT belong together"
            )
        if self.min_age is not None and not 0 <= self.min_age <= AGE_OVER_89:
            raise InputError(
                f"task.selection.min_age is {self.min_age!r}; it must be 0 to {AGE_OVER_89:g} years, or null"
            )


def age_band(age: pd.Series) -> pd.Series:
    """MIDRC's sequestration band of each age in years; missing becomes `Not Reported`."""
    position = np.searchsorted(np.array(AGE_BAND_STARTS), age.fillna(-1).to_numpy(), side="right") - 1
    names = np.array([*AGE_BANDS, NOT_REPORTED], dtype=object)
    return pd.Series(names[position], index=age.index)


def select_studies(
    tables: Tables, selection: Selection, flow: CohortFlow, *, image_files: ImageFiles = "needed"
) -> pd.DataFrame:
    """Studies that fit `selection`, one row each, with the case's columns and the series to read.

    Columns: study_id, case_id, patient_id, further_cases (all case ids of a patient who has several), day, age,
    modality, the group columns, project, arrival_date, the case flags, series_id, file. What is excluded is counted
    in `flow`, per site.

    image_files: `needed` = a study without one is excluded; `if any` = only where other studies have one, so
    that a cohort of tables alone can still be described.
    """
    cases = _cases(tables)[["case_id", "patient_id", *_OF_CASE, "age"]].rename(columns={"age": "age_at_index"})
    studies = _with_ages(tables.studies.merge(cases, on="case_id", how="left"), flow)
    no_case = studies["patient_id"].isna()
    studies = flow.step(
        "in the case table", studies, reason_where(no_case, "its case is in no case table", studies.index)
    )

    without_series = tables.absent.get("series")
    every = tables.series if without_series is None else _one_series_each(studies, selection.modalities)
    series = every[every["modality"].isin(list(selection.modalities))]
    wanted = " or ".join(selection.modalities)
    has_modality = is_among(studies["study_id"], series["study_id"])
    studies = flow.step(
        f"has a {wanted} series", studies, reason_where(~has_modality, f"no {wanted} series", studies.index)
    )
    if selection.body_parts:
        studies = _of_body_part(studies, selection, flow)
    if selection.views and without_series is not None:
        flow.not_applicable("frontal", without_series)
    elif selection.views:
        allowed = series["view"].isin(list(selection.views))
        if selection.unknown_view:
            allowed |= series["view"].isna()
        series = series[allowed]
        has_view = is_among(studies["study_id"], series["study_id"])
        words = " or ".join(selection.views)
        studies = flow.step("frontal", studies, reason_where(~has_view, f"no {words} view", studies.index))
    if selection.portable is not None:
        studies = _portable(studies, selection.portable, flow)
    studies = _old_enough(studies, selection, flow)

    with_file = series[series["file"].notna()]
    if image_files == "needed" or len(with_file):
        has_file = is_among(studies["study_id"], with_file["study_id"])
        studies = flow.step("has an image file", studies, reason_where(~has_file, "no image file found", studies.index))
    else:
        flow.not_applicable("has an image file", "no image file is there: tables alone")
        with_file = series

    with_file = with_file[is_among(with_file["study_id"], studies["study_id"])]
    ordered = with_file.assign(no_view=with_file["view"].isna()).sort_values(["study_id", "no_view", "series_id"])
    first = ordered.drop_duplicates("study_id")
    if unused := len(ordered) - len(studies):
        flow.notes.append(f"{unused} further series of selected studies are not used: one series stands for a study")
    of_series = ["study_id", "series_id", "modality", "view", "manufacturer", "file"]
    studies = studies.drop(columns="modality").merge(first[of_series], on="study_id", how="left")
    return _with_groups(studies, tables)


def select_cases(tables: Tables, selection: Selection, flow: CohortFlow) -> pd.DataFrame:
    """One row per case, for a cohort without studies: the columns of `select_studies`, no series and no file.

    study_id is the case's id; `day` is the prediction time, missing where the case has no such day.
    """
    for step in ("has a series of the modality", "body part", "frontal", "portable", "has an image file"):
        flow.not_applicable(step, f"no studies ({tables.absent.get('studies', 'the cohort has none')})")
    day = "of admission" if selection.prediction_time == "admission" else "of the last value or observation"
    flow.notes.append(f"no studies: each case is asked once, on the day {day}")
    cases = _cases(tables).assign(
        study_id=tables.cases["case_id"], day=_prediction_day(tables, selection.prediction_time)
    )
    cases = _old_enough(cases, selection, flow)
    for column in ("modality", "view", "manufacturer", "series_id", "file"):
        cases[column] = pd.Series(pd.NA, index=cases.index, dtype="str")
    return _with_groups(cases, tables)


def one_study_a_case(rows: pd.DataFrame, tables: Tables, selection: Selection, flow: CohortFlow) -> pd.DataFrame:
    """`rows` with one study a case, where `selection.studies` asks for it; of two on one day the lower study id."""
    if selection.studies == "every":
        return rows
    if selection.studies == "nearest":
        events = tables.events[tables.events["kind"] == selection.nearest_to].dropna(subset="start_day")
        pairs = rows.reset_index().merge(events[["case_id", "start_day"]], on="case_id")
        distance = (pairs["start_day"] - pairs["day"]).abs().groupby(pairs["index"]).min()
        rank, words = distance.reindex(rows.index), f"nearest to a {selection.nearest_to}"
    else:
        rank, words = rows["day"] * (1 if selection.studies == "first" else -1), selection.studies
    ordered = rows.assign(rank=rank).sort_values(["case_id", "rank", "study_id"])
    chosen = ordered.dropna(subset="rank").drop_duplicates("case_id").index
    reasons = reason_where(~rows.index.isin(chosen), f"not the one study of its case: {words}", rows.index)
    reasons[rank.isna()] = (
        "the study has no day" if selection.studies != "nearest" else f"no dated {selection.nearest_to}"
    )
    return flow.step(f"one study a case: {words}", rows, reasons)


def _cases(tables: Tables) -> pd.DataFrame:
    """The cases; one who is known under several ids arrived with the first batch of any of them."""
    first = tables.cases.groupby("patient_id")["arrival_date"].transform("min")
    return tables.cases.assign(arrival_date=first)


def _with_ages(studies: pd.DataFrame, flow: CohortFlow) -> pd.DataFrame:
    """`studies` with an age where only that of the case at its index event is known: the whole years between added."""
    at_index = studies["age_at_index"]
    years = np.trunc(studies["day"].fillna(0) / _DAYS_IN_YEAR).where(at_index < AGE_OVER_89, 0)
    reckoned = (at_index + years).clip(0, AGE_OVER_89)
    moved = int((studies["age"].isna() & (reckoned != at_index) & at_index.notna()).sum())
    if moved:
        flow.notes.append(
            f"{moved} ages at imaging that were not sent are those of their cases with the whole years between added"
        )
    return studies.assign(age=studies["age"].fillna(reckoned))


def _one_series_each(studies: pd.DataFrame, modalities: Sequence[str]) -> pd.DataFrame:
    """A series for each study whose own modalities name one of these, for a cohort that has no table of series."""
    items = studies["modality"].fillna("").str.split(",")
    named = [next((name for name in modalities if name in of_study), None) for of_study in items]
    blank = dict.fromkeys(["series_id", "view", "manufacturer", "file"], pd.Series(pd.NA, studies.index, dtype="str"))
    return pd.DataFrame({"study_id": studies["study_id"], "modality": named, **blank}, index=studies.index)


def _of_body_part(studies: pd.DataFrame, selection: Selection, flow: CohortFlow) -> pd.DataFrame:
    fits = is_of_body_part(studies, selection.body_parts)
    words = " or ".join(selection.body_parts)
    reasons = reason_where(fits.eq(False), f"not of the {words}", studies.index)
    if not selection.unknown_body_part:
        reasons[fits.isna()] = "body part not recorded"
    elif unknown := int(fits.isna().sum()):
        flow.notes.append(f"{unknown} studies say nothing of the body part; they are kept")
    name = CHEST if list(selection.body_parts) == [CHEST] else words
    return flow.step(f"of the {name}", studies, reasons)


def _portable(studies: pd.DataFrame, wanted: bool, flow: CohortFlow) -> pd.DataFrame:
    found = is_portable(studies)
    reasons = reason_where(found.eq(not wanted), "portable" if not wanted else "not portable", studies.index)
    reasons[found.isna()] = "not known whether it is portable"
    return flow.step("portable" if wanted else "not portable", studies, reasons)


def _old_enough(rows: pd.DataFrame, selection: Selection, flow: CohortFlow) -> pd.DataFrame:
    if selection.min_age is None:
        return rows
    reasons = reason_where(rows["age"] < selection.min_age, f"younger than {selection.min_age:g} years", rows.index)
    reasons[rows["age"].isna()] = "age not recorded"
    return flow.step(f"{selection.min_age:g} years or older", rows, reasons)


def _prediction_day(tables: Tables, prediction_time: str) -> pd.Series:
    """The day for each case, aligned with `tables.cases`."""
    events = tables.events
    if prediction_time == "admission":
        day = events[events["kind"] == "hospital_stay"].groupby("case_id")["start_day"].min()
    else:
        ends = events[events["kind"].isin(["hospital_stay", "death"])]
        until = ends["end_day"].where(ends["kind"] == "hospital_stay", ends["start_day"]).groupby(ends["case_id"]).max()
        seen = events[events["kind"].isin(["laboratory", "observation"])]
        seen = seen[seen["start_day"] <= seen["case_id"].map(until).fillna(np.inf)]
        day = seen.groupby("case_id")["start_day"].max()
    return tables.cases["case_id"].map(day).astype("float64")


def _several_cases(tables: Tables) -> dict[str, tuple[str, ...]]:
    """{patient known under several case ids: all of them}: a published list may name any of them."""
    cases = tables.cases.loc[tables.cases.duplicated("patient_id", keep=False), ["patient_id", "case_id"]]
    return {str(patient): tuple(ids) for patient, ids in cases.groupby("patient_id")["case_id"]}


def _with_groups(rows: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    rows["age_band"] = age_band(rows["age"])
    rows["further_cases"] = rows["patient_id"].map(_several_cases(tables))
    for column in GROUP_COLUMNS:
        rows[column] = rows[column].fillna(NOT_REPORTED)
    return rows.sort_values(["patient_id", "study_id"]).reset_index(drop=True)
