"""Overlap with what pretrained weights have seen, where that is known."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from midrc_ml.audits.entry import AuditEntry, not_applicable
from midrc_ml.audits.overlap import overlap_reasons
from midrc_ml.cohorts.reader import Tables

CHECK = "leakage.pretraining"
_SETTINGS = ("weights", "pretrained", "pretrained_weights", "checkpoint")
# What is in the name of published weights, and the collections that they were trained on, by words of their names.
# Source: torchxrayvision's model list (github.com/mlmed/torchxrayvision, README); RSNA Pneumonia is drawn from NIH.
_SEEN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("res224-all", ("nih", "rsna", "padchest", "chexpert", "mimic", "openi")),
    ("res512-all", ("nih", "rsna", "padchest", "chexpert", "mimic", "openi")),
    ("res224-rsna", ("rsna", "nih")),
    ("res224-nih", ("nih", "rsna")),
    ("res224-pc", ("padchest",)),
    ("res224-chex", ("chexpert",)),
    ("res224-mimic", ("mimic",)),
    ("imagenet", ()),
)


def pretraining_overlap(model: Callable[..., Any], studies: pd.DataFrame, tables: Tables) -> AuditEntry:
    """`leakage.pretraining`: whether the weights that the model starts from have seen patients of these studies.

    Known are weights of a run of this package (its folder, or a file in it), by its split, and published ones by the
    collections that they were trained on. studies: as of `Task.labelled_studies`, with part. value: patients.
    """
    given = list(_weights(model))
    if not given:
        return not_applicable(CHECK, "the network starts from random weights")
    words = []
    for name in given:
        folder = _run_folder(name)
        if folder is not None:
            return _of_run(folder, studies)
        seen = next((collections for key, collections in _SEEN if key in name.lower()), None)
        if seen is None:
            return AuditEntry(
                check=CHECK,
                status="warn",
                value=None,
                evidence="it is not known which patients the pretrained weights have seen",
                what_to_do="find out what they were trained on; test on a collection that is younger than they are",
            )
        names = " ".join([tables.origin, *tables.cases["project"].dropna().unique()]).lower()
        shared = sorted({collection for collection in seen if collection in names})
        if shared:
            return AuditEntry(
                check=CHECK,
                status="fail",
                value=None,
                evidence=f"the pretrained weights were trained on {', '.join(shared)}, which the cohort is drawn from",
                what_to_do="other weights, or another test cohort",
            )
        words.append(f"trained on {', '.join(seen) or 'no radiographs'}")
    return AuditEntry(
        check=CHECK,
        status="pass",
        value=0.0,
        evidence=f"the pretrained weights were {'; '.join(words)}, which is none of the cohort's collections",
        what_to_do="nothing",
    )


def _of_run(folder: Path, studies: pd.DataFrame) -> AuditEntry:
    split = pd.read_parquet(folder / "split.parquet", columns=["patient_id", "case_id", "study_id", "part"])
    tested = studies[studies["part"] != "train"].reset_index(drop=True)
    seen = overlap_reasons(tested, split).notna().to_numpy()
    shared = int(tested.loc[seen, "patient_id"].nunique())
    return AuditEntry(
        check=CHECK,
        status="fail" if shared else "pass",
        value=float(shared),
        evidence=f"{shared} of {tested['patient_id'].nunique()} validation and test patients are in the train or "
        f"validation part of the run that the weights come from",
        what_to_do="give both runs the same split, or start from other weights" if shared else "nothing",
    )


def _weights(model: object) -> Iterator[str]:
    """The weights that a model is configured with, and what it is made of."""
    for name, value in dict(getattr(model, "keywords", {})).items():
        if name in _SETTINGS and value not in (None, False, ""):
            yield str(value)
        elif callable(value):
            yield from _weights(value)
        elif isinstance(value, Mapping):
            yield from (str(one) for key, one in value.items() if key in _SETTINGS and one)


def _run_folder(name: str) -> Path | None:
    path = Path(name)
    try:
        places = [path, *list(path.parents)[:2]] if path.exists() else []
    except OSError:
        return None
    return next((place for place in places if (place / "split.parquet").is_file()), None)
