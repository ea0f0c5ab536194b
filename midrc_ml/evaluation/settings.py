"""How predictions are scored: the config groups `evaluation` and `fairness`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from midrc_ml.cohorts.selection import GROUP_COLUMNS
from midrc_ml.errors import InputError, check_kinds, check_least
from midrc_ml.evaluation.recalibration import METHODS_OF_KIND
from midrc_ml.evaluation.thresholds import check_rule
from midrc_ml.predictions import ID_COLUMNS, SCORE_OF_CLASS, TIME_COLUMNS

INTERVALS = ("percentile", "bca")
LEAST_DRAWS, MOST_DRAWS = 100, 100_000
_NO_GROUPS = (*ID_COLUMNS, *TIME_COLUMNS, "y_true", "y_score")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How predictions are scored, and how sure of it one is.

    num_draws, seed: of the bootstrap of patients. interval: `percentile` or `bca`, of what is one number; a share with
    one study a patient has Wilson's, and what is a largest or a distance a simultaneous one. threshold: a rule that
    chooses it on the validation part (`thresholds.py`), or a number. recalibration: fitted on the validation part.
    """

    num_draws: int = 1000
    confidence: float = 0.95
    interval: str = "percentile"
    seed: int = 0
    threshold: Any = "youden"
    recalibration: str = "none"

    def __post_init__(self) -> None:
        check_kinds(self, "evaluation")
        check_least(self, "evaluation", seed=0)
        if not LEAST_DRAWS <= self.num_draws <= MOST_DRAWS:
            raise InputError(
                f"evaluation.num_draws is {self.num_draws}; it must be from {LEAST_DRAWS} to {MOST_DRAWS}: more change "
                f"no digit that is read"
            )
        if not 0.5 <= self.confidence < 1:
            raise InputError(
                f"evaluation.confidence is {self.confidence}; it must be at least 0.5 and below 1, as 0.95 for 95 %"
            )
        if self.interval not in INTERVALS:
            raise InputError(f"evaluation.interval is {self.interval!r}; it must be one of {', '.join(INTERVALS)}")
        methods = dict.fromkeys(name for names in METHODS_OF_KIND.values() for name in names)
        if self.recalibration not in methods:
            raise InputError(
                f"evaluation.recalibration is {self.recalibration!r}; it must be one of {', '.join(methods)}"
            )
        check_rule(self.threshold)


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """Which columns make groups, and which of them can be judged.

    columns: of the predictions table, any of them. intersections: lists of columns whose combinations are groups too.
    reference: {column: value}, what the gaps of that column are to; by default its largest group, as in MIDRC-MELODY.
    min_group_size: studies that a group needs to be given a value. max_groups: values of a column above which it makes
    no groups. positive_from: of ordinal and regression tasks, from which label and score on a study counts as positive
    for the equal opportunity and odds differences; null = these are not asked.
    """

    columns: Sequence[str] = field(default_factory=lambda: list(GROUP_COLUMNS))
    intersections: Sequence[Sequence[str]] = ()
    reference: Mapping[str, str] | None = None
    min_group_size: int = 10
    max_groups: int = 50
    positive_from: float | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "fairness")
        check_least(self, "fairness", min_group_size=0, max_groups=2)
        for columns in self.intersections:
            if isinstance(columns, str) or len(set(columns)) < 2:
                raise InputError(
                    f"fairness.intersections has {columns!r}; each is a list of two columns or more: [[sex, race]]"
                )
        for column in (*self.columns, *(column for columns in self.intersections for column in columns)):
            # A group's value stands in reports and in the tracker: an id or a score must not.
            if column in _NO_GROUPS or column.startswith((SCORE_OF_CLASS, "raw_score")):
                raise InputError(
                    f"fairness.columns or intersections (--by) has {column}, which is an id, a part, a truth or a "
                    f"score; groups are of columns such as {', '.join(GROUP_COLUMNS)}"
                )
        names = [*self.columns, *(INTERSECTION.join(columns) for columns in self.intersections)]
        if len(set(names)) < len(names):
            raise InputError(f"fairness.columns and intersections name {', '.join(names)}; name each of them once")
        strange = [name for name in self.reference or {} if name not in names]
        if strange:
            raise InputError(
                f"fairness.reference has {', '.join(strange)}; it is {{column: value}} for columns among "
                f"{', '.join(names) or 'fairness.columns, which is empty'}"
            )


INTERSECTION = " x "
