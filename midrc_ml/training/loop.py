"""The training loop: a generator that yields one result per epoch, resumable at any of them.

An epoch is decided by (seed, epoch) alone: its order, its augmentation and its dropout. So an epoch that a
kill cut short is run again from the last checkpoint with the same numbers.
"""

import math
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from midrc_ml.datasets.loader import Ahead
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.errors import InputError
from midrc_ml.training.algorithms import Erm, Session
from midrc_ml.training.batches import EpochBatches, grouped
from midrc_ml.training.checkpoints import BEST, LAST, load_checkpoint, save_checkpoint
from midrc_ml.training.losses import Target
from midrc_ml.training.predict import channels_last, scores
from midrc_ml.training.seeds import generator, seed_everything
from midrc_ml.training.settings import Compute, Monitor, Training

_CHECK_LOSS_EVERY = 20  # steps; a check waits for the GPU


@dataclass(frozen=True)
class EpochResult:
    """One epoch. monitor: the watched value.

    What follows `lr` is measured, and not part of what has to be equal between runs: seconds; images_per_second while
    training; data_wait, the share of that time in which the device waited for batches; memory_gb, the most that was
    taken until then, of the GPU or of the process.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    monitor: float
    best_epoch: int
    lr: float
    seconds: float = 0.0
    images_per_second: float = 0.0
    data_wait: float = 0.0
    memory_gb: float = 0.0


class LossIsNotFinite(InputError):
    """Training ran away; the last good checkpoint is kept."""


def train(
    network: nn.Module,
    data: Mapping[str, StudyDataset],
    target: Target,
    settings: Training,
    compute: Compute,
    monitor: Monitor,
    *,
    seed: int,
    folder: Path,
    algorithm: Session | None = None,
) -> Iterator[EpochResult]:
    """Train `network` on data["train"], watch data["validation"], and yield after each epoch.

    algorithm: what is minimised, begun on the studies of data["train"]; None = the mean over them.

    Writes `last.pt` (everything that resuming needs) after each epoch and `best.pt` (weights) after a better
    one, into `folder`; epochs that stand in `last.pt` are yielded again from its record, not computed.

    Raises:
        LossIsNotFinite: the loss became NaN or infinite.
    """
    device = next(network.parameters()).device
    dtype = compute.autocast_dtype(device)
    ndim = max(parameter.ndim for parameter in network.parameters())
    if ndim in (4, 5):
        network.to(memory_format=channels_last(ndim))  # type: ignore[call-overload]
    averaged = _averaged(network, settings.ema)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16 and device.type == "cuda")
    train_set, validation_set = data["train"], data["validation"]
    algorithm = algorithm or Erm().begin(pd.DataFrame(index=range(len(train_set))), device)
    steps_per_epoch = math.ceil(len(train_set) / (settings.batch_size * settings.accumulate))
    history: list[EpochResult] = []
    best = math.nan
    state = load_checkpoint(folder / LAST, device)
    if state is not None:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        if averaged is not None:
            averaged.load_state_dict(state["averaged"])
        algorithm.load(state["algorithm"])
        history = [EpochResult(**result) for result in state["history"]]
        best = state["best"]
        yield from history

    for epoch in range(len(history) + 1, settings.epochs + 1):
        if settings.patience and history and history[-1].epoch - history[-1].best_epoch >= settings.patience:
            return
        started = time.monotonic()
        seed_everything(seed, epoch)
        draw = generator(seed, epoch, 1)
        order = algorithm.order(draw)
        draws = settings.augmentation.draws(len(train_set), draw) if settings.augmentation else None
        mixtures = settings.augmentation.mixtures(len(train_set), draw) if settings.augmentation else None
        network.train()
        total = torch.zeros((), dtype=torch.float64, device=device)
        shown = EpochBatches(train_set, settings, draws, mixtures, device)
        with Ahead(grouped(shown.batches(order), settings.accumulate)) as groups:
            for step, group in enumerate(groups, start=1):
                lr = _learning_rate((epoch - 1) * steps_per_epoch + step, settings.epochs * steps_per_epoch, settings)
                for parameters in optimizer.param_groups:
                    parameters["lr"] = lr
                size = sum(len(batch.images) for batch in group)
                for batch in group:
                    with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
                        output = network(batch.images)
                    loss = algorithm.loss(batch.losses(output, target), batch.rows)
                    scaler.scale(loss / size).backward()
                    total += loss.detach().double()
                if settings.clip_norm:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad(set_to_none=True)
                if averaged is not None:
                    averaged.update_parameters(network)
                if step % _CHECK_LOSS_EVERY == 0:
                    _check_finite(float(total), epoch, step, settings, folder)
        _check_finite(float(total), epoch, steps_per_epoch, settings, folder)
        trained = time.monotonic() - started

        watched_network = network if averaged is None else averaged.module
        score, validation_loss = scores(
            watched_network, validation_set, target, batch_size=settings.batch_size, device=device, dtype=dtype
        )
        # Before anything is saved: a network whose running statistics overflowed is no good checkpoint.
        _check_finite(validation_loss, epoch, steps_per_epoch, settings, folder, name="validation")
        watched = (
            validation_loss if monitor.metric is None else float(monitor.metric(validation_set.labels.numpy(), score))
        )
        best_epoch = history[-1].best_epoch if history else epoch
        is_better = monitor.better(watched, best)
        if is_better:
            best, best_epoch = watched, epoch
        if is_better or epoch == 1:  # at first there is nothing to compare with, yet there has to be a model
            weights = watched_network.state_dict()
            save_checkpoint({"network": weights, "epoch": epoch, "target": asdict(target)}, folder / BEST)
        history.append(
            EpochResult(
                epoch=epoch,
                train_loss=float(total) / len(train_set),
                validation_loss=validation_loss,
                monitor=watched,
                best_epoch=best_epoch,
                lr=lr,
                seconds=time.monotonic() - started,
                images_per_second=len(train_set) / trained,
                data_wait=groups.waited / trained,
                memory_gb=_memory_gb(device),
            )
        )
        save_checkpoint(
            {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scaler": scaler.state_dict(),
                "algorithm": algorithm.state(),
                "averaged": None if averaged is None else averaged.state_dict(),
                "history": [asdict(result) for result in history],
                "best": best,
            },
            folder / LAST,
        )
        yield history[-1]


def load_best(network: nn.Module, folder: Path) -> Target:
    """Put the weights of the best epoch into `network`; what its output means."""
    device = next(network.parameters()).device
    state = load_checkpoint(folder / BEST, device)
    if state is None:
        raise InputError(f"no {BEST} in {folder}: the run was stopped before its first epoch ended; resume it first")
    network.load_state_dict(state["network"])
    return Target(**state["target"])


def _averaged(network: nn.Module, decay: float) -> AveragedModel | None:
    """The moving average of the weights and of the batch statistics; None without one."""
    if not decay:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def _memory_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def _learning_rate(step: int, total_steps: int, settings: Training) -> float:
    """Linear warm-up, then half a cosine or a line down to zero, or nothing."""
    warmup = max(1, round(settings.warmup * total_steps))
    if step <= warmup:
        return settings.lr * step / warmup
    done = (step - warmup) / max(1, total_steps - warmup)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
    return settings.lr * left[settings.schedule]


def _check_finite(
    total: float, epoch: int, step: int, settings: Training, folder: Path, *, name: str = "training"
) -> None:
    if math.isfinite(total):
        return
    kept = (
        f"the checkpoint of epoch {epoch - 1} is kept in {folder}"
        if epoch > 1
        else "no epoch had ended, so there is no checkpoint"
    )
    raise LossIsNotFinite(
        f"the {name} loss became {total} in epoch {epoch}, by step {step}; {kept}. "
        f"Lower training.lr (now {settings.lr:g}) or use compute.precision=float32"
    )
