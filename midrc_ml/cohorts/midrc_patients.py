"""Which cases are one person: the same patient may be in several projects, under several ids."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from midrc_ml.errors import InputError, TableError

# TCIA gave the same patients another name: MIDRC-RICORD-1A-419639-000001 is MIDRC's 419639-000001.
_RICORD_PREFIX = r"^MIDRC-RICORD-[^-]+-"
_ALIAS_COLUMNS = ("id", "patient")


def without_prefix(case_ids: pd.Series) -> pd.Series:
    """Case ids as MIDRC gave them, without the name of the RICORD collection before them."""
    return case_ids.str.replace(_RICORD_PREFIX, "", regex=True)


def site_of(case_ids: pd.Series) -> pd.Series:
    """The site that sent a case: the text before the first hyphen of its id."""
    return without_prefix(case_ids).str.replace(r"-.*$", "", regex=True)


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
        TableError: rows with an empty cell.
    """
    path = Path(place).expanduser()
    rule = f"it must be a CSV or TSV file with the columns {', '.join(_ALIAS_COLUMNS)}"
    try:
        header = path.read_text(encoding="utf-8-sig").split("\n", 1)[0]
        frame = pd.read_csv(
            path, sep="\t" if "\t" in header else ",", dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"cohort.aliases is {place!r} ({type(error).__name__}); {rule}") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    if not set(_ALIAS_COLUMNS) <= set(frame.columns):
        raise InputError(f"cohort.aliases is {place!r} with the columns {', '.join(frame.columns)}; {rule}")
    pairs = frame[list(_ALIAS_COLUMNS)].apply(lambda column: column.str.strip())
    empty = (pairs == "").any(axis=1)
    if empty.any():
        first = ", ".join(str(row + 2) for row in pairs.index[empty][:5])
        raise TableError(
            [f"cohort.aliases: {int(empty.sum())} rows have an empty cell (lines {first}); fill or remove them"]
        )
    return list(pairs.itertuples(index=False, name=None))


def project_ranks(projects: Iterable[str], first: Sequence[str]) -> Mapping[str, int]:
    """The order in which projects are believed: those named first, then the others by name (Open-A1, TCIA-...)."""
    known = sorted(set(projects))
    ordered = [*dict.fromkeys(first), *(name for name in known if name not in first)]
    return {name: rank for rank, name in enumerate(ordered)}
