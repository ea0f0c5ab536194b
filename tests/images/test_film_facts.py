"""What is told of a file without decoding it, against what was written into it."""

import zipfile
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
from films import film

from midrc_ml.images.film_facts import COLUMNS, film_facts


def _dicom(path: Path) -> bytes:
    data = film(np.zeros((30, 20), np.uint16), bits=12, photometric="MONOCHROME1", ImagerPixelSpacing=[0.2, 0.1])
    data.save_as(path, enforce_file_format=True)
    return path.read_bytes()


def test_dicom_pictures_and_zips_say_what_they_are(tmp_path: Path) -> None:
    content = _dicom(tmp_path / "a.dcm")
    grey = np.zeros((8, 5), np.uint8)
    cv2.imwrite(str(tmp_path / "b.png"), grey)
    cv2.imwrite(str(tmp_path / "c.jpg"), np.zeros((6, 7, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "d.png"), grey.astype(np.uint16))
    (tmp_path / "e.png").write_bytes((tmp_path / "c.jpg").read_bytes())  # a JPEG by another name
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as package:
        package.writestr("one.dcm", content)
        package.writestr("two.dcm", content)
    names = ["a.dcm", "b.png", "c.jpg", "d.png", "e.png", "f.zip"]
    facts = film_facts([str(tmp_path / name) for name in names]).assign(name=names).set_index("name")
    assert list(facts["rows"]) == [30, 8, 6, 8, 6, 30]
    assert list(facts["columns"]) == [20, 5, 7, 5, 7, 20]
    assert list(facts["bits"]) == [12, 8, 8, 16, 8, 12]
    assert list(facts["channels"]) == [1, 1, 3, 1, 3, 1]
    assert list(facts["members"]) == [1, 1, 1, 1, 1, 2]
    assert list(facts["form"][1:5]) == ["PNG", "JPEG", "PNG", "JPEG"]
    assert list(facts["ending"]) == [".dcm", ".png", ".jpg", ".png", ".png", ".zip"]
    assert facts.loc["a.dcm", "photometric"] == "MONOCHROME1"
    assert (facts.loc["f.zip", "row_spacing_mm"], facts.loc["f.zip", "column_spacing_mm"]) == (0.2, 0.1)
    assert list(facts["bytes"]) == [(tmp_path / name).stat().st_size for name in names]


def test_what_is_gone_damaged_or_elsewhere_is_missing_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "cut.dcm").write_bytes(_dicom(tmp_path / "a.dcm")[:180])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04" + bytes(40))
    places = [str(tmp_path / name) for name in ("gone.png", "cut.dcm", "text.png", "cut.zip")]
    facts = film_facts([*places, "s3://bucket/a.dcm", ""])
    assert list(facts.columns) == list(COLUMNS)
    assert facts["rows"].isna().all()
    assert facts.loc[4, "ending"] == ".dcm"
    assert film_facts([]).empty


def test_the_real_files_say_what_pydicom_reads(midrc_ml_data: Path) -> None:
    files = sorted((midrc_ml_data / "dicom").rglob("*.dcm"))[:60]
    facts = film_facts([str(file) for file in files])
    seen = 0
    for file, fact in zip(files, facts.to_dict("records"), strict=True):
        try:
            header = pydicom.dcmread(BytesIO(file.read_bytes()), stop_before_pixels=True)
        except Exception:
            continue
        if header.get("Rows") is not None:
            assert (fact["rows"], fact["columns"]) == (header.Rows, header.Columns)
            assert fact["form"] == str(header.file_meta.TransferSyntaxUID)
            seen += 1
        else:
            assert pd.isna(fact["rows"])
    assert seen > 20
