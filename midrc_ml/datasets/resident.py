"""Images that live on the device: where they fit there, no batch has to be moved any more."""

from collections.abc import Sequence

import numpy as np
import torch

from midrc_ml.errors import InputError
from midrc_ml.images.cache import CachedImages

_SHARE = 0.5  # of the device's free memory; the rest is for the network
_AT_ONCE = 1024  # images moved together


class ResidentImages:
    """Some of the images of a cache, as one array on the device."""

    def __init__(self, images: CachedImages, positions: Sequence[int] | np.ndarray, device: torch.device) -> None:
        """positions: of the images that are held, in `images`."""
        self.device = device
        self.record_shape = tuple(images.record_shape)
        held = np.unique(np.asarray(positions, dtype=np.int64))
        self._row = torch.full((int(held.max(initial=-1)) + 1,), -1, dtype=torch.int64)
        self._row[torch.from_numpy(held)] = torch.arange(len(held))
        self._pixels = torch.empty((len(held), *self.record_shape), dtype=torch.uint8, device=device)
        for start in range(0, len(held), _AT_ONCE):
            some = held[start : start + _AT_ONCE]
            self._pixels[start : start + len(some)] = torch.from_numpy(images.gather(some)).to(device)

    def gather(self, indices: np.ndarray, out: np.ndarray | None = None) -> torch.Tensor:
        """The images at these positions of the cache, (image, *record_shape), uint8, on the device."""
        rows = self._row[torch.from_numpy(np.asarray(indices, dtype=np.int64))]
        if (rows < 0).any():
            raise IndexError("an image was asked for that is not held on the device")
        return self._pixels[rows.to(self.device, non_blocking=True)]


def on_device(
    images: CachedImages, positions: Sequence[int] | np.ndarray, device: torch.device, *, wanted: bool | None
) -> CachedImages | ResidentImages:
    """The images at `positions` on the device, or `images` as they are.

    wanted: None = on a GPU, where they take at most half of its free memory.

    Raises:
        InputError: they were wanted on a GPU and are larger than its free memory.
    """
    if wanted is False or (wanted is None and device.type != "cuda"):
        return images
    if device.type == "cuda":
        size = len(np.unique(positions)) * int(np.prod(images.record_shape))
        free, _ = torch.cuda.mem_get_info(device)
        if size > free * _SHARE and wanted is None:
            return images
        if size > free:
            raise InputError(
                f"compute.resident is true, but the images take {size / 1e9:.1f} GB, and the GPU has "
                f"{free / 1e9:.1f} GB free; give compute.resident=false, or null (where it fits)"
            )
    return ResidentImages(images, positions, device)
