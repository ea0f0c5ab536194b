"""One row for each thing that the files of an export describe, however many of them do."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from midrc_ml.cohorts.midrc_explorer import EXPLORER, NODE_EXPORT, is_list
from midrc_ml.cohorts.midrc_lists import has_several, joined, looked_up, per_distinct
from midrc_ml.tables.checks import parse_list

_IDS = ("id", "submitter_id")
_HOW = ("_source", "_rank")  # which file a row is from, and how directly it describes its thing


@dataclass(frozen=True)
class Source:
    """The rows of one node in one file. rank: 0 is the most direct. columns: those that the file has."""

    frame: pd.DataFrame
    rank: int
    columns: frozenset[str]


def one_row_each(node: str, sources: Sequence[Source]) -> tuple[pd.DataFrame, list[str], list[str]]:
    """The rows of all `sources`, each thing once, with problems and notes.

    A thing is known by project and submitter_id, else by id, else by its content. Node exports must agree, and so
    must explorer downloads: where they do not, exports of different dates lie together, which is a problem. A less
    direct row fills the gaps of a more direct one.
    """
    parts = [s.frame.assign(_source=place, _rank=s.rank) for place, s in enumerate(sources)]
    rows = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    names = rows["submitter_id"]
    # An explorer's record may have another submitter_id than the node's row of the same study.
    by_name = len(parts) == 1 or all(source.rank == NODE_EXPORT for source in sources)
    if by_name and not names.hasnans and not names.duplicated().any():
        return rows.drop(columns=[*_HOW]), [], []
    problems: list[str] = []
    notes: list[str] = []
    key = _keys(rows)
    repeated = key.duplicated(keep=False) & key.notna()
    merged = []
    if repeated.any():
        several = rows[repeated].assign(_key=key[repeated])
        for rank, what in ((NODE_EXPORT, "node exports"), (EXPLORER, "explorer downloads")):
            count, columns = _differing(node, several[several["_rank"] == rank], sources)
            if count:
                problems.append(
                    f"{node}: {count} rows stand in the {what} with different content (in {', '.join(columns)}), so "
                    f"that two exports of different dates lie together; keep one of them in cohort.root"
                )
        merged.append(_merged(node, several, notes))
    nameless = key.isna()
    if nameless.any():
        merged.append(_nameless(node, rows[nameless], rows[~nameless], sources, notes))
    result = pd.concat([rows[~repeated & ~nameless], *merged], ignore_index=True) if merged else rows
    return result.drop(columns=[*_HOW, "_key"], errors="ignore"), problems, notes


def _keys(rows: pd.DataFrame) -> pd.Series:
    """What a row is known by: project and submitter_id; those of the node export's row with its id or study uid first.

    A row without any of them has no key.
    """
    project = rows["project_id"].fillna("") + "\x1f"
    own = project + rows["submitter_id"]
    names = [rows["id"]] if "id" in rows else []
    if "study_uid" in rows and "series_uid" not in rows:
        names.append(project + rows["study_uid"])
    key = own.where(rows["_rank"] == NODE_EXPORT)
    for _ in ("of node exports", "of any row"):
        for name in names:
            key = key.fillna(looked_up(name, name, key))
        key = key.fillna(own)
    for name in names:
        key = key.fillna("\x1f" + name)
    return key


def _differing(node: str, rows: pd.DataFrame, sources: Sequence[Source]) -> tuple[int, list[str]]:
    """How many things the rows describe differently, and in which columns.

    A column that a file does not have says nothing; nor does a field that a record of the explorer omits.
    """
    different: set[str] = set()
    columns = []
    for column in rows.columns.drop([*_HOW, "_key", *_IDS], errors="ignore"):
        has = rows["_source"].isin([place for place, source in enumerate(sources) if column in source.columns])
        has &= (rows["_rank"] == NODE_EXPORT) | rows[column].notna()
        values = rows.loc[has, column]
        if is_list(node, column):  # in no fixed order
            several = has_several(values)
            values = values.where(~several, per_distinct(values.where(several), _in_order))
        each = pd.DataFrame({"_key": rows.loc[has, "_key"], "value": values}).drop_duplicates()
        twice = each.loc[each["_key"].duplicated(), "_key"]
        if len(twice):
            different |= set(twice)
            columns.append(column)
    return len(different), columns


def _merged(node: str, rows: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """One row for each `_key`: the most direct row, its gaps filled from the others."""
    columns = [column for column in rows.columns if column not in (*_HOW, "_key")]
    # Less direct rows may disagree: the order of the files must not decide between them.
    rows = rows.sort_values(["_rank", *columns], na_position="last")
    exports = rows[rows["_rank"] == NODE_EXPORT]
    again = len(exports) - exports["_key"].nunique()
    if again:
        notes.append(f"{node}: {again} rows stand in the files more than once and are taken once")
    merged = rows.groupby("_key", sort=True)[columns].first()
    less_direct = rows[rows["_rank"] != NODE_EXPORT]
    believed = merged.loc[less_direct["_key"]].set_axis(less_direct.index)
    other = pd.Series(False, index=less_direct.index)
    for column in columns:
        if column not in _IDS and not is_list(node, column):
            differs = (less_direct[column] != believed[column]) & less_direct[column].notna()
            other |= differs.fillna(False).astype(bool)
    if other.any():
        notes.append(
            f"{node}: {int(other.sum())} records of explorer downloads say something else than a more direct row of "
            f"the same thing; the more direct one is used"
        )
    return merged.reset_index(drop=True)


def _nameless(
    node: str, rows: pd.DataFrame, named: pd.DataFrame, sources: Sequence[Source], notes: list[str]
) -> pd.DataFrame:
    """Rows without any id, each content once; a record of the explorer only where no row with an id says the same."""
    columns = [column for column in rows.columns if column not in _HOW]
    exports = rows[rows["_rank"] == NODE_EXPORT]
    kept = [exports.drop_duplicates(columns)]
    again = len(exports) - len(kept[0])
    if again:
        notes.append(f"{node}: {again} rows stand in the files more than once and are taken once")
    for place, source in enumerate(sources):
        if source.rank != NODE_EXPORT:
            on = [column for column in columns if column in source.columns and column != "project_id"]
            own = rows[rows["_source"] == place].drop_duplicates(columns)
            said = pd.concat([named, *kept])[on].drop_duplicates().assign(_said=True)
            is_said = own[on].merge(said, on=on, how="left")["_said"].notna().to_numpy()
            kept.append(own[~is_said])
    return pd.concat(kept)


def _in_order(cell: str) -> str | None:
    return joined(sorted(parse_list(cell)))
