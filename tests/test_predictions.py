"""The predictions table: the waist between training and everything that scores."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from midrc_ml.errors import InputError
from midrc_ml.predictions import (
    COLUMNS,
    GROUP_COLUMNS,
    checked_predictions,
    load_predictions,
    predictions_table,
    save_predictions,
)

SCORES = np.array([0.25, 0.5, 0.75])


def studies() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "patient_id": ["p2", "p1", "p1"],
            "case_id": ["c2", "c1", "c1"],
            "study_id": ["s1", "s3", "s2"],
            "part": ["test", "test", "test"],
            "label": [1, 0, 1],
            "file": ["x", "y", "z"],
        }
    )
    return table.assign(**dict.fromkeys(GROUP_COLUMNS, "Not Reported"))


def test_the_columns_are_those_of_the_contract() -> None:
    assert COLUMNS == (
        "patient_id", "case_id", "study_id", "part", "label", "y_true", "y_score",
        "site", "sex", "age_band", "race", "ethnicity", "manufacturer", "view",
    )  # fmt: skip
    assert list(predictions_table(studies(), SCORES).columns) == list(COLUMNS)


def test_rows_are_sorted_by_patient_and_study_and_keep_their_scores() -> None:
    table = predictions_table(studies(), SCORES)
    assert table[["patient_id", "study_id", "y_true", "y_score"]].to_numpy().tolist() == [
        ["p1", "s2", 1.0, 0.75],
        ["p1", "s3", 0.0, 0.5],
        ["p2", "s1", 1.0, 0.25],
    ]
    assert list(table.index) == [0, 1, 2]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    table = predictions_table(studies(), SCORES)
    save_predictions(table, tmp_path / "predictions.parquet")
    pd.testing.assert_frame_equal(load_predictions(tmp_path / "predictions.parquet"), table)


def test_the_order_of_rows_does_not_matter() -> None:
    table = predictions_table(studies(), SCORES)
    pd.testing.assert_frame_equal(checked_predictions(table[::-1]), table)


def test_missing_columns_are_named_with_all_that_are_needed() -> None:
    table = predictions_table(studies(), SCORES).drop(columns=["sex", "y_score"])
    with pytest.raises(InputError, match=r"scores.csv: no column y_score, sex; a predictions table has patient_id,"):
        checked_predictions(table, where="scores.csv")


def test_a_study_that_stands_twice_is_refused() -> None:
    table = predictions_table(studies(), SCORES)
    with pytest.raises(InputError, match="1 studies stand in it more than once"):
        checked_predictions(pd.concat([table, table[:1]]))


@pytest.mark.parametrize("column", ["y_true", "y_score"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None])
def test_a_value_that_is_not_a_finite_number_is_refused_and_counted(column: str, value: float | None) -> None:
    table = predictions_table(studies(), SCORES)
    table.loc[1, column] = value
    with pytest.raises(InputError, match=f"1 of 3 rows have no finite {column}"):
        checked_predictions(table)


def test_no_message_names_a_patient_or_study() -> None:
    table = predictions_table(studies(), SCORES)
    for wrong in (pd.concat([table, table]), table.assign(y_score=np.nan), table.drop(columns="label")):
        with pytest.raises(InputError) as caught:
            checked_predictions(wrong)
        assert not any(name in str(caught.value) for name in ("p1", "s1", "c1"))


def test_further_columns_are_kept() -> None:
    table = predictions_table(studies(), SCORES).assign(reader=[1, 2, 3])
    assert checked_predictions(table)["reader"].tolist() == [1, 2, 3]
