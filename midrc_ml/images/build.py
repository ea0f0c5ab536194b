"""Decode files into an image cache, in parallel, whatever some of them do to the process that decodes them."""

import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pandas as pd
from blake3 import blake3

from midrc_ml.errors import InputError
from midrc_ml.images.files import TRY_AGAIN, ImageError, Member, members, stamp
from midrc_ml.images.recipe import Record
from midrc_ml.images.shards import COLUMNS, ShardWriter, is_locked, read_shard_index, with_records
from midrc_ml.processes import Workers, local_workers, ray_workers

log = logging.getLogger(__name__)

COMMIT_SECONDS = 10.0
_LOOK_SECONDS = 1.0
_TASK_FILES = 8
_TASKS_AHEAD = 4  # a process
_POOL_FROM = 100  # files; below this, starting processes takes longer than it saves
_KILLED = f"{TRY_AGAIN[0]} (the process that decoded it was ended, perhaps because memory ran out)"

# A file, and the hashes (BLAKE3) of known contents that it may have.
Asked = tuple[str, tuple[str, ...]]
Decoded = tuple[dict[str, object], bytes | None]


class ImageRecipe(Protocol):
    """What the cache asks of a recipe."""

    @property
    def key(self) -> str: ...  # noqa: D102

    @property
    def modalities(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def record_shape(self) -> tuple[int, ...]: ...  # noqa: D102

    @property
    def input_shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def read(self, members: Iterator[Member]) -> Record: ...  # noqa: D102


def build(
    folder: Path,
    recipe: ImageRecipe,
    files: Sequence[str],
    *,
    index: pd.DataFrame,
    num_processes: int,
    ray: str | None = None,
    seen: Callable[[int, int], None] = lambda done, failed: None,
) -> None:
    """Decode `files` into the shards of `folder`; what another process has added meanwhile is not decoded again.

    index: what is there (`read_index`): a file with the content of one that was decoded under another name, or at
    another time, only gets a row. ray: the Ray cluster that decodes (`processes.ray_workers`), which has to see the
    files under the same names; None = `num_processes` of this machine. seen: called now and then with the number of
    files that are done, and of those that cannot be used.

    Raises:
        InputError: the disk is full, or the folder cannot be written; what was decoded until then is kept.
    """
    record_bytes = int(np.prod(recipe.record_shape))
    same = _SameContent(index)
    others = _Others(folder, recipe.record_shape, index)
    done = failed = 0
    try:
        writer = ShardWriter.take(folder, record_bytes, written_ns=int(index["written_ns"].max()) if len(index) else 0)
    except (OSError, NotImplementedError) as error:  # a file system without locks is the second
        raise _not_written(error, folder, done, len(files)) from error
    others.ours.add(writer.name)
    committed = time.monotonic()
    try:
        tasks = (same.asked_of(task) for task in others.not_done(files))
        if ray is None and (num_processes == 1 or len(files) < _POOL_FROM):
            found = (decode_files(task, recipe) for task in tasks)
        else:
            found = _decoded_by(
                lambda: local_workers(num_processes) if ray is None else ray_workers(ray), tasks, recipe
            )
        with closing(found) as results:
            for decoded in results:
                for row, pixels in decoded:
                    if writer.full:
                        writer.commit()
                        writer.close()
                        writer = ShardWriter.take(folder, record_bytes, after=writer.name, written_ns=writer.written_ns)
                        others.ours.add(writer.name)
                    is_known = pixels is None and not row["reason"]
                    writer.add(same.row_of(row) if is_known else row, pixels)
                    done, failed = done + 1, failed + bool(row["reason"])
                if time.monotonic() - committed > COMMIT_SECONDS:
                    writer.commit()
                    committed = time.monotonic()
                seen(done + others.num_done, failed)
        writer.commit()
    except OSError as error:
        raise _not_written(error, folder, done, len(files)) from error
    except BaseException:
        writer.commit()  # stopped by hand: what is decoded is decoded
        raise
    finally:
        writer.close()


def _not_written(error: Exception, folder: Path, done: int, total: int) -> InputError:
    return InputError(
        f"image cache: {getattr(error, 'strerror', None) or error} in {folder}; {done} of {total} files were decoded, "
        f"what was written stays and the next run goes on from there; make room, or give another paths.cache_dir"
    )


def decode_file(asked: Asked, recipe: ImageRecipe) -> Decoded:
    """The index row of a file and its pixels.

    No pixels where it cannot be used, with the reason, and where its content is one of the known ones.
    """
    file, known = asked
    row = _row(file)
    digest = blake3()
    try:
        if known:
            for member in members(file):
                digest.update(member.content)
            row["content_hash"] = digest.hexdigest()
            if row["content_hash"] in known:
                return row, None
            digest = blake3()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's quote values
            record = recipe.read(_through(digest, members(file)))
        pixels = record.pixels.tobytes()
    except Exception as error:  # whatever a file does to a decoder, it is one file
        row["reason"] = _reason(error)
        return row, None
    row |= {
        "content_hash": digest.hexdigest(),
        "sop_uid": record.sop_uid,
        "series_uid": record.series_uid,
        "syntax": record.syntax,
        "decoder": record.decoder,
        "pixels_hash": blake3(pixels).hexdigest(),
        "left_out": json.dumps(record.left_out),
        "repaired": json.dumps(record.repaired),
    }
    return row, pixels


def _reason(error: Exception) -> str:
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, MemoryError) or getattr(error, "code", None) == cv2.Error.StsNoMem:
        return f"{TRY_AGAIN[0]} (not enough memory)"
    if isinstance(error, ImportError):
        return f"{TRY_AGAIN[1]} (the package {error.name or 'that reads it'} is not installed)"
    if isinstance(error, OSError) and error.strerror:  # without, it is what a picture's reader says of its bytes
        return f"{TRY_AGAIN[0]} ({error.strerror})"
    kind = type(error)  # the words of an error may hold values
    package = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"cannot be decoded ({package}{kind.__name__})"


def _through(digest: blake3, found: Iterator[Member]) -> Iterator[Member]:
    for member in found:
        digest.update(member.content)
        yield member


class _SameContent:
    """Records of files that were decoded before, by their content.

    Asked of are files of the same name and size: those of a cohort that was moved, copied or only touched.
    """

    def __init__(self, index: pd.DataFrame) -> None:
        usable = index[index["record"] >= 0].drop_duplicates("content_hash", keep="last")
        self._rows = {row["content_hash"]: row for row in usable.to_dict("records")}
        self._alike: dict[tuple[str, int], list[str]] = {}
        for content, row in self._rows.items():
            self._alike.setdefault((os.path.basename(row["file"]), row["bytes"]), []).append(content)

    def asked_of(self, task: Sequence[str]) -> Sequence[Asked]:
        """Each file with the contents that it may have."""
        return [(file, tuple(self._alike.get((os.path.basename(file), stamp(file)[0]), ()))) for file in task]

    def row_of(self, row: dict[str, object]) -> dict[str, object]:
        """The row of a file whose content is known: with the record that is there."""
        return {**self._rows[str(row["content_hash"])], **{name: row[name] for name in ("file", "bytes", "mtime_ns")}}


class _Others:
    """What other processes add to the same cache at the same time."""

    def __init__(self, folder: Path, record_shape: tuple[int, ...], index: pd.DataFrame) -> None:
        self.ours: set[str] = set()
        self.num_done = 0
        self._folder, self._record_shape = folder, record_shape
        # A shard that changes also holds rows that were there before; only one behind a file's last is news of it.
        self._last: dict[str, int] = dict(zip(index["file"], index["written_ns"], strict=True))
        self._seen = {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
        self._known: dict[str, tuple[int, int]] = {}
        self._next_look = 0.0

    def not_done(self, files: Sequence[str]) -> Iterator[list[str]]:
        """`files` in tasks, without those that another process has done by the time of the task.

        Two processes with the same list begin at different places, so that they meet as late as possible.
        """
        start = os.getpid() * 7919 % max(1, len(files)) if self._somebody_writes() else 0
        order = [*files[start:], *files[:start]]
        for position in range(0, len(order), _TASK_FILES):
            self._look()
            task = order[position : position + _TASK_FILES]
            left = [file for file in task if file not in self._known or self._known[file] != stamp(file)]
            self.num_done += len(task) - len(left)
            if left:
                yield left

    def _somebody_writes(self) -> bool:
        return any(path.stem not in self.ours and is_locked(path) for path in self._folder.glob("*.lock"))

    def _look(self) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        for path in self._folder.glob("*.parquet"):
            changed = path.stat().st_mtime_ns
            if path.stem not in self.ours and self._seen.get(path.stem) != changed:
                self._seen[path.stem] = changed
                rows = read_shard_index(path)
                if rows is not None:
                    self._take_note(with_records(rows, self._folder, self._record_shape))

    def _take_note(self, rows: pd.DataFrame) -> None:
        columns = (rows[name] for name in ("file", "bytes", "mtime_ns", "written_ns"))
        for file, size, mtime_ns, written_ns in zip(*columns, strict=True):
            if written_ns > self._last.get(file, -1):
                self._last[file], self._known[file] = written_ns, (size, mtime_ns)


def _decoded_by(
    workers: Callable[[], AbstractContextManager[Workers]], tasks: Iterator[Sequence[Asked]], recipe: ImageRecipe
) -> Generator[list[Decoded], None, None]:
    """The results of each task, as they come; where a worker is ended, its files are tried one by one."""
    left = True
    while left:
        suspects: list[Asked] = []
        with workers() as pool:
            pending: dict[Future, Sequence[Asked]] = {}
            while True:
                while not suspects and len(pending) < _TASKS_AHEAD * pool.count:
                    following = next(tasks, None)
                    if following is None:
                        left = False
                        break
                    try:
                        pending[pool.submit(decode_files, following, recipe)] = following
                    except pool.ended:
                        suspects += following
                if not pending:
                    break
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    task = pending.pop(future)
                    try:
                        yield future.result()
                    except pool.ended:
                        suspects += task
        if suspects:
            log.warning("A process that decoded images was ended; %d files are tried one by one", len(suspects))
        while suspects:
            yield from ([found] for found in _one_by_one(suspects, recipe))


def decode_files(task: Sequence[Asked], recipe: ImageRecipe) -> list[Decoded]:
    """`decode_file` of each."""
    return [decode_file(asked, recipe) for asked in task]


def _one_by_one(suspects: list[Asked], recipe: ImageRecipe) -> Iterator[Decoded]:
    """The results of `suspects`, which is emptied, up to the first that ends the process that decodes it."""
    with local_workers(1) as pool:
        while suspects:
            asked = suspects.pop(0)
            try:
                yield pool.submit(decode_file, asked, recipe).result()
            except pool.ended:
                row = _row(asked[0]) | {"reason": _KILLED}
                yield row, None
                return


def _row(file: str) -> dict[str, object]:
    size, mtime = stamp(file)
    return dict.fromkeys(COLUMNS, "") | {"file": file, "bytes": size, "mtime_ns": mtime, "record": -1}
