"""Two processes that speak by gloo train what one process trains."""

import multiprocessing
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from midrc_ml.datasets.augmentation import Augmentation
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.errors import InputError
from midrc_ml.images.cache import CachedImages
from midrc_ml.training.algorithms import GroupDro
from midrc_ml.training.loop import train
from midrc_ml.training.losses import Binary
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.predict import scores
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.seeds import seed_everything
from midrc_ml.training.settings import Compute, Training

SIZE, WORLD = 16, 2
CPU = Compute(device="cpu", precision="float32", num_threads=1)
LOSS = Monitor(name="loss", metric=None, lower_is_better=True)
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# 43 studies in batches of 8: the last batch has 3, of which one process sees 2 and the other 1.
SETTINGS = {
    "plain": Training(epochs=2, batch_size=8, lr=0.02, augmentation=Augmentation()),
    "all at once": Training(
        epochs=2, batch_size=8, lr=0.02, accumulate=2, ema=0.9, augmentation=Augmentation(mixup=0.4, noise=0.1)
    ),
    "a last batch of one study each": Training(epochs=2, batch_size=41, lr=0.02),
}


def studies(count: int) -> pd.DataFrame:
    rng = np.random.default_rng(count)
    label = (rng.random(count) < 0.4).astype(float)
    return pd.DataFrame(
        {
            "study_id": [f"s{i}" for i in range(count)],
            "label": label,
            "image": range(count),
            "sex": rng.choice(["F", "M"], count),
        }
    )


def dataset(count: int) -> StudyDataset:
    rows = studies(count)
    rng = np.random.default_rng(count + 1)
    pixels = rng.integers(80, 120, (count, SIZE, SIZE)).astype(np.uint8)
    pixels[rows["label"] == 1, 4:12, 4:12] += 40
    place = np.stack([np.zeros(count, int), np.arange(count)], axis=1)
    images = CachedImages(shards=[pixels], place=place, reasons=[None] * count, record_shape=(SIZE, SIZE))
    return StudyDataset(rows, images)


def network() -> nn.Module:
    seed_everything(0, 0)
    layers = [nn.Conv2d(1, 4, 3, stride=2), nn.GroupNorm(2, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(4, 1))


def trained(name: str, folder: Path, ranks: Ranks) -> dict[str, Any]:
    """The network's weights after training, the scores of all studies, and the epochs."""
    torch.set_num_threads(1)
    net = network()
    data = {"train": dataset(43), "validation": dataset(21)}
    session = GroupDro(by=["sex", "label"]).begin(studies(43), torch.device("cpu")) if name == "plain" else None
    epochs = train(
        net, data, Binary(), SETTINGS[name], CPU, LOSS, seed=3, folder=folder, algorithm=session, ranks=ranks
    )
    history = [
        {key: value for key, value in asdict(epoch).items() if key in ("train_loss", "validation_loss", "best_epoch")}
        for epoch in epochs
    ]
    device = torch.device("cpu")
    score, _ = scores(net, data["validation"], Binary(), batch_size=4, device=device, dtype=None, ranks=ranks)
    return {"weights": net.state_dict(), "score": score, "history": history}


def one_of_two(rank: int, port: int, folder: Path) -> None:
    ranks = Ranks(rank=rank, world=WORLD, local_rank=rank)
    import os

    for name, value in zip(VARIABLES, (rank, WORLD, rank, "127.0.0.1", port), strict=True):
        os.environ[name] = str(value)
    assert Ranks.of_environment() == ranks
    ranks.join("cpu")
    assert ranks.share("of the first" if ranks.is_first else None) == "of the first"
    for name in SETTINGS:
        torch.save(trained(name, folder / name, ranks), folder / f"{name}-{rank}.pt")
    ranks.leave()
    # One that is left behind may touch a tensor when Python is gone, and the process is aborted: "terminate called".
    threads = {name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")}
    assert not {name for name in threads if "gloo" in name or "tcpstore" in name}


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=one_of_two, args=(rank, port, tmp_path)) for rank in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    for name in SETTINGS:
        alone = trained(name, tmp_path / f"{name} alone", Ranks())
        both = [torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=False) for rank in range(WORLD)]
        for found in both:
            for key, value in alone["weights"].items():
                assert torch.allclose(found["weights"][key], value, atol=1e-5, rtol=0), (name, key)
            np.testing.assert_allclose(found["score"], alone["score"], atol=1e-5)
            for got, expected in zip(found["history"], alone["history"], strict=True):
                assert got == pytest.approx(expected, abs=1e-5), name
        assert all(torch.equal(both[0]["weights"][key], both[1]["weights"][key]) for key in alone["weights"])


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")  # a cluster's own variable starts nothing by itself
    ranks = Ranks.of_environment()
    assert ranks == Ranks(rank=0, world=1, local_rank=0)
    assert ranks.is_first
    assert ranks.share("x") == "x"
    assert ranks.gather("x") == ["x"]
    assert torch.equal(ranks.total(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))


def test_variables_that_are_no_numbers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "one")
    with pytest.raises(InputError, match=r"RANK=one.*start with torchrun, or unset them"):
        Ranks.of_environment()


def test_a_gpu_by_number_is_refused_for_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InputError, match=r"compute.device is cuda:1, but each process of torchrun takes a GPU"):
        Compute(device="cuda:1").torch_device(Ranks(rank=1, world=2, local_rank=1))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"more processes here than the 1 GPUs.*--nproc-per-node=1"):
        Compute(device="cuda").torch_device(Ranks(rank=1, world=2, local_rank=1))
    assert Compute(device="cuda").torch_device(Ranks(rank=0, world=2, local_rank=0)) == torch.device("cuda", 0)
