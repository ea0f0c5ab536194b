"""From a network and a dataset to scores."""

import numpy as np
import torch
from torch import nn

from midrc_ml.datasets.studies import StudyDataset, batches
from midrc_ml.training.losses import Target


def network_input(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 or float (study, channel, row, column) on the device as float32, centred at 0 for a 0..255 film."""
    moved = images.to(device, non_blocking=True).float()
    return ((moved - 127.5) / 64.0).contiguous(memory_format=torch.channels_last)


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
        loss += target.loss(output, batch["label"].to(device)).double() * len(batch["label"])
        parts.append(target.score(output))
    return torch.cat(parts).cpu().numpy(), float(loss) / len(dataset)
