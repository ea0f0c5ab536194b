from pathlib import Path

import pandas as pd
import pytest

from midrc_ml.cohorts.flow import CohortFlow
from midrc_ml.cohorts.ralo import RaloCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.cohorts.selection import Selection, select_studies
from midrc_ml.errors import InputError, TableError
from midrc_ml.evaluation.metrics import mae, mae_sd
from midrc_ml.splits.published import PublishedTest
from midrc_ml.tasks.readings import reading

HEADER = (
    "0,1,2,3,4,5,6,7,8,9,10,11,12,geo,opac,15,16,17\n"
    "Subject_ID,Exam_DateTime,Right GEOGRAPHIC,Right OPACITY,Left GEOGRAPHIC,Left OPACITY,Total GEOGRAPHIC,"
    "Total OPACITY,Notes,Right GEOGRAPHIC,Right OPACITY,Left GEOGRAPHIC,Left OPACITY,Total GEOGRAPHIC,"
    "Total OPACITY,Notes,Delta Geo-total,Delta Opa total\n"
)


def row(patient: str, extent_1: object, opacity_1: object, extent_2: object, opacity_2: object) -> str:
    return f"{patient},20200330,0,0,0,0,{extent_1},{opacity_1},,0,0,0,0,{extent_2},{opacity_2},,0,0\n"


def write(folder: Path, *rows: str, images: int = 0) -> RaloCohort:
    (folder / "ralo" / "images").mkdir(parents=True)
    (folder / "ralo" / "ralo-dataset-metadata.csv").write_text(HEADER + "".join(rows))
    for number in range(images):
        (folder / "ralo" / "images" / f"{number}.jpg").write_bytes(b"")
    return RaloCohort(data_dir=str(folder))


@pytest.fixture(scope="module")
def real(midrc_ml_data: Path) -> Tables:
    return RaloCohort(data_dir=str(midrc_ml_data)).read()


def labelled(tables: Tables, name: str) -> pd.DataFrame:
    studies = select_studies(tables, Selection(), CohortFlow(origin=tables.origin))
    return studies.assign(label=reading(tables, studies, name=name, min_readers=2)["label"])


def test_the_two_readers_totals_are_read_by_column_name(tmp_path: Path) -> None:
    tables = write(tmp_path, row("P1", 1, 2, 3, 4), row("P2", 5.5, "", 8, 0), row("P1", 0, 0, 0, 0), images=3).read()
    values = tables.readings.set_index(["study_id", "reader", "name"])["value"]
    assert values["0"].unstack().to_dict() == {
        "geographic_extent": {"reader_1": 1.0, "reader_2": 3.0},
        "opacity": {"reader_1": 2.0, "reader_2": 4.0},
    }
    assert values["1", "reader_1", "geographic_extent"] == 5.5
    assert pd.isna(values["1", "reader_1", "opacity"])
    assert tables.studies["case_id"].tolist() == ["P1", "P2", "P1"]
    assert tables.cases["patient_id"].tolist() == ["P1", "P2"]
    assert tables.series["file"].tolist() == [str(tmp_path / "ralo" / "images" / f"{i}.jpg") for i in range(3)]


def test_a_study_of_one_reader_has_no_label(tmp_path: Path) -> None:
    tables = write(tmp_path, row("P1", 1, 2, 3, 4), row("P2", 5, "", 8, 0), images=2).read()
    labels = labelled(tables, "opacity").set_index("study_id")["label"]
    assert labels["0"] == 3.0
    assert pd.isna(labels["1"])


def test_bad_totals_of_all_columns_are_told_at_once_by_line(tmp_path: Path) -> None:
    cohort = write(tmp_path, row("P1", 1, 2, 3, 4), row("P2", 9, 2, 3, "x"), row("P3", 1, 2, -1, 4))
    with pytest.raises(TableError) as error:
        cohort.read()
    assert len(error.value.problems) == 3
    # Two header lines, so the second row is line 4.
    assert "'Total GEOGRAPHIC' of reader_1 must be 0 to 8; 1 rows are not (lines 4)" in str(error.value)
    assert "'Total OPACITY' of reader_2 must be 0 to 8; 1 rows are not (lines 4)" in str(error.value)
    assert "'Total GEOGRAPHIC' of reader_2 must be 0 to 8; 1 rows are not (lines 5)" in str(error.value)


def test_a_missing_total_is_named(tmp_path: Path) -> None:
    cohort = write(tmp_path, row("P1", 1, 2, 3, 4))
    path = tmp_path / "ralo" / "ralo-dataset-metadata.csv"
    path.write_text(path.read_text().replace("Total OPACITY", "Opacity", 1))
    with pytest.raises(TableError, match="1 columns 'Total OPACITY'; one for each of two readers is needed"):
        cohort.read()


def test_a_missing_patient_column_is_named_with_what_to_do(tmp_path: Path) -> None:
    cohort = write(tmp_path, row("P1", 1, 2, 3, 4))
    path = tmp_path / "ralo" / "ralo-dataset-metadata.csv"
    path.write_text(path.read_text().replace("Subject_ID", "Patient"))
    with pytest.raises(TableError, match=r"^ralo-dataset-metadata.csv: no column 'Subject_ID'.*; download doi"):
        cohort.read()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a readable CSV (No columns to parse from file)"),
        (b"<html>\n<p>Access, denied</p>\n</html>\n", "not a readable CSV (Error tokenizing data."),
        (b"<html>\n<p>Access denied</p>\n</html>\n", "not the RALO table"),
        (HEADER.encode() + b"P\xff" + row("", 1, 2, 3, 4).encode(), "not a readable CSV ('utf-8' codec"),
        (HEADER.splitlines()[1].encode(), "not the RALO table"),
        (HEADER.encode(), "not the RALO table"),
    ],
    ids=["empty", "web page with a comma", "web page", "not UTF-8", "one line", "no rows"],
)
def test_a_file_that_is_not_the_table_is_refused_in_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    cohort = write(tmp_path)
    (tmp_path / "ralo" / "ralo-dataset-metadata.csv").write_bytes(content)
    with pytest.raises(TableError) as error:
        cohort.read()
    assert str(error.value).startswith(f"ralo-dataset-metadata.csv: {words}")
    assert str(error.value).endswith("; download doi 10.5281/zenodo.4633999 again and take its table as it is")
    assert "\n" not in str(error.value)


def test_images_without_a_row_are_counted_and_rows_without_an_image_have_no_file(tmp_path: Path) -> None:
    more = write(tmp_path / "more", row("P1", 1, 2, 3, 4), images=3).read()
    assert more.notes == ("2 image files belong to no row of the table",)
    fewer = write(tmp_path / "fewer", row("P1", 1, 2, 3, 4), row("P2", 1, 2, 3, 4), images=1).read()
    assert fewer.series["file"].isna().tolist() == [False, True]


def test_absent_data_are_told_with_the_variable_to_set(tmp_path: Path) -> None:
    for folder in (None, str(tmp_path)):
        with pytest.raises(InputError, match="MIDRC_ML_DATA"):
            RaloCohort(data_dir=folder).read()


def test_the_real_table_has_2373_studies_of_522_patients_all_with_an_image(real: Tables) -> None:
    assert len(real.studies) == 2_373
    assert real.cases["patient_id"].nunique() == len(real.cases) == 522
    assert real.series["file"].notna().all()
    assert len(real.readings) == 2_373 * 2 * 2
    assert real.notes == ()


def test_the_published_test_part_is_exactly_the_495_listed_studies_of_105_patients(
    real: Tables, midrc_ml_data: Path
) -> None:
    listed = (midrc_ml_data / "ralo" / "test_ids.txt").read_text().split()
    studies = labelled(real, "geographic_extent")
    split = PublishedTest(test_ids=str(midrc_ml_data / "ralo" / "test_ids.txt")).assign(studies)
    test, others = split[split["part"] == "test"], split[split["part"] != "test"]
    assert len(listed) == 495
    assert sorted(test["study_id"]) == sorted(listed)
    assert test["patient_id"].nunique() == 105
    assert (len(others), others["patient_id"].nunique()) == (1_878, 417)
    assert set(others["part"]) == {"train", "validation"}
    assert (split.groupby("patient_id")["part"].nunique() == 1).all()
    share = others.groupby("part")["patient_id"].nunique()["validation"] / 417
    assert abs(share - 0.15) < 0.01


def identity(score: pd.Series) -> pd.Series:
    return score


# MAE +/- SD as printed in the output cells of mlmed/covid-severity, eval_models_ralo.ipynb; scalings from there.
@pytest.mark.parametrize(
    ("file", "label", "column", "scaling", "published"),
    [
        ("covid-net-sev", "geographic_extent", "geographic", identity, ("1.52", "1.03")),
        ("covid-net-sev", "opacity", "opacity", identity, ("1.23", "0.90")),
        ("covidnet-s", "geographic_extent", "geographic", identity, ("2.27", "1.33")),
        ("covidnet-s", "opacity", "opacity", identity, ("1.37", "0.98")),
        ("bsnet-singlemodel", "geographic_extent", "brixia", lambda brixia: brixia / 18 * 8, ("1.10", "0.82")),
        ("bsnet-singlemodel", "opacity", "brixia", lambda brixia: 0.31 * brixia + 0.15, ("1.00", "0.65")),
        ("pxs-stonybrook", "geographic_extent", "pxs", lambda pxs: pxs / 18 * 6, ("1.60", "1.00")),
        ("pxs-stonybrook", "opacity", "pxs", lambda pxs: pxs / 18 * 6, ("1.11", "0.81")),
    ],
)
def test_published_errors_of_stored_models_come_out_to_two_decimals(
    real: Tables, midrc_ml_data: Path, file: str, label: str, column: str, scaling, published: tuple[str, str]
) -> None:
    listed = (midrc_ml_data / "ralo" / "test_ids.txt").read_text().split()
    stored = pd.read_csv(midrc_ml_data / "ralo" / "predictions" / f"{file}.csv", skipinitialspace=True)
    score = scaling(stored.set_index(stored["fname"].str.removesuffix(".jpg"))[column])
    y_true = labelled(real, label).set_index("study_id")["label"]
    errors = (mae(y_true[listed], score[listed]), mae_sd(y_true[listed], score[listed]))
    assert tuple(f"{value:.2f}" for value in errors) == published
