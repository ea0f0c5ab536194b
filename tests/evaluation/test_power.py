"""Power: Hanley and McNeil's standard error by hand, and what is promised against simulated test parts."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from midrc_ml.errors import InputError
from midrc_ml.evaluation.delong import delong, difference_test
from midrc_ml.evaluation.power import (
    PowerAssumptions,
    auroc_standard_error,
    effective_size,
    proportion_standard_error,
    smallest_difference,
    smallest_gap,
)

NORMAL = NormalDist()


def of_auroc(positive: float, negative: float):  # type: ignore[no-untyped-def]
    return lambda value: auroc_standard_error(value, positive, negative)


def test_a_case_worked_by_hand() -> None:
    # A 0.893, 51 positive, 58 negative: Q1 = .893/1.107 = .80668, Q2 = 1.594898/1.893 = .84252, A^2 = .797449;
    # (.095551 + 50 * .009236 + 57 * .045075) / 2958 = .0010570, whose root is .03251.
    assert auroc_standard_error(0.893, 51, 58) == pytest.approx(0.0325, abs=1e-4)


def test_it_is_near_the_spread_of_simulated_cohorts() -> None:
    rng = np.random.default_rng(0)
    positive, negative = 40, 80
    scale = math.log(0.8 / 0.2)  # exponential scores, for which the approximation is exact: P(x > y) = r / (1 + r)
    ratio = math.exp(scale)
    x = rng.exponential(ratio, (2000, positive, 1))
    y = rng.exponential(1.0, (2000, 1, negative))
    auroc = (x > y).mean(axis=(1, 2))
    assert auroc.mean() == pytest.approx(0.8, abs=0.005)
    assert auroc_standard_error(0.8, positive, negative) == pytest.approx(auroc.std(), rel=0.05)


def test_without_both_classes_there_is_no_answer() -> None:
    assert math.isnan(auroc_standard_error(0.8, 0, 10))
    assert math.isnan(smallest_gap((of_auroc(50, 50), of_auroc(10, 0)), 0.8, 0.5, PowerAssumptions()))
    assert math.isnan(proportion_standard_error(0.8, 0))


def test_studies_of_a_patient_are_worth_less_the_more_alike_they_are() -> None:
    assert effective_size([1, 1, 1, 1], 0.7) == 4
    assert effective_size([3, 3], 0) == 6
    assert effective_size([3, 3], 1) == 2
    assert effective_size([4, 2], 0.5) == pytest.approx(36 / (6 + 0.5 * (20 - 6)))
    assert effective_size([], 0.5) == 0


def test_the_variance_of_a_mean_is_that_of_so_many_independent_patients() -> None:
    rng, counts, correlation = np.random.default_rng(1), np.array([1, 2, 5, 10, 2]), 0.4
    patient = np.repeat(np.arange(len(counts)), counts)
    shared, own = rng.normal(size=(40_000, len(counts))), rng.normal(size=(40_000, len(patient)))
    means = (math.sqrt(correlation) * shared[:, patient] + math.sqrt(1 - correlation) * own).mean(axis=1)
    assert 1 / means.var() == pytest.approx(effective_size(counts, correlation), rel=0.03)


def test_a_reach_is_that_of_the_normal_tables() -> None:
    assert PowerAssumptions().reach() == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    assert PowerAssumptions().reach(10) == pytest.approx(2.807034 + 0.841621, abs=1e-5)  # of 0.25 % on each side
    assert PowerAssumptions().two_sided == pytest.approx(1.959964, abs=1e-5)


def test_two_models_that_agree_are_told_apart_sooner() -> None:
    # 2.8016 * 0.05 * sqrt(2 * (1 - 0.5)) = 0.14008
    assert smallest_difference(0.05, PowerAssumptions()) == pytest.approx(0.14008, abs=1e-5)
    closer = smallest_difference(0.05, PowerAssumptions(model_correlation=0.9))
    assert closer == pytest.approx(0.14008 * math.sqrt(0.2), abs=1e-5)


def test_the_smallest_gap_is_reach_times_the_error_at_that_gap() -> None:
    first, second = of_auroc(200, 300), of_auroc(80, 90)
    gap = smallest_gap((first, second), 0.8, 0.5, PowerAssumptions())
    assert gap == pytest.approx(2.801585 * math.hypot(first(0.8), second(0.8 - gap)), rel=1e-6)
    assert smallest_gap((first, second), 0.8, 0.5, PowerAssumptions(), family=12) > gap


def test_a_gap_of_a_small_group_is_never_found() -> None:
    assert math.isnan(smallest_gap((of_auroc(500, 500), of_auroc(6, 10)), 0.8, 0.5, PowerAssumptions()))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"auroc": 1.0}, "power.auroc is 1.0; it must lie between 0.5 and 1"),
        ({"power": 0.4}, "power.power is 0.4; it must lie between 0.5 and 1"),
        ({"patient_correlation": -0.1}, "power.patient_correlation is -0.1; it must be at least 0 and at most 1"),
        ({"sensitivity": "high"}, "power.sensitivity is 'high'"),
    ],
)
def test_wrong_assumptions_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as caught:
        PowerAssumptions(**settings)  # type: ignore[arg-type]
    assert said in str(caught.value)


def found_gaps(rng: np.random.Generator, aurocs: tuple[float, float], sizes: tuple[tuple[int, int], ...]) -> float:
    """Share of 2,000 pairs of simulated groups whose AUROCs differ by a two-sided z-test, with errors of the sample."""
    values, variances = [], []
    for auroc, (positive, negative) in zip(aurocs, sizes, strict=True):
        shift = math.sqrt(2) * NORMAL.inv_cdf(auroc)
        x, y = rng.normal(shift, 1, (2000, positive)), rng.normal(0, 1, (2000, negative))
        beats = x[:, :, None] > y[:, None, :]
        of_positive, of_negative = beats.mean(axis=2), beats.mean(axis=1)
        values.append(of_positive.mean(axis=1))
        variances.append(of_positive.var(axis=1, ddof=1) / positive + of_negative.var(axis=1, ddof=1) / negative)
    z = (values[0] - values[1]) / np.sqrt(variances[0] + variances[1])
    return float((np.abs(z) > 1.959964).mean())


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [((100, 200), (60, 90)), ((200, 200), (40, 120)), ((60, 240), (60, 240))])
def test_the_smallest_gap_is_found_in_about_four_of_five_simulated_test_parts(
    sizes: tuple[tuple[int, int], ...],
) -> None:
    gap = smallest_gap((of_auroc(*sizes[0]), of_auroc(*sizes[1])), 0.8, 0.5, PowerAssumptions())
    share = found_gaps(np.random.default_rng(2), (0.8, 0.8 - gap), sizes)
    print(f"\ngap {gap:.3f} of groups {sizes}: found in {share:.1%}")
    assert (
        0.75 <= share <= 0.86
    )  # Hanley and McNeil's error is of exponential scores, and a little wide for normal ones


@pytest.mark.slow
def test_two_models_that_differ_so_much_are_told_apart_in_about_four_of_five() -> None:
    rng, positive, negative = np.random.default_rng(3), 80, 160
    shares = []
    shift = math.sqrt(2) * NORMAL.inv_cdf(0.8)
    for _ in range(2):  # the correlation of the two AUROCs is taken from the simulation, then the promise is tried
        correlation = 0.5 if not shares else shares[0]
        asked = PowerAssumptions(model_correlation=correlation)
        gap = smallest_difference(auroc_standard_error(0.8, positive, negative), asked)
        worse = math.sqrt(2) * NORMAL.inv_cdf(0.8 - gap)
        values, found = [], 0
        truth = np.r_[np.ones(positive), np.zeros(negative)]
        for _ in range(1500):
            shared, own = rng.normal(size=positive + negative), rng.normal(size=(2, positive + negative))
            both = math.sqrt(0.5) * shared + math.sqrt(0.5) * own + np.outer([shift, worse], truth)
            aurocs, covariance = delong(truth, both)
            found += difference_test(aurocs, covariance).p_value < 0.05
            values.append(aurocs)
        shares.append(float(np.corrcoef(np.array(values).T)[0, 1]))
    print(f"\ndifference {gap:.3f}, correlation of the models {correlation:.2f}: found in {found / 1500:.1%}")
    assert 0.75 <= found / 1500 <= 0.88
