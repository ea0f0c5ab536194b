"""Image files of somebody's own tables: by whichever path they are named, each is one file."""

from pathlib import Path

import pytest
from test_csv_cohort import read
from test_csv_refusals import refusal

from midrc_ml.cohorts.reader import Tables

DESCRIPTION = """
cases: {file: p.csv, columns: {case_id: pid, patient_id: person}}
studies: {file: s.csv, columns: {study_id: acc, case_id: pid, file: path, modality: {value: DX}}}
"""
PATIENTS = "pid,person\nA,X\nB,X\nC,Y\n"


def read_rows(root: Path, rows: str, **settings: str) -> Tables:
    return read(root, {"p.csv": PATIENTS, "s.csv": "acc,pid,path\n" + rows}, DESCRIPTION, **settings)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images below images/, a link to the folder, a link to the first, and an empty folder tables/ beside."""
    (tmp_path / "images").mkdir()
    (tmp_path / "tables").mkdir()
    for name in ("x.png", "y.png"):
        (tmp_path / "images" / name).write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "z.png").symlink_to(tmp_path / "images" / "x.png")
    return tmp_path


def test_one_image_of_several_studies_of_a_patient_is_counted(images: Path) -> None:
    tables = read_rows(images, "1,A,x.png\n2,B,./x.png\n3,C,y.png\n", images="images")
    assert "1 image files are used by several studies each" in tables.notes
    assert len(tables.cases) == 3


@pytest.mark.parametrize("again", ["x.png", "./x.png", "../link/x.png", "z.png"])
def test_one_image_of_two_patients_is_refused_or_takes_them_out(again: str, images: Path) -> None:
    rows = f"1,A,x.png\n2,B,y.png\n3,C,{again}\n"
    files = {"p.csv": PATIENTS, "s.csv": "acc,pid,path\n" + rows}
    told = refusal(images, files, f"{DESCRIPTION}\nimages: images")
    assert told.startswith(
        "1 image files are used by studies of several patients; correct the tables, or leave 2 cases"
    )
    tables = read_rows(images, rows, images="images", on_contradiction="leave_out")
    assert tables.cases["case_id"].tolist() == ["B"]
    assert (
        "2 cases left out with everything of theirs: 1 image files are used by studies of several patients"
        in tables.notes
    )


@pytest.mark.parametrize(
    ("folder", "path"),
    [("../images", "x.png"), ("../link", "x.png"), ("..", "link/x.png"), ("../images", "../link/z.png")],
)
def test_used_images_are_known_by_any_way_to_them(folder: str, path: str, images: Path) -> None:
    tables = read_rows(images / "tables", f"1,A,{path}\n", images=folder)
    of_none = tables.series.loc[~tables.series["study_id"].isin(["1"]), "file"]
    assert sorted(Path(file).name for file in of_none) == ["y.png"]
    assert "1 image files in the image folder belong to no study" in tables.notes


def test_absolute_paths_through_a_link_to_the_root_are_used_images(images: Path) -> None:
    (images / "alias").symlink_to(images / "images")
    place = images / "alias"
    tables = read_rows(place, f"1,A,{place}/x.png\n2,A,{images}/link/y.png\n")
    assert set(tables.series["study_id"]) == {"1", "2"}
