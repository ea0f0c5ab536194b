"""Checkpoints that are either complete or not there."""

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from midrc_ml.errors import InputError

LAST, BEST = "last.pt", "best.pt"
_NEXT = "best.next.pt"


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` beside `path`, flush it to disk, and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def save_epoch(state: dict[str, Any], best: dict[str, Any] | None, folder: Path) -> None:
    """Write `last.pt`, and `best.pt` where the epoch is the best one, so that a kill leaves both as before or both new.

    An epoch that is run again on a GPU has other numbers: its weights must not stand for one that never counted.
    """
    if best is not None:
        save_checkpoint(best, folder / _NEXT)
    save_checkpoint(state, folder / LAST)
    if best is not None:
        (folder / _NEXT).replace(folder / BEST)


def settle_best(folder: Path, best_epoch: int | None) -> None:
    """End what a kill cut short in `save_epoch`. best_epoch: by `last.pt`; None = there is none yet."""
    following = folder / _NEXT
    if not following.exists():
        return
    state = load_checkpoint(following, torch.device("cpu"))
    if state is not None and state["epoch"] == best_epoch:
        following.replace(folder / BEST)
    else:
        following.unlink()


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state in `path`, or None where there is none yet. Only tensors and plain values are unpickled.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, OSError, UnpicklingError) as error:
        raise InputError(f"{path} is no longer readable; start a new run") from error
    return state
