"""Settings of training and of the machine, checked when they are made: before a file is read or torch imported."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from midrc_ml.errors import InputError, check_kinds, check_least
from midrc_ml.processes import num_cores

if TYPE_CHECKING:
    import torch

    from midrc_ml.datasets.augmentation import Augmentation

Precision = Literal["auto", "float32", "bfloat16", "float16"]
PRECISIONS = get_args(Precision)
Schedule = Literal["cosine", "linear", "constant"]
SCHEDULES = get_args(Schedule)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained.

    lr: the highest learning rate, reached after `warmup` (a fraction of all steps) and then lowered to zero along a
    `schedule` (cosine or linear), or kept (constant). accumulate: batches whose gradients make one step. ema: decay a
    step of a moving average of the weights, which is then what is validated, kept and used; 0 = none. patience: epochs
    without a better `monitor` after which training stops; 0 = never. monitor: `loss` of the validation part, or a
    metric of the task; whether high or low is better follows from its name. clip_norm: largest norm of the gradient;
    0 = not clipped.
    """

    epochs: int = 30
    batch_size: int = 32
    lr: float = 3e-4
    weight_decay: float = 1e-4
    warmup: float = 0.1
    patience: int = 8
    monitor: str = "loss"
    clip_norm: float = 1.0
    accumulate: int = 1
    ema: float = 0.0
    schedule: Schedule = "cosine"
    augmentation: "Augmentation | None" = None

    def __post_init__(self) -> None:
        check_kinds(self, "training")
        least = {"epochs": 1, "batch_size": 2, "patience": 0, "weight_decay": 0, "warmup": 0, "clip_norm": 0}
        check_least(self, "training", **least, accumulate=1, ema=0)
        if self.ema >= 1:
            raise InputError(f"training.ema is {self.ema!r}; it must be below 1 (0.999 is usual)")
        if self.schedule not in SCHEDULES:
            raise InputError(f"training.schedule is {self.schedule!r}; it must be one of {', '.join(SCHEDULES)}")
        if not 0 < self.lr < math.inf:
            raise InputError(f"training.lr is {self.lr!r}; it must be above 0")
        if self.augmentation is not None and not hasattr(self.augmentation, "apply"):  # a class of one's own is welcome
            raise InputError(f"training.augmentation is {self.augmentation!r}; give null, or settings of it by name")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What a run computes on.

    device: auto | cpu | cuda | cuda:N. precision: of the forward pass; auto = the fastest that the device
    computes natively. num_processes: for decoding; num_threads: for torch; None = all cores. ray: the address of a
    Ray cluster that decodes instead (auto, HOST:PORT, local); it has to see the files under the same names.
    """

    device: str = "auto"
    precision: Precision = "auto"
    num_processes: int | None = None
    num_threads: int | None = None
    ray: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "compute")
        check_least(self, "compute", num_processes=1, num_threads=1)
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise InputError(f"compute.device is {self.device!r}; it must be auto, cpu, cuda or cuda:N")
        if self.precision not in PRECISIONS:
            raise InputError(f"compute.precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")

    def processes(self) -> int:
        """How many processes may run side by side."""
        return self.num_processes or num_cores()

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
        return torch.device(name)

    def autocast_dtype(self, device: "torch.device") -> "torch.dtype | None":
        """The type of the forward pass under autocast; None = float32 without autocast."""
        import torch

        types = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
        if self.precision in types:
            return types[self.precision]
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        # On a CPU without bfloat16 instructions autocast computes the same more slowly.
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """What decides which epoch is best: its name, how to compute it, whether low is better."""

    name: str
    metric: Callable[..., Any] | None  # None = the validation loss
    lower_is_better: bool

    @classmethod
    def of(cls, name: str, metrics: Mapping[str, Callable[..., Any]], *, lower_is_better: bool) -> "Monitor":
        """`loss`, or a metric of the task that needs nothing but truth and score.

        Raises:
            InputError: no such metric.
        """
        if name == "loss":
            return cls(name=name, metric=None, lower_is_better=True)
        usable = [known for known, metric in metrics.items() if "threshold" not in inspect.signature(metric).parameters]
        if name not in usable:
            raise InputError(
                f"training.monitor is {name!r}; for this task it must be loss or one of {', '.join(usable)}"
            )
        return cls(name=name, metric=metrics[name], lower_is_better=lower_is_better)

    def better(self, value: float, than: float) -> bool:
        """Whether `value` beats `than`; a value that cannot be estimated never does."""
        if math.isnan(value):
            return False
        return math.isnan(than) or (value < than if self.lower_is_better else value > than)
