"""Which cases are one person: the same patient may be in several projects, under several ids."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from midrc_ml.cohorts.midrc_lists import first_item, has_several, per_distinct
from midrc_ml.errors import InputError, TableError
from midrc_ml.tables.checks import NUM_SHOWN, parse_list
from midrc_ml.tables.keys import is_among

# TCIA gave the same patients another name: MIDRC-RICORD-1A-419639-000001 is MIDRC's 419639-000001.
_RICORD_PREFIX = r"^MIDRC-RICORD-[^-]+-"
_ALIAS_COLUMNS = ("id", "patient")


def without_prefix(case_ids: pd.Series) -> pd.Series:
    """Case ids as MIDRC gave them, without the name of the RICORD collection before them."""
    return case_ids.str.replace(_RICORD_PREFIX, "", regex=True)


def site_of(case_ids: pd.Series) -> pd.Series:
    """The site that sent a case: the text before the first hyphen of its id."""
    return without_prefix(case_ids).str.replace(r"-.*$", "", regex=True)


def one_case_each(
    node: str, named: pd.Series, known_cases: pd.Series, notes: list[str]
) -> tuple[pd.Series, list[tuple[str, ...]]]:
    """The case of each row of a node, and the groups of ids that its rows name as one person.

    named: the list of cases of each row. A row that names several is under the first one that `known_cases` holds.
    """
    case_id = first_item(named)
    several = has_several(named)
    groups: list[tuple[str, ...]] = []
    if several.any():
        known = set(known_cases)
        lists = named.where(several)
        case_id = case_id.mask(several, per_distinct(lists, lambda cell: _first_known(cell, known)))
        groups = [ids for cell in lists.dropna().unique() if len(ids := tuple(dict.fromkeys(parse_list(cell)))) > 1]
        apart = int(per_distinct(lists, lambda cell: "yes" if len(set(parse_list(cell))) > 1 else None).notna().sum())
        if apart:
            notes.append(
                f"{node}: {apart} rows name several cases; they are taken for one patient, and each row is kept under "
                f"the first of its cases that is in the case table"
            )
    if named.isna().any():
        notes.append(f"{node}: {int(named.isna().sum())} rows name no case; they are left out")
    if len(known_cases):
        strays = int((named.notna() & ~is_among(case_id, known_cases)).sum())
        if strays:
            notes.append(f"{node}: {strays} rows name a case that is in no case row; they are not used")
    return case_id, groups


def _first_known(cell: str, known: set[str]) -> str:
    ids = parse_list(cell)
    return next((name for name in ids if name in known), ids[0])


def patient_ids(case_ids: pd.Series, groups: Iterable[Sequence[str]]) -> pd.Series:
    """The patient of each case: the smallest of all ids that `groups` join to it, prefixes taken off.

    groups: ids that name one person each. Which of them are in `case_ids`, and in which order, makes no difference.
    """
    known = [list(group) for group in groups]
    stripped = without_prefix(case_ids)
    every = pd.Series([name for group in known for name in group], dtype="str")
    plain = dict(zip(every, without_prefix(every), strict=True))
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = name = parent[parent[name]]
        return name

    for group in known:
        roots = sorted({root(plain[name]) for name in group})
        for other in roots[1:]:
            parent[other] = roots[0]  # the smallest stays on top, so that it names the patient
    smallest = {name: root(name) for name in list(parent)}
    return stripped.map(smallest).fillna(stripped) if smallest else stripped


def read_aliases(place: str) -> list[tuple[str, str]]:
    """The pairs (id, patient) of a user's CSV or TSV with these two columns.

    Raises:
        InputError: no such file, or not a table with these columns.
        TableError: rows with an empty cell, or with more or fewer cells than the header.
    """
    rule = f"it must be a CSV or TSV file with the columns {', '.join(_ALIAS_COLUMNS)} in its first line"
    try:
        text = Path(place).expanduser().read_text(encoding="utf-8-sig")
        reader = csv.reader(text.splitlines(), delimiter="\t" if "\t" in text.split("\n", 1)[0] else ",", strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cohort.aliases is {place!r} ({type(error).__name__}); {rule}") from error
    header = rows[0][1] if rows else []
    if not set(_ALIAS_COLUMNS) <= set(header):
        # What stands in the first line may be ids: it is not shown.
        raise InputError(f"cohort.aliases is {place!r}, whose first line has {len(header)} other names; {rule}")
    uneven = [line for line, cells in rows if len(cells) != len(header)]
    name, patient = (header.index(column) for column in _ALIAS_COLUMNS)
    even = [(line, cells) for line, cells in rows[1:] if len(cells) == len(header)]
    empty = [line for line, cells in even if not (cells[name] and cells[patient])]
    problems = [
        f"cohort.aliases: {len(lines)} rows {words} (lines {', '.join(map(str, lines[:NUM_SHOWN]))}); correct them"
        for lines, words in (
            (empty, "have an empty cell"),
            (uneven, f"have another number of cells than the header, which has {len(header)}"),
        )
        if lines
    ]
    if problems:
        raise TableError(problems)
    return [(cells[name], cells[patient]) for _, cells in even]


def project_ranks(projects: Iterable[str], first: Sequence[str]) -> Mapping[str, int]:
    """The order in which projects are believed: those named first, then the others by name (Open-A1, TCIA-...)."""
    known = sorted(set(projects))
    ordered = [*dict.fromkeys(first), *(name for name in known if name not in first)]
    return {name: rank for rank, name in enumerate(ordered)}
