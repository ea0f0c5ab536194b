"""The only place that sets seeds for the whole process."""

import random

import numpy as np
import torch


def seed_everything(*parts: int) -> None:
    """Seed Python, NumPy and torch from these numbers, e.g. (seed, epoch).

    Every epoch is seeded by its number, so that an epoch that is run again after a kill draws the same.
    """
    value = int(np.random.SeedSequence(parts).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 - for libraries that draw from the global state
    torch.manual_seed(value)


def generator(*parts: int) -> torch.Generator:
    """A CPU generator of its own for these numbers."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1))
