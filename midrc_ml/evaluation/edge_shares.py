"""Shares of 0 or 1 within a group: everybody missed, or nobody. All bootstrap draws are then equal, and hide the error.

Such a group would have no interval of its gaps, and would not be called the worst, though it may be. Its draws are
taken from the Beta distribution of Jeffreys' interval instead, of as many observations as the share has patients; they
do not depend on those of other groups. Source: Brown, Cai and DasGupta, Stat Sci 2001;16:101.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from midrc_ml.evaluation.gaps import Scored
from midrc_ml.evaluation.intervals import LEAST_PATIENTS


def with_drawn_edges(scored: Scored, *, is_share: bool, seed: Sequence[int]) -> Scored:
    """`scored` with draws of its groups whose share is 0 or 1 in every draw; the same for a seed.

    Groups of fewer patients than an interval needs stay as they are.
    """
    if not is_share or not len(scored.drawn):
        return scored
    first = scored.drawn[0]
    constant = (scored.drawn == first).all(axis=0) & np.isin(first, (0.0, 1.0))
    places = np.flatnonzero(constant & (scored.num_patients >= LEAST_PATIENTS))
    if not len(places):
        return scored
    from scipy.special import betaincinv

    drawn = scored.drawn.copy()
    for place in places.tolist():
        uniform = np.random.default_rng([*seed, place]).random(len(drawn))
        near_zero = betaincinv(0.5, scored.num_patients[place] + 0.5, uniform)
        drawn[:, place] = near_zero if first[place] == 0 else 1 - near_zero
    at_edge = np.zeros(len(first), dtype=bool)
    at_edge[places] = True
    return replace(scored, drawn=drawn, at_edge=at_edge)
