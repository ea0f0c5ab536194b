"""The scores of models on the same studies and draws, and the differences between two of them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.evaluation.calibration import is_distance
from midrc_ml.evaluation.draws import PatientDraws
from midrc_ml.evaluation.evaluate import with_threshold
from midrc_ml.evaluation.gaps import NO_DIFFERENCE
from midrc_ml.evaluation.groups import GroupColumn
from midrc_ml.evaluation.intervals import Interval, percentile_interval, two_sided_p_value, why_no_interval
from midrc_ml.evaluation.metrics import is_better_low
from midrc_ml.evaluation.rests_on import patients_by, rests_on
from midrc_ml.evaluation.scored_part import Asked
from midrc_ml.evaluation.scorers import Grouping, Metric, values_of_draws, values_of_studies
from midrc_ml.evaluation.weighted import Array

Row = dict[str, Any]
_KEPT_CELLS = 25_000_000  # draws x patients that are kept for the next model; changes nothing but memory


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """A model: the scores of each of its seeds, (study,) or (study, class), in the order of the studies.

    thresholds: of each seed, NaN = none. withheld: {metric: why it is not to be estimated}.
    """

    name: str
    scores: Sequence[Array]
    thresholds: Sequence[float]
    withheld: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _KeptDraws(PatientDraws):
    """Draws that are made once for all models, where they are not too many to be kept."""

    kept: dict[int, NDArray[np.int32]] = field(default_factory=dict)

    def block(self, number: int) -> NDArray[np.int32]:
        """The draws of a block, (draw, patient)."""
        if number in self.kept:
            return self.kept[number]
        made = super().block(number)
        if self.num_draws * self.num_patients <= _KEPT_CELLS:
            self.kept[number] = made
        return made


@dataclass(frozen=True)
class Scored:
    """One model. values: by grouping {metric: (group,)}, drawn: {metric: (draw, group)}, the means over its seeds.

    by_seed: {metric: (seed,)} of all studies.
    """

    model: ComparedModel
    values: list[dict[str, Array]]
    drawn: list[dict[str, Array]]
    by_seed: dict[str, Array]


class PairedScoring:
    """The studies, the metrics and the draws, which all models share."""

    def __init__(
        self,
        studies: pd.DataFrame,
        y_true: Array,
        metrics: Mapping[str, Metric],
        kind: str,
        classes: tuple[str, ...],
        columns: list[GroupColumn],
        *,
        num_draws: int,
        seed: int,
        confidence: float,
        min_group_size: int,
    ) -> None:
        self._truth, self._y_true, self._metrics, self._kind = studies["y_true"], y_true, metrics, kind
        self._classes, self._columns, self._confidence, self._least = classes, columns, confidence, min_group_size
        plain = PatientDraws.of(studies["patient_id"], num_draws=num_draws, seed=seed)
        self.draws = _KeptDraws(plain.patient, plain.num_patients, plain.num_draws, plain.seed)
        self._groupings = [Grouping.everyone(len(studies)), *(column.grouping for column in columns)]
        members = [[np.ones(len(studies), dtype=bool)]]
        members += [[column.codes == number for number in range(len(column.values))] for column in columns]
        self._members = members

    def scored(self, model: ComparedModel) -> Scored:
        """The model's numbers, each the mean over its seeds."""
        values, drawn, by_seed = [], [], []
        for y_score, threshold in zip(model.scores, model.thresholds, strict=True):
            bound = {name: with_threshold(metric, threshold) for name, metric in self._metrics.items()}
            known = {name: metric for name, metric in bound.items() if name not in model.withheld}
            values.append(values_of_studies(known, self._y_true, y_score, self._groupings))
            drawn.append(values_of_draws(known, self._y_true, y_score, self.draws, self._groupings))
            by_seed.append({name: values[-1][0][name][0] for name in known})
        return Scored(
            model=model,
            values=_means(values),
            drawn=_means(drawn),
            by_seed={name: np.array([of_seed[name] for of_seed in by_seed]) for name in by_seed[0]},
        )

    def value_rows(self, scored: Scored) -> Iterator[Row]:
        """A row for each metric: the mean over the seeds, with the spread over seeds and over samples apart."""
        for name in self._metrics:
            value = self._value(scored, name, 0, 0)
            why = self._why_not(scored, name, 0, 0)
            drawn = np.zeros(0) if why else scored.drawn[0][name][:, 0]
            found = (
                Interval(None, None, why)
                if why
                else self._interval(name, drawn, self._num_patients(name, self._members[0][0]))
            )
            spread = _spread(scored.by_seed.get(name, np.zeros(0)))
            sampling_se = _se(drawn) if found.low is not None else None
            yield {
                "metric": name,
                "model": scored.model.name,
                "value": value,
                "low": found.low,
                "high": found.high,
                "n": len(self._truth),
                "n_positive": self._asked({}).num_positive(self._truth),
                **spread,
                "sampling_se": sampling_se,
                "combined_sd": _combined(sampling_se, spread["seed_sd"]),
                "method": found.method,
                "reason": found.reason,
            }

    def differences_by_group(self, scored: Scored, reference: Scored) -> Iterator[Row]:
        """A row for each metric in each group of each column."""
        for place, column in enumerate(self._columns, start=1):
            for number, value in enumerate(column.values):
                of_group = {"group": {"column": column.name, "value": value}}
                for name in self._metrics:
                    yield of_group | self.difference(name, scored, reference, place, number)

    def difference(self, name: str, scored: Scored, reference: Scored, place: int, number: int) -> Row:
        """One metric of `scored` minus that of `reference`, in the group `number` of the grouping `place`."""
        pair = (scored, reference)
        why = next((why for one in pair if (why := self._why_not(one, name, place, number))), None)
        both = [self._value(one, name, place, number) for one in pair]
        change, p_value, se = None, math.nan, None
        found, few = Interval(None, None, why), self._num_patients(name, self._members[place][number])
        if both[0] is not None and both[1] is not None:
            change = both[0] - both[1]
            drawn = scored.drawn[place][name][:, number] - reference.drawn[place][name][:, number]
            found = self._interval(name, drawn, few)
            for one in pair:
                # A model whose value no draw changes hides its error, and would lend the other's to the difference.
                reason = why_no_interval(one.drawn[place][name][:, number], few)
                if found.low is not None and reason is not None:
                    found = Interval(None, None, f"{one.model.name}: {reason}")
            if _same_scores(scored.model, reference.model):
                found = Interval(None, None, "both give every study the same score")
            if found.low is not None:
                p_value, se = two_sided_p_value(drawn, num_patients=few), _se(drawn)
        spreads = [_spread(one.by_seed.get(name, np.zeros(0))) for one in pair] if place == 0 else []
        seed_se = _combined(*(_of_mean(spread) for spread in spreads)) if spreads else None
        members = self._members[place][number]
        with_delong = name == "auroc" and place == 0 and found.low is not None
        return {
            "metric": name,
            "model": scored.model.name,
            "reference": reference.model.name,
            "difference": change,
            "low": found.low,
            "high": found.high,
            "p_value": None if math.isnan(p_value) else p_value,
            "p_holm": None,
            "p_delong": self._p_delong(scored.model, reference.model) if with_delong else None,
            "favours": _favours(name, change, scored.model.name, reference.model.name),
            "value": both[0],
            "value_reference": both[1],
            "n": int(members.sum()),
            "n_positive": self._asked({}).num_positive(self._truth[members]),
            "num_patients": few,
            "sampling_se": se,
            "seed_se": seed_se,
            "combined_se": _combined(se, seed_se),
            "method": found.method,
            "reason": found.reason,
        }

    def _value(self, scored: Scored, name: str, place: int, number: int) -> float | None:
        if name in scored.model.withheld:
            return None
        value = float(scored.values[place][name][number])
        return None if math.isnan(value) else value

    def _interval(self, name: str, drawn: Array, few: int) -> Interval:
        if is_distance(self._metrics[name]):
            return Interval(None, None, NO_DIFFERENCE)
        return percentile_interval(drawn, self._confidence, num_patients=few)

    def _num_patients(self, name: str, members: NDArray[np.bool_]) -> int:
        """The patients that a metric of some studies rests on."""
        truth = self._truth.to_numpy(dtype=np.float64)[members]
        return patients_by(truth, self.draws.patient[members], self._kind)[rests_on(self._metrics[name], self._kind)]

    def _why_not(self, scored: Scored, name: str, place: int, number: int) -> str | None:
        """Why a model has no value in a group; None where it has one."""
        if self._value(scored, name, place, number) is not None:
            return None
        members = self._members[place][number]
        if place and not (self._columns[place - 1].grouping.codes == number).any():
            return f"{members.sum()} studies, fewer than {self._least}"
        seeds = zip(scored.model.scores, scored.model.thresholds, strict=True)
        y_score, threshold = min(seeds, key=lambda seed: not math.isnan(seed[1]))  # one without a threshold, if any is
        bound, refused = with_threshold(self._metrics[name], threshold), None
        try:
            bound(self._y_true[members], y_score[members])
        except ValueError as error:
            refused = str(error)
        return self._asked(scored.model.withheld).why_not(name, bound, self._truth[members], refused)

    def _asked(self, withheld: Mapping[str, str]) -> Asked:
        return Asked(self._kind, self._classes, dict(withheld))

    def _p_delong(self, model: ComparedModel, reference: ComparedModel) -> float | None:
        """Of the difference of two mean AUROCs, by DeLong's covariance with patients as clusters (Obuchowski)."""
        from midrc_ml.evaluation.delong import clustered_delong

        if self._kind != "binary" or "auroc" in {*model.withheld, *reference.withheld}:
            return None
        if self._truth.nunique() < 2:
            return None
        scores = np.stack([*model.scores, *reference.scores])
        share = np.r_[
            np.full(len(model.scores), 1 / len(model.scores)),
            np.full(len(reference.scores), -1 / len(reference.scores)),
        ]
        aurocs, covariance = clustered_delong(self._y_true, scores, self.draws.patient)
        variance = float(share @ np.asarray(covariance) @ share)
        own = float(share**2 @ np.diag(covariance))
        if not variance > 1e-12 * own:  # equal scores leave rounding
            return None
        return math.erfc(abs(float(share @ aurocs)) / math.sqrt(2 * variance))


def _means(of_seeds: list[list[dict[str, Array]]]) -> list[dict[str, Array]]:
    """By grouping and metric the mean over seeds; NaN where one of them is."""
    if len(of_seeds) == 1:
        return of_seeds[0]
    first = of_seeds[0]
    return [
        {name: np.sum([seed[place][name] for seed in of_seeds], axis=0) / len(of_seeds) for name in first[place]}
        for place in range(len(first))
    ]


def _spread(by_seed: Array) -> Row:
    """How the seeds scatter on these studies; None for one seed, of which nothing is known."""
    known = len(by_seed) > 1 and not np.isnan(by_seed).any()
    return {
        "num_seeds": len(by_seed),
        "by_seed": [None if math.isnan(value) else float(value) for value in by_seed],
        "seed_sd": float(by_seed.std(ddof=1)) if known else None,
        "seed_low": float(by_seed.min()) if known else None,
        "seed_high": float(by_seed.max()) if known else None,
    }


def _of_mean(spread: Row) -> float | None:
    """The standard error of a mean over seeds."""
    return None if spread["seed_sd"] is None else spread["seed_sd"] / math.sqrt(spread["num_seeds"])


def _se(drawn: Array) -> float:
    return float(np.nanstd(drawn, ddof=1))


def _combined(*spreads: float | None) -> float | None:
    """The root of the sum of squares; None where one is not known."""
    known = [spread for spread in spreads if spread is not None]
    return math.hypot(*known) if len(known) == len(spreads) else None


def _favours(name: str, change: float | None, model: str, reference: str) -> str | None:
    is_low = is_better_low(name)
    if not change or is_low is None:
        return None
    return model if (change < 0) == is_low else reference


def _same_scores(model: ComparedModel, reference: ComparedModel) -> bool:
    every = [*model.scores, *reference.scores]
    return all(np.array_equal(every[0], scores) for scores in every[1:])
