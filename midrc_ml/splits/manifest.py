"""The split manifest: who is in which part, for which task, with one SHA-256 over all of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from midrc_ml.errors import InputError

PARTS = ("train", "validation", "test")
_REMEDY = "use a larger cohort, other split settings or another split.seed"
COLUMNS = ("patient_id", "case_id", "study_id", "part", "label")
# Of time-to-event tasks: the days until the event or the end of what is known.
TIME = "time"
_NUM_DIGITS = 64
_ABOUT = "about"  # in the attributes of the stored rows, so that whoever reads them can hash them again


@dataclass(frozen=True)
class Manifest:
    """rows: `patient_id, case_id, study_id, part, label`, sorted, and `time` where a task has it.

    about: task, version, window, cohort query.
    """

    rows: pd.DataFrame
    about: Mapping[str, object]

    @classmethod
    def of(cls, studies: pd.DataFrame, about: Mapping[str, object]) -> "Manifest":
        """The manifest of studies that have a `part`.

        Raises:
            InputError: a patient in two parts, a study twice, a case of two patients, or an unknown part.
        """
        columns = [*COLUMNS, *([TIME] if TIME in studies.columns else [])]
        rows = studies[columns].sort_values(["patient_id", "study_id"]).reset_index(drop=True)
        unknown = sorted(set(rows["part"]) - set(PARTS))
        if unknown:
            raise InputError(f"split: unknown part {', '.join(map(repr, unknown))}; parts are {', '.join(PARTS)}")
        repeated = rows[rows["study_id"].duplicated(keep=False)]
        if len(repeated):
            studies_twice = repeated["study_id"].nunique()
            shared = int((repeated.groupby("study_id")["patient_id"].nunique() > 1).sum())
            also = f", {shared} of them under two patients" if shared else ""
            raise InputError(
                f"split: {studies_twice} studies stand in it more than once{also}; a study belongs to one part"
            )
        if count := _with_several(rows, "case_id", "patient_id"):
            raise InputError(f"split: {count} cases are of more than one patient; a case id is one patient's")
        if count := _with_several(rows, "patient_id", "part"):
            raise InputError(f"split: {count} patients are in more than one part; a patient belongs to one part only")
        return cls(rows=rows, about=about)

    @property
    def sha256(self) -> str:
        """SHA-256 over the sorted rows and what they are about."""
        digest = hashlib.sha256(json.dumps(self.about, sort_keys=True, default=str).encode())
        texts = [self.rows[column].tolist() for column in COLUMNS[:-1]]
        for column in ("label", TIME):
            if column in self.rows.columns:
                texts.append([repr(float(number)) for number in self.rows[column].tolist()])
        digest.update("".join(["\x1f".join(row) + "\n" for row in zip(*texts, strict=True)]).encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write `split.parquet` and `split.sha256`; refused where another manifest is already there.

        Raises:
            InputError: the folder holds a manifest with another hash.
        """
        path, sha256 = folder / "split.sha256", self.sha256
        known = path.read_text().strip() if path.exists() else sha256
        if known != sha256:
            raise InputError(
                f"the split in {folder} has SHA-256 {known[:12]}..., now made {sha256[:12]}...: the cohort, "
                f"the task or the split settings have changed since; start a new run"
            )
        rows = self.rows.copy()
        rows.attrs[_ABOUT] = json.loads(json.dumps(self.about, default=str))
        rows.to_parquet(folder / "split.parquet", index=False)
        path.write_text(sha256 + "\n")

    def check_pinned(self, sha256: str | None) -> None:
        """Refuse where the configuration pins another manifest, or less than a whole SHA-256 (in either case).

        Raises:
            InputError: with this split's SHA-256.
        """
        if not sha256:
            return
        pinned = sha256.strip().lower()
        if len(pinned) != _NUM_DIGITS or not set(pinned) <= set("0123456789abcdef"):
            raise InputError(
                f"split.sha256 is {sha256!r}; a pin needs all {_NUM_DIGITS} hexadecimal digits, of which logs show the "
                f"first 12: they stand in the file split.sha256 of a run's folder, and those of this split are "
                f"{self.sha256}"
            )
        if pinned != self.sha256:
            raise InputError(
                f"split.sha256 pins {pinned[:12]}..., but this split is {self.sha256[:12]}...: the cohort, the task "
                f"or the split settings differ from the pinned ones; remove split.sha256 to accept the new split"
            )

    def check_classes(self, kind: str) -> None:
        """Refuse parts that a task of this kind can neither be trained nor scored on.

        No part may be empty. `binary`: both classes in each part. `multiclass`: every class in train, two or more in
        the other parts. `time_to_event`: an event in each part. `ordinal` and `regression`: no more.

        Raises:
            InputError: naming the part.
        """
        labels = {part: self.rows.loc[self.rows["part"] == part, "label"] for part in PARTS}
        for part, of_part in labels.items():
            if of_part.empty:
                raise InputError(f"split: the {part} part is empty; use a larger cohort or other split settings")
            if kind in ("binary", "multiclass") and of_part.nunique() < 2:
                needs = "both classes" if kind == "binary" else "two classes or more"
                raise InputError(
                    f"split: all {len(of_part)} studies of the {part} part have label {of_part.iloc[0]:g}; "
                    f"a {kind} task needs {needs} in each part: {_REMEDY}"
                )
            if kind == "time_to_event" and not of_part.eq(1).any():
                raise InputError(
                    f"split: in none of the {len(of_part)} studies of the {part} part was the event seen; "
                    f"a time_to_event task needs one in each part: {_REMEDY}"
                )
        unseen = sorted(set(self.rows["label"]) - set(labels["train"]))
        if kind == "multiclass" and unseen:
            raise InputError(
                f"split: the train part has no study of class {', '.join(f'{label:g}' for label in unseen)}, which "
                f"other parts have; a model cannot learn it: {_REMEDY}"
            )


def check_unchanged(stored: pd.DataFrame, sha256: str, where: str) -> None:
    """Refuse rows of a `split.parquet` that are not those over which its `split.sha256` was taken.

    Files of earlier versions do not say what they are about, and cannot be checked.

    Raises:
        InputError: rows were changed since, or it is the hash of another split.
    """
    about = stored.attrs.get(_ABOUT)
    if about is None:
        return
    columns = [*COLUMNS, *([TIME] if TIME in stored.columns else [])]
    rows = stored[columns].sort_values(["patient_id", "study_id"]).reset_index(drop=True)
    found = Manifest(rows=rows, about=about).sha256
    if found != sha256:
        raise InputError(
            f"{where}: split.parquet has SHA-256 {found[:12]}..., but split.sha256 says {sha256[:12] or 'nothing'}...: "
            f"one of them was changed since the run; copy both back from where they are whole"
        )


def _with_several(rows: pd.DataFrame, key: str, value: str) -> int:
    """How many values of `key` stand with more than one of `value`."""
    keys = rows.drop_duplicates([key, value])[key]
    return int(keys[keys.duplicated()].nunique())
