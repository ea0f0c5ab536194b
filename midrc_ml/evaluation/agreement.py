"""Agreement of readers: intraclass correlation, and kappa of two or of several.

ratings: (study, reader), without NaN: leave out the studies that a reader did not rate, and count them. sample_weight
and results are as in `metrics.py`; NaN for what cannot be estimated, such as ratings that are all the same.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import over_draws
from midrc_ml.evaluation.weighted import Array, ratio, weights_of

ICC_FORMS = ("1,1", "2,1", "3,1", "1,k", "2,k", "3,k")


def icc(ratings: ArrayLike, *, form: str = "2,1", sample_weight: ArrayLike | None = None) -> Any:
    """Intraclass correlation of two or more readers, in one of the six forms of Shrout and Fleiss.

    form: `1,` = each study has readers of its own; `2,` = the same readers, a sample of all: a reader who always scores
    higher costs agreement; `3,` = the same readers, the only ones of interest: it does not. `1` = of one reader,
    `k` = of the mean of all of them. Source: Shrout and Fleiss, Psychol Bull 1979;86:420.

    Raises:
        InputError: another form, or fewer than two readers.
        ValueError: NaN.
    """
    if form not in ICC_FORMS:
        raise InputError(f"form is {form!r}; it must be one of {'; '.join(ICC_FORMS)}")
    values = _of_readers(ratings)
    # Sums of squares lose fewer digits around the middle, and no form depends on where that is.
    values = values - values.mean() if len(values) else values
    weight, readers = weights_of(values[:, 0], sample_weight), values.shape[1]
    studies = weight.sum(axis=-1)
    of_reader, of_study = weight @ values, values.sum(axis=1)
    correction = of_reader.sum(axis=-1) ** 2 / _or_nan(studies * readers)
    total = weight @ (values**2).sum(axis=1) - correction
    between_studies = weight @ of_study**2 / readers - correction
    between_readers = (of_reader**2).sum(axis=-1) / _or_nan(studies) - correction
    within = total - between_studies
    of_studies = between_studies / _or_nan(studies - 1)
    of_readers = between_readers / (readers - 1)
    error = (within - between_readers) / _or_nan((studies - 1) * (readers - 1))
    if form[0] == "1":
        error = within / _or_nan(studies * (readers - 1))
    below = of_studies + (readers - 1) * error if form[2] == "1" else of_studies
    if form[0] == "2":
        below = below + (of_readers - error) * (readers if form[2] == "1" else 1) / _or_nan(studies)
    # What is left of ratings that are all alike is rounding.
    varies = total > 1e-12 * np.maximum(1.0, correction + total)
    return ratio(of_studies - error, np.where(varies, below, 0.0))


icc.over_draws = True  # type: ignore[attr-defined]


def fleiss_kappa(ratings: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Kappa of two or more readers who each name one category; NaN where only one category was ever named.

    Source: Fleiss, Psychol Bull 1971;76:378.

    Raises:
        InputError: fewer than two readers.
        ValueError: NaN.
    """
    values = _of_readers(ratings)
    readers = values.shape[1]
    named = (values[:, :, None] == np.unique(values)).sum(axis=1).astype(np.float64)  # (study, category)
    weight = weights_of(values[:, 0], sample_weight)
    total = weight.sum(axis=-1)
    agreed = ((named**2).sum(axis=1) - readers) / (readers * (readers - 1))
    observed = ratio(weight @ agreed, total)
    by_chance = (ratio((weight @ named).T, total * readers) ** 2).sum(axis=0)
    return ratio(observed - by_chance, 1 - by_chance)


fleiss_kappa.over_draws = True  # type: ignore[attr-defined]


@over_draws
def cohen_kappa(first: ArrayLike, second: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Kappa of two readers, or of a reader and a model, who each name one category: (study,) each, unweighted.

    Source: Cohen, Educ Psychol Meas 1960;20:37.
    """
    both = _of_readers(np.stack([np.asarray(first), np.asarray(second)], axis=1))
    named = both[:, :, None] == np.unique(both)
    weight = weights_of(both[:, 0], sample_weight)
    total = weight.sum(axis=-1)
    observed = ratio(weight @ (both[:, 0] == both[:, 1]).astype(np.float64), total)
    shares = [ratio((weight @ named[:, reader].astype(np.float64)).T, total) for reader in (0, 1)]
    by_chance = (shares[0] * shares[1]).sum(axis=0)
    return ratio(observed - by_chance, 1 - by_chance)


@over_draws
def observed_agreement(first: ArrayLike, second: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Share of the studies in which both name the same category: (study,) each."""
    both = _of_readers(np.stack([np.asarray(first), np.asarray(second)], axis=1))
    weight = weights_of(both[:, 0], sample_weight)
    return ratio(weight @ (both[:, 0] == both[:, 1]).astype(np.float64), weight.sum(axis=-1))


def _of_readers(ratings: ArrayLike) -> Array:
    values = np.asarray(ratings, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise InputError(f"ratings has the shape {values.shape}; it must be (study, reader) with at least two readers")
    if np.isnan(values).any():
        raise ValueError("ratings must not hold NaN: leave out studies that a reader did not rate, and count them")
    return values


def _or_nan(count: Any) -> Any:
    return np.where(np.asarray(count) > 0, count, np.nan)[()]
