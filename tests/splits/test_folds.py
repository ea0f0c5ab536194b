import pandas as pd
import pytest
from example_studies import one_study_each, parts_of, studies_of

from midrc_ml.errors import InputError
from midrc_ml.splits.folds import Folds


def test_over_all_folds_each_patient_is_in_test_once_and_in_validation_once() -> None:
    studies = studies_of(103)
    parts = pd.DataFrame([parts_of(Folds(num_folds=4, fold=fold), studies) for fold in range(4)])
    assert ((parts == "test").sum() == 1).all()
    assert ((parts == "validation").sum() == 1).all()
    assert ((parts == "train").sum() == 2).all()


def test_the_validation_part_is_the_next_fold_and_after_the_last_one_the_first() -> None:
    studies = studies_of(60)
    folds = Folds().folds(studies)
    for fold, following in ((0, 1), (3, 4), (4, 0)):
        part = Folds(fold=fold).assign(studies)["part"]
        assert set(folds[part == "test"]) == {fold}
        assert set(folds[part == "validation"]) == {following}


def test_the_folds_are_the_same_whichever_is_asked_for_and_however_validation_is_dealt() -> None:
    studies = studies_of(60)
    expected = Folds().folds(studies)
    for split in (Folds(fold=3), Folds(fold=1, validation=0.3)):
        assert split.folds(studies).equals(expected)
        part = split.assign(studies)["part"]
        assert (part == "test").equals(expected == split.fold)


def test_a_dealt_validation_part_is_its_share_of_the_other_patients() -> None:
    studies = one_study_each(label=[0.0, 1.0] * 50)
    parts = pd.Series(parts_of(Folds(validation=0.25, stratify=["label"]), studies)).value_counts()
    assert parts["test"] == 20
    assert abs(parts["validation"] - 20) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_folds_differ_by_one_patient_at_most_overall_and_in_each_stratum(seed: int) -> None:
    studies = studies_of(203, seed=seed)
    studies["label"] = studies.groupby("patient_id")["label"].transform("max")
    folds = Folds(seed=seed, stratify=["label", "site"]).folds(studies)
    patients = studies.assign(fold=folds).drop_duplicates("patient_id")
    assert sorted(patients["fold"].value_counts()) == [40, 40, 41, 41, 41]
    counts = pd.crosstab([patients["label"], patients["site"]], patients["fold"])
    assert len(counts) == 6
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fold": 5}, "split.fold is 5; of 5 folds the last one is 4"),
        ({"fold": -1}, "split.fold is -1; it must be at least 0"),
        ({"num_folds": 1}, "split.num_folds is 1; it must be at least 2"),
        ({"num_folds": "five"}, "split.num_folds is 'five'; it must be a whole number"),
        ({"num_folds": 2}, "split.num_folds is 2.*nothing is left to train on; give split.validation"),
        ({"validation": 1.0}, "split.validation is 1.0; it must be above 0 and below 1"),
        ({"stratify": "label"}, r"split.stratify is 'label'; give a list: \[label\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Folds(**wrong)


def test_two_folds_are_enough_where_the_validation_part_is_dealt() -> None:
    parts = pd.Series(parts_of(Folds(num_folds=2, validation=0.2, stratify=[]), studies_of(100))).value_counts()
    assert parts.to_dict() == {"test": 50, "train": 40, "validation": 10}


def test_fewer_patients_than_folds_are_refused() -> None:
    with pytest.raises(InputError, match=r"split.num_folds is 5, but there are 4 patients"):
        Folds().assign(studies_of(4))


def test_a_column_to_stratify_by_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"split.stratify is zip, which the studies do not have"):
        Folds(stratify=["zip"]).assign(studies_of(20))
