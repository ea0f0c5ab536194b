"""Split by patient, stratified: once, or as one of many repeated partitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd

from midrc_ml.cohorts.flow import CohortFlow, reason_where
from midrc_ml.errors import check_kinds, check_least
from midrc_ml.splits.dealing import check_fractions, deal, deal_patients, queue_of_patients, uniform
from midrc_ml.tables.keys import is_among


class Split(Protocol):
    """Gives every study a part; `sha256` may pin the manifest that must come out.

    A split that leaves studies out says why in `left_out`; one that has something to say of what it did has
    `notes(studies) -> list[str]`.
    """

    sha256: str | None

    @property
    def query(self) -> Mapping[str, object]:
        """The settings, without machine paths: they are part of the manifest."""

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`, less those that a rule of the split leaves out."""


def assign_parts(split: Split, studies: pd.DataFrame, flow: CohortFlow) -> pd.DataFrame:
    """`split.assign(studies)`; what the split leaves out is counted in `flow`, and its notes stand there."""
    assigned = split.assign(studies)
    if hasattr(split, "notes"):
        flow.notes += split.notes(studies)
    if len(assigned) < len(studies):
        left_out = ~is_among(studies["study_id"], assigned["study_id"])
        reason = getattr(split, "left_out", "left out by the split")
        flow.step("in the split", studies, reason_where(left_out, reason, studies.index))
    return assigned


def _fractions() -> dict[str, float]:
    return {"train": 0.6, "validation": 0.15, "test": 0.25}


@dataclass(frozen=True, kw_only=True)
class ByPatient:
    """Patients are dealt into parts so that every stratum is divided alike.

    seed: of the split alone, so that runs with several training seeds share one test set.
    stratify: columns, as in the patient's study of the lowest id; the label comes first (the patient's highest:
    a class by itself, a number in quarters). Neither row order nor other patients' ids change the order within
    a stratum.
    """

    fractions: Mapping[str, float] = field(default_factory=_fractions)
    stratify: Sequence[str] = ("label", "site", "sex", "age_band")
    seed: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        check_fractions(self.fractions)

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
        return studies.assign(part=deal_patients(studies, self.fractions, stratify=self.stratify, seed=self.seed))


@dataclass(frozen=True, kw_only=True)
class Partitions:
    """One of many independent partitions by patient: their spread shows what one split alone hides.

    partition: which one, from 0; asked for in turn by `-m split.partition=range(200)`. fractions, stratify: as in
    `ByPatient`. Over the partitions a patient is in each part as often as the part's share says, also one
    who is alone in a stratum: the strata and the parts begin at another place each time.
    """

    partition: int = 0
    fractions: Mapping[str, float] = field(default_factory=_fractions)
    stratify: Sequence[str] = ("label", "site", "sex", "age_band")
    seed: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        check_least(self, "split", partition=0)
        check_fractions(self.fractions)

    @property
    def query(self) -> Mapping[str, object]:
        """The settings: rule, number of the partition, seed, fractions, strata."""
        return {
            "split": "partitions",
            "partition": self.partition,
            "seed": self.seed,
            "fractions": dict(self.fractions),
            "stratify": list(self.stratify),
        }

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`, the same for all studies of a patient."""
        seed = f"{self.seed}:{self.partition}"
        patients = queue_of_patients(studies, stratify=self.stratify, seed=seed, shuffle_strata=True)
        begin = int(uniform(seed, "the place of the first patient") * len(patients))
        part = pd.Series(np.roll(deal(len(patients), self.fractions), begin), index=patients.index, dtype="str")
        return studies.assign(part=studies["patient_id"].map(part))
