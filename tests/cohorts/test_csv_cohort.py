"""From files and a YAML to the five tables: each case is written out, each expected value worked out by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from midrc_ml.cohorts.csv_cohort import CsvCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError

CASES = "cases: {file: p.csv, columns: {case_id: pid}}"
PATIENTS = "pid\nA\nB\n"


def cohort(root: Path, files: Mapping[str, str], description: str, **settings: Any) -> CsvCohort:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content, encoding="utf-8")
    described = OmegaConf.to_container(OmegaConf.create(description))
    return CsvCohort(root=str(root), **described, **settings)  # type: ignore[arg-type]


def read(root: Path, files: Mapping[str, str], description: str, **settings: Any) -> Tables:
    return cohort(root, files, description, **settings).read()


def of_cases(tables: Tables, column: str) -> list[Any]:
    values = tables.cases.set_index("case_id")[column]
    return [None if pd.isna(value) else value for value in values.sort_index()]


def test_ids_stay_text_and_a_case_is_its_own_patient_unless_told(tmp_path: Path) -> None:
    tables = read(tmp_path, {"p.csv": "pid\n007\n1e5\nNone\n"}, CASES)
    assert sorted(tables.cases["case_id"]) == ["007", "1e5", "None"]
    assert (tables.cases["patient_id"] == tables.cases["case_id"]).all()
    aliases = "cases: {file: p.csv, columns: {case_id: pid, patient_id: person}}"
    tables = read(tmp_path, {"p.csv": "pid,person\nA,X\nB,X\nC,\n"}, aliases)
    assert of_cases(tables, "patient_id") == ["X", "X", "C"]


DAYS = """pid,acc,hours,before,film,admitted,since_film
A,1,36,3,2020-03-05,2020-03-01,2
B,2,-12,0,2020-02-28,2020-03-01,
"""


DAYS_OF_A_AND_B = {
    "{column: hours, unit: hours}": [1.5, -0.5],
    "{column: hours, unit: weeks}": [252, -84],
    "{column: before, sign: -1}": [-3, 0],
    "{column: film, date: iso, origin: admitted}": [4, -2],
    "{column: film, date: '%Y-%m-%d', origin: {column: admitted, date: iso}}": [4, -2],
    "{column: since_film, origin: before}": [5, None],
    "{column: since_film, origin: {column: film, date: iso, origin: admitted}}": [6, None],
    "{column: film, date: iso}": [5, -3],  # from the case's index date
    "{value: 0}": [0, 0],
}


def test_days_come_in_units_signs_and_origins(tmp_path: Path) -> None:
    """One kind of event for each way to write a day; a row that has none makes no event."""
    files = {"p.csv": "pid,index\nA,29.02.2020\nB,02.03.2020\n", "s.csv": DAYS}
    blocks = [
        f"{{file: s.csv, kind: laboratory, name: n{number}, columns: {{case_id: pid, start_day: {day}}}}}"
        for number, day in enumerate(DAYS_OF_A_AND_B)
    ]
    description = f"""
    cases: {{file: p.csv, columns: {{case_id: pid, index_date: {{column: index, date: '%d.%m.%Y'}}}}}}
    events: [{", ".join(blocks)}]
    """
    events = read(tmp_path, files, description).events
    found = dict(zip(zip(events["name"], events["case_id"], strict=True), events["start_day"], strict=True))
    for number, (day, expected) in enumerate(DAYS_OF_A_AND_B.items()):
        assert [found.get((f"n{number}", case)) for case in "AB"] == expected, day


def test_a_date_without_its_index_date_is_missing_and_counted(tmp_path: Path) -> None:
    files = {"p.csv": "pid,index\nA,2020-03-01\nB,\n", "s.csv": "acc,pid,d\n1,A,2020-03-02\n2,B,2020-03-02\n"}
    description = """
    cases: {file: p.csv, columns: {case_id: pid, index_date: {column: index, date: iso}}}
    studies: {file: s.csv, columns: {study_id: acc, case_id: pid, day: {column: d, date: iso}}}
    """
    tables = read(tmp_path, files, description)
    assert tables.studies["day"].isna().tolist() == [False, True]
    assert "studies from s.csv: 1 dates have no index date of their case; day is missing" in tables.notes


WIDE = """pid,acc,adm,dis,icu,vent,dead,dead_day,tags
A,1,0,9,2,,yes,9,flu; asthma
B,2,1,8,,,no,,
C,3,,,,,yes,,flu
"""


def test_a_wide_table_gives_several_kinds_of_events(tmp_path: Path) -> None:
    description = """
    cases: {file: w.csv, columns: {case_id: pid}}
    events:
      - {file: w.csv, kind: hospital_stay, columns: {case_id: pid, start_day: adm, end_day: dis}}
      - {file: w.csv, kind: icu_stay, columns: {case_id: pid, start_day: icu}}
      - {file: w.csv, kind: ventilation, columns: {case_id: pid, start_day: vent}}
      - {file: w.csv, kind: death, columns: {case_id: pid, happened: dead, start_day: dead_day}}
      - {file: w.csv, kind: condition, columns: {case_id: pid, name: {column: tags, separator: ;}}}
    """
    tables = read(tmp_path, {"w.csv": WIDE}, description)
    rows = tables.events[["kind", "case_id", "name", "start_day", "end_day"]].astype(object)
    assert sorted(map(tuple, rows.where(rows.notna(), None).to_numpy()), key=str) == sorted(
        [
            ("hospital_stay", "A", None, 0, 9),
            ("hospital_stay", "B", None, 1, 8),
            ("icu_stay", "A", None, 2, None),
            ("death", "A", None, 9, None),
            ("death", "C", None, None, None),  # known to have happened, but not when
            ("condition", "A", "flu", None, None),
            ("condition", "A", "asthma", None, None),
            ("condition", "C", "flu", None, None),
        ],
        key=str,
    )
    assert "events from w.csv: 2 of 3 rows are blank in start_day: no icu_stay is made of them" in tables.notes
    assert "events from w.csv: 1 of 3 rows say that it did not happen: no death is made of them" in tables.notes
    assert "ventilation" not in tables.absent  # looked for, and none happened
    assert "covid_test" in tables.absent


def test_a_long_table_names_its_kinds_and_may_go_by_the_study(tmp_path: Path) -> None:
    files = {
        "p.csv": PATIENTS,
        "s.csv": "acc,pid,day\n1,A,5\n2,B,0\n",
        "e.csv": "acc,what,after,result\n1,PCR,-2,positive\n2,PCR,1,NEGATIVE\n1,CRP,0.5,12\n9,CRP,0,1\n1,note,0,x\n",
    }
    description = f"""
    {CASES}
    studies: {{file: s.csv, columns: {{study_id: acc, case_id: pid, day: day}}}}
    events:
      file: e.csv
      only: {{what: [PCR, CRP]}}
      columns:
        study_id: acc
        kind: {{column: what, map: {{PCR: covid_test, CRP: laboratory}}}}
        name: what
        start_day: {{column: after, origin: {{of: study}}}}
        value: result
    """
    tables = read(tmp_path, files, description)
    found = set(tables.events[["case_id", "kind", "name", "start_day", "value"]].itertuples(index=False, name=None))
    assert found == {
        ("A", "covid_test", "PCR", 3, "Positive"),
        ("B", "covid_test", "PCR", 1, "Negative"),
        ("A", "laboratory", "CRP", 5.5, "12"),
    }
    assert "events from e.csv: 1 of 5 rows are left out, as `only:` asks" in tables.notes
    assert any("1 rows name a study that is in no row of the studies; they are left out" in n for n in tables.notes)


def test_readings_of_several_readers_come_from_the_columns_of_one_table(tmp_path: Path) -> None:
    description = """
    studies: {file: s.csv, columns: {study_id: acc, case_id: pid}}
    readings:
      - {file: s.csv, decimal: ',', reader: A, name: opacity, columns: {study_id: acc, value: a}}
      - {file: s.csv, decimal: ',', reader: B, name: opacity, columns: {study_id: acc, value: b}}
      - {file: s.csv, name: class, columns: {study_id: acc, category: c}}
    """
    tables = read(tmp_path, {"s.csv": "acc;pid;a;b;c\n1;A;2,5;3;typical\n2;B;;4;\n"}, description)
    found = tables.readings[["study_id", "reader", "name", "value", "category"]].astype(object)
    assert set(map(tuple, found.where(found.notna(), None).to_numpy())) == {
        ("1", "A", "opacity", 2.5, None),
        ("1", "B", "opacity", 3, None),
        ("2", "B", "opacity", 4, None),
        ("1", "reader", "class", None, "typical"),
    }
    assert sorted(tables.cases["case_id"]) == ["A", "B"]  # known by their ids alone
    assert "no cases are described: 2 are known by their ids alone" in tables.notes


def test_images_are_found_counted_and_those_of_no_study_too(tmp_path: Path) -> None:
    files = {
        "s.csv": "acc,pid,path,mod\n1,A,a.png,dx\n2,A,deep\\b.nii.gz,\"['SR', 'CT']\"\n3,B,c.dcm,DX\n4,B,,DX\n"
        "5,B,series,CT\n",
        **dict.fromkeys(("img/a.png", "img/deep/b.nii.gz", "img/series/1.dcm", "img/other.jpg", "img/notes.txt"), "x"),
    }
    description = """
    images: img
    studies: {file: s.csv, columns: {study_id: acc, case_id: pid, modality: mod, file: path, view: {value: pa}}}
    """
    tables = read(tmp_path, files, description)
    unknown = ~tables.series["study_id"].isin(tables.studies["study_id"])
    assert [Path(file).name for file in tables.series.loc[unknown, "file"]] == ["other.jpg"]
    series = tables.series[~unknown].set_index("study_id").sort_index()
    places = [None if pd.isna(file) else Path(file).relative_to(tmp_path / "img").as_posix() for file in series["file"]]
    assert places == ["a.png", "deep/b.nii.gz", None, None, "series"]
    assert set(series["view"]) == {"PA"}
    modalities = series["modality"].astype(object)
    assert modalities.where(modalities.notna(), None).tolist() == ["DX", None, "DX", "DX", "CT"]
    assert tables.studies.set_index("study_id")["modality"].sort_index().tolist() == ["DX", "CT,SR", "DX", "DX", "CT"]
    assert "1 of 4 image paths lead to no file" in tables.notes
    assert "1 image files in the image folder belong to no study" in tables.notes
    assert "2 of 5 studies have no image file" in tables.notes
    assert not any(word in note for note in tables.notes for word in (str(tmp_path), "a.png", "other.jpg"))


def test_several_series_a_study_from_their_own_table_or_a_list_in_a_cell(tmp_path: Path) -> None:
    files = {
        "f.csv": "acc,pid,view\n1,A,AP\n1,A,LL\n2,B,PA\n3,B,\n",
        **dict.fromkeys(("1_AP.png", "1_LL.png", "2_PA.png"), "x"),
    }
    description = """
    studies: {file: f.csv, columns: {study_id: acc, case_id: pid}}
    series:
      file: f.csv
      columns:
        study_id: acc
        view: view
        modality: {value: DX}
        file: {column: view, map: {AP: 1_AP, LL: 1_LL, PA: 2_PA}, pattern: '{}.png'}
    """
    tables = read(tmp_path, files, description)
    assert len(tables.studies) == 3
    views = tables.series["view"].astype(object).where(tables.series["view"].notna(), None)
    assert sorted(zip(tables.series["series_id"], views, strict=True)) == [
        ("1/1", "AP"), ("1/2", "LL"), ("2", "PA"), ("3", None),
    ]  # fmt: skip
    assert tables.series.loc[tables.series["file"].isna(), "series_id"].tolist() == ["3"]
    assert tables.studies["modality"].tolist() == ["DX", "DX", "DX"]
    columns = "{study_id: a, case_id: p, modality: {value: DX}, file: {column: f, separator: '|'}}"
    listed = f"studies: {{file: l.csv, columns: {columns}}}"
    tables = read(tmp_path, {"l.csv": "a,p,f\n1,A,1_AP.png|1_LL.png\n2,B,2_PA.png\n"}, listed)
    assert [Path(file).name for file in tables.series.sort_values("series_id")["file"]] == [
        "1_AP.png", "1_LL.png", "2_PA.png",
    ]  # fmt: skip


def test_a_table_of_films_also_describes_its_patients(tmp_path: Path) -> None:
    """Rows of a patient that agree, or leave a cell blank, are one case; others are refused or left out."""
    description = """
    cases: {file: f.csv, columns: {case_id: pid, sex: sex, site: {value: N}}}
    studies: {file: f.csv, columns: {study_id: acc, case_id: pid}}
    """
    tables = read(tmp_path, {"f.csv": "acc,pid,sex\n1,A,M\n2,A,\n3,B,F\n4,B,F\n"}, description)
    assert of_cases(tables, "sex") == ["Male", "Female"]
    assert "cases: 1 rows stand in the files more than once and are taken once" in tables.notes
    assert "cases: 2 rows share their case_id and differ in blank cells alone; they are taken as 1" in tables.notes
    files = {"f.csv": "acc,pid,sex\n1,A,M\n2,A,F\n3,B,F\n"}
    with pytest.raises(
        InputError, match=r"2 rows share their case_id.*differ in sex \(row 2 of f\.csv, row 3 of f\.csv\)"
    ):
        read(tmp_path, files, description)
    tables = read(tmp_path, files, description, on_contradiction="leave_out")
    assert tables.cases["case_id"].tolist() == ["B"]
    assert tables.studies["study_id"].tolist() == ["3"]
    assert any("1 case left out with everything of theirs" in note for note in tables.notes)


def test_a_study_with_two_labels_is_refused_unless_a_rule_is_named(tmp_path: Path) -> None:
    description = """
    studies: {file: f.csv, columns: {study_id: acc, case_id: pid}}
    readings: {file: f.csv, name: mrale, columns: {study_id: acc, value: score}}
    """
    files = {"f.csv": "acc,pid,score\n1,A,3\n1,A,4\n2,B,5\n"}
    with pytest.raises(InputError, match=r"readings: 2 rows share their study_id .* differ in value \(row 2 of f\.csv"):
        read(tmp_path, files, description)
    tables = read(tmp_path, files, description, on_contradiction="leave_out")
    assert tables.readings["study_id"].tolist() == ["2"]
    assert any("2 rows share their study_id" in note and "left out" in note for note in tables.notes)


def test_a_stay_that_ends_before_it_starts_is_refused_or_loses_its_days(tmp_path: Path) -> None:
    description = f"""
    {CASES}
    events: {{file: e.csv, kind: icu_stay, columns: {{case_id: pid, start_day: a, end_day: b}}}}
    """
    files = {"p.csv": PATIENTS, "e.csv": "pid,a,b\nA,5,2\nB,1,2\n"}
    with pytest.raises(InputError, match=r"e\.csv: icu_stay must not end before it starts; 1 row does not \(rows 2\)"):
        read(tmp_path, files, description)
    events = read(tmp_path, files, description, on_contradiction="leave_out").events.set_index("case_id")
    assert events["start_day"].isna().to_dict() == {"A": True, "B": False}


def test_row_order_changes_nothing_and_the_query_holds_no_machine_path(tmp_path: Path) -> None:
    description = """
    name: mine
    cases: {file: f.csv, columns: {case_id: pid, sex: {column: sex, map: {1: Male, No: Female}}}}
    studies: {file: f.csv, columns: {study_id: acc, case_id: pid, modality: {value: DX}}}
    series: {file: f.csv, columns: {study_id: acc, file: path}}
    """
    rows = ["1,A,1,x.png", "2,A,,y.png", "3,B,no,z.png", "3,B,no,q.png"]
    fingerprints = set()
    for order in (rows, rows[::-1]):
        files = {"f.csv": "\n".join(["acc,pid,sex,path", *order]) + "\n"}
        reader = cohort(tmp_path, files, description)
        fingerprints.add(reader.read().fingerprint())
    assert len(fingerprints) == 1
    assert str(tmp_path) not in str(reader.query)
    assert reader.query["cases"] == {
        "file": "f.csv",
        "columns": {"case_id": "pid", "sex": {"column": "sex", "map": {"1": "Male", "False": "Female"}}},
    }
