"""The images that a run was made with, kept by their ids and hashes; and whether another cohort has any of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.audits.entry import AuditEntry, Status, not_applicable
from midrc_ml.audits.leakage import SAME_IMAGE
from midrc_ml.audits.overlap import OverlapRule
from midrc_ml.images.cache import CachedImages
from midrc_ml.images.shards import open_shards

IMAGES_FILE = "images.parquet"
_KEPT = ("study_id", "patient_id", "part")
_RECIPE = "recipe"
_NOT_FOR_TEST = ("train", "validation")
_STATUS: dict[OverlapRule, Status] = {"refuse": "fail", "drop": "pass", "keep": "warn"}


def save_images(folder: Path, studies: pd.DataFrame, images: CachedImages, *, recipe: str) -> None:
    """Write `images.parquet`: ids and hashes of each study's image, and where it lies in the cache of its recipe.

    studies: with `image`, the position in `images`. The file stays in the run's folder.
    """
    identity = images.identity.iloc[studies["image"].to_numpy(dtype=np.int64)].reset_index(drop=True)
    rows = pd.concat([studies[list(_KEPT)].reset_index(drop=True), identity], axis=1)
    rows.attrs[_RECIPE] = recipe
    rows.to_parquet(folder / IMAGES_FILE, index=False)


@dataclass(frozen=True)
class KnownImages:
    """Images of the train and validation parts of a run. rows: of `images.parquet`. recipe: the key of their recipe."""

    rows: pd.DataFrame
    recipe: str

    @classmethod
    def of_run(cls, folder: Path) -> "KnownImages | None":
        """Those of the run in `folder`; None where it read no images, or was made before they were kept."""
        path = folder / IMAGES_FILE
        if not path.is_file():
            return None
        try:
            rows = pd.read_parquet(path)
        except (OSError, ValueError):
            return None
        return cls(rows[rows["part"].isin(_NOT_FOR_TEST)].reset_index(drop=True), str(rows.attrs.get(_RECIPE, "")))

    def cached(self, cache_folder: Path, record_shape: tuple[int, ...]) -> "_Records | None":
        """Their pixels, as long as they are in the cache; None where any shard is gone."""
        names = sorted(set(self.rows["shard"]) - {""})
        try:
            shards = open_shards(cache_folder, names, record_shape)
        except (OSError, ValueError):
            return None
        number = {name: place for place, name in enumerate(names)}
        shard = self.rows["shard"].map(number).to_numpy(dtype=np.int64)
        record = self.rows["record"].to_numpy(dtype=np.int64)
        if any(record[shard == place].max(initial=-1) >= len(one) for place, one in enumerate(shards)):
            return None
        return _Records(shards, np.stack([shard, record], axis=1), record_shape)


@dataclass(frozen=True)
class _Records:
    shards: Any
    place: NDArray[np.int64]
    record_shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.place)

    def gather(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images at these positions, uint8."""
        batch = np.empty((len(indices), *self.record_shape), np.uint8)
        for position, (shard, record) in enumerate(self.place[np.asarray(indices, dtype=np.int64)].tolist()):
            batch[position] = self.shards[shard][record]
        return batch


def film_reasons(
    studies: pd.DataFrame,
    images: CachedImages,
    known: KnownImages | None,
    rule: OverlapRule,
    *,
    cache_folder: Path,
    recipe: str,
    by_looks: bool = True,
) -> tuple[pd.Series, list[AuditEntry]]:
    """Why a study's film is one that the run knows, aligned; missing where it is not. And the entries of both checks.

    studies: with `image`. By SOP instance UID, file content and pixels; by looks where the run's images are still in
    the cache of the same recipe. rule: what becomes of them, which the status of the entries says. by_looks:
    false = by ids and hashes alone.
    """
    reasons = pd.Series(None, index=studies.index, dtype=object)
    if known is None:
        why = "the run keeps no list of its images (it reads none, or an older version made it)"
        return reasons, [not_applicable("leakage.image", why), not_applicable("leakage.near_duplicate", why)]
    positions = studies["image"].to_numpy(dtype=np.int64)
    identity = images.identity.iloc[positions].reset_index(drop=True)
    is_same = np.zeros(len(studies), dtype=bool)
    for column in SAME_IMAGE:
        theirs = set(known.rows[column]) - {""}
        is_same |= identity[column].isin(theirs).to_numpy()
    reasons[is_same] = "the same image is in the train or validation part of the run"
    entries = [_entry("leakage.image", int(is_same.sum()), len(studies), "are images that the run was made with", rule)]
    records = known.cached(cache_folder, images.record_shape) if by_looks and known.recipe == recipe else None
    if records is None:
        why = "the run's images are not in this cache, so that films are compared by ids and hashes alone"
        why = why if by_looks else "audit.scope=leakage asks for ids and hashes alone"
        return reasons, [*entries, not_applicable("leakage.near_duplicate", why)]
    from midrc_ml.audits.films.near_duplicates import Chosen, near_duplicates

    pairs = near_duplicates(Chosen(images, positions), others=records)
    place = np.unique(pairs["first"].to_numpy(dtype=np.int64))
    is_near = np.zeros(len(studies), dtype=bool)
    is_near[place] = True
    is_near &= ~is_same
    reasons[is_near] = "nearly the same film is in the train or validation part of the run"
    words = "are nearly the same film as one that the run was made with"
    return reasons, [*entries, _entry("leakage.near_duplicate", int(is_near.sum()), len(studies), words, rule)]


def _entry(check: str, count: int, total: int, words: str, rule: OverlapRule) -> AuditEntry:
    status: Status = _STATUS[rule] if count else "pass"
    return AuditEntry(
        check=check,
        status=status,
        value=float(count),
        evidence=f"{count} of {total} studies {words}",
        what_to_do="nothing" if status == "pass" else "overlap=drop leaves them out and counts them",
    )
