"""The training loop: a generator that yields one result per epoch, resumable at any of them.

An epoch is decided by (seed, epoch) alone: its order, its augmentation and its dropout. So an epoch that a
kill cut short is run again from the last checkpoint with the same numbers.
"""

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from midrc_ml.datasets.loader import Ahead
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.errors import InputError
from midrc_ml.training.algorithms import Erm, Session
from midrc_ml.training.batches import EpochBatches, Stall, sizes
from midrc_ml.training.checkpoints import BEST, LAST, load_checkpoint, save_epoch, settle_best
from midrc_ml.training.losses import Target, as_dict, from_dict
from midrc_ml.training.memory import does_not_fit, largest_batch
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.predict import ONE_PROCESS, scores
from midrc_ml.training.profiling import Profile
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.seeds import generator, seed_everything
from midrc_ml.training.settings import Compute, Training
from midrc_ml.training.steps import Stepper

_CHECK_LOSS_EVERY = 20  # steps; a check waits for the GPU


@dataclass(frozen=True)
class EpochResult:
    """One epoch. monitor: the watched value. metrics: of the validation part, those that can be estimated.

    precision: float32, or that of autocast.

    What follows is measured, and not part of what has to be equal between runs: seconds; images_per_second and
    step_ms, the mean time of a step, while training; data_wait, the share of that time in which training waited for
    batches, on a GPU with the time in which the GPU did; memory_gb, the most that was taken until then, of the GPU or
    of the process.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    monitor: float
    best_epoch: int
    lr: float
    precision: str = "float32"
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    images_per_second: float = 0.0
    step_ms: float = 0.0
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
    ranks: Ranks = ONE_PROCESS,
    begun: Callable[[], None] = lambda: None,
) -> Iterator[EpochResult]:
    """Train `network` on data["train"], watch data["validation"], and yield after each epoch.

    algorithm: what is minimised, begun on the studies of data["train"]; None = the mean over them. begun: called once,
    when the first step is done, or before epochs of an earlier start are yielded.

    Writes `last.pt` (everything that resuming needs) after each epoch and `best.pt` (weights) after a better
    one, into `folder`; epochs that stand in `last.pt` are yielded again from its record, not computed.
    Of several ranks all train and yield, and the first writes.

    Raises:
        LossIsNotFinite: the loss became NaN or infinite.
        DoesNotFit: the GPU has too little memory; the message names what fits.
    """
    device = next(network.parameters()).device
    train_set, validation_set = data["train"], data["validation"]
    algorithm = algorithm or Erm().begin(pd.DataFrame(index=range(len(train_set))), device)
    stepper = Stepper(network, target, settings, compute, algorithm, ranks)
    history: list[EpochResult] = []
    best = math.nan
    state = load_checkpoint(folder / LAST, device)
    if state is not None:
        stepper.load(state)
        history = [EpochResult(**result) for result in state["history"]]
        best = state["best"]
        begun()
    if ranks.is_first:
        settle_best(folder, history[-1].best_epoch if history else None)
    yield from history

    for epoch in range(len(history) + 1, settings.epochs + 1):
        if settings.patience and history and history[-1].epoch - history[-1].best_epoch >= settings.patience:
            return
        started = time.monotonic()
        is_profiled = compute.profile and epoch == 1 and ranks.is_first
        shown = _Epoch(
            stepper=stepper,
            dataset=train_set,
            settings=settings,
            compute=compute,
            algorithm=algorithm,
            ranks=ranks,
            seed=seed,
            epoch=epoch,
            folder=folder,
            begun=begun if epoch == 1 else lambda: None,
        )
        total, lr, seconds, waited = shown.train(folder.parent if is_profiled else None)

        score, validation_loss = scores(
            stepper.watched,
            validation_set,
            target,
            batch_size=settings.batch_size,
            device=device,
            dtype=stepper.dtype,
            ranks=ranks,
        )
        # Before anything is saved: a network whose running statistics overflowed is no good checkpoint.
        shown.check_finite(validation_loss, len(shown.steps), name="validation")
        truth = validation_set.labels.numpy()
        watched = monitor.value(truth, score, validation_loss)
        metrics = {name: float(metric(truth, score)) for name, metric in monitor.metrics.items()}
        best_epoch = history[-1].best_epoch if history else epoch
        is_better = monitor.better(watched, best)
        if is_better:
            best, best_epoch = watched, epoch
        history.append(
            EpochResult(
                epoch=epoch,
                train_loss=total / len(train_set),
                validation_loss=validation_loss,
                monitor=watched,
                best_epoch=best_epoch,
                lr=lr,
                precision=stepper.precision,
                metrics={name: value for name, value in metrics.items() if not math.isnan(value)},
                seconds=time.monotonic() - started,
                images_per_second=len(train_set) / seconds,
                step_ms=1000 * seconds / len(shown.steps),
                data_wait=waited / seconds,
                memory_gb=_memory_gb(device),
            )
        )
        if ranks.is_first:
            record = {"history": [asdict(result) for result in history], "best": best}
            weights = {"network": stepper.watched.state_dict(), "epoch": epoch, "target": as_dict(target)}
            # At first there is no other, yet there has to be a model.
            save_epoch(stepper.state() | record, weights if is_better or epoch == 1 else None, folder)
        yield history[-1]


def load_best(network: nn.Module, folder: Path) -> Target:
    """Put the weights of the best epoch into `network`; what its output means."""
    device = next(network.parameters()).device
    state = load_checkpoint(folder / BEST, device)
    if state is None:
        raise InputError(f"no {BEST} in {folder}: the run was stopped before its first epoch ended; resume it first")
    network.load_state_dict(state["network"])
    return from_dict(state["target"])


@dataclass(frozen=True, kw_only=True)
class _Epoch:
    """The steps of one epoch. folder: of the checkpoints."""

    stepper: Stepper
    dataset: StudyDataset
    settings: Training
    compute: Compute
    algorithm: Session
    ranks: Ranks
    seed: int
    epoch: int
    folder: Path
    begun: Callable[[], None]

    @cached_property
    def steps(self) -> Sequence[Sequence[int]]:
        """Of each step the sizes of its batches."""
        of_batch = sizes(len(self.dataset), self.settings.batch_size)
        at_once = self.settings.accumulate
        return [of_batch[start : start + at_once] for start in range(0, len(of_batch), at_once)]

    def train(self, profile_to: Path | None) -> tuple[float, float, float, float]:
        """The sum of the losses, the last learning rate, the seconds of it, and of those the waiting for batches."""
        try:
            return self._train(profile_to)
        except torch.OutOfMemoryError:
            pass
        # Here the error and all that it held on to are gone.
        stepper = self.stepper
        raise does_not_fit(
            self.settings,
            self.ranks,
            is_resident=not self.dataset.images_on_host,
            find=lambda: largest_batch(stepper.network, self.dataset, stepper.target, self.settings, stepper.dtype),
        )

    def _train(self, profile_to: Path | None) -> tuple[float, float, float, float]:
        # Of several ranks each has other studies, for which dropout draws other numbers.
        seed_everything(self.seed, self.epoch, *([self.ranks.rank] if self.ranks.rank else []))
        draw = generator(self.seed, self.epoch, 1)
        order = self.algorithm.order(draw)
        augmentation = self.settings.augmentation
        draws = augmentation.draws(len(order), draw) if augmentation else None
        mixtures = augmentation.mixtures(len(order), draw) if augmentation else None
        self.dataset.seeds = (self.seed, self.epoch)
        self.stepper.network.train()
        device = self.stepper.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        lr = 0.0
        workers = self.compute.num_workers
        shown = EpochBatches(self.dataset, order, self.settings, draws, mixtures, device, self.ranks, workers)
        stalls: list[Stall] = []
        started = time.monotonic()
        with (
            Profile(profile_to, device, num_steps=len(self.steps)) as profile,
            Ahead(shown.batches()) as ahead,
        ):
            batches = iter(ahead)
            for step, of_step in enumerate(self.steps, start=1):
                lr = self._learning_rate(step)
                total += self.stepper.step(islice(batches, len(of_step)), sum(of_step), lr, stalls)
                if step == 1:
                    paused = time.monotonic()
                    self.begun()
                    started += time.monotonic() - paused  # what it takes is none of the training
                profile.step()
                if step % _CHECK_LOSS_EVERY == 0:
                    self.check_finite(float(total), step)
        self.stepper.end_epoch()
        summed = float(self.ranks.total(total))  # waits for the GPU
        seconds = time.monotonic() - started
        self.check_finite(summed, len(self.steps))
        return summed, lr, seconds, ahead.waited + sum(before.elapsed_time(after) for before, after in stalls) / 1000

    def _learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine or a line down to zero, or nothing."""
        total_steps = self.settings.epochs * len(self.steps)
        done_steps = (self.epoch - 1) * len(self.steps) + step
        warmup = max(1, round(self.settings.warmup * total_steps))
        if done_steps <= warmup:
            return self.settings.lr * done_steps / warmup
        done = (done_steps - warmup) / max(1, total_steps - warmup)
        left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
        return self.settings.lr * left[self.settings.schedule]

    def check_finite(self, total: float, step: int, *, name: str = "training") -> None:
        """Stop where a loss ran away."""
        if math.isfinite(total):
            return
        kept = (
            f"the checkpoint of epoch {self.epoch - 1} is kept in {self.folder}"
            if self.epoch > 1
            else "no epoch had ended, so there is no checkpoint"
        )
        or_else = "" if self.stepper.dtype is None else ", or use compute.precision=float32"
        raise LossIsNotFinite(
            f"the {name} loss became {total} in epoch {self.epoch}, by step {step}; {kept}. "
            f"Lower training.lr (now {self.settings.lr:g}){or_else}"
        )


def _memory_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
