"""The predictions table: one row per study. Everything after it needs only this table and the task.

Its form follows from its columns. `y_score` alone: a number, or the probability of the positive class.
`y_score_<class>` for each class: multiclass probabilities, in the order in which `y_true` counts the classes from 0.
`y_score` with `time` in days and `event`, which is `y_true` (1 = seen, 0 = censored at that time): a risk.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from midrc_ml.cohorts.selection import GROUP_COLUMNS
from midrc_ml.errors import InputError
from midrc_ml.splits.manifest import PARTS

ID_COLUMNS = ("patient_id", "case_id", "study_id", "part", "label")
COLUMNS = (*ID_COLUMNS, "y_true", "y_score", *GROUP_COLUMNS)
TIME_COLUMNS = ("time", "event")
SCORE_OF_CLASS = "y_score_"
_SUM_WITHIN = 1e-3  # of 1: probabilities may have been stored in few digits


def predictions_table(
    studies: pd.DataFrame, y_score: np.ndarray, *, kind: str = "binary", classes: Sequence[str] = ()
) -> pd.DataFrame:
    """The table of scores of `studies`.

    studies: ids, part, label and group columns, one row each; `time` where the kind is time_to_event. y_score: aligned
    with them, (study,), or for multiclass (study, class) in the order of `classes`.
    """
    made = studies[list(ID_COLUMNS)].assign(y_true=studies["label"].astype("float64"))
    y_score = np.asarray(y_score)
    if kind == "multiclass":
        made[[f"{SCORE_OF_CLASS}{name}" for name in classes]] = y_score
    else:
        made["y_score"] = y_score
    if kind == "time_to_event":
        made = made.assign(time=studies["time"], event=studies["label"])
    return checked_predictions(made.join(studies[list(GROUP_COLUMNS)]))


def class_names(table: pd.DataFrame) -> list[str]:
    """The classes that the table has scores of; none where it has one score a study."""
    return [name.removeprefix(SCORE_OF_CLASS) for name in table.columns if name.startswith(SCORE_OF_CLASS)]


def truth_and_score(
    table: pd.DataFrame, *, kind: str, classes: Sequence[str] = (), where: str = "predictions"
) -> tuple[np.ndarray, np.ndarray]:
    """What a metric of a task of this kind is given, float64.

    y_true: (study,), or for time_to_event (study, 2) of event and time. y_score: (study,), or for multiclass
    (study, class), in the order of `classes`, without them in that of the columns.

    Raises:
        InputError: a table of another form, or of other classes.
    """
    named = class_names(table)
    if (kind == "multiclass") != bool(named):
        have, need = ("y_score_<class> columns", "one y_score") if named else ("one y_score", "y_score_<class> columns")
        raise InputError(f"{where}: it has {have}, but the task is of kind {kind}, which needs {need}")
    if (kind == "time_to_event") != ("event" in table.columns):
        has = "it has" if "event" in table.columns else "it has no"
        raise InputError(f"{where}: {has} time and event, but the task is of kind {kind}")
    if named and classes and set(named) != set(classes):
        raise InputError(f"{where}: its classes are {', '.join(named)}, but those of the task are {', '.join(classes)}")
    if kind == "time_to_event":
        return table[["event", "time"]].to_numpy(dtype=float), table["y_score"].to_numpy(dtype=float)
    y_true = table["y_true"].to_numpy(dtype=float)
    if kind == "binary" and not np.isin(y_true, (0, 1)).all():
        raise InputError(f"{where}: {(~np.isin(y_true, (0, 1))).sum()} of {len(table)} y_true are neither 0 nor 1")
    if kind == "multiclass":
        return y_true, table[[f"{SCORE_OF_CLASS}{name}" for name in (classes or named)]].to_numpy(dtype=float)
    return y_true, table["y_score"].to_numpy(dtype=float)


def checked_predictions(table: pd.DataFrame, *, where: str = "predictions") -> pd.DataFrame:
    """`table`, sorted by patient and study.

    Raises:
        InputError: a missing column, columns of two forms, a study twice, a number that is not finite, probabilities
            that are none, a class that has no score, a time before the study, or an event that is not the truth.
    """
    named = [f"{SCORE_OF_CLASS}{name}" for name in class_names(table)]
    timed = any(name in table.columns for name in TIME_COLUMNS)
    if named and ("y_score" in table.columns or timed):
        also = ", ".join(name for name in ("y_score", *TIME_COLUMNS) if name in table.columns)
        raise InputError(
            f"{where}: it has {', '.join(named)} and {also}; a table has y_score_<class> for each class (multiclass), "
            f"or y_score, or y_score with time and event"
        )
    scores = named or ["y_score"]
    columns = [*ID_COLUMNS, "y_true", *scores, *(TIME_COLUMNS if timed else ()), *GROUP_COLUMNS]
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise InputError(f"{where}: no column {', '.join(absent)}; a predictions table has {', '.join(columns)}")
    twice = int(table["study_id"].duplicated().sum())
    if twice:
        raise InputError(f"{where}: {twice} studies stand in it more than once; one row per study")
    unknown = sorted(set(table["part"]) - set(PARTS))
    if unknown:
        raise InputError(f"{where}: part is {', '.join(map(repr, unknown))}; it must be one of {', '.join(PARTS)}")
    numbers = ["y_true", *scores, *(TIME_COLUMNS if timed else ())]
    table = table.assign(
        **{name: pd.to_numeric(table[name], errors="coerce").astype("float64") for name in numbers}
    ).sort_values(["patient_id", "study_id"], ignore_index=True)
    for name in numbers:
        _check(np.isfinite(table[name]), f"have no finite {name}", "every row needs one", where)
    if named:
        _check_classes(table, named, where)
    if timed:
        _check(table["event"].isin((0, 1)), "have another event than 1 (seen) or 0 (censored)", "give one", where)
        _check(table["event"] == table["y_true"], "have a y_true that is not their event", "both are the same", where)
        _check(table["time"] >= 0, "have a negative time", "it counts days from the study on", where)
        table = table.astype({"event": "int64"})
    return table


def _check_classes(table: pd.DataFrame, named: Sequence[str], where: str) -> None:
    if len(named) < 2:
        raise InputError(f"{where}: {named[0]} alone; a multiclass table has a column for each of two classes or more")
    known, probabilities = np.arange(len(named)), table[list(named)]
    rule = f"it is the place of a class among {', '.join(named)}, from 0 to {len(named) - 1}"
    _check(table["y_true"].isin(known), "have a y_true that is no class", rule, where)
    _check((probabilities >= 0).all(axis=1), "have a negative probability", "a probability is from 0 to 1", where)
    rule = f"over the classes they must, within {_SUM_WITHIN:g}; give probabilities, not logits"
    sums = probabilities.sum(axis=1)
    _check((sums - 1).abs() <= _SUM_WITHIN, "have probabilities that do not sum to 1", rule, where)


def _check(holds: pd.Series, what: str, rule: str, where: str) -> None:
    bad = int((~holds).sum())
    if bad:
        raise InputError(f"{where}: {bad} of {len(holds)} rows {what}; {rule}")


def save_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write the table as Parquet."""
    table.to_parquet(path, index=False)


def load_predictions(path: Path) -> pd.DataFrame:
    """The checked table in `path`.

    Raises:
        InputError: it cannot be read, or is not such a table.
    """
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is no readable Parquet table ({type(error).__name__}); copy it back, or make it again"
        ) from error
    return checked_predictions(table, where=str(path))
