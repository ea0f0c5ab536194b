"""From the columns of a file to ours: by the names that were given, else by our own."""

import difflib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from midrc_ml.cohorts.selection import GROUP_COLUMNS, NOT_REPORTED, age_band
from midrc_ml.errors import InputError
from midrc_ml.prediction_files.form import COLUMNS, PredictionForm
from midrc_ml.prediction_files.table import FileTable
from midrc_ml.predictions import SCORE_OF_CLASS

_ALSO = {"y_true": ("label",)}  # further names that need not be said
_BLANK = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>", "unknown", NOT_REPORTED.lower()})


@dataclass(frozen=True)
class FileColumns:
    """The columns of a predictions file and, where the truth stands in a file of its own, of that one.

    form: which column is which.
    """

    file: FileTable
    truth: FileTable | None
    form: PredictionForm

    @functools.cached_property
    def study_ids(self) -> pd.Series:
        """Of the rows of the predictions file.

        Raises:
            InputError: no such column, a blank id, one that the pattern does not fit, or a study twice.
        """
        return self._ids_in(self.file)

    @functools.cached_property
    def truth_ids(self) -> pd.Series | None:
        """Of the rows of the truth's file; None where there is none. Raises what `study_ids` does."""
        return None if self.truth is None else self._ids_in(self.truth)

    def _ids_in(self, table: FileTable) -> pd.Series:
        name = self._name_in(table, "study_id")
        if name is None:
            raise InputError(
                f"{table.where}: no column {self._asked('study_id')}; {table.column_names}; name the one that holds "
                f"the id of the study (or image): columns.study_id=NAME"
            )
        ids = table.texts(name)
        _refuse(ids.isna(), table.where, "have no study id", "each row is a study, known by its id")
        pattern = self.form.id_pattern()
        if pattern is not None:
            found = ids.str.extract(f"^(?:{pattern.pattern})$", expand=False)
            if table is self.file:
                rule = f"all of it has to fit study_id_pattern, which is {pattern.pattern!r}"
                _refuse(found.isna(), table.where, "have a study id of another form", rule)
            ids = found.fillna(ids)
        twice = ids.duplicated()
        if twice.any():
            raise InputError(
                f"{table.where}: {ids[twice].nunique()} studies stand in it more than once ({len(ids)} rows, "
                f"{ids.nunique()} studies); give one row per study, as the mean over its images"
            )
        return ids.astype(str)

    def texts(self, column: str) -> pd.Series | None:
        """The cells of one of our columns by study id; None where neither file has it. The truth's file goes first."""
        for table in (self.truth, self.file):
            if table is None:
                continue
            name = self._name_in(table, column)
            if name is not None:
                return table.texts(name).set_axis(self._ids_of(table))
        self._check_named(column)
        return None

    def further(self, column: str) -> pd.Series:
        """A column that is none of ours, by study id.

        Raises:
            InputError: neither file has it.
        """
        for table in (self.truth, self.file):
            if table is not None and table.has(column):
                return table.texts(column).set_axis(self._ids_of(table))
        near = self._near(column)
        raise InputError(f"fairness or readers: no column {column} in {self._places}{near}; {self.file.column_names}")

    def _ids_of(self, table: FileTable) -> pd.Series:
        ids = self.truth_ids if table is self.truth else self.study_ids
        assert ids is not None
        return ids

    def scores(self, classes: Sequence[str]) -> dict[str, pd.Series]:
        """The cells of each score column, by its name in a predictions table.

        classes: of a multiclass task.

        Raises:
            InputError: a score column that is not there, or columns of a task of another kind.
        """
        given = self.form.columns.get("y_score")
        if not classes:
            return {"y_score": self.file.texts(self._score_column(given))}
        if given is not None and not isinstance(given, Mapping):
            raise InputError(
                f"columns.y_score is {given!r}, but the task has the classes {', '.join(classes)}; name a column for "
                f"each: 'columns.y_score={{{classes[0]}: COLUMN, ...}}'"
            )
        names = {str(key): name for key, name in (given or {}).items()}
        if names and set(names) != set(classes):
            raise InputError(f"columns.y_score names {', '.join(names)}, but the task has {', '.join(classes)}")
        found, absent = {}, []
        for of_class in classes:
            name = names.get(of_class, f"{SCORE_OF_CLASS}{of_class}")
            if self.file.has(name):
                found[f"{SCORE_OF_CLASS}{of_class}"] = self.file.texts(name)
            else:
                absent.append(name)
        if absent:
            raise InputError(
                f"{self.file.where}: no column {', '.join(absent)}; {self.file.column_names}; a task with classes "
                f"needs a probability of each: 'columns.y_score={{{classes[0]}: COLUMN, ...}}'"
            )
        return found

    def score_name(self) -> str | None:
        """The file's own name of the one score column; None where it is called as ours, or there are several."""
        given = self.form.columns.get("y_score")
        name = None if isinstance(given, Mapping) else self._name_in(self.file, "y_score")
        return None if name == "y_score" else name

    def _score_column(self, given: Any) -> str:
        if isinstance(given, Mapping):
            raise InputError(
                f"columns.y_score is {dict(given)!r}, but the task has no classes; name one column: "
                f"columns.y_score=NAME"
            )
        name = self._name_in(self.file, "y_score")
        if name is not None:
            return name
        of_classes = [column for column in self.file.frame.columns if str(column).startswith(SCORE_OF_CLASS)]
        if of_classes and given is None:
            raise InputError(
                f"{self.file.where}: it has {', '.join(of_classes)}, the scores of a task with classes, and this task "
                f"has none; give the task that it is of, or name one column: columns.y_score={of_classes[-1]}"
            )
        others = [] if self.file.has_no_header else self._unused()  # whose names would be a patient's values
        several = ""
        if given is None and len(others) > 1 and len(others) <= 10:
            several = f", or all in turn: -m columns.y_score={','.join(others)}"
        raise InputError(
            f"{self.file.where}: no column {self._asked('y_score')}; {self.file.column_names}; name the one that holds "
            f"the score: columns.y_score={others[0] if len(others) == 1 else 'NAME'}{several}"
        )

    def _unused(self) -> list[str]:
        """Columns of numbers in the predictions file that are nothing else."""
        used = {self._name_in(self.file, column) for column in COLUMNS}
        names = [name for name in self.file.frame.columns if name not in used]
        return [name for name in names if pd.to_numeric(self.file.texts(name), errors="coerce").notna().mean() > 0.5]

    def _name_in(self, table: FileTable, column: str) -> str | None:
        """The table's own name of one of our columns."""
        given = self.form.columns.get(column)
        if given is None:
            return next((name for name in (column, *_ALSO.get(column, ())) if table.has(name)), None)
        alternatives = [given] if isinstance(given, str) else list(map(str, given)) if _is_list(given) else [str(given)]
        for name in alternatives:
            if table.has(name):
                return name
            if name in ("study_id", "patient_id") and name != column:  # of ours: a study is a patient of its own
                return self._name_in(table, name)
        return None

    def _check_named(self, column: str) -> None:
        """Refuse one single name that was given and is in no file: a slip of the pen, not a column that is absent."""
        given = self.form.columns.get(column)
        if isinstance(given, str):
            near = self._near(given)
            raise InputError(
                f"columns.{column}={given}: no such column in {self._places}{near}; {self.file.column_names}"
            )

    def _near(self, name: str) -> str:
        tables = [table for table in (self.truth, self.file) if table is not None and not table.has_no_header]
        names = [str(found) for table in tables for found in table.frame.columns]
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        return f", did you mean {close[0]}?" if close else ""

    @property
    def _places(self) -> str:
        return self.file.where + (f" and {self.truth.where}" if self.truth is not None else "")

    def _asked(self, column: str) -> str:
        given = self.form.columns.get(column)
        return column if given is None else " or ".join(map(str, given)) if _is_list(given) else str(given)


def group_texts(columns: FileColumns, further: Sequence[str]) -> dict[str, pd.Series]:
    """What the files say of each group column, and of further ones, by study id; blank cells are `Not Reported`.

    A column that no file has is not in it. Where only the age in years is there, it gives the age band.
    """
    found = {name: values for name in GROUP_COLUMNS if (values := columns.texts(name)) is not None}
    if "age_band" not in found and (age := columns.texts("age")) is not None:
        found["age_band"] = age_band(pd.to_numeric(age, errors="coerce"))
    found |= {name: columns.further(name) for name in further if name not in GROUP_COLUMNS}
    return {name: reported(values) for name, values in found.items()}


def reported(values: pd.Series) -> pd.Series:
    """Text, with one word for all the ways in which a file can say that nothing was reported."""
    texts = values.astype(object).where(values.notna(), "").astype(str)
    return texts.astype(object).where(~texts.str.lower().isin(_BLANK), NOT_REPORTED)


def _refuse(bad: pd.Series, where: str, what: str, rule: str) -> None:
    count = int(bad.sum())
    if count:
        raise InputError(f"{where}: {count} of {len(bad)} rows {what}; {rule}")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
