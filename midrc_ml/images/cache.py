"""The image cache: decode once, read for ever.

<cache_dir>/images/<recipe key>/
    NNNNNN.u8      records of one shard, each size x size bytes; memory-mapped to read
    NNNNNN.parquet  its index: file, its size and time, SHA-256, SOP instance and series UID, record, or why it failed

A shard's index is renamed into place after its pixels are on disk: a shard without an index does not exist,
so that a killed process leaves nothing that could be read by mistake. One process builds at a time; the
others wait and then find the records.
"""

import hashlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from midrc_ml.images.files import TRY_AGAIN, ImageError, file_paths, members
from midrc_ml.images.radiograph import Radiograph, read_radiograph
from midrc_ml.images.recipe import Recipe
from midrc_ml.processes import worker_pool

log = logging.getLogger(__name__)

SHARD_RECORDS = 1024
_POOL_FROM = 100  # files; below this, starting processes takes longer than it saves
_INDEX_COLUMNS = ("file", "bytes", "mtime_ns", "sha256", "sop_uid", "series_uid", "record", "reason", "left_out")
# A name of one's own for a series is no UID and says nothing of what its header must hold.
_UID = re.compile(r"\d+(?:\.\d+){3,}")
_OTHER_SERIES = "the header names another SeriesInstanceUID than the series table"


@dataclass(frozen=True)
class CachedImages:
    """Images in the order they were asked for.

    shards: memory maps (record, row, column), uint8. place: per image (shard, record), -1 where it failed.
    reasons: per image why it failed, or None. left_out: per image how many other files its series holds,
    further films and damaged ones: one film stands for a series.
    """

    shards: Sequence[np.ndarray]
    place: np.ndarray
    reasons: Sequence[str | None]
    size: int
    left_out: Sequence[int] = ()

    def gather(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """A fresh array (image, row, column), uint8."""
        batch = np.empty((len(indices), self.size, self.size), np.uint8)
        for position, index in enumerate(indices):
            shard, record = self.place[index]
            if shard < 0:
                raise IndexError(f"image {index} is not readable: {self.reasons[index]}")
            batch[position] = self.shards[shard][record]
        return batch


@dataclass(frozen=True, kw_only=True)
class ImageCache:
    """Images of one recipe below `cache_dir`; `load` adds what is not there yet."""

    cache_dir: str
    recipe: Recipe

    @property
    def folder(self) -> Path:
        """Where records of this recipe lie."""
        return Path(self.cache_dir).expanduser().resolve() / "images" / self.recipe.key

    def load(self, files: Sequence[str], *, num_processes: int, series: Sequence[str] | None = None) -> CachedImages:
        """The image of each file; files that are new or have changed are decoded first.

        series: what each file is of; where that is a UID and the header has another, the image is not used. A file
        that cannot be used is recorded with its reason, and never stops the others.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        index = self._index()
        if self._missing(index, files):
            with FileLock(self.folder / "build.lock"):
                index = self._index()  # another process may have built it while this one waited
                self._build(self._missing(index, files), num_processes)
            index = self._index()
        rows = index.drop_duplicates("file", keep="last").set_index("file").reindex([_absolute(file) for file in files])
        if series is not None:
            is_other = _differ(rows["series_uid"], series)
            rows = rows.assign(
                record=rows["record"].mask(is_other, -1), reason=rows["reason"].mask(is_other, _OTHER_SERIES)
            )
        names = sorted(path.stem for path in self.folder.glob("*.parquet"))
        shards = [
            np.memmap(self.folder / f"{name}.u8", np.uint8, "r")
            if (self.folder / f"{name}.u8").stat().st_size
            else np.empty(0, np.uint8)
            for name in names
        ]
        pixels = self.recipe.size**2
        shaped = [
            shard[: len(shard) // pixels * pixels].reshape(-1, self.recipe.size, self.recipe.size) for shard in shards
        ]
        number = {name: position for position, name in enumerate(names)}
        place = np.array(
            [
                (number[shard], record) if record >= 0 else (-1, -1)
                for shard, record in zip(rows["shard"], rows["record"], strict=True)
            ],
            dtype=np.int64,
        ).reshape(-1, 2)
        reasons = [
            None if record >= 0 else str(reason) for record, reason in zip(rows["record"], rows["reason"], strict=True)
        ]
        return CachedImages(
            shards=shaped, place=place, reasons=reasons, size=self.recipe.size, left_out=list(rows["left_out"])
        )

    def _index(self) -> pd.DataFrame:
        frames = [pd.read_parquet(path).assign(shard=path.stem) for path in sorted(self.folder.glob("*.parquet"))]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*_INDEX_COLUMNS, "shard"])

    def _missing(self, index: pd.DataFrame, files: Sequence[str]) -> list[str]:
        # A failure that is not the file's own (a disk, a permission, a decoder that is not installed) is tried again.
        lasting = index[~index["reason"].astype("str").str.startswith(TRY_AGAIN)]
        known = dict(zip(lasting["file"], zip(lasting["bytes"], lasting["mtime_ns"], strict=True), strict=True))
        return [file for file in dict.fromkeys(map(_absolute, files)) if known.get(file) != _stamp(file)]

    def _build(self, files: Sequence[str], num_processes: int) -> None:
        if not files:
            return
        started = time.monotonic()
        (self.folder / "recipe.json").write_text(json.dumps(asdict(self.recipe), indent=2) + "\n")
        taken = [int(path.stem) for path in self.folder.glob("*.parquet")]
        decode = partial(_decode, recipe=self.recipe)
        many = num_processes > 1 and len(files) >= _POOL_FROM
        with worker_pool(num_processes) if many else nullcontext() as pool:
            for number, start in enumerate(range(0, len(files), SHARD_RECORDS), start=max(taken, default=-1) + 1):
                chunk = files[start : start + SHARD_RECORDS]
                decoded = pool.map(decode, chunk, chunksize=8) if pool else map(decode, chunk)
                failed = self._write_shard(f"{number:06d}", list(decoded))
                done = min(start + SHARD_RECORDS, len(files))
                rate = done / (time.monotonic() - started)
                words = "Image cache: %d of %d files, %.0f files/s, %d of this shard unreadable"
                log.info(words, done, len(files), rate, failed)

    def _write_shard(self, name: str, decoded: Sequence[tuple[dict[str, object], bytes | None]]) -> int:
        """Write one shard; how many of its files could not be used."""
        rows, record = [], 0
        with open(self.folder / f"{name}.u8", "wb") as pixels:
            for row, content in decoded:
                if content is None:
                    row["record"] = -1
                else:
                    pixels.write(content)
                    row["record"], record = record, record + 1
                rows.append(row)
            pixels.flush()
            os.fsync(pixels.fileno())
        unfinished = self.folder / f"{name}.unfinished"
        pd.DataFrame(rows, columns=list(_INDEX_COLUMNS)).to_parquet(unfinished, index=False)
        unfinished.rename(self.folder / f"{name}.parquet")
        return len(rows) - record


def _decode(file: str, *, recipe: Recipe) -> tuple[dict[str, object], bytes | None]:
    """The index row of a file and its pixels; no pixels where it cannot be used, with the reason."""
    size, mtime = _stamp(file)
    row: dict[str, object] = {
        "file": file,
        "bytes": size,
        "mtime_ns": mtime,
        "sha256": "",
        "sop_uid": "",
        "series_uid": "",
        "reason": "",
        "left_out": 0,
    }
    digest = hashlib.sha256()
    readable: list[Radiograph] = []
    reasons: list[str] = []
    try:
        for member in members(file):
            digest.update(member.content)
            try:
                readable.append(read_radiograph(member))
            except ImageError as error:
                reasons.append(str(error))
        row["sha256"] = digest.hexdigest()
        if not readable:
            raise ImageError(reasons[0] if reasons else "no file inside")
        # A series of several films stands for its first: lowest instance number, then SOP instance UID.
        # A picture beside a DICOM file is a preview of it.
        first = min(readable, key=lambda film: (not film.sop_uid, film.instance_number or math.inf, film.sop_uid))
        pixels = recipe.apply(first)
    except ImageError as error:
        row["reason"] = str(error)
        return row, None
    row["sop_uid"], row["series_uid"] = first.sop_uid, first.series_uid
    row["left_out"] = len(readable) + len(reasons) - 1
    return row, pixels.tobytes()


def _differ(said: pd.Series, asked: Sequence[str]) -> np.ndarray:
    """Where both are UIDs, and not the same one."""
    of_table = pd.Series(list(asked), index=said.index, dtype="str")
    are_uids = said.str.fullmatch(_UID).eq(True) & of_table.str.fullmatch(_UID).eq(True)
    return (are_uids & (said != of_table)).to_numpy()


def _stamp(file: str) -> tuple[int, int]:
    """Size and time of a file; of a folder or a pattern, the sum over its files and the latest time."""
    try:
        states = [os.stat(path) for path in file_paths(file)]
        return sum(state.st_size for state in states), max((state.st_mtime_ns for state in states), default=0)
    except OSError:
        return -1, -1


def _absolute(file: str) -> str:
    return os.path.abspath(file)
