"""Worker processes that end with the process that started them."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

_LOOK_EVERY_SECONDS = 0.5


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def worker_pool(num_processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose workers stop when this process ends, also by SIGKILL.

    Spawned, not forked: a fork of a process that has threads (torch, MLflow) may hang.
    """
    pool = ProcessPoolExecutor(
        num_processes, mp_context=get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with(parent: int) -> None:
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_SECONDS)
    os._exit(1)  # nobody waits for the result any more
