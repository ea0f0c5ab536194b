"""From labelled studies to a network: what is said on the way, where images live, what is refused before."""

import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from midrc_ml.datasets import resident
from midrc_ml.errors import InputError
from midrc_ml.images.cache import CachedImages
from midrc_ml.models.clinical import mlp
from midrc_ml.models.image import densenet121
from midrc_ml.tasks.task import Task
from midrc_ml.training.algorithms import Erm, GroupDro
from midrc_ml.training.fit import Fitted, Inputs, check_labels, check_model, fit
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Training

SIZE, COUNT = 8, 12
PARTS = np.repeat(["train", "validation", "test"], 4)
LOSS = Monitor(name="loss", metric=None, lower_is_better=True)


def tiny(*, num_outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, num_outputs))


def task(kind: str = "binary") -> Task:
    return cast(Task, SimpleNamespace(name="mine", kind=kind, classes=()))


def as_it_is(item: Any) -> Any:
    return item


def trained(folder: Path, *, monitor: Monitor = LOSS, rank: int = 0, **settings: Any) -> Fitted:
    pixels = np.random.default_rng(0).integers(0, 255, (COUNT, SIZE, SIZE)).astype(np.uint8)
    place = np.stack([np.zeros(COUNT, int), np.arange(COUNT)], axis=1)
    images = CachedImages(shards=[pixels], place=place, reasons=[None] * COUNT, record_shape=(SIZE, SIZE))
    names = [f"s{number}" for number in range(COUNT)]
    studies = pd.DataFrame({"study_id": names, "label": np.arange(COUNT) % 2, "image": range(COUNT), "part": PARTS})
    return fit(
        Inputs(studies=studies, images=images, image_shape=(1, SIZE, SIZE)),
        task=task(),
        model=tiny,
        training=Training(epochs=2, batch_size=2, transform=settings.pop("transform", None)),
        algorithm=Erm(),
        monitor=monitor,
        compute=Compute(device="cpu", precision="float32", **settings),
        seed=0,
        ranks=Ranks(rank=rank),
        checkpoints=folder,
        begun=lambda: None,
        seen=lambda epochs: None,
    )


@pytest.mark.parametrize(("values", "warnings"), [((math.nan, math.nan), 1), ((math.nan, 0.7), 1), ((0.5, 0.7), 0)])
def test_a_monitor_that_cannot_be_estimated_is_warned_of_once(
    values: tuple[float, float], warnings: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = iter(values)
    monitor = Monitor(name="auroc", metric=lambda y_true, y_score: next(left), lower_is_better=False)
    fitted = trained(tmp_path, monitor=monitor)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == warnings
    assert all("training.monitor=auroc cannot be estimated on the 4 validation studies" in words for words in said)
    assert fitted.history[-1]["best_epoch"] == (1 if math.isnan(values[1]) else 2)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, None),
        ({"resident": True}, True),
        ({"resident": False}, False),
        ({"num_workers": 1}, False),
        ({"transform": as_it_is}, False),
    ],
)
def test_images_stay_on_the_host_where_a_transform_or_workers_read_them(
    settings: dict[str, Any], wanted: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Exception):
        pass

    def asked(images: CachedImages, positions: np.ndarray, device: object, *, wanted: bool | None) -> None:
        raise Asked(wanted)

    monkeypatch.setattr(resident, "on_device", asked)
    with pytest.raises(Asked) as found:
        trained(tmp_path, **settings)
    assert found.value.args == (wanted,)


@pytest.mark.parametrize(
    ("kind", "label", "days", "words"),
    [
        ("ordinal", [3, 3, 0, 9], None, r"the training labels go from 3 to 3"),
        ("time_to_event", [0, 0, 1, 1], [5, 6, 7, 8], r"no event after the first day was seen in the training part"),
        ("time_to_event", [1, 0, 1, 1], [0, 6, 7, 8], r"no event after the first day was seen in the training part"),
    ],
)
def test_labels_of_which_nothing_can_be_learned_are_refused_by_the_training_part_alone(
    kind: str, label: list[int], days: list[int] | None, words: str
) -> None:
    studies = pd.DataFrame({"label": label, "part": ["train", "train", "validation", "test"]})
    if days is not None:
        studies["time"] = days
    with pytest.raises(InputError, match=words):
        check_labels(studies, task(kind), Training())
    others = {"train": "test", "test": "train", "validation": "train"}
    check_labels(studies.assign(part=studies["part"].map(others)), task(kind), Training())


@pytest.mark.slow
def test_such_labels_are_refused_before_an_image_is_decoded(
    small_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("images were decoded")

    monkeypatch.setattr("midrc_ml.training.losses._MOST_LEVELS", 2)
    monkeypatch.setattr("midrc_ml.pipeline.cached_images", decoded)
    with pytest.raises(InputError, match=r"task=mrale: the training labels go from"):
        small_run(tmp_path, "task=mrale", "tracking=none")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"model": partial(mlp), "has_table": True},
            r"model: it cannot take images .* and a table .*none where it",
        ),
        ({"model": partial(densenet121, dropout=2)}, r"model.dropout is 2"),
        ({"algorithm": GroupDro(by=["label"])}, r"all training studies are of one group"),
    ],
)
def test_what_the_first_step_would_refuse_is_refused_before_images_are_decoded(
    settings: dict[str, Any], words: str
) -> None:
    studies = pd.DataFrame({"label": [0.0, 0.0, 1.0, 1.0], "part": ["train", "train", "validation", "test"]})
    given: dict[str, Any] = {"model": tiny, "algorithm": Erm(), "image_shape": (1, SIZE, SIZE), "has_table": False}
    rest = {"device": torch.device("cpu"), "task": task(), "training": Training()}

    def check(**changed: Any) -> None:
        chosen = {**given, **changed}
        check_model(chosen.pop("model"), chosen.pop("algorithm"), studies, **rest, **chosen)

    check()
    with pytest.raises(InputError, match=words):
        check(**settings)
