import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cohen_table import write as write_collection

from midrc_ml.cohorts.brixia import BrixiaCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError, TableError

HEADER = ["filename", *(f"{letter}-{zone}" for letter in "SJ" for zone in [*"ABCDEF", "Global"]), "image_in_pack"]


def scores(name: str, senior: str = "0123100", junior: str = "1111116") -> str:
    """A row: zones and total of each reader, a digit each; the total of `0123100` is written as 7."""
    zones = [*senior[:6], str(sum(map(int, senior[:6]))), *junior[:6], str(sum(map(int, junior[:6])))]
    return ",".join([name, *zones, "yes"])


UNKNOWN = (scores("4-day1.jpg"), scores("4-day8.jpg"))


def write(folder: Path, *rows: str, **settings: str) -> BrixiaCohort:
    """Scores beside a collection: films `0.png` and `1.png` of patient 7, and the dropped `gone.png` of patient 8."""
    write_collection(folder, {"patientid": "7", "went_icu": "Y", "offset": "2"}, {"patientid": "7", "went_icu": ""})
    (folder / "cohen" / "metadata_dropped.csv").write_text("patientid,filename,finding\n8,gone.png,COVID-19\n")
    (folder / "cohen" / "images").mkdir()
    (folder / "cohen" / "images" / "0.png").write_bytes(b"")
    (folder / "brixia_severity").mkdir()
    text = "\n".join([",".join(HEADER), *rows]) + "\n"
    (folder / "brixia_severity" / "brixia_public_annotations.csv").write_text(text)
    return BrixiaCohort(data_dir=str(folder), **settings)


@pytest.fixture(scope="module")
def real(midrc_ml_data: Path) -> Tables:
    return BrixiaCohort(data_dir=str(midrc_ml_data)).read()


@pytest.fixture(scope="module")
def real_rows(midrc_ml_data: Path) -> list[dict[str, str]]:
    path = midrc_ml_data / "brixia_severity" / "brixia_public_annotations.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("scores")
    rows = [scores("0.png"), scores("1.png", "333333", "000000"), scores("gone.png"), *UNKNOWN]
    return write(folder, *rows).read()


def test_zones_and_totals_of_both_readers_are_readings_of_the_film(invented: Tables) -> None:
    values = invented.readings.set_index(["study_id", "reader", "name"])["value"].sort_index()
    assert values["0.png", "senior"].to_dict() == {
        **{f"brixia_{zone}": float(value) for zone, value in zip("ABCDEF", "012310", strict=True)},
        "brixia_total": 7.0,
    }
    assert values["0.png", "junior", "brixia_total"] == 6.0
    assert (values["1.png", "senior", "brixia_total"], values["1.png", "junior", "brixia_total"]) == (18.0, 0.0)


def test_patient_outcome_day_and_file_come_from_the_collection_by_file_name(invented: Tables) -> None:
    studies = invented.studies.set_index("study_id")
    assert studies["case_id"].to_dict() == {
        **{"0.png": "7", "1.png": "7", "gone.png": "8"},
        **dict.fromkeys(("4-day1.jpg", "4-day8.jpg"), "unknown patient"),
    }
    assert studies["day"].dropna().to_dict() == {"0.png": 2.0}
    cases = invented.cases.set_index("case_id")
    assert (bool(cases.loc["7", "icu_ever"]), bool(cases.loc["8", "covid_ever"])) == (True, True)
    assert pd.isna(cases.loc["8", "icu_ever"])
    files = invented.series.dropna(subset="file").set_index("study_id")["file"]
    assert [(name, Path(file).name) for name, file in files.items()] == [("0.png", "0.png")]
    assert invented.notes == (
        "2 scored films are in no list of the collection, their patient is not known; they stand as one patient",
        "4 of 5 scored films have no image in the collection at hand",
        "in the whole collection: 1 rows have no image file",
    )


@pytest.mark.parametrize(("rule", "patients", "films"), [("each_alone", 3, 3), ("exclude", 1, 1)])
def test_films_of_unknown_patients_follow_the_named_rule(rule: str, patients: int, films: int, tmp_path: Path) -> None:
    tables = write(tmp_path, scores("0.png"), *UNKNOWN, unknown_patients=rule).read()
    assert (tables.cases["patient_id"].nunique(), len(tables.studies)) == (patients, films)
    assert set(tables.readings["study_id"]) == set(tables.studies["study_id"])


def test_another_rule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'guess'; it must be one of together, each_alone, exclude"):
        BrixiaCohort(data_dir=str(tmp_path), unknown_patients="guess")


def test_scores_off_the_scale_and_totals_that_are_no_sum_are_told_at_once(tmp_path: Path) -> None:
    wrong_sum = scores("1.png").replace("1,1,1,1,1,1,6", "1,1,1,1,1,1,7")
    cohort = write(tmp_path, scores("0.png", "400000"), wrong_sum, scores("1.png", "00000x".replace("x", "0")))
    severity = "## a comment\nfilename,geographic_mean,opacity_mean\n0.png,8.5,3\n"
    (tmp_path / "brixia_severity" / "covid-severity-scores.csv").write_text(severity)
    with pytest.raises(TableError) as error:
        cohort.read()
    text = str(error.value)
    assert "S-A must be a number of at least 0 and at most 3; 1 row does not (row 2: '4')" in text
    assert "the total of the junior reader is not the sum of the zones in 1 rows (rows 3)" in text
    assert "2 rows share their filename with another" in text
    # One comment line and the header come before it.
    assert "geographic_mean must be a number of at least 0 and at most 8; 1 row does not (row 3: '8.5')" in text
    assert len(error.value.problems) == 4


def test_mean_scores_in_another_encoding_are_told(tmp_path: Path) -> None:
    cohort = write(tmp_path, scores("0.png"))
    path = tmp_path / "brixia_severity" / "covid-severity-scores.csv"
    severity = "## caf\u00e9\nfilename,geographic_mean,opacity_mean\n0.png,8,3\n"
    for encoding in ("latin-1", "utf-16"):
        path.write_text(severity, encoding=encoding)
        with pytest.raises(TableError, match=r"^covid-severity-scores\.csv: not a readable table \(Unicode.*; get it"):
            cohort.read()
    path.write_text(severity, encoding="utf-8-sig")
    assert cohort.read().readings.query("reader == 'mean_of_3'")["value"].tolist() == [8, 3]


def test_a_missing_collection_is_named(tmp_path: Path) -> None:
    (tmp_path / "brixia_severity").mkdir()
    text = ",".join(HEADER) + "\n" + scores("0.png") + "\n"
    (tmp_path / "brixia_severity" / "brixia_public_annotations.csv").write_text(text)
    with pytest.raises(InputError, match=r"no folder .*cohen; get it from https://github.com/ieee8023"):
        BrixiaCohort(data_dir=str(tmp_path)).read()
    with pytest.raises(InputError, match=r"no folder .*brixia_severity; get it from https://github.com/BrixIA"):
        BrixiaCohort(data_dir=str(tmp_path / "brixia_severity")).read()


def test_the_real_192_films_have_both_readers_totals(real: Tables, real_rows: list[dict[str, str]]) -> None:
    assert len(real_rows) == 192
    totals = real.readings[real.readings["name"] == "brixia_total"].pivot(
        index="study_id", columns="reader", values="value"
    )
    expected = {row["filename"]: (float(row["S-Global"]), float(row["J-Global"])) for row in real_rows}
    assert dict(zip(totals.index, zip(totals["senior"], totals["junior"], strict=True), strict=True)) == expected
    assert len(real.readings) == 192 * 2 * 7 + 94 * 2


def test_the_real_readers_agree_as_measured_before(real: Tables) -> None:
    totals = real.readings[real.readings["name"] == "brixia_total"].pivot(
        index="study_id", columns="reader", values="value"
    )
    senior, junior = totals["senior"].to_numpy(), totals["junior"].to_numpy()
    observed = np.zeros((19, 19))
    np.add.at(observed, (senior.astype(int), junior.astype(int)), 1)
    weights = np.subtract.outer(np.arange(19), np.arange(19)) ** 2
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / len(totals)
    kappa = 1 - (weights * observed).sum() / (weights * expected).sum()
    found = (round(kappa, 3), round(np.corrcoef(senior, junior)[0, 1], 3), round(np.abs(senior - junior).mean(), 2))
    assert found == (0.855, 0.868, 1.94)


def test_the_real_patients_are_the_collections_and_twelve_films_have_none(
    real: Tables, real_rows: list[dict[str, str]], midrc_ml_data: Path
) -> None:
    patient = {}
    for name in ("metadata_dropped.csv", "metadata.csv"):
        with (midrc_ml_data / "cohen" / name).open(encoding="utf-8-sig", newline="") as file:
            patient |= {row["filename"]: row["patientid"] for row in csv.DictReader(file)}
    with (midrc_ml_data / "brixia_severity" / "covid-severity-scores.csv").open(encoding="utf-8-sig") as file:
        rows = csv.DictReader([line for line in file if not line.startswith("##")])
        films = {row["filename"] for row in rows} | {row["filename"] for row in real_rows}
    assert len(films) == len(real.studies) == 221
    found = real.studies.set_index("study_id")["case_id"].to_dict()
    assert {film: found[film] for film in films if film in patient} == {f: patient[f] for f in films if f in patient}
    alone = [film for film in films if film not in patient]
    assert len(alone) == 12
    assert {found[film] for film in alone} == {"unknown patient"}
    with_file = {row["filename"] for row in real_rows if row["image_in_pack"] == "yes"}
    assert with_file == set(real.series.dropna(subset="file")["study_id"]) & {row["filename"] for row in real_rows}
    assert len(with_file) == 96
