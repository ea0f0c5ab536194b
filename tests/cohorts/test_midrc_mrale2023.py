import csv
from collections import Counter
from pathlib import Path

import pytest
from midrc_export import case, cohort, study, write_node

from midrc_ml.cohorts.midrc_covidx2022 import FOLDER as COVIDX_FOLDER
from midrc_ml.cohorts.midrc_covidx2022 import TABLE as COVIDX_TABLE
from midrc_ml.cohorts.midrc_mrale2023 import MidrcMrale2023Cohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError

FILE = "midrc/challenge2023_mrale/MIDRC_mRALE_Mastermind_Training_Annotations_2079_20230428.csv"
HEADER = (
    "StudyInstanceUID,extent_right,density_right,extent_left,density_left,quality_issue,extent_right_numerical,"
    "density_right_numerical,extent_left_numerical,density_left_numerical,mRALE Score"
)
R1, A1 = "1.2.826.0.1.3680043.10.474.419639.1", "2.16.840.1.114274.1818.1"
SEVERE = f"{R1},>75%,Dense,>75%,Moderate,,4,3,4,2,20"  # a row as the challenge wrote it
CLEAR = f"{A1},None,None,<=25%,Hazy,Bad Exposure,0,0,1,1,1"


def write(folder: Path, *rows: str, header: str = HEADER) -> None:
    path = folder / FILE
    path.parent.mkdir(parents=True)
    path.write_text("\n".join([header, *rows]) + "\n")


def write_covidx(folder: Path, *rows: str) -> None:
    (folder / COVIDX_FOLDER).mkdir(parents=True)
    header = "case_ids\tstudy_uid\tproject_id\tobject_id"
    (folder / COVIDX_FOLDER / COVIDX_TABLE).write_text("\n".join([header, *rows]) + "\n")


@pytest.fixture(scope="module")
def real(midrc_ml_data: Path) -> Tables:
    return MidrcMrale2023Cohort(data_dir=str(midrc_ml_data), unknown_patients="each_alone").read()


@pytest.fixture(scope="module")
def real_rows(midrc_ml_data: Path) -> list[dict[str, str]]:
    with (midrc_ml_data / FILE).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_scores_and_their_parts_are_readings_and_none_is_a_value(tmp_path: Path) -> None:
    write(tmp_path, SEVERE, CLEAR)
    tables = MidrcMrale2023Cohort(data_dir=str(tmp_path), unknown_patients="each_alone").read()
    readings = tables.readings.set_index(["study_id", "name"]).sort_index()
    assert readings["value"][R1].to_dict() == {
        **{"mrale_density_left": 2.0, "mrale_density_right": 3.0, "mrale_extent_left": 4.0, "mrale_extent_right": 4.0},
        "mrale_total": 20.0,
    }
    assert readings["value"][A1].dropna().to_dict() == {
        **{"mrale_density_left": 1.0, "mrale_density_right": 0.0, "mrale_extent_left": 1.0, "mrale_extent_right": 0.0},
        "mrale_total": 1.0,
    }
    assert readings["category"].dropna().to_dict() == {(A1, "quality_issue"): "Bad Exposure"}
    # The registry stands in the UID's root, and RSNA's site too.
    assert tables.cases[["project", "site"]].fillna("none").values.tolist() == [
        ["Open-R1", "419639"],
        ["Open-A1", "none"],
    ]


def test_studies_of_unknown_patients_are_refused_unless_a_rule_is_named(tmp_path: Path) -> None:
    write(tmp_path, SEVERE, CLEAR)
    write_covidx(tmp_path, f"['419639-7']\t{R1}\tOpen-R1\t['o']")
    with pytest.raises(InputError) as error:
        MidrcMrale2023Cohort(data_dir=str(tmp_path)).read()
    assert "the patient of 1 of 2 studies is not known" in str(error.value)
    assert "give cohort.export.root=FOLDER, an export of data.midrc.org with its imaging_study node" in str(error.value)
    tables = MidrcMrale2023Cohort(data_dir=str(tmp_path), unknown_patients="exclude").read()
    assert tables.studies[["study_id", "case_id"]].values.tolist() == [[R1, "419639-7"]]
    assert set(tables.readings["study_id"]) == {R1}
    assert tables.notes == ("the patient of 1 of 2 studies is not known; they are left out",)
    with pytest.raises(InputError, match="'keep'; it must be one of refuse, exclude, each_alone"):
        MidrcMrale2023Cohort(data_dir=None, unknown_patients="keep")


def test_patients_and_days_come_from_the_users_export(tmp_path: Path) -> None:
    write(tmp_path, SEVERE, CLEAR)
    root = tmp_path / "export"
    write_node(root / "case.tsv", "case", case("5-p"))
    write_node(
        root / "imaging_study.tsv",
        "imaging_study",
        study(R1, "5-p", days_to_study="3"),
        study(A1, "5-p", days_to_study="9"),
    )
    tables = MidrcMrale2023Cohort(data_dir=str(tmp_path), export=cohort(root)).read()
    assert tables.studies.set_index("study_id")["day"].to_dict() == {R1: 3.0, A1: 9.0}
    assert tables.cases["patient_id"].tolist() == ["5-p"]
    assert set(tables.readings["reader"]) == {"challenge"}


def test_words_numbers_and_totals_that_do_not_agree_are_told_at_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        SEVERE.replace(",20", ",19"),
        CLEAR.replace(",None,None,", ",,None,", 1),  # as a program leaves it that reads `None` as blank
        SEVERE.replace(R1, "1.9").replace(",4,3,", ",3,3,").replace(",20", ",17"),
        SEVERE,
    )
    with pytest.raises(TableError) as error:
        MidrcMrale2023Cohort(data_dir=str(tmp_path)).read()
    text = str(error.value)
    assert (
        "mRALE Score must be extent x density of the right lung + that of the left; 1 row does not (row 2: '19')"
        in text
    )
    assert "extent_right must be one of 'None', '<=25%', '25-50%', '51-75%', '>75%'; 1 row does not (row 3: '')" in text
    assert "extent_right_numerical must be the number of the word in extent_right; 1 row does not (row 4: '3')" in text
    assert "StudyInstanceUID must be there, once for each study; 2 rows do not (row 2" in text
    assert len(error.value.problems) == 4


def test_absent_files_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder .*challenge2023_mrale; get it from https://github.com/MIDRC"):
        MidrcMrale2023Cohort(data_dir=str(tmp_path)).read()
    (tmp_path / FILE).parent.mkdir(parents=True)
    with pytest.raises(InputError, match=r"0 files MIDRC_mRALE_Mastermind_Training_Annotations_2079\*.csv"):
        MidrcMrale2023Cohort(data_dir=str(tmp_path)).read()


def test_the_real_scores_are_those_of_the_2079_rows(real: Tables, real_rows: list[dict[str, str]]) -> None:
    readings = real.readings.set_index(["name", "study_id"])["value"]
    for name, column in {
        "mrale_total": "mRALE Score",
        "mrale_extent_right": "extent_right_numerical",
        "mrale_density_left": "density_left_numerical",
    }.items():
        assert readings[name].to_dict() == {row["StudyInstanceUID"]: float(row[column]) for row in real_rows}
    # As printed in the description of the challenge's table.
    counts = {0: 413, 1: 106, 2: 218, 8: 128, 12: 81, 18: 96, 20: 58, 21: 56, 24: 225}
    found = Counter(readings["mrale_total"].astype(int))
    assert {score: found[score] for score in counts} == counts
    assert int((readings["mrale_extent_right"] == 0).sum()) == 525
    assert real.readings["category"].value_counts().to_dict() == {
        **{"Other QA": 15, "Incomplete (Missing Side)": 12, "Bad Exposure": 11}
    }


def test_the_real_patients_are_known_for_1865_of_the_2079_studies(
    real: Tables, real_rows: list[dict[str, str]], midrc_ml_data: Path
) -> None:
    with (midrc_ml_data / COVIDX_FOLDER / COVIDX_TABLE).open(encoding="utf-8-sig", newline="") as file:
        case_of = {row["study_uid"]: row["case_ids"].strip("[]'") for row in csv.DictReader(file, delimiter="\t")}
    uids = [row["StudyInstanceUID"] for row in real_rows]
    known = {uid: case_of[uid] for uid in uids if uid in case_of}
    assert (len(known), len(set(known.values()))) == (1_865, 1_106)
    found = dict(zip(real.studies["study_id"], real.studies["case_id"], strict=True))
    assert {uid: found[uid] for uid in known} == known
    assert len(real.cases) == 1_106 + 214
    assert real.notes == ("the patient of 214 of 2079 studies is not known; each stands as its own patient",)
    project = real.studies["case_id"].map(real.cases.set_index("case_id")["project"])
    assert project.value_counts().to_dict() == {"Open-R1": 1_485, "Open-A1": 594}
