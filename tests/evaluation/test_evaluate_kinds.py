"""Rows of multiclass, ordinal, regression and time-to-event tasks, by the metrics that are shipped for each."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.metrics import cohen_kappa_score, log_loss, roc_auc_score

from midrc_ml.config import shipped_folder
from midrc_ml.errors import InputError
from midrc_ml.evaluation import scorers
from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.evaluate import Results, evaluate_predictions
from midrc_ml.evaluation.intervals import percentile_interval
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.evaluation.survival import concordance_index
from midrc_ml.predictions import checked_predictions

CLASSES = ["none", "mild", "severe"]
NAMES = {
    "multiclass": [
        "auroc_macro", "auprc_macro", "log_loss", "accuracy", "balanced_accuracy", "f1_macro", "kappa", "mcc",
    ],
    "ordinal": [
        "qwk", "mae", "mae_sd", "spearman", "prediction_probability_concordance", "mean_difference",
        "accuracy_within_1",
    ],
    "regression": ["mae", "mae_sd", "root_mean_squared_error", "mean_difference", "r2", "pearson", "spearman"],
    "time_to_event": ["concordance_index"],
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", NAMES)


def shipped_metrics(kind: str) -> Mapping:
    return instantiate(OmegaConf.load(shipped_folder("configs") / "metrics" / f"{kind}.yaml"), _convert_="all")


def predictions(kind: str, count: int = 240, seed: int = 0) -> pd.DataFrame:
    """Two studies a patient; half of the patients are the test part."""
    rng = np.random.default_rng(seed)
    names = [f"{number:04d}" for number in range(count)]
    table = pd.DataFrame({"patient_id": [f"p{number // 2:04d}" for number in range(count)], "study_id": names})
    table = table.assign(case_id=table["patient_id"], part=np.repeat(["validation", "test"], count // 2))
    columns = dict.fromkeys(("site", "age_band", "race", "ethnicity", "manufacturer", "view"), "A")
    table = table.assign(**columns, sex=rng.choice(["Female", "Male"], count))
    if kind == "multiclass":
        truth = rng.choice(3, count)
        probability = rng.dirichlet(np.ones(3), count) + 0.7 * np.eye(3)[truth]
        scores = {f"y_score_{name}": probability[:, place] / 1.7 for place, name in enumerate(CLASSES)}
        return table.assign(label=truth.astype(float), y_true=truth.astype(float), **scores)
    if kind == "time_to_event":
        risk = rng.random(count)
        event = (rng.random(count) < 0.5).astype(int)
        time = np.ceil(rng.exponential(10 / (0.5 + risk)))
        return table.assign(label=event, y_true=event, y_score=risk, event=event, time=time)
    truth = rng.integers(0, 9, count).astype(float)
    return table.assign(label=truth, y_true=truth, y_score=truth + rng.normal(0, 2, count))


def evaluated(kind: str, table: pd.DataFrame | None = None, **settings: object) -> Results:
    return evaluate_predictions(
        predictions(kind) if table is None else table,
        shipped_metrics(kind),
        kind=kind,
        classes=CLASSES if kind == "multiclass" else (),
        evaluation=Evaluation(num_draws=100),
        fairness=Fairness(**{"columns": ["sex"], **settings}),
    )


@functools.cache
def whole(kind: str) -> Results:
    return evaluated(kind)


def only(rows: list[dict], **wanted: object) -> dict:
    (found,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return found


def row_of(results: Results, metric: str, sex: str | None = None) -> dict:
    if sex is None:
        return only(results.metrics, part="test", metric=metric)
    return only(results.groups, part="test", metric=metric, group={"column": "sex", "value": sex})


@every_kind
def test_every_metric_has_a_value_and_an_interval_in_every_part_and_group_and_there_is_no_threshold(
    kind: str, tmp_path: Path
) -> None:
    results = whole(kind)
    assert [(row["part"], row["metric"]) for row in results.metrics] == [
        (part, name) for part in ("validation", "test") for name in NAMES[kind]
    ]
    assert len(results.groups) == 2 * 2 * len(NAMES[kind])
    for row in [*results.metrics, *results.groups]:
        assert row["low"] < row["value"] < row["high"]
        assert row["method"].endswith("bootstrap of patients, 100 draws, 95%")
        assert row["reason"] is None
    results.save(tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == results.metrics


def test_values_are_those_of_the_part_and_the_group() -> None:
    table = predictions("multiclass")
    results = whole("multiclass")
    for sex in (None, "Female", "Male"):
        chosen = table[(table["part"] == "test") & (True if sex is None else table["sex"] == sex)]
        truth, score = chosen["y_true"], chosen[[f"y_score_{name}" for name in CLASSES]].to_numpy()
        expected = roc_auc_score(truth, score, multi_class="ovr")
        assert row_of(results, "auroc_macro", sex)["value"] == pytest.approx(expected, abs=1e-12)
        expected = log_loss(truth.to_numpy(), score)
        assert row_of(results, "log_loss", sex)["value"] == pytest.approx(expected, abs=1e-12)
        assert row_of(results, "log_loss", sex)["n"] == len(chosen)
    test = predictions("ordinal").query("part == 'test'")
    expected = cohen_kappa_score(
        test["y_true"], np.floor(test["y_score"] + 0.5), weights="quadratic", labels=np.arange(-9, 20)
    )
    assert row_of(whole("ordinal"), "qwk")["value"] == pytest.approx(expected, abs=1e-12)


def test_positives_are_counted_by_class_events_are_counted_and_numbers_have_none() -> None:
    women = predictions("multiclass").query("part == 'test' and sex == 'Female'")["y_true"]
    counts = {name: int((women == place).sum()) for place, name in enumerate(CLASSES)}
    assert row_of(whole("multiclass"), "accuracy", "Female")["n_positive"] == counts
    assert sum(counts.values()) == len(women)
    test = predictions("time_to_event").query("part == 'test'")
    assert row_of(whole("time_to_event"), "concordance_index")["n_positive"] == int(test["event"].sum())
    for kind in ("ordinal", "regression"):
        assert {row["n_positive"] for row in whole(kind).metrics} == {None}


def test_the_interval_of_a_concordance_is_that_of_patients_drawn_with_all_their_studies() -> None:
    table = checked_predictions(predictions("time_to_event"))
    test = table[table["part"] == "test"].reset_index(drop=True)
    drawn = []
    for weights in PatientDraws.of(test["patient_id"], num_draws=100, seed=0).weights():
        for weight in weights.astype(int):
            again = test.loc[test.index.repeat(weight)]
            drawn.append(concordance_index(again[["event", "time"]], again["y_score"]))
    row = row_of(whole("time_to_event"), "concordance_index")
    few = test.loc[test["event"] == 1, "patient_id"].nunique()
    expected = percentile_interval(np.array(drawn), 0.95, num_patients=few)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)


@every_kind
def test_neither_the_order_of_rows_nor_the_size_of_chunks_changes_anything_at_all(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorers, "_CELLS_AT_ONCE", 1)  # one draw at a time
    turned = predictions(kind).sample(frac=1, random_state=1)
    assert evaluated(kind, turned) == whole(kind)


def test_the_order_of_the_classes_columns_changes_nothing_at_all() -> None:
    table = predictions("multiclass")
    turned = table[[*table.columns.drop("y_score_none"), "y_score_none"]]
    assert evaluated("multiclass", turned) == whole("multiclass")


def test_a_group_without_a_class_has_no_mean_over_classes_and_names_the_class() -> None:
    table = predictions("multiclass")
    absent = (table["sex"] == "Male") & (table["y_true"] == 2)
    table.loc[absent, ["label", "y_true"]] = 0.0
    results = evaluated("multiclass", table)
    row = row_of(results, "auroc_macro", "Male")
    assert (row["value"], row["low"]) == (None, None)
    assert row["reason"] == f"no study of class severe among {row['n']}"
    assert row_of(results, "accuracy", "Male")["value"] is not None


def test_a_group_without_an_event_has_no_concordance_and_says_why() -> None:
    table = predictions("time_to_event")
    table.loc[table["sex"] == "Male", ["label", "y_true", "event"]] = 0
    row = row_of(evaluated("time_to_event", table), "concordance_index", "Male")
    assert (row["value"], row["n_positive"]) == (None, 0)
    assert row["reason"] == f"no event among {row['n']} studies"
    table.loc[:, ["label", "y_true", "event"]] = 1
    row = row_of(evaluated("time_to_event", table.assign(time=3.0)), "concordance_index")
    assert row["reason"] == "no pair to compare among 120 studies"


@pytest.mark.parametrize(("kind", "metric"), [("ordinal", "qwk"), ("regression", "r2"), ("regression", "spearman")])
def test_a_group_of_one_label_has_no_agreement_beyond_chance(kind: str, metric: str) -> None:
    table = predictions(kind)
    table.loc[table["sex"] == "Male", ["label", "y_true"]] = 2.0
    results = evaluated(kind, table)
    row = row_of(results, metric, "Male")
    assert (row["value"], row["reason"]) == (None, f"all {row['n']} studies have the same label")
    assert row_of(results, "mae", "Male")["value"] > 0


@every_kind
def test_a_small_group_is_not_estimated_and_says_why(kind: str) -> None:
    row = row_of(evaluated(kind, min_group_size=100), NAMES[kind][0], "Male")
    assert (row["value"], row["reason"]) == (None, f"{row['n']} studies, fewer than 100")


def test_a_metric_without_sample_weight_scores_classes_too() -> None:
    def mine(y_true: np.ndarray, y_score: np.ndarray) -> float:
        return float((y_score.argmax(axis=1) == y_true).mean())

    settings = {"evaluation": Evaluation(num_draws=100), "fairness": Fairness(columns=[])}
    found = evaluate_predictions(predictions("multiclass"), {"mine": mine}, kind="multiclass", **settings)
    row, ours = row_of(found, "mine"), row_of(whole("multiclass"), "accuracy")
    assert [row[name] for name in ("value", "low", "high")] == pytest.approx(
        [ours[name] for name in ("value", "low", "high")], abs=1e-12
    )


def test_a_metric_of_another_kind_of_task_has_no_value() -> None:
    settings = {"evaluation": Evaluation(num_draws=100), "fairness": Fairness(columns=[])}
    found = evaluate_predictions(predictions("multiclass"), {"auroc": auroc}, kind="multiclass", **settings)
    assert {row["value"] for row in found.metrics} == {None}


def test_predictions_of_another_form_than_the_task_are_refused() -> None:
    with pytest.raises(InputError, match="it has one y_score, but the task is of kind multiclass"):
        evaluated("multiclass", predictions("ordinal"))
