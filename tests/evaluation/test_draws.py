"""The bootstrap of patients: what is drawn together, and what may not matter."""

import numpy as np
import pandas as pd
import pytest

from midrc_ml.evaluation import draws as draws_module
from midrc_ml.evaluation.draws import PatientDraws


def all_weights(draws: PatientDraws) -> np.ndarray:
    return np.concatenate(list(draws.weights()))


def test_a_patients_studies_are_drawn_together_and_patients_as_many_as_there_are() -> None:
    patients = pd.Series(["b", "a", "b", "c", "a", "b"])
    weights = all_weights(PatientDraws.of(patients, num_draws=300, seed=0))
    assert weights.shape == (300, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 0] == weights[:, 5]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert not (weights[:, 0] == weights[:, 1]).all()
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.15)  # every patient once on average


def test_draws_belong_to_patients_and_not_to_rows() -> None:
    patients = pd.Series(["b", "a", "b", "c"])
    first = all_weights(PatientDraws.of(patients, num_draws=50, seed=3))
    turned = all_weights(PatientDraws.of(patients[::-1].reset_index(drop=True), num_draws=50, seed=3))
    assert np.array_equal(first, turned[:, ::-1])


def test_a_seed_gives_the_same_draws_and_another_seed_others() -> None:
    patients = pd.Series(list("abcdef"))
    first, again, other = (PatientDraws.of(patients, num_draws=40, seed=seed).block(0) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_block_can_be_made_without_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws_module, "_CELLS_OF_BLOCK", 60)
    draws = PatientDraws.of(pd.Series(list("abcdef")), num_draws=25, seed=0)
    assert draws.num_blocks == 3
    assert [len(draws.block(number)) for number in range(3)] == [10, 10, 5]
    assert np.array_equal(draws.block(2), PatientDraws.of(pd.Series(list("abcdef")), num_draws=25, seed=0).block(2))
    assert not np.array_equal(draws.block(0)[:5], draws.block(2))


def test_weights_are_the_same_however_few_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = PatientDraws.of(pd.Series(["b", "a", "b", "c", "a", "b"]), num_draws=30, seed=0)
    whole = all_weights(draws)
    monkeypatch.setattr(draws_module, "_CELLS_AT_ONCE", 1)
    assert np.array_equal(all_weights(draws), whole)


def test_more_draws_begin_with_the_same_ones_within_a_block() -> None:
    patients = pd.Series(list("abcdef"))
    few, many = (PatientDraws.of(patients, num_draws=count, seed=0).block(0) for count in (20, 40))
    assert np.array_equal(few, many[:20])


def test_it_is_known_whether_a_patient_has_several_studies() -> None:
    assert PatientDraws.of(pd.Series(list("abc")), num_draws=1, seed=0).one_study_each
    assert not PatientDraws.of(pd.Series(list("aba")), num_draws=1, seed=0).one_study_each
