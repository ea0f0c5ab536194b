"""The calibration curve, share of positives against mean score in bins of equal mass, and intervals that need bins."""

from collections.abc import Iterable
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from midrc_ml.evaluation.calibration import calibration_differences, expected_calibration_error_interval
from midrc_ml.evaluation.calibration_bins import EqualMassBins, bin_sums
from midrc_ml.evaluation.intervals import Interval, percentile_interval
from midrc_ml.evaluation.weighted import Array, ratio


def calibration_curve(
    y_true: ArrayLike,
    y_score: ArrayLike,
    weights_of_draws: Iterable[NDArray[Any]],
    *,
    num_bins: int = 10,
    confidence: float = 0.95,
    patient: ArrayLike | None = None,
) -> pd.DataFrame:
    """A row a bin, lowest scores first: mean_score, share_positive, low, high, n, n_positive.

    weights_of_draws: blocks (draw, study) of the bootstrap. low, high: of the share of positives, by
    `percentile_interval`; NaN without draws. A bin in which no study is positive, or every one, has the same share in
    all draws; there Wilson's limits are given (J Am Stat Assoc 1927;22:209) of as many observations as the bin has
    patients: `patient` (study,) numbers them; without it each study is a patient of its own.

    Raises:
        ValueError: y_true is not 0 or 1, or y_score is no probability.
    """
    sums = bin_sums(y_true, y_score, num_bins=num_bins)
    drawn = [_share(bin_sums(y_true, y_score, num_bins=num_bins, sample_weight=block)) for block in weights_of_draws]
    num_patients = _num_patients(y_score, patient, num_bins)
    low, high = limits_of_columns(drawn, confidence, num_patients)
    none, every = sums.positive == 0, sums.positive == sums.weight
    # Wilson's limits where the share is 0; where it is 1 they are their mirror image.
    square = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    reach = square / (num_patients + square)
    return pd.DataFrame(
        {
            "mean_score": ratio(sums.score, sums.weight),
            "share_positive": _share(sums),
            "low": np.select([none, every], [0, 1 - reach], low),
            "high": np.select([none, every], [reach, 1], high),
            "n": sums.weight.astype(np.int64),
            "n_positive": sums.positive.astype(np.int64),
        }
    )


def calibration_error_interval(
    y_true: ArrayLike,
    y_score: ArrayLike,
    weights_of_draws: Iterable[NDArray[Any]],
    *,
    num_bins: int = 10,
    confidence: float = 0.95,
    patient: ArrayLike | None = None,
) -> Interval:
    """The interval of `expected_calibration_error`; covers at least `confidence` (`tests/evaluation`).

    weights_of_draws, patient: as of `calibration_curve`.

    Raises:
        ValueError: y_true is not 0 or 1, or y_score is no probability.
    """
    sums = bin_sums(y_true, y_score, num_bins=num_bins)
    differences, weights = calibration_differences(y_true, y_score, num_bins=num_bins)
    drawn = [
        calibration_differences(y_true, y_score, num_bins=num_bins, sample_weight=block)[0]
        for block in weights_of_draws
    ]
    low, high = expected_calibration_error_interval(
        np.concatenate([np.zeros((0, len(weights))), *drawn]),
        weights,
        differences,
        confidence,
        num_patients=_num_patients(y_score, patient, num_bins),
        one_class=(sums.positive == 0) | (sums.positive == sums.weight),
    )
    if np.isnan(low):
        return Interval(None, None, "no studies" if not len(weights) else "no bootstrap draws")
    return Interval(low, high, method="bootstrap of patients, summed over bins")


def limits_of_columns(drawn: list[Array], confidence: float, num_patients: NDArray[np.int64]) -> tuple[Array, Array]:
    """The `percentile_interval` of each column over blocks (draw, column): low and high, NaN where there is none.

    num_patients: (column,), how many each rests on.
    """
    limits = np.full((2, len(num_patients)), np.nan)
    values = np.concatenate([np.zeros((0, len(num_patients))), *drawn])
    for column, patients in enumerate(num_patients if len(values) else ()):
        found = percentile_interval(values[:, column], confidence, num_patients=int(patients))
        if found.low is not None:
            limits[:, column] = found.low, found.high
    return limits[0], limits[1]


def _share(sums: Any) -> Array:
    return np.asarray(ratio(sums.positive, sums.weight))


def _num_patients(y_score: ArrayLike, patient: ArrayLike | None, num_bins: int) -> NDArray[np.int64]:
    """How many patients have a study in each bin."""
    bins = EqualMassBins.of(y_score, num_bins)
    of_study = bins.bin_of(y_score)
    names = np.arange(len(of_study)) if patient is None else np.unique(np.asarray(patient), return_inverse=True)[1]
    pairs = np.unique(np.stack([of_study, names]), axis=1)
    return np.bincount(pairs[0], minlength=bins.num_bins)
