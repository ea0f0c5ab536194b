"""What a network hands its last layer: in these numbers stands all that its scores are made of."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.training.predict import network_inputs

_MOST_STUDIES = 2000  # enough to say what can be told from them


@dataclass(frozen=True)
class Features:
    """rows: (study,), positions in the dataset. values: (study, feature), float64."""

    rows: np.ndarray
    values: np.ndarray


@torch.inference_mode()
def last_features(
    network: nn.Module, dataset: StudyDataset, *, batch_size: int, device: torch.device, dtype: torch.dtype | None
) -> Features | None:
    """The input of the last linear layer, of at most 2,000 studies evenly spread over the dataset.

    None where the network has no linear layer, or its last one is not called once with a row a study.
    """
    network = getattr(network, "module", network)  # of several processes
    network = getattr(network, "_orig_mod", network)  # a compiled network calls no hook
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear or not len(dataset):
        return None
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _MOST_STUDIES)).astype(np.int64))
    seen: list[torch.Tensor] = []
    hook = linear[-1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    network.eval()
    try:
        parts = []
        for start in range(0, len(rows), batch_size):
            chosen = rows[start : start + batch_size]
            seen.clear()
            with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                network(*network_inputs(dataset.batch(chosen), device))
            if len(seen) != 1 or seen[0].ndim != 2 or len(seen[0]) != len(chosen):
                return None
            parts.append(seen[0].double().cpu().numpy())
    finally:
        hook.remove()
    return Features(rows, np.concatenate(parts))
