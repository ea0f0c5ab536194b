"""The bootstrap of patients: what is drawn together, what may not matter, and two independent oracles."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from midrc_ml.evaluation import intervals
from midrc_ml.evaluation.evaluate import Evaluation, Fairness, Results, evaluate_predictions
from midrc_ml.evaluation.intervals import PatientDraws, bootstrap_intervals, scored_draws
from midrc_ml.evaluation.metrics import auprc, auroc, brier_loss, mae, sensitivity, specificity

METRICS = {"auroc": auroc, "auprc": auprc, "brier_loss": brier_loss, "sens": sensitivity, "spec": specificity}


def predictions(num_patients: int = 60, seed: int = 0) -> pd.DataFrame:
    """A validation and a test part, one to three studies a patient, scores in steps so that many are tied."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(num_patients), rng.integers(1, 4, num_patients))
    truth = (rng.random(len(patient)) < 0.4).astype(float)
    table = pd.DataFrame(
        {
            "patient_id": [f"p{number:03d}" for number in patient],
            "study_id": [f"s{number:03d}" for number in rng.permutation(len(patient))],
            "part": np.where(patient % 2 == 0, "validation", "test"),
            "label": truth,
            "y_true": truth,
            "y_score": np.round(np.clip(0.2 * truth + rng.random(len(patient)) * 0.8, 0, 1), 1),
            "sex": np.where(patient % 3 == 0, "Male", "Female"),
        }
    )
    table["case_id"] = table["patient_id"]
    return table.assign(**dict.fromkeys(("site", "age_band", "race", "ethnicity", "manufacturer", "view"), "A"))


def evaluated(table: pd.DataFrame, **settings: object) -> Results:
    evaluation = Evaluation(**{"num_draws": 200, **settings})
    return evaluate_predictions(
        table, METRICS, kind="binary", evaluation=evaluation, fairness=Fairness(columns=["sex"])
    )


def test_the_same_seed_gives_bit_equal_results_and_another_seed_other_limits() -> None:
    assert evaluated(predictions()) == evaluated(predictions())
    assert evaluated(predictions(), seed=1) != evaluated(predictions())


def test_the_order_of_rows_changes_nothing_at_all() -> None:
    table = predictions()
    for seed in range(3):
        assert evaluated(table.sample(frac=1, random_state=seed)) == evaluated(table)


def test_the_size_of_chunks_changes_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluated(predictions())
    for cells in (1, 700, 5000):
        monkeypatch.setattr(intervals, "_CHUNK_CELLS", cells)
        assert evaluated(predictions()) == whole


def test_a_group_shares_the_draws_of_all_studies() -> None:
    """A group of everyone has the interval of everyone."""
    table = predictions().assign(sex="Female")
    results = evaluated(table)
    overall = {row["metric"]: (row["low"], row["high"]) for row in results.of_part("test")}
    group = {row["metric"]: (row["low"], row["high"]) for row in results.groups if row["part"] == "test"}
    assert group == overall
    assert None not in group["auroc"]


def test_a_patients_studies_are_drawn_together_and_patients_as_many_as_there_are() -> None:
    patients = pd.Series(["b", "a", "b", "c", "a", "b"])
    draws = np.concatenate(list(PatientDraws.of(patients, num_draws=300, seed=0).weights()))
    assert draws.shape == (300, 6)
    assert (draws[:, 0] == draws[:, 2]).all()
    assert (draws[:, 0] == draws[:, 5]).all()
    assert (draws[:, 1] == draws[:, 4]).all()
    assert (draws[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert not (draws[:, 0] == draws[:, 1]).all()
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.15)  # every patient once on average


def test_draws_belong_to_patients_and_not_to_rows() -> None:
    patients = pd.Series(["b", "a", "b", "c"])
    first = np.concatenate(list(PatientDraws.of(patients, num_draws=50, seed=3).weights()))
    turned = np.concatenate(
        list(PatientDraws.of(patients[::-1].reset_index(drop=True), num_draws=50, seed=3).weights())
    )
    assert np.array_equal(first, turned[:, ::-1])


def test_a_metric_without_sample_weight_gives_the_same_interval_as_one_with() -> None:
    table = predictions()
    truth, score = table["y_true"].to_numpy(), table["y_score"].to_numpy()
    draws = PatientDraws.of(table["patient_id"], num_draws=200, seed=1)
    everyone = np.ones(len(table), dtype=bool)

    def plain_mae(y_true: np.ndarray, y_score: np.ndarray) -> float:
        return float(np.abs(y_true - y_score).mean())

    found = bootstrap_intervals({"with": mae, "without": plain_mae}, truth, score, draws, rows=everyone, confidence=0.9)
    assert found["with"].low == pytest.approx(found["without"].low, abs=1e-12)
    assert found["with"].high == pytest.approx(found["without"].high, abs=1e-12)


def test_a_metric_of_scikit_learn_can_be_used_as_it_is() -> None:
    table = predictions()
    found = bootstrap_intervals(
        {"ours": auroc, "theirs": roc_auc_score},
        table["y_true"].to_numpy(),
        table["y_score"].to_numpy(),
        PatientDraws.of(table["patient_id"], num_draws=100, seed=1),
        rows=np.ones(len(table), dtype=bool),
        confidence=0.95,
    )
    assert found["ours"].low == pytest.approx(found["theirs"].low, abs=1e-12)
    assert found["ours"].high == pytest.approx(found["theirs"].high, abs=1e-12)


def test_the_interval_is_that_of_a_plain_loop_with_scikit_learn() -> None:
    table = predictions(num_patients=25, seed=5).sort_values(["patient_id", "study_id"]).reset_index(drop=True)
    truth, score = table["y_true"].to_numpy(), table["y_score"].to_numpy()
    ids = sorted(table["patient_id"].unique())
    of_patient = [np.flatnonzero(table["patient_id"] == name).tolist() for name in ids]
    rng = np.random.default_rng(11)
    values: dict[str, list[float]] = {"auroc": [], "auprc": []}
    for _ in range(150):
        rows: list[int] = []
        for number in rng.integers(0, len(ids), len(ids)):
            rows += of_patient[number]
        values["auroc"].append(roc_auc_score(truth[rows], score[rows]))
        values["auprc"].append(average_precision_score(truth[rows], score[rows]))
    found = bootstrap_intervals(
        {"auroc": auroc, "auprc": auprc},
        truth,
        score,
        PatientDraws.of(table["patient_id"], num_draws=150, seed=11),
        rows=np.ones(len(table), dtype=bool),
        confidence=0.95,
    )
    for name, drawn in values.items():
        low, high = np.percentile(drawn, [2.5, 97.5])
        assert found[name].low == pytest.approx(low, abs=1e-12)
        assert found[name].high == pytest.approx(high, abs=1e-12)


def test_one_study_a_patient_agrees_with_scipys_bootstrap() -> None:
    rng = np.random.default_rng(2)
    truth = (rng.random(150) < 0.4).astype(float)
    score = 0.8 * truth + rng.normal(size=150)
    found = bootstrap_intervals(
        {"auroc": auroc},
        truth,
        score,
        PatientDraws.of(pd.Series([f"{number:03d}" for number in range(150)]), num_draws=2000, seed=0),
        rows=np.ones(150, dtype=bool),
        confidence=0.95,
    )["auroc"]
    theirs = stats.bootstrap(
        (truth, score), lambda a, b: auroc(a, b), paired=True, vectorized=False, n_resamples=2000,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert found.low == pytest.approx(theirs.low, abs=0.02)
    assert found.high == pytest.approx(theirs.high, abs=0.02)


def test_many_studies_a_patient_widen_the_interval() -> None:
    """Every patient's film five times over: as if one film each, and not five times the evidence."""
    rng = np.random.default_rng(4)
    truth = (rng.random(80) < 0.5).astype(float)
    score = truth + rng.normal(size=80)
    names = pd.Series([f"{number:03d}" for number in range(80)])

    def interval(times: int, ids: pd.Series) -> float:
        draws = PatientDraws.of(ids, num_draws=500, seed=0)
        everyone = np.ones(80 * times, dtype=bool)
        y_true, y_score = np.repeat(truth, times), np.repeat(score, times)
        found = bootstrap_intervals({"auroc": auroc}, y_true, y_score, draws, rows=everyone, confidence=0.95)["auroc"]
        assert found.low is not None
        assert found.high is not None
        return found.high - found.low

    repeated = names.repeat(5).reset_index(drop=True)
    assert interval(5, repeated) == pytest.approx(interval(1, names), abs=1e-12)
    as_if_independent = pd.Series([f"{number:03d}" for number in range(400)])
    assert interval(5, as_if_independent) < 0.6 * interval(1, names)


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    narrow, wide = (evaluated(predictions(), confidence=level).of_part("test")[0] for level in (0.8, 0.99))
    assert wide["low"] < narrow["low"] <= narrow["value"] <= narrow["high"] < wide["high"]


def test_too_many_draws_without_a_value_give_no_interval_but_the_reason() -> None:
    # One positive patient of ten: (9/10)^10 = 35 % of the draws hold no positive.
    truth = np.array([1.0] + [0.0] * 9)
    draws = PatientDraws.of(pd.Series(list("abcdefghij")), num_draws=1000, seed=0)
    found = bootstrap_intervals(
        {"auroc": auroc, "brier_loss": brier_loss},
        truth,
        np.linspace(0.9, 0.1, 10),
        draws,
        rows=np.ones(10, dtype=bool),
        confidence=0.95,
    )
    undefined = int(str(found["auroc"].reason).split()[0])
    assert 300 < undefined < 400
    assert found["auroc"].reason == (
        f"{undefined} of 1000 bootstrap draws have no value: too few patients, or too few of one class"
    )
    assert (found["auroc"].low, found["auroc"].high) == (None, None)
    assert found["brier_loss"].low is not None


def test_a_few_draws_without_a_value_are_left_out() -> None:
    # Four positive patients of ten: 0.6^10 = 0.6 % of the draws hold none.
    truth = np.array([1.0] * 4 + [0.0] * 6)
    score = np.array([0.9, 0.6, 0.5, 0.3, 0.7, 0.4, 0.3, 0.2, 0.2, 0.1])
    draws = PatientDraws.of(pd.Series(list("abcdefghij")), num_draws=1000, seed=0)
    drawn = np.concatenate([scored_draws(auroc, truth, score, weights) for weights in draws.weights()])
    assert 0 < np.isnan(drawn).sum() < 30
    found = bootstrap_intervals({"auroc": auroc}, truth, score, draws, rows=np.ones(10, bool), confidence=0.95)["auroc"]
    kept = drawn[~np.isnan(drawn)]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(kept, [2.5, 97.5])))
    assert not math.isnan(found.low or math.nan)
