"""What is wrong with a description or with tables is told in one go, with the next step, before any work."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from test_csv_cohort import CASES, PATIENTS, read

from midrc_ml.cohorts.csv_cohort import CsvCohort
from midrc_ml.errors import InputError

STUDIES = "studies: {file: s.csv, columns: {study_id: acc, case_id: pid, day: day}}"


def refusal(root: Path, files: Mapping[str, str], description: str) -> str:
    with pytest.raises(InputError) as refused:
        read(root, files, description)
    return str(refused.value)


def test_nothing_described_and_no_folder_say_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cohort\.root is not set; give cohort\.root=FOLDER"):
        CsvCohort(root=None).read()
    with pytest.raises(InputError, match=r"which is not a folder"):
        CsvCohort(root=str(tmp_path / "none")).read()
    with pytest.raises(InputError, match=r"neither cases nor studies is described; write .* \(docs/own_data\.md\)"):
        CsvCohort(root=str(tmp_path)).read()
    with pytest.raises(InputError, match=r"on_contradiction is 'keep'; it must be refuse or leave_out"):
        CsvCohort(root=str(tmp_path), on_contradiction="keep")  # type: ignore[arg-type]


def test_every_mistake_of_a_description_is_told_with_what_was_meant(tmp_path: Path) -> None:
    description = """
    cases:
      file: /data/p.csv
      colums: {case_id: pid}
      case_id: pid
      columns: {case_id: pid}
    studies:
      file: s.csv
      columns: {study: acc, case_id: pid, age: {column: age, unit: month}, view: {colum: v}, day: {value: 0, column: d}}
    events:
      - {file: e.csv, columns: {case_id: pid, start_day: {column: d, date: DD.MM.YYYY, sign: -1}}}
      - {file: e.csv, kind: death, columns: {case_id: pid, start_day: {column: d, origin: {of: study}}}}
      - [e.csv]
    readings:
      file: r.csv
      columns: {study_id: acc, name: yes, reader: {column: r, others: x}, value: {column: v, date: iso}}
    """
    told = refusal(tmp_path, {}, description)
    for words in (
        "cohort.cases.file is '/data/p.csv'; give its path from cohort.root",
        "cohort.cases.colums: there is no such setting, did you mean columns?",
        "cohort.cases.case_id: a column is named under `columns:`",
        "cohort.studies.columns.study: there is no such column in studies, did you mean study_id?",
        "cohort.studies.columns: study_id is needed",
        "cohort.studies.columns.age.unit is 'month'; it must be one of years, months, weeks, days",
        "cohort.studies.columns.view.colum: not for this column, did you mean column?",
        "cohort.studies.columns.day: give one of `column:`",
        "cohort.events[0].columns.start_day.date is 'DD.MM.YYYY'; it must be iso",
        "cohort.events[0].columns.start_day: dates have neither sign nor unit",
        "cohort.events[0].columns: kind is needed; name the column that holds it, or `kind:` beside `file`",
        "cohort.events[1].columns.start_day.origin: the day of a study needs its id",
        "cohort.events[2] is ['e.csv']; it must be a mapping",
        "cohort.readings.columns.name is True; it must be the name of a column (in quotes)",
        "cohort.readings.columns.reader.others: it says what values that are not in `map:` become",
        "cohort.readings.columns.value.date: not for this column",
    ):
        assert words in told


def test_columns_and_files_that_are_not_there_are_told_with_those_that_are(tmp_path: Path) -> None:
    files = {"p.csv": "PID,sex,sex\nA,M,M\n", "s.csv": "acc,pid,day\n1,A,0\n"}
    description = """
    cases: {file: p.csv, columns: {case_id: pid, sex: sex}}
    studies: {file: p.csv, columns: {study_id: acc, case_id: PID, day: day}}
    events: {file: q.csv, kind: death, columns: {case_id: pid}}
    readings: {file: s.csv, name: x, columns: {study_id: accession, value: score}}
    """
    told = refusal(tmp_path, files, description)
    assert "cohort.cases: p.csv has no column 'pid' (its columns: PID, sex, sex); s.csv has it" in told
    assert "cohort.cases: p.csv has more than one column 'sex'" in told
    assert "cohort.studies: p.csv has no column 'acc', 'day' (its columns: PID, sex, sex)" in told
    assert "cohort.events: no file q.csv in cohort.root" in told
    assert "s.csv has no column 'accession', 'score' (its columns: acc, pid, day); is it another table?" in told


def test_cells_that_cannot_be_read_are_told_of_all_tables_at_once(tmp_path: Path) -> None:
    files = {
        "p.csv": "pid,sex,age,died\nA,m,71,ja\n,x,2000-01-01,maybe\nC,?,-9,nein\n",
        "s.csv": "acc,pid,day,mod\n1,A,04.03.2020,DX\n2,A,20200304,DX\n,A,43894,DX\n",
        "r.csv": "acc;score\n1;1,5\n2;NA\n",
    }
    description = """
    cases: {file: p.csv, columns: {case_id: pid, sex: sex, age: age, died: died}}
    studies: {file: s.csv, columns: {study_id: acc, case_id: pid, day: day}}
    events: {file: p.csv, columns: {case_id: pid, kind: died}}
    readings: {file: r.csv, name: x, columns: {study_id: acc, value: score}}
    """
    told = refusal(tmp_path, files, description)
    for words in (
        "p.csv: case_id must not be empty; 1 row does not (rows 3)",
        "p.csv: sex (column 'sex'): 2 rows hold one of 2 values that are not known, '?' (1), 'x' (1); with a `map:`",
        "p.csv: age (column 'age') must be an age such as 54, 071Y",
        "dates of birth need `date:` and an `origin:`; 2 rows do not (row 3: '2000-01-01', row 4: '-9')",
        "p.csv: died (column 'died'): 1 rows hold one of 1 values that are not known, 'maybe' (1)",
        "s.csv: study_id must not be empty; 1 row does not (rows 4)",
        "these are dates: give their format as `date:` (such as '%d.%m.%Y'), and as `origin:` the column",
        "3 rows do not (row 2: '04.03.2020', row 3: '20200304', row 4: '43894')",
        "p.csv: kind (column 'died'): 3 rows hold one of 3 values that are not known",
        "(numbers with a comma? give `decimal: ','` beside `file`); 2 rows do not (row 2: '1,5', row 3: 'NA')",
    ):
        assert words in told


def test_ten_thousand_bad_rows_show_five(tmp_path: Path) -> None:
    rows = "".join(f"A{row},x{row}\n" for row in range(10_000))
    told = refusal(tmp_path, {"p.csv": "pid,age\n" + rows}, "cases: {file: p.csv, columns: {case_id: pid, age: age}}")
    assert "10000 rows do not (row 2: 'x0'" in told
    assert "row 6: 'x4', and 9995 more)" in told
    assert "A0" not in told


@pytest.mark.parametrize(
    ("known", "named", "cause"),
    [
        ("007", "7", "leading zeros were lost"),
        ("A7", "a7", "upper and lower case"),
        ("7", "7.0", "decimal numbers"),
        ("P-7", "P7", "punctuation"),
        ("7", "1.2.840", "do both columns hold the same kind of id?"),
    ],
)
def test_ids_that_never_match_are_refused_with_the_likely_cause(
    known: str, named: str, cause: str, tmp_path: Path
) -> None:
    files = {"p.csv": f"pid\n{known}\n", "s.csv": f"acc,pid,day\n1,{named},0\n"}
    told = refusal(tmp_path, files, f"{CASES}\n{STUDIES}")
    assert "studies from s.csv: not one of 1 rows has a case_id of the 1 cases" in told
    assert cause in told


def test_ids_that_match_in_part_are_counted(tmp_path: Path) -> None:
    files = {"p.csv": PATIENTS, "s.csv": "acc,pid,day\n1,A,0\n2,Z,0\n"}
    tables = read(tmp_path, files, f"{CASES}\n{STUDIES}")
    assert "studies: 1 rows name a case_id that is in no row of the cases; they are not used" in tables.notes


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (
            "studies: {file: s.csv, columns: {study_id: acc, case_id: pid, day: {column: day, date: iso}}}",
            "a date, but counted from what? Give `origin:`, a column of dates in the same file, or the day 0",
        ),
        (
            "studies: {file: s.csv, columns: {study_id: acc, case_id: pid, day: {column: late, date: iso, origin: d}}}",
            "s.csv: day (column 'late') must be dates within 40000 days of their origin; 1 row does not (row 2: '9999",
        ),
        (
            "{cases: {file: s.csv, columns: {case_id: pid}}, series: {file: s.csv, columns: {study_id: acc}}}",
            "cohort.series: its rows name studies, but none are described; describe them as cohort.studies",
        ),
        (
            "{studies: {file: s.csv, columns: {study_id: acc, case_id: pid}},"
            " events: {file: s.csv, columns: {case_id: pid, kind: {column: day, map: {7: death}, others: null}}}}",
            "s.csv: kind must not be empty; 1 row does not (rows 2); rows that `others: null` empties",
        ),
        (
            "studies: {file: s.csv, missing: {NA: 1}, columns: {study_id: acc, case_id: pid}}",
            "cohort.studies.missing is {'NA': 1}; it must be a value, or a list of values",
        ),
        (
            "studies: {file: s.csv, columns: {study_id: acc, case_id: pid, modality: {value: [DX, CR]}}}",
            "cohort.studies.columns.modality.value is ['DX', 'CR']; it must be one text or number",
        ),
        (
            "studies: {file: s.csv, columns: {study_id: acc, case_id: pid, modality: {column: {day: 1}}}}",
            "cohort.studies.columns.modality.column is {'day': 1}; it must be one text or number",
        ),
        (
            "studies: {file: s.csv, columns: {study_id: acc, case_id: pid, file: day}}",
            "no series has a modality, by which images are chosen",
        ),
        (
            "{studies: {file: s.csv, columns: {study_id: acc, case_id: pid, file: day}},"
            " series: {file: s.csv, columns: {study_id: acc, file: day}}}",
            "cohort.studies.columns: file of a series, beside a table of series: say it there",
        ),
        (
            "{studies: {file: s.csv, columns: {study_id: acc, case_id: pid}},"
            " events: {file: s.csv, kind: covid_test, columns: {case_id: pid, value: day}}}",
            "s.csv: value of covid_test: 1 rows hold one of 1 values that are not known, '0' (1); with a `map:`",
        ),
        (
            "{images: films, studies: {file: s.csv, columns: {study_id: acc, case_id: pid, file: day,"
            " modality: {value: DX}}}}",
            "films', which is not a folder; give the folder of the images",
        ),
        (
            "studies: {file: s.csv, columns: {study_id: acc, case_id: pid, file: {column: acc, pattern: '/x/{}.png'}}}",
            "give the folder of the images as cohort.images",
        ),
    ],
)
def test_what_a_description_lacks_is_told(description: str, words: str, tmp_path: Path) -> None:
    assert words in refusal(tmp_path, {"s.csv": "acc,pid,day,late,d\n1,A,0,9999-12-31,2020-01-01\n"}, description)


def test_ids_that_stand_where_words_belong_are_not_shown(tmp_path: Path) -> None:
    rows = "".join(f"patient-{number}\n" for number in range(40))
    told = refusal(tmp_path, {"p.csv": f"pid\n{rows}"}, "cases: {file: p.csv, columns: {case_id: pid, sex: pid}}")
    assert "p.csv: sex (column 'pid'): 40 rows hold one of 40 values that are not known" in told
    assert "patient-" not in told
