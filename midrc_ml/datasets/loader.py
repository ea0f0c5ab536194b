"""Batches made ahead of time by a thread, and how long training waited for them."""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from midrc_ml.datasets.studies import StudyDataset

T = TypeVar("T")
_END = object()
_LOOK_SECONDS = 0.2


class Ahead(Generic[T]):
    """Iterates `source` in a thread of its own, at most `depth` items ahead; what it raises is raised here.

    Gathering, OpenCV and copies to a GPU let other threads run, so that making a batch costs no time of training.
    waited: seconds for which the consumer had to wait for an item.
    """

    def __init__(self, source: Iterator[T], *, depth: int = 2) -> None:
        self.waited = 0.0
        self._source = source
        self._items: queue.Queue[object] = queue.Queue(depth)
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fill, name="batches", daemon=True)

    def __enter__(self) -> "Ahead[T]":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while True:
            started = time.perf_counter()
            item = self._items.get()
            self.waited += time.perf_counter() - started
            if item is _END:
                break
            yield item  # type: ignore[misc]
        if self._error is not None:
            raise self._error

    def _fill(self) -> None:
        try:
            for item in self._source:
                if not self._put(item):
                    return
        except BaseException as error:
            self._error = error
        self._put(_END)

    def _put(self, item: object) -> bool:
        while not self._stopped.is_set():
            try:
                self._items.put(item, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def fetched(
    dataset: StudyDataset, asked: Sequence[tuple[np.ndarray, np.ndarray]], *, num_workers: int, pin: bool
) -> Iterator[Any]:
    """The batches of these rows at these places (`StudyDataset.batch`), made here, or by `num_workers` processes.

    Processes help only where an item costs much, with a `transform`: gathering is at the speed of memory.
    """
    if not num_workers:
        return (dataset.batch(rows, places=places, pin=pin) for rows, places in asked)
    loader = DataLoader(
        _Batches(dataset, asked),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        pin_memory=pin,
        generator=torch.Generator(),  # else it draws from that of the network's dropout
    )
    return iter(loader)


class _Batches(Dataset[Any]):
    """The dataset by whole batches, which need no collation."""

    def __init__(self, dataset: StudyDataset, asked: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        self._dataset, self._asked = dataset, asked

    def __len__(self) -> int:
        return len(self._asked)

    def __getitem__(self, number: int) -> dict[str, Any]:
        rows, places = self._asked[number]
        return self._dataset.batch(rows, places=places)


def _as_it_is(batch: Any) -> Any:
    return batch
