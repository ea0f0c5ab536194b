"""Lists in the cells of MIDRC's files: three spellings become one, and each distinct text is parsed once.

A column of a million rows holds few different lists, or many that are a single item: neither needs a loop.
"""

import json
from collections.abc import Callable, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from midrc_ml.tables.checks import parse_list
from midrc_ml.tables.keys import is_among

_PLAIN = r"[\[\" ,]"  # a text without any of these is one item
_OTHER_SPELLING = r"[\[\" ]|^,|,,|,$"  # one without these is one item, or items joined by single commas


def one_spelling(values: pd.Series) -> pd.Series:
    """Lists as comma-joined text, as JSON where an item itself holds a comma; missing where there is no item."""
    marked = _contains(values, _PLAIN)
    if not marked.any():
        return values
    odd = marked.copy()
    odd[marked] = _contains(values[marked], _OTHER_SPELLING)
    if odd.any():
        values = values.where(~odd, per_distinct(values.where(odd), lambda cell: joined(parse_list(cell))))
    return values


def joined(items: Sequence[str]) -> str | None:
    """A list in the one spelling."""
    if any("," in item for item in items):
        return json.dumps(list(items))
    return ",".join(items) or None


def per_distinct(values: pd.Series, function: Callable[[str], object]) -> pd.Series:
    """`function` of each value, called once for each distinct one; missing stays missing. Text in, text out."""
    codes, distinct = pd.factorize(values)
    results = pd.Series([*map(function, distinct), None], dtype=values.dtype)  # the code of missing is -1: the last
    return results.take(codes).set_axis(values.index)


def first_item(values: pd.Series) -> pd.Series:
    """The first item of each list."""
    several = has_several(values)
    if not several.any():
        return values
    return values.where(~several, per_distinct(values.where(several), lambda cell: parse_list(cell)[0]))


def has_several(values: pd.Series) -> pd.Series:
    """Whether a list (in the one spelling) may have several items."""
    return _contains(values, ",")


def _contains(values: pd.Series, pattern: str) -> pd.Series:
    found = pc.match_substring_regex(_texts(values), pattern)
    return pd.Series(found.fill_null(False).to_numpy(zero_copy_only=False), index=values.index)


def _texts(values: pd.Series | pd.Index) -> pa.Array:
    return pa.array(values, type=pa.large_string(), from_pandas=True)


def exploded(values: pd.Series) -> pd.Series:
    """One row for each item, under the index of the row that it stands in."""
    known = values.dropna()
    in_json = known.str.startswith("[")
    parsed = known[in_json].map(parse_list).explode().astype(values.dtype)
    lists = pc.split_pattern(pa.array(known[~in_json], type=pa.large_string()), ",")
    rows = known.index[~in_json].take(pc.list_parent_indices(lists).to_numpy())
    return pd.concat([pd.Series(pc.list_flatten(lists), index=rows, dtype=values.dtype), parsed])


def looked_up(values: pd.Series, names: pd.Series, targets: pd.Series) -> pd.Series:
    """The target under the name that each value is, the smallest of several; missing where there is none.

    names, targets: a pair at each place.
    """
    known = names.notna().to_numpy() & targets.notna().to_numpy()
    if len(values) < len(names):
        known &= is_among(names, values).to_numpy()
    table = targets[known].groupby(names[known].to_numpy()).min()
    place = pc.index_in(_texts(values), value_set=_texts(table.index), skip_nulls=True)
    return pd.Series(pc.take(_texts(table), place), index=values.index, dtype=values.dtype)


def sorted_by(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """`frame` in the order of `columns`, missing values last."""
    keys = pa.Table.from_pandas(frame[list(columns)], preserve_index=False)
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in columns])
    return frame.take(order.to_numpy()).reset_index(drop=True)
