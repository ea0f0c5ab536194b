"""Files as they leave spreadsheets, R and pandas, read cell by cell."""

import gzip
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

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
