"""What to do when a GPU runs out of memory: the batch that would fit, found by trying."""

import gc
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.errors import InputError
from midrc_ml.training.losses import Target
from midrc_ml.training.predict import network_inputs
from midrc_ml.training.settings import Training

_LEAST = 2


class DoesNotFit(InputError):
    """The device has too little memory for the settings."""


def largest_batch(
    network: nn.Module, dataset: StudyDataset, target: Target, *, below: int, dtype: torch.dtype | None
) -> int | None:
    """The largest of below / 2, below / 4, ... whose forward and backward pass fit; None = not even two studies do."""
    device = next(network.parameters()).device
    size = below // 2
    while size >= _LEAST:
        _clear(network, device)
        try:
            batch = dataset.batch(np.arange(size) % len(dataset))
            with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                output = network(*network_inputs(batch, device))
            target.losses(output, batch["label"].to(device)).mean().backward()
        except torch.OutOfMemoryError:
            size //= 2
            continue
        finally:
            network.zero_grad(set_to_none=True)
        return size
    return None


def does_not_fit(settings: Training, find: Callable[[], int | None]) -> DoesNotFit:
    """The error that says what would fit. find: `largest_batch`, asked when what was in use has been let go."""
    said = f"the GPU ran out of memory with training.batch_size={settings.batch_size}"
    fits = find()
    if fits is None:
        return DoesNotFit(
            f"{said}, and not even {_LEAST} studies fit; choose smaller images (images.size) or a smaller model, or "
            f"compute.precision=bfloat16"
        )
    accumulate = math.ceil(settings.batch_size * settings.accumulate / fits)
    return DoesNotFit(
        f"{said}; training.batch_size={fits} training.accumulate={accumulate} fits: it was tried, and makes steps over "
        f"as many studies"
    )


def _clear(network: nn.Module, device: torch.device) -> None:
    network.zero_grad(set_to_none=True)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
