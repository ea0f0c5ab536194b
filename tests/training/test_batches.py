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
from midrc_ml.datasets.resident import on_device
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.images.cache import CachedImages
from midrc_ml.training.batches import Batch, EpochBatches, sizes
from midrc_ml.training.loop import train
from midrc_ml.training.losses import Binary
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Training

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


def shown(data: StudyDataset, settings: Training, *, order: list[int], workers: int = 0) -> list[torch.Tensor]:
    """What the network sees at each place of the epoch."""
    augmentation = settings.augmentation
    drawn = torch.Generator().manual_seed(1)
    draws = augmentation.draws(COUNT, drawn) if augmentation else None
    mixtures = augmentation.mixtures(COUNT, drawn) if augmentation else None
    made = EpochBatches(data, torch.tensor(order), settings, draws, mixtures, CPU, num_workers=workers)
    batches = list(made.batches())
    assert [int(row) for batch in batches for row in batch.rows] == order
    return [image for batch in batches for image in batch.inputs[0]]


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_study_is_shown_alike_in_any_batch(mixup: float) -> None:
    order = list(range(COUNT))[::-1]
    augmentation = Augmentation(mixup=mixup, noise=0.2, crop=0.2)
    one = shown(dataset(), Training(batch_size=4, augmentation=augmentation), order=order)
    other = shown(dataset(), Training(batch_size=5, augmentation=augmentation), order=order)
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("by_monai", [False, True])
def test_a_study_that_is_drawn_twice_is_shown_in_two_ways(by_monai: bool) -> None:
    data = dataset(random_by_monai() if by_monai else None)
    settings = Training(batch_size=4, augmentation=None if by_monai else Augmentation())
    images = shown(data, settings, order=[7] * COUNT)
    assert len({image.numpy().tobytes() for image in images}) == COUNT


def test_monais_own_transforms_do_not_depend_on_batches_or_workers() -> None:
    data = dataset(random_by_monai())
    data.seeds = (3, 1)
    order = list(range(COUNT))[::-1]
    plain = shown(data, Training(batch_size=4), order=order)
    with_workers = shown(data, Training(batch_size=5), order=order, workers=2)
    assert all(torch.equal(*pair) for pair in zip(plain, with_workers, strict=True))
    data.seeds = (3, 2)  # another epoch
    again = shown(data, Training(batch_size=4), order=order)
    assert not any(torch.equal(*pair) for pair in zip(plain, again, strict=True))
    untouched = shown(dataset(), Training(batch_size=4), order=order)
    assert not any(torch.equal(*pair) for pair in zip(plain, untouched, strict=True))


def test_workers_draw_nothing_from_the_numbers_of_the_network() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    shown(dataset(), Training(batch_size=4), order=list(range(COUNT)), workers=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("count", "batch_size", "expected"),
    [(1, 4, [1]), (4, 4, [4]), (5, 4, [5]), (6, 4, [4, 2]), (9, 4, [4, 5]), (65, 32, [32, 33]), (4, 1, [1, 1, 2])],
)
def test_a_last_batch_of_one_joins_the_one_before(count: int, batch_size: int, expected: list[int]) -> None:
    assert sizes(count, batch_size) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpu_that_is_busy_is_shown_the_right_studies(resident: bool) -> None:
    device = torch.device("cuda", 0)
    order = torch.arange(COUNT).repeat(40)
    here, there = dataset(), dataset()
    assert isinstance(there.images, CachedImages)
    there.images = on_device(there.images, range(COUNT), device, wanted=resident)
    settings = Training(batch_size=4)
    busy = torch.randn(4096, 4096, device=device)
    batches = EpochBatches(there, order, settings, None, None, device).batches()
    for batch, expected in zip(batches, EpochBatches(here, order, settings, None, None, CPU).batches(), strict=True):
        busy = busy @ busy / 64  # queued where the network is; batches are made beside it
        batch.wait()
        assert torch.equal(batch.inputs[0].cpu(), expected.inputs[0])


def test_mixup_takes_pairs_of_the_whole_epoch_and_their_labels() -> None:
    data = dataset(table=True)
    settings = Training(batch_size=4, augmentation=Augmentation(mixup=0.4))
    partner, share = torch.arange(COUNT).roll(1), torch.linspace(0.5, 1, COUNT)
    batches = EpochBatches(data, torch.arange(COUNT), settings, None, (partner, share), CPU).batches()
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
            EpochBatches(
                dataset(), torch.arange(COUNT - 1), Training(batch_size=4), None, None, CPU, Ranks(rank, world)
            ).batches()
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
