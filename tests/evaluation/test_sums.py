"""Weighted sums of features, and the metrics that are made of them."""

import inspect
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from midrc_ml.evaluation.sums import from_sums, share_from_sums, weighted_sums


def score_and_one(y_true: NDArray, y_score: NDArray, *, power: int = 1) -> NDArray:
    score = np.asarray(y_score, dtype=float)
    return np.stack([score**power, np.ones(len(score))], axis=1)


@from_sums(score_and_one)
def mean_score(sums: NDArray) -> NDArray:
    """Mean of the scores to a power."""
    return sums[..., 0] / sums[..., 1]


def above_half_and_one(y_true: NDArray, y_score: NDArray) -> NDArray:
    return np.stack([np.asarray(y_score) > 0.5, np.ones(len(y_score), dtype=bool)], axis=1)


@share_from_sums(above_half_and_one)
def share_above_half(sums: NDArray) -> tuple[NDArray, NDArray]:
    """Share of the scores above a half."""
    return sums[..., 0], sums[..., 1]


def test_sums_by_hand_for_studies_and_for_draws() -> None:
    features = np.array([[0.5, 1.0], [2.0, 1.0], [0.5, 1.0]])
    assert weighted_sums(features, None).tolist() == [3, 3]
    assert weighted_sums(features, [2, 1, 0]).tolist() == [3, 3]
    assert weighted_sums(features, [[2, 1, 0], [0, 0, 4]]).tolist() == [[3, 3], [2, 4]]
    assert weighted_sums(features == 0.5, [[2, 1, 0], [0, 0, 4]]).tolist() == [[2, 0], [4, 0]]


@pytest.mark.parametrize("features", [np.zeros((0, 2)), np.zeros((0, 2), dtype=bool)])
def test_sums_of_no_studies_are_0(features: NDArray) -> None:
    assert weighted_sums(features, None).tolist() == [0, 0]
    assert weighted_sums(features, np.zeros((3, 0))).tolist() == [[0, 0]] * 3


def test_sums_do_not_depend_on_the_order_of_the_studies_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    features = rng.choice(rng.random(40), (300, 2))
    weights, order = rng.integers(0, 5, (6, 300)), rng.permutation(300)
    found = weighted_sums(features, weights)
    np.testing.assert_array_equal(weighted_sums(features[order], weights[:, order]), found)
    np.testing.assert_allclose(found, weights @ features, rtol=1e-13)


def test_the_settings_of_the_features_are_those_of_the_metric() -> None:
    assert str(inspect.signature(mean_score)).startswith("(y_true: ")
    assert list(inspect.signature(mean_score).parameters) == ["y_true", "y_score", "power", "sample_weight"]
    assert inspect.signature(mean_score).parameters["power"].default == 1
    assert mean_score([0, 1], [1, 3]) == 2
    assert mean_score([0, 1], [1, 3], power=2, sample_weight=[1, 3]) == 7
    assert (mean_score.__name__, mean_score.__doc__) == ("mean_score", "Mean of the scores to a power.")
    assert mean_score.over_draws
    assert mean_score.features is score_and_one
    with pytest.raises(TypeError, match="strange"):
        mean_score([0, 1], [1, 3], strange=1)


def test_a_share_of_none_is_nan_and_tells_what_it_is_of() -> None:
    assert share_above_half([0, 0, 0], [0.2, 0.6, 0.9]) == 2 / 3
    assert share_above_half.total_of_sums(np.array([2, 3])) == 3
    assert math.isnan(share_above_half([], []))
    assert not hasattr(mean_score, "total_of_sums")
