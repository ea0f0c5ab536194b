"""Leakage: the same patient in more than one part."""

import pandas as pd

from midrc_ml.audits.entry import AuditEntry


def patient_leakage(split: pd.DataFrame) -> AuditEntry:
    """`leakage.patient`: how many patients have studies in more than one part. split: patient_id, part."""
    parts = split.groupby("patient_id")["part"].nunique()
    shared = int((parts > 1).sum())
    return AuditEntry(
        check="leakage.patient",
        status="fail" if shared else "pass",
        value=float(shared),
        evidence=f"{shared} of {len(parts)} patients have studies in more than one part",
        what_to_do="split by patient; resolve patients who are known under several ids" if shared else "nothing",
    )
