import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from midrc_ml.errors import InputError
from midrc_ml.splits.by_patient import ByPatient, PublishedTest
from midrc_ml.splits.manifest import Manifest

FRACTIONS = {"train": 0.6, "validation": 0.15, "test": 0.25}


def studies_of(num_patients: int, *, seed: int = 0) -> pd.DataFrame:
    """One to four studies a patient, each tenth patient under two case ids."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(num_patients):
        of = {
            "patient_id": f"p{i}",
            "site": rng.choice(["A", "B"]),
            "sex": rng.choice(["Female", "Male"]),
            "age_band": "50-64",
        }
        for j in range(int(rng.integers(1, 5))):
            case_id = f"MIDRC-RICORD-1A-p{i}" if i % 10 == 0 and j % 2 else f"p{i}"
            rows.append({**of, "case_id": case_id, "study_id": f"p{i}-{j}", "label": float(rng.random() < 0.2)})
    return pd.DataFrame(rows)


def parts_of(split: ByPatient | PublishedTest, studies: pd.DataFrame) -> dict[str, str]:
    return split.assign(studies).drop_duplicates("patient_id").set_index("patient_id")["part"].to_dict()


@pytest.mark.parametrize("seed", range(5))
def test_patient_never_in_two_parts_also_under_two_case_ids(seed: int) -> None:
    studies = studies_of(100, seed=seed)
    two_ids = studies.groupby("patient_id")["case_id"].nunique() == 2
    assert two_ids.any()
    split = ByPatient(seed=seed).assign(studies)
    assert (split.groupby("patient_id")["part"].nunique() == 1).all()
    assert set(split["part"]) == {"train", "validation", "test"}
    assert len(split) == len(studies)


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
    studies = studies_of(400)
    split = ByPatient(seed=seed).assign(studies)
    label = split.groupby("patient_id")["label"].max()
    patients = split.drop_duplicates("patient_id").set_index("patient_id").assign(label=label)
    strata = patients.groupby(["label", "site", "sex"])
    assert len(strata) == 8
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


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"validation": "abc"}, "split.validation is 'abc'; it must be a number"),
        ({"validation": 2}, "split.validation is 2; it must be above 0 and below 1"),
        ({"validation": math.nan}, "split.validation is nan; it must be above 0 and below 1"),
        ({"stratify": "label"}, r"split.stratify is 'label'; give a list: \[label\]"),
    ],
)
def test_settings_of_a_published_test_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        PublishedTest(test_ids="ids.txt", **wrong)


def published(tmp_path: Path, *ids: str, **settings) -> PublishedTest:
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    return PublishedTest(test_ids=str(tmp_path / "ids.txt"), stratify=["label"], **settings)


def test_the_test_part_is_the_published_list_and_nothing_else(tmp_path: Path) -> None:
    studies = studies_of(100).sample(frac=1, random_state=1)
    listed = sorted(studies.loc[studies["patient_id"].isin([f"p{i}" for i in range(25)]), "study_id"])
    for seed in (0, 1):
        split = published(tmp_path, *listed, seed=seed).assign(studies)
        assert sorted(split.loc[split["part"] == "test", "study_id"]) == listed
        assert (split.groupby("patient_id")["part"].nunique() == 1).all()
        others = split[split["part"] != "test"].drop_duplicates("patient_id")["part"].value_counts()
        assert abs(others["validation"] - 75 * 0.15) <= 1
        assert others.sum() == 75


def test_a_published_list_that_cuts_through_a_patient_is_refused(tmp_path: Path) -> None:
    studies = pd.DataFrame(
        {"patient_id": ["p", "p", "q"], "case_id": ["p", "RICORD-p", "q"], "study_id": list("abc"), "label": 0.0}
    )
    with pytest.raises(InputError, match="puts 1 patients into test and elsewhere"):
        published(tmp_path, "a").assign(studies)


def test_a_published_id_without_a_study_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lists 3 studies, 2 of which are not among the .* \(e.g. x, y\)"):
        published(tmp_path, "p0-0", "x", "y").assign(studies_of(10))


@pytest.mark.parametrize("path", [None, "", "nowhere.txt"])
def test_a_published_list_that_is_no_file_is_refused(path: str | None) -> None:
    with pytest.raises(InputError, match="which is not a file; give the published list"):
        PublishedTest(test_ids=path).assign(studies_of(10))
