import math
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from example_studies import FRACTIONS, one_study_each, parts_of, studies_of
from pandas.testing import assert_frame_equal

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.errors import InputError
from midrc_ml.splits.by_patient import ByPatient, Partitions, assign_parts
from midrc_ml.splits.manifest import Manifest


def test_row_order_and_index_change_no_part_and_no_hash() -> None:
    studies = studies_of(100)
    expected = Manifest.of(ByPatient().assign(studies), {})
    for seed in range(3):
        mixed = studies.sample(frac=1, random_state=seed)
        assert Manifest.of(ByPatient().assign(mixed), {}).sha256 == expected.sha256
        assert Manifest.of(ByPatient().assign(mixed.reset_index(drop=True)), {}).sha256 == expected.sha256


def test_the_given_rows_keep_their_order_and_values() -> None:
    studies = studies_of(50).sample(frac=1, random_state=0)
    before = studies.copy()
    split = ByPatient().assign(studies)
    pd.testing.assert_frame_equal(split.drop(columns="part"), before)
    pd.testing.assert_frame_equal(studies, before)


def test_the_same_split_seed_gives_the_same_split_and_another_another() -> None:
    studies = studies_of(100)
    one, again, other = (parts_of(ByPatient(seed=seed), studies) for seed in (0, 0, 1))
    assert one == again
    moved = sum(one[name] != other[name] for name in one)
    assert moved > 20


@pytest.mark.parametrize("seed", range(3))
def test_parts_have_their_shares_of_the_patients(seed: int) -> None:
    parts = pd.Series(parts_of(ByPatient(seed=seed), studies_of(400))).value_counts()
    for part, fraction in FRACTIONS.items():
        assert abs(parts[part] - 400 * fraction) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_every_stratum_is_divided_alike(seed: int) -> None:
    studies = studies_of(600)
    split = ByPatient(seed=seed).assign(studies)
    label = split.groupby("patient_id")["label"].max()
    patients = split.drop_duplicates("patient_id").set_index("patient_id").assign(label=label)
    strata = patients.groupby(["label", "site", "sex"])
    assert len(strata) == 12
    for _, rows in strata:
        for part, fraction in FRACTIONS.items():
            # Strata are dealt one after another, so that a rounding of one goes on in the next: never 2 patients off.
            assert abs((rows["part"] == part).sum() - len(rows) * fraction) < 2


def test_a_rare_class_reaches_every_part() -> None:
    studies = pd.DataFrame({"patient_id": [f"p{i:03}" for i in range(200)], "label": 0.0})
    studies["case_id"] = studies["study_id"] = studies["patient_id"]
    studies.loc[:7, "label"] = 1.0
    for seed in range(20):
        split = ByPatient(seed=seed, stratify=["label"]).assign(studies)
        positives = split[split["label"] == 1]["part"].value_counts()
        assert [abs(positives.get(part, 0) - 8 * fraction) < 1.5 for part, fraction in FRACTIONS.items()] == [True] * 3
        assert positives.get("test", 0) >= 1
        assert positives.get("validation", 0) >= 1


def test_a_number_is_stratified_in_quarters() -> None:
    studies = pd.DataFrame({"patient_id": [f"p{i:03}" for i in range(400)], "label": np.arange(400.0)})
    studies["case_id"] = studies["study_id"] = studies["patient_id"]
    split = ByPatient(stratify=["label"]).assign(studies)
    for quarter in range(4):
        rows = split.iloc[100 * quarter : 100 * (quarter + 1)]
        for part, fraction in FRACTIONS.items():
            assert abs((rows["part"] == part).sum() - 100 * fraction) < 2


def test_another_patients_id_changes_nobodys_place_in_the_order() -> None:
    # Only its own stratum has an order to change.
    studies = studies_of(100)
    renamed = studies.replace({"patient_id": {"p17": "another"}})
    one, other = parts_of(ByPatient(), studies), parts_of(ByPatient(), renamed)
    moved = [name for name in one if name != "p17" and one[name] != other[name]]
    stratum = studies.assign(label=studies.groupby("patient_id")["label"].transform("max"))
    stratum = (
        stratum.drop_duplicates("patient_id").set_index("patient_id")[["label", "site", "sex"]].apply(tuple, axis=1)
    )
    assert {stratum[name] for name in moved} <= {stratum["p17"]}


@pytest.mark.parametrize(
    "fractions",
    [
        {"train": 0.6, "validation": 0.3, "test": 0.3},
        {"train": 0.5, "valid": 0.25, "test": 0.25},
        {"train": 1.2, "validation": -0.1, "test": -0.1},
    ],
)
def test_fractions_that_make_no_sense_are_refused_with_their_values(fractions: dict[str, float]) -> None:
    with pytest.raises(
        InputError, match=r"split.fractions is .*; it must name train, validation, test and add up to 1"
    ):
        ByPatient(fractions=fractions)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"fractions": {**FRACTIONS, "train": "abc"}}, "split.fractions.train is 'abc'; it must be a number"),
        ({"fractions": {**FRACTIONS, "train": math.nan}}, "split.fractions is .*nan.* add up to 1"),
        ({"fractions": {}}, "split.fractions is {}; .* add up to 1"),
        ({"fractions": [0.7, 0.1, 0.2]}, r"split.fractions is \[0.7, 0.1, 0.2\]; it must name its parts"),
        ({"stratify": "label"}, r"split.stratify is 'label'; give a list: \[label\]"),
    ],
)
def test_settings_of_a_wrong_kind_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ByPatient(**wrong)


@pytest.mark.parametrize("num_classes", [3, 8])
def test_each_class_of_several_is_a_stratum_of_its_own(num_classes: int) -> None:
    # Quarters would take the three rare classes for one.
    labels = [0.0] * 200 + [float(name) for name in range(1, num_classes) for _ in range(20)]
    split = ByPatient(stratify=["label"]).assign(one_study_each(label=labels))
    for _, rows in split.groupby("label"):
        for part, fraction in FRACTIONS.items():
            assert abs((rows["part"] == part).sum() - len(rows) * fraction) < 2


def test_half_points_are_numbers_and_are_stratified_in_quarters() -> None:
    labels = [value / 2 for value in range(5) for _ in range(40)]
    split = ByPatient(stratify=["label"]).assign(one_study_each(label=labels))
    for quarter in (slice(0, 80), slice(80, 120), slice(120, 160), slice(160, 200)):  # up to 0.5, 1, 1.5, 2
        rows = split.iloc[quarter]
        assert abs((rows["part"] == "test").sum() - len(rows) * 0.25) < 2


def test_a_partition_is_the_same_whenever_it_is_asked_for_and_no_other() -> None:
    studies = studies_of(100)
    partitions = [parts_of(Partitions(partition=number), studies) for number in (0, 1, 17)]
    assert parts_of(Partitions(partition=17), studies) == partitions[2]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert sum(partitions[one][name] != partitions[other][name] for name in partitions[0]) > 20
    assert parts_of(Partitions(partition=17, seed=1), studies) != partitions[2]
    assert Partitions(partition=1).query != Partitions(partition=0).query


@pytest.mark.parametrize("partition", range(3))
def test_each_partition_has_its_shares_of_the_patients(partition: int) -> None:
    parts = pd.Series(parts_of(Partitions(partition=partition), studies_of(400))).value_counts()
    for part, fraction in FRACTIONS.items():
        assert abs(parts[part] - 400 * fraction) <= 1


def test_every_stratum_of_a_partition_is_divided_alike() -> None:
    studies = one_study_each(label=[0.0] * 320 + [1.0] * 80)
    for partition in range(5):
        split = Partitions(partition=partition, stratify=["label"]).assign(studies)
        for _, rows in split.groupby("label"):
            for part, fraction in FRACTIONS.items():
                assert abs((rows["part"] == part).sum() - len(rows) * fraction) < 3


def test_who_is_alone_in_a_stratum_is_in_another_part_in_other_partitions() -> None:
    # Twenty strata of one patient each: places that never moved would give twenty test parts at most, each in the
    # same company, and a fixed place would give one.
    studies = one_study_each(site=[f"S{i}" for i in range(20)])
    parts = pd.DataFrame([parts_of(Partitions(partition=number, stratify=["site"]), studies) for number in range(30)])
    assert ((parts == "test").sum() == 0).sum() == 0
    assert ((parts == "train").sum() == 0).sum() == 0
    test_parts = {tuple(row[row == "test"].index) for _, row in parts.iterrows()}
    assert len(test_parts) == 30


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"partition": -1}, "split.partition is -1; it must be at least 0"),
        ({"partition": 0.5}, "split.partition is 0.5; it must be a whole number"),
        ({"fractions": {"train": 0.5, "test": 0.4}}, "split.fractions is .* add up to 1"),
    ],
)
def test_settings_of_partitions_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Partitions(**wrong)


def test_a_column_to_stratify_by_that_is_not_there_is_refused_with_those_that_are() -> None:
    for split in (ByPatient(stratify=["label", "zip"]), Partitions(stratify=["label", "zip"])):
        with pytest.raises(
            InputError, match=r"split.stratify is zip, which the studies do not have; columns are .*patient_id, "
        ):
            split.assign(studies_of(10))


class _LeavesOut:
    sha256 = None
    left_out = "not today"
    query: ClassVar = {"split": "mine"}

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        return ByPatient().assign(studies[studies["site"] == "A"])

    def notes(self, studies: pd.DataFrame) -> list[str]:
        return [f"{len(studies)} were there"]


def test_what_a_split_leaves_out_is_counted_with_its_reason_and_its_notes_stand_in_the_flow() -> None:
    studies, flow = studies_of(60), CohortFlow(origin="here")
    kept = assign_parts(_LeavesOut(), studies, flow)
    left_out = studies[studies["site"] != "A"]
    step = flow.as_dict()["steps"][-1]
    assert (step["step"], step["n_in"], step["n_out"]) == ("in the split", len(studies), len(kept))
    (excluded,) = step["excluded"]
    assert (excluded["reason"], excluded["n"]) == ("not today", len(left_out))
    assert excluded["by_site"] == left_out["site"].value_counts().to_dict()
    assert flow.notes == [f"{len(studies)} were there"]


def test_a_split_that_leaves_nobody_out_adds_no_step() -> None:
    flow = CohortFlow(origin="here")
    assert_frame_equal(assign_parts(ByPatient(), studies_of(20), flow), ByPatient().assign(studies_of(20)))
    assert flow.steps == []
    assert flow.notes == []
