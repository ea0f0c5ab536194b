"""Severity scores that are made of parts: mRALE and Brixia. Totals and parts are checked against each other.

Readings are named after the score and the part: `mrale_total`, `mrale_extent_right`, `brixia_A`, ...
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.decisions import check_choice
from midrc_ml.tasks.readings import combined, readings_named

_SHARED_BY = ["study_id", "series_id", "image", "reader"]


@dataclass(frozen=True)
class _Score:
    """name: the beginning of its readings' names. highest: of each part, from 0 in whole steps. totals: possible."""

    name: str
    highest: Mapping[str, int]
    total: Callable[[pd.DataFrame], pd.Series]
    totals: Collection[int]
    in_words: str


def _mrale_total(parts: pd.DataFrame) -> pd.Series:
    return parts["extent_right"] * parts["density_right"] + parts["extent_left"] * parts["density_left"]


# MIDRC's mRALE Mastermind challenge 2023: extent None, <=25 %, 25-50 %, 51-75 %, >75 % of a lung is 0 to 4, density
# None, Hazy, Moderate, Dense is 0 to 3. No sum of two products of them is 19, 22 or 23.
_MRALE = _Score(
    name="mrale",
    highest={"extent_right": 4, "density_right": 3, "extent_left": 4, "density_left": 3},
    total=_mrale_total,
    totals=frozenset(range(25)) - {19, 22, 23},
    in_words="extent_right x density_right + extent_left x density_left",
)
# Borghesi and Maroldi, Radiol Med 2020;125:509: zones A, B, C (right lung, from above) and D, E, F (left), 0 to 3.
_BRIXIA = _Score(
    name="brixia",
    highest=dict.fromkeys("ABCDEF", 3),
    total=lambda parts: parts[list("ABCDEF")].sum(axis=1, skipna=False),
    totals=frozenset(range(19)),
    in_words="A + B + C + D + E + F",
)


def mrale(
    tables: Tables, rows: pd.DataFrame, *, part: str = "total", readers: str = "only", min_readers: int = 1
) -> pd.DataFrame:
    """The modified RALE score (0-24), or one of its parts: extent (0-4) or density (0-3) of a lung.

    A total that nobody wrote down is computed from its parts; one that was is checked against them.

    part: `total`, `extent_right`, `density_right`, `extent_left` or `density_left`.
    readers, min_readers: as in `reading`.

    Raises:
        InputError: no such reading, a score that cannot be, or a total that does not follow from its parts.
    """
    return _part_of(_MRALE, tables, rows, part=part, readers=readers, min_readers=min_readers)


def brixia(
    tables: Tables, rows: pd.DataFrame, *, part: str = "total", readers: str = "only", min_readers: int = 1
) -> pd.DataFrame:
    """The Brixia score (0-18), or that of one of its six zones (0-3); totals as in `mrale`.

    part: `total`, or a zone from `A` to `F`. readers, min_readers: as in `reading`.

    Raises:
        InputError: no such reading, a score that cannot be, or a total that is not the sum of its zones.
    """
    return _part_of(_BRIXIA, tables, rows, part=part, readers=readers, min_readers=min_readers)


def _part_of(
    score: _Score, tables: Tables, rows: pd.DataFrame, *, part: str, readers: str, min_readers: int
) -> pd.DataFrame:
    check_choice("part", part, ("total", *score.highest))
    table = _by_reading(score, tables)
    if table[part].isna().all():
        readings_named(tables, f"{score.name}_{part}", "value")  # refuses, naming those that are there
    values = table[["study_id", "reader", part]].dropna(subset=part).rename(columns={part: "value"})
    return combined(values, rows, readers=readers, min_readers=min_readers)


def _by_reading(score: _Score, tables: Tables) -> pd.DataFrame:
    """One line per reading (`_SHARED_BY`): total and parts, NaN where not read; totals are computed and checked."""
    readings = tables.readings.dropna(subset="value")
    names = {f"{score.name}_{part}": part for part in ("total", *score.highest)}
    chosen = readings[readings["name"].isin(names)].fillna({"series_id": "", "image": ""})
    table = chosen.pivot(index=_SHARED_BY, columns="name", values="value").rename(columns=names)
    table = table.reindex(columns=["total", *score.highest]).reset_index()
    problems = []
    for part, highest in score.highest.items():
        problems += _impossible(table[part], range(highest + 1), f"{score.name}_{part}", f"whole, 0 to {highest}")
    impossible = sorted(set(range(max(score.totals))) - set(score.totals))
    but = f", not {', '.join(map(str, impossible))}" if impossible else ""
    words = f"whole, 0 to {max(score.totals)}{but}"
    problems += _impossible(table["total"], score.totals, f"{score.name}_total", words)
    computed = score.total(table)
    wrong = int((computed.notna() & table["total"].notna() & (computed != table["total"])).sum())
    if wrong:
        problems.append(f"{wrong} {score.name}_total are not {score.in_words} of the same reading")
    if problems:
        raise InputError(f"readings of the {tables.origin}: {'; '.join(problems)}; correct them where they are read")
    return table.assign(total=table["total"].fillna(computed))


def _impossible(values: pd.Series, possible: Collection[int], name: str, words: str) -> list[str]:
    count = int((values.notna() & ~values.isin(np.array(sorted(possible), dtype=float))).sum())
    return [f"{count} {name} are not {words}"] if count else []
