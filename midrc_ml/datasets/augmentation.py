"""Augmentation of a whole batch on its device. No mirroring: the heart is on the left.

What is drawn for a study depends on the seed, the epoch and the study's place in that, not on its batch: neither the
number of GPUs nor of workers changes it, and a study that is shown twice looks different. On a CPU 8-bit films are
moved by OpenCV, which is ten times as fast as sampling floats.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from midrc_ml.errors import InputError, check_kinds, check_least

if TYPE_CHECKING:  # made when the config is read: a bad setting should be told before torch is imported
    import torch

ANGLE, SHIFT_X, SHIFT_Y, ZOOM, CONTRAST, BRIGHTNESS, CROP, CROP_X, CROP_Y, NOISE, NOISE_X, NOISE_Y = range(12)
NUM_DRAWS = 12
_NOISE_SEED = 20200311


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random rotation, shift and zoom, brightness and contrast; each uniform within plus or minus its value.

    rotate_degrees; shift and zoom as fractions of the image. brightness, contrast and noise are in units of the
    network's input, in which 64 grey levels of 255 are 1: brightness is added, contrast multiplies the distance to the
    middle grey. crop: the largest share of a side that is cut off, anywhere. noise: the largest standard deviation of
    noise that is added. mixup: of each study and another one a mixture is shown, with a share from Beta(mixup, mixup)
    (Zhang et al., ICLR 2018, arXiv 1710.09412); 0 = none.
    """

    rotate_degrees: float = 7.0
    shift: float = 0.05
    zoom: float = 0.08
    brightness: float = 0.08
    contrast: float = 0.10
    crop: float = 0.0
    noise: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        where = "training.augmentation"
        check_kinds(self, where)
        check_least(self, where, rotate_degrees=0, shift=0, zoom=0, brightness=0, contrast=0, crop=0, noise=0, mixup=0)
        for name in ("zoom", "crop"):
            if getattr(self, name) >= 1:
                raise InputError(f"{where}.{name} is {getattr(self, name)!r}; it must be below 1")

    def draws(self, count: int, generator: "torch.Generator") -> "torch.Tensor":
        """Numbers in -1..1 for `count` places, (place, NUM_DRAWS): made for a whole epoch, batches only read them."""
        import torch

        return torch.rand(count, NUM_DRAWS, generator=generator) * 2 - 1

    def mixtures(self, count: int, generator: "torch.Generator") -> "tuple[torch.Tensor, torch.Tensor] | None":
        """For each of `count` places that of its partner, and its own share, at least a half; None without mixup."""
        import torch

        if not self.mixup:
            return None
        partner = torch.randperm(count, generator=generator)
        # Beta(a, a) from two gamma variables, which torch draws from a generator of one's own.
        gamma = torch._standard_gamma(torch.full((2, count), self.mixup), generator=generator)
        share = gamma[0] / (gamma[0] + gamma[1]).clamp_min(1e-30)
        return partner, torch.maximum(share, 1 - share)

    def apply(self, images: "torch.Tensor", draws: "torch.Tensor") -> "torch.Tensor":
        """The network's input of these studies, float32 (study, channel, row, column).

        Volumes (study, channel, slice, row, column) are moved in the plane of their slices, all slices alike.
        images: uint8, or float in units of the network's input, of the same shape. draws: (study, NUM_DRAWS), of the
        same studies and on the same device.
        """
        if images.ndim == 5:
            return self._apply(images.flatten(1, 2), draws, num_slices=images.shape[2]).view(images.shape)
        return self._apply(images, draws, num_slices=1)

    def _apply(self, images: "torch.Tensor", draws: "torch.Tensor", *, num_slices: int) -> "torch.Tensor":
        import torch

        matrix = self._matrices(draws)
        contrast = (1 + draws[:, CONTRAST] * self.contrast).view(-1, 1, 1, 1)
        brightness = (draws[:, BRIGHTNESS] * self.brightness).view(-1, 1, 1, 1)
        if images.dtype == torch.uint8:
            on_cpu = images.device.type == "cpu"
            images = _moved_by_opencv(images, matrix) if on_cpu else _moved(images.float(), matrix)
            # One pass over the floats: centred, scaled, brightened.
            result = images.float().mul_(contrast / 64).add_(brightness - 127.5 / 64 * contrast)
        else:
            result = _moved(images, matrix) * contrast + brightness
        return self._with_noise(result, draws, num_slices) if self.noise else result

    def _matrices(self, draws: "torch.Tensor") -> "torch.Tensor":
        """(study, 2, 3): where each pixel comes from, in coordinates of -1..1."""
        import torch

        angle = draws[:, ANGLE] * math.radians(self.rotate_degrees)
        # A cut is a zoom to a window, somewhere in the image.
        window = 1 - self.crop * (draws[:, CROP] + 1) / 2
        scale = (1 + draws[:, ZOOM] * self.zoom) * window
        cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
        across = 2 * self.shift * draws[:, SHIFT_X] + (1 - window) * draws[:, CROP_X]
        down = 2 * self.shift * draws[:, SHIFT_Y] + (1 - window) * draws[:, CROP_Y]
        return torch.stack([cosine, -sine, across, sine, cosine, down], dim=1).view(-1, 2, 3)

    def _with_noise(self, images: "torch.Tensor", draws: "torch.Tensor", num_slices: int) -> "torch.Tensor":
        """Each slice with a window of one large field of noise: drawn once, it costs a lookup a study."""
        import torch

        planes, rows, columns = images.shape[1:]
        field = _noise_field(rows, columns, images.device)
        # Neighbouring slices have windows far apart; those of one slice, by another window of HU, have the same.
        number = torch.arange(planes, device=images.device) % num_slices
        top = (((draws[:, NOISE_Y] + 1) / 2 * rows).long()[:, None] + number * (rows // 3 + 1)) % (rows + 1)
        left = (((draws[:, NOISE_X] + 1) / 2 * columns).long()[:, None] + number * (columns // 5 + 1)) % (columns + 1)
        down = torch.arange(rows, device=images.device) + top[..., None]
        across = torch.arange(columns, device=images.device) + left[..., None]
        noise = field[down[..., :, None], across[..., None, :]]
        return images + (draws[:, NOISE] * self.noise).view(-1, 1, 1, 1) * noise


@lru_cache(maxsize=2)
def _noise_field(rows: int, columns: int, device: "torch.device") -> "torch.Tensor":
    """Normal numbers, (2 rows, 2 columns), always the same."""
    import torch

    drawn = torch.randn(2 * rows, 2 * columns, generator=torch.Generator().manual_seed(_NOISE_SEED))
    return drawn.to(device)


def _moved(images: "torch.Tensor", matrix: "torch.Tensor") -> "torch.Tensor":
    from torch.nn import functional

    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _moved_by_opencv(images: "torch.Tensor", matrix: "torch.Tensor") -> "torch.Tensor":
    """As `_moved`, on 8 bits: to a grey level and a 32nd of a pixel the same."""
    import cv2
    import numpy as np
    import torch

    rows, columns = images.shape[-2:]
    # From pixels to -1..1 and back, with pixel centres at halves (`align_corners=False`).
    size = np.array([columns, rows], np.float64)
    given = matrix.double().numpy()
    pixels = np.empty((len(given), 2, 3))
    pixels[:, :, :2] = given[:, :, :2] * (size[:, None] / size[None, :])
    pixels[:, :, 2] = (
        (given[:, :, 2] + 1) * size / 2 - 0.5 + (given[:, :, :2] * ((1 / size - 1) * size[:, None] / 2)).sum(2)
    )
    source = images.numpy()
    result = np.empty_like(source)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for study, mapping in enumerate(pixels):
        for channel in range(source.shape[1]):
            cv2.warpAffine(
                source[study, channel],
                mapping,
                (columns, rows),
                dst=result[study, channel],
                flags=flags,
                borderMode=cv2.BORDER_REPLICATE,
            )
    return torch.from_numpy(result)
