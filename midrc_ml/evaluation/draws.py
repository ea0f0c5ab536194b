"""The bootstrap of patients: drawn once, and shared by every metric, group and model.

A draw takes as many patients as there are, with replacement; a patient brings all of his or her studies. Because the
draws are shared, differences between groups and between models are paired.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_CELLS_OF_BLOCK = 250_000  # draws x patients made at once; part of what a seed means, so never to be changed lightly
_CELLS_AT_ONCE = 2_000_000  # draws x studies held at once; changes nothing but memory


@dataclass(frozen=True)
class PatientDraws:
    """How often each patient is in each draw.

    patient: (study,), numbered in the order of the sorted patient ids: the draws belong to patients, not to rows.
    Draws are made in blocks, each with a random stream of its own, so that neither the number of cores nor the order
    in which they work changes any of them.
    """

    patient: NDArray[np.int64]
    num_patients: int
    num_draws: int
    seed: int

    @classmethod
    def of(cls, patient_ids: pd.Series, *, num_draws: int, seed: int) -> "PatientDraws":
        """Draws of the patients of a table with one row a study."""
        codes, names = pd.factorize(patient_ids, sort=True)
        return cls(codes.astype(np.int64), len(names), num_draws, seed)

    @property
    def num_blocks(self) -> int:
        """How many blocks there are."""
        return -(-self.num_draws // self._block_size)

    @property
    def one_study_each(self) -> bool:
        """Whether no patient has several studies."""
        return len(self.patient) == self.num_patients

    def block(self, number: int) -> NDArray[np.int32]:
        """The draws of a block: how often each patient is drawn, (draw, patient)."""
        count = min(self._block_size, self.num_draws - number * self._block_size)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        drawn = rng.integers(0, max(1, self.num_patients), (count, self.num_patients), dtype=np.int32)
        return np.stack([np.bincount(row, minlength=self.num_patients) for row in drawn]).astype(np.int32)

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """How often each study is drawn, float64 (draw, study), some draws at a time."""
        rows = max(1, _CELLS_AT_ONCE // max(1, len(self.patient)))
        for number in range(self.num_blocks):
            block = self.block(number)
            for start in range(0, len(block), rows):
                yield block[start : start + rows].take(self.patient, axis=1).astype(np.float64)

    @property
    def _block_size(self) -> int:
        return max(1, _CELLS_OF_BLOCK // max(1, self.num_patients))
