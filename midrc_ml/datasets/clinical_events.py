"""What is known of a case when its study is read: events on or before that day, as columns of a clinical table.

A day is all that MIDRC dates by: what happened on the day of the study counts as known unless `known_after_days` says
that it takes longer. Only events of the study's own case count: another case of the same patient has another timeline.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from midrc_ml.errors import InputError, check_kinds, check_least
from midrc_ml.tables.checks import FALSE_SPELLINGS

# What each kind is read as unless `take` says otherwise.
TAKEN = {"laboratory": "last", "observation": "last", "covid_test": "last", "condition": "any", "medication": "any"}
TAKES = ("last", "lowest", "highest", "mean", "any")
_REFUSED = {
    "hospital_stay": "its end and how it ended are what tasks ask for",
    "icu_stay": "it is what tasks ask for",
    "ventilation": "it is what tasks ask for",
    "death": "it is what tasks ask for",
}
# Undated in shipped cohorts because they are known only when the stay is over.
KNOWN_LATER = (
    *("length_of_stay", "invasive_vent_days", "kidney_replacement_therapy", "antibiotics_use_v"),
    *("Acute.Hepatic.Injury..during.hospitalization.", "Acute.Kidney.Injury..during.hospitalization."),
    *("therapeutic.exnox.Boolean", "therapeutic.heparin.Boolean", "Other.anticoagulation.therapy"),
    *("needed_supplemental_O2", "extubated"),
)
MAX_COLUMNS = 1000  # of one kind; what is more is a list of codes that nobody chose
_NO = FALSE_SPELLINGS | {"n", "none", "never", "negative", "absent"}
_SAYS_NOTHING = ("", "unknown", "not reported", "not documented", "not available", "not applicable", "n/a", "na", "nan")
_LIMIT = r"^\s*[<>≤≥]=?\s*"


@dataclass(frozen=True, kw_only=True)
class EventInput:
    """Which events of one kind are read, and how they become columns; a column is called `<kind>.<name>`.

    names: of the events, `*` standing for anything; null = every one, a column each (COVID-19 tests: one column, of
        all methods). `{crp: [hs-CRP, "1988-5_*"]}` makes one column of events that go by several names.
    within_days: only events that had not ended this long before the study; null = however long before.
    known_after_days: an event is known this long after it began; 0 = on its day, 1 = on the next.
    undated: true = events without a day count too, as the oldest. Their names must then be given: what has no day is
        often known only later.
    take: of several events, the `last` value (of one day, the mean of numbers; words that differ are missing), the
        `lowest`, `highest` or `mean` number; or `any`: 1 = there is one, 0 = said not to be, or another event of this
        kind is known and none says of anybody that this one is not (`read` tells of whom); else missing.
    """

    kind: str
    names: Sequence[str] | Mapping[str, Any] | None = None
    within_days: float | None = None
    known_after_days: float = 0.0
    undated: bool = False
    take: str | None = None

    def __post_init__(self) -> None:
        where = f"clinical.events.{self.kind}"
        if self.kind not in TAKEN:
            why = f": {_REFUSED[self.kind]}" if self.kind in _REFUSED else ""
            raise InputError(f"{where}: this kind of event is no input{why}; take one of {', '.join(TAKEN)}")
        check_kinds(self, where)
        check_least(self, where, within_days=0, known_after_days=0)
        if self.take not in (*TAKES, None):
            raise InputError(f"{where}.take is {self.take!r}; it must be one of {', '.join(TAKES)}, or null")
        if self.names is not None and not self.patterns:
            raise InputError(f"{where}.names is {self.names!r}; give at least one name, or null for every one")
        if self.undated and self.names is None:
            raise InputError(
                f"{where}.undated is true and names is null; what has no day may be known only later, so give the "
                f"names of what was known in time"
            )

    @property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """{name of a column: names of its events}, as they were given."""
        names = self.names if isinstance(self.names, Mapping) else {name: name for name in _texts(self.names or (), "")}
        return {str(column): _texts(given, str(column)) for column, given in names.items()}

    def read(self, events: pd.DataFrame, rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
        """Columns for `rows` (case_id, day), in their order: float64, or texts as they stand for `take: last`.

        Where `rows` have a part, what silence means is learned from what those of training know; else from the cohort.

        events: the events table of the cohort. notes: gets a sentence for what could not be read.

        Raises:
            InputError: an undated event that is known only later, or too many names.
        """
        events = events.loc[events["kind"] == self.kind, ["case_id", "name", "start_day", "end_day", "value"]]
        no_day = events["start_day"].isna() & (not self.undated)
        # A test whose method is not told is a test; any other event without a name could be anything.
        no_name = events["name"].isna() & ~no_day & (not self._is_one_column)
        for unread, words in ((no_day, "day"), (no_name, "name")):
            if unread.any():
                notes.append(
                    f"clinical table: {int(unread.sum())} {self.kind} events have no {words}; they are not read"
                )
        events = events[~no_day & ~no_name]
        columns, column_of = self._columns(events, notes)
        says_nothing = events["value"].str.strip().str.lower().isin(_SAYS_NOTHING)
        events = events[~says_nothing]
        days = pd.DataFrame({"row": range(len(rows)), "case_id": rows["case_id"], "day": rows["day"].astype("float64")})
        named = events.merge(column_of, on="name")
        found = self._known(days.merge(named, on="case_id"))
        take = self.take or TAKEN[self.kind]
        if take == "last":
            made = self._last(found, notes)
        elif take == "any":
            told = named
            if "part" in rows:
                told = found[rows["part"].eq("train").to_numpy()[found["row"].to_numpy()]]
            ever_no = set(told.loc[_says_no(told["value"]), "column"])
            return self._any(found, days, events, ever_no, columns)
        else:
            numbers = found.assign(value=as_numbers(found["value"])).dropna(subset="value")
            if no_numbers := len(found) - len(numbers):
                notes.append(f"clinical table: {no_numbers} {self.kind} values are no numbers; they are not read")
            how = {"lowest": "min", "highest": "max", "mean": "mean"}[take]
            made = numbers.groupby(["row", "column"], as_index=False)["value"].agg(how)
        return _wide(made, columns, len(rows), "str" if take == "last" else "float64")

    @property
    def _is_one_column(self) -> bool:
        return self.kind == "covid_test" and self.names is None

    def _columns(self, events: pd.DataFrame, notes: list[str]) -> tuple[list[str], pd.DataFrame]:
        """The columns, and which of them each name of an event belongs to: name, column."""
        names = events["name"].drop_duplicates()
        if self._is_one_column:
            return [self.kind], pd.DataFrame({"name": names, "column": self.kind})
        if self.names is None:
            columns = [f"{self.kind}.{name}" for name in sorted(names)]
            if not columns:
                notes.append(f"clinical table: the cohort has no {self.kind} events")
            if len(columns) > MAX_COLUMNS:
                raise InputError(
                    f"clinical.events.{self.kind}.names is null, and the cohort has {len(columns)} names, more than "
                    f"{MAX_COLUMNS}; give those to be read, * standing for anything: names=[I10, E11*]"
                )
            return columns, pd.DataFrame({"name": names, "column": f"{self.kind}." + names})
        found = []
        for column, given in self.patterns.items():
            matched = names[names.str.fullmatch(_regex(given))]
            if matched.empty:
                near = difflib.get_close_matches(given[0], list(names), n=1)
                notes.append(
                    f"clinical table: no {self.kind} event of the cohort is called {' or '.join(given)}"
                    f"{f' (did you mean {near[0]}?)' if near else ''}"
                )
            found.append(pd.DataFrame({"name": matched, "column": f"{self.kind}.{column}"}))
        column_of = pd.concat(found)
        later = sorted(set(column_of["name"]) & set(KNOWN_LATER)) if self.undated else []
        if later:
            raise InputError(
                f"clinical.events.{self.kind}: {', '.join(later)} is known only after the day that the question is "
                f"asked on; take it out of names"
            )
        return [f"{self.kind}.{column}" for column in self.patterns], column_of

    def _known(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """Of rows with an event each, those in which it is known on the day, and not too old."""
        known = pairs["start_day"] + self.known_after_days <= pairs["day"]
        if self.within_days is not None:
            # What had not ended by the day of the study was still so then; without an end it may have been.
            until = pairs["end_day"].fillna(pairs["start_day"])
            known &= until >= pairs["day"] - self.within_days
        if self.undated:
            known |= pairs["start_day"].isna()
        return pairs[known]

    def _last(self, found: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
        keys = ["row", "column"]
        found = found.dropna(subset="value")
        latest = found.groupby(keys)["start_day"].transform("max")
        last = found[(found["start_day"] == latest) | latest.isna()]
        last = last.assign(value=last["value"].str.strip()).drop_duplicates([*keys, "value"])
        several = last.duplicated(keys, keep=False)
        numbers = last[several].assign(value=as_numbers(last.loc[several, "value"]))
        means = numbers.groupby(keys)["value"].agg(["mean", "count", "size"]).reset_index()
        are_numbers = means["count"] == means["size"]
        if differ := int((~are_numbers).sum()):
            notes.append(
                f"clinical table: {differ} times different {self.kind} words of one name have the same day; they "
                f"count as missing"
            )
        means = means[are_numbers]
        return pd.concat([last.loc[~several, [*keys, "value"]], means[keys].assign(value=means["mean"].map(repr))])

    def _any(
        self, found: pd.DataFrame, days: pd.DataFrame, events: pd.DataFrame, ever_no: set[str], columns: list[str]
    ) -> pd.DataFrame:
        yes = (~_says_no(found["value"])).astype("float64")
        made = yes.groupby([found["row"], found["column"]]).max().rename("value").reset_index()
        wide = _wide(made, columns, len(days), "float64")
        of_case = events.groupby("case_id")["start_day"].min() + self.known_after_days
        recorded = (days["case_id"].map(of_case) <= days["day"]).to_numpy()
        silent = [column for column in columns if column not in ever_no]
        wide[silent] = wide[silent].mask(wide[silent].isna() & recorded[:, None], 0.0)
        return wide


def as_numbers(values: pd.Series) -> pd.Series:
    """Texts as float64, NaN where they are no finite number; `<0.01` is the limit that it names."""
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    others = values[numbers.isna() & values.notna()]
    if len(others):
        distinct = pd.Series(others.unique())
        limits = pd.to_numeric(distinct.str.replace(_LIMIT, "", regex=True), errors="coerce")
        numbers[others.index] = others.map(dict(zip(distinct, limits, strict=True))).astype("float64")
    return numbers.where(np.isfinite(numbers))


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether `name` is one of these, in which * stands for anything."""
    return re.fullmatch(_regex(patterns), name) is not None


def _regex(patterns: Sequence[str]) -> str:
    return "|".join(re.escape(pattern).replace(r"\*", ".*") for pattern in patterns)


def _says_no(values: pd.Series) -> pd.Series:
    return values.str.strip().str.lower().isin(_NO)


def _texts(given: object, column: str) -> tuple[str, ...]:
    """One text or a list of them, as a tuple."""
    items = [given] if isinstance(given, str) and column else given
    if isinstance(items, str) or not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise InputError(
            f"clinical.events: names is {given!r}; it must be a list of texts, or {{column: list of texts}}, or null"
        )
    return tuple(items)


def _wide(made: pd.DataFrame, columns: list[str], num_rows: int, dtype: str) -> pd.DataFrame:
    """One row each and one column each, from rows of (row, column, value)."""
    values = np.full((num_rows, len(columns)), math.nan if dtype == "float64" else None, dtype=object)
    if len(made):
        values[made["row"].to_numpy(), pd.Index(columns).get_indexer(made["column"])] = made["value"].to_numpy()
    return pd.DataFrame(values, columns=columns).astype(dtype)
