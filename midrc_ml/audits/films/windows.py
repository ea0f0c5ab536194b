"""A film as the search sees it: which way its edges run, and short descriptors of the whole film and of its windows.

axes: row, column. An edge has a direction but no sign: at an angle t it is (cos 2t, sin 2t), times a weight that
saturates. That stays as it is when a film is inverted, and nearly so under any curve of its grey levels. A copy that
was cropped looks as a whole like a window of its source.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from midrc_ml.audits.films.blocks import in_blocks

SIDE = 64  # pixels of the picture that a film is reduced to
COARSE, MIDDLE = 16, 32  # sides of the smoothed fields, of which the whole search is made
_SMOOTHED = {COARSE: 3.0, MIDDLE: 1.0}  # sigma, in pixels of the picture
_LEVELS = 127.0  # of a field kept in 8 bits
_CELLS = 8  # a window is described by 8 x 8 overlapping cells
# (side, starts) along an axis, as shares of the film: a crop of 70 to 95 % is within 7 % of one of them.
_AXIS_WINDOWS = tuple((side, start) for side, starts in ((1.0, 1), (0.86, 2), (0.74, 3)) for start in range(starts))
_STEP = 0.13
_LOCAL_SIGMA, _QUIET = 4.0, 1.5  # an edge is weighed against those around it, and against grey levels of noise
_FLAT_RANGE, _FLAT_EDGES = 8, 0.01  # grey levels, and mean length of the field: below, there is nothing to compare


class Images(Protocol):
    """Pictures by position, as `midrc_ml.images.cache.CachedImages` gives them."""

    @property
    def record_shape(self) -> tuple[int, ...]:
        """(row, column) of films; of volumes (channel, slice, row, column) or (slice, row, column)."""

    def __len__(self) -> int:
        """How many there are, all readable."""

    def gather(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images (image, *record_shape)."""


@dataclass(frozen=True)
class Films:
    """Films in a few kilobytes each.

    pictures: (film, 64, 64), uint8. coarse, middle: smoothed fields (film, side, side, 2), int8. is_flat: (film,).
    """

    pictures: NDArray[np.uint8]
    coarse: NDArray[np.int8]
    middle: NDArray[np.int8]
    is_flat: NDArray[np.bool_]

    @classmethod
    def empty(cls, count: int) -> "Films":
        """Room for `count` films."""
        return cls(
            np.empty((count, SIDE, SIDE), np.uint8),
            np.empty((count, COARSE, COARSE, 2), np.int8),
            np.empty((count, MIDDLE, MIDDLE, 2), np.int8),
            np.zeros(count, bool),
        )

    @classmethod
    def of(cls, pictures: NDArray[np.uint8]) -> "Films":
        """Films of pictures (film, 64, 64)."""
        films = cls.empty(len(pictures))

        def put(block: slice) -> None:
            films.put(block, pictures[block])

        in_blocks(put, len(pictures))
        return films

    def put(self, block: slice, pictures: NDArray[np.uint8]) -> None:
        """Fill in the films of a block."""
        self.pictures[block] = pictures
        for number, picture in zip(range(block.start, block.stop), pictures, strict=True):
            field = edge_field(picture)
            for side, kept in ((COARSE, self.coarse), (MIDDLE, self.middle)):
                small = cv2.resize(_blurred(field, _SMOOTHED[side]), (side, side), interpolation=cv2.INTER_AREA)
                kept[number] = np.rint(small * _LEVELS)
            length = float(np.hypot(field[..., 0], field[..., 1]).mean())
            self.is_flat[number] = int(picture.max()) - int(picture.min()) < _FLAT_RANGE or length < _FLAT_EDGES

    def take(self, rows: NDArray[np.int64]) -> "Films":
        """The films of these rows."""
        return Films(self.pictures[rows], self.coarse[rows], self.middle[rows], self.is_flat[rows])

    def fields(self, side: int, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Fields (film, side, side, 2) of 16 or 32 pixels."""
        return (self.coarse if side == COARSE else self.middle)[rows].astype(np.float32) / np.float32(_LEVELS)


def read_films(images: Images, tell: Callable[[int], None]) -> tuple[Films, NDArray[np.object_]]:
    """All films reduced, and the BLAKE3 of the pixels of each. tell: called with how many have been read."""
    films, hashes = Films.empty(len(images)), np.empty(len(images), object)

    def read(block: slice) -> None:
        records = images.gather(np.arange(block.start, block.stop))
        hashes[block] = [blake3(np.ascontiguousarray(record).data).digest() for record in records]
        films.put(block, np.stack([reduced(flat_picture(record)) for record in records]))

    in_blocks(read, len(images), tell=tell, records_each=64)
    return films, hashes


def flat_picture(record: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A film as it is; of a volume the mean along the slices of its first channel."""
    if record.ndim == 2:
        return record
    volume = record[0] if record.ndim == 4 else record
    return np.rint(volume.mean(axis=0)).astype(np.uint8)


def edge_field(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(row, column, 2): weight times (cos 2t, sin 2t) of the gradient at each pixel; the weight is below 1."""
    grey = _blurred(picture.astype(np.float32), 0.7)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *axis, ksize=3, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    length = np.sqrt(across * across + down * down)
    around = _blurred(length, _LOCAL_SIGMA)
    scale = 1 / ((length + around + np.float32(_QUIET)) * np.maximum(length, np.float32(1e-6)))
    return np.stack([(across * across - down * down) * scale, 2 * across * down * scale], axis=-1)


def window_transforms() -> NDArray[np.float64]:
    """(window, 2, 3): from places on a copy to those on the film whose window it is.

    Places are (x, y) from the middle of a picture whose sides are 1. The first window is the whole film.
    """
    axes = [(side, start * _STEP + side / 2 - 0.5) for side, start in _AXIS_WINDOWS]
    return np.array([[[width, 0, x], [0, height, y]] for height, y in axes for width, x in axes])


def describe(fields: NDArray[np.float32], *, whole: bool = False) -> NDArray[np.float32]:
    """Descriptors (film, window, 128) of length 1, or of the whole films alone (film, 1, 128).

    fields: (film, 32, 32, 2).
    """
    weights = _cell_weights(fields.shape[1])[: _CELLS if whole else None]
    count = len(weights) // _CELLS
    planes = weights @ np.ascontiguousarray(fields.transpose(0, 3, 1, 2)) @ weights.T
    cells = planes.reshape(-1, 2, count, _CELLS, count, _CELLS).transpose(0, 2, 4, 1, 3, 5)
    return unit(cells.reshape(len(fields), count * count, -1))


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of length 1 along the last axis."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None]
    scaled: NDArray[np.float32] = vectors / np.maximum(length, np.float32(1e-9))
    return scaled


def _cell_weights(side: int) -> NDArray[np.float32]:
    """(window x cell, pixel): Gaussian weights along an axis, each row of sum 1."""
    places = (np.arange(side) + 0.5) / side
    rows = []
    for width, start in _AXIS_WINDOWS:
        for cell in range(_CELLS):
            middle = start * _STEP + width * (cell + 0.5) / _CELLS
            weight = np.exp(-0.5 * ((places - middle) / (0.6 * width / _CELLS)) ** 2)
            rows.append(weight / weight.sum())
    return np.array(rows, np.float32)


def reduced(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture of any size as (64, 64)."""
    if picture.shape == (SIDE, SIDE):
        return picture
    shrinks = min(picture.shape) >= SIDE
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small: NDArray[np.uint8] = np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=interpolation), np.uint8)
    return small


def _blurred(values: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    blurred: NDArray[np.float32] = np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)
    return blurred
