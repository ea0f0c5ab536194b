"""What was settled on the validation part, and is carried to the test part and to other cohorts: `decision.json`.

Scores are recalibrated first, and the threshold is chosen on, and holds for, recalibrated scores.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from midrc_ml.errors import InputError
from midrc_ml.evaluation.recalibration import Recalibration, fit_recalibration
from midrc_ml.evaluation.thresholds import check_rule, choose_threshold
from midrc_ml.evaluation.weighted import Array

FILE_NAME = "decision.json"
GIVEN = "given"
NO_RULE = "none"
_KEYS = ("threshold", "threshold_rule", "chosen_on", "n", "n_positive", "recalibration")


@dataclass(frozen=True)
class Decision:
    """The threshold and recalibration of a model.

    threshold: NaN where none could be chosen, or the task has none. rule: in words, `none` for a task without one.
    chosen_on: the part, `given` for a number from the config, or the run that it was taken over from. n, n_positive:
    of the studies that it was settled on; n_positive is None for tasks without positives or events.
    """

    threshold: float
    rule: str
    chosen_on: str
    n: int
    n_positive: int | None
    recalibration: Recalibration = field(default_factory=Recalibration)

    @classmethod
    def of_validation(
        cls,
        y_true: ArrayLike,
        y_score: ArrayLike,
        *,
        kind: str,
        rule: Any = "youden",
        recalibration: str = "none",
        chosen_on: str = "validation",
    ) -> "Decision":
        """Fit the recalibration on these studies, then choose the threshold on their recalibrated scores.

        y_true, y_score: as the metrics of a task of this kind take them, `predictions.truth_and_score`. rule: the
        setting `evaluation.threshold`, of binary tasks only. recalibration: the name of a method.

        Raises:
            InputError: a wrong rule, or a recalibration that does not fit the kind or cannot be fitted.
        """
        fitted = fit_recalibration(recalibration, y_true, y_score, kind)
        truth = np.asarray(y_true, dtype=np.float64)
        event = truth[:, 0] if kind == "time_to_event" else truth
        num_positive = int((event == 1).sum()) if kind in ("binary", "time_to_event") else None
        if kind != "binary":
            return cls(math.nan, NO_RULE, chosen_on, len(truth), num_positive, fitted)
        checked = check_rule(rule)
        threshold = choose_threshold(checked, truth, fitted.apply(y_score))
        where = GIVEN if checked.name == "number" else chosen_on
        return cls(threshold, str(checked), where, len(truth), num_positive, fitted)

    def apply_recalibration(self, y_score: ArrayLike) -> Array:
        """The recalibrated scores: (study,) or (study, class)."""
        return self.recalibration.apply(y_score)

    def save(self, folder: Path) -> None:
        """Write `decision.json`; a threshold that could not be chosen is null."""
        stored = {
            "threshold": None if math.isnan(self.threshold) else self.threshold,
            "threshold_rule": self.rule,
            "chosen_on": self.chosen_on,
            "n": self.n,
            "n_positive": self.n_positive,
            "recalibration": self.recalibration.as_dict(),
        }
        text = json.dumps(stored, indent=1, allow_nan=False)
        (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Decision":
        """That of `save`.

        Raises:
            InputError: there is no such file, or it is damaged.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            raise InputError(
                f"{path} does not exist; a finished run has one: give its folder, or evaluate it again to make one"
            )
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path} is damaged: it is no JSON ({error}); evaluate the run again") from None
        if not isinstance(stored, dict) or set(stored) != set(_KEYS):
            raise InputError(f"{path} is damaged: it must have exactly {', '.join(_KEYS)}; evaluate the run again")
        for name, types in _TYPES.items():
            value = stored[name]
            if type(value) not in types or (type(value) is float and not math.isfinite(value)):
                raise InputError(f"{path} is damaged: its {name} is {value!r}; evaluate the run again")
        for name in ("n", "n_positive"):
            if stored[name] is not None and stored[name] < 0:
                raise InputError(f"{path} is damaged: its {name} is {stored[name]}; evaluate the run again")
        threshold = stored["threshold"]
        return cls(
            threshold=math.nan if threshold is None else float(threshold),
            rule=stored["threshold_rule"],
            chosen_on=stored["chosen_on"],
            n=stored["n"],
            n_positive=stored["n_positive"],
            recalibration=Recalibration.of_dict(stored["recalibration"], where=str(path)),
        )


_TYPES: dict[str, tuple[type, ...]] = {
    "threshold": (float, int, type(None)),
    "threshold_rule": (str,),
    "chosen_on": (str,),
    "n": (int,),
    "n_positive": (int, type(None)),
}
