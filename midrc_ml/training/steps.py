"""One step of training: forward, backward, optimizer, moving average; on one device or on several together."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from midrc_ml.training.algorithms import Session
from midrc_ml.training.batches import Batch
from midrc_ml.training.losses import Target
from midrc_ml.training.predict import channels_last
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Training

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def _unwrapped(method: Any) -> Any:
    """The method without the decorator that tells the compiler to leave it alone."""
    return getattr(method, "__wrapped__", method)


class EagerAdamW(torch.optim.AdamW):
    """The same, without the import of torch's compiler, which takes as long as torch itself at every start."""

    add_param_group = _unwrapped(torch.optim.Optimizer.add_param_group)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step."""
        return _unwrapped(torch.optim.AdamW.step)(self, closure)


class Stepper:
    """Trains `network`, in place, step by step.

    Gradients are those of the mean loss over the studies of a step, wherever these were computed: by one process, by
    several ranks, or in several batches.
    """

    def __init__(
        self, network: nn.Module, target: Target, settings: Training, compute: Compute, algorithm: Session, ranks: Ranks
    ) -> None:
        """Prepare `network`: memory format, compilation, the other ranks."""
        self.device = next(network.parameters()).device
        self.dtype = compute.autocast_dtype(self.device)
        self.network, self.target, self._algorithm, self._ranks = network, target, algorithm, ranks
        self._clip_norm = settings.clip_norm
        ndim = max(parameter.ndim for parameter in network.parameters())
        if ndim in (4, 5):
            network.to(memory_format=channels_last(ndim))  # type: ignore[call-overload]
        if compute.compile:
            network.compile()
        self._averaged: AveragedModel | None = None
        if settings.ema:
            average = get_ema_multi_avg_fn(settings.ema)
            self._averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
        self._optimizer = (torch.optim.AdamW if compute.compile else EagerAdamW)(
            network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        is_scaled = self.dtype is torch.float16 and self.device.type == "cuda"
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=is_scaled)
        self._runner = network
        if ranks.world > 1:
            places = [self.device.index] if self.device.type == "cuda" else None
            self._runner = nn.parallel.DistributedDataParallel(network, device_ids=places)

    @property
    def watched(self) -> nn.Module:
        """The network that is validated and kept: the average of the weights, where there is one."""
        return self.network if self._averaged is None else self._averaged.module

    def step(self, group: Sequence[Batch], lr: float) -> torch.Tensor:
        """One step over the batches of `group`; the sum of the losses of this rank's studies, on the device."""
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = lr
        size = sum(batch.count for batch in group)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for position, batch in enumerate(group, start=1):
            batch.wait()
            waits = position < len(group) and self._ranks.world > 1
            with self._runner.no_sync() if waits else nullcontext():  # type: ignore[operator]
                with torch.autocast(self.device.type, dtype=self.dtype or torch.bfloat16, enabled=bool(self.dtype)):
                    output = self._runner(*batch.inputs)
                self._check(output, len(batch.inputs[0]))
                loss = self._algorithm.loss(batch.losses(output, self.target), batch.rows, self._ranks.total)
                if not len(batch.rows):  # none of this rank; the others wait for its part all the same
                    loss = output.sum() * 0
                # The mean over ranks, which is what they exchange, has to be the sum.
                self._scaler.scale(loss * (self._ranks.world / size)).backward()
            total += loss.detach().double()
        if self._clip_norm:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if self._averaged is not None:
            self._averaged.update_parameters(self.network)
        return total

    def _check(self, output: torch.Tensor, count: int) -> None:
        """Logits of another shape could be learned from without an error, to no good."""
        if tuple(output.shape) != (count, self.target.num_outputs):
            raise ValueError(f"the network gives {tuple(output.shape)} for {count} studies")

    def end_epoch(self) -> None:
        """Make the running statistics, of which each rank has its own, those of the first."""
        self._ranks.align(self.watched.buffers())

    def state(self) -> dict[str, Any]:
        """Everything that going on needs."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "algorithm": self._algorithm.state(),
            "averaged": None if self._averaged is None else self._averaged.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._algorithm.load(state["algorithm"])
        if self._averaged is not None:
            self._averaged.load_state_dict(state["averaged"])


def with_shared_statistics(network: nn.Module, device: torch.device, ranks: Ranks) -> tuple[nn.Module, str]:
    """The network for several ranks, and what to say of its batch statistics ('' = nothing).

    On GPUs they are those of all ranks together; on a CPU torch computes them for each rank alone.
    """
    has_statistics = any(isinstance(module, _BATCH_NORM) for module in network.modules())
    if ranks.world == 1 or not has_statistics:
        return network, ""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network), ""
    words = (
        f"Batch statistics on a CPU are of each process's own studies: with {ranks.world} processes the network "
        f"differs from one that a single process trains"
    )
    return network, words
