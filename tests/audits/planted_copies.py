"""Copies of a film as they turn up under another id: cropped, turned, re-toned, re-encoded, rescaled, inverted.

A fault takes a picture (row, column), uint8, and a random stream, and gives a picture, uint8. The copy then goes
through the recipe of the cache as any film does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from midrc_ml.images.radiograph import Radiograph
from midrc_ml.images.recipe import Recipe


def cropped(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows, columns = (
        slice(start := int(rng.integers(0, side - kept + 1)), start + kept)
        for side, kept in ((side, round(side * rng.uniform(0.70, 0.95))) for side in picture.shape)
    )
    return np.ascontiguousarray(picture[rows, columns])


def turned(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # The corners that come in are as dark as the darkest pixel, as where a print lay askew on the scanner.
    rows, columns = picture.shape
    matrix = cv2.getRotationMatrix2D(((columns - 1) / 2, (rows - 1) / 2), rng.uniform(-5, 5), 1)
    return cv2.warpAffine(picture, matrix, (columns, rows), flags=cv2.INTER_LINEAR, borderValue=int(picture.min()))


def retoned(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gamma = 2 ** rng.uniform(-1, 1)
    return np.round(255 * (picture / 255) ** gamma).astype(np.uint8)


def reencoded(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    done, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 91))])
    assert done
    return cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)


def rescaled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    scale = 2 ** rng.uniform(-1, 1)
    rows, columns = (max(8, round(side * scale)) for side in picture.shape)
    return cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def inverted(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 255 - picture


FAULTS: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "crop": cropped,
    "rotation": turned,
    "gamma": retoned,
    "JPEG": reencoded,
    "scale": rescaled,
    "inversion": inverted,
}


@dataclass(frozen=True)
class PlantedCopies:
    """films: (copy, S, S), as the cache holds them. source: which film each is of. faults: their names, each."""

    films: np.ndarray
    source: np.ndarray
    faults: Sequence[tuple[str, ...]]


def plant(pictures: Sequence[np.ndarray], *, size: int, count: int, faults_each: int, seed: int) -> PlantedCopies:
    """`count` copies of random films, each film at most once if there are enough; faults take turns."""
    rng = np.random.default_rng(seed)
    source = rng.choice(len(pictures), count, replace=count > len(pictures))
    names = list(FAULTS)
    faults, films = [], []
    for number, film in enumerate(source):
        first = number % len(names)
        others = rng.permutation([place for place in range(len(names)) if place != first])[: faults_each - 1]
        chosen = tuple(names[place] for place in rng.permutation([first, *others]))
        picture = pictures[film]
        for name in chosen:
            picture = FAULTS[name](picture, rng)
        faults.append(chosen)
        films.append(as_cached(picture, size=size))
    return PlantedCopies(np.stack(films), source, faults)


def as_cached(picture: np.ndarray, *, size: int) -> np.ndarray:
    """What the cache holds of an 8-bit picture."""
    return Recipe(size=size).apply(Radiograph(picture.astype(np.uint16) << 8, 1 / 256))
