"""Groups of studies: the values of a column, or of several at once, and which of them can be judged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.errors import InputError
from midrc_ml.evaluation.scorers import Grouping
from midrc_ml.evaluation.settings import INTERSECTION, Fairness


@dataclass(frozen=True)
class GroupColumn:
    """The groups of one column, or of one intersection.

    values: the names of the groups, sorted; people whose value is not reported are a group of their own. codes:
    (study,), the group of each. grouping: the same without groups that are too small for a value. valid: (group,),
    whether gaps are asked of it: large enough, and reported. sizes: (group,), studies. reference: the position of the
    group that gaps are to; None = there is no valid group. too_many: how many values it has, where they are too many
    to be groups.
    """

    name: str
    values: tuple[str, ...]
    grouping: Grouping
    valid: NDArray[np.bool_]
    sizes: NDArray[np.int64]
    codes: NDArray[np.int64]
    reference: int | None
    too_many: int | None = None


def group_columns(studies: pd.DataFrame, fairness: Fairness) -> list[GroupColumn]:
    """The groups of each column and intersection, in the order of the settings.

    Raises:
        InputError: a column that the table does not have, or a reference that is no group or too small.
    """
    asked = [(name, [name]) for name in fairness.columns]
    asked += [(INTERSECTION.join(columns), list(columns)) for columns in fairness.intersections]
    named = {column for _, columns in asked for column in columns}
    absent = sorted(named - set(studies.columns))
    if absent:
        raise InputError(
            f"fairness.columns or intersections (--by) has {', '.join(absent)}; columns of the predictions are "
            f"{', '.join(map(str, studies.columns))}"
        )
    return [_group_column(name, _combined(studies, columns), fairness) for name, columns in asked]


def _combined(studies: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """One text a study; not reported where one of the columns is not."""
    texts = [studies[column].astype(object).fillna(NOT_REPORTED).astype(str) for column in columns]
    joined = texts[0].str.cat(texts[1:], sep=INTERSECTION) if len(texts) > 1 else texts[0]
    unknown = np.logical_or.reduce([(text == NOT_REPORTED).to_numpy() for text in texts])
    return joined.mask(unknown, NOT_REPORTED)


def _group_column(name: str, values: pd.Series, fairness: Fairness) -> GroupColumn:
    codes, names = pd.factorize(values, sort=True)
    if len(names) > fairness.max_groups:
        nobody = Grouping(np.full(len(values), -1, np.int64), 0)
        none = np.zeros(0, np.int64)
        return GroupColumn(name, (), nobody, none.astype(bool), none, nobody.codes, None, too_many=len(names))
    sizes = np.bincount(codes, minlength=len(names))
    texts = tuple(str(value) for value in names)
    valid = (sizes >= max(1, fairness.min_group_size)) & np.array([text != NOT_REPORTED for text in texts], dtype=bool)
    reference = int(np.argmax(np.where(valid, sizes, -1))) if valid.any() else None
    wanted = (fairness.reference or {}).get(name)
    if wanted is not None:
        if wanted not in texts:
            raise InputError(
                f"fairness.reference.{name} is {wanted!r}; it must be a group of this column: {', '.join(texts)}"
            )
        reference = texts.index(wanted)
        if not valid[reference]:
            raise InputError(
                f"fairness.reference.{name} is {wanted!r}, of {sizes[reference]} studies; it must be reported and "
                f"have at least fairness.min_group_size={fairness.min_group_size}"
            )
    large = np.where(sizes[codes] >= fairness.min_group_size, codes, -1).astype(np.int64)
    return GroupColumn(name, texts, Grouping(large, len(texts)), valid, sizes, codes.astype(np.int64), reference)
