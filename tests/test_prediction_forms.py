"""The predictions table in its other forms: probabilities of classes, and a risk with event and time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from midrc_ml.errors import InputError
from midrc_ml.predictions import (
    GROUP_COLUMNS,
    checked_predictions,
    class_names,
    load_predictions,
    predictions_table,
    save_predictions,
    truth_and_score,
)

CLASSES = ["negative", "typical", "not sure"]
PROBABILITIES = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.0, 0.0, 1.0]])
IDS = ["patient_id", "case_id", "study_id", "part", "label"]


def studies(label: list[float], **columns: object) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "patient_id": ["p2", "p1", "p1"],
            "case_id": ["c2", "c1", "c1"],
            "study_id": ["s1", "s3", "s2"],
            "part": "test",
            "label": label,
        }
    )
    return table.assign(**dict.fromkeys(GROUP_COLUMNS, "Not Reported"), **columns)


def of_classes() -> pd.DataFrame:
    return predictions_table(studies([1.0, 0.0, 2.0]), PROBABILITIES, kind="multiclass", classes=CLASSES)


def of_times() -> pd.DataFrame:
    rows = studies([1.0, 0.0, 1.0], time=[3.5, 10.0, 0.0])
    return predictions_table(rows, np.array([0.9, -2.0, 0.5]), kind="time_to_event")


def of_numbers() -> pd.DataFrame:
    return predictions_table(studies([0.0, 1.0, 1.0]), np.array([0.25, 0.5, 0.75]))


every_form = pytest.mark.parametrize("made", [of_classes, of_times, of_numbers])


def test_a_multiclass_table_has_a_probability_for_each_class_by_its_name() -> None:
    table = of_classes()
    scores = ["y_score_negative", "y_score_typical", "y_score_not sure"]
    assert list(table.columns) == [*IDS, "y_true", *scores, *GROUP_COLUMNS]
    assert table[["study_id", "y_true", *scores]].to_numpy().tolist() == [
        ["s2", 2.0, 0.0, 0.0, 1.0],
        ["s3", 0.0, 0.125, 0.75, 0.125],
        ["s1", 1.0, 0.5, 0.25, 0.25],
    ]
    assert class_names(table) == CLASSES
    assert class_names(of_numbers()) == []


def test_a_time_to_event_table_has_a_risk_and_its_event_and_days_after_it() -> None:
    table = of_times()
    assert list(table.columns) == [*IDS, "y_true", "y_score", "time", "event", *GROUP_COLUMNS]
    assert table[["study_id", "y_true", "y_score", "time", "event"]].to_numpy().tolist() == [
        ["s2", 1.0, 0.5, 0.0, 1],
        ["s3", 0.0, -2.0, 10.0, 0],
        ["s1", 1.0, 0.9, 3.5, 1],
    ]
    assert table["event"].dtype == np.int64


@every_form
def test_what_is_saved_is_what_is_loaded_and_checking_again_changes_nothing(made: object, tmp_path: Path) -> None:
    table = made()
    save_predictions(table, tmp_path / "predictions.parquet")
    pd.testing.assert_frame_equal(load_predictions(tmp_path / "predictions.parquet"), table)
    pd.testing.assert_frame_equal(checked_predictions(table[::-1]), table)


@every_form
def test_numbers_that_came_as_text_are_read_as_numbers(made: object, tmp_path: Path) -> None:
    table = made()
    table.to_csv(tmp_path / "scores.csv", index=False)
    read = pd.read_csv(tmp_path / "scores.csv", dtype=str)
    numbers = table.columns[5:-7]
    pd.testing.assert_frame_equal(checked_predictions(read)[numbers], table[numbers])


@pytest.mark.parametrize(
    ("made", "columns"),
    [
        (of_classes, ["y_true", "y_score_negative", "y_score_not sure"]),
        (of_times, ["y_true", "y_score", "time", "event"]),
    ],
)
@pytest.mark.parametrize("value", [None, np.inf, "high"])
def test_a_value_that_is_not_a_finite_number_is_refused_and_counted(
    made: object, columns: list[str], value: object
) -> None:
    for column in columns:
        table = made().astype({column: object})
        table.loc[1, column] = value
        with pytest.raises(InputError, match=f"1 of 3 rows have no finite {column}"):
            checked_predictions(table)


@pytest.mark.parametrize(
    ("made", "extra", "words"),
    [
        (of_classes, "y_score", r"it has y_score_negative, .*, y_score_not sure and y_score; a table has"),
        (of_classes, "time", "y_score_not sure and time; a table has y_score_<class> for each class"),
        (of_classes, "event", "y_score_not sure and event; a table has"),
        (of_times, "y_score_death", "it has y_score_death and y_score, time, event; a table has"),
        (of_numbers, "time", "no column event; a predictions table has"),
        (of_numbers, "event", "no column time; a predictions table has"),
    ],
)
def test_columns_of_two_forms_in_one_table_are_refused(made: object, extra: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        checked_predictions(made().assign(**{extra: 1.0}))


def test_a_multiclass_table_of_one_class_is_refused() -> None:
    with pytest.raises(InputError, match="y_score_negative alone; a multiclass table has a column for each of two"):
        checked_predictions(of_classes().drop(columns=["y_score_typical", "y_score_not sure"]))


@pytest.mark.parametrize("wrong", [3.0, -1.0, 0.5])
def test_a_truth_that_is_the_place_of_no_class_is_refused(wrong: float) -> None:
    table = of_classes()
    table.loc[0, "y_true"] = wrong
    with pytest.raises(InputError, match=r"1 of 3 rows have a y_true that is no class; .* from 0 to 2"):
        checked_predictions(table)


def test_logits_are_refused_as_no_probabilities() -> None:
    negative, above = of_classes(), of_classes()
    negative.loc[0, ["y_score_negative", "y_score_typical"]] = [-0.25, 0.25]
    with pytest.raises(InputError, match="1 of 3 rows have a negative probability"):
        checked_predictions(negative)
    above.loc[:1, "y_score_typical"] += 0.01
    with pytest.raises(InputError, match=r"2 of 3 rows have probabilities that do not sum to 1; .* not logits"):
        checked_predictions(above)


def test_probabilities_in_few_digits_are_taken() -> None:
    table = of_classes()
    table.loc[1, ["y_score_negative", "y_score_typical", "y_score_not sure"]] = [0.333, 0.333, 0.333]
    assert len(checked_predictions(table)) == 3


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("time", -0.5, "1 of 3 rows have a negative time"),
        ("event", 2, r"1 of 3 rows have another event than 1 \(seen\) or 0 \(censored\)"),
        ("event", 1, "1 of 3 rows have a y_true that is not their event"),
    ],
)
def test_a_time_or_event_that_cannot_be_is_refused(column: str, value: float, words: str) -> None:
    table = of_times()
    table.loc[1, column] = value
    with pytest.raises(InputError, match=words):
        checked_predictions(table)


def test_no_message_names_a_patient_or_a_value_of_one() -> None:
    table = of_times()
    table.loc[1, "time"] = -123.25
    with pytest.raises(InputError) as caught:
        checked_predictions(table)
    assert not any(word in str(caught.value) for word in ("p1", "s3", "c1", "123.25"))


# What a metric is given.


def test_the_arrays_of_each_kind() -> None:
    y_true, y_score = truth_and_score(of_classes(), kind="multiclass", classes=CLASSES)
    assert y_true.tolist() == [2, 0, 1]
    assert y_score.tolist() == [[0, 0, 1], [0.125, 0.75, 0.125], [0.5, 0.25, 0.25]]
    y_true, y_score = truth_and_score(of_times(), kind="time_to_event")
    assert y_true.tolist() == [[1, 0], [0, 10], [1, 3.5]]
    assert y_score.tolist() == [0.5, -2, 0.9]
    for kind in ("binary", "ordinal", "regression"):
        y_true, y_score = truth_and_score(of_numbers(), kind=kind)
        assert (y_true.tolist(), y_score.tolist()) == ([1, 1, 0], [0.75, 0.5, 0.25])


def test_the_scores_stand_in_the_order_of_the_tasks_classes_wherever_their_columns_do() -> None:
    table = of_classes()
    mixed = table[[*table.columns[:6], "y_score_not sure", "y_score_negative", "y_score_typical", *GROUP_COLUMNS]]
    given = truth_and_score(checked_predictions(mixed), kind="multiclass", classes=CLASSES)
    for found, expected in zip(given, truth_and_score(table, kind="multiclass"), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("made", "kind", "words"),
    [
        (
            of_numbers,
            "multiclass",
            "it has one y_score, but the task is of kind multiclass, which needs y_score_<class>",
        ),
        (
            of_classes,
            "binary",
            "it has y_score_<class> columns, but the task is of kind binary, which needs one y_score",
        ),
        (of_numbers, "time_to_event", "it has no time and event, but the task is of kind time_to_event"),
        (of_times, "binary", "it has time and event, but the task is of kind binary"),
    ],
)
def test_a_table_of_another_form_than_the_task_is_refused(made: object, kind: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        truth_and_score(made(), kind=kind)


def test_other_classes_than_the_tasks_are_refused() -> None:
    with pytest.raises(InputError, match="its classes are negative, typical, not sure, but those of the task are a, b"):
        truth_and_score(of_classes(), kind="multiclass", classes=["a", "b"])


def test_a_binary_truth_that_is_neither_0_nor_1_is_refused() -> None:
    with pytest.raises(InputError, match="1 of 3 y_true are neither 0 nor 1"):
        truth_and_score(of_numbers().assign(y_true=[0.0, 1.0, 2.0]), kind="binary")
