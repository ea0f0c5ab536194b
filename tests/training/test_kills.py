"""Training that is killed thirty times, anywhere, ends as if it had never been."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from midrc_ml.datasets.augmentation import Augmentation
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.images.cache import CachedImages
from midrc_ml.training.loop import train
from midrc_ml.training.losses import Binary
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.seeds import seed_everything
from midrc_ml.training.settings import Compute, Training

EPOCHS, KILLS, MOST_SECONDS = 60, 30, 120
SETTINGS = Training(epochs=EPOCHS, patience=0, batch_size=8, lr=0.01, ema=0.9, augmentation=Augmentation(mixup=0.3))


def run(folder: Path) -> None:
    """Train from wherever `folder` stands to the end."""
    torch.set_num_threads(1)
    count = 96
    pixels = np.random.default_rng(0).integers(0, 255, (count, 32, 32)).astype(np.uint8)
    place = np.stack([np.zeros(count, int), np.arange(count)], axis=1)
    images = CachedImages(shards=[pixels], place=place, reasons=[None] * count, record_shape=(32, 32))
    rows = pd.DataFrame({"study_id": range(count), "label": np.arange(count) % 2.0, "image": range(count)})
    data = dict.fromkeys(("train", "validation"), StudyDataset(rows, images))
    seed_everything(1, 0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(900, 1)
    )
    watch = Monitor(name="loss", metric=None, lower_is_better=True)
    compute = Compute(device="cpu", precision="float32")
    list(train(net, data, Binary(), SETTINGS, compute, watch, seed=5, folder=folder))


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_thirty_kills_anywhere_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    straight = context.Process(target=run, args=(tmp_path / "straight",))
    straight.start()
    straight.join(MOST_SECONDS)
    assert straight.exitcode == 0

    rng = np.random.default_rng(7)
    forked = multiprocessing.get_context("fork")  # it has torch already: a kill then meets training, not an import
    killed, until = 0, time.monotonic() + MOST_SECONDS
    exitcode = None
    while exitcode != 0:
        assert time.monotonic() < until, f"{killed} kills"
        process = forked.Process(target=run, args=(tmp_path / "killed",))
        process.start()
        if killed < KILLS:
            process.join(rng.uniform(0.02, 0.6))
            if process.is_alive():
                os.kill(int(process.pid or 0), signal.SIGKILL)
                killed += 1
        process.join(MOST_SECONDS)
        exitcode = process.exitcode
        assert exitcode in (0, -signal.SIGKILL)
    assert killed == KILLS

    found, expected = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("killed", "straight"))
    assert len(found["history"]) == EPOCHS
    for name, value in expected["network"].items():
        assert torch.equal(found["network"][name], value), name
    for name, value in expected["averaged"]["network"].items():
        assert torch.equal(found["averaged"]["network"][name], value), name
    told = ("epoch", "train_loss", "validation_loss", "monitor", "best_epoch", "lr")
    for one, other in zip(found["history"], expected["history"], strict=True):
        assert [one[name] for name in told] == [other[name] for name in told]
    best = [torch.load(tmp_path / name / "best.pt", weights_only=True)["epoch"] for name in ("killed", "straight")]
    assert best[0] == best[1] == expected["history"][-1]["best_epoch"]
