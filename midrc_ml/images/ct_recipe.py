"""How a CT series becomes a network's input: spacing, box, windows."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from midrc_ml.errors import InputError
from midrc_ml.images.ct_resample import boxed, lungs_centre, resampled
from midrc_ml.images.ct_series import CtVolume, read_ct_series
from midrc_ml.images.files import ImageError, Member
from midrc_ml.images.recipe import Record

CODE_VERSION = 3  # add 1 whenever the same recipe would give other values: old records are then not read
# Level and width, HU: Radiopaedia, "Windowing (CT)" (chest: lungs 1500/-600, mediastinum 350/50; bone 1800/400).
WINDOWS = {"lung": (-600.0, 1500.0), "mediastinal": (50.0, 350.0), "bone": (400.0, 1800.0)}
_LEVEL_WIDTH = re.compile(r"(-?\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)")
_MAX_BYTES = 1 << 28
_AXES = "slices, rows, columns"


@dataclass(frozen=True, kw_only=True)
class CtRecipe:
    """Resample to `spacing_mm`, cut a box of `size` voxels, then a linear window to uint8 for each channel.

    size, spacing_mm: (slice, row, column), or one number for all three. Slices go from feet to head, rows from front
    to back, columns from the patient's right to the left.
    windows: one channel each, by name (`WINDOWS`) or as "level/width" in HU; below it 0, above it 255.
    center: of the box: `lungs` = the centre of mass of the air that the body encloses, as a long scan has its middle in
    the abdomen; where that is less than half a litre, and with `volume`, the middle of the volume. Outside is air.
    planes: `axial` refuses series that were acquired or reformatted in other planes, `any` turns them.
    min_extent_mm: feet to head; a shorter series is refused.
    """

    size: int | Sequence[int] = 96
    spacing_mm: float | Sequence[float] = 4.0
    windows: Sequence[str] = ("lung",)
    center: Literal["lungs", "volume"] = "lungs"
    planes: Literal["axial", "any"] = "axial"
    min_extent_mm: float = 100.0

    def __post_init__(self) -> None:
        for name, least, most in (("size", 8, 1024), ("spacing_mm", 0.1, 50.0)):
            numbers = _each_axis(getattr(self, name), whole=name == "size")
            if numbers is None or not all(least <= number <= most for number in numbers):
                raise InputError(
                    f"images.{name} is {getattr(self, name)!r}; it must be {'whole numbers' * (name == 'size')}"
                    f"{'numbers' * (name != 'size')} from {least} to {most}: one, or a list of three ({_AXES})"
                )
        for name, allowed in (("center", ("lungs", "volume")), ("planes", ("axial", "any"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"images.{name} is {getattr(self, name)!r}; it must be {' or '.join(allowed)}")
        if isinstance(self.windows, str) or not self.windows:
            raise InputError(f"images.windows is {self.windows!r}; give a list, such as [lung, mediastinal]")
        for window in self.windows:
            if _limits(window) is None:
                raise InputError(
                    f"images.windows holds {window!r}; it must be {', '.join(WINDOWS)} or a level and a width in HU "
                    f"such as -600/1500"
                )
        if type(self.min_extent_mm) not in (int, float) or not 0 <= self.min_extent_mm < math.inf:
            raise InputError(f"images.min_extent_mm is {self.min_extent_mm!r}; it must be a number of at least 0")
        if math.prod(self.record_shape) > _MAX_BYTES:
            raise InputError(
                f"images.size {self.size!r} with {len(self.windows)} windows takes more than {_MAX_BYTES >> 20} MiB "
                f"a series; choose a smaller box"
            )

    @property
    def key(self) -> str:
        """Names the cache of this recipe and of the code behind it."""
        size, spacing = self._size, self._spacing
        same = {"size": size, "spacing_mm": spacing, "windows": list(self.windows), "code_version": CODE_VERSION}
        text = json.dumps({**asdict(self), **same, "min_extent_mm": float(self.min_extent_mm)}, sort_keys=True)
        shape = "x".join(map(str, size)) if len(set(size)) > 1 else str(size[0])
        step = "x".join(f"{number:g}" for number in spacing) if len(set(spacing)) > 1 else f"{spacing[0]:g}"
        names = "+".join(window.replace("/", "_") for window in self.windows)[:40]
        return f"ct-{shape}-{step}mm-{names}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    @property
    def modalities(self) -> tuple[str, ...]:
        """DICOM modalities that it is for."""
        return ("CT",)

    @property
    def record_shape(self) -> tuple[int, ...]:
        """(channel, slice, row, column)."""
        return len(self.windows), *self._size

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What a network is shown of a series: (channel, slice, row, column)."""
        return self.record_shape

    def read(self, members: Iterable[Member]) -> Record:
        """The volume of a series, as the cache keeps it.

        Raises:
            ImageError: no volume that can be used, with the reason.
        """
        volume = read_ct_series(members, planes=self.planes)
        repaired = {
            "missing slices, interpolated": volume.num_filled,
            "series of uneven slice distances, interpolated": int(volume.mixed_steps),
            "series of a tilted gantry, sheared upright": int(volume.tilt_degrees != 0),
        }
        return Record(
            pixels=self.apply(volume),
            sop_uid=volume.sop_uid,
            series_uid=volume.series_uid,
            syntax=" ".join(volume.syntaxes),
            decoder=" ".join(volume.decoders),
            left_out=volume.left_out,
            repaired={kind: count for kind, count in repaired.items() if count},
        )

    def apply(self, volume: CtVolume) -> np.ndarray:
        """uint8 of `record_shape`.

        Raises:
            ImageError: a volume that is too short, or without contrast in every window.
        """
        if len(volume.hu) * volume.spacing[0] < self.min_extent_mm:
            raise ImageError(f"the slices cover less than {self.min_extent_mm:g} mm from feet to head")
        small = resampled(volume.hu, volume.spacing, self._spacing)
        centre = lungs_centre(small, self._spacing) if self.center == "lungs" else None
        box = boxed(small, self._size, centre or [length / 2 for length in small.shape])
        channels = np.empty(self.record_shape, np.uint8)
        for channel, window in zip(channels, self.windows, strict=True):
            level, width = _limits(window) or (0.0, 1.0)
            low = level - width / 2
            scaled = (box - np.float32(low)) * np.float32(255 / width)
            scaled += np.float32(0.5)
            np.clip(scaled, 0, 255, out=scaled)
            np.copyto(channel, scaled, casting="unsafe")
        if all(channel.min() == channel.max() for channel in channels):
            raise ImageError("a volume without contrast in the windows: every voxel has the same value")
        return channels

    @property
    def _size(self) -> tuple[int, int, int]:
        slices, rows, columns = _each_axis(self.size, whole=True) or ()
        return int(slices), int(rows), int(columns)

    @property
    def _spacing(self) -> tuple[float, float, float]:
        slices, rows, columns = _each_axis(self.spacing_mm, whole=False) or ()
        return slices, rows, columns


def _each_axis(value: float | Sequence[float], *, whole: bool) -> tuple[float, ...] | None:
    """Three numbers, of one or of three; None where it is neither."""
    numbers = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * 3
    kinds = (int,) if whole else (int, float)
    if len(numbers) != 3 or not all(type(number) in kinds for number in numbers):
        return None
    return tuple(float(number) for number in numbers)


def _limits(window: str) -> tuple[float, float] | None:
    """Level and width of a window by its name, or as written; None where it is neither."""
    if not isinstance(window, str):
        return None
    found = _LEVEL_WIDTH.fullmatch(window)
    if found is not None and float(found[2]) > 0:
        return float(found[1]), float(found[2])
    return WINDOWS.get(window)
