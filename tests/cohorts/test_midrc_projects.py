"""One person in several projects and under several ids; copies of cases and studies; exports of two dates."""

from pathlib import Path

import pandas as pd
import pytest
from midrc_export import HEADERS, case, cohort, read, series, study, visit, write_node

from midrc_ml.errors import InputError, TableError

R1, RICORD = "Open-R1", "TCIA-RICORD"
# Of the same person, as TCIA and MIDRC name it.
PATIENT, ALSO = "419639-000001", "MIDRC-RICORD-1A-419639-000001"


def patients(root: Path, **settings: object) -> dict[str, str]:
    cases = read(root, **settings).cases
    return dict(zip(cases["case_id"], cases["patient_id"], strict=True))


def test_ids_that_a_study_names_together_are_one_patient(tmp_path: Path) -> None:
    write_node(tmp_path / "c.tsv", "case", *(case(name) for name in ("100-3", "100-1", "100-2", "100-4")))
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-3,100-2"), study("1.2", "100-2,100-1"))
    assert patients(tmp_path) == {"100-1": "100-1", "100-2": "100-1", "100-3": "100-1", "100-4": "100-4"}


def test_two_cases_of_one_study_in_two_projects_are_one_patient(tmp_path: Path) -> None:
    write_node(tmp_path / "c.tsv", "case", case("A-9", project_id=R1), case("B-1", project_id=RICORD))
    write_node(
        tmp_path / "i.tsv",
        "imaging_study",
        study("1.1", "A-9", project_id=R1, days_to_study="5"),
        study("1.1", "B-1", project_id=RICORD, days_to_study="80"),
    )
    assert patients(tmp_path) == {"A-9": "A-9", "B-1": "A-9"}


def test_aliases_join_ids_and_also_through_the_ricord_prefix(tmp_path: Path) -> None:
    write_node(tmp_path / "c.tsv", "case", case(ALSO, project_id=RICORD), case("100-7"), case(PATIENT), case("500-1"))
    aliases = tmp_path / "aliases.csv"
    aliases.write_text("id,patient\n100-7,MIDRC-RICORD-1C-419639-000001\n999-9,500-1\n")
    assert patients(tmp_path, aliases=str(aliases)) == {
        PATIENT: "100-7",
        ALSO: "100-7",
        "100-7": "100-7",
        "500-1": "500-1",
    }
    assert "aliases: 1 rows have an id that is in no case row" in read(tmp_path, aliases=str(aliases)).notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cohort.aliases is '.*' \(FileNotFoundError\); it must be a CSV or TSV file"),
        (
            "100-1,P7\n",
            r"whose first line has 2 other names; it must be a CSV or TSV file with the columns id, patient",
        ),
        ("id\tpatient\n1\t\n\n\t2\n3\t4\n", r"^cohort.aliases: 2 rows have an empty cell \(lines 2, 4\); correct"),
        ("id,patient\n1,2,\n3,4\n5\n", r"^cohort.aliases: 2 rows have another number of cells .* \(lines 2, 4\)"),
        ("", r"whose first line has 0 other names"),
        ('id,patient\n"1,2\n', r"\(Error\); it must be a CSV"),
    ],
)
def test_an_aliases_file_of_another_form_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    write_node(tmp_path / "c.tsv", "case", case("100-1"))
    if content is not None:
        (tmp_path / "aliases").write_text(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path, aliases=str(tmp_path / "aliases"))


def test_a_study_of_several_cases_is_kept_under_the_first_known_one_and_counted(tmp_path: Path) -> None:
    write_node(tmp_path / "c.tsv", "case", case("100-2"), case("100-3"))
    write_node(tmp_path / "i.tsv", "imaging_study", study("1.1", "100-1,100-3,100-2"))
    tables = read(tmp_path)
    assert tables.studies[["study_id", "case_id"]].to_numpy().tolist() == [["1.1", "100-3"]]
    assert len(tables.notes) == 1
    assert tables.notes[0].startswith("imaging_study: 1 rows name several cases; they are taken for one patient")


def test_a_case_in_two_projects_is_one_case_whose_gaps_are_filled(tmp_path: Path) -> None:
    write_node(
        tmp_path / "c.tsv",
        "case",
        case(PATIENT, project_id=RICORD, race="White", ethnicity="", sex="Male", age_at_index="76.00",
             icu_indicator="True", **{"datasets.submitter_id": "RSNA_20210826"}),
        case(PATIENT, project_id=R1, race="Not Reported", ethnicity="", sex="", age_at_index="75.76",
             **{"datasets.submitter_id": "RSNA_20220301"}),
    )  # fmt: skip
    (row,) = read(tmp_path).cases.to_dict("records")
    assert (row["project"], row["age"], row["sex"], row["race"]) == (R1, 75.76, "Male", "White")
    assert (row["icu_ever"], row["arrival_date"]) == (True, "20210826")
    assert pd.isna(row["ethnicity"])
    (row,) = read(tmp_path, projects_first=[RICORD]).cases.to_dict("records")
    assert (row["project"], row["age"]) == (RICORD, 76.0)


def test_tests_that_two_projects_tell_of_one_case_count_once_and_a_repeated_one_in_a_project_twice(
    tmp_path: Path,
) -> None:
    write_node(tmp_path / "c.tsv", "case", case(PATIENT, project_id=R1), case(PATIENT, project_id=RICORD))
    rows = [
        visit(PATIENT, submitter_id=name, project_id=project, test_days_from_index="0", test_result_text="Positive")
        for name, project in (("a", R1), ("b", R1), ("c", RICORD))
    ]
    write_node(tmp_path / "m.tsv", "measurement", *rows)
    tables = read(tmp_path)
    assert len(tables.events) == 2
    assert "events: 1 stand in two projects for the same case; each is taken once" in tables.notes


def two_projects(root: Path, *, cases: tuple[dict, dict] = ({}, {}), studies: tuple[dict, dict] = ({}, {})) -> Path:
    write_node(
        root / "c.tsv", "case", case(PATIENT, project_id=R1, **cases[0]), case(ALSO, project_id=RICORD, **cases[1])
    )
    first = {"project_id": R1, "age_at_imaging": "75.76", "days_to_study": "3", "study_description": "", **studies[0]}
    second = {"project_id": RICORD, "age_at_imaging": "76.00", "days_to_study": "90", **studies[1]}
    write_node(root / "i.tsv", "imaging_study", study("1.1", PATIENT, **first), study("1.1", ALSO, **second))
    return root


def test_a_study_in_two_projects_is_kept_once_from_the_first_with_its_gaps_filled(tmp_path: Path) -> None:
    two_projects(tmp_path, studies=({"days_to_study": ""}, {"study_description": "CHEST", "days_to_study": "90"}))
    tables = read(tmp_path)
    (row,) = tables.studies.to_dict("records")
    assert (row["case_id"], row["age"], row["description"]) == (PATIENT, 75.76, "CHEST")
    assert pd.isna(row["day"])  # the other copy's day is on another timeline
    assert any(note.startswith("imaging_study: 1 rows are further copies of a study") for note in tables.notes)
    (row,) = read(tmp_path, projects_first=[RICORD]).studies.to_dict("records")
    assert (row["case_id"], row["day"]) == (ALSO, 90.0)


@pytest.mark.parametrize(
    ("cases", "studies"),
    [
        (({}, {}), ({}, {"age_at_imaging": "77.1"})),
        (({"icu_indicator": "True"}, {"icu_indicator": "False"}), ({}, {})),
        (({"covid19_positive": "Yes"}, {"covid19_positive": "No"}), ({}, {})),
    ],
)
def test_copies_of_a_study_that_contradict_each_other_are_refused_or_left_out(
    tmp_path: Path, cases: tuple[dict, dict], studies: tuple[dict, dict]
) -> None:
    two_projects(tmp_path, cases=cases, studies=studies)
    with pytest.raises(TableError, match=r"1 studies have copies with another day, age, flag .* leave 2 cases out"):
        read(tmp_path)
    tables = read(tmp_path, on_contradiction="leave_out")
    assert (len(tables.cases), len(tables.studies)) == (0, 0)
    assert any(note.startswith("2 cases left out with everything of theirs: 1 studies") for note in tables.notes)


def test_copies_of_a_study_of_one_case_on_two_days_are_refused(tmp_path: Path) -> None:
    rows = (study("1.1", PATIENT, project_id=p, days_to_study=d) for p, d in ((R1, "3"), (RICORD, "4")))
    write_node(tmp_path / "i.tsv", "imaging_study", *rows)
    with pytest.raises(TableError, match="1 studies have copies with another day"):
        read(tmp_path)


def test_both_sexes_under_two_names_of_one_patient_are_refused(tmp_path: Path) -> None:
    write_node(
        tmp_path / "c.tsv",
        "case",
        case(PATIENT, sex="Male", project_id=R1),
        case(ALSO, sex="Female", project_id=RICORD),
        case("100-1"),
    )
    with pytest.raises(TableError, match="1 patients are Female in one row and Male in another"):
        read(tmp_path)
    assert read(tmp_path, on_contradiction="leave_out").cases["case_id"].tolist() == ["100-1"]


def test_a_series_in_two_projects_is_one_series(tmp_path: Path) -> None:
    two_projects(tmp_path)
    rows = [series("1.1.1", "1.1", project_id=project, file_name="x/1.1/1.1.1.zip") for project in (R1, RICORD)]
    write_node(tmp_path / "s.tsv", "dx_series_file", *rows)
    assert read(tmp_path).series["series_id"].tolist() == ["1.1.1"]


def test_a_series_that_is_linked_to_two_studies_is_refused(tmp_path: Path) -> None:
    rows = [series("1.1.1", of, submitter_id=of) for of in ("1.1", "1.2")]
    write_node(tmp_path / "s.tsv", "dx_series_file", *rows)
    with pytest.raises(TableError, match="1 series are linked to more than one study"):
        read(tmp_path)


@pytest.mark.parametrize("known_by", ["submitter_id", "id"])
def test_exports_of_two_dates_are_refused_with_node_count_and_columns(tmp_path: Path, known_by: str) -> None:
    def row(name: str, **other: str) -> dict[str, str]:
        return visit("100-1", **{known_by: name}, discharge_type="Deceased", **other)

    write_node(tmp_path / "a" / "visit.tsv", "visit", row("v", days_to_hospital_discharge="3"), row("w"))
    write_node(tmp_path / "b" / "visit.tsv", "visit", row("v", days_to_hospital_discharge="4"), row("w"), row("x"))
    with pytest.raises(TableError) as error:
        read(tmp_path)
    assert str(error.value) == (
        "visit: 1 rows stand in the node exports with different content (in days_to_hospital_discharge), so that two "
        "exports of different dates lie together; keep one of them in cohort.root"
    )


def test_an_old_export_without_a_column_and_a_new_one_with_it_agree(tmp_path: Path) -> None:
    old = HEADERS["case"].replace("age_at_index_gt89 ", "").replace("country_of_residence", "country_of_origin")
    row = case("100-1", submitter_id="100-1", icu_indicator="True")
    row.pop("age_at_index_gt89")
    write_node(tmp_path / "old.tsv", "case", row, header=old)
    write_node(tmp_path / "new.tsv", "case", {**row, "age_at_index_gt89": "Yes", "age_at_index": "59.0"})
    (found,) = read(tmp_path).cases.to_dict("records")
    assert (found["age"], found["icu_ever"]) == (90.0, True)


def test_the_same_links_in_another_order_are_the_same_row(tmp_path: Path) -> None:
    batches = ("ACR_20210826,ACR_20220301", "ACR_20220301,ACR_20210826")
    for place, names in enumerate(batches):
        row = case("100-1", **{"datasets.submitter_id": names})
        write_node(tmp_path / f"{place}" / "case.tsv", "case", row)
    assert read(tmp_path).cases["arrival_date"].tolist() == ["20210826"]


def test_order_and_names_of_files_and_rows_change_nothing(tmp_path: Path) -> None:
    cases = [case(PATIENT, project_id=R1, sex=""), case(ALSO, project_id=RICORD), case(PATIENT, project_id=RICORD)]
    studies = [
        study("1.1", PATIENT, project_id=R1, days_to_study="1", study_description="B"),
        study("1.1", ALSO, project_id=RICORD, days_to_study="9", study_description="A"),
        study("1.2", f"{ALSO},{PATIENT}", project_id=RICORD, days_from_study_to_pos_covid_test="3,1"),
    ]
    films = [series(f"{uid}.{i}", uid, submitter_id=f"{uid}{i}") for uid in ("1.1", "1.2") for i in (1, 2)]
    notes = [
        {"submitter_id": name, "imaging_studies.submitter_id": "1.2", "midrc_mRALE_score": str(score)}
        for name, score in (("x", 3), ("y", 7), ("z", 7))
    ]
    header = "type project_id submitter_id imaging_studies.submitter_id midrc_mRALE_score"
    for place, step in (("a", 1), ("b", -1)):
        root = tmp_path / place
        for number, row in enumerate(cases[::step]):
            write_node(root / f"{number}_case.tsv", "case", row)
        write_node(root / f"{place}.tsv", "imaging_study", *studies[::step])
        write_node(root / "z" / f"{place}.tsv", "dx_series_file", *films[::step])
        write_node(root / f"{place}{step}.tsv", "annotation", *notes[::step], header=header)
    one, other = read(tmp_path / "a"), read(tmp_path / "b")
    assert one.fingerprint() == other.fingerprint()
    for name in ("cases", "studies", "events", "readings"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    assert one.notes == other.notes
    assert len(one.events) == 2


def test_the_query_names_what_changes_the_tables_and_no_path(tmp_path: Path) -> None:
    assert cohort(tmp_path).query == {"cohort": "midrc", "synthetic": False}
    changed = cohort(tmp_path, aliases="/x", projects_first=[R1], on_contradiction="leave_out").query
    assert changed == {
        "cohort": "midrc",
        "synthetic": False,
        "projects_first": [R1],
        "on_contradiction": "leave_out",
    }
