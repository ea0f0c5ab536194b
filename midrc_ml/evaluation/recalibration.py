"""Recalibration: a map of scores, fitted on the validation part, that makes them agree with what happened there.

`temperature`, `platt` and `isotonic` are for probabilities of a binary task, `temperature` also for those of multiclass
ones, `linear` for ordinal and regression tasks; `none` leaves scores as they are. All but `isotonic`, which makes
plateaus, keep the order of the studies. In a binary task probabilities nearer to 0 or 1 than 1e-7 count as that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from midrc_ml.errors import InputError
from midrc_ml.evaluation.calibration import linear_calibration
from midrc_ml.evaluation.distinct import DistinctStudies
from midrc_ml.evaluation.logistic import expit, intercept_and_slope, logit
from midrc_ml.evaluation.weighted import Array, numbers

METHODS_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "binary": ("none", "temperature", "platt", "isotonic"),
    "multiclass": ("none", "temperature"),
    "ordinal": ("none", "linear"),
    "regression": ("none", "linear"),
    "time_to_event": ("none",),
}
LEAST_OF_A_CLASS = 10  # positives, and negatives
LEAST_STUDIES = 20
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "temperature": ("temperature",),
    "platt": ("intercept", "slope"),
    "linear": ("intercept", "slope"),
    "isotonic": ("score", "probability"),
}
_SIGN = "check the sign of the scores, or use none"
_SMALLEST_OF_A_CLASS = float(np.finfo(np.float32).tiny)  # what single precision cannot tell from 0
_HOTTEST = 1e4  # a temperature at which all classes are as good as equal; its inverse is the coldest


@dataclass(frozen=True)
class Recalibration:
    """A fitted map. parameters: {name: number}, of `isotonic` the places of its line: {name: numbers}."""

    method: str = "none"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, y_score: ArrayLike) -> Array:
        """The recalibrated scores, float64: (study,), or (study, class) for probabilities of several classes.

        `temperature` divides the log odds, or the logarithms of the probabilities of the classes; `platt` is linear
        in the log odds, `linear` in the score; `isotonic` is a line through its places, level beyond the ends.

        Raises:
            ValueError: a score that is NaN, or that is no probability where the method needs one.
        """
        score, _ = numbers(y_score, 0.0)
        if self.method == "none":
            return score
        if self.method == "linear":
            return np.asarray(self.parameters["intercept"] + self.parameters["slope"] * score)
        _check_probabilities(score)
        if self.method == "isotonic":
            return np.asarray(np.interp(score, self.parameters["score"], self.parameters["probability"]))
        if self.method == "platt":
            return expit(self.parameters["intercept"] + self.parameters["slope"] * logit(score))
        if score.ndim == 1:
            return expit(logit(score) / self.parameters["temperature"])
        return _softmax(_log_probability(score) / self.parameters["temperature"])

    def as_dict(self) -> dict[str, Any]:
        """What JSON holds: the method and its parameters."""
        return {"method": self.method, **self.parameters}

    @classmethod
    def of_dict(cls, stored: Any, *, where: str = "recalibration") -> "Recalibration":
        """That of `as_dict`.

        Raises:
            InputError: an unknown method, a missing parameter, or one that is no number.
        """
        method = stored.get("method") if isinstance(stored, Mapping) else None
        if not isinstance(method, str) or method not in _PARAMETERS:
            raise InputError(f"{where}: its method is {method!r}; it must be one of {', '.join(_PARAMETERS)}")
        names = _PARAMETERS[method]
        if set(stored) != {"method", *names}:
            raise InputError(f"{where}: {method} has {', '.join(sorted(stored))}; needed are {', '.join(names)}")
        parameters = {name: stored[name] for name in names}
        if not (_are_places(**parameters) if method == "isotonic" else all(map(_is_number, parameters.values()))):
            raise InputError(f"{where}: the parameters of {method} are damaged; fit it on the validation part again")
        if parameters.get("temperature", 1) <= 0:
            raise InputError(f"{where}: the temperature is {parameters['temperature']!r}; it must be above 0")
        if method in ("platt", "linear") and parameters["slope"] <= 0:
            raise InputError(
                f"{where}: the slope is {parameters['slope']!r}; it must be above 0, or it turns scores round"
            )
        if method == "isotonic":
            parameters = {name: tuple(values) for name, values in parameters.items()}
        return cls(method, parameters)


def check_method(method: Any, kind: str) -> None:
    """Refuse a method that does not fit the kind of task.

    Raises:
        InputError: naming the methods that do.
    """
    known = METHODS_OF_KIND.get(kind, ("none",))
    if method not in known:
        raise InputError(
            f"evaluation.recalibration is {method!r}; for a task of kind {kind} it must be one of {', '.join(known)}"
        )


def fit_recalibration(method: str, y_true: ArrayLike, y_score: ArrayLike, kind: str) -> Recalibration:
    """The map that fits these studies, which should be the validation part, best.

    y_true, y_score: as the metrics of a task of this kind take them. `temperature` (Guo et al., ICML 2017) and `platt`
    (Platt 1999, with the labels as they are, not smoothed) have the highest likelihood, `isotonic` (Zadrozny and Elkan,
    KDD 2002) and `linear` the least squared difference.

    Raises:
        InputError: a method that does not fit the kind, too few studies, or scores from which none can be fitted.
        ValueError: labels or scores that are not of the kind.
    """
    check_method(method, kind)
    if method == "none":
        return Recalibration()
    truth, score = numbers(y_true, y_score)
    if method == "linear":
        return _linear(truth, score)
    _check_probabilities(score)
    if kind == "multiclass":
        present = len(np.unique(truth))
        if len(truth) < LEAST_STUDIES or present < 2:
            raise _refused(
                method, f"{len(truth)} studies of {present} classes; it needs {LEAST_STUDIES} or more, of two or more"
            )
        return _temperature(_log_probability(score), truth.astype(np.int64))
    num_positive, num_negative = int((truth == 1).sum()), int((truth == 0).sum())
    if num_positive + num_negative != len(truth):
        raise ValueError("y_true must be 0 or 1 to recalibrate a binary task")
    if min(num_positive, num_negative) < LEAST_OF_A_CLASS:
        raise _refused(
            method, f"{num_positive} positive and {num_negative} negative; it needs {LEAST_OF_A_CLASS} or more of each"
        )
    if method == "isotonic":
        return _isotonic(truth, score)
    if method == "platt":
        return _platt(truth, score)
    log_odds = logit(score)
    return _temperature(np.stack([np.zeros(len(score)), log_odds], axis=1), truth.astype(np.int64))


def _platt(truth: Array, score: Array) -> Recalibration:
    studies = DistinctStudies.of(truth, logit(score))
    intercept, slope = intercept_and_slope(studies, studies.count[None].astype(np.float64))[0]
    if not math.isfinite(slope):
        raise _refused("platt", "their scores part the classes without overlap, or are all equal; use none")
    if slope <= 0:
        raise _refused("platt", f"scores that fall where positives are more frequent (slope {slope:.3g}); {_SIGN}")
    return Recalibration("platt", {"intercept": float(intercept), "slope": float(slope)})


def _linear(truth: Array, score: Array) -> Recalibration:
    if len(truth) < LEAST_STUDIES:
        raise _refused("linear", f"{len(truth)} studies; it needs {LEAST_STUDIES} or more")
    intercept, slope = linear_calibration(truth, score)
    if not math.isfinite(slope):
        raise _refused("linear", "one score for all; use none")
    if slope <= 0:
        raise _refused("linear", f"scores that do not rise with the label (slope {slope:.3g}); {_SIGN}")
    return Recalibration("linear", {"intercept": float(intercept), "slope": float(slope)})


def _isotonic(truth: Array, score: Array) -> Recalibration:
    from sklearn.isotonic import IsotonicRegression  # late: it takes a second

    if score.min() == score.max():
        raise _refused("isotonic", "one score for all; use none")
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score, truth)
    places = {"score": fitted.X_thresholds_, "probability": fitted.y_thresholds_}
    if places["probability"][0] == places["probability"][-1]:
        raise _refused("isotonic", f"scores that nowhere rise with the share of positives; {_SIGN}")
    return Recalibration("isotonic", {name: tuple(map(float, values)) for name, values in places.items()})


def _temperature(log_probability: Array, truth: Any) -> Recalibration:
    """The temperature of the highest likelihood; log_probability is (study, class), up to a number a study."""
    of_truth = np.take_along_axis(log_probability, truth[:, None], axis=1)[:, 0].mean()

    def slope_of_loss(inverse: float) -> float:
        """How the mean log loss rises with 1 / temperature; it is convex, so this rises."""
        expected = (_softmax(inverse * log_probability) * log_probability).sum(axis=1)
        return float(expected.mean() - of_truth)

    low, high = 1 / _HOTTEST, _HOTTEST
    if slope_of_loss(low) >= 0:
        raise _refused("temperature", f"scores that fit best when all are made equal; {_SIGN}")
    if slope_of_loss(high) <= 0:
        raise _refused("temperature", "scores that are always on the right side; use none")
    while high / low > 1 + 1e-14:
        middle = math.sqrt(low * high)
        if not low < middle < high:
            break
        low, high = (middle, high) if slope_of_loss(middle) < 0 else (low, middle)
    return Recalibration("temperature", {"temperature": 1 / high})


def _refused(method: str, why: str) -> InputError:
    return InputError(f"recalibration {method}: the validation part has {why}")


def _check_probabilities(score: Array) -> None:
    if len(score) and (score.min() < 0 or score.max() > 1):
        raise ValueError("y_score must be a probability, from 0 to 1, to be recalibrated")


def _log_probability(score: Array) -> Array:
    return np.asarray(np.log(np.maximum(score, _SMALLEST_OF_A_CLASS)))


def _softmax(logarithm: Array) -> Array:
    held = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return np.asarray(held / held.sum(axis=1, keepdims=True))


def _are_places(score: Any, probability: Any) -> bool:
    """Whether these are the places of a line, from the lowest score on."""
    if not all(isinstance(values, list | tuple) and all(map(_is_number, values)) for values in (score, probability)):
        return False
    return (
        len(score) == len(probability) > 0
        and all(np.diff(score) > 0)
        and 0 <= min(probability) <= max(probability) <= 1
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
