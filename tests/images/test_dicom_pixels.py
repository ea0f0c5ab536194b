"""Stored values by PS3.5 8.1, and images that decode without an error but cannot be right."""

import imagecodecs
import numpy as np
import pytest
from films import STORED, as_bytes, film
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)

from midrc_ml.images.dicom_pixels import read_dicom
from midrc_ml.images.files import ImageError


def stored(data: Dataset) -> np.ndarray:
    return read_dicom(as_bytes(data)).stored


def reason(data: Dataset) -> str:
    with pytest.raises(ImageError) as caught:
        stored(data)
    return str(caught.value)


def big_endian(pixels: np.ndarray, **fields: object) -> Dataset:
    data = film(pixels, **fields)  # type: ignore[arg-type]
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    content = pixels.byteswap().tobytes()
    data.PixelData = content + bytes(len(content) % 2)
    return data


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_forms_give_the_same_values(syntax: str) -> None:
    data = film(STORED, bits=12)
    data.file_meta.TransferSyntaxUID = syntax
    image = read_dicom(as_bytes(data))
    assert image.stored.tolist() == STORED.tolist()
    assert (image.decoder, image.syntax) == ("numpy", syntax)


def test_big_endian_values_of_16_bits_are_swapped() -> None:
    found = stored(big_endian(STORED, bits=12))
    assert found.tolist() == STORED.tolist()
    assert found.dtype.isnative


@pytest.mark.parametrize(("form", "content"), [("OW", [2, 1, 4, 3, 6, 5]), ("OB", [1, 2, 3, 4, 5, 6])])
def test_big_endian_values_of_8_bits_are_swapped_in_pairs_where_they_are_words(form: str, content: list[int]) -> None:
    pixels = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    data = film(pixels)
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    data.PixelData = bytes(content)
    data["PixelData"].VR = form
    assert stored(data).tolist() == pixels.tolist()


def test_an_odd_number_of_8_bit_values_has_one_byte_of_padding() -> None:
    pixels = np.array([[1, 2, 3]], np.uint8)
    data = film(pixels)
    data.PixelData = bytes([1, 2, 3, 99])  # what the padding byte holds is nobody's business
    assert stored(data).tolist() == [[1, 2, 3]]


def test_values_of_32_bits_are_read() -> None:
    pixels = np.array([[0, 70_000, 2**32 - 1]], np.uint32)
    assert stored(film(pixels)).tolist() == pixels.tolist()


def signed_film(*patterns: int, bits: int = 12, **fields: object) -> Dataset:
    return film(np.array([patterns], np.uint16), bits=bits, PixelRepresentation=1, **fields)


@pytest.mark.parametrize("minus", [0xF800, 0x0800])
def test_the_sign_is_taken_from_the_highest_stored_bit_with_the_bits_above_extended_or_empty(minus: int) -> None:
    # 12 bits: 0x800 is -2048, 0xFFF is -1.
    assert stored(signed_film(minus, minus + 0x7FF, 0x07FF, 3)).tolist() == [[-2048, -1, 2047, 3]]


def test_the_sign_is_below_an_overlay() -> None:
    data = signed_film(0x1800, 0x0FFF, 0x17FF)
    data.add_new(0x60000102, "US", 12)  # OverlayBitPosition
    assert stored(data).tolist() == [[-2048, -1, 2047]]


@pytest.mark.parametrize("patterns", [(-1000, -5, 3000), (-5, 2048), (1000, 5000)])
def test_signed_values_that_the_header_says_cannot_be_are_refused(patterns: tuple[int, ...]) -> None:
    assert reason(signed_film(*(value % (1 << 16) for value in patterns))) == (
        "pixels cannot be decoded (values above what BitsStored can hold: the header is wrong)"
    )


def test_signed_padding_may_lie_beyond_the_stored_bits() -> None:
    data = signed_film(0x8000, 0xF800, 0x07FF, PixelPaddingValue=-32768)
    data["PixelPaddingValue"].VR = "SS"
    assert stored(data).tolist() == [[-32768, -2048, 2047]]


def test_a_signed_stream_of_fewer_bits_than_the_header_has_its_sign_where_the_header_says() -> None:
    pixels = np.array([[0, 100, 200, 255]], np.uint8)
    data = film(pixels.astype(np.int16), bits=12)
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    data.PixelData = encapsulate([imagecodecs.ljpeg_encode(pixels)])
    data["PixelData"].VR = "OB"
    assert stored(data).tolist() == pixels.tolist()


def test_a_high_bit_above_the_stored_bits_shifts_the_values_down() -> None:
    data = film((STORED << 4).astype(np.uint16), bits=12)
    data.HighBit = 15
    assert stored(data).tolist() == STORED.tolist()


def test_overlays_in_the_unused_bits_are_taken_off() -> None:
    data = film(STORED | np.array([[0x8000, 0, 0], [0, 0x8000, 0]], np.uint16), bits=12)
    data.add_new(0x60000102, "US", 15)  # OverlayBitPosition
    assert stored(data).tolist() == STORED.tolist()


def test_values_that_the_header_says_cannot_be_are_refused() -> None:
    assert reason(film(STORED, bits=10)) == (
        "pixels cannot be decoded (values above what BitsStored can hold: the header is wrong)"
    )


def test_a_padding_value_may_lie_above_the_stored_bits() -> None:
    pixels = np.array([[65535, 1000], [4095, 65535]], np.uint16)
    assert stored(film(pixels, bits=12, PixelPaddingValue=65535)).tolist() == pixels.tolist()


def test_swapped_bytes_are_told_by_their_values() -> None:
    data = film(STORED, bits=12)
    data.PixelData = STORED.byteswap().tobytes()
    assert "values above what BitsStored can hold" in reason(data)


def test_zeros_behind_the_pixels_are_padding_and_anything_else_is_not() -> None:
    data = film(STORED, bits=12)
    data.PixelData = STORED.tobytes() + bytes(12)
    assert stored(data).tolist() == STORED.tolist()
    data.Rows = 1  # a lie: the second row is still there
    assert reason(data) == "pixels cannot be decoded (more bytes than Rows x Columns take)"


def test_too_few_bytes_are_refused() -> None:
    data = film(STORED, bits=12)
    data.Rows = 3
    assert reason(data) == "pixels cannot be decoded (fewer bytes than Rows x Columns take)"


def shaded(rows: int, columns: int) -> np.ndarray:
    y, x = np.mgrid[0:rows, 0:columns]
    noise = np.random.default_rng(0).integers(0, 40, (rows, columns))
    return (2000 + 1500 * np.sin(x / 60) * np.cos(y / 80) + noise).astype(np.uint16)


def test_rows_and_columns_that_are_exchanged_are_told_by_rows_that_do_not_continue_each_other() -> None:
    data = film(shaded(300, 420), bits=12)
    assert stored(data).shape == (300, 420)
    data.Rows, data.Columns = 420, 300
    assert reason(data) == "pixels cannot be decoded (rows do not continue each other: Rows or Columns is wrong)"


def test_noise_and_stripes_are_no_reason_to_refuse_a_film() -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (300, 300), dtype=np.uint16)
    assert stored(film(noise, bits=12)).shape == (300, 300)
    grid = shaded(300, 300) + (np.arange(300) % 2 * 60).astype(np.uint16)[:, None]  # an anti-scatter grid, lengthwise
    assert stored(film(grid.astype(np.uint16), bits=12)).shape == (300, 300)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1)])
def test_the_smallest_images_are_read(shape: tuple[int, int]) -> None:
    assert stored(film(np.full(shape, 7, np.uint16))).tolist() == np.full(shape, 7).tolist()


@pytest.mark.parametrize("name", ["SamplesPerPixel", "Rows", "Columns", "BitsStored", "PixelRepresentation"])
def test_an_element_that_is_needed_is_named(name: str) -> None:
    assert reason(film(STORED, **{name: None})) == f"pixels cannot be decoded (the header has no {name})"


def test_grey_of_several_samples_is_refused() -> None:
    assert "several samples a pixel" in reason(film(STORED, SamplesPerPixel=3))


def test_one_bit_a_pixel_is_refused() -> None:
    data = film(np.zeros((8, 8), np.uint8))
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelData = 1, 1, 0, bytes(8)
    assert reason(data) == "pixels cannot be decoded (BitsAllocated 1 with BitsStored 1)"


def test_a_header_of_30_000_by_30_000_is_refused_before_memory_is_taken() -> None:
    data = film(STORED, bits=12)
    data.Rows = data.Columns = 30_000
    assert reason(data) == "more pixels than are read (256 Mi), by its header"


def test_the_value_is_not_copied() -> None:
    content = as_bytes(film(STORED, bits=12))
    image = read_dicom(content)
    assert np.shares_memory(image.stored, np.frombuffer(content, np.uint8))
