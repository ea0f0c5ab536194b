"""Studies as the splits get them, with what a task adds to them."""

from functools import cache

import numpy as np
import pandas as pd

FRACTIONS = {"train": 0.6, "validation": 0.15, "test": 0.25}
BATCHES = ("20200807", "20210115", "20210601", "20220301", "20230210")


def studies_of(num_patients: int, *, seed: int = 0) -> pd.DataFrame:
    """One to four studies a patient, each tenth patient under two case ids."""
    return _studies_of(num_patients, seed).copy()


@cache
def _studies_of(num_patients: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(num_patients):
        of = {
            "patient_id": f"p{i}",
            "site": str(rng.choice(["A", "B", "C"])),
            "sex": str(rng.choice(["Female", "Male"])),
            "age_band": "50-64",
            "race": str(rng.choice(["Asian", "White", "Not Reported"])),
            "ethnicity": "Not Reported",
            "covid_ever": bool(rng.random() < 0.5),
        }
        for j in range(int(rng.integers(1, 5))):
            aliased = i % 10 == 0 and j % 2
            rows.append(
                {
                    **of,
                    "case_id": f"MIDRC-RICORD-1A-p{i}" if aliased else f"p{i}",
                    "study_id": f"p{i}-{j}",
                    "label": float(rng.random() < 0.2),
                    "modality": str(rng.choice(["CR", "DX", "CT,DX", "DX, CT"])),
                    # Two projects may hold the two ids in batches of different dates.
                    "arrival_date": BATCHES[(i + bool(aliased)) % len(BATCHES)],
                }
            )
    return pd.DataFrame(rows).astype({"covid_ever": "boolean"})


def one_study_each(**columns: object) -> pd.DataFrame:
    """One study for each patient, of which only `columns` matter: p00, p01, ..."""
    frame = pd.DataFrame(columns)
    names = [f"p{i:02}" for i in range(len(frame))]
    given = {"patient_id": names, "case_id": names, "study_id": names, "label": 0.0}
    return frame.assign(**{name: values for name, values in given.items() if name not in frame})


def parts_of(split: object, studies: pd.DataFrame) -> dict[str, str]:
    """The part of each patient."""
    assigned = split.assign(studies)  # type: ignore[attr-defined]
    parts: dict[str, str] = assigned.drop_duplicates("patient_id").set_index("patient_id")["part"].to_dict()
    return parts
