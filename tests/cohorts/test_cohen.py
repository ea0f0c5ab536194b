import csv
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest
from cohen_table import COLUMNS, write

from midrc_ml.cohorts.cohen import CohenCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError


def cohort_of(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> CohenCohort:
    write(folder, *rows, columns=columns)
    return CohenCohort(data_dir=str(folder))


def flags(tables: Tables, name: str) -> dict[str, bool | None]:
    values = tables.cases.set_index("case_id")[name]
    return {case: None if pd.isna(value) else bool(value) for case, value in values.items()}


# One small collection for all that needs no file of its own: reading takes longer than looking.
INVENTED = (
    {"patientid": "icu", "went_icu": "N", "intubated": "N", "survival": "Y", "finding": "No Finding"},
    {"patientid": "icu", "went_icu": "Y", "finding": "COVID-19, ARDS"},
    {"patientid": "unstated", "went_icu": "Would have been stated", "intubated": "Not visible", "survival": "N"},
    {"patientid": "never", "went_icu": "N", "intubated": "?", "finding": "Pneumonia/Viral/COVID-19"},
    {"patientid": "both", "finding": "Klebsiella", "sex": "F", "location": "X, Italy"},
    {"patientid": "both", "finding": "COVID-19", "sex": "M", "location": "Spain"},
    {"patientid": "germ", "finding": "No Finding", "sex": "M"},
    {"patientid": "germ", "finding": "Pneumonia/Bacterial/Klebsiella", "location": "Y, Z, Italy "},
    {"patientid": "open", "finding": "Pneumonia"},
    {"patientid": "open", "finding": "ARDS"},
    {"patientid": "open", "finding": "todo"},
    {"patientid": "open", "finding": "Pneumonia/Viral"},
    {"patientid": "open", "finding": "Bacterial"},
    {"patientid": "healthy", "finding": "No Finding"},
    {"patientid": "day", "offset": "3", "in_icu": "Y", "intubation_present": "N", "temperature": "38.5"},
    {"patientid": "day", "offset": "5", "in_icu": "N", "extubated": "Y"},
    {"patientid": "day", "offset": "5", "in_icu": "Would have been stated", "extubated": "Y"},
)


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return cohort_of(tmp_path_factory.mktemp("collection"), *INVENTED).read()


@pytest.fixture(scope="module")
def real(midrc_ml_data: Path) -> Tables:
    return CohenCohort(data_dir=str(midrc_ml_data)).read()


@pytest.fixture(scope="module")
def real_rows(midrc_ml_data: Path) -> list[dict[str, str]]:
    with (midrc_ml_data / "cohen" / "metadata.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_flag_is_true_where_any_image_says_so_and_missing_where_none_does(invented: Tables) -> None:
    for name, expected in {
        "icu_ever": {"icu": True, "unstated": None, "never": False, "day": None},
        "ventilated_ever": {"icu": False, "unstated": None, "never": None, "day": None},
        "died": {"icu": False, "unstated": True, "never": None, "day": None},
    }.items():
        found = flags(invented, name)
        assert {case: found[case] for case in expected} == expected
    assert "went_icu: 1 patients have both Y and N; what was ever so counts" in invented.notes


def test_covid_is_false_only_where_another_cause_is_named(invented: Tables) -> None:
    assert flags(invented, "covid_ever") == {
        **{"icu": True, "never": True, "both": True, "germ": False},
        **{"open": None, "healthy": None, "unstated": None, "day": None},
    }


def test_contradictory_sex_and_country_count_as_not_recorded(invented: Tables) -> None:
    cases = invented.cases.set_index("case_id")[["sex", "site"]].fillna("none")
    assert cases.loc["both"].tolist() == ["none", "none"]
    assert cases.loc["germ"].tolist() == ["Male", "Italy"]
    for column in ("sex", "site"):
        note = f"1 patients have images with different {column}; theirs counts as not recorded"
        assert note in invented.notes


def test_what_is_told_of_the_moment_of_the_image_is_a_reading_and_measurements_are_events(invented: Tables) -> None:
    readings = invented.readings.set_index(["study_id", "name"])
    assert readings["value"].dropna().to_dict() == {
        ("14.png", "in_icu"): 1.0,
        ("15.png", "in_icu"): 0.0,
        ("14.png", "intubation_present"): 0.0,
    }
    assert readings.loc[("1.png", "finding"), "category"] == "COVID-19, ARDS"
    assert ("10.png", "finding") not in readings.index  # todo
    events = invented.events.set_index("name")
    assert (events.loc["temperature", "start_day"], events.loc["temperature", "value"]) == (3.0, "38.5")
    # Ever, and so of no day; said twice, counted once.
    assert pd.isna(events.loc["extubated", "start_day"])
    assert len(events) == 2


def test_an_image_is_a_study_with_its_day_age_view_and_file(tmp_path: Path) -> None:
    cohort = cohort_of(
        tmp_path,
        {"patientid": "1", "offset": "-2", "age": "44", "view": "AP Supine", "date": "May 4, 2010"},
        {"patientid": "1", "offset": "", "age": "94", "view": "L", "date": "03/09/20"},
        {"patientid": "2", "modality": "CT", "view": "Axial", "date": "2020"},
    )
    (tmp_path / "cohen" / "images").mkdir()
    for name in ("0.png", "2.png", "other.png"):
        (tmp_path / "cohen" / "images" / name).write_bytes(b"")
    tables = cohort.read()
    films, ct = tables.studies.iloc[:2], tables.studies.iloc[2]
    assert films["day"].fillna(99).tolist() == [-2, 99]
    assert films["age"].tolist() == [44, 90]
    assert tables.studies["year"].fillna(0).tolist() == [2010, 0, 2020]
    assert tables.series["view"].fillna("none").tolist() == ["AP", "L", "none"]
    assert (ct["modality"], tables.series["modality"].tolist()) == ("CT", ["DX", "DX", "CT"])
    assert tables.series["file"].isna().tolist() == [False, True, False]
    assert tables.series["file"][0] == str(tmp_path / "cohen" / "images" / "0.png")
    assert tables.notes == ("1 rows have no image file", "1 image files belong to no row of the table")


def test_all_bad_values_are_told_at_once(tmp_path: Path) -> None:
    cohort = cohort_of(
        tmp_path,
        {"patientid": "1", "age": "old", "modality": "Xray"},
        {"patientid": "", "survival": "maybe"},
        {"patientid": "2", "filename": "0.png", "offset": "day 3"},
    )
    with pytest.raises(TableError) as error:
        cohort.read()
    text = str(error.value)
    assert len(error.value.problems) == 6
    assert "metadata.csv: age must be a number of at least 0 and at most 120; 1 row does not (row 2: 'old')" in text
    assert "modality must be one of 'X-ray', 'CT'" in text
    assert "patientid must not be empty; 1 row does not (row 3" in text
    assert "survival must be one of" in text
    assert "offset must be a number" in text
    assert "2 rows share their filename with another" in text


def test_another_table_is_refused_with_where_to_get_the_right_one(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, {"patientid": "1"}, columns=tuple(name for name in COLUMNS if name != "went_icu"))
    with pytest.raises(TableError, match=r"^metadata.csv: no column went_icu .*github.com/ieee8023"):
        cohort.read()
    for folder in (None, str(tmp_path / "nowhere")):
        with pytest.raises(InputError, match="MIDRC_ML_DATA"):
            CohenCohort(data_dir=folder).read()


def test_the_real_collection_has_328_films_and_53_ct_pictures_of_167_patients_all_with_a_file(
    real: Tables, real_rows: list[dict[str, str]]
) -> None:
    assert len(real.studies) == 381
    assert real.series["modality"].value_counts().to_dict() == {"DX": 328, "CT": 53}
    assert len(real.cases) == 167
    assert real.series["file"].map(lambda file: Path(file).is_file()).all()
    view = {row["filename"]: row["view"].removesuffix(" Supine") for row in real_rows if row["modality"] == "X-ray"}
    known = real.series.dropna(subset="view").set_index("series_id")["view"].to_dict()
    assert known == {name: words for name, words in view.items() if words not in ("", "?")}
    day = {row["filename"]: float(row["offset"]) for row in real_rows if row["offset"] not in ("", "?")}
    assert real.studies.dropna(subset="day").set_index("study_id")["day"].to_dict() == day


def test_the_real_outcomes_are_those_of_the_rows(real: Tables, real_rows: list[dict[str, str]]) -> None:
    said: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in real_rows:
        for column in ("went_icu", "intubated", "survival", "finding"):
            said[row["patientid"], column].add(row[column])
    for name, column, yes, no in (
        ("icu_ever", "went_icu", "Y", "N"),
        ("ventilated_ever", "intubated", "Y", "N"),
        ("died", "survival", "N", "Y"),
    ):
        expected = {
            patient: True if yes in words else False if no in words else None
            for (patient, of), words in said.items()
            if of == column
        }
        assert flags(real, name) == expected
    covid = {p for (p, of), words in said.items() if of == "finding" and words & {"COVID-19", "COVID-19, ARDS"}}
    assert {case for case, value in flags(real, "covid_ever").items() if value} == covid
    # Counted by hand in the table: patients of a named germ or of lipoid pneumonia, none of whom had COVID-19.
    other = {"Pneumocystis", "Streptococcus", "Klebsiella", "Mycoplasma Bacterial Pneumonia", "Lipoid", "Varicella"}
    other |= {"E.Coli", "Legionella", "Influenza", "Chlamydophila"}
    named = {p for (p, of), words in said.items() if of == "finding" and words & other}
    assert {case for case, value in flags(real, "covid_ever").items() if value is False} == named - covid
