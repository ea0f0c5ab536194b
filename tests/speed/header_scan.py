"""Time of a header scan: python tests/speed/header_scan.py [number of files]

Films with headers of 150 elements and 5 sequences and a few pixels, written to a temporary folder and read from the
page cache. The peer is `pydicom.dcmread(stop_before_pixels=True)` on the same files in the same run: where machines
differ, believe the ratio. Prints one line a number; nothing here is an assertion, because a clock is no test.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import DicomDictionary, dictionary_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from midrc_ml.images.headers import COLUMNS, scan_headers

NUM_FILES = 2000
NUM_ELEMENTS, NUM_SEQUENCES = 150, 5
REPEATS = 5
SEQUENCES = (
    "ProcedureCodeSequence",
    "ReferencedStudySequence",
    "AnatomicRegionSequence",
    "ViewCodeSequence",
    "RequestAttributesSequence",
)
VALUES: dict[str, object] = {
    "LO": "some words of a site",
    "SH": "short",
    "CS": "CODE",
    "DS": "1.25",
    "IS": "7",
    "DA": "19600101",
    "TM": "101010",
    "UI": "1.2.826.0.1.3680043.10.474.1",
    "US": 3,
    "ST": "a sentence of a site",
    "FD": 1.5,
}


def film(number: int) -> Dataset:
    """A film with a header as long as that of a real one; standard elements, evenly over the dictionary."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.10.474.{number}.1.1"
    data.StudyInstanceUID = f"1.2.826.0.1.3680043.10.474.{number}"
    data.SeriesInstanceUID = f"1.2.826.0.1.3680043.10.474.{number}.1"
    data.PatientID, data.Modality, data.ViewPosition, data.BodyPartExamined = f"{number:06d}-1", "DX", "AP", "CHEST"
    data.Manufacturer, data.ManufacturerModelName = "ACME", "Rays 2"
    data.StudyDescription, data.SeriesDescription = "XR CHEST 1 VIEW AP", "AP"
    data.InstanceNumber, data.Rows, data.Columns = 1, 64, 64
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    for name in SEQUENCES:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "399348003", "SCT", "antero-posterior"
        setattr(data, name, [item])
    free = [
        tag
        for tag, (representation, multiplicity, _, retired, _) in sorted(DicomDictionary.items())
        if 0x00080000 < tag < 0x00283000 and representation in VALUES and multiplicity == "1" and not retired
        if tag not in data
    ]
    wanted = NUM_ELEMENTS + NUM_SEQUENCES - len(data)
    for tag in np.array(free)[np.linspace(0, len(free) - 1, wanted).astype(int)].tolist():
        setattr(data, dictionary_keyword(tag), VALUES[DicomDictionary[tag][0]])
    assert len(data) == NUM_ELEMENTS + NUM_SEQUENCES
    data.PixelData = np.full((64, 64), number % 4096, np.uint16).tobytes()
    return data


def milliseconds(scan: Callable[[], object], count: int, repeats: int = REPEATS) -> float:
    """The least processor time a file: on a machine with other work, wall time measures that work."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        scan()
        times.append(time.process_time() - started)
    return min(times) / count * 1000


def main() -> None:
    """Print the numbers of this machine."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_FILES
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.dcm") for number in range(count)]
        for number, file in enumerate(files):
            film(number).save_as(file, enforce_file_format=True)
        caches = iter(range(REPEATS + 1))
        keywords = ("SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID", "PatientID", "Modality", "ViewPosition")

        def first() -> object:
            return scan_headers(files, cache_dir=f"{folder}/cache{next(caches)}")

        def again() -> object:
            return scan_headers(files, cache_dir=f"{folder}/cache0")

        def peer() -> object:
            headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
            return [[header[keyword].value for keyword in keywords] for header in headers]

        numbers = {
            "first scan": milliseconds(first, count),
            "second scan, nothing changed": milliseconds(again, count),
            "pydicom.dcmread(stop_before_pixels=True), 6 values": milliseconds(peer, count),
        }
        *_, theirs = numbers.values()
        print(
            f"{count} files of {files[0].stat().st_size} bytes, {NUM_ELEMENTS} elements and {NUM_SEQUENCES} sequences"
        )
        for name, taken in numbers.items():
            print(f"{name}: {taken:.3f} ms a file a core, {theirs / taken:.1f} times as fast as pydicom")
        table = scan_headers(files, cache_dir=None)
        assert list(table.columns) == list(COLUMNS)
        assert table["reason"].isna().all()
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
