"""What is said when a GPU runs out of memory: what was tried and fits."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.images.cache import CachedImages
from midrc_ml.training.loop import train
from midrc_ml.training.losses import Binary
from midrc_ml.training.memory import DoesNotFit, does_not_fit
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Training


class Large(nn.Module):
    """A network that fits for up to `most` studies."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 1)
        self.most = most
        self.tried: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.tried.append(len(images))
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB")
        return self.linear(images.flatten(1))


def run(most: int, folder: Path, **settings: int) -> Large:
    count = 100
    images = CachedImages(
        shards=[np.zeros((1, 4, 4), np.uint8)],
        place=np.zeros((count, 2), int),
        reasons=[None] * count,
        record_shape=(4, 4),
    )
    rows = pd.DataFrame({"study_id": range(count), "label": np.arange(count) % 2.0, "image": range(count)})
    data = dict.fromkeys(("train", "validation"), StudyDataset(rows, images))
    net = Large(most)
    watch = Monitor(name="loss", metric=None, lower_is_better=True)
    list(train(net, data, Binary(), Training(epochs=1, **settings), Compute(), watch, seed=0, folder=folder))
    return net


def test_the_message_names_a_batch_that_fits_and_the_accumulation(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit) as caught:
        run(12, tmp_path, batch_size=64, accumulate=2)
    assert "ran out of memory with training.batch_size=64; training.batch_size=8 training.accumulate=16 fits" in str(
        caught.value
    )
    assert run(12, tmp_path, batch_size=8, accumulate=16).tried[0] == 8  # as it was told


def test_where_nothing_fits_it_says_what_else_to_do(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match=r"not even 2 studies fit; choose smaller images"):
        run(1, tmp_path, batch_size=16)


def test_several_ranks_try_nothing_as_the_others_wait() -> None:
    tried: list[int] = []
    error = does_not_fit(
        Training(batch_size=256, accumulate=2), Ranks(1, 4), is_resident=True, find=lambda: tried.append(1)
    )
    assert str(error) == (
        "the GPU ran out of memory with training.batch_size=256, 64 studies on each of 4 GPUs; training.batch_size=128 "
        "training.accumulate=4 may fit, it was not tried: steps are over as many studies; compute.resident=false "
        "leaves it the room of the images"
    )
    assert not tried
