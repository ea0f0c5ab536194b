"""Invented patients: a latent severity drives who has COVID-19, who reaches intensive care and what the film shows.

Three sites in two projects differ in prevalence, scanners and in what they record; some patients of the third are in
another project too, under another id. What was written down of all this is in `demo_nodes`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydicom.uid import generate_uid

UID_PREFIX = "1.2.826.0.1.3680043.8.498.77."  # pydicom's own root, free to use for test objects
UNKNOWN_SITE = 2  # position in SITES of the site that records neither ICU stays nor visits
RICORD = "Synthetic-RICORD"  # the project whose patients are in another one as well
RICORD_PREFIX = "MIDRC-RICORD-1C-"
_RICORD_EVERY = 5  # every fifth patient of UNKNOWN_SITE who ever tested positive
BATCHES = ("Synthetic_20210826", "Synthetic_20220111", "Synthetic_20230117")


@dataclass(frozen=True)
class Site:
    """One invented hospital: its share of patients, how sick they are, how often they reach the ICU, its scanner."""

    name: str
    project: str
    share: float
    mean_severity: float
    icu_intercept: float
    covid_intercept: float
    modality: str
    manufacturer: str
    photometric: str
    syntax: str  # how pixels are stored: raw, rle or jpeg2000
    bits: int
    shape: tuple[int, int]  # rows, columns


SITES = (
    Site(
        "100001", "Synthetic-D1", 0.40, 0.25, -0.75, 0.6,
        "CR", "Synthetic Agfa-like", "MONOCHROME1", "rle", 12, (288, 240),
    ),
    Site(
        "100002", "Synthetic-D1", 0.35, -0.10, -1.75, 0.2,
        "DX", "Synthetic GE-like", "MONOCHROME2", "jpeg2000", 14, (256, 256),
    ),
    Site(
        "100003", "Synthetic-R1", 0.25, 0.10, -1.25, 0.9,
        "DX", "Synthetic Philips-like", "MONOCHROME2", "raw", 12, (272, 248),
    ),
)  # fmt: skip
# Log odds of ICU admission per unit of severity among admitted patients; chosen so that severity itself tells
# the label of task=icu with an AUROC of 0.83.
ICU_SLOPE = 1.82
# Log odds of COVID-19 per unit of severity; chosen so that severity itself tells the label of task=covid with an
# AUROC of 0.80.
COVID_SLOPE = 1.5

_SEX, _SEX_P = ("Female", "Male", "Not Reported"), (0.46, 0.52, 0.02)
_RACE = ("White", "Black or African American", "Asian", "Other", "American Indian or Alaska Native", "Not Reported")
_RACE_P = (0.50, 0.24, 0.07, 0.09, 0.01, 0.09)
_ETHNICITY, _ETHNICITY_P = ("Not Hispanic or Latino", "Hispanic or Latino", "Not Reported"), (0.72, 0.20, 0.08)
_HOME = ("Home or Self Care", "Home-Health Care Svc", "Subacute Rehab/Skilled Nursing Facility", "Long Term Care")
_HOME_AGAIN = (*_HOME, "Hospice/Home", "Left Against Medical Advice")


@dataclass(frozen=True)
class DemoPatients:
    """What happened, before anybody wrote it down; `patient` is a position in `patients`, days are the patient's own.

    patients, stays: a row per patient, in one order. readmissions: a row per second stay. tests: a row per COVID-19
    test. films: a row per series and project that has it, with what has to be drawn.
    """

    seed: int
    patients: pd.DataFrame
    stays: pd.DataFrame
    readmissions: pd.DataFrame
    tests: pd.DataFrame
    films: pd.DataFrame


def invent_patients(num_patients: int, *, seed: int, shortcut: float) -> DemoPatients:
    """`num_patients` invented patients with their stays, tests, studies and films.

    shortcut: 0 = the film tells of the lungs alone; above 0, sicker patients are more often filmed AP, and
    site and view are marked in the picture (that a mark tells of the label is what an audit has to find).
    """
    rng = np.random.default_rng([seed, 20260101])
    patients = _patients(num_patients, rng)
    stays = _stays(patients, rng)
    studies = _studies(patients, stays, rng, shortcut=shortcut)
    patients["batch"] = rng.choice(BATCHES, num_patients)
    # A generator of its own: what is drawn here changes nothing above.
    rng = np.random.default_rng([seed, 20260102])
    intercept = np.array([s.covid_intercept for s in SITES])[patients["site"]]
    patients["covid"] = rng.random(num_patients) < sigmoid(intercept + COVID_SLOPE * patients["severity"])
    readmissions = _readmissions(stays, rng)
    later_death = readmissions[readmissions["discharge_type"] == "Deceased"].set_index("patient")["discharge"]
    death = stays["discharge"].where(stays["died"]).fillna(later_death.reindex(stays.index))
    tests = _tests(patients["covid"].to_numpy(), death, rng)
    positive = tests.loc[tests["result"] == "Positive", "patient"]
    of_site = patients.index[(patients["site"] == UNKNOWN_SITE) & patients.index.isin(positive)]
    lasting = patients.index.isin(positive) & death.isna() & (rng.random(num_patients) < 0.06)
    patients["long_covid"], patients["death"] = lasting, death
    patients["in_ricord"] = patients.index.isin(of_site[::_RICORD_EVERY])
    studies = pd.concat([studies, _follow_ups(patients, stays, studies, rng, shortcut=shortcut)], ignore_index=True)
    studies = studies[~(studies["day"] > studies["patient"].map(death))]
    return DemoPatients(
        seed=seed,
        patients=patients,
        stays=stays,
        readmissions=readmissions,
        tests=tests,
        films=_films(patients, studies, seed=seed, mark=shortcut > 0),
    )


def sigmoid(value: np.ndarray | pd.Series) -> np.ndarray:
    """The probability that belongs to log odds."""
    return 1 / (1 + np.exp(-np.asarray(value)))


def _patients(count: int, rng: np.random.Generator) -> pd.DataFrame:
    site = rng.choice(len(SITES), size=count, p=[s.share for s in SITES])
    severity = rng.normal(np.array([s.mean_severity for s in SITES])[site], 1.0)
    age = np.clip(rng.normal(57 + 3 * severity, 17, count), 15, 99).round()
    return pd.DataFrame(
        {
            "case_id": [f"{SITES[s].name}-{i:06d}" for i, s in enumerate(site, start=1)],
            "project": np.array([s.project for s in SITES])[site],
            "site": site,
            "severity": severity,
            "age": age,
            "sex": rng.choice(_SEX, count, p=_SEX_P),
            "race": rng.choice(_RACE, count, p=_RACE_P),
            "ethnicity": rng.choice(_ETHNICITY, count, p=_ETHNICITY_P),
        }
    )


def _stays(patients: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """First hospital and ICU stay per patient; missing where there was none."""
    count, severity = len(patients), patients["severity"].to_numpy()
    intercept = np.array([s.icu_intercept for s in SITES])[patients["site"]]
    admitted = rng.random(count) < sigmoid(2.0 + severity)
    icu = admitted & (rng.random(count) < sigmoid(intercept + ICU_SLOPE * severity))
    admission = rng.integers(-1, 5, count).astype(float)
    icu_admission = admission + rng.choice(9, count, p=[0.10, 0.14, 0.17, 0.16, 0.14, 0.11, 0.08, 0.06, 0.04])
    icu_discharge = icu_admission + rng.integers(2, 15, count)
    discharge = np.where(icu, icu_discharge + rng.integers(1, 9, count), admission + rng.integers(2, 21, count))
    died = admitted & (rng.random(count) < sigmoid(-4.2 + 0.8 * severity + 1.6 * icu))
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


def _readmissions(stays: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A second stay of some who went home, at least 25 days later: too late for the label of any film of the first."""
    count = len(stays)
    again = (stays["discharge"].notna() & ~stays["died"]).to_numpy() & (rng.random(count) < 0.12)
    admission = stays["discharge"].to_numpy() + rng.integers(25, 61, count)
    discharge = admission + rng.integers(3, 13, count)
    icu = rng.random(count) < 0.2
    icu_admission = admission + rng.integers(0, 2, count)
    icu_discharge = np.minimum(icu_admission + rng.integers(1, 6, count), discharge)
    died = rng.random(count) < 0.08
    second = pd.DataFrame(
        {
            "patient": np.arange(count),
            "admission": admission,
            "discharge": discharge,
            "icu_admission": np.where(icu, icu_admission, np.nan),
            "icu_discharge": np.where(icu, icu_discharge, np.nan),
            "discharge_type": np.where(died, "Deceased", rng.choice(_HOME_AGAIN, count)),
        }
    )
    return second[again].reset_index(drop=True)


def _tests(covid: np.ndarray, death: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    """COVID-19 tests up to the day of death: the first on day 0, then more; patient, day, result, method.

    Some are indeterminate, not reported or without a day; some patients were tested twice on a day, with both
    results; who has recovered tests negative again; a few who have no COVID-19 were never tested.
    """
    count = len(covid)
    is_tested = covid | (rng.random(count) < 0.94)
    patient, order = _several(is_tested * (1 + rng.choice(5, count, p=[0.35, 0.30, 0.20, 0.10, 0.05])))
    step = np.where(order == 0, 0, rng.integers(2, 8, len(patient)))
    day = pd.Series(step).groupby(patient).cumsum().to_numpy().astype(float)
    is_negative = rng.random(len(patient)) < np.clip((day - 8) / 25, 0, 0.8)
    caught_later = (order > 0) & (rng.random(len(patient)) < 0.02)
    result = np.where(np.where(covid[patient], ~is_negative, caught_later), "Positive", "Negative").astype(object)
    unclear = rng.random(len(patient))
    result[unclear < 0.035] = "Not Reported"
    result[unclear < 0.020] = "Indeterminate"
    method = rng.choice(["RT-PCR", "Rapid antigen test", "Not Reported"], len(patient), p=[0.85, 0.12, 0.03])
    day[(order > 0) & (rng.random(len(patient)) < 0.04)] = np.nan
    regular = pd.DataFrame({"patient": patient, "day": day, "result": result, "method": method})
    negative = {"result": "Negative", "method": "Rapid antigen test"}
    same_day = pd.DataFrame({"patient": np.flatnonzero(covid & (rng.random(count) < 0.03)), "day": 0.0, **negative})
    too_early = np.flatnonzero(covid & (rng.random(count) < 0.08))
    early = pd.DataFrame({"patient": too_early, "day": -rng.integers(1, 4, len(too_early)).astype(float), **negative})
    tests = pd.concat([regular, same_day, early], ignore_index=True)
    in_time = ~(tests["day"] > tests["patient"].map(death))
    return tests[in_time].sort_values(["patient", "day"], kind="stable", ignore_index=True)


def _studies(patients: pd.DataFrame, stays: pd.DataFrame, rng: np.random.Generator, *, shortcut: float) -> pd.DataFrame:
    """One to four studies a patient: the first around admission, the next ones days later, some in the ICU."""
    count = len(patients)
    patient, order = _several(rng.choice([1, 2, 3, 4], count, p=[0.34, 0.36, 0.20, 0.10]))
    start = stays["admission"].fillna(pd.Series(rng.integers(0, 4, count))).to_numpy()[patient]
    first = rng.choice([-3, -1, 0, 1], count, p=[0.05, 0.20, 0.55, 0.20])[patient]
    steps = np.where(order == 0, 0, rng.choice([1, 2, 3], len(patient), p=[0.6, 0.25, 0.15]))
    day = start + first + pd.Series(steps).groupby(patient).cumsum().to_numpy()
    in_icu = day >= stays["icu_admission"].to_numpy()[patient]
    severity = patients["severity"].to_numpy()[patient] + rng.normal(0, 0.25, len(patient)) + 0.5 * in_icu
    portable = rng.random(len(patient)) < sigmoid(0.3 + 2.0 * shortcut * severity)
    lateral = rng.random(len(patient)) < 0.04
    return pd.DataFrame(
        {
            "patient": patient,
            "order": order,
            "day": day.astype(int),
            "severity": severity,
            "view": np.where(portable, "AP", "PA"),
            "lateral": lateral,
        }
    )


def _follow_ups(
    patients: pd.DataFrame, stays: pd.DataFrame, studies: pd.DataFrame, rng: np.random.Generator, *, shortcut: float
) -> pd.DataFrame:
    """One more study of some who went home, one to three weeks later, when the lungs have mostly cleared."""
    count = len(patients)
    went_home = (stays["discharge"].notna() & ~stays["died"]).to_numpy()
    number = studies.groupby("patient").size().to_numpy()
    severity = patients["severity"].to_numpy() - 0.8 + rng.normal(0, 0.25, count)
    portable = rng.random(count) < sigmoid(0.3 + 2.0 * shortcut * severity)
    follow_up = pd.DataFrame(
        {
            "patient": np.arange(count),
            "order": number,
            "day": (stays["discharge"] + rng.integers(7, 21, count)).fillna(0).astype(int),
            "severity": severity,
            "view": np.where(portable, "AP", "PA"),
            "lateral": False,
        }
    )
    return follow_up[went_home & (rng.random(count) < 0.15)]


def _films(patients: pd.DataFrame, studies: pd.DataFrame, *, seed: int, mark: bool) -> pd.DataFrame:
    """The series of all studies, by project.

    Of a patient who is in RICORD, the first study is in both projects, the second in RICORD alone.
    """
    rows = []
    of_patient = patients[["case_id", "project", "site", "in_ricord"]].to_dict("records")
    for study in studies.to_dict("records"):
        person = of_patient[study["patient"]]
        own, ricord = person["case_id"], f"{RICORD_PREFIX}{person['case_id']}"
        study_uid = generate_uid(UID_PREFIX, [str(seed), own, str(study["order"])])
        holders = [(person["project"], own)]
        if person["in_ricord"] and study["order"] < 2:
            holders = [*holders, (RICORD, ricord)] if study["order"] == 0 else [(RICORD, ricord)]
        for view in [study["view"], *(["LATERAL"] if study["lateral"] else [])]:
            film = {
                "patient": study["patient"],
                "site": person["site"],
                "study_uid": study_uid,
                "series_uid": generate_uid(UID_PREFIX, [study_uid, view]),
                "sop_uid": generate_uid(UID_PREFIX, [study_uid, view, "1"]),
                "day": study["day"],
                "view": view,
                "modality": SITES[person["site"]].modality,
                "severity": study["severity"],
                "anatomy_seed": study["patient"],
                "mark": mark,
            }
            rows += [{"project": project, "case_id": case_id, **film} for project, case_id in holders]
    return pd.DataFrame(rows)


def _several(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For `numbers[i]` things of each patient i: the patient of each thing, and its place among the patient's."""
    patient = np.repeat(np.arange(len(numbers)), numbers)
    return patient, np.arange(len(patient)) - np.repeat(np.cumsum(numbers) - numbers, numbers)
