"""What the network is shown in an epoch: gathered, moved to the device, augmented, mixed."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.training.losses import Target
from midrc_ml.training.predict import network_input
from midrc_ml.training.settings import Training


@dataclass(frozen=True)
class Batch:
    """Of some studies.

    images: the network's input. labels, rows: (study,), rows being those of the dataset. With mixup: `others`, the
    labels of what is mixed in, and `share`, that of the study itself, both (study,).
    """

    images: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor
    others: torch.Tensor | None = None
    share: torch.Tensor | None = None

    def losses(self, output: torch.Tensor, target: Target) -> torch.Tensor:
        """The loss of each study, (study,)."""
        own = target.losses(output, self.labels)
        if self.others is None or self.share is None:
            return own
        return torch.lerp(target.losses(output, self.others), own, self.share)


@dataclass(frozen=True)
class EpochBatches:
    """Makes the batches of an epoch, of which everything random was drawn before, for all studies.

    draws, mixtures: of `Augmentation`; None without it, and without mixup.
    """

    dataset: StudyDataset
    settings: Training
    draws: torch.Tensor | None
    mixtures: tuple[torch.Tensor, torch.Tensor] | None
    device: torch.device

    def batches(self, order: torch.Tensor) -> Iterator[Batch]:
        """The batches in this order of studies.

        A last one of a single study joins the one before: batch statistics need two.
        """
        starts = list(range(0, len(order), self.settings.batch_size))
        if len(starts) > 1 and len(order) - starts[-1] == 1:
            starts.pop()
        for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
            yield self._batch(order[start:end])

    def _batch(self, rows: torch.Tensor) -> Batch:
        images, labels = self._shown(rows)
        if self.mixtures is None:
            return Batch(images, labels, rows)
        partner, share = (drawn[rows] for drawn in self.mixtures)
        other_images, others = self._shown(partner)
        share = share.to(self.device)
        mixed = torch.lerp(other_images, images, share.view(-1, *[1] * (images.ndim - 1)))
        return Batch(mixed, labels, rows, others, share)

    def _shown(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        batch = self.dataset.batch(rows.numpy())
        images, labels = batch["image"], batch["label"]
        if self.device.type == "cuda":  # copied while the GPU computes
            images, labels = images.pin_memory(), labels.pin_memory()
        draws = None if self.draws is None else self.draws[rows]
        shown = network_input(images, self.device, self.settings.augmentation, draws)
        return shown, labels.to(self.device, non_blocking=True)


def grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Lists of `size` batches; the last one may be shorter."""
    while group := list(islice(batches, size)):
        yield group
