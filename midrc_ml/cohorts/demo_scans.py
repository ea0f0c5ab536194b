"""Which of the invented patients had a CT of the chest, when, and on which scanner; drawn by `demo_ct`.

Random numbers of its own: that there are CT changes neither a film nor a label of one.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydicom.uid import generate_uid

from midrc_ml.cohorts.demo_patients import UID_PREFIX, DemoPatients

_SHARE = 1 / 3  # of the patients
_EXTENT_MM = (215.0, 8.0)  # of a scan, feet to head: mean and standard deviation
# What is wrong with a few, as in any real cohort: one each of every `_FAULTS_EVERY` scans, from the second on.
FAULTS = (
    "localizer inside",  # its localizer was filed in the same series
    "slice twice",  # sent twice, under two SOPInstanceUIDs
    "slice damaged",  # one of its files breaks off
    "localizer alone",
    "slices missing",  # some in a row, in the middle
    "part only",  # the lowest 60 mm
)
_FAULTS_EVERY = 40
PART_MM = 60.0
NUM_MISSING = 4


@dataclass(frozen=True)
class Scanner:
    """The CT of one site. step: mm between slices. syntax: raw, jpeg (lossless, first order) or jpegls.

    signed: whether pixels are, and hold a padding value outside the circle that is reconstructed. table_z: mm, where
    the middle of the chest lies.
    """

    description: str
    kernel: str
    step: float
    syntax: str
    signed: bool
    table_z: float


# In the order of SITES.
SCANNERS = (
    Scanner("CHEST 5 MM", "B70f", 5.0, "jpeg", False, 1660.0),
    Scanner("LUNG 7.5 MM", "LUNG", 7.5, "raw", True, -180.0),
    Scanner("THORAX 6 MM", "L", 6.0, "jpegls", False, -640.0),
)


def ct_scans(people: DemoPatients) -> pd.DataFrame:
    """A row per CT series: who, which site, its UIDs, day, latent severity, number of slices and of files, fault.

    The first film is one to three days older; nobody is scanned after death.
    """
    rng = np.random.default_rng([people.seed, 20260106])
    patients, count = people.patients, len(people.patients)
    first_film = people.films.groupby("patient")["day"].min().reindex(patients.index)
    day = first_film + rng.integers(1, 4, count)
    severity = patients["severity"] + rng.normal(0, 0.25, count)
    extent = rng.normal(*_EXTENT_MM, count)
    chosen = (rng.random(count) < _SHARE) & day.notna() & ~(day > patients["death"])
    step = np.array([scanner.step for scanner in SCANNERS])[patients["site"]]
    scans = patients[["project", "site", "case_id"]].assign(
        patient=patients.index,
        modality="CT",
        severity=severity,
        num_slices=np.round(extent / step).astype(int),
        day=day,
    )
    scans = scans[chosen].reset_index(drop=True).astype({"day": int})
    number = np.arange(len(scans)) % _FAULTS_EVERY - 1
    is_faulty = (number >= 0) & (number < len(FAULTS))
    fault = np.where(is_faulty, np.array(FAULTS, dtype=object)[np.where(is_faulty, number, 0)], "")
    study_uid = [generate_uid(UID_PREFIX, [str(people.seed), case_id, "CT"]) for case_id in scans["case_id"]]
    return scans.assign(
        study_uid=pd.Series(study_uid, dtype="str"),
        series_uid=pd.Series([generate_uid(UID_PREFIX, [uid, "1"]) for uid in study_uid], dtype="str"),
        fault=fault,
        num_files=_num_files(scans["num_slices"], step[chosen], fault),
    )


def _num_files(num_slices: pd.Series, step: np.ndarray, fault: np.ndarray) -> np.ndarray:
    return np.select(
        [
            (fault == "localizer inside") | (fault == "slice twice"),
            fault == "localizer alone",
            fault == "slices missing",
            fault == "part only",
        ],
        [num_slices + 1, 1, num_slices - NUM_MISSING, (PART_MM / step).astype(int)],
        num_slices,
    )
