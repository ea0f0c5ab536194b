"""Published splits of patients who are known under several ids, of which the publication names one or all."""

from pathlib import Path

import pandas as pd
import pytest
from example_studies import one_study_each, parts_of, studies_of

from midrc_ml.errors import InputError
from midrc_ml.splits.published import PublishedParts, PublishedTest


def published(tmp_path: Path, *ids: str, **settings) -> PublishedTest:
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    return PublishedTest(test_ids=str(tmp_path / "ids.txt"), **settings)


def with_further_ids() -> pd.DataFrame:
    """p00 is also known as old-p00, under which it has no study with a label."""
    studies = one_study_each(site=["A"] * 12)
    return studies.assign(further_cases=[("p00", "old-p00"), *[None] * 11])


def test_a_patient_list_may_name_a_patient_by_any_of_their_ids(tmp_path: Path) -> None:
    split = published(tmp_path, "old-p00", "p01", id="patient")
    assert {name for name, part in parts_of(split, with_further_ids()).items() if part == "test"} == {"p00", "p01"}
    assert split.notes(with_further_ids()) == []


def test_a_table_that_puts_two_ids_of_one_patient_into_two_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "parts.csv"
    path.write_text("id,part\np00,train\nold-p00,test\np01,test\np02,validation\n")
    split = PublishedParts(file=str(path), id="patient", id_column="id", unlisted="leave_out", stratify=["label"])
    with pytest.raises(InputError, match=r"puts 1 patients into more than one part"):
        split.assign(with_further_ids())


@pytest.mark.parametrize("unknown", ["refuse", "ignore"])
def test_a_test_patient_listed_by_a_case_without_a_labelled_study_is_not_trained_on(
    tmp_path: Path, unknown: str
) -> None:
    studies = with_further_ids()
    split = published(tmp_path, "old-p00", "p01", id="case", unknown=unknown)
    assert {name for name, part in parts_of(split, studies).items() if part == "test"} == {"p00", "p01"}
    assert split.notes(studies) == [
        "1 of 12 studies are of a case that the list of test ids does not name, and go with another of their "
        "patient's, which it names"
    ]


def table_of_cases(tmp_path: Path, **parts: str) -> PublishedParts:
    """p01 is test, p02 validation, the others train; `parts` are those of other ids, with _ for -."""
    listed = {"p01": "test", "p02": "validation"} | {f"p{i:02}": "train" for i in range(3, 12)}
    listed |= {name.replace("_", "-"): part for name, part in parts.items()}
    path = tmp_path / "cases.csv"
    path.write_text("id,part\n" + "".join(f"{name},{part}\n" for name, part in listed.items()))
    leave_out = {"train": "train", "validation": "validation", "test": "test", "unused": "leave_out"}
    return PublishedParts(
        file=str(path), id="case", id_column="id", unknown="ignore", unlisted="train", parts=leave_out
    )


def test_a_table_that_puts_two_cases_of_one_patient_into_two_parts_is_refused_also_where_one_has_no_study(
    tmp_path: Path,
) -> None:
    words = r"split\.file puts 1 patients into more than one part \(1 of them known under two case ids\)"
    with pytest.raises(InputError, match=words):
        table_of_cases(tmp_path, p00="train", old_p00="test").assign(with_further_ids())


def test_a_case_that_the_table_does_not_list_is_in_the_part_of_its_patients_other_case(tmp_path: Path) -> None:
    studies = with_further_ids()
    split = table_of_cases(tmp_path, old_p00="test")
    assert {name for name, part in parts_of(split, studies).items() if part == "test"} == {"p00", "p01"}
    assert split.notes(studies) == [
        "1 of 12 studies are of a case that the published split does not name, and go with another of their "
        "patient's, which it names"
    ]
    assert "p00" not in parts_of(table_of_cases(tmp_path, old_p00="unused"), studies)


def test_a_case_that_is_left_out_leaves_its_patients_other_case_where_the_table_puts_it(tmp_path: Path) -> None:
    split = table_of_cases(tmp_path, p00="test", old_p00="unused")
    assert parts_of(split, with_further_ids())["p00"] == "test"
    assert "p00" not in parts_of(table_of_cases(tmp_path, p00="unused", old_p00="test"), with_further_ids())


@pytest.mark.parametrize("listed", ["p10", "MIDRC-RICORD-1A-p10"])
def test_one_listed_case_of_a_patient_of_two_puts_the_patient_whole_into_test_and_a_note_says_so(
    tmp_path: Path, listed: str
) -> None:
    studies = studies_of(40)
    of_both = studies[studies["patient_id"] == "p10"]
    assert of_both["case_id"].nunique() == 2
    split = published(tmp_path, "p1", listed, id="case")
    assert {name for name, part in parts_of(split, studies).items() if part == "test"} == {"p1", "p10"}
    assert split.notes(studies) == [
        f"{(of_both['case_id'] != listed).sum()} of {len(studies)} studies are of a case that the list of test ids "
        f"does not name, and go with another of their patient's, which it names"
    ]
