import pandas as pd
import pytest

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import Selection, age_band, select_studies
from midrc_ml.errors import InputError


def tables_of(cases: list[dict], studies: list[dict], series: list[dict]) -> Tables:
    return Tables.checked(
        origin="test",
        cases=pd.DataFrame([{"patient_id": row["case_id"], "site": "A", **row} for row in cases]),
        studies=pd.DataFrame(studies),
        series=pd.DataFrame(
            [{"modality": "DX", "view": "AP", "file": f"/x/{row['series_id']}", **row} for row in series]
        ),
    )


def select(tables: Tables, **settings) -> tuple[pd.DataFrame, CohortFlow]:
    flow = CohortFlow(origin="test")
    return select_studies(tables, Selection(**settings), flow), flow


def reasons(flow: CohortFlow) -> dict[str, int]:
    return {entry["reason"]: entry["n"] for step in flow.steps for entry in step["excluded"]}


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "0-17"),
        (17, "0-17"),
        (17.99, "0-17"),
        (18, "18-29"),
        (29, "18-29"),
        (30, "30-39"),
        (40, "40-49"),
        (49.5, "40-49"),
        (50, "50-64"),
        (64, "50-64"),
        (65, "65-74"),
        (75, "75-84"),
        (84, "75-84"),
        (85, "85+"),
        (90, "85+"),
        (None, "Not Reported"),
    ],
)
def test_age_bands_are_those_of_midrc_sequestration(age: float | None, band: str) -> None:
    assert age_band(pd.Series([age], dtype="float64")).tolist() == [band]


def test_every_study_comes_out_or_is_counted_with_its_reason_and_site() -> None:
    tables = tables_of(
        [{"case_id": "c1"}, {"case_id": "c2", "site": "B"}, {"case_id": "c3", "site": None}],
        [
            {"study_id": "kept", "case_id": "c1", "age": 40},
            {"study_id": "no case", "case_id": "c9", "age": 40},
            {"study_id": "ct", "case_id": "c1", "age": 40},
            {"study_id": "no series", "case_id": "c3", "age": 40},
            {"study_id": "lateral", "case_id": "c2", "age": 40},
            {"study_id": "child", "case_id": "c2", "age": 17},
            {"study_id": "no age", "case_id": "c2"},
            {"study_id": "no file", "case_id": "c3", "age": 40},
        ],
        [
            {"series_id": "1", "study_id": "kept"},
            {"series_id": "2", "study_id": "no case"},
            {"series_id": "3", "study_id": "ct", "modality": "CT"},
            {"series_id": "5", "study_id": "lateral", "view": "LATERAL"},
            {"series_id": "6", "study_id": "child"},
            {"series_id": "7", "study_id": "no age"},
            {"series_id": "8", "study_id": "no file", "file": None},
        ],
    )
    studies, flow = select(tables, min_age=18)
    assert studies["study_id"].tolist() == ["kept"]
    assert reasons(flow) == {
        "its case is in no case table": 1,
        "no CR or DX series": 2,
        "no AP or PA view": 1,
        "younger than 18 years": 1,
        "age not recorded": 1,
        "no image file found": 1,
    }
    for before, after in zip(flow.steps, flow.steps[1:], strict=False):
        assert before["n_out"] == after["n_in"]
    for step in flow.steps:
        assert step["n_in"] - step["n_out"] == sum(entry["n"] for entry in step["excluded"])
        assert step["n_out"] == sum(step["by_site_out"].values())
        for entry in step["excluded"]:
            assert entry["n"] == sum(entry["by_site"].values())
    by_site = {entry["reason"]: entry["by_site"] for step in flow.steps for entry in step["excluded"]}
    assert by_site["no CR or DX series"] == {"A": 1, "Not Reported": 1}
    assert by_site["younger than 18 years"] == {"B": 1}


def test_the_lowest_age_is_included() -> None:
    tables = tables_of(
        [{"case_id": "c"}], [{"study_id": "s", "case_id": "c", "age": 18}], [{"series_id": "1", "study_id": "s"}]
    )
    assert len(select(tables, min_age=18)[0]) == 1


def test_ages_over_89_are_adults() -> None:
    tables = tables_of(
        [{"case_id": "c", "age": 90, "age_over_89": True}],
        [{"study_id": "s", "case_id": "c"}],
        [{"series_id": "1", "study_id": "s"}],
    )
    studies, _ = select(tables, min_age=18)
    assert studies[["age", "age_band"]].to_numpy().tolist() == [[90.0, "85+"]]


def test_the_age_at_imaging_comes_before_the_age_of_the_case() -> None:
    tables = tables_of(
        [{"case_id": "c", "age": 50}],
        [{"study_id": "s1", "case_id": "c", "age": 52}, {"study_id": "s2", "case_id": "c"}],
        [{"series_id": "1", "study_id": "s1"}, {"series_id": "2", "study_id": "s2"}],
    )
    assert select(tables)[0].set_index("study_id")["age"].to_dict() == {"s1": 52.0, "s2": 50.0}


def test_a_study_is_read_through_the_series_with_a_view_then_the_lower_id_and_the_others_are_counted() -> None:
    tables = tables_of(
        [{"case_id": "c"}],
        [{"study_id": "s1", "case_id": "c"}, {"study_id": "s2", "case_id": "c"}],
        [
            {"series_id": "1", "study_id": "s1", "view": None},
            {"series_id": "4", "study_id": "s1", "view": "PA"},
            {"series_id": "3", "study_id": "s1", "view": "AP"},
            {"series_id": "2", "study_id": "s1", "view": "LATERAL"},
            {"series_id": "6", "study_id": "s2", "view": "AP"},
            {"series_id": "5", "study_id": "s2", "view": "AP", "file": None},
        ],
    )
    studies, flow = select(tables)
    assert studies.set_index("study_id")["series_id"].to_dict() == {"s1": "3", "s2": "6"}
    assert studies.set_index("study_id")["file"].to_dict() == {"s1": "/x/3", "s2": "/x/6"}
    assert flow.notes == ["2 further series of selected studies are not used: one series stands for a study"]


@pytest.mark.parametrize(("unknown_view", "kept"), [(True, ["s1", "s2"]), (False, ["s1"])])
def test_a_view_that_is_not_recorded_is_kept_unless_the_setting_says_no(unknown_view: bool, kept: list[str]) -> None:
    tables = tables_of(
        [{"case_id": "c"}],
        [{"study_id": "s1", "case_id": "c"}, {"study_id": "s2", "case_id": "c"}],
        [{"series_id": "1", "study_id": "s1"}, {"series_id": "2", "study_id": "s2", "view": None}],
    )
    studies, _ = select(tables, unknown_view=unknown_view)
    assert studies["study_id"].tolist() == kept


def test_all_studies_of_a_patient_stay_in_and_row_order_changes_nothing() -> None:
    cases = [{"case_id": "c2", "patient_id": "p1"}, {"case_id": "c1", "patient_id": "p2"}]
    studies = [{"study_id": f"s{i}", "case_id": f"c{1 + i % 2}"} for i in range(5)]
    series = [{"series_id": f"{i}{view}", "study_id": f"s{i}", "view": view} for i in range(5) for view in ("AP", "PA")]
    one, _ = select(tables_of(cases, studies, series))
    other, _ = select(tables_of(cases[::-1], studies[::-1], series[::-1]))
    pd.testing.assert_frame_equal(one, other)
    assert one["study_id"].tolist() == ["s1", "s3", "s0", "s2", "s4"]


def test_a_group_that_is_not_reported_is_a_group_of_its_own() -> None:
    tables = tables_of(
        [{"case_id": "c", "site": None}],
        [{"study_id": "s", "case_id": "c"}],
        [{"series_id": "1", "study_id": "s", "view": None}],
    )
    studies, _ = select(tables)
    columns = ["site", "sex", "age_band", "race", "ethnicity", "manufacturer", "view"]
    assert studies[columns].iloc[0].tolist() == ["Not Reported"] * 7


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"min_age": "abc"}, "task.selection.min_age is 'abc'; it must be a number"),
        ({"unknown_view": "maybe"}, "task.selection.unknown_view is 'maybe'; it must be true or false"),
        ({"modalities": "DX"}, r"task.selection.modalities is 'DX'; give a list: \[DX\]"),
        ({"views": "AP"}, r"task.selection.views is 'AP'; give a list: \[AP\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Selection(**wrong)
