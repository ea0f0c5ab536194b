"""Leakage: one patient in two parts is found and stops the run."""

import json

import pandas as pd
import pytest

from midrc_ml.audits.entry import stop_on_failure
from midrc_ml.audits.leakage import patient_leakage
from midrc_ml.errors import InputError


def split(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["patient_id", "part"])


CLEAN = split(("a", "train"), ("a", "train"), ("b", "validation"), ("c", "test"), ("c", "test"))
LEAKING = split(("a", "train"), ("a", "test"), ("b", "validation"), ("c", "test"), ("c", "train"), ("d", "test"))


def test_patients_in_one_part_each_pass_however_many_studies_they_have() -> None:
    entry = patient_leakage(CLEAN)
    assert (entry.check, entry.status, entry.value) == ("leakage.patient", "pass", 0.0)
    assert entry.evidence == "0 of 3 patients have studies in more than one part"


def test_patients_in_two_parts_are_counted_and_fail() -> None:
    entry = patient_leakage(LEAKING)
    assert (entry.status, entry.value) == ("fail", 2.0)
    assert entry.evidence == "2 of 4 patients have studies in more than one part"
    assert "split by patient" in entry.what_to_do


@pytest.mark.parametrize("parts", [("train", "validation"), ("validation", "test"), ("train", "test")])
def test_every_pair_of_parts_is_watched(parts: tuple[str, str]) -> None:
    assert patient_leakage(split(("a", parts[0]), ("a", parts[1]))).status == "fail"


def test_a_failed_check_stops_the_run_and_is_named() -> None:
    with pytest.raises(InputError, match=r"audit: leakage.patient: 2 of 4 patients .* split by patient"):
        stop_on_failure([patient_leakage(CLEAN), patient_leakage(LEAKING)])


def test_checks_that_pass_stop_nothing() -> None:
    assert stop_on_failure([patient_leakage(CLEAN)]) is None
    assert stop_on_failure([]) is None


def test_an_entry_has_exactly_the_fields_of_the_contract_and_no_patient_id() -> None:
    entry = patient_leakage(split(("patient-4711", "train"), ("patient-4711", "test"))).as_dict()
    assert list(entry) == ["check", "status", "value", "low", "high", "evidence", "what_to_do"]
    assert "4711" not in json.dumps(entry)
