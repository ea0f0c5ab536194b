"""`compare` from the command line: what is meant by a name, what is refused in one sentence, what it leaves."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from omegaconf import DictConfig, OmegaConf
from sklearn.metrics import roc_auc_score

from midrc_ml.compare import main
from midrc_ml.config import composed
from midrc_ml.splits.manifest import Manifest
from midrc_ml.tracking.mlflow_tracker import MlflowTracking
from midrc_ml.tracking.tracker import RunFacts

FEW = ("--num-draws", "100")
_BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "monai"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
from midrc_ml.compare import main
main(sys.argv[1:])
assert not {"torch", "monai"} & set(sys.modules)
"""
MakeRun = Callable[..., Path]


def table_of(num_patients: int = 90) -> pd.DataFrame:
    """Two studies a patient, a third of the patients in each part."""
    rng = np.random.default_rng(0)
    count = 2 * num_patients
    patient = np.arange(count) // 2
    table = pd.DataFrame(
        {
            "patient_id": [f"PATIENT-{number:04d}" for number in patient],
            "case_id": [f"CASE-{number:04d}" for number in patient],
            "study_id": [f"STUDY-{number:04d}" for number in range(count)],
            "part": np.array(["train", "validation", "test"])[patient % 3],
            "label": (rng.random(count) < 0.4).astype(float),
        }
    )
    groups = dict.fromkeys(("race", "ethnicity", "manufacturer", "view"), "Not Reported")
    ages, sexes = rng.choice(["18-29", "30-39"], count), rng.choice(["Female", "Male"], count)
    return table.assign(y_true=table["label"], site="A", sex=sexes, age_band=ages, **groups)


@pytest.fixture(scope="session")
def config() -> DictConfig:
    return composed("train", ["task=icu", "images=none", "clinical=demographics", "model=mlp", "tracking=none"])


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def make_run(config: DictConfig, log_dir: Path) -> MakeRun:
    """What training leaves, with invented scores, which `signal` makes tell of the label; `settings` of the config."""

    def made(
        name: str,
        *,
        seed: int = 0,
        signal: float = 1.0,
        table: pd.DataFrame | None = None,
        state: str = "finished",
        settings: dict[str, object] | None = None,
    ) -> Path:
        folder = log_dir / "icu" / "runs" / name
        folder.mkdir(parents=True)
        own = OmegaConf.merge(config, {"seed": seed})
        for key, value in (settings or {}).items():
            OmegaConf.update(own, key, value)
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(own, resolve=True))
        table = table_of() if table is None else table
        Manifest.of(table, {"task": "icu"}).save(folder)
        rng = np.random.default_rng([seed, *map(ord, name)])
        noise = rng.normal(size=len(table))
        scored = table.assign(y_score=1 / (1 + np.exp(-(signal * table["y_true"] + noise))))
        scored[scored["part"] != "train"].to_parquet(folder / "predictions.parquet", index=False)
        status = {"state": state, "run_key": f"key-of-{name}", "tracking_run_id": None}
        (folder / "status.json").write_text(json.dumps(status))
        return folder

    return made


@pytest.fixture
def compare(log_dir: Path) -> Callable[..., dict]:
    """Compare in this process without MLflow; `comparison.json`."""

    def run(*arguments: object) -> dict:
        main([*map(str, arguments), "--log-dir", str(log_dir), "--tracking", "none", *FEW])
        newest = max((log_dir / "icu" / "compared").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
        return json.loads((newest / "comparison.json").read_text())

    return run


@pytest.fixture
def refused(log_dir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one sentence with which it ends."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            main([*map(str, arguments), "--log-dir", str(log_dir), "--tracking", "none", *FEW])
        assert stopped.value.code == 2
        said = capsys.readouterr().err.strip()
        assert said.startswith("error: ")
        assert "\n" not in said
        assert "PATIENT-" not in said
        assert "STUDY-" not in said
        return said

    return run


def test_two_runs_are_compared_in_every_metric_of_their_task(
    make_run: MakeRun, compare: Callable[..., dict], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = make_run("first"), make_run("second", signal=3, settings={"training.lr": 0.5})
    found = compare(first, second)
    rows = {row["metric"]: row for row in found["differences"]}
    assert next(iter(rows)) == "auroc"
    assert "sensitivity" in rows
    assert "calibration_slope" not in rows  # neither low nor high is better
    scores = [pd.read_parquet(folder / "predictions.parquet").query("part == 'test'") for folder in (first, second)]
    areas = [roc_auc_score(one["y_true"], one["y_score"]) for one in scores]
    assert rows["auroc"]["difference"] == pytest.approx(areas[1] - areas[0])
    assert found["num_studies"] == len(scores[0])
    assert found["split_sha256"] == (first / "split.sha256").read_text().strip()
    assert [source["model"] for source in found["sources"]] == ["mlp lr=0.001", "mlp lr=0.5"]
    said = caplog.text
    assert "mlp lr=0.5 against mlp lr=0.001" in said
    assert "2 of 2 models have one run each" in said


def test_seeds_of_one_configuration_are_one_model_unless_kept_apart(
    make_run: MakeRun, compare: Callable[..., dict], log_dir: Path
) -> None:
    for seed in range(3):
        make_run(f"a{seed}", seed=seed)
        make_run(f"b{seed}", seed=seed, settings={"training.lr": 0.5, "paths.cache_dir": f"/elsewhere/{seed}"})
    runs = log_dir / "icu" / "runs"
    found = compare(runs)
    assert [(row["model"], row["num_seeds"]) for row in found["values"] if row["metric"] == "auroc"] == [
        ("mlp lr=0.001", 3),
        ("mlp lr=0.5", 3),
    ]
    assert found["differences"][0]["combined_se"] > found["differences"][0]["sampling_se"]
    apart = compare(runs, "--each-seed", "--metrics", "auroc")
    assert len(apart["differences"]) == 5
    assert apart["sources"][1]["model"] == "mlp lr=0.001 seed 1"


def test_names_and_the_reference_are_the_users(make_run: MakeRun, compare: Callable[..., dict]) -> None:
    runs = [make_run(name, seed=seed) for seed, name in enumerate("abc")]
    found = compare(f"theirs={runs[0]}", f"ours={runs[1]},{runs[2]}", "--reference", "ours", "--metrics", "auroc")
    (row,) = found["differences"]
    assert (row["model"], row["reference"]) == ("theirs", "ours")
    assert [source["model"] for source in found["sources"]] == ["ours", "ours", "theirs"]


def test_a_file_of_another_framework_is_compared_by_the_split_of_the_run(
    make_run: MakeRun, compare: Callable[..., dict], tmp_path: Path
) -> None:
    run = make_run("a")
    scores = pd.read_parquet(run / "predictions.parquet")[["study_id", "y_score"]]
    scores.assign(y_score=1 - scores["y_score"]).to_csv(tmp_path / "theirs.csv", index=False)
    found = compare(run, tmp_path / "theirs.csv", "--metrics", "auroc")
    (row,) = found["differences"]
    assert row["model"] == "theirs"
    assert row["value"] == pytest.approx(1 - row["value_reference"])


def test_what_a_file_does_not_say_is_told_and_its_own_columns_make_groups(
    make_run: MakeRun, compare: Callable[..., dict], tmp_path: Path
) -> None:
    run = make_run("a", signal=3)
    table = pd.read_parquet(run / "predictions.parquet")
    scanner = np.where(np.arange(len(table)) % 2, "X", "Y")
    theirs = table[["study_id"]].assign(y_score=1 - table["y_score"], scanner=scanner)
    theirs.to_csv(tmp_path / "theirs.csv", index=False)
    found = compare(run, tmp_path / "theirs.csv", "--by", "scanner", "--intersect", "--metrics", "auroc")
    assert {row["group"]["value"] for row in found["by_group"]} == {"X", "Y"}
    said = " ".join(found["notes"])
    assert "on whom it was trained is not known of theirs.csv" in said
    assert "theirs: auroc is" in said
    assert "is the sign right" in said


def test_what_is_the_complement_of_another_metric_is_not_asked_twice(
    make_run: MakeRun, compare: Callable[..., dict]
) -> None:
    found = compare(make_run("a"), make_run("b", signal=3, settings={"training.lr": 0.5}))
    asked = {row["metric"] for row in found["differences"]}
    assert {"sensitivity", "specificity"} <= asked
    assert not {"underdiagnosis_rate", "overdiagnosis_rate"} & asked


def test_files_alone_need_the_task(
    make_run: MakeRun, compare: Callable[..., dict], refused: Callable[..., str], tmp_path: Path
) -> None:
    table = pd.read_parquet(make_run("a") / "predictions.parquet")
    for name, column in (("a", table["y_score"]), ("b", 1 - table["y_score"])):
        table.assign(y_score=column).to_csv(tmp_path / f"{name}.csv", index=False)
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert "give --task" in refused(*files)
    assert "did you mean" in refused(*files, "--task", "icuu")
    found = compare(*files, "--task", "icu", "--metrics", "auroc,sensitivity")
    assert [row["model"] for row in found["differences"]] == ["b", "b"]
    assert found["split_sha256"] is None


def test_it_is_asked_within_groups_too(make_run: MakeRun, compare: Callable[..., dict]) -> None:
    runs = make_run("a"), make_run("b", settings={"training.lr": 0.5})
    found = compare(*runs, "--by", "sex,sex x age_band", "--metrics", "auroc", "--min-group-size", "5")
    columns = {row["group"]["column"] for row in found["by_group"]}
    assert columns == {"sex", "sex x age_band"}
    assert {row["column"] for row in found["levelling"]} == columns
    assert sum(row["n"] for row in found["by_group"] if row["group"]["column"] == "sex") == found["num_studies"]


def test_other_splits_are_refused_with_what_they_share_and_intersected_without_whom_one_was_trained_on(
    make_run: MakeRun, compare: Callable[..., dict], refused: Callable[..., str]
) -> None:
    table = table_of()
    moved = table["patient_id"].isin(["PATIENT-0000", "PATIENT-0003"])  # of train, which are to be in the test part
    given = table["patient_id"] == "PATIENT-0002"  # of test, which is to be in the train part
    other = table.assign(part=table["part"].mask(moved, "test").mask(given, "train"))
    runs = make_run("a"), make_run("b", table=other, settings={"training.lr": 0.5})
    said = refused(*runs)
    assert "are of different splits" in said
    assert "of their 60 to 62 test studies each, 58 are in all of them; --intersect" in said
    found = compare(*runs, "--intersect", "--metrics", "auroc")
    assert found["num_studies"] == 58
    assert found["split_sha256"] is None


def test_of_a_folder_with_runs_of_several_splits_those_of_one_are_taken(
    make_run: MakeRun, compare: Callable[..., dict], refused: Callable[..., str], log_dir: Path
) -> None:
    table = table_of()
    other = table.assign(part=table["part"].mask(table["patient_id"] == "PATIENT-0000", "test"))
    make_run("a"), make_run("b", settings={"training.lr": 0.5})
    split = (make_run("c", table=other, settings={"training.lr": 0.9}) / "split.sha256").read_text()[:12]
    runs = log_dir / "icu" / "runs"
    first = (runs / "a" / "split.sha256").read_text()[:12]
    assert f"2 runs of {first}, 1 runs of {split} (--split SHA256 takes the runs of one)" in refused(runs)
    found = compare(runs, "--split", first, "--metrics", "auroc")
    assert len(found["sources"]) == 2
    assert "1 runs of other splits; left out" in found["notes"]
    assert "--split 0123: no run is of such a split" in refused(runs, "--split", "0123")


def test_a_patient_whom_one_model_was_tuned_on_is_left_out_with_the_count(
    make_run: MakeRun, compare: Callable[..., dict], tmp_path: Path
) -> None:
    run, table = make_run("a"), table_of()
    unlike = table.assign(part=table["part"].mask(table["patient_id"] == "PATIENT-0002", "validation"))
    external = make_run("b", table=unlike, settings={"training.lr": 0.5})
    scored = pd.read_parquet(external / "predictions.parquet")
    scored.assign(part=scored["part"].mask(scored["patient_id"] == "PATIENT-0002", "test")).to_parquet(
        external / "predictions.parquet"
    )
    found = compare(run, external, "--intersect", "--metrics", "auroc")
    assert found["num_studies"] == 58
    assert any("b was trained or tuned on patients of 2 of these studies" in note for note in found["notes"])


def test_another_truth_of_the_same_studies_is_refused_also_with_intersect(
    make_run: MakeRun, refused: Callable[..., str]
) -> None:
    table = table_of()
    flipped = table.assign(label=np.where(table.index == 4, 1 - table["label"], table["label"]))
    runs = make_run("a"), make_run("b", table=flipped.assign(y_true=flipped["label"]))
    assert "different splits" in refused(*runs)
    assert "give 1 of 60 studies another y_true" in refused(*runs, "--intersect")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "predictions.parquet").unlink(), "holds no predictions.parquet"),
        (lambda folder: (folder / "config.yaml").unlink(), "no config.yaml in it"),
        (lambda folder: (folder / "config.yaml").write_text("a: [b"), "no longer a readable config"),
        (lambda folder: (folder / "config.yaml").write_text("a: 1"), "names no task"),
        (lambda folder: (folder / "status.json").write_text('{"state": "running"}'), "still running, or was killed"),
        (lambda folder: (folder / "status.json").write_text('{"state": "failed"}'), "failed: only finished runs"),
        (lambda folder: (folder / "decision.json").write_text("{"), "is damaged"),
        (lambda folder: (folder / "predictions.parquet").write_text("x"), "is no readable Parquet table"),
        (lambda folder: (folder / "predictions.parquet").write_bytes(b""), "is no readable Parquet table"),
        (lambda folder: (folder / "split.sha256").unlink(), "is gone or unreadable"),
        (lambda folder: (folder / "split.parquet").write_text("x"), "is gone or unreadable"),
        (lambda folder: (folder / "split.sha256").write_text("0" * 64), "was changed since the run"),
        (lambda folder: _edit(folder / "split.parquet", "part", "train"), "was changed since the run"),
        (
            lambda folder: _edit(folder / "predictions.parquet", "y_score", 1.5),
            "60 of 120 scores in predictions.parquet lie",
        ),
    ],
)
def test_a_run_that_is_not_whole_is_refused(
    change: Callable[[Path], object], said: str, make_run: MakeRun, refused: Callable[..., str]
) -> None:
    good, bad = make_run("good"), make_run("bad", settings={"training.lr": 0.5})
    change(bad)
    assert said in refused(good, bad)


def _edit(path: Path, column: str, value: object) -> None:
    """Every second row, without the hash that stands beside it; what a file says of itself stays."""
    table = pd.read_parquet(path)
    table.loc[::2, column] = value
    table.to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{a}"], "one model is given"),
        (["{a}", "{a}"], "are the same run; name it once"),
        (["{a}", "{a}/predictions.parquet"], "are the same run; name it once"),
        (["{a}", "{copy}"], "are copies of one run; name it once"),
        (["{a}", "{seed}"], "are seeds of one configuration"),
        (["{a}", "{again}"], "have the same configuration, seed and code"),
        (["{a}", "{task}"], "is of task deterioration, and the first is of icu"),
        (["{a}", "{version}"], "is of version of task icu 1, and the first is of 2"),
        (["{a}", "{b}", "--reference", "c"], "--reference c means none of the models"),
        (["{a}", "{b}", "--metrics", "aurok"], "--metrics aurok: there is no such metric for a binary task"),
        (["{a}", "{b}", "--metrics", "no.such"], "--metrics no.such: there is no such function"),
        (["{a}", "{b}", "--metrics", "numpy.mean"], "it gives no number (TypeError)"),
        (["{a}", "{b}", "--metrics", "midrc_ml.evaluation.metrics.auroc,auroc"], "two of them are called auroc"),
        (["{a}", "{b}", "--by", "colour"], "has colour; columns of the predictions are"),
        (["{a}", "{b}", "--by", "sex,patient_id"], "has patient_id, which is an id, a part, a truth or a score"),
        (["{a}", "{b}", "--by", "sex x y_score"], "has y_score, which is an id, a part, a truth or a score"),
        (
            ["{a}", "{logits}"],
            "logits are said by scores=logit, and scores of which only the order means something by "
            "scores=rank. Settings (name=value) are those of `python -m midrc_ml.evaluate`",
        ),
        (["{a}", "nowhere.csv"], "nowhere.csv: there is no such file"),
        (["{a}", "midrc/icu"], "there is no such file or folder, and no tracking store"),
        (["{a}", "abcdef12"], "no run below"),
        (["{a}", "{empty}"], "is not the folder of a run, and no finished run lies in it"),
        (["{a}", "x="], "there is no such file or folder"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(
    arguments: list[str], said: str, make_run: MakeRun, refused: Callable[..., str], tmp_path: Path
) -> None:
    runs = {"a": make_run("a"), "b": make_run("b", settings={"training.lr": 0.5})}
    runs |= {"seed": make_run("seed", seed=1), "again": make_run("again")}
    runs["task"] = make_run("task", settings={"task.name": "deterioration"})
    runs["version"] = make_run("version", settings={"task.version": 1})
    runs["copy"] = Path(shutil.copytree(runs["a"], tmp_path / "copy"))
    runs["logits"] = tmp_path / "logits.csv"
    pd.read_parquet(runs["a"] / "predictions.parquet")[["study_id"]].assign(y_score=-3.0).to_csv(
        runs["logits"], index=False
    )
    runs["empty"] = tmp_path / "empty"
    runs["empty"].mkdir()
    assert said in refused(*(argument.format(**runs) for argument in arguments))


def test_a_metric_of_ones_own_is_named_in_full(make_run: MakeRun, compare: Callable[..., dict]) -> None:
    runs = make_run("a"), make_run("b", settings={"training.lr": 0.5})
    ours, theirs = compare(*runs, "--metrics", "auroc,sklearn.metrics.roc_auc_score")["differences"]
    assert theirs["metric"] == "roc_auc_score"
    assert theirs["difference"] == pytest.approx(ours["difference"])
    assert (theirs["low"], theirs["high"]) == pytest.approx((ours["low"], ours["high"]))


def _tracked(folder: Path, log_dir: Path) -> str:
    """Give a run of `make_run` what MLflow knows of it; its id."""
    status = json.loads((folder / "status.json").read_text())
    tracker = MlflowTracking(log_model=False)
    facts = RunFacts(experiment="midrc/icu", name=folder.name, params={}, tags={}, inputs={}, split_sha256="0")
    tracker.start(facts, log_dir=log_dir, run_key=status["run_key"])
    tracker.finish([], [])
    (folder / "status.json").write_text(json.dumps(status | {"tracking_run_id": tracker.run_id}))
    return str(tracker.run_id)


def test_runs_are_found_by_id_and_experiment_and_the_comparison_is_a_run_of_its_own_without_torch(
    make_run: MakeRun, log_dir: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    first, second = make_run("a"), make_run("b", signal=3, settings={"training.lr": 0.5})
    ids = [_tracked(folder, log_dir) for folder in (first, second)]
    settings = ["--log-dir", str(log_dir), "--metrics", "auroc,brier_loss", *FEW]
    main([ids[0][:8], ids[1], *settings])
    line = [sys.executable, "-c", _BLOCKED, "midrc/i*", *settings]
    result = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    assert "mlp lr=0.5 against mlp lr=0.001" in result.stdout
    for folder in (log_dir / "icu" / "compared").iterdir():
        left = {"comparison.json", "comparison.md", "comparison.html", "environment.json", "status.json", "figures"}
        assert left <= {file.name for file in folder.iterdir()}
        found = json.loads((folder / "comparison.json").read_text())
        assert [source["run_id"] for source in found["sources"]] == ids
        status = json.loads((folder / "status.json").read_text())
        client = MlflowClient(f"sqlite:///{log_dir}/mlflow.db")
        run = client.get_run(status["tracking_run_id"])
        assert client.get_experiment(run.info.experiment_id).name == "midrc/icu"
        assert run.info.status == "FINISHED"
        assert run.info.run_name == "compare-mlp lr=0.5-with-mlp lr=0.001"
        assert run.data.tags["verb"] == "compare"
        assert run.data.tags["split_sha256"] == (first / "split.sha256").read_text().strip()
        assert all(run_id in run.data.tags["compared_runs"] for run_id in ids)
        assert "| auroc | high |" in run.data.tags["mlflow.note.content"]
        row = found["differences"][0]
        logged, name = run.data.metrics, "difference/auroc/mlp lr:0.5-vs-mlp lr:0.001"
        assert [logged[name], logged[f"{name}/low"], logged[f"{name}/high"], logged[f"{name}/p"]] == [
            row["difference"], row["low"], row["high"], row["p_value"],
        ]  # fmt: skip
        artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"comparison.html", "comparison.md", "comparison.json", "figures"} <= artifacts
        told = json.dumps([run.data.to_dictionary(), run.info.run_name])
        told += "".join((folder / name).read_text() for name in ("comparison.json", "comparison.md", "comparison.html"))
        assert not [word for word in ("STUDY-", "PATIENT-", str(tmp_path)) if word in told]
    assert "is a comparison itself" in refused(ids[0], status["tracking_run_id"])
    assert "is a comparison itself" in refused(ids[0], folder)
    assert "midrc/none: there is no such file or folder, and no run in an experiment" in refused(ids[0], "midrc/none")
    shutil.move(second, tmp_path / "away")
    assert "but its folder is not below" in refused(ids[0], ids[1])


def test_a_run_that_was_trained_here_is_compared_with_its_own_scores_turned_round(
    tracked_run: Path, tmp_path: Path
) -> None:
    table = pd.read_parquet(tracked_run / "predictions.parquet")
    table[["study_id"]].assign(y_score=1 - table["y_score"]).to_csv(tmp_path / "turned.csv", index=False)
    main([str(tracked_run), str(tmp_path / "turned.csv"), "--log-dir", str(tmp_path), "--tracking", "none", *FEW])
    (folder,) = (tmp_path / "icu" / "compared").iterdir()
    found = json.loads((folder / "comparison.json").read_text())
    rows = {row["metric"]: row for row in found["differences"]}
    stored = {
        row["metric"]: row for row in json.loads((tracked_run / "metrics.json").read_text()) if row["part"] == "test"
    }
    for metric in ("auroc", "auprc", "sensitivity"):
        assert rows[metric]["value_reference"] == stored[metric]["value"]
    assert rows["auroc"]["value"] == pytest.approx(1 - stored["auroc"]["value"])
    assert found["synthetic"] is True
