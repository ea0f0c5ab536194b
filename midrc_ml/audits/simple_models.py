"""Scores of simple models: what a few numbers of each study tell of its label.

Fitted on the training part, chosen on the validation part, and never shown the test part. Where there is no training
part, as of predictions from elsewhere, patients are dealt into five, and each is scored by a model of the other four.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from midrc_ml.evaluation.weighted import Array

Form = Literal["linear", "boosting", "either"]
NUM_FOLDS = 5
_PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)  # of ridge and logistic regression, times the number of studies / 100
_LEAST_ROWS = 10
_SEED = 0


def constant_score(studies: pd.DataFrame, *, kind: str, num_classes: int = 0) -> Array:
    """What knows nothing of a study: prevalence, shares of classes or median of the training labels; of all, if none.

    (study,), or (study, class) of a multiclass task; of a time_to_event task the same risk for everybody.
    """
    train = studies.loc[_is_train(studies), "label"].to_numpy(dtype=np.float64)
    if kind == "multiclass":
        shares = np.bincount(train.astype(np.int64), minlength=num_classes) / max(1, len(train))
        return np.tile(shares, (len(studies), 1))
    if kind == "time_to_event":
        return np.zeros(len(studies))
    middle = train.mean() if kind == "binary" else np.median(train)
    return np.full(len(studies), float(middle))


def scores_of(
    features: Array, studies: pd.DataFrame, *, kind: str, num_classes: int = 0, form: Form = "either", parts: int = 0
) -> Array | None:
    """What a simple model of `features` says of every study: (study,), or (study, class) for multiclass.

    features: (study, feature), NaN = missing, aligned with `studies` (part, label, patient_id and, of a time_to_event
    task, time). kind: of the task. form: linear (ridge, logistic), gradient boosting, or the one that is better on the
    validation part. parts: principal components that linear models are given instead; 0 = the features themselves.
    Scores are probabilities, numbers of the label's unit, or, of time_to_event, risks. None where nothing can be
    learned: no feature that varies, or labels that are all alike.
    """
    if features.shape[1] == 0 or not _varies(features):
        return None
    target = _target(studies, kind)
    train, check = _is_train(studies), (studies["part"] == "validation").to_numpy()
    if not (studies["part"] == "train").any():
        return _cross_fitted(features, target, studies, kind=kind, num_classes=num_classes, form=form, parts=parts)
    made = _fitted(features, target, train, check, kind=kind, num_classes=num_classes, form=form, parts=parts)
    return made


def _is_train(studies: pd.DataFrame) -> np.ndarray:
    is_train = (studies["part"] == "train").to_numpy()
    return is_train if is_train.any() else np.ones(len(studies), dtype=bool)


def _cross_fitted(
    features: Array, target: Array, studies: pd.DataFrame, *, kind: str, num_classes: int, form: Form, parts: int
) -> Array | None:
    """Each patient scored by a model of other patients."""
    from sklearn.model_selection import GroupKFold

    groups = pd.factorize(studies["patient_id"], sort=True)[0]
    if len(np.unique(groups)) < NUM_FOLDS:
        return None
    made: Array | None = None
    for rest, fold in GroupKFold(NUM_FOLDS).split(features, groups=groups):
        train = np.zeros(len(studies), dtype=bool)
        train[rest] = True
        nobody = np.zeros(len(studies), dtype=bool)
        scored = _fitted(
            features, target, train, nobody, kind=kind, num_classes=num_classes, form=_simpler(form), parts=parts
        )
        if scored is None:
            return None
        made = np.full(scored.shape, np.nan) if made is None else made
        made[fold] = scored[fold]
    return made


def _simpler(form: Form) -> Form:
    return "linear" if form == "either" else form


def _fitted(
    features: Array, target: Array, train: Array, check: Array, *, kind: str, num_classes: int, form: Form, parts: int
) -> Array | None:
    """The scores of all studies by the best model of the form, on `check`; the first one where nothing is checked."""
    if train.sum() < _LEAST_ROWS or len(np.unique(target[train])) < 2:
        return None
    is_classes = kind in ("binary", "multiclass")
    candidates = [*(_linear(features, train, is_classes, parts) if form != "boosting" else [])]
    candidates += [(features, _boosting(is_classes))] if form != "linear" else []
    best: tuple[float, Array] | None = None
    for values, estimator in candidates:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of columns that are empty in training, and of steps that ran out
            estimator.fit(values[train], target[train])
            score = _said(estimator, values, kind, num_classes)
        if len(candidates) == 1 or not check.any():
            return score if best is None else best[1]
        loss = _loss(score[check], target[check], kind)
        if best is None or loss < best[0]:
            best = loss, score
    return None if best is None else best[1]


def _linear(features: Array, train: Array, is_classes: bool, parts: int) -> list[tuple[Array, Any]]:
    """Ridge or logistic regressions of several penalties; the middle one first, for where none can be chosen."""
    from sklearn.linear_model import LogisticRegression, Ridge

    scaled = standardised(features, train)
    if parts:
        scaled = components(scaled, train, parts)
    number = int(train.sum())
    ordered = sorted(_PENALTIES, key=lambda penalty: abs(np.log(penalty)))
    if is_classes:
        return [(scaled, LogisticRegression(C=100 / (penalty * number), max_iter=300)) for penalty in ordered]
    return [(scaled, Ridge(alpha=penalty * number / 100)) for penalty in ordered]


def standardised(features: Array, train: Array) -> Array:
    """Less the mean, divided by the deviation of the rows of `train`, at most 10 of these away; missing = the mean."""
    missing = np.isnan(features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        middle = np.nanmean(features[train], axis=0)
    filled = np.where(missing, np.nan_to_num(middle), features) if missing.any() else features
    middle, spread = filled[train].mean(axis=0), filled[train].std(axis=0)
    return ((filled - middle) / np.where(spread > 0, spread, np.inf)).clip(-10, 10)


def components(scaled: Array, train: Array, count: int) -> Array:
    """The first principal components of the rows of `train`, of all rows, with a largest deviation of 1."""
    from sklearn.decomposition import PCA

    count = min(count, scaled.shape[1], int(train.sum()) - 1)
    made = PCA(count, svd_solver="randomized" if count < min(scaled.shape) / 2 else "full", random_state=_SEED)
    turned = made.fit(scaled[train]).transform(scaled)
    return np.asarray(turned / max(float(turned[train].std(axis=0).max()), 1e-12))


def _boosting(is_classes: bool) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    # Few leaves and many studies in each: of a few hundred studies larger trees learn their noise.
    settings: Any = {
        "max_iter": 60,
        "learning_rate": 0.1,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 10,
        "l2_regularization": 1.0,
        "early_stopping": False,
        "random_state": _SEED,
    }
    return HistGradientBoostingClassifier(**settings) if is_classes else HistGradientBoostingRegressor(**settings)


def _said(estimator: Any, values: Array, kind: str, num_classes: int) -> Array:
    if kind == "binary":
        return np.asarray(estimator.predict_proba(values)[:, 1], dtype=np.float64)
    if kind == "multiclass":
        made = np.zeros((len(values), num_classes))
        made[:, np.asarray(estimator.classes_, dtype=np.int64)] = estimator.predict_proba(values)
        return made
    return np.asarray(estimator.predict(values), dtype=np.float64)


def _loss(score: Array, target: Array, kind: str) -> float:
    """What is lowest for the best model on the validation part: log loss, or the squared error."""
    if kind in ("binary", "multiclass"):
        rows = np.arange(len(target))
        chosen = (
            score[rows, target.astype(np.int64)] if kind == "multiclass" else np.where(target == 1, score, 1 - score)
        )
        return float(-np.log(np.clip(chosen, 1e-6, 1)).mean())
    return float(((score - target) ** 2).mean())


def _target(studies: pd.DataFrame, kind: str) -> Array:
    label = studies["label"].to_numpy(dtype=np.float64)
    if kind != "time_to_event":
        return label
    return martingale_residuals(label, studies["time"].to_numpy(dtype=np.float64), _is_train(studies))


def martingale_residuals(event: Array, time: Array, train: Array) -> Array:
    """Events less those expected of everybody alike by the time, (study,): what is left for a risk to explain.

    The expected are Nelson and Aalen's, of the rows of `train`. Source: Therneau, Grambsch and Fleming, Biometrika
    1990;77:147.
    """
    order = np.argsort(time[train], kind="stable")
    times, events = time[train][order], event[train][order]
    distinct, first = np.unique(times, return_index=True)
    deaths = np.add.reduceat(events, first) if len(first) else np.zeros(0)
    hazard = np.cumsum(deaths / (len(times) - first))
    expected = np.r_[0.0, hazard][np.searchsorted(distinct, time, side="right")]
    return event - expected


def _varies(features: Array) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spread = np.nanmax(features, axis=0) - np.nanmin(features, axis=0)
    partly = np.isnan(features).any(axis=0) & ~np.isnan(features).all(axis=0)
    return bool((np.nan_to_num(spread) > 0).any() or partly.any())


def named_columns(names: Sequence[str], most: int = 8) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
