"""Who the studies of a predictions file are: patient, part and label, as the file, the truth or the split has them."""

from dataclasses import dataclass

import pandas as pd

from midrc_ml.errors import InputError
from midrc_ml.prediction_files.columns import FileColumns
from midrc_ml.prediction_files.form import PredictionForm
from midrc_ml.prediction_files.given_split import GivenSplit
from midrc_ml.prediction_files.values import labels_of, numbers_of
from midrc_ml.splits.manifest import PARTS
from midrc_ml.tasks.task import Task

_PART_NAMES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation", "testing": "test"}
_LABEL_WITHIN = {"regression": 1e-3}  # labels may have been stored in few digits


@dataclass(frozen=True)
class StudyRows:
    """Makes rows of patient_id, case_id, study_id, part, label, y_true and, of a time_to_event task, time and event.

    They are indexed by the study id. A label that nobody knows is NaN.
    """

    task: Task
    form: PredictionForm
    columns: FileColumns

    @property
    def _where(self) -> str:
        return self.columns.file.where

    @property
    def _has(self) -> str:
        return self.columns.file.column_names

    def of_split(self, split: GivenSplit, scored: pd.Index) -> pd.DataFrame:
        """The rows of each part of the split in which any study is scored; of the train part only the scored ones.

        Raises:
            InputError: no test study is scored, or the file's own parts, patients or labels are others.
        """
        rows = split.rows
        parts = set(rows.loc[rows.index.isin(scored), "part"])
        if "test" not in parts:
            total = int((rows["part"] == "test").sum())
            raise InputError(
                f"{self._where}: none of the {total} test studies of {split.where} is in it; give predictions of these"
            )
        self._check_same("patient_id", rows, split)
        self._check_same("part", rows, split)
        rows = rows[rows["part"].isin(parts) & ((rows["part"] != "train") | rows.index.isin(scored))]
        rows = rows.rename_axis(None)
        label = rows["label"].astype("float64")
        told = self._labels(rows.index)
        if told is not None:
            differ = int(((told - label).abs() > _LABEL_WITHIN.get(self.task.kind, 0.0)).sum())
            if differ:
                raise InputError(
                    f"{self._where}: {differ} of {int(told.notna().sum())} labels differ from those of {split.where}: "
                    f"another version of the task, or rows that were mixed up?"
                )
        return self._table(rows, label, rows["time"] if "time" in rows.columns else None)

    def of_file(self, index: pd.Index) -> pd.DataFrame:
        """The rows of these studies, of which all is known from the predictions file and that of the truth.

        Raises:
            InputError: no label, patient or time, an unknown part, or a patient in two parts.
        """
        label = self._labels(index)
        if label is None:
            is_there = any(self.columns.texts(name) is not None for name in ("y_true", "event"))
            what = f"y_true is empty in all {len(index)} rows" if is_there else f"no column y_true; {self._has}"
            raise InputError(
                f"{self._where}: {what}; name it (columns.y_true=NAME), or give the file that "
                f"has it (truth=FILE) or the split with the labels (manifest=RUN)"
            )
        patient = self.columns.texts("patient_id")
        if patient is None:
            raise InputError(
                f"{self._where}: no column patient_id; {self._has}; name it (columns.patient_id=NAME), give the split "
                f"(manifest=RUN), or say that each study is a patient of its own: columns.patient_id=study_id"
            )
        patient = patient.reindex(index)
        blank = int(patient.isna().sum())
        if blank:
            raise InputError(f"{self._where}: {blank} of {len(index)} rows have no patient id; every study needs one")
        case = self.columns.texts("case_id")
        case = patient if case is None else case.reindex(index).fillna(patient)
        part = self._parts(index)
        of_patient = pd.DataFrame({"patient": patient, "part": part}).drop_duplicates()["patient"]
        count = int(of_patient[of_patient.duplicated()].nunique())
        if count:
            raise InputError(
                f"{self._where}: {count} patients are in more than one part; what was trained or chosen on a patient "
                f"cannot be tested on the same: split by patient"
            )
        ids = pd.DataFrame({"study_id": index, "patient_id": patient, "case_id": case, "part": part}, index=index)
        return self._table(ids, label, self._times(index) if self.task.kind == "time_to_event" else None)

    def _check_same(self, column: str, rows: pd.DataFrame, split: GivenSplit) -> None:
        """Refuse where the file itself names other patients or parts than the split."""
        told = self.columns.texts(column)
        if told is None:
            return
        told = told.reindex(rows.index).dropna()
        ours = rows.loc[told.index, column].astype(str)
        if column == "part":
            differ, what = int((_part_names(told) != ours).sum()), "studies are of another part"
        else:  # other names are no harm, another grouping is
            pairs = pd.DataFrame({"told": told, "ours": ours}).drop_duplicates()
            differ = int((pairs["told"].duplicated(keep=False) | pairs["ours"].duplicated(keep=False)).sum())
            what = "patients have other studies"
        if differ:
            raise InputError(
                f"{self._where}: {differ} {what} than in {split.where}: predictions of another split? Give the one "
                f"that they were made with"
            )

    def _parts(self, index: pd.Index) -> pd.Series:
        given = self.form.part
        told = self.columns.texts("part") if given is None else None
        if told is None or told.isna().all():
            return pd.Series(given or "test", index=index)
        parts = _part_names(told.reindex(index).fillna("test"))
        strange = int((~parts.isin(PARTS)).sum())
        if strange:
            raise InputError(
                f"{self._where}: {strange} of {len(parts)} rows have a part that is none of {', '.join(PARTS)}; "
                f"part=test says that all are, columns.part=NAME names another column"
            )
        return parts

    def _times(self, index: pd.Index) -> pd.Series:
        told = self.columns.texts("time")
        if told is None:
            raise InputError(
                f"{self._where}: no column time; {self._has}; task={self.task.name} needs the days until the event or "
                f"the end of what is known: columns.time=NAME, with columns.event=NAME"
            )
        return numbers_of(told, what="time", where=self._where).reindex(index)

    def _labels(self, index: pd.Index) -> pd.Series | None:
        """What the files say the label is, by study; None where they do not, or say it of nobody."""
        told = self.columns.texts("event") if self.task.kind == "time_to_event" else None
        told = self.columns.texts("y_true") if told is None else told
        if told is None:
            return None
        where = self._where if self.columns.truth is None else self.columns.truth.where
        labels = labels_of(told, self.task, self.form, where=where)
        return None if labels.isna().all() else labels.reindex(index)

    def _table(self, ids: pd.DataFrame, label: pd.Series, time: pd.Series | None) -> pd.DataFrame:
        rows = ids[["patient_id", "case_id", "study_id", "part"]].assign(label=label, y_true=label)
        return rows if time is None else rows.assign(time=time.astype("float64"), event=label)


def _part_names(parts: pd.Series) -> pd.Series:
    lower = parts.str.lower()
    return lower.map(_PART_NAMES).fillna(lower)
