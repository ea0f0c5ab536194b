"""How fast DenseNet-121 trains at 224, the whole program, beside plain MONAI programs and beside its bare step.

python tests/speed/training.py [NUMBER OF FILMS]

On a CPU: films of 7.5 Mpx as JPEG lossless DICOM. Peer P1: MONAI `Dataset`, `LoadImaged(PydicomReader)`, `Resized`,
`RandAffined`, `DataLoader` with 2 workers, fp32. P2: the same with `CacheDataset`. Ours: `train` from the image cache.
An epoch each, in turns, after a first; medians. Bare: our network stepping on one random batch, which is the limit.
On a GPU: ours with batches of 256, eager and compiled, against the same bare step; no peers, which would only decode.
Data wait is what the run's own meter says.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from prepare import FORMS, drawn, write

from midrc_ml.datasets.augmentation import Augmentation
from midrc_ml.datasets.resident import on_device
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.images.cache import ImageCache
from midrc_ml.images.recipe import Recipe
from midrc_ml.models.image import densenet121
from midrc_ml.training.algorithms import Erm
from midrc_ml.training.batches import Batch
from midrc_ml.training.loop import train
from midrc_ml.training.losses import Binary
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Training
from midrc_ml.training.steps import Stepper

SIZE, TURNS = 224, 3
# Images/s of DenseNet-121 in training, bf16, were each layer's input and output moved once over 4.3 TB/s (H200).
BANDWIDTH_BOUND = 8000
LOSS = Monitor(name="loss", metric=None, lower_is_better=True)


def films(folder: Path, count: int) -> list[str]:
    syntax, encode, _ = FORMS["JPEG lossless"]
    files = [folder / f"{number}.dcm" for number in range(count)]
    for number, path in enumerate(files):
        write(drawn(number), syntax, encode, path)
    return [str(path) for path in files]


def monai_program(files: list[str], batch: int, *, keeps: bool) -> Iterator[float]:
    """Images/s of each epoch of P1, or of P2, which keeps what it has decoded."""
    from monai.data import CacheDataset, DataLoader, Dataset, PydicomReader
    from monai.transforms import Compose, LoadImaged, RandAffined, Resized, ScaleIntensityd

    steps = [
        LoadImaged(["image"], reader=PydicomReader(), ensure_channel_first=True),
        Resized(["image"], spatial_size=(SIZE, SIZE), mode="area"),
        ScaleIntensityd(["image"]),
        RandAffined(
            ["image"], prob=1.0, rotate_range=0.12, translate_range=11, scale_range=0.08, padding_mode="border"
        ),
    ]
    items = [{"image": file, "label": np.float32(number % 2)} for number, file in enumerate(files)]
    dataset = CacheDataset(items, Compose(steps), progress=False) if keeps else Dataset(items, Compose(steps))
    network = densenet121(num_outputs=1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    loader = DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=2)
    network.train()
    while True:
        started = time.perf_counter()
        for shown in loader:
            loss = nn.functional.binary_cross_entropy_with_logits(network(shown["image"])[:, 0], shown["label"].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield len(files) / (time.perf_counter() - started)


def ours(files: list[str], folder: Path, batch: int, compute: Compute, repeat: int) -> Iterator[Any]:
    """Each epoch of the loop. repeat: how often each film stands for a study."""
    recipe = Recipe(size=SIZE)
    device = compute.prepared_device(Ranks())
    cached = ImageCache(cache_dir=str(folder), recipe=recipe).load(files, num_processes=2)
    count = len(files) * repeat
    images = on_device(cached, range(len(files)), device, wanted=compute.resident)
    rows = pd.DataFrame(
        {"study_id": range(count), "label": np.arange(count) % 2.0, "image": np.arange(count) % len(files)}
    )
    data = {"train": StudyDataset(rows, images), "validation": StudyDataset(rows[: len(files)], images)}
    network = densenet121(num_outputs=1).to(device)
    settings = Training(epochs=2 + TURNS, batch_size=batch, augmentation=Augmentation())
    with tempfile.TemporaryDirectory() as checkpoints:
        yield from train(network, data, Binary(), settings, compute, LOSS, seed=0, folder=Path(checkpoints))


def bare(batch: int, compute: Compute, steps: int) -> Iterator[float]:
    """Images/s of the network stepping on one batch, each time over some steps."""
    device = compute.prepared_device(Ranks())
    network = densenet121(num_outputs=1).to(device).train()
    session = Erm().begin(pd.DataFrame(index=range(batch)), device)
    stepper = Stepper(network, Binary(), Training(batch_size=batch), compute, session, Ranks())
    images = torch.randn(batch, 1, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    labels = (torch.arange(batch, device=device) % 2).float()
    shown = Batch((images,), labels, torch.arange(batch), batch)
    while True:
        started = time.perf_counter()
        for _ in range(steps):
            total = stepper.step([shown], batch, 1e-4)
        float(total)
        yield batch * steps / (time.perf_counter() - started)


def in_turns(programs: list[Iterator[Any]]) -> list[list[Any]]:
    """What each says in `TURNS` turns after a first, in turns with the others: a busy machine is one for all."""
    for program in programs:
        next(program)
    turns = [[next(program) for program in programs] for _ in range(TURNS)]
    return [list(of_one) for of_one in zip(*turns, strict=True)]


def on_gpu(files: list[str], folder: Path) -> None:
    print(torch.cuda.get_device_name())
    for is_compiled, resident in ((False, True), (False, False), (True, True)):
        compute = Compute(compile=is_compiled, resident=resident)
        repeat = max(1, 25_600 // len(files))
        epochs, limits = in_turns([ours(files, folder, 256, compute, repeat), bare(256, compute, 50)])
        rate, limit = median(epoch.images_per_second for epoch in epochs), median(limits)
        how = f"{'compiled' if is_compiled else 'eager'}, {'resident' if resident else 'from the cache'}"
        print(
            f"{how}: {rate:,.0f} images/s, {rate / limit:.3f} of the bare step ({limit:,.0f}; goal 0.95), "
            f"{100 * rate / BANDWIDTH_BOUND:.0f} % of the bandwidth bound, "
            f"data wait {100 * median(epoch.data_wait for epoch in epochs):.2f} %, {epochs[-1].memory_gb:.1f} GB"
        )


def main() -> None:
    """Print the numbers of this machine."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    with tempfile.TemporaryDirectory() as name:
        files = films(Path(name), count)
        if torch.cuda.is_available():
            on_gpu(files, Path(name))
            return
        compute = Compute(device="cpu")
        epochs, *others = in_turns(
            [
                ours(files, Path(name), 16, compute, repeat=2),
                bare(16, compute, 4),
                monai_program(files, 16, keeps=False),
                monai_program(files, 16, keeps=True),
            ]
        )
        rate, limit, p1, p2 = (median(rates) for rates in ([epoch.images_per_second for epoch in epochs], *others))
        print(f"ours {rate:.1f} images/s, {100 * rate / limit:.0f} % of the bare step ({limit:.1f}; goal 85 %)")
        print(f"data wait {100 * median(epoch.data_wait for epoch in epochs):.2f} % (goal under 3 %)")
        for peer, theirs, goal in (("P1 Dataset", p1, 5), ("P2 CacheDataset", p2, 2)):
            ceiling = f"the bare step alone is {limit / theirs:.1f} times"
            print(f"{peer} {theirs:.1f} images/s: ours {rate / theirs:.1f} times (goal {goal}; {ceiling})")


if __name__ == "__main__":
    main()
