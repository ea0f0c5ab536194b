"""Paired comparison of models on the same studies: every difference is taken within draws that all models share.

Several scores of one model are its training seeds: its value is the mean over them, in the studies as they are and in
each draw. How the seeds scatter and how the sample of patients scatters are told apart; three seeds say nothing of the
patients, so mean +- 1.96 standard errors over seeds is never an interval here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from midrc_ml.evaluation.groups import group_columns
from midrc_ml.evaluation.levelling import levelling_rows
from midrc_ml.evaluation.multiplicity import draws_needed, holm
from midrc_ml.evaluation.paired_scoring import ComparedModel, PairedScoring, Row, Scored
from midrc_ml.evaluation.scorers import Metric
from midrc_ml.evaluation.settings import Fairness
from midrc_ml.evaluation.weighted import Array


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """num_draws, seed, confidence: of the bootstrap of patients. all_pairs: each with each, not each with the first."""

    num_draws: int = 2000
    seed: int = 0
    confidence: float = 0.95
    all_pairs: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came out.

    values: a row for each model and metric. differences: for each pair of models and metric; by_group: and each group.
    levelling: what becomes of the gaps between groups. reference: the first model.
    """

    values: list[Row]
    differences: list[Row]
    by_group: list[Row]
    levelling: list[Row]
    reference: str
    settings: ComparisonSettings
    num_studies: int
    num_patients: int

    def draws_that_could(self) -> dict[str, tuple[int, int]]:
        """{differences or by_group: (p-values, draws that could show one below 1 - confidence after Holm)}.

        Only where the draws that were made could not.
        """
        found = {}
        for name, rows in (("differences", self.differences), ("by_group", self.by_group)):
            patients = [row["num_patients"] for row in rows if row["p_value"] is not None]
            if not patients:
                continue
            needed = draws_needed(len(patients), 1 - self.settings.confidence, num_patients=max(patients))
            if needed > self.settings.num_draws:
                found[name] = (len(patients), needed)
        return found


def compare_models(
    models: Sequence[ComparedModel],
    studies: pd.DataFrame,
    y_true: Array,
    metrics: Mapping[str, Metric],
    *,
    kind: str,
    settings: ComparisonSettings,
    classes: Sequence[str] = (),
    fairness: Fairness | None = None,
) -> Comparison:
    """Compare each model with the first, or each with each, in every metric.

    studies: a row each, with patient_id, y_true and the columns of groups. y_true: (study,) or (study, 2), as the
    metrics take it. kind, classes: of the task. fairness: the columns by which the same is asked within groups.

    Raises:
        InputError: columns of groups that the studies do not have.
    """
    columns = group_columns(studies, fairness) if fairness is not None else []
    scoring = PairedScoring(
        studies,
        y_true,
        metrics,
        kind,
        tuple(classes),
        columns,
        num_draws=settings.num_draws,
        seed=settings.seed,
        confidence=settings.confidence,
        min_group_size=0 if fairness is None else fairness.min_group_size,
    )
    values: list[Row] = []
    differences: list[Row] = []
    by_group: list[Row] = []
    levelling: list[Row] = []
    kept: list[Scored] = []
    for model in models:
        scored = scoring.scored(model)
        values += scoring.value_rows(scored)
        for reference in kept if settings.all_pairs else kept[:1]:
            differences += [scoring.difference(name, scored, reference, 0, 0) for name in metrics]
            of_groups = list(scoring.differences_by_group(scored, reference))
            by_group += of_groups
            levelling += levelling_rows(columns, of_groups)
        if settings.all_pairs or not kept:  # of 500 models the draws need not be held
            kept.append(scored)
    return Comparison(
        values=values,
        differences=with_holm(differences),
        by_group=with_holm(by_group),
        levelling=levelling,
        reference=models[0].name,
        settings=settings,
        num_studies=len(studies),
        num_patients=scoring.draws.num_patients,
    )


def with_holm(rows: list[Row]) -> list[Row]:
    """The rows with `p_holm`, over all of them that have a p-value: one family."""
    known = [place for place, row in enumerate(rows) if row["p_value"] is not None]
    if not known:
        return rows
    adjusted = holm(np.array([rows[place]["p_value"] for place in known]))
    result = [dict(row) for row in rows]
    for place, value in zip(known, adjusted, strict=True):
        result[place]["p_holm"] = float(value)
    return result
