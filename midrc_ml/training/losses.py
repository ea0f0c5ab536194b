"""The loss of each kind of task, and how a network's output becomes a score."""

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Target:
    """What the output means. binary: a logit. regression: the label in standard deviations of the training labels."""

    kind: str
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of(cls, kind: str, train_labels: torch.Tensor) -> "Target":
        """The target for these training labels."""
        if kind == "binary":
            return cls(kind)
        scale = float(train_labels.std())
        return cls(kind, float(train_labels.mean()), scale if scale > 0 else 1.0)

    def losses(self, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of each study of a batch, float32 (study,). output: (study, 1). label: (study,)."""
        value = output.float().squeeze(1)
        if self.kind == "binary":
            return functional.binary_cross_entropy_with_logits(value, label, reduction="none")
        return functional.smooth_l1_loss(value, (label - self.mean) / self.scale, reduction="none")

    def score(self, output: torch.Tensor) -> torch.Tensor:
        """A probability (binary) or a value in the label's unit (regression), float64 (study,)."""
        value = output.double().squeeze(1)
        return torch.sigmoid(value) if self.kind == "binary" else value * self.scale + self.mean
