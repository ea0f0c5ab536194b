"""Every YAML in every group composes and makes its objects; mistakes are explained."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from midrc_ml.config import flat, instantiated, register, shareable_params, shipped_folder

CONFIGS = shipped_folder("configs")
# Not of train, or parts of another group.
APART = {"hydra", "metrics", "discharge", "breathing_support", "selection", "form", "power"}
CHOICES = [
    f"{group.name}={path.stem}"
    for group in sorted(CONFIGS.iterdir())
    if group.is_dir() and group.name not in APART
    for path in sorted(group.glob("*.yaml"))
]
TASKS = sorted(path.stem for path in (CONFIGS / "task").glob("*.yaml"))


def composed(*overrides: str, name: str = "train") -> DictConfig:
    register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(name, overrides=list(overrides))


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_makes_its_objects(choice: str) -> None:
    overrides = [choice] if choice.startswith("task=") else ["task=icu", choice]
    made = instantiated(composed(*overrides))
    group = choice.split("=")[0]
    assert (made[group] is None) == (choice in ("clinical=none", "images=none"))


@pytest.mark.parametrize("form", sorted(path.stem for path in (CONFIGS / "form").glob("*.yaml")))
def test_every_form_of_predictions_composes_with_every_kind_of_task(form: str) -> None:
    for task in ("icu", "mrale", "pneumonia_class", "time_to_icu"):
        config = composed(f"task={task}", f"form={form}", name="evaluate")
        assert {"study_id", "patient_id", "y_true", "y_score"} <= set(config.columns)


@pytest.mark.parametrize(
    "choice",
    [
        choice
        for choice in CHOICES
        if choice.split("=")[0] in ("algorithm", "clinical", "compute", "images", "training")
        and not choice.endswith("=none")
    ],
)
def test_every_setting_of_a_class_stands_in_its_yaml_so_that_it_can_be_given(choice: str) -> None:
    group = choice.split("=")[0]
    config = composed("task=icu", choice)
    made = instantiated(config)[group]
    assert {field.name for field in fields(made)} == set(config[group]) - {"_target_"}
    if group == "training" and made.augmentation is not None:
        augmentation = {field.name for field in fields(made.augmentation)}
        assert augmentation == set(config.training.augmentation) - {"_target_"}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_says_its_version_question_and_source(name: str) -> None:
    task = instantiated(composed(f"task={name}"))["task"]
    assert task.name == name
    assert task.version >= 1
    assert task.question.endswith("?")
    assert task.source
    assert task.metrics


def test_the_demo_chooses_small_images_and_a_short_training_unless_told_otherwise() -> None:
    assert composed("task=icu").images.size == 64
    assert composed("task=icu").training.epochs < composed("task=icu", "cohort=midrc").training.epochs
    assert composed("task=icu", "cohort=midrc").images.size == 224
    assert composed("task=icu", "images=cxr_224").images.size == 224
    assert composed("task=icu", "images.size=128").images.size == 128
    assert composed("task=opacity", "cohort=ralo").split._target_.endswith("PublishedTest")


def test_two_starts_in_one_second_get_two_folders(tmp_path: Path) -> None:
    """Both end at once, because no root is given; each has made its folder by then."""
    line = [sys.executable, "-m", "midrc_ml.train", "task=icu", "cohort=midrc", f"paths.log_dir={tmp_path}"]
    started = [subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in started] == [2, 2]
    folders = sorted((tmp_path / "icu/runs").iterdir())
    assert len(folders) == 2
    assert all((folder / "status.json").is_file() for folder in folders)


@pytest.mark.parametrize("arguments", [["--help"], ["task=icu", "--cfg", "job"]])
def test_help_and_config_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """What keeps them under a second; tests/speed prints the time."""
    code = (
        "import sys; from midrc_ml.train import main; sys.argv = ['train', *sys.argv[1:]]\n"
        "try: main()\n"
        "finally: print([name for name in ('torch', 'monai', 'mlflow', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("[]"), result.stdout + result.stderr


def test_help_lists_the_choices_of_every_group(command: Callable, tmp_path: Path) -> None:
    result = command("--help", cwd=tmp_path)
    assert result.returncode == 0
    cohorts = sorted(path.stem for path in (CONFIGS / "cohort").glob("*.yaml"))
    assert f"cohort: {', '.join(cohorts)}" in result.stdout
    assert f"task: {', '.join(TASKS)}" in result.stdout
    assert "resume=logs/icu/runs" in result.stdout


def test_params_for_a_tracker_hold_no_path_of_this_machine_and_no_password(tmp_path: Path) -> None:
    places = (f"cohort.root={tmp_path}", f"paths.log_dir={tmp_path}/logs", "tracking.uri=https://bob:secret@server")
    params = shareable_params(composed("task=icu", "cohort=midrc", *places))
    assert not any(word in str(value) for value in params.values() for word in (str(tmp_path), "secret"))
    assert params["training.lr"] == 3e-4
    assert params["task.label.horizon_days"] == 14


def test_flat_keys_are_dotted() -> None:
    assert flat({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}) == {"a.b": 1, "a.c.d": [1, 2], "e": None}


def test_own_configs_are_added_from_a_folder(command: Callable, tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    text = (
        (CONFIGS / "task/icu.yaml")
        .read_text()
        .replace("name: icu", "name: mine")
        .replace("horizon_days: 14", "horizon_days: 3")
    )
    (tmp_path / "task/mine.yaml").write_text(text)
    result = command("--config-dir", str(tmp_path), "task=mine", "--cfg", "job", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "horizon_days: 3" in result.stdout


@pytest.mark.slow
def test_a_metric_of_ones_own_is_scored(small_run: Callable[..., Path], tmp_path: Path) -> None:
    import json

    mine = ("+task.metrics.log_loss._target_=sklearn.metrics.log_loss", "+task.metrics.log_loss._partial_=true")
    folder = small_run(tmp_path, "tracking=none", "training.epochs=1", "fairness.columns=[]", *mine)
    rows = json.loads((folder / "metrics.json").read_text())
    (row,) = [row for row in rows if row["metric"] == "log_loss" and row["part"] == "test"]
    assert 0 < row["low"] <= row["value"] <= row["high"]


def test_flags_may_stand_anywhere_as_the_readme_writes_them(command: Callable, tmp_path: Path) -> None:
    result = command("task=icu", "--cfg", "job", "training.epochs=7", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "epochs: 7" in result.stdout


def test_a_sweep_runs_every_job_and_says_that_one_failed(command: Callable, tmp_path: Path) -> None:
    result = command("-m", "task=icu,icu_ever", "cohort=midrc", f"paths.log_dir={tmp_path}", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.count("but cohort.root is not set") == 2  # once for each
    assert "error: not every run of the sweep ended well" in result.stderr
    assert [len(list(tmp_path.glob(f"multiruns/*/{job}/status.json"))) for job in ("icu/0", "icu_ever/1")] == [1, 1]


def test_what_describe_assumes_of_a_model_composes() -> None:
    config = composed("task=icu", "power.auroc=0.75", name="describe")
    made = instantiated(OmegaConf.masked_copy(config, ["power"]))["power"]
    assert (made.auroc, made.patient_correlation) == (0.75, 0.5)
