"""How a radiograph becomes a network's input: one recipe, one key, one cache."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from midrc_ml.errors import InputError, check_kinds
from midrc_ml.images.files import TRY_AGAIN, ImageError, Member

if TYPE_CHECKING:  # decoding needs pydicom; a run whose images are in the cache decodes nothing
    from midrc_ml.images.radiograph import Film, Radiograph

CODE_VERSION = 6  # add 1 whenever the same recipe would give other values: old records are then not read
PERCENTILES = (1.0, 99.0)
_HIGHEST_INT16 = 32_767
ANOTHER_FILM = "another film of the series"


@dataclass(frozen=True)
class Record:
    """What the cache keeps of a series: its pixels, uint8 of the recipe's `record_shape`, and where they came from.

    left_out: how many other files the series holds, by the reason why they are not in the record. repaired: how often
    it was made in spite of something missing or uneven, by kind.
    """

    pixels: np.ndarray
    sop_uid: str
    series_uid: str
    syntax: str
    decoder: str
    left_out: Mapping[str, int]
    repaired: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Area resample to `size` x `size`, then a linear window to uint8.

    window: `percentile` = the 1st to the 99th percentile of the resampled film, the same rule for every
    scanner; `header` = the file's own window where it has one, else as `percentile`.
    aspect: `stretch` to a square, or `pad` with the darkest value of the film.
    for_processing: films FOR PROCESSING hold the detector's values: `refuse` them, because they look unlike all
    others and come from some sites only, or `convert` them to densities (`radiograph`).
    """

    size: int = 224
    window: Literal["percentile", "header"] = "percentile"
    aspect: Literal["stretch", "pad"] = "stretch"
    for_processing: Literal["refuse", "convert"] = "refuse"

    def __post_init__(self) -> None:
        check_kinds(self, "images")
        if not 32 <= self.size <= 4096:
            raise InputError(f"images.size is {self.size}; it must be 32 to 4096 pixels")
        for name, allowed in (
            ("window", ("percentile", "header")),
            ("aspect", ("stretch", "pad")),
            ("for_processing", ("refuse", "convert")),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"images.{name} is {getattr(self, name)!r}; it must be {' or '.join(allowed)}")

    @property
    def key(self) -> str:
        """Names the cache of this recipe and of the code behind it."""
        text = json.dumps({**asdict(self), "code_version": CODE_VERSION}, sort_keys=True)
        return f"{self.size}-{self.window}-{self.aspect}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    @property
    def modalities(self) -> tuple[str, ...]:
        """DICOM modalities that it is for."""
        return "CR", "DX"

    @property
    def record_shape(self) -> tuple[int, ...]:
        """(row, column)."""
        return self.size, self.size

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What a network is shown of an image: (channel, row, column)."""
        return (1, *self.record_shape)

    def read(self, members: Iterable[Member]) -> Record:
        """The film that stands for a series: the first of those that can be used, by instance number.

        One film is decoded at a time, and one that comes after the best so far not at all.

        Raises:
            ImageError: no film that can be used; the reason is that of the first. Or one that might be used another
                time: which film stands for a series must not hang on what was installed, or at hand, at that moment.
        """
        from midrc_ml.images.radiograph import open_film

        best: tuple[Film, Radiograph, np.ndarray] | None = None
        left_out: Counter[str] = Counter()
        for member in members:
            try:
                film = open_film(member)
                if best is None or film.rank < best[0].rank:
                    radiograph = film.read()
                    found = film, radiograph, self.apply(radiograph)
                else:
                    found = best
            except ImageError as error:
                if str(error).startswith(TRY_AGAIN):
                    raise
                left_out[str(error)] += 1
                continue
            left_out[ANOTHER_FILM] += best is not None
            best = found
        if best is None:
            raise ImageError(next(iter(left_out), "no file inside"))
        _, radiograph, pixels = best
        return Record(
            pixels=pixels,
            sop_uid=radiograph.sop_uid,
            series_uid=radiograph.series_uid,
            syntax=radiograph.syntax,
            decoder=radiograph.decoder,
            left_out=+left_out,  # without zeros
        )

    def apply(self, radiograph: "Radiograph") -> np.ndarray:
        """uint8 (row, column) of `size` x `size`.

        Raises:
            ImageError: a film without any contrast, with values that are not finite, or not prepared for viewing.
        """
        if radiograph.unprocessed and self.for_processing == "refuse":
            raise ImageError("a film FOR PROCESSING, not prepared for viewing (images.for_processing=convert reads it)")
        rows, columns = self._sides(radiograph.pixels)
        pixels = radiograph.pixels
        if pixels.dtype == np.uint16 and pixels.max() <= _HIGHEST_INT16:
            pixels = pixels.view(np.int16)  # the same means, in two thirds of the time
        # INTER_AREA is the exact area mean when it shrinks; it anti-aliases, bilinear does not.
        small = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
        small = small * np.float32(radiograph.scale) + np.float32(radiograph.offset)
        if not np.isfinite(small).all():
            raise ImageError("pixel values are not finite after the modality LUT")
        of_header = radiograph.window if self.window == "header" else None
        low, high = of_header or percentiles(small)
        if not high > low:
            low, high = float(small.min()), float(small.max())
        if not high > low:
            raise ImageError("a film without contrast: every pixel has the same value")
        grey = np.clip((small - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)
        if of_header and grey.min() == grey.max():
            raise ImageError("a film without contrast in the window of its header (images.window=percentile reads it)")
        top, left = (self.size - rows) // 2, (self.size - columns) // 2
        edges = (top, self.size - rows - top, left, self.size - columns - left)
        return cv2.copyMakeBorder(grey, *edges, cv2.BORDER_CONSTANT, value=int(grey.min())) if any(edges) else grey

    def _sides(self, pixels: np.ndarray) -> tuple[int, int]:
        """Rows and columns of the film in the square."""
        if self.aspect == "stretch":
            return self.size, self.size
        rows, columns = (max(1, round(side * self.size / max(pixels.shape))) for side in pixels.shape)
        return rows, columns


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest of the window, as of `numpy.percentile`, which takes twice as long as to sort."""
    ordered = np.sort(values, axis=None)
    low, high = (_at(ordered, (ordered.size - 1) * percent / 100) for percent in PERCENTILES)
    return low, high


def _at(ordered: np.ndarray, place: float) -> float:
    """The value at a place between two."""
    before = int(place)
    after = min(before + 1, ordered.size - 1)
    return float(ordered[before]) + (place - before) * float(ordered[after] - ordered[before])


def no_images() -> None:
    """`images=none`: a run that reads no pixel."""
