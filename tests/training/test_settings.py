"""Settings that cannot work are refused at once, before anything is read or decoded."""

from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from midrc_ml.audits.settings import Audit
from midrc_ml.errors import InputError
from midrc_ml.evaluation.evaluate import Fairness
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.images.ct_recipe import CtRecipe
from midrc_ml.images.recipe import Recipe
from midrc_ml.models.clinical import mlp
from midrc_ml.models.image import densenet121
from midrc_ml.pipeline import train_and_evaluate
from midrc_ml.tasks.flags import flag
from midrc_ml.tasks.task import Task
from midrc_ml.train import _train_along
from midrc_ml.training.algorithms import Balanced
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Training


def task_of(kind: Literal["binary", "regression"]) -> Task:
    label = partial(flag, column="icu_ever")
    return Task(
        name="icu",
        version=1,
        question="?",
        source="test",
        kind=kind,
        label=label,
        metrics={"auroc": auroc},
        needs=["cases"],
    )


class Unread:
    def read(self) -> None:
        raise AssertionError("the cohort was read")


def start(tmp_path: Path, **settings: Any) -> None:
    rest = ("split", "algorithm", "evaluation", "tracking")
    given: dict[str, Any] = {
        **dict.fromkeys(rest),
        "cohort": Unread(),
        "task": task_of("binary"),
        "images": Recipe(),
        "clinical": None,
        "fairness": Fairness(),
        "audit": Audit(),
        "model": partial(densenet121),
        "training": Training(),
        "compute": Compute(device="cpu"),
        "ranks": Ranks(),
        "seed": 0,
        "paths": {},
        "output_dir": tmp_path / "run",
        "params": {},
        **settings,
    }
    train_and_evaluate(**given)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"training": Training(loss="mse")}, "training.loss is 'mse'; for task=icu, which is of kind binary"),
        ({"model": partial(mlp)}, "it reads a clinical table, and clinical=none gives none"),
        ({"training": Training(class_weight="balanced"), "algorithm": Balanced()}, "a rare class would count twice"),
        ({"task": task_of("regression"), "algorithm": Balanced()}, "the label of this task is a quantity"),
        ({"images": CtRecipe()}, "images=... is for CT, but task=icu selects CR and DX"),
        ({"training": Training(monitor="mae")}, "training.monitor is 'mae'"),
        ({"compute": Compute(device="cuda")}, "torch finds no GPU here"),
        ({"compute": Compute(device="cpu", num_workers=2, resident=True)}, "compute.resident is true, but"),
        (
            {"training": Training(transform=dict), "compute": Compute(device="cpu", resident=True)},
            "compute.resident is true, but",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_read(
    settings: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=words):
        start(tmp_path, **settings)
    assert not (tmp_path / "run").exists()
    with pytest.raises(AssertionError, match="was read"):  # that it goes so far where they do fit
        start(tmp_path)


def test_compilation_without_a_compiler_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no C\\+\\+ compiler is here"):
        start(tmp_path, compute=Compute(device="cpu", compile=True))


def test_a_gpu_that_is_not_there_is_refused_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Compute(device="cuda:1").torch_device() == torch.device("cuda", 1)
    with pytest.raises(InputError, match=r"compute\.device is cuda:9, but torch finds 2 GPUs here"):
        Compute(device="cuda:9").torch_device()


@pytest.mark.parametrize("warmup", [1.0, 5.0, 500.0])
def test_a_warm_up_in_steps_is_refused(warmup: float) -> None:
    with pytest.raises(InputError, match="it is a share of all steps, and must be below 1"):
        Training(warmup=warmup)


def test_a_deterministic_run_leaves_the_next_one_of_its_process_as_it_is() -> None:
    Compute(device="cpu", deterministic=True).prepared_device(Ranks())
    assert torch.are_deterministic_algorithms_enabled()
    Compute(device="cpu").prepared_device(Ranks())
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_process_of_torchrun_says_its_own_error_where_the_first_has_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("midrc_ml.train.time.sleep", waited.append)
    with pytest.raises(SystemExit):
        _train_along(["task=icu", "compute.device=gpu"], Ranks(1, 2))
    assert waited == [60]
    said = capsys.readouterr().err
    assert said.startswith("error: process 1 on ")
    assert said.count("\n") == 1
    assert "compute.device is 'gpu'" in said
