"""What MIDRC-MELODY computes otherwise than we do, for numbers that are to be laid beside its own."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from midrc_ml.evaluation.metrics import over_draws, qwk
from midrc_ml.evaluation.weighted import numbers


@over_draws
def qwk_of_levels_seen(y_true: ArrayLike, y_score: ArrayLike, *, sample_weight: ArrayLike | None = None) -> Any:
    """Quadratic weighted kappa that counts distances in levels seen: as MIDRC-MELODY, by scikit-learn's default.

    A level that no label and no score has is passed over, so that 21 and 24 are neighbours where nobody has 22 or 23,
    which can only shorten distances. `qwk` counts them in points of the scale.

    Raises:
        ValueError: labels or scores that are not whole numbers.
    """
    truth, score = numbers(y_true, y_score)
    both = np.concatenate([truth, score])
    if not (both == np.round(both)).all():
        raise ValueError("qwk_of_levels_seen needs whole numbers")
    levels = np.unique(both)
    places = (np.searchsorted(levels, values).astype(np.float64) for values in (truth, score))
    return qwk(*places, sample_weight=sample_weight)
