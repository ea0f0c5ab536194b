"""One step of training: forward, backward, optimizer, moving average; on one device or on several together."""

import copy
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from midrc_ml.training.algorithms import Session
from midrc_ml.training.batches import Batch, Stall
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
        self.network, self.target, self._algorithm, self._ranks = network, target, algorithm, ranks
        self._clip_norm = settings.clip_norm
        ndim = max(parameter.ndim for parameter in network.parameters())
        if ndim in (4, 5):
            network.to(memory_format=channels_last(ndim))  # type: ignore[call-overload]
        if compute.compile:
            network.compile()
        self._averaged = MovingAverage(network, settings.ema) if settings.ema else None
        self._optimizer = (torch.optim.AdamW if compute.compile else EagerAdamW)(
            network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        self._compute_in(compute.autocast_dtype(self.device, ndim=ndim))
        self._runner = network
        if ranks.world > 1:
            places = [self.device.index] if self.device.type == "cuda" else None
            self._runner = nn.parallel.DistributedDataParallel(network, device_ids=places)

    @property
    def watched(self) -> nn.Module:
        """The network that is validated and kept: the average of the weights, where there is one."""
        return self.network if self._averaged is None else self._averaged.network

    @property
    def precision(self) -> str:
        """The name of the type in which it computes."""
        return str(self.dtype or torch.float32).removeprefix("torch.")

    def _compute_in(self, dtype: torch.dtype | None) -> None:
        """dtype: of autocast; None = all of it in float32."""
        self.dtype = dtype
        # The smallest gradients would be 0 in float16.
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=dtype is torch.float16)

    def step(self, batches: Iterable[Batch], size: int, lr: float, stalls: list[Stall] | None = None) -> torch.Tensor:
        """One step over `size` studies; the sum of the losses of this rank's, on the device.

        batches: in which they come; one at a time is held. stalls: where the GPU's waits are added.
        """
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = lr
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        left = size
        for batch in batches:
            stall = batch.wait()
            if stall is not None and stalls is not None:
                stalls.append(stall)
            left -= batch.count
            waits = left > 0 and self._ranks.world > 1
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
            self._averaged.update()
        return total

    def _check(self, output: Any, count: int) -> None:
        """Logits of another shape could be learned from without an error, to no good."""
        gives = tuple(output.shape) if isinstance(output, torch.Tensor) else f"a {type(output).__name__}"
        if gives != (count, self.target.num_outputs):
            raise ValueError(f"the network gives {gives} for {count} studies")

    def end_epoch(self) -> None:
        """Make the running statistics, of which each rank has its own, those of the first."""
        self._ranks.align(self.watched.buffers())

    def state(self) -> dict[str, Any]:
        """Everything that going on needs."""
        return {
            "dtype": self.dtype,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "algorithm": self._algorithm.state(),
            "averaged": None if self._averaged is None else self._averaged.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, in the precision in which that was begun, whatever this device would choose."""
        self._compute_in(state["dtype"])
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self._algorithm.load(state["algorithm"])
        if self._averaged is not None:
            self._averaged.load(state["averaged"])


class MovingAverage:
    """The exponential moving average of a network's weights and statistics, without a wait for the device.

    Its decay is at most n / (9 + n) after n steps (0 at first), so that it soon forgets how the network began.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begin with `network` as it is."""
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay
        self._num_steps = 0
        pairs = list(zip(self.network.state_dict().values(), network.state_dict().values(), strict=True))
        self._averages, self._values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take in what the network is now."""
        decay = min(self._decay, self._num_steps / (9 + self._num_steps))
        self._num_steps += 1
        torch._foreach_lerp_(self._averages, self._values, 1 - decay)
        for count, value in self._counts:
            count.copy_(value)

    def state(self) -> dict[str, Any]:
        """Everything that going on needs."""
        return {"network": self.network.state_dict(), "num_steps": self._num_steps}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.network.load_state_dict(state["network"])
        self._num_steps = state["num_steps"]


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
