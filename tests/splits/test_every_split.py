"""What holds for every split: no patient is cut, no order of rows matters, what the YAML says is what there is."""

import json
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import yaml
from example_studies import studies_of
from pandas.testing import assert_frame_equal

from midrc_ml.config import shipped_folder
from midrc_ml.errors import InputError
from midrc_ml.splits.by_patient import ByPatient, Partitions, Split
from midrc_ml.splits.by_site import LeaveOneSiteOut
from midrc_ml.splits.folds import Folds
from midrc_ml.splits.manifest import Manifest
from midrc_ml.splits.published import PublishedParts, PublishedTest
from midrc_ml.splits.sequestration import Sequestration, StratifiedSets
from midrc_ml.splits.temporal import Temporal

YAMLS = sorted((shipped_folder("configs") / "split").glob("*.yaml"))
FIVE_FOLDS = {**{f"Fold {number}": 16 for number in range(1, 6)}, "Test": 20}
FIVE_PARTS = {**dict.fromkeys(FIVE_FOLDS, "train"), "Fold 5": "validation", "Test": "test"}
SPLITS: dict[str, Callable[..., Split]] = {
    "by_patient": ByPatient,
    "partitions": lambda seed: Partitions(partition=3, seed=seed),
    "folds": Folds,
    "folds, validation dealt": lambda seed: Folds(fold=2, validation=0.2, seed=seed),
    "leave_one_site_out": lambda seed: LeaveOneSiteOut(site="B", seed=seed),
    "temporal": lambda seed: Temporal(test=0.3, seed=seed),
    "sequestration": lambda seed: Sequestration(seed=seed),
    "stratified_sets": lambda seed: StratifiedSets(seed=seed),
    "stratified_folds": lambda seed: StratifiedSets(fractions=FIVE_FOLDS, parts=FIVE_PARTS, seed=seed),
}

STRATIFIED: dict[str, Callable[..., Split]] = {
    "by_patient": ByPatient,
    "partitions": Partitions,
    "folds": Folds,
    "leave_one_site_out": lambda stratify: LeaveOneSiteOut(site="B", stratify=stratify),
    "temporal": Temporal,
    "sequestration": Sequestration,
    "stratified_sets": StratifiedSets,
}


@pytest.fixture(params=[*SPLITS, "published_test", "published_parts"])
def split_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Split]:
    """The split of a seed; published ones name every fifth patient of `studies_of(60)`."""
    if request.param in SPLITS:
        return SPLITS[request.param]
    test = [f"p{i}" for i in range(0, 60, 5)]
    (tmp_path / "ids.txt").write_text("\n".join(test))
    table = pd.DataFrame({"id": [f"p{i}" for i in range(60)]})
    table["set"] = table["id"].isin(test).map({True: "holdout", False: "dev"})
    table.to_csv(tmp_path / "parts.csv", index=False)
    if request.param == "published_test":
        return lambda seed: PublishedTest(test_ids=str(tmp_path / "ids.txt"), id="patient", seed=seed)
    return lambda seed: PublishedParts(
        file=str(tmp_path / "parts.csv"),
        id_column="id",
        part_column="set",
        id="patient",
        parts={"dev": "train", "holdout": "test"},
        seed=seed,
    )


@pytest.mark.parametrize("seed", range(3))
def test_no_patient_is_cut_also_not_one_known_under_two_ids_and_rows_stay_as_they_are(
    split_of: Callable[..., Split], seed: int
) -> None:
    studies = studies_of(60, seed=seed).sample(frac=1, random_state=seed)
    assert (studies.groupby("patient_id")["case_id"].nunique() == 2).any()
    before = studies.copy()
    assigned = split_of(seed=seed).assign(studies)
    assert (assigned.groupby("patient_id")["part"].nunique() == 1).all()
    assert set(assigned["part"]) == {"train", "validation", "test"}
    assert_frame_equal(assigned.drop(columns="part"), before)
    assert_frame_equal(studies, before)


def test_neither_row_order_nor_index_changes_a_hash_and_another_seed_does(split_of: Callable[..., Split]) -> None:
    one, other, studies = split_of(seed=0), split_of(seed=1), studies_of(60)
    mixed = studies.sample(frac=1, random_state=1).reset_index(drop=True)
    expected = Manifest.of(one.assign(studies), one.query)
    assert Manifest.of(one.assign(mixed), one.query).sha256 == expected.sha256
    moved = Manifest.of(other.assign(studies), one.query)
    assert not moved.rows["part"].equals(expected.rows["part"])
    assert one.query != other.query
    assert "/" not in json.dumps(one.query)  # no machine path


@pytest.mark.parametrize(
    ("stratify", "words"),
    [
        (["patient_id"], r"split\.stratify names patient_id, which makes each patient a stratum; leave it out"),
        (["sex", "case_id"], r"split\.stratify names case_id, which makes each patient a stratum; leave it out"),
        (["label", "label"], r"split\.stratify names label more than once; name each column once"),
        (["zip"], r"split\.stratify is zip, which the studies do not have"),
    ],
)
@pytest.mark.parametrize("name", list(STRATIFIED))
def test_columns_that_make_no_strata_are_refused_in_one_sentence(name: str, stratify: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        STRATIFIED[name](stratify=stratify).assign(studies_of(30))


@pytest.mark.parametrize("path", YAMLS, ids=[path.stem for path in YAMLS])
def test_each_yaml_begins_with_a_comment_and_holds_every_setting(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 120
    settings = yaml.safe_load(text)
    module, _, name = settings.pop("_target_").rpartition(".")
    assert set(settings) == {field.name for field in fields(getattr(import_module(module), name))}


def test_what_a_yaml_leaves_as_it_is_is_the_default_of_its_class() -> None:
    defaults = {"by_patient": ByPatient(), "partitions": Partitions(), "folds": Folds(), "temporal": Temporal()}
    defaults |= {"leave_one_site_out": LeaveOneSiteOut(), "sequestration": Sequestration()}
    defaults |= {"stratified_sets": StratifiedSets(), "published_test": PublishedTest(test_ids=None)}
    defaults |= {"published_parts": PublishedParts(file=None)}
    assert set(defaults) | {"ralo", "stratified_folds"} == {path.stem for path in YAMLS}
    for name, split in defaults.items():
        settings = yaml.safe_load((shipped_folder("configs") / f"split/{name}.yaml").read_text())
        settings.pop("_target_")
        assert type(split)(**settings).query == split.query
