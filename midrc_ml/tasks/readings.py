"""What radiologists read in a study as its label: a score, or a class that several readers agree on.

A reader who read several images of a study counts once: with the mean of the scores, or with the one class.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.decisions import Decision, check_choice, decide, otherwise

_WAYS = ("mean", "median", "only")


def reading(
    tables: Tables, rows: pd.DataFrame, *, name: str, readers: str = "mean", min_readers: int = 1
) -> pd.DataFrame:
    """The score `name` of each study; missing where fewer than `min_readers` read it.

    readers: `mean` or `median` over the readers; `only` = the one reader, missing where there are several; else the
        name of the reader whose score it is.

    Raises:
        InputError: no such reading, no such reader, or a setting that makes no sense.
    """
    readings = readings_named(tables, name, "value")
    return combined(readings[["study_id", "reader", "value"]], rows, readers=readers, min_readers=min_readers)


def class_by_readers(
    tables: Tables,
    rows: pd.DataFrame,
    *,
    name: str,
    classes: Sequence[str],
    rule: Literal["majority", "adjudicated", "all"] = "majority",
    adjudicator: str | None = None,
    min_readers: int = 1,
    first: int = 0,
) -> pd.DataFrame:
    """The position in `classes` (counted from `first`) of the class `name` that the readers of a study agree on.

    Upper and lower case are the same. A reader who gave a study several classes leaves it missing.

    rule: `majority` = that of more than half of the readers; `all` = all readers agree; else missing. `adjudicated`
        = where the readers do not all agree, that of the `adjudicator`; where he was not asked, the majority's.
    adjudicator: one who was asked where readers disagreed, if there is any: counted as a reader by no rule.

    Raises:
        InputError: no such reading, a class that is not in `classes`, or a setting that makes no sense.
    """
    _check_count("min_readers", min_readers)
    check_choice("rule", rule, ("majority", "adjudicated", "all"))
    if rule == "adjudicated" and adjudicator is None:
        raise InputError("label.rule is 'adjudicated'; label.adjudicator must name the reader who was asked")
    found = readings_named(tables, name, "category")
    found["code"] = _codes(found["category"], classes, name)
    found = found[["study_id", "reader", "code"]].drop_duplicates()
    twice = found.loc[found.duplicated(["study_id", "reader"]), "study_id"]
    is_adjudicator = found["reader"] == adjudicator
    if rule == "adjudicated" and not is_adjudicator.any():
        raise InputError(_no_reader("adjudicator", str(adjudicator), found["reader"]))
    readers, asked = found[~is_adjudicator], found[is_adjudicator].drop_duplicates("study_id")

    votes = readers.groupby(["study_id", "code"]).size().reset_index(name="votes")
    leading = votes.sort_values("votes").drop_duplicates("study_id", keep="last").set_index("study_id")
    study = rows["study_id"]
    total = study.map(votes.groupby("study_id")["votes"].sum()).fillna(0).to_numpy()
    for_leading = study.map(leading["votes"]).fillna(0).to_numpy()
    leader = study.map(leading["code"]).to_numpy(dtype=float)
    adjudicated = study.map(asked.set_index("study_id")["code"]).to_numpy(dtype=float)
    was_asked = ~np.isnan(adjudicated) & (rule == "adjudicated")

    decisions: list[Decision] = [
        (study.isin(twice).to_numpy(), "missing", "a reader gave several classes"),
        (was_asked & (for_leading < total), "label", adjudicated + first),
        (was_asked & (total < min_readers), "label", adjudicated + first),
        (total < 1, "missing", "no reader"),
        (total < min_readers, "missing", f"fewer than {min_readers} readers"),
        (for_leading == total, "label", leader + first),
    ]
    if rule != "all":
        decisions.append((2 * for_leading > total, "label", leader + first))
    decisions.append((otherwise(rows.index), "missing", "the readers disagree"))
    return decide(decisions, rows.index)


def readings_named(tables: Tables, name: str, column: Literal["value", "category"]) -> pd.DataFrame:
    """The readings called `name` that have a `column`.

    Raises:
        InputError: there is none, naming those that are there.
    """
    readings = tables.readings
    found = readings[(readings["name"] == name) & readings[column].notna()]
    if found.empty:
        known = ", ".join(sorted(set(readings.loc[readings[column].notna(), "name"]))) or "none"
        raise InputError(
            f"no reading with a {column} is named {name!r} in the {tables.origin}; readings there: {known}"
        )
    return found.copy()


def combined(readings: pd.DataFrame, rows: pd.DataFrame, *, readers: str, min_readers: int) -> pd.DataFrame:
    """label, missing and excluded from `readings` (study_id, reader, value); `readers` as in `reading`.

    Raises:
        InputError: no such reader, or a setting that makes no sense.
    """
    _check_count("min_readers", min_readers)
    if readers not in _WAYS:
        if readers not in set(readings["reader"]):
            raise InputError(_no_reader("readers", readers, readings["reader"], *_WAYS))
        readings = readings[readings["reader"] == readers]
    by_study = (
        readings.groupby(["study_id", "reader"])["value"].mean().groupby("study_id").agg(["mean", "median", "count"])
    )
    count = rows["study_id"].map(by_study["count"]).fillna(0).to_numpy()
    label = rows["study_id"].map(by_study["median" if readers == "median" else "mean"]).to_numpy()
    decisions: list[Decision] = [
        (count < 1, "missing", f"not read by {readers}" if readers not in _WAYS else "no reader"),
        (count < min_readers, "missing", f"fewer than {min_readers} readers"),
    ]
    if readers == "only":
        decisions.append((count > 1, "missing", "several readers"))
    decisions.append((otherwise(rows.index), "label", label))
    return decide(decisions, rows.index)


def _codes(categories: pd.Series, classes: Sequence[str], name: str) -> pd.Series:
    """The position of each category in `classes`."""
    if isinstance(classes, str) or len(classes) < 2:
        raise InputError(f"label.classes is {classes!r}; it must be a list of at least two")
    position = {word.casefold(): number for number, word in enumerate(classes)}
    codes = categories.str.casefold().map(position)
    unknown = sorted(set(categories[codes.isna()]))
    if unknown:
        raise InputError(
            f"{int(codes.isna().sum())} readings of {name!r} are none of {', '.join(classes)} "
            f"({', '.join(map(repr, unknown[:5]))}); map them where the cohort is read, or change label.classes"
        )
    return codes


def _check_count(setting: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"label.{setting} is {value!r}; it must be a whole number of at least 1")


def _no_reader(setting: str, value: str, readers: pd.Series, *further: str) -> str:
    return f"label.{setting} is {value!r}; it must be one of {', '.join([*further, *sorted(set(readers))])}"
