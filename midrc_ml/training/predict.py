"""From a network and a dataset to scores."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from midrc_ml.datasets.augmentation import Augmentation
from midrc_ml.datasets.loader import Ahead
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.training.losses import Target
from midrc_ml.training.ranks import Ranks

ONE_PROCESS = Ranks()


def network_inputs(
    batch: Mapping[str, Any],
    device: torch.device,
    augmentation: Augmentation | None = None,
    draws: torch.Tensor | None = None,
) -> tuple[torch.Tensor, ...]:
    """What a network is called with for a batch of a `StudyDataset`: its images, its table, or both, on the device."""
    inputs = []
    if "image" in batch:
        inputs.append(image_input(batch["image"], device, augmentation, draws))
    if "tabular" in batch:
        inputs.append(batch["tabular"].to(device, non_blocking=True))
    return tuple(inputs)


def image_input(
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
    ranks: Ranks = ONE_PROCESS,
) -> tuple[np.ndarray, float]:
    """The score of every study, float64 (study,) or (study, class), in the dataset's order; and the mean loss.

    Of several ranks each takes some of the batches, which are the same as for one process.
    """
    network.eval()
    starts = range(0, len(dataset), batch_size)[ranks.rank :: ranks.world]
    made = (
        dataset.batch(np.arange(start, min(start + batch_size, len(dataset))), pin=device.type == "cuda")
        for start in starts
    )
    parts, loss = [], torch.zeros((), dtype=torch.float64, device=device)
    # What a GPU holds already it gathers in this thread, in the order in which it computes.
    with Ahead(made) if dataset.images_on_host else nullcontext(made) as batches:
        for batch in batches:
            with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                output = network(*network_inputs(batch, device))
            loss += target.losses(output, batch["label"].to(device, non_blocking=True)).double().sum()
            parts.append(target.score(output))
    by_rank = ranks.gather([part.cpu().numpy() for part in parts])
    in_order = [
        by_rank[number % ranks.world][number // ranks.world] for number in range(-(-len(dataset) // batch_size))
    ]
    return np.concatenate(in_order), float(ranks.total(loss)) / len(dataset)
