"""A finished run's network on studies that it never saw: as it scored its own test part, and nothing else."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from midrc_ml.datasets.clinical_table import Encoder
from midrc_ml.errors import InputError
from midrc_ml.tasks.task import Task
from midrc_ml.training.fit import ENCODER, Inputs
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Precision

if TYPE_CHECKING:
    import torch
    from torch import nn

    from midrc_ml.training.losses import Target

log = logging.getLogger(__name__)

WEIGHTS, LAST = "best.pt", "last.pt"  # as `checkpoints` calls them, which imports torch
_OLDER = "it was made by another version of this package, or is damaged; train again"


def check_checkpoints(checkpoints: Path, *, has_table: bool) -> None:
    """Refuse a run whose network is gone; before a cohort is read, and without torch.

    checkpoints: the folder of them. has_table: the run reads a clinical table, whose encoding is kept there.

    Raises:
        InputError: naming the file that is not there.
    """
    for name in (WEIGHTS, *([ENCODER] if has_table else [])):
        if not (checkpoints / name).is_file():
            raise InputError(
                f"run={checkpoints.parent}: {checkpoints.name}/{name} is gone, and without it the network of the run "
                f"cannot be applied; copy it back, or train again"
            )


def encoder_of(checkpoints: Path) -> Encoder:
    """How the run made numbers of its clinical table, by its training rows alone.

    Raises:
        InputError: it is damaged, or of another version.
    """
    try:
        return Encoder.from_dict(json.loads((checkpoints / ENCODER).read_text(encoding="utf-8")))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{checkpoints / ENCODER}: it is no longer readable; train again") from error


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """The network of a finished run's best epoch, on a device.

    target: what its outputs mean. dtype: in which the run computed; None = float32. encoder: of its clinical table.
    """

    network: "nn.Module"
    target: "Target"
    encoder: Encoder | None
    dtype: "torch.dtype | None"
    device: "torch.device"
    compute: Compute
    batch_size: int

    @classmethod
    def load(
        cls,
        checkpoints: Path,
        *,
        task: Task,
        model: Callable[..., Any],
        image_shape: tuple[int, ...] | None,
        has_table: bool,
        precision: Precision,
        batch_size: int,
        compute: Compute,
    ) -> "TrainedNetwork":
        """The network in `checkpoints`. model, precision, batch_size: of the run's settings; compute says on what.

        Raises:
            InputError: checkpoints that are damaged or not of this task and model, or a device that is not there.
        """
        import torch

        from midrc_ml.models.contract import network_of
        from midrc_ml.training.checkpoints import load_checkpoint
        from midrc_ml.training.losses import from_dict
        from midrc_ml.training.predict import channels_last

        device = compute.prepared_device(Ranks())
        encoder = encoder_of(checkpoints) if has_table else None
        path, cpu = checkpoints / WEIGHTS, torch.device("cpu")
        state = load_checkpoint(path, cpu)
        try:
            weights, target = state["network"], from_dict(state["target"])  # type: ignore[index]
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is no checkpoint of a run: {_OLDER}") from error
        shapes = [*([] if image_shape is None else [image_shape]), *([(encoder.num_features,)] if encoder else [])]
        network = network_of(model, num_outputs=target.num_outputs, shapes=shapes)
        try:
            _check_target(target, task)
            network.load_state_dict(weights)
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path} is not of the task and model in the run's config.yaml: {_OLDER}") from error
        ndim = max(parameter.ndim for parameter in network.parameters())
        if ndim in (4, 5):  # as in training: another order of additions would change the last digits
            network.to(memory_format=channels_last(ndim))  # type: ignore[call-overload]
        return cls(
            network=network.to(device),
            target=target,
            encoder=encoder,
            dtype=_dtype(load_checkpoint(checkpoints / LAST, cpu), replace(compute, precision=precision), device, ndim),
            device=device,
            compute=compute,
            batch_size=batch_size,
        )

    def scores(self, inputs: Inputs) -> np.ndarray:
        """The score of every study of `inputs`, float64 (study,) or (study, class); no label is read.

        Raises:
            InputError: the device has too little memory.
        """
        import torch

        from midrc_ml.datasets.resident import on_device
        from midrc_ml.datasets.studies import StudyDataset
        from midrc_ml.training.predict import scores

        # A dataset has labels; these are of nobody, and the loss that is made of them is not read.
        nobody = {"label": 0.0, **({"time": 0.0} if self.target.kind == "time_to_event" else {})}
        studies = inputs.studies.drop(columns="time", errors="ignore").assign(**nobody).reset_index(drop=True)
        table = None if self.encoder is None or inputs.table is None else self.encoder.encode(inputs.table)
        in_type = str(self.dtype or torch.float32).removeprefix("torch.")
        log.info("Scoring %d studies on %s in %s", len(studies), self.device, in_type)
        try:
            images: Any = inputs.images
            if images is not None:
                wanted = self.compute.resident
                images = on_device(images, studies["image"].to_numpy(), self.device, wanted=wanted)
            made, _ = scores(
                self.network,
                StudyDataset(studies, images, None, table),
                self.target,
                batch_size=self.batch_size,
                device=self.device,
                dtype=self.dtype,
            )
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"the GPU ran out of memory with training.batch_size={self.batch_size}, which is the run's own; give "
                f"compute.resident=false, compute.device=cpu, or a GPU as large as that of the run"
            ) from error
        return made


def _check_target(target: "Target", task: Task) -> None:
    """Refuse outputs of another kind of task; an ordinal one may be learned as a number."""
    kinds = {task.kind, *(["regression"] if task.kind == "ordinal" else [])}
    if target.kind not in kinds or (task.kind == "multiclass" and target.num_outputs != len(task.classes)):
        raise ValueError(f"outputs of kind {target.kind} for a task of kind {task.kind}")


def _dtype(last: dict[str, Any] | None, compute: Compute, device: "torch.device", ndim: int) -> "torch.dtype | None":
    """The type in which the run computed; where nothing tells it any more, the one that its settings give here.

    last: the state after its last epoch.
    """
    import torch

    try:
        precision = last["history"][-1]["precision"]  # type: ignore[index]
        return None if precision == "float32" else getattr(torch, precision)
    except (KeyError, IndexError, TypeError, AttributeError):
        dtype = compute.autocast_dtype(device, ndim=ndim)
        log.warning(
            "No checkpoints/%s says in which precision the run computed; it is applied in %s, which may change the "
            "third digit of a score",
            LAST, str(dtype or torch.float32).removeprefix("torch."),
        )  # fmt: skip
        return dtype
