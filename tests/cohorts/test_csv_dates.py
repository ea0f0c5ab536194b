"""Dates of somebody's own tables as calendar days and completed years: every expected value is worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_csv_cohort import of_cases, read
from test_csv_refusals import refusal

from midrc_ml.cohorts.csv_dates import completed_years, is_date_format, names_a_day, stamps


def texts(*cells: str | None) -> pd.Series:
    return pd.Series(cells, dtype=object)


def test_dates_in_a_format_or_as_iso_with_hours() -> None:
    german, bad = stamps(texts("03.04.2021", "31.02.2021", None), date="%d.%m.%Y")
    assert bad.tolist() == [False, True, False]
    iso, none_bad = stamps(texts("2021-04-02T12:00:00", "2021-4-2", "20210402 0630"), date="iso")
    assert not none_bad.any()
    assert ((german.iloc[0] - iso) / pd.Timedelta(hours=1)).tolist() == [12, 24, 17.5]


@pytest.mark.parametrize(
    ("cell", "date"),
    [
        ("2021-03-27T23:30:00+01:00", "iso"),
        ("2021-03-27 23:30+02", "iso"),
        ("2021-03-27T23:30Z", "iso"),
        ("2021-03-27 23:30:00 UTC", "iso"),
        ("27.03.2021 23:30 +0530", "%d.%m.%Y %H:%M %z"),
    ],
)
def test_a_zone_is_dropped_and_the_local_time_kept(cell: str, date: str) -> None:
    found, bad = stamps(texts(cell), date=date)
    assert found.tolist() == [pd.Timestamp(2021, 3, 27, 23, 30)]
    assert not bad.any()


@pytest.mark.parametrize("date", ["iso", "%Y-%m-%d", "%Y-%m-%d %z"])
@pytest.mark.parametrize(
    "cell", ["today", "now", "Now", "NaT", "2021-03", "2021", "2021-060", "2021-02-30", "1614556800"]
)
def test_what_names_no_day_is_no_date(cell: str, date: str) -> None:
    found, bad = stamps(texts(cell), date=date)
    assert bad.tolist() == [True]
    assert found.isna().all()


def test_a_year_alone_is_enough_where_a_year_is_asked_for(tmp_path: Path) -> None:
    description = "studies: {file: s.csv, columns: {study_id: acc, case_id: pid, year: {column: d, date: iso}}}"
    tables = read(tmp_path, {"s.csv": "acc,pid,d\n1,A,2021\n2,A,2020-03\n3,A,2019-12-31\n"}, description)
    assert tables.studies["year"].tolist() == [2021, 2020, 2019]
    assert "s.csv: year (column 'd') must be ISO dates" in refusal(
        tmp_path, {"s.csv": "acc,pid,d\n1,A,now\n"}, description
    )


@pytest.mark.parametrize(
    ("date", "is_one"),
    [("iso", True), ("%d.%m.%Y", True), ("%m/%d/%y", True), ("%d.%m.", False), ("DD.MM.YYYY", False), ("%Q%Y", False)],
)
def test_a_format_of_dates_has_a_year(date: str, is_one: bool) -> None:
    assert is_date_format(date) is is_one


@pytest.mark.parametrize(
    ("date", "names_one"),
    [("iso", True), ("%d.%m.%Y", True), ("%d %b %Y", True), ("%Y%j", True), ("%Y-%m", False), ("%Y", False)],
)
def test_a_format_of_days_names_the_day(date: str, names_one: bool) -> None:
    assert names_a_day(date) is names_one


def test_a_format_without_a_day_is_a_mistake_of_the_description_except_for_years(tmp_path: Path) -> None:
    description = """
    cases: {file: s.csv, columns: {case_id: pid, index_date: {column: d, date: '%m/%Y'}}}
    studies:
      file: s.csv
      columns:
        study_id: acc
        case_id: pid
        year: {column: d, date: '%m/%Y'}
        day: {column: d, date: '%Y'}
        age: {column: d, date: '%m/%Y', origin: {column: d, date: '%Y'}}
    """
    told = refusal(tmp_path, {}, description)
    for place in (
        "cases.columns.index_date",
        "studies.columns.day",
        "studies.columns.age",
        "studies.columns.age.origin",
    ):
        assert f"cohort.{place}.date is '%" in told
    assert told.count("which names no day; it must have %d and a month, or %j") == 4


def test_completed_years_count_birthdays() -> None:
    birth, _ = stamps(texts("1950-03-04", "1950-03-04", "2000-02-29", None), date="iso")
    until, _ = stamps(texts("2020-03-03", "2020-03-04", "2001-02-28", "2020-01-01"), date="iso")
    assert completed_years(birth, until).tolist()[:3] == [69, 70, 0]
    assert np.isnan(completed_years(birth, until).iloc[3])
    assert completed_years(texts(None, None), until[:2]).isna().all()


FROM_INDEX_DATE = """
cases: {file: p.csv, columns: {case_id: pid, index_date: {column: adm, date: iso}}}
studies: {file: p.csv, columns: {study_id: pid, case_id: pid, day: {column: film, date: iso}}}
events: {file: p.csv, kind: icu_stay, columns: {case_id: pid, start_day: {column: icu, date: iso}}}
"""
FROM_A_COLUMN = """
studies: {file: p.csv, columns: {study_id: pid, case_id: pid, day: {column: film, date: iso, origin: adm}}}
events: {file: p.csv, kind: icu_stay, columns: {case_id: pid, start_day: {column: icu, date: iso, origin: adm}}}
"""


@pytest.mark.parametrize("description", [FROM_INDEX_DATE, FROM_A_COLUMN])
def test_days_of_dates_are_calendar_days_from_the_midnight_of_their_origin(description: str, tmp_path: Path) -> None:
    """A: an admission with a time of day; B: one before the clocks change, with offsets; C: at another hour."""
    rows = (
        "pid,adm,film,icu\n"
        "A,2021-03-01T14:00,2021-03-01T18:00,2021-03-02\n"
        "B,2021-03-27T00:00+01:00,2021-03-28T00:00+01:00,2021-03-29T00:00+02:00\n"
        "C,2021-03-01T23:59,2021-03-01,2021-02-28T12:00\n"
    )
    tables = read(tmp_path, {"p.csv": rows}, description)
    assert tables.studies.set_index("study_id")["day"].to_dict() == {"A": 0.75, "B": 1, "C": 0}
    assert tables.events.set_index("case_id")["start_day"].to_dict() == {"A": 1, "B": 2, "C": -0.5}


def test_parquets_zones_give_local_days(tmp_path: Path) -> None:
    """Midnights in Berlin over the change to summer time, which UTC puts 23 hours apart."""
    moments = {"adm": "2021-03-27", "film": "2021-03-28", "icu": "2021-03-29"}
    frame = pd.DataFrame({"pid": ["A"], **{name: pd.to_datetime([day]) for name, day in moments.items()}})
    for name in moments:
        frame[name] = frame[name].dt.tz_localize("Europe/Berlin")
    frame.to_parquet(tmp_path / "p.parquet")
    tables = read(tmp_path, {}, FROM_INDEX_DATE.replace("p.csv", "p.parquet"))
    assert (tables.studies["day"].tolist(), tables.events["start_day"].tolist()) == ([1], [2])


def test_an_age_of_a_case_counts_to_its_own_index_date(tmp_path: Path) -> None:
    """In the block of the index date, and in another block of the cases."""
    birth = "{column: dob, date: iso}"
    files = {"p.csv": "pid,adm,dob\nA,2021-03-01,1950-03-02\nB,2021-03-01,1950-03-01\nC,,1950-01-01\n"}
    in_one = f"cases: {{file: p.csv, columns: {{case_id: pid, index_date: {{column: adm, date: iso}}, age: {birth}}}}}"
    tables = read(tmp_path, files, in_one)
    assert of_cases(tables, "age") == [70, 71, None]
    assert "cases from p.csv: 1 dates have no index date of their case; the age is missing" in tables.notes
    in_two = f"""
    cases:
      - {{file: p.csv, columns: {{case_id: pid, age: {birth}}}}}
      - {{file: p.csv, columns: {{case_id: pid, index_date: {{column: adm, date: iso}}}}}}
    """
    assert of_cases(read(tmp_path, files, in_two), "age") == [70, 71, None]


STUDY_AGE = """
cases: {file: p.csv, columns: {case_id: pid, index_date: {column: adm, date: iso}}}
studies: {file: s.csv, columns: {study_id: acc, case_id: pid, day: DAY, age: {column: dob, date: iso ORIGIN}}}
"""


def test_an_age_of_a_study_counts_to_the_day_of_the_study(tmp_path: Path) -> None:
    files = {
        "p.csv": "pid,adm\nA,2010-03-01\n",
        "s.csv": "acc,pid,dob,d,n\n1,A,1995-01-01,2021-03-01,4\n2,A,1995-01-01,,4\n",
    }
    by_date = STUDY_AGE.replace("DAY", "{column: d, date: iso}")
    for origin in ("", ", origin: {of: study}"):
        tables = read(tmp_path, files, by_date.replace("ORIGIN", origin))
        assert tables.studies.set_index("study_id")["age"].fillna(-1).to_dict() == {"1": 26, "2": -1}
        assert "studies from s.csv: 1 dates have no day of their study; the age is missing" in tables.notes
    tables = read(tmp_path, files, by_date.replace("ORIGIN", ", origin: {of: case}"))
    assert tables.studies["age"].tolist() == [15, 15]
    told = refusal(tmp_path, files, STUDY_AGE.replace("DAY", "n").replace("ORIGIN", ""))
    assert told == (
        "cohort.studies.columns.age: a date of birth, but the day of the study is no date; give as `origin:` the "
        "column of dates that it is the age at"
    )
