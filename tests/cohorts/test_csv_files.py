"""Files as they leave spreadsheets, R and pandas, read cell by cell."""

import gzip
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from test_csv_cohort import read as read_cohort
from test_csv_refusals import refusal

from midrc_ml.cohorts.csv_files import TextTable, read_text_file
from midrc_ml.errors import TableError


def read(tmp_path: Path, content: str | bytes, name: str = "a.csv", **settings: str | None) -> TextTable:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_text_file(tmp_path, name, **{"delimiter": None, "encoding": "utf-8", **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(sign: str, tmp_path: Path) -> None:
    table = read(tmp_path, f"id{sign}value\n007{sign}None\n")
    assert table.frame.to_dict("records") == [{"id": "007", "value": "None"}]


def test_cells_stay_as_they_are_and_rows_are_those_of_an_editor(tmp_path: Path) -> None:
    table = read(tmp_path, '\ufeffid,name\r\n007," a, b "\r\n\r\n,\r\n1e5,NA\r\n')
    assert table.columns == ("id", "name")
    assert table.frame["id"].to_dict() == {2: "007", 5: "1e5"}
    assert table.frame["name"].tolist() == ["a, b", "NA"]
    assert table.num_empty == 2


def test_blank_cells_are_missing_and_empty_ends_of_rows_are_no_cells(tmp_path: Path) -> None:
    table = read(tmp_path, "a;b;;\n1;;;\n")
    assert table.columns == ("a", "b")
    assert table.frame["b"].isna().tolist() == [True]


def test_cells_below_no_name_do_not_stop_the_others(tmp_path: Path) -> None:
    table = read(tmp_path, ",a,b,,\n0,1,2,note,\n1,3,4\n")
    assert table.columns == ("", "a", "b", "")
    assert table.frame["a"].tolist() == ["1", "3"]


def test_compressed_files_and_other_encodings_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, gzip.compress(b"a\tb\n1\t2\n"), "a.tsv.gz").frame["b"].tolist() == ["2"]
    content = "klinik\nS\u00fcd\n".encode("cp1252")
    assert read(tmp_path, content, encoding="cp1252").frame["klinik"].tolist() == ["S\u00fcd"]
    with pytest.raises(TableError, match=r"a\.csv: not in utf-8; say which encoding it has"):
        read(tmp_path, content)
    for name in ("utf_8", "UTF8", "utf-8"):
        assert read(tmp_path, b"\xef\xbb\xbfid\n7\n", encoding=name).columns == ("id",)


def test_excels_line_with_the_delimiter_is_no_row(tmp_path: Path) -> None:
    table = read(tmp_path, "sep=;\r\nid;a,b,c\r\n7;1\r\n")
    assert table.frame.to_dict("index") == {3: {"id": "7", "a,b,c": "1"}}
    assert table.num_empty == 0
    assert read(tmp_path, '"sep=|"\nid|a,b\n7|1\n').columns == ("id", "a,b")


@pytest.mark.parametrize("damage", ["overwritten", "cut off", "checksum"])
def test_a_damaged_gz_file_is_told(damage: str, tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"pid\n1\n2\n" * 50))
    if damage == "cut off":
        del content[-12:]
    else:
        content[10 if damage == "overwritten" else -6] ^= 0xFF
    with pytest.raises(TableError, match=r"^a\.csv\.gz: a damaged or cut off gz file; copy or save it again$"):
        read(tmp_path, bytes(content), "a.csv.gz")


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("a,b\n1,2\n3\n1,2,3\n", "a.csv", r"2 rows have more or fewer cells than the 2 of the header \(rows 3, 4\)"),
        ('a,b\n1,"2\n', "a.csv", r"not a readable table at row 2"),
        ("<!DOCTYPE html><html>Access denied</html>", "a.csv", r"a web page, not a table"),
        ("", "a.csv", r"an empty file; it must have a row of column names"),
        ("PAR1 is not enough", "a.parquet", r"not a readable parquet file"),
        ("a", "a.xlsx", r"a table is read from \.csv, \.tsv"),
    ],
)
def test_what_is_no_table_is_told(content: str, name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=words):
        read(tmp_path, content, name)


def test_a_file_that_is_not_there_is_told_with_its_neighbour(tmp_path: Path) -> None:
    read(tmp_path, "a\n1\n", "patients.csv")
    with pytest.raises(TableError, match=r"no file patient\.csv in cohort\.root, did you mean patients\.csv\?"):
        read_text_file(tmp_path, "patient.csv", delimiter=None, encoding="utf-8")


def test_parquet_types_become_the_text_that_a_person_would_write(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": [7, 8],
            "floating_id": [7.0, None],
            "value": [0.125, -3.0],
            "flag": [True, None],
            "day": [date(2020, 3, 4), None],
            "moment": pd.to_datetime(["2020-03-04 12:00", None]),
            "text": ["007", " "],
            "category": pd.Categorical(["x", None]),
            "list": [["CT", "SR"], None],
        }
    )
    frame.to_parquet(tmp_path / "a.parquet")
    table = read_text_file(tmp_path, "a.parquet", delimiter=None, encoding="utf-8")
    first, second = table.frame.to_dict("records")
    assert first == {
        "id": "7",
        "floating_id": "7",
        "value": "0.125",
        "flag": "True",
        "day": "2020-03-04",
        "moment": "2020-03-04T12:00:00",
        "text": "007",
        "category": "x",
        "list": '["CT", "SR"]',
    }
    assert [name for name, cell in second.items() if cell is not None] == ["id", "value"]
    assert (second["id"], second["value"]) == ("8", "-3")
    assert table.dates == {"day", "moment"}
    assert table.numbers == {"id", "floating_id", "value"}


def test_whole_decimals_of_parquet_are_whole_numbers_and_empty_lists_are_blank(tmp_path: Path) -> None:
    """As databases export numeric(10, 2)."""
    cells = [Decimal("1.00"), Decimal("-20.00"), Decimal("1.50"), None]
    table = pyarrow.table(
        {"id": pyarrow.array(cells, pyarrow.decimal128(10, 2)), "files": [["a"], [], None, ["b", None]]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    found = read_text_file(tmp_path, "a.parquet", delimiter=None, encoding="utf-8")
    assert found.frame["id"].tolist()[:3] == ["1", "-20", "1.50"]
    assert found.frame["files"].isna().tolist() == [False, True, True, False]
    assert (found.lists, found.numbers) == ({"files"}, {"id"})


@pytest.mark.parametrize("further", ["", ", separator: ','"])
def test_lists_of_parquet_are_lists_of_files_names_and_modalities(further: str, tmp_path: Path) -> None:
    """With a separator and without; a file's name may hold a comma."""
    for name in ("a,1.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    lists = {"f": [["a,1.png", "b.png"]], "m": [["sr", "DX"]], "n": [["x, y", "z"]]}
    pyarrow.parquet.write_table(pyarrow.table({"s": ["S"], "pid": ["A"], **lists}), tmp_path / "f.parquet")
    description = f"""
    studies: {{file: f.parquet, columns: {{study_id: s, case_id: pid, modality: {{column: m{further}}}}}}}
    series: {{file: f.parquet, columns: {{study_id: s, modality: {{value: DX}}, file: {{column: f{further}}}}}}}
    events: {{file: f.parquet, kind: condition, columns: {{case_id: pid, name: {{column: n{further}}}}}}}
    """
    tables = read_cohort(tmp_path, {}, description)
    assert tables.studies["modality"].tolist() == ["DX,SR"]
    assert sorted(Path(file).name for file in tables.series["file"]) == ["a,1.png", "b.png"]
    assert tables.events["name"].tolist() == ["x, y", "z"]


def test_bytes_in_parquet_are_text_in_the_encoding_given(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [b"007", b"S\xc3\xbcd"], "list": [[b"CT", b"SR"], None]})
    frame.to_parquet(tmp_path / "a.parquet")
    table = read_text_file(tmp_path, "a.parquet", delimiter=None, encoding="utf-8")
    assert table.frame["id"].tolist() == ["007", "S\u00fcd"]
    assert table.frame["list"].tolist() == ['["CT", "SR"]', None]
    pd.DataFrame({"id": [b"S\xfcd"], "pid": ["A"]}).to_parquet(tmp_path / "b.parquet")
    table = read_text_file(tmp_path, "b.parquet", delimiter=None, encoding="cp1252")
    assert table.frame["id"].tolist() == ["S\u00fcd"]
    table = read_text_file(tmp_path, "b.parquet", delimiter=None, encoding="utf-8")
    assert table.undecodable == {"id"}
    assert table.frame["pid"].tolist() == ["A"]


@pytest.mark.parametrize(
    ("index", "ids"),
    [
        (pd.RangeIndex(100, 102, name="pid"), ["100", "101"]),  # its numbers are in no column of the file
        (pd.Index(["007", "008"], name="pid"), ["007", "008"]),
        (pd.MultiIndex.from_tuples([("A", 1), ("B", 2)], names=["pid", None]), ["A", "B"]),
    ],
)
def test_a_named_index_of_pandas_is_a_column(index: pd.Index, ids: list[str], tmp_path: Path) -> None:
    pd.DataFrame({"age": [50, 60]}, index=index).to_parquet(tmp_path / "a.parquet")
    table = read_text_file(tmp_path, "a.parquet", delimiter=None, encoding="utf-8")
    assert table.frame["pid"].tolist() == ids
    assert table.columns.count("pid") == 1


def test_a_named_index_under_another_name_gets_its_own_back(tmp_path: Path) -> None:
    """As older writers store it: the column is `__index_level_0__`, and only the metadata know its name."""
    about = {
        "index_columns": ["__index_level_0__"],
        "columns": [{"name": "age", "field_name": "age"}, {"name": "pid", "field_name": "__index_level_0__"}],
    }
    table = pyarrow.table({"age": [50, 60], "__index_level_0__": ["007", "008"]})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(about)}), tmp_path / "a.parquet")
    read_again = read_text_file(tmp_path, "a.parquet", delimiter=None, encoding="utf-8")
    assert read_again.columns == ("age", "pid")
    assert read_again.frame["pid"].tolist() == ["007", "008"]


def test_ids_in_the_index_of_pandas_and_in_bytes_are_found(tmp_path: Path) -> None:
    pd.DataFrame({"age": [50, 60]}, index=pd.RangeIndex(7, 9, name="pid")).to_parquet(tmp_path / "p.parquet")
    pd.DataFrame({"acc": [b"S1", b"S2"], "pid": [b"7", b"8"], "pixels": b"\xff\xd8"}).to_parquet(tmp_path / "s.parquet")
    description = """
    cases: {file: p.parquet, columns: {case_id: pid, age: age}}
    studies: {file: s.parquet, columns: {study_id: acc, case_id: pid}}
    """
    tables = read_cohort(tmp_path, {}, description)
    assert sorted(tables.cases["case_id"]) == ["7", "8"]
    assert dict(zip(tables.studies["study_id"], tables.studies["case_id"], strict=True)) == {"S1": "7", "S2": "8"}
    told = refusal(tmp_path, {}, description.replace("study_id: acc", "study_id: pixels"))
    assert "cohort.studies: s.parquet holds bytes that are no utf-8 text in column 'pixels'; write text there" in told
