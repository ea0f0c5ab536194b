"""The audit of a run, in the order in which a run can be audited: its split, its images, its data, its model."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from midrc_ml.audits.duplicates import FilmPairs, film_pairs
from midrc_ml.audits.entry import AuditEntry, not_applicable, stop_on_failure
from midrc_ml.audits.held_entries import held_entries, reaches_the_model, readers_entry
from midrc_ml.audits.known_images import save_images
from midrc_ml.audits.label_time import distance_entry, inputs_entry
from midrc_ml.audits.label_windows import windows_entry
from midrc_ml.audits.leakage import patient_leakage, study_leakage
from midrc_ml.audits.pretraining import pretraining_overlap
from midrc_ml.audits.rivals import PREDICTIONS_ALONE, Rival, Studies, on, rivals
from midrc_ml.audits.settings import Audit
from midrc_ml.audits.simple_models import constant_score, scores_of
from midrc_ml.audits.source_entries import conditional_entry, features_entry, site_entry, source_entry
from midrc_ml.audits.test_part import MODEL, Held, TestPart, held_against
from midrc_ml.audits.verdict import in_order, verdict
from midrc_ml.audits.within import left_out_scores
from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.evaluation.evaluate import Results
from midrc_ml.evaluation.settings import Evaluation
from midrc_ml.evaluation.weighted import Array
from midrc_ml.images.cache import CachedImages
from midrc_ml.predictions import truth_and_score

AUDIT_FILE = "audit.json"
_OF_TABLES = ("label_time", "label_time.inputs", "label_time.windows")
_SIMPLE = ("floor.image", "floor.clinical", "floor.age_sex")  # which simple model is asked at unseen sites


@dataclass
class RunAudit:
    """Collects the entries of a run and writes them as `audit.json`; of a run that was cut off they are made anew."""

    settings: Audit
    folder: Path
    seconds: float = 0.0  # that all this took
    _entries: dict[str, AuditEntry] = field(default_factory=dict)
    _reached: list[str] = field(default_factory=list)
    _rivals: list[Rival] = field(default_factory=list)
    _held: dict[str, Held] = field(default_factory=dict)
    _apart: dict[str, Held] = field(default_factory=dict)
    _studies: Studies | None = None
    _unseen: tuple[str, Array, Array] | None = None  # whose, scores of unseen sites, scores when seen

    @property
    def entries(self) -> list[AuditEntry]:
        """In the order in which they were made."""
        return list(self._entries.values())

    def add(self, *entries: AuditEntry) -> None:
        """Entries of these checks; an earlier one of the same check is replaced."""
        self._entries |= {entry.check: entry for entry in entries}
        self.save()

    def save(self) -> Path:
        """Write `audit.json`; its path."""
        path = self.folder / AUDIT_FILE
        path.write_text(json.dumps([entry.as_dict() for entry in self.entries], indent=1) + "\n", encoding="utf-8")
        return path

    def check(self) -> None:
        """End the run where it has findings that the settings refuse.

        Raises:
            InputError: naming them.
        """
        stop_on_failure(in_order(self.entries), statuses=self.settings.refused)

    def verdict(self) -> list[str]:
        """What a careful reviewer would say first."""
        return verdict(self.entries, reached=self._reached)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the seconds of what is done within."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - started

    def of_split(self, studies: pd.DataFrame, tables: Any, model: Callable[..., Any] | None = None) -> None:
        """Who is in which part. studies: as of `Task.labelled_studies`, with part."""
        self.add(patient_leakage(studies), study_leakage(studies))
        self.add(
            not_applicable("leakage.pretraining", "no model is given")
            if model is None
            else pretraining_overlap(model, studies, tables)
        )
        self.check()

    def of_images(
        self, studies: pd.DataFrame, images: CachedImages | None, flow: CohortFlow, *, recipe: str = ""
    ) -> pd.DataFrame:
        """The same film twice; the studies that are left, of which flow counts those that are not.

        studies: with `image`, the position in `images`; None = no pixel is read. recipe: its key, under which the run
        keeps what its images are, for cohorts that it is applied to later.
        """
        if images is None:
            why = "no image is read"
            self.add(not_applicable("leakage.image", why), not_applicable("leakage.near_duplicate", why))
            return studies
        found: FilmPairs = film_pairs(studies, images, self.settings.duplicates, by_looks=self.settings.scope == "all")
        found.save(self.folder, images, studies)
        self.add(*found.entries)
        self.check()
        kept = found.kept(studies, flow)
        save_images(self.folder, kept, images, recipe=recipe)
        return kept

    def of_data(self, studies: Studies, evaluation: Evaluation, *, image_files: Any = "if any") -> None:
        """Label time, shortcuts and floors, before there is a model."""
        if self.settings.scope == "leakage":
            return
        task, rows, tables = studies.task, studies.rows, studies.tables
        if tables is None:
            self.add(*(not_applicable(check, PREDICTIONS_ALONE) for check in _OF_TABLES))
        else:
            self.add(
                distance_entry(task, tables, rows),
                inputs_entry(task, tables, rows, studies.clinical),
                windows_entry(task, tables, rows, image_files=image_files),
            )
        self.add(source_entry(rows), self._headers(rows))
        self._studies, self._rivals = studies, rivals(studies)
        part = self._test_part(rows, evaluation)
        if part is None:
            return
        self._held = held_against(part, on(rows, self._rivals, part.studies["study_id"]))
        everyone = self._test_part(rows, evaluation, study_ids=rows["study_id"])
        assert everyone is not None
        of_all = {rival.check: rival.apart for rival in self._rivals if rival.apart is not None}
        self._apart = held_against(everyone, of_all)
        self._add_held(part)
        self._at_unseen_sites(part)
        self.check()

    def of_model(
        self, predictions: pd.DataFrame, results: Results, evaluation: Evaluation, features: Any = None
    ) -> None:
        """What the model's scores are worth beside all that.

        predictions: with the rows of the test part. results: of them. features: what a network hands its last layer,
        (rows, values), of rows of the test part in the order in which they were scored; None = nothing is known of it.
        """
        studies = self._studies
        if studies is None:  # audit.scope=leakage
            return
        task, rows = studies.task, studies.rows
        test = predictions[predictions["part"] == "test"].reset_index(drop=True)
        threshold = float("nan") if results.decision is None else results.decision.threshold
        part = self._test_part(rows, evaluation, study_ids=test["study_id"], threshold=threshold)
        if part is None:
            return
        _, score = truth_and_score(test, kind=task.kind, classes=task.classes)
        self._held = held_against(part, on(rows, self._rivals, test["study_id"]), score)
        reached = [check for check, held in self._held.items() if check.startswith("shortcut.")
                   and reaches_the_model(held, self._apart.get(check), part)]  # fmt: skip
        self._reached = sorted(reached, key=self._known, reverse=True)
        self._add_held(part)
        self._sites(part, score, MODEL)
        scored = rows[rows["part"] == "test"].reset_index(drop=True)
        told = None if features is None else scored.iloc[features.rows].reset_index(drop=True)
        self.add(
            conditional_entry(part, score, MODEL),
            features_entry(None if told is None else features.values, part.studies if told is None else told, part),
            readers_entry(results.agreement),
        )

    def _headers(self, rows: pd.DataFrame) -> AuditEntry:
        files = [file for file in rows.get("file", ()) if isinstance(file, str)]
        if not files or self.settings.headers == 0:
            return not_applicable("privacy.headers", "audit.headers=0" if files else "no image file is there")
        from midrc_ml.audits.privacy.deidentification import header_findings, headers_entry  # with pydicom

        return headers_entry(header_findings(files, most=self.settings.headers))

    def _known(self, check: str) -> tuple[bool, float]:
        """How much a shortcut knows; one that may look at the lungs comes after all that may not."""
        held = self._apart.get(check, self._held[check])
        return check in self._apart, held.knowledge

    def _add_held(self, part: TestPart) -> None:
        studies = self._studies
        assert studies is not None
        name = studies.task.name
        self.add(*held_entries(self._rivals, self._held, part, self.settings, task_name=name, apart=self._apart))

    def _test_part(
        self,
        rows: pd.DataFrame,
        evaluation: Evaluation,
        *,
        study_ids: pd.Series | None = None,
        threshold: float = float("nan"),
    ) -> TestPart | None:
        studies = self._studies
        assert studies is not None
        task = studies.task
        constant = constant_score(rows, kind=task.kind, num_classes=studies.num_classes)
        place = pd.Series(np.arange(len(rows)), index=rows["study_id"])
        chosen = place[rows.loc[rows["part"] == "test", "study_id"] if study_ids is None else study_ids].to_numpy()
        if not len(chosen) or rows["label"].nunique() < 2:
            why = "all labels are alike" if len(chosen) else "there is no test part"
            self.add(*(not_applicable(rival.check, why) for rival in self._rivals))
            self.add(not_applicable("shortcut.site", why))
            return None
        return TestPart.of(
            rows.iloc[chosen],
            constant[chosen],
            metrics=task.metrics,
            kind=task.kind,
            classes=task.classes,
            evaluation=evaluation,
            threshold=threshold,
        )

    def _at_unseen_sites(self, part: TestPart) -> None:
        """The simple model that knows most, at sites that it never saw."""
        studies = self._studies
        assert studies is not None
        able = [rival for rival in self._rivals if rival.check in _SIMPLE and rival.features is not None]
        able = [rival for rival in able if rival.check in self._held and self._held[rival.check].knowledge > 0]
        if not able:
            self.add(not_applicable("shortcut.site", "no simple model knows anything of the label"))
            return
        best = max(able, key=lambda rival: self._held[rival.check].knowledge)

        def fit(rows: pd.DataFrame) -> Array | None:
            assert best.features is not None
            return scores_of(
                best.features,
                rows,
                kind=part.kind,
                num_classes=len(part.classes),
                form="linear",
                parts=best.parts,
            )

        unseen = left_out_scores(studies.rows, "site", fit)
        if unseen is not None:
            place = pd.Series(np.arange(len(studies.rows)), index=studies.rows["study_id"])
            chosen = place[part.studies["study_id"]].to_numpy()
            seen = fit(studies.rows)
            if seen is not None:
                self._unseen = best.words, unseen, seen
                self.add(site_entry(part, seen[chosen], best.words, unseen=unseen[chosen], unseen_of=best.words,
                                    seen=seen[chosen]))  # fmt: skip
                return
        self._sites(part, self._held[best.check].scores, best.words)

    def _sites(self, part: TestPart, score: Array, name: str) -> None:
        studies = self._studies
        assert studies is not None
        place = pd.Series(np.arange(len(studies.rows)), index=studies.rows["study_id"])
        chosen = place[part.studies["study_id"]].to_numpy()
        words, unseen, seen = self._unseen or ("", None, None)
        self.add(
            site_entry(
                part,
                score,
                name,
                unseen=None if unseen is None else unseen[chosen],
                unseen_of=words,
                seen=None if seen is None else seen[chosen],
            )
        )
