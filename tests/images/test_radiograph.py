"""One film from its bytes: pixel values by hand, and real files against an independent decoder."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import STORED, as_bytes, film, read, read_or_reason
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from midrc_ml.images.files import Member
from midrc_ml.images.radiograph import read_radiograph

UNDECODED = ("pixels cannot be decoded", "no decoder is installed for ")


def lookup_table(entries: list[int], *, first: int, bits: int) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return Sequence([item])


def test_stored_values_come_out_as_stored_with_rows_first() -> None:
    radiograph = read(film(STORED, bits=12))
    assert radiograph.pixels.dtype == np.uint16
    assert radiograph.values.tolist() == [[0, 1, 2], [100, 4094, 4095]]
    assert (radiograph.sop_uid, radiograph.instance_number, radiograph.window) == ("1.2.3.4", 3, None)


def test_modality_slope_and_intercept_are_applied() -> None:
    radiograph = read(film(STORED, bits=12, RescaleSlope="0.5", RescaleIntercept="-10"))
    assert radiograph.values.dtype == np.float32
    assert radiograph.values.tolist() == [[-10.0, -9.5, -9.0], [40.0, 2037.0, 2037.5]]


def test_modality_lut_sequence_is_applied() -> None:
    table = lookup_table([7, 5, 3], first=0, bits=16)
    assert read(film(STORED, bits=12, ModalityLUTSequence=table)).values.tolist() == [[7, 5, 3], [3, 3, 3]]


def test_signed_pixels_keep_their_sign() -> None:
    signed = np.array([[-1000, -1], [0, 1000]], np.int16)
    assert read(film(signed, bits=12)).values.tolist() == [[-1000.0, -1.0], [0.0, 1000.0]]


def test_signed_monochrome1_is_mirrored_within_its_range() -> None:
    signed = np.array([[-1000, -1], [0, 2000]], np.int16)
    expected = [[2000.0, 1001.0], [1000.0, -1000.0]]  # max + min - value = 1000 - value
    assert read(film(signed, bits=12, photometric="MONOCHROME1")).values.tolist() == expected


def test_monochrome1_is_inverted_within_the_stored_bits() -> None:
    expected = [[4095, 4094, 4093], [3995, 1, 0]]
    assert read(film(STORED, bits=12, photometric="MONOCHROME1")).values.tolist() == expected


def test_presentation_lut_inverse_is_inverted_once() -> None:
    expected = [[4095, 4094, 4093], [3995, 1, 0]]
    assert read(film(STORED, bits=12, PresentationLUTShape="INVERSE")).values.tolist() == expected


def test_monochrome1_with_presentation_lut_inverse_is_inverted_once_and_not_twice() -> None:
    data = film(STORED, bits=12, photometric="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert read(data).values.tolist() == [[4095, 4094, 4093], [3995, 1, 0]]


def test_presentation_lut_identity_changes_nothing() -> None:
    assert read(film(STORED, bits=12, PresentationLUTShape="IDENTITY")).values.tolist() == STORED.tolist()


def test_monochrome1_after_rescale_is_mirrored_within_the_values_range() -> None:
    data = film(np.array([[0, 10, 30]], np.uint16), photometric="MONOCHROME1", RescaleSlope="2", RescaleIntercept="5")
    assert read(data).values.tolist() == [[65.0, 45.0, 5.0]]  # values 5, 25, 65; max + min = 70


def test_voi_lut_sequence_maps_values_after_the_modality_lut() -> None:
    data = film(np.array([[0, 1, 2, 9]], np.uint16), VOILUTSequence=lookup_table([50, 20, 10], first=1, bits=16))
    # 0 and 1 take the first entry, 2 the second, everything beyond the table its last.
    assert read(data).values.tolist() == [[50, 50, 20, 10]]


def test_voi_lut_of_eight_bit_entries_reaches_past_entry_255() -> None:
    ramp = [entry // 4 for entry in range(1024)]
    data = film(np.array([[0, 255, 256, 700, 1023]], np.uint16), VOILUTSequence=lookup_table(ramp, first=0, bits=8))
    assert read(data).values.tolist() == [[0, 63, 64, 175, 255]]


def test_voi_lut_sequence_is_preferred_to_a_window() -> None:
    table = lookup_table([0, 10, 40], first=0, bits=16)
    radiograph = read(film(np.array([[0, 1, 2]], np.uint16), VOILUTSequence=table, WindowCenter="1", WindowWidth="2"))
    assert radiograph.values.tolist() == [[0, 10, 40]]
    assert radiograph.window is None


def test_monochrome1_is_inverted_after_the_voi_lut() -> None:
    table = lookup_table([0, 10, 40], first=0, bits=16)
    data = film(np.array([[0, 1, 2]], np.uint16), photometric="MONOCHROME1", VOILUTSequence=table)
    assert read(data).values.tolist() in ([[40, 30, 0]], [[65535, 65525, 65495]])


def test_an_empty_voi_lut_sequence_counts_as_none() -> None:
    data = film(STORED, bits=12, VOILUTSequence=Sequence([]), WindowCenter="2048", WindowWidth="4096")
    assert read(data).values.tolist() == STORED.tolist()
    assert read(data).window == (0.0, 4095.0)


def test_sigmoid_is_applied_to_the_pixels() -> None:
    data = film(
        np.array([[100, 200, 300]], np.uint16),
        bits=12,
        WindowCenter="200",
        WindowWidth="400",
        VOILUTFunction="SIGMOID",
    )
    # PS3.3 C.11.2.1.3.1: y = 4095 / (1 + exp(-4 (x - 200) / 400))
    expected = [[4095 / (1 + np.e), 2047.5, 4095 / (1 + 1 / np.e)]]
    np.testing.assert_allclose(read(data).pixels, expected, rtol=1e-6)
    assert read(data).window is None


def test_a_linear_window_is_reported_and_leaves_the_pixels_alone() -> None:
    radiograph = read(film(STORED, bits=12, WindowCenter="2048", WindowWidth="4096"))
    assert radiograph.values.tolist() == STORED.tolist()
    assert radiograph.window == (0.0, 4095.0)  # PS3.3 C.11.2.1.2.1: 4096 grey levels, 0 to 4095


def test_an_exact_window_has_its_full_width() -> None:
    data = film(STORED, bits=12, WindowCenter="2048", WindowWidth="4096", VOILUTFunction="LINEAR_EXACT")
    assert read(data).window == (0.0, 4096.0)


def test_of_several_windows_the_first_is_taken() -> None:
    data = film(STORED, bits=12, WindowCenter=["100", "900"], WindowWidth=["51", "7"])
    assert read(data).window == (74.5, 124.5)


def test_the_window_is_mirrored_with_the_pixels() -> None:
    data = film(STORED, bits=12, photometric="MONOCHROME1", WindowCenter="1000", WindowWidth="201")
    assert read(data).window == (4095 - 1099.5, 4095 - 899.5)


@pytest.mark.parametrize(("center", "width"), [("", ""), ("100", ""), ("100", "0"), ("100", "-5")])
def test_a_window_without_a_width_is_no_window(center: str, width: str) -> None:
    assert read(film(STORED, bits=12, WindowCenter=center, WindowWidth=width)).window is None


def test_a_film_without_an_instance_number_has_number_0() -> None:
    assert read(film(STORED, bits=12, InstanceNumber=None)).instance_number == 0


def test_dicom_is_known_by_its_content_and_not_by_its_name() -> None:
    assert read_radiograph(Member("0001", as_bytes(film(STORED, bits=12)))).values.tolist() == STORED.tolist()


def test_rle_gives_the_same_pixels_as_uncompressed() -> None:
    data = film(STORED, bits=12)
    data.compress(RLELossless)
    assert data.file_meta.TransferSyntaxUID == RLELossless
    assert read(data).values.tolist() == STORED.tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_keeps_its_values_rows_and_columns(dtype: type) -> None:
    pixels = np.array([[0, 1, 200], [3, 4, np.iinfo(dtype).max]], dtype)
    radiograph = read_radiograph(Member("film.png", cv2.imencode(".png", pixels)[1].tobytes()))
    assert radiograph.values.tolist() == pixels.tolist()
    assert (radiograph.sop_uid, radiograph.window) == ("", None)


def test_a_jpeg_of_one_grey_is_that_grey() -> None:
    content = cv2.imencode(".jpg", np.full((8, 16), 90, np.uint8))[1].tobytes()
    pixels = read_radiograph(Member("film.jpg", content)).values
    assert pixels.shape == (8, 16)
    np.testing.assert_allclose(pixels, 90, atol=1)


def manifest(folder: Path) -> list[dict[str, str]]:
    with open(folder / "dicom" / "manifest.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_every_real_file_gives_a_radiograph_or_one_short_reason(midrc_ml_data: Path) -> None:
    rows = manifest(midrc_ml_data)
    readable = 0
    for row in rows:
        path = midrc_ml_data / "dicom" / row["path"]
        found = read_or_reason(path.read_bytes(), path.name)
        if isinstance(found, str):
            assert 0 < len(found) < 260, row["path"]
            assert "\n" not in found, row["path"]
            assert "force=True" not in found, row["path"]
            single_film = row["photometric"].startswith("MONOCHROME") and row["frames"] == "1"
            assert not single_film or found.startswith(UNDECODED), row["path"]
            continue
        readable += 1
        assert found.pixels.shape == (int(row["rows"]), int(row["cols"])), row["path"]
        assert found.pixels.dtype in (np.uint16, np.int16, np.float32), row["path"]
        assert np.isfinite(found.values).all(), row["path"]
        assert row["photometric"] in ("MONOCHROME1", "MONOCHROME2"), row["path"]
        assert row["frames"] == "1", row["path"]
    assert len(rows) == 125
    assert readable >= 40


def test_the_lossless_and_uncompressed_forms_of_a_real_film_are_equal(midrc_ml_data: Path) -> None:
    folder = midrc_ml_data / "dicom" / "nema_wg04"
    plain, rle, jpeg2000 = (
        read_radiograph(Member("x.dcm", (folder / f"CT1_{form}.dcm").read_bytes())).pixels
        for form in ("UNC", "RLE", "J2KR")
    )
    assert np.array_equal(plain, rle)
    assert np.array_equal(plain, jpeg2000)


@pytest.mark.parametrize("picture", [np.uint8, np.uint16, np.float32])
def test_a_tiff_keeps_its_values_rows_and_columns(picture: type) -> None:
    pixels = np.array([[0, 1, 200], [3, 4, 255]], picture)
    radiograph = read_radiograph(Member("film.tif", cv2.imencode(".tif", pixels)[1].tobytes()))
    assert radiograph.values.tolist() == pixels.tolist()


def test_a_tiff_of_several_pages_is_refused(tmp_path: Path) -> None:
    page = np.zeros((4, 4), np.uint8)
    cv2.imwritemulti(str(tmp_path / "two.tif"), [page, page])
    found = read_or_reason((tmp_path / "two.tif").read_bytes(), "two.tif")
    assert found == "a TIFF file of several pages; a radiograph has one"


def test_padding_becomes_as_dark_as_the_darkest_pixel_of_the_film() -> None:
    stored = np.array([[0, 100, 200], [0, 300, 50]], np.uint16)
    assert read(film(stored, bits=12, PixelPaddingValue=0)).values.tolist() == [[50, 100, 200], [50, 300, 50]]
    # Low is bright: 4095 - 300 is the darkest.
    inverse = read(film(stored, bits=12, photometric="MONOCHROME1", PixelPaddingValue=0))
    assert inverse.values.tolist() == [[3795, 3995, 3895], [3795, 3795, 4045]]


def test_padding_may_be_a_range_and_may_be_negative() -> None:
    stored = np.array([[-2000, -1990, 5], [10, 7, 6]], np.int16)
    fields = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1980}
    assert read(film(stored, **fields)).values.tolist() == [[5, 5, 5], [10, 7, 6]]


def test_a_film_of_padding_alone_is_left_as_it_is() -> None:
    assert read(film(np.zeros((2, 2), np.uint16), PixelPaddingValue=0)).values.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("relationship", "sign", "photometric", "brightest"),
    [
        ("LIN", 1, "MONOCHROME2", 0),  # few X-rays = dense, whatever the photometric interpretation says
        ("LIN", 1, "MONOCHROME1", 0),
        ("LIN", -1, "MONOCHROME2", 3),
        ("LOG", 1, "MONOCHROME2", 0),
        ("LOG", None, "MONOCHROME1", 0),
        ("LOG", None, "MONOCHROME2", 3),
    ],
)
def test_a_film_for_processing_becomes_densities(
    relationship: str, sign: int | None, photometric: str, brightest: int
) -> None:
    fields: dict[str, object] = {
        "PresentationIntentType": "FOR PROCESSING",
        "PixelIntensityRelationship": relationship,
    }
    if sign is not None:
        fields["PixelIntensityRelationshipSign"] = sign
    radiograph = read(film(np.array([[10, 20, 40, 80]], np.uint16), bits=12, photometric=photometric, **fields))
    assert radiograph.unprocessed
    values = radiograph.values[0]
    assert values.argmax() == brightest
    if relationship == "LIN":  # logarithm of the intensity above the least
        assert np.abs(values) == pytest.approx(np.log([1, 11, 31, 71]), rel=1e-6)
    else:
        assert np.abs(np.diff(values)).tolist() == [10, 20, 40]


def test_slope_and_intercept_go_together() -> None:
    words = read_or_reason(as_bytes(film(STORED, bits=12, RescaleSlope="2")))
    assert words == "not a readable DICOM file (one of RescaleSlope and RescaleIntercept without the other)"
