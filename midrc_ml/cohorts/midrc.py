"""`cohort=midrc`: a folder of MIDRC exports, with the images beside them, as the five tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from midrc_ml.cohorts.contradictions import check_rule
from midrc_ml.cohorts.discharge import DischargeWords
from midrc_ml.cohorts.kept_tables import kept_tables
from midrc_ml.cohorts.midrc_breathing import BreathingWords
from midrc_ml.cohorts.midrc_patients import read_aliases
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, check_kinds


@dataclass(frozen=True, kw_only=True)
class MidrcCohort:
    """Reads node exports, explorer downloads and manifests (any subset) and finds the images of each series.

    root: the folder that holds them all, at any depth. aliases: a CSV or TSV (columns id, patient) of further ids of
    one person. projects_first: whose copy is taken where several projects have a study; the others follow by name.
    cache_dir: where the tables, and what image headers say, are kept until something in root changes; None = nowhere.
    on_contradiction: `refuse`, or `leave_out` the cases that contradict themselves. discharge, breathing_support: the
    words of sites (configs/discharge, configs/breathing_support); without them no word is known.
    """

    root: str | None
    synthetic: bool = False
    aliases: str | None = None
    projects_first: Sequence[str] = ()
    on_contradiction: str = "refuse"
    cache_dir: str | None = None
    discharge: Mapping[str, Mapping[str, Sequence[str]]] | None = None
    breathing_support: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "cohort")
        check_rule(self.on_contradiction)

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for, without machine paths."""
        query: dict[str, object] = {"cohort": "midrc", "synthetic": self.synthetic}
        if self.projects_first:
            query["projects_first"] = list(self.projects_first)
        if self.on_contradiction != "refuse":
            query["on_contradiction"] = self.on_contradiction
        return query

    def read(self) -> Tables:
        """The five tables.

        Raises:
            InputError: no folder, or nothing to read in it; a setting that cannot be used.
            TableError: rows that break the dictionary's rules or contradict each other, all at once.
        """
        if not self.root:
            raise InputError(
                "cohort=midrc reads an export, but cohort.root is not set; give cohort.root=FOLDER "
                "(the folder that holds the node exports), or try cohort=demo"
            )
        discharge, breathing = DischargeWords(self.discharge), BreathingWords(self.breathing_support)
        aliases = read_aliases(self.aliases) if self.aliases else []
        root = Path(self.root).expanduser().resolve()

        def read() -> Tables:
            from midrc_ml.cohorts.midrc_tables import read_tables  # here: it takes longer than tables that were kept

            return read_tables(
                root,
                synthetic=self.synthetic,
                aliases=aliases,
                projects_first=self.projects_first,
                on_contradiction=self.on_contradiction,
                cache_dir=self.cache_dir,
                discharge=discharge,
                breathing=breathing,
            )

        if self.cache_dir is None or not root.is_dir():
            return read()
        settings = {**asdict(self), "root": str(root), "aliases": aliases, "cache_dir": None}
        return kept_tables(read, cache_dir=self.cache_dir, settings=settings, folder=root)
