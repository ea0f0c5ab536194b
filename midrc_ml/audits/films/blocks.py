"""Work on films in blocks of a fixed size, on all cores: the same result however many there are."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from midrc_ml.processes import num_threads

BLOCK = 256
T = TypeVar("T")


def in_blocks(
    work: Callable[[slice], T],
    count: int,
    *,
    tell: Callable[[int], None] | None = None,
    records_each: int = BLOCK,
) -> list[T]:
    """What `work` gives for each block of `count` records, in their order; numpy and OpenCV let other threads run.

    tell: called with how many records are done.
    """
    blocks = [slice(start, min(start + records_each, count)) for start in range(0, count, records_each)]
    results = []
    with ThreadPoolExecutor(max_workers=max(1, min(num_threads(), len(blocks)))) as pool:
        for block, result in zip(blocks, pool.map(work, blocks), strict=True):
            results.append(result)
            if tell is not None:
                tell(block.stop)
    return results
