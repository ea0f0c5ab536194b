"""How much memory preparing and training take: python tests/speed/memory.py [FILMS]

prepare: the most that a worker takes over many films of 7.5 Mpx (JPEG lossless), after a tenth of them and after all.
Training: batches gathered at random from a cache larger than this machine's memory (records of zeros, which take no
room on the disk), the process's own memory at the start and at the end.
"""

import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parent))
from prepare import FORMS, drawn, write

from midrc_ml.datasets.loader import Ahead
from midrc_ml.images.cache import CachedImages, ImageCache
from midrc_ml.images.recipe import Recipe
from midrc_ml.images.shards import SHARD_RECORDS, open_shards

SIZE, BATCH, SECONDS = 512, 32, 30


def own_memory(process: psutil.Process) -> int:
    """Bytes that no file stands behind: what is mapped of a file the system takes back when it likes."""
    info = process.memory_info()
    return int(info.rss - info.shared)


class Watch(threading.Thread):
    """Looks at the worker processes until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most: list[tuple[float, int]] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.2):
            sizes = []
            for process in psutil.Process().children(recursive=True):
                try:
                    sizes.append(own_memory(process))
                except psutil.Error:
                    continue
            if sizes:
                self.most.append((time.monotonic(), max(sizes)))


def prepared(folder: Path, count: int) -> None:
    syntax, encode, _ = FORMS["JPEG lossless"]
    first = folder / "0.dcm"
    write(drawn(0), syntax, encode, first)
    content = first.read_bytes()
    files = []
    for number in range(count):  # of other content, each to be decoded by itself
        path = folder / f"{number}.dcm"
        path.write_bytes(content + number.to_bytes(4, "little"))
        files.append(str(path))
    watch = Watch()
    watch.start()
    started = time.monotonic()
    found = ImageCache(cache_dir=str(folder), recipe=Recipe(size=SIZE)).load(files, num_processes=2)
    seconds = time.monotonic() - started
    watch.stopped.set()
    early = max(size for when, size in watch.most if when < started + seconds / 5)
    most = max(size for _, size in watch.most)
    usable = sum(reason is None for reason in found.reasons)
    print(f"prepare: {usable} of {count} films in {seconds:.0f} s; the largest worker took {early / 1e9:.2f} GB in the "
          f"first fifth, {most / 1e9:.2f} GB in all (goal: under 1.5)")  # fmt: skip


def trained_from(folder: Path) -> None:
    total = int(psutil.virtual_memory().total * 1.2)
    num_shards = -(-total // (SHARD_RECORDS * SIZE * SIZE))
    names = [f"{number:06d}" for number in range(num_shards)]
    for name in names:
        with open(folder / f"{name}.u8", "wb") as file:
            file.truncate(SHARD_RECORDS * SIZE * SIZE)
    count = num_shards * SHARD_RECORDS
    place = np.stack([np.arange(count) // SHARD_RECORDS, np.arange(count) % SHARD_RECORDS], axis=1)
    shards = open_shards(folder, names, (SIZE, SIZE))
    images = CachedImages(shards=shards, place=place, reasons=[None] * count, record_shape=(SIZE, SIZE))
    process, rng = psutil.Process(), np.random.default_rng(0)
    until = time.monotonic() + SECONDS

    def batches():
        while time.monotonic() < until:
            yield images.gather(rng.integers(0, count, BATCH))

    sizes, number = [], 0
    with Ahead(batches()) as ahead:
        for batch in ahead:
            number += len(batch)
            if not sizes or number % (64 * BATCH) == 0:
                sizes.append(own_memory(process))
    memory = psutil.virtual_memory().total
    print(
        f"training: {number:,} images of a cache of {total / 1e9:.0f} GB (memory: {memory / 1e9:.0f} GB); "
        f"{sizes[0] / 1e9:.2f} GB of the process's own at first, {max(sizes) / 1e9:.2f} at most"
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as name:
        prepared(Path(name), count)
    with tempfile.TemporaryDirectory() as name:
        trained_from(Path(name))


if __name__ == "__main__":
    main()
