"""Settings of training and of the machine, checked when they are made: before a file is read or torch imported."""

import functools
import math
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from midrc_ml.errors import InputError, check_kinds, check_least
from midrc_ml.processes import num_cores
from midrc_ml.training.losses import LOSSES
from midrc_ml.training.ranks import Ranks

if TYPE_CHECKING:
    import torch

    from midrc_ml.datasets.augmentation import Augmentation

Precision = Literal["auto", "float32", "bfloat16", "float16"]
PRECISIONS = get_args(Precision)
Schedule = Literal["cosine", "linear", "constant"]
SCHEDULES = get_args(Schedule)
ClassWeight = Literal["none", "balanced"]
CLASS_WEIGHTS = get_args(ClassWeight)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained.

    lr: the highest learning rate, reached after `warmup` (a share of all steps, below 1), then lowered to zero along a
    `schedule` (cosine or linear), or kept (constant). accumulate: batches whose gradients make one step. ema: decay a
    step of a moving average of the weights, which is then what is validated, kept and used; 0 = none. patience: epochs
    without a better `monitor` after which training stops; 0 = never. monitor: `loss` of the validation part, a metric
    of the task, or `worst_group_` before its name (`monitor.Monitor`). clip_norm: largest norm of the gradient; 0 = not
    clipped. loss: of the task's kind (`losses.LOSSES`); auto = the first of them. class_weight: balanced = every class
    weighs as much in sum; drawing them equally often is `algorithm=balanced`. transform: of MONAI, on the item of each
    training study by itself (image uint8 0..255, which has to keep its shape and range), before `augmentation`.
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
    loss: str = "auto"
    class_weight: ClassWeight = "none"
    transform: Callable[..., Any] | None = None
    augmentation: "Augmentation | None" = None

    def __post_init__(self) -> None:
        check_kinds(self, "training")
        least = {"epochs": 1, "batch_size": 2, "patience": 0, "weight_decay": 0, "warmup": 0, "clip_norm": 0}
        check_least(self, "training", **least, accumulate=1, ema=0)
        if self.ema >= 1:
            raise InputError(f"training.ema is {self.ema!r}; it must be below 1 (0.999 is usual)")
        if self.warmup >= 1:
            raise InputError(f"training.warmup is {self.warmup!r}; it is a share of all steps, and must be below 1")
        if self.schedule not in SCHEDULES:
            raise InputError(f"training.schedule is {self.schedule!r}; it must be one of {', '.join(SCHEDULES)}")
        if self.class_weight not in CLASS_WEIGHTS:
            raise InputError(
                f"training.class_weight is {self.class_weight!r}; it must be one of {', '.join(CLASS_WEIGHTS)}"
            )
        losses = dict.fromkeys(name for names in LOSSES.values() for name in names)
        if self.loss not in ("auto", *losses):
            raise InputError(f"training.loss is {self.loss!r}; it must be auto or one of {', '.join(losses)}")
        if self.transform is not None and not callable(self.transform):
            raise InputError(
                f"training.transform is {self.transform!r}; give null, or a `_target_` such as monai.transforms.Compose"
            )
        if not 0 < self.lr < math.inf:
            raise InputError(f"training.lr is {self.lr!r}; it must be above 0")
        if self.augmentation is not None and not hasattr(self.augmentation, "apply"):  # a class of one's own is welcome
            raise InputError(f"training.augmentation is {self.augmentation!r}; give null, or settings of it by name")


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What a run computes on.

    device: auto | cpu | cuda | cuda:N. precision: of the forward pass; auto = the fastest that the device
    computes natively. num_processes: for decoding; num_threads: for torch; None = all cores. num_workers: processes
    that make the batches; 0 = a thread, which is enough but for training.transform. ray: the address of a Ray cluster
    that decodes instead (auto, HOST:PORT, local); it has to see the files under the same names.
    compile: the network by torch.compile: seconds to minutes at first, then faster steps on a GPU. deterministic: only
    algorithms that give the same bits again, on a GPU too. resident: all images live on the device; None = on a GPU,
    where they fit, but with training.transform or num_workers, which read them on the host. profile: write what the
    first steps spend their time on into the run's folder.
    """

    device: str = "auto"
    precision: Precision = "auto"
    num_processes: int | None = None
    num_threads: int | None = None
    num_workers: int = 0
    compile: bool = False
    deterministic: bool = False
    resident: bool | None = None
    profile: bool = False
    ray: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "compute")
        check_least(self, "compute", num_processes=1, num_threads=1, num_workers=0)
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise InputError(f"compute.device is {self.device!r}; it must be auto, cpu, cuda or cuda:N")
        if self.precision not in PRECISIONS:
            raise InputError(f"compute.precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}")

    def processes(self) -> int:
        """How many processes may run side by side."""
        return self.num_processes or num_cores()

    def torch_device(self, ranks: Ranks = Ranks()) -> "torch.device":  # noqa: B008 - frozen
        """The device of this rank.

        Raises:
            InputError: a GPU was asked for and none is there, or fewer than processes.
        """
        import torch

        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(
                f"compute.device is {self.device}, but torch finds no GPU here; use compute.device=cpu or auto"
            )
        name = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        if ranks.world == 1 or name == "cpu":
            if name.startswith("cuda:") and int(name.removeprefix("cuda:")) >= torch.cuda.device_count():
                raise InputError(
                    f"compute.device is {name}, but torch finds {torch.cuda.device_count()} GPUs here, numbered from "
                    f"0; give one of these, or auto"
                )
            return torch.device(name)
        if name != "cuda":
            raise InputError(
                f"compute.device is {name}, but each process of torchrun takes a GPU of its own; give cuda"
            )
        if ranks.local_rank >= torch.cuda.device_count():
            raise InputError(
                f"torchrun started more processes here than the {torch.cuda.device_count()} GPUs that torch finds; "
                f"give --nproc-per-node={torch.cuda.device_count()}, or compute.device=cpu"
            )
        return torch.device("cuda", ranks.local_rank)

    def prepared_device(self, ranks: Ranks) -> "torch.device":
        """The device, with what these settings say of torch done.

        Raises:
            InputError: as `torch_device`.
        """
        import torch

        device = self.torch_device(ranks)
        # What a run before, of the same process, asked for is undone where this one does not ask for it.
        if self.num_threads or _threads_before.cache_info().currsize:
            before = _threads_before()
            torch.set_num_threads(self.num_threads or before)
        if device.type == "cuda":
            torch.cuda.set_device(device)
            torch.backends.cudnn.benchmark = not self.deterministic
            # cuBLAS is deterministic with this alone, and torch looks once only, at the first product of matrices.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # To set it imports torch's compiler.
        if self.deterministic != torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(self.deterministic)
        return device

    def check(self, training: Training, ranks: Ranks) -> None:
        """Refuse what cannot be done here or together with `training`, before hours go into decoding.

        Raises:
            InputError: as `torch_device`; no compiler; or images that would have to be in two places.
        """
        if self.resident and self.items_on_host(training):
            raise InputError(
                "compute.resident is true, but training.transform and compute.num_workers make batches on the host; "
                "give compute.resident=null"
            )
        if (self.device.startswith("cuda") or self.compile) and (
            self.torch_device(ranks).type == "cpu"  # so compile it is
            and not any(map(shutil.which, ("c++", "g++", "clang++")))
        ):
            raise InputError("compute.compile is true, but no C++ compiler is here; install g++, or leave it out")

    def items_on_host(self, training: Training) -> bool:
        """Whether batches are made study by study or by other processes, which cannot read from a GPU."""
        return training.transform is not None or self.num_workers > 0

    def autocast_dtype(self, device: "torch.device", *, ndim: int = 4) -> "torch.dtype | None":
        """The type of the forward pass under autocast; None = float32 without autocast.

        ndim: of the network's largest parameter: 5 for one of volumes.
        """
        import torch

        types = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
        if self.precision in types:
            return types[self.precision]
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        # On a CPU the gradient of a convolution over 2 x 2 x 2 voxels is NaN at times in bfloat16 (torch 2.13).
        # Without bfloat16 instructions autocast computes the same more slowly.
        return torch.bfloat16 if ndim < 5 and torch.cpu._is_avx512_bf16_supported() else None


@functools.cache
def _threads_before() -> int:
    """How many threads torch had when it was first asked, which is before a run sets them."""
    import torch

    return torch.get_num_threads()
