"""What the network is shown in an epoch: gathered, moved to the device, augmented, mixed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from midrc_ml.datasets.loader import fetched
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.training.losses import Target
from midrc_ml.training.predict import network_inputs
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Training

LEAST = 2  # studies shown to a network at once: batch statistics need two
Stall = tuple["torch.cuda.Event", "torch.cuda.Event"]


@dataclass(frozen=True)
class Batch:
    """Of some studies: what one rank sees of them.

    inputs: of the network. labels, rows: (study,), rows being those of the dataset. count: studies on all ranks.
    A rank that has too few is shown some more, behind its own, which have no label and no loss; statistics that a
    network makes of a batch do see them.
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

    def wait(self) -> "Stall | None":
        """Let the GPU's own stream wait until this batch is copied and augmented; the host does not wait.

        The events before and after, of which the time between is that in which the GPU stood still; None on a CPU.
        """
        if self.made is None:
            return None
        stream = torch.cuda.current_stream()
        before = stream.record_event(torch.cuda.Event(enable_timing=True))
        stream.wait_event(self.made)
        for tensor in (*self.inputs, self.labels, self.rows, self.others, self.share):
            if tensor is not None:
                tensor.record_stream(stream)
        return before, stream.record_event(torch.cuda.Event(enable_timing=True))


@dataclass(frozen=True)
class EpochBatches:
    """Makes the batches of an epoch, of which everything random was drawn before.

    order: the row of the study at each place of the epoch; one that stands there twice is augmented differently.
    draws, mixtures: of `Augmentation`, by place; None without it, and without mixup.
    """

    dataset: StudyDataset
    order: torch.Tensor
    settings: Training
    draws: torch.Tensor | None
    mixtures: tuple[torch.Tensor, torch.Tensor] | None
    device: torch.device
    ranks: Ranks = field(default_factory=Ranks)
    num_workers: int = 0

    def batches(self) -> Iterator[Batch]:
        """The batches of the epoch, of each the part of this rank."""
        everyone = torch.arange(len(self.order)).split(sizes(len(self.order), self.settings.batch_size))
        shown = [self._shown_of(places) for places in everyone]
        asked = shown if self.mixtures is None else [torch.cat([own, self.mixtures[0][own]]) for own in shown]
        batches = fetched(
            self.dataset,
            [(self.order[places].numpy(), places.numpy()) for places in asked],
            num_workers=self.num_workers,
            pin=self.device.type == "cuda",
        )
        parts = zip(shown, map(len, everyone), strict=True)
        if self.device.type != "cuda":
            yield from (self._batch(batch, *part) for batch, part in zip(batches, parts, strict=True))
            return
        # Gathering, copies and augmentation run beside the training, not in between.
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.default_stream(self.device))
        for part in parts:
            with torch.cuda.stream(stream):
                made = replace(self._batch(next(batches), *part), made=stream.record_event())
            yield made

    def _shown_of(self, everyone: torch.Tensor) -> torch.Tensor:
        own = everyone[self.ranks.rank :: self.ranks.world]
        return torch.cat([own, everyone[: max(0, min(LEAST, len(everyone)) - len(own))]])

    def _batch(self, batch: Mapping[str, Any], places: torch.Tensor, count: int) -> Batch:
        num_own = len(range(self.ranks.rank, count, self.ranks.world))
        labels = batch["label"].to(self.device, non_blocking=True)
        rows = self.order[places[:num_own]].to(self.device, non_blocking=True)
        if self.mixtures is None:
            draws = None if self.draws is None else self.draws[places]
            inputs = network_inputs(batch, self.device, self.settings.augmentation, draws)
            return Batch(inputs, labels[:num_own], rows, count)
        partner, share = (drawn[places] for drawn in self.mixtures)
        draws = None if self.draws is None else self.draws[torch.cat([places, partner])]
        both = network_inputs(batch, self.device, self.settings.augmentation, draws)
        share = share.to(self.device, non_blocking=True)
        mixed = (
            torch.lerp(values[len(places) :], values[: len(places)], share.view(-1, *[1] * (values.ndim - 1)))
            for values in both
        )
        others = labels[len(places) :][:num_own]
        return Batch(tuple(mixed), labels[:num_own], rows, count, others, share[:num_own])


def sizes(count: int, batch_size: int) -> list[int]:
    """How many studies are in each batch of an epoch of `count`.

    A last one of a single study joins the one before: batch statistics need two.
    """
    ends = [*range(batch_size, count, batch_size), count]
    if len(ends) > 1 and ends[-1] - ends[-2] < LEAST:
        del ends[-2]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]
