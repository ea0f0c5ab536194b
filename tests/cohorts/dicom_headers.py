"""DICOM files of a header alone, written as pydicom writes them."""

from pathlib import Path

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.10.474.1"


def write_header(path: Path, *, study: int, series: int, patient: str, made_from: bool = False, **fields: str) -> None:
    """A file of series `<ROOT>.<study>.<series>`; fields: DICOM keywords. made_from: names another image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = f"{ROOT}.{study}.{series}.{len(list(path.parent.iterdir()))}"
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID, file.SeriesInstanceUID = f"{ROOT}.{study}", f"{ROOT}.{study}.{series}"
    file.PatientID = patient
    for keyword, value in fields.items():
        setattr(file, keyword, value)
    if made_from:
        source = Dataset()
        source.ReferencedSOPInstanceUID = f"{ROOT}.9"
        file.ReferencedImageSequence = [source]
    file.save_as(path, enforce_file_format=True)
