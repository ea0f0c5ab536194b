"""Lists in the cells of MIDRC's files: three spellings become one, and each distinct text is parsed once.

A column of a million rows holds few different lists, or many that are a single item: neither needs a loop.
"""

import json
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from midrc_ml.tables.checks import parse_list

_OTHER_SPELLING = r"[\[\" ]"  # a text without any of these is an item, or items joined by commas without a blank
_EMPTY_ITEM = r"^,|,,|,$"


def one_spelling(values: pd.Series) -> pd.Series:
    """Lists as comma-joined text, as JSON where an item itself holds a comma; missing where there is no item."""
    several = has_several(values)
    odd = _contains(values, _OTHER_SPELLING)
    odd |= several & _contains(values.where(several), _EMPTY_ITEM)
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
    found = pc.match_substring_regex(pa.array(values, type=pa.large_string(), from_pandas=True), pattern)
    return pd.Series(found.fill_null(False).to_numpy(zero_copy_only=False), index=values.index)


def exploded(values: pd.Series) -> pd.Series:
    """One row for each item, under the index of the row that it stands in."""
    known = values.dropna()
    in_json = known.str.startswith("[")
    parsed = known[in_json].map(parse_list).explode().astype(values.dtype)
    lists = pc.split_pattern(pa.array(known[~in_json], type=pa.large_string()), ",")
    rows = known.index[~in_json].take(pc.list_parent_indices(lists).to_numpy())
    return pd.concat([pd.Series(pc.list_flatten(lists), index=rows, dtype=values.dtype), parsed])


def is_among(values: pd.Series, known: pd.Series) -> pd.Series:
    """Whether each text is one of `known`; like `isin`, which turns 200,000 of them into Python's objects first."""
    given, among = (pa.array(texts, type=pa.large_string(), from_pandas=True) for texts in (values, known.dropna()))
    return pd.Series(pc.is_in(given, value_set=among).to_numpy(zero_copy_only=False), index=values.index)


def looked_up(values: pd.Series, names: pd.Series, targets: pd.Series) -> pd.Series:
    """The target under the name that each value is, the smallest of several; missing where there is none.

    names, targets: a pair at each place.
    """
    known = (is_among(names, values) & targets.notna().to_numpy()).to_numpy()
    if not known.any():
        return values.where(np.zeros(len(values), dtype=bool))
    table = targets[known].groupby(names[known].to_numpy()).min()
    return values.map(table).astype(values.dtype)


def sorted_by(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """`frame` in the order of `columns`, missing values last; left as it is where it is sorted already."""
    first = frame[columns[0]]
    if len(columns) == 1 and not first.hasnans and (first.array[:-1] <= first.array[1:]).all():
        return frame.reset_index(drop=True)
    keys = pa.Table.from_pandas(frame[list(columns)], preserve_index=False)
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in columns])
    return frame.take(order.to_numpy()).reset_index(drop=True)
