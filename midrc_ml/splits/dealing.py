"""How patients are dealt: one queue, ordered by stratum and by a keyed shuffle, and parts given out along it.

A shuffle is by SHA-256 of seed and id, so that it depends neither on the order of rows nor on other patients.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from midrc_ml.errors import InputError
from midrc_ml.splits.manifest import PARTS

NUM_LABEL_BINS = 4
MOST_CLASSES = 8
_IDS = ("patient_id", "case_id", "study_id")


def deal_patients(
    studies: pd.DataFrame, shares: Mapping[str, float], *, stratify: Sequence[str], seed: object
) -> pd.Series:
    """The part of each study, the same for all studies of a patient; every stratum is divided alike.

    Raises:
        InputError: a column of `stratify` that `studies` has not, one named twice, or one of ids.
    """
    patients = queue_of_patients(studies, stratify=stratify, seed=seed)
    part = pd.Series(deal(len(patients), shares), index=patients.index, dtype="str")
    return studies["patient_id"].map(part)


def deal_the_others(
    studies: pd.DataFrame, is_test: pd.Series, *, validation: float, stratify: Sequence[str], seed: int
) -> pd.Series:
    """`test` where `is_test`; the other patients are dealt into train and validation (a share of them)."""
    part = is_test.map({True: "test", False: "train"})
    return deal_validation(studies, part, validation=validation, stratify=stratify, seed=seed)


def deal_validation(
    studies: pd.DataFrame, part: pd.Series, *, validation: float, stratify: Sequence[str], seed: int
) -> pd.Series:
    """`part` with a share of the train patients dealt into validation."""
    part, train = part.copy(), (part == "train").to_numpy(dtype=bool)
    shares = {"train": 1 - validation, "validation": validation}
    part[train] = deal_patients(studies[train], shares, stratify=stratify, seed=seed).to_numpy()
    return part


def queue_of_patients(
    studies: pd.DataFrame, *, stratify: Sequence[str], seed: object, shuffle_strata: bool = False
) -> pd.DataFrame:
    """One row a patient, in the order of dealing: stratum by stratum, shuffled within.

    shuffle_strata: the strata follow each other in an order that the seed decides, not in that of their values.
    """
    check_columns("split.stratify", stratify, studies)
    patients = one_row_a_patient(studies, stratify)
    patients["order"] = [shuffle_key(seed, name) for name in patients.index.tolist()]
    if shuffle_strata:
        for column in stratify:
            keys = {value: shuffle_key(seed, f"{column}={value}") for value in patients[column].unique()}
            patients[column] = patients[column].map(keys)
    return patients.sort_values([*stratify, "order"], kind="stable")


def one_row_a_patient(studies: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """`columns` of the patient's study of the lowest id, but the patient's highest label; indexed by `patient_id`.

    Labels that are more than `MOST_CLASSES` values, or not whole, are numbers: they become quarters.
    """
    wanted = list(dict.fromkeys(["patient_id", "study_id", *columns]))
    patients = studies[wanted].sort_values("study_id").drop_duplicates("patient_id").set_index("patient_id")
    patients = patients[list(columns)].copy()
    if "label" in columns:
        patients["label"] = _strata_of(studies.groupby("patient_id")["label"].max())
    return patients


def _strata_of(label: pd.Series) -> pd.Series:
    values = np.unique(label.dropna().to_numpy(dtype="float64"))
    are_classes = len(values) <= 2 or (len(values) <= MOST_CLASSES and bool((values == np.round(values)).all()))
    if are_classes:
        return label
    return pd.Series(pd.qcut(label, NUM_LABEL_BINS, labels=False, duplicates="drop"), index=label.index)


def deal(count: int, shares: Mapping[str, float]) -> list[str]:
    """Part of each place in a queue: whichever part is furthest behind its share gets the next place."""
    names = [name for name in PARTS if shares.get(name, 0) > 0]
    share = [float(shares[name]) for name in names]
    dealt = [0] * len(names)
    result = []
    for place in range(1, count + 1):
        # Half a place is added so that a small part gets its first one in the middle of its turn, not at its end.
        behind = [s * (place + 0.5) - d for s, d in zip(share, dealt, strict=True)]
        next_one = behind.index(max(behind))
        dealt[next_one] += 1
        result.append(names[next_one])
    return result


def shuffle_key(seed: object, name: object) -> str:
    """The place of `name` in the order of a seed: sort by it."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def uniform(seed: object, name: object) -> float:
    """A number of [0, 1) that seed and name decide."""
    return int(shuffle_key(seed, name)[:13], 16) / 16**13


def refuse_cut_patients(studies: pd.DataFrame, part: pd.Series, *, where: str, into: str) -> None:
    """Refuse a part of each study that puts a patient into two; a missing part is none.

    Raises:
        InputError: with the number of patients, and of those who are known under two case ids.
    """
    pairs = studies[["patient_id", "case_id"]].assign(part=part.to_numpy()).dropna(subset="part")
    parts = pairs.drop_duplicates(["patient_id", "part"])["patient_id"]
    cut = parts[parts.duplicated()].unique()
    if len(cut):
        cases = pairs[pairs["patient_id"].isin(cut)].drop_duplicates(["patient_id", "case_id"])["patient_id"]
        aliased = cases[cases.duplicated()].nunique()
        also = f" ({aliased} of them known under two case ids)" if aliased else ""
        raise InputError(f"{where} puts {len(cut)} patients into {into}{also}; a patient belongs to one part")


def check_columns(name: str, columns: Iterable[str], studies: pd.DataFrame) -> None:
    """Refuse columns that `studies` has not, a column named twice, and ids: of those, each patient has another."""
    columns = list(columns)
    if ids := [column for column in _IDS if column in columns]:
        raise InputError(f"{name} names {', '.join(ids)}, which makes each patient a stratum; leave it out")
    if twice := [column for column in dict.fromkeys(columns) if columns.count(column) > 1]:
        raise InputError(f"{name} names {', '.join(twice)} more than once; name each column once")
    unknown = [column for column in columns if column not in studies.columns]
    if unknown:
        raise InputError(
            f"{name} is {', '.join(unknown)}, which the studies do not have; columns are {', '.join(studies.columns)}"
        )


def check_share(name: str, value: float) -> None:
    """Refuse a share that is not between 0 and 1, both excluded; nan is none."""
    if not 0 < value < 1:
        raise InputError(f"{name} is {value!r}; it must be above 0 and below 1")


def check_rule(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a rule that does not exist."""
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")


def check_fractions(shares: object) -> None:
    """Refuse `split.fractions` that are not shares of train, validation and test that add up to 1."""
    if not isinstance(shares, Mapping):
        raise InputError(f"split.fractions is {shares!r}; it must name its parts: {{train: 0.6, ...}}")
    for name, share in shares.items():
        if type(share) not in (int, float):
            raise InputError(f"split.fractions.{name} is {share!r}; it must be a number")
    # Not written as `> 1e-6`, which is false of nan.
    adds_up = all(share >= 0 for share in shares.values()) and abs(sum(shares.values()) - 1) <= 1e-6
    if not set(shares) <= set(PARTS) or not adds_up:
        raise InputError(f"split.fractions is {dict(shares)}; it must name {', '.join(PARTS)} and add up to 1")
