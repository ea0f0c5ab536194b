"""Leakage: one patient in two parts is found and stops the run."""

import json

import pandas as pd
import pytest

from midrc_ml.audits.entry import stop_on_failure
from midrc_ml.audits.leakage import (
    SAME_IMAGE,
    image_leakage,
    left_out_of_training,
    patient_leakage,
    same_images,
    study_leakage,
)
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


def test_a_patient_is_known_by_every_case_id_that_he_has() -> None:
    rows = split(("a", "train"), ("b", "test"), ("c", "test")).assign(case_id=["a1", "b1", "c1"])
    assert patient_leakage(rows).status == "pass"
    aliased = rows.assign(further_cases=pd.Series([("a1", "MIDRC-RICORD-1C-b1"), None, None], dtype=object))
    entry = patient_leakage(aliased)
    assert (entry.status, entry.value) == ("fail", 2.0)
    assert "2 of them only by another id" in entry.evidence


def test_studies_and_series_of_two_parts_or_two_patients_fail() -> None:
    rows = split(("a", "train"), ("b", "test"), ("c", "test"))
    clean = rows.assign(study_id=["1", "2", "3"], series_id=["x", "y", None])
    assert study_leakage(clean).status == "pass"
    assert study_leakage(clean.assign(study_id=["1", "1", "3"])).value == 1.0
    entry = study_leakage(clean.assign(series_id=["x", "y", "y"]))
    assert (entry.status, entry.value) == ("fail", 1.0)
    assert "0 of 2 series stand in more than one part, 1 under two patients" in entry.evidence


IMAGES = split(("a", "train"), ("b", "test"), ("c", "test"), ("d", "validation"), ("e", "train"))


def identity(**columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({name: columns.get(name, [""] * len(IMAGES)) for name in SAME_IMAGE})


def test_images_are_the_same_by_uid_content_or_pixels_and_unknown_ones_by_nothing() -> None:
    assert same_images(IMAGES, identity()).empty
    pairs = same_images(IMAGES, identity(sop_uid=["1", "1", "2", "", ""], pixels_hash=["p", "p", "q", "q", ""]))
    assert [tuple(row) for row in pairs[["first", "second"]].to_numpy()] == [(0, 1), (2, 3)]
    assert list(pairs["how"]) == ["the same SOP instance UID", "the same pixels"]


def test_an_image_that_is_there_many_times_makes_a_chain_of_pairs() -> None:
    assert len(same_images(IMAGES, identity(content_hash=["h"] * 5))) == 4


def test_pairs_across_parts_have_the_status_of_the_rule_and_pairs_within_warn() -> None:
    across = same_images(IMAGES, identity(pixels_hash=["p", "p", "", "", ""]))
    entry = image_leakage(across, IMAGES, status="fail", num_images=5)
    assert (entry.status, entry.value) == ("fail", 1.0)
    assert "1 by the same pixels" in entry.evidence
    within = same_images(IMAGES, identity(pixels_hash=["", "p", "p", "", ""]))
    assert image_leakage(within, IMAGES, status="fail", num_images=5).status == "warn"
    assert image_leakage(same_images(IMAGES, identity()), IMAGES, status="fail", num_images=5).status == "pass"


def test_of_a_pair_the_one_that_is_not_tested_is_left_out() -> None:
    pairs = pd.DataFrame({"first": [0, 1, 0], "second": [1, 3, 4]})  # train-test, test-validation, train-train
    reasons = left_out_of_training(pairs, IMAGES)
    assert list(reasons[reasons.notna()].index) == [0, 3]
    assert reasons[3] == "the same film as one of the test part"
