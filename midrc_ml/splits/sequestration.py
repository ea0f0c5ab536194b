"""MIDRC's stratified sampling as splits: sequestered patients are the test part, or each set is a part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.errors import InputError, check_kinds
from midrc_ml.splits.dealing import check_rule, check_share, deal_the_others, deal_validation
from midrc_ml.splits.manifest import PARTS
from midrc_ml.splits.stratified_sampling import (
    MODALITIES,
    OPEN,
    SEQUESTERED,
    check_bins,
    check_set_shares,
    first_match,
    patients_of,
    sequestered_sets,
    stratified_sets,
)

FEATURES = ("covid_ever", "age_band", "race", "sex", "ethnicity")


@dataclass(frozen=True, kw_only=True)
class Sequestration:
    """MIDRC's original sequestration (`sequestered_sets`): test = sequestered; the open patients are dealt.

    fraction: that is sequestered. features: what strata are of, beside the modality and the site. per_site: whether
    each site is sampled by itself. validation: share of the open patients, which are dealt by `stratify`.
    """

    fraction: float = 0.2
    features: Sequence[str] = FEATURES
    modalities: Sequence[str] = MODALITIES
    per_site: bool = True
    validation: float = 0.15
    stratify: Sequence[str] = ("label", "site", "sex", "age_band")
    seed: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        check_share("split.fraction", self.fraction)
        check_share("split.validation", self.validation)
        if not self.modalities:
            raise InputError("split.modalities is []; it must name one or more: [CR, CT, DX, MR]")

    @property
    def query(self) -> Mapping[str, object]:
        """The settings: rule, fraction, strata, seed."""
        return {
            "split": "sequestration",
            "fraction": self.fraction,
            "features": list(self.features),
            "modalities": list(self.modalities),
            "per_site": self.per_site,
            "validation": self.validation,
            "seed": self.seed,
            "stratify": list(self.stratify),
        }

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`, the same for all studies of a patient."""
        site = "site" if self.per_site else None
        # Features may name the modality or the site, which are strata anyway; any other one is named once.
        added = [name for name in ("modality", site) if name and name not in self.features]
        patients = patients_of(studies, [*self.features, *added])
        sets = sequestered_sets(
            patients, self.features, fraction=self.fraction, site=site, modalities=self.modalities, seed=self.seed
        )
        is_test = studies["patient_id"].map(sets) == SEQUESTERED
        return studies.assign(
            part=deal_the_others(studies, is_test, validation=self.validation, stratify=self.stratify, seed=self.seed)
        )

    def notes(self, studies: pd.DataFrame) -> list[str]:
        """How many patients have none of the modalities, and so are never sequestered."""
        placed = first_match(patients_of(studies, ["modality"])["modality"], self.modalities)
        count = int((placed == NOT_REPORTED).sum())
        wanted = ", ".join(self.modalities)
        return [f"{count} of {len(placed)} patients have none of {wanted}: they are open"] if count else []


@dataclass(frozen=True, kw_only=True)
class StratifiedSets:
    """MIDRC's generalised stratified sampling (`stratified_sets`): sets of given shares, each of which is a part.

    parts: {set: train, validation or test}; where none is validation, `validation` is the share of the train
    patients that is dealt into it, by `stratify`.
    """

    fractions: Mapping[str, float] = field(default_factory=lambda: {OPEN: 0.8, SEQUESTERED: 0.2})
    parts: Mapping[str, str] = field(default_factory=lambda: {OPEN: "train", SEQUESTERED: "test"})
    features: Sequence[str] = ("sex", "age_band", "race", "ethnicity", "covid_ever")
    bins: Mapping[str, Sequence[float]] = field(default_factory=dict)
    validation: float = 0.15
    stratify: Sequence[str] = ("label", "site", "sex", "age_band")
    seed: int = 0
    sha256: str | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "split")
        check_share("split.validation", self.validation)
        check_set_shares(self.fractions)
        if not self.features:
            raise InputError("split.features is []; it must name one column or more: [sex, age_band]")
        check_bins(self.bins, self.features)
        if not isinstance(self.parts, Mapping) or set(self.parts) != set(self.fractions):
            raise InputError(
                f"split.parts is {self.parts!r}; it must give a part to each set of split.fractions: "
                f"{', '.join(map(str, self.fractions))}"
            )
        for name, part in self.parts.items():
            check_rule(f"split.parts.{name}", part, PARTS)

    @property
    def query(self) -> Mapping[str, object]:
        """The settings: rule, sets, parts, strata, seed."""
        return {
            "split": "stratified_sets",
            "fractions": {str(name): share for name, share in self.fractions.items()},
            "parts": {str(name): part for name, part in self.parts.items()},
            "features": list(self.features),
            "bins": {column: list(bounds) for column, bounds in self.bins.items()},
            "validation": self.validation,
            "seed": self.seed,
            "stratify": list(self.stratify),
        }

    def assign(self, studies: pd.DataFrame) -> pd.DataFrame:
        """`studies` with a `part`, the same for all studies of a patient."""
        patients = patients_of(studies, self.features)
        sets = stratified_sets(patients, self.features, self.fractions, self.seed, bins=self.bins)
        part = studies["patient_id"].map(sets.map(dict(self.parts))).astype("str")
        if "validation" not in self.parts.values():
            part = deal_validation(studies, part, validation=self.validation, stratify=self.stratify, seed=self.seed)
        return studies.assign(part=part)
