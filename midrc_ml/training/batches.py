"""What the network is shown in an epoch: gathered, moved to the device, augmented, mixed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch

from midrc_ml.datasets.loader import fetched
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.training.losses import Target
from midrc_ml.training.predict import network_inputs
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Training

_LEAST = 2  # studies shown to a network at once: batch statistics need two


@dataclass(frozen=True)
class Batch:
    """Of some studies: what one rank sees of them.

    inputs: of the network. labels, rows: (study,), rows being those of the dataset. count: studies on all ranks.
    A rank that has too few is shown some more, behind its own, which have no label and do not count.
    With mixup: `others`, the labels of what is mixed in, and `share`, that of the study itself, both (study,).
    """

    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    rows: torch.Tensor
    count: int
    others: torch.Tensor | None = None
    share: torch.Tensor | None = None
    made: "torch.cuda.Event | None" = None

    def losses(self, output: torch.Tensor, target: Target) -> torch.Tensor:
        """The loss of each study, (study,)."""
        counted = output[: len(self.rows)]
        own = target.losses(counted, self.labels)
        if self.others is None or self.share is None:
            return own
        return torch.lerp(target.losses(counted, self.others), own, self.share)

    def wait(self) -> None:
        """Let the GPU's own stream wait until this batch is copied and augmented; the host does not wait."""
        if self.made is None:
            return
        stream = torch.cuda.current_stream()
        stream.wait_event(self.made)
        for tensor in (*self.inputs, self.labels, self.others, self.share):
            if tensor is not None:
                tensor.record_stream(stream)


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
    ranks: Ranks = field(default_factory=Ranks)
    num_workers: int = 0

    def batches(self, order: torch.Tensor) -> Iterator[Batch]:
        """The batches in this order of studies, of each the part of this rank.

        A last one of a single study joins the one before: batch statistics need two.
        """
        starts = list(range(0, len(order), self.settings.batch_size))
        if len(starts) > 1 and len(order) - starts[-1] < _LEAST:
            starts.pop()
        everyone = [order[start:end] for start, end in zip(starts, [*starts[1:], len(order)], strict=True)]
        shown = [self._shown_of(rows) for rows in everyone]
        asked = shown if self.mixtures is None else [torch.cat([rows, self.mixtures[0][rows]]) for rows in shown]
        batches = fetched(
            self.dataset,
            [rows.numpy() for rows in asked],
            num_workers=self.num_workers,
            pin=self.device.type == "cuda",
        )
        return self._made(batches, everyone, shown)

    def _shown_of(self, everyone: torch.Tensor) -> torch.Tensor:
        own = everyone[self.ranks.rank :: self.ranks.world]
        return torch.cat([own, everyone[: max(0, min(_LEAST, len(everyone)) - len(own))]])

    def _made(
        self, batches: Iterator[Any], everyone: Sequence[torch.Tensor], shown: Sequence[torch.Tensor]
    ) -> Iterator[Batch]:
        # Copies and augmentation run beside the training on a GPU, not in between.
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        for batch, rows_of_all, rows in zip(batches, everyone, shown, strict=True):
            with nullcontext() if stream is None else torch.cuda.stream(stream):
                made = self._batch(batch, rows, len(rows_of_all))
                yield made if stream is None else replace(made, made=stream.record_event())

    def _batch(self, batch: Mapping[str, Any], rows: torch.Tensor, count: int) -> Batch:
        own = rows[: len(range(self.ranks.rank, count, self.ranks.world))]
        labels = batch["label"].to(self.device, non_blocking=True)
        if self.mixtures is None:
            draws = None if self.draws is None else self.draws[rows]
            inputs = network_inputs(batch, self.device, self.settings.augmentation, draws)
            return Batch(inputs, labels[: len(own)], own, count)
        partner, share = (drawn[rows] for drawn in self.mixtures)
        draws = None if self.draws is None else self.draws[torch.cat([rows, partner])]
        both = network_inputs(batch, self.device, self.settings.augmentation, draws)
        share = share.to(self.device, non_blocking=True)
        mixed = (
            torch.lerp(values[len(rows) :], values[: len(rows)], share.view(-1, *[1] * (values.ndim - 1)))
            for values in both
        )
        others = labels[len(rows) :][: len(own)]
        return Batch(tuple(mixed), labels[: len(own)], own, count, others, share[: len(own)])


def grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Lists of `size` batches; the last one may be shorter."""
    while group := list(islice(batches, size)):
        yield group
