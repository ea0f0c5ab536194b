"""Invented patients: a latent severity drives who is admitted to intensive care and what the film shows.

Written as MIDRC's node tables, with their headers, spellings and quirks. Three sites differ in prevalence,
scanners and in what they record: the third sets `icu_indicator` to False for everyone and sends no visits.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydicom.uid import generate_uid

PROJECT = "Synthetic-D1"
UID_PREFIX = "1.2.826.0.1.3680043.8.498.77."  # pydicom's own root, free to use for test objects
UNKNOWN_SITE = 2  # position in SITES of the site that records neither ICU stays nor visits


@dataclass(frozen=True)
class Site:
    """One invented hospital: its share of patients, how sick they are, how often they reach the ICU, its scanner."""

    name: str
    share: float
    mean_severity: float
    icu_intercept: float
    modality: str
    manufacturer: str
    photometric: str
    syntax: str  # how pixels are stored: raw, rle or jpeg2000
    bits: int
    shape: tuple[int, int]  # rows, columns


SITES = (
    Site("100001", 0.40, 0.25, -0.75, "CR", "Synthetic Agfa-like", "MONOCHROME1", "rle", 12, (288, 240)),
    Site("100002", 0.35, -0.10, -1.75, "DX", "Synthetic GE-like", "MONOCHROME2", "jpeg2000", 14, (256, 256)),
    Site("100003", 0.25, 0.10, -1.25, "DX", "Synthetic Philips-like", "MONOCHROME2", "raw", 12, (272, 248)),
)
# Log odds of ICU admission per unit of severity among admitted patients; chosen so that severity itself tells
# the label of task=icu with an AUROC of 0.83.
ICU_SLOPE = 1.82

_SEX, _SEX_P = ("Female", "Male", "Not Reported"), (0.46, 0.52, 0.02)
_RACE = ("White", "Black or African American", "Asian", "Other", "American Indian or Alaska Native", "Not Reported")
_RACE_P = (0.50, 0.24, 0.07, 0.09, 0.01, 0.09)
_ETHNICITY, _ETHNICITY_P = ("Not Hispanic or Latino", "Hispanic or Latino", "Not Reported"), (0.72, 0.20, 0.08)
_HOME = ("Home or Self Care", "Home-Health Care Svc", "Subacute Rehab/Skilled Nursing Facility", "Long Term Care")


@dataclass(frozen=True)
class DemoPatients:
    """node: {node name: rows as text}. films: one row per series, with what has to be drawn."""

    nodes: dict[str, pd.DataFrame]
    films: pd.DataFrame


def invent_patients(num_patients: int, *, seed: int, shortcut: float) -> DemoPatients:
    """`num_patients` invented patients with their stays, tests, studies and films.

    shortcut: 0 = the film tells of the lungs alone; above 0, sicker patients are more often filmed AP, and
    site and view are marked in the picture (that a mark tells of the label is what an audit has to find).
    """
    rng = np.random.default_rng([seed, 20260101])
    patients = _patients(num_patients, rng)
    stays = _stays(patients, rng)
    films = _films(patients, stays, rng, shortcut=shortcut, seed=seed)
    return DemoPatients(nodes=_nodes(patients, stays, films, rng), films=films)


def _patients(count: int, rng: np.random.Generator) -> pd.DataFrame:
    site = rng.choice(len(SITES), size=count, p=[s.share for s in SITES])
    severity = rng.normal(np.array([s.mean_severity for s in SITES])[site], 1.0)
    age = np.clip(rng.normal(57 + 3 * severity, 17, count), 15, 99).round()
    return pd.DataFrame(
        {
            "case_id": [f"{SITES[s].name}-{i:06d}" for i, s in enumerate(site, start=1)],
            "site": site,
            "severity": severity,
            "age": age,
            "sex": rng.choice(_SEX, count, p=_SEX_P),
            "race": rng.choice(_RACE, count, p=_RACE_P),
            "ethnicity": rng.choice(_ETHNICITY, count, p=_ETHNICITY_P),
        }
    )


def _stays(patients: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Hospital and ICU days per patient; missing where there was none."""
    count, severity = len(patients), patients["severity"].to_numpy()
    intercept = np.array([s.icu_intercept for s in SITES])[patients["site"]]
    admitted = rng.random(count) < _sigmoid(2.0 + severity)
    icu = admitted & (rng.random(count) < _sigmoid(intercept + ICU_SLOPE * severity))
    admission = rng.integers(-1, 5, count).astype(float)
    icu_admission = admission + rng.choice(9, count, p=[0.10, 0.14, 0.17, 0.16, 0.14, 0.11, 0.08, 0.06, 0.04])
    icu_discharge = icu_admission + rng.integers(2, 15, count)
    discharge = np.where(icu, icu_discharge + rng.integers(1, 9, count), admission + rng.integers(2, 21, count))
    died = admitted & (rng.random(count) < _sigmoid(-4.2 + 0.8 * severity + 1.6 * icu))
    still_there = admitted & ~died & (rng.random(count) < 0.02)
    return pd.DataFrame(
        {
            "admitted": admitted,
            "icu": icu,
            "died": died,
            "admission": np.where(admitted, admission, np.nan),
            "discharge": np.where(admitted & ~still_there, discharge, np.nan),
            "icu_admission": np.where(icu, icu_admission, np.nan),
            "icu_discharge": np.where(icu, icu_discharge, np.nan),
            "discharge_type": np.where(
                died, "Deceased", np.where(still_there | ~admitted, "", rng.choice(_HOME, count))
            ),
            "ventilated": icu & (rng.random(count) < 0.6),
        }
    )


def _films(
    patients: pd.DataFrame, stays: pd.DataFrame, rng: np.random.Generator, *, shortcut: float, seed: int
) -> pd.DataFrame:
    """One to four studies a patient: the first around admission, the next ones days later, some in the ICU."""
    count = len(patients)
    number = rng.choice([1, 2, 3, 4], count, p=[0.34, 0.36, 0.20, 0.10])
    patient = np.repeat(np.arange(count), number)
    order = np.arange(len(patient)) - np.repeat(np.cumsum(number) - number, number)
    start = stays["admission"].fillna(pd.Series(rng.integers(0, 4, count))).to_numpy()[patient]
    first = rng.choice([-3, -1, 0, 1], count, p=[0.05, 0.20, 0.55, 0.20])[patient]
    steps = np.where(order == 0, 0, rng.choice([1, 2, 3], len(patient), p=[0.6, 0.25, 0.15]))
    day = start + first + pd.Series(steps).groupby(patient).cumsum().to_numpy()
    in_icu = day >= stays["icu_admission"].to_numpy()[patient]
    severity = patients["severity"].to_numpy()[patient] + rng.normal(0, 0.25, len(patient)) + 0.5 * in_icu
    portable = rng.random(len(patient)) < _sigmoid(0.3 + 2.0 * shortcut * severity)
    lateral = rng.random(len(patient)) < 0.04
    rows = []
    for i, p in enumerate(patient):
        site = SITES[patients["site"].iat[p]]
        case_id = patients["case_id"].iat[p]
        study_uid = generate_uid(UID_PREFIX, [str(seed), case_id, str(order[i])])
        views = [("AP" if portable[i] else "PA")] + (["LATERAL"] if lateral[i] else [])
        for view in views:
            rows.append(
                {
                    "case_id": case_id,
                    "patient": p,
                    "site": patients["site"].iat[p],
                    "study_uid": study_uid,
                    "series_uid": generate_uid(UID_PREFIX, [study_uid, view]),
                    "sop_uid": generate_uid(UID_PREFIX, [study_uid, view, "1"]),
                    "day": int(day[i]),
                    "view": view,
                    "modality": site.modality,
                    "severity": severity[i],
                    "anatomy_seed": int(p),
                    "mark": shortcut > 0,
                }
            )
    return pd.DataFrame(rows)


def _nodes(
    patients: pd.DataFrame, stays: pd.DataFrame, films: pd.DataFrame, rng: np.random.Generator
) -> dict[str, pd.DataFrame]:
    sends_visits = (patients["site"] != UNKNOWN_SITE).to_numpy()
    over_89 = (patients["age"] > 89).to_numpy()
    # The exporter writes whole ages as 59.0 and, for people over 89, no age but a mark.
    age = pd.Series(np.where(over_89, "", patients["age"].map("{:.1f}".format)))
    gt89 = np.where(over_89, "Yes", "No")
    case = _rows(
        "case",
        patients["case_id"],
        {
            "age_at_index": age,
            "age_at_index_gt89": gt89,
            "case_ids": patients["case_id"],
            "country_of_residence": "US",
            "covid19_positive": "Yes",
            "ethnicity": patients["ethnicity"],
            "gen3_linked_subjects_available": "",
            "icu_indicator": np.where(stays["icu"] & sends_visits, "True", "False"),
            "index_event": "COVID-19 Test",
            "linked_external_data": "",
            "long_covid_diagnosis": "",
            "race": patients["race"],
            "sex": patients["sex"],
            "site_id": [SITES[s].name for s in patients["site"]],
            "token_record_id": "",
            "treatment_info": "",
            "ventilator_indicator": np.where(stays["ventilated"], "True", "False"),
            "zip": "000",
            "datasets.id": "",
            "datasets.submitter_id": rng.choice(
                ["Synthetic_20210826", "Synthetic_20220111", "Synthetic_20230117"], len(patients)
            ),
        },
    )
    studies = films.drop_duplicates("study_uid")
    of = studies["patient"].to_numpy()
    # Position on the day axis only: dates are shifted in MIDRC and say nothing.
    imaging_study = _rows(
        "imaging_study",
        studies["study_uid"],
        {
            "age_at_imaging": age.to_numpy()[of],
            "age_at_imaging_gt89": gt89[of],
            "body_part_examined": "CHEST",
            "case_ids": studies["case_id"],
            "days_from_study_to_neg_covid_test": "",
            "days_from_study_to_pos_covid_test": (-studies["day"]).astype("str"),
            "days_to_study": studies["day"].astype("str"),
            "loinc_code": np.where(studies["view"] == "AP", "36589-0", "36554-4"),
            "study_description": np.where(studies["view"] == "AP", "XR CHEST 1 VIEW AP", "XR CHEST 1 VW, FRONTAL"),
            "study_modality": studies["modality"],
            "study_uid": studies["study_uid"],
            "study_year": "1960",
            "study_year_shifted": "True",
            "cases.id": "",
            "cases.submitter_id": studies["case_id"],
        },
    )
    measurement = _rows(
        "measurement",
        patients["case_id"] + "-test-1",
        {
            "case_ids": patients["case_id"],
            "test_days_from_index": "0",
            "test_method": "RT-PCR",
            "test_name": "COVID-19",
            "test_result_text": "Positive",
            "cases.id": "",
            "cases.submitter_id": patients["case_id"],
        },
    )
    visited = (stays["admitted"] & sends_visits).to_numpy()
    stay = stays[visited]
    visit = _rows(
        "visit",
        patients["case_id"][visited] + "-visit-1",
        {
            "case_ids": patients["case_id"][visited],
            "days_to_hospital_admission": _days(stay["admission"]),
            "days_to_hospital_discharge": _days(stay["discharge"]),
            "days_to_icu_admission": _days(stay["icu_admission"]),
            "days_to_icu_discharge": _days(stay["icu_discharge"]),
            "discharge_type": stay["discharge_type"],
            "cases.id": "",
            "cases.submitter_id": patients["case_id"][visited],
        },
    )
    nodes = {"case": case, "imaging_study": imaging_study, "measurement": measurement, "visit": visit}
    for modality in ("CR", "DX"):
        nodes[f"{modality.lower()}_series_file"] = _series_rows(films[films["modality"] == modality], modality)
    return nodes


def _series_rows(films: pd.DataFrame, modality: str) -> pd.DataFrame:
    """Rows of a series_file node; size and checksum are filled in when the files have been written."""
    return _rows(
        f"{modality.lower()}_series_file",
        films["series_uid"],
        {
            "case_ids": films["case_id"],
            "data_category": modality,
            "data_format": "DCM",
            "data_type": "DICOM",
            "file_name": films["case_id"] + "/" + films["study_uid"] + "/" + films["series_uid"] + ".zip",
            "file_size": "",
            "manufacturer": [SITES[s].manufacturer for s in films["site"]],
            "manufacturer_model_name": "drawn, not measured",
            "md5sum": "",
            "modality": modality,
            "object_id": "",
            "series_uid": films["series_uid"],
            "view_position": films["view"],
            "core_metadata_collections.id": "",
            "core_metadata_collections.submitter_id": "",
            "imaging_studies.id": "",
            "imaging_studies.submitter_id": films["study_uid"],
        },
    )


def _rows(node: str, submitter_ids: pd.Series, values: dict[str, object]) -> pd.DataFrame:
    head = {"type": node, "id": "", "project_id": PROJECT, "submitter_id": submitter_ids.to_numpy()}
    body = {name: value.to_numpy() if isinstance(value, pd.Series) else value for name, value in values.items()}
    return pd.DataFrame({**head, **body})


def _days(days: pd.Series) -> list[str]:
    return ["" if np.isnan(day) else str(int(day)) for day in days]


def _sigmoid(value: np.ndarray | pd.Series) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(value)))
