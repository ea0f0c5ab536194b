"""The calibration curve: against scikit-learn's, and its limits."""

import math

import numpy as np
import pytest
from sklearn import calibration as sklearn_calibration
from statsmodels.stats.proportion import proportion_confint

from midrc_ml.evaluation.calibration import expected_calibration_error
from midrc_ml.evaluation.calibration_bins import EqualMassBins
from midrc_ml.evaluation.calibration_curve import calibration_curve, calibration_error_interval


def studies(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.random(count)
    return (rng.random(count) < 0.1 + 0.8 * score).astype(float), score


def draws(seed: int, num_draws: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), num_draws).astype(float)


def test_the_curve_is_scikit_learns_where_no_scores_are_tied() -> None:
    truth, score = studies(0)
    share, average = sklearn_calibration.calibration_curve(truth, score, n_bins=6, strategy="quantile")
    curve = calibration_curve(truth, score, [], num_bins=6)
    assert curve["mean_score"].tolist() == pytest.approx(average.tolist(), abs=1e-12)
    assert curve["share_positive"].tolist() == pytest.approx(share.tolist(), abs=1e-12)
    assert curve["n"].tolist() == [50] * 6
    assert curve["n_positive"].tolist() == (share * 50).round().astype(int).tolist()
    assert curve[["low", "high"]].isna().all(axis=None)


def test_the_limits_are_percentiles_of_the_share_in_the_draws() -> None:
    truth, score = studies(1)
    weight = draws(2, 500, len(truth))
    curve = calibration_curve(truth, score, [weight[:200], weight[200:]], num_bins=3, confidence=0.9)
    place = np.argsort(np.argsort(score)) // 100
    for row in range(3):
        held = place == row
        drawn = (weight[:, held] * truth[held]).sum(axis=1) / weight[:, held].sum(axis=1)
        expected = np.quantile(drawn, [0.05, 0.95])
        found = curve.loc[row, ["low", "high"]].to_numpy(dtype=float)
        assert found == pytest.approx(expected, abs=0.1 * np.ptp(expected))
        assert found[0] <= expected[0] < expected[1] <= found[1]


def test_a_bin_without_a_positive_or_without_a_negative_has_wilsons_limits() -> None:
    truth, score = np.repeat([0, 1], 20), np.arange(40) / 40
    curve = calibration_curve(truth, score, [draws(3, 100, 40)], num_bins=2)
    for row, num_positive in enumerate((0, 20)):
        low, high = proportion_confint(num_positive, 20, alpha=0.05, method="wilson")
        assert curve.loc[row, ["low", "high"]].tolist() == pytest.approx([low, high], abs=1e-12)


def test_with_several_studies_a_patient_wilsons_limits_are_those_of_patients() -> None:
    truth, score = np.repeat([0, 1], 20), np.arange(40) / 40
    patient = np.repeat([f"p{number}" for number in range(8)], 5)
    curve = calibration_curve(truth, score, [draws(3, 100, 40)], num_bins=2, patient=patient)
    assert curve.loc[0, "high"] == pytest.approx(proportion_confint(0, 4, method="wilson")[1], abs=1e-12)
    assert curve.loc[1, "low"] == pytest.approx(proportion_confint(4, 4, method="wilson")[0], abs=1e-12)


def test_the_order_of_studies_changes_nothing_at_all() -> None:
    truth, score = studies(4)
    score = score.round(1)
    weight = draws(5, 200, len(truth))
    order = np.random.default_rng(6).permutation(len(truth))
    first = calibration_curve(truth, score, [weight])
    assert first.equals(calibration_curve(truth[order], score[order], [weight[:, order]]))
    assert len(first) < 11


def test_no_studies_make_an_empty_curve_and_one_score_a_single_bin() -> None:
    assert len(calibration_curve([], [], [])) == 0
    curve = calibration_curve([0, 1, 1], [0.4, 0.4, 0.4], [])
    assert curve.loc[0, "n"] == 3
    assert curve.loc[0, "share_positive"] == pytest.approx(2 / 3)
    assert math.isnan(curve.loc[0, "low"])


def test_a_score_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a probability"):
        calibration_curve([0, 1], [-3.0, 2.0], [])


# The interval of the expected calibration error.


def test_the_interval_of_the_error_holds_the_error_and_not_what_is_far_from_it() -> None:
    truth, score = studies(7)
    far = score**3  # much too low
    interval = calibration_error_interval(truth, far, [draws(8, 200, 300)])
    value = expected_calibration_error(truth, far)
    assert 0.05 < interval.low < value < interval.high < value + 0.2
    assert calibration_error_interval(truth, score, [draws(8, 200, 300)]).low == 0


def test_fewer_patients_make_the_interval_of_the_error_wider() -> None:
    truth, score = studies(7)
    alone, shared = (
        calibration_error_interval(truth, score**3, [draws(8, 200, 300)], patient=patient)
        for patient in (None, np.arange(300) // 100)
    )
    assert shared.high > alone.high


def test_without_draws_or_studies_the_interval_says_why_there_is_none() -> None:
    assert calibration_error_interval([], [], []).reason == "no studies"
    assert calibration_error_interval([0, 1], [0.1, 0.2], []).reason == "no bootstrap draws"


@pytest.mark.slow
@pytest.mark.parametrize(("sharpness", "middle", "spread"), [(1, -1.5, 1.5), (1, -3, 1.5), (0.5, -1.5, 1.5)])
def test_the_interval_of_the_error_covers_as_often_as_it_says(sharpness: float, middle: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        log_odds = rng.normal(middle, spread, 400)
        chance = 1 / (1 + np.exp(-sharpness * log_odds))
        score, truth = 1 / (1 + np.exp(-log_odds)), (rng.random(400) < chance).astype(float)
        # What the error would be if the chance of each study were known.
        of_study = EqualMassBins.of(score, 10).bin_of(score)
        true = sum(abs((score - chance)[of_study == place].sum()) for place in range(10)) / 400
        interval = calibration_error_interval(truth, score, [draws(int(rng.integers(1 << 30)), 400, 400)])
        covered += interval.low <= true <= interval.high
    assert covered / 400 >= 0.93
