"""MIDRC's stratified sampling of patients into sets: its sequestration rule, and the generalised form of it.

Sources: Baughan et al., MIDRC/Stratified_Sampling (2023); Generalized_Stratified_Sampling (2025). What is random
here depends on the seed and the patient's id alone: the draws are not those of MIDRC's own programs, the rules are.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.errors import InputError
from midrc_ml.splits.dealing import MOST_CLASSES, check_columns, one_row_a_patient, shuffle_key, uniform
from midrc_ml.tables.checks import parse_list

OPEN, SEQUESTERED = "Open", "Seq"
MODALITIES = ("CR", "CT", "DX", "MR")
SMALL_STRATUM = 5
# What the product of a fraction and a count may miss a whole number by.
_ROUNDING = 1e-9


def sequestered_sets(
    patients: pd.DataFrame,
    features: Sequence[str],
    *,
    fraction: float = 0.2,
    site: str | None = "site",
    modalities: Sequence[str] = MODALITIES,
    seed: int = 0,
) -> pd.Series:
    """`Open` or `Seq` for each patient, by MIDRC's original rule.

    Strata are site x modality x features; naming the site or `modality` among the features changes nothing. A
    patient of several modalities is placed at the first match in `modalities`, taken from the one that most
    patients have to the one that fewest have; a patient of none of them is open. In a stratum of fewer than 5 each
    patient is sequestered with the probability `fraction`; else the first round((1 - fraction) * n) in a random
    order are open.

    patients: one row each, indexed by patient id, with `modality` (comma list) and the columns of `features`.

    Raises:
        InputError: a patient twice, a feature that is unknown, named twice or an id, or a column of numbers.
    """
    check_columns("split.features", features, patients)
    check_columns("split.features", ["modality"], patients)
    others = [name for name in features if name not in ("modality", site)]
    categories = _texts(patients, [*others, *([site] if site else [])], {})
    placed = first_match(patients["modality"], modalities)
    queue = _queue(categories.assign(modality=placed), seed)
    grouped = queue.groupby("stratum", sort=False)["order"]
    count, place = grouped.transform("size"), grouped.cumcount()
    is_open = (place < np.round(count * (1 - fraction))).to_numpy(copy=True)
    small = (count < SMALL_STRATUM).to_numpy()
    draws = [uniform(seed, f"set of {name}") for name in queue.index[small].tolist()]
    is_open[small] = np.array(draws, dtype="float64") >= fraction
    is_open[(placed.reindex(queue.index) == NOT_REPORTED).to_numpy()] = True
    sets = pd.Series(np.where(is_open, OPEN, SEQUESTERED), index=queue.index, dtype="str")
    return sets.reindex(patients.index)


def stratified_sets(
    patients: pd.DataFrame,
    features: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
    *,
    bins: Mapping[str, Sequence[float]] | None = None,
) -> pd.Series:
    """The name of the set of each patient, by MIDRC's generalised rule: within one patient of its share everywhere.

    Each combination of features is shuffled; each set gets floor(fraction * n) of it. Those left are given
    one each to sets drawn without replacement, with probabilities in proportion to what the floor took away.

    patients: one row each, indexed by patient id. features: columns; a missing value is a category of its own,
    `modality` a comma list in any order. fractions: {set: its share}, in any unit: {Open: 0.8, Seq: 0.2} or
    {Fold 1: 16, ..., Test: 20}. bins: {column of numbers: lower bounds}, each included, the last one open.

    Raises:
        InputError: a patient twice, a feature that is unknown, named twice or an id, a column of numbers without
            bins or of texts with them, or bad fractions.
    """
    check_set_shares(fractions)
    queue = _queue(_texts(patients, features, bins or {}), seed)
    names: list[str] = []
    for stratum, members in queue.groupby("stratum", sort=False):
        names += _sets_of(len(members), fractions, f"{seed}:{stratum}")
    return pd.Series(names, index=queue.index, dtype="str").reindex(patients.index)


def patients_of(studies: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """One row a patient, indexed by patient id: the modalities of all studies, a flag that is true in any of them.

    Any other column is that of the patient's study of the lowest id.

    Raises:
        InputError: a feature that `studies` has not, that is named twice, or that is an id.
    """
    check_columns("split.features", features, studies)
    patients = one_row_a_patient(studies, features)
    by_patient = studies.groupby("patient_id")
    for column in features:
        if pd.api.types.is_bool_dtype(studies[column]):
            patients[column] = by_patient[column].max()
    if "modality" in features:
        pairs = studies[["patient_id", "modality"]].dropna().drop_duplicates()
        found: dict[str, list[str]] = {}
        for patient, modality in zip(pairs["patient_id"].tolist(), pairs["modality"].tolist(), strict=True):
            found.setdefault(patient, []).append(modality)
        patients["modality"] = pd.Series({patient: ",".join(names) for patient, names in found.items()}, dtype="str")
    return patients


def check_set_shares(fractions: object) -> None:
    """Refuse `split.fractions` that do not give each of two or more sets a share above 0."""
    if not isinstance(fractions, Mapping) or len(fractions) < 2:
        raise InputError(f"split.fractions is {fractions!r}; it must name two sets or more: {{Open: 0.8, Seq: 0.2}}")
    for name, share in fractions.items():
        if type(share) not in (int, float) or not 0 < share < math.inf:
            raise InputError(f"split.fractions.{name} is {share!r}; it must be a number above 0")


def check_bins(bins: object, features: Sequence[str]) -> None:
    """Refuse `split.bins` that are not rising lower bounds of columns that are features."""
    if not isinstance(bins, Mapping):
        raise InputError(f"split.bins is {bins!r}; it must map columns to lower bounds: {{age: [0, 18, 65]}}")
    for column, bounds in bins.items():
        if column not in features:
            raise InputError(f"split.bins has {column}, which is not among split.features: {', '.join(features)}")
        are_numbers = isinstance(bounds, Sequence) and all(type(bound) in (int, float) for bound in bounds)
        if not are_numbers or not bounds or not all(np.diff(bounds) > 0):
            raise InputError(f"split.bins.{column} is {bounds!r}; it must be a list of rising numbers: [0, 18, 65]")


def _texts(patients: pd.DataFrame, features: Sequence[str], bins: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """The category of each patient in each feature, as a text."""
    check_columns("split.features", features, patients)
    return pd.DataFrame({name: _categories(patients[name], name, bins) for name in features}, index=patients.index)


def _categories(values: pd.Series, name: str, bins: Mapping[str, Sequence[float]]) -> pd.Series:
    missing = values.isna()
    if name in bins:
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        if count := int((numbers.isna() & ~missing).sum()):
            raise InputError(
                f"split.bins has {name}, which is not a number for {count} of {len(values)} patients; "
                f"bins are of a column of numbers: leave it out of split.bins"
            )
        bounds = np.array(bins[name], dtype="float64")
        position = np.searchsorted(bounds, numbers.fillna(0), side="right")
        texts = pd.Series(position, index=values.index).astype("str")
    elif pd.api.types.is_numeric_dtype(values) and values.nunique() > MOST_CLASSES:
        raise InputError(
            f"split.features has {name}, a column of {values.nunique()} different numbers; "
            f"give its bins: +split.bins.{name}=[0,18,65]"
        )
    elif name == "modality":
        spellings = {text: ",".join(sorted(set(parse_list(text)))) for text in values.dropna().unique()}
        texts = values.map(spellings)
    else:
        texts = values.astype("str").str.strip()
    return texts.mask(missing | (texts == "")).fillna(NOT_REPORTED)


def first_match(modality: pd.Series, modalities: Sequence[str]) -> pd.Series:
    """The modality that each patient is placed at; `Not Reported` for one who has none of `modalities`."""
    texts = modality.fillna("")
    listed = {text: parse_list(text) for text in texts.unique()}
    has = {
        name: texts.map({text: name in found for text, found in listed.items()}).astype("bool") for name in modalities
    }
    placed = pd.Series(NOT_REPORTED, index=modality.index, dtype="str")
    # From the rarest to the most frequent, so that the most frequent one has the last word; names settle ties.
    for name in sorted(modalities, key=lambda name: (-has[name].sum(), name), reverse=True):
        placed[has[name]] = name
    return placed


def _queue(categories: pd.DataFrame, seed: int) -> pd.DataFrame:
    """`stratum` of each patient, in order of stratum and, within, in a random order."""
    if count := int(categories.index.duplicated().sum()):
        raise InputError(f"stratified sampling: {count} rows name a patient again; each patient must be there once")
    columns = [categories[name].tolist() for name in categories]
    stratum = pd.Series(["\x1f".join(row) for row in zip(*columns, strict=True)], dtype="str")
    order = [shuffle_key(seed, name) for name in categories.index.tolist()]
    queue = pd.DataFrame({"stratum": stratum.to_numpy(), "order": order}, index=categories.index)
    return queue.sort_values(["stratum", "order"])


def _sets_of(count: int, fractions: Mapping[str, float], seed: str) -> list[str]:
    """The sets of the patients of one stratum, in their random order."""
    total = sum(fractions.values())
    names: list[str] = []
    left = {}
    for name, share in fractions.items():
        exact = count * share / total
        whole = math.floor(exact + _ROUNDING)
        names += [name] * whole
        left[name] = max(exact - whole, 0.0)
    while len(names) < count:
        # Where the number falls among the parts that the floors took away, laid end to end.
        reach = np.cumsum(list(left.values()))
        chosen = list(left)[int(np.searchsorted(reach, uniform(seed, len(names)) * reach[-1], side="right"))]
        names.append(chosen)
        del left[chosen]
    return names
