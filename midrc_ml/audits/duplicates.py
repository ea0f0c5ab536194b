"""The same film twice: pairs, the rule for them, and what is left of them in a run's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from midrc_ml.audits.entry import AuditEntry, Status, not_applicable
from midrc_ml.audits.leakage import (
    DUPLICATES_REMEDY,
    image_leakage,
    left_out_of_training,
    pairs_across,
    pairs_of_two_patients,
    same_images,
)
from midrc_ml.audits.settings import DuplicateRule
from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.images.cache import CachedImages

PAIRS_FILE, PICTURE = "near_duplicates.parquet", "near_duplicates.png"
_STATUS: dict[DuplicateRule, Status] = {"refuse": "fail", "drop": "pass", "report": "warn"}


@dataclass(frozen=True)
class FilmPairs:
    """Pairs of the same film: of two parts, or of two patients; first, second (rows of the studies), similarity, how.

    reasons: why studies are left out, aligned with the studies; missing where they stay.
    """

    pairs: pd.DataFrame
    entries: Sequence[AuditEntry]
    reasons: pd.Series

    def kept(self, studies: pd.DataFrame, flow: CohortFlow) -> pd.DataFrame:
        """The studies without those that are left out, which are counted."""
        if self.reasons.notna().any():
            return flow.step("not the same film as in another part", studies, self.reasons)
        return studies

    def save(self, folder: Path, images: CachedImages, studies: pd.DataFrame) -> None:
        """Write the pairs with their ids, and their pictures, into the run's folder, which they must not leave."""
        for name in (PAIRS_FILE, PICTURE):  # of an earlier try
            (folder / name).unlink(missing_ok=True)
        if self.pairs.empty:
            return
        from midrc_ml.audits.films.pair_figure import draw_pairs

        named = self.pairs.copy()
        for place in ("first", "second"):
            rows = studies.iloc[named[place].to_numpy()]
            for column in ("part", "patient_id", "study_id"):
                named[f"{place}_{column}"] = rows[column].to_numpy()
        named.drop(columns=["first", "second"]).to_parquet(folder / PAIRS_FILE, index=False)
        captions = [
            f"{one} / {other}: {how}, {alike:.2f}"
            for one, other, how, alike in zip(
                named["first_part"], named["second_part"], named["how"], named["similarity"], strict=True
            )
        ]
        positions = studies["image"].to_numpy(dtype=np.int64)
        shown = self.pairs.assign(
            first=positions[self.pairs["first"].to_numpy()], second=positions[self.pairs["second"].to_numpy()]
        )
        draw_pairs(images, shown, folder / PICTURE, captions=captions)


def film_pairs(studies: pd.DataFrame, images: CachedImages, rule: DuplicateRule, *, by_looks: bool = True) -> FilmPairs:
    """The pairs of the same film among the studies, by id, by hash and by looks, and what the rule makes of them.

    studies: with part, patient_id and `image`, the position in `images`. by_looks: false = by id and hash alone.
    """
    from midrc_ml.audits.films.near_duplicates import SAME_PIXELS, Chosen, near_duplicates

    positions = studies["image"].to_numpy(dtype=np.int64)
    rows = studies.reset_index(drop=True)
    identity = images.identity.iloc[positions].reset_index(drop=True)
    same = same_images(rows, identity).assign(similarity=1.0)
    alike = near_duplicates(Chosen(images, positions if by_looks else positions[:0]))
    alike = alike[alike["relation"] != SAME_PIXELS]
    both = pd.concat([same, alike[["first", "second", "similarity", "how"]]], ignore_index=True)
    both = both.drop_duplicates(["first", "second"], ignore_index=True)
    near = both.iloc[len(same) :]
    reasons = left_out_of_training(both, rows) if rule == "drop" else pd.Series(None, index=rows.index, dtype=object)
    told = pd.concat([pairs_across(both, rows), pairs_of_two_patients(both, rows)], ignore_index=True)
    entries = [
        image_leakage(same, rows, status=_STATUS[rule], num_images=len(rows)),
        _near_entry(near, rows, reasons, rule)
        if by_looks
        else not_applicable("leakage.near_duplicate", "audit.scope=leakage asks for ids and hashes alone"),
    ]
    return FilmPairs(told.sort_values("similarity", ascending=False, ignore_index=True), entries, reasons)


def _near_entry(near: pd.DataFrame, rows: pd.DataFrame, reasons: pd.Series, rule: DuplicateRule) -> AuditEntry:
    """`leakage.near_duplicate`: the value is the number of pairs across parts."""
    across, within = pairs_across(near, rows), pairs_of_two_patients(near, rows)
    status: Status = _STATUS[rule] if len(across) else "warn" if len(within) else "pass"
    told = [f"{len(across)} pairs of nearly the same film across parts"]
    if len(within):
        told.append(f"{len(within)} pairs of nearly the same film of two patients in one part, who may be one person")
    said = "; ".join(told if len(across) else told[::-1])  # what is found comes first
    if count := int(reasons.notna().sum()):
        said += f"; {count} studies left out of training and validation"
    return AuditEntry(
        check="leakage.near_duplicate",
        status=status,
        value=float(len(across)),
        evidence=f"{said}, among {len(rows)} films",
        what_to_do="nothing" if status == "pass" else DUPLICATES_REMEDY,
        details=[{"how": how, "pairs across parts": int(count)} for how, count in across["how"].value_counts().items()],
    )
