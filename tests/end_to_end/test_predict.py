"""A finished run is applied to other studies: the same scores, no patient twice, and every mistake in one sentence."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from midrc_ml.config import make_places_absolute, register, shipped_folder
from midrc_ml.errors import InputError
from midrc_ml.evaluation.decision import Decision
from midrc_ml.evaluation.recalibration import fit_recalibration
from midrc_ml.predict import _check_arguments, _run, run_folder_of
from midrc_ml.predictions import load_predictions

OWN_COHORT = ("cohort=demo", "cohort.num_patients=120")
# Of a study in a batch of another size: float32 sums in another order. In the same batches scores are equal to the bit.
OTHER_BATCH = 1e-6
Apply = Callable[..., Path]


@pytest.fixture(scope="module")
def image_run(small_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("image"), "tracking=none", "training.epochs=1")


@pytest.fixture(scope="module")
def table_run(small_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ("images=none", "clinical=bedside", "model=mlp", "tracking=none")
    return small_run(tmp_path_factory.mktemp("table"), *settings)


@pytest.fixture
def apply(cache_dir: Path, tmp_path: Path) -> Apply:
    """Apply a run in this process, with these overrides; the folder of the scores."""

    def applied(run: Path, *overrides: str, name: str = "applied") -> Path:
        places = [f"paths.cache_dir={cache_dir}", f"paths.log_dir={tmp_path}"]
        if not any(setting.startswith("tracking") for setting in overrides):
            places.append("tracking=none")
        arguments = [f"run={run}", *places, *overrides]
        _check_arguments(arguments)
        register()
        with initialize_config_dir(str(shipped_folder("configs")), version_base="1.3"):
            config = compose("predict", overrides=arguments)
        make_places_absolute(config, base=str(tmp_path))
        _run(config, tmp_path / name)
        return tmp_path / name

    return applied


@pytest.fixture
def copied(image_run: Path, tmp_path: Path) -> Path:
    """A run of which a test may spoil something."""
    return Path(shutil.copytree(image_run, tmp_path / "copied"))


def own_test_part(run: Path) -> pd.DataFrame:
    table = pd.read_parquet(run / "predictions.parquet")
    return table[table["part"] == "test"].reset_index(drop=True)


def rows_of_test(folder: Path) -> list[dict]:
    return [row for row in json.loads((folder / "metrics.json").read_text()) if row["part"] == "test"]


def flow_step(folder: Path, name: str) -> dict:
    (step,) = [step for step in json.loads((folder / "cohort_flow.json").read_text())["steps"] if step["step"] == name]
    return step


@pytest.mark.parametrize("kind", ["image_run", "table_run"])
def test_its_own_test_part_gets_the_same_scores_to_the_last_bit(
    kind: str, apply: Apply, request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(kind)
    folder = apply(run, *OWN_COHORT, "overlap=drop")
    found, expected = pd.read_parquet(folder / "predictions.parquet"), own_test_part(run)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert len(found) > 20
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    # With the run's threshold, which was chosen on its validation part: that is not here.
    assert rows_of_test(folder) == rows_of_test(run)
    assert {"auroc", "sensitivity"} <= {row["metric"] for row in rows_of_test(folder) if row["value"] is not None}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("model=fusion", "clinical=bedside"),
        ("task=pneumonia_class", "cohort.num_patients=200"),
        ("task=time_to_icu", "cohort.num_patients=200"),
        ("task=mrale", "training.loss=smooth_l1", "cohort.num_patients=200"),
    ],
)
def test_so_it_is_with_an_image_beside_a_table_and_with_every_kind_of_task(
    settings: tuple[str, ...], small_run: Callable[..., Path], apply: Apply, tmp_path: Path
) -> None:
    run = small_run(tmp_path / "trained", "tracking=none", "training.epochs=1", "fairness.columns=[]", *settings)
    cohort = ["cohort=demo", *[setting for setting in (*OWN_COHORT, *settings) if setting.startswith("cohort.")]]
    folder = apply(run, *cohort, "overlap=drop")
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "predictions.parquet"), own_test_part(run), check_exact=True, check_like=True
    )
    unlabelled = apply(run, *cohort, "overlap=drop", "labels=none", name="unlabelled")
    scores = pd.read_parquet(unlabelled / "predictions.parquet").set_index("study_id").filter(like="y_score")
    expected = own_test_part(run).set_index("study_id").filter(like="y_score")
    pd.testing.assert_frame_equal(scores.loc[expected.index], expected)


def test_threshold_and_recalibration_of_the_run_are_those_of_the_external_test(copied: Path, apply: Apply) -> None:
    own = own_test_part(copied)
    fitted = fit_recalibration("platt", own["y_true"], own["y_score"], "binary")
    Decision(0.31, "youden", "validation", 18, 7, fitted).save(copied)
    folder = apply(copied, *OWN_COHORT, "overlap=drop")
    found = pd.read_parquet(folder / "predictions.parquet")
    np.testing.assert_array_equal(found["raw_score"], own["y_score"])
    np.testing.assert_allclose(found["y_score"], fitted.apply(own["y_score"]), rtol=1e-12)
    assert not np.allclose(found["y_score"], found["raw_score"])
    assert (folder / "decision.json").read_text() == (copied / "decision.json").read_text()
    rows = json.loads((folder / "metrics.json").read_text())
    values = {row["metric"]: row["value"] for row in rows}
    assert values["threshold"] == 0.31
    is_called = found["y_score"] >= 0.31
    assert values["sensitivity"] == pytest.approx(is_called[found["y_true"] == 1].mean())


def test_a_patient_of_the_training_part_is_refused_dropped_or_kept(image_run: Path, apply: Apply) -> None:
    split = pd.read_parquet(image_run / "split.parquet")
    seen = split[split["part"] != "test"]
    counts = f"{seen['patient_id'].nunique()} of {split['patient_id'].nunique()} patients"
    with pytest.raises(InputError, match=rf"{counts} \({len(seen)} of {len(split)} studies\).*overlap=drop"):
        apply(image_run, *OWN_COHORT)
    dropped = apply(image_run, *OWN_COHORT, "overlap=drop", name="dropped")
    step = flow_step(dropped, "not known to the run")
    assert {entry["reason"]: entry["n"] for entry in step["excluded"]} == {
        f"the patient is in the {part} part of the run": int((split["part"] == part).sum())
        for part in ("train", "validation")
    }
    assert (step["n_in"], step["n_out"]) == (len(split), len(split) - len(seen))
    kept = apply(image_run, *OWN_COHORT, "overlap=keep", name="kept")
    assert len(pd.read_parquet(kept / "predictions.parquet")) == len(split)
    audit = {entry["check"]: entry for entry in json.loads((kept / "audit.json").read_text())}
    assert audit["leakage.run_overlap"]["status"] == "warn"
    assert audit["leakage.run_overlap"]["value"] == seen["patient_id"].nunique()
    assert (audit["leakage.image"]["status"], audit["leakage.image"]["value"]) == ("warn", len(seen))


def test_without_labels_every_selected_study_is_scored_and_none_is_tested(image_run: Path, apply: Apply) -> None:
    folder = apply(image_run, *OWN_COHORT, "overlap=drop", "labels=none")
    found, own = pd.read_parquet(folder / "predictions.parquet"), own_test_part(image_run)
    assert len(found) > len(own)
    assert list(found.columns) == list(own.columns)
    assert found[["label", "y_true"]].isna().all(axis=None)
    assert set(found["part"]) == {"test"}
    scores = found.set_index("study_id")["y_score"]
    np.testing.assert_allclose(scores[own["study_id"]], own["y_score"], rtol=OTHER_BATCH)
    assert not (folder / "metrics.json").exists()
    assert json.loads((folder / "cohort_flow.json").read_text())["labels_by_site"] == []
    with pytest.raises(InputError, match=f"{len(found)} of {len(found)} rows"):
        load_predictions(folder / "predictions.parquet")


def test_a_folder_of_dicom_is_scored_as_the_cohort_that_it_is_of(
    image_run: Path, cache_dir: Path, apply: Apply, tmp_path: Path
) -> None:
    own = own_test_part(image_run).set_index("study_id")
    (images,) = (cache_dir / "demo").glob("*-patients120-seed0-*/images")
    places = {path.parent.name: path for path in sorted(images.rglob("*.zip"))}
    zipped, unpacked, *_ = [study for study in own.index if study in places]
    folder = tmp_path / "films"
    folder.mkdir()
    shutil.copy(places[zipped], folder / "one.zip")
    with zipfile.ZipFile(places[unpacked]) as package:
        (folder / "IM0001").write_bytes(package.read(package.namelist()[0]))
    (folder / "damaged.dcm").write_bytes(b"not DICOM")
    (folder / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"2 age not recorded\. Where all are known to be old enough"):
        apply(image_run, f"dicom={folder}")
    made = apply(image_run, f"dicom={folder}", "unknown_age=keep", name="made")
    found = pd.read_parquet(made / "predictions.parquet").set_index("study_id")
    assert set(found.index) == {zipped, unpacked}
    np.testing.assert_allclose(found["y_score"], own.loc[found.index, "y_score"], rtol=OTHER_BATCH)
    assert list(found["patient_id"]) == list(own.loc[found.index, "patient_id"])
    flow = (made / "cohort_flow.json").read_text()
    assert "1 files are named by no series and have no DICOM header" in flow
    assert not any(name in flow for name in (*found.index, *found["patient_id"]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["task=covid"], "task is the run's own"),
        (["images.size=64"], "images.size is the run's own"),
        (["+model.dropout=0.5"], "model.dropout is the run's own"),
        (["compute.precision=float32"], "compute.precision is the run's own"),
        (["evaluation.threshold=0.5"], "midrc_ml.evaluate scores"),
        (["split=folds"], "every study here is of the part test"),
        (["resume=somewhere"], "there is nothing to resume"),
        (["overlp=drop"], "did you mean overlap?"),
        (["-m"], "one run to one cohort"),
        (["dicom=films"], "give one of cohort=NAME"),
        (["run=null"], "give a run"),
        (["run=no/such/folder"], "there is no such folder"),
        (["labels=some"], "it must be one of needed, none"),
        (["overlap=ignore"], "it must be one of refuse, drop, keep"),
        (["unknown_age=keep"], "is for labels=none"),
    ],
)
def test_what_cannot_be_given_is_refused_by_name(given: list[str], told: str, image_run: Path, apply: Apply) -> None:
    with pytest.raises(InputError, match=told.replace("?", r"\?")):
        apply(image_run, "cohort=demo", *given)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda run: (run / "checkpoints/best.pt").unlink(), "checkpoints/best.pt is gone"),
        (lambda run: (run / "checkpoints/best.pt").write_bytes(b"x"), "no longer readable"),
        (lambda run: shutil.copy(run / "checkpoints/last.pt", run / "checkpoints/best.pt"), "is no checkpoint"),
        (lambda run: (run / "split.parquet").unlink(), "which patients the run was trained on"),
        (lambda run: (run / "status.json").write_text('{"state": "running"}'), "not finished .status: running"),
        (lambda run: (run / "config.yaml").write_text("a: 1"), "is not the folder of a run"),
        (lambda run: _replace(run / "config.yaml", "spatial_dims: 2", "spatial_dims: 3"), "not of the task and model"),
        (lambda run: _replace(run / "config.yaml", "kind: binary", "kind: regression"), "not of the task and model"),
    ],
)
def test_a_run_of_which_something_is_gone_is_refused_before_images_are_read(
    spoil: Callable[[Path], object], told: str, copied: Path, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midrc_ml.images.cache.ImageCache.load", None)
    spoil(copied)
    with pytest.raises(InputError, match=told):
        apply(copied, *OWN_COHORT, "overlap=drop")


def _replace(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_without_the_last_checkpoint_the_precision_is_that_of_the_settings(
    copied: Path, apply: Apply, caplog: pytest.LogCaptureFixture
) -> None:
    (copied / "checkpoints/last.pt").unlink()
    found = pd.read_parquet(apply(copied, *OWN_COHORT, "overlap=drop") / "predictions.parquet")
    np.testing.assert_array_equal(found["y_score"], own_test_part(copied)["y_score"])  # of the same machine
    assert "in which precision the run computed" in caplog.text


def test_a_cohort_that_knows_nothing_of_what_was_learned_is_refused(
    table_run: Path, apply: Apply, tmp_path: Path
) -> None:
    (tmp_path / "my_configs/cohort").mkdir(parents=True)
    cases = pd.DataFrame({"pid": ["A", "B"], "film": ["S1", "S2"], "kind": ["CR", "CR"]})
    cases.to_csv(tmp_path / "cases.csv", index=False)
    description = [
        "cohort=csv",
        f"cohort.root={tmp_path}",
        "cohort.cases={file: cases.csv, columns: {case_id: pid}}",
        "cohort.studies={file: cases.csv, columns: {case_id: pid, study_id: film, modality: kind}}",
    ]
    with pytest.raises(InputError, match="the cohort knows nothing that the run learned from"):
        apply(table_run, *description, "labels=none", "unknown_age=keep")


def test_a_run_is_named_by_its_folder_or_by_a_file_in_it(image_run: Path) -> None:
    for place in ("", "report.html", "predictions.parquet", "checkpoints", "checkpoints/best.pt"):
        assert run_folder_of(str(image_run / place)) == image_run


def test_the_command_says_what_is_wrong_and_where_its_folder_is(
    image_run: Path, cache_dir: Path, tmp_path: Path
) -> None:
    line = [sys.executable, "-m", "midrc_ml.predict"]
    places = [f"paths.cache_dir={cache_dir}", f"paths.log_dir={tmp_path}"]
    result = subprocess.run(
        [*line, f"run={image_run}/report.html", *OWN_COHORT, *places], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith("error: audit: leakage.run_overlap")
    (folder,) = (tmp_path / "icu/predicted").iterdir()
    assert str(folder) in result.stdout
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"
    helped = subprocess.run([*line, "--help"], capture_output=True, text=True, check=True)
    assert "dicom=/data/films" in helped.stdout


def test_a_setting_of_the_cohort_that_there_is_not_is_hydras_to_refuse(image_run: Path, apply: Apply) -> None:
    with pytest.raises(HydraException):
        apply(image_run, "cohort=demo", "cohort.patients=12")
