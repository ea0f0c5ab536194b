"""The studies on which all models are compared: the same for each, and unseen by each."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.compared.sources import Source
from midrc_ml.errors import InputError
from midrc_ml.evaluation.weighted import Array
from midrc_ml.predictions import truth_and_score
from midrc_ml.tasks.task import Task

_TRUTH = ("patient_id", "y_true", "time")
_HOW = (
    "--intersect compares on the studies common to all, without the patients that one of the models was trained or "
    "tuned on"
)
_HEX = 12
_SPLITS_SAID = 5


@dataclass(frozen=True, kw_only=True)
class CommonTestSet:
    """studies: a row each, sorted by patient and study. y_true, scores: as the metrics take them, a score a source.

    split_sha256: that all share; None where they do not, or have none. sha256: over the study ids and their truth.
    notes: what was left out, with counts.
    """

    part: str
    studies: pd.DataFrame
    y_true: Array
    scores: Sequence[Array]
    split_sha256: str | None
    sha256: str
    notes: Sequence[str]


def common_test_set(sources: Sequence[Source], task: Task, *, part: str, intersect: bool) -> CommonTestSet:
    """The studies of `part` that all sources have scored.

    intersect: where they differ, take those that are in all of them, without the patients of whom one of the sources
    says that it was trained (or, for the part test, tuned) on them.

    Raises:
        InputError: other splits, studies, labels or patients, with the number of studies in common.
    """
    tables = []
    for source in sources:
        table = source.table[source.table["part"] == part].set_index("study_id", drop=False).rename_axis(None)
        if table.empty:
            raise InputError(f"{source.place.told} has no study of the part {part}; give another --part")
        tables.append(table)
    splits = {source.split_sha256 for source in sources if source.split_sha256 is not None}
    same_rows = all(tables[0].index.equals(table.index) for table in tables[1:])
    silent = [source.shown for source in sources if source.split is None]
    notes = [f"on whom it was trained is not known of {', '.join(silent)}"] if silent else []
    if not same_rows or len(splits) > 1:
        common = tables[0].index
        for table in tables[1:]:
            common = common[common.isin(table.index)]
        if not intersect:
            raise InputError(_why_not(sources, tables, common, splits, part))
        tables, left_out = _intersected(sources, tables, common, part)
        notes += left_out
    _check_truth(sources, tables)
    classes = task.classes if task.kind == "multiclass" else ()
    arrays = [truth_and_score(table, kind=task.kind, classes=classes) for table in tables]
    studies = _with_groups(tables).reset_index(drop=True)
    return CommonTestSet(
        part=part,
        studies=studies,
        y_true=arrays[0][0],
        scores=[scores for _, scores in arrays],
        split_sha256=next(iter(splits)) if len(splits) == 1 else None,
        sha256=_sha256(studies),
        notes=notes,
    )


def of_split(sources: Sequence[Source], split: str | None) -> tuple[list[Source], list[str]]:
    """The sources without those of an experiment or a folder that are of another split, and how many these are.

    split: the beginning of its SHA-256; None = all are kept.

    Raises:
        InputError: none of them is of this split.
    """
    if split is None:
        return list(sources), []
    is_meant = [str(source.split_sha256 or "").startswith(split.lower()) for source in sources]
    if not any(is_meant):
        known = sorted({str(source.split_sha256)[:_HEX] for source in sources if source.split_sha256})
        raise InputError(
            f"--split {split}: no run is of such a split; those of the runs are {', '.join(known[:_SPLITS_SAID])}"
        )
    kept = [source for source, meant in zip(sources, is_meant, strict=True) if meant or not source.place.chosen]
    left_out = len(sources) - len(kept)
    return kept, [f"{left_out} runs of other splits; left out"] if left_out else []


def _why_not(
    sources: Sequence[Source], tables: Sequence[pd.DataFrame], common: pd.Index, splits: set[str], part: str
) -> str:
    sizes = sorted({len(table) for table in tables})
    numbers = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    known = [source for source in sources if source.split_sha256 is not None]
    if len(splits) > 1:
        other = next(source for source in known if source.split_sha256 != known[0].split_sha256)
        first, second = (str(source.split_sha256)[:_HEX] for source in (known[0], other))
        what = f"{known[0].place.told} and {other.place.told} are of different splits (SHA-256 {first}, {second})"
        if len(splits) > 2:
            what = f"the {len(sources)} runs are of {len(splits)} different splits ({known[0].place.told} of {first})"
        if any(source.place.chosen for source in known):
            count = Counter(str(source.split_sha256) for source in known)
            told = ", ".join(f"{number} runs of {sha256[:_HEX]}" for sha256, number in count.most_common(_SPLITS_SAID))
            what = f"{what}; {told} (--split SHA256 takes the runs of one)"
    else:
        place = next(place for place, table in enumerate(tables) if not tables[0].index.equals(table.index))
        what = f"{sources[0].place.told} and {sources[place].place.told} have scored different studies"
    if common.empty:
        return f"{what}, and no study of the part {part} ({numbers} each) is in all of them: they cannot be compared"
    return f"{what}: of their {numbers} {part} studies each, {len(common)} are in all of them; {_HOW}"


def _intersected(
    sources: Sequence[Source], tables: Sequence[pd.DataFrame], common: pd.Index, part: str
) -> tuple[list[pd.DataFrame], list[str]]:
    """The tables of the studies in all of them that no source was trained on, and what was left out."""
    sizes = [len(table) for table in tables]
    notes = [f"compared on {len(common)} studies that are in all, of {min(sizes)} to {max(sizes)} of the part {part}"]
    first = tables[0].loc[common]
    seen = np.zeros(len(common), dtype=bool)
    for source in sources:
        if source.split is None:
            continue
        known = source.split[source.split["part"].isin({"train"} if part == "validation" else {"train", "validation"})]
        of_source = first["patient_id"].isin(known["patient_id"]).to_numpy() | common.isin(known["study_id"])
        if of_source.any():
            notes.append(
                f"{source.shown} was trained or tuned on patients of {of_source.sum()} of these studies; left out"
            )
        seen |= of_source
    if seen.all():
        raise InputError(
            f"of the {len(common)} studies that are in all, each is of a patient whom one of the models was trained or "
            f"tuned on: nothing is left to compare them on; compare models of one split, or on an external cohort"
        )
    kept = common[~seen]
    if seen.any():
        notes.append(f"{len(kept)} studies are left")
    return [table.loc[kept] for table in tables], notes


def _check_truth(sources: Sequence[Source], tables: Sequence[pd.DataFrame]) -> None:
    for column in _TRUTH:
        for source, table in zip(sources, tables, strict=True):
            if column not in tables[0].columns or column not in table.columns:
                continue
            unequal = int((tables[0][column].to_numpy() != table[column].to_numpy()).sum())
            if unequal:
                raise InputError(
                    f"{sources[0].place.told} and {source.place.told} give {unequal} of {len(table)} studies another "
                    f"{column}: they do not answer the same question on the same studies, and are not compared"
                )


def _with_groups(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The first table, each group column from the first that reports it: a file of another framework may have none."""
    studies = tables[0].copy()
    for column in studies.columns:
        if (studies[column] == NOT_REPORTED).all():
            told = (table[column] for table in tables if column in table.columns)
            studies[column] = next((values for values in told if (values != NOT_REPORTED).any()), studies[column])
    further = {name for table in tables[1:] for name in table.columns if not name.startswith(("y_score", "raw_score"))}
    for column in sorted(further - set(studies.columns)):
        studies[column] = next(table[column] for table in tables if column in table.columns)
    return studies


def _sha256(studies: pd.DataFrame) -> str:
    ordered = studies.sort_values("study_id")
    columns = [ordered["study_id"].astype(str), *(ordered[name] for name in _TRUTH[1:] if name in ordered.columns)]
    digest = hashlib.sha256()
    for row in zip(*columns, strict=True):
        digest.update(("\x1f".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()
