"""Results that are possible, but rarely what was meant."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from midrc_ml.predictions import class_names

log = logging.getLogger(__name__)

_CHANCE = {
    **dict.fromkeys(("auroc", "auroc_macro", "concordance_index", "prediction_probability_concordance"), 0.5),
    **dict.fromkeys(("qwk", "spearman", "pearson"), 0.0),
}


def doubts(metrics: Sequence[Mapping[str, Any]], predictions: pd.DataFrame) -> list[str]:
    """What a person should be asked about the test part, in sentences: a wrong sign, or scores that are all the same.

    Each is logged as a warning too. metrics: rows of `metrics.json`. A wrong sign = a metric whose whole interval is
    worse than chance.
    """
    found = []
    test = predictions[predictions["part"] == "test"]
    names = [f"y_score_{name}" for name in class_names(test)] or ["y_score"]
    if len(test) > 1 and (test[names].nunique() <= 1).all():
        found.append(f"all {len(test)} test studies have the same score: is it the right column?")
    found += [doubt for row in metrics if row["part"] == "test" and (doubt := worse_than_chance(row))]
    for sentence in found:
        log.warning("Warning: %s", sentence)
    return found


def worse_than_chance(row: Mapping[str, Any]) -> str | None:
    """The question that a metric raises whose whole interval is worse than chance; None where it raises none."""
    chance = _CHANCE.get(str(row["metric"]))
    if chance is None or row["high"] is None or row["high"] >= chance:
        return None
    return (
        f"{row['metric']} is {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}], all of it worse than "
        f"chance ({chance:g}): is the sign right, and is y_true what it says, or were columns swapped?"
    )
