"""Settings of training and of the machine, checked when they are made."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from midrc_ml.errors import InputError

if TYPE_CHECKING:
    import torch

    from midrc_ml.datasets.augmentation import Augmentation

Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained.

    lr: the highest learning rate, reached after `warmup` (a fraction of all steps) and then lowered along a
    cosine. patience: epochs without a better `monitor` after which training stops; 0 = never.
    monitor: `loss` of the validation part, or a metric of the task; whether high or low is better follows
    from its name. clip_norm: largest norm of the gradient; 0 = not clipped.
    """

    epochs: int = 30
    batch_size: int = 32
    lr: float = 3e-4
    weight_decay: float = 1e-4
    warmup: float = 0.1
    patience: int = 8
    monitor: str = "loss"
    clip_norm: float = 1.0
    augmentation: "Augmentation | None" = None

    def __post_init__(self) -> None:
        rules = {"epochs": 1, "batch_size": 2, "patience": 0, "clip_norm": 0, "weight_decay": 0, "warmup": 0}
        for name, least in rules.items():
            if getattr(self, name) < least:
                raise InputError(f"training.{name} is {getattr(self, name)}; it must be at least {least}")
        if not self.lr > 0:
            raise InputError(f"training.lr is {self.lr}; it must be above 0")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What a run computes on.

    device: auto | cpu | cuda | cuda:N. precision: of the forward pass; auto = the fastest that the device
    computes natively. num_processes: for decoding; num_threads: for torch; None = all cores.
    """

    device: str = "auto"
    precision: Precision = "auto"
    num_processes: int | None = None
    num_threads: int | None = None

    def processes(self) -> int:
        """How many processes may run side by side."""
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return self.num_processes or available or 1

    def torch_device(self) -> "torch.device":
        """The device.

        Raises:
            InputError: a GPU was asked for and none is there.
        """
        import torch

        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(
                f"compute.device is {self.device}, but torch finds no GPU here; use compute.device=cpu or auto"
            )
        name = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise InputError(f"compute.device is {self.device!r}; it must be auto, cpu, cuda or cuda:N") from error

    def autocast_dtype(self, device: "torch.device") -> "torch.dtype | None":
        """The type of the forward pass under autocast; None = float32 without autocast."""
        import torch

        types = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
        if self.precision in types:
            return types[self.precision]
        if self.precision != "auto":
            raise InputError(f"compute.precision is {self.precision!r}; it must be auto, {', '.join(types)}")
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        # On a CPU without bfloat16 instructions autocast computes the same more slowly.
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None
