"""Seconds and memory of the search for near duplicates among many films, and what it finds of planted copies.

    python tests/speed/near_duplicates.py [--films 100000] [--copies 200] [--of real|drawn]

real: each film mixes three films of RALO (MIDRC_ML_DATA), each moved, bent and re-toned at random: no two are the same,
and all are chests. drawn: films of the synthetic demo cohort, each of another person. The films lie in a file that is
memory-mapped, as those of the cache are; planted copies have one fault or two. Films of the same origin are pairs.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audits"))

from planted_copies import FAULTS, as_cached, plant

from midrc_ml.audits.films.near_duplicates import near_duplicates
from midrc_ml.cohorts.demo_films import draw_film

SIZE, SOURCE_SIDE = 64, 128


@dataclass(frozen=True)
class MappedFilms:
    """Films in one memory map, as a shard of the cache is."""

    films: np.ndarray

    @property
    def record_shape(self) -> tuple[int, ...]:
        return self.films.shape[1:]

    def __len__(self) -> int:
        return len(self.films)

    def gather(self, indices: np.ndarray) -> np.ndarray:
        return self.films[indices]


def mixed_film(originals: np.ndarray, seed: int) -> np.ndarray:
    """A chest that nobody has, uint8."""
    rng = np.random.default_rng(seed)
    side = originals.shape[1]
    places = np.mgrid[0:side, 0:side].astype(np.float32)[::-1]
    film = np.zeros((side, side), np.float32)
    for share in (0.45, 0.3, 0.25):
        bend = rng.normal(0, 0.02 * side, (2, 5, 5)).astype(np.float32)
        x, y = (
            place + cv2.resize(each, (side, side), interpolation=cv2.INTER_CUBIC)
            for place, each in zip(places, bend, strict=True)
        )
        if rng.random() < 0.5:
            x = side - 1 - x
        moved = cv2.remap(
            originals[rng.integers(len(originals))], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        film += share * moved
    film = (film - film.min()) / max(float(np.ptp(film)), 1.0)
    return np.round(255 * film ** (2 ** rng.uniform(-0.5, 0.5))).astype(np.uint8)


def drawn_film(seed: int) -> np.ndarray:
    """A film of the demo cohort, of a person of its own, uint8."""
    severity = np.random.default_rng(seed).normal(0, 1)
    return np.round(
        255 * draw_film(severity, shape=(SOURCE_SIDE, SOURCE_SIDE), anatomy_seed=seed, film_seed=seed)
    ).astype(np.uint8)


def real_films() -> np.ndarray:
    """The films of RALO, (film, 128, 128)."""
    files = sorted(Path(os.environ["MIDRC_ML_DATA"], "ralo", "images").glob("*.jpg"))
    side = (SOURCE_SIDE, SOURCE_SIDE)
    read = (cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files)
    return np.stack([cv2.resize(film, side, interpolation=cv2.INTER_AREA) for film in read])


@dataclass(frozen=True)
class Planted:
    """films: a memory map, the copies last. source: which film each shows. faults: of each, none of a film itself."""

    films: np.ndarray
    source: np.ndarray
    faults: list[tuple[str, ...]]


def written(file: Path, picture: Callable[[int], np.ndarray], *, num_films: int, num_copies: int) -> Planted:
    num_sources = num_films - 2 * num_copies
    films = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(num_films, SIZE, SIZE))
    for number in range(num_sources):
        films[number] = as_cached(picture(number), size=SIZE)
    source, faults = list(range(num_sources)), [()] * num_sources
    for faults_each in (1, 2):
        chosen = np.random.default_rng(faults_each).choice(num_sources, num_copies, replace=False)
        pictures = [picture(int(number)) for number in chosen]
        copies = plant(pictures, size=SIZE, count=num_copies, faults_each=faults_each, seed=faults_each)
        films[len(source) : len(source) + num_copies] = copies.films
        source += chosen[copies.source].tolist()
        faults += copies.faults
    films.flush()
    return Planted(np.load(file, mmap_mode="r"), np.array(source), faults)


def recall(found: set[int], faults: list[tuple[str, ...]], faults_each: int) -> str:
    copies = [number for number, done in enumerate(faults) if len(done) == faults_each]
    by_fault = [
        f"{name} {np.mean([number in found for number in copies if name in faults[number]]):.3f}" for name in FAULTS
    ]
    return f"{np.mean([number in found for number in copies]):.3f} ({', '.join(by_fault)})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--films", type=int, default=100_000)
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--of", choices=("real", "drawn"), default="real")
    arguments = parser.parse_args()
    picture = partial(mixed_film, real_films()) if arguments.of == "real" else drawn_film
    with tempfile.TemporaryDirectory() as folder:
        planted = written(Path(folder, "films.npy"), picture, num_films=arguments.films, num_copies=arguments.copies)
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        pairs = near_duplicates(MappedFilms(planted.films))
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    of_cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss / 2**20
    print(
        f"{arguments.films:,} films, {arguments.of}: {seconds:.1f} s ({of_cores:.0f} s of cores), peak {peak:.2f} GiB"
    )
    first, second = (pairs[name].to_numpy() for name in ("first", "second"))
    is_true = planted.source[first] == planted.source[second]
    for faults_each in (1, 2):
        found = recall(set(second[is_true].tolist()), planted.faults, faults_each)
        print(f"recall of copies with {faults_each} fault{'s' * (faults_each > 1)}: {found}")
    num_false = int((~is_true).sum())
    print(f"false pairs: {num_false}, {1000 * num_false / arguments.films:.3f} per 1,000 films")


if __name__ == "__main__":
    main()
