"""`cohort=csv`: somebody's own CSV, TSV or Parquet tables, described by YAML alone. See docs/own_data.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midrc_ml.cohorts.contradictions import ContradictionRule, check_rule
from midrc_ml.cohorts.csv_reading import read_described
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, check_kinds

_HOW = "write my_configs/cohort/my_hospital.yaml (docs/own_data.md) and give --config-dir my_configs cohort=my_hospital"


@dataclass(frozen=True, kw_only=True)
class CsvCohort:
    """Reads the tables that `cases` ... `readings` describe, each None, one block, or a list of blocks.

    root: the folder of the tables. name: what the cohort is called in reports. images: the folder that relative
    paths of images start from, itself a path from `root`; None = `root`. on_contradiction: what becomes of rows that
    contradict each other: `refuse` or `leave_out`. synthetic: true where no patient stands behind a row.
    """

    root: str | None
    name: str | None = None
    images: str | None = None
    cases: Any = None
    studies: Any = None
    series: Any = None
    events: Any = None
    readings: Any = None
    on_contradiction: ContradictionRule = "refuse"
    synthetic: bool = False

    def __post_init__(self) -> None:
        check_kinds(self, "cohort")
        check_rule(self.on_contradiction)

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for: the description, without machine paths."""
        described = {name: _with_text_keys(given) for name, given in self._described.items() if given}
        return {
            "cohort": "csv",
            "name": self.name,
            "on_contradiction": self.on_contradiction,
            "synthetic": self.synthetic,
            **described,
        }

    def read(self) -> Tables:
        """The five tables.

        Raises:
            InputError: no folder, or no description.
            TableError: mistakes of the description, columns that are not there, or cells that cannot be read, all
                of a kind at once.
        """
        if not self.root:
            raise InputError("cohort=csv reads your own tables, but cohort.root is not set; give cohort.root=FOLDER")
        root = Path(self.root).expanduser().resolve()
        if not root.is_dir():
            raise InputError(f"cohort.root is {str(root)!r}, which is not a folder; give the folder of your tables")
        if not (self.cases or self.studies):
            raise InputError(f"cohort=csv reads your own tables, but neither cases nor studies is described; {_HOW}")
        return read_described(
            self._described,
            root=root,
            images=(root / Path(self.images or "").expanduser()).resolve(),
            origin=f"{self.name} tables" if self.name else "own tables",
            synthetic=self.synthetic,
            on_contradiction=self.on_contradiction,
        )

    @property
    def _described(self) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "studies": self.studies,
            "series": self.series,
            "events": self.events,
            "readings": self.readings,
        }


def _with_text_keys(given: Any) -> Any:
    """`given` with the keys of its mappings as text: a map's may be numbers and truth values, which have no order."""
    if isinstance(given, Mapping):
        return {str(key): _with_text_keys(value) for key, value in given.items()}
    return [_with_text_keys(item) for item in given] if isinstance(given, list | tuple) else given
