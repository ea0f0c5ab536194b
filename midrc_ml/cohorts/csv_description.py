"""What the YAML of `cohort=csv` says: which file holds which table, and where each of our columns comes from.

Each table is a block, or a list of blocks, such as `{file: patients.csv, columns: {case_id: pid}}`. Under `columns`
stands for each column of ours the name of theirs, or a mapping that also says what is done with it:
`sex: {column: gender, map: {M: Male, F: Female}}`, or what it is in every row: `site: {value: General Hospital}`.
"""

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from midrc_ml.cohorts.csv_mistakes import column_mistakes, mark_mistakes, marks, near
from midrc_ml.tables.schemas import FIVE_TABLES, SERIES, Column, text

TABLES = {table.name: table for table in FIVE_TABLES}
INDEX_DATE = "index_date"  # of a case: the day 0 of its timeline, where days are given as dates
HAPPENED = "happened"  # of an event: whether the row tells of one
_SETTINGS = ("file", "columns", "delimiter", "encoding", "decimal", "missing", "only")
_DAYS = ("day", "start_day", "end_day")
# Columns that several values of one cell make several rows of, or a joined list.
_LISTS = {"studies": ("modality", "body_part", "file"), "series": ("file",), "events": ("name",)}
# The same for every row of a block, and short enough to stand beside `file`.
_BESIDE_FILE = {"events": ("kind", "name", "unit", "source"), "readings": ("reader", "name", "source")}
# A study's one series may be described in its row.
OF_SERIES = tuple(
    column.name for column in SERIES.columns if column.name not in ("study_id", "modality", "description")
)
_FURTHER = {
    "cases": (text(INDEX_DATE),),
    "studies": tuple(column for column in SERIES.columns if column.name in OF_SERIES),
    "events": (text("study_id"), Column(name=HAPPENED, kind="flag")),
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one of our columns comes from, and what is done with it.

    name: of our column; kind: how it is read. column: theirs; value: instead of one. map: {theirs: ours}, as pairs;
    others: what any other value becomes, None = missing, with {} for the value itself. origin: another source, or the
    `case` (its index date) or the `study` (its day; of an age as a date) that the days are counted from.
    """

    name: str
    kind: str
    where: str
    rule: Column
    column: str | None = None
    value: str | None = None
    missing: tuple[Hashable, ...] = ()
    map: tuple[tuple[Hashable, str], ...] | None = None
    has_others: bool = False
    others: str | None = None
    unit: str = ""
    sign: int = 1
    bands: str = "middle"
    date: str | None = None
    separator: str | None = None
    pattern: str | None = None
    origin: "Source | str | None" = None

    @property
    def their_columns(self) -> tuple[str, ...]:
        """The columns of the file that are read for it."""
        own = (self.column,) if self.column is not None else ()
        return own + (self.origin.their_columns if isinstance(self.origin, Source) else ())


@dataclass(frozen=True, kw_only=True)
class Block:
    """One file read as (a part of) one table."""

    table: str
    where: str
    file: str
    delimiter: str | None = None
    encoding: str = "utf-8"
    decimal: str = "."
    missing: tuple[Hashable, ...] = ()
    only: Mapping[str, tuple[Hashable, ...]] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)

    @property
    def their_columns(self) -> tuple[str, ...]:
        """The columns that the file must have."""
        named = [column for source in self.sources.values() for column in source.their_columns]
        return tuple(dict.fromkeys([*named, *self.only]))


def columns_of(table: str) -> dict[str, Column]:
    """The columns of ours that a block of `table` may name."""
    return {column.name: column for column in (*TABLES[table].columns, *_FURTHER.get(table, ()))}


def described_blocks(described: Mapping[str, Any], problems: list[str]) -> dict[str, list[Block]]:
    """The blocks of each table; a sentence for each mistake goes into `problems`.

    described: {table: None, a mapping for one file, or a list of them}.
    """
    result: dict[str, list[Block]] = {}
    for table, given in described.items():
        result[table] = []
        several = isinstance(given, list | tuple)
        for number, block in enumerate(given if several else [given] if given else []):
            where = f"cohort.{table}[{number}]" if several else f"cohort.{table}"
            if not isinstance(block, Mapping):
                problems.append(f"{where} is {block!r}; it must be a mapping with `file:` and `columns:`")
            elif made := _block(table, block, where, problems):
                result[table].append(made)
    return result


def _block(table: str, given: Mapping[str, Any], where: str, problems: list[str]) -> Block | None:
    before = len(problems)
    rules = columns_of(table)
    beside = _BESIDE_FILE.get(table, ())
    for key in given:
        if key in rules and key not in (*_SETTINGS, *beside):
            problems.append(f"{where}.{key}: a column is named under `columns:`, as `{key}: THEIR COLUMN`")
        elif key not in (*_SETTINGS, *beside):
            problems.append(f"{where}.{key}: there is no such setting{near(key, (*_SETTINGS, *beside))}")
    columns = given.get("columns")
    if not isinstance(columns, Mapping) or not columns:
        problems.append(f"{where}.columns is {columns!r}; it must be a mapping of our column names to theirs")
        columns = {}
    for key in ("file", "delimiter", "encoding", "decimal"):
        if not isinstance(given.get(key, ""), str | None) or (key == "file" and not given.get(key)):
            problems.append(f"{where}.{key} is {given.get(key)!r}; it must be a text")
    if isinstance(given.get("file"), str) and os.path.isabs(given["file"]):
        problems.append(f"{where}.file is {given['file']!r}; give its path from cohort.root")
    if (given.get("decimal") or ".") not in (".", ","):
        problems.append(f"{where}.decimal is {given['decimal']!r}; it must be '.' or ','")
    problems += mark_mistakes(given.get("missing"), f"{where}.missing")
    if isinstance(given.get("only"), Mapping):
        for column, values in given["only"].items():
            problems += mark_mistakes(values, f"{where}.only.{column}")
    elif given.get("only") is not None:
        problems.append(f"{where}.only is {given['only']!r}; it must be a mapping of a column of theirs to its values")
    if problems[before:]:
        return None
    sources: dict[str, Source] = {}
    said = {key: {"value": given[key]} for key in beside if given.get(key) is not None}
    for name in (name for name in said if name in columns):
        problems.append(f"{where}: {name} stands beside `file` and under `columns`; give it once")
    for name, source in {**columns, **said}.items():
        place = f"{where}.columns.{name}"
        if name not in rules:
            problems.append(
                f"{place}: there is no such column in {table}{near(str(name), rules)}; there are {', '.join(rules)}"
            )
        elif source is not None and (made := _source(rules[name], source, table, place, problems)):
            sources[name] = made
    needed = [column.name for column in TABLES[table].columns if column.required and column.name not in sources]
    # What stands for them: a case is its own patient, a reading without a name of a reader has one reader.
    instead = {"patient_id", "reader"} | ({"series_id"} if table == "series" else set())
    if table == "events" and "study_id" in sources:
        instead.add("case_id")
    for name in (name for name in needed if name not in instead):
        hint = f", or `{name}:` beside `file`" if name in beside else ""
        problems.append(f"{where}.columns: {name} is needed; name the column that holds it{hint}")
    if "study_id" not in sources:
        problems += [
            f"{source.where}.origin: the day of a study needs its id; name study_id under `columns:`"
            for source in sources.values()
            if source.origin == "study"
        ]
    age, day = sources.get("age"), sources.get("day")
    if age is not None and age.origin == "study" and (day is None or day.date is None):
        problems.append(
            f"{age.where}: a date of birth, but the day of the study is no date; give as `origin:` the column of dates "
            f"that it is the age at"
        )
    if problems[before:]:
        return None
    return Block(
        table=table,
        where=where,
        file=given["file"],
        delimiter=given.get("delimiter"),
        encoding=given.get("encoding") or "utf-8",
        decimal=given.get("decimal") or ".",
        missing=marks(given.get("missing")),
        only={str(column): marks(values) for column, values in (given.get("only") or {}).items()},
        sources=sources,
    )


def _source(rule: Column, given: Any, table: str, where: str, problems: list[str]) -> Source | None:
    kind = _kind(rule, table)
    if isinstance(given, str | int) and not isinstance(given, bool):
        given = {"column": given}
    if not isinstance(given, Mapping):
        problems.append(f"{where} is {given!r}; it must be the name of a column (in quotes), or a mapping")
        return None
    before = len(problems)
    problems += column_mistakes(rule.name, given, kind, where)
    origin = _origin(rule, given, kind, table, where, problems)
    if problems[before:]:
        return None
    return Source(
        name=rule.name,
        kind=kind,
        where=where,
        rule=rule,
        column=None if given.get("column") is None else str(given["column"]),
        value=None if given.get("value") is None else str(given["value"]),
        missing=marks(given.get("missing")),
        map=None if given.get("map") is None else tuple((theirs, _ours(ours)) for theirs, ours in given["map"].items()),
        has_others="others" in given,
        others=None if given.get("others") is None else str(given["others"]),
        unit=given.get("unit") or ("years" if kind == "age" else "days"),
        sign=given.get("sign", 1),
        bands=given.get("bands", "middle"),
        date=given.get("date"),
        separator=given.get("separator"),
        pattern=given.get("pattern"),
        origin=origin,
    )


def _origin(
    rule: Column, given: Mapping[str, Any], kind: str, table: str, where: str, problems: list[str]
) -> Source | str | None:
    """What days are counted from: for dates the case's index date, for a study's age its day, unless it is said."""
    origin, date = given.get("origin"), given.get("date")
    of_study = kind == "age" and table == "studies"
    if kind not in ("day", "age"):
        return None
    if kind == "age" and origin is not None and date is None:
        problems.append(f"{where}.origin: an age has one only where it is counted from a date of birth, with `date:`")
        return None
    if origin is None:
        return None if date is None else "study" if of_study else "case"
    if isinstance(origin, Mapping) and "of" in origin:
        fitting = {"study": of_study if date is not None else table == "events", "case": date is not None}
        if len(origin) > 1 or not fitting.get(str(origin["of"])):
            rules = (
                "{of: case} for dates (the case's index_date), {of: study} for days of events and the age of a study "
                "(the study's day)"
            )
            problems.append(f"{where}.origin is {dict(origin)!r}; it must be a column, or {rules}")
        return str(origin["of"])
    if isinstance(origin, str | int) and not isinstance(origin, bool):
        origin = {"column": origin} if date is None else {"column": origin, "date": date}
    place = f"{where}.origin"
    if date is None:  # a number of days counts from a day
        return _source(rule, origin, table, place, problems)
    if isinstance(origin, Mapping) and origin.get("date") is None:
        problems.append(f"{place}: dates are counted from a date; give its format with `date:`")
        return None
    return _source(text(INDEX_DATE), origin, "cases", place, problems)


def _kind(rule: Column, table: str) -> str:
    if rule.name in _DAYS:
        return "day"
    if rule.name == INDEX_DATE:
        return "stamp"
    if rule.name == "age":
        return "age"
    if rule.name in ("arrival_date", "year"):
        return "date"
    return "list" if rule.name in _LISTS.get(table, ()) else rule.kind


def _ours(value: Any) -> str:
    return "" if value is None else str(value)
