"""The five tables together, and what a cohort reader has to offer."""

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from midrc_ml.errors import InputError
from midrc_ml.processes import num_cores
from midrc_ml.tables.checks import checked_table, empty_table
from midrc_ml.tables.schemas import FIVE_TABLES, Table

_ODD = np.uint64(0x9E3779B97F4A7C15)  # any odd number mixes the columns of a row so that their order counts


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What a cohort knows, in the five tables of `tables/schemas.py`.

    origin: the cohort in words, for messages and reports.
    synthetic: true where no patient stands behind a row; said wherever the cohort is named.
    absent: what could not be read, as {table or event kind: "which file would hold it"}.
    notes: sentences on rows that were left out or repaired while reading, each with its count.
    """

    cases: pd.DataFrame
    studies: pd.DataFrame
    series: pd.DataFrame
    events: pd.DataFrame
    readings: pd.DataFrame
    origin: str
    synthetic: bool = False
    absent: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def checked(cls, *, origin: str, **given: Any) -> "Tables":
        """Tables that pass their checks; a table that is not given is empty."""

        def check(table: Table) -> pd.DataFrame:
            frame = given.pop(table.name, None)
            return empty_table(table) if frame is None else checked_table(frame, table, where=origin)

        with ThreadPoolExecutor(num_cores()) as pool:
            tables = {table.name: frame for table, frame in zip(FIVE_TABLES, pool.map(check, FIVE_TABLES), strict=True)}
        given = {name: value for name, value in given.items() if value is not None}
        return cls(origin=origin, **tables, **given)

    def with_files(self, by_series: Mapping[str, str]) -> "Tables":
        """The same, where a series without a file has the one of `by_series`, which may be gone: its image is kept."""
        files = self.series["file"]
        kept = self.series["series_id"].map(by_series).astype(files.dtype)
        return replace(self, series=self.series.assign(file=files.fillna(kept)))

    def require(self, needs: Iterable[str], *, needed_by: str) -> None:
        """Refuse where a table or event kind that `needed_by` reads is absent."""
        missing = [f"{name} ({self.absent[name]})" for name in needs if name in self.absent]
        if missing:
            raise InputError(
                f"{needed_by} needs {', '.join(missing)}, not found in the {self.origin}; "
                f"add the file, or choose a task that does not need it"
            )

    def fingerprint(self) -> str:
        """SHA-256 over the content of the five tables; neither row order nor folder names change it."""
        digest = hashlib.sha256()
        for table in FIVE_TABLES:
            frame = getattr(self, table.name)
            rows = np.zeros(len(frame), dtype=np.uint64)
            for column in table.columns:
                if column.name != "file":
                    # A key has no value twice: looking for repeated ones would cost more than it saves.
                    hashed = _hashes(frame[column.name], categorize=(column.name,) != table.key)
                    rows = rows * _ODD + hashed
            digest.update(table.name.encode())
            digest.update(np.sort(rows).astype("<u8").tobytes())
        return digest.hexdigest()


def _hashes(values: pd.Series, *, categorize: bool) -> np.ndarray:
    if pd.api.types.is_float_dtype(values.dtype):
        values = values + 0.0  # -0.0 becomes 0.0
    return pd.util.hash_pandas_object(values, index=False, categorize=categorize).to_numpy()


class CohortReader(Protocol):
    """A source of studies. Constructing one does no work; `read` does it all."""

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for, without machine paths: it is part of the split manifest."""

    def read(self) -> Tables:
        """The five tables, checked."""
