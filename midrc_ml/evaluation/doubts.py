"""Results that are possible, but rarely what was meant."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from midrc_ml.evaluation.evaluate import Results
from midrc_ml.evaluation.multiplicity import draws_needed
from midrc_ml.evaluation.settings import MOST_DRAWS, Evaluation
from midrc_ml.predictions import class_names

log = logging.getLogger(__name__)

_CHANCE = {
    **dict.fromkeys(("auroc", "auroc_macro", "concordance_index", "prediction_probability_concordance"), 0.5),
    **dict.fromkeys(("qwk", "spearman", "pearson"), 0.0),
}


def doubts(results: Results, predictions: pd.DataFrame, evaluation: Evaluation) -> list[str]:
    """What a person should be asked about the test part, in sentences: a wrong sign, or scores that are all the same.

    Each is logged as a warning too. A wrong sign = a metric whose whole interval is worse than chance. Also: a
    recalibration that could not be fitted, and gaps of which so many draws can show none after Holm's correction.
    """
    found = []
    test = predictions[predictions["part"] == "test"]
    names = [f"y_score_{name}" for name in class_names(test)] or ["y_score"]
    if len(test) > 1 and (test[names].nunique() <= 1).all():
        found.append(f"all {len(test)} test studies have the same score: is it the right column?")
    found += [doubt for row in results.of_part("test") if (doubt := worse_than_chance(row))]
    asked, decision = evaluation.recalibration, results.decision
    if asked != "none" and decision is not None and decision.recalibration.method == "none":
        found.append(f"evaluation.recalibration={asked} could not be fitted: the scores are as the model gave them")
    found += _out_of_reach([row for row in results.gaps if row["part"] == "test"], evaluation)
    for sentence in found:
        log.warning("Warning: %s", sentence)
    return found


def _out_of_reach(gaps: Sequence[Mapping[str, Any]], evaluation: Evaluation) -> list[str]:
    """Families of gaps of which no p-value of so many draws, and so few patients, passes Holm's first step."""
    families: dict[tuple[str, str], list[int]] = {}
    for row in gaps:
        if row["p_value"] is not None:
            families.setdefault((row["quantity"], row["metric"]), []).append(int(row["num_patients"]))
    alpha = 1 - evaluation.confidence
    needed = [draws_needed(len(patients), alpha, num_patients=max(patients)) for patients in families.values()]
    short = [number for number in needed if number > evaluation.num_draws]
    if not short:
        return []
    what = f"in {len(short)} of {len(needed)} metrics no gap between groups can pass Holm's correction"
    if min(short) > MOST_DRAWS:
        return [f"{what}, with any number of draws: groups are too many, of too few patients"]
    most = max(number for number in short if number <= MOST_DRAWS)
    return [f"{what} with {evaluation.num_draws} draws: evaluation.num_draws={most}, or fewer fairness.columns"]


def worse_than_chance(row: Mapping[str, Any]) -> str | None:
    """The question that a metric raises whose whole interval is worse than chance; None where it raises none."""
    chance = _CHANCE.get(str(row["metric"]))
    if chance is None or row["high"] is None or row["high"] >= chance:
        return None
    return (
        f"{row['metric']} is {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}], all of it worse than "
        f"chance ({chance:g}): is the sign right, and is y_true what it says, or were columns swapped?"
    )
