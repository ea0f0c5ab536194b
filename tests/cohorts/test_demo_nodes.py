"""The demo cohort's node exports against the dictionary, real headers, and what is true of the invented patients."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from demo_export import D1, R1, RICORD, RICORD_PREFIX, Exports, days, node, read_back, site_of, words_of_sites

from midrc_ml.cohorts.demo_nodes import node_exports
from midrc_ml.cohorts.demo_patients import SITES, UNKNOWN_SITE, DemoPatients, invent_patients
from midrc_ml.cohorts.demo_scans import ct_scans
from midrc_ml.cohorts.reader import Tables


@pytest.fixture(scope="module")
def patients() -> DemoPatients:
    return invent_patients(2_000, seed=0, shortcut=0.5)


@pytest.fixture(scope="module")
def exports(patients: DemoPatients) -> Exports:
    return node_exports(patients)


@pytest.fixture(scope="module")
def words(checkout: Path) -> dict[str, Any]:
    return words_of_sites(checkout)


@pytest.fixture(scope="module")
def tables(exports: Exports, words: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return read_back(exports, tmp_path_factory.mktemp("exports"), **words)


# Headers of real exports: case January 2025, imaging_study May 2022 (RICORD) and December 2023, measurement; visit by
# the dictionary.
@pytest.mark.parametrize(
    ("name", "header"),
    [
        (
            f"{D1}_case",
            "type id project_id submitter_id age_at_index age_at_index_gt89 case_ids country_of_residence "
            "covid19_positive ethnicity gen3_linked_subjects_available icu_indicator index_event linked_external_data "
            "long_covid_diagnosis race sex site_id token_record_id treatment_info ventilator_indicator zip datasets.id "
            "datasets.submitter_id",
        ),
        (
            f"{R1}_imaging_study",
            "type id project_id submitter_id age_at_imaging age_at_imaging_gt89 body_part_examined case_ids "
            "days_from_study_to_neg_covid_test days_from_study_to_pos_covid_test days_to_study loinc_code "
            "loinc_contrast loinc_long_common_name loinc_method loinc_system study_description study_modality "
            "study_uid study_year study_year_shifted cases.id cases.submitter_id",
        ),
        (
            f"{RICORD}_imaging_study",
            "type id project_id submitter_id age_at_imaging body_part_examined case_ids days_to_study series_count "
            "study_description study_location study_modality study_uid study_year study_year_shifted cases.id "
            "cases.submitter_id",
        ),
        (
            f"{D1}_measurement",
            "type id project_id submitter_id case_ids test_days_from_index test_method test_name test_result_text "
            "cases.id cases.submitter_id conditions.id conditions.submitter_id procedures.id procedures.submitter_id",
        ),
        (
            f"{D1}_visit",
            "type id project_id submitter_id case_ids days_to_hospital_admission days_to_hospital_discharge "
            "days_to_icu_admission days_to_icu_discharge discharge_type cases.id cases.submitter_id",
        ),
    ],
)
def test_headers_are_those_of_a_real_export(exports: Exports, name: str, header: str) -> None:
    assert exports[name].columns.tolist() == header.split()


def test_the_case_header_is_that_of_the_real_file(exports: Exports, midrc_ml_data: Path) -> None:
    (real,) = (midrc_ml_data / "midrc" / "react").glob("*.tsv")
    with real.open() as file:
        assert file.readline().rstrip("\n").split("\t") == exports[f"{D1}_case"].columns.tolist()


def test_every_node_keeps_to_the_dictionary(exports: Exports, midrc_ml_data: Path) -> None:
    """Columns are properties or links of MIDRC's own schema, and values are of its lists and ranges."""
    schemas = midrc_ml_data / "midrc/dictionary/gdcdictionary/schemas"
    of_every_node = {"type", "id", "project_id", "submitter_id", "case_ids"}
    # Names of old exports, and what the dictionary says of files in general.
    old = {"country_of_origin", "series_count", "study_location", "file_name", "file_size", "md5sum", "object_id"}
    seen = set()
    for name, frame in exports.items():
        kind = name.split("_", 1)[1]
        properties = yaml.load((schemas / f"{kind}.yaml").read_text(), yaml.CSafeLoader)["properties"]
        links = {column.split(".")[0] for column in frame if "." in column}
        own = {column for column in frame if "." not in column} - of_every_node - old
        assert (own | links) <= set(properties), name
        for column in own:
            values = frame.loc[frame[column] != "", column]
            allowed = properties[column].get("enum")
            if allowed and len(values):
                seen.add(column)
                # The dictionary's Yes and No are read as booleans by YAML 1.1.
                spelled = {"Yes" if word is True else "No" if word is False else word for word in allowed}
                assert set(values) <= spelled, (name, column)
            elif "maximum" in properties[column] and len(values):
                seen.add(column)
                assert days(values).between(properties[column]["minimum"], properties[column]["maximum"]).all()
    assert {"test_result_text", "class_covid19_pneumonia", "midrc_mRALE_score", "medication_type"} <= seen


def test_each_project_exports_the_nodes_that_it_has(exports: Exports) -> None:
    of_all = {"case", "imaging_study", "measurement", "annotation", "dataset", "dx_series_file"}
    clinical = {"condition", "medication", "observation"}
    assert {name: frame["type"].unique().tolist() for name, frame in exports.items()} == {
        f"{project}_{name}": [name]
        for project, names in {
            D1: of_all | clinical | {"visit", "procedure", "cr_series_file", "ct_series_file"},
            R1: of_all | clinical | {"ct_series_file"},
            RICORD: of_all,
        }.items()
        for name in names
    }
    assert all(set(frame["project_id"]) == {name.split("_")[0]} for name, frame in exports.items())


def test_three_sites_differ_in_prevalence_and_scanner(exports: Exports) -> None:
    case = node(exports, "case", D1, R1)
    assert case["site_id"].nunique() == 3
    scanners = pd.concat([node(exports, "cr_series_file"), node(exports, "dx_series_file")])
    assert scanners.groupby(site_of(scanners["case_ids"]))["manufacturer"].agg(set).astype(str).nunique() == 3
    for flag, yes in (("icu_indicator", "True"), ("covid19_positive", "Yes")):
        rates = case[case[flag] != ""].groupby("site_id")[flag].agg(lambda flags, yes=yes: (flags == yes).mean())
        assert rates.round(2).nunique() == 3


def test_one_site_has_no_icu_flag_no_visit_and_no_procedure_although_it_ventilates(exports: Exports) -> None:
    case, unknown = node(exports, "case", D1), node(exports, "case", R1)
    assert set(unknown["site_id"]) == {SITES[UNKNOWN_SITE].name}
    assert set(unknown["icu_indicator"]) == {"False"}
    assert (unknown["ventilator_indicator"] == "True").any()
    assert len(unknown) > 50
    for name in ("visit", "procedure"):
        assert f"{R1}_{name}" not in exports
        assert set(site_of(node(exports, name)["case_ids"])) == set(case["site_id"])
    assert (case[case["icu_indicator"] != ""].groupby("site_id")["icu_indicator"].nunique() == 2).all()


def test_flags_have_three_states_and_a_site_without_one_leaves_it_blank(exports: Exports) -> None:
    case = node(exports, "case", D1)
    first, second = (case[case["site_id"] == SITES[place].name] for place in (0, 1))
    assert set(first["icu_indicator"]) == set(first["ventilator_indicator"]) == {"True", "False"}
    assert set(second["icu_indicator"]) == {"True", "False", ""}
    assert set(second["ventilator_indicator"]) == {""}
    assert set(node(exports, "case")["long_covid_diagnosis"].dropna()) == {"Positive", "Not Reported", ""}


def test_ages_over_89_are_blank_and_marked(exports: Exports) -> None:
    case = node(exports, "case", D1, R1)
    marked = case["age_at_index_gt89"] == "Yes"
    assert marked.any()
    assert set(case.loc[marked, "age_at_index"]) == {""}
    assert case.loc[~marked, "age_at_index"].astype(float).max() <= 89
    study = node(exports, "imaging_study", D1, R1)
    of_marked = study["case_ids"].str.split(",").str[0].isin(case.loc[marked, "submitter_id"])
    assert set(study.loc[of_marked, "age_at_imaging"]) == {""}
    assert set(study.loc[of_marked, "age_at_imaging_gt89"]) == {"Yes"}


def test_studies_lie_before_on_and_after_the_icu_day_and_several_a_patient(exports: Exports) -> None:
    visit = node(exports, "visit").drop_duplicates("case_ids").set_index("case_ids")
    study = node(exports, "imaging_study", D1)
    study = study[study["study_modality"] != "CT"]
    gap = days(study["days_to_study"]) - days(study["case_ids"].map(visit["days_to_icu_admission"]))
    assert min((gap < 0).sum(), (gap == 0).sum(), (gap > 0).sum()) > 20
    per_patient = study.groupby("case_ids").size()
    assert set(per_patient) == {1, 2, 3, 4, 5}


def test_some_come_back_to_hospital_long_after_their_films_and_some_are_still_there(exports: Exports) -> None:
    visit = node(exports, "visit").set_index("case_ids")
    number = visit["submitter_id"].str[-1]
    first, second = visit[number == "1"], visit[number == "2"]
    assert len(second) > 50
    gap = days(second["days_to_hospital_admission"]) - days(first["days_to_hospital_discharge"])[second.index]
    assert gap.min() >= 25
    assert not first.loc[second.index, "discharge_type"].isin(["Deceased", "Expired"]).any()
    still_there = first[first["days_to_hospital_discharge"] == ""]
    assert len(still_there) > 5
    assert set(still_there["discharge_type"]) == {""}


def test_the_second_site_writes_discharges_in_words_of_its_own(exports: Exports, tables: Tables) -> None:
    visit = node(exports, "visit")
    used = visit.groupby(site_of(visit["case_ids"]))["discharge_type"].agg(set)
    assert "Deceased" in used["100001"]
    assert "Expired" in used["100002"]
    assert not {"Deceased", "Home or Self Care"} & used["100002"]
    deaths = tables.events[tables.events["kind"] == "death"]
    assert len(deaths) == visit["discharge_type"].isin(["Deceased", "Expired"]).sum()


def test_tests_are_repeated_unclear_undated_and_of_both_results_on_one_day(exports: Exports) -> None:
    test = node(exports, "measurement", D1, R1)
    assert set(test["test_result_text"]) == {"Positive", "Negative", "Indeterminate", "Not Reported"}
    assert test.groupby("case_ids").size().max() >= 4
    undated = test["test_days_from_index"] == ""
    assert undated.any()
    by_day = test[~undated].groupby(["case_ids", "test_days_from_index"])["test_result_text"].agg(set)
    assert any({"Positive", "Negative"} <= results for results in by_day)
    case = node(exports, "case", D1, R1).set_index("submitter_id")
    untested = case.drop(index=test["case_ids"].unique())
    assert len(untested) > 0
    assert set(untested["covid19_positive"]) == {"No"}
    positive = test.loc[test["test_result_text"] == "Positive", "case_ids"].unique()
    assert set(case.index[case["covid19_positive"] == "Yes"]) == set(positive)


def test_days_from_a_study_to_tests_are_negative_where_the_test_came_first(exports: Exports) -> None:
    tests = node(exports, "measurement", D1, R1)
    dated: dict[tuple[str, str], set[int]] = {}
    for test in tests[tests["test_days_from_index"] != ""].itertuples():
        dated.setdefault((test.case_ids, test.test_result_text), set()).add(int(test.test_days_from_index))
    several = 0
    for study in node(exports, "imaging_study", D1, R1).itertuples():
        for result, cell in (
            ("Positive", study.days_from_study_to_pos_covid_test),
            ("Negative", study.days_from_study_to_neg_covid_test),
        ):
            of_case = dated.get((study.case_ids.split(",")[0], result), set())
            gaps = [day - int(study.days_to_study) for day in sorted(of_case, reverse=True)]
            assert cell == ",".join(map(str, gaps))
            several += len(gaps) > 1
    assert several > 100


def test_some_patients_and_studies_are_in_another_project_under_another_id(exports: Exports, tables: Tables) -> None:
    own, alias = (node(exports, "case", project).set_index("submitter_id") for project in (R1, RICORD))
    of_alias = own.loc[alias.index.str.removeprefix(RICORD_PREFIX)]
    assert len(alias) > 20
    assert alias["sex"].tolist() == of_alias["sex"].tolist()
    younger = days(of_alias["age_at_index"]).to_numpy() - days(alias["age_at_index"]).to_numpy()
    assert np.nanmax(np.abs(younger - 0.24)) < 1e-9
    studies, in_ricord = (set(exports[f"{project}_imaging_study"]["study_uid"]) for project in (R1, RICORD))
    assert len(studies & in_ricord) == len(alias)
    assert len(in_ricord - studies) > 5
    named_twice = exports[f"{R1}_imaging_study"]["cases.submitter_id"].str.split(",")
    (ids,) = named_twice[named_twice.str.len() > 1]
    assert ids == [ids[0], RICORD_PREFIX + ids[0]]
    # Read back: one patient under both ids, each study once, those of RICORD alone under its id.
    patient = tables.cases.set_index("case_id")["patient_id"]
    assert (patient[alias.index] == patient[of_alias.index].to_numpy()).all()
    assert patient.nunique() == 2_000
    assert (
        len(tables.studies)
        == len(set(tables.studies["study_id"]))
        == len(studies | in_ricord) + len(exports[f"{D1}_imaging_study"])
    )
    under_alias = tables.studies["case_id"].str.startswith(RICORD_PREFIX)
    assert set(tables.studies.loc[under_alias, "study_id"]) == in_ricord - studies


def test_lists_are_joined_by_commas_and_a_case_may_be_in_several_batches(exports: Exports, tables: Tables) -> None:
    batches = node(exports, "case", D1, R1).set_index("submitter_id")["datasets.submitter_id"].str.split(",")
    assert set(batches.str.len()) == {1, 2}
    arrival = tables.cases.set_index("case_id")["arrival_date"]
    assert (batches.map(lambda names: min(name[-8:] for name in names)) == arrival[batches.index]).all()
    assert {"CR", "CR,SR", "DX,SR"} <= set(node(exports, "imaging_study")["study_modality"])


def test_ventilation_lies_within_the_icu_stay_and_other_breathing_support_does_not_count(
    exports: Exports, tables: Tables
) -> None:
    procedure = node(exports, "procedure")
    assert {"Mechanical ventilation", "Nasal cannula", ""} <= set(procedure["breathing_support_type"])
    events = tables.events
    ventilation = events[(events["kind"] == "ventilation") & events["start_day"].notna()].set_index("case_id")
    said = procedure["breathing_support_type"].str.contains("ventilation|ventilator")
    assert len(ventilation) == said.sum() > 100
    stay = node(exports, "visit").drop_duplicates("case_ids").set_index("case_ids").loc[ventilation.index]
    assert (ventilation["start_day"] >= days(stay["days_to_icu_admission"])).all()
    assert (ventilation["end_day"] <= days(stay["days_to_icu_discharge"])).all()


def test_nothing_lies_after_a_death_or_before_birth(patients: DemoPatients) -> None:
    # The second one has a patient who would be filmed once more after an early death.
    for invented, num_deaths in ((patients, 100), (invent_patients(20, seed=0, shortcut=0.5), 1)):
        people = invented.patients.set_index("case_id")
        assert people["death"].notna().sum() >= num_deaths
        assert (people["death"].dropna() > 0).all()
        dated = []
        for frame in node_exports(invented).values():
            columns = [name for name in frame if name.startswith(("days_to_", "test_days"))]
            dated += [frame[["case_ids"]].assign(day=days(frame[name])) for name in columns]
        rows = pd.concat(dated).dropna(subset="day")
        case_id = rows["case_ids"].str.split(",").str[0].str.removeprefix(RICORD_PREFIX)
        after = rows["day"].to_numpy() - case_id.map(people["death"]).to_numpy()
        assert np.nanmax(after) == 0
        assert (rows["day"].to_numpy() > -365 * case_id.map(people["age"]).to_numpy()).all()


def test_twenty_patients_are_enough_to_be_read(tmp_path: Path, words: dict[str, Any]) -> None:
    invented = invent_patients(20, seed=0, shortcut=0.5)
    tables = read_back(node_exports(invented), tmp_path, **words)
    assert tables.cases["patient_id"].nunique() == 20
    assert set(tables.studies["study_id"]) == {*invented.films["study_uid"], *ct_scans(invented)["study_uid"]}


def test_what_a_reader_has_to_settle_is_in_the_notes(exports: Exports, tables: Tables) -> None:
    studies = node(exports, "imaging_study")
    again = int(studies["study_uid"].duplicated().sum())
    blank = int((node(exports, "procedure")["breathing_support_type"] == "").sum())
    hospice = int((node(exports, "visit")["discharge_type"] == "Hospice/Home").sum())
    assert min(again, blank, hospice) > 0
    notes = "\n".join(tables.notes)
    for sentence in (
        "3 files hold nodes that no table is made of",
        "imaging_study: 1 rows name several cases",
        f"imaging_study: {again} rows are further copies of a study",
        f"visit: {hospice} rows have a discharge_type",
        f"procedure: {blank} rows have a breathing_support_type",
    ):
        assert sentence in notes
