"""How many patients an estimate rests on: by these goes the allowance that its interval makes for few patients.

A metric of two classes rests on the patients of the rarer one, as does a mean over classes; one of the positives alone
(sensitivity) on these, of the negatives alone (specificity) on those. A function says so by `metric.rests_on`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

EVERYONE, POSITIVE, NEGATIVE, RARER_CLASS = "everyone", "positive", "negative", "rarer class"
WHOSE = (EVERYONE, POSITIVE, NEGATIVE, RARER_CLASS)
_OF_KIND = {"binary": RARER_CLASS, "time_to_event": POSITIVE}


def rests_on(metric: Any, kind: str) -> str:
    """Whose patients count for `metric` in a task of this kind."""
    told = getattr(getattr(metric, "func", metric), "rests_on", None)
    return str(told) if told is not None else _OF_KIND.get(kind, EVERYONE)


def patients_by(truth: NDArray[np.float64], patient: NDArray[np.int64], kind: str) -> dict[str, int]:
    """{whose: number of patients} of some studies. truth: (study,), of time-to-event tasks the event."""
    found = {EVERYONE: _num_distinct(patient)}
    if kind in ("binary", "time_to_event"):
        found |= {POSITIVE: _num_distinct(patient[truth == 1]), NEGATIVE: _num_distinct(patient[truth == 0])}
        found[RARER_CLASS] = min(found[POSITIVE], found[NEGATIVE])
    elif kind == "multiclass":
        found[RARER_CLASS] = min((_num_distinct(patient[truth == one]) for one in np.unique(truth)), default=0)
    return found


def _num_distinct(numbers: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(np.bincount(numbers))) if len(numbers) else 0
