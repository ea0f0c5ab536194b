"""CT slices to a volume: order, geometry, what is left out and what is refused."""

import csv
import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from ct_slices import (
    AXIAL,
    ENCODERS,
    FLAT,
    STEP,
    chest,
    encoded,
    members_of,
    places,
    ramp,
    reason,
    series,
    slice_at,
    smooth,
    smooth_slice,
    volume,
)
from films import as_bytes
from pydicom import dcmread
from pydicom.dataset import Dataset

from midrc_ml.images import ct_series
from midrc_ml.images.ct_series import read_ct_series
from midrc_ml.images.dicom_pixels import read_dicom
from midrc_ml.images.files import ImageError, Member


def smooth_stack(cosines: tuple[float, ...] = AXIAL, step: float = STEP, count: int = 5) -> list[Dataset]:
    normal = np.cross(cosines[:3], cosines[3:])
    corner = np.array([-20.0, -30.0, 10.0])
    return [smooth_slice((corner + step * number * normal).tolist(), number + 1, cosines) for number in range(count)]


def test_the_order_of_files_and_instance_numbers_do_not_matter() -> None:
    slices = series(ramp())
    straight = volume(slices)
    for seed in range(2):
        rng = random.Random(seed)
        numbers = list(range(1, 9))
        rng.shuffle(numbers)
        for number, data in zip(numbers, slices, strict=True):
            data.InstanceNumber, data.SOPInstanceUID = number, f"1.2.3.4.{number}"
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        shuffled = slices.copy()
        rng.shuffle(shuffled)
        found = volume(shuffled)
        assert np.array_equal(found.hu, straight.hu)
        assert (found.origin, found.spacing) == (straight.origin, straight.spacing)
    assert straight.hu[:, 0, 0].tolist() == [-900 + 50 * number for number in range(8)]


COS, SIN = float(np.cos(np.pi / 18)), float(np.sin(np.pi / 18))
# Named by where the columns and the rows of the file run: to the patient's (L)eft, (P)osterior, (S)uperior or back.
ORIENTATIONS = {
    "on the back": AXIAL,
    "on the belly": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "mirrored": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "on the side": (0.0, 1.0, 0.0, -1.0, 0.0, 0.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "oblique by 10 degrees": (COS, SIN, 0.0, -SIN, COS, 0.0),
}


@pytest.mark.parametrize("cosines", ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
def test_axes_are_the_patients_whatever_the_orientation_and_each_voxel_lies_where_it_says(
    cosines: tuple[float, ...],
) -> None:
    found = volume(smooth_stack(cosines), planes="any")
    assert (found.direction[[0, 1, 2], [2, 1, 0]] > 0.98).all()  # z, y, x: to the head, the back, the left
    assert sorted(found.hu.shape) == [5, 24, 32]
    # Half a HU of rounding, and positions of six decimals.
    assert np.abs(found.hu - smooth(places(found))).max() < 0.51


@pytest.mark.parametrize("name", ["on the back", "on the belly", "sagittal", "oblique by 10 degrees"])
def test_simpleitk_finds_the_same_geometry_and_values(name: str, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (extra: test)")
    slices = smooth_stack(ORIENTATIONS[name])
    for number, data in enumerate(slices):
        (tmp_path / f"{number:02}.dcm").write_bytes(as_bytes(data))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = sitk.DICOMOrient(reader.Execute(), "LPS")
    found = volume(slices, planes="any")
    assert np.array_equal(found.hu, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(found.spacing[::-1], image.GetSpacing(), atol=1e-5)
    np.testing.assert_allclose(found.origin, image.GetOrigin(), atol=1e-5)
    # ITK: columns are the axes x, y, z of the image.
    np.testing.assert_allclose(found.direction[::-1].T.ravel(), image.GetDirection(), atol=1e-6)


@pytest.mark.parametrize("name", ["coronal", "sagittal"])
def test_other_planes_are_refused_unless_asked_for(name: str) -> None:
    assert reason(smooth_stack(ORIENTATIONS[name])) == "not an axial series (images.planes=any turns others)"


def test_a_series_far_from_the_patients_axes_is_refused() -> None:
    turn = np.radians(40)
    cosines = (float(np.cos(turn)), float(np.sin(turn)), 0.0, float(-np.sin(turn)), float(np.cos(turn)), 0.0)
    assert reason(smooth_stack(cosines)) == "oblique by more than 30 degrees"


def test_a_volume_without_air_is_not_in_hu() -> None:
    slices = series(ramp(3))
    for data in slices:
        data.RescaleIntercept = 0  # as stored: 124 and more
    assert reason(slices) == "no air in the volume: its values are not HU"


def test_localizers_secondary_captures_and_damaged_files_are_left_out_and_counted() -> None:
    slices = series(ramp())
    scout = slice_at(FLAT, (0, 0, 500), 90, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    across = slice_at(FLAT, (0, 0, 45), 91, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    capture = slice_at(FLAT, (0, 0, 45), 92, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    found = read_ct_series([*members_of([scout, *slices, across, capture]), Member("notes.txt", b"patient notes")])
    assert np.array_equal(found.hu, ramp())
    assert found.left_out == {
        "a localizer": 1,
        "of another orientation": 1,
        "a secondary capture": 1,
        "not a readable DICOM file": 1,
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ConvolutionKernel": "LUNG"}, "of another reconstruction (ConvolutionKernel or KVP)"),
        ({"KVP": 80}, "of another reconstruction (ConvolutionKernel or KVP)"),
        ({"PixelSpacing": [0.5, 0.5]}, "of another matrix or pixel spacing"),
        ({"SeriesInstanceUID": "1.2.3.999"}, "of another series or frame of reference"),
        ({"AcquisitionNumber": 2}, "of another acquisition, temporal position or slice thickness"),
        ({"SliceThickness": 8}, "of another acquisition, temporal position or slice thickness"),
    ],
)
def test_of_several_stacks_in_one_series_the_one_of_most_slices_is_taken(fields: dict, words: str) -> None:
    slices = series(ramp(4))
    others = [slice_at(FLAT, (-100, -120, 30 + 5 * z), 50 + z, **fields) for z in range(3)]
    found = volume([*others, *slices])
    assert np.array_equal(found.hu, ramp(4))
    assert found.left_out == {words: 3}


def test_of_acquisitions_of_equal_size_the_lowest_number_is_taken() -> None:
    second = series(ramp(4) + 7, AcquisitionNumber=2)
    for number, data in enumerate(second):
        data.SOPInstanceUID = f"1.2.3.3.{number}"
    assert np.array_equal(volume([*second, *series(ramp(4))]).hu, ramp(4))


def test_acquisitions_that_continue_each_other_are_one_volume() -> None:
    slices = series(ramp(4))
    for number, data in enumerate(slices):
        data.AcquisitionNumber = number // 2 + 1
    found = volume(slices)
    assert np.array_equal(found.hu, ramp(4))
    assert not found.left_out


def test_a_duplicate_is_kept_once() -> None:
    slices = series(ramp())
    again = series(ramp())[3:5]
    for number, data in enumerate(again):
        data.SOPInstanceUID = f"1.2.3.4.{70 + number}"
    found = volume([*again, *slices])
    assert np.array_equal(found.hu, ramp())
    assert found.left_out == {"a duplicate": 2}


@pytest.mark.parametrize("number", [2, 3])
def test_of_slices_at_one_position_with_other_pixels_none_is_used(number: int) -> None:
    others = [slice_at(FLAT - 10 * other, (-100, -120, 45), 70 + other) for other in range(1, number)]
    found = volume([*series(ramp()), *others])
    assert np.array_equal(found.hu, ramp())  # of a ramp, what is interpolated is what was there
    assert found.left_out == {"another slice at this position, with other pixels": number}
    assert found.num_filled == 1


def test_an_unreadable_slice_is_a_gap() -> None:
    slices = series(ramp())
    slices[4].PixelData = slices[4].PixelData[:20]
    found = volume(slices)
    assert np.array_equal(found.hu, ramp())
    assert found.left_out == {"pixels cannot be decoded (fewer bytes than Rows x Columns take)": 1}
    assert found.num_filled == 1


def test_a_series_without_any_readable_slice_is_refused_with_their_reason() -> None:
    slices = series(ramp(3))
    for data in slices:
        data.PixelData = data.PixelData[:20]
    assert reason(slices) == "pixels cannot be decoded (fewer bytes than Rows x Columns take)"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Modality": "MR"}, "Modality is not CT"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "a secondary capture"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a secondary capture"),
        ({"NumberOfFrames": 3}, "a DICOM file of several frames; files of one frame are read"),
        ({"ImageOrientationPatient": None}, "no ImageOrientationPatient or ImagePositionPatient"),
        ({"ImagePositionPatient": None}, "no ImageOrientationPatient or ImagePositionPatient"),
        ({"ImagePositionPatient": [1, 2]}, "no ImageOrientationPatient or ImagePositionPatient"),
        ({"PixelSpacing": None}, "no PixelSpacing"),
        ({"PixelSpacing": [0, 1]}, "no PixelSpacing"),
        ({"RescaleSlope": None}, "no rescale to HU"),
        ({"RescaleSlope": 0}, "no rescale to HU"),
        ({"RescaleType": "Z_EFF"}, "no rescale to HU"),
        (
            {"ImageOrientationPatient": [1, 0, 0, 0, 0.5, 0]},
            "ImageOrientationPatient is not two unit vectors at a right angle",
        ),
        (
            {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
            "ImageOrientationPatient is not two unit vectors at a right angle",
        ),
    ],
)
def test_slices_that_cannot_be_placed_or_are_not_hu_are_refused_with_the_reason(fields: dict, words: str) -> None:
    kept = {name: value for name, value in fields.items() if value is not None}
    slices = series(ramp(2), **kept)
    for data in slices:
        for name in fields.keys() - kept.keys():
            delattr(data, name)
    assert reason(slices) == words


@pytest.mark.parametrize("words", ["HU", "Houndsfield Unit", "US"])
def test_every_vendors_word_for_hu_is_taken(words: str) -> None:
    assert np.array_equal(volume(series(ramp(3), RescaleType=words)).hu, ramp(3))


def test_one_slice_is_no_volume() -> None:
    assert reason(series(ramp(1))) == "one slice only; a volume has several"


def test_a_series_without_files_is_refused() -> None:
    with pytest.raises(ImageError, match="no file inside"):
        read_ct_series([])


def test_slices_of_one_place_that_disagree_are_no_volume() -> None:
    slices = [slice_at(FLAT - number, (0, 0, 10), number) for number in range(3)]
    assert reason(slices) == "one slice only; a volume has several"


def test_more_voxels_than_the_limit_are_refused_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = series(ramp(3))
    for data in slices:
        data.Rows = data.Columns = 60_000  # 20 GB
    assert reason(slices) == "the series has more voxels than are read"
    monkeypatch.setattr(ct_series, "MAX_SLICES", 5)
    assert reason(series(ramp(6))).startswith("a series of more than 5 slices")


def test_all_transfer_syntaxes_agree() -> None:
    noise = np.random.default_rng(0).normal(0, 20, (3, 32, 40))
    hu = np.rint(chest((3, 32, 40)) + noise).clip(-1024)
    plain = volume(series(hu))
    assert np.array_equal(plain.hu, hu)
    for syntax in ENCODERS:
        found = volume([encoded(data, syntax) for data in series(hu)])
        assert np.array_equal(found.hu, plain.hu)
        assert found.syntaxes == (syntax,)
    mixed = [encoded(data, syntax) for data, syntax in zip(series(hu), ENCODERS, strict=True)]
    assert np.array_equal(volume(mixed).hu, plain.hu)
    assert len(volume(mixed).syntaxes) == 3


def test_no_reason_holds_a_patients_values() -> None:
    slices = series(ramp(2))
    for spoil in ("Modality", "ImageType", "RescaleType", "ConvolutionKernel"):
        for number, data in enumerate(slices):
            setattr(data, spoil, f"DOE {number}")
        with pytest.raises(ImageError) as caught:
            volume(slices)
        assert "DOE" not in str(caught.value)


def real_slices(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "ny_sbu" / "ct_dicom").glob("*.dcm"))}


def moved(content: bytes, change: Callable[[Dataset], None]) -> bytes:
    data = dcmread(BytesIO(content))
    change(data)
    out = BytesIO()
    data.save_as(out)
    return out.getvalue()


def test_each_of_the_20_real_slices_is_one_slice_of_an_axial_series(midrc_ml_data: Path) -> None:
    slices = real_slices(midrc_ml_data)
    assert len(slices) == 20
    for content in slices.values():
        with pytest.raises(ImageError, match="one slice only"):
            read_ct_series([Member("slice.dcm", content)])


def test_a_real_slice_and_its_copy_further_up_are_a_volume_in_hu(midrc_ml_data: Path) -> None:
    for content in list(real_slices(midrc_ml_data).values())[::4]:

        def up(data: Dataset) -> None:
            data.ImagePositionPatient[2] += 5

        found = read_ct_series([Member("b", moved(content, up)), Member("a", content)])
        image = read_dicom(content)
        expected = image.stored.astype(float) * float(image.header.RescaleSlope) + float(image.header.RescaleIntercept)
        assert np.array_equal(found.hu[0], expected.clip(-1024, 32_767))
        assert found.spacing == pytest.approx((5, *map(float, image.header.PixelSpacing)))
        assert np.percentile(found.hu, 1) < -900  # air
        assert -150 < np.median(found.hu[found.hu > -300]) < 150  # soft tissue


def test_every_real_ct_file_of_every_syntax_is_a_slice_or_has_a_reason(midrc_ml_data: Path) -> None:
    with (midrc_ml_data / "dicom" / "manifest.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["modality"] == "CT"]
    reasons = {}
    for row in rows:
        content = (midrc_ml_data / "dicom" / row["path"]).read_bytes()
        with pytest.raises(ImageError) as caught:
            read_ct_series([Member("slice.dcm", content)])
        reasons[row["path"]] = str(caught.value)
    single = {path for path, words in reasons.items() if words.startswith("one slice only")}
    others = {Path(path).name: words for path, words in reasons.items() if path not in single}
    assert len(single) >= 30, others
