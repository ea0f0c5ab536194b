"""Bad input gets one clear sentence and a non-zero exit, and loses nothing."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from midrc_ml.cohorts.demo import DemoCohort
from midrc_ml.config import make_places_absolute, save_config
from midrc_ml.errors import InputError
from midrc_ml.train import _resume, main
from midrc_ml.training.loop import LossIsNotFinite

TASK = "task=icu"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task=icuu"], ["task=icuu", "did you mean task=icu?", "opacity"]),
        ([TASK, "training.lrr=1"], ["training.lrr", "did you mean training.lr?"]),
        ([TASK, "modle=densenet121"], ["modle", "did you mean model?"]),
        ([], ["give a task", "icu, icu_ever"]),
        ([TASK, "cohort=midrc"], ["cohort.root is not set", "cohort=demo"]),
        ([TASK, "cohort=midrc", "cohort.root=/no/such/folder"], ["/no/such/folder", "not a folder"]),
        ([TASK, "cohort=midrc", "cohort.root="], ["cohort.root is not set"]),
        ([TASK, "tracking=null"], ["tracking=null: choose one of mlflow, none"]),
        ([TASK, "+paths.tmp=x"], ["paths.tmp: there is no such setting", "cache_dir"]),
        ([TASK, "hydra.run.dir=/dev/null/run"], ["/dev/null", "hydra.run.dir"]),
        ([TASK, "training.epochs=abc"], ["training.epochs is 'abc'", "whole number"]),
        ([TASK, "+task.versoin=2"], ["config at task", "task.versoin", "did you mean version?"]),
        ([TASK, "+foo=1"], ["foo: there is no such setting"]),
        ([TASK, "seed=-1"], ["seed is -1", "at least 0"]),
        ([TASK, "seed=true"], ["seed is True", "whole number"]),
        ([TASK, "compute.device=gpu"], ["compute.device is 'gpu'", "cuda:N"]),
        ([TASK, "paths.data_dir=~/data"], ["paths.data_dir=~/data", "quotes"]),
        ([TASK, "cohort=ralo", "paths.data_dir=null"], ["paths.data_dir", "MIDRC_ML_DATA"]),
        (["resume=no_such_run"], ["not the folder of a run", "no_such_run"]),
        (["resume=no_such_run", "seed=3"], ["seed=3 cannot be given with it"]),
        (["++resume=no_such_run", "seed=3"], ["seed=3 cannot be given with it"]),
    ],
)
def test_one_sentence_and_exit_2(arguments: list[str], words: list[str], said_by: Callable, tmp_path: Path) -> None:
    is_resume = arguments and "resume" in arguments[0]
    places = [] if is_resume else [f"paths.log_dir={tmp_path}/logs", f"paths.cache_dir={tmp_path}/cache"]
    result = said_by(main, *arguments, *places, cwd=tmp_path)
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert [word for word in words if word not in lines[0]] == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.yaml", "seed: 0\nmine: true\n", "is not the folder of a run"),  # of another program
        ("config.yaml", "task: {a: [", "config.yaml is no longer a readable config"),
        ("status.json", '{"state": "runn', "status.json is no longer readable"),
        ("checkpoints/last.pt", "PK", "last.pt is no longer readable"),
    ],
)
def test_a_run_folder_that_was_damaged_is_told(
    name: str, content: str, words: str, tracked_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tracked_run, folder)
    config = (folder / "config.yaml").read_text().replace(str(tracked_run.parent), str(tmp_path))  # another store
    (folder / "config.yaml").write_text(config)
    (folder / "status.json").write_text(json.dumps({"state": "running", "run_key": "key"}))
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=words):
        _resume(folder)


def test_an_empty_cache_folder_is_refused_and_an_empty_data_folder_is_none() -> None:
    config = OmegaConf.create({"paths": {"cache_dir": "", "data_dir": "", "log_dir": "logs"}})
    with pytest.raises(InputError, match=r"paths.cache_dir is ''; give a folder"):
        make_places_absolute(config, base="/a")
    config.paths.cache_dir = "../cache"
    make_places_absolute(config, base="/a")
    assert config.paths == {"cache_dir": "/cache", "data_dir": None, "log_dir": "/a/logs"}


def test_a_folder_that_holds_a_run_keeps_its_config(tmp_path: Path) -> None:
    save_config(OmegaConf.create({"seed": 1}), tmp_path)
    with pytest.raises(InputError, match=r"hydra.run.dir=.* holds a run; choose another folder, or resume="):
        save_config(OmegaConf.create({"seed": 2}), tmp_path)
    assert OmegaConf.load(tmp_path / "config.yaml") == {"seed": 1}


def test_a_root_without_exports_is_refused(small_run: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(InputError, match=r"no node export in .*: 0 TSV files"):
        small_run(tmp_path, "cohort=midrc", f"cohort.root={tmp_path}/root")


@pytest.fixture
def export(cache_dir: Path, tmp_path: Path) -> Path:
    """A copy of the small demo cohort, to be spoilt."""
    cohort = DemoCohort(cache_dir=str(cache_dir), num_patients=120)
    cohort.read()
    return Path(shutil.copytree(cohort.root, tmp_path / "export"))


def run_on(export: Path, small_run: Callable[..., Path], *overrides: str) -> Path:
    return small_run(
        export.parent / "logs",  "cohort=midrc", f"cohort.root={export}", "images=cxr_64",
        "images.size=32", "training=demo", "training.epochs=1", "tracking=none", *overrides,
    )  # fmt: skip


def test_a_missing_node_is_named_with_what_it_is_for(export: Path, small_run: Callable[..., Path]) -> None:
    next(export.glob("*_visit.tsv")).unlink()
    with pytest.raises(InputError, match=r"task=icu needs hospital_stay \(from the visit node.*icu_stay"):
        run_on(export, small_run)


def test_bad_files_are_skipped_recorded_and_counted(
    export: Path, tracked_run: Path, small_run: Callable[..., Path]
) -> None:
    """An HTML page named .dcm, a truncated DICOM, a truncated ZIP: three films of the tracked run, none fatal."""
    good = json.loads((tracked_run / "cohort_flow.json").read_text())["steps"][-1]
    split = pd.read_parquet(tracked_run / "split.parquet")
    train = split[split["part"] == "train"]["study_id"]
    archives = [next((export / "images").glob(f"*/{study}/*.zip")) for study in train[:3]]
    with zipfile.ZipFile(archives[0]) as package:
        (name,) = package.namelist()
        content = package.read(name)
    for archive, spoilt in ((archives[0], b"<!DOCTYPE html><html>Access denied</html>"), (archives[1], content[:3000])):
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr("series/film.dcm", spoilt)
    archives[2].write_bytes(archives[2].read_bytes()[:1000])
    step = json.loads((run_on(export, small_run) / "cohort_flow.json").read_text())["steps"][-1]
    assert step["n_in"] == good["n_in"]
    assert step["n_out"] == good["n_out"] - 3
    reasons = " | ".join(sorted(entry["reason"] for entry in step["excluded"]))
    assert "web page" in reasons
    assert "damaged ZIP" in reasons
    assert len(step["excluded"]) == 3


def test_a_nan_loss_stops_and_keeps_the_last_good_checkpoint(small_run: Callable[..., Path], tmp_path: Path) -> None:
    # The first epoch is warm-up from a rate of almost zero; the second one overflows.
    settings = ("tracking=none", "training.lr=1e25", "training.clip_norm=0", "training.epochs=2", "training.warmup=0.9")
    with pytest.raises(LossIsNotFinite, match=r"training loss became nan in epoch \d.*Lower training.lr"):
        small_run(tmp_path, *settings)
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert status["state"] == "failed"
    assert "training.lr" in status["reason"]
    kept = tmp_path / "run/checkpoints/last.pt"
    if kept.exists():
        weights = torch.load(kept, weights_only=True)["network"]
        assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())


def test_no_usable_label_says_where_the_studies_went(export: Path, small_run: Callable[..., Path]) -> None:
    visit = next(export.glob("*_visit.tsv"))
    header, *rows = visit.read_text().splitlines()
    place = header.split("\t").index("days_to_icu_admission")
    blank = [
        "\t".join(cell if i not in (place, place + 1) else "" for i, cell in enumerate(row.split("\t"))) for row in rows
    ]
    visit.write_text("\n".join([header, *blank]) + "\n")
    with pytest.raises(InputError, match=r"no study has a label.*the site dates no icu_stay"):
        run_on(export, small_run)
    assert (export.parent / "logs/run/cohort_flow.json").is_file()


def test_a_second_run_into_the_same_folder_is_refused(tracked_run: Path, command: Callable) -> None:
    before = (tracked_run / "metrics.json").read_bytes()
    result = command(TASK, f"hydra.run.dir={tracked_run}", f"paths.log_dir={tracked_run.parent}")
    assert result.returncode == 2
    assert "holds a run" in result.stderr
    assert (tracked_run / "metrics.json").read_bytes() == before
