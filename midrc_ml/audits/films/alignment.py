"""Lay films over one another: the affine transform under which their edge fields agree best.

Gauss-Newton, inverse compositional: Baker and Matthews, Int. J. Computer Vision 56 (2004) 221-255. A transform
(2, 3) maps places (x, y) on the first picture to places on the second; places are from the middle of a picture whose
sides are 1.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Transforms = NDArray[np.float64]

_DAMPING = 1e-2
_LONGEST_STEP = 0.15  # of a side


def align(
    first: NDArray[np.float32], second: NDArray[np.float32], start: Transforms, *, steps: int
) -> tuple[Transforms, NDArray[np.float32]]:
    """Transforms (pair, 2, 3) from `start` on, and how well the fields agree then, (pair,): 1 = the same.

    first, second: fields (pair, side, side, 2). start: (pair, 2, 3).
    """
    slopes = _slopes(first)
    normal = (slopes @ slopes.transpose(0, 2, 1)).astype(np.float64)
    mean = np.trace(normal, axis1=1, axis2=2)[:, None, None] / 6
    eye = np.eye(6)
    solver = np.linalg.inv(normal * (1 + _DAMPING * eye) + (1e-3 * mean + 1e-9) * eye)
    transforms = start.astype(np.float64)
    second = with_mask(second)
    for _ in range(steps):
        moved = warped(second, transforms)
        off = moved[..., :2] - first * moved[..., 2:]
        pull = (slopes @ off.reshape(len(off), -1, 1)).astype(np.float64)
        step = np.clip((solver @ pull)[..., 0], -_LONGEST_STEP, _LONGEST_STEP).reshape(-1, 2, 3)
        step[:, :, :2] += np.eye(2)
        transforms = composed(transforms, inverted(step))
    moved = warped(second, transforms)
    is_inside = moved[..., 2:] > 0.5
    return transforms, agreement(first * is_inside, moved[..., :2] * is_inside)


def agreement(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine of two fields, (pair,)."""
    flat_first, flat_second = first.reshape(len(first), -1), second.reshape(len(second), -1)
    product, *squares = (
        np.einsum("ij,ij->i", *sides)
        for sides in ((flat_first, flat_second), (flat_first, flat_first), (flat_second, flat_second))
    )
    cosine: NDArray[np.float32] = product / np.sqrt(squares[0] * squares[1] + np.float32(1e-9))
    return cosine


def with_mask(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures (pair, row, column, channel) with a last channel of ones, which is 0 where a warp left the picture."""
    return np.concatenate([pictures, np.ones((*pictures.shape[:3], 1), np.float32)], axis=-1)


def warped(pictures: NDArray[np.float32], transforms: Transforms) -> NDArray[np.float32]:
    """Pictures (pair, side, side, channel) as seen from the first picture of each pair; 0 outside."""
    side = pictures.shape[1]
    middle = (side - 1) / 2
    matrices = transforms.copy()
    matrices[:, :, 2] = middle + side * transforms[:, :, 2] - middle * transforms[:, :, :2].sum(axis=2)
    result = np.empty_like(pictures)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for picture, matrix, target in zip(pictures, matrices, result, strict=True):
        cv2.warpAffine(picture, matrix, (side, side), dst=target, flags=flags)
    return result


def composed(outer: Transforms, inner: Transforms) -> Transforms:
    """First `inner`, then `outer`."""
    result = outer[:, :, :2] @ inner
    result[:, :, 2] += outer[:, :, 2]
    return result


def inverted(transforms: Transforms) -> Transforms:
    """Back from the second picture to the first."""
    back = np.linalg.inv(transforms[:, :, :2])
    return np.concatenate([back, -back @ transforms[:, :, 2:]], axis=2)


def is_plausible(transforms: Transforms) -> NDArray[np.bool_]:
    """Where the first picture is a window of the second, or the other way round, and not mirrored or torn."""
    linear = transforms[:, :, :2]
    stretch = np.linalg.svd(linear, compute_uv=False)
    lies_near = np.abs(transforms[:, :, 2]).max(axis=1) < 0.5
    return (np.linalg.det(linear) > 0) & (stretch[:, 1] > 0.5) & (stretch[:, 0] < 2.0) & lies_near


def _slopes(fields: NDArray[np.float32]) -> NDArray[np.float32]:
    """(pair, parameter, value): how each value of a field changes with each of the six parameters of a transform."""
    side = fields.shape[1]
    # Central differences; a field is smooth and its edges count little.
    across, down = np.zeros_like(fields), np.zeros_like(fields)
    across[:, :, 1:-1] = (fields[:, :, 2:] - fields[:, :, :-2]) * np.float32(side / 2)
    down[:, 1:-1] = (fields[:, 2:] - fields[:, :-2]) * np.float32(side / 2)
    places = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    x, y = places[None, None, :, None], places[None, :, None, None]
    slopes = np.empty((len(fields), 6, *fields.shape[1:]), np.float32)
    for row, slope in enumerate((across, down)):
        np.multiply(slope, x, out=slopes[:, 3 * row])
        np.multiply(slope, y, out=slopes[:, 3 * row + 1])
        slopes[:, 3 * row + 2] = slope
    return slopes.reshape(len(fields), 6, -1)
