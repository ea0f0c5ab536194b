"""Series on disk, laid out as downloads, unpacking and users leave them."""

import zipfile
from io import BytesIO
from pathlib import Path

import pandas as pd
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from midrc_ml.cohorts.midrc_images import SeriesFiles
from midrc_ml.images.files import members


def dicom(series: str, sop: str, *, number: int = 1, case: str = "100-1") -> bytes:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = sop
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{series}.0", series
    data.PatientID, data.Modality, data.ViewPosition, data.SeriesDescription = case, "DX", "AP", "Chest"
    data.Manufacturer, data.ManufacturerModelName = "ACME", "Rays"
    data.InstanceNumber, data.Rows, data.Columns = number, 2, 2
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def put(path: Path, content: bytes = b"") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def put_zip(path: Path, series: str, *sops: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as package:
        for sop in sops:
            package.writestr(f"{series}/{sop}.dcm", dicom(series, sop))
    return str(path)


def rows(*names: str, **other: list[str]) -> pd.DataFrame:
    """One row a series, as a node export gives them."""
    table = {
        "series_uid": list(names),
        "study_uid": [f"{name}.0" for name in names],
        "case_id": ["100-1"] * len(names),
        "file_name": [f"100-1/{name}.0/{name}.zip" for name in names],
        "object_id": [None] * len(names),
        "md5sum": [None] * len(names),
    }
    return pd.DataFrame({**table, **other}, dtype="str")


def files(found: SeriesFiles) -> list[str | None]:
    return [None if pd.isna(file) else str(file) for file in found.files]


def sops_of(file: str) -> list[str]:
    return sorted(member.name for member in members(file))
