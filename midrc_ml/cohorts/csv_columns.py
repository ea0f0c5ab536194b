"""The columns of one block of somebody's own table, converted to ours as its description says."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from midrc_ml.cohorts.csv_description import Block, Source
from midrc_ml.cohorts.csv_files import TextTable
from midrc_ml.cohorts.csv_values import (
    DAYS_PER,
    ISO,
    MAX_AGE,
    MAX_DAYS,
    STAMP,
    bad_cells,
    completed_years,
    flags,
    looks_like_dates,
    numbers,
    parse_age,
    says,
    stamps,
    unknown_words,
    without_marks,
)
from midrc_ml.tables.checks import parse_list
from midrc_ml.tables.schemas import AGE_OVER_89

# DICOM's Patient's Sex (0010,0040).
_SEX_OF = {"m": "Male", "f": "Female"}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the tables that are read before say of a row's case or study; empty where they say nothing."""

    index_date: pd.Series = field(default_factory=lambda: pd.Series(dtype=STAMP))
    study_day: pd.Series = field(default_factory=lambda: pd.Series(dtype="float64"))
    case_of_study: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))


@dataclass(kw_only=True)
class BlockRows:
    """The rows of one block. `of` gives a column of ours; what is wrong, or worth knowing, is collected.

    frame: the cells as text, missing where blank, by the row of the file.
    """

    block: Block
    table: TextTable
    known: Known
    problems: list[str]
    notes: list[str]
    frame: pd.DataFrame = field(init=False)
    with_unknown_words: set[str] = field(default_factory=set)  # our columns that are told of
    _done: dict[str, pd.Series] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.frame = self.table.frame
        before = len(self.frame)
        for column, values in self.block.only.items():
            cells = self.frame[column]
            keep = pd.Series(False, index=cells.index)
            for value in values:
                keep |= says(cells, value)
            self.frame = self.frame[keep]
        if len(self.frame) < before:
            left_out = before - len(self.frame)
            self.notes.append(f"{self._name}: {left_out} of {before} rows are left out, as `only:` asks")

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
        return self._mapped(source, self._unmarked(source))[0].notna()

    def case_id(self) -> pd.Series:
        """The case of each row, from its own column or through its study."""
        if "case_id" in self.block.sources or "study_id" not in self.block.sources:
            return self.of("case_id")
        return self.of("study_id").map(self.known.case_of_study).astype(object)

    def _converted(self, source: Source) -> pd.Series:
        match source.kind:
            case "day":
                return self._days(source)
            case "age":
                return self._ages(source)
            case "stamp":
                return self._stamps(source, self._text(source))
            case "date" if source.date is not None:
                moments = self._stamps(source, self._text(source))
                return moments.dt.year.astype("float64") if source.name == "year" else moments.dt.strftime("%Y%m%d")
            case "flag":
                return self._flags(source)
            case "list":
                return self._lists(source)
        return self._numbers(source, self._text(source)) if source.rule.kind == "number" else self._words(source)

    @property
    def _name(self) -> str:
        return f"{self.block.table} from {self.block.file}"

    def _where(self, source: Source) -> str:
        theirs = f"column {source.column!r}" if source.column is not None else f"value {source.value!r}"
        return f"{self.block.file}: {source.name} ({theirs})"

    def _text(self, source: Source) -> pd.Series:
        """The cells, missing marks taken out, mapped where a map is given."""
        cells = self._unmarked(source)
        result, unknown = self._mapped(source, cells)
        if source.has_others and unknown.any():
            if source.others != "{}":
                words = f"values of {source.name} are not in its map and become {source.others or 'missing'}"
                self.notes.append(f"{self._name}: {int(unknown.sum())} {words}")
        elif unknown.any():
            self._unknown_words(source, cells, unknown, "add them to its `map:`, or say what `others:` become")
        return result

    def _unmarked(self, source: Source) -> pd.Series:
        if source.column is None:
            return pd.Series(source.value or None, index=self.frame.index, dtype=object)
        return without_marks(self.frame[source.column], (*self.block.missing, *source.missing))

    @staticmethod
    def _mapped(source: Source, cells: pd.Series) -> tuple[pd.Series, pd.Series]:
        """What the map makes of the cells, and which are not in it; the cells themselves where there is no map."""
        known = pd.Series(False, index=cells.index)
        if source.map is None:
            return cells, known
        result = pd.Series(None, index=cells.index, dtype=object)
        for theirs, ours in source.map:
            fits = says(cells, theirs) & ~known
            result[fits] = ours or None
            known |= fits
        unknown = ~known & cells.notna()
        if source.has_others:
            others = source.others or ""
            result[unknown] = cells[unknown].map(lambda cell: others.replace("{}", cell) or None)
        return result, unknown

    def _words(self, source: Source) -> pd.Series:
        """Text; from a closed list of words where there is one, in any case of letters."""
        cells = self._text(source)
        if source.rule.allowed:
            ours = {word.lower(): word for word in source.rule.allowed} | (_SEX_OF if source.name == "sex" else {})
            result = cells.str.lower().map(ours).astype(object)
            unknown = cells.notna() & result.isna()
            if unknown.any():
                hint = f"with a `map:` give each one of {', '.join(source.rule.allowed)}"
                self._unknown_words(source, cells, unknown, hint)
            return result
        if source.name in ("view", "modality"):  # PS3.5 6.2: a CS is in upper case
            cells = cells.str.upper()
        return self._patterned(source, cells)

    def _lists(self, source: Source) -> pd.Series:
        """Of modality and body part the items, sorted and joined by commas; else a tuple where a separator is given."""
        cells = self._text(source)
        separator = source.separator
        if source.name not in ("modality", "body_part"):
            if separator is None:  # a file's name may well hold a comma
                return self._patterned(source, cells)
            named = {
                cell: tuple(self._patterned(source, pd.Series(_items(cell, separator), dtype=object)))
                for cell in cells.dropna().unique()
            }
            return cells.map(named).astype(object)
        # PS3.5 6.2: a CS is in upper case.
        joined = {
            cell: ",".join(sorted(set(_items(cell.upper(), separator)))) or None for cell in cells.dropna().unique()
        }
        return cells.map(joined).astype(object)

    @staticmethod
    def _patterned(source: Source, cells: pd.Series) -> pd.Series:
        if source.pattern is None:
            return cells
        pattern = source.pattern
        return cells.map(lambda cell: pattern.replace("{}", cell), na_action="ignore").astype(object)

    def _flags(self, source: Source) -> pd.Series:
        cells = self._text(source)
        result, bad = flags(cells)
        if bad.any():
            hint = "yes and no are known in English and German: give a `map:` to true and false"
            self._unknown_words(source, cells, bad, hint)
        return result

    def _numbers(self, source: Source, cells: pd.Series) -> pd.Series:
        result, bad = self._read_numbers(source, cells)
        rule = source.rule
        if rule.low is not None:
            bad |= result < rule.low
        if bad.any():
            least = f" of at least {rule.low:g}" if rule.low is not None else ""
            self._bad_cells(source, cells, bad, f"must be a number{least}{self._number_hint(cells, bad)}")
        return result.mask(bad)

    def _read_numbers(self, source: Source, cells: pd.Series) -> tuple[pd.Series, pd.Series]:
        typed = source.column in self.table.numbers or source.column is None
        return numbers(cells, decimal="." if typed else self.block.decimal)

    def _number_hint(self, cells: pd.Series, bad: pd.Series) -> str:
        """What to write in the YAML, where the bad cells tell."""
        if self.block.decimal == ".":
            if cells[bad].str.fullmatch(r"-?\d+,\d+").any():
                return " (numbers with a comma? give `decimal: ','` beside `file`)"
        elif cells[bad].str.contains(".", regex=False).any():
            return " (with `decimal: ','` a number has no point)"
        if cells[bad].str.fullmatch(r"[A-Za-z./?-]+").any():
            return " (words for a missing value go into `missing:`)"
        return ""

    def _days(self, source: Source) -> pd.Series:
        """Days on the case's own timeline."""
        cells = self._text(source)
        if source.date is not None:
            moments = self._stamps(source, cells)
            since = self._origin_stamps(source, moments, f"{source.name} is missing")
            days = (moments - since).dt.total_seconds() / 86400
            bad = days.abs() > MAX_DAYS
            if bad.any():
                self._bad_cells(source, cells, bad, f"must be dates within {MAX_DAYS} days of their origin")
            return days.mask(bad)
        result, bad = self._read_numbers(source, cells)
        result = result * (DAYS_PER[source.unit] * source.sign) + 0.0  # -0.0 is 0.0
        bad |= result.abs() > MAX_DAYS
        if bad.any():
            if looks_like_dates(cells[bad]):
                hint = (
                    "; these are dates: give their format as `date:` (such as '%d.%m.%Y'), and as `origin:` the "
                    "column of dates that they are counted from, or the cases' index_date"
                )
            else:
                hint = self._number_hint(cells, bad) or f"; within {MAX_DAYS} days, in `unit:` (now {source.unit})"
            self._bad_cells(source, cells, bad, f"must be a number of days{hint}")
        result = result.mask(bad)
        if source.origin is None:
            return result
        if isinstance(source.origin, Source):
            start = self._days(source.origin)
        else:
            start = self.of("study_id").map(self.known.study_day).astype("float64")
        lost = int((result.notna() & start.isna()).sum())
        if lost:
            self.notes.append(
                f"{self._name}: {lost} rows lack the day that their {source.name} counts from; it is missing"
            )
        return result + start

    def _ages(self, source: Source) -> pd.Series:
        """Years; over 89 they stand as 90."""
        cells = self._text(source)
        if source.date is not None:
            birth = self._stamps(source, cells)
            until = self._origin_stamps(source, birth, "the age is missing")
            years = completed_years(birth, until)
            bad = (years < 0) | (years > MAX_AGE)
            if bad.any():
                self._bad_cells(source, cells, bad, f"must be dates of birth 0 to {MAX_AGE} years before their origin")
            result = years.mask(bad)
        else:
            result = self._spelt_ages(source, cells)
        over = result >= AGE_OVER_89
        if over.any():
            self.notes.append(f"{self._name}: {int(over.sum())} ages over 89 stand as {AGE_OVER_89:g}")
        return result.mask(over, AGE_OVER_89)

    def _spelt_ages(self, source: Source, cells: pd.Series) -> pd.Series:
        text = cells
        if self.block.decimal == "," and source.column not in self.table.numbers:
            text = cells.str.replace(",", ".", regex=False)
        ages = {cell: parse_age(cell, unit=source.unit, bands=source.bands) for cell in text.dropna().unique()}
        found = text.map(ages)
        bad = text.notna() & found.isna()
        if bad.any():
            if looks_like_dates(cells[bad]):
                hint = "; dates of birth need `date:` and an `origin:`"
            else:
                hint = self._number_hint(cells, bad) or f" in `unit:` (now {source.unit}), up to {MAX_AGE} years"
            self._bad_cells(source, cells, bad, f"must be an age such as 54, 071Y, 018M, 50-64, 65+ or >89{hint}")
        bands = int(sum(age.is_band for age in found.dropna()))
        if bands:
            self.notes.append(
                f"{self._name}: {bands} ages are bands; the {source.bands} of each stands for it, of an open one the "
                f"lower edge: no age at the edge of a band is exact"
            )
        return pd.Series([np.nan if pd.isna(age) else age.years for age in found], index=cells.index, dtype="float64")

    def _stamps(self, source: Source, cells: pd.Series) -> pd.Series:
        """Moments, of dates in the description's format or of a type of their own."""
        date = ISO if source.column in self.table.dates else str(source.date)
        result, bad = stamps(cells, date=date)
        if bad.any():
            form = "ISO dates (2020-03-25)" if date == ISO else f"dates of the format {date!r}"
            self._bad_cells(source, cells, bad, f"must be {form}")
        return result

    def _origin_stamps(self, source: Source, moments: pd.Series, consequence: str) -> pd.Series:
        """The date that each date is counted from; rows that have none are counted."""
        if isinstance(source.origin, Source):
            since, words = self._stamps(source.origin, self._text(source.origin)), "origin"
        else:
            since, words = self.case_id().map(self.known.index_date), "index date of their case"
        since = since.astype(STAMP)
        lost = int((moments.notna() & since.isna()).sum())
        if lost:
            self.notes.append(f"{self._name}: {lost} dates have no {words}; {consequence}")
        return since

    def _unknown_words(self, source: Source, cells: pd.Series, unknown: pd.Series, hint: str) -> None:
        self.with_unknown_words.add(source.name)
        self.problems.append(f"{unknown_words(cells, unknown, where=self._where(source))}; {hint}")

    def _bad_cells(self, source: Source, cells: pd.Series, bad: pd.Series, rule: str) -> None:
        self.problems.append(bad_cells(cells, bad, rule, where=self._where(source)))


def _items(cell: str, separator: str | None) -> tuple[str, ...]:
    """The items of a list in one cell; without a separator in any of the spellings of MIDRC files."""
    if separator is None:
        return parse_list(cell)
    return tuple(item.strip() for item in cell.split(separator) if item.strip())
