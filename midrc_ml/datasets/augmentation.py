"""Augmentation of a whole batch on its device. No mirroring: the heart is on the left."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from midrc_ml.errors import check_kinds, check_least

if TYPE_CHECKING:  # made when the config is read: a bad setting should be told before torch is imported
    import torch


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random rotation, shift and zoom, brightness and contrast; each uniform within plus or minus its value.

    rotate_degrees; shift and zoom as fractions of the image; brightness and contrast on the 0..1 scale.
    """

    rotate_degrees: float = 7.0
    shift: float = 0.05
    zoom: float = 0.08
    brightness: float = 0.08
    contrast: float = 0.10

    def __post_init__(self) -> None:
        check_kinds(self, "training.augmentation")
        check_least(self, "training.augmentation", rotate_degrees=0, shift=0, zoom=0, brightness=0, contrast=0)

    def draws(self, count: int, generator: "torch.Generator") -> "torch.Tensor":
        """Random numbers in -1..1 for `count` studies, (study, 6): made for a whole epoch, batches only read them."""
        import torch

        return torch.rand(count, 6, generator=generator) * 2 - 1

    def apply(self, images: "torch.Tensor", draws: "torch.Tensor") -> "torch.Tensor":
        """images: float (study, channel, row, column). draws: (study, 6), of the same studies."""
        import torch
        from torch.nn import functional

        angle = draws[:, 0] * math.radians(self.rotate_degrees)
        scale = 1 + draws[:, 3] * self.zoom
        cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
        matrix = torch.stack(
            [cosine, -sine, 2 * self.shift * draws[:, 1], sine, cosine, 2 * self.shift * draws[:, 2]], dim=1
        ).view(-1, 2, 3)
        grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
        moved = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        contrast = (1 + draws[:, 4] * self.contrast).view(-1, 1, 1, 1)
        brightness = (draws[:, 5] * self.brightness).view(-1, 1, 1, 1)
        return moved * contrast + brightness
