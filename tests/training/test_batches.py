"""What the network is shown does not depend on who makes the batches."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from monai.transforms import CastToTyped, Compose, RandAffined, RandGaussianNoised
from torch import nn

from midrc_ml.datasets.augmentation import Augmentation
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.images.cache import CachedImages
from midrc_ml.training.batches import Batch, EpochBatches
from midrc_ml.training.loop import train
from midrc_ml.training.losses import Binary
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Monitor, Training

CPU = torch.device("cpu")
COUNT = 13


def dataset(transform: Compose | None = None, *, table: bool = False) -> StudyDataset:
    pixels = np.random.default_rng(0).integers(0, 255, (COUNT, 8, 8)).astype(np.uint8)
    place = np.stack([np.zeros(COUNT, int), np.arange(COUNT)], axis=1)
    images = CachedImages(shards=[pixels], place=place, reasons=[None] * COUNT, record_shape=(8, 8))
    rows = pd.DataFrame({"study_id": range(COUNT), "label": np.arange(COUNT) % 2.0, "image": range(COUNT)})
    features = np.arange(COUNT * 3, dtype=np.float32).reshape(COUNT, 3) if table else None
    return StudyDataset(rows, images, transform, features)


def random_by_monai() -> Compose:
    keys = ["image"]
    return Compose(
        [
            CastToTyped(keys, dtype=np.float32),
            RandAffined(keys, prob=1.0, rotate_range=0.3, padding_mode="border"),
            RandGaussianNoised(keys, prob=0.5, std=5.0),
        ]
    )


def shown(data: StudyDataset, settings: Training, *, order: list[int], workers: int = 0) -> dict[int, torch.Tensor]:
    """{row: what the network sees of it}."""
    augmentation = settings.augmentation
    drawn = torch.Generator().manual_seed(1)
    draws = augmentation.draws(COUNT, drawn) if augmentation else None
    mixtures = augmentation.mixtures(COUNT, drawn) if augmentation else None
    batches = EpochBatches(data, settings, draws, mixtures, CPU, num_workers=workers).batches(torch.tensor(order))
    return {int(row): image for batch in batches for row, image in zip(batch.rows, batch.inputs[0], strict=True)}


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_study_is_shown_alike_in_any_order_and_batch(mixup: float) -> None:
    forward, backward = list(range(COUNT)), list(range(COUNT))[::-1]
    augmentation = Augmentation(mixup=mixup, noise=0.2, crop=0.2)
    one = shown(dataset(), Training(batch_size=4, augmentation=augmentation), order=forward)
    other = shown(dataset(), Training(batch_size=5, augmentation=augmentation), order=backward)
    assert one.keys() == other.keys() == set(forward)
    assert all(torch.equal(one[row], other[row]) for row in one)


def test_monais_own_transforms_do_not_depend_on_order_or_workers() -> None:
    data = dataset(random_by_monai())
    data.seeds = (3, 1)
    plain = shown(data, Training(batch_size=4), order=list(range(COUNT)))
    with_workers = shown(data, Training(batch_size=5), order=list(range(COUNT))[::-1], workers=2)
    assert all(torch.equal(plain[row], with_workers[row]) for row in plain)
    data.seeds = (3, 2)  # another epoch
    again = shown(data, Training(batch_size=4), order=list(range(COUNT)))
    assert not any(torch.equal(plain[row], again[row]) for row in plain)
    untouched = shown(dataset(), Training(batch_size=4), order=list(range(COUNT)))
    assert not any(torch.equal(plain[row], untouched[row]) for row in plain)


def test_mixup_takes_pairs_of_the_whole_epoch_and_their_labels() -> None:
    data = dataset(table=True)
    settings = Training(batch_size=4, augmentation=Augmentation(mixup=0.4))
    partner, share = torch.arange(COUNT).roll(1), torch.linspace(0.5, 1, COUNT)
    batches = EpochBatches(data, settings, None, (partner, share), CPU).batches(torch.arange(COUNT))
    first: Batch = next(iter(batches))
    assert first.others is not None
    assert torch.equal(first.others, data.labels[partner[:4]])
    table = data.table
    assert table is not None
    expected = share[:4, None] * table[:4] + (1 - share[:4, None]) * table[partner[:4]]
    assert torch.allclose(first.inputs[1], expected)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_each_batch_and_none_sees_fewer_than_two(world: int) -> None:
    parts = [
        list(
            EpochBatches(dataset(), Training(batch_size=4), None, None, CPU, Ranks(rank, world)).batches(
                torch.arange(COUNT - 1)
            )
        )
        for rank in range(world)
    ]
    for number, batches in enumerate(zip(*parts, strict=True)):
        rows = sorted(int(row) for batch in batches for row in batch.rows)
        assert rows == list(range(4 * number, 4 * number + 4))
        assert all(batch.count == 4 and len(batch.inputs[0]) >= 2 for batch in batches)
        assert all(len(batch.labels) == len(batch.rows) for batch in batches)


def test_a_profile_is_written_of_a_few_steps(tmp_path: Path) -> None:
    data = dict.fromkeys(("train", "validation"), dataset())
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    watch = Monitor(name="loss", metric=None, lower_is_better=True)
    for name, size in (("many", 2), ("few", 13)):
        folder = tmp_path / name / "checkpoints"
        compute = Compute(device="cpu", profile=True)
        list(train(net, data, Binary(), Training(epochs=1, batch_size=size), compute, watch, seed=0, folder=folder))
        trace = json.loads((tmp_path / name / "profile/trace.json").read_text())
        assert any("addmm" in str(event.get("name")) for event in trace["traceEvents"])
        assert "aten::addmm" in (tmp_path / name / "profile/operators.txt").read_text()
