"""PNG and TIFF files: which value is white, and how large they may be."""

import struct
import zlib

import numpy as np
import pytest
from films import as_bytes, film, read, reason
from pydicom.dataset import Dataset

from midrc_ml.images.files import Member
from midrc_ml.images.radiograph import read_radiograph


def tiff(pixels: np.ndarray, *, photometric: int, order: str = "<") -> bytes:
    """TIFF 6.0, one uncompressed strip."""
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    bits, kind = pixels.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    rows, columns = pixels.shape
    tags = [(256, columns), (257, rows), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, rows)]
    tags += [(279, len(data)), (339, kind)]
    directory = struct.pack(f"{order}H", len(tags))
    for tag, value in tags:
        directory += struct.pack(f"{order}HHLL", tag, 4, 1, value)
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}L", 8 + len(data)) + data + directory + struct.pack(f"{order}L", 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_may_be_zero_or_the_highest_value(dtype: type, order: str) -> None:
    pixels = np.arange(64, dtype=dtype).reshape(8, 8) * 3
    top = np.iinfo(dtype).max
    for photometric, expected in ((1, pixels), (0, top - pixels)):
        found = read_radiograph(Member("film.tif", tiff(pixels, photometric=photometric, order=order)))
        assert (found.pixels * found.scale).tolist() == expected.tolist()


def test_white_as_zero_of_fractions_is_refused() -> None:
    content = tiff(np.ones((8, 8), np.float32), photometric=0)
    assert reason(content, "film.tif") == (
        "a TIFF file where 0 is white, of another type than 8 or 16 bits; save it with 0 as black"
    )


def png_of(rows: int, columns: int) -> bytes:
    head = struct.pack(">LLBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">L", len(head)) + chunk + struct.pack(">L", zlib.crc32(chunk))


def test_a_picture_of_more_pixels_than_an_image_has_is_refused_before_it_is_decoded() -> None:
    words = "more pixels than are read (256 Mi), by its header"
    assert reason(png_of(30_000, 30_000), "film.png") == words
    assert reason(b"\xff\xd8\xff\xc0\0\x0b\x08" + struct.pack(">HHB", 60_000, 60_000, 1), "film.jpg") == words


def for_processing(pixels: np.ndarray, **fields: object) -> np.ndarray:
    data = film(pixels, PresentationIntentType="FOR PROCESSING", PixelIntensityRelationship="LIN", **fields)  # type: ignore[arg-type]
    data.PixelIntensityRelationshipSign = 1
    if "PixelPaddingValue" in data:
        data["PixelPaddingValue"].VR = "SS"
    found = read(data)
    return found.pixels * found.scale + found.offset


def test_padding_does_not_bend_the_curve_of_a_film_for_processing() -> None:
    pixels = np.arange(100, 3100, 10, dtype=np.int16).reshape(10, 30)
    padded = np.concatenate([np.full((2, 30), -2000, np.int16), pixels])
    assert np.allclose(for_processing(padded, PixelPaddingValue=-2000)[2:], for_processing(pixels))


def test_padding_of_unsigned_pixels_may_be_written_with_a_sign() -> None:
    pixels = np.array([[63_536, 100], [200, 300]], np.uint16)
    data = film(pixels, PixelPaddingValue=-2000)
    data["PixelPaddingValue"].VR = "SS"
    assert read(data).pixels.tolist() == [[100, 100], [200, 300]]


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_modality_lut_of_any_number_of_bits_is_looked_up(bits: int) -> None:
    data = film(np.array([[0, 1], [2, 3]], np.uint16))
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4, 0, bits], [7, 1000, 5, 900]
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    table.ModalityLUTType = "US"
    data.ModalityLUTSequence = [table]
    assert read(data).pixels.tolist() == [[7, 1000], [5, 900]]


@pytest.mark.parametrize("name", ["DOE'S J", "DOE J"])
def test_no_value_of_a_header_is_in_a_reason(name: str) -> None:
    content = as_bytes(film(np.zeros((8, 8), np.uint16), InstanceNumber=11_111_111))
    padded = name.encode().ljust(8)
    said = reason(content.replace(b"IS\x08\x0011111111", b"IS\x08\x00" + padded))
    assert said == "not a readable DICOM file (invalid literal for int() with base 10)"


def test_an_empty_high_bit_is_that_of_the_stored_bits() -> None:
    data = film(np.array([[0, 4095]], np.uint16), bits=12)
    data.HighBit = None
    assert read(data).pixels.tolist() == [[0, 4095]]
