"""MIDRC-MELODY's kappa beside ours. Oracle: scikit-learn's cohen_kappa_score, which MELODY calls."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from midrc_ml.evaluation.melody import qwk_of_levels_seen
from midrc_ml.evaluation.metrics import qwk


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_scikit_learn_s_where_levels_are_absent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = np.array([0, 1, 4, 5, 20, 24])
    truth, score = levels[rng.integers(0, 6, 60)], levels[rng.integers(0, 5, 60)]
    expected = cohen_kappa_score(truth, score, weights="quadratic")
    assert qwk_of_levels_seen(truth, score) == pytest.approx(expected, abs=1e-12)
    assert abs(qwk(truth, score) - expected) > 1e-3


def test_where_every_level_is_seen_the_two_kappas_are_equal() -> None:
    truth, score = [0, 1, 2, 3, 0], [0, 2, 1, 3, 1]
    assert qwk_of_levels_seen(truth, score) == pytest.approx(qwk(truth, score), abs=1e-15)


def test_draws_are_scored_as_repeated_studies() -> None:
    truth, score = np.array([0, 4, 24, 4]), np.array([0, 24, 24, 4])
    weights = np.array([[1.0, 1, 1, 1], [1, 2, 1, 0]])
    both = qwk_of_levels_seen(truth, score, sample_weight=weights)
    assert both[0] == pytest.approx(qwk_of_levels_seen(truth, score))
    repeated = np.repeat(np.arange(4), weights[1].astype(int))
    assert both[1] == pytest.approx(qwk_of_levels_seen(truth[repeated], score[repeated]))


def test_scores_between_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        qwk_of_levels_seen([0, 1], [0.5, 1])
