"""K-fold by patient, stratified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from midrc_ml.errors import InputError, check_kinds, check_least
from midrc_ml.splits.dealing import check_share, deal_the_others, queue_of_patients


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Patients are dealt into equal folds, of which `fold` is the test part: over all folds each is in it once.

    validation: a share of the other patients; where it is not given, the validation part is the next fold (the
    first one after the last). The folds depend on num_folds, stratify and seed, never on `fold` or `validation`.
    """

    num_folds: int = 5
    fold: int = 0
    validation: float | None = None
    stratify: Sequence[str] = ("label", "site", "sex", "age_band")
    seed: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        check_least(self, "split", num_folds=2, fold=0)
        if self.fold >= self.num_folds:
            raise InputError(
                f"split.fold is {self.fold}; of {self.num_folds} folds the last one is {self.num_folds - 1}"
            )
        if self.validation is not None:
            check_share("split.validation", self.validation)
        elif self.num_folds == 2:
            raise InputError(
                "split.num_folds is 2, and the next fold is the validation part: nothing is left to train on; "
                "give split.validation=0.15, or three folds"
            )

    @property
    def query(self) -> Mapping[str, object]:
        """The settings: rule, folds, seed, strata."""
        return {
            "split": "folds",
            "num_folds": self.num_folds,
            "fold": self.fold,
            "validation": self.validation,
            "seed": self.seed,
            "stratify": list(self.stratify),
        }

    def folds(self, studies: pd.DataFrame) -> pd.Series:
        """The fold of each study, 0 to num_folds - 1, the same for all studies of a patient.

        Raises:
            InputError: fewer patients than folds, or an unknown column to stratify by.
        """
        patients = queue_of_patients(studies, stratify=self.stratify, seed=self.seed)
        if len(patients) < self.num_folds:
            raise InputError(f"split.num_folds is {self.num_folds}, but there are {len(patients)} patients")
        fold = pd.Series(np.arange(len(patients)) % self.num_folds, index=patients.index)
        return studies["patient_id"].map(fold)

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`, the same for all studies of a patient."""
        fold = self.folds(studies)
        is_test = fold == self.fold
        if self.validation is not None:
            part = deal_the_others(studies, is_test, validation=self.validation, stratify=self.stratify, seed=self.seed)
        else:
            part = pd.Series("train", index=studies.index, dtype="str")
            part[fold == (self.fold + 1) % self.num_folds] = "validation"
            part[is_test] = "test"
        return studies.assign(part=part)
