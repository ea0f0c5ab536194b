"""Checkpoints that are either complete or not there."""

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from midrc_ml.errors import InputError

LAST, BEST = "last.pt", "best.pt"


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` beside `path`, flush it to disk, and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state in `path`, or None where there is none yet. Only tensors and plain values are unpickled.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(f"{path} is no longer readable; start a new run") from error
    return state
