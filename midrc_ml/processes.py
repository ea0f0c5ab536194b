"""Worker processes: those of this machine end with the process that started them; those of a Ray cluster are asked."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Protocol

from midrc_ml.errors import InputError

_LOOK_EVERY_SECONDS = 0.5


_threads = 0  # of a worker; 0 = this is none


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_threads() -> int:
    """Threads that a library may start here: all cores, of a worker its share of them."""
    return _threads or num_cores()


class Workers(Protocol):
    """What runs functions elsewhere. count: how many at once. ended: what is raised where a worker was ended."""

    count: int
    ended: tuple[type[Exception], ...]

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Run `function` on a worker."""


class _LocalWorkers:
    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self.count, self._pool = count, pool
        self.ended: tuple[type[Exception], ...] = (BrokenProcessPool,)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        return self._pool.submit(function, *arguments)


class _RayWorkers:
    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._functions: dict[Callable[..., Any], Any] = {}
        self.count = max(1, int(ray.cluster_resources().get("CPU", 1)))
        errors = ray.exceptions
        self.ended: tuple[type[Exception], ...] = (
            errors.WorkerCrashedError,
            errors.OutOfMemoryError,
            errors.NodeDiedError,
        )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        if function not in self._functions:
            # A file that ends its worker would end four otherwise.
            self._functions[function] = self._ray.remote(max_retries=0)(function)
        future: Future = self._functions[function].remote(*arguments).future()
        return future


@contextmanager
def ray_workers(address: str) -> Iterator[Workers]:
    """The cores of the Ray cluster at `address`: `auto`, `HOST:PORT`, or `local` for one that is started here.

    Raises:
        InputError: Ray is not installed, or no cluster is there.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(
            f"compute.ray is {address!r}, but Ray is not installed: pip install 'midrc_ml[ray]'"
        ) from error
    joined = not ray.is_initialized()
    if joined:
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False if address == "local" else None)
        except (ConnectionError, RuntimeError, ValueError) as error:
            words = " ".join(str(error).split())[:200]
            raise InputError(
                f"compute.ray is {address!r}, but no Ray cluster answers there ({words}); start one with `ray start "
                f"--head`, or give compute.ray=null"
            ) from error
    try:
        yield _RayWorkers(ray)
    finally:
        if joined:
            ray.shutdown()


@contextmanager
def local_workers(count: int) -> Iterator[Workers]:
    """`count` processes of this machine."""
    with worker_pool(count) as pool:
        yield _LocalWorkers(pool, count)


@contextmanager
def worker_pool(num_processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose workers stop when this process ends, also by SIGKILL.

    Spawned, not forked: a fork of a process that has threads (torch, MLflow) may hang.
    """
    pool = ProcessPoolExecutor(
        num_processes,
        mp_context=get_context("spawn"),
        initializer=_begin,
        initargs=(os.getpid(), max(1, num_cores() // num_processes)),
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(parent: int, threads: int) -> None:
    global _threads
    _threads = threads
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_SECONDS)
    os._exit(1)  # nobody waits for the result any more
