"""The columns of one block of somebody's own table, converted to ours as its description says."""

import json
from dataclasses import dataclass, field

import pandas as pd

from midrc_ml.cohorts.csv_cells import BlockCells
from midrc_ml.cohorts.csv_dates import STAMP
from midrc_ml.cohorts.csv_days import Origins, ages, days
from midrc_ml.cohorts.csv_description import INDEX_DATE, Source
from midrc_ml.cohorts.csv_values import flags
from midrc_ml.tables.checks import parse_list

# DICOM's Patient's Sex (0010,0040).
_SEX_OF = {"m": "Male", "f": "Female"}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the tables that are read before say of a row's case or study; empty where they say nothing."""

    index_date: pd.Series = field(default_factory=lambda: pd.Series(dtype=STAMP))
    study_day: pd.Series = field(default_factory=lambda: pd.Series(dtype="float64"))
    case_of_study: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))


@dataclass(kw_only=True)
class BlockRows(BlockCells):
    """The rows of one block. `of` gives a column of ours."""

    known: Known = field(default_factory=Known)
    _done: dict[str, pd.Series] = field(default_factory=dict, repr=False)

    def of(self, name: str) -> pd.Series:
        """Our column `name`, typed; all missing where the block does not describe it."""
        if name not in self._done:  # once: what is wrong with it is told once
            source = self.block.sources.get(name)
            blank = pd.Series(None, index=self.frame.index, dtype=object)
            self._done[name] = self._converted(source) if source is not None else blank
        return self._done[name]

    def told(self, name: str) -> pd.Series:
        """Whether each cell of our column `name` says something, even where no day can be made of it."""
        source = self.block.sources.get(name)
        if source is None:
            return pd.Series(False, index=self.frame.index)
        return self.mapped(source)[0].notna()

    def case_id(self) -> pd.Series:
        """The case of each row, from its own column or through its study."""
        if "case_id" in self.block.sources or "study_id" not in self.block.sources:
            return self.of("case_id")
        return self.case_of_study()

    def case_of_study(self) -> pd.Series:
        """The case of the study that each row names."""
        return _looked_up(self.of("study_id"), self.known.case_of_study)

    def _converted(self, source: Source) -> pd.Series:
        match source.kind:
            case "day":
                return days(self, source, self._origins(source))
            case "age":
                return ages(self, source, self._origins(source))
            case "stamp":  # a day 0 begins at its midnight
                return self.moments(source).dt.normalize()
            case "date" if source.date is not None:
                moments = self.moments(source)
                return moments.dt.year.astype("float64") if source.name == "year" else moments.dt.strftime("%Y%m%d")
            case "flag":
                return self._flags(source)
            case "list":
                return self._lists(source)
        return self._numbers(source, self.text(source)) if source.rule.kind == "number" else self._words(source)

    def _origins(self, source: Source) -> Origins:
        has_index_date = INDEX_DATE in self.block.sources
        index_date = self.of(INDEX_DATE) if has_index_date else _looked_up(self.case_id(), self.known.index_date)
        of_study_date = source.kind == "age" and source.origin == "study"
        return Origins(
            index_date=index_date.astype(STAMP),
            study_day=_looked_up(self.of("study_id"), self.known.study_day),
            study_date=self.moments(self.block.sources["day"]) if of_study_date else pd.Series(dtype=STAMP),
        )

    def _words(self, source: Source) -> pd.Series:
        """Text; from a closed list of words where there is one, in any case of letters."""
        cells = self.text(source)
        if source.rule.allowed:
            ours = {word.lower(): word for word in source.rule.allowed} | (_SEX_OF if source.name == "sex" else {})
            result = cells.str.lower().map(ours).astype(object)
            unknown = cells.notna() & result.isna()
            if unknown.any():
                hint = f"with a `map:` give each one of {', '.join(source.rule.allowed)}"
                self.tell_unknown_words(source, cells, unknown, hint)
            return result
        if source.name in ("view", "modality"):  # PS3.5 6.2: a CS is in upper case
            cells = cells.str.upper()
        return self._patterned(source, cells)

    def _lists(self, source: Source) -> pd.Series:
        """Of modality and body part the items, sorted and joined by commas.

        Else a tuple, where a separator is given or the file itself has lists.
        """
        cells = self.text(source)
        separator, is_list = source.separator, source.column in self.table.lists
        if source.name not in ("modality", "body_part"):
            if separator is None and not is_list:  # a file's name may well hold a comma
                return self._patterned(source, cells)
            named = {
                cell: tuple(self._patterned(source, pd.Series(_items(cell, separator, is_list=is_list), dtype=object)))
                for cell in cells.dropna().unique()
            }
            return cells.map(named).astype(object)
        # PS3.5 6.2: a CS is in upper case.
        joined = {
            cell: ",".join(sorted(set(_items(cell.upper(), separator, is_list=is_list)))) or None
            for cell in cells.dropna().unique()
        }
        return cells.map(joined).astype(object)

    @staticmethod
    def _patterned(source: Source, cells: pd.Series) -> pd.Series:
        if source.pattern is None:
            return cells
        pattern = source.pattern
        return cells.map(lambda cell: pattern.replace("{}", cell), na_action="ignore").astype(object)

    def _flags(self, source: Source) -> pd.Series:
        cells = self.text(source)
        result, bad = flags(cells)
        if bad.any():
            hint = "yes and no are known in English and German: give a `map:` to true and false"
            self.tell_unknown_words(source, cells, bad, hint)
        return result

    def _numbers(self, source: Source, cells: pd.Series) -> pd.Series:
        result, bad = self.read_numbers(source, cells)
        rule = source.rule
        if rule.low is not None:
            bad |= result < rule.low
        if bad.any():
            least = f" of at least {rule.low:g}" if rule.low is not None else ""
            self.tell_bad_cells(source, cells, bad, f"must be a number{least}{self.number_hint(cells, bad)}")
        return result.mask(bad)


def _looked_up(ids: pd.Series, known: pd.Series) -> pd.Series:
    """What is `known` of each id, of the same type also where nothing is."""
    return known.reindex(ids.to_numpy(dtype=object)).set_axis(ids.index)


def _items(cell: str, separator: str | None, *, is_list: bool) -> tuple[str, ...]:
    """The items of a list in one cell; without a separator in any of the spellings of MIDRC files.

    is_list: the file itself has lists there, which stand in the cell as JSON.
    """
    if is_list and cell.startswith("["):
        return tuple(str(item).strip() for item in json.loads(cell) if item is not None and str(item).strip())
    if separator is None:
        return parse_list(cell)
    return tuple(item.strip() for item in cell.split(separator) if item.strip())
