"""From a network and a dataset to scores."""

import numpy as np
import torch
from torch import nn

from midrc_ml.datasets.augmentation import Augmentation
from midrc_ml.datasets.studies import StudyDataset, batches
from midrc_ml.training.losses import Target


def network_input(
    images: torch.Tensor,
    device: torch.device,
    augmentation: Augmentation | None = None,
    draws: torch.Tensor | None = None,
) -> torch.Tensor:
    """Images on the device as float32, centred at 0; 64 grey levels are 1.

    images: uint8 or float 0..255, (study, channel, row, column) or (study, channel, slice, row, column).

    augmentation, draws: what is done to the images, and how much of it (`Augmentation.draws` of the same studies).
    """
    moved = images.to(device, non_blocking=True)
    if augmentation is not None and draws is not None:
        if moved.dtype != torch.uint8:
            moved = (moved.float() - 127.5) / 64.0
        result = augmentation.apply(moved, draws.to(device, non_blocking=True))
    else:
        result = (moved.float() - 127.5) / 64.0
    return result.contiguous(memory_format=channels_last(result.ndim))


def channels_last(ndim: int) -> torch.memory_format:
    """The memory format in which convolutions over `ndim` axes, with those of batch and channel, are fastest."""
    return torch.channels_last if ndim == 4 else torch.channels_last_3d


@torch.inference_mode()
def scores(
    network: nn.Module,
    dataset: StudyDataset,
    target: Target,
    *,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype | None,
) -> tuple[np.ndarray, float]:
    """The score of every study, float64 (study,), in the dataset's order; and the mean loss."""
    network.eval()
    parts, loss = [], torch.zeros((), dtype=torch.float64, device=device)
    for batch in batches(dataset, batch_size):
        with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            output = network(network_input(batch["image"], device))
        loss += target.losses(output, batch["label"].to(device)).double().sum()
        parts.append(target.score(output))
    return torch.cat(parts).cpu().numpy(), float(loss) / len(dataset)
