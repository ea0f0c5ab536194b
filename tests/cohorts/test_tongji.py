import re
import zipfile
from datetime import datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.tongji import TongjiCohort
from midrc_ml.errors import InputError, TableError

NAMES = {"training": "time_series_375_en.xlsx", "external": "time_series_test_110_en.xlsx"}
HEADER = [
    "PATIENT_ID",
    "RE_DATE",
    "age",
    "gender",
    "Admission time",
    "Discharge time",
    "outcome",
    "LDH ",
    "Platelet count",
]
START, END = datetime(2020, 2, 1, 12), datetime(2020, 2, 5, 12)
LDH, CRP, LYMPHOCYTES = "Lactate dehydrogenase", "High sensitivity C-reactive protein", "(%)lymphocyte"


def row(patient: object, taken: object, ldh: object = None, platelets: object = None, **other: object) -> list[object]:
    cells = {"age": 60, "gender": 1, "start": START, "end": END, "outcome": 0, **other}
    return [patient, taken, *cells.values(), ldh, platelets]


def write(folder: Path, *rows: list[object], header: list[str] = HEADER, part: str = "training") -> TongjiCohort:
    (folder / "tongji").mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for cells in (header, *rows):
        book.worksheets[0].append(cells)
    book.save(folder / "tongji" / NAMES[part])
    return TongjiCohort(data_dir=str(folder), part=part)


def plain(frame: pd.DataFrame) -> list[list[object]]:
    """The rows, None where a value is missing."""
    return frame.astype(object).where(frame.notna(), None).values.tolist()


@pytest.fixture(scope="module")
def external(midrc_ml_data: Path) -> Tables:
    return TongjiCohort(data_dir=str(midrc_ml_data), part="external").read()


def test_a_value_is_an_event_on_its_day_and_a_row_without_id_belongs_to_the_patient_above(tmp_path: Path) -> None:
    tables = write(
        tmp_path,
        row(1, datetime(2020, 2, 2), 300, -1),
        row(None, datetime(2020, 2, 1, 18), 250.5),
        row(2, datetime(2020, 2, 5, 18), None, 90, gender=2, outcome=1, age=95),
        row(3, None),
        row(None, None, 7),
        [None] * len(HEADER),
    ).read()
    values = tables.events[tables.events["kind"] == "laboratory"]
    assert plain(values[["case_id", "name", "start_day", "value"]]) == [
        ["training-1", "LDH", 0.5, "300"],
        ["training-1", "LDH", 0.25, "250.5"],
        ["training-3", "LDH", None, "7"],
        ["training-2", "Platelet count", 4.25, "90"],
    ]
    cases = tables.cases.set_index("case_id")
    assert cases[["sex", "age", "died", "project"]].loc["training-2"].tolist() == [
        "Female",
        90,
        True,
        "tongji_training",
    ]
    assert cases["age_over_89"].tolist() == [False, True, False]
    others = tables.events[tables.events["kind"] != "laboratory"]
    assert plain(others[["case_id", "kind", "start_day", "end_day", "value"]]) == [
        ["training-1", "hospital_stay", 0.0, 4.0, "Discharged"],
        ["training-2", "hospital_stay", 0.0, 4.0, "Deceased"],
        ["training-3", "hospital_stay", 0.0, 4.0, "Discharged"],
        ["training-2", "death", 4.0, None, None],
    ]
    assert tables.notes == (
        "training: 1 values are negative where none can be; they are left out",
        "training: 1 values have no date; they have no day",
        "training: 1 values are dated after discharge; they are kept",
    )
    assert {"studies", "series", "icu_stay"} <= set(tables.absent)


def test_all_bad_cells_are_told_at_once(tmp_path: Path) -> None:
    cohort = write(
        tmp_path,
        row(None, datetime(2020, 2, 2), 1),
        row(1, "2020-02-02", 1, outcome=2),
        row(2, datetime(2020, 2, 2), 1, gender="M", age=-1),
        row(3, datetime(2020, 2, 2), 1, end=None),
    )
    with pytest.raises(TableError) as error:
        cohort.read()
    text = str(error.value)
    for words in (
        "PATIENT_ID must be there in the first row; 1 row does not (row 2",
        "RE_DATE must be a date or empty; 1 row does not (row 3: '2020-02-02')",
        "outcome must be 0 or 1 (died); 1 row does not (row 3: 2)",
        "gender must be 1 (male) or 2 (female); 1 row does not (row 4: 'M')",
        "age must be 0 to 120 years",
        "Discharge time must be a date; 1 row does not (row 5",
    ):
        assert words in text
    assert len(error.value.problems) == 6


def test_a_patient_who_contradicts_himself_or_leaves_before_he_comes_is_told(tmp_path: Path) -> None:
    cohort = write(
        tmp_path,
        row(1, datetime(2020, 2, 2), 1, outcome=0),
        row(None, datetime(2020, 2, 2), 1, outcome=1),
        row(2, datetime(2020, 2, 2), 1, end=datetime(2020, 1, 2)),
    )
    with pytest.raises(TableError) as error:
        cohort.read()
    assert "1 patients have several values of outcome; a patient has one" in str(error.value)
    assert "Discharge time must not be before Admission time; 1 row does not (row 4" in str(error.value)


def test_other_files_are_refused_with_where_to_get_the_right_ones(tmp_path: Path) -> None:
    cohort = write(tmp_path, ["1"], header=["PATIENT_ID"])
    with pytest.raises(TableError, match=r"no column RE_DATE, Admission time, .*HAIRLAB/Pre_Surv_COVID_19"):
        cohort.read()
    (tmp_path / "tongji" / NAMES["training"]).write_bytes(b"<html>")
    with pytest.raises(TableError, match=r"^time_series_375_en.xlsx: not a readable XLSX table"):
        cohort.read()
    with pytest.raises(InputError, match=r"0 files time_series_test_110\*_en.xlsx in .*HAIRLAB"):
        TongjiCohort(data_dir=str(tmp_path), part="external").read()
    with pytest.raises(InputError, match="'test'; it must be one of training, external, both"):
        TongjiCohort(data_dir=str(tmp_path), part="test")
    with pytest.raises(InputError, match="MIDRC_ML_DATA"):
        TongjiCohort(data_dir=None).read()


@pytest.mark.parametrize("name", ["xl/worksheets/sheet1.xml", "xl/workbook.xml"])
def test_a_damaged_sheet_inside_the_file_is_told(name: str, tmp_path: Path) -> None:
    cohort = write(tmp_path, row(1, START, 300))
    path = tmp_path / "tongji" / NAMES["training"]
    with zipfile.ZipFile(path) as book:
        parts = {part: book.read(part) for part in book.namelist()}
    with zipfile.ZipFile(path, "w") as book:
        for part, content in parts.items():
            book.writestr(part, content[: len(content) // 2] if part == name else content)
    with pytest.raises(TableError, match=r"^time_series_375_en.xlsx: not a readable XLSX table \(ParseError\); get it"):
        cohort.read()


def test_the_real_later_110_patients_have_13_deaths_and_all_their_values(external: Tables, midrc_ml_data: Path) -> None:
    assert (len(external.cases), int(external.cases["died"].sum())) == (110, 13)
    # Cells of columns C to E below the header, in the file's own XML.
    with zipfile.ZipFile(midrc_ml_data / "tongji" / NAMES["external"]) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    cells = re.findall(r'<c r="[CDE](?:[2-9]|\d\d+)"[^>]*><v>', sheet)
    assert int((external.events["kind"] == "laboratory").sum()) == len(cells) == 1_018
    assert external.cases["sex"].isna().all()


@pytest.mark.parametrize(("sample", "published"), [("last", (95, 2, 1, 12)), ("first", (85, 12, 1, 12))])
def test_the_published_rule_gives_the_known_confusion_tables(
    sample: str, published: tuple[int, ...], external: Tables
) -> None:
    # Yan et al., Fig. 2: LDH >= 365 -> death; else hs-CRP < 41.2 -> survival; else lymphocytes > 14.7 % -> survival.
    values = external.events[external.events["kind"] == "laboratory"].sort_values("start_day")
    values = values.assign(value=values["value"].astype(float))
    table = values.groupby(["case_id", "name"])["value"].agg(sample).unstack()
    predicted = (table[LDH] >= 365) | ((table[CRP] >= 41.2) & (table[LYMPHOCYTES] <= 14.7))
    died = external.cases.set_index("case_id")["died"].astype(bool)
    found = pd.crosstab(died[table.index], predicted).to_numpy().ravel()
    assert tuple(found) == published


@pytest.mark.slow
def test_the_real_375_patients_are_those_of_the_papers_table(midrc_ml_data: Path) -> None:
    tables = TongjiCohort(data_dir=str(midrc_ml_data), part="both").read()
    training = tables.cases[tables.cases["project"] == "tongji_training"]
    # Table 2 of the paper: sex, outcome, and the age's mean and standard deviation, here with ages over 89 as 90.
    assert training["sex"].value_counts().to_dict() == {"Male": 224, "Female": 151}
    assert training["died"].value_counts().to_dict() == {False: 201, True: 174}
    assert abs(training["age"].mean() - 58.83) < 0.05
    assert abs(training["age"].std() - 16.46) < 0.1
    assert len(tables.cases) == tables.cases["case_id"].nunique() == 485
    assert "training: 14 patients have no laboratory value; they are kept" in tables.notes
