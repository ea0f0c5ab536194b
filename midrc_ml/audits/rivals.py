"""What a model is held against: simple models of what is not the disease (shortcuts), and of what is cheap (floors)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from midrc_ml.audits.picture_features import Images, PictureFeatures
from midrc_ml.audits.simple_models import components, constant_score, named_columns, scores_of, standardised
from midrc_ml.audits.study_features import SOURCES, encoded, file_facts, known_table, metadata, missingness, words_of
from midrc_ml.audits.test_part import TestPart
from midrc_ml.cohorts.reader import Tables
from midrc_ml.evaluation.scorers import value_of
from midrc_ml.evaluation.settings import Evaluation
from midrc_ml.evaluation.weighted import Array
from midrc_ml.tasks.task import Task

_SMALL_PARTS, _BORDER_PARTS = 100, 50  # principal components
NO_PICTURES = "no image is read"
PREDICTIONS_ALONE = (
    "predictions alone do not tell; python -m midrc_ml.audit predictions=... reads the cohort beside them"
)
_APART = ("shortcut.metadata", "shortcut.file", "shortcut.border", "shortcut.missingness")


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A simple model. words: what it is given. scores: of every study, None = there is none. why_not: the reason.

    features, parts: what it was fitted to, to fit it again to other studies. apart: scores of every study by models of
    other patients, of shortcuts: of all studies more can be said than of the test part.
    """

    check: str
    words: str
    scores: Array | None = field(default=None, repr=False)
    why_not: str = ""
    features: Array | None = field(default=None, repr=False)
    parts: int = 0
    apart: Array | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Studies:
    """The studies of a run and what is known of them.

    rows: as of `Task.labelled_studies`, with part, and with `image` where there are pictures. tables: None = there are
    none, and rows are those of a predictions table. facts: of
    `images.film_facts`, aligned. clinical: the run's own clinical table, aligned; None = it reads none.
    """

    rows: pd.DataFrame
    tables: Tables | None
    task: Task
    images: Images | None = None
    facts: pd.DataFrame | None = None
    clinical: pd.DataFrame | None = None

    @property
    def num_classes(self) -> int:
        """Of a multiclass task; else 0."""
        return len(self.task.classes)


def rivals(studies: Studies) -> list[Rival]:
    """All rivals: no knowledge, age and sex, the clinical table, a small picture, and the shortcuts."""
    pictures = _pictures(studies)
    of_tables = _of_predictions(studies) if studies.tables is None else _of_tables(studies, studies.tables)
    made = [
        Rival(
            check="floor.prevalence",
            words="the same score for every study",
            scores=constant_score(studies.rows, kind=studies.task.kind, num_classes=studies.num_classes),
        ),
        *of_tables,
    ]
    for check, words, values, parts in (
        ("floor.image", "32 x 32 pixels", "small", _SMALL_PARTS),
        ("shortcut.border", "the outer tenth of each side of the picture", "border", _BORDER_PARTS),
        ("shortcut.thumbnail", "a thumbnail of 8 x 8 pixels", "thumbnail", 0),
    ):
        if pictures is None:
            made.append(Rival(check=check, words=words, why_not=NO_PICTURES))
        else:
            made.append(_fitted(check, words, getattr(pictures, values), studies, form="linear", parts=parts))
    return made


def _of_predictions(studies: Studies) -> list[Rival]:
    """Of the groups of a predictions table, which is all that is known of its studies."""
    rows = studies.rows
    frames = {"floor.age_sex": words_of(rows, ("age_band", "sex")), "shortcut.metadata": words_of(rows, SOURCES)}
    made = [
        _fitted(check, named_columns([str(name).replace("_", " ") for name in frame]), encoded(frame, rows), studies,
                form="linear")
        for check, frame in frames.items()
    ]  # fmt: skip
    others = ("floor.clinical", "shortcut.missingness", "shortcut.file")
    return [*made, *(Rival(check=check, words="", why_not=PREDICTIONS_ALONE) for check in others)]


def _of_tables(studies: Studies, tables: Tables) -> list[Rival]:
    rows = studies.rows
    of_patient = known_table(studies.task, tables, rows)
    given = of_patient if studies.clinical is None else studies.clinical
    frames: list[tuple[str, str, Callable[[], pd.DataFrame]]] = [
        ("floor.age_sex", "age and sex", lambda: of_patient[["age", "sex"]]),
        ("floor.clinical", "the clinical table known by the day of the study", lambda: given),
        ("shortcut.metadata", "", lambda: metadata(rows, tables, studies.facts)),
        ("shortcut.missingness", "which values are missing", lambda: missingness(rows, tables)),
    ]
    if studies.facts is not None:
        facts = studies.facts
        frames.append(("shortcut.file", "", lambda: file_facts(facts)))
    made = []
    for check, words, read in frames:
        frame = read()
        said = words or named_columns([str(name).replace("_", " ") for name in frame])
        if check in ("floor.clinical", "shortcut.missingness"):
            said = f"{said} ({len(frame.columns)} columns)"
        if not words and (most := _above_all(frame, studies)):
            said = f"{said} (above all {most})"
        form = "linear" if check == "floor.age_sex" else "either"
        made.append(_fitted(check, said, encoded(frame, rows), studies, form=form))
    if studies.facts is None:
        made.append(Rival(check="shortcut.file", words="the files", why_not="no image file is there"))
    return made


def _fitted(check: str, words: str, features: Array, studies: Studies, *, form: Any, parts: int = 0) -> Rival:
    asked: Any = {"kind": studies.task.kind, "num_classes": studies.num_classes, "parts": parts}
    scores, apart, why = scores_of(features, studies.rows, form=form, **asked), None, ""
    if scores is not None and check in _APART and (studies.rows["part"] == "train").any():
        everyone = np.ones(len(studies.rows), dtype=bool)  # components know no label: those of all do no harm
        told = components(standardised(features, everyone), everyone, parts) if parts else features
        apart = scores_of(told, _nobody_trains(studies.rows), form="linear", **{**asked, "parts": 0})
    if scores is None:
        why = f"{words or 'it'}: nothing of it differs between studies" if features.shape[1] else _NOTHING[check]
        if studies.rows["label"].nunique() < 2:
            why = "all labels are alike"
    return Rival(check=check, words=words, scores=scores, why_not=why, features=features, parts=parts, apart=apart)


def _nobody_trains(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(part="test")


def _above_all(frame: pd.DataFrame, studies: Studies) -> str:
    """The column that alone tells most of the label, each patient by a model of others; empty where none can."""
    rows, metric, losses = _nobody_trains(studies.rows), next(iter(studies.task.metrics.values())), {}
    everyone = TestPart.of(
        rows,
        constant_score(rows, kind=studies.task.kind, num_classes=studies.num_classes),
        metrics={next(iter(studies.task.metrics)): metric},
        kind=studies.task.kind,
        classes=studies.task.classes,
        evaluation=Evaluation(),
    )
    for name in frame:
        scores = scores_of(
            encoded(frame[[name]], rows), rows, kind=studies.task.kind, num_classes=studies.num_classes, form="linear"
        )
        if scores is not None:
            losses[str(name)] = everyone.knowledge(value_of(everyone.metric, everyone.y_true, scores))
    known = {name: value for name, value in losses.items() if value > 0}
    return max(known, key=lambda name: known[name]).replace("_", " ") if len(known) and len(frame.columns) > 1 else ""


_NOTHING = {
    "floor.age_sex": "neither age nor sex is known",
    "floor.clinical": "no clinical table is known by the day of the study",
    "shortcut.metadata": "no site, project, view, modality, manufacturer, year or size differs between studies",
    "shortcut.missingness": "nothing is missing in some studies and known in others",
    "shortcut.file": "the files do not differ in size or form",
    "floor.image": NO_PICTURES,
    "shortcut.border": NO_PICTURES,
    "shortcut.thumbnail": NO_PICTURES,
}


def _pictures(studies: Studies) -> PictureFeatures | None:
    if studies.images is None or "image" not in studies.rows:
        return None
    return PictureFeatures.of(studies.images, studies.rows["image"].to_numpy(dtype=np.int64))


def on(rows: pd.DataFrame, made: list[Rival], study_ids: pd.Series) -> Mapping[str, Array]:
    """The scores of the rivals that have some, {check: (study, ...)} in the order of `study_ids`."""
    place = pd.Series(np.arange(len(rows)), index=rows["study_id"]).reindex(study_ids).to_numpy()
    return {rival.check: rival.scores[place.astype(np.int64)] for rival in made if rival.scores is not None}
