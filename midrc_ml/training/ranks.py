"""Several processes that train one network together, as torchrun starts them; one process alone is the same in small.

Rank 0 reads, decodes, writes and tracks; the others wait for it, and then train with it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from midrc_ml.errors import InputError

if TYPE_CHECKING:  # asked before the config is composed
    import torch

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# Rank 0 may decode a cohort first. A process that dies needs no limit: torchrun then ends the others.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """rank: of this process, of `world`. local_rank: among those of this machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @classmethod
    def of_environment(cls) -> "Ranks":
        """What torchrun has said; one process where it did not start this one.

        Raises:
            InputError: a variable of torchrun that is not a number.
        """
        given = {name: os.environ.get(name) for name in _VARIABLES}
        if None in given.values():
            return cls()
        try:
            return cls(*(int(str(given[name])) for name in _VARIABLES[:3]))
        except ValueError as error:
            raise InputError(
                f"{', '.join(f'{name}={given[name]}' for name in _VARIABLES[:3])} are not the whole numbers that "
                f"torchrun sets; start with torchrun, or unset them"
            ) from error

    @property
    def is_first(self) -> bool:
        """Whether this process writes and tracks."""
        return self.rank == 0

    def join(self, device_type: str) -> None:
        """Wait for the others; from here on they speak with each other."""
        if self.world == 1:
            return
        # Its functions take the group that stands when it is imported as a default value, and would keep it for ever:
        # the first network that is wrapped for several processes imports it.
        import torch.distributed.nn.functional  # noqa: F401
        from torch import distributed

        # Python objects and sums on a CPU go by gloo, gradients on GPUs by NCCL.
        backend = "cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)

    def leave(self) -> None:
        """Part from the others; again is no harm.

        A process that ends without it, or while a network is still wrapped for several, may be aborted at its end: a
        thread of gloo then frees a tensor when Python is gone.
        """
        if self.world == 1:
            return
        from torch import distributed

        if distributed.is_initialized():
            distributed.destroy_process_group()

    def share(self, thing: Any) -> Any:
        """What rank 0 gave, on every rank."""
        if self.world == 1:
            return thing
        from torch import distributed

        things = [thing]
        distributed.broadcast_object_list(things, src=0, device=_cpu())
        return things[0]

    def gather(self, thing: Any) -> list[Any]:
        """What each rank gave, by rank, on every rank."""
        if self.world == 1:
            return [thing]
        from torch import distributed

        things: list[Any] = [None] * self.world
        # Objects travel by the backend of the CPU: nothing of a GPU may be in them.
        distributed.all_gather_object(things, thing)
        return things

    def align(self, tensors: Iterable["torch.Tensor"]) -> None:
        """Give every rank the values of rank 0, in place."""
        if self.world == 1:
            return
        from torch import distributed

        for tensor in tensors:
            distributed.broadcast(tensor, src=0)

    def total(self, values: "torch.Tensor") -> "torch.Tensor":
        """The sum over ranks, without a gradient."""
        result = values.detach().clone()
        if self.world > 1:
            from torch import distributed

            distributed.all_reduce(result)
        return result


def _cpu() -> "torch.device":
    import torch

    return torch.device("cpu")
