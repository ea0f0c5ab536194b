"""`evaluate` from the command line: what it leaves, where its threshold is from, and that it needs no torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from omegaconf import OmegaConf

from midrc_ml.errors import InputError
from midrc_ml.evaluate import main

FEW = "evaluation.num_draws=100"
_BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "monai"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
from midrc_ml.evaluate import main
main()
assert not {"torch", "monai"} & set(sys.modules)
"""


def invented(folder: Path, *, parts: bool = True, **columns: object) -> Path:
    """Two studies a patient, scores that tell something of the label; a third of them is of the validation part."""
    rng = np.random.default_rng(0)
    count = 180
    label = (rng.random(count) < 0.4).astype(int)
    table = pd.DataFrame(
        {
            "study_id": [f"STUDY-{n:04d}" for n in range(count)],
            "patient_id": [f"PATIENT-{n // 2:04d}" for n in range(count)],
            "y_true": label,
            "y_score": np.round(0.3 * label + 0.7 * rng.random(count), 3),
            "sex": rng.choice(["Female", "Male"], count),
        }
    )
    if parts:
        table["part"] = np.where(np.arange(count) < 60, "validation", "test")
    path = folder / "scores.csv"
    table.assign(**columns).to_csv(path, index=False)
    return path


@pytest.fixture
def evaluated(tmp_path: Path) -> Callable[..., Path]:
    """Evaluate in this process; the run's folder."""

    def run(*overrides: str) -> Path:
        from hydra import compose, initialize_config_dir

        from midrc_ml.config import make_places_absolute, register, shipped_folder
        from midrc_ml.evaluate import _run

        register()
        task = [] if any(setting.startswith("task=") for setting in overrides) else ["task=icu"]
        few = [] if any(setting.startswith(FEW.partition("=")[0]) for setting in overrides) else [FEW]
        places = [f"paths.log_dir={tmp_path}/logs", "tracking=none"]
        places += [] if any(setting.startswith("audit") for setting in overrides) else ["audit=leakage"]
        with initialize_config_dir(str(shipped_folder("configs")), version_base="1.3"):
            config = compose("evaluate", overrides=[*task, *few, *places, *overrides])
        make_places_absolute(config, base=str(tmp_path))
        folder = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        _run(config, folder)
        return folder

    return run


def rows(folder: Path, name: str = "metrics") -> dict[tuple[str, str], dict]:
    found = json.loads((folder / f"{name}.json").read_text())
    return {(row["part"], row["metric"]): row for row in found}


def test_it_works_where_torch_and_monai_cannot_be_imported_and_tracks_what_it_did(tmp_path: Path) -> None:
    path = invented(tmp_path)
    arguments = ["task=icu", f"predictions={path}", "name=theirs", FEW, f"paths.log_dir={tmp_path}/logs"]
    line = [sys.executable, "-c", _BLOCKED, *arguments]
    result = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert result.returncode == 0, result.stderr
    assert "Test part of the predictions file:" in result.stdout
    (folder,) = (tmp_path / "logs/icu/evaluated").iterdir()
    left = {
        "config.yaml", "status.json", "environment.json", "predictions.parquet", "metrics.json", "groups.json",
        "gaps.json", "decision.json", "report.html", "report.md", "split.parquet", "split.sha256",
    }  # fmt: skip
    assert left <= {file.name for file in folder.iterdir()}
    status = json.loads((folder / "status.json").read_text())
    client = MlflowClient(f"sqlite:///{tmp_path}/logs/mlflow.db")
    run = client.get_run(status["tracking_run_id"])
    assert client.get_experiment(run.info.experiment_id).name == "midrc/icu"
    assert run.info.status == "FINISHED"
    assert run.data.tags["verb"] == "evaluate"
    assert run.data.tags["mlflow.source.name"] == "midrc_ml.evaluate"
    assert run.data.tags["predictions_sha256"] == status["predictions_sha256"]
    assert run.data.tags["split_sha256"] == (folder / "split.sha256").read_text().strip()
    for (part, metric), row in rows(folder).items():
        if row["value"] is not None:
            assert run.data.metrics[f"{part}/{metric}"] == row["value"]
    told = json.dumps([run.data.to_dictionary(), run.info.run_name])
    assert not [word for word in ("STUDY-", "PATIENT-", str(tmp_path)) if word in told]


def test_nothing_slow_is_imported_before_the_numbers_are_done(tmp_path: Path) -> None:
    code = (
        "import sys; import midrc_ml.evaluate, midrc_ml.evaluation.evaluate, midrc_ml.prediction_files.reading\n"
        "import midrc_ml.tracking.mlflow_tracker\n"
        "slow = ('torch', 'monai', 'mlflow', 'sklearn', 'scipy', 'matplotlib')\n"
        "print([name for name in slow if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["give a task"]),
        (["task=icu"], ["give predictions=FILE"]),
        (["task=icu", "predictions=gone.csv"], ["gone.csv", "there is no such file"]),
        (["task=icu", "predictions=a.csv", "colums.y_score=a"], ["colums.y_score", "there is no such setting"]),
        (["task=icu", "predictions=a.csv", "+foo=1"], ["foo: there is no such setting"]),
        (["task=icu", "predictions=a.csv", "form=melodi"], ["form=melodi", "did you mean form=melody?"]),
        (["task=icu", "predictions=a.csv", "export=csv"], ["export is 'csv'"]),
        (["task=icu", "predictions=a.csv", "missing=keep"], ["missing is 'keep'"]),
    ],
)
def test_one_sentence_and_exit_2(arguments: list[str], words: list[str], said_by: Callable, tmp_path: Path) -> None:
    result = said_by(main, *arguments, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    (sentence,) = result.stderr.strip().splitlines()
    assert sentence.startswith("error: ")
    assert [word for word in words if word not in sentence] == []


def test_the_help_says_how_a_file_is_given() -> None:
    line = [sys.executable, "-m", "midrc_ml.evaluate", "--help"]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert "predictions=scores.csv columns.y_score=prob" in said
    assert "form: melody, midrc_challenge, own" in said


def test_the_threshold_is_chosen_on_the_validation_part_of_the_file(evaluated: Callable, tmp_path: Path) -> None:
    folder = evaluated(f"predictions={invented(tmp_path)}")
    decision = json.loads((folder / "decision.json").read_text())
    assert decision["chosen_on"] == "validation"
    assert rows(folder)["test", "sensitivity"]["value"] is not None


def test_without_a_validation_part_there_is_no_threshold_and_it_is_never_chosen_on_test(
    evaluated: Callable, tmp_path: Path
) -> None:
    path = invented(tmp_path, parts=False)
    folder = evaluated(f"predictions={path}")
    row = rows(folder)["test", "sensitivity"]
    assert row["value"] is None
    assert "no threshold" in row["reason"]
    assert rows(evaluated(f"predictions={path}", "evaluation.threshold=0.5"))["test", "sensitivity"]["value"] > 0


def test_the_threshold_of_a_run_is_carried_over(evaluated: Callable, tmp_path: Path) -> None:
    validation = evaluated(f"predictions={invented(tmp_path)}")
    threshold = json.loads((validation / "decision.json").read_text())["threshold"]
    path = invented(tmp_path, parts=False)
    for place in (validation, validation / "decision.json"):
        folder = evaluated(f"predictions={path}", f"decision={place}")
        assert json.loads((folder / "decision.json").read_text())["threshold"] == threshold
        assert rows(folder)["test", "sensitivity"]["value"] is not None
    again = evaluated(f"predictions={validation}")  # a run's folder: its own decision and split
    assert rows(again)["test", "sensitivity"] == rows(validation)["test", "sensitivity"]
    assert (again / "split.sha256").read_text() == (validation / "split.sha256").read_text()
    with pytest.raises(InputError, match="would settle it anew; give one of them"):
        evaluated(f"predictions={path}", f"decision={validation}", "evaluation.threshold=0.5")
    with pytest.raises(InputError, match=r"no such place; give the folder of a run, or its decision.json"):
        evaluated(f"predictions={path}", f"decision={path}")


def test_a_run_s_recalibration_goes_with_its_threshold_once(evaluated: Callable, tmp_path: Path) -> None:
    run = evaluated(f"predictions={invented(tmp_path)}", "evaluation.recalibration=platt")
    own = pd.read_parquet(run / "predictions.parquet").set_index("study_id")
    path = invented(tmp_path, parts=False)
    folder = evaluated(f"predictions={path}", f"decision={run}")
    table = pd.read_parquet(folder / "predictions.parquet").set_index("study_id")
    pd.testing.assert_series_equal(table["y_score"], own["y_score"].reindex(table.index))
    assert table["raw_score"].to_dict() == pd.read_csv(path).set_index("study_id")["y_score"].to_dict()
    assert "the scores are recalibrated (platt) as in that run" in (folder / "report.md").read_text()
    # In a run's folder they are recalibrated already.
    again = evaluated(f"predictions={run}", f"decision={run}")
    assert rows(again)["test", "brier_loss"]["value"] == rows(run)["test", "brier_loss"]["value"]
    with pytest.raises(InputError, match="which ranks cannot be"):
        evaluated(f"predictions={path}", f"decision={run}", "scores=rank")


def test_the_reference_of_gaps_is_set_as_the_documentation_says(evaluated: Callable, tmp_path: Path) -> None:
    folder = evaluated(f"predictions={invented(tmp_path)}", "fairness.columns=[sex]", "fairness.reference={sex: Male}")
    gaps = json.loads((folder / "gaps.json").read_text())
    assert {row["reference"] for row in gaps if row["quantity"] == "gap_to_reference"} == {"Male"}
    with pytest.raises(InputError, match="patient_id, which is an id"):
        evaluated(f"predictions={tmp_path}/scores.csv", "fairness.columns=[sex,patient_id]")


def test_scores_that_are_only_ranks_have_no_calibration(evaluated: Callable, tmp_path: Path) -> None:
    path = invented(tmp_path)
    table = pd.read_csv(path)
    table.assign(y_score=table["y_score"] * 100 - 30).to_csv(path, index=False)
    with pytest.raises(InputError, match="scores=rank"):
        evaluated(f"predictions={path}")
    folder = evaluated(f"predictions={path}", "scores=rank")
    assert not (folder / "figures/calibration.png").exists()
    found = rows(folder)
    assert found["test", "brier_loss"]["value"] is None
    assert "scores are declared as ranks" in found["test", "brier_loss"]["reason"]
    invented(tmp_path)
    as_given = rows(evaluated(f"predictions={path}"))
    for metric in ("auroc", "auprc", "sensitivity"):
        assert found["test", metric]["value"] == pytest.approx(as_given["test", metric]["value"])


def test_a_wrong_sign_is_asked_about_in_terminal_and_report(
    evaluated: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = invented(tmp_path)
    table = pd.read_csv(path)
    table.assign(y_score=1 - table["y_score"]).to_csv(path, index=False)
    folder = evaluated(f"predictions={path}")
    assert "is the sign right" in caplog.text
    for name in ("report.md", "report.html"):
        assert "is the sign right" in (folder / name).read_text()


def test_constant_scores_are_evaluated_with_a_warning(
    evaluated: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = evaluated(f"predictions={invented(tmp_path, y_score=0.5)}")
    assert rows(folder)["test", "auroc"]["value"] == 0.5
    assert "all 120 test studies have the same score" in caplog.text


def test_one_class_is_evaluated_and_every_row_says_why_it_has_no_value(evaluated: Callable, tmp_path: Path) -> None:
    row = rows(evaluated(f"predictions={invented(tmp_path, y_true=0)}"))["test", "auroc"]
    assert row["value"] is None
    assert "one class only: 0 of 120 studies are positive" in row["reason"]


def test_a_column_of_the_file_can_make_groups_and_one_of_thousands_of_values_does_not(
    evaluated: Callable, tmp_path: Path
) -> None:
    path = invented(tmp_path, ward=["A", "B", "C"] * 60, visit=[f"V{n}" for n in range(180)])
    folder = evaluated(f"predictions={path}", "fairness.columns=[ward,visit]")
    groups = json.loads((folder / "groups.json").read_text())
    assert {row["group"]["value"] for row in groups if row["group"]["column"] == "ward"} == {"A", "B", "C"}
    of_visit = [row for row in groups if row["group"]["column"] == "visit" and row["metric"] == "auroc"]
    assert len(of_visit) <= 2
    with pytest.raises(InputError, match=r"fairness or readers: no column wrad in .*did you mean ward\?"):
        evaluated(f"predictions={path}", "fairness.columns=[wrad]")


def test_a_form_of_one_s_own_is_a_yaml(evaluated: Callable, tmp_path: Path) -> None:
    path = invented(tmp_path)
    pd.read_csv(path).rename(columns={"y_score": "prob", "patient_id": "subject"}).to_csv(path, index=False)
    (tmp_path / "mine/form").mkdir(parents=True)
    (tmp_path / "mine/form/theirs.yaml").write_text(
        "# @package _global_\ncolumns: {y_score: prob, patient_id: subject}\nname: theirs\n"
    )
    line = [
        sys.executable, "-m", "midrc_ml.evaluate", "--config-dir", "mine", "task=icu", "form=theirs",
        "predictions=scores.csv", "tracking=none", FEW,
    ]  # fmt: skip
    result = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "logs/icu/evaluated").iterdir()
    assert OmegaConf.load(folder / "config.yaml").columns.y_score == "prob"
    assert "- model: theirs" in (folder / "report.md").read_text()


def test_recalibration_is_fitted_on_validation_and_keeps_what_was_given(evaluated: Callable, tmp_path: Path) -> None:
    path = invented(tmp_path)
    folder = evaluated(f"predictions={path}", "evaluation.recalibration=platt")
    table = pd.read_parquet(folder / "predictions.parquet").set_index("study_id")
    given = pd.read_csv(path).set_index("study_id")["y_score"]
    assert table["raw_score"].to_dict() == given.to_dict()
    assert not np.allclose(table["y_score"], table["raw_score"])
    with pytest.raises(InputError, match="is fitted to the probabilities of a validation part"):
        evaluated(f"predictions={invented(tmp_path, parts=False)}", "evaluation.recalibration=platt")


def test_every_task_can_be_composed_without_a_cohort(checkout: Path) -> None:
    from hydra import compose, initialize_config_dir

    from midrc_ml.config import instantiated, register, shipped_folder

    register()
    with initialize_config_dir(str(shipped_folder("configs")), version_base="1.3"):
        for path in sorted((checkout / "configs/task").glob("*.yaml")):
            config = compose("evaluate", overrides=[f"task={path.stem}"])
            assert instantiated(OmegaConf.masked_copy(config, ["task"]))["task"].name == path.stem


def test_melody_s_scores_of_several_models_are_offered(evaluated: Callable, midrc_ml_data: Path) -> None:
    data = midrc_ml_data / "melody"
    with pytest.raises(InputError, match=r"all in turn: -m columns\.y_score=ai_model_1,ai_model_2,ai_model_3"):
        evaluated(
            "task=mrale", "form=melody", f"predictions={data}/demo_scores.csv",
            f"truth={data}/demo_truthNdemographics.csv",
        )  # fmt: skip


# Cohen et al., arXiv 2005.11856: MAE and SD as printed, two decimals; the output scaling is theirs.
RALO = [
    ("geographic_extent", "covid-net-sev", "geographic", "1", "0", 1.52, 1.03),
    ("geographic_extent", "covidnet-s", "geographic", "1", "0", 2.27, 1.33),
    ("geographic_extent", "bsnet-singlemodel", "brixia", "8/18", "0", 1.10, 0.82),
    ("geographic_extent", "pxs-stonybrook", "pxs", "6/18", "0", 1.60, 1.00),
    ("opacity", "covid-net-sev", "opacity", "1", "0", 1.23, 0.90),
    ("opacity", "covidnet-s", "opacity", "1", "0", 1.37, 0.98),
    ("opacity", "bsnet-singlemodel", "brixia", "0.31", "0.15", 1.00, 0.65),
    ("opacity", "pxs-stonybrook", "pxs", "6/18", "0", 1.11, 0.81),
]


@pytest.fixture(scope="session")
def ralo_splits(midrc_ml_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published split, for both targets, as `describe` writes it."""
    base = tmp_path_factory.mktemp("ralo")
    for name in ("geographic_extent", "opacity"):
        line = [
            sys.executable, "-m", "midrc_ml.describe", f"task={name}", "cohort=ralo", f"hydra.run.dir={base}/{name}",
            f"paths.data_dir={midrc_ml_data}",
        ]  # fmt: skip
        subprocess.run(line, check=True, capture_output=True, timeout=240)
    return base


@pytest.mark.parametrize(("task", "file", "column", "slope", "intercept", "error", "spread"), RALO)
def test_ralo_s_published_values_come_out_of_the_stored_predictions(
    task: str, file: str, column: str, slope: str, intercept: str, error: float, spread: float,
    evaluated: Callable, ralo_splits: Path, midrc_ml_data: Path,
) -> None:  # fmt: skip
    folder = evaluated(
        f"task={task}", f"predictions={midrc_ml_data}/ralo/predictions/{file}.csv", "columns.study_id=fname",
        f"columns.y_score={column}", r"study_id_pattern='(\d+)\.jpg'", f"scale.slope={slope}",
        f"scale.intercept={intercept}", f"manifest={ralo_splits}/{task}",
    )  # fmt: skip
    found = rows(folder)
    assert found["test", "mae"]["n"] == 495
    assert round(found["test", "mae"]["value"], 2) == error
    assert round(found["test", "mae_sd"]["value"], 2) == spread
    assert pd.read_parquet(folder / "predictions.parquet").query("part == 'test'")["patient_id"].nunique() == 105
    assert "RALO radiographs" in (folder / "report.md").read_text()
    beside = {(row["comparison"], row["metric"]): row for row in json.loads((folder / "agreement.json").read_text())}
    assert beside["model against label", "mae"]["value"] == pytest.approx(found["test", "mae"]["value"], abs=1e-12)
    assert beside["reader against reader", "mae"]["value"] < beside["model against reader", "mae"]["value"]


def test_a_run_that_is_evaluated_again_has_the_same_numbers(evaluated: Callable, tracked_run: Path) -> None:
    folder = evaluated(f"predictions={tracked_run}")
    expected = rows(tracked_run)
    assert {key: row["value"] for key, row in rows(folder).items()} == {
        key: row["value"] for key, row in expected.items()
    }
    assert rows(folder)["test", "auroc"] == expected["test", "auroc"]
    assert "Synthetic data" in (folder / "report.html").read_text()


def test_predictions_of_another_task_are_refused(evaluated: Callable, tracked_run: Path) -> None:
    with pytest.raises(InputError, match="files of different tasks"):
        evaluated("task=covid", f"predictions={tracked_run}")


def with_readers(folder: Path, second: object = None) -> Path:
    """60 studies that two readers scored, and a model that gives their mean and a little."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 25, 60)
    other = np.clip(first + rng.integers(-2, 3, 60), 0, 24)
    table = pd.DataFrame({"study_id": [f"s{n}" for n in range(60)], "y_true": (first + other) / 2, "r1": first})
    table = table.assign(r2=other if second is None else second, y_score=table["y_true"] + 0.3)
    table.to_csv(folder / "readers.csv", index=False)
    return folder / "readers.csv"


def test_readers_stand_beside_the_model_in_the_report(evaluated: Callable, tmp_path: Path) -> None:
    folder = evaluated("task=mrale", f"predictions={with_readers(tmp_path)}", "readers=[r1,r2]",
                       "columns.patient_id=study_id", "evaluation.num_draws=100")  # fmt: skip
    found = {(row["comparison"], row["metric"]): row for row in json.loads((folder / "agreement.json").read_text())}
    assert found["model against reader", "mae"]["value"] < found["reader against reader", "mae"]["value"]
    assert "Readers and model, test part" in (folder / "report.md").read_text()
    assert "model against reader, minus reader against reader" in (folder / "report.html").read_text()


def test_readers_without_studies_in_common_are_said(evaluated: Callable, tmp_path: Path) -> None:
    folder = evaluated("task=mrale", f"predictions={with_readers(tmp_path, '')}", "readers=[r1,r2]",
                       "columns.patient_id=study_id", "evaluation.num_draws=100")  # fmt: skip
    assert not (folder / "agreement.json").exists()
    assert "readers: no two of r1, r2 read 10 studies in common" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("readers", "second", "said"),
    [
        ("[r1]", None, r"readers is \['r1'\]; it must name at least two columns, each once"),
        ("[r1,r2]", "mild", "readers: column r2 holds something other than a number in 60 rows"),
        ("[r1,r9]", None, "r9"),
    ],
)
def test_readers_that_cannot_be_are_refused(
    readers: str, second: str | None, said: str, evaluated: Callable, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        evaluated("task=mrale", f"predictions={with_readers(tmp_path, second)}", f"readers={readers}",
                  "columns.patient_id=study_id")  # fmt: skip
