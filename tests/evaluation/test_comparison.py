"""Paired differences of models: against a plain scikit-learn loop, hand cases, and what may not matter."""

import math
import statistics
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t
from sklearn.metrics import average_precision_score, roc_auc_score

from midrc_ml.evaluation.calibration import expected_calibration_error
from midrc_ml.evaluation.classes import accuracy
from midrc_ml.evaluation.comparison import (
    ComparisonSettings,
    compare_models,
    draws_needed,
    with_holm,
)
from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.intervals import percentile_interval, two_sided_p_value
from midrc_ml.evaluation.levelling import levelling_rows
from midrc_ml.evaluation.metrics import auprc, auroc, brier_loss, mae
from midrc_ml.evaluation.paired_scoring import ComparedModel
from midrc_ml.evaluation.settings import Fairness
from midrc_ml.evaluation.survival import concordance_index
from midrc_ml.evaluation.thresholded import sensitivity

FEW = ComparisonSettings(num_draws=200, seed=1)
compare = partial(compare_models, kind="binary", settings=FEW)


def cohort(num_patients: int = 60, seed: int = 0) -> pd.DataFrame:
    """Two studies a patient, of either class."""
    rng = np.random.default_rng(seed)
    count = 2 * num_patients
    return pd.DataFrame(
        {
            "patient_id": [f"p{row // 2:04d}" for row in range(count)],
            "y_true": (rng.random(count) < 0.4).astype(float),
            "sex": rng.choice(["F", "M"], count),
        }
    )


def model(name: str, studies: pd.DataFrame, *, seed: int, signal: float = 1.0, num_seeds: int = 1) -> ComparedModel:
    rng = np.random.default_rng(seed)
    scores = [
        1 / (1 + np.exp(-(signal * studies["y_true"].to_numpy() + rng.normal(size=len(studies)))))
        for _ in range(num_seeds)
    ]
    return ComparedModel(name=name, scores=scores, thresholds=[0.5] * num_seeds)


@pytest.fixture
def studies() -> pd.DataFrame:
    return cohort()


@pytest.fixture
def truth(studies: pd.DataFrame) -> np.ndarray:
    return studies["y_true"].to_numpy()


@pytest.mark.parametrize(("ours", "theirs"), [(auroc, roc_auc_score), (auprc, average_precision_score)])
def test_a_difference_is_that_of_a_plain_paired_bootstrap_with_scikit_learn(
    studies: pd.DataFrame, truth: np.ndarray, ours: object, theirs: object
) -> None:
    first, second = model("a", studies, seed=1), model("b", studies, seed=2, signal=1.5)
    (row,) = compare([first, second], studies, truth, {"metric": ours}).differences
    patients = sorted(set(studies["patient_id"]))
    draws = PatientDraws.of(studies["patient_id"], num_draws=200, seed=1)
    counts = np.concatenate([draws.block(number) for number in range(draws.num_blocks)])
    rows_of = {name: np.flatnonzero(studies["patient_id"] == name) for name in patients}
    drawn = []
    for count in counts:  # a draw: the patients, as often as each is drawn, with all of their studies
        rows = np.concatenate(
            [rows_of[name] for name, times in zip(patients, count, strict=True) for _ in range(times)]
        )
        values = [theirs(truth[rows], one.scores[0][rows]) for one in (second, first)]  # type: ignore[operator]
        drawn.append(values[0] - values[1])
    found = np.array(drawn)
    assert row["difference"] == pytest.approx(
        theirs(truth, second.scores[0]) - theirs(truth, first.scores[0])  # type: ignore[operator]
    )
    few = min(studies.loc[truth == label, "patient_id"].nunique() for label in (0, 1))
    expected = percentile_interval(found, 0.95, num_patients=few)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    below = np.interp(0, np.sort(found), np.arange(1, 201)) / 201  # where 0 stands among the draws
    share = min(below, 1 - below)
    assert row["p_value"] == pytest.approx(2 * t.cdf(norm.ppf(share) * math.sqrt((few - 1) / few), few - 1))
    assert row["sampling_se"] == pytest.approx(statistics.stdev(found))


def test_rows_in_another_order_change_nothing_to_the_last_bit(studies: pd.DataFrame, truth: np.ndarray) -> None:
    models = [model(name, studies, seed=seed) for seed, name in enumerate("ab")]
    metrics = {"auroc": auroc, "auprc": auprc}
    order = np.random.default_rng(5).permutation(len(studies))
    turned = [ComparedModel(name=one.name, scores=[one.scores[0][order]], thresholds=[0.5]) for one in models]
    moved = studies.iloc[order].reset_index(drop=True)
    first = compare(models, studies, truth, metrics)
    second = compare(turned, moved, truth[order], metrics)
    strip = [{key: value for key, value in row.items() if key != "p_delong"} for row in first.differences]
    assert strip == [{key: value for key, value in row.items() if key != "p_delong"} for row in second.differences]
    assert first.values == second.values


def test_the_reference_and_the_model_change_places_with_the_sign(studies: pd.DataFrame, truth: np.ndarray) -> None:
    first, second = model("a", studies, seed=1), model("b", studies, seed=2, signal=2)
    (forward,) = compare([first, second], studies, truth, {"auroc": auroc}).differences
    (back,) = compare([second, first], studies, truth, {"auroc": auroc}).differences
    assert (forward["model"], forward["reference"]) == ("b", "a")
    assert back["difference"] == -forward["difference"]
    assert (back["low"], back["high"]) == pytest.approx((-forward["high"], -forward["low"]), abs=1e-12)
    assert back["p_value"] == forward["p_value"]
    assert forward["favours"] == back["favours"] == "b"


def test_of_a_loss_the_lower_one_is_favoured(studies: pd.DataFrame, truth: np.ndarray) -> None:
    good, bad = model("good", studies, seed=1, signal=4), model("bad", studies, seed=2, signal=-2)
    (row,) = compare([bad, good], studies, truth, {"brier_loss": brier_loss}).differences
    assert row["difference"] < 0
    assert row["favours"] == "good"


def test_equal_models_differ_by_0_without_a_p_value_and_with_the_reason(
    studies: pd.DataFrame, truth: np.ndarray
) -> None:
    one = model("a", studies, seed=1)
    again = ComparedModel(name="b", scores=one.scores, thresholds=one.thresholds)
    (row,) = compare([one, again], studies, truth, {"auroc": auroc}).differences
    assert row["difference"] == 0
    assert (row["low"], row["high"], row["p_value"], row["p_holm"], row["p_delong"]) == (None,) * 5
    assert row["reason"] == "both give every study the same score"
    assert row["favours"] is None


def test_one_class_has_no_difference_but_a_reason(studies: pd.DataFrame) -> None:
    positive = studies.assign(y_true=1.0)
    models = [model("a", positive, seed=1), model("b", positive, seed=2)]
    (row,) = compare(models, positive, positive["y_true"].to_numpy(), {"auroc": auroc}).differences
    assert (row["difference"], row["low"], row["p_value"]) == (None, None, None)
    assert row["reason"] == "one class only: 120 of 120 studies are positive"


def test_a_metric_that_is_withheld_of_one_model_says_why(studies: pd.DataFrame, truth: np.ndarray) -> None:
    ranks = ComparedModel(
        name="ranks", scores=model("b", studies, seed=2).scores, thresholds=[0.5], withheld={"brier_loss": "ranks only"}
    )
    found = compare([model("a", studies, seed=1), ranks], studies, truth, {"auroc": auroc, "brier_loss": brier_loss})
    by_metric = {row["metric"]: row for row in found.differences}
    assert by_metric["brier_loss"]["reason"] == "ranks only"
    assert by_metric["brier_loss"]["difference"] is None
    assert by_metric["auroc"]["difference"] is not None


def test_each_seed_has_its_own_threshold_and_one_without_any_gives_no_value(
    studies: pd.DataFrame, truth: np.ndarray
) -> None:
    scores = model("b", studies, seed=2, num_seeds=2).scores
    both = ComparedModel(name="b", scores=scores, thresholds=[0.4, 0.8])
    reference = model("a", studies, seed=1)
    value = compare([reference, both], studies, truth, {"sensitivity": sensitivity}).values[1]
    shares = [float((scores[seed][truth == 1] >= cut).mean()) for seed, cut in enumerate((0.4, 0.8))]
    assert value["by_seed"] == pytest.approx(shares)
    assert value["value"] == pytest.approx(sum(shares) / 2)
    without = ComparedModel(name="b", scores=scores, thresholds=[0.4, math.nan])
    (row,) = compare([reference, without], studies, truth, {"sensitivity": sensitivity}).differences
    assert row["difference"] is None
    assert row["reason"].startswith("no threshold")


def test_seeds_are_one_model_with_their_spread_and_that_of_the_sample_apart(
    studies: pd.DataFrame, truth: np.ndarray
) -> None:
    one, three = model("one", studies, seed=1), model("three", studies, seed=2, num_seeds=3)
    found = compare([one, three], studies, truth, {"auroc": auroc})
    alone, together = found.values
    by_seed = [roc_auc_score(truth, scores) for scores in three.scores]
    assert together["by_seed"] == pytest.approx(by_seed)
    assert together["value"] == pytest.approx(statistics.mean(by_seed))
    assert together["seed_sd"] == pytest.approx(statistics.stdev(by_seed))
    assert (together["seed_low"], together["seed_high"]) == pytest.approx((min(by_seed), max(by_seed)))
    assert together["combined_sd"] == pytest.approx(math.hypot(together["sampling_se"], together["seed_sd"]))
    assert (alone["num_seeds"], alone["seed_sd"], alone["combined_sd"]) == (1, None, None)
    (row,) = found.differences
    assert row["difference"] == pytest.approx(statistics.mean(by_seed) - roc_auc_score(truth, one.scores[0]))
    assert (row["seed_se"], row["combined_se"]) == (None, None)  # of one seed nobody knows


def test_a_model_whose_value_no_draw_changes_lends_the_difference_no_interval(
    studies: pd.DataFrame, truth: np.ndarray
) -> None:
    all_called = ComparedModel(name="all", scores=[np.full(len(studies), 0.9)], thresholds=[0.5])
    other = model("b", studies, seed=2)
    (row,) = compare([all_called, other], studies, truth, {"sensitivity": sensitivity}).differences
    assert row["difference"] < 0
    assert (row["low"], row["high"], row["p_value"]) == (None, None, None)
    assert row["reason"] == "all: all 200 bootstrap draws give the same value: too few patients, or one score for all"


def test_a_difference_of_seeds_is_that_of_their_means_within_each_draw(
    studies: pd.DataFrame, truth: np.ndarray
) -> None:
    first, second = (model(name, studies, seed=seed, num_seeds=2) for seed, name in enumerate("ab"))
    (row,) = compare([first, second], studies, truth, {"auroc": auroc}).differences
    weights = np.concatenate(list(PatientDraws.of(studies["patient_id"], num_draws=200, seed=1).weights()))
    of_seed = [[auroc(truth, scores, sample_weight=weights) for scores in one.scores] for one in (first, second)]
    drawn = (of_seed[1][0] + of_seed[1][1]) / 2 - (of_seed[0][0] + of_seed[0][1]) / 2
    assert row["sampling_se"] == pytest.approx(drawn.std(ddof=1))
    few = min(studies.loc[truth == label, "patient_id"].nunique() for label in (0, 1))
    assert row["p_value"] == pytest.approx(two_sided_p_value(drawn, num_patients=few))
    spreads = [statistics.stdev(auroc(truth, scores) for scores in one.scores) for one in (first, second)]
    expected = math.sqrt(spreads[0] ** 2 / 2 + spreads[1] ** 2 / 2)
    assert row["seed_se"] == pytest.approx(expected)
    assert row["combined_se"] == pytest.approx(math.hypot(row["sampling_se"], expected))


def test_holm_is_over_all_rows_that_have_a_p_value() -> None:
    rows = [{"p_value": value, "p_holm": None} for value in (0.02, None, 0.01, 0.5, 0.03)]
    # By hand: 0.01 x 4, 0.02 x 3, 0.03 x 2 (not below the one before), 0.5 x 1.
    assert [row["p_holm"] for row in with_holm(rows)] == pytest.approx([0.06, None, 0.04, 0.5, 0.06])


@pytest.mark.parametrize("num_patients", [6, 15, 400])
@pytest.mark.parametrize("family", [1, 3, 12])
def test_the_draws_that_could_show_something_are_the_fewest_that_can(family: int, num_patients: int) -> None:
    draws = draws_needed(family, 0.05, num_patients=num_patients)
    if draws > 100_000:
        pytest.skip("too many draws to be made here")
    rng = np.random.default_rng(0)
    least, one_less = (
        two_sided_p_value(1 + rng.random(count), num_patients=num_patients) for count in (draws, draws - 1)
    )
    assert family * least < 0.05 <= family * one_less * (1 + 1e-9)


def test_few_patients_need_more_draws_than_two_divided_by_p() -> None:
    # Of very many patients p is 2 / (draws + 1): 12 x 2 / (draws + 1) < 0.05 from 480 draws on.
    assert draws_needed(12, 0.05, num_patients=10**7) == 480
    assert draws_needed(12, 0.05, num_patients=15) > 2000


def test_too_few_draws_for_the_family_are_told_with_the_number_that_could(
    studies: pd.DataFrame, truth: np.ndarray
) -> None:
    models = [model(str(seed), studies, seed=seed) for seed in range(7)]
    found = compare(models, studies, truth, {"auroc": auroc})
    family, needed = found.draws_that_could()["differences"]
    assert family == 6
    assert needed > 240  # that 2 / (draws + 1) alone would ask for
    for draws, said in ((needed, {}), (needed - 1, {"differences": (6, needed)})):
        settings = ComparisonSettings(num_draws=draws)
        assert compare(models, studies, truth, {"auroc": auroc}, settings=settings).draws_that_could() == said


def test_all_pairs_are_each_with_each(studies: pd.DataFrame, truth: np.ndarray) -> None:
    models = [model(name, studies, seed=seed) for seed, name in enumerate("abc")]
    every = ComparisonSettings(num_draws=100, all_pairs=True)
    rows = compare(models, studies, truth, {"auroc": auroc}, settings=every).differences
    assert [(row["model"], row["reference"]) for row in rows] == [("b", "a"), ("c", "a"), ("c", "b")]
    first, second, third = (row["difference"] for row in rows)
    assert third == pytest.approx(second - first)


def test_a_group_has_the_difference_of_its_own_studies_and_a_small_one_a_reason(
    studies: pd.DataFrame, truth: np.ndarray
) -> None:
    studies = studies.assign(sex=np.where(np.arange(120) < 8, "X", studies["sex"]))
    models = [model(name, studies, seed=seed) for seed, name in enumerate("ab")]
    fairness = Fairness(columns=["sex"], min_group_size=10)
    rows = compare(models, studies, truth, {"auroc": auroc}, fairness=fairness).by_group
    by_value = {row["group"]["value"]: row for row in rows}
    for value in "FM":
        chosen = (studies["sex"] == value).to_numpy()
        areas = [roc_auc_score(truth[chosen], one.scores[0][chosen]) for one in models]
        assert by_value[value]["difference"] == pytest.approx(areas[1] - areas[0])
        assert by_value[value]["n"] == chosen.sum()
    assert by_value["X"]["difference"] is None
    assert by_value["X"]["reason"] == "8 studies, fewer than 10"
    assert [row["p_holm"] is None for row in rows] == [row["p_value"] is None for row in rows]


def _group_row(value: str, before: float, after: float, reach: float = 0.01, metric: str = "auroc") -> dict:
    change = after - before
    return {"group": {"column": "sex", "value": value}, "metric": metric, "model": "b", "reference": "a",
            "value": after, "value_reference": before, "difference": change,
            "low": change - reach, "high": change + reach}  # fmt: skip


@pytest.mark.parametrize(
    ("female", "male", "expected"),
    [
        ((0.9, 0.8), (0.7, 0.7), True),  # the gap halves, as the better off lose
        ((0.9, 0.9), (0.7, 0.8), False),  # as the worse off gain
        ((0.9, 0.95), (0.7, 0.7), False),  # it grows
    ],
)
def test_levelling_down_is_a_smaller_gap_without_a_gain_of_the_worst_off(
    female: tuple[float, float], male: tuple[float, float], expected: bool
) -> None:
    studies = pd.DataFrame({"sex": ["F"] * 20 + ["M"] * 20})
    from midrc_ml.evaluation.groups import group_columns

    columns = group_columns(studies, Fairness(columns=["sex"]))
    (row,) = levelling_rows(columns, [_group_row("F", *female), _group_row("M", *male)])
    assert row["levelling_down"] is expected
    assert (row["worst_group"], row["best_group"]) == ("M", "F")
    assert (row["gap_reference"], row["gap"]) == pytest.approx((0.2, abs(female[1] - male[1])))


def test_of_a_loss_the_worst_off_is_the_one_with_the_highest() -> None:
    studies = pd.DataFrame({"sex": ["F"] * 20 + ["M"] * 20})
    from midrc_ml.evaluation.groups import group_columns

    columns = group_columns(studies, Fairness(columns=["sex"]))
    rows = [_group_row("F", 0.1, 0.2, metric="brier_loss"), _group_row("M", 0.3, 0.3, metric="brier_loss")]
    (row,) = levelling_rows(columns, rows)
    assert (row["worst_group"], row["harmed"], row["helped"], row["levelling_down"]) == ("M", ["F"], [], True)


def test_a_distance_from_0_has_a_difference_but_no_interval(studies: pd.DataFrame, truth: np.ndarray) -> None:
    models = [model(name, studies, seed=seed) for seed, name in enumerate("ab")]
    metrics = {"expected_calibration_error": expected_calibration_error}
    (row,) = compare(models, studies, truth, metrics).differences
    assert row["difference"] is not None
    assert (row["low"], row["p_value"]) == (None, None)
    assert row["reason"].startswith("a distance from 0")


def test_the_check_by_delong_is_near_the_bootstrap(studies: pd.DataFrame) -> None:
    large = cohort(num_patients=400, seed=3)
    models = [model("a", large, seed=1, signal=1.0), model("b", large, seed=2, signal=1.2)]
    settings = ComparisonSettings(num_draws=2000)
    (row,) = compare(models, large, large["y_true"].to_numpy(), {"auroc": auroc}, settings=settings).differences
    assert 0.001 < row["p_delong"] < 1
    assert row["p_value"] == pytest.approx(row["p_delong"], rel=0.25, abs=0.02)


def test_other_kinds_of_tasks_are_compared_by_their_own_metrics(studies: pd.DataFrame, truth: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    count = len(studies)
    classes = rng.integers(0, 3, count).astype(float)
    probabilities = [rng.dirichlet(np.ones(3), count) for _ in range(2)]
    followed = np.stack([truth, rng.integers(1, 90, count)], axis=1)
    number = rng.normal(size=count)
    cases = [
        ("multiclass", {"accuracy": accuracy}, classes, probabilities, classes),
        ("time_to_event", {"concordance_index": concordance_index}, truth, [number, -number], followed),
        ("regression", {"mae": mae}, number, [number + 1, number + 2], number),
    ]
    for kind, metrics, label, scores, y_true in cases:
        models = [
            ComparedModel(name=f"{place}", scores=[one], thresholds=[math.nan]) for place, one in enumerate(scores)
        ]
        names = ("x", "y", "z") if kind == "multiclass" else ()
        rows = compare_models(
            models, studies.assign(y_true=label), y_true, metrics, kind=kind, classes=names, settings=FEW
        ).differences
        metric = next(iter(metrics.values()))
        assert rows[0]["difference"] == pytest.approx(metric(y_true, scores[1]) - metric(y_true, scores[0]))
    assert rows[0]["favours"] == "0"  # mae: 1 against 2
    assert rows[0]["reason"].startswith("all 200 bootstrap draws give the same value")
