"""What readers wrote about the demo cohort's films: scores, classes and grades, image quality."""

import numpy as np
import pytest
from demo_export import D1, R1, Exports, days, node

from midrc_ml.cohorts.demo_nodes import node_exports
from midrc_ml.cohorts.demo_patients import DemoPatients, invent_patients
from midrc_ml.cohorts.demo_readings import ADJUDICATOR, READERS


@pytest.fixture(scope="module")
def patients() -> DemoPatients:
    return invent_patients(800, seed=0, shortcut=0.5)


@pytest.fixture(scope="module")
def exports(patients: DemoPatients) -> Exports:
    return node_exports(patients)


def test_scores_are_possible_and_follow_severity_on_portable_films_soon_after_a_positive_test(
    patients: DemoPatients, exports: Exports
) -> None:
    rows = node(exports, "annotation", D1, R1)
    rows = rows[rows["midrc_mRALE_score"] != ""]
    score = days(rows["midrc_mRALE_score"])
    assert set(score) <= set(range(25)) - {19, 22, 23}
    assert set(rows["annotator_id"]) == {"mRALE-Reader"}
    assert len(rows) > 200
    study = node(exports, "imaging_study", D1, R1).set_index("submitter_id").loc[rows["imaging_studies.submitter_id"]]
    assert set(study["study_description"]) == {"XR CHEST PORTABLE 1 VIEW", "XR PORT CHEST 1V", "CHEST AP PORTABLE"}
    gaps = study["days_from_study_to_pos_covid_test"].str.split(",")
    assert all(any(-2 <= int(gap) <= 0 for gap in gap_list) for gap_list in gaps)
    severity = patients.films.drop_duplicates("study_uid").set_index("study_uid")["severity"][study["study_uid"]]
    assert np.corrcoef(score, severity)[0, 1] > 0.8


def test_three_readers_give_classes_and_grades_and_an_adjudicator_where_they_differ(exports: Exports) -> None:
    rows = node(exports, "annotation", R1)
    rows = rows[rows["annotation_name"] == "midrc_mdai_chestxr"]
    assert set(rows["annotator_id"]) == {*READERS, ADJUDICATOR}
    negative = rows["class_covid19_pneumonia"] == "negative"
    assert (negative == (rows["airspace_disease_grading"] == "")).all()
    assert set(rows["airspace_disease_grading"]) == {"mild", "moderate", "severe", ""}
    by_reader = rows.pivot(
        index="imaging_studies.submitter_id", columns="annotator_id", values="class_covid19_pneumonia"
    )
    readers, asked = by_reader[[*READERS]], by_reader[ADJUDICATOR].notna()
    assert set(readers.notna().sum(axis=1)) == {1, 2, 3}
    assert asked.sum() > 10
    assert (readers[asked].nunique(axis=1) > 1).all()
    assert (readers.nunique(axis=1) == 1).sum() > 50


def test_image_quality_is_of_an_image_of_a_series(patients: DemoPatients, exports: Exports) -> None:
    rows = node(exports, "annotation")
    rows = rows[rows["annotation_name"] == "SIFT"]
    assert set(rows["sift_image_quality_index"]) == {"A", "B", "C", "D", "Not Reported"}
    series = rows["cr_series_files.submitter_id"] + rows["dx_series_files.submitter_id"]
    sop_of = patients.films.drop_duplicates("series_uid").set_index("series_uid")["sop_uid"]
    assert (sop_of[series].to_numpy() == rows["instance_uids"]).all()
    assert set(rows["imaging_studies.submitter_id"]) == {""}
