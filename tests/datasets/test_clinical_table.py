"""The clinical table of studies, and what its encoder learns."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.ny_sbu import NySbuCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import Selection
from midrc_ml.cohorts.tongji import TongjiCohort
from midrc_ml.datasets.clinical_events import KNOWN_LATER
from midrc_ml.datasets.clinical_table import ClinicalTable, Encoder, no_table
from midrc_ml.errors import InputError
from midrc_ml.tasks.covid import covid_at_imaging
from midrc_ml.tasks.flags import flag
from midrc_ml.tasks.task import Task


def task_of(column: str = "died", **settings: Any) -> Task:
    def label(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
        return flag(tables, rows, column=column)

    asked = {"name": column, "needs": ["cases"], "label": label} | settings
    return Task(version=1, question="?", source="test", kind="binary", metrics={"auroc": len}, **asked)


# --- the columns of studies and cases


def test_columns_of_studies_keep_their_rows_and_not_reported_is_missing() -> None:
    cases = pd.DataFrame({"case_id": ["a", "b"], "patient_id": ["a", "b"], "age_over_89": [None, True]})
    rows = pd.DataFrame(
        {"case_id": ["b", "a", "b"], "age": [np.nan, 30.5, 90], "sex": ["Male", "Not Reported", None]}, index=[5, 2, 9]
    )
    table = ClinicalTable(columns=["sex", "age", "loinc_method"])
    frame = table.read(Tables.checked(origin="test", cases=cases), rows)
    assert frame["age"].tolist() == [90, 30.5, 90]
    assert frame["sex"].fillna("").tolist() == ["Male", "", ""]
    assert frame["loinc_method"].isna().all()
    assert frame.columns.tolist() == ["sex", "age", "loinc_method"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"columns": ["icu_ever"]}, r"has 'icu_ever': it is no input: undated: it may tell of a time after the study"),
        ({"columns": ["age", "died"]}, r"has 'died': it is no input: undated"),
        ({"columns": ["label"]}, r"has 'label': it is no input: it is what is asked for"),
        ({"columns": ["patient_id"]}, r"has 'patient_id': it is no input: it names a patient"),
        ({"columns": ["day"]}, r"has 'day': it is no input: it counts from an event that may come after"),
        ({"columns": ["weight"]}, r"has 'weight': there is no such column; take some of age, sex, race"),
        ({"columns": ["age", "age"]}, r"each column is named once"),
        ({"columns": "age"}, r"clinical.columns is 'age'; give a list: \[age\]"),
        ({"columns": []}, r"clinical.columns and clinical.events are empty"),
        ({"events": ["laboratory"]}, r"clinical.events is \['laboratory'\]; it must be \{kind: settings\}"),
    ],
)
def test_columns_that_cannot_be_inputs_are_refused_with_the_reason(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ClinicalTable(**settings)


def test_events_that_are_the_label_of_the_task_are_refused() -> None:
    covid = task_of(name="covid", needs=["cases", "covid_test"], label=covid_at_imaging)
    tests = ClinicalTable(events={"covid_test": {}})
    with pytest.raises(
        InputError, match=r"covid_test: task=covid takes its label from such events; leave the kind out"
    ):
        tests.check_task(covid)
    tests.check_task(task_of("died"))


@pytest.mark.parametrize("names", [["U07*"], {"any": ["*"]}, ["I10", "J12.82"]])
def test_codes_of_the_disease_that_is_asked_for_are_refused(names: Any) -> None:
    covid = task_of(name="covid", needs=["cases", "covid_test"], label=covid_at_imaging)
    with pytest.raises(InputError, match=r"condition.names holds .*, which is the answer to task=covid; take it out"):
        ClinicalTable(events={"condition": {"names": names}}).check_task(covid)
    with pytest.raises(InputError, match=r"condition.names is null, and task=covid asks for a disease that has codes"):
        ClinicalTable(events={"condition": {}}).check_task(covid)
    ClinicalTable(events={"condition": {"names": ["I10", "E11*"]}}).check_task(covid)


def test_no_table_reads_nothing() -> None:
    assert no_table() is None  # type: ignore[func-returns-value]


# --- the encoder


def numbers(count: int = 101) -> pd.DataFrame:
    return pd.DataFrame({"crp": np.arange(count, dtype=float)})


def test_numbers_are_limited_to_percentiles_of_training_and_standardised() -> None:
    encoder = Encoder.fit(numbers())  # 0 to 100: the percentiles are 1 and 99
    expected = StandardScaler().fit_transform(np.clip(np.arange(101.0), 1, 99)[:, None])
    np.testing.assert_allclose(encoder.encode(numbers()), expected, rtol=1e-6)
    far = encoder.encode(pd.DataFrame({"crp": [1e9, -1e9]}))
    np.testing.assert_allclose(far[:, 0], [expected.max(), expected.min()], rtol=1e-6)


def test_what_is_missing_is_0_and_a_feature_says_so() -> None:
    frame = pd.DataFrame({"age": [20.0, np.nan, 40.0], "sex": pd.Series(["Male", "Female", None], dtype="str")})
    encoder = Encoder.fit(frame)
    assert encoder.feature_names == ("age", "age known", "sex=Female", "sex=Male", "sex known")
    assert encoder.num_features == 5
    encoded = encoder.encode(frame)
    assert encoded.dtype == np.float32
    # 1st and 99th percentile of 20 and 40 are 20.2 and 39.8, which are one deviation from their mean.
    np.testing.assert_allclose(encoded, [[-1, 1, 0, 1, 1], [0, 0, 1, 0, 1], [1, 1, 0, 0, 0]], atol=1e-6)


def test_where_training_misses_nothing_a_missing_value_is_the_mean() -> None:
    encoder = Encoder.fit(numbers())
    assert encoder.feature_names == ("crp",)
    assert encoder.encode(pd.DataFrame({"crp": [np.nan]})).tolist() == [[0.0]]


def test_a_row_of_which_nothing_is_known_is_all_zeros() -> None:
    frame = pd.DataFrame({"crp": ["1", "<2", None], "sex": ["Male", None, "Female"]}, dtype="str")
    encoded = Encoder.fit(frame).encode(pd.DataFrame({"crp": [None], "sex": [None]}, dtype="str"))
    assert (encoded == 0).all()
    assert (Encoder.fit(frame).encode(pd.DataFrame(index=[0])) == 0).all()


def test_texts_are_numbers_where_most_of_training_are() -> None:
    values = pd.Series(["1", "<0.5", "3.5", "haemolysed", None], dtype="str")
    encoder = Encoder.fit(pd.DataFrame({"crp": values}))
    assert encoder.feature_names == ("crp", "crp known")
    assert encoder.encode(pd.DataFrame({"crp": values}))[:, 1].tolist() == [1, 1, 1, 0, 0]
    words = Encoder.fit(pd.DataFrame({"stage": pd.Series(["1", "IIa", "IIb"], dtype="str")}))
    assert words.feature_names == ("stage=1", "stage=IIa", "stage=IIb")


def test_a_constant_is_0_and_a_rare_yes_is_not_lost() -> None:
    frame = pd.DataFrame({"same": np.full(500, 7.0), "rare": np.eye(1, 500)[0]})
    encoded = Encoder.fit(frame).encode(pd.DataFrame({"same": [7.0, 8.0, 7.0], "rare": [0.0, 1.0, 99.0]}))
    assert (encoded[:, 0] == 0).all()
    assert encoded[1, 1] - encoded[0, 1] > 1
    assert np.abs(encoded).max() <= 10


def test_a_category_that_training_had_not_is_as_missing() -> None:
    train = pd.DataFrame({"view": pd.Series(["AP", "PA", None], dtype="str")})
    encoded = Encoder.fit(train).encode(pd.DataFrame({"view": pd.Series(["LL", "PA"], dtype="str")}))
    assert encoded.tolist() == [[0, 0, 0], [0, 1, 1]]


def test_the_50_most_frequent_categories_are_kept() -> None:
    words = pd.Series([f"w{number:02}" for number in range(60)] + [f"w{number:02}" for number in range(10, 60)])
    encoder = Encoder.fit(pd.DataFrame({"word": words.astype("str")}))
    assert encoder.feature_names == (*(f"word=w{number:02}" for number in range(10, 60)), "word known")


def test_rows_outside_training_change_nothing() -> None:
    frame = pd.DataFrame(
        {"crp": ["1", "2", "4", "8"], "sex": ["Male", "Female", None, "Male"], "il6": [None, None, "3", "4"]},
        dtype="str",
    )
    changed = frame.copy()
    changed.loc[2:] = [["haemolysed", "Other", "x"], ["1e9", "Third", None]]
    train = np.array([True, True, False, False])
    encoder, other = (Encoder.fit(of[train]) for of in (frame, changed))
    assert encoder == other
    assert encoder.left_out == ("il6",)
    np.testing.assert_array_equal(encoder.encode(frame)[train], other.encode(changed)[train])


def test_an_encoder_is_kept_as_plain_values(tmp_path: Path) -> None:
    frame = pd.DataFrame({"crp": [1.0, np.nan, 1e6], "sex": ["Male", None, "Female"], "none": [np.nan] * 3})
    encoder = Encoder.fit(frame)
    assert Encoder.from_dict(json.loads(json.dumps(encoder.as_dict(), allow_nan=False))) == encoder
    file = io.BytesIO()
    torch.save(encoder.as_dict(), file)
    file.seek(0)
    assert Encoder.from_dict(torch.load(file, weights_only=True)) == encoder


@pytest.mark.parametrize(
    ("damage", "words"),
    [({"form": 0}, r"form 0 is of another version"), ({"columns": [{"name": "age"}]}, r"it is damaged \(KeyError\)")],
)
def test_an_encoder_of_another_form_is_refused(damage: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Encoder.from_dict(Encoder.fit(numbers()).as_dict() | damage)


def test_training_rows_without_any_value_are_refused() -> None:
    with pytest.raises(InputError, match=r"of 2 training studies the table says nothing in 1 columns"):
        Encoder.fit(pd.DataFrame({"crp": [np.nan, np.nan]}))


def test_the_log_tells_counts_and_no_value() -> None:
    frame = pd.DataFrame({"crp": [123.25, np.nan], "sex": pd.Series([None, None], dtype="str")})
    assert Encoder.fit(frame).words(frame) == (
        "Clinical table: 1 columns as 2 features; of 2 studies 1 have no value at all; missing: crp 1; without a value "
        "in training, and left out: sex"
    )


# --- real tables


def test_the_table_of_ny_sbu_gives_its_own_values_and_none_of_later(midrc_ml_data: Path) -> None:
    tables = NySbuCohort(data_dir=str(midrc_ml_data)).read()
    rows = task_of("died").labelled_studies(tables, CohortFlow(origin="test"), image_files="if any")
    (path,) = (midrc_ml_data / "ny_sbu").glob("*clinical_20210806.csv")
    with open(path, newline="") as file:
        told = {row["to_patient_id"]: row for row in csv.DictReader(file)}
    crp = next(column for column in next(iter(told.values())) if column.startswith("1988-5_"))
    events = {"laboratory": {"names": ["1988-5_*"], "within_days": 2}, "condition": {}, "medication": {}}
    frame = ClinicalTable(columns=["sex"], events=events).read(tables, rows)
    expected = np.array([float(told[case][crp].replace("NA", "nan")) for case in rows["case_id"]])
    np.testing.assert_allclose(frame["laboratory.1988-5_*"].astype("float64"), expected)
    yes = {"Yes": 1.0, "No": 0.0, "NA": np.nan}
    np.testing.assert_array_equal(frame["condition.dm_v"], [yes[told[case]["dm_v"]] for case in rows["case_id"]])
    assert set(frame).isdisjoint(f"{kind}.{name}" for kind in events for name in KNOWN_LATER)
    undated = tables.events[tables.events["start_day"].isna() & tables.events["name"].notna()]
    assert set(undated["name"]) <= set(KNOWN_LATER)  # so that they are refused when asked for
    assert np.isfinite(Encoder.fit(frame[: len(frame) // 2]).encode(frame)).all()


def test_the_last_values_of_tongji_are_those_up_to_the_day_that_is_asked(midrc_ml_data: Path) -> None:
    tables = TongjiCohort(data_dir=str(midrc_ml_data), part="external").read()
    task = task_of("died", selection=Selection(prediction_time="last"))
    rows = task.labelled_studies(tables, CohortFlow(origin="test"), image_files="if any")
    frame = ClinicalTable(events={"laboratory": {"within_days": 2}}).read(tables, rows)
    assert frame.shape == (110, 2 + 3)
    name = str(frame.columns[-1])
    of_name = tables.events[tables.events["name"] == name.removeprefix("laboratory.")]
    for row, value in zip(rows.itertuples(), frame[name].astype("float64"), strict=True):
        mine = of_name[(of_name["case_id"] == row.case_id) & of_name["start_day"].between(row.day - 2, row.day)]
        last = mine.loc[mine["start_day"] == mine["start_day"].max(), "value"].astype(float).unique()
        np.testing.assert_allclose(value, last.mean() if len(last) else np.nan)
    assert frame[name].notna().any()
    assert Encoder.fit(frame).feature_names[0].startswith("laboratory.")
