from functools import partial

import pandas as pd
import pytest

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import Selection
from midrc_ml.errors import InputError
from midrc_ml.tasks.task import Task
from midrc_ml.tasks.unlabelled import selected_studies


def refused(*_: object) -> pd.DataFrame:
    raise AssertionError("no label is asked for")


def task_of(**selection: object) -> Task:
    return Task(
        name="icu",
        version=1,
        question="?",
        source="-",
        kind="binary",
        label=partial(refused),
        metrics={"auroc": refused},
        needs=("cases", "icu_stay"),
        selection=Selection(**selection),
    )


def tables_of(ages: dict[str, float | None], **given: object) -> Tables:
    studies = [
        {"study_id": name, "case_id": "P", "age": age, "day": day} for day, (name, age) in enumerate(ages.items())
    ]
    series = [
        {"study_id": name, "series_id": f"{name}.1", "modality": "DX", "view": "AP", "file": f"/x/{name}"}
        for name in ages
    ]
    return Tables.checked(
        origin="test",
        cases=pd.DataFrame({"case_id": ["P"], "patient_id": ["P"]}),
        studies=pd.DataFrame(studies),
        series=pd.DataFrame(series),
        absent={"icu_stay": "not here"},
        **given,
    )


def test_what_a_label_needs_is_not_needed_and_no_label_is_made() -> None:
    rows = selected_studies(task_of(), tables_of({"S1": 40.0, "S2": None}), CohortFlow(origin="test"))
    assert rows["study_id"].tolist() == ["S1", "S2"]
    assert rows["label"].isna().all()


@pytest.mark.parametrize(("keep", "kept"), [(False, ["adult"]), (True, ["adult", "unknown"])])
def test_an_age_that_is_not_recorded_is_left_out_where_the_task_has_a_least_one_unless_it_is_to_be_kept(
    keep: bool, kept: list[str]
) -> None:
    flow = CohortFlow(origin="test")
    tables = tables_of({"adult": 40.0, "child": 17.0, "unknown": None})
    rows = selected_studies(task_of(min_age=18), tables, flow, keep_unknown_age=keep)
    assert rows["study_id"].tolist() == kept
    reasons = {entry["reason"]: entry["n"] for step in flow.steps for entry in step["excluded"]}
    assert reasons == {"younger than 18 years": 1, **({} if keep else {"age not recorded": 1})}


def test_one_study_a_case_is_chosen_of_all_that_are_selected() -> None:
    task = task_of(studies="last", min_age=18)
    rows = selected_studies(task, tables_of({"S1": 40.0, "S2": 41.0, "S3": 10.0}), CohortFlow(origin="test"))
    assert rows["study_id"].tolist() == ["S2"]


def test_a_cohort_without_studies_is_scored_case_by_case_where_its_task_can_be() -> None:
    tables = Tables.checked(
        origin="test",
        cases=pd.DataFrame({"case_id": ["P", "Q"], "patient_id": ["P", "Q"]}),
        absent={"studies": "none", "series": "none"},
    )
    flow = CohortFlow(origin="test")
    rows = selected_studies(task_of(), tables, flow, image_files="if any")
    assert (rows["case_id"].tolist(), flow.unit) == (["P", "Q"], "case")
    with pytest.raises(InputError, match="needs studies"):
        selected_studies(task_of(), tables, flow, image_files="needed")


def test_that_nothing_is_left_is_said_with_the_reasons_and_the_way_out() -> None:
    tables = tables_of({"S1": None})
    with pytest.raises(InputError, match=r"Of 1 studies: 1 age not recorded\. Where all .* unknown_age=keep"):
        selected_studies(task_of(min_age=18), tables, CohortFlow(origin="test"))
    with pytest.raises(InputError, match=r"1 no CT series\.$"):
        selected_studies(task_of(modalities=["CT"]), tables, CohortFlow(origin="test"))
