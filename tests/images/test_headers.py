"""What the headers of files say: the same as pydicom reads, from real, odd and damaged ones."""

import random
import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from films import STORED, as_bytes, film
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from midrc_ml.images.dicom_head import CutError, OddError, read_head
from midrc_ml.images.headers import scan_headers

KEYWORDS = {
    "sop_uid": "SOPInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "study_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "sop_class": "SOPClassUID",
    "modality": "Modality",
    "view": "ViewPosition",
    "body_part": "BodyPartExamined",
    "manufacturer": "Manufacturer",
    "manufacturer_model": "ManufacturerModelName",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "rows": "Rows",
    "columns": "Columns",
    "instance_number": "InstanceNumber",
}
NUMBERS = ("rows", "columns", "instance_number")


def as_number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def as_pydicom_says(content: bytes) -> dict[str, object] | None:
    """The values by column, None where pydicom refuses the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
        except InvalidDicomError:
            return None
        values = {column: data.get(keyword) for column, keyword in KEYWORDS.items()}
    values["transfer_syntax"] = data.file_meta.get("TransferSyntaxUID")
    said: dict[str, object] = {}
    for column, value in values.items():
        if column in NUMBERS:
            said[column] = as_number(value)
        else:
            texts = [] if value is None else [value] if isinstance(value, str) else value
            said[column] = "\\".join(str(text).strip(" \0\t\r\n") for text in texts) or None
    return said


def read(path: Path) -> dict[str, object]:
    (row,) = scan_headers([path], cache_dir=None).to_dict("records")
    return {name: None if pd.isna(value) else value for name, value in row.items()}


def dx(**fields: object) -> Dataset:
    """A film with what a header scan asks for."""
    given = {
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.1",
        "Modality": "DX",
        "ViewPosition": "AP",
        "BodyPartExamined": "CHEST",
        "Manufacturer": "ACME",
        "ManufacturerModelName": "Rays 2",
        "StudyDescription": "XR CHEST 1 VIEW",
        "SeriesDescription": "AP",
    }
    return film(STORED, **{**given, **fields})


def code() -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "399348003", "antero-posterior"
    return item


def write(path: Path, data: Dataset) -> Path:
    path.write_bytes(as_bytes(data))
    return path


def test_a_header_gives_these_values(tmp_path: Path) -> None:
    assert read(write(tmp_path / "film.dcm", dx())) == {
        "file": str(tmp_path / "film.dcm"),
        "sop_uid": "1.2.3.4",
        "series_uid": "1.2.3.1",
        "study_uid": "1.2.3",
        "patient_id": "MRN-0815",
        "sop_class": "1.2.840.10008.5.1.4.1.1.1.1",
        "modality": "DX",
        "view": "AP",
        "body_part": "CHEST",
        "manufacturer": "ACME",
        "manufacturer_model": "Rays 2",
        "study_description": "XR CHEST 1 VIEW",
        "series_description": "AP",
        "rows": 2.0,
        "columns": 3.0,
        "instance_number": 3.0,
        "transfer_syntax": "1.2.840.10008.1.2.1",
        "instances": 1.0,
        "num_series": 1.0,
        "reason": None,
    }


def test_every_real_file_is_read_as_pydicom_reads_it(midrc_ml_data: Path) -> None:
    files = [midrc_ml_data / "dicom" / path for path in pd.read_csv(midrc_ml_data / "dicom" / "manifest.csv")["path"]]
    table = scan_headers(files, cache_dir=None).astype(object)
    assert table["file"].tolist() == list(map(str, files))
    num_without_pydicom = 0
    for file, row in zip(files, table.where(table.notna(), None).to_dict("records"), strict=True):
        content = file.read_bytes()
        said = as_pydicom_says(content)
        if said is None:
            assert row["reason"] == "not a DICOM file"
            continue
        assert {name: row[name] for name in said} == said, file.name
        assert row["reason"] is None
        try:
            read_head(content, complete=True)
            num_without_pydicom += 1
        except OddError:
            continue
    assert len(files) == 125
    assert num_without_pydicom > 80  # the fast way is not left out of this


ODD: dict[str, dict[str, object]] = {
    "implicit": {},
    "big endian": {},
    "a private block": {},
    "a sequence of undefined length": {"ViewCodeSequence": Sequence([code(), code()])},
    "no instance number": {"InstanceNumber": None},
    "an empty instance number": {"InstanceNumber": ""},
    "several views": {"ViewPosition": ["AP", "PA"]},
    "spaces and an empty text": {"Manufacturer": " ACME  ", "StudyDescription": ""},
    "letters beyond ASCII": {"SpecificCharacterSet": "ISO_IR 100", "SeriesDescription": "Thorax übersicht"},
    "UTF-8": {"SpecificCharacterSet": "ISO_IR 192", "SeriesDescription": "胸部"},
}


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("kind", ODD)
def test_odd_headers_are_read_as_pydicom_reads_them(tmp_path: Path, kind: str) -> None:
    data = dx(**ODD[kind])
    if kind == "a sequence of undefined length":
        data["ViewCodeSequence"].is_undefined_length = True
        data.ViewCodeSequence[1].is_undefined_length_sequence_item = True
    if kind == "implicit":
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    if kind == "big endian":
        data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    if kind == "a private block":
        block = data.private_block(0x0009, "ACME PRIVATE", create=True)
        block.add_new(0x01, "UN", b"\x00" * 70_001)
        block.add_new(0x02, "SQ", Sequence([code()]))
    path = write(tmp_path / "film.dcm", data)
    said = as_pydicom_says(path.read_bytes())
    assert said is not None
    assert said["series_uid"] == "1.2.3.1"
    row = read(path)
    assert {name: row[name] for name in said} == said


def test_plain_headers_are_read_without_pydicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dx(ViewCodeSequence=Sequence([code()]), InstanceNumber="")
    data["ViewCodeSequence"].is_undefined_length = True
    path = write(tmp_path / "film.dcm", data)
    monkeypatch.setattr(pydicom, "dcmread", lambda *_, **__: pytest.fail("read by pydicom"))
    assert read(path)["rows"] == 2.0


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_changed_bytes_give_what_pydicom_says_or_are_left_to_it() -> None:
    whole = as_bytes(dx(ViewCodeSequence=Sequence([code()])))
    rng = random.Random(0)
    same = 0
    for _ in range(1000):
        content = bytearray(whole)
        content[rng.randrange(140, len(whole) - 40)] = rng.choice([0, 255, rng.randrange(256)])
        try:
            syntax, values = read_head(bytes(content), complete=True)
        except OddError:
            continue
        said = as_pydicom_says(bytes(content))
        assert said is not None
        for column, keyword in KEYWORDS.items():
            ours = values.get(keyword)
            assert said[column] == (as_number(ours) if column in NUMBERS else ours)
        assert said["transfer_syntax"] == syntax
        same += 1
    assert same > 200


def test_every_cut_of_a_header_asks_for_more_or_gives_the_whole_of_what_is_wanted() -> None:
    data = dx(ViewCodeSequence=Sequence([code()]))
    data["ViewCodeSequence"].is_undefined_length = True
    whole = as_bytes(data)
    last = whole.index(b"\x28\x00\x11\x00US") + 8 + 2  # the end of Columns
    for length in range(132, len(whole)):
        if length < last + 8:  # the element after it is not there in full
            with pytest.raises((CutError, OddError)):
                read_head(whole[:length], complete=False)
        else:
            assert read_head(whole[:length], complete=False) == read_head(whole, complete=True)
        if length < last:
            with pytest.raises(OddError):
                read_head(whole[:length], complete=True)


def test_a_file_that_cannot_be_read_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "page.dcm").write_bytes(b"<html>" + bytes(200))
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04")
    whole = as_bytes(dx())
    (tmp_path / "cut.dcm").write_bytes(whole[:160])
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as package:
        package.writestr("notes.txt", "no film")
    with zipfile.ZipFile(tmp_path / "forged.zip", "w") as package:
        package.writestr("../film.dcm", whole)
    names = ["empty.dcm", "page.dcm", "cut.zip", "text.zip", "forged.zip", "absent.dcm"]
    table = scan_headers([tmp_path / name for name in names], cache_dir=None)
    assert table["reason"].tolist() == [
        "an empty file",
        "not a DICOM file",
        "a damaged ZIP, or one of a kind that is not read here; download it again",
        "the ZIP holds no DICOM file",
        "the ZIP holds a member whose name points outside of it",
        "cannot be read (No such file or directory)",
    ]
    assert table["series_uid"].isna().all()
    assert read(tmp_path / "cut.dcm")["series_uid"] is None


def test_of_a_zip_the_first_dicom_file_is_read_and_the_files_are_counted(tmp_path: Path) -> None:
    for path in (tmp_path / "series.zip", tmp_path / "0a1b2c3d-0000-4000-8000-000000000001"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
            package.writestr("0/LICENSE", "free")
            package.writestr("1/b.dcm", as_bytes(dx(SeriesDescription="later")))
            package.writestr("1/a.dcm", as_bytes(dx(SeriesDescription="Gerät", SpecificCharacterSet="ISO_IR 100")))
        row = read(path)
        assert (row["series_description"], row["instances"], row["num_series"]) == ("Gerät", 3.0, 1.0)


def test_the_series_in_a_zip_are_counted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as package:
        for number, uid in enumerate(("1.2.3.1", "1.2.3.2", "1.2.3.1")):
            package.writestr(f"{number}.dcm", as_bytes(dx(SeriesInstanceUID=uid)))
    row = read(tmp_path / "all.zip")
    assert (row["series_uid"], row["instances"], row["num_series"]) == ("1.2.3.1", 3.0, 2.0)
