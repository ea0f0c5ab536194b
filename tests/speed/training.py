"""How fast DenseNet-121 trains at 224, the whole program, beside plain MONAI programs and beside its bare step.

python tests/speed/training.py [NUMBER OF FILMS]

On a CPU: films of 7.5 Mpx as JPEG lossless DICOM. Peer P1: MONAI `Dataset`, `LoadImaged(PydicomReader)`, `Resized`,
`RandAffined`, `DataLoader` with 2 workers, fp32. P2: the same with `CacheDataset`, after its first epoch. Ours: `train`
from the image cache, its second epoch. Bare: our network stepping on one resident random batch, which is the limit.
On a GPU: ours with batches of 256, eager and compiled, against the same bare step; no peers, which would only decode.
Data wait is what the run's own meter says.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
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
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Monitor, Training
from midrc_ml.training.steps import Stepper

SIZE = 224
# Images/s of DenseNet-121 in training, bf16, were each layer's input and output moved once over 4.3 TB/s (H200).
BANDWIDTH_BOUND = 8000
LOSS = Monitor(name="loss", metric=None, lower_is_better=True)


def films(folder: Path, count: int) -> list[str]:
    syntax, encode, _ = FORMS["JPEG lossless"]
    files = [folder / f"{number}.dcm" for number in range(count)]
    for number, path in enumerate(files):
        write(drawn(number), syntax, encode, path)
    return [str(path) for path in files]


def monai_programs(files: list[str], batch: int) -> Iterator[tuple[str, float]]:
    """Images/s of P1 and P2."""
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
    for name, dataset in (
        ("P1 Dataset", Dataset(items, Compose(steps))),
        ("P2 CacheDataset", CacheDataset(items, Compose(steps), progress=False)),
    ):
        network = densenet121(num_outputs=1)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
        loader = DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=2)
        network.train()
        started = time.perf_counter()
        for shown in loader:
            loss = nn.functional.binary_cross_entropy_with_logits(network(shown["image"])[:, 0], shown["label"].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield name, len(files) / (time.perf_counter() - started)


def ours(files: list[str], folder: Path, batch: int, compute: Compute, repeat: int) -> Any:
    """The second epoch of the loop. repeat: how often each film stands for a study."""
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
    settings = Training(epochs=2, batch_size=batch, augmentation=Augmentation())
    with tempfile.TemporaryDirectory() as checkpoints:
        epochs = train(network, data, Binary(), settings, compute, LOSS, seed=0, folder=Path(checkpoints))
        return list(itertools.islice(epochs, 2))[-1]


def bare(batch: int, compute: Compute, steps: int) -> float:
    """Images/s of the network stepping on one batch."""
    device = compute.prepared_device(Ranks())
    network = densenet121(num_outputs=1).to(device).train()
    session = Erm().begin(pd.DataFrame(index=range(batch)), device)
    stepper = Stepper(network, Binary(), Training(batch_size=batch), compute, session, Ranks())
    images = torch.randn(batch, 1, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    labels = (torch.arange(batch, device=device) % 2).float()
    shown = Batch((images,), labels, torch.arange(batch), batch)
    for _ in range(2 if device.type == "cpu" else 10):
        float(stepper.step([shown], 1e-4))
    started = time.perf_counter()
    for _ in range(steps):
        total = stepper.step([shown], 1e-4)
    float(total)
    return batch * steps / (time.perf_counter() - started)


def main() -> None:
    has_gpu = torch.cuda.is_available()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    with tempfile.TemporaryDirectory() as name:
        files = films(Path(name), count)
        if has_gpu:
            print(torch.cuda.get_device_name())
            for is_compiled, resident in ((False, True), (False, False), (True, True)):
                compute = Compute(compile=is_compiled, resident=resident)
                limit = bare(256, compute, 50)
                epoch = ours(files, Path(name), 256, compute, repeat=max(1, 25_600 // count))
                how = f"{'compiled' if is_compiled else 'eager'}, {'resident' if resident else 'from the cache'}"
                rate = epoch.images_per_second
                print(
                    f"{how}: {rate:,.0f} images/s, {rate / limit:.3f} of the bare step ({limit:,.0f}; goal 0.95), "
                    f"{100 * rate / BANDWIDTH_BOUND:.0f} % of the bandwidth "
                    f"bound, data wait {100 * epoch.data_wait:.2f} %, {epoch.memory_gb:.1f} GB"
                )
            return
        compute = Compute(device="cpu")
        epoch, limit = ours(files, Path(name), 16, compute, repeat=2), bare(16, compute, 6)
        rate = epoch.images_per_second
        print(f"ours {rate:.1f} images/s, {100 * rate / limit:.0f} % of the bare step ({limit:.1f}; goal 85 %)")
        print(f"data wait {100 * epoch.data_wait:.2f} % (goal under 3 %)")
        for (peer, theirs), goal in zip(monai_programs(files, 16), (5, 2), strict=True):
            print(f"{peer} {theirs:.1f} images/s: ours {rate / theirs:.1f} times (goal {goal})")


if __name__ == "__main__":
    main()
