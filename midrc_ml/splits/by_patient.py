"""Split by patient, stratified; and the split of a published list of test studies."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from midrc_ml.errors import InputError, check_kinds
from midrc_ml.splits.manifest import PARTS

NUM_LABEL_BINS = 4


class Split(Protocol):
    """Gives every study a part; `sha256` may pin the manifest that must come out."""

    sha256: str | None

    @property
    def query(self) -> Mapping[str, object]:
        """The settings, without machine paths: they are part of the manifest."""

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`."""


@dataclass(frozen=True, kw_only=True)
class ByPatient:
    """Patients are dealt into parts so that every stratum is divided alike.

    seed: of the split alone, so that runs with several training seeds share one test set.
    stratify: columns, as in the patient's study of the lowest id; the label comes first (the patient's highest, a
    number in quarters). Neither row order nor other patients' ids change the order within a stratum.
    """

    fractions: Mapping[str, float] = field(default_factory=lambda: {"train": 0.6, "validation": 0.15, "test": 0.25})
    stratify: Sequence[str] = ("label", "site", "sex", "age_band")
    seed: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        shares = self.fractions
        if not isinstance(shares, Mapping):
            raise InputError(f"split.fractions is {shares!r}; it must name its parts: {{train: 0.6, ...}}")
        for name, share in shares.items():
            if type(share) not in (int, float):
                raise InputError(f"split.fractions.{name} is {share!r}; it must be a number")
        # Not written as `> 1e-6`, which is false of nan.
        adds_up = all(share >= 0 for share in shares.values()) and abs(sum(shares.values()) - 1) <= 1e-6
        if not set(shares) <= set(PARTS) or not adds_up:
            raise InputError(f"split.fractions is {dict(shares)}; it must name {', '.join(PARTS)} and add up to 1")

    @property
    def query(self) -> Mapping[str, object]:
        """The settings: rule, seed, fractions, strata."""
        return {
            "split": "by_patient",
            "seed": self.seed,
            "fractions": dict(self.fractions),
            "stratify": list(self.stratify),
        }

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`, the same for all studies of a patient."""
        unknown = [column for column in self.stratify if column not in studies.columns]
        if unknown:
            raise InputError(f"split.stratify has {', '.join(unknown)}; columns are {', '.join(studies.columns)}")
        patients = _one_row_a_patient(studies)
        patients["order"] = [_shuffle_key(self.seed, name) for name in patients.index]
        patients = patients.sort_values([*self.stratify, "order"], kind="stable")
        part = pd.Series(_deal(len(patients), self.fractions), index=patients.index)
        return studies.assign(part=studies["patient_id"].map(part))


@dataclass(frozen=True, kw_only=True)
class PublishedTest:
    """The test part is a published list of study ids, one a line; the other patients are dealt as `ByPatient` does.

    validation: share of the other patients that goes to the validation part.
    """

    test_ids: str | None
    validation: float = 0.15
    stratify: Sequence[str] = ("label",)
    seed: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        if not 0 < self.validation < 1:
            raise InputError(f"split.validation is {self.validation!r}; it must be above 0 and below 1")

    @property
    def query(self) -> Mapping[str, object]:
        """The settings; the list itself speaks through the rows of the manifest."""
        return {
            "split": "published_test",
            "seed": self.seed,
            "validation": self.validation,
            "stratify": list(self.stratify),
        }

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`.

        Raises:
            InputError: no such file, an id that no study has, or a patient of the test part elsewhere.
        """
        if not self.test_ids or not Path(self.test_ids).is_file():
            raise InputError(
                f"split.test_ids is {self.test_ids!r}, which is not a file; give the published list of test study ids"
            )
        ids = set(Path(self.test_ids).read_text(encoding="utf-8").split())
        is_test = studies["study_id"].isin(ids)
        unknown = ids - set(studies["study_id"])
        if unknown:
            raise InputError(
                f"split.test_ids lists {len(ids)} studies, {len(unknown)} of which are not among the {len(studies)} "
                f"labelled ones (e.g. {', '.join(sorted(unknown)[:5])}); the published test set must be complete"
            )
        both = set(studies.loc[is_test, "patient_id"]) & set(studies.loc[~is_test, "patient_id"])
        if both:
            raise InputError(
                f"split.test_ids puts {len(both)} patients into test and elsewhere; a patient belongs to one part"
            )
        rest = ByPatient(
            fractions={"train": 1 - self.validation, "validation": self.validation},
            stratify=self.stratify,
            seed=self.seed,
        ).assign(studies[~is_test])
        return studies.assign(part=rest["part"].reindex(studies.index).fillna("test"))


def _one_row_a_patient(studies: pd.DataFrame) -> pd.DataFrame:
    label = studies.groupby("patient_id")["label"].max()
    if label.nunique() > 2:
        label = pd.Series(pd.qcut(label, NUM_LABEL_BINS, labels=False, duplicates="drop"), index=label.index)
    patients = studies.sort_values("study_id").drop_duplicates("patient_id").set_index("patient_id")
    return patients.assign(label=label)


def _deal(count: int, fractions: Mapping[str, float]) -> list[str]:
    """Part of each place in a queue: whichever part is furthest behind its share gets the next place."""
    names = [name for name in PARTS if fractions.get(name, 0) > 0]
    share = np.array([fractions[name] for name in names])
    dealt = np.zeros(len(names))
    result = []
    for place in range(1, count + 1):
        # Half a place is added so that a small part gets its first one in the middle of its turn, not at its end.
        next_one = int(np.argmax(share * (place + 0.5) - dealt))
        dealt[next_one] += 1
        result.append(names[next_one])
    return result


def _shuffle_key(seed: int, name: Any) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
