"""What is left of a picture when the lungs are taken away, or all but its coarsest shape: numbers for simple models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from midrc_ml.evaluation.weighted import Array

BORDER = 0.1  # of each side
THUMBNAIL, SMALL, _FRAME = 8, 32, 40
_BATCH = 256


class Images(Protocol):
    """`CachedImages`."""

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Of one image."""

    def gather(self, indices: NDArray[np.int64], out: np.ndarray | None = None) -> np.ndarray:
        """The images at these positions, uint8."""


@dataclass(frozen=True)
class PictureFeatures:
    """Grey levels from 0 to 1 of area means.

    border: (study, frame of 40 x 40). thumbnail: (study, 8 x 8). small: (study, 32 x 32).
    """

    border: Array
    thumbnail: Array
    small: Array

    @classmethod
    def of(cls, images: Images, positions: Sequence[int] | NDArray[np.int64]) -> "PictureFeatures":
        """Of the images at these positions; volumes are first averaged over their slices."""
        made: list[tuple[np.ndarray, ...]] = []
        for batch in pictures(images, np.asarray(positions, dtype=np.int64)):
            for picture in batch:
                frame = _shrunk(picture, _FRAME)
                made.append((frame[_is_border()], _shrunk(picture, THUMBNAIL).ravel(), _shrunk(picture, SMALL).ravel()))
        columns = zip(*made, strict=True) if made else ([], [], [])
        border, thumbnail, small = (np.asarray(column, dtype=np.float64) / 255 for column in columns)
        return cls(border, thumbnail, small)


def pictures(images: Images, positions: NDArray[np.int64]) -> Iterator[np.ndarray]:
    """The images as pictures, uint8 (study, row, column), some at a time."""
    for start in range(0, len(positions), _BATCH):
        batch = images.gather(positions[start : start + _BATCH])
        if batch.ndim > 3:
            slices = batch[:, 0] if batch.ndim == 5 else batch
            batch = np.round(slices.mean(axis=1)).astype(np.uint8)
        yield batch


def _is_border() -> NDArray[np.bool_]:
    width = round(BORDER * _FRAME)
    inside = np.zeros((_FRAME, _FRAME), dtype=bool)
    inside[width:-width, width:-width] = True
    return ~inside


def _shrunk(picture: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(picture.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
