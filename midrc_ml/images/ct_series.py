"""One CT volume from the DICOM files of a series.

Slices are placed by ImagePositionPatient along the normal of ImageOrientationPatient (PS3.3 C.7.6.2.1.1), never by
instance number or the order of files. What is not part of the volume is left out and counted by reason.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from midrc_ml.images.ct_resample import (
    MAX_STEP_MM,
    even_grid,
    onto_grid,
    patient_axes,
    sheared,
    sheared_shape,
    tilt_degrees,
)
from midrc_ml.images.ct_slice import CtSlice, read_slice
from midrc_ml.images.dicom_pixels import DAMAGED, DicomImage
from midrc_ml.images.files import TRY_AGAIN, ImageError, Member
from midrc_ml.processes import num_threads

MAX_VOXELS = 1 << 29  # 2048 slices of 512 x 512: 1 GiB
MAX_SLICES = 4096
_SAME_MM = 0.01
_SAME_DIRECTION = 1e-3
_SAME_SPACING = 1e-3  # of itself
_HIGHEST_AIR_HU = -200  # above it nothing in a CT is air
_NOT_READABLE = "not a readable DICOM file"
_THREADS = 4  # that decode, at most: decoders let go of Python's lock


@dataclass(frozen=True)
class CtVolume:
    """A CT volume whose axes are the patient's: slices feet to head, rows front to back, columns right to left.

    hu: (slice, row, column), int16, -1024 (air and whatever was below) to 32767. spacing: mm, of those axes.
    origin: the middle of the first voxel, mm, as DICOM's (x, y, z): to the left, back, head. direction: the unit
    vectors (x, y, z) of the three axes; of a tilted gantry or an oblique series not quite the patient's.
    sop_uid: of the first slice. syntaxes, decoders: of all slices. left_out: files of the series that are not in the
    volume, by reason. num_filled: slices that were missing, interpolated. mixed_steps: whether slices were of several
    spacings and were interpolated to an even one. tilt_degrees: of the gantry, corrected.
    """

    hu: np.ndarray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: np.ndarray
    series_uid: str
    sop_uid: str
    syntaxes: tuple[str, ...] = ()
    decoders: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    num_filled: int = 0
    mixed_steps: bool = False
    tilt_degrees: float = 0.0


def read_ct_series(members: Iterable[Member], *, planes: Literal["axial", "any"] = "axial") -> CtVolume:
    """The one volume in the files of a series.

    Of several stacks of slices (another orientation, size or reconstruction) the one of most slices is taken, and so of
    several acquisitions that overlap; those that continue each other are one. Slices at one position are one where
    their pixels agree, and none where they do not. What is missing is interpolated within limits (`even_grid`).
    planes: `any` also takes coronal and sagittal slices.

    Raises:
        ImageError: no volume, or none that can be trusted; with the reason.
    """
    left_out: Counter[str] = Counter()
    slices = _continuous(_usual_stack(_slices(members, left_out), left_out), left_out)
    axes, spacing, matrix = slices[0].axes, slices[0].spacing, slices[0].matrix
    series_uid = slices[0].series[0]
    order, signs = patient_axes(axes[::-1], planes)
    stack, places, used = _decoded(slices, matrix, left_out)
    right, down, along = places.T
    grid = even_grid(along)
    tilt = tilt_degrees(along, down, right, spacing)
    shape = (grid.count, *matrix)
    if math.prod(sheared_shape(shape, down, right, spacing) if tilt else shape) > MAX_VOXELS:
        raise ImageError("the series has more voxels than are read")
    corner = np.array([grid.start, down.mean(), right.mean()])
    if tilt:
        stack = sheared(stack, down, right, spacing)
        corner[1:] = down.min(), right.min()
    hu = onto_grid(stack, along, grid)
    steps = np.array([grid.step, *spacing])
    # A flipped axis begins at its other end.
    corner += np.where(signs < 0, (np.array(hu.shape) - 1) * steps, 0)
    origin = corner @ axes[::-1]
    hu = np.ascontiguousarray(hu[tuple(slice(None, None, sign) for sign in signs.tolist())].transpose(order))
    if not any(plane.min() < _HIGHEST_AIR_HU for plane in hu):
        raise ImageError("no air in the volume: its values are not HU")
    decoders, syntaxes, uids = (tuple(name) for name in zip(*used, strict=True))
    return CtVolume(
        hu=hu,
        spacing=tuple(steps[order].tolist()),
        origin=tuple(origin.tolist()),
        direction=(axes[::-1] * signs[:, None])[order],
        series_uid=series_uid,
        sop_uid=uids[0 if signs[0] > 0 else -1],
        syntaxes=tuple(sorted(set(syntaxes))),
        decoders=tuple(sorted(set(decoders))),
        left_out=dict(left_out),
        num_filled=grid.filled,
        mixed_steps=grid.mixed,
        tilt_degrees=tilt,
    )


def _slices(members: Iterable[Member], left_out: Counter[str]) -> list[CtSlice]:
    """The slices of the series, in an order that is theirs and not that of the files."""
    slices: list[CtSlice] = []
    num_bytes = 0
    for member in members:
        try:
            slices.append(read_slice(member.content))
        except ImageError as error:
            _count(error, left_out)
            continue
        except DAMAGED:
            left_out[_NOT_READABLE] += 1
            continue
        num_bytes += len(member.content)
        if len(slices) > MAX_SLICES or num_bytes > 4 * MAX_VOXELS:
            raise ImageError(f"a series of more than {MAX_SLICES} slices or {MAX_VOXELS >> 28} GiB")
    if not slices:
        raise ImageError(_commonest(left_out) if left_out else "no file inside")
    return sorted(slices, key=lambda one: (one.sop_uid, one.place.tolist()))


def _usual_stack(slices: list[CtSlice], left_out: Counter[str]) -> list[CtSlice]:
    """The slices that have orientation, size and reconstruction in common, of which there are most; ties by SOP UID."""
    stacks: list[list[CtSlice]] = []
    for one in slices:
        for stack in stacks:
            if _difference(one, stack[0]) is None:
                stack.append(one)
                break
        else:
            stacks.append([one])
    usual = max(stacks, key=_num_positions)
    left_out.update(_difference(one, usual[0]) or "" for stack in stacks if stack is not usual for one in stack)
    return usual


def _difference(one: CtSlice, other: CtSlice) -> str | None:
    """Why two slices are not of one stack."""
    if one.series != other.series:
        return "of another series or frame of reference"
    if one.axes is not other.axes and np.abs(one.axes - other.axes).max() > _SAME_DIRECTION:
        return "of another orientation"
    apart = (abs(ours / theirs - 1) for ours, theirs in zip(one.spacing, other.spacing, strict=True))
    if one.matrix != other.matrix or max(apart) > _SAME_SPACING:
        return "of another matrix or pixel spacing"
    if one.kernel != other.kernel:
        return "of another reconstruction (ConvolutionKernel or KVP)"
    return None


def _continuous(stack: list[CtSlice], left_out: Counter[str]) -> list[CtSlice]:
    """All acquisitions where each begins where one ends, as in step-and-shoot; else that of most slices.

    Ties go to the lowest AcquisitionNumber.
    """
    runs: dict[tuple[float, float, float], list[CtSlice]] = {}
    for one in stack:
        runs.setdefault(one.acquisition, []).append(one)
    ends = sorted((min(along), max(along)) for run in runs.values() for along in [[one.place[2] for one in run]])
    if all(-_SAME_MM <= after[0] - before[1] <= MAX_STEP_MM for before, after in pairwise(ends)):
        return stack
    usual = runs[min(runs, key=lambda run: (-_num_positions(runs[run]), run))]
    left_out["of another acquisition, temporal position or slice thickness"] += len(stack) - len(usual)
    return usual


def _num_positions(stack: Sequence[CtSlice]) -> int:
    return len({round(one.place[2] / _SAME_MM) for one in stack})


def _decoded(
    slices: list[CtSlice], matrix: tuple[int, int], left_out: Counter[str]
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str, str]]]:
    """HU (slice, row, column) by position, the slices' places, and of each its decoder, syntax and SOP UID.

    `slices` is used up: so the files need not be in memory with all of the volume.
    """
    slices.sort(key=lambda one: -one.place[2])
    count = _num_positions(slices)
    if math.prod((len(slices), *matrix)) > MAX_VOXELS:
        raise ImageError("the series has more voxels than are read")
    if count < 2:
        raise ImageError("one slice only; a volume has several")
    stack = np.empty((len(slices), *matrix), np.int16)
    places: list[np.ndarray] = []
    used: list[tuple[str, str, str]] = []
    contradicted = False
    before = -math.inf
    for one, decoded in _in_threads(slices):
        try:
            image, pixels = decoded.result()
        except ImageError as error:
            _count(error, left_out)
            continue
        except DAMAGED:
            left_out[_NOT_READABLE] += 1
            continue
        if one.place[2] - before > _SAME_MM:
            before, contradicted = float(one.place[2]), False
        elif contradicted:
            left_out["another slice at this position, with other pixels"] += 1
            continue
        elif np.array_equal(stack[len(places) - 1], pixels):
            left_out["a duplicate"] += 1
            continue
        else:
            # Which of them is right nothing tells: neither is used.
            left_out["another slice at this position, with other pixels"] += 2
            contradicted = True
            places.pop(), used.pop()
            continue
        stack[len(places)] = pixels
        places.append(one.place)
        used.append((image.decoder, str(image.syntax), one.sop_uid))
    if not places:
        raise ImageError(_commonest(left_out))
    return stack[: len(places)], np.array(places), used


def _in_threads(slices: list[CtSlice]) -> Iterator[tuple[CtSlice, "Future[tuple[DicomImage, np.ndarray]]"]]:
    """Each of `slices` from the last on, with its image and HU, decoded a few ahead; `slices` is used up."""
    ahead: deque[tuple[CtSlice, Future[tuple[DicomImage, np.ndarray]]]] = deque()
    count = min(_THREADS, num_threads())
    with ThreadPoolExecutor(count) as threads:
        while slices or ahead:
            while slices and len(ahead) < 2 * count:
                one = slices.pop()
                ahead.append((one, threads.submit(one.decoded)))
            yield ahead.popleft()


def _count(error: ImageError, left_out: Counter[str]) -> None:
    """A volume must not hang on what was installed, or at hand, when it was read."""
    if str(error).startswith(TRY_AGAIN):
        raise error
    left_out[str(error)] += 1


def _commonest(left_out: Counter[str]) -> str:
    return left_out.most_common(1)[0][0]
