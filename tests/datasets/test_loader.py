"""Batches made ahead: the same ones, in order; errors and the end come through; nothing is left running."""

import threading
import time
from collections.abc import Iterator

import pytest

from midrc_ml.datasets.loader import Ahead


def test_items_come_in_order_and_all_of_them() -> None:
    with Ahead(iter(range(100))) as ahead:
        assert list(ahead) == list(range(100))


def test_what_the_source_raises_is_raised_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    with Ahead(source()) as ahead:
        items = iter(ahead)
        assert next(items) == 1
        with pytest.raises(ValueError, match="no more"):
            next(items)


def test_a_consumer_that_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(10_000):
            made.append(number)
            yield number

    with Ahead(source(), depth=2) as ahead:
        assert next(iter(ahead)) == 0
    assert threading.active_count() == before
    assert len(made) <= 5


def test_waiting_is_counted_and_work_that_is_done_ahead_is_not() -> None:
    def slow() -> Iterator[int]:
        for number in range(4):
            time.sleep(0.05)
            yield number

    with Ahead(slow()) as waiting:
        list(waiting)
    assert waiting.waited > 0.15
    with Ahead(slow()) as covered:
        for _ in covered:
            time.sleep(0.15)  # the next one is made meanwhile
    assert covered.waited < waiting.waited
