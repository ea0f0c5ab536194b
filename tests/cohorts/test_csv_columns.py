"""Columns of somebody's own tables, converted as the description says: each expected value is worked out by hand."""

from pathlib import Path

from test_csv_cohort import of_cases, read


def test_constants_maps_marks_and_closed_words(tmp_path: Path) -> None:
    description = """
    cases:
      file: p.csv
      missing: [NA, -9]
      columns:
        case_id: pid
        site: {value: North}
        sex: sex
        race: {column: race, map: {1: Asian, 2: White, '': Not Reported}, others: Other}
        ethnicity: {column: eth, missing: unknown}
        died: {column: alive, map: {Yes: no, No: yes}}
        project: {column: study, map: {a: Alpha}, others: 'old {}'}
    """
    rows = "pid;sex;race;eth;alive;study\nA;m;1;hispanic or latino;yes;a\nB;Female;02;unknown;no;b\nC;NA;7;-9;-9;\n"
    rows += "D;F;;;;a\n"
    tables = read(tmp_path, {"p.csv": rows}, description)
    assert of_cases(tables, "site") == ["North"] * 4
    assert of_cases(tables, "sex") == ["Male", "Female", None, "Female"]
    assert of_cases(tables, "race") == ["Asian", "White", "Other", "Not Reported"]
    assert of_cases(tables, "ethnicity") == ["Hispanic or Latino", None, None, None]
    assert of_cases(tables, "died") == [False, True, None, None]
    assert of_cases(tables, "project") == ["Alpha", "old b", None, "Alpha"]
    assert "cases from p.csv: 1 values of race are not in its map and become Other" in tables.notes


def test_a_patient_may_be_named_by_one_row_or_block_of_several(tmp_path: Path) -> None:
    files = {"p.csv": "pid,person\nA,X\nA,\nB,X\nC,\n", "q.csv": "pid,sex\nA,M\nB,M\nC,F\n"}
    description = """
    cases:
      - {file: p.csv, columns: {case_id: pid, patient_id: person}}
      - {file: q.csv, columns: {case_id: pid, sex: sex}}
    """
    tables = read(tmp_path, files, description)
    assert of_cases(tables, "patient_id") == ["X", "X", "C"]
    assert of_cases(tables, "sex") == ["Male", "Male", "Female"]
    assert "cases: 1 name no patient; each is one of its own" in tables.notes


def test_an_empty_key_of_a_map_is_a_blank_cell_and_no_mark(tmp_path: Path) -> None:
    description = """
    cases: {file: p.csv, missing: NA, columns: {case_id: pid, icu_ever: {column: icu, map: {ja: true, '': false}}}}
    """
    tables = read(tmp_path, {"p.csv": "pid,icu\nA,NA\nB,ja\nC,\n"}, description)
    assert of_cases(tables, "icu_ever") == [None, True, False]


def test_numbers_of_the_yaml_have_points_and_mean_numbers_with_a_comma(tmp_path: Path) -> None:
    """Marks and keys of a map as well as what a map makes of words."""
    description = """
    cases:
      file: p.csv
      decimal: ','
      columns: {case_id: pid, age: {column: age, missing: -9, map: {adult: 18.5}, others: '{}'}}
    studies:
      file: s.csv
      decimal: ','
      columns: {study_id: acc, case_id: pid, day: {column: day, map: {1.5: 2.5, x: 0.5}}}
    readings:
      file: s.csv
      decimal: ','
      missing: -9
      name: opacity
      columns: {study_id: acc, value: {column: score, map: {mild: 1.5, '2,5': '3,5'}, others: 4.5}}
    """
    files = {
        "p.csv": "pid;age\nA;-9,0\nB;adult\nC;7,5\n",
        "s.csv": "acc;pid;day;score\n1;A;1,50;mild\n2;A;x;-9,0\n3;B;;2,5\n4;B;;severe\n",
    }
    tables = read(tmp_path, files, description)
    assert of_cases(tables, "age") == [None, 18.5, 7.5]
    assert tables.studies["day"].tolist()[:2] == [2.5, 0.5]
    assert tables.readings.set_index("study_id")["value"].to_dict() == {"1": 1.5, "3": 3.5, "4": 4.5}


def test_ages_over_89_stand_as_90_and_are_marked(tmp_path: Path) -> None:
    description = "cases: {file: p.csv, columns: {case_id: pid, age: age, age_over_89: old}}"
    rows = "pid,age,old\nA,071Y,n\nB,>89,\nC,,y\nD,,\nE,95,\nF,65+,\n"
    tables = read(tmp_path, {"p.csv": rows}, description)
    assert of_cases(tables, "age") == [71, 90, 90, None, 90, 65]
    assert of_cases(tables, "age_over_89") == [False, True, True, None, True, False]
    assert any("2 ages are bands; the middle of each stands for it" in note for note in tables.notes)
    months = "cases: {file: p.csv, columns: {case_id: pid, age: {column: age, unit: months}}}"
    assert of_cases(read(tmp_path, {"p.csv": "pid,age\nA,216\nB,6\n"}, months), "age") == [18, 0.5]
    birth = "cases: {file: p.csv, columns: {case_id: pid, age: {column: born, date: iso, origin: seen}}}"
    assert of_cases(read(tmp_path, {"p.csv": "pid,born,seen\nA,1950-03-04,2020-03-03\n"}, birth), "age") == [69]
