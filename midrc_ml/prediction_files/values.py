"""Labels and scores as numbers: what text may mean, what a score may be, and how many cells are neither."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from midrc_ml.errors import InputError
from midrc_ml.prediction_files.form import PredictionForm
from midrc_ml.tasks.task import Task

_NOT_NUMBERS = frozenset({"na", "n/a", "nan", "none", "null", "<na>", "-nan"})  # ways in which programs write a blank
_TRUE, _FALSE = ("true", "yes"), ("false", "no")
_SHOWN_VALUES, _LEAST_ROWS = 10, 11  # a value that fewer rows have could tell of a person
_FEW_LABELS = 3  # different ones: with more, between 0 and 1, they are scores
_SUM_WITHIN = 1e-3  # of 1: probabilities may have been stored in few digits


def numbers_of(texts: pd.Series, *, what: str, where: str) -> pd.Series:
    """The cells as float64, NaN where blank.

    Raises:
        InputError: cells that are neither numbers nor blank.
    """
    if not len(texts):
        return texts.astype("float64")
    lower = texts.str.lower()
    blank = texts.isna() | lower.isin(_NOT_NUMBERS)
    numbers = pd.to_numeric(texts.where(~blank, None), errors="coerce").astype("float64")
    strange = int((numbers.isna() & ~blank).sum())
    if strange:
        commas = texts[numbers.isna() & ~blank].str.fullmatch(r"-?\d+,\d+").all()
        rule = "write decimal points, not commas" if commas else "each must be a number, or blank"
        raise InputError(f"{where}: {strange} of {len(texts)} {what} are no numbers; {rule}")
    return numbers


def labels_of(texts: pd.Series, task: Task, form: PredictionForm, *, where: str) -> pd.Series:
    """y_true as the task counts it, NaN where blank.

    Text is read by `form.labels`; the names of a multiclass task's classes, and true or false of a binary task, need
    none.

    Raises:
        InputError: text that is no label, or a number that the task does not have.
    """
    lower = texts.str.lower() if len(texts) else texts
    blank = texts.isna() | lower.isin(_NOT_NUMBERS)
    if task.kind == "multiclass" and "none" in map(str.lower, task.classes):
        blank = texts.isna()
    known: dict[str, float] = {}
    if form.labels is not None:
        known = _by_text(form.labels)
    elif task.kind == "multiclass":
        known = {name.lower(): float(place) for place, name in enumerate(task.classes)}
    elif task.kind in ("binary", "time_to_event"):
        known = {"true": 1.0, "false": 0.0}
    plain = lower.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True) if len(texts.dropna()) else lower
    mapped = plain.map(known).astype("float64")
    numbers = mapped
    if form.labels is None:
        numbers = mapped.fillna(pd.to_numeric(texts.where(~blank, None), errors="coerce"))
    strange = numbers.isna() & ~blank
    if strange.any():
        raise InputError(_text_labels(texts, strange, task, form, where))
    _check_labels(numbers.dropna(), task, where)
    return numbers


def scores_of(texts: Mapping[str, pd.Series], task: Task, form: PredictionForm, *, where: str) -> pd.DataFrame:
    """The score columns as float64, scaled, and made probabilities where they are logits; NaN where blank.

    A score that is not finite stays as it is, and so do all that `check_scores` will refuse.

    Raises:
        InputError: cells that are no numbers, or a way of reading scores that the task's kind does not have.
    """
    kind = task.kind
    if form.scores != "as_given" and kind not in ("binary", "multiclass"):
        raise InputError(f"scores is {form.scores!r}, which is for probabilities, but the task is of kind {kind}")
    if form.scores == "rank" and kind == "multiclass":
        raise InputError("scores is 'rank', but a task with classes needs probabilities; scores=logit applies softmax")
    slope, intercept = form.slope_and_intercept()
    if kind == "multiclass" and (slope, intercept) != (1, 0):
        raise InputError("scale is given, but a task with classes needs probabilities; leave it out")
    frame = pd.DataFrame({name: numbers_of(cells, what=name, where=where) for name, cells in texts.items()})
    frame = frame * slope + intercept
    if form.scores != "logit":
        return frame
    values = frame.to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        if kind == "binary":
            made = 1 / (1 + np.exp(-values))
        else:
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            made = powers / powers.sum(axis=1, keepdims=True)
    return pd.DataFrame(np.where(np.isfinite(values), made, values), index=frame.index, columns=frame.columns)


def check_scores(scores: pd.DataFrame, task: Task, form: PredictionForm, *, where: str) -> None:
    """Refuse finite scores that are not what the task's kind needs: probabilities.

    Raises:
        InputError: with how many there are, and how to say what they are.
    """
    if task.kind not in ("binary", "multiclass") or form.scores == "rank":
        return
    values = scores.to_numpy()
    outside = (values < 0) | (values > 1)
    if outside.any():
        lowest, highest = float(values.min()), float(values.max())
        if lowest >= 0 and 1 < highest <= 100 and task.kind == "binary":
            guess = "per cent is said by scale.slope=0.01, logits by scores=logit, "
        else:
            guess = "logits are said by scores=logit, "
        also = "and scores of which only the order means something by scores=rank"
        if task.kind == "multiclass":
            guess, also = "logits are said by scores=logit", ""
        raise InputError(
            f"{where}: {int(outside.any(axis=1).sum())} of {len(scores)} rows have a score outside 0 to 1 "
            f"({int((values < 0).sum())} below 0, {int((values > 1).sum())} above 1), where a {task.kind} task needs "
            f"probabilities; {guess}{also}"
        )
    if task.kind == "multiclass":
        off = int((np.abs(values.sum(axis=1) - 1) > _SUM_WITHIN).sum())
        if off:
            raise InputError(
                f"{where}: {off} of {len(scores)} rows have probabilities that do not sum to 1 over the classes, "
                f"within {_SUM_WITHIN:g}; logits are said by scores=logit"
            )


def _by_text(labels: Mapping[Any, Any]) -> dict[str, float]:
    known: dict[str, float] = {}
    for value, number in labels.items():
        # YAML reads a bare yes or no as true or false.
        names = (_TRUE if value else _FALSE) if isinstance(value, bool) else (str(value).lower(),)
        known |= dict.fromkeys(names, float(number))
    return known


def _text_labels(texts: pd.Series, strange: pd.Series, task: Task, form: PredictionForm, where: str) -> str:
    values = texts[strange].value_counts()
    shown = [str(value) for value, count in values.items() if count >= _LEAST_ROWS]
    named = f" ({', '.join(sorted(shown))})" if len(shown) == len(values) <= _SHOWN_VALUES else ""
    some = (
        f"{where}: y_true is text in {int(strange.sum())} of {len(texts)} rows, {len(values)} different values{named}"
    )
    if form.labels is not None:
        return f"{some}, which labels does not name; it names {', '.join(map(str, form.labels))}"
    if task.kind == "multiclass":
        return f"{some}; it is a class of the task ({', '.join(task.classes)}), its place from 0 on, or in labels"
    example = (
        "'labels={no: 0, yes: 1}'" if task.kind in ("binary", "time_to_event") else "'labels={mild: 1, severe: 2}'"
    )
    return f"{some}; say what number each of them is: {example}"


def _check_labels(numbers: pd.Series, task: Task, where: str) -> None:
    values = numbers.to_numpy()
    if task.kind in ("binary", "time_to_event"):
        good = np.isin(values, (0, 1))
        rule = "are neither 0 nor 1; say what they are: 'labels={1: 0, 2: 1}'"
        if np.unique(values).size > _FEW_LABELS and ((values >= 0) & (values <= 1)).all():
            rule = "are neither 0 nor 1, but between: were the columns of y_true and y_score swapped?"
    elif task.kind == "multiclass":
        good = np.isin(values, np.arange(len(task.classes)))
        rule = f"are no place of a class, from 0 ({task.classes[0]}) to {len(task.classes) - 1} ({task.classes[-1]})"
    elif task.kind == "ordinal":
        good = np.isfinite(values) & (values >= 0)
        rule = f"are below 0 or not finite; the grades of an {task.kind} task count from 0"
    else:
        good = np.isfinite(values)
        rule = "are not finite"
    if not good.all():
        raise InputError(f"{where}: {int((~good).sum())} of {len(values)} y_true {rule}")


def is_missing(scores: pd.DataFrame) -> pd.Series:
    """Rows without a finite score in every column."""
    return pd.Series(~np.isfinite(scores.to_numpy()).all(axis=1), index=scores.index)


def missing_in_words(scores: pd.DataFrame, absent: int) -> Sequence[str]:
    """How many studies have no score, by how it is missing. absent: of the split or truth, without a row."""
    values = scores.to_numpy()
    infinite = int(np.isinf(values).any(axis=1).sum())
    blank = int(is_missing(scores).sum()) - infinite
    counts = ((absent, "without a row"), (blank, "blank or NaN"), (infinite, "infinite"))
    return [f"{count} {how}" for count, how in counts if count]
