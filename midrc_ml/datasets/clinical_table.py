"""The clinical table of studies: what was known of a patient when the study was read; and as numbers for a network.

What becomes known only later is refused by name: outcomes, the label, days that count from an event in the future.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np
import pandas as pd

from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.datasets.clinical_events import EventInput, as_numbers, fits
from midrc_ml.errors import InputError, check_kinds
from midrc_ml.tables.schemas import AGE_OVER_89, CASE_FLAGS
from midrc_ml.tasks.task import Task

AGE = "age"
OF_PATIENT = ("sex", "race", "ethnicity")
OF_IMAGE = ("view", "modality", "manufacturer", "loinc_method")
COLUMNS = (AGE, *OF_PATIENT, *OF_IMAGE, "site")
_REFUSED = {
    **dict.fromkeys(CASE_FLAGS, "undated: it may tell of a time after the study"),
    **dict.fromkeys(("label", "time", "y_true", "part"), "it is what is asked for, or made of it"),
    **dict.fromkeys(("case_id", "patient_id", "study_id", "series_id", "further_cases", "file"), "it names a patient"),
    "day": "it counts from an event that may come after the study",
    "arrival_date": "it is the date of a batch of data, not of the patient",
    "age_band": "it is made of age; take age",
}
# ICD-10-CM codes for COVID-19 and what is left of it: as good as a positive test.
COVID_CODES = ("U07.1", "U07.2", "U09.9", "J12.82", "B97.29", "B94.8", "G93.32", "M35.81", "Z86.16")
_MAX_CATEGORIES = 50
_QUANTILES = (0.01, 0.99)
_FARTHEST = 10.0  # standard deviations
_SHOWN = 10  # of a list in a sentence
_FORM = 1  # of `Encoder.as_dict`; add 1 whenever the same table would be encoded otherwise


@dataclass(frozen=True, kw_only=True)
class ClinicalTable:
    """What is read of the tables for each study, or for each case where a task is asked case by case.

    columns: of the study and its case. age is that at imaging in years, 90 = over 89. events: {kind: settings of
    `EventInput`}.
    """

    columns: Sequence[str] = field(default_factory=lambda: [AGE, "sex"])
    events: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_kinds(self, "clinical")
        for name in self.columns:
            if name not in COLUMNS:
                why = f"it is no input: {_REFUSED[name]}" if name in _REFUSED else "there is no such column"
                raise InputError(f"clinical.columns has {name!r}: {why}; take some of {', '.join(COLUMNS)}")
        if len(set(self.columns)) < len(self.columns):
            raise InputError(f"clinical.columns is {list(self.columns)}; each column is named once")
        if not isinstance(self.events, Mapping):
            raise InputError(f"clinical.events is {self.events!r}; it must be {{kind: settings}}")
        if not self.columns and not self.events:
            raise InputError("clinical.columns and clinical.events are empty; give some, or clinical=none")
        for kind, settings in self.events.items():
            _event_input(kind, settings)

    @property
    def inputs(self) -> list[EventInput]:
        """The kinds of events that are read."""
        return [_event_input(kind, settings) for kind, settings in self.events.items()]

    def check_task(self, task: Task) -> None:
        """Refuse inputs that hold the label of this task.

        Raises:
            InputError: naming them.
        """
        of_covid = "covid_test" in task.needs or task.settings.get("column") in ("covid_ever", "long_covid")
        for asked in self.inputs:
            where = f"clinical.events.{asked.kind}"
            if asked.kind in task.needs or (asked.kind == "covid_test" and of_covid):
                raise InputError(f"{where}: task={task.name} takes its label from such events; leave the kind out")
            if asked.kind != "condition" or not of_covid:
                continue
            named = [name for patterns in asked.patterns.values() for name in patterns]
            if asked.names is None:
                raise InputError(
                    f"{where}.names is null, and task={task.name} asks for a disease that has codes of its own "
                    f"({', '.join(COVID_CODES)}); give the names of other conditions"
                )
            codes = [code for code in COVID_CODES if fits(code, named)]
            if codes:
                raise InputError(
                    f"{where}.names holds {', '.join(codes)}, which is the answer to task={task.name}; take it out"
                )

    def read(self, tables: Tables, rows: pd.DataFrame, *, notes: list[str] | None = None) -> pd.DataFrame:
        """What the tables say of `rows` (as of `Task.labelled_studies`): one row each, in their order, index 0...

        age and events of which numbers are taken are float64 with NaN; all else is text as it stands, missing where
        nothing is known. Which texts are numbers is for `Encoder.fit` to find, on training rows. notes: gets a
        sentence for what could not be read.

        Raises:
            InputError: an event that is known only later, or more names than anybody chose.
        """
        notes = [] if notes is None else notes
        rows = rows.reset_index(drop=True)
        of_rows = {name: self._column(tables, rows, name) for name in self.columns}
        frames = [pd.DataFrame(of_rows, index=rows.index)]
        frames += [asked.read(tables.events, rows, notes) for asked in self.inputs]
        return pd.concat(frames, axis=1)

    def _column(self, tables: Tables, rows: pd.DataFrame, name: str) -> pd.Series:
        if name not in rows:  # of studies, where a task is asked case by case
            return pd.Series(None, index=rows.index, dtype="str")
        if name != AGE:
            return rows[name].astype("str").where(rows[name].notna() & (rows[name] != NOT_REPORTED))
        over_89 = rows["case_id"].map(tables.cases.set_index("case_id")["age_over_89"]).astype("boolean").fillna(False)
        return rows[AGE].astype("float64").mask(rows[AGE].isna() & over_89, AGE_OVER_89)


def _event_input(kind: str, settings: Mapping[str, Any] | None) -> EventInput:
    known = [setting.name for setting in fields(EventInput) if setting.name != "kind"]
    given = {} if settings is None else settings
    if not isinstance(given, Mapping):
        raise InputError(f"clinical.events.{kind} is {given!r}; it must be settings: {', '.join(known)}")
    unknown = [str(name) for name in given if name not in known]
    if unknown:
        raise InputError(f"clinical.events.{kind}.{unknown[0]}: there is no such setting; it has {', '.join(known)}")
    return EventInput(kind=kind, **given)


def no_table() -> None:
    """`clinical=none`: a run that reads no clinical table."""


@dataclass(frozen=True, kw_only=True)
class EncodedColumn:
    """How one column becomes features.

    number: limited to low..high, then less `mean` and divided by `deviation`. category: 1 for its own of `categories`.
    tells_missing: a feature more, 1 = known, 0 = missing; where training misses nothing it would teach nothing.
    """

    name: str
    kind: Literal["number", "category"]
    tells_missing: bool
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    categories: tuple[str, ...] = ()

    @classmethod
    def fit(cls, values: pd.Series) -> "EncodedColumn":
        """Of the training rows, in which at least one value is known."""
        numbers = _numbers(values)
        known = numbers.dropna().to_numpy()
        if 2 * len(known) < values.notna().sum():
            counts = values.value_counts()  # of equally frequent ones the first by its letters
            kept = sorted(counts.index, key=lambda word: (-counts[word], word))[:_MAX_CATEGORIES]
            categories = tuple(sorted(kept))
            is_known = values.isin(categories)
            return cls(name=str(values.name), kind="category", tells_missing=not is_known.all(), categories=categories)
        low, high = np.quantile(known, _QUANTILES)
        if low == high:  # nearly all are one number, as of a rare yes
            low, high = known.min(), known.max()
        limited = known.clip(low, high)
        return cls(
            name=str(values.name),
            kind="number",
            tells_missing=len(known) < len(values),
            low=float(low),
            high=float(high),
            mean=float(limited.mean()),
            deviation=float(limited.std()),
        )

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        values = [self.name] if self.kind == "number" else [f"{self.name}={word}" for word in self.categories]
        return (*values, *([f"{self.name} known"] if self.tells_missing else []))

    def encode(self, values: pd.Series) -> np.ndarray:
        """float64 (row, feature); 0 in every feature of what is missing."""
        if self.kind == "category":
            encoded = np.stack([values.eq(word).fillna(False).to_numpy(bool) for word in self.categories], axis=1)
            known = encoded.any(axis=1)
        else:
            numbers = _numbers(values).to_numpy()
            known = np.isfinite(numbers)
            scaled = (numbers.clip(self.low, self.high) - self.mean) / (self.deviation or 1.0)
            scaled = scaled.clip(-_FARTHEST, _FARTHEST) if self.deviation else np.zeros(len(numbers))
            encoded = np.where(known, scaled, 0.0)[:, None]
        return np.column_stack([encoded, known]) if self.tells_missing else encoded.astype("float64")


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A clinical table as numbers for a network, by what its training rows teach alone.

    Numbers are limited to the 1st to 99th percentile of training (a laboratory value may be a thousand times another),
    then standardised by the mean and deviation of that. Categories are those of training, at most the 50 most frequent
    ones of a column. What is missing, or in no category, is 0 in all features of its column: the mean, or no category;
    a row of which nothing is known is all zeros. left_out: columns in which training knows nothing.
    """

    columns: tuple[EncodedColumn, ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def fit(cls, frame: pd.DataFrame) -> "Encoder":
        """The encoder of these training rows (of `ClinicalTable.read`).

        Raises:
            InputError: nothing is known of any of them.
        """
        taught = [name for name in frame if frame[name].notna().any()]
        if not taught:
            raise InputError(
                f"clinical: of {len(frame)} training studies the table says nothing in {len(frame.columns)} columns; "
                f"give other clinical.columns or clinical.events (within_days, undated), or clinical=none"
            )
        left_out = tuple(str(name) for name in frame if name not in taught)
        return cls(columns=tuple(EncodedColumn.fit(frame[name]) for name in taught), left_out=left_out)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """In the order of the features."""
        return tuple(name for column in self.columns for name in column.features)

    @property
    def num_features(self) -> int:
        """How many there are."""
        return len(self.feature_names)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """float32 (study, feature). A column that `frame` has not is missing; one that training had not is not read."""
        return np.concatenate(
            [column.encode(_of(frame, column.name)) for column in self.columns], axis=1, dtype=np.float32
        )

    def words(self, frame: pd.DataFrame) -> str:
        """What is missing in `frame`, in a sentence for the log: columns and counts, no value."""
        missing = pd.Series({column.name: int(_of(frame, column.name).isna().sum()) for column in self.columns})
        told = [f"{name} {count}" for name, count in missing.sort_values(ascending=False, kind="stable").items()]
        nothing = int(frame.isna().all(axis=1).sum())
        left_out = f"; without a value in training, and left out: {_some(self.left_out)}" if self.left_out else ""
        return (
            f"Clinical table: {len(self.columns)} columns as {self.num_features} features; of {len(frame)} studies "
            f"{nothing} have no value at all; missing: {_some(told)}{left_out}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON or a checkpoint."""
        return {"form": _FORM, "columns": [asdict(column) for column in self.columns], "left_out": list(self.left_out)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Encoder":
        """The encoder of what `as_dict` gave.

        Raises:
            InputError: it was made by another version, or is damaged.
        """
        try:
            if values["form"] != _FORM:
                raise InputError(
                    f"clinical encoder: form {values['form']!r} is of another version, not {_FORM}; train again"
                )
            columns = [
                EncodedColumn(**{**column, "categories": tuple(column["categories"])}) for column in values["columns"]
            ]
            return cls(columns=tuple(columns), left_out=tuple(values["left_out"]))
        except (KeyError, TypeError) as error:
            raise InputError(f"clinical encoder: it is damaged ({type(error).__name__}); train again") from error


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _of(frame: pd.DataFrame, name: str) -> pd.Series:
    return frame[name] if name in frame else pd.Series(None, index=frame.index, dtype="str", name=name)


def _numbers(values: pd.Series) -> pd.Series:
    return values.astype("float64") if pd.api.types.is_numeric_dtype(values.dtype) else as_numbers(values)
