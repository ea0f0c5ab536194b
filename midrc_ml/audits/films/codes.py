"""What is peculiar to a film among films that look alike: laid on the typical film, less the mean, by what lasts.

Windows tell films of different people apart, but not films that were drawn, or taken, all in one way. Those lie well on
their own mean. There each film is a short code, in the directions along which films differ most and copies of one film
least (linear discriminant analysis); what a copy changes is learned on copies made here of the films at hand.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from midrc_ml.audits.films.alignment import Transforms, align, inverted, warped, with_mask
from midrc_ml.audits.films.blocks import in_blocks
from midrc_ml.audits.films.windows import COARSE, MIDDLE, SIDE, Films, describe, window_transforms

_FILMS_OF_MEAN, _ROUNDS = 96, 2
_STEPS = {COARSE: 5, MIDDLE: 3}
_CODE_SIDE, _DIMENSIONS = 16, 48
_LEAST_COPIES, _MOST_COPIES, _FILMS_OF_SPREAD = 100, 400, 4000
_SHRINKAGE = 0.1
_LOCAL_SIGMA, _QUIET = 6.0, 3.0  # grey levels are taken against those around them


@dataclass(frozen=True)
class TypicalFilm:
    """The mean of films, each laid on it. fields: by side, (side, side, 2)."""

    fields: dict[int, NDArray[np.float32]]

    @classmethod
    def of(cls, films: Films, rows: NDArray[np.int64]) -> "TypicalFilm":
        """Of some of the films."""
        own = {side: films.fields(side, rows) for side in _STEPS}
        typical = cls({side: fields.mean(axis=0) for side, fields in own.items()})
        for _ in range(_ROUNDS):
            back = inverted(typical.lay(films, rows))
            laid = {side: warped(with_mask(fields), back) for side, fields in own.items()}
            typical = cls(
                {
                    side: each[..., :2].sum(axis=0) / np.maximum(each[..., 2:].sum(axis=0), 1)
                    for side, each in laid.items()
                }
            )
        return typical

    def lay(self, films: Films, rows: NDArray[np.int64] | slice) -> Transforms:
        """From each film to the typical one, (film, 2, 3)."""
        own = {side: films.fields(side, rows) for side in _STEPS}
        likeness = describe(own[MIDDLE], whole=True)[:, 0] @ describe(self.fields[MIDDLE][None])[0].T
        transforms = window_transforms()[likeness.argmax(axis=1)]
        for side, steps in _STEPS.items():
            typical = np.broadcast_to(self.fields[side], own[side].shape)
            transforms, _ = align(own[side], typical, transforms, steps=steps)
        return transforms


@dataclass(frozen=True)
class Coder:
    """typical: where films are laid. mean: (16, 16), of their grey levels there. basis: (256, dimension)."""

    typical: TypicalFilm
    mean: NDArray[np.float32]
    basis: NDArray[np.float32]


def coded(films: Films) -> tuple[NDArray[np.float32], Transforms]:
    """Codes (film, dimension), not scaled, and the transforms from each film to the typical one.

    No film is flat, and the first of them are a sample of all.
    """
    typical = TypicalFilm.of(films, np.arange(min(len(films.pictures), _FILMS_OF_MEAN)))
    transforms, seen = _on_typical(films, typical)
    sample = slice(0, _FILMS_OF_SPREAD)
    mean = seen[sample, ..., 0].sum(axis=0, dtype=np.float32) / np.maximum(seen[sample, ..., 1].sum(axis=0), 1)
    whole = _peculiar(seen[sample], mean)
    source = np.arange(min(_MOST_COPIES, max(_LEAST_COPIES, 2 * len(whole)))) % len(whole)
    copies = Films.of(_copies(films.pictures[source]))
    copied = _peculiar(_on_typical(copies, typical)[1], mean)
    basis = _directions(whole, copied - whole[source])
    codes = in_blocks(lambda block: _peculiar(seen[block], mean) @ basis, len(seen))
    return np.concatenate(codes), transforms


def _on_typical(films: Films, typical: TypicalFilm) -> tuple[Transforms, NDArray[np.float16]]:
    """From each film to the typical one, and (film, 16, 16, 2): local contrast there, and where the film reaches."""

    def lay(block: slice) -> tuple[Transforms, NDArray[np.float16]]:
        transforms = typical.lay(films, block)
        local = np.stack([_local_contrast(picture) for picture in films.pictures[block]])[..., None]
        laid = warped(with_mask(local), inverted(transforms))
        step = SIDE // _CODE_SIDE
        small = laid.reshape(len(laid), _CODE_SIDE, step, _CODE_SIDE, step, 2).mean(axis=(2, 4))
        small[..., 1] = small[..., 1] > 0.95
        small[..., 0] *= small[..., 1]
        return transforms, small.astype(np.float16)

    parts = in_blocks(lay, len(films.pictures), records_each=64)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _peculiar(seen: NDArray[np.float16], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """(film, 256): less the mean, as it would be were no film inverted; 0 where a film does not reach."""
    seen = seen.astype(np.float32)
    sign = np.where((seen[..., 0] * mean).sum(axis=(1, 2)) < 0, np.float32(-1), np.float32(1))[:, None, None]
    return ((seen[..., 0] * sign - mean) * seen[..., 1]).reshape(len(seen), -1)


def _local_contrast(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey = picture.astype(np.float32)
    mean, square = (cv2.GaussianBlur(values, (0, 0), _LOCAL_SIGMA) for values in (grey, grey * grey))
    spread = np.sqrt(np.maximum(square - mean * mean, 0)) + np.float32(_QUIET)
    return (cv2.GaussianBlur(grey, (0, 0), 0.8) - mean) / spread


def _directions(films: NDArray[np.float32], changes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(value, dimension): of the generalised eigenproblem, scaled so that a copy moves as far along each."""
    within = changes.T.astype(np.float64) @ changes / (2 * len(changes))
    within += (_SHRINKAGE * np.trace(within) / len(within) + 1e-9) * np.eye(len(within))
    values, vectors = np.linalg.eigh(within)
    scaled = vectors / np.sqrt(values)
    spread = scaled.T @ (films.T.astype(np.float64) @ films / len(films)) @ scaled
    _, turned = np.linalg.eigh((spread + spread.T) / 2)
    basis: NDArray[np.float32] = (scaled @ turned[:, ::-1][:, :_DIMENSIONS]).astype(np.float32)
    return basis


def _copies(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The films cropped, turned and re-toned at random, as their reduced pictures would be."""
    rng = np.random.default_rng(0)
    count = len(pictures)
    sides = np.where(rng.random((count, 1)) < 0.7, rng.uniform(0.7, 1, (count, 2)), 1.0)
    shift = (rng.random((count, 2)) - 0.5) * (1 - sides)
    angle = np.where(rng.random(count) < 0.5, np.radians(rng.uniform(-5, 5, count)), 0.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    transforms = np.concatenate([turn * sides[:, None, :], shift[:, :, None]], axis=2)
    darkest = pictures.min(axis=(1, 2), keepdims=True)
    grey = warped((pictures - darkest).astype(np.float32)[..., None], transforms)[..., 0]
    gamma = (2 ** rng.uniform(-1, 1, (count, 1, 1))).astype(np.float32)
    grey = (grey / np.maximum(grey.max(axis=(1, 2), keepdims=True), 1)) ** gamma
    low, high = np.percentile(grey[:, ::2, ::2], [1, 99], axis=(1, 2))[:, :, None, None].astype(np.float32)
    noise = 2 * rng.standard_normal(grey.shape, dtype=np.float32)
    return np.clip((grey - low) * (255 / np.maximum(high - low, 1e-6)) + noise, 0, 255).astype(np.uint8)
