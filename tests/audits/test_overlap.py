import pandas as pd
import pytest

from midrc_ml.audits.overlap import check_overlap_rule, overlap_reasons, run_overlap
from midrc_ml.errors import InputError

TRAIN, VALIDATION = (f"the patient is in the {part} part of the run" for part in ("train", "validation"))


def split_of(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["patient_id", "case_id", "study_id", "part"])


def studies_of(*rows: tuple[str, str, str], further: dict[str, tuple[str, ...]] | None = None) -> pd.DataFrame:
    studies = pd.DataFrame(rows, columns=["patient_id", "case_id", "study_id"])
    return studies.assign(further_cases=studies["patient_id"].map(further or {}))


def told(reasons: pd.Series) -> list[str | None]:
    return [None if pd.isna(reason) else reason for reason in reasons]


RUN = split_of(("P1", "P1", "S1", "train"), ("P2", "P2", "S2", "validation"), ("P3", "P3", "S3", "test"))


@pytest.mark.parametrize(
    ("study", "further", "reason"),
    [
        (("P1", "C", "X"), None, TRAIN),
        (("P", "P2", "X"), None, VALIDATION),
        (("P", "C", "S1"), None, TRAIN),
        (("P", "C", "X"), {"P": ("C", "P2")}, VALIDATION),
        (("MIDRC-RICORD-1C-P1", "C", "X"), None, TRAIN),
        (("P3", "P3", "S3"), None, None),
        (("P", "C", "X"), None, None),
        (("S1", "S1", "P1"), None, None),  # the name of a study for a patient, and the other way round
    ],
)
def test_a_patient_is_known_by_every_id(
    study: tuple[str, str, str], further: dict[str, tuple[str, ...]] | None, reason: str | None
) -> None:
    assert told(overlap_reasons(studies_of(study, further=further), RUN)) == [reason]


def test_with_one_study_that_the_run_knows_all_of_the_patient_count() -> None:
    studies = studies_of(("P", "C", "S1"), ("P", "D", "X"), ("Q", "Q", "Y")).set_index(pd.Index([7, 8, 9]))
    reasons = overlap_reasons(studies, RUN)
    assert told(reasons) == [TRAIN, TRAIN, None]
    assert list(reasons.index) == [7, 8, 9]
    entry = run_overlap(studies, reasons, "refuse")
    assert (entry.status, entry.value) == ("fail", 1.0)
    assert entry.evidence.startswith("1 of 2 patients (2 of 3 studies)")


@pytest.mark.parametrize(("rule", "status"), [("refuse", "fail"), ("drop", "pass"), ("keep", "warn")])
def test_the_rule_decides_whether_a_known_patient_is_a_failure(rule: str, status: str) -> None:
    studies = studies_of(("P1", "P1", "X"))
    assert run_overlap(studies, overlap_reasons(studies, RUN), rule).status == status
    strangers = studies_of(("Q", "Q", "X"))
    assert run_overlap(strangers, overlap_reasons(strangers, RUN), rule).status == "pass"


def test_a_rule_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="refuse, drop, keep"):
        check_overlap_rule("ignore")
