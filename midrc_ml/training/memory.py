"""What to do when a GPU runs out of memory: the batch that would fit, found by trying."""

import gc
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.errors import InputError
from midrc_ml.training.batches import LEAST
from midrc_ml.training.losses import Target
from midrc_ml.training.predict import network_inputs
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Training

# Inputs that are there at once: made ahead (`Ahead`), being made, and in use.
_AT_ONCE = 4


class DoesNotFit(InputError):
    """The device has too little memory for the settings."""


def largest_batch(
    network: nn.Module, dataset: StudyDataset, target: Target, settings: Training, dtype: torch.dtype | None
) -> int | None:
    """The largest of a half, a quarter, ... of the batch that fits beside inputs made ahead; None = not even two do."""
    device = next(network.parameters()).device
    size = settings.batch_size // 2
    is_mixed = settings.augmentation is not None and settings.augmentation.mixup > 0
    while size >= LEAST:
        _clear(network, device)
        try:
            batch = dataset.batch(np.arange(size) % len(dataset))
            # With mixup a batch is made of two.
            ahead = [network_inputs(batch, device) for _ in range(_AT_ONCE + is_mixed)]
            with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                output = network(*ahead[0])
            target.losses(output, batch["label"].to(device)).mean().backward()
        except torch.OutOfMemoryError:
            size //= 2
            continue
        finally:
            network.zero_grad(set_to_none=True)
        return size
    return None


def does_not_fit(settings: Training, ranks: Ranks, *, is_resident: bool, find: Callable[[], int | None]) -> DoesNotFit:
    """The error that says what would fit.

    is_resident: the images are on the device. find: `largest_batch`, asked when what was in use has been let go; not
    with several ranks, of which the others wait for this one's part of the step.
    """
    whole, accumulate = settings.batch_size, settings.accumulate
    said = f"the GPU ran out of memory with training.batch_size={whole}"
    if ranks.world > 1:
        said += f", {math.ceil(whole / ranks.world)} studies on each of {ranks.world} GPUs"
    room = "; compute.resident=false leaves it the room of the images" if is_resident else ""
    fits = whole // 2 if ranks.world > 1 else find()
    if fits is None:
        return DoesNotFit(
            f"{said}, and not even {LEAST} studies fit; choose smaller images (images.size) or a smaller model, or "
            f"compute.precision=bfloat16{room}"
        )
    how = "may fit, it was not tried" if ranks.world > 1 else "fits, it was tried"
    return DoesNotFit(
        f"{said}; training.batch_size={fits} training.accumulate={math.ceil(whole * accumulate / fits)} {how}: steps "
        f"are over as many studies{room}"
    )


def _clear(network: nn.Module, device: torch.device) -> None:
    network.zero_grad(set_to_none=True)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
