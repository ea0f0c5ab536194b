"""The cells of one block of somebody's own table: its rows, marks for missing values, maps, and what is wrong."""

import difflib
from collections.abc import Hashable
from dataclasses import dataclass, field

import pandas as pd

from midrc_ml.cohorts.csv_dates import ISO, stamps
from midrc_ml.cohorts.csv_description import Block, Source
from midrc_ml.cohorts.csv_files import TextTable
from midrc_ml.cohorts.csv_values import bad_cells, numbers, says, unknown_words, without_marks
from midrc_ml.tables.checks import NUM_SHOWN

_NUM_COMPARED = 1_000  # distinct cells among which a near spelling is looked for


@dataclass(kw_only=True)
class BlockCells:
    """The rows of one block, as text. What is wrong, or worth knowing, is collected.

    frame: the cells as text, missing where blank, by the row of the file.
    """

    block: Block
    table: TextTable
    problems: list[str]
    notes: list[str]
    frame: pd.DataFrame = field(init=False)
    with_unknown_words: set[str] = field(default_factory=set)  # our columns that are told of
    _texts: dict[str, pd.Series] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.frame = self.table.frame
        before = len(self.frame)
        by_case_alone = pd.Series(False, index=self.frame.index)
        for column, values in self.block.only.items():
            cells = self.table.frame[column]
            keep = pd.Series(False, index=cells.index)
            for value in values:
                fits = says(cells, value, decimal=self._decimal_of(column))
                if before and value != "" and not fits.any():
                    self._never(column, value)
                keep |= fits
            by_case_alone |= ~keep & cells.str.lower().isin([str(value).lower() for value in values])
            self.frame = self.frame[keep[self.frame.index]]
        if len(self.frame) < before:
            left_out = before - len(self.frame)
            near = f", {count} of them for upper and lower case alone" if (count := int(by_case_alone.sum())) else ""
            self.notes.append(f"{self.title}: {left_out} of {before} rows are left out, as `only:` asks{near}")

    @property
    def title(self) -> str:
        """What the rows are called in notes."""
        return f"{self.block.table} from {self.block.file}"

    def text(self, source: Source) -> pd.Series:
        """The cells, missing marks taken out, mapped where a map is given."""
        if source.where not in self._texts:  # once: what is worth knowing of it is told once
            self._texts[source.where] = self._text(source)
        return self._texts[source.where]

    def _text(self, source: Source) -> pd.Series:
        result, unknown = self.mapped(source)
        if source.has_others and unknown.any():
            if source.others != "{}":
                words = f"values of {source.name} are not in its map and become {source.others or 'missing'}"
                self.notes.append(f"{self.title}: {int(unknown.sum())} {words}")
        elif unknown.any():
            hint = "add them to its `map:`, or say what `others:` become"
            self.tell_unknown_words(source, self._unmarked(source), unknown, hint)
        return result

    def mapped(self, source: Source) -> tuple[pd.Series, pd.Series]:
        """What the map makes of the cells, and which are not in it; the cells themselves where there is no map."""
        cells = self._unmarked(source)
        known = pd.Series(False, index=cells.index)
        if source.map is None:
            return cells, known
        blank = self._as_they_stand(source).isna()  # a cell that a mark has blanked is not one of them
        result = pd.Series(None, index=cells.index, dtype=object)
        for theirs, ours in source.map:
            fits = blank if theirs == "" else says(cells, theirs, decimal=self._decimal(source))
            fits = fits & ~known
            result[fits] = self._as_in_the_file(source, ours) or None
            known |= fits
        unknown = ~known & cells.notna()
        if source.has_others:
            others = self._as_in_the_file(source, source.others or "")
            result[unknown] = cells[unknown].map(lambda cell: others.replace("{}", cell) or None)
        return result, unknown

    def read_numbers(self, source: Source, cells: pd.Series) -> tuple[pd.Series, pd.Series]:
        """float64 of each cell, and which could not be read."""
        return numbers(cells, decimal=self._decimal(source))

    def number_hint(self, cells: pd.Series, bad: pd.Series) -> str:
        """What to write in the YAML, where the bad cells tell."""
        if self.block.decimal == ".":
            if cells[bad].str.fullmatch(r"-?\d+,\d+").any():
                return " (numbers with a comma? give `decimal: ','` beside `file`)"
        elif cells[bad].str.contains(".", regex=False).any():
            return " (with `decimal: ','` a number has no point)"
        if cells[bad].str.fullmatch(r"[A-Za-z./?-]+").any():
            return " (words for a missing value go into `missing:`)"
        return ""

    def moments(self, source: Source) -> pd.Series:
        """Local moments, of dates in the description's format or of a type of their own."""
        cells = self.text(source)
        date = ISO if source.column in self.table.dates else str(source.date)
        result, bad = stamps(cells, date=date, partial=source.name == "year")
        if bad.any():
            form = "ISO dates (2020-03-25)" if date == ISO else f"dates of the format {date!r}"
            self.tell_bad_cells(source, cells, bad, f"must be {form}")
        return result

    def tell_unknown_words(self, source: Source, cells: pd.Series, unknown: pd.Series, hint: str) -> None:
        """A problem: words that are in no list."""
        self.with_unknown_words.add(source.name)
        self.problems.append(f"{unknown_words(cells, unknown, where=self._where(source))}; {hint}")

    def tell_bad_cells(self, source: Source, cells: pd.Series, bad: pd.Series, rule: str) -> None:
        """A problem: cells that break `rule`."""
        self.problems.append(bad_cells(cells, bad, rule, where=self._where(source)))

    def _where(self, source: Source) -> str:
        theirs = f"column {source.column!r}" if source.column is not None else f"value {source.value!r}"
        return f"{self.block.file}: {source.name} ({theirs})"

    def _as_they_stand(self, source: Source) -> pd.Series:
        if source.column is None:
            return pd.Series(source.value or None, index=self.frame.index, dtype=object)
        return self.frame[source.column]

    def _unmarked(self, source: Source) -> pd.Series:
        cells = self._as_they_stand(source)
        if source.column is None:
            return cells
        return without_marks(cells, (*self.block.missing, *source.missing), decimal=self._decimal(source))

    def _decimal(self, source: Source) -> str:
        return "." if source.column is None else self._decimal_of(source.column)

    def _decimal_of(self, column: str) -> str:
        return "." if column in self.table.numbers else self.block.decimal

    def _as_in_the_file(self, source: Source, ours: str) -> str:
        """A number of the YAML, which has a point, as the file would write it."""
        is_number = source.kind in ("number", "day", "age")
        return ours.replace(".", ",") if is_number and self._decimal(source) == "," else ours

    def _never(self, column: str, value: Hashable) -> None:
        """A problem: `only:` asks for a value that no cell has, so that rows would be lost without a sign of it."""
        counts = self.table.frame[column].value_counts()
        cells = [str(cell) for cell in counts.index[:_NUM_COMPARED]]
        same = [cell for cell in cells if cell.casefold() == str(value).casefold()]
        close = same or difflib.get_close_matches(str(value), cells, n=NUM_SHOWN, cutoff=0.6)
        meant = f", did you mean {' or '.join(repr(cell) for cell in close[:NUM_SHOWN])}?" if close else ""
        self.problems.append(f"{self.block.where}.only: no row of {self.block.file} has {value!r} in {column!r}{meant}")
