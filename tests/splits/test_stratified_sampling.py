import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from example_studies import one_study_each, parts_of, studies_of

from midrc_ml.cohorts.selection import AGE_BAND_STARTS, age_band
from midrc_ml.errors import InputError
from midrc_ml.splits.sequestration import Sequestration, StratifiedSets
from midrc_ml.splits.stratified_sampling import patients_of, sequestered_sets, stratified_sets

OPEN_SEQ = {"Open": 0.8, "Seq": 0.2}
FOLDS = {**{f"Fold {number}": 16 for number in range(1, 6)}, "Test": 20}
FEATURES = ("sex", "age_band", "race", "ethnicity", "covid19_positive", "modality")


@pytest.fixture(scope="module")
def example(midrc_ml_data: Path) -> pd.DataFrame:
    """MIDRC's own example: 5,000 patients; an age of 890 stands for over 89, 999 for unknown."""
    path = midrc_ml_data / "midrc/sampling/Example_5000patients.csv"
    patients = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("submitter_id")
    age = pd.to_numeric(patients["age_at_index"]).replace({890: 90, 999: np.nan})
    return patients.assign(age=age, age_band=age_band(age))


def patients(**columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return frame.set_axis([f"p{i}" for i in range(len(frame))])


@pytest.mark.parametrize("fractions", [OPEN_SEQ, FOLDS], ids=["open and sequestered", "folds and test"])
@pytest.mark.parametrize("seed", range(2))
def test_on_midrcs_patients_every_stratum_is_within_one_patient_of_each_fraction(
    example: pd.DataFrame, fractions: dict[str, float], seed: int
) -> None:
    sets = stratified_sets(example, FEATURES, fractions, seed)
    total = sum(fractions.values())
    # Strata are counted here by sets of modalities: `CT,DX` and `DX, CT` are the same one.
    modalities = example["modality"].map(lambda text: frozenset(name.strip() for name in text.split(",")))
    strata = pd.MultiIndex.from_frame(example.assign(modality=modalities)[list(FEATURES)])
    counts = pd.crosstab(strata.factorize()[0], sets.to_numpy())
    assert len(counts) == strata.nunique() > 800
    for name, fraction in fractions.items():
        assert ((counts[name] - counts.sum(axis=1) * fraction / total).abs() < 1).all()
        # 5,000 patients; the draws of some hundred strata move a set by a few tens at most.
        assert abs(counts[name].sum() - 5000 * fraction / total) < 60


def test_on_midrcs_patients_neither_row_order_nor_the_order_of_a_modality_list_matters(example: pd.DataFrame) -> None:
    expected = stratified_sets(example, FEATURES, OPEN_SEQ, 0)
    turned = example["modality"].map(lambda text: " , ".join(reversed(text.split(","))))
    mixed = example.assign(modality=turned).sample(frac=1, random_state=0)
    assert stratified_sets(mixed, FEATURES, OPEN_SEQ, 0).reindex(example.index).equals(expected)
    assert not stratified_sets(example, FEATURES, OPEN_SEQ, 1).equals(expected)


def test_on_midrcs_patients_ages_in_bins_are_midrcs_bands_and_an_unknown_age_is_a_stratum(
    example: pd.DataFrame,
) -> None:
    named = stratified_sets(example, ["age_band"], OPEN_SEQ, 0)
    binned = stratified_sets(example, ["age"], OPEN_SEQ, 0, bins={"age": AGE_BAND_STARTS})
    by_band = pd.DataFrame({"band": example["age_band"], "named": named, "binned": binned}).groupby("band")
    counts = by_band.agg(size=("named", "size"), named=("named", lambda s: (s == "Seq").sum()))
    counts["binned"] = by_band["binned"].agg(lambda s: (s == "Seq").sum())
    assert len(counts) == 9
    assert "Not Reported" in counts.index
    for column in ("named", "binned"):
        assert ((counts[column] - 0.2 * counts["size"]).abs() < 1).all()


def test_on_midrcs_patients_the_original_rule_sequesters_a_fifth(example: pd.DataFrame) -> None:
    sets = sequestered_sets(example, FEATURES[:-1], site=None)
    mixed = example.sample(frac=1, random_state=0)
    assert sequestered_sets(mixed, FEATURES[:-1], site=None).reindex(example.index).equals(sets)
    # 1,000 of 5,000; each patient of a small stratum is drawn alone, which has a spread of 28 if all were.
    assert abs((sets == "Seq").sum() - 1000) < 4 * 28


@pytest.mark.parametrize(("count", "sequestered"), [(5, 1), (7, 1), (8, 2), (10, 2), (12, 2), (13, 3)])
def test_four_fifths_of_a_shuffled_stratum_are_open_rounded_to_a_patient(count: int, sequestered: int) -> None:
    frame = patients(sex=["Male"] * count, modality="CR")
    chosen = set()
    for seed in range(4):
        sets = sequestered_sets(frame, ["sex"], site=None, seed=seed)
        assert (sets == "Seq").sum() == sequestered
        chosen |= set(sets.index[sets == "Seq"])
    assert len(chosen) > sequestered  # shuffled


def test_in_a_stratum_under_five_each_patient_is_drawn_alone() -> None:
    frame = patients(sex=[f"stratum {i // 4}" for i in range(4000)], modality="CR")
    sets = sequestered_sets(frame, ["sex"], site=None)
    assert abs((sets == "Seq").mean() - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 4000)
    of_stratum = (sets == "Seq").groupby(frame["sex"]).sum().value_counts(normalize=True)
    for number in range(4):  # binomial: not 0 or 1 of four, as a rounded fifth would be
        expected = math.comb(4, number) * 0.2**number * 0.8 ** (4 - number)
        assert abs(of_stratum.get(number, 0.0) - expected) < 4 * math.sqrt(expected * (1 - expected) / 1000)


def test_a_patient_of_several_modalities_is_placed_once_at_the_one_that_most_patients_have() -> None:
    # 11 have DX, 10 have CR, five both: those belong to the stratum of DX, of which 9 are open; of CR alone 4 of 5.
    frame = patients(modality=["DX"] * 6 + ["CR,DX", "DX, CR", "CR, DX", "DX,CR", "CR,DX"] + ["CR"] * 5)
    for seed in range(5):
        sequestered = sequestered_sets(frame, [], site=None, seed=seed) == "Seq"
        assert (sequestered[:11].sum(), sequestered[11:].sum()) == (2, 1)


def test_a_patient_of_none_of_the_modalities_is_open_in_small_and_in_large_strata() -> None:
    # MIDRC's program: who "did not fall in sequestration criteria" is assigned to the open dataset.
    frame = patients(modality=["DX"] * 10 + [None] * 15 + ["US"] * 15, sex=["Male"] * 10 + [f"{i}" for i in range(30)])
    for features in ([], ["sex"]):
        for seed in range(5):
            sequestered = sequestered_sets(frame, features, site=None, seed=seed) == "Seq"
            assert (sequestered[:10].sum(), sequestered[10:].sum()) == (2, 0)


def test_the_note_counts_the_patients_of_none_of_the_modalities() -> None:
    studies = one_study_each(site=["A"] * 10, sex="Male", age_band="50-64", modality=["DX"] * 7 + ["US", "NM,US", None])
    split = Sequestration(features=["sex"])
    assert split.notes(studies) == ["3 of 10 patients have none of CR, CT, DX, MR: they are open"]
    assert split.notes(studies[:7]) == []
    assert not (split.assign(studies)["part"][7:] == "test").any()


def test_each_site_is_sampled_by_itself_unless_told_otherwise() -> None:
    frame = patients(site=["A"] * 10 + ["B"] * 10, modality="DX")
    of_a = [(sequestered_sets(frame, [], seed=seed) == "Seq")[:10].sum() for seed in range(5)]
    assert of_a == [2] * 5
    together = [sequestered_sets(frame, [], site=None, seed=seed) == "Seq" for seed in range(5)]
    assert {int(sequestered.sum()) for sequestered in together} == {4}
    assert {int(sequestered[:10].sum()) for sequestered in together} != {2}


def test_whole_shares_of_a_stratum_are_given_exactly() -> None:
    frame = patients(sex=["Female"] * 50 + ["Male"] * 10)
    sets = stratified_sets(frame, ["sex"], {"a": 5, "b": 3, "c": 2}, 0)
    assert pd.crosstab(frame["sex"], sets).to_dict("index") == {
        "Female": {"a": 25, "b": 15, "c": 10},
        "Male": {"a": 5, "b": 3, "c": 2},
    }


@pytest.mark.parametrize("share", [0.1, 0.29, 0.57, 0.7])
def test_a_share_that_no_binary_fraction_is_equal_to_is_still_given_exactly(share: float) -> None:
    # 0.29 * 100 is 28.999999999999996 in floating point.
    frame = patients(sex=["Male"] * 100)
    for seed in range(2):
        sets = stratified_sets(frame, ["sex"], {"a": share, "b": 1 - share}, seed)
        assert (sets == "a").sum() == round(100 * share)


def test_patients_left_by_the_floor_go_to_sets_drawn_without_replacement_by_what_was_left() -> None:
    # Three of a stratum at 0.5, 0.3, 0.2 are 1.5, 0.9, 0.6: one for `a`, and two left, for sets with 0.5, 0.9 and 0.6.
    num_strata = 1500
    frame = patients(site=[f"{i // 3}" for i in range(3 * num_strata)])
    sets = stratified_sets(frame, ["site"], {"a": 0.5, "b": 0.3, "c": 0.2}, 0)
    counts = pd.crosstab(frame["site"], sets)
    assert set(counts["a"]) == {1, 2}
    assert set(counts["b"]) == set(counts["c"]) == {0, 1}
    # `a` gets none of the two: b then c, or c then b.
    expected = 0.9 / 2.0 * 0.6 / 1.1 + 0.6 / 2.0 * 0.9 / 1.4
    assert abs((counts["a"] == 1).mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / num_strata)


def test_one_patient_alone_goes_to_each_set_as_often_as_its_share_says() -> None:
    frame = patients(site=[str(i) for i in range(2000)])
    sets = stratified_sets(frame, ["site"], FOLDS, 0).value_counts(normalize=True)
    for name, share in FOLDS.items():
        expected = share / 100
        assert abs(sets[name] - expected) < 4 * math.sqrt(expected * (1 - expected) / 2000)


def test_another_stratum_changes_nobody_of_this_one() -> None:
    frame = patients(sex=["Female"] * 7 + ["Male"] * 9)
    alone = stratified_sets(frame[:7], ["sex"], OPEN_SEQ, 0)
    assert stratified_sets(frame, ["sex"], OPEN_SEQ, 0)[:7].equals(alone)


def test_missing_and_blank_values_are_the_category_not_reported() -> None:
    frame = patients(sex=["Not Reported", None, "", "Not Reported", np.nan] * 2)
    for seed in range(5):
        assert (stratified_sets(frame, ["sex"], OPEN_SEQ, seed) == "Seq").sum() == 2


def test_bins_hold_their_lower_bound_and_what_lies_below_the_first_is_a_bin() -> None:
    ages = [-1] * 5 + [0, 17.9, 3, 4, 5] + [18] * 5 + [64.9] * 5 + [65, 90, 70, 71, 72] + [None] * 5
    frame = patients(age=np.array(ages, dtype=float))
    sequestered = stratified_sets(frame, ["age"], OPEN_SEQ, 3, bins={"age": [0, 18, 65]}) == "Seq"
    assert [int(sequestered[start : start + 5].sum()) for start in (0, 5, 20, 25)] == [1, 1, 1, 1]
    assert sequestered[10:20].sum() == 2  # 18 to under 65


def test_all_studies_say_which_modalities_a_patient_has_and_a_flag_of_any_counts() -> None:
    studies = pd.DataFrame(
        {
            "patient_id": ["p", "p", "q", "r", "r"],
            "study_id": list("abcde"),
            "label": 0.0,
            "modality": ["CR", "DX,CT", "CT", None, None],
            "covid_ever": pd.array([False, True, None, None, False], dtype="boolean"),
            "sex": ["Male", "Female", "Female", "Male", "Male"],
        }
    )
    found = patients_of(studies, ["modality", "covid_ever", "sex"])
    assert found.loc["p"].tolist() == ["CR,DX,CT", True, "Male"]
    assert found["covid_ever"].isna().tolist() == [False, True, False]
    assert found["modality"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("seed", range(2))
def test_the_test_part_is_what_is_sequestered_and_the_open_patients_are_dealt(seed: int) -> None:
    studies = studies_of(100, seed=seed)
    split = Sequestration(seed=seed, features=["sex", "race"])
    patients = patients_of(studies, ["sex", "race", "modality", "site"])
    sets = sequestered_sets(patients, ["sex", "race"], seed=seed)
    parts = pd.Series(parts_of(split, studies))
    assert set(parts.index[parts == "test"]) == set(sets.index[sets == "Seq"])
    assert abs((parts == "validation").sum() - 0.15 * (sets == "Open").sum()) <= 1


def test_each_set_is_the_part_that_it_is_said_to_be() -> None:
    studies = studies_of(200)
    sets = stratified_sets(patients_of(studies, ["sex", "race"]), ["sex", "race"], FOLDS, 0)
    parts = {**dict.fromkeys(FOLDS, "train"), "Fold 3": "validation", "Test": "test"}
    found = parts_of(StratifiedSets(fractions=FOLDS, parts=parts, features=["sex", "race"]), studies)
    assert found == sets.map(parts).to_dict()


def test_where_no_set_is_the_validation_part_it_is_dealt_from_train() -> None:
    studies = one_study_each(sex=["Male", "Female"] * 50, label=[0.0, 0.0, 1.0, 1.0] * 25)
    split = StratifiedSets(features=["sex"], validation=0.25, stratify=["label"])
    parts = pd.Series(parts_of(split, studies))
    assert parts.value_counts().to_dict() == {"train": 60, "validation": 20, "test": 20}
    assert (parts.groupby(studies.set_index("patient_id")["sex"]).value_counts().xs("test", level=1) == 10).all()


@pytest.mark.parametrize("named", ["modality", "site"])
@pytest.mark.parametrize("per_site", [True, False])
def test_features_may_name_the_modality_and_the_site_which_are_strata_anyway(named: str, per_site: bool) -> None:
    studies = studies_of(100)
    found = parts_of(Sequestration(features=["sex", named], per_site=per_site), studies)
    # A site that is a feature is one when it is not sampled by itself, too.
    expected = Sequestration(features=["sex"], per_site=per_site or named == "site")
    assert found == parts_of(expected, studies)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (["sex", "race", "sex"], r"split\.features names sex more than once; name each column once"),
        (["modality", "modality"], r"split\.features names modality more than once; name each column once"),
        (["patient_id"], r"split\.features names patient_id, which makes each patient a stratum; leave it out"),
        (["sex", "study_id"], r"split\.features names study_id, which makes each patient a stratum; leave it out"),
    ],
)
def test_features_named_twice_and_ids_are_refused(features: list[str], words: str) -> None:
    for split in (Sequestration(features=features), StratifiedSets(features=features)):
        with pytest.raises(InputError, match=words):
            split.assign(studies_of(10))


def test_bins_of_a_column_of_texts_are_refused_with_the_number_of_patients() -> None:
    studies = one_study_each(sex=["Male"] * 6 + [None] * 4)
    split = StratifiedSets(features=["sex"], bins={"sex": [0, 1]})
    with pytest.raises(InputError, match=r"split\.bins has sex, which is not a number for 6 of 10 patients"):
        split.assign(studies)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fractions": {"Open": 1.0}}, "split.fractions is .*; it must name two sets or more"),
        ({"fractions": [0.8, 0.2]}, "split.fractions is .*; it must name two sets or more"),
        ({"fractions": {"Open": 0.8, "Seq": 0}}, "split.fractions.Seq is 0; it must be a number above 0"),
        ({"fractions": {"Open": math.nan, "Seq": 0.2}}, "split.fractions.Open is nan; it must be a number above 0"),
        ({"fractions": {"Open": math.inf, "Seq": 0.2}}, "split.fractions.Open is inf; it must be a number above 0"),
        ({"parts": {"Open": "train"}}, "split.parts is .*; it must give a part to each set .*: Open, Seq"),
        ({"parts": {"Open": "train", "Seq": "tets"}}, "split.parts.Seq is 'tets'; it must be one of train"),
        ({"parts": "test"}, "split.parts is 'test'; it must give a part to each set"),
        ({"bins": {"age": [0, 18]}}, "split.bins has age, which is not among split.features: sex"),
        ({"bins": {"sex": [18, 0]}}, r"split.bins.sex is \[18, 0\]; it must be a list of rising numbers"),
        ({"bins": {"sex": 18}}, "split.bins.sex is 18; it must be a list of rising numbers"),
        ({"bins": [18]}, r"split.bins is \[18\]; it must map columns to lower bounds"),
        ({"validation": 0}, "split.validation is 0; it must be above 0 and below 1"),
        ({"features": "sex"}, r"split.features is 'sex'; give a list: \[sex\]"),
        ({"features": []}, r"split.features is \[\]; it must name one column or more: \[sex, age_band\]"),
    ],
)
def test_settings_of_stratified_sets_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        StratifiedSets(**{"features": ["sex"], **wrong})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fraction": 1}, "split.fraction is 1; it must be above 0 and below 1"),
        ({"validation": 2}, "split.validation is 2; it must be above 0 and below 1"),
        ({"modalities": "CR"}, r"split.modalities is 'CR'; give a list: \[CR\]"),
        ({"modalities": []}, r"split.modalities is \[\]; it must name one or more: \[CR, CT, DX, MR\]"),
        ({"per_site": "yes"}, "split.per_site is 'yes'; it must be true or false"),
    ],
)
def test_settings_of_sequestration_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Sequestration(**wrong)


def test_a_feature_that_is_not_there_is_refused_with_the_columns_that_are() -> None:
    for split in (Sequestration(features=["zip"]), StratifiedSets(features=["zip"])):
        with pytest.raises(
            InputError, match=r"split.features is zip, which the studies do not have; columns are patient_id, "
        ):
            split.assign(studies_of(10))


def test_a_feature_of_many_numbers_is_refused_until_it_has_bins() -> None:
    frame = patients(age=np.arange(20.0))
    with pytest.raises(InputError, match=r"age, a column of 20 different numbers; give its bins: \+split.bins.age="):
        stratified_sets(frame, ["age"], OPEN_SEQ, 0)


def test_a_patient_in_two_rows_is_refused_and_counted() -> None:
    frame = patients(sex=["Male"] * 4, modality="CR").set_axis(["p", "p", "q", "p"])
    for sampled in (
        lambda: stratified_sets(frame, ["sex"], OPEN_SEQ, 0),
        lambda: sequestered_sets(frame, ["sex"], site=None),
    ):
        with pytest.raises(InputError, match="2 rows name a patient again; each patient must be there once"):
            sampled()
