"""The files of an image cache: shards of records, each with its index.

NNNNNN.u8       records one behind the other; memory-mapped to read
NNNNNN.parquet  one row a source file: where its record is, or why it has none; hashes are BLAKE3
NNNNNN.lock     held by the one process that writes this shard

An index is replaced as a whole, and only when the records it tells of are on disk: what a killed process leaves behind
the last of them belongs to nobody, and is overwritten by the next writer of that shard.
"""

import logging
import mmap
import os
import time
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

SHARD_RECORDS = 1024
_PLACE = ("shard", "record")
_NUMBERS = ("bytes", "mtime_ns", "record", "written_ns")
_LATER = {"repaired": "", "written_ns": 0}  # what an index may lack that was written before there was such a column
_ROWS = 4  # rows a record, at most: files that cannot be used have a row and no record
COLUMNS = (
    "file",
    "bytes",
    "mtime_ns",
    "content_hash",
    "sop_uid",
    "series_uid",
    "syntax",
    "decoder",
    "shard",
    "record",
    "pixels_hash",
    "reason",
    "left_out",
    "repaired",
    "written_ns",
)


class ShardWriter:
    """One shard that this process alone writes; its rows count once they are committed."""

    def __init__(
        self, folder: Path, name: str, lock: FileLock, rows: list[Any], *, record_bytes: int, written_ns: int
    ) -> None:
        """Go on behind the last record that `rows`, the shard's index, tell of, and later than `written_ns`."""
        self.name, self.written_ns = name, written_ns
        self._index, self._lock, self._rows = folder / f"{name}.parquet", lock, rows
        self._count = _num_records(self._rows, name)
        self._committed = len(self._rows)
        descriptor = os.open(folder / f"{name}.u8", os.O_RDWR | os.O_CREAT, 0o644)
        self._pixels = os.fdopen(descriptor, "r+b")
        self._pixels.truncate(self._count * record_bytes)
        self._pixels.seek(0, os.SEEK_END)

    @classmethod
    def take(cls, folder: Path, record_bytes: int, *, after: str = "", written_ns: int = 0) -> "ShardWriter":
        """The first shard (behind `after`) that has room and that no process writes, or a new one.

        written_ns: the latest one of the rows that are there; rows of this writer are later, whatever the clock says.
        """
        number = int(after) + 1 if after else 0
        while True:
            name = f"{number:06d}"
            number += 1
            if _is_full(folder / f"{name}.parquet"):
                continue
            lock = FileLock(folder / f"{name}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                rows = _rows_to_go_on_with(folder, name, record_bytes)
                if rows is not None:
                    return cls(folder, name, lock, rows, record_bytes=record_bytes, written_ns=written_ns)
            except OSError:
                lock.release()
                raise
            lock.release()

    @property
    def full(self) -> bool:
        """Whether the next row belongs into another shard."""
        return _is_full_with(self._count, len(self._rows))

    def add(self, row: dict[str, object], pixels: bytes | None) -> None:
        """A source file and its record; without pixels, the row says where the record is, or why there is none."""
        # Not the shard's name tells which row of a file is the last: a later writer may be given an earlier shard. Nor
        # does the clock alone: it may be set back, and those of two machines differ.
        self.written_ns = max(time.time_ns(), self.written_ns + 1)
        row = {**row, "written_ns": self.written_ns}
        if pixels is not None:
            self._pixels.write(pixels)
            row |= {"shard": self.name, "record": self._count}
            self._count += 1
        self._rows.append(row)

    def commit(self) -> None:
        """Bring records to disk, then the index that tells of them.

        Raises:
            OSError: the disk is full, or gone; what was committed before stays.
        """
        if self._committed == len(self._rows):
            return
        self._pixels.flush()
        os.fsync(self._pixels.fileno())
        _replace_index(self._index, pd.DataFrame(self._rows, columns=list(COLUMNS)))
        self._committed = len(self._rows)

    def close(self) -> None:
        """Leave the shard to others; rows that are not committed are lost."""
        try:
            self._pixels.close()
        except OSError:
            pass  # what could not be written was not committed either
        finally:
            self._lock.release()


def read_index(folder: Path, record_shape: tuple[int, ...], *, with_gone: bool = False) -> pd.DataFrame:
    """The rows of all shards, as they were written one after the other.

    with_gone: also those whose record is gone: of a shard that was removed or cut off by hand.
    """
    frames = []
    for path in sorted(folder.glob("*.parquet")):
        rows = read_shard_index(path)
        if rows is not None:
            frames.append(rows.assign(index_of=path.stem))
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS))
    index = pd.concat(frames, ignore_index=True).sort_values("written_ns", kind="stable", ignore_index=True)
    index = index[_are_owned(index)].drop(columns="index_of")
    return index.reset_index(drop=True) if with_gone else with_records(index, folder, record_shape)


def with_records(rows: pd.DataFrame, folder: Path, record_shape: tuple[int, ...]) -> pd.DataFrame:
    """The rows whose record lies in its shard, and those that have none."""
    size = int(np.prod(record_shape))
    there = {path.stem: path.stat().st_size // size for path in folder.glob("*.u8")}
    lie = rows["shard"].map(there).astype("float64").fillna(0)  # a map of nothing is not of numbers
    return rows[rows["record"] < lie].reset_index(drop=True)


def read_shard_index(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame | None:
    """The rows of one shard's index; None, and a warning, where the file is damaged."""
    names = None if columns is None else list(columns)
    try:
        rows = pd.read_parquet(path, columns=names, page_checksum_verification=True)
        return rows if names is not None else _whole(rows)
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged bytes raise nearly anything
        _warn_of(path, type(error).__name__)
        return None


def drop_records(folder: Path, records: Collection[tuple[str, int]]) -> None:
    """Take the rows of these records (shard, record) out of all indexes; waits for who writes a shard that has some."""
    for path in sorted(folder.glob("*.parquet")):
        # A row that its writer adds meanwhile, of a record in another shard, counts no more once that has no such row.
        if not _have(read_shard_index(path, _PLACE), records).any():
            continue
        lock = path.with_suffix(".lock")
        if is_locked(lock):
            log.info("Image cache: damaged records are dropped from %s once the process that writes it is done", path)
        with FileLock(lock):
            rows = read_shard_index(path)
            is_dropped = _have(rows, records)
            if rows is not None and is_dropped.any():
                _replace_index(path, rows[~is_dropped])


def is_locked(path: Path) -> bool:
    """Whether a process holds this lock."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def open_shards(folder: Path, names: Sequence[str], record_shape: tuple[int, ...]) -> list[np.ndarray]:
    """Memory maps (record, *record_shape), uint8, to read; a shard without a record gives an empty one."""
    size = int(np.prod(record_shape))
    shards = []
    for name in names:
        with open(folder / f"{name}.u8", "rb") as file:
            count = os.fstat(file.fileno()).st_size // size
            flat: np.ndarray = np.empty(0, np.uint8)
            if count:
                flat = np.frombuffer(mmap.mmap(file.fileno(), count * size, access=mmap.ACCESS_READ), np.uint8)
        shards.append(flat.reshape(-1, *record_shape))
    return shards


def _replace_index(path: Path, rows: pd.DataFrame) -> None:
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "wb") as file:
        rows.to_parquet(file, index=False, write_page_checksum=True)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


@lru_cache
def _warn_of(path: Path, error: str) -> None:
    """Once a file: an index is read again and again."""
    words = "Image cache: %s cannot be read (%s): what it told of is decoded again; remove it and %s.u8 for the room"
    log.warning(words, path, error, path.stem)


def _are_owned(index: pd.DataFrame) -> np.ndarray:
    """Rows without a record, and those of whose record the index of its own shard says the same.

    Rows of one record lie in several indexes; when those are dropped or lost one before the other, and the place is
    written anew, no row of what was there before may stand for what is there now.
    """
    has_record = (index["record"] >= 0).to_numpy()
    rows = index[["shard", "record", "pixels_hash"]]
    own = rows[has_record & (index["shard"] == index["index_of"]).to_numpy()].drop_duplicates()
    hash_of = own.drop_duplicates(list(_PLACE), keep=False).set_index(list(_PLACE))["pixels_hash"]
    said = rows[list(_PLACE)].join(hash_of, on=list(_PLACE))["pixels_hash"]
    return np.asarray(~has_record | (said == rows["pixels_hash"]).to_numpy())


def _whole(rows: pd.DataFrame) -> pd.DataFrame:
    """With all columns.

    Raises:
        KeyError: one is missing that every index has.
        ValueError: one of numbers is of something else.
    """
    if tuple(rows.columns) != COLUMNS:
        later = {name: value for name, value in _LATER.items() if name not in rows}
        rows = rows.assign(**later)[list(COLUMNS)]
    if any(rows[name].dtype != np.int64 for name in _NUMBERS):
        rows = rows.astype(dict.fromkeys(_NUMBERS, "int64"))
    return rows


def _have(rows: pd.DataFrame | None, records: Collection[tuple[str, int]]) -> np.ndarray:
    if rows is None:
        return np.zeros(0, bool)
    return np.array([place in records for place in zip(rows["shard"], rows["record"], strict=True)], dtype=bool)


def _is_full(index: Path) -> bool:
    if not index.exists():
        return False
    places = read_shard_index(index, _PLACE)
    if places is None:  # rows of others may point to its records: it is nobody's to write
        return True
    rows = places.to_dict("records")
    return _is_full_with(_num_records(rows, index.stem), len(rows))


def _rows_to_go_on_with(folder: Path, name: str, record_bytes: int) -> list[Any] | None:
    """The rows of a shard; None where it is nobody's to write, as rows may point to its places.

    So it is where it is full, was cut off by hand, or its index is damaged.
    """
    index, pixels = folder / f"{name}.parquet", folder / f"{name}.u8"
    if not index.exists():
        return []
    found = read_shard_index(index)
    if found is None:
        return None
    rows = found.to_dict("records")
    count = _num_records(rows, name)
    is_cut = (pixels.stat().st_size if pixels.exists() else 0) < count * record_bytes
    return None if is_cut or _is_full_with(count, len(rows)) else rows


def _num_records(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    """How many records lie in the shard itself: rows may point to another's, and several to one."""
    return max((row["record"] + 1 for row in rows if row["shard"] == name), default=0)


def _is_full_with(num_records: int, num_rows: int) -> bool:
    return num_records >= SHARD_RECORDS or num_rows >= _ROWS * SHARD_RECORDS
