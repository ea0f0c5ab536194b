"""What invented readers wrote about the invented films: the annotation node.

An mRALE score by one reader for portable films soon after a positive test, as in MIDRC's challenge of 2023; class and
grade of the airspace disease by three readers, as in RICORD; the quality index of SIFT, a program, for some series.
"""

import numpy as np
import pandas as pd

from midrc_ml.cohorts.demo_patients import RICORD, UNKNOWN_SITE, DemoPatients, sigmoid

READERS = ("Reader-1", "Reader-2", "Reader-3")
ADJUDICATOR = "Adjudication"
_CLASSES = ("typical", "indeterminate", "atypical")  # and `negative`, where a reader sees no opacity
_CLASS_P = {True: (0.55, 0.30, 0.15), False: (0.10, 0.40, 0.50)}  # by whether the patient has COVID-19
_LOWEST_SEEN = -0.4  # severity below which a reader sees no opacity
_CLASSES_NAME = "midrc_mdai_chestxr"
_GRADES, _GRADE_STARTS = ("mild", "moderate", "severe"), (0.3, 1.3)
_COLUMNS = (
    "project_id", "submitter_id", "airspace_disease_grading", "annotation_long_name", "annotation_method",
    "annotation_name", "annotator_id", "case_ids", "class_covid19_pneumonia", "instance_uids", "midrc_mRALE_score",
    "sift_image_quality_index", "software_version",
)  # fmt: skip
_LINKS = (
    "annotation_files", "cases", "datasets", "dicom_annotation_files", "imaging_studies",
    *(f"{modality}_series_files" for modality in ("cr", "ct", "dx", "mg", "mr", "nm", "pt", "rf", "us", "xa")),
)  # fmt: skip


def annotation_facts(people: DemoPatients, studies: pd.DataFrame) -> pd.DataFrame:
    """The rows of the annotation node. studies: those of the imaging_study node."""
    rng = np.random.default_rng([people.seed, 20260105])
    films = people.films
    frontal = films[films["view"] != "LATERAL"].drop_duplicates("study_uid").reset_index(drop=True)
    found = pd.concat([_scores(people, frontal, rng), _classes(people, frontal, rng)])
    # A reading of a study that two projects have is in both; RICORD holds classes and grades alone.
    names = {"submitter_id": "imaging_studies.submitter_id", "cases.submitter_id": "case_ids"}
    held = studies[["project_id", "study_uid", *names]].rename(columns=names)
    readings = found.merge(held, on="study_uid")
    is_left_out = (readings["project_id"] == RICORD) & (readings["annotation_name"] != _CLASSES_NAME)
    rows = pd.concat([readings[~is_left_out], _qualities(films, rng)], ignore_index=True)
    number = (rows.groupby("project_id").cumcount() + 1).map("{:05d}".format)
    rows["submitter_id"] = rows["project_id"] + "-annotation-" + number
    return rows.reindex(columns=[*_COLUMNS, *(f"{link}.submitter_id" for link in _LINKS)])


def _scores(people: DemoPatients, frontal: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """mRALE: extent (0-4) x density (0-3), both lungs added."""
    severity = frontal["severity"].to_numpy()
    total = np.zeros(len(frontal))
    for _ in ("right", "left"):
        seen = severity + rng.normal(0, 0.4, len(frontal))
        extent = np.clip(np.round(4 * sigmoid(1.3 * (seen - 0.5))), 0, 4)
        density = np.clip(np.round(3 * sigmoid(1.1 * (seen - 0.7))), 0, 3)
        total += extent * density
    positive = people.tests[people.tests["result"] == "Positive"][["patient", "day"]]
    gap = frontal.reset_index().merge(positive, on="patient", suffixes=("", "_test"))
    soon = gap.loc[(gap["day"] - gap["day_test"]).between(0, 2), "index"]
    adult = people.patients["age"].to_numpy()[frontal["patient"]] >= 18
    chosen = frontal.index.isin(soon) & adult & (frontal["view"] == "AP")
    scores = pd.DataFrame({"study_uid": frontal["study_uid"], "midrc_mRALE_score": total})[chosen]
    return scores.assign(
        annotation_name="midrc_mRALE_Mastermind_Challenge",
        annotation_method="Retrospective_expert",
        annotator_id="mRALE-Reader",
    )


def _classes(people: DemoPatients, frontal: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Class and grade by up to three readers, most films of the third site and some of the others."""
    count = len(frontal)
    chosen = rng.random(count) < np.where(frontal["site"] == UNKNOWN_SITE, 0.9, 0.3)
    covid = people.patients["covid"].to_numpy()[frontal["patient"]]
    pattern = np.where(
        covid, rng.choice(_CLASSES, count, p=_CLASS_P[True]), rng.choice(_CLASSES, count, p=_CLASS_P[False])
    )
    severity = frontal["severity"].to_numpy()
    found = []
    for reader, leaning in zip(READERS, (-0.15, 0.0, 0.2), strict=True):
        seen = severity + leaning + rng.normal(0, 0.35, count)
        named = np.where(rng.random(count) < 0.8, pattern, rng.choice(_CLASSES, count))
        reads = chosen & (rng.random(count) < 0.95)
        found.append(_reading(frontal, seen, named, reader)[reads])
    classes = pd.concat(found)
    differ = classes.groupby("study_uid")["class_covid19_pneumonia"].nunique() > 1
    asked = frontal["study_uid"].isin(differ.index[differ]) & (rng.random(count) < 0.5)
    return pd.concat([classes, _reading(frontal, severity, pattern, ADJUDICATOR)[asked]])


def _reading(frontal: pd.DataFrame, seen: np.ndarray, pattern: np.ndarray, reader: str) -> pd.DataFrame:
    negative = seen < _LOWEST_SEEN
    grade = np.array(_GRADES)[np.searchsorted(_GRADE_STARTS, seen, side="right")]
    return pd.DataFrame(
        {
            "study_uid": frontal["study_uid"],
            "annotation_name": _CLASSES_NAME,
            "annotation_method": "Retrospective_expert",
            "annotator_id": reader,
            "class_covid19_pneumonia": np.where(negative, "negative", pattern),
            "airspace_disease_grading": np.where(negative, "", grade),
        }
    )


def _qualities(films: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The index of one image of a series, for half of them; RICORD has none."""
    chosen = (rng.random(len(films)) < 0.5) & (films["project"] != RICORD)
    index = rng.choice(["A", "B", "C", "D", "Not Reported"], len(films), p=[0.55, 0.28, 0.10, 0.04, 0.03])
    rows = pd.DataFrame(
        {
            "project_id": films["project"],
            "annotation_name": "SIFT",
            "annotation_method": "Retrospective_auto",
            "annotator_id": "SIFT",
            "software_version": "1.0",
            "sift_image_quality_index": index,
            "instance_uids": films["sop_uid"],
            "case_ids": films["case_id"],
        }
    )
    for modality in ("CR", "DX"):
        link = f"{modality.lower()}_series_files.submitter_id"
        rows[link] = films["series_uid"].where(films["modality"] == modality, "")
    return rows[chosen]
