"""A CT volume's values, axes and grids: HU, patient axes, even slices, gantry tilt, spacing, box.

Grids are edge aligned: voxel `k` of spacing `s` covers `k * s` to `(k + 1) * s` mm from the first voxel's edge.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import cv2
import numpy as np
from pydicom.dataset import Dataset

from midrc_ml.images.files import ImageError
from midrc_ml.images.stored_values import padding_limits

AIR_HU = -1024
MAX_STEP_MM = 10.0  # between slices; further apart, what lies between is a guess
MAX_FILLED = 0.1  # of the slices of a volume, or one
MAX_STEP_RATIO = 2.1  # of the largest to the smallest step, where they are mixed
MAX_TILT_DEGREES = 30.5  # gantries tilt by up to 30
_OFF_GRID = 0.1  # of a step, or mm: positions are written with one decimal by some
_STRAIGHT_PIXELS = 0.1
_ON_LINE_PIXELS = 0.5
_LUNG_HU = -400.0
_LUNG_MM2 = 100.0  # of one slice: less is a bronchus, a bowel, noise
_LUNGS_MM3 = 500_000.0


@dataclass(frozen=True)
class EvenGrid:
    """`count` slices from `start`, `step` mm apart.

    filled: slices that were missing between others. mixed: whether the steps were of several lengths.
    """

    start: float
    step: float
    count: int
    filled: int = 0
    mixed: bool = False


def hounsfield(stored: np.ndarray, header: Dataset, slope: float, intercept: float) -> np.ndarray:
    """HU as int16, within -1024 and 32767; padding becomes air (PS3.3 C.7.5.1.1.2)."""
    kinds = np.iinfo(stored.dtype)
    low, high = max(AIR_HU - int(intercept), kinds.min), min(32767 - int(intercept), kinds.max)
    if stored.itemsize <= 2 and slope == 1 and intercept == int(intercept) and low <= high:
        bits = np.clip(stored, low, high)
        wide = np.int16 if kinds.min < 0 else np.uint16
        bits = bits.astype(wide, copy=False).view(np.uint16)
        bits += np.uint16(int(intercept) % (1 << 16))  # what overflows comes back: the sum is within int16
        hu = bits.view(np.int16)
    else:
        hu = np.clip(np.rint(stored * float(slope) + intercept), AIR_HU, 32767).astype(np.int16)
    given = [header.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    limits = padding_limits(given, kinds)
    if limits and max(limits) * slope + intercept > AIR_HU:
        hu[(stored >= min(limits)) & (stored <= max(limits))] = AIR_HU
    return hu


@lru_cache(maxsize=16)
def slice_axes(cosines: tuple[float, ...]) -> np.ndarray:
    """(3, xyz): the directions in which columns, rows and slices follow each other, at right angles, of length 1."""
    right, down = np.array(cosines[:3]), np.array(cosines[3:])
    right = right / np.linalg.norm(right)
    down = down - (down @ right) * right
    down = down / np.linalg.norm(down)
    return np.array([right, down, np.cross(right, down)])


def patient_axes(axes: np.ndarray, planes: str) -> tuple[np.ndarray, np.ndarray]:
    """Which of `axes` (slice, row, column; xyz) are z, y and x, in this order; and their signs, in that of `axes`."""
    alike = axes[:, ::-1]  # (axis, zyx)
    order = max(permutations(range(3)), key=lambda some: sum(abs(alike[axis, at]) for at, axis in enumerate(some)))
    along = np.array([alike[axis, at] for at, axis in enumerate(order)])
    if planes == "axial" and order[0] != 0:
        raise ImageError("not an axial series (images.planes=any turns others)")
    if np.degrees(np.arccos(np.minimum(np.abs(along), 1))).max() > MAX_TILT_DEGREES:
        raise ImageError(f"oblique by more than {MAX_TILT_DEGREES:.0f} degrees")
    signs = np.empty(3, int)
    signs[list(order)] = np.where(along < 0, -1, 1)
    return np.array(order), signs


def even_grid(positions: np.ndarray) -> EvenGrid:
    """The even grid for slices at these positions, mm, ascending and each once.

    Where steps are whole multiples of the usual one, the slices between are missing: up to `MAX_FILLED` of the volume
    are filled. Steps of several lengths are allowed up to `MAX_STEP_RATIO`; the grid then has the usual step.

    Raises:
        ImageError: one slice, slices too far apart, too many missing, or too uneven.
    """
    if len(positions) < 2:
        raise ImageError("one slice only; a volume has several")
    steps = np.diff(positions)
    if steps.max() > MAX_STEP_MM * 1.01:
        raise ImageError(f"slices are missing, or too far apart (more than {MAX_STEP_MM:g} mm)")
    usual = float(np.median(steps))
    length = float(positions[-1] - positions[0])
    # Step by step: those written with one decimal are 0.6 and 0.7 where 0.625 is meant, and add up to it.
    places = np.concatenate([[0.0], np.cumsum(np.maximum(np.rint(steps / usual), 1))])
    step = length / float(places[-1])
    off = np.abs(positions - positions[0] - places * step).max()
    filled = int(places[-1]) + 1 - len(positions)
    if off <= _OFF_GRID * max(step, 1.0):
        if filled <= max(1.0, MAX_FILLED * (len(positions) + filled)):
            return EvenGrid(float(positions[0]), step, len(positions) + filled, filled=filled)
        if steps.max() > MAX_STEP_RATIO * steps.min():
            raise ImageError("slices are missing, more than can be filled")
    if steps.max() > MAX_STEP_RATIO * steps.min():
        raise ImageError("slices are of mixed spacing, or missing")
    count = round(length / usual) + 1
    return EvenGrid(float(positions[0]), length / (count - 1), count, mixed=True)


def onto_grid(stack: np.ndarray, positions: np.ndarray, grid: EvenGrid) -> np.ndarray:
    """The slices (slice, row, column), int16, of `positions` on an even grid, linear between neighbours.

    Without gaps and mixed steps this is the stack itself; a slice that lies where one is asked for is copied.
    """
    if not grid.filled and not grid.mixed:
        return stack
    even = np.empty((grid.count, *stack.shape[1:]), np.int16)
    near = 1e-3 if grid.mixed else _OFF_GRID * max(grid.step, 1.0)
    for number in range(grid.count):
        place = grid.start + number * grid.step
        after = min(max(int(np.searchsorted(positions, place)), 1), len(positions) - 1)
        share = (place - positions[after - 1]) / (positions[after] - positions[after - 1])
        if abs(positions[after - 1] - place) <= near:
            even[number] = stack[after - 1]
        elif abs(positions[after] - place) <= near:
            even[number] = stack[after]
        else:
            below, above = stack[after - 1].astype(np.float32), stack[after].astype(np.float32)
            even[number] = np.rint(below + np.float32(share) * (above - below))
    return even


def tilt_degrees(along: np.ndarray, down: np.ndarray, right: np.ndarray, spacing: tuple[float, float]) -> float:
    """The angle between the slices' normal and the line that their corners lie on; 0.0 where it moves no pixel.

    along, down, right: of each slice's corner, mm on the normal and on the two axes of the slice. spacing: (row,
    column).

    Raises:
        ImageError: the corners do not lie on one line, or on one that is too far from the normal.
    """
    centred = along - along.mean()
    slopes = []
    moved = False
    for shift, pixel in ((down, spacing[0]), (right, spacing[1])):
        slope = float(centred @ shift / (centred @ centred))
        if np.abs(shift - shift.mean() - slope * centred).max() > _ON_LINE_PIXELS * pixel:
            raise ImageError("slices do not lie on one line")
        moved = moved or bool(np.ptp(shift) > _STRAIGHT_PIXELS * pixel)
        slopes.append(slope)
    angle = math.degrees(math.atan(math.hypot(*slopes)))
    if moved and angle > MAX_TILT_DEGREES:
        raise ImageError(f"a gantry tilt of over {MAX_TILT_DEGREES:.0f} degrees")
    return angle if moved else 0.0


def sheared_shape(
    shape: tuple[int, int, int], down: np.ndarray, right: np.ndarray, spacing: tuple[float, float]
) -> tuple[int, int, int]:
    """The shape that `sheared` gives: large enough for every slice at its place."""
    rows = shape[1] + math.ceil(float(np.ptp(down)) / spacing[0] - 1e-6)
    columns = shape[2] + math.ceil(float(np.ptp(right)) / spacing[1] - 1e-6)
    return shape[0], rows, columns


def sheared(stack: np.ndarray, down: np.ndarray, right: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """Each slice at its place within a frame that is common to all, whose corner is the least of `down` and `right`.

    So the slices of a tilted gantry, each of which is shifted against the one before, become a rectangular grid,
    exactly but for the linear interpolation within a slice. Around the slices is air.
    """
    shape = sheared_shape(stack.shape, down, right, spacing)
    straight = np.empty(shape, np.int16)
    for number, pixels in enumerate(stack):
        across, below = (right[number] - right.min()) / spacing[1], (down[number] - down.min()) / spacing[0]
        shift = np.array([[1, 0, across], [0, 1, below]], np.float32)
        cv2.warpAffine(
            pixels,
            shift,
            (shape[2], shape[1]),
            dst=straight[number],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=AIR_HU,
        )
    return straight


def resampled(hu: np.ndarray, spacing: Sequence[float], wanted: Sequence[float]) -> np.ndarray:
    """The volume (slice, row, column) with the spacing `wanted`, mm, float32.

    Along an axis that shrinks the exact mean over each new voxel (which anti-aliases), along one that grows linear
    interpolation. A last voxel that is covered by less than a half is left out.
    """
    if wanted[0] >= spacing[0]:  # slices first, of which there are then fewer
        return _planes(_slices(hu, spacing[0], wanted[0]), spacing[1:], wanted[1:])
    return _slices(_planes(hu, spacing[1:], wanted[1:]), spacing[0], wanted[0])


def boxed(volume: np.ndarray, size: Sequence[int], centre: Sequence[float], fill: float = AIR_HU) -> np.ndarray:
    """A box of `size` voxels around `centre` (in voxels, the first one's edge is 0), with `fill` outside the volume."""
    box = np.full(tuple(size), fill, volume.dtype)
    into, out_of = [], []
    for length, wanted, middle in zip(volume.shape, size, centre, strict=True):
        first = round(middle - wanted / 2)
        low, high = max(first, 0), min(first + wanted, length)
        if high <= low:
            return box
        into.append(slice(low - first, high - first))
        out_of.append(slice(low, high))
    box[tuple(into)] = volume[tuple(out_of)]
    return box


def lungs_centre(volume: np.ndarray, spacing: Sequence[float]) -> tuple[float, float, float] | None:
    """The centre of mass, in voxels, of the air that the body encloses; None where there is less than half a litre.

    Of each slice the regions below -400 HU of at least 1 cm2 that do not touch the slice's border.
    """
    total, moments = 0.0, np.zeros(3)
    least = _LUNG_MM2 / (spacing[1] * spacing[2])
    rows, columns = volume.shape[1:]
    for number, plane in enumerate(volume):
        air = (plane < _LUNG_HU).view(np.uint8)
        _, _, regions, centres = cv2.connectedComponentsWithStats(air, connectivity=4)
        left, top, width, height, area = regions[1:].T
        is_lung = (left > 0) & (top > 0) & (left + width < columns) & (top + height < rows) & (area >= least)
        inside = area[is_lung].astype(float)
        total += inside.sum()
        across, down = (centres[1:][is_lung].T @ inside).tolist()
        moments += (number * inside.sum(), down, across)
    if total * math.prod(spacing) < _LUNGS_MM3:
        return None
    # Voxel `k` has its middle at `k + 0.5`.
    slices, down, across = (moments / total + 0.5).tolist()
    return slices, down, across


def _slices(volume: np.ndarray, spacing: float, wanted: float) -> np.ndarray:
    """Along the first axis; each new slice is a weighted sum of neighbouring ones."""
    length = len(volume)
    count = max(1, round(length * spacing / wanted))
    if count == length and math.isclose(spacing, wanted, rel_tol=1e-6):
        return volume.astype(np.float32, copy=False)
    weights = [_weights(number, length, wanted / spacing) for number in range(count)]
    new = np.empty((count, *volume.shape[1:]), np.float32)
    for number, (first, each) in enumerate(weights):
        # Two at a time by cv2: a BLAS of several threads takes five times as long on a busy machine.
        for pair in range(0, len(each), 2):
            second = pair + 1 < len(each)
            one, other = volume[first + pair], volume[first + pair + second]
            share = each[pair + 1] if second else 0.0
            if pair:
                new[number] += cv2.addWeighted(one, each[pair], other, share, 0, None, cv2.CV_32F)
            else:
                cv2.addWeighted(one, each[pair], other, share, 0, new[number], cv2.CV_32F)
    return new


def _weights(number: int, length: int, factor: float) -> tuple[int, list[float]]:
    """The first of the old slices that make the new slice `number`, and the weights of those from there on."""
    if factor < 1:
        place = min(max((number + 0.5) * factor - 0.5, 0.0), length - 1.0)
        first = min(int(place), max(length - 2, 0))
        weights = np.array([1 - (place - first), place - first][: length - first])
    else:
        low, high = number * factor, min((number + 1) * factor, length)
        first = int(low + 1e-6)
        edges = np.arange(first, max(math.ceil(high - 1e-6), first + 1))
        weights = np.minimum(edges + 1, high) - np.maximum(edges, low)
    return first, (weights / weights.sum()).tolist()


def _planes(volume: np.ndarray, spacing: Sequence[float], wanted: Sequence[float]) -> np.ndarray:
    """Along rows and columns."""
    down, across = spacing[0] / wanted[0], spacing[1] / wanted[1]
    if max(down, across) <= 1 or min(down, across) > 1:
        # With factors and no size, cv2 keeps to the factors; it rounds the size.
        kind = cv2.INTER_AREA if down <= 1 else cv2.INTER_LINEAR
        small = [_resized(plane.astype(np.float32, copy=False), across, down, kind) for plane in volume]
    else:
        kinds = [cv2.INTER_AREA if factor <= 1 else cv2.INTER_LINEAR for factor in (across, down)]
        small = [
            _resized(_resized(plane.astype(np.float32, copy=False), across, 1.0, kinds[0]), 1.0, down, kinds[1])
            for plane in volume
        ]
    return np.stack(small)


def _resized(plane: np.ndarray, across: float, down: float, kind: int) -> np.ndarray:
    # No axis may shrink to nothing.
    across, down = max(across, 1 / plane.shape[1]), max(down, 1 / plane.shape[0])
    return cv2.resize(plane, None, fx=across, fy=down, interpolation=kind)
