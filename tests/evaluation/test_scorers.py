"""Metrics of all draws and groups at once: equal to a plain loop over draws, groups and scikit-learn's functions."""

import functools
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, recall_score, roc_auc_score

from midrc_ml.evaluation import scorers
from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.metrics import auprc, auroc, brier_loss, mae, sensitivity
from midrc_ml.evaluation.scorers import Grouping, values_of_draws, values_of_studies, values_of_times

METRICS = {
    "auroc": auroc,
    "auprc": auprc,
    "brier_loss": brier_loss,
    "sensitivity": functools.partial(sensitivity, threshold=0.5),
}


def studies(count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray, pd.Series, Grouping]:
    """Tied scores, one to several studies a patient, three groups and studies in none."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(count) < 0.4).astype(float)
    score = np.round(np.clip(0.2 * truth + 0.8 * rng.random(count), 0, 1), 1)
    patient = pd.Series([f"p{number:03d}" for number in rng.integers(0, count // 2, count)])
    return truth, score, patient, Grouping(rng.integers(-1, 3, count), 3)


def by_loop(metric: Callable[..., float], weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """metric(repeated rows) of each draw, NaN where it refuses them."""
    values = []
    for weight in weights.astype(int):
        again = np.repeat(rows, weight[rows])
        try:
            values.append(metric(again))
        except ValueError:
            values.append(math.nan)
    return np.array(values)


def test_every_draw_and_group_has_the_value_that_scikit_learn_gives_for_its_rows() -> None:
    truth, score, patient, grouping = studies()
    draws = PatientDraws.of(patient, num_draws=60, seed=4)
    everyone, grouped = values_of_draws(METRICS, truth, score, draws, [Grouping.everyone(len(truth)), grouping])
    theirs = {
        "auroc": lambda rows: roc_auc_score(truth[rows], score[rows]) if len(set(truth[rows])) > 1 else math.nan,
        "auprc": lambda rows: average_precision_score(truth[rows], score[rows]),
        "brier_loss": lambda rows: brier_score_loss(truth[rows], score[rows], pos_label=1),
        "sensitivity": lambda rows: recall_score(truth[rows], score[rows] >= 0.5),
    }
    weights = np.concatenate(list(draws.weights()))
    for name, metric in theirs.items():
        np.testing.assert_allclose(
            everyone[name][:, 0], by_loop(metric, weights, np.arange(len(truth))), rtol=0, atol=1e-12
        )
        for group in range(3):
            expected = by_loop(metric, weights, grouping.rows(group))
            np.testing.assert_allclose(grouped[name][:, group], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_cores_changes_nothing_at_all(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, score, patient, grouping = studies()
    monkeypatch.setattr("midrc_ml.evaluation.draws._CELLS_OF_BLOCK", 300)
    draws = PatientDraws.of(patient, num_draws=80, seed=4)
    assert draws.num_blocks > 5
    monkeypatch.setattr(scorers, "num_threads", lambda: 1)
    (alone,) = values_of_draws(METRICS, truth, score, draws, [grouping])
    monkeypatch.setattr(scorers, "num_threads", lambda: threads)
    (together,) = values_of_draws(METRICS, truth, score, draws, [grouping])
    for name in METRICS:
        assert np.array_equal(alone[name], together[name], equal_nan=True)


def test_how_many_draws_are_held_at_once_changes_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, score, patient, grouping = studies()
    draws = PatientDraws.of(patient, num_draws=50, seed=4)
    (whole,) = values_of_draws(METRICS, truth, score, draws, [grouping])
    monkeypatch.setattr(scorers, "_CELLS_AT_ONCE", 1)
    (one_by_one,) = values_of_draws(METRICS, truth, score, draws, [grouping])
    for name in METRICS:
        assert np.array_equal(whole[name], one_by_one[name], equal_nan=True)


def test_groups_share_the_draws_of_all_studies() -> None:
    truth, score, patient, _ = studies()
    draws = PatientDraws.of(patient, num_draws=30, seed=0)
    everyone = Grouping.everyone(len(truth))
    (first, second) = values_of_draws(METRICS, truth, score, draws, [everyone, everyone])
    for name in METRICS:
        assert np.array_equal(first[name], second[name])


def test_values_of_studies_are_those_of_one_draw_of_everyone() -> None:
    truth, score, _, grouping = studies()
    (found,) = values_of_studies(METRICS, truth, score, [grouping])
    for group in range(3):
        rows = grouping.rows(group)
        for name, metric in METRICS.items():
            assert found[name][group] == pytest.approx(metric(truth[rows], score[rows]), abs=1e-12)


def test_a_metric_without_sample_weight_is_called_on_the_repeated_rows() -> None:
    truth, score, patient, grouping = studies()
    draws = PatientDraws.of(patient, num_draws=30, seed=1)

    def plain(y_true: np.ndarray, y_score: np.ndarray) -> float:
        return float(np.abs(y_true - y_score).mean()) if len(y_true) else math.nan

    (found,) = values_of_draws({"with": mae, "without": plain}, truth, score, draws, [grouping])
    np.testing.assert_allclose(found["with"], found["without"], rtol=0, atol=1e-12)


def test_a_metric_that_refuses_the_studies_has_no_value() -> None:
    truth, score, patient, grouping = studies()
    draws = PatientDraws.of(patient, num_draws=5, seed=1)
    (found,) = values_of_draws({"auroc": auroc, "mae": mae}, truth * 3, score, draws, [grouping])
    assert np.isnan(found["auroc"]).all()
    assert not np.isnan(found["mae"]).any()


def test_an_empty_group_and_a_group_of_one_class_have_no_auroc_and_the_others_keep_theirs() -> None:
    truth, score, _, grouping = studies()
    codes = np.where(grouping.codes == 1, 4, grouping.codes)  # groups 1 and 3 are empty
    truth = np.where(codes == 2, 0.0, truth)
    (found,) = values_of_studies({"auroc": auroc, "auprc": auprc}, truth, score, [Grouping(codes, 5)])
    assert np.isnan(found["auroc"][[1, 2, 3]]).all()
    assert np.isnan(found["auprc"][[1, 2, 3]]).all()
    for group in (0, 4):
        rows = codes == group
        assert found["auroc"][group] == pytest.approx(roc_auc_score(truth[rows], score[rows]), abs=1e-12)


def test_metrics_of_the_same_sums_make_them_once() -> None:
    calls = []

    def features(y_true: np.ndarray, y_score: np.ndarray, *, threshold: float) -> np.ndarray:
        calls.append(threshold)
        return np.stack([y_score >= threshold, np.ones(len(y_score), bool)], axis=1)

    def share(y_true: np.ndarray, y_score: np.ndarray, *, threshold: float) -> float:
        raise AssertionError("not called: the sums are enough")

    share.features, share.of_sums = features, lambda sums: sums[..., 0] / sums[..., 1]
    other = functools.partial(share, threshold=0.2)
    truth, score, _, _ = studies()
    (found,) = values_of_studies(
        {"a": functools.partial(share, threshold=0.5), "b": functools.partial(share, threshold=0.5), "c": other},
        truth, score, [Grouping.everyone(len(truth))],
    )  # fmt: skip
    assert calls == [0.5, 0.2]
    assert found["a"] == found["b"] == (score >= 0.5).mean()
    assert found["c"] == (score >= 0.2).mean()


def test_features_that_are_numbers_are_summed_by_group_with_their_weights() -> None:
    truth, score, patient, grouping = studies()

    def mean_score(y_true: np.ndarray, y_score: np.ndarray) -> float:
        raise AssertionError("not called: the sums are enough")

    mean_score.features = lambda y_true, y_score: np.stack([y_score, np.ones(len(y_score))], axis=1)
    mean_score.of_sums = lambda sums: sums[..., 0] / sums[..., 1]
    draws = PatientDraws.of(patient, num_draws=20, seed=1)
    (found,) = values_of_draws({"mean": mean_score}, truth, score, draws, [grouping])
    weights = np.concatenate(list(draws.weights()))
    for group in range(3):
        rows = grouping.rows(group)
        expected = [np.average(score[rows], weights=weight[rows]) for weight in weights]
        np.testing.assert_allclose(found["mean"][:, group], expected, rtol=0, atol=1e-12)


def test_weights_of_ones_own_leave_out_what_they_leave_out() -> None:
    truth, score, patient, _ = studies()
    unit, names = pd.factorize(patient, sort=True)
    times = 1 - np.eye(len(names), dtype=np.int32)[:3]
    (found,) = values_of_times({"auroc": auroc}, truth, score, unit, [Grouping.everyone(len(truth))], times)
    for number in range(3):
        kept = unit != number
        assert found["auroc"][number, 0] == pytest.approx(roc_auc_score(truth[kept], score[kept]), abs=1e-12)


def test_whole_number_weights_of_a_population_do_not_overflow() -> None:
    rng = np.random.default_rng(0)
    truth, score = (rng.random(1000) < 0.3).astype(float), rng.random(1000)
    for metric in (auroc, auprc):
        for weight in (5_000_000, 2**40):
            found = metric(truth, score, sample_weight=np.full(1000, weight))
            assert found == pytest.approx(metric(truth, score), abs=1e-12)
        with pytest.raises(ValueError, match="999 weights for 1000 studies"):
            metric(truth, score, sample_weight=np.ones(999))
