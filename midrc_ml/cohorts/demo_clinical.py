"""Breathing support, diagnoses, medication and observations of the invented patients, as their sites wrote them down.

The third site sends no breathing support, the second no observations. Nothing lies after a death.
"""

import numpy as np
import pandas as pd

from midrc_ml.cohorts.demo_patients import UNKNOWN_SITE, DemoPatients, sigmoid

_OXYGEN = ("Nasal cannula", "High flow nasal cannula", "BiPAP", "")
_OXYGEN_P = (0.70, 0.18, 0.09, 0.03)
# ICD-10-CM: code, name, share of the patients.
_LONG_KNOWN = (
    ("I10", "Essential (primary) hypertension", 0.35),
    ("E11.9", "Type 2 diabetes mellitus without complications", 0.20),
    ("J44.9", "Chronic obstructive pulmonary disease, unspecified", 0.08),
    ("I50.9", "Heart failure, unspecified", 0.07),
)
_COVID = ("U07.1", "COVID-19")
_PNEUMONIA = ("J18.9", "Pneumonia, unspecified organism")
_LONG_COVID = ("U09.9", "Post COVID-19 condition, unspecified")
# Name, dictionary's type, RxNorm or CVX code.
_DEXAMETHASONE = ("Dexamethasone", "Systemic steroids", "3264")
_LISINOPRIL = ("Lisinopril", "ACE inhibitors", "29046")
_ALBUTEROL = ("Albuterol", "Bronchodilator", "435")
_VACCINE = ("COVID-19, mRNA, LNP-S, PF, 30 mcg/0.3 mL dose", "Vaccine", "208")


def clinical_facts(people: DemoPatients) -> dict[str, pd.DataFrame]:
    """{node: rows} of procedure, condition, medication and observation."""
    rng = np.random.default_rng([people.seed, 20260104])
    return {
        "procedure": _procedures(people, rng),
        "condition": _conditions(people, rng),
        "medication": _medications(people, rng),
        "observation": _observations(people, rng),
    }


def _procedures(people: DemoPatients, rng: np.random.Generator) -> pd.DataFrame:
    """Ventilation within the ICU stay, oxygen from admission on; a few without a type, a few without an end."""
    stays, count = people.stays, len(people.stays)
    sends = (people.patients["site"] != UNKNOWN_SITE).to_numpy()
    begin = np.minimum(stays["icu_admission"] + rng.choice(3, count, p=[0.5, 0.3, 0.2]), stays["icu_discharge"])
    end = np.minimum(begin + rng.integers(1, 13, count), stays["icu_discharge"])
    invasive = rng.choice(["Mechanical ventilation", "Intubation, mechanical ventilator"], count, p=[0.8, 0.2])
    ventilation = _rows(people, "procedure", stays["ventilated"] & sends, begin, end, breathing_support_type=invasive)
    severity = people.patients["severity"]
    has_oxygen = stays["admitted"] & sends & (rng.random(count) < sigmoid(severity))
    until = np.fmin(stays["admission"] + rng.integers(1, 6, count), stays["discharge"])
    until[rng.random(count) < 0.05] = np.nan
    types = rng.choice(_OXYGEN, count, p=_OXYGEN_P)
    oxygen = _rows(people, "procedure", has_oxygen, stays["admission"], until, breathing_support_type=types)
    return _numbered("procedure", ventilation, oxygen).assign(
        procedure_name="Breathing Support", **{"conditions.submitter_id": ""}
    )


def _conditions(people: DemoPatients, rng: np.random.Generator) -> pd.DataFrame:
    patients, count = people.patients, len(people.patients)
    none = pd.Series(np.nan, index=patients.index)
    found = []
    for code, name, share in _LONG_KNOWN:
        has = rng.random(count) < share
        since = pd.Series(-rng.integers(30, 2000, count).astype(float)).mask(rng.random(count) < 0.1)
        found.append(_condition(people, has, since, none, (code, name)))
    positive = people.tests[people.tests["result"] == "Positive"].groupby("patient")["day"].min()
    first_positive = positive.reindex(patients.index)
    found.append(_condition(people, first_positive.notna(), first_positive, none, _COVID))
    arrival = people.stays["admission"]
    sick = arrival.notna() & (patients["severity"] + rng.normal(0, 0.5, count) > 0.5)
    found.append(_condition(people, sick, arrival, people.stays["discharge"], _PNEUMONIA))
    lasting = patients["long_covid"] & (rng.random(count) < 0.8)
    found.append(_condition(people, lasting, none.fillna(0) + rng.integers(60, 200, count), none, _LONG_COVID))
    return _numbered("condition", *found).assign(condition_code_system="ICD-10-CM")


def _medications(people: DemoPatients, rng: np.random.Generator) -> pd.DataFrame:
    patients, stays, count = people.patients, people.stays, len(people.patients)
    none = pd.Series(np.nan, index=patients.index)
    treated = stays["admitted"] & patients["covid"] & (rng.random(count) < sigmoid(patients["severity"]))
    until = np.fmin(stays["admission"] + rng.integers(3, 11, count), stays["discharge"])
    before = pd.Series(-rng.integers(30, 1000, count).astype(float))
    first_dose = pd.Series(-rng.integers(60, 200, count).astype(float))
    vaccinated = rng.random(count) < 0.3
    wheezes = stays["admitted"] & (rng.random(count) < 0.15)
    found = [
        _medication(people, treated, stays["admission"], until, _DEXAMETHASONE),
        _medication(people, rng.random(count) < 0.2, before, none, _LISINOPRIL),
        _medication(people, wheezes, stays["admission"], stays["discharge"], _ALBUTEROL),
        _medication(people, vaccinated, first_dose, first_dose, _VACCINE, dose="1"),
        _medication(people, vaccinated, first_dose + 21, first_dose + 21, _VACCINE, dose="2"),
    ]
    return _numbered("medication", *found)


def _observations(people: DemoPatients, rng: np.random.Generator) -> pd.DataFrame:
    patients, stays, count = people.patients, people.stays, len(people.patients)
    sends = (patients["site"] != 1).to_numpy() & (rng.random(count) < 0.8)
    arrival = stays["admission"].fillna(0)
    saturation = np.clip(96 - 3 * patients["severity"] + rng.normal(0, 2, count), 70, 100).round().astype(int)
    temperature = (37 + 0.8 * patients["covid"] + rng.normal(0, 0.5, count)).map("{:.1f}".format)
    cough = np.where(rng.random(count) < 0.2 + 0.4 * patients["covid"], "Yes", "No")
    smoking = rng.choice(["Never smoker", "Former smoker", "Current smoker", "Unknown"], count, p=[0.5, 0.3, 0.1, 0.1])
    short_of_breath = np.where(rng.random(count) < sigmoid(patients["severity"] - 1), "Yes", "No")
    called = sends & stays["discharge"].notna() & patients["death"].isna() & (rng.random(count) < 0.8)
    call = stays["discharge"] + rng.integers(40, 71, count)
    found = [
        _observation(people, sends, arrival, "Oxygen saturation (%)", saturation.astype("str")),
        _observation(people, sends, arrival, "Body temperature (Cel)", temperature),
        _observation(people, sends, arrival, "Cough", cough),
        _observation(people, sends, arrival * np.nan, "Smoking status", smoking),
        _observation(people, called, call, "Shortness of breath after discharge", short_of_breath),
    ]
    return _numbered("observation", *found)


def _condition(
    people: DemoPatients, has: pd.Series | np.ndarray, start: pd.Series, end: pd.Series, named: tuple[str, str]
) -> pd.DataFrame:
    return _rows(people, "condition", has, start, end, condition_code=named[0], condition_name=named[1])


def _medication(
    people: DemoPatients,
    has: pd.Series | np.ndarray,
    start: pd.Series,
    end: pd.Series,
    named: tuple[str, str, str],
    *,
    dose: str = "",
) -> pd.DataFrame:
    name, kind, code = named
    is_vaccine = kind == "Vaccine"
    return _rows(
        people, "medication", has, start, end,
        medication_name=name,
        medication_type=kind,
        medication_code=code,
        medication_code_system="CVX" if is_vaccine else "RxNorm",
        medication_manufacturer="Synthetic" if is_vaccine else "",
        dose_sequence_number=dose,
    )  # fmt: skip


def _observation(
    people: DemoPatients, has: pd.Series | np.ndarray, day: pd.Series, name: str, answer: object
) -> pd.DataFrame:
    facts = {"days_to_observation": day, "observation_name": name, "observation_answer": answer}
    return _of_patients(people, pd.DataFrame(facts, index=people.patients.index), has)


def _rows(
    people: DemoPatients,
    node: str,
    has: pd.Series | np.ndarray,
    start: pd.Series,
    end: pd.Series,
    **properties: object,
) -> pd.DataFrame:
    """One row for each patient who `has` it, with its days."""
    days = {f"days_to_{node}_start": start, f"days_to_{node}_end": end}
    return _of_patients(people, pd.DataFrame({**days, **properties}, index=people.patients.index), has)


def _of_patients(people: DemoPatients, facts: pd.DataFrame, has: pd.Series | np.ndarray) -> pd.DataFrame:
    names = {"project": "project_id", "case_id": "cases.submitter_id"}
    of = people.patients[[*names]].rename(columns=names)
    return pd.concat([of, facts], axis=1)[np.asarray(has, dtype=bool)]


def _numbered(node: str, *parts: pd.DataFrame) -> pd.DataFrame:
    """The parts one after the other, each row with a submitter_id that counts within its case."""
    rows = pd.concat(parts, ignore_index=True)
    number = (rows.groupby("cases.submitter_id").cumcount() + 1).astype("str")
    return rows.assign(submitter_id=rows["cases.submitter_id"] + f"-{node}-" + number)
