from pathlib import Path

import pandas as pd
import pytest

from midrc_ml.cohorts.stoic2021 import Stoic2021Cohort
from midrc_ml.errors import InputError, TableError


def write(folder: Path, table: str) -> Stoic2021Cohort:
    (folder / "stoic2021" / "metadata").mkdir(parents=True)
    (folder / "stoic2021" / "metadata" / "reference.csv").write_text(table)
    (folder / "stoic2021" / "data" / "mha").mkdir(parents=True)
    return Stoic2021Cohort(data_dir=str(folder))


def write_image(folder: Path, patient: str, *fields: str) -> None:
    """A MetaImage as SimpleITK writes it: its header, then compressed pixels."""
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "DimSize = 512 512 2", "ElementType = MET_SHORT"]
    header = "\n".join([*lines, *fields, "ElementDataFile = LOCAL"]) + "\n"
    path = folder / "stoic2021" / "data" / "mha" / f"{patient}.mha"
    path.write_bytes(header.encode() + b"\x78\x9c\xff = \n\xfe\x00")


def test_labels_come_from_the_table_and_age_and_sex_from_the_images(tmp_path: Path) -> None:
    cohort = write(tmp_path, "PatientID,probCOVID,probSevere\n0,1,1\n3,0,0\n7,1,0\n9,1,\n")
    write_image(tmp_path, "0", "PatientAge = 085Y", "PatientSex = M")
    write_image(tmp_path, "3", "PatientSex = F ", "PatientAge = 35Y")
    write_image(tmp_path, "7", "PatientAge = 999Y", "PatientSex = O")
    tables = cohort.read()
    cases = tables.cases.set_index("case_id")
    assert cases["covid_ever"].tolist() == [True, False, True, True]
    assert cases["severe"].tolist()[:3] == [True, False, False]
    assert pd.isna(cases.loc["9", "severe"])
    assert cases["age"].fillna(-1).tolist() == [85, 35, -1, -1]
    assert cases["sex"].fillna("none").tolist() == ["Male", "Female", "none", "none"]
    assert tables.series["modality"].eq("CT").all()
    assert tables.series["file"].isna().tolist() == [False, False, False, True]
    assert tables.series["file"][0] == str(tmp_path / "stoic2021" / "data" / "mha" / "0.mha")
    assert tables.notes == (
        "1 patients have no image file here; get them from https://registry.opendata.aws/stoic2021-training/",
    )


def test_files_that_are_no_images_or_nobodys_are_counted(tmp_path: Path) -> None:
    cohort = write(tmp_path, "PatientID,probCOVID,probSevere\n0,1,1\n1,1,1\n2,1,1\n")
    write_image(tmp_path, "stray", "PatientAge = 035Y")
    for patient, content in (("0", b""), ("1", b"<html>a page</html>\n"), ("2", b"NDims = 3\n" * 10_000)):
        (tmp_path / "stoic2021" / "data" / "mha" / f"{patient}.mha").write_bytes(content)
    tables = cohort.read()
    assert tables.notes == (
        "1 image files belong to no patient of the table",
        "3 image files have no MetaImage header",
    )
    assert tables.cases["age"].isna().all()


def test_all_bad_rows_are_told_at_once(tmp_path: Path) -> None:
    cohort = write(tmp_path, "PatientID,probCOVID,probSevere\n0,maybe,1\n0,1,0.5\n,1,0\n")
    with pytest.raises(TableError) as error:
        cohort.read()
    text = str(error.value)
    assert "reference.csv: probCOVID must be True, False or empty; 1 row does not (row 2: 'maybe')" in text
    assert "probSevere must be True, False or empty; 1 row does not (row 3: '0.5')" in text
    assert "PatientID must not be empty; 1 row does not (row 4" in text
    assert "2 rows share their PatientID with another" in text


def test_absent_or_other_files_are_refused_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder .*stoic2021; get it from https://registry.opendata.aws"):
        Stoic2021Cohort(data_dir=str(tmp_path)).read()
    cohort = write(tmp_path, "id,label\n1,2\n")
    with pytest.raises(TableError, match=r"no column PatientID, probCOVID, probSevere \(it has 2 columns\)"):
        cohort.read()
    (tmp_path / "stoic2021" / "metadata" / "reference.csv").unlink()
    with pytest.raises(TableError, match=r"^no .*reference.csv; get it again from https://registry.opendata.aws"):
        cohort.read()
