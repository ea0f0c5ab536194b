"""The rows of `metrics.json` and `groups.json`, which other programs rely on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from sklearn.metrics import mean_absolute_error, roc_auc_score

from midrc_ml.errors import InputError
from midrc_ml.evaluation.evaluate import Results, evaluate_predictions
from midrc_ml.evaluation.metrics import auroc, brier_loss, mae, mae_sd, sensitivity, specificity
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.evaluation.thresholds import youden_threshold

BINARY = {"auroc": auroc, "brier_loss": brier_loss, "sensitivity": sensitivity, "specificity": specificity}
ROW = ["part", "metric", "value", "low", "high", "n", "n_positive", "method", "reason"]
QUICK = Evaluation(num_draws=100)


def predictions(count: int = 200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    truth = (rng.random(count) < 0.4).astype(float)
    names = [f"{number:04d}" for number in range(count)]
    return pd.DataFrame(
        {
            "patient_id": [f"p{name}" for name in names],
            "case_id": [f"c{name}" for name in names],
            "study_id": [f"s{name}" for name in names],
            "part": np.where(np.arange(count) < count // 2, "validation", "test"),
            "label": truth,
            "y_true": truth,
            "y_score": np.clip(0.25 * truth + rng.random(count) * 0.75, 0, 1),
            "site": "A",
            "sex": rng.choice(["Female", "Male"], count),
            "age_band": rng.choice(["18-29", "30-39", "85+"], count),
            "race": "White",
            "ethnicity": "Not Reported",
            "manufacturer": "Maker",
            "view": "AP",
        }
    )


def evaluated(table: pd.DataFrame, columns: list[str] | None = None, **settings: object) -> Results:
    fairness = Fairness(columns=columns or ["sex"], **settings)
    return evaluate_predictions(table, BINARY, kind="binary", evaluation=QUICK, fairness=fairness)


def only(rows: list[dict], **wanted: object) -> dict:
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1
    return found[0]


def group_row(results: Results, value: str, metric: str = "auroc", part: str = "test") -> dict:
    return only([row for row in results.groups if row["group"]["value"] == value], part=part, metric=metric)


def test_overall_rows_have_exactly_the_fields_of_the_contract() -> None:
    results = evaluated(predictions())
    assert all(sorted(row) == sorted(ROW) for row in results.metrics)
    assert [(row["part"], row["metric"]) for row in results.metrics] == [
        *[(part, name) for part in ("validation", "test") for name in [*BINARY, "auroc_delong"]],
        ("validation", "threshold"),
    ]


def test_group_rows_have_the_same_fields_and_their_group() -> None:
    results = evaluated(predictions(), ["sex", "age_band"])
    assert all(sorted(row) == sorted([*ROW, "group"]) for row in results.groups)
    assert all(sorted(row["group"]) == ["column", "value"] for row in results.groups)
    groups = {(row["group"]["column"], row["group"]["value"]) for row in results.groups}
    assert groups == {
        *[("sex", value) for value in ("Female", "Male")],
        *[("age_band", value) for value in ("18-29", "30-39", "85+")],
    }
    assert len(results.groups) == 2 * 5 * len(BINARY)


def test_values_and_counts_are_those_of_the_part_and_the_group() -> None:
    table = predictions()
    test = table[table["part"] == "test"]
    results = evaluated(table)
    row = only(results.metrics, part="test", metric="auroc")
    assert row["value"] == pytest.approx(roc_auc_score(test["y_true"], test["y_score"]), abs=1e-12)
    assert (row["n"], row["n_positive"]) == (100, int(test["y_true"].sum()))
    assert row["low"] < row["value"] < row["high"]
    assert row["method"] == "percentile bootstrap of patients, 100 draws, 95%"
    assert row["reason"] is None
    men = test[test["sex"] == "Male"]
    row = group_row(results, "Male")
    assert row["value"] == pytest.approx(roc_auc_score(men["y_true"], men["y_score"]), abs=1e-12)
    assert (row["n"], row["n_positive"]) == (len(men), int(men["y_true"].sum()))


def test_the_threshold_comes_from_validation_and_is_applied_to_test() -> None:
    table = predictions()
    validation, test = table[table["part"] == "validation"], table[table["part"] == "test"]
    threshold = youden_threshold(validation["y_true"], validation["y_score"])
    assert threshold != youden_threshold(test["y_true"], test["y_score"])
    results = evaluated(table)
    row = only(results.metrics, metric="threshold")
    assert (row["part"], row["value"], row["low"], row["high"]) == ("validation", threshold, None, None)
    assert row["method"] == "youden on validation"
    expected = sensitivity(test["y_true"], test["y_score"], threshold=threshold)
    assert only(results.metrics, part="test", metric="sensitivity")["value"] == expected
    women = test[test["sex"] == "Female"]
    expected = specificity(women["y_true"], women["y_score"], threshold=threshold)
    assert group_row(results, "Female", "specificity")["value"] == expected


def test_what_the_test_part_holds_does_not_move_the_threshold() -> None:
    table = predictions()
    changed = table.assign(y_score=np.where(table["part"] == "test", table["y_score"] / 3, table["y_score"]))
    first, second = (only(evaluated(rows).metrics, metric="threshold")["value"] for rows in (table, changed))
    assert first == second


def test_a_threshold_given_as_a_number_is_used() -> None:
    table = predictions()
    results = evaluate_predictions(
        table, BINARY, kind="binary", evaluation=Evaluation(num_draws=100, threshold=0.5), fairness=Fairness()
    )
    test = table[table["part"] == "test"]
    expected = sensitivity(test["y_true"], test["y_score"], threshold=0.5)
    assert only(results.metrics, part="test", metric="sensitivity")["value"] == expected
    assert only(results.metrics, metric="threshold")["value"] == 0.5


def test_a_small_group_is_not_estimated_and_says_why() -> None:
    table = predictions()
    few = table.index[table["part"] == "test"][:9]
    table.loc[few, "sex"] = "Not Reported"
    row = group_row(evaluated(table, min_group_size=10), "Not Reported", "brier_loss")
    assert (row["value"], row["low"], row["high"], row["method"]) == (None, None, None, None)
    assert (row["n"], row["reason"]) == (9, "9 studies, fewer than 10")
    assert group_row(evaluated(table, min_group_size=9), "Not Reported", "brier_loss")["value"] is not None


def test_people_whose_value_is_not_reported_are_a_group_of_their_own() -> None:
    table = predictions()
    table.loc[::4, "sex"] = "Not Reported"
    results = evaluated(table)
    assert group_row(results, "Not Reported")["n"] == 25
    assert sum(group_row(results, value)["n"] for value in ("Female", "Male", "Not Reported")) == 100


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_missing_value_counts_as_not_reported(missing: object) -> None:
    table = predictions()
    table["sex"] = table["sex"].astype(object)
    table.loc[::4, "sex"] = missing
    table.loc[::20, "sex"] = "Not Reported"
    assert group_row(evaluated(table), "Not Reported")["n"] == 25


def test_a_group_of_one_class_has_no_auroc_but_a_brier_loss() -> None:
    table = predictions()
    table.loc[(table["sex"] == "Male"), ["label", "y_true"]] = 0.0
    results = evaluated(table)
    row = group_row(results, "Male")
    assert (row["value"], row["low"]) == (None, None)
    assert row["reason"] == f"one class only: 0 of {row['n']} studies are positive"
    assert group_row(results, "Male", "sensitivity")["value"] is None
    assert group_row(results, "Male", "brier_loss")["value"] > 0
    assert group_row(results, "Male", "specificity")["value"] > 0


def test_a_value_that_cannot_be_estimated_is_null_in_the_files_and_never_0_or_nan(tmp_path: Path) -> None:
    table = predictions()
    table.loc[(table["sex"] == "Male"), ["label", "y_true"]] = 0.0
    results = evaluated(table, ["sex", "age_band"], min_group_size=40)
    results.save(tmp_path)
    for name, rows in (("metrics", results.metrics), ("groups", results.groups)):
        text = (tmp_path / f"{name}.json").read_text(encoding="utf-8")
        assert "NaN" not in text
        assert "Infinity" not in text
        assert json.loads(text) == rows
    unknown = [row for row in json.loads((tmp_path / "groups.json").read_text()) if row["value"] is None]
    assert len(unknown) > 4
    assert all(row["reason"] and row["low"] is None and row["high"] is None for row in unknown)


def test_an_interval_that_cannot_be_given_leaves_the_value_and_says_why() -> None:
    table = predictions()
    test = table["part"] == "test"
    table.loc[test, ["label", "y_true"]] = 0.0
    table.loc[table.index[test][0], ["label", "y_true"]] = 1.0
    row = only(evaluated(table).metrics, part="test", metric="auroc")
    assert row["value"] is not None
    assert (row["low"], row["high"], row["method"]) == (None, None, None)
    assert row["reason"].startswith("it rests on 1 patient, where classes count those of the rarer one")


def test_a_validation_part_of_one_class_gives_no_threshold_and_no_sensitivity() -> None:
    table = predictions()
    table.loc[table["part"] == "validation", ["label", "y_true"]] = 1.0
    results = evaluated(table)
    row = only(results.metrics, metric="threshold")
    assert (row["value"], row["reason"]) == (None, "no threshold: validation needs both classes")
    row = only(results.metrics, part="test", metric="sensitivity")
    assert row["value"] is None
    assert row["reason"]
    assert only(results.metrics, part="test", metric="auroc")["value"] is not None


def test_regression_has_no_threshold_and_no_positives() -> None:
    rng = np.random.default_rng(1)
    table = predictions().assign(y_true=rng.random(200) * 8, y_score=rng.random(200) * 8)
    results = evaluate_predictions(
        table, {"mae": mae, "mae_sd": mae_sd}, kind="regression", evaluation=QUICK, fairness=Fairness(columns=["sex"])
    )
    assert [(row["part"], row["metric"]) for row in results.metrics] == [
        ("validation", "mae"), ("validation", "mae_sd"), ("test", "mae"), ("test", "mae_sd"),
    ]  # fmt: skip
    test = table[table["part"] == "test"]
    row = only(results.metrics, part="test", metric="mae")
    assert row["value"] == pytest.approx(mean_absolute_error(test["y_true"], test["y_score"]), abs=1e-12)
    assert row["low"] < row["value"] < row["high"]
    assert {row["n_positive"] for row in [*results.metrics, *results.groups]} == {None}


def test_metrics_made_from_a_config_are_scored_as_the_functions_are() -> None:
    settings = {"kind": "binary", "evaluation": Evaluation(num_draws=100, threshold=0.5), "fairness": Fairness()}
    from_config = instantiate(
        {name: {"_target_": f"midrc_ml.evaluation.metrics.{name}", "_partial_": True} for name in BINARY}
    )
    by_function = evaluate_predictions(predictions(), BINARY, **settings)
    assert evaluate_predictions(predictions(), from_config, **settings) == by_function


def test_draws_are_scored_all_at_once_and_no_metric_is_called_for_each() -> None:
    calls = []

    def counted(y_true: np.ndarray, y_score: np.ndarray, *, sample_weight: np.ndarray | None = None) -> object:
        calls.append(1)
        return mae(y_true, y_score, sample_weight=sample_weight)

    counted.over_draws = True
    evaluate_predictions(
        predictions(), {"counted": counted}, kind="binary", evaluation=QUICK, fairness=Fairness(columns=["sex"])
    )
    assert len(calls) == 2 * 3 * 2  # parts; everyone, women and men; as they are, and all draws at once


def test_the_training_part_is_not_scored() -> None:
    table = predictions()
    table.loc[:20, "part"] = "train"
    assert {row["part"] for row in evaluated(table).metrics} == {"validation", "test"}


def test_results_are_plain_numbers_that_json_knows() -> None:
    results = evaluated(predictions())
    assert {type(row["value"]) for row in results.metrics} == {float}
    assert {type(row["n"]) for row in results.groups} == {int}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_draws": 99}, "must be from 100 to 100000"),
        ({"num_draws": 100_000_000}, "must be from 100 to 100000"),
        ({"confidence": 1.0}, "below 1"),
        ({"confidence": 0.4}, "at least 0.5"),
        ({"seed": -1}, "evaluation.seed is -1; it must be at least 0"),
        ({"threshold": "best"}, "evaluation.threshold is 'best'; it must be youden, a number, {sensitivity: 0.9}"),
        ({"interval": "bootstrap"}, "evaluation.interval is 'bootstrap'; it must be one of percentile, bca"),
        ({"recalibration": "beta"}, "evaluation.recalibration is 'beta'; it must be one of none, temperature, platt"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Evaluation(**settings)


def test_a_negative_group_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"fairness.min_group_size is -5; it must be at least 0"):
        Fairness(min_group_size=-5)


def test_an_unknown_group_column_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"has gender; columns of the predictions are patient_id, case_id"):
        evaluated(predictions(), ["sex", "gender"])


def test_any_column_of_the_predictions_makes_groups() -> None:
    table = predictions().assign(smoker=np.resize(["yes", "no"], 200))
    assert group_row(evaluated(table, ["smoker"]), "yes")["n"] == 50


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("sex", r"fairness.columns is 'sex'; give a list: \[sex\]"),
        (None, "fairness.columns is None; it must be a list of texts"),
        (["sex", 1], r"fairness.columns is \['sex', 1\]; it must be a list of texts"),
    ],
)
def test_group_columns_that_are_no_list_are_refused(columns: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Fairness(columns=columns)


def test_evaluation_imports_neither_torch_nor_monai() -> None:
    script = (
        "import sys, midrc_ml.evaluation.evaluate\n"
        "print(*[name for name in ('torch', 'monai', 'cv2', 'mlflow', 'hydra') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_column_of_too_many_values_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    table = predictions().assign(ward=[f"w{number}" for number in range(200)])
    results = evaluated(table, columns=["sex", "ward"])
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == (
        "Warning: no groups by ward: 100 values, more than fairness.max_groups=50: give bands or leave the column out"
    )
    assert {row["value"] for row in results.groups if row["group"]["column"] == "ward"} == {None}
