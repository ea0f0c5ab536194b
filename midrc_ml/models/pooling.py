"""Pooling whose gradient is the same in every run, on a GPU too."""

import torch
from torch import nn


class Halved(nn.Module):
    """`AvgPool3d(2)` as a mean over axes: volumes (study, channel, slice, row, column), each of half as many."""

    def __init__(self, pool: nn.AvgPool3d) -> None:
        """pool: what it stands for."""
        super().__init__()
        if (pool.kernel_size, pool.stride, pool.padding) != (2, 2, 0):
            raise ValueError(f"{pool} is no AvgPool3d(2)")

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """The mean of each 2 x 2 x 2 voxels; a last odd one is left out, as torch does."""
        depth, rows, columns = (length // 2 for length in volumes.shape[2:])
        even = volumes[:, :, : 2 * depth, : 2 * rows, : 2 * columns]
        return even.reshape(*volumes.shape[:2], depth, 2, rows, 2, columns, 2).mean((3, 5, 7))
