"""A predictions table from files of any framework, checked against the task and, where given, the split and the truth.

Nothing is left out without being counted, and nothing at all unless the form names a rule for it.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from midrc_ml.cohorts.selection import GROUP_COLUMNS, NOT_REPORTED
from midrc_ml.errors import InputError
from midrc_ml.prediction_files.columns import FileColumns, group_texts
from midrc_ml.prediction_files.form import PredictionForm
from midrc_ml.prediction_files.given_split import HASH_FILE, SPLIT_FILE, GivenSplit, lies_beside, read_split
from midrc_ml.prediction_files.rows import StudyRows
from midrc_ml.prediction_files.table import FileTable, read_table
from midrc_ml.prediction_files.values import check_scores, is_missing, missing_in_words, scores_of
from midrc_ml.predictions import checked_predictions, truth_and_score
from midrc_ml.splits.manifest import Manifest
from midrc_ml.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """What was read. table: as `predictions.checked_predictions` has it.

    notes: what was left out, put in or not known, with counts. sha256, truth_sha256: of the files' bytes. manifest: of
    the studies of the table. split: that was checked against. score_name: the file's own name of its score.
    """

    table: pd.DataFrame
    notes: Sequence[str]
    path: Path
    sha256: str
    truth_sha256: str | None
    manifest: Manifest
    split: GivenSplit | None
    score_name: str | None

    @property
    def split_sha256(self) -> str:
        """Of the split that was checked against, else of the studies of the table with their labels and parts."""
        return self.manifest.sha256 if self.split is None else self.split.sha256

    def save_split(self, folder: Path) -> None:
        """Write `split.parquet` and `split.sha256`, as in a run's folder: those of the split, if given."""
        if self.split is None:
            self.manifest.save(folder)
            return
        for name in (SPLIT_FILE, HASH_FILE):
            shutil.copyfile(self.split.folder / name, folder / name)

    @property
    def origin(self) -> str:
        """Where the studies are from, in words."""
        return (self.split.origin if self.split is not None else None) or "predictions file"

    @property
    def synthetic(self) -> bool:
        """Whether the split says that no real patient stands behind it."""
        return self.split is not None and self.split.synthetic


def read_predictions(
    place: str | Path,
    task: Task,
    *,
    form: PredictionForm | None = None,
    truth: str | Path | None = None,
    manifest: str | Path | None = None,
    further: Sequence[str] = (),
    setting: str = "predictions",
) -> PredictionFile:
    """The predictions in a file, or in a run's folder.

    truth: a file with the labels (and patients, parts, groups), where they stand in one of their own. manifest: a
    split, or a run's folder; without one, that which lies beside the predictions. further: columns to keep beside
    ours. setting: that named the place, for messages.

    Raises:
        InputError: files that cannot be read, or rows that are not what the task needs, with their count.
    """
    form = form or PredictionForm()
    path = Path(place)
    if (path / "predictions.parquet").is_file():
        path = path / "predictions.parquet"
    file = read_table(path, setting=setting)
    columns = FileColumns(file, None if truth is None else read_table(truth, setting="truth"), form)
    split = None
    if manifest is not None:
        split = read_split(manifest, task)
    elif lies_beside(path):
        split = read_split(path.parent, task, setting="the split beside the predictions")
    return _Reading(task, form, columns, split, further).result(path)


@dataclass
class _Reading:
    """One file on its way to a table."""

    task: Task
    form: PredictionForm
    columns: FileColumns
    split: GivenSplit | None
    further: Sequence[str]

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.file: FileTable = self.columns.file
        if self.split is not None and self.form.part is not None:
            raise InputError(f"part={self.form.part} is given, but {self.split.where} says the part of each study")

    def result(self, path: Path) -> PredictionFile:
        classes = self.task.classes if self.task.kind == "multiclass" else ()
        scores = scores_of(self.columns.scores(classes), self.task, self.form, where=self.file.where)
        scores = self._known(scores.set_axis(self.columns.study_ids))
        rows = self._rows(scores)
        scores, rows = self._complete(scores.reindex(rows.index), rows)
        check_scores(scores, self.task, self.form, where=self.file.where)
        table = rows.join(scores).join(self._groups(rows.index)).reset_index(drop=True)
        table = checked_predictions(table, where=self.file.where)
        truth_and_score(table, kind=self.task.kind, classes=classes, where=self.file.where)
        if not (table["part"] == "test").any():
            raise InputError(
                f"{self.file.where}: no row of the part test is left to evaluate; part=test says that all rows are"
            )
        if self.split is None and (table["patient_id"] == table["study_id"]).all():
            self.notes.append("each study counts as a patient of its own: intervals are too narrow where it is not")
        truth = self.columns.truth
        return PredictionFile(
            table=table,
            notes=self.notes,
            path=path,
            sha256=self.file.sha256,
            truth_sha256=None if truth is None else truth.sha256,
            manifest=Manifest.of(table, {"task": self.task.name, "version": self.task.version, "rows": "predictions"}),
            split=self.split,
            score_name=self.columns.score_name(),
        )

    def _known(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Without the studies that neither the split nor the truth has."""
        if self.split is not None:
            known, place = self.split.rows.index, self.split.where
        elif self.columns.truth is not None and self.columns.truth_ids is not None:
            known, place = pd.Index(self.columns.truth_ids), self.columns.truth.where
        else:
            return scores
        strange = ~scores.index.isin(known)
        count = int(strange.sum())
        if count == len(scores):
            raise InputError(
                f"{self.file.where}: none of its {count} study ids is in {place}; name the column with the ids "
                f"(columns.study_id=NAME), or say what of them is the id (study_id_pattern='(\\d+)\\.jpg')"
            )
        if count and self.form.unknown == "refuse":
            raise InputError(
                f"{self.file.where}: {count} of {len(scores)} studies are not in {place}: predictions of another split "
                f"or cohort? unknown=drop leaves them out"
            )
        if count:
            self.notes.append(f"{count} studies of the predictions are not known to the split or the truth; left out")
        return scores[~strange]

    def _rows(self, scores: pd.DataFrame) -> pd.DataFrame:
        """Everything but scores and groups, of the studies to be evaluated: those that need a score included."""
        maker = StudyRows(self.task, self.form, self.columns)
        if self.split is not None:
            rows = maker.of_split(self.split, scores.index)
        else:
            truth_ids = self.columns.truth_ids
            rows = maker.of_file(scores.index if truth_ids is None else pd.Index(truth_ids))
        trained_on = int((rows["part"] == "train").sum())
        if trained_on:
            self.notes.append(f"{trained_on} studies of the train part are not evaluated")
        rows = rows[rows["part"] != "train"]
        if rows.empty:
            raise InputError(f"{self.file.where}: all {trained_on} rows are of the part train, which is not evaluated")
        return self._labelled(rows)

    def _labelled(self, rows: pd.DataFrame) -> pd.DataFrame:
        blank = rows["label"].isna()
        count = int(blank.sum())
        if count and self.form.unlabelled == "refuse":
            raise InputError(
                f"{self.file.where}: {count} of {len(rows)} studies have no y_true; a label that is not known is no "
                f"negative: unlabelled=drop leaves them out"
            )
        if count == len(rows):
            raise InputError(
                f"{self.file.where}: none of {count} studies has a y_true; give truth=FILE or manifest=RUN"
            )
        if count:
            self.notes.append(f"{count} studies have no label; left out")
        return rows[~blank]

    def _complete(self, scores: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """`scores` and `rows` after the rule for studies that have no score."""
        missing = is_missing(scores)
        count = int(missing.sum())
        if not count:
            return scores, rows
        absent = int((~rows.index.isin(self.columns.study_ids)).sum())
        how = ", ".join(missing_in_words(scores[missing], 0))
        if absent:
            how = ", ".join(missing_in_words(scores[missing & rows.index.isin(self.columns.study_ids)], absent))
        if self.form.missing == "refuse" or count == len(rows):
            raise InputError(
                f"{self.file.where}: {count} of {len(rows)} studies have no score ({how}); missing=drop leaves them "
                f"out, missing=worst (binary tasks) gives them the score farthest from the truth, as a challenge does"
            )
        if self.form.missing == "drop":
            self.notes.append(f"{count} of {len(rows)} studies have no score ({how}); left out")
            return scores[~missing], rows[~missing]
        if self.task.kind != "binary":
            raise InputError(f"missing=worst is for binary tasks, and this is of kind {self.task.kind}; missing=drop")
        known = scores.loc[~missing, "y_score"]
        lowest, highest = (known.min(), known.max()) if self.form.scores == "rank" else (0.0, 1.0)
        worst = np.where(rows["label"] == 1, lowest, highest)
        self.notes.append(
            f"{count} of {len(rows)} studies have no score ({how}); given the score farthest from the truth"
        )
        return scores.assign(y_score=scores["y_score"].where(~missing, worst)), rows

    def _groups(self, index: pd.Index) -> pd.DataFrame:
        """The group columns: of the files, else of the split's own run; `Not Reported` where nobody says."""
        known = group_texts(self.columns, self.further)
        of_run = None if self.split is None else self.split.groups
        found, silent = {}, []
        for name in dict.fromkeys((*GROUP_COLUMNS, *self.further)):
            if name in known:
                found[name] = known[name].reindex(index).fillna(NOT_REPORTED)
            elif of_run is not None and name in of_run.columns:
                found[name] = of_run[name].reindex(index).astype(object).fillna(NOT_REPORTED)
            else:
                found[name] = pd.Series(NOT_REPORTED, index=index, dtype=object)
                silent.append(name)
        for name, values in found.items():
            alike = values.nunique() - values.str.casefold().nunique()
            if alike:
                self.notes.append(
                    f"{name}: {alike} values differ from another in capital letters alone, and make groups of their "
                    f"own; write them alike"
                )
        if silent:
            self.notes.append(f"not reported, as no column says: {', '.join(silent)}")
        return pd.DataFrame(found, index=index)
