"""Overlap: patients of a cohort that a finished run was trained on, or whose scores chose its epoch or threshold."""

from typing import Literal

import pandas as pd

from midrc_ml.audits.entry import AuditEntry
from midrc_ml.cohorts.midrc_patients import without_prefix
from midrc_ml.errors import InputError

OverlapRule = Literal["refuse", "drop", "keep"]
OVERLAP_RULES: tuple[OverlapRule, ...] = ("refuse", "drop", "keep")
_NOT_FOR_TEST = ("train", "validation")


def overlap_reasons(studies: pd.DataFrame, split: pd.DataFrame) -> pd.Series:
    """In which part of the run each study's patient is, aligned with `studies`; missing where in none, or in its test.

    A patient is known by any id: of the patient, of a case or of a study; with one match all studies of the patient
    count. studies: study_id, patient_id, case_id, further_cases. split: `split.parquet` of the run.
    """
    named = studies[["patient_id", "case_id"]].assign(further=studies["further_cases"], itself=studies["patient_id"])
    people = named.melt("patient_id", value_name="id").explode("id").dropna(subset="id")
    reasons = pd.Series(None, index=studies.index, dtype=object)
    for part in _NOT_FOR_TEST:
        rows = split[split["part"] == part]
        known = set(_plain(pd.concat([rows["patient_id"], rows["case_id"]])))
        by_person = people.loc[_plain(people["id"]).isin(known), "patient_id"]
        by_study = studies.loc[studies["study_id"].isin(set(rows["study_id"])), "patient_id"]
        is_seen = studies["patient_id"].isin({*by_person, *by_study})
        reasons[is_seen & reasons.isna()] = f"the patient is in the {part} part of the run"
    return reasons


def run_overlap(studies: pd.DataFrame, reasons: pd.Series, rule: OverlapRule) -> AuditEntry:
    """`leakage.run_overlap`: how many patients of `studies` the run knows already. reasons: of `overlap_reasons`."""
    is_seen = reasons.notna().to_numpy()
    shared = int(studies.loc[is_seen, "patient_id"].nunique())
    evidence = (
        f"{shared} of {studies['patient_id'].nunique()} patients ({int(is_seen.sum())} of {len(studies)} studies) are "
        f"in the train or validation part of the run"
    )
    what = {
        "refuse": "overlap=drop leaves them out and counts them; overlap=keep is for ids that stand for others here",
        "drop": "nothing: they are left out",
        "keep": "make sure that the same ids stand for other people: otherwise no number here is that of a test",
    }
    status = {"refuse": "fail", "drop": "pass", "keep": "warn"}[rule] if shared else "pass"
    return AuditEntry(
        check="leakage.run_overlap",
        status=status,  # type: ignore[arg-type]
        value=float(shared),
        evidence=evidence,
        what_to_do=what[rule] if shared else "nothing",
    )


def check_overlap_rule(rule: object) -> None:
    """Refuse a rule that is none.

    Raises:
        InputError: naming the rules.
    """
    if rule not in OVERLAP_RULES:
        raise InputError(f"overlap is {rule!r}; it must be one of {', '.join(OVERLAP_RULES)}")


def _plain(ids: pd.Series) -> pd.Series:
    """Ids as MIDRC gives them: TCIA's copies of RICORD have the name of the collection before them."""
    return without_prefix(ids.astype("str"))
