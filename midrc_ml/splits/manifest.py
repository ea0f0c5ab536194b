"""The split manifest: who is in which part, for which task, with one SHA-256 over all of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.errors import InputError

PARTS = ("train", "validation", "test")
COLUMNS = ("patient_id", "case_id", "study_id", "part", "label")


@dataclass(frozen=True)
class Manifest:
    """rows: `patient_id, case_id, study_id, part, label`, sorted. about: task, version, window, cohort query."""

    rows: pd.DataFrame
    about: Mapping[str, object]

    @classmethod
    def of(cls, studies: pd.DataFrame, about: Mapping[str, object]) -> "Manifest":
        """The manifest of studies that have a `part`.

        Raises:
            InputError: a patient in two parts, a study twice, or an unknown part.
        """
        rows = studies[list(COLUMNS)].sort_values(["patient_id", "study_id"]).reset_index(drop=True)
        unknown = sorted(set(rows["part"]) - set(PARTS))
        if unknown:
            raise InputError(f"split: unknown part {', '.join(map(repr, unknown))}; parts are {', '.join(PARTS)}")
        twice = int(rows["study_id"].duplicated().sum())
        if twice:
            raise InputError(f"split: {twice} studies stand in it more than once; a study belongs to one part")
        parts = rows.groupby("patient_id")["part"].nunique()
        if (parts > 1).any():
            count = int((parts > 1).sum())
            raise InputError(f"split: {count} patients are in more than one part; a patient belongs to one part only")
        return cls(rows=rows, about=about)

    @property
    def sha256(self) -> str:
        """SHA-256 over the sorted rows and what they are about."""
        digest = hashlib.sha256(json.dumps(self.about, sort_keys=True, default=str).encode())
        for row in self.rows.itertuples(index=False):
            digest.update(
                "\x1f".join([row.patient_id, row.case_id, row.study_id, row.part, repr(float(row.label))]).encode()
            )
            digest.update(b"\n")
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write `split.parquet` and `split.sha256`; refused where another manifest is already there.

        Raises:
            InputError: the folder holds a manifest with another hash.
        """
        path = folder / "split.sha256"
        known = path.read_text().strip() if path.exists() else self.sha256
        if known != self.sha256:
            raise InputError(
                f"the split in {folder} has SHA-256 {known[:12]}..., now made {self.sha256[:12]}...: the cohort, "
                f"the task or the split settings have changed since; start a new run"
            )
        self.rows.to_parquet(folder / "split.parquet", index=False)
        path.write_text(self.sha256 + "\n")

    def check_pinned(self, sha256: str | None) -> None:
        """Refuse where the configuration pins another manifest."""
        if sha256 and sha256 != self.sha256:
            raise InputError(
                f"split.sha256 pins {sha256[:12]}..., but this split is {self.sha256[:12]}...: the cohort, the task "
                f"or the split settings differ from the pinned ones; remove split.sha256 to accept the new split"
            )

    def check_classes(self, kind: str) -> None:
        """Refuse a part that is empty or, for a binary task, has one class only."""
        for part in PARTS:
            labels = self.rows.loc[self.rows["part"] == part, "label"]
            if labels.empty:
                raise InputError(f"split: the {part} part is empty; use a larger cohort or another split.fractions")
            if kind == "binary" and labels.nunique() < 2:
                raise InputError(
                    f"split: all {len(labels)} studies of the {part} part have label {labels.iloc[0]:g}; a binary task "
                    f"needs both classes in each part: use a larger cohort, other split.fractions or another split.seed"
                )
