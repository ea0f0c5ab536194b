"""The invented patients as Gen3 node exports, with the headers, spellings and quirks of MIDRC's.

Three projects: Synthetic-D1 (the first two sites), Synthetic-R1 (the third, which sets `icu_indicator` to False for
everyone and sends neither visits nor procedures) and Synthetic-RICORD, an old export of patients and studies that
R1 mostly holds too. What is not known is blank; the second site writes discharges in words of its own.
"""

import numpy as np
import pandas as pd

from midrc_ml.cohorts.demo_clinical import clinical_facts
from midrc_ml.cohorts.demo_patients import BATCHES, RICORD, RICORD_PREFIX, SITES, UNKNOWN_SITE, DemoPatients
from midrc_ml.cohorts.demo_readings import annotation_facts
from midrc_ml.cohorts.demo_scans import ct_scans
from midrc_ml.cohorts.demo_studies import RICORD_YEARS, age_text, ct_studies, film_studies, series_files

_PROJECTS = (*dict.fromkeys(site.project for site in SITES), RICORD)
_RICORD_BATCH = "Synthetic_20210119"
# What an export of May 2022 did not have yet, what later ones have no longer, and what has another name now.
_NOT_YET = {
    "case": ("age_at_index_gt89", "long_covid_diagnosis", "site_id"),
    "imaging_study": (
        "age_at_imaging_gt89", "days_from_study_to_neg_covid_test", "days_from_study_to_pos_covid_test", "loinc_code",
        "loinc_contrast", "loinc_long_common_name", "loinc_method", "loinc_system",
    ),
}  # fmt: skip
_NO_LONGER = ("series_count", "study_location")
_FORMERLY = {"country_of_residence": "country_of_origin"}
_DISCHARGE_WORDS = {
    "Deceased": "Expired",
    "Home or Self Care": "Home",
    "Home-Health Care Svc": "Home Health Care",
    "Subacute Rehab/Skilled Nursing Facility": "Skilled Nursing Facility",
}


def node_exports(people: DemoPatients) -> dict[str, pd.DataFrame]:
    """{`<project>_<node>`: rows as text}; size and checksum of the series files are blank until they are written."""
    rng = np.random.default_rng([people.seed, 20260103])
    of_films, scans = film_studies(people, rng), ct_scans(people)
    studies = pd.concat([of_films, ct_studies(people, scans)], ignore_index=True)
    facts = {
        "case": _case(people, rng),
        "imaging_study": studies,
        "measurement": _measurement(people),
        "visit": _visit(people),
        **clinical_facts(people),
        "annotation": annotation_facts(people, of_films),
        "dataset": _dataset(),
        **series_files(people.films, scans, studies),
    }
    exports = {}
    for node, rows in facts.items():
        for project in _PROJECTS:
            of_project = rows[rows["project_id"] == project]
            if project == RICORD:
                of_project = of_project.drop(columns=list(_NOT_YET.get(node, ()))).rename(columns=_FORMERLY)
            else:
                of_project = of_project.drop(columns=[name for name in _NO_LONGER if name in of_project])
            if len(of_project):  # an export without rows is not downloaded
                exports[f"{project}_{node}"] = _as_exported(node, of_project)
    return exports


def _as_exported(node: str, facts: pd.DataFrame) -> pd.DataFrame:
    """The columns in the order of an export: what names the row, the properties by name, then the links."""
    links = sorted(name for name in facts if name.endswith((".submitter_id", ".code")))
    if "cases.submitter_id" in links and "case_ids" not in facts:
        facts = facts.assign(case_ids=facts["cases.submitter_id"])
    properties = sorted(name for name in facts if name not in ("project_id", "submitter_id", *links))
    columns = {"type": node, "id": "", "project_id": facts["project_id"], "submitter_id": facts["submitter_id"]}
    columns |= {name: _as_text(facts[name]) for name in properties}
    for link in links:
        columns |= {f"{link.split('.')[0]}.id": "", link: _as_text(facts[link])}
    return pd.DataFrame(columns, index=facts.index).reset_index(drop=True)


def _as_text(values: pd.Series) -> pd.Series:
    """Whole numbers without a fraction, missing ones blank; text as it is."""
    if pd.api.types.is_numeric_dtype(values):
        return values.astype("Int64").astype("str").mask(values.isna(), "")
    return values.fillna("").astype("str")


def _case(people: DemoPatients, rng: np.random.Generator) -> pd.DataFrame:
    patients, stays, tests = people.patients, people.stays, people.tests
    site, batch = patients["site"], patients["batch"]
    is_old = batch == BATCHES[0]  # before these fields were asked for
    sent_again = rng.random(len(patients)) < 0.3
    further = np.where(batch == BATCHES[2], BATCHES[1], BATCHES[2])
    tested = patients.index.isin(tests["patient"])
    icu = pd.Series(np.where(stays["icu"] & (site != UNKNOWN_SITE), "True", "False")).mask((site == 1) & is_old, "")
    blank = np.where(site == UNKNOWN_SITE, "Not Reported", "")
    common = pd.DataFrame(
        {
            "project_id": patients["project"],
            "submitter_id": patients["case_id"],
            "case_ids": patients["case_id"],
            "age_at_index": age_text(patients["age"]),
            "age_at_index_gt89": np.where(patients["age"] > 89, "Yes", "No"),
            "country_of_residence": "US",
            "covid19_positive": _ever_positive(tests, len(patients)),
            "ethnicity": patients["ethnicity"],
            "gen3_linked_subjects_available": np.where(is_old, "False", ""),
            "icu_indicator": icu,
            "index_event": np.where(is_old, "", np.where(tested, "COVID-19 Test", "Study Enrollment")),
            "linked_external_data": "",
            "long_covid_diagnosis": np.where(patients["long_covid"], "Positive", blank),
            "race": patients["race"],
            "sex": patients["sex"],
            "site_id": [SITES[s].name for s in site],
            "token_record_id": "",
            "treatment_info": "",
            "ventilator_indicator": np.where(site == 1, "", np.where(stays["ventilated"], "True", "False")),
            "zip": np.where(site == UNKNOWN_SITE, "0", "000"),  # read as a number once, zeros were lost
            # The latest batch first, as often as not.
            "datasets.submitter_id": np.where(sent_again, further + "," + batch, batch),
        }
    )
    again = common[patients["in_ricord"]]
    ids = RICORD_PREFIX + again["submitter_id"]
    age = (patients["age"] + RICORD_YEARS).map("{:.2f}".format).mask(patients["age"] > 89, "")
    own = {"age_at_index": age[again.index], "covid19_positive": "Yes", "datasets.submitter_id": _RICORD_BATCH}
    unknown = dict.fromkeys(("icu_indicator", "ventilator_indicator", "index_event", "zip"), "")
    in_ricord = again.assign(project_id=RICORD, submitter_id=ids, case_ids=ids, **own, **unknown)
    return pd.concat([common, in_ricord], ignore_index=True)


def _ever_positive(tests: pd.DataFrame, count: int) -> np.ndarray:
    """`covid19_positive` of each patient: of any day; No for those who were never tested."""
    ever = np.full(count, "No", dtype=object)
    answers = {"Not Reported": "Not Reported", "Indeterminate": "Indeterminate", "Negative": "No", "Positive": "Yes"}
    for result, answer in answers.items():  # the last one that a patient has decides
        ever[tests.loc[tests["result"] == result, "patient"]] = answer
    return ever


def _measurement(people: DemoPatients) -> pd.DataFrame:
    tests, patients = people.tests, people.patients
    of = patients.loc[tests["patient"]].reset_index(drop=True)
    number = (tests.groupby("patient").cumcount() + 1).astype("str")
    common = {"test_name": "COVID-19", "conditions.submitter_id": "", "procedures.submitter_id": ""}
    own = pd.DataFrame(
        {
            "project_id": of["project"],
            "submitter_id": of["case_id"] + "-test-" + number,
            "test_days_from_index": tests["day"],
            "test_method": tests["method"],
            "test_result_text": tests["result"],
            "cases.submitter_id": of["case_id"],
            **common,
        }
    )
    ids = RICORD_PREFIX + patients.loc[patients["in_ricord"], "case_id"]
    in_ricord = pd.DataFrame(
        {
            "project_id": RICORD,
            "submitter_id": ids + "-test-1",
            "test_days_from_index": 0.0,
            "test_method": "RT-PCR",
            "test_result_text": "Positive",
            "cases.submitter_id": ids,
            **common,
        }
    )
    return pd.concat([own, in_ricord], ignore_index=True)


def _visit(people: DemoPatients) -> pd.DataFrame:
    first = people.stays[people.stays["admitted"]].rename_axis("patient").reset_index().assign(number="1")
    stays = pd.concat([first, people.readmissions.assign(number="2")], ignore_index=True)
    of = people.patients.loc[stays["patient"]].reset_index(drop=True)
    words = stays["discharge_type"]
    visits = pd.DataFrame(
        {
            "project_id": of["project"],
            "submitter_id": of["case_id"] + "-visit-" + stays["number"],
            "days_to_hospital_admission": stays["admission"],
            "days_to_hospital_discharge": stays["discharge"],
            "days_to_icu_admission": stays["icu_admission"],
            "days_to_icu_discharge": stays["icu_discharge"],
            "discharge_type": words.where(of["site"] != 1, words.replace(_DISCHARGE_WORDS)),
            "cases.submitter_id": of["case_id"],
        }
    )
    return visits[of["site"] != UNKNOWN_SITE]


def _dataset() -> pd.DataFrame:
    batches = [(project, name) for project in _PROJECTS[:2] for name in BATCHES] + [(RICORD, _RICORD_BATCH)]
    return pd.DataFrame(
        {
            "project_id": [project for project, _ in batches],
            "submitter_id": [name for _, name in batches],
            "data_contributor": "midrc_ml",
            "data_description": "Synthetic: invented patients, drawn films",
            "full_name": [f"Synthetic batch of {name[-8:]}" for _, name in batches],
            "projects.code": [project.split("-", 1)[1] for project, _ in batches],
        }
    )
