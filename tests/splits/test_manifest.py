import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.splits.by_patient import ByPatient
from midrc_ml.splits.manifest import Manifest
from midrc_ml.tasks.outcomes import event_within_horizon
from midrc_ml.tasks.task import Task

ABOUT = {"task": "icu", "version": 1}


def rows(**changes: object) -> pd.DataFrame:
    """Two patients a part, a positive and a negative; `changes` are columns of the first row."""
    parts = ["train", "train", "validation", "validation", "test", "test"]
    frame = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in range(6)],
            "case_id": [f"c{i}" for i in range(6)],
            "study_id": [f"s{i}" for i in range(6)],
            "part": parts,
            "label": [0.0, 1.0] * 3,
            "site": "A",
        }
    )
    for column, value in changes.items():
        frame.loc[0, column] = value
    return frame


def task(**settings) -> Task:
    label = partial(event_within_horizon, event="icu_stay", horizon_days=14)
    given = {
        "name": "icu",
        "version": 1,
        "question": "?",
        "source": "?",
        "kind": "binary",
        "label": label,
        "metrics": {"auroc": auroc},
    }
    return Task(**{**given, **settings})


def test_the_manifest_holds_the_contract_columns_sorted_by_patient_and_study() -> None:
    manifest = Manifest.of(rows().iloc[::-1], ABOUT)
    assert list(manifest.rows.columns) == ["patient_id", "case_id", "study_id", "part", "label"]
    assert manifest.rows["study_id"].tolist() == [f"s{i}" for i in range(6)]


def test_row_order_changes_no_hash() -> None:
    hashes = {Manifest.of(rows().sample(frac=1, random_state=seed), ABOUT).sha256 for seed in range(5)}
    assert len(hashes) == 1


def test_the_hash_is_sha256_of_what_it_is_about_and_of_every_row() -> None:
    text = json.dumps(ABOUT, sort_keys=True)
    for row in rows().itertuples():
        text += "\x1f".join([row.patient_id, row.case_id, row.study_id, row.part, repr(float(row.label))]) + "\n"
    assert Manifest.of(rows(), ABOUT).sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "changes", [{"label": 1.0}, {"part": "test"}, {"patient_id": "p9"}, {"case_id": "c9"}, {"study_id": "s9"}]
)
def test_the_hash_changes_when_any_column_of_one_row_changes(changes: dict[str, object]) -> None:
    assert Manifest.of(rows(**changes), ABOUT).sha256 != Manifest.of(rows(), ABOUT).sha256


def test_the_time_to_an_event_is_in_the_rows_and_in_the_hash(tmp_path: Path) -> None:
    timed = rows().assign(time=[3.0, 14.0, 2.5, 30.0, 7.0, 1.0])
    manifest = Manifest.of(timed.iloc[::-1], ABOUT)
    text = json.dumps(ABOUT, sort_keys=True)
    for row in timed.itertuples():
        of_row = [row.patient_id, row.case_id, row.study_id, row.part, repr(float(row.label)), repr(float(row.time))]
        text += "\x1f".join(of_row) + "\n"
    assert manifest.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert Manifest.of(timed.replace({"time": {2.5: 9.0}}), ABOUT).sha256 != manifest.sha256
    manifest.save(tmp_path)
    saved = pd.read_parquet(tmp_path / "split.parquet")
    assert saved["time"].tolist() == [3.0, 14.0, 2.5, 30.0, 7.0, 1.0]
    assert Manifest.of(saved, ABOUT).sha256 == manifest.sha256


def test_a_column_outside_the_contract_changes_no_hash() -> None:
    assert Manifest.of(rows(site="B"), ABOUT).sha256 == Manifest.of(rows(), ABOUT).sha256


@pytest.mark.parametrize(
    "changed",
    [
        task(version=2),
        task(name="icu_soon"),
        task(label=partial(event_within_horizon, event="icu_stay", horizon_days=7)),
        task(label=partial(event_within_horizon, event="icu_stay", horizon_days=14, first_day=0)),
    ],
)
def test_the_hash_changes_with_task_version_and_window(changed: Task) -> None:
    assert Manifest.of(rows(), changed.definition).sha256 != Manifest.of(rows(), task().definition).sha256


def test_the_hash_changes_with_the_cohort_query_and_the_split_settings() -> None:
    def sha256(cohort: dict[str, object], split: ByPatient) -> str:
        return Manifest.of(rows(), {**task().definition, "cohort": cohort, **split.query}).sha256

    hashes = {
        sha256({"cohort": "demo", "seed": 0}, ByPatient()),
        sha256({"cohort": "demo", "seed": 1}, ByPatient()),
        sha256({"cohort": "demo", "seed": 0}, ByPatient(seed=1)),
        sha256({"cohort": "demo", "seed": 0}, ByPatient(stratify=["label"])),
    }
    assert len(hashes) == 4


def test_a_patient_in_two_parts_is_refused_also_under_two_case_ids() -> None:
    with pytest.raises(InputError, match="1 patients are in more than one part"):
        Manifest.of(rows(patient_id="p5"), ABOUT)


def test_a_case_of_two_patients_is_refused() -> None:
    with pytest.raises(InputError, match="1 cases are of more than one patient"):
        Manifest.of(rows(case_id="c1"), ABOUT)


def test_a_study_that_stands_twice_is_refused() -> None:
    frame = rows()
    with pytest.raises(InputError, match="2 studies stand in it more than once; a study belongs to one part"):
        Manifest.of(pd.concat([frame, frame[:2]]), ABOUT)


def test_one_study_under_two_patients_is_refused_as_such() -> None:
    with pytest.raises(InputError, match="1 studies stand in it more than once, 1 of them under two patients"):
        Manifest.of(rows(study_id="s1"), ABOUT)


def test_an_unknown_part_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="unknown part 'val'; parts are train, validation, test"):
        Manifest.of(rows(part="val"), ABOUT)


def test_a_saved_manifest_reads_back_with_its_hash(tmp_path: Path) -> None:
    manifest = Manifest.of(rows(), ABOUT)
    manifest.save(tmp_path)
    saved = pd.read_parquet(tmp_path / "split.parquet")
    assert list(saved.columns) == ["patient_id", "case_id", "study_id", "part", "label"]
    assert Manifest.of(saved, ABOUT).sha256 == manifest.sha256
    assert (tmp_path / "split.sha256").read_text().strip() == manifest.sha256


def test_the_same_manifest_may_be_saved_again(tmp_path: Path) -> None:
    for _ in range(2):
        Manifest.of(rows(), ABOUT).save(tmp_path)
    assert len(pd.read_parquet(tmp_path / "split.parquet")) == 6


def test_a_changed_manifest_is_refused_and_the_first_one_stays(tmp_path: Path) -> None:
    Manifest.of(rows(), ABOUT).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == ["split.parquet", "split.sha256"]
    for changed in (Manifest.of(rows(label=1.0), ABOUT), Manifest.of(rows(), {**ABOUT, "version": 2})):
        with pytest.raises(InputError, match=f"now made {changed.sha256[:12]}.*start a new run"):
            changed.save(tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_pinned_hash_lets_its_own_split_pass_and_refuses_any_other() -> None:
    manifest = Manifest.of(rows(), ABOUT)
    manifest.check_pinned(manifest.sha256)
    manifest.check_pinned(manifest.sha256.upper())
    manifest.check_pinned(f" {manifest.sha256}\n")
    manifest.check_pinned(None)
    with pytest.raises(InputError, match=f"split.sha256 pins {'0' * 12}..., but this split is {manifest.sha256[:12]}"):
        manifest.check_pinned("0" * 64)


@pytest.mark.parametrize("change", [lambda sha256: sha256[:12], lambda sha256: sha256[:63] + "x"])
def test_a_pin_that_is_no_whole_sha256_is_refused_with_where_the_whole_one_stands(
    change: Callable[[str], str],
) -> None:
    manifest = Manifest.of(rows(), ABOUT)
    pin = change(manifest.sha256)
    words = f"split.sha256 is '{pin}'; a pin needs all 64 hexadecimal digits.* file split.sha256 .*{manifest.sha256}$"
    with pytest.raises(InputError, match=words):
        manifest.check_pinned(pin)


@pytest.mark.parametrize(("part", "label"), [("train", 0), ("validation", 1), ("test", 0)])
def test_one_class_alone_in_a_part_is_refused_by_its_name(part: str, label: int) -> None:
    frame = rows()
    frame.loc[frame["part"] == part, "label"] = float(label)
    with pytest.raises(InputError, match=f"all 2 studies of the {part} part have label {label};"):
        Manifest.of(frame, ABOUT).check_classes("binary")


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "ordinal", "regression", "time_to_event"])
def test_an_empty_part_is_refused_by_its_name(part: str, kind: str) -> None:
    frame = rows()
    with pytest.raises(InputError, match=f"the {part} part is empty"):
        Manifest.of(frame[frame["part"] != part], ABOUT).check_classes(kind)


def test_both_classes_in_every_part_pass_and_a_number_needs_no_classes() -> None:
    Manifest.of(rows(), ABOUT).check_classes("binary")
    for kind in ("regression", "ordinal"):
        Manifest.of(rows().assign(label=3.5), ABOUT).check_classes(kind)


def labelled(train: list[float], validation: list[float], test: list[float]) -> Manifest:
    parts = {"train": train, "validation": validation, "test": test}
    frame = pd.DataFrame([(part, float(label)) for part, labels in parts.items() for label in labels])
    frame = frame.set_axis(["part", "label"], axis=1)
    ids = [f"p{i}" for i in range(len(frame))]
    return Manifest.of(frame.assign(patient_id=ids, case_id=ids, study_id=ids), ABOUT)


def test_of_several_classes_train_must_have_each_and_the_others_two() -> None:
    labelled([0, 1, 2], [0, 2], [1, 2]).check_classes("multiclass")
    with pytest.raises(InputError, match="the train part has no study of class 1, 2, which other parts have"):
        labelled([0, 3], [0, 2], [1, 2]).check_classes("multiclass")
    with pytest.raises(InputError, match=r"all 3 studies of the test part have label 2;.* two classes or more"):
        labelled([0, 1, 2], [0, 2], [2, 2, 2]).check_classes("multiclass")


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_part_in_which_no_event_was_seen_is_refused_and_one_of_events_alone_is_not(part: str) -> None:
    labels = {"train": [0, 1], "validation": [1, 1], "test": [0, 1]}
    labelled(**labels).check_classes("time_to_event")
    with pytest.raises(InputError, match=f"in none of the 2 studies of the {part} part was the event seen"):
        labelled(**{**labels, part: [0, 0]}).check_classes("time_to_event")
