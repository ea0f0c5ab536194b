"""Whether two films that lie on one another show the same exposure: by what is left when all that films share is off.

The second film is put through the curve of grey levels that brings it nearest to the first, which takes out inversion
and tone, and is moved until no better fit is left. Then two numbers tell. What differs, in grey levels: of a copy, what
resampling and encoding did. And what both have: the partial correlation around each pixel given the mean of other
films that look alike; films of different people share ribs, heart and spine with these peers, and only copies the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from midrc_ml.audits.films.alignment import Transforms, composed, inverted
from midrc_ml.audits.films.windows import SIDE

Grey = NDArray[np.float32]

_BLUR = 0.7  # pixels, of all films before they are compared
_TONES, _LEAST_SHARE = 16, 0.15  # groups of grey levels; of the first film, that the second must reach
_MARGIN = 1.5  # pixels at the edge of a film that do not count
_FIRST_STEPS, _MORE_STEPS, _LONGEST_STEP, _EVERY = 2, 4, 0.05, 2  # a fit looks at every second row and column
_DAMPING = 1e-3
_HOPELESS = 3.5  # grey levels, after the first steps: of 97 to 100 % of planted copies it was below 3
_LEVEL_SIDE, _OWN_SIGMA = 31, 6.0
_WORST_SHARE = 0.15  # of the film: marks, corners and borders of a copy
_NOISE, _STRUCTURE = 0.5, 1.0  # squared grey levels that are none; grey levels that count half
_TABLE = np.arange(256, dtype=np.float32)
_PLACES = ((np.arange(SIDE) - (SIDE - 1) / 2) / SIDE).astype(np.float32)


@dataclass(frozen=True)
class Laid:
    """A film as seen from another on which it was laid.

    grey: (64, 64), in the grey levels of the other. mask: 1 where it reaches. transform: (2, 3), from the other to it.
    curve: (256,), the grey level that each of its own became.
    """

    grey: Grey
    mask: Grey
    transform: NDArray[np.float64]
    curve: Grey

    @property
    def reaches(self) -> bool:
        """Whether there is enough of it to compare."""
        return bool(self.mask.mean() >= _LEAST_SHARE)


def smoothed(pictures: NDArray[np.uint8]) -> Grey:
    """Pictures (film, 64, 64) as films are compared here."""
    result = np.empty(pictures.shape, np.float32)
    for picture, target in zip(pictures, result, strict=True):
        cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _BLUR, dst=target)
    return result


def fit(first: Grey, second: Grey, transforms: Transforms) -> tuple[Transforms, NDArray[np.bool_]]:
    """The transforms under which second films, toned, differ least from first ones; what differs much counts less.

    first, second: (pair, 64, 64). transforms: (pair, 2, 3). Also which pairs came near one another at once; no others
    are copies, and they are left where they are then.
    """
    transforms, typical = _fitted(first, second, transforms, steps=_FIRST_STEPS)
    is_near: NDArray[np.bool_] = typical < _HOPELESS
    if is_near.any():
        transforms[is_near], _ = _fitted(first[is_near], second[is_near], transforms[is_near], steps=_MORE_STEPS)
    return transforms, is_near


def _fitted(first: Grey, second: Grey, transforms: Transforms, *, steps: int) -> tuple[Transforms, NDArray[np.float32]]:
    """The transforms after some steps, and the mean difference before the last one."""
    slopes = _slopes(first)
    wanted = first[:, ::_EVERY, ::_EVERY]
    weight = np.ones_like(wanted)
    for _ in range(steps):
        mask = _inside(transforms, _EVERY)
        moved = _moved(second, transforms, _EVERY, cv2.INTER_LINEAR)
        off = _through(_tone_curves(moved, wanted, weight * mask), moved) - wanted
        typical = _masked_mean(np.minimum(np.abs(off), 30), mask)
        weight = np.float32(1) / (1 + (off / (3 * typical + 2)) ** 2)
        weighted = slopes * (weight * mask).reshape(len(slopes), 1, -1)
        normal = (weighted @ slopes.transpose(0, 2, 1)).astype(np.float64)
        scale = np.trace(normal, axis1=1, axis2=2)[:, None, None] / 6
        normal = normal * (1 + _DAMPING * np.eye(6)) + (1e-4 * scale + 1e-6) * np.eye(6)
        pull = (weighted @ off.reshape(len(off), -1, 1)).astype(np.float64)
        step = np.clip(np.linalg.solve(normal, pull), -_LONGEST_STEP, _LONGEST_STEP).reshape(-1, 2, 3)
        step[:, :, :2] += np.eye(2)
        transforms = composed(transforms, inverted(step))
    return transforms, typical[:, 0, 0]


def lay(first: Grey, second: Grey, transforms: Transforms) -> list[Laid]:
    """Second films (pair, 64, 64) on first ones, in their grey levels."""
    mask = _inside(transforms, 1)
    moved = _moved(second, transforms, 1, cv2.INTER_CUBIC)
    curves = _tone_curves(moved, first, mask)
    return [Laid(*each) for each in zip(_through(curves, moved), mask, transforms, curves, strict=True)]


def difference(first: Grey, second: Laid) -> float:
    """What differs of two films where both are, less slow changes of level: in grey levels, root mean square."""
    if not second.reaches:
        return np.inf
    off, weight = (second.grey - first) * second.mask, second.mask + np.float32(1e-9)
    box = (_LEVEL_SIDE, _LEVEL_SIDE)
    slow = [cv2.blur(each, box, borderType=cv2.BORDER_CONSTANT) for each in (off, weight)]
    fine = [_around(each, _BLUR) for each in (off, weight)]
    squares = np.sort((fine[0] / fine[1] - slow[0] / slow[1])[second.mask > 0] ** 2)
    return float(np.sqrt(squares[: int((1 - _WORST_SHARE) * len(squares))].mean()))


def own_likeness(first: Grey, second: Laid, peers: Sequence[Laid]) -> float:
    """How much of what peers do not share both films have: 1 = all. Without peers, of all detail."""
    mask = second.mask
    weight = _around(mask, _OWN_SIGMA) + np.float32(1e-6)

    def around(values: Grey) -> Grey:
        mean: Grey = _around(values * mask, _OWN_SIGMA) / weight
        return mean

    pictures = [_level(each, mask) for each in (first, second.grey)]
    means = [around(each) for each in pictures]
    variances = [around(each * each) - mean * mean for each, mean in zip(pictures, means, strict=True)]
    covariance = around(pictures[0] * pictures[1]) - means[0] * means[1]
    if peers:
        given = _level(_mean(peers), mask)
        mean = around(given)
        spread = around(given * given) - mean * mean + np.float32(1e-2)
        shared = [around(each * given) - own * mean for each, own in zip(pictures, means, strict=True)]
        covariance = covariance - shared[0] * shared[1] / spread
        variances = [own - each * each / spread for own, each in zip(variances, shared, strict=True)]
    low, high = (np.maximum(each, 0) for each in variances)
    correlation = (covariance / np.sqrt((low + np.float32(_NOISE)) * (high + np.float32(_NOISE)))).ravel()
    depth = np.sqrt(np.minimum(low, high))
    counts = (mask * depth / (depth + np.float32(_STRUCTURE))).ravel()
    order = np.argsort(-correlation, kind="stable")
    total = np.cumsum(counts[order], dtype=np.float64)
    kept = order[total <= (1 - _WORST_SHARE) * total[-1]]
    return float((correlation[kept] * counts[kept]).sum() / max(float(counts[kept].sum()), 1e-6))


def _mean(peers: Sequence[Laid]) -> Grey:
    grey, count = (np.sum(each, axis=0) for each in ([p.grey * p.mask for p in peers], [p.mask for p in peers]))
    mean: Grey = grey / np.maximum(count, 1)
    return mean


def _level(grey: Grey, mask: Grey) -> Grey:
    """Less the mean, so that squares lose no digits."""
    return grey - np.float32((grey * mask).sum() / max(float(mask.sum()), 1.0))


def _around(values: Grey, sigma: float) -> Grey:
    blurred: Grey = np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), np.float32)
    return blurred


def _inside(transforms: Transforms, every: int) -> Grey:
    """(pair, row, column): 1 at pixels of the first film that the second reaches, but for its outermost ones."""
    most = 0.5 - _MARGIN / SIDE
    x, y = _PLACES[::every], _PLACES[::every, None]
    rows = transforms.astype(np.float32)[:, :, :, None, None]
    across, down = (rows[:, axis, 0] * x + rows[:, axis, 1] * y + rows[:, axis, 2] for axis in (0, 1))
    mask: Grey = ((np.abs(across) < most) & (np.abs(down) < most)).astype(np.float32)
    return mask


def _moved(second: Grey, transforms: Transforms, every: int, interpolation: int) -> Grey:
    """Second films as seen from the first ones, at every so many rows and columns."""
    middle, side = (SIDE - 1) / 2, len(range(0, SIDE, every))
    matrices = transforms.copy()
    matrices[:, :, 2] = middle + SIDE * transforms[:, :, 2] - middle * transforms[:, :, :2].sum(axis=2)
    matrices[:, :, :2] *= every
    result = np.empty((len(second), side, side), np.float32)
    flags = interpolation | cv2.WARP_INVERSE_MAP
    for picture, matrix, target in zip(second, matrices, result, strict=True):
        cv2.warpAffine(picture, matrix, (side, side), dst=target, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return result


def _tone_curves(moved: Grey, first: Grey, weight: Grey) -> Grey:
    """(pair, 256): the mean of the first film at each level of the other, from 16 groups of equal weight.

    Straight between and beyond them. It need not rise: of an inverted film it falls.
    """
    pairs = np.arange(len(moved))[:, None]
    level = np.rint(moved).clip(0, 255).astype(np.int64).reshape(len(moved), -1) + 256 * pairs
    weight, first = weight.reshape(len(moved), -1), first.reshape(len(moved), -1)
    size = 256 * len(moved)
    counts = np.bincount(level.ravel(), weight.ravel(), size).reshape(-1, 256)
    sums = np.bincount(level.ravel(), (weight * first).ravel(), size).reshape(-1, 256)
    total = np.cumsum(counts, axis=1)
    whole = np.maximum(total[:, -1:], 1e-9)
    group = np.minimum((total - counts / 2) * (_TONES / whole), _TONES - 1).astype(np.int64) + _TONES * pairs
    parts = [
        np.bincount(group.ravel(), each.ravel(), _TONES * len(moved)).reshape(-1, _TONES)
        for each in (counts, counts * _TABLE, sums)
    ]
    return np.stack([_curve(*each) for each in zip(*parts, strict=True)]).astype(np.float32)


def _curve(count: NDArray[np.float64], level: NDArray[np.float64], tone: NDArray[np.float64]) -> NDArray[np.float64]:
    """(256,): of the sums of each group."""
    has_some = count > 0
    levels, tones = level[has_some] / count[has_some], tone[has_some] / count[has_some]
    if len(levels) < 2:
        return np.full(256, tones[0] if len(tones) else 0.0)
    low = tones[0] - 256 * (tones[1] - tones[0]) / (levels[1] - levels[0])
    high = tones[-1] + 256 * (tones[-1] - tones[-2]) / (levels[-1] - levels[-2])
    places, values = np.empty(len(levels) + 2), np.empty(len(levels) + 2)
    places[0], places[1:-1], places[-1] = levels[0] - 256, levels, levels[-1] + 256
    values[0], values[1:-1], values[-1] = low, tones, high
    return np.interp(_TABLE, places, values)


def _through(curves: Grey, grey: Grey) -> Grey:
    """Grey levels (pair, row, column) through the curve of each pair."""
    place = grey.clip(0, 254.999)
    below = place.astype(np.int64)
    share = place - below
    below += 256 * np.arange(len(grey))[:, None, None]
    flat = curves.ravel()
    result: Grey = flat[below] * (1 - share) + flat[below + 1] * share
    return result


def _masked_mean(values: Grey, mask: Grey) -> Grey:
    mean: Grey = (values * mask).sum(axis=(1, 2), keepdims=True) / np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1)
    return mean


def _slopes(grey: Grey) -> NDArray[np.float32]:
    """(pair, parameter, pixel): how films change with each of the six parameters of a transform, at every second."""
    across, down = np.zeros_like(grey), np.zeros_like(grey)
    across[:, :, 1:-1] = (grey[:, :, 2:] - grey[:, :, :-2]) * np.float32(SIDE / 2)
    down[:, 1:-1] = (grey[:, 2:] - grey[:, :-2]) * np.float32(SIDE / 2)
    x, y = _PLACES[::_EVERY], _PLACES[::_EVERY, None]
    thin = [each[:, ::_EVERY, ::_EVERY] for each in (across, down)]
    parts = [slope * place for slope in thin for place in (x, y, np.float32(1))]
    return np.stack(parts, axis=1).reshape(len(grey), 6, -1)
