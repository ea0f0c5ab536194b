"""What decides which epoch is kept, and when training stops early."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.errors import InputError

WORST_GROUP = "worst_group_"


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """The value of the validation part by which epochs are compared.

    metric: None = the validation loss. metrics: all that are told of each epoch, by name. columns: where there are
    any, the value is that of the worst group, and a group is the studies that share a value of one of them.
    min_group_size: studies that a group needs to be looked at. groups: its rows in the validation part, by name.
    """

    name: str
    metric: Callable[..., Any] | None
    lower_is_better: bool
    metrics: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    columns: Sequence[str] = ()
    min_group_size: int = 0
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        metrics: Mapping[str, Callable[..., Any]],
        *,
        lower_is_better: bool,
        columns: Sequence[str] = (),
        min_group_size: int = 0,
    ) -> "Monitor":
        """`loss`, or a metric of the task that needs nothing but truth and score, overall or of the worst group.

        Raises:
            InputError: no such metric, or no columns that would make groups.
        """
        usable = {
            known: metric
            for known, metric in metrics.items()
            if "threshold" not in inspect.signature(metric).parameters
        }
        if name == "loss":
            return cls(name=name, metric=None, lower_is_better=True, metrics=usable)
        metric = usable.get(name.removeprefix(WORST_GROUP))
        if metric is None:
            raise InputError(
                f"training.monitor is {name!r}; for this task it must be loss or one of {', '.join(usable)}, or "
                f"{WORST_GROUP} and one of these, such as {WORST_GROUP}{next(iter(usable), '...')}"
            )
        if not name.startswith(WORST_GROUP):
            return cls(name=name, metric=metric, lower_is_better=lower_is_better, metrics=usable)
        if not columns:
            raise InputError(
                f"training.monitor is {name!r}, but fairness.columns is empty; give columns that make the groups, "
                f"such as fairness.columns=[sex]"
            )
        return cls(
            name=name,
            metric=metric,
            lower_is_better=lower_is_better,
            metrics=usable,
            columns=tuple(columns),
            min_group_size=min_group_size,
        )

    def on(self, studies: pd.DataFrame) -> "Monitor":
        """The same, with the groups of these studies, which are those of the validation part.

        Raises:
            InputError: no group is large enough.
        """
        if not self.columns:
            return self
        groups: dict[str, np.ndarray] = {}
        for column in self.columns:
            values = studies[column].astype(object).fillna(NOT_REPORTED).astype(str).to_numpy()
            groups |= {f"{column} {value}": np.flatnonzero(values == value) for value in sorted(set(values))}
        large = {name: rows for name, rows in groups.items() if len(rows) >= self.min_group_size}
        if not large:
            raise InputError(
                f"training.monitor is {self.name!r}, but none of the {len(groups)} groups by "
                f"{', '.join(self.columns)} has {self.min_group_size} of the {len(studies)} validation studies; lower "
                f"fairness.min_group_size, or give other fairness.columns or another monitor"
            )
        return replace(self, groups=large)

    def value(self, truth: np.ndarray, score: np.ndarray, loss: float) -> float:
        """The watched value; of groups the worst of those that can be estimated, NaN where none can."""
        metric = self.metric
        if metric is None:
            return loss
        if not self.groups:
            return float(metric(truth, score))
        values = [float(metric(truth[rows], score[rows])) for rows in self.groups.values()]
        known = [value for value in values if not math.isnan(value)]
        return (max if self.lower_is_better else min)(known, default=math.nan)

    def better(self, value: float, than: float) -> bool:
        """Whether `value` beats `than`; a value that cannot be estimated never does."""
        if math.isnan(value):
            return False
        return math.isnan(than) or (value < than if self.lower_is_better else value > than)
