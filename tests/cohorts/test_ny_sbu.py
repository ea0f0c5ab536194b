import csv
from collections import Counter
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from dicom_headers import ROOT, write_header

from midrc_ml.cohorts.ny_sbu import NySbuCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError

SODIUM = "2951-2_Sodium [Moles/volume] in Serum or Plasma"
PATIENT = {
    **{"to_patient_id": "A1", "covid19_statuses": "positive", "last.status": "discharged", "age.splits": "[18,59]"},
    **{"gender_concept_name": "MALE", "visit_start_datetime": "1/1/1901", "visit_concept_name": "Inpatient Visit"},
    **{"is_icu": "FALSE", "was_ventilated": "No", "invasive_vent_days": "NA", "length_of_stay": "5", "htn_v": "Yes"},
    **{"acei_v": "NA", "antibiotics_use_v": "Yes", "cough_v": "No", "Sodium.above145": "FALSE", SODIUM: "138"},
    **{f"{SODIUM}.1": "138", "Acute.Kidney.Injury..during.hospitalization.": "No"},
}


def write(folder: Path, *rows: dict[str, str], **settings: str) -> NySbuCohort:
    (folder / "ny_sbu").mkdir(parents=True)
    with (folder / "ny_sbu" / "clinical_20210806.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="NA")
        writer.writeheader()
        writer.writerows(rows)
    return NySbuCohort(data_dir=str(folder), **settings)


@pytest.fixture(scope="module")
def real(midrc_ml_data: Path) -> Tables:
    return NySbuCohort(data_dir=str(midrc_ml_data), use="both").read()


@pytest.fixture(scope="module")
def real_rows(midrc_ml_data: Path) -> list[dict[str, str]]:
    with (midrc_ml_data / "ny_sbu" / "clinical_20210806.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def real_images(midrc_ml_data: Path) -> list[dict[str, str]]:
    with (midrc_ml_data / "ny_sbu" / "ct_dicom_manifest.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_outcomes_stay_and_what_was_known_at_admission(tmp_path: Path) -> None:
    tables = write(
        tmp_path,
        PATIENT,
        {**PATIENT, "to_patient_id": "A2", "last.status": "deceased", "is_icu": "TRUE", "gender_concept_name": "NA"},
        {**PATIENT, "to_patient_id": "A3", "visit_concept_name": "Emergency Room Visit", "new_column": "7"},
    ).read()
    cases = tables.cases.set_index("case_id")
    assert cases["died"].tolist() == [False, True, False]
    assert cases["icu_ever"].tolist() == [False, True, False]
    assert cases["sex"].fillna("none").tolist() == ["Male", "none", "Male"]
    assert cases["age"].isna().all()
    events = tables.events[tables.events["case_id"] == "A2"].set_index("name")
    stay, death = events.loc["Inpatient Visit"], tables.events[tables.events["kind"] == "death"]
    assert stay[["kind", "start_day", "end_day", "value"]].tolist() == ["hospital_stay", 0.0, 5.0, "Deceased"]
    assert death[["case_id", "start_day"]].values.tolist() == [["A2", 5.0]]
    known = {
        name: (kind, day) for name, kind, day in zip(events.index, events["kind"], events["start_day"], strict=True)
    }
    assert known["htn_v"] == ("condition", 0.0)
    assert known["cough_v"] == known["age.splits"] == ("observation", 0.0)
    assert known[SODIUM] == known["Sodium.above145"] == ("laboratory", 0.0)
    for later in ("length_of_stay", "antibiotics_use_v", "Acute.Kidney.Injury..during.hospitalization."):
        assert pd.isna(known[later][1])
    # Blank is not "no", outcomes are no features, and the second sodium is the first.
    assert not {"acei_v", "invasive_vent_days", "is_icu", "last.status", f"{SODIUM}.1"} & set(known)
    unknown = tables.events[tables.events["name"] == "new_column"]
    assert unknown[["case_id", "kind"]].values.tolist() == [["A3", "observation"]]
    assert unknown["start_day"].isna().all()
    assert tables.notes == (
        "1 columns repeat another one in name and values; each is read once",
        "1 columns are not known here; their values are observations without a day",
    )
    with pytest.raises(InputError, match=r"needs studies \(cohort.use=table leaves the images out"):
        tables.require(["studies"], needed_by="task")


def test_images_have_days_from_the_start_of_the_visit_and_emergency_visits_may_be_no_stay(tmp_path: Path) -> None:
    emergency = {**PATIENT, "to_patient_id": "A3", "visit_concept_name": "Emergency Room Visit"}
    write(tmp_path, PATIENT, emergency)
    images = tmp_path / "elsewhere"
    ct = {"Modality": "CT", "PatientAge": "071Y", "PatientSex": "M"}
    write_header(images / "a" / "0.dcm", study=1, series=1, patient="A1", StudyDate="19001231", **ct)
    write_header(images / "b" / "0.dcm", study=2, series=1, patient="A1", StudyDate="19010104", **ct)
    write_header(images / "c" / "0.dcm", study=3, series=1, patient="A9", StudyDate="19010104", **ct)
    settings = {"data_dir": str(tmp_path), "images_dir": str(images)}
    both = NySbuCohort(**settings, use="both", stays="inpatient").read()
    assert both.studies.set_index("study_id")["day"].to_dict() == {f"{ROOT}.1": -1.0, f"{ROOT}.2": 3.0}
    assert both.events[both.events["kind"] == "hospital_stay"]["case_id"].tolist() == ["A1"]
    assert set(both.cases["case_id"]) == {"A1", "A3"}
    assert both.notes == (
        "1 visits are not of inpatients; they count as no hospital stay",
        "1 columns repeat another one in name and values; each is read once",
        "1 image series are of no patient of the table; they are left out",
    )
    alone = NySbuCohort(**settings, use="images").read()
    # Without the table, the first study begins the count.
    assert alone.studies.set_index("study_id")["day"].tolist() == [0.0, 4.0, 0.0]
    assert alone.cases[["case_id", "sex", "age"]].values.tolist() == [["A1", "Male", 71.0], ["A9", "Male", 71.0]]
    assert alone.cases["died"].isna().all()
    assert (len(alone.events), alone.absent["hospital_stay"]) == (0, "cohort.use=images leaves the clinical table out")


def test_all_bad_values_are_told_at_once(tmp_path: Path) -> None:
    cohort = write(
        tmp_path,
        {**PATIENT, "last.status": "alive", "length_of_stay": "-1"},
        {**PATIENT, "is_icu": "perhaps", "visit_start_datetime": "1901-01-01"},
        {**PATIENT, "to_patient_id": "A2", "invasive_vent_days": "4"},
    )
    with pytest.raises(TableError) as error:
        cohort.read()
    text = str(error.value)
    assert "last.status must be one of 'deceased', 'discharged'; 1 row does not (row 2: 'alive')" in text
    assert "length_of_stay must be a number of at least 0" in text
    assert "is_icu must be True, False or empty" in text
    assert "visit_start_datetime must be a date like 01/31/2000; 1 row does not (row 3: '1901-01-01')" in text
    assert "2 rows share their to_patient_id with another" in text
    assert "1 patients have invasive_vent_days, but was_ventilated says No" in text
    assert len(error.value.problems) == 6


def test_what_is_absent_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cohort.use is 'all'; it must be one of table, images, both"):
        NySbuCohort(data_dir=None, use="all")
    with pytest.raises(InputError, match="MIDRC_ML_DATA"):
        NySbuCohort(data_dir=None).read()
    write(tmp_path, PATIENT)
    with pytest.raises(InputError, match=r"no DICOM file is in .*IDC's collection covid_19_ny_sbu"):
        NySbuCohort(data_dir=str(tmp_path), use="both").read()
    (tmp_path / "ny_sbu" / "clinical_20210806.csv").unlink()
    with pytest.raises(InputError, match=r"get the clinical table from https://doi.org/10.7937/TCIA.BBAG-2923"):
        NySbuCohort(data_dir=str(tmp_path)).read()


def test_the_real_table_has_1384_patients_with_the_published_outcomes(real: Tables) -> None:
    cases = real.cases
    assert len(cases) == cases["patient_id"].nunique() == 1_384
    # Counts of the table's own dictionary and of its description.
    assert cases["icu_ever"].value_counts().to_dict() == {False: 1_124, True: 260}
    assert cases["ventilated_ever"].value_counts().to_dict() == {False: 1_171, True: 213}
    assert cases["died"].value_counts().to_dict() == {False: 1_201, True: 183}
    assert cases["sex"].value_counts(dropna=False).to_list() == [760, 592, 32]
    neither = cases["died"] & ~cases["icu_ever"] & ~cases["ventilated_ever"]
    assert int(neither.sum()) == 69
    assert cases["covid_ever"].all()


def test_the_real_events_are_the_cells_of_the_table(real: Tables, real_rows: list[dict[str, str]]) -> None:
    outcomes = {
        *("to_patient_id", "covid19_statuses", "last.status", "gender_concept_name", "visit_concept_name", "is_icu"),
        *("was_ventilated", "visit_start_datetime", f"{SODIUM}.1"),
    }
    cells = Counter(name for row in real_rows for name, cell in row.items() if cell != "NA" and name not in outcomes)
    features = real.events[~real.events["kind"].isin(["hospital_stay", "death"])]
    assert features["name"].value_counts().to_dict() == dict(cells)
    later = set(features.loc[features["start_day"].isna(), "name"])
    assert later == {
        *("length_of_stay", "invasive_vent_days", "kidney_replacement_therapy", "antibiotics_use_v"),
        *("Acute.Hepatic.Injury..during.hospitalization.", "Acute.Kidney.Injury..during.hospitalization."),
        *("therapeutic.exnox.Boolean", "therapeutic.heparin.Boolean", "Other.anticoagulation.therapy"),
    }
    assert set(features["start_day"].dropna()) == {0.0}
    stays = real.events[real.events["kind"] == "hospital_stay"].set_index("case_id")
    assert stays["end_day"].to_dict() == {row["to_patient_id"]: float(row["length_of_stay"]) for row in real_rows}
    deaths = real.events[real.events["kind"] == "death"].set_index("case_id")["start_day"]
    expected = {r["to_patient_id"]: float(r["length_of_stay"]) for r in real_rows if r["last.status"] == "deceased"}
    assert deaths.to_dict() == expected


def test_the_real_slices_are_studies_of_ten_patients_on_the_manifests_days(
    real: Tables, real_images: list[dict[str, str]]
) -> None:
    expected = []
    for row in real_images:
        start = datetime.strptime(row["table_visit_start_datetime"], "%m/%d/%Y")
        day = (datetime.strptime(row["study_date"], "%Y%m%d") - start).days
        expected.append((Path(row["path"]).name, row["patient_id"], float(day), float(row["age"].rstrip("Y"))))
    found = real.series.merge(real.studies, on="study_id")
    names = [Path(file).name for file in found["file"]]
    assert sorted(zip(names, found["case_id"], found["day"], found["age"], strict=True)) == sorted(expected)
    assert (len(real.studies), real.studies["case_id"].nunique()) == (20, 10)
    # A study within a day of the stay for each patient: the table and the images are shifted alike.
    stays = real.events[real.events["kind"] == "hospital_stay"].set_index("case_id")["end_day"]
    inside = found["day"].between(-1, found["case_id"].map(stays) + 1)
    assert found[inside]["case_id"].nunique() == 10
