"""The image cache: decode once, read for ever.

<cache_dir>/images/<recipe key>/ holds the shards of one recipe (`shards`). A file is known by its path, size and time;
where those are new, by its name and content: a cohort that was moved or copied is not decoded again. The key of the
recipe holds the version of the code: what an older one decoded is not read.
"""

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from blake3 import blake3

from midrc_ml.errors import InputError
from midrc_ml.images.build import ImageRecipe, build
from midrc_ml.images.files import TRY_AGAIN, absolute, stamp
from midrc_ml.images.shards import drop_records, open_shards, read_index
from midrc_ml.progress import Progress

log = logging.getLogger(__name__)

_ABSENT = (-1, -1)
_IDENTITY = ("sop_uid", "series_uid", "content_hash", "pixels_hash", "shard", "record")
# A name of one's own for a series is no UID and says nothing of what its header must hold.
_UID = re.compile(r"\d+(?:\.\d+){3,}")
# `prepare --check` of another process drops what is damaged, also what this one relies on.
_TAKEN_AWAY = f"{TRY_AGAIN[0]} (its record was taken out of the cache at the same time; run again)"
_OTHER_SERIES = "the header names another SeriesInstanceUID than the series table"


@dataclass(frozen=True)
class CachedImages:
    """Images in the order they were asked for.

    shards: memory maps (record, *record_shape), uint8. place: per image (shard, record), -1 where it failed. reasons:
    per image why it failed, or None. left_out: how many other files the series hold, by the reason why they are in no
    image. repaired: how often an image was made with something missing or uneven, by kind. num_absent: images whose
    source file is gone, that are served all the same. identity: a row an image of what tells that two are the same one:
    sop_uid, series_uid, content_hash, pixels_hash (an empty text = unknown), and its shard and record in the cache.
    """

    shards: Sequence[np.ndarray]
    place: np.ndarray
    reasons: Sequence[str | None]
    record_shape: tuple[int, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    repaired: Mapping[str, int] = field(default_factory=dict)
    num_absent: int = 0
    identity: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __len__(self) -> int:
        return len(self.place)

    def gather(self, indices: Sequence[int] | np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The images (image, *record_shape), uint8, in a fresh array or in `out`, which has room for them."""
        batch = np.empty((len(indices), *self.record_shape), np.uint8) if out is None else out[: len(indices)]
        places = self.place[np.asarray(indices, dtype=np.int64)].tolist()
        for position, (shard, record) in enumerate(places):
            if shard < 0:
                image = indices[position]
                raise IndexError(f"image {image} is not readable: {self.reasons[image]}")
            batch[position] = self.shards[shard][record]
        return batch


@dataclass(frozen=True, kw_only=True)
class ImageCache:
    """Images of one recipe below `cache_dir`; `load` adds what is not there yet."""

    cache_dir: str
    recipe: ImageRecipe

    @property
    def folder(self) -> Path:
        """Where records of this recipe lie."""
        return Path(self.cache_dir).expanduser().resolve() / "images" / self.recipe.key

    def load(
        self,
        files: Sequence[str],
        *,
        num_processes: int,
        ray: str | None = None,
        series: Sequence[str] | None = None,
        before: Callable[[], None] = lambda: None,
    ) -> CachedImages:
        """The image of each file; files that are new or have changed are decoded first.

        num_processes, ray: who decodes them (`build`). series: what each file is of; where that is a UID and the header
        has another, the image is not used. before: called where there is something to decode. A file that cannot be
        used is recorded with its reason, and never stops the others.

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        names = self.names(files)
        index, num_absent = self._complete(names, num_processes, ray, before)
        rows = index.drop_duplicates("file", keep="last").set_index("file").reindex(names)
        if series is not None:
            is_other = _differ(rows["series_uid"], series)
            rows = rows.assign(
                record=rows["record"].mask(is_other, -1), reason=rows["reason"].mask(is_other, _OTHER_SERIES)
            )
        is_there = rows["record"] >= 0
        shards = sorted(rows.loc[is_there, "shard"].unique())
        number = {name: position for position, name in enumerate(shards)}
        place = np.full((len(rows), 2), -1, np.int64)
        place[is_there.to_numpy(), 0] = rows.loc[is_there, "shard"].map(number)
        place[is_there.to_numpy(), 1] = rows.loc[is_there, "record"]
        return CachedImages(
            shards=open_shards(self.folder, shards, self.recipe.record_shape),
            place=place,
            reasons=[
                None if there else str(reason)
                for there, reason in zip(is_there, rows["reason"].fillna(_TAKEN_AWAY), strict=True)
            ],
            record_shape=self.recipe.record_shape,
            left_out=_sums(rows["left_out"]),
            repaired=_sums(rows["repaired"]),
            num_absent=num_absent,
            identity=rows[list(_IDENTITY)].fillna({"record": -1}).fillna("").reset_index(drop=True),
        )

    def names(self, files: Sequence[str]) -> list[str]:
        """The files by the names that the index knows them by."""
        return [absolute(file) for file in files]

    def index(self) -> pd.DataFrame:
        """One row a source file (`shards.COLUMNS`), of several of one file the last."""
        rows = read_index(self.folder, self.recipe.record_shape)
        return rows.drop_duplicates("file", keep="last", ignore_index=True)

    def damaged(self) -> pd.DataFrame:
        """The rows whose record is not what was written: by its hash, or because its shard is cut off or gone."""
        every = read_index(self.folder, self.recipe.record_shape, with_gone=True)
        index = every.drop_duplicates("file", keep="last").query("record >= 0")
        is_wrong = pd.Series(False, index=index.index)
        for name, rows in index.groupby("shard"):
            try:
                (shard,) = open_shards(self.folder, [str(name)], self.recipe.record_shape)
            except OSError:
                is_wrong[rows.index] = True
                continue
            for position, record, said in zip(rows.index, rows["record"], rows["pixels_hash"], strict=True):
                is_wrong[position] = record >= len(shard) or blake3(shard[record].data).hexdigest() != said
        return index[is_wrong]

    def files_by_series(self) -> dict[str, str]:
        """The file of each series, by the UID of its header, of which there is an image."""
        index = self.index()
        usable = index[(index["record"] >= 0) & (index["series_uid"] != "")]
        return dict(zip(usable["series_uid"], usable["file"], strict=True))

    def forget(self, rows: pd.DataFrame) -> None:
        """Drop the records of these rows of the index, for all files that they stand for; they are decoded again."""
        drop_records(self.folder, set(zip(rows["shard"], rows["record"], strict=True)))

    def _complete(
        self, names: Sequence[str], num_processes: int, ray: str | None, before: Callable[[], None]
    ) -> tuple[pd.DataFrame, int]:
        """The index with a row of each file, and how many of the files are gone but have a record."""
        index = read_index(self.folder, self.recipe.record_shape)
        missing, num_absent = _missing(index, names)
        if missing:
            before()
            self._begin()
            progress, started, total = Progress("Image cache", len(missing), "files"), time.monotonic(), [0, 0]

            def seen(done: int, failed: int) -> None:
                total[:] = done, failed
                progress.show(done, f"{failed:,} cannot be used" if failed else "")

            build(
                self.folder,
                self.recipe,
                missing,
                index=index,
                num_processes=num_processes,
                ray=ray,
                seen=seen,
            )
            words = "Image cache: %d files in %.0f s, %.1f files/s, %d cannot be used"
            seconds = time.monotonic() - started
            log.info(words, total[0], seconds, total[0] / max(seconds, 1e-9), total[1])
            index = read_index(self.folder, self.recipe.record_shape)
        return index, num_absent

    def _begin(self) -> None:
        settings: Any = self.recipe
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "recipe.json").write_text(json.dumps(asdict(settings), indent=2) + "\n")
        except OSError as error:
            raise InputError(
                f"paths.cache_dir is {self.cache_dir!r}, and no image cache can be written there "
                f"({error.strerror or error}); give a folder that can be written"
            ) from error


def _missing(index: pd.DataFrame, names: Sequence[str]) -> tuple[list[str], int]:
    """The files that have to be decoded, each once, and how many are gone but have a record."""
    # A failure that is not the file's own (a disk, a permission, a decoder that is not installed) is tried again.
    last = index.drop_duplicates("file", keep="last")
    lasting = last[~last["reason"].astype("str").str.startswith(TRY_AGAIN)]
    known = dict(zip(lasting["file"], zip(lasting["bytes"], lasting["mtime_ns"], strict=True), strict=True))
    has_record = set(lasting.loc[lasting["record"] >= 0, "file"])
    missing, num_absent = [], 0
    for file in dict.fromkeys(names):
        now = stamp(file)
        if now == _ABSENT and file in has_record:
            num_absent += 1
        elif known.get(file) != now:
            missing.append(file)
    return missing, num_absent


def _differ(said: pd.Series, asked: Sequence[str]) -> np.ndarray:
    """Where both are UIDs, and not the same one."""
    of_table = pd.Series(list(asked), index=said.index, dtype="str")
    are_uids = said.str.fullmatch(_UID).eq(True) & of_table.str.fullmatch(_UID).eq(True)
    return (are_uids & (said != of_table)).to_numpy()


def _sums(rows: pd.Series) -> dict[str, int]:
    """Counts by reason, the commonest first, from the JSON of each row; one that cannot be used has none."""
    total: Counter[str] = Counter()
    for of_series, count in rows[rows != ""].value_counts().items():
        total.update({reason: number * count for reason, number in json.loads(str(of_series)).items()})
    return dict(total.most_common())
