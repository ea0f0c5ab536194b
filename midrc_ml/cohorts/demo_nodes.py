"""The invented patients as Gen3 node exports, with the headers, spellings and quirks of MIDRC's.

Three projects: Synthetic-D1 (the first two sites), Synthetic-R1 (the third, which sets `icu_indicator` to False for
everyone and sends neither visits nor procedures) and Synthetic-RICORD, an old export of patients and studies that
R1 mostly holds too. What is not known is blank; the second site writes discharges in words of its own.
"""

from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pandas as pd

from midrc_ml.cohorts.demo_clinical import clinical_facts
from midrc_ml.cohorts.demo_patients import BATCHES, RICORD, RICORD_PREFIX, SITES, UNKNOWN_SITE, DemoPatients
from midrc_ml.cohorts.demo_readings import annotation_facts

_PROJECTS = (*dict.fromkeys(site.project for site in SITES), RICORD)
_RICORD_BATCH = "Synthetic_20210119"
_RICORD_YEARS = -0.24  # the same patients were dated differently: 76.00 and 75.76 were seen
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
# Site's own words for a portable film and for another, as MIDRC's mapping to LOINC knows them.
_DESCRIPTIONS = (
    ("XR CHEST PORTABLE 1 VIEW", "XR CHEST 1 VW, FRONTAL"),
    ("XR PORT CHEST 1V", "XR CHEST 1 VIEW"),
    ("CHEST AP PORTABLE", "CHEST 1 VIEW"),
)
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


def node_exports(people: DemoPatients) -> dict[str, pd.DataFrame]:
    """{`<project>_<node>`: rows as text}; size and checksum of the series files are blank until they are written."""
    rng = np.random.default_rng([people.seed, 20260103])
    studies = _imaging_study(people, rng)
    facts = {
        "case": _case(people, rng),
        "imaging_study": studies,
        "measurement": _measurement(people),
        "visit": _visit(people),
        **clinical_facts(people),
        "annotation": annotation_facts(people, studies),
        "dataset": _dataset(),
        **_series_files(people.films, studies),
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
            "age_at_index": _age(patients["age"]),
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
    age = (patients["age"] + _RICORD_YEARS).map("{:.2f}".format).mask(patients["age"] > 89, "")
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


def _imaging_study(people: DemoPatients, rng: np.random.Generator) -> pd.DataFrame:
    """One row per study and project that has it; `submitter_id` is the uid, in R1 `<case>_<uid>`.

    The first study that two projects have names both ids of its patient in one of them.
    """
    rows = people.films.drop_duplicates(["project", "study_uid"]).reset_index(drop=True)
    by_study = rows.drop_duplicates("study_uid").set_index("study_uid")
    draws = pd.DataFrame(rng.random((len(by_study), 3)), index=by_study.index).loc[rows["study_uid"]].to_numpy()
    patients, patient = people.patients, rows["patient"].to_numpy()
    is_portable, is_mapped = (rows["view"] == "AP").to_numpy(), draws[:, 0] >= 0.07
    in_ricord = (rows["project"] == RICORD).to_numpy()
    of_r1 = (rows["project"] == SITES[UNKNOWN_SITE].project).to_numpy()
    age = patients["age"].to_numpy()[patient]
    over_89 = age > 89
    age_text = np.where(in_ricord, [f"{a + _RICORD_YEARS:.2f}" for a in age], _age(pd.Series(age)))
    shared = rows["study_uid"].duplicated(keep=False).to_numpy() & of_r1
    named_twice = np.arange(len(rows)) == (np.flatnonzero(shared)[0] if shared.any() else -1)
    case_id = rows["case_id"].to_numpy(dtype=object)
    days = _days_to_tests(people.tests)
    words = np.array(_DESCRIPTIONS, dtype=object)[rows["site"], np.where(is_portable, 0, 1)]
    return pd.DataFrame(
        {
            "project_id": rows["project"],
            "submitter_id": np.where(of_r1, case_id + "_" + rows["study_uid"].to_numpy(), rows["study_uid"]),
            "age_at_imaging": np.where(over_89, "", age_text),
            "age_at_imaging_gt89": np.where(over_89, "Yes", "No"),
            "body_part_examined": np.where(draws[:, 1] < 0.05, "", np.where(draws[:, 1] < 0.08, "CHEST,LUNG", "CHEST")),
            **{
                f"days_from_study_to_{column}_covid_test": [
                    _relative(days.get((p, result)), day) for p, day in zip(patient, rows["day"], strict=True)
                ]
                for column, result in (("neg", "Negative"), ("pos", "Positive"))
            },
            # Position on the day axis only: dates are shifted in MIDRC and say nothing.
            "days_to_study": rows["day"],
            **{
                name: np.where(is_mapped, np.where(is_portable, _PORTABLE[name], _UPRIGHT[name]), "")
                for name in _PORTABLE
            },
            "loinc_contrast": "",
            "series_count": rows["study_uid"].map(people.films.groupby("study_uid")["series_uid"].nunique()),
            "study_description": words,
            "study_location": "",
            # Some scanners add a report of the exam, which is no image.
            "study_modality": rows["modality"] + np.where(draws[:, 2] < 0.1, ",SR", ""),
            "study_uid": rows["study_uid"],
            "study_year": "1960",
            "study_year_shifted": "True",
            "cases.submitter_id": np.where(named_twice, case_id + f",{RICORD_PREFIX}" + case_id, case_id),
        }
    )


def _days_to_tests(tests: pd.DataFrame) -> dict[tuple[int, str], list[int]]:
    """{(patient, result): days of the dated tests, the last first}."""
    dated = tests.dropna(subset="day").astype({"day": int})
    return {key: sorted(set(days), reverse=True) for key, days in dated.groupby(["patient", "result"])["day"]}


def _relative(days: list[int] | None, study_day: int) -> str:
    return ",".join(str(day - study_day) for day in days or ())


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


def _series_files(films: pd.DataFrame, studies: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """A series_file node for each modality."""
    study = studies.set_index(["project_id", "study_uid"])["submitter_id"]
    linked = study.loc[list(zip(films["project"], films["study_uid"], strict=True))]
    name = films["case_id"] + "/" + films["study_uid"] + "/" + films["series_uid"] + ".zip"
    rows = pd.DataFrame(
        {
            "project_id": films["project"],
            "submitter_id": films["series_uid"],
            "case_ids": films["case_id"],
            "data_category": films["modality"],
            "data_format": "DCM",
            "data_type": "DICOM",
            "file_name": name,
            "file_size": "",
            "manufacturer": [SITES[s].manufacturer for s in films["site"]],
            "manufacturer_model_name": "drawn, not measured",
            "md5sum": "",
            "modality": films["modality"],
            "number_of_instances": 1,
            "object_id": [f"dg.DEMO/{uuid5(NAMESPACE_URL, file_name)}" for file_name in name],
            "series_uid": films["series_uid"],
            "view_position": films["view"],
            "core_metadata_collections.submitter_id": "",
            "imaging_studies.submitter_id": linked.to_numpy(),
        }
    )
    return {f"{modality.lower()}_series_file": of_it for modality, of_it in rows.groupby("modality")}


def _age(years: pd.Series) -> pd.Series:
    """Ages as the exporter writes them: whole ones as 59.0; for people over 89 none, but a mark elsewhere."""
    return years.map("{:.1f}".format).mask(years > 89, "")
