import pandas as pd
import pytest

from midrc_ml.errors import TableError
from midrc_ml.tables.checks import checked_table, empty_table, parse_list, typed_columns
from midrc_ml.tables.schemas import CASES, EVENTS, FIVE_TABLES, READINGS, STUDIES, Column, flag, number, text


def typed(values: list, column: Column) -> list:
    frame, problems = typed_columns(pd.DataFrame({column.name: values}), [column], where="x.tsv")
    assert problems == []
    return list(frame[column.name])


def problems_of(values: list, column: Column, *, first_row: int = 2) -> list[str]:
    return typed_columns(pd.DataFrame({column.name: values}), [column], where="x.tsv", first_row=first_row)[1]


@pytest.mark.parametrize(
    ("spelling", "items"),
    [
        ("CT,SR", ("CT", "SR")),
        ("['CT', 'SR']", ("CT", "SR")),
        ('["CT", "SR"]', ("CT", "SR")),
        ('"[""CT"", ""SR""]"', ("CT", "SR")),
        ('"[""DX""]"', ("DX",)),
        ('"CT,SR"', ("CT", "SR")),
        ('""', ()),
        ('"', ('"',)),
        ("DX", ("DX",)),
        ("['419639-000001']", ("419639-000001",)),
        ("434,338,24", ("434", "338", "24")),
        ("[5, -2]", ("5", "-2")),
        ("[CT, SR]", ("CT", "SR")),
        (" CT , SR ", ("CT", "SR")),
        ("", ()),
        ("[]", ()),
        (",", ()),
    ],
)
def test_the_three_list_spellings_give_the_same_items(spelling: str, items: tuple[str, ...]) -> None:
    assert parse_list(spelling) == items


def test_an_empty_list_cell_is_an_empty_tuple() -> None:
    assert typed(["CT,SR", ""], Column(name="modality", kind="list")) == [("CT", "SR"), ()]


def test_none_and_leading_zeros_stay_text() -> None:
    assert typed(["None", "000", "NaN", "1.0"], text("zip")) == ["None", "000", "NaN", "1.0"]


def test_an_empty_text_is_missing() -> None:
    values = typed(["", "  ", "a"], text("site"))
    assert pd.isna(values[0])
    assert pd.isna(values[1])
    assert values[2] == "a"


def test_a_flag_has_three_states() -> None:
    values = typed(["True", "False", "", "yes", "NO", "1.0", "0"], flag("icu"))
    assert values[2] is pd.NA
    assert values[:2] + values[3:] == [True, False, True, False, True, False]


def test_a_flag_of_another_spelling_is_a_problem_and_not_a_no() -> None:
    assert problems_of(["True", "maybe"], flag("icu")) == [
        "x.tsv: icu must be True, False or empty; 1 row does not (row 3: 'maybe')"
    ]


def test_signed_and_fractional_days_are_numbers() -> None:
    assert typed(["-3", "0.5", " 59.0 "], number("day")) == [-3.0, 0.5, 59.0]


def test_limits_of_a_number_are_included_and_what_is_beyond_is_named() -> None:
    assert typed(["0", "89"], number("age", low=0, high=89)) == [0.0, 89.0]
    assert problems_of(["0", "-1", "89", "89.5"], number("age", low=0, high=89)) == [
        "x.tsv: age must be a number of at least 0 and at most 89; 2 rows do not (row 3: '-1', row 5: '89.5')"
    ]


@pytest.mark.parametrize("value", ["nan", "None", "12 days", "2021-03-04", "inf", "-Infinity", "1,5"])
def test_what_is_no_finite_number_is_a_problem_and_not_missing(value: str) -> None:
    (problem,) = problems_of(["1", value], number("day"))
    assert f"row 3: {value!r}" in problem


def test_an_unknown_value_is_named_with_its_row_and_all_allowed_values() -> None:
    assert problems_of(["Male", "F"], text("sex", allowed=("Female", "Male"))) == [
        "x.tsv: sex must be one of 'Female', 'Male'; 1 row does not (row 3: 'F')"
    ]


def test_a_blank_among_allowed_values_is_missing_and_no_problem() -> None:
    values = typed(["Male", ""], text("sex", allowed=("Female", "Male")))
    assert values[0] == "Male"
    assert pd.isna(values[1])


def test_a_required_value_that_is_blank_is_named() -> None:
    assert problems_of(["a", ""], text("study_uid", required=True)) == [
        "x.tsv: study_uid must not be empty; 1 row does not (row 3: '')"
    ]


def test_a_wrong_value_in_a_required_column_is_not_also_called_empty() -> None:
    (problem,) = problems_of(["death", "deth"], text("kind", required=True, allowed=("death",)))
    assert "must be one of 'death'" in problem


def test_five_of_ten_thousand_bad_rows_are_shown_and_all_are_counted() -> None:
    (problem,) = problems_of(["x"] * 10_000, number("day"), first_row=2)
    assert problem == (
        "x.tsv: day must be a number; 10000 rows do not "
        "(row 2: 'x', row 3: 'x', row 4: 'x', row 5: 'x', row 6: 'x', and 9995 more)"
    )


def test_a_missing_column_is_named_with_those_found() -> None:
    _, problems = typed_columns(pd.DataFrame({"a": ["1"]}), [text("a"), text("b"), number("c")], where="x.tsv")
    assert problems == ["x.tsv: no column b, c (columns found: a)"]


def test_an_optional_column_may_be_absent_and_is_then_missing_throughout() -> None:
    columns = [text("a"), flag("b", optional=True), Column(name="c", kind="list", optional=True)]
    frame, problems = typed_columns(pd.DataFrame({"a": ["1", "2"]}), columns, where="x.tsv")
    assert problems == []
    assert frame["b"].isna().tolist() == [True, True]
    assert frame["c"].tolist() == [(), ()]


def test_columns_that_are_not_asked_for_are_left_out() -> None:
    frame, _ = typed_columns(pd.DataFrame({"z": ["1"], "a": ["2"]}), [text("a")], where="x.tsv")
    assert list(frame.columns) == ["a"]


def test_every_problem_of_a_table_is_told_at_once() -> None:
    rows = pd.DataFrame(
        {"case_id": ["a", "b", ""], "patient_id": "p", "sex": ["Man", "Male", "Male"], "age": [1, 91, 2]}
    )
    with pytest.raises(TableError) as error:
        checked_table(rows, CASES, where="my export")
    assert len(error.value.problems) == 3
    assert str(error.value).startswith("3 problems in the tables: ")
    for part in ("row 2: ''", "row 0: 'Man'", "'Not Reported'", "row 1: '91'", "cases from my export: age"):
        assert part in str(error.value)


def test_a_repeated_key_is_refused() -> None:
    rows = pd.DataFrame({"study_id": ["s1", "s2", "s1"], "case_id": ["a", "a", "b"]})
    with pytest.raises(TableError, match=r"2 rows share their study_id with another row \(rows 0, 2\)"):
        checked_table(rows, STUDIES, where="x")


def test_a_key_of_several_columns_may_repeat_in_each_of_them() -> None:
    rows = pd.DataFrame({"study_id": "s", "series_id": "1", "reader": ["r1", "r1", "r2"], "name": ["x", "y", "x"]})
    assert len(checked_table(rows, READINGS, where="x")) == 3


def test_events_may_repeat_because_they_have_no_key() -> None:
    rows = pd.DataFrame({"case_id": ["a", "a"], "kind": "icu_stay", "start_day": 1})
    assert checked_table(rows, EVENTS, where="x")["start_day"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("table", FIVE_TABLES, ids=lambda table: table.name)
def test_an_empty_table_has_all_columns_and_passes_its_own_checks(table) -> None:
    empty = empty_table(table)
    assert list(empty.columns) == [column.name for column in table.columns]
    assert len(checked_table(empty, table, where="x")) == 0


def test_the_given_frame_is_not_changed() -> None:
    rows = pd.DataFrame({"study_id": ["s1"], "case_id": [" a "], "day": ["3"]}, index=[7])
    before = rows.copy()
    checked_table(rows, STUDIES, where="x")
    pd.testing.assert_frame_equal(rows, before)
