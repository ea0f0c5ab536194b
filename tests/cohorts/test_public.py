from pathlib import Path

import pandas as pd
import pytest

from midrc_ml.cohorts.public import bad_rows, capped_age, dates, one_value_each, read_text_table, without_ricord_prefix
from midrc_ml.errors import TableError


def test_cells_stay_as_they_stand_but_for_outer_spaces(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("\ufeffid,zip,word\n1, 000 ,None\n2,,NA\n3,,\n\n".encode())
    table = read_text_table(path, columns=["id", "word"], source="somewhere")
    assert table.values.tolist() == [["1", "000", "None"], ["2", "", "NA"], ["3", "", ""]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable table (EmptyDataError)"),
        (b"id,b\n1,2\n<p>Access, denied, sorry</p>\n", "not a readable table (ParserError)"),
        (b"<html>\n<p>Access denied</p>\n</html>\n", "no column id (it has 1 columns)"),
        (b"id,b\nP\xff,2\n", "not a readable table (UnicodeDecodeError)"),
        (b"id,b\n", "no rows below the header"),
        (b"id,b\n1,2,3\n4,5,6\n", "rows that are longer than the header"),
        (b'id,b\n1,"a\nb"\n2', "1 row has fewer cells than the header: is the file cut off?"),
    ],
    ids=["empty", "a long row", "web page", "not UTF-8", "no rows", "every row long", "the last row cut short"],
)
def test_a_file_that_is_not_the_table_is_refused_in_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(TableError) as error:
        read_text_table(path, columns=["id"], source="somewhere")
    assert str(error.value) == f"table.csv: {words}; get it again from somewhere and take the table as it is"


def test_of_ten_thousand_bad_rows_five_are_shown_and_all_are_counted() -> None:
    values = pd.Series(["x"] * 10_000)
    (sentence,) = bad_rows(values, values == "x", "must be y", where="table.csv: a")
    shown = ", ".join(f"row {row}: 'x'" for row in range(2, 7))
    assert sentence == f"table.csv: a must be y; 10000 rows do not ({shown}, and 9995 more)"
    assert bad_rows(values, values == "y", "must be y", where="a") == []


def test_a_date_is_read_as_it_is_written_and_no_other_way() -> None:
    found, problems = dates(pd.Series(["1/2/1901", "", "13/1/1901"]), date_format="%m/%d/%Y", where="a")
    assert found.tolist()[0] == pd.Timestamp(1901, 1, 2)
    assert found.isna().tolist() == [False, True, True]
    assert problems == ["a must be a date like 01/31/2000; 1 row does not (row 4: '13/1/1901')"]


@pytest.mark.parametrize("cell", ["today", "now", "Today "])
def test_the_moment_of_the_run_is_no_date(cell: str) -> None:
    found, problems = dates(pd.Series([cell]), date_format="%m/%d/%Y", where="a")
    assert found.isna().all()
    assert problems == [f"a must be a date like 01/31/2000; 1 row does not (row 2: {cell!r})"]


def test_a_key_with_several_values_has_none_and_is_counted() -> None:
    values, several = one_value_each(pd.Series(["a", "a", "b", "c", None]), pd.Series([1, 1, 2, 2, 3]))
    assert values.dropna().to_dict() == {1: "a"}
    assert several == 1


def test_ids_lose_ricords_prefix_and_ages_over_89_are_90() -> None:
    ids = pd.Series(["MIDRC-RICORD-1A-419639-000001", "419639-000001", "SITE2-1"])
    assert without_ricord_prefix(ids).tolist() == ["419639-000001", "419639-000001", "SITE2-1"]
    assert capped_age(pd.Series([89.0, 89.5, 101.0])).tolist() == [89.0, 90.0, 90.0]
