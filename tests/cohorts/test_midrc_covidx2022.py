import csv
from collections import Counter
from pathlib import Path

import pytest
from midrc_export import case, cohort, series, study, write_node

from midrc_ml.cohorts.midrc_covidx2022 import FOLDER, TABLE, MidrcCovidx2022Cohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError

HEADER = "case_ids\tstudy_uid\tproject_id\tobject_id"


def write(folder: Path, *rows: str, header: str = HEADER) -> None:
    (folder / FOLDER).mkdir(parents=True)
    (folder / FOLDER / TABLE).write_text("\n".join([header, *rows]) + "\n")


@pytest.fixture(scope="module")
def real(midrc_ml_data: Path) -> Tables:
    return MidrcCovidx2022Cohort(data_dir=str(midrc_ml_data)).read()


@pytest.fixture(scope="module")
def real_rows(midrc_ml_data: Path) -> list[dict[str, str]]:
    with (midrc_ml_data / FOLDER / TABLE).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_cases_studies_and_objects_are_read_from_lists_and_the_labels_are_named_as_absent(tmp_path: Path) -> None:
    write(tmp_path, "['7-a']\t1.1\tOpen-R1\t['o1', 'o2']", "['7-a']\t1.2\tOpen-R1\t['o3']", "['8-b']\t1.3\tOpen-A1\t[]")
    tables = MidrcCovidx2022Cohort(data_dir=str(tmp_path)).read()
    assert tables.cases[["case_id", "site", "project"]].values.tolist() == [
        ["7-a", "7", "Open-R1"],
        ["8-b", "8", "Open-A1"],
    ]
    assert tables.studies["case_id"].tolist() == ["7-a", "7-a", "8-b"]
    assert tables.series[["series_id", "study_id"]].values.tolist() == [["o1", "1.1"], ["o2", "1.1"], ["o3", "1.2"]]
    with pytest.raises(InputError, match=r"needs covid_test .*give cohort.export.root=FOLDER, an export of data.midrc"):
        tables.require(["covid_test"], needed_by="task covid")


def test_the_users_export_gives_days_demographics_and_images_of_the_listed_studies(tmp_path: Path) -> None:
    write(tmp_path, "['7-a']\t1.1\tOpen-A1\t['o1']", "['8-b']\t1.3\tOpen-A1\t['o2']", "['9-c']\t1.4\tOpen-A1\t['o3']")
    root = tmp_path / "export"
    write_node(root / "case.tsv", "case", case("7-a", sex="Female"), case("6-z"))
    write_node(
        root / "imaging_study.tsv",
        "imaging_study",
        study("1.1", "7-a", days_to_study="4"),
        study("1.9", "6-z"),
    )
    write_node(root / "dx_series_file.tsv", "dx_series_file", series("s1", "1.1"), series("s9", "1.9"))
    tables = MidrcCovidx2022Cohort(data_dir=str(tmp_path), export=cohort(root)).read()
    assert tables.studies.set_index("study_id")["day"].fillna(-1).to_dict() == {"1.1": 4.0, "1.3": -1, "1.4": -1}
    assert tables.cases.set_index("case_id")["sex"].fillna("none").to_dict() == {
        **{"7-a": "Female", "8-b": "none", "9-c": "none"}
    }
    assert tables.series.set_index("study_id")["series_id"].to_dict() == {"1.1": "s1", "1.3": "o2", "1.4": "o3"}
    assert "2 of 3 listed studies are not in the export: no day, no test, no image" in tables.notes


def test_all_bad_rows_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "['7-a', '7-b']\t1.1\tOpen-R1\t['o']", "[]\t1.2\tOpen-R1\t['o']", "['7-a']\t1.2\t\t['o']")
    with pytest.raises(TableError) as error:
        MidrcCovidx2022Cohort(data_dir=str(tmp_path)).read()
    assert "case_ids must name one case; 2 rows do not (row 2: \"['7-a', '7-b']\", row 3: '[]')" in str(error.value)
    assert "study_uid must come once; 2 rows do not (row 3: '1.2', row 4: '1.2')" in str(error.value)
    assert "project_id must not be empty; 1 row does not (row 4" in str(error.value)


def test_another_table_is_refused_with_where_to_get_the_right_one(tmp_path: Path) -> None:
    write(tmp_path, "x", header="case_ids")
    with pytest.raises(TableError, match=r"no column study_uid, project_id, object_id .*MIDRC/COVID19_Challenges"):
        MidrcCovidx2022Cohort(data_dir=str(tmp_path)).read()
    with pytest.raises(InputError, match=r"no folder .*midrc/challenge2022_covidx; get it from"):
        MidrcCovidx2022Cohort(data_dir=str(tmp_path / "midrc")).read()


@pytest.mark.slow
def test_the_real_challenge_has_18501_studies_of_6800_cases_and_22883_objects(
    real: Tables, real_rows: list[dict[str, str]]
) -> None:
    assert (len(real_rows), len(real.studies), len(real.cases)) == (18_501, 18_501, 6_800)
    assert real.cases["patient_id"].nunique() == 6_800
    # Studies by site, and objects by study: MIDRC's own output and the description of the table.
    site = real.studies["case_id"].map(real.cases.set_index("case_id")["site"])
    assert site.value_counts().to_dict() == {"419639": 15_825, "10008204": 2_621, "10003752": 55}
    objects = Counter(real.series["study_id"].value_counts().to_list())
    assert objects == {1: 14_654, 2: 3_393, 3: 398, 4: 40, 5: 9, 6: 6, 8: 1}
    assert len(real.series) == 22_883
    found = dict(zip(real.studies["study_id"], real.studies["case_id"], strict=True))
    assert found == {row["study_uid"]: row["case_ids"].strip("[]'") for row in real_rows}
