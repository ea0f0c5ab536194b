"""Headers with one thing left in, and real ones, read again by pydicom alone."""

import csv
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from midrc_ml.audits.privacy.basic_profile import (
    attribute_of,
    basic_profile,
    is_real_date,
    name_form,
)
from midrc_ml.audits.privacy.deidentification import (
    BURN_RISK,
    FACES,
    OLD_AGE,
    PRIVATE,
    HeaderFindings,
    header_findings,
    headers_entry,
)
from midrc_ml.images.files import pattern_of

CLEAN = {
    "PatientName": "SYNTHETIC",
    "PatientID": "419639-000025",
    "PatientBirthDate": "",
    "PatientSex": "F",
    "PatientAge": "061Y",
    "StudyDate": "20200311",
    "PatientIdentityRemoved": "YES",
    "LongitudinalTemporalInformationModified": "MODIFIED",
}


def header(**values: Any) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.Modality, data.Manufacturer = "DX", "maker"
    for keyword, value in (CLEAN | values).items():
        if value is not None:
            setattr(data, keyword, value)
    return data


def written(path: Path, data: Dataset) -> str:
    data.save_as(path, enforce_file_format=True)
    return str(path)


@pytest.fixture
def found(tmp_path: Path) -> Any:
    """The findings of one header for each mapping of values."""

    def of(*headers: dict[str, Any] | Dataset) -> HeaderFindings:
        made = [values if isinstance(values, Dataset) else header(**values) for values in headers]
        return header_findings([written(tmp_path / f"{place}.dcm", data) for place, data in enumerate(made)])

    return of


def judged(findings: HeaderFindings) -> dict[tuple[str, str], int]:
    """{(attribute, level): files} of what is not kept."""
    return {(row["attribute"], row["judged"]): row["files"] for row in findings.attributes if row["judged"] != "kept"}


def test_a_clean_header_passes_and_what_is_kept_on_purpose_is_counted(found: Any) -> None:
    findings = found({}, {})
    entry = headers_entry(findings)
    assert (entry.check, entry.status, entry.value) == ("privacy.headers", "pass", 0.0)
    kept = {row["attribute"]: (row["option"], row["files"]) for row in entry.details}
    assert kept["PatientSex"] == kept["PatientAge"] == ("retain patient characteristics", 2)
    assert kept["StudyDate"] == ("retain longitudinal temporal information", 2)
    assert findings.said == {"PatientIdentityRemoved = YES": 2, "a DeidentificationMethod": 0}
    assert "UIDs are not judged" in entry.evidence


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", "Curie^Marie"),
        ("PatientName", "Curie, Marie"),
        ("PatientID", "Curie^Marie"),
        ("ReferringPhysicianName", "Virchow^Rudolf"),
        ("OperatorsName", "Virchow^Rudolf"),
        ("PatientBirthDate", "19671107"),
        ("OtherPatientIDs", "1234567"),
        ("PatientAddress", "1 rue Pierre"),
        ("PatientTelephoneNumbers", "555 0100"),
        ("MedicalRecordLocator", "A1"),
        ("PatientMotherBirthName", "Boguska"),
        ("AdmissionID", "77"),
        ("BurnedInAnnotation", "YES"),
    ],
)
def test_what_names_a_person_fails(found: Any, keyword: str, value: str) -> None:
    findings = found({keyword: value}, {})
    assert judged(findings) == {(keyword, "fail"): 1}
    entry = headers_entry(findings)
    assert (entry.status, entry.value) == ("fail", 1.0)
    assert f"{keyword} in 1 of 2 files" in entry.evidence
    assert value == "YES" or value not in json.dumps(entry.as_dict())


@pytest.mark.parametrize(
    ("values", "attribute"),
    [
        ({"StudyDescription": "CHEST of somebody"}, "StudyDescription"),
        ({"PatientComments": "a comment"}, "PatientComments"),
        ({"DeviceSerialNumber": "0815"}, "DeviceSerialNumber"),
        ({"InstitutionName": "Hospital"}, "InstitutionName"),
        ({"LongitudinalTemporalInformationModified": None}, "StudyDate"),
        ({"LongitudinalTemporalInformationModified": "REMOVED"}, "StudyDate"),
        ({"PatientAge": "090Y"}, OLD_AGE),
        ({"RecognizableVisualFeatures": "YES"}, FACES),
        ({"Modality": "US"}, BURN_RISK),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, BURN_RISK),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, BURN_RISK),
        ({"ConversionType": "DF"}, BURN_RISK),
    ],
)
def test_what_only_an_option_allows_warns(found: Any, values: dict[str, Any], attribute: str) -> None:
    findings = found(values)
    assert judged(findings) == {(attribute, "warn"): 1}
    assert headers_entry(findings).status == "warn"


@pytest.mark.parametrize(
    "values",
    [
        {"PatientName": "Anonymous^Patient"},
        {"PatientName": "^^^^"},
        {"PatientName": ""},
        {"ReferringPhysicianName": "REMOVED"},
        {"OtherPatientIDs": "NONE"},
        {"PatientBirthDate": "19000101"},
        {"PatientAge": "089Y"},
        {"StudyDate": "", "LongitudinalTemporalInformationModified": None},
        {"StudyTime": "101010", "LongitudinalTemporalInformationModified": None, "StudyDate": None},
        {"Modality": "US", "BurnedInAnnotation": "NO"},
        {"AccessionNumber": "000123"},
    ],
)
def test_dummies_pass(found: Any, values: dict[str, Any]) -> None:
    assert judged(found(values)) == {}


def test_what_may_be_a_dummy_warns_where_the_identity_is_not_said_to_be_removed(found: Any) -> None:
    findings = found({"PatientIdentityRemoved": None, "PatientName": "AB0012", "AccessionNumber": "000123"})
    assert judged(findings) == {(name, "warn"): 1 for name in ("PatientName", "PatientID", "AccessionNumber")}


def test_one_word_as_a_name_is_a_dummy_where_all_files_share_it(found: Any) -> None:
    same, other = {"PatientName": "Curie"}, {"PatientName": "Meitner"}
    unsaid = {"PatientIdentityRemoved": None, "PatientID": ""}
    assert judged(found(same, same)) == {}
    assert judged(found(same, other)) == {("PatientName", "warn"): 2}
    assert judged(found(same | unsaid, same | unsaid)) == {("PatientName", "warn"): 2}
    assert judged(found(same | unsaid, other | unsaid)) == {("PatientName", "fail"): 2}


def test_options_that_the_header_names_are_believed(found: Any) -> None:
    data = header(StudyDescription="CHEST", DeviceSerialNumber="0815", InstitutionName="Hospital", Modality="US")
    items = [Dataset() for _ in range(4)]
    for item, code in zip(items, ("113100", "113105", "113109", "113101"), strict=True):
        item.CodeValue = code
    data.DeidentificationMethodCodeSequence = Items(items)
    findings = found(data)
    assert judged(findings) == {("InstitutionName", "warn"): 1}
    assert findings.said["a DeidentificationMethod"] == 1


def test_private_attributes_are_counted_by_group_and_creator(found: Any) -> None:
    data, safe = header(), header()
    for group, creator in ((0x0009, "VENDOR ONE"), (0x0029, "VENDOR TWO")):
        data.private_block(group, creator, create=True).add_new(0x01, "LO", "something")
    safe.private_block(0x0013, "CTP", create=True).add_new(0x10, "LO", "collection")
    findings = found(data, safe)
    assert (findings.private_files, findings.private_creators, findings.private_groups) == (1, 2, ["0009", "0029"])
    assert [row["tag"] for row in findings.attributes if row["attribute"] == PRIVATE] == ["(0009,xxxx)", "(0029,xxxx)"]
    assert "VENDOR" not in json.dumps(headers_entry(findings).as_dict())


def test_names_within_sequences_are_found(found: Any) -> None:
    item = Dataset()
    item.PatientName = "Curie^Marie"
    data = header()
    data.OriginalAttributesSequence = Items([item])
    assert judged(found(data)) == {("PatientName", "fail"): 1, ("OriginalAttributesSequence", "warn"): 1}


def test_overlays_and_curves_of_any_group_are_found(found: Any) -> None:
    data = header()
    for tag, kind, value in ((0x60023000, "OB", b"\1\1"), (0x60024000, "LT", "seen"), (0x50040010, "US", 1)):
        data.add_new(tag, kind, value)
    assert judged(found(data)) == {(name, "warn"): 1 for name in ("OverlayData", "OverlayComments", "CurveData")}


def test_dates_are_counted_by_what_is_said_of_them(found: Any) -> None:
    how = ("MODIFIED", "MODIFIED", "REMOVED", "UNMODIFIED", None)
    findings = found(*({"LongitudinalTemporalInformationModified": value} for value in how))
    assert findings.dates == {
        "marked as modified": 2,
        "although marked as removed": 1,
        "marked as not modified": 1,
        "with no word on it": 1,
    }


def test_the_first_member_of_a_zip_a_folder_and_a_pattern_is_read(tmp_path: Path) -> None:
    named, clean = header(PatientName="Curie^Marie"), header()
    # Longer than what of a member is unpacked first, so that only the header is read of it.
    for data in (named, clean):
        data.Rows = data.Columns = 1024
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.PixelData = np.random.default_rng(0).integers(0, 256, 1 << 20, dtype=np.uint8).tobytes()
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "0.txt").write_text("no image")
    written(folder / "1.dcm", named)
    written(folder / "2.dcm", clean)
    with zipfile.ZipFile(tmp_path / "series.zip", "w", zipfile.ZIP_DEFLATED) as package:
        for file in sorted(folder.iterdir()):
            package.write(file, file.name)
    places = [str(folder), str(tmp_path / "series.zip"), pattern_of(str(folder), "1", ".dcm")]
    findings = header_findings(places)
    assert (findings.read, findings.failed) == (3, 3)
    assert judged(findings) == {("PatientName", "fail"): 3}


def test_a_header_longer_than_the_part_that_is_unpacked_first_is_read_whole(tmp_path: Path) -> None:
    data = header(PatientName="")
    data.private_block(0x0009, "VENDOR", create=True).add_new(0x01, "OB", b"\7" * 400_000)
    data.PatientAddress = "1 rue Pierre"
    with zipfile.ZipFile(tmp_path / "long.zip", "w") as package:
        package.write(written(tmp_path / "long.dcm", data), "long.dcm")
    assert ("PatientAddress", "fail") in judged(header_findings([str(tmp_path / "long.zip")]))


def test_implicit_headers_are_read_alike(tmp_path: Path) -> None:
    data = header(PatientAddress="1 rue Pierre", ReferringPhysicianName="Virchow^Rudolf")
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert set(judged(header_findings([written(tmp_path / "a.dcm", data)]))) == {
        ("PatientAddress", "fail"),
        ("ReferringPhysicianName", "fail"),
    }


def test_pictures_have_no_headers_and_damage_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 not a ZIP")
    files = [str(tmp_path / name) for name in ("a.png", "b.zip", "absent.dcm")]
    findings = header_findings(files)
    assert (findings.given, findings.read, findings.not_dicom, findings.unreadable) == (3, 0, 1, 2)
    entry = headers_entry(findings)
    assert entry.status == "not_applicable"
    assert "1 of other formats, 2 cannot be read" in entry.evidence


def test_of_many_files_some_are_read_spread_evenly(tmp_path: Path) -> None:
    files = [written(tmp_path / f"{n}.dcm", header(PatientAddress="x1" if n == 5 else None)) for n in range(10)]
    findings = header_findings([*files, files[0]], most=2)
    assert (findings.given, findings.read, findings.failed) == (10, 2, 1)
    assert "8 files were not looked at" in headers_entry(findings).evidence


def test_the_table_is_that_of_the_standard() -> None:
    actions = {row.keyword: row.action for row in basic_profile().values()}
    assert len(actions) == len(basic_profile()) == 655
    assert {actions[name] for name in ("PatientName", "PatientBirthDate", "StudyDate", "PatientSex")} == {"Z"}
    assert {actions[name] for name in ("AccessionNumber", "ReferringPhysicianName", "StudyID")} == {"Z"}
    assert {actions[name] for name in ("InstitutionName", "OperatorsName", "DeviceSerialNumber")} == {"X/Z/D"}
    assert {actions[name] for name in ("PatientAddress", "StudyDescription", "PatientAge", "OverlayData")} == {"X"}
    assert {actions[name] for name in ("StudyInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")} == {"U"}
    assert (actions["PatientID"], actions["SeriesDate"], actions["ContentDate"]) == ("Z/D", "X/D", "Z/D")
    assert set(actions.values()) == {"D", "Z", "X", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*"}
    assert attribute_of(0x00090010) is None
    assert attribute_of(0x00280010) is None


def test_keywords_are_those_of_pydicoms_dictionary() -> None:
    known = [row for row in basic_profile().values() if "x" not in row.tag and dictionary_has_tag(int(row.tag, 16))]
    assert [row.keyword for row in known] == [keyword_for_tag(int(row.tag, 16)) for row in known]
    assert len(known) >= 627  # the others are younger than pydicom 3.0


@pytest.mark.parametrize(
    ("text", "form"),
    [
        *(("", "none"), ("^^^^", "none"), ("----", "none"), ("ANONYMIZED", "dummy"), ("Anonymous^Patient", "dummy")),
        *(("AB-0012", "token"), ("COVID^0012", "token"), ("Curie", "word"), ("Curie^Marie", "person")),
        *(("Marie Curie", "person"), ("Yamada^Tarou=\u5c71\u7530^\u592a\u90ce", "person"), ("TEST^^^^", "dummy")),
    ],
)
def test_names_are_told_by_their_form(text: str, form: str) -> None:
    assert name_form(text) == form


def test_days_that_cannot_have_been_are_no_real_dates() -> None:
    said = ("20200311", "2020.03.11", "20200311101010.5+0100", "", "11111111", "19000101", "20201332", "29990101")
    assert [is_real_date(text) for text in said] == [True, True, True, *[False] * 5]


def test_real_headers_hold_what_pydicom_reads_in_them(midrc_ml_data: Path) -> None:
    with (midrc_ml_data / "dicom" / "manifest.csv").open(encoding="utf-8", newline="") as table:
        files = [midrc_ml_data / "dicom" / row["path"] for row in csv.DictReader(table)]
    findings = header_findings([str(file) for file in files])
    read = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in files:
            try:
                read.append(pydicom.dcmread(file, stop_before_pixels=True))
            except pydicom.errors.InvalidDicomError:
                continue
        named = [str(data.get("PatientName", "")) for data in read]
        born = sum(is_real_date(str(data.get("PatientBirthDate", ""))) for data in read)
        described = sum(bool(str(data.get("StudyDescription", "") or "").strip()) for data in read)
        private = sum(any(item.tag.is_private and item.tag.element > 0xFF for item in data) for data in read)
    of = judged(findings)
    assert (findings.read, findings.not_dicom, findings.unreadable) == (len(read), len(files) - len(read), 0)
    assert of["PatientBirthDate", "fail"] == born
    assert of["StudyDescription", "warn"] == described
    assert findings.private_files <= private
    carets = sum(sum(any(map(str.isalpha, part)) for part in name.split("^")) > 1 for name in named)
    assert carets <= of["PatientName", "fail"] <= carets + 10
    entry = headers_entry(findings)
    assert entry.status == "fail"
    told = json.dumps(entry.as_dict())
    assert not [name for name in named if len(name) > 5 and name in told]
