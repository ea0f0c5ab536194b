"""What the network's outputs mean for each kind of task: their number, their loss, and the score made of them.

A target is learned on the training labels alone, and is plain values, so that a checkpoint can hold it.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from midrc_ml.errors import InputError

if TYPE_CHECKING:  # losses are named when the config is read: before torch is imported
    import torch

LOSSES = {
    "binary": ("cross_entropy", "focal"),
    "multiclass": ("cross_entropy", "focal"),
    "ordinal": ("cumulative", "smooth_l1", "l1", "mse"),
    "regression": ("smooth_l1", "l1", "mse"),
    "time_to_event": ("hazards",),
}
"""The losses of each kind of task; the first is `auto`."""
_FOCUS = 2.0  # of the focal loss: Lin et al., ICCV 2017, arXiv 1708.02002
_MOST_LEVELS = 100
_NUM_INTERVALS = 10


class Target(Protocol):
    """The outputs of one task."""

    kind: ClassVar[str]

    @property
    def num_outputs(self) -> int:
        """Outputs of the network for one study."""

    def losses(self, output: "torch.Tensor", label: "torch.Tensor") -> "torch.Tensor":
        """The loss of each study, float32 (study,). output: (study, num_outputs). label: (study,) or (study, 2)."""

    def score(self, output: "torch.Tensor") -> "torch.Tensor":
        """What is predicted, float64 (study,), or (study, class)."""


@dataclass(frozen=True)
class Binary:
    """One logit; the score is a probability. weights: of a negative and a positive study, or none."""

    kind: ClassVar[str] = "binary"
    loss: str = "cross_entropy"
    weights: tuple[float, ...] = ()

    @property
    def num_outputs(self) -> int:  # noqa: D102
        return 1

    def losses(self, output: "torch.Tensor", label: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        import torch
        from torch.nn import functional

        value = output.float().squeeze(1)
        losses = functional.binary_cross_entropy_with_logits(value, label, reduction="none")
        if self.loss == "focal":
            losses = losses * (1 - torch.exp(-losses)) ** _FOCUS
        if not self.weights:
            return losses
        negative, positive = self.weights
        return losses * (negative + label * (positive - negative))

    def score(self, output: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        return output.double().squeeze(1).sigmoid()


@dataclass(frozen=True)
class Classes:
    """A logit for each class; the scores are probabilities. weights: of the classes, or none."""

    kind: ClassVar[str] = "multiclass"
    num_classes: int
    loss: str = "cross_entropy"
    weights: tuple[float, ...] = ()

    @property
    def num_outputs(self) -> int:  # noqa: D102
        return self.num_classes

    def losses(self, output: "torch.Tensor", label: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        import torch
        from torch.nn import functional

        position = label.long()
        losses = functional.cross_entropy(output.float(), position, reduction="none")
        if self.loss == "focal":
            losses = losses * (1 - torch.exp(-losses)) ** _FOCUS
        return losses * _constant(self.weights, output.device)[position] if self.weights else losses

    def score(self, output: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        return output.double().softmax(dim=1)


@dataclass(frozen=True)
class Amount:
    """The label in standard deviations of the training labels; the score is in the label's unit."""

    kind: ClassVar[str] = "regression"
    mean: float
    scale: float
    loss: str = "smooth_l1"

    @property
    def num_outputs(self) -> int:  # noqa: D102
        return 1

    def losses(self, output: "torch.Tensor", label: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        from torch.nn import functional

        loss = {"smooth_l1": functional.smooth_l1_loss, "l1": functional.l1_loss, "mse": functional.mse_loss}[self.loss]
        return loss(output.float().squeeze(1), (label - self.mean) / self.scale, reduction="none")

    def score(self, output: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        return output.double().squeeze(1) * self.scale + self.mean


@dataclass(frozen=True)
class Ordered:
    """A logit for each step between neighbouring levels: is the label above it? The score is the expected label.

    levels: the whole numbers from the lowest to the highest training label.
    Source: the extended binary problem of Li and Lin, NeurIPS 2006; as CORAL, without shared weights.
    """

    kind: ClassVar[str] = "ordinal"
    levels: tuple[float, ...]
    loss: str = "cumulative"

    @property
    def num_outputs(self) -> int:  # noqa: D102
        return len(self.levels) - 1

    def losses(self, output: "torch.Tensor", label: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        from torch.nn import functional

        low = _constant(self.levels[:-1], output.device)
        # A mean of two readers lies between two levels: that step is then taken in part.
        taken = (label[:, None] - low).clamp(0, 1)
        return functional.binary_cross_entropy_with_logits(output.float(), taken, reduction="none").mean(dim=1)

    def score(self, output: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        return self.levels[0] + output.double().sigmoid().sum(dim=1)


@dataclass(frozen=True)
class Hazards:
    """A logit for each interval of time: does the event come in it, if not before? The score is the risk of it at all.

    ends: of the intervals, in days; what comes after the last is not told apart.
    Source: Gensheimer and Narasimhan, PeerJ 2019, doi 10.7717/peerj.6257.
    """

    kind: ClassVar[str] = "time_to_event"
    ends: tuple[float, ...]
    loss: str = "hazards"

    @property
    def num_outputs(self) -> int:  # noqa: D102
        return len(self.ends)

    def losses(self, output: "torch.Tensor", label: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        import torch
        from torch.nn import functional

        event, time = label[:, 0, None], label[:, 1, None]
        ends = _constant(self.ends, output.device)
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        is_here = ((time > starts) | (time <= 0) & (starts == 0)) & (time <= ends)
        happened = (is_here & (event > 0)).float()
        # Of a censored study an interval counts that it was seen to the middle of at least.
        survived = (time >= torch.where(event > 0, ends, (starts + ends) / 2)) & (happened == 0)
        losses = functional.binary_cross_entropy_with_logits(output.float(), happened, reduction="none")
        return (losses * (survived | (happened > 0))).sum(dim=1)

    def score(self, output: "torch.Tensor") -> "torch.Tensor":  # noqa: D102
        from torch.nn import functional

        return 1 - functional.logsigmoid(-output.double()).sum(dim=1).exp()


@functools.cache
def _constant(values: tuple[float, ...], device: "torch.device") -> "torch.Tensor":
    """On the device once: a copy in each step would make the host wait for the GPU."""
    import torch

    with torch.inference_mode(False):  # it may be asked for first by a validation
        return torch.tensor(values, dtype=torch.float32, device=device)


_OF_KIND: dict[str, type[Any]] = {cls.kind: cls for cls in (Binary, Classes, Amount, Ordered, Hazards)}


def check_loss(kind: str, *, loss: str, class_weight: str, name: str) -> None:
    """Refuse a loss or weights that this kind of task does not have. name: of the task."""
    if loss not in ("auto", *LOSSES[kind]):
        raise InputError(
            f"training.loss is {loss!r}; for task={name}, which is of kind {kind}, it must be auto or one of "
            f"{', '.join(LOSSES[kind])}"
        )
    if class_weight != "none" and kind not in ("binary", "multiclass"):
        raise InputError(f"training.class_weight is {class_weight!r}, but task={name} is of kind {kind}; give none")


def target_of(
    kind: str,
    labels: "torch.Tensor",
    *,
    classes: Sequence[str] = (),
    loss: str = "auto",
    class_weight: str = "none",
    name: str = "",
) -> Target:
    """What a network is to learn of these training labels.

    labels: float32 (study,); of a time_to_event task (study, 2): 1 where the event was seen, and days.
    class_weight: `balanced` = every class weighs as much in sum. name: of the task, for messages.

    Raises:
        InputError: a loss or weights that this kind of task does not have, or labels of which nothing can be learned.
    """
    check_loss(kind, loss=loss, class_weight=class_weight, name=name)
    loss = LOSSES[kind][0] if loss == "auto" else loss
    balanced = class_weight == "balanced"
    if kind in ("binary", "multiclass"):
        num_classes = 2 if kind == "binary" else len(classes)
        counts = labels.long().bincount(minlength=num_classes).clamp_min(1)
        # Their mean over the studies is 1: neither clipping nor the loss's size depends on how rare a class is.
        weights = tuple((len(labels) / (num_classes * counts)).tolist()) if balanced else ()
        return Binary(loss, weights) if kind == "binary" else Classes(num_classes, loss, weights)
    if kind == "time_to_event":
        return Hazards(_interval_ends(labels, name), loss)
    if loss == "cumulative":
        return Ordered(_levels(labels, name), loss)
    scale = float(labels.std())
    return Amount(float(labels.mean()), scale if scale > 0 else 1.0, loss)


def as_dict(target: Target) -> dict[str, Any]:
    """Plain values, for a checkpoint."""
    values: Any = target
    return {"kind": target.kind, **asdict(values)}


def from_dict(values: Mapping[str, Any]) -> Target:
    """The target of `as_dict`."""
    rest = {name: value for name, value in values.items() if name != "kind"}
    made: Target = _OF_KIND[values["kind"]](**rest)
    return made


def _levels(labels: "torch.Tensor", name: str) -> tuple[float, ...]:
    low, high = float(labels.min().floor()), float(labels.max().ceil())
    if not 1 <= high - low < _MOST_LEVELS:
        raise InputError(
            f"task={name}: the training labels go from {low:g} to {high:g}, but there have to be 2 to {_MOST_LEVELS} "
            f"whole numbers for training.loss=cumulative; give training.loss=smooth_l1"
        )
    return tuple(low + step for step in range(int(high - low) + 1))


def _interval_ends(labels: "torch.Tensor", name: str) -> tuple[float, ...]:
    """Between them equally many training events; the last end is that of the last event."""
    import torch

    times = labels[labels[:, 0] > 0, 1].double()
    if not len(times) or float(times.max()) <= 0:
        raise InputError(
            f"task={name}: no event after the first day was seen in the training part; choose another split or task"
        )
    shares = torch.linspace(0, 1, _NUM_INTERVALS + 1, dtype=torch.float64)[1:]
    ends = torch.quantile(times, shares, interpolation="higher").unique()
    return tuple(ends[ends > 0].tolist())
