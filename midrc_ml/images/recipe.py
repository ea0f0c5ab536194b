"""How a radiograph becomes a network's input: one recipe, one key, one cache."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

import cv2
import numpy as np

from midrc_ml.errors import InputError, check_kinds
from midrc_ml.images.files import ImageError
from midrc_ml.images.radiograph import Radiograph

CODE_VERSION = 3  # add 1 whenever the same recipe would give other values: old records are then not read
PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Area resample to `size` x `size`, then a linear window to uint8.

    window: `percentile` = the 1st to the 99th percentile of the resampled film, the same rule for every
    scanner; `header` = the file's own window where it has one, else as `percentile`.
    aspect: `stretch` to a square, or `pad` with the darkest value.
    """

    size: int = 224
    window: Literal["percentile", "header"] = "percentile"
    aspect: Literal["stretch", "pad"] = "stretch"

    def __post_init__(self) -> None:
        check_kinds(self, "images")
        if not 32 <= self.size <= 4096:
            raise InputError(f"images.size is {self.size}; it must be 32 to 4096 pixels")
        for name, allowed in (("window", ("percentile", "header")), ("aspect", ("stretch", "pad"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"images.{name} is {getattr(self, name)!r}; it must be {' or '.join(allowed)}")

    @property
    def key(self) -> str:
        """Names the cache of this recipe and of the code behind it."""
        text = json.dumps({**asdict(self), "code_version": CODE_VERSION}, sort_keys=True)
        return f"{self.size}-{self.window}-{self.aspect}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def apply(self, radiograph: Radiograph) -> np.ndarray:
        """uint8 (row, column) of `size` x `size`.

        Raises:
            ImageError: a film without any contrast, or with values that are not finite.
        """
        pixels = radiograph.pixels
        if self.aspect == "pad":
            rows, columns = pixels.shape
            longer = max(rows, columns)
            top, left = (longer - rows) // 2, (longer - columns) // 2
            edges = (top, longer - rows - top, left, longer - columns - left)
            pixels = cv2.copyMakeBorder(pixels, *edges, cv2.BORDER_CONSTANT, value=float(pixels.min()))
        # INTER_AREA is the exact area mean when it shrinks; it anti-aliases, bilinear does not.
        small = cv2.resize(pixels, (self.size, self.size), interpolation=cv2.INTER_AREA).astype(np.float32)
        if not np.isfinite(small).all():
            raise ImageError("pixel values are not finite after the modality LUT")
        low, high = (
            radiograph.window if self.window == "header" and radiograph.window else np.percentile(small, PERCENTILES)
        )
        if not high > low:
            low, high = float(small.min()), float(small.max())
        if not high > low:
            raise ImageError("a film without contrast: every pixel has the same value")
        return np.clip((small - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)
