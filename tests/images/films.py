"""Small films as DICOM data sets, and what reading their bytes gives."""

from io import BytesIO

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from midrc_ml.images.files import ImageError, Member
from midrc_ml.images.radiograph import Radiograph, read_radiograph

STORED = np.array([[0, 1, 2], [100, 4094, 4095]], np.uint16)


def film(pixels: np.ndarray, *, bits: int = 0, photometric: str = "MONOCHROME2", **fields: object) -> Dataset:
    """A small DX data set around `pixels`, uncompressed; `fields` are added or, where None, removed."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.PatientName, data.PatientID = "Doe^Jane", "MRN-0815"
    data.InstanceNumber = 3
    data.Rows, data.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = photometric
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in fields.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    return data


def as_bytes(data: Dataset) -> bytes:
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def read(data: Dataset) -> Radiograph:
    return read_radiograph(Member("film.dcm", as_bytes(data)))


def reason(content: bytes, name: str = "film.dcm") -> str:
    with pytest.raises(ImageError) as caught:
        read_radiograph(Member(name, content))
    return str(caught.value)


def read_or_reason(content: bytes, name: str = "film.dcm") -> Radiograph | str:
    """What comes of any bytes: a film or a reason; every other exception fails the test."""
    try:
        return read_radiograph(Member(name, content))
    except ImageError as error:
        return str(error)
