"""A small Gen3 export, written row by row with the headers of real ones."""

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from midrc_ml.cohorts.midrc import MidrcCohort
from midrc_ml.cohorts.reader import Tables

# Headers of real exports: case January 2025, imaging_study December 2023, visit from the dictionary.
HEADERS = {
    "case": "type id project_id submitter_id age_at_index age_at_index_gt89 case_ids country_of_residence "
    "covid19_positive ethnicity gen3_linked_subjects_available icu_indicator index_event linked_external_data "
    "long_covid_diagnosis race sex site_id token_record_id treatment_info ventilator_indicator zip datasets.id "
    "datasets.submitter_id",
    "imaging_study": "type id project_id submitter_id age_at_imaging age_at_imaging_gt89 body_part_examined case_ids "
    "days_from_study_to_neg_covid_test days_from_study_to_pos_covid_test days_to_study loinc_code loinc_contrast "
    "loinc_long_common_name loinc_method loinc_system study_description study_modality study_uid study_year "
    "study_year_shifted cases.id cases.submitter_id",
    "measurement": "type id project_id submitter_id case_ids test_days_from_index test_method test_name "
    "test_result_text cases.id cases.submitter_id conditions.id conditions.submitter_id procedures.id "
    "procedures.submitter_id",
    "visit": "type id project_id submitter_id case_ids days_to_hospital_admission days_to_hospital_discharge "
    "days_to_icu_admission days_to_icu_discharge discharge_type cases.id cases.submitter_id",
    "dx_series_file": "type id project_id submitter_id case_ids data_category data_format data_type file_name "
    "file_size manufacturer md5sum modality object_id series_uid view_position core_metadata_collections.id "
    "core_metadata_collections.submitter_id imaging_studies.id imaging_studies.submitter_id",
}


CASE = {
    "age_at_index": "59.0",
    "age_at_index_gt89": "No",
    "covid19_positive": "Yes",
    "ethnicity": "Not Hispanic or Latino",
    "race": "White",
    "sex": "Male",
    "zip": "000",
}


def write_node(path: Path, node: str, *rows: dict[str, str], header: str | None = None) -> Path:
    names = (header or HEADERS[node]).split()
    assert all(set(row) <= {name.lstrip("*") for name in names} for row in rows)
    lines = ["\t".join(names)]
    lines += [
        "\t".join({"type": node, "project_id": "Open-A1", **row}.get(n.lstrip("*"), "") for n in names) for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def case(name: str, **other: str) -> dict[str, str]:
    return {**CASE, "submitter_id": name, "case_ids": name, **other}


def study(uid: str, of: str, **other: str) -> dict[str, str]:
    return {
        "submitter_id": uid,
        "study_uid": uid,
        "case_ids": of,
        "cases.submitter_id": of,
        "study_modality": "DX",
        "days_to_study": "0",
        **other,
    }


def series(uid: str, of: str, **other: str) -> dict[str, str]:
    return {
        "submitter_id": uid,
        "series_uid": uid,
        "modality": "DX",
        "view_position": "AP",
        "file_name": f"c/{of}/{uid}.zip",
        "imaging_studies.submitter_id": of,
        **other,
    }


def visit(of: str, **days: str) -> dict[str, str]:
    return {"case_ids": of, "cases.submitter_id": of, **days}


@cache
def words(group: str) -> Any:
    """The words that we ship: configs/<group>/default.yaml."""
    path = Path(__file__).resolve().parents[2] / "configs" / group / "default.yaml"
    return OmegaConf.to_container(OmegaConf.load(path))


def cohort(root: Path, **settings: Any) -> MidrcCohort:
    shipped = {group: words(group) for group in ("discharge", "breathing_support")}
    return MidrcCohort(**{"root": str(root), **shipped, **settings})


def plain(frame: pd.DataFrame) -> list[list[Any]]:
    """The rows, with `-` where a value is missing."""
    rows: list[list[Any]] = frame.astype(object).where(frame.notna(), "-").to_numpy().tolist()
    return rows


def read(root: Path, **settings: Any) -> Tables:
    return cohort(root, **settings).read()
