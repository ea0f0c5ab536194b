"""The imaging_study and series_file nodes of the invented patients: films and CT of the chest."""

from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pandas as pd

from midrc_ml.cohorts.demo_patients import RICORD, RICORD_PREFIX, SITES, UNKNOWN_SITE, DemoPatients
from midrc_ml.cohorts.demo_scans import SCANNERS

RICORD_YEARS = -0.24  # the same patients were dated differently: 76.00 and 75.76 were seen
# Site's own words for a portable film and for another, as MIDRC's mapping to LOINC knows them; and for a CT.
_DESCRIPTIONS = (
    ("XR CHEST PORTABLE 1 VIEW", "XR CHEST 1 VW, FRONTAL"),
    ("XR PORT CHEST 1V", "XR CHEST 1 VIEW"),
    ("CHEST AP PORTABLE", "CHEST 1 VIEW"),
)
_CT_DESCRIPTIONS = ("CT CHEST WO CONTRAST", "CT CHEST WITHOUT IV CONTRAST", "CT THORAX W/O CONTRAST")
_PORTABLE = {
    "loinc_code": "36589-0",
    "loinc_long_common_name": "Portable XR Chest AP single view",
    "loinc_method": "XR.portable",
    "loinc_system": "Chest",
}
_UPRIGHT = {
    "loinc_code": "36554-4",
    "loinc_long_common_name": "XR Chest Single view",
    "loinc_method": "XR",
    "loinc_system": "Chest",
}
_CT = {
    "loinc_code": "29252-4",
    "loinc_long_common_name": "CT Chest WO contrast",
    "loinc_method": "CT",
    "loinc_system": "Chest",
}


def film_studies(people: DemoPatients, rng: np.random.Generator) -> pd.DataFrame:
    """One row per study of films and project that has it; `submitter_id` is the uid, in R1 `<case>_<uid>`.

    The first study that two projects have names both ids of its patient in one of them.
    """
    rows = people.films.drop_duplicates(["project", "study_uid"]).reset_index(drop=True)
    by_study = rows.drop_duplicates("study_uid").set_index("study_uid")
    draws = pd.DataFrame(rng.random((len(by_study), 3)), index=by_study.index).loc[rows["study_uid"]].to_numpy()
    is_portable, is_mapped = (rows["view"] == "AP").to_numpy(), draws[:, 0] >= 0.07
    in_ricord = (rows["project"] == RICORD).to_numpy()
    of_r1 = (rows["project"] == SITES[UNKNOWN_SITE].project).to_numpy()
    age = people.patients["age"].to_numpy()[rows["patient"]]
    shared = rows["study_uid"].duplicated(keep=False).to_numpy() & of_r1
    named_twice = np.arange(len(rows)) == (np.flatnonzero(shared)[0] if shared.any() else -1)
    case_id = rows["case_id"].to_numpy(dtype=object)
    return _studies(people, rows).assign(
        age_at_imaging=np.where(
            age > 89, "", np.where(in_ricord, [f"{a + RICORD_YEARS:.2f}" for a in age], age_text(pd.Series(age)))
        ),
        body_part_examined=np.where(draws[:, 1] < 0.05, "", np.where(draws[:, 1] < 0.08, "CHEST,LUNG", "CHEST")),
        **{name: np.where(is_mapped, np.where(is_portable, _PORTABLE[name], _UPRIGHT[name]), "") for name in _PORTABLE},
        series_count=rows["study_uid"].map(people.films.groupby("study_uid")["series_uid"].nunique()),
        study_description=np.array(_DESCRIPTIONS, dtype=object)[rows["site"], np.where(is_portable, 0, 1)],
        # Some scanners add a report of the exam, which is no image.
        study_modality=rows["modality"] + np.where(draws[:, 2] < 0.1, ",SR", ""),
        **{"cases.submitter_id": np.where(named_twice, case_id + f",{RICORD_PREFIX}" + case_id, case_id)},
    )


def ct_studies(people: DemoPatients, scans: pd.DataFrame) -> pd.DataFrame:
    """One row per CT study. scans: those of `demo_scans.ct_scans`."""
    rng = np.random.default_rng([people.seed, 20260107])
    is_mapped, says_part = (rng.random((2, len(scans))) >= 0.07).astype(bool)
    return _studies(people, scans).assign(
        body_part_examined=np.where(says_part, "CHEST", ""),
        **{name: np.where(is_mapped, code, "") for name, code in _CT.items()},
        series_count=1,
        study_description=np.array(_CT_DESCRIPTIONS, dtype=object)[scans["site"]],
        study_modality="CT",
    )


def _studies(people: DemoPatients, rows: pd.DataFrame) -> pd.DataFrame:
    """What the node says of any study; rows: patient, project, site, case_id, study_uid, day."""
    patient, case_id = rows["patient"].to_numpy(), rows["case_id"].to_numpy(dtype=object)
    age = people.patients["age"].to_numpy()[patient]
    of_r1 = (rows["project"] == SITES[UNKNOWN_SITE].project).to_numpy()
    days = _days_to_tests(people.tests)
    return pd.DataFrame(
        {
            "project_id": rows["project"],
            "submitter_id": np.where(of_r1, case_id + "_" + rows["study_uid"].to_numpy(), rows["study_uid"]),
            "age_at_imaging": age_text(pd.Series(age)).to_numpy(),
            "age_at_imaging_gt89": np.where(age > 89, "Yes", "No"),
            **{
                f"days_from_study_to_{column}_covid_test": [
                    _relative(days.get((p, result)), day) for p, day in zip(patient, rows["day"], strict=True)
                ]
                for column, result in (("neg", "Negative"), ("pos", "Positive"))
            },
            # Position on the day axis only: dates are shifted in MIDRC and say nothing.
            "days_to_study": rows["day"],
            "loinc_contrast": "",
            "study_location": "",
            "study_uid": rows["study_uid"],
            "study_year": "1960",
            "study_year_shifted": "True",
            "cases.submitter_id": case_id,
        }
    )


def _days_to_tests(tests: pd.DataFrame) -> dict[tuple[int, str], list[int]]:
    """{(patient, result): days of the dated tests, the last first}."""
    dated = tests.dropna(subset="day").astype({"day": int})
    return {key: sorted(set(days), reverse=True) for key, days in dated.groupby(["patient", "result"])["day"]}


def _relative(days: list[int] | None, study_day: int) -> str:
    return ",".join(str(day - study_day) for day in days or ())


def series_files(films: pd.DataFrame, scans: pd.DataFrame, studies: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A series_file node for each modality. studies: the rows of the imaging_study node."""
    of_films = _series(films, studies).assign(
        manufacturer_model_name="drawn, not measured", number_of_instances=1, view_position=films["view"]
    )
    nodes = {f"{modality.lower()}_series_file": of_it for modality, of_it in of_films.groupby("modality")}
    of = pd.DataFrame([vars(scanner) for scanner in SCANNERS]).iloc[scans["site"]].set_index(scans.index)
    nodes["ct_series_file"] = _series(scans, studies).assign(
        acquisition_type="SPIRAL",
        convolution_kernel=of["kernel"],
        image_type="ORIGINAL_PRIMARY_AXIAL",
        lossy_image_compression="00",
        manufacturer_model_name="drawn, not scanned",
        number_of_instances=scans["num_files"],
        patient_position="HFS",
        series_description=of["description"],
        slice_thickness=of["step"].map("{:.1f}".format),
    )
    return nodes


def _series(rows: pd.DataFrame, studies: pd.DataFrame) -> pd.DataFrame:
    """What the node says of any series; size and checksum are blank until its file is written."""
    study = studies.set_index(["project_id", "study_uid"])["submitter_id"]
    linked = study.loc[list(zip(rows["project"], rows["study_uid"], strict=True))]
    name = rows["case_id"] + "/" + rows["study_uid"] + "/" + rows["series_uid"] + ".zip"
    return pd.DataFrame(
        {
            "project_id": rows["project"],
            "submitter_id": rows["series_uid"],
            "case_ids": rows["case_id"],
            "data_category": rows["modality"],
            "data_format": "DCM",
            "data_type": "DICOM",
            "file_name": name,
            "file_size": "",
            "manufacturer": [SITES[s].manufacturer for s in rows["site"]],
            "md5sum": "",
            "modality": rows["modality"],
            "object_id": [f"dg.DEMO/{uuid5(NAMESPACE_URL, file_name)}" for file_name in name],
            "series_uid": rows["series_uid"],
            "core_metadata_collections.submitter_id": "",
            "imaging_studies.submitter_id": linked.to_numpy(),
        }
    )


def age_text(years: pd.Series) -> pd.Series:
    """Ages as the exporter writes them: whole ones as 59.0; for people over 89 none, but a mark elsewhere."""
    return years.map("{:.1f}".format).mask(years > 89, "")
