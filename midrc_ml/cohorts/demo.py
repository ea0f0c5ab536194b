"""`cohort=demo`: an invented MIDRC download in miniature, written on first use, read as the real thing.

Synthetic: no patient stands behind any row, film or CT.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, check_kinds, check_least

log = logging.getLogger(__name__)

VERSION = 3  # add 1 whenever the same seed would write other files: folders of other versions are not read
# Part of every split's SHA-256: add 1 whenever what is known of the studies that were there before changes.
PATIENTS_VERSION = 2
MIN_PATIENTS = 20


@dataclass(frozen=True, kw_only=True)
class DemoCohort:
    """Writes the synthetic cohort below `cache_dir` where it is not there yet, and reads it.

    num_patients: at least 20. shortcut: 0 = no mark in the films; above 0 = site and view are marked and
    follow severity, 1 = strongly. discharge, breathing_support: the words of sites, as for `MidrcCohort`.
    """

    cache_dir: str
    seed: int = 0
    num_patients: int = 400
    shortcut: float = 0.5
    discharge: Mapping[str, Mapping[str, Sequence[str]]] | None = None
    breathing_support: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "cohort")
        check_least(self, "cohort", seed=0)
        if self.num_patients < MIN_PATIENTS:
            raise InputError(
                f"cohort.num_patients is {self.num_patients}; the demo cohort needs at least {MIN_PATIENTS}"
            )
        if not 0 <= self.shortcut <= 1:
            raise InputError(f"cohort.shortcut is {self.shortcut}; it must lie between 0 (none) and 1 (strong)")

    @property
    def query(self) -> Mapping[str, object]:
        """What was asked for, without machine paths."""
        settings = {"seed": self.seed, "num_patients": self.num_patients, "shortcut": self.shortcut}
        return {"cohort": "demo", "synthetic": True, "version": PATIENTS_VERSION, **settings}

    @property
    def root(self) -> Path:
        """The folder of just these settings."""
        settings = {**self.query, "version": VERSION}
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        name = f"v{VERSION}-patients{self.num_patients}-seed{self.seed}-shortcut{self.shortcut:g}-{key}"
        return Path(self.cache_dir).expanduser().resolve() / "demo" / name

    def read(self) -> Tables:
        """The five tables of the synthetic cohort."""
        self._write_if_absent()
        return MidrcCohort(
            root=str(self.root),
            synthetic=True,
            cache_dir=self.cache_dir,
            discharge=self.discharge,
            breathing_support=self.breathing_support,
        ).read()

    def _write_if_absent(self) -> None:
        if self.root.is_dir():  # only ever renamed into place complete
            return
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.root}.lock"):
            if self.root.is_dir():
                return
            started = time.monotonic()
            # Here: what writes DICOM takes longer to import than a cohort that is there takes to read.
            from midrc_ml.cohorts.demo_download import write_download
            from midrc_ml.cohorts.demo_patients import invent_patients

            log.info("Writing the synthetic demo cohort: %d invented patients", self.num_patients)
            for left in self.root.parent.glob(f"{self.root.name}.*.unfinished"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            unfinished = Path(f"{self.root}.{os.getpid()}.unfinished")
            write_download(invent_patients(self.num_patients, seed=self.seed, shortcut=self.shortcut), unfinished)
            unfinished.rename(self.root)
            log.info("Wrote %s in %.0f s", self.root, time.monotonic() - started)
