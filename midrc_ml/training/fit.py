"""From labelled studies to a trained network and its scores; the same on every rank."""

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from midrc_ml.datasets.clinical_table import Encoder
from midrc_ml.datasets.lean_monai import import_lean
from midrc_ml.errors import InputError
from midrc_ml.images.cache import CachedImages
from midrc_ml.splits.manifest import PARTS
from midrc_ml.tasks.task import Task
from midrc_ml.training.algorithms import Algorithm
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Training

if TYPE_CHECKING:
    import torch

    from midrc_ml.training.features import Features
    from midrc_ml.training.loop import EpochResult
    from midrc_ml.training.losses import Target

log = logging.getLogger(__name__)

ENCODER = "clinical_encoder.json"
SCORED = ("validation", "test")
_ANY_NUMBER = 4  # of features: a model is asked for a network of as many as the table will have


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a network reads of the labelled studies.

    studies: as of `Task.labelled_studies`, with part, and with `image`, the position in `images`, where there are any.
    image_shape: of one study's image. table: what a clinical table says, one row a study, before it is encoded.
    """

    studies: pd.DataFrame
    images: CachedImages | None = None
    image_shape: tuple[int, ...] | None = None
    table: pd.DataFrame | None = None


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained network. history: its epochs. scores: by part (`SCORED`), aligned with the studies of that part.

    shapes: of its inputs. features: what it hands its last layer of studies of the test part, if that can be told.
    """

    network: Any
    history: list[dict[str, Any]]
    scores: Mapping[str, np.ndarray]
    shapes: tuple[tuple[int, ...], ...]
    features: "Features | None" = None


def fit(
    inputs: Inputs,
    *,
    task: Task,
    model: Callable[..., Any],
    training: Training,
    algorithm: Algorithm,
    monitor: Monitor,
    compute: Compute,
    seed: int,
    ranks: Ranks,
    checkpoints: Path,
    begun: Callable[[], None],
    seen: Callable[[list[dict[str, Any]]], None],
) -> Fitted:
    """Train a network on the training part, keep its best epoch, and score the other parts with it.

    checkpoints: the folder of the run's checkpoints; where it holds some, training goes on from them. begun: called
    once, when a first step is done, or nothing is left to do. seen: told of all epochs so far after each.

    Raises:
        InputError: model, data and settings do not fit together, or training ran away or out of memory.
    """
    import torch  # late: everything before this needs seconds less without it

    _import_lean(model, training)
    from midrc_ml.datasets.resident import on_device
    from midrc_ml.datasets.studies import StudyDataset
    from midrc_ml.models.contract import check_contract, network_of
    from midrc_ml.training.features import last_features
    from midrc_ml.training.loop import load_best, train
    from midrc_ml.training.predict import scores
    from midrc_ml.training.seeds import seed_everything
    from midrc_ml.training.steps import with_shared_statistics

    device = compute.prepared_device(ranks)
    studies = inputs.studies
    images: Any = inputs.images
    if images is not None:
        wanted = False if compute.items_on_host(training) else compute.resident
        images = on_device(images, studies["image"].to_numpy(), device, wanted=wanted)
    table = None if inputs.table is None else _encoded(inputs.table, studies["part"], checkpoints, ranks)
    parts, data = {}, {}
    for part in PARTS:
        rows = np.flatnonzero(studies["part"] == part)
        parts[part] = studies.iloc[rows].reset_index(drop=True)
        transform = training.transform if part == "train" else None
        data[part] = StudyDataset(parts[part], images, transform, None if table is None else table[rows])
    target = _target(data["train"].labels, task, training)
    image_shape = () if inputs.image_shape is None else (inputs.image_shape,)
    shapes = (*image_shape, *(() if table is None else ((table.shape[1],),)))
    seed_everything(seed, 0)
    network = network_of(model, num_outputs=target.num_outputs, shapes=shapes).to(device)
    network, words = with_shared_statistics(network, device, ranks)
    if words and ranks.is_first:
        log.warning("%s", words)
    ndim = max(parameter.ndim for parameter in network.parameters())
    log.info(
        "Training on %s in %s, %d threads%s: at most %d epochs",
        device,
        str(compute.autocast_dtype(device, ndim=ndim) or torch.float32).removeprefix("torch."),
        torch.get_num_threads(),
        f", {ranks.world} processes" if ranks.world > 1 else "",
        training.epochs,
    )
    monitor = monitor.on(parts["validation"])
    if monitor.groups and ranks.is_first:
        log.info("training.monitor=%s is the worst of: %s", monitor.name, ", ".join(monitor.groups))
    session = algorithm.begin(parts["train"], device)
    for name, size in session.groups.items():
        log.info("Group of the algorithm: %s, %d training studies", name, size)
    history: list[dict[str, Any]] = []
    try:
        for epoch in train(
            network,
            data,
            target,
            training,
            compute,
            monitor,
            seed=seed,
            folder=checkpoints,
            algorithm=session,
            ranks=ranks,
            begun=begun,
        ):
            history.append(asdict(epoch))
            seen(history)
            _say(epoch)
            if math.isnan(epoch.monitor) and epoch.epoch == 1 and ranks.is_first:
                log.warning(
                    "training.monitor=%s cannot be estimated on the %d validation studies: until it can be, no epoch "
                    "is better than the first, whose weights are kept; training.monitor=loss always can",
                    monitor.name,
                    len(data["validation"]),
                )
    except InputError:
        raise
    except (RuntimeError, ValueError, AssertionError, TypeError):
        # The network may not take what it is given, or give something else: said in words then.
        check_contract(network, num_outputs=target.num_outputs, shapes=shapes)
        raise
    ranks.gather(None)  # the first has written the best epoch when all are here
    target = load_best(network, checkpoints)
    # A run goes on in the precision in which it was begun, on another machine too.
    precision = history[-1]["precision"]
    dtype = None if precision == "float32" else getattr(torch, precision)
    scored = {
        part: scores(
            network, data[part], target, batch_size=training.batch_size, device=device, dtype=dtype, ranks=ranks
        )[0]
        for part in SCORED
    }
    told: Any = {"batch_size": training.batch_size, "device": device, "dtype": dtype}
    features = last_features(network, data["test"], **told) if ranks.is_first else None
    return Fitted(network=network, history=history, scores=scored, shapes=shapes, features=features)


def check_labels(studies: pd.DataFrame, task: Task, training: Training) -> None:
    """Refuse training labels of which nothing can be learned; before their images are decoded.

    studies: as of `Task.labelled_studies`, with part.

    Raises:
        InputError: naming what these labels lack.
    """
    if task.kind not in ("ordinal", "time_to_event"):  # the others learn of any labels, and need no torch yet
        return
    _target(_train_labels(studies), task, training)


def check_model(
    model: Callable[..., Any],
    algorithm: Algorithm,
    studies: pd.DataFrame,
    *,
    device: "torch.device",
    task: Task,
    training: Training,
    image_shape: tuple[int, ...] | None,
    has_table: bool,
) -> None:
    """Refuse what the first step would refuse: a network that takes or gives something else, or groups that are none.

    Of the time that decoding takes this is a small part. studies: as of `check_labels`.

    Raises:
        InputError: as `check_contract`, `network_of` and the algorithm.
    """
    _import_lean(model, training)
    from midrc_ml.models.contract import check_contract, network_of

    algorithm.begin(studies[studies["part"] == "train"], device)
    num_outputs = _target(_train_labels(studies), task, training).num_outputs
    shapes = [*([] if image_shape is None else [image_shape]), *([(_ANY_NUMBER,)] if has_table else [])]
    network = network_of(model, num_outputs=num_outputs, shapes=shapes).to(device)
    check_contract(network, num_outputs=num_outputs, shapes=shapes)


def _train_labels(studies: pd.DataFrame) -> "torch.Tensor":
    import torch

    columns = ["label", "time"] if "time" in studies else "label"
    return torch.from_numpy(studies.loc[studies["part"] == "train", columns].to_numpy(dtype=np.float32))


def _import_lean(model: Callable[..., Any], training: Training) -> None:
    if training.transform is None and _is_ours(model):
        import_lean()


def _target(labels: "torch.Tensor", task: Task, training: Training) -> "Target":
    from midrc_ml.training.losses import target_of

    return target_of(
        task.kind,
        labels,
        classes=task.classes,
        loss=training.loss,
        class_weight=training.class_weight,
        name=task.name,
    )


def _is_ours(model: Callable[..., Any]) -> bool:
    """Whether the network, and what it is made of, is known to need only the lean MONAI."""
    called = getattr(model, "func", model)
    parts = [value for value in getattr(model, "keywords", {}).values() if callable(value)]
    return str(getattr(called, "__module__", "")).startswith("midrc_ml.models.") and all(map(_is_ours, parts))


def _encoded(table: pd.DataFrame, part: pd.Series, checkpoints: Path, ranks: Ranks) -> np.ndarray:
    """The table as features, by what its training rows teach; that is kept, to apply the network elsewhere."""
    encoder = Encoder.fit(table[(part == "train").to_numpy()])
    if ranks.is_first:
        checkpoints.mkdir(parents=True, exist_ok=True)
        log.info("%s", encoder.words(table))
        (checkpoints / ENCODER).write_text(json.dumps(encoder.as_dict(), indent=1) + "\n", encoding="utf-8")
    return encoder.encode(table)


def _say(epoch: "EpochResult") -> None:
    log.info(
        "Epoch %d: loss %.4f, validation loss %.4f, best epoch %d, %.0f images/s, %.1f %% data wait, %.1f GB",
        epoch.epoch, epoch.train_loss, epoch.validation_loss, epoch.best_epoch, epoch.images_per_second,
        100 * epoch.data_wait, epoch.memory_gb,
    )  # fmt: skip
