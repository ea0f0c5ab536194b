"""Recalibration: against scikit-learn, statsmodels and scipy, what it does to calibration, and what is refused."""

import json
import math

import numpy as np
import pytest
import statsmodels.api
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from midrc_ml.errors import InputError
from midrc_ml.evaluation.calibration import (
    calibration_intercept,
    calibration_slope,
    linear_calibration_intercept,
    linear_calibration_slope,
    mean_calibration_difference,
)
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.evaluation.recalibration import METHODS_OF_KIND, Recalibration, fit_recalibration

BINARY = METHODS_OF_KIND["binary"]


def binary(seed: int, count: int = 400, *, digits: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Truth and overconfident probabilities."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-0.5, 1, count)
    truth = (rng.random(count) < expit(log_odds)).astype(float)
    return truth, np.clip(np.round(expit(2.5 * log_odds + 0.4), digits), 1e-3, 1 - 1e-3)


def multiclass(seed: int, count: int = 300, num_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (count, num_classes))
    truth = np.array([rng.choice(num_classes, p=row) for row in softmax(logits, axis=1)])
    return truth, softmax(3 * logits, axis=1)


def labels(seed: int, count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 9, count).astype(float)
    return truth, 2 + 0.4 * truth + rng.normal(0, 0.5, count)


# Against others.


@pytest.mark.parametrize("seed", range(3))
def test_platt_is_the_logistic_regression_of_statsmodels(seed: int) -> None:
    truth, score = binary(seed)
    design = statsmodels.api.add_constant(logit(score))
    fitted = statsmodels.api.GLM(truth, design, family=statsmodels.api.families.Binomial()).fit(tol=1e-12)
    found = fit_recalibration("platt", truth, score, "binary")
    assert [found.parameters["intercept"], found.parameters["slope"]] == pytest.approx(fitted.params, abs=1e-8)
    assert found.apply(score) == pytest.approx(fitted.predict(design), abs=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_binary_temperature_has_the_least_log_loss(seed: int) -> None:
    truth, score = binary(seed)
    best = minimize_scalar(
        lambda inverse: log_loss(truth, expit(inverse * logit(score))), bounds=(0.01, 5), options={"xatol": 1e-9}
    )
    found = fit_recalibration("temperature", truth, score, "binary")
    assert found.parameters["temperature"] == pytest.approx(1 / best.x, rel=1e-5)
    assert found.apply(score) == pytest.approx(expit(logit(score) / found.parameters["temperature"]), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_multiclass_temperature_has_the_least_log_loss(seed: int) -> None:
    truth, score = multiclass(seed)

    def loss(inverse: float) -> float:
        return -log_softmax(inverse * np.log(score), axis=1)[np.arange(len(truth)), truth].mean()

    best = minimize_scalar(loss, bounds=(0.01, 5), options={"xatol": 1e-9})
    found = fit_recalibration("temperature", truth, score, "multiclass")
    assert found.parameters["temperature"] == pytest.approx(1 / best.x, rel=1e-5)
    applied = found.apply(score)
    assert applied == pytest.approx(softmax(np.log(score) * best.x, axis=1), abs=1e-5)
    assert applied.sum(axis=1) == pytest.approx(np.ones(len(truth)), abs=1e-12)
    assert (applied.argmax(axis=1) == score.argmax(axis=1)).all()


def test_of_two_classes_both_temperatures_are_the_same() -> None:
    truth, score = binary(4)
    one = fit_recalibration("temperature", truth, score, "binary")
    two = fit_recalibration("temperature", truth, np.stack([1 - score, score], axis=1), "multiclass")
    assert one.parameters["temperature"] == pytest.approx(two.parameters["temperature"], rel=1e-9)
    np.testing.assert_allclose(two.apply(np.stack([1 - score, score], axis=1))[:, 1], one.apply(score), atol=1e-9)


@pytest.mark.parametrize("digits", [1, 9])
def test_isotonic_is_scikit_learns_between_and_beyond_the_places_too(digits: int) -> None:
    truth, score = binary(5, digits=digits)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(score, truth)
    new = np.linspace(0, 1, 501)
    assert fit_recalibration("isotonic", truth, score, "binary").apply(new) == pytest.approx(oracle.predict(new))


def test_temperature_by_hand() -> None:
    # Three of four are right at 0.9: log odds of log 9 should be log 3, so divided by 2.
    truth, score = np.repeat([1, 0, 0, 1], [30, 10, 30, 10]), np.repeat([0.9, 0.9, 0.1, 0.1], [30, 10, 30, 10])
    found = fit_recalibration("temperature", truth, score, "binary")
    assert found.parameters["temperature"] == pytest.approx(2, rel=1e-9)
    assert found.apply([0.9, 0.5, 0.1]) == pytest.approx([0.75, 0.5, 0.25])


# What it does.


def test_after_platt_the_slope_is_1_and_the_intercept_0() -> None:
    truth, score = binary(6)
    assert calibration_slope(truth, score) < 0.6
    after = fit_recalibration("platt", truth, score, "binary").apply(score)
    assert calibration_slope(truth, after) == pytest.approx(1, abs=1e-8)
    assert calibration_intercept(truth, after) == pytest.approx(0, abs=1e-8)


def test_after_linear_the_line_is_the_diagonal() -> None:
    truth, score = labels(7)
    after = fit_recalibration("linear", truth, score, "ordinal").apply(score)
    assert linear_calibration_slope(truth, after) == pytest.approx(1, abs=1e-10)
    assert linear_calibration_intercept(truth, after) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_the_order_of_studies_by_score_is_kept(method: str) -> None:
    truth, score = binary(8)
    after = fit_recalibration(method, truth, score, "binary").apply(score)
    assert auroc(truth, after) == auroc(truth, score)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_the_mean_score_becomes_the_share_of_positives(method: str) -> None:
    truth, score = binary(9)
    after = fit_recalibration(method, truth, score, "binary").apply(score)
    assert mean_calibration_difference(truth, after) == pytest.approx(0, abs=1e-9)


def test_probabilities_of_0_and_1_stay_probabilities() -> None:
    truth, score = binary(10)
    score[:4], score[4:8] = 0, 1
    for method in BINARY:
        after = fit_recalibration(method, truth, score, "binary").apply([0, 1e-30, 0.5, 1])
        assert np.isfinite(after).all()
        assert 0 <= after.min() <= after.max() <= 1
        assert (np.diff(after) >= 0).all()


def test_none_changes_no_score_of_any_kind() -> None:
    for kind, methods in METHODS_OF_KIND.items():
        assert "none" in methods
        score = np.array([[-3.0, 2.0], [4.0, 5.0]])
        assert fit_recalibration("none", [0.0, 1.0], score, kind).apply(score).tolist() == score.tolist()


@pytest.mark.parametrize("method", BINARY)
def test_the_order_of_rows_changes_nothing_that_matters(method: str) -> None:
    truth, score = binary(11, digits=1)
    order = np.random.default_rng(12).permutation(len(truth))
    first = fit_recalibration(method, truth, score, "binary").apply(score)
    second = fit_recalibration(method, truth[order], score[order], "binary").apply(score)
    assert first == pytest.approx(second, abs=1e-12)


# Stored and read again.


@pytest.mark.parametrize(("method", "kind"), [(m, k) for k, methods in METHODS_OF_KIND.items() for m in methods])
def test_what_is_stored_and_read_again_does_the_same(method: str, kind: str) -> None:
    truth, score = {"binary": binary, "multiclass": multiclass}.get(kind, labels)(13)
    fitted = fit_recalibration(method, truth, score, kind)
    stored = json.loads(json.dumps(fitted.as_dict(), allow_nan=False))
    assert stored["method"] == method
    again = Recalibration.of_dict(stored)
    assert again == fitted
    assert again.apply(score).tolist() == fitted.apply(score).tolist()


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (None, "its method is None; it must be one of none, temperature"),
        ([], "its method is None"),
        ({"method": "beta"}, "its method is 'beta'"),
        ({"method": ["platt"]}, "its method is"),
        ({"method": "platt", "slope": 1}, "platt has method, slope; needed are intercept, slope"),
        ({"method": "none", "slope": 1}, "none has method, slope"),
        ({"method": "platt", "slope": "1", "intercept": 0}, "the parameters of platt are damaged"),
        ({"method": "linear", "slope": math.inf, "intercept": 0}, "the parameters of linear are damaged"),
        ({"method": "linear", "slope": True, "intercept": 0}, "the parameters of linear are damaged"),
        ({"method": "temperature", "temperature": 0}, "the temperature is 0; it must be above 0"),
        ({"method": "isotonic", "score": [], "probability": []}, "isotonic are damaged"),
        ({"method": "isotonic", "score": [0, 1], "probability": [0]}, "isotonic are damaged"),
        ({"method": "isotonic", "score": [1, 0], "probability": [0, 1]}, "isotonic are damaged"),
        ({"method": "isotonic", "score": [0, 1], "probability": [0, 2]}, "isotonic are damaged"),
        ({"method": "isotonic", "score": 0.5, "probability": 0.5}, "isotonic are damaged"),
    ],
)
def test_damaged_parameters_are_refused(stored: object, words: str) -> None:
    with pytest.raises(InputError) as raised:
        Recalibration.of_dict(stored, where="decision.json")
    assert str(raised.value).startswith("decision.json: ")
    assert words in str(raised.value)


# What cannot be fitted.


@pytest.mark.parametrize(
    ("method", "kind", "known"),
    [
        ("platt", "multiclass", "none, temperature"),
        ("linear", "binary", "none, temperature, platt, isotonic"),
        ("temperature", "regression", "none, linear"),
        ("platt", "time_to_event", "none"),
        (None, "binary", "none, temperature, platt, isotonic"),
    ],
)
def test_a_method_that_does_not_fit_the_kind_is_refused(method: str, kind: str, known: str) -> None:
    with pytest.raises(InputError) as raised:
        fit_recalibration(method, [], [], kind)
    assert f"evaluation.recalibration is {method!r}; for a task of kind {kind} it must be one of {known}" in str(
        raised.value
    )


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
@pytest.mark.parametrize("num_positive", [0, 9, 191, 200])
def test_fewer_than_ten_of_a_class_are_refused(method: str, num_positive: int) -> None:
    truth = np.arange(200) < num_positive
    words = f"{num_positive} positive and {200 - num_positive} negative; it needs 10 or more of each"
    with pytest.raises(InputError, match=words):
        fit_recalibration(method, truth, np.random.default_rng(0).random(200), "binary")


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_scores_of_the_wrong_sign_are_refused(method: str) -> None:
    truth = np.repeat([0, 1], 50)
    score = np.r_[np.linspace(0.5, 0.9, 50), np.linspace(0.1, 0.5, 50)]
    score[[3, 60]] = 0.2, 0.8
    with pytest.raises(InputError, match="check the sign"):
        fit_recalibration(
            method, truth, score if method != "isotonic" else np.r_[score[:50] + 0.1, score[50:]], "binary"
        )


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_classes_that_do_not_overlap_are_refused(method: str) -> None:
    truth = np.repeat([0, 1], 20)
    score = np.r_[np.linspace(0.1, 0.4, 20), np.linspace(0.6, 0.9, 20)]
    with pytest.raises(InputError, match="use none"):
        fit_recalibration(method, truth, score, "binary")


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_one_score_for_all_is_refused(method: str) -> None:
    with pytest.raises(InputError, match=r"all equal|one score for all"):
        fit_recalibration(method, np.arange(40) % 2, np.full(40, 0.3), "binary")
    with pytest.raises(InputError, match="one score for all"):
        fit_recalibration("linear", np.arange(40) % 5, np.full(40, 0.3), "regression")


def test_too_few_studies_or_one_class_of_several_are_refused() -> None:
    truth, score = multiclass(0)
    with pytest.raises(InputError, match="19 studies of 4 classes; it needs 20 or more, of two or more"):
        fit_recalibration("temperature", truth[:19], score[:19], "multiclass")
    with pytest.raises(InputError, match="300 studies of 1 classes"):
        fit_recalibration("temperature", np.zeros(300), score, "multiclass")
    with pytest.raises(InputError, match="19 studies; it needs 20 or more"):
        fit_recalibration("linear", *(values[:19] for values in labels(0)), "ordinal")


def test_a_score_that_falls_with_the_label_is_refused() -> None:
    truth, score = labels(1)
    with pytest.raises(InputError, match=r"do not rise with the label \(slope -"):
        fit_recalibration("linear", truth, -score, "regression")


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_logits_and_nan_are_refused(method: str) -> None:
    truth, score = binary(2)
    fitted = fit_recalibration(method, truth, score, "binary")
    with pytest.raises(ValueError, match="must be a probability"):
        fitted.apply([0.5, 3.0])
    with pytest.raises(ValueError, match="must be a probability"):
        fit_recalibration(method, truth, logit(score), "binary")
    with pytest.raises(ValueError, match="must not hold NaN"):
        fitted.apply([0.5, math.nan])
    with pytest.raises(ValueError, match="must be 0 or 1"):
        fit_recalibration(method, truth + 1, score, "binary")
