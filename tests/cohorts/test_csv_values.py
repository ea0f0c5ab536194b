"""Cells of somebody's own tables: every expected value is worked out by hand."""

import pandas as pd
import pytest

from midrc_ml.cohorts.csv_values import (
    bad_cells,
    flags,
    numbers,
    parse_age,
    says,
    unknown_words,
    without_marks,
)


def texts(*cells: str | None) -> pd.Series:
    return pd.Series(cells, dtype=object, index=range(2, len(cells) + 2))


@pytest.mark.parametrize(
    ("cell", "years"),
    [
        ("071Y", 71),
        ("018M", 1.5),
        ("10D", 10 / 365.2425),
        ("003W", 21 / 365.2425),
        ("54", 54),
        ("54.0", 54),
        ("0", 0),
        ("18 months", 1.5),
        ("45 yrs", 45),
        ("93", 93),
    ],
)
def test_ages_of_one_number_are_in_years(cell: str, years: float) -> None:
    age = parse_age(cell, unit="years", bands="middle")
    assert age is not None
    assert age.years == pytest.approx(years)
    assert not age.is_band


@pytest.mark.parametrize(
    ("cell", "middle", "lower"),
    [
        ("0-17", 9, 0),  # from birth to the day before the 18th birthday
        ("18-29", 24, 18),
        ("65 - 74", 70, 65),
        ("50\u201364", 57, 50),
        ("40 to 49", 45, 40),
        ("[18,59]", 39, 18),
        ("(59,74]", 67, 60),
        ("[60,70)", 65, 60),
        ("<18", 9, 0),
        ("<=17", 9, 0),
        ("under 18", 9, 0),
        ("65+", 65, 65),
        ("85 and over", 85, 85),
        (">=65", 65, 65),
        (">89", 90, 90),
        ("90+", 90, 90),
        ("85-94", 89, 85),  # its middle is 90, but it does not say that the patient is over 89
        ("0-11 months", 0.5, 0),
    ],
)
def test_a_band_stands_for_its_middle_or_its_lower_edge(cell: str, middle: float, lower: float) -> None:
    for bands, expected in (("middle", middle), ("lower", lower)):
        age = parse_age(cell, unit="years", bands=bands)
        assert age is not None
        assert age.years == pytest.approx(expected)
        assert age.is_band


def test_the_unit_of_the_description_is_for_numbers_that_stand_alone() -> None:
    assert parse_age("216", unit="months", bands="middle").years == 18  # type: ignore[union-attr]
    assert parse_age("071Y", unit="months", bands="middle").years == 71  # type: ignore[union-attr]


@pytest.mark.parametrize("cell", ["216", "-3", "29-18", "2020-03-04", "unknown", "71X", "1.2.3", "NaN", "Oct 19", "<0"])
def test_what_is_no_age_is_none(cell: str) -> None:
    assert parse_age(cell, unit="years", bands="middle") is None


def test_flags_in_any_spelling_and_blank_is_missing() -> None:
    yes, no = ("true", "YES", "y", "J", "ja", "1", "1.0", "T"), ("False", "no", "N", "nein", "0", "0.0", "f")
    result, bad = flags(texts(*yes, *no, None, "perhaps"))
    assert result.tolist()[: len(yes) + len(no)] == [True] * len(yes) + [False] * len(no)
    assert result.isna().tolist()[-2:] == [True, True]
    assert bad.tolist() == [False] * (len(yes) + len(no) + 1) + [True]


def test_a_decimal_comma_is_a_comma_and_a_point_then_is_refused() -> None:
    result, bad = numbers(texts("1,5", "-2", None, "1.234"), decimal=",")
    assert result.tolist()[:2] == [1.5, -2]
    assert bad.tolist() == [False, False, False, True]
    _, bad = numbers(texts("1,5", "inf", "2.5"), decimal=".")
    assert bad.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ("Yes", [True, False, False, False, False, False]),
        (True, [True, True, False, False, False, False]),  # YAML's unquoted Yes
        (7, [False, False, True, True, False, False]),  # YAML's unquoted 007
        ("007", [False, False, True, False, False, False]),
        ("", [False, False, False, False, False, True]),
    ],
)
def test_a_mark_means_what_the_yaml_meant(mark: object, expected: list[bool]) -> None:
    assert says(texts("Yes", "yes", "007", "7.0", "x", None), mark).tolist() == expected  # type: ignore[arg-type]


def test_a_number_as_a_mark_is_the_same_number_with_a_decimal_comma() -> None:
    cells = texts("-9,0", "-9", "-9,5", "-9.0", None)
    assert says(cells, -9, decimal=",").tolist() == [True, True, False, False, False]
    assert without_marks(cells, [-9], decimal=",").isna().tolist() == [True, True, False, False, True]


def test_ten_thousand_bad_cells_show_five_and_are_all_counted() -> None:
    cells = texts(*(f"bad {number}" for number in range(10_000)))
    sentence = bad_cells(cells, cells.notna(), "must be a number", where="a.csv: value")
    assert sentence.startswith("a.csv: value must be a number; 10000 rows do not (row 2: 'bad 0', row 3: 'bad 1'")
    assert "and 9995 more" in sentence
    assert "bad 5" not in sentence


def test_unknown_words_are_told_once_each_with_their_count() -> None:
    cells = texts("m", "w", "w", "d", None)
    sentence = unknown_words(cells, cells.notna(), where="a.csv: sex")
    assert "4 rows hold one of 3 values" in sentence
    assert "'w' (2), 'd' (1), 'm' (1)" in sentence


def test_of_many_unknown_words_the_five_most_frequent_are_shown() -> None:
    cells = texts(*(f"word {number}" for number in range(8) for _ in range(number + 1)), *(["m"] * 30))
    sentence = unknown_words(cells, cells != "m", where="a.csv: sex")
    assert "36 rows hold one of 8 values that are not known, 'word 7' (8), 'word 6' (7)," in sentence
    assert sentence.endswith("'word 3' (4), and 3 more")


@pytest.mark.parametrize("rows_each", [1, 2])  # a table of patients, and one of two films a patient
def test_a_column_of_ids_taken_for_words_shows_none_of_them(rows_each: int) -> None:
    cells = texts(*(f"P{number}" for number in range(60) for _ in range(rows_each)), None)
    sentence = unknown_words(cells, cells.notna(), where="a.csv: sex (column 'pid')")
    assert f"{60 * rows_each} rows hold one of 60 values that are not known" in sentence
    assert "is it the right column?" in sentence
    assert "P" not in sentence


def test_a_few_typing_errors_among_known_words_are_shown() -> None:
    cells = texts(*(["m"] * 90), "mm", "ml", "fm", "me", "fe", "f.")
    assert "'f.' (1), 'fe' (1)" in unknown_words(cells, cells != "m", where="a.csv: sex")
