"""Labelled studies as a `monai.data.Dataset`: images from the image cache, and what a clinical table says of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from monai.data import Dataset

_FILMS = 3  # axes of a batch of films as they are kept: (study, row, column)


class Images(Protocol):
    """Where images come from: `CachedImages`, or `ResidentImages`."""

    def gather(self, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray | torch.Tensor:
        """The images at these positions, (study, *record_shape) uint8."""

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Of one image."""


class StudyDataset(Dataset):
    """One item a study: {image, tabular, label, study_id, index}; image and tabular where there are any.

    image: uint8 (channel=1, row, column) of films, (channel, slice, row, column) of volumes, or what `transform` makes
    of it. tabular: float32 (feature,), in which what is missing is masked (`datasets.clinical_table.Encoder`).
    label: float32 scalar, or (event, time). index: the study's row in `studies`.
    Whole batches by `batch` are gathered at once; a MONAI `transform` on the item's dictionary is applied per item
    where one is given, its random state set by `seeds` and the item's place in the epoch.
    """

    def __init__(
        self,
        studies: pd.DataFrame,
        images: Images | None,
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        table: np.ndarray | None = None,
    ) -> None:
        """studies: columns study_id, label, with images `image` (its position in them), time of a time_to_event task.

        table: float32 (study, feature), aligned with `studies`.
        """
        super().__init__(data=range(len(studies)), transform=transform)
        self.images = images
        self.positions = None if images is None else studies["image"].to_numpy(dtype=np.int64)
        columns = ["label", "time"] if "time" in studies else "label"
        self.labels = torch.from_numpy(studies[columns].to_numpy(dtype=np.float32))
        self.table = None if table is None else torch.from_numpy(np.ascontiguousarray(table, np.float32))
        self.study_ids = list(studies["study_id"])
        self.seeds: Sequence[int] = (0,)

    def _transform(self, index: int) -> Mapping[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(
        self, indices: Sequence[int] | np.ndarray, *, places: Sequence[int] | np.ndarray | None = None
    ) -> list[Mapping[str, Any]]:
        """The items, gathered at once: what a `DataLoader` asks for. places: as in `batch`."""
        rows = np.asarray(indices, dtype=np.int64) % len(self)
        batch = self._gathered(rows)
        return [
            self._transformed({name: values[number] for name, values in batch.items()}, int(place))
            for number, place in enumerate(rows if places is None else places)
        ]

    def _transformed(self, item: dict[str, Any], place: int) -> Mapping[str, Any]:
        if self.transform is None:
            return item
        if hasattr(self.transform, "set_random_state"):  # so that neither the batch nor the worker changes it
            seed = np.random.SeedSequence([*self.seeds, place]).generate_state(1)[0]
            self.transform.set_random_state(seed=int(seed))
        made: Mapping[str, Any] = self.transform(item)
        return made

    def batch(
        self,
        indices: Sequence[int] | np.ndarray,
        *,
        places: Sequence[int] | np.ndarray | None = None,
        pin: bool = False,
    ) -> dict[str, Any]:
        """One batch: image, tabular (study, then as in an item), label float32 (study,), study_id, index.

        places: of these studies in the epoch, by which one that comes twice is transformed in two ways; None = their
        indices. pin: in memory from which a GPU copies by itself.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if self.transform is None:
            return self._gathered(rows, pin=pin)
        items = self.__getitems__(rows, places=places)
        batch = self._gathered(rows, with_images=False)
        for name in ("image", "tabular"):
            if name in items[0]:
                # A `MetaTensor` would carry its history along.
                values = torch.stack([torch.as_tensor(item[name]) for item in items]).as_subclass(torch.Tensor)
                batch[name] = values.pin_memory() if pin and values.device.type == "cpu" else values
        return batch

    def _gathered(self, rows: np.ndarray, *, pin: bool = False, with_images: bool = True) -> dict[str, Any]:
        """As `batch`, before any transform."""
        index = torch.from_numpy(rows)
        batch: dict[str, Any] = {
            "label": self.labels[index],
            "study_id": [self.study_ids[row] for row in rows],
            "index": index,
        }
        if self.images is not None and with_images:
            batch["image"] = self._images(rows, pin)
        if self.table is not None:
            batch["tabular"] = self.table[index]
        return batch

    def _images(self, rows: np.ndarray, pin: bool) -> torch.Tensor:
        assert self.images is not None
        assert self.positions is not None
        positions = self.positions[rows]
        if pin and self.images_on_host:
            images = torch.empty((len(rows), *self.images.record_shape), dtype=torch.uint8, pin_memory=True)
            self.images.gather(positions, out=images.numpy())
        else:
            images = torch.as_tensor(self.images.gather(positions))
        return images.unsqueeze(1) if images.ndim == _FILMS else images

    @property
    def images_on_host(self) -> bool:
        """Whether images still have to be moved to a device."""
        return not hasattr(self.images, "device")
