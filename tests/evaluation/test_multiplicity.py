"""Holm's adjusted p-values: by hand, by statsmodels, with ties and questions that were not asked."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from midrc_ml.errors import InputError
from midrc_ml.evaluation.multiplicity import holm


def test_by_hand() -> None:
    # In order 0.01 * 4, 0.02 * 3, 0.03 * 2 = 0.06 again, 0.5 * 1.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 12, 300])
@pytest.mark.parametrize("digits", [2, 12])
def test_it_is_statsmodels_s(seed: int, count: int, digits: int) -> None:
    p_values = np.round(np.random.default_rng(seed).random(count) ** 3, digits)  # of two digits, some are equal
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


def test_equal_p_values_stay_equal() -> None:
    # In order 0.01 * 4, 0.01 * 3, 0.01 * 2, 0.5 * 1: none below the one before.
    assert holm([0.01, 0.5, 0.01, 0.01]) == pytest.approx([0.04, 0.5, 0.04, 0.04])


def test_no_adjusted_p_value_is_above_1_or_below_its_own() -> None:
    assert holm([0.6, 1.0, 0.4]) == pytest.approx([1.0, 1.0, 1.0])
    assert holm([0.0, 0.7]) == pytest.approx([0.0, 0.7])


def test_a_question_that_was_not_asked_stays_so_and_does_not_count() -> None:
    found = holm([0.01, np.nan, 0.04])
    assert found[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(found[1])
    assert np.isnan(holm([np.nan, np.nan])).all()


def test_one_and_none() -> None:
    assert holm([0.2]) == pytest.approx([0.2])
    assert len(holm([])) == 0


def test_order_changes_nothing() -> None:
    p_values = np.round(np.random.default_rng(0).random(9), 1)
    order = np.random.default_rng(1).permutation(9)
    assert np.array_equal(holm(p_values)[order], holm(p_values[order]))


@pytest.mark.parametrize("p_values", [[0.1, 1.5], [-0.1], [np.nan, np.inf], [[0.1, 0.2]]])
def test_numbers_that_are_no_p_values_are_refused(p_values: list[float]) -> None:
    with pytest.raises(InputError, match="must be one row of numbers from 0 to 1"):
        holm(p_values)
