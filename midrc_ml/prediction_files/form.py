"""How a predictions file is laid out: which column is which, what its values mean, and what may be left out."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

from midrc_ml.cohorts.selection import GROUP_COLUMNS
from midrc_ml.errors import InputError, check_kinds
from midrc_ml.splits.manifest import PARTS

IDS = ("study_id", "patient_id", "case_id")
COLUMNS = (*IDS, "part", "y_true", "y_score", "time", "event", "age", *GROUP_COLUMNS)
_SCORES = ("as_given", "logit", "rank")
_RULES = {"missing": ("refuse", "drop", "worst"), "unknown": ("refuse", "drop"), "unlabelled": ("refuse", "drop")}


@dataclass(frozen=True, kw_only=True)
class PredictionForm:
    """How a predictions file is to be read.

    columns: {our name: the file's}, or a list of names of which the first that is there counts, or for `y_score` of
    classes {class: the file's}; a name that is not given is ours. study_id_pattern: a regular expression that a
    whole study id fits, whose group is the id that is meant. labels: {value of y_true: number}. scores: `as_given`;
    `logit` = the logistic function (softmax over classes) makes them probabilities; `rank` = only their order means
    something. scale: {slope, intercept}, applied to y_score before anything else; numbers or fractions such as 8/18.
    part: of every row; None = the part column, or test where there is none. missing: studies without a score, or with
    one that is not finite: `refuse`, `drop`, or `worst` = the score farthest from the truth (binary). unknown:
    studies that neither the split nor the truth has. unlabelled: rows without y_true.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    study_id_pattern: str | None = None
    labels: Mapping[Any, Any] | None = None
    scores: str = "as_given"
    scale: Mapping[str, Any] | None = None
    part: str | None = None
    missing: str = "refuse"
    unknown: str = "refuse"
    unlabelled: str = "refuse"

    def __post_init__(self) -> None:
        check_kinds(self, "form")
        strange = [name for name in self.columns if name not in COLUMNS]
        if strange:
            raise InputError(f"columns.{strange[0]}: there is no such column; columns are {', '.join(COLUMNS)}")
        for name, allowed in {"scores": _SCORES, **_RULES}.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        if self.part is not None and self.part not in PARTS:
            raise InputError(f"part is {self.part!r}; it must be one of {', '.join(PARTS)}")
        if self.labels is not None:
            _check_labels(self.labels)
        self.slope_and_intercept()
        self.id_pattern()

    def slope_and_intercept(self) -> tuple[float, float]:
        """What y_score is multiplied by, and what is then added.

        Raises:
            InputError: `scale` has other keys, or no numbers.
        """
        scale = dict(self.scale or {})
        strange = [name for name in scale if name not in ("slope", "intercept")]
        if strange:
            raise InputError(f"scale.{strange[0]}: there is no such setting; scale has slope and intercept")
        slope, intercept = _number(scale.get("slope"), "slope", 1.0), _number(scale.get("intercept"), "intercept", 0.0)
        if slope == 0:
            raise InputError(
                "scale.slope is 0, which makes all scores the same; leave scale out, or give another slope"
            )
        return slope, intercept

    def id_pattern(self) -> re.Pattern[str] | None:
        """`study_id_pattern`, compiled.

        Raises:
            InputError: not a regular expression, or not one group in it.
        """
        if self.study_id_pattern is None:
            return None
        try:
            pattern = re.compile(self.study_id_pattern)
        except re.error as error:
            raise InputError(
                f"study_id_pattern is {self.study_id_pattern!r}, no regular expression: {error}"
            ) from error
        if pattern.groups != 1:
            raise InputError(
                f"study_id_pattern is {self.study_id_pattern!r}, with {pattern.groups} groups; one group is the id, as "
                f"the digits are in '(\\d+)\\.jpg'"
            )
        return pattern


FORM_SETTINGS = tuple(setting.name for setting in fields(PredictionForm))


def _check_labels(labels: Mapping[Any, Any]) -> None:
    if not isinstance(labels, Mapping) or not labels:
        raise InputError(f"labels is {labels!r}; it is {{value: number}}, as in 'labels={{no: 0, yes: 1}}'")
    for value, number in labels.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise InputError(f"labels gives {value} the value {number!r}; each is a number, as in 'labels={{no: 0}}'")


def _number(value: Any, name: str, default: float) -> float:
    if value is None:
        return default
    try:
        number = math.nan if isinstance(value, bool) else float(Fraction(str(value)))
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"scale.{name} is {value!r}; it must be a number, or a fraction such as 8/18")
    return number
