"""Bytes that give no film: each is an `ImageError` with its reason, short, without a word about the patient."""

import numpy as np
import pytest
from films import STORED, as_bytes, film, read_or_reason, reason
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from midrc_ml.images.files import Member
from midrc_ml.images.radiograph import read_radiograph

WEB_PAGE = "a web page, not an image (a failed download saved under this name; download it again)"


@pytest.mark.parametrize("name", ["film.dcm", "film.jpg", "film"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>Sign in</html>", b"\n <HTML><body>403</body></HTML>"])
def test_a_web_page_is_called_a_web_page(name: str, page: bytes) -> None:
    assert reason(page, name) == WEB_PAGE


@pytest.mark.parametrize("name", ["film.dcm", "film.png", "film"])
def test_an_empty_file_is_called_empty(name: str) -> None:
    assert reason(b"", name) == "an empty file"


def test_bytes_of_no_kind_are_neither_dicom_nor_a_picture() -> None:
    assert reason(bytes(range(200)), "film.png") == "neither DICOM nor a picture that can be decoded"
    assert reason(bytes(range(120)), "film.dcm").startswith("not a readable DICOM file (")


def test_a_colour_film_is_refused_by_its_photometric_interpretation() -> None:
    data = film(np.zeros((2, 2), np.uint8), photometric="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    data.PixelData = bytes(12)
    assert reason(as_bytes(data)) == (
        "PhotometricInterpretation is RGB; grey values (MONOCHROME1 or MONOCHROME2) are read"
    )


def test_a_film_of_several_frames_is_refused() -> None:
    assert reason(as_bytes(film(np.zeros((3, 2, 2), np.uint16)))) == (
        "a DICOM file of several frames; files of one frame are read"
    )


def test_a_file_without_pixel_data_is_refused() -> None:
    assert reason(as_bytes(film(STORED, PixelData=None))) == (
        "a DICOM file without PixelData (cut off, or not an image)"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"RescaleSlope": "1", "RescaleIntercept": ""},
        {"ModalityLUTSequence": Sequence([Dataset()])},
        {"VOILUTSequence": Sequence([Dataset()])},
        {"Rows": 0},
        {"BitsAllocated": 13},
        {"PixelRepresentation": None},
    ],
)
def test_a_header_that_contradicts_itself_is_an_image_error(fields: dict[str, object]) -> None:
    words = reason(as_bytes(film(STORED, bits=12, **fields)))
    assert words.startswith(("not a readable DICOM file (", "pixels cannot be decoded ("))


def with_value(element: bytes, old: bytes, new: bytes) -> bytes:
    """The film's bytes with the value of one element overwritten, which pydicom would refuse to write."""
    content = as_bytes(film(STORED, bits=12, RescaleSlope="1.5", RescaleIntercept="-1", WindowCenter="40"))
    position = content.index(old, content.index(element))
    assert len(old) == len(new)
    return content[:position] + new + content[position + len(old) :]


@pytest.mark.parametrize(
    ("element", "old", "new"),
    [
        (b"\x28\x00\x53\x10DS", b"1.5", b"x.5"),
        (b"\x28\x00\x52\x10DS", b"-1", b"a1"),
        (b"\x28\x00\x02\x00US", b"US", b"UZ"),
        (b"\x20\x00\x13\x00IS", b"3 ", b"3A"),
    ],
)
def test_a_value_that_is_no_number_is_an_image_error(element: bytes, old: bytes, new: bytes) -> None:
    words = reason(with_value(element, old, new))
    assert words.startswith(("not a readable DICOM file (", "pixels cannot be decoded ("))


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_every_truncation_is_an_image_error_or_the_whole_film(syntax: str) -> None:
    pixels = (np.arange(600, dtype=np.uint16) * 7 % 4096).reshape(20, 30)
    data = film(pixels, bits=12)
    if syntax == RLELossless:
        data.compress(RLELossless)
    else:
        data.file_meta.TransferSyntaxUID = syntax
    content, refused = as_bytes(data), 0
    for length in range(0, len(content), 11):
        found = read_or_reason(content[:length])
        if isinstance(found, str):
            refused += 1
            assert_short_and_silent(found)
        else:
            assert found.pixels.tolist() == pixels.tolist()  # only padding after the pixels was cut
    assert refused > 30


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_changed_bytes_never_raise_anything_but_an_image_error() -> None:
    content = as_bytes(film(STORED, bits=12, WindowCenter="40", WindowWidth="80", RescaleSlope="1.5"))
    refused = 0
    for position in range(128, len(content)):
        for value in (0x00, 0x41, 0xFF):
            found = read_or_reason(content[:position] + bytes([value]) + content[position + 1 :])
            refused += isinstance(found, str)
    assert refused > 100


def test_an_rle_stream_on_which_the_decoder_panics_is_an_image_error(capfd: pytest.CaptureFixture) -> None:
    data = film(np.arange(4096, dtype=np.uint16).reshape(64, 64))
    data.compress(RLELossless)
    data.Rows = 63  # a row fewer than the stream holds
    assert reason(as_bytes(data)) == "pixels cannot be decoded (a damaged RLE stream)"
    assert "panicked" in capfd.readouterr().err  # from Rust: the case is still the one that is meant


def test_a_header_that_claims_too_many_pixels_is_refused_before_memory_is_taken() -> None:
    data = film(STORED, bits=12)
    data.compress(RLELossless)
    data.Rows = data.Columns = 65535
    assert reason(as_bytes(data)) == "more pixels than are read (256 Mi), by its header"
    several = film(np.zeros((2, 4, 4), np.uint16), NumberOfFrames=1 << 28)
    assert reason(as_bytes(several)) == "a DICOM file of several frames; files of one frame are read"


@pytest.mark.parametrize("offset", [8, 12, 40])  # width, height, components of the SIZ segment
def test_a_jpeg_2000_stream_of_another_size_than_the_header_is_refused_before_memory_is_taken(offset: int) -> None:
    data = film((np.arange(4096, dtype=np.uint16)).reshape(64, 64), bits=12)
    data.compress(JPEG2000Lossless)
    content = bytearray(as_bytes(data))
    assert read_radiograph(Member("film.dcm", bytes(content))).pixels[1, 2] == 66
    content[content.index(b"\xff\x4f\xff\x51") + offset] = 0x40
    assert reason(bytes(content)).startswith("pixels cannot be decoded (the stream is not of the size")


def assert_short_and_silent(words: str) -> None:
    """One short sentence without anything of the patient."""
    assert 0 < len(words) < 260
    assert "\n" not in words
    assert ". " not in words
    assert not any(secret in words for secret in ("Doe", "MRN", "1.2.3.4"))


def test_no_reason_repeats_the_patients_name_or_number() -> None:
    for fields in ({"PhotometricInterpretation": "RGB"}, {"Rows": 0}, {"PixelData": None}, {"RescaleIntercept": ""}):
        assert_short_and_silent(reason(as_bytes(film(STORED, RescaleSlope="1", **fields))))


def test_equal_faults_of_different_films_have_equal_reasons() -> None:
    cut = {reason(as_bytes(film(np.zeros((size, size), np.uint16)))[:-200]) for size in (20, 30, 40)}
    no_number = {reason(with_value(b"\x28\x00\x53\x10DS", b"1.5", bad)) for bad in (b"x.5", b"y.6")}
    assert len(cut) == len(no_number) == 1
