"""Labelled studies as a `monai.data.Dataset`, read from the image cache."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.data import Dataset

from midrc_ml.images.cache import CachedImages

_FILMS = 3  # axes of a batch of films as they are kept: (study, row, column)


class StudyDataset(Dataset):
    """One item a study: {image, label, study_id, index}.

    image: uint8 (channel=1, row, column) of films, (channel, slice, row, column) of volumes, or what `transform` makes
    of it. label: float32 scalar.
    index: the study's row in `studies`. Whole batches by `batch` are gathered at once; a MONAI `transform` on
    the item's dictionary is applied per item where one is given.
    """

    def __init__(
        self,
        studies: pd.DataFrame,
        images: CachedImages,
        transform: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    ) -> None:
        """studies: columns study_id, label, image (its position in `images`)."""
        items = [
            {"study_id": study_id, "label": np.float32(label), "index": index, "image": int(image)}
            for index, (study_id, label, image) in enumerate(
                zip(studies["study_id"], studies["label"], studies["image"], strict=True)
            )
        ]
        super().__init__(data=items, transform=transform)
        self.images = images
        self.positions = studies["image"].to_numpy(dtype=np.int64)
        self.labels = torch.from_numpy(studies["label"].to_numpy(dtype=np.float32))
        self.study_ids = list(studies["study_id"])

    def _transform(self, index: int) -> Mapping[str, Any]:
        image = self._gathered(self.positions[[index]])[0]
        item = {**self.data[index], "image": image, "label": self.labels[index]}
        return self.transform(item) if self.transform else item

    def _gathered(self, positions: np.ndarray) -> torch.Tensor:
        images = torch.from_numpy(self.images.gather(positions))
        return images.unsqueeze(1) if images.ndim == _FILMS else images

    def batch(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """One batch: image (study, then as in an item), label float32 (study,), study_id, index."""
        rows = np.asarray(indices, dtype=np.int64)
        if self.transform:
            items = [self[int(row)] for row in rows]
            images = torch.stack([torch.as_tensor(item["image"]) for item in items])
        else:
            images = self._gathered(self.positions[rows])
        index = torch.from_numpy(rows)
        return {
            "image": images,
            "label": self.labels[index],
            "study_id": [self.study_ids[row] for row in rows],
            "index": index,
        }


def batches(
    dataset: StudyDataset, batch_size: int, *, order: Sequence[int] | torch.Tensor | None = None
) -> Iterator[dict[str, Any]]:
    """The dataset's batches, in `order` (row numbers) or as it stands; the last one may be smaller."""
    rows = np.arange(len(dataset)) if order is None else np.asarray(order)
    for start in range(0, len(rows), batch_size):
        yield dataset.batch(rows[start : start + batch_size])
