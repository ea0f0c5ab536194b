"""What the values of the nodes become: cases, studies, series and events."""

from pathlib import Path

import pandas as pd
import pytest
from midrc_export import case, plain, read, series, study, visit, write_node

from midrc_ml.cohorts.midrc_files import read_export
from midrc_ml.cohorts.midrc_lists import has_several
from midrc_ml.errors import InputError


def test_a_whole_export_becomes_the_tables(tmp_path: Path) -> None:
    write_node(
        tmp_path / "Open-A1_case.tsv",
        "case",
        case(
            "100-1",
            project_id="Open-A1",
            icu_indicator="True",
            **{"datasets.submitter_id": "ACR_20220301,ACR_20210826"},
        ),
    )
    write_node(
        tmp_path / "Open-A1_imaging_study.tsv",
        "imaging_study",
        study("1.2", "100-1", days_to_study="-3", age_at_imaging="58", loinc_code="36589-0", study_modality="DX,CR"),
    )
    write_node(
        tmp_path / "Open-A1_measurement.tsv",
        "measurement",
        visit("100-1", test_days_from_index="0", test_method="RT-PCR", test_result_text="Positive"),
    )
    write_node(
        tmp_path / "Open-A1_visit.tsv",
        "visit",
        visit(
            "100-1",
            days_to_hospital_admission="-1",
            days_to_hospital_discharge="9",
            days_to_icu_admission="2",
            days_to_icu_discharge="5",
            discharge_type="Deceased",
        ),
    )
    write_node(tmp_path / "Open-A1_dx_series_file.tsv", "dx_series_file", series("1.2.3", "1.2", manufacturer="GE"))
    tables = read(tmp_path)
    (row,) = tables.cases.to_dict("records")
    assert (row["case_id"], row["patient_id"], row["site"], row["project"]) == ("100-1", "100-1", "100", "Open-A1")
    assert (row["sex"], row["age"], row["icu_ever"], row["arrival_date"]) == ("Male", 59.0, True, "20210826")
    (row,) = tables.studies.to_dict("records")
    assert (row["study_id"], row["case_id"], row["day"], row["age"]) == ("1.2", "100-1", -3.0, 58.0)
    assert (row["modality"], row["loinc"]) == ("CR,DX", "36589-0")
    (row,) = tables.series.to_dict("records")
    assert (row["series_id"], row["study_id"], row["view"], row["manufacturer"]) == ("1.2.3", "1.2", "AP", "GE")
    assert pd.isna(row["file"])
    events = tables.events.set_index("kind")
    assert sorted(events.index) == ["covid_test", "death", "hospital_stay", "icu_stay"]
    assert events.loc["covid_test", "value"] == "Positive"
    assert tuple(events.loc["hospital_stay", ["start_day", "end_day", "value"]]) == (-1.0, 9.0, "Deceased")
    assert tuple(events.loc["icu_stay", ["start_day", "end_day"]]) == (2.0, 5.0)
    assert events.loc["death", "start_day"] == 9.0
    assert sorted(tables.absent) == ["condition", "laboratory", "medication", "observation", "readings", "ventilation"]


def test_none_and_triple_zero_stay_text(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("000-1", site_id="000"))
    write_node(
        tmp_path / "imaging_study.tsv",
        "imaging_study",
        study("1.2", "000-1", study_description="None", loinc_code="NA"),
    )
    tables = read(tmp_path)
    assert tables.cases["site"].tolist() == ["000"]
    assert tables.studies[["description", "loinc"]].iloc[0].tolist() == ["None", "NA"]


def test_a_quote_in_a_cell_is_a_letter_like_any_other(tmp_path: Path) -> None:
    words = ('XR "CHEST" 1 VIEW', '"PORTABLE')
    write_node(
        tmp_path / "imaging_study.tsv",
        "imaging_study",
        *(study(f"1.{i}", "100-1", study_description=text) for i, text in enumerate(words)),
    )
    assert tuple(read(tmp_path).studies["description"]) == words


def test_true_false_and_blank_are_three_states(tmp_path: Path) -> None:
    spelled = {"100-1": "True", "100-2": "False", "100-3": ""}
    write_node(tmp_path / "case.tsv", "case", *(case(name, icu_indicator=value) for name, value in spelled.items()))
    flags = read(tmp_path).cases.set_index("case_id")["icu_ever"]
    assert flags["100-3"] is pd.NA
    assert flags.dropna().to_dict() == {"100-1": True, "100-2": False}


def test_the_three_list_spellings_read_alike(tmp_path: Path) -> None:
    spelled = ["CR,DX 100-1", "['CR',|'DX'] ['100-1']", '["CR",|"DX"] ["100-1"]', '"[""CR"",|""DX""]" "[""100-1""]"']
    rows = []
    for number, text in enumerate(spelled):
        modality, links = (part.replace("|", " ") for part in text.split(" "))
        rows.append(study(f"1.{number}", links, study_modality=modality))
    write_node(tmp_path / "imaging_study.tsv", "imaging_study", *rows)
    assert read(tmp_path).studies[["case_id", "modality"]].to_numpy().tolist() == [["100-1", "CR,DX"]] * 4


def test_a_blank_age_over_89_is_90_with_a_mark_and_a_blank_age_alone_is_missing(tmp_path: Path) -> None:
    rows = [
        case("100-1", age_at_index="", age_at_index_gt89="Yes"),
        case("100-2", age_at_index="", age_at_index_gt89="No"),
    ]
    write_node(tmp_path / "case.tsv", "case", *rows, case("100-3", age_at_index="0"))
    ages = read(tmp_path).cases.set_index("case_id")
    assert ages.loc["100-1", "age"] == 90.0
    assert pd.isna(ages.loc["100-2", "age"])
    assert ages.loc["100-3", "age"] == 0.0
    assert ages["age_over_89"].tolist() == [True, False, False]


def test_ages_that_do_not_go_together_are_counted_and_kept(tmp_path: Path) -> None:
    write_node(
        tmp_path / "c.tsv",
        "case",
        case("100-1", age_at_index="59"),
        case("100-2", age_at_index="50", age_at_index_gt89="Yes"),
    )
    write_node(
        tmp_path / "i.tsv",
        "imaging_study",
        study("1.1", "100-1", age_at_imaging="12"),
        study("1.2", "100-1", age_at_imaging="61", days_to_study="40"),
        study("1.3", "100-1", age_at_imaging="69", days_to_study="3652.5"),
        study("1.4", "100-2", age_at_imaging="50"),
    )
    tables = read(tmp_path)
    assert tables.studies["age"].tolist() == [12.0, 61.0, 69.0, 50.0]
    assert tables.notes == (
        "case: 1 rows have an age below 89 and are marked as over 89; the mark is believed",
        "imaging_study: 1 studies have an age_at_imaging more than 2 years from their case's age_at_index and the "
        "days between; both are kept as they are",
    )


def test_a_blank_age_at_imaging_over_89_is_90(tmp_path: Path) -> None:
    row = study("1.2", "100-1", age_at_imaging="", age_at_imaging_gt89="Yes")
    write_node(tmp_path / "imaging_study.tsv", "imaging_study", row)
    assert read(tmp_path).studies["age"].tolist() == [90.0]


def test_a_ricord_prefix_names_the_same_patient(tmp_path: Path) -> None:
    write_node(
        tmp_path / "case.tsv",
        "case",
        case("419639-000001", project_id="Open-R1"),
        case("MIDRC-RICORD-1A-419639-000001", project_id="TCIA-RICORD"),
        case("MIDRC-RICORD-1C-419639-000002", project_id="TCIA-RICORD"),
    )
    cases = read(tmp_path).cases
    assert cases["patient_id"].tolist() == ["419639-000001", "419639-000001", "419639-000002"]
    assert cases["site"].tolist() == ["419639"] * 3
    assert cases["case_id"].nunique() == 3


@pytest.mark.parametrize("form", ["uid", "case_uid", "file_name"])
def test_a_series_finds_its_study_by_link_by_compound_id_and_by_file_name(tmp_path: Path, form: str) -> None:
    compound = "100-1_1.2" if form == "case_uid" else "1.2"
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.2", "100-1", submitter_id=compound))
    link = "" if form == "file_name" else compound
    write_node(tmp_path / "s.tsv", "dx_series_file", series("1.2.3", "1.2", **{"imaging_studies.submitter_id": link}))
    assert read(tmp_path).series["study_id"].tolist() == ["1.2"]


def test_a_series_that_names_no_study_is_left_out_and_given_to_no_other(tmp_path: Path) -> None:
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.2", "100-1", submitter_id=""))
    row = series("1.2.3", "1.2", file_name="1.2.3.zip", **{"imaging_studies.submitter_id": ""})
    write_node(tmp_path / "s.tsv", "dx_series_file", row, series("1.2.4", "1.2"))
    tables = read(tmp_path)
    assert tables.series[["series_id", "study_id"]].to_numpy().tolist() == [["1.2.4", "1.2"]]
    assert tables.notes == ("series: 1 rows name no study, by link or by path; they are left out",)


def test_rows_whose_case_or_study_is_nowhere_are_counted(tmp_path: Path) -> None:
    test = {"test_days_from_index": "0", "test_result_text": "Positive"}
    write_node(tmp_path / "s.tsv", "dx_series_file", *(series(f"{of}.1", of) for of in ("1.1", "1.8", "1.9")))
    write_node(tmp_path / "m.tsv", "measurement", visit("100-1", **test), visit("100-9", **test))
    days = {"days_to_hospital_admission": "1", "days_to_icu_admission": "2"}
    write_node(tmp_path / "v.tsv", "visit", *(visit(of, **days) for of in ("100-1", "100-8", "100-9")))
    assert read(tmp_path).notes == ()  # neither cases nor studies are there to be missed in
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1"))
    write_node(tmp_path / "case.tsv", "case", case("100-1"), case("100-2"))
    assert sorted(read(tmp_path).notes) == [
        "measurement: 1 rows name a case that is in no case row; they are not used",
        "series: 2 rows name a study that is in no imaging_study row; they are not used",
        "visit: 2 rows name a case that is in no case row; they are not used",
    ]


def test_a_study_of_no_case_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [study("1.1", "100-1"), study("1.3", ""), study("1.4", "100-1,100-1")]
    write_node(tmp_path / "i.tsv", "imaging_study", *rows)
    tables = read(tmp_path)
    assert tables.studies[["study_id", "case_id"]].to_numpy().tolist() == [["1.1", "100-1"], ["1.4", "100-1"]]
    assert tables.notes == ("imaging_study: 1 rows name no case; they are left out",)


def test_what_happened_on_no_usable_day_is_kept_without_its_day_and_counted(tmp_path: Path) -> None:
    write_node(
        tmp_path / "v.tsv",
        "visit",
        visit("100-1", days_to_hospital_admission="5", days_to_hospital_discharge="2"),
        visit("100-2", days_to_hospital_discharge="2"),
        visit("100-3", days_to_hospital_admission="1", days_to_icu_discharge="4"),
        visit("100-4", days_to_hospital_admission="1", discharge_type="Deceased"),
        visit("100-5", days_to_hospital_admission="1", days_to_hospital_discharge="1"),
        visit("100-6", days_to_icu_admission="4", days_to_icu_discharge="3"),
        visit("100-7", days_to_icu_admission="4", days_to_icu_discharge="6"),
    )
    tables = read(tmp_path)
    assert tables.events[["case_id", "kind"]].to_numpy().tolist() == [
        ["100-1", "hospital_stay"],
        ["100-2", "hospital_stay"],
        ["100-3", "hospital_stay"],
        ["100-3", "icu_stay"],
        ["100-4", "death"],
        ["100-4", "hospital_stay"],
        ["100-5", "hospital_stay"],
        ["100-6", "icu_stay"],
        ["100-7", "icu_stay"],
    ]
    # A stay or a death without a usable day is still evidence that there was one.
    days = tables.events.set_index(["case_id", "kind"])[["start_day", "end_day"]]
    assert days.loc[[("100-1", "hospital_stay"), ("100-2", "hospital_stay"), ("100-4", "death")]].isna().all(axis=None)
    icu = tables.events[tables.events["kind"] == "icu_stay"]
    assert icu[["start_day", "end_day"]].fillna(-99).to_numpy().tolist() == [[-99, -99], [-99, -99], [4, 6]]
    assert sorted(tables.notes) == [
        "visit: 1 cases died on a day that is not recorded; no label is made of it",
        "visit: 1 hospital stays end before they start; their days are not used",
        "visit: 1 hospital stays have a discharge day but no admission day; their days are not used",
        "visit: 1 icu stays end before they start; their days are not used",
        "visit: 1 icu stays have a discharge day but no admission day; their days are not used",
    ]


def test_a_death_of_a_stay_that_ends_before_it_starts_has_no_day(tmp_path: Path) -> None:
    ends = {"days_to_hospital_admission": "10", "days_to_hospital_discharge": "5", "discharge_type": "Deceased"}
    write_node(tmp_path / "v.tsv", "visit", visit("100-1", **ends))
    assert plain(read(tmp_path).events[["kind", "start_day"]]) == [["death", "-"], ["hospital_stay", "-"]]


def test_a_death_that_one_row_dates_needs_no_day_in_another(tmp_path: Path) -> None:
    write_node(
        tmp_path / "v.tsv",
        "visit",
        visit("100-1", days_to_hospital_admission="1", days_to_hospital_discharge="7", discharge_type="Deceased"),
        visit("100-1", days_to_hospital_admission="1", discharge_type="Deceased"),
    )
    deaths = read(tmp_path).events.query("kind == 'death'")
    assert deaths["start_day"].tolist() == [7]


def test_a_stay_whose_patient_is_still_there_has_no_end_whatever_its_row_says(tmp_path: Path) -> None:
    still = visit(
        "100-1", days_to_hospital_admission="0", days_to_hospital_discharge="5", discharge_type="Still a patient"
    )
    write_node(tmp_path / "v.tsv", "visit", still)
    (stay,) = read(tmp_path).events.to_dict("records")
    assert stay["start_day"] == 0
    assert pd.isna(stay["end_day"])
    assert pd.isna(stay["value"])


def test_an_icu_stay_without_an_end_reaches_the_hospital_stay_of_its_row(tmp_path: Path) -> None:
    write_node(
        tmp_path / "v.tsv",
        "visit",
        visit("100-1", days_to_hospital_admission="4", days_to_hospital_discharge="17", days_to_icu_admission="1"),
        visit("100-2", days_to_hospital_admission="4", days_to_icu_admission="1", days_to_icu_discharge="2"),
        visit("100-3", days_to_hospital_admission="4", days_to_icu_admission="5"),
    )
    tables = read(tmp_path)
    icu = tables.events[tables.events["kind"] == "icu_stay"]
    assert icu[["start_day", "end_day"]].fillna(-99).to_numpy().tolist() == [[1, 4], [1, 2], [5, -99]]
    assert tables.notes == (
        "visit: 1 icu stays without a discharge day begin before the hospital admission of their row; they are taken "
        "to last until it",
    )


def test_a_discharge_of_an_unknown_word_is_no_live_discharge(tmp_path: Path) -> None:
    words = ["home or  self care", "Long Term Care ", "DECEASED", "Gone", "07", ""]
    days = {"days_to_hospital_admission": "1", "days_to_hospital_discharge": "3"}
    rows = (visit(f"100-{i}", discharge_type=word, **days) for i, word in enumerate(words))
    write_node(tmp_path / "v.tsv", "visit", *rows)
    tables = read(tmp_path)
    stays = tables.events[tables.events["kind"] == "hospital_stay"]
    assert stays["value"].fillna("missing").tolist() == [
        "home or  self care",
        "Long Term Care",
        "DECEASED",
        "missing",
        "missing",
        "missing",
    ]
    deaths = tables.events[tables.events["kind"] == "death"]
    assert deaths[["case_id", "start_day"]].to_numpy().tolist() == [["100-2", 3.0]]
    assert tables.notes == (
        "visit: 2 rows have a discharge_type that is in no list of words (cohort.discharge); how they ended "
        "counts as not recorded",
    )


def test_an_absent_node_is_named_with_what_comes_from_it(tmp_path: Path) -> None:
    write_node(tmp_path / "case.tsv", "case", case("100-1"))
    with pytest.raises(
        InputError, match=r"task=icu needs icu_stay \(from the visit node: no such export in cohort.root\)"
    ):
        read(tmp_path).require(["cases", "icu_stay"], needed_by="task=icu")


def test_the_real_case_export_has_its_known_counts(midrc_ml_data: Path, tmp_path: Path) -> None:
    for path in (midrc_ml_data / "midrc" / "react").glob("*.tsv"):
        (tmp_path / path.name).symlink_to(path)
    tables = read(tmp_path)
    cases = tables.cases
    assert len(cases) == 3_700
    assert [int((cases["icu_ever"] == value).sum()) for value in (True, False)] == [154, 314]
    assert int(cases["icu_ever"].isna().sum()) == 3_232
    assert [int((cases["ventilated_ever"] == value).sum()) for value in (True, False)] == [4, 81]
    assert int(cases["ventilated_ever"].isna().sum()) == 3_615
    # 227 ages are blank in the file; every one of them has the mark and stands as 90.
    assert int(cases["age_over_89"].sum()) == 227
    assert int((cases["age"] == 90).sum()) == 227
    assert int(cases["age"].isna().sum()) == 0
    # midrc-data.md 2.1: 251 + 118 + 80 + 124 + 1 + 4 + 1 cases Yes, 2,980 + 116 + 25 No; one case of another site.
    assert [int((cases["covid_ever"] == value).sum()) for value in (True, False)] == [579, 3_121]
    assert cases["site"].value_counts().to_dict() == {"419639": 3_699, "10022779": 1}
    assert cases["arrival_date"].str.fullmatch(r"20\d{6}").all()
    # 3.1: 1,122 cases came in more than one batch.
    batches = read_export(tmp_path).nodes["case"]["datasets.submitter_id"]
    assert int(has_several(batches).sum()) == 1_122
    assert {"studies", "hospital_stay"} <= set(tables.absent)
    assert tables.notes == ()
