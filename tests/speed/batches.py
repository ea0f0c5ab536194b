"""How fast batches come out of the image cache, as they are and augmented: python tests/speed/batches.py

One process, one core of torch and OpenCV, records in the page cache, batches of 32 in a random order. Peers, in the
same run: a plain copy of as many bytes (numpy); MONAI's RandRotate + RandZoom + RandScaleIntensity, image by image.
At the end the time of one volume of 128 x 128 x 128 out of 64, in a random order, of which the goal is under 5 ms.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch

from midrc_ml.datasets.augmentation import Augmentation
from midrc_ml.images.cache import CachedImages
from midrc_ml.images.shards import SHARD_RECORDS, open_shards
from midrc_ml.training.predict import image_input

BATCH = 32


def cached(folder: Path, size: int, count: int) -> CachedImages:
    rng = np.random.default_rng(0)
    names = [f"{number:06d}" for number in range(-(-count // SHARD_RECORDS))]
    for name in names:
        records = cv2.GaussianBlur(rng.integers(0, 256, (SHARD_RECORDS * size, size), dtype=np.uint8), (0, 0), 3)
        (folder / f"{name}.u8").write_bytes(records.tobytes())
    place = np.stack([np.arange(count) // SHARD_RECORDS, np.arange(count) % SHARD_RECORDS], axis=1)
    return CachedImages(
        shards=open_shards(folder, names, (size, size)), place=place, reasons=[None] * count, record_shape=(size, size)
    )


def cached_volumes(folder: Path, size: int, count: int) -> CachedImages:
    shape = (size, size, size)
    (folder / "000000.u8").write_bytes(np.random.default_rng(0).bytes(count * size**3))
    place = np.stack([np.zeros(count, int), np.arange(count)], axis=1)
    return CachedImages(
        shards=open_shards(folder, ["000000"], shape), place=place, reasons=[None] * count, record_shape=shape
    )


def one_by_one(images: CachedImages, order: np.ndarray) -> int:
    for number in order:
        images.gather([number])
    return len(order)


def rate(work: Callable[[], int]) -> float:
    """Images a second: the median of five rounds after one to warm up."""
    work()
    rates = []
    for _ in range(5):
        started = time.perf_counter()
        count = work()
        rates.append(count / (time.perf_counter() - started))
    return median(rates)


def gathered(images: CachedImages, order: np.ndarray, buffer: np.ndarray) -> int:
    for start in range(0, len(order), BATCH):
        images.gather(order[start : start + BATCH], out=buffer)
    return len(order)


def copied(target: np.ndarray, source: np.ndarray) -> int:
    np.copyto(target, source)
    return len(source)


def augmented(images: CachedImages, order: np.ndarray, setting: Augmentation, draws: torch.Tensor) -> int:
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        batch = torch.from_numpy(images.gather(rows)).unsqueeze(1)
        image_input(batch, torch.device("cpu"), setting, draws[rows])
    return len(order)


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    setting = Augmentation()
    for size, count in ((224, 8192), (512, 2048)):
        with tempfile.TemporaryDirectory() as name:
            images = cached(Path(name), size, count)
            order = np.random.default_rng(1).permutation(count)
            draws = setting.draws(count, torch.Generator().manual_seed(0))
            source = np.ones((count, size, size), np.uint8)
            ours = rate(partial(gathered, images, order, np.empty((BATCH, size, size), np.uint8)))
            memcpy = rate(partial(copied, np.ones_like(source), source))
            moved, peer = rate(partial(augmented, images, order[:512], setting, draws)), monai_rate(images)
            print(f"{size}: gathered {ours:,.0f} images/s, {100 * ours / memcpy:.0f} % of memcpy ({memcpy:,.0f})")
            print(
                f"{size}: augmented {moved:,.0f} images/s, {moved / peer:.1f} times MONAI image by image ({peer:,.0f})"
            )
    with tempfile.TemporaryDirectory() as name:
        order = np.random.default_rng(1).permutation(64)
        volumes = rate(partial(one_by_one, cached_volumes(Path(name), 128, len(order)), order))
        print(f"128^3: a volume in {1000 / volumes:.2f} ms")


def monai_rate(images: CachedImages) -> float:
    from monai.transforms import Compose, RandRotate, RandScaleIntensity, RandZoom

    setting = Augmentation()
    angle = np.radians(setting.rotate_degrees)
    transform = Compose(
        [
            RandRotate(range_x=float(angle), prob=1.0),
            RandZoom(prob=1.0, min_zoom=1 - setting.zoom, max_zoom=1 + setting.zoom),
            RandScaleIntensity(factors=setting.contrast, prob=1.0),
        ]
    )

    def work() -> int:
        for number in range(40):
            transform(torch.from_numpy(images.gather([number])).float())
        return 40

    return rate(work)


if __name__ == "__main__":
    main()
