"""A CT's values and grids: HU, gaps, mixed spacing, tilt, exact means, linear interpolation, box, lungs."""

import numpy as np
import pytest
from ct_slices import FLAT, STEP, chest, places, ramp, reason, series, slice_at, smooth, smooth_slice, volume
from pydicom.dataset import Dataset

from midrc_ml.images.ct_resample import boxed, lungs_centre, resampled


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 2000, shape).astype(np.int16)


def overlaps(length: int, spacing: float, wanted: float) -> np.ndarray:
    """(new, old): the share of each new voxel that each old one covers, by the definition of an area mean."""
    count = round(length * spacing / wanted)
    lows, highs = np.arange(count)[:, None] * wanted, np.arange(1, count + 1)[:, None] * wanted
    old = np.arange(length) * spacing
    shared = np.clip(np.minimum(highs, old + spacing) - np.maximum(lows, old), 0, None)
    return shared / shared.sum(axis=1, keepdims=True)


def test_shrinking_by_whole_numbers_gives_the_mean_of_each_block() -> None:
    hu = noise((12, 24, 40))
    means = hu.astype(float).reshape(4, 3, 6, 4, 8, 5).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(resampled(hu, (1.0, 0.5, 0.8), (3.0, 2.0, 4.0)), means, atol=1e-2)


@pytest.mark.parametrize("spacing", [(1.0, 0.7, 0.7), (2.5, 0.93, 0.66), (4.0, 1.0, 3.9)])
def test_shrinking_by_any_factor_weighs_each_voxel_by_its_share(spacing: tuple[float, float, float]) -> None:
    hu, wanted = noise((17, 43, 38)), (4.0, 4.0, 4.0)
    axes = [overlaps(length, old, new) for length, old, new in zip(hu.shape, spacing, wanted, strict=True)]
    expected = np.einsum("az,by,cx,zyx->abc", *axes, hu, optimize=True)
    found = resampled(hu, spacing, wanted)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-2)  # sums of float32 of up to 2000


def test_growing_is_linear_between_the_middles_of_voxels_and_constant_beyond() -> None:
    hu = noise((5, 6, 7))
    new = resampled(hu, (3.0, 2.0, 2.5), (1.0, 0.8, 1.0))
    expected: np.ndarray = hu.astype(float)
    for axis, (length, old, wanted) in enumerate(((5, 3.0, 1.0), (6, 2.0, 0.8), (7, 2.5, 1.0))):
        at = (np.arange(round(length * old / wanted)) + 0.5) * wanted / old - 0.5
        expected = np.apply_along_axis(lambda line, at=at: np.interp(at, np.arange(len(line)), line), axis, expected)
    assert new.shape == expected.shape
    np.testing.assert_allclose(new, expected, atol=0.05)


def test_thick_slices_grow_while_fine_pixels_shrink() -> None:
    hu = noise((4, 20, 24))
    new = resampled(hu, (6.0, 0.5, 0.5), (3.0, 2.0, 2.0))
    means = hu.astype(float).reshape(4, 5, 4, 6, 4).mean(axis=(2, 4))
    at = (np.arange(8) + 0.5) / 2 - 0.5
    expected = np.apply_along_axis(lambda line: np.interp(at, np.arange(4), line), 0, means)
    np.testing.assert_allclose(new, expected, atol=1e-2)


def test_one_axis_of_a_slice_may_grow_while_the_other_shrinks() -> None:
    hu = noise((2, 12, 5))
    new = resampled(hu, (1.0, 1.0, 4.0), (1.0, 3.0, 2.0))
    means = hu.astype(float).reshape(2, 4, 3, 5).mean(axis=2)
    at = (np.arange(10) + 0.5) / 2 - 0.5
    expected = np.apply_along_axis(lambda line: np.interp(at, np.arange(5), line), 2, means)
    np.testing.assert_allclose(new, expected, atol=1e-2)


def test_the_same_spacing_leaves_the_values_as_they_are() -> None:
    hu = noise((5, 6, 7))
    assert np.array_equal(resampled(hu, (2.0, 0.7, 0.7), (2.0, 0.7, 0.7)), hu)


def test_an_axis_never_shrinks_to_nothing() -> None:
    hu = noise((3, 4, 5))
    found = resampled(hu, (0.5, 0.5, 0.5), (40.0, 40.0, 40.0))
    assert found.shape == (1, 1, 1)
    assert found.item() == pytest.approx(hu.mean(), abs=1e-2)


def test_what_is_finer_than_the_new_voxels_is_averaged_and_not_picked() -> None:
    stripes = np.zeros((8, 64, 64), np.int16)
    stripes[:, :, ::2] = 1000
    found = resampled(stripes, (1.0, 1.0, 1.0), (4.0, 4.0, 4.0))
    np.testing.assert_allclose(found, 500, atol=1e-3)


@pytest.mark.parametrize("wanted", [(2.0, 1.1, 1.3), (6.0, 4.0, 3.5)])
def test_simpleitk_gives_the_same_volume_of_a_smooth_function(wanted: tuple[float, float, float]) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (extra: test)")
    shape, spacing = (30, 40, 44), (3.0, 2.0, 1.7)
    grids = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    values = smooth(np.stack(grids[::-1], axis=-1)).astype(np.float32)
    found = resampled(values, spacing, wanted)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing[::-1])
    # The first voxel's edge is at -s / 2, so its new middle at (t - s) / 2.
    origin = [(new - old) / 2 for new, old in zip(wanted, spacing, strict=True)]
    new = sitk.Resample(
        image,
        found.shape[::-1],
        sitk.Transform(),
        sitk.sitkLinear,
        origin[::-1],
        wanted[::-1],
        (1, 0, 0, 0, 1, 0, 0, 0, 1),
    )
    theirs = sitk.GetArrayFromImage(new)
    inside = np.s_[1:-1, 1:-1, 1:-1]
    if max(new / old for new, old in zip(wanted, spacing, strict=True)) < 1:
        np.testing.assert_allclose(found[inside], theirs[inside], atol=0.05)  # the same definition; float32
        return
    # A mean over t differs from the value in the middle by up to t2 / 24 times the second derivative, 100 (2 pi / p)2
    # for each period p of `smooth`; linear interpolation of theirs by up to s2 / 8 times it; summed over the axes.
    bound = sum(
        100 * (2 * np.pi / period) ** 2 * (new**2 / 24 + old**2 / 8)
        for period, new, old in zip((90, 75, 60), wanted, spacing, strict=True)
    )
    assert bound < 4
    assert np.abs(found[inside] - theirs[inside]).max() < bound


def test_a_box_is_cut_around_its_centre_and_padded_with_air() -> None:
    volume = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    cut = boxed(volume, (2, 3, 2), (2.0, 2.5, 3.0))
    assert np.array_equal(cut, volume[1:3, 1:4, 2:4])
    padded = boxed(volume, (8, 5, 6), (2.0, 2.5, 3.0))
    assert np.array_equal(padded[2:6], volume)
    assert (padded[:2] == -1024).all()
    assert (padded[6:] == -1024).all()
    shifted = boxed(volume, (4, 5, 6), (4.0, 2.5, 3.0))
    assert np.array_equal(shifted[:2], volume[2:])
    assert (shifted[2:] == -1024).all()
    assert (boxed(volume, (2, 2, 2), (40.0, 2.0, 2.0)) == -1024).all()


def test_the_lungs_centre_is_that_of_the_enclosed_air() -> None:
    hu = chest()  # 40 x 48 x 48 voxels, the lungs symmetric about the middle
    assert lungs_centre(hu, (5.0, 8.0, 8.0)) == pytest.approx((20, 24, 24), abs=0.01)
    # With 60 slices of abdomen below, and a bubble of gas in it, the lungs stay where they are.
    belly = np.repeat(hu[:1], 60, axis=0)
    belly[30, 20:22, 20:22] = -1000
    found = lungs_centre(np.concatenate([belly, hu]), (5.0, 8.0, 8.0))
    assert found is not None
    assert found == pytest.approx((80, 24, 24), abs=0.2)


def test_a_volume_without_lungs_has_no_lungs_centre() -> None:
    hu = chest()
    assert lungs_centre(hu[:3], (5.0, 8.0, 8.0)) is None
    assert lungs_centre(hu, (2.5, 4.0, 4.0)) is None  # the same of an eighth of the size: a third of a litre
    assert lungs_centre(np.full((4, 8, 8), -1000.0), (5.0, 8.0, 8.0)) is None


def test_each_slice_has_its_own_rescale() -> None:
    slices = series(ramp(3))
    slices[1].RescaleSlope, slices[1].RescaleIntercept = "0.5", "-500"  # stored: -850 + 1024 = 174
    assert volume(slices).hu[:, 0, 0].tolist() == [-900, 174 * 0.5 - 500, -800]


def test_values_are_clipped_to_air_and_to_int16() -> None:
    slices = series(ramp(2))
    for data in slices:
        data.PixelData = np.resize(np.array([0, 1, 60_000, 65_535], np.uint16), (4, 6)).tobytes()
        data.RescaleIntercept = -2000
    assert volume(slices).hu[0, 0, :4].tolist() == [-1024, -1024, 32_767, 32_767]


@pytest.mark.parametrize(("slope", "intercept"), [(1, -3000), (1, 500), (0.25, -1000.5)])
@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
def test_hu_are_slope_times_stored_plus_intercept_for_every_kind_of_stored_value(
    kind: type, slope: float, intercept: float
) -> None:
    limits = np.iinfo(kind)
    stored = np.linspace(limits.min, limits.max, 24).astype(np.int64).clip(limits.min, limits.max).astype(kind)
    slices = [
        slice_at(FLAT, (0, 0, z), z + 1, RescaleSlope=slope, RescaleIntercept=intercept, BitsStored=limits.bits)
        for z in range(2)
    ]
    for data in slices:
        data.BitsAllocated, data.HighBit = limits.bits, limits.bits - 1
        data.PixelRepresentation, data.PixelData = int(limits.min < 0), stored.tobytes()
    expected = [min(max(round(int(value) * slope + intercept), -1024), 32_767) for value in stored]
    if min(expected) > -200:
        assert "not HU" in reason(slices)
    else:
        assert volume(slices).hu[0].ravel().tolist() == expected


def test_padding_becomes_air() -> None:
    slices = series(ramp(2))
    for data in slices:
        pixels = data.pixel_array.copy()
        pixels[0, :3] = [4000, 4001, 4002]
        data.PixelData = pixels.tobytes()
        data.add_new("PixelPaddingValue", "US", 4000)
        data.add_new("PixelPaddingRangeLimit", "US", 4001)
    assert volume(slices).hu[0, 0, :4].tolist() == [-1024, -1024, 4002 - 1024, -900]


def test_padding_below_air_is_air() -> None:
    slices = series(ramp(2))
    for data in slices:
        signed = data.pixel_array.astype(np.int16)
        signed[0, 0] = -2000
        data.PixelRepresentation, data.PixelData = 1, signed.tobytes()
        data.add_new("PixelPaddingValue", "SS", -2000)
    assert volume(slices).hu[0, 0, :2].tolist() == [-1024, -900]


def test_missing_slices_are_interpolated_and_counted() -> None:
    slices = series(ramp(24), spacing=(2.0, 1, 1))
    found = volume([data for number, data in enumerate(slices) if number not in (5, 6)])
    assert np.array_equal(found.hu, ramp(24))
    assert (found.num_filled, found.spacing[0]) == (2, 2.0)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (range(5, 10), "slices are missing, or too far apart (more than 10 mm)"),
        ((3, 7, 11, 15), "slices are missing, more than can be filled"),
    ],
)
def test_more_missing_slices_than_the_limits_are_refused(missing: tuple[int, ...], words: str) -> None:
    slices = series(ramp(20), spacing=(2.0, 1, 1))
    if words.endswith("filled"):
        missing = (3, 4, *missing)
    assert reason([data for number, data in enumerate(slices) if number not in missing]) == words


def test_mixed_spacing_is_interpolated_at_the_true_positions() -> None:
    # 3 and 5 mm apart, a ramp of 10 HU a mm: every even slice must have the value of its own place.
    heights = np.cumsum([0, *[3] * 6, *[5] * 6])
    found = volume([slice_at(FLAT + 10 * z, (0, 0, z), number) for number, z in enumerate(heights.tolist())])
    assert found.mixed_steps
    z = found.origin[2] + found.spacing[0] * np.arange(len(found.hu))
    assert (z[0], z[-1]) == (0, 48)
    np.testing.assert_allclose(found.hu[:, 0, 0], -1000 + 10 * z, atol=0.5)


def test_spacing_that_is_too_mixed_is_refused() -> None:
    heights = [0, 1, 2, 5.7, 9, 10, 11.3]
    slices = [slice_at(FLAT, (0, 0, z), number) for number, z in enumerate(heights)]
    assert reason(slices) == "slices are of mixed spacing, or missing"


def test_positions_written_with_one_decimal_are_even() -> None:
    heights = [round(0.625 * number, 1) for number in range(20)]
    found = volume([slice_at(FLAT + number, (0, 0, z), number) for number, z in enumerate(heights)])
    assert found.hu[:, 0, 0].tolist() == [-1000 + number for number in range(20)]
    assert found.spacing[0] == pytest.approx(0.625, abs=0.003)
    assert not found.mixed_steps


def tilted(degrees: float, count: int = 6) -> list[Dataset]:
    """Slices of a gantry tilted about x, whose corners follow the table (z)."""
    angle = np.radians(degrees)
    cosines = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle)))
    return [smooth_slice((-20, -30, 10 + STEP * number), number, cosines) for number in range(count)]


@pytest.mark.parametrize("degrees", [-25, 12, 30])
def test_a_gantry_tilt_is_corrected(degrees: float) -> None:
    slices = tilted(degrees)
    found = volume(slices)
    assert found.tilt_degrees == pytest.approx(abs(degrees), abs=1e-3)
    assert found.spacing[0] == pytest.approx(STEP * np.cos(np.radians(degrees)), abs=1e-4)
    expected = smooth(places(found))
    inside = np.s_[:, 10:-10, 1:-1]  # where no slice has its border
    # Linear between rows 2 mm apart: h2 / 8 times the second derivatives of `smooth`, 100 (2 pi / 75)2 and
    # 100 (2 pi / 90)2 at the most: 0.6; cv2 takes shifts of 1/32 pixel: 1/64 of 2 mm times slopes of up to 11.4: 0.4;
    # and 0.5 + 0.5 of rounding.
    assert np.abs(found.hu - expected)[inside].max() < 2.0
    assert found.hu.shape[1] == 24 + np.ceil(STEP * np.sin(np.radians(abs(degrees))) * 5 / 2)
    # Without a correction the same slices are wrong by far more.
    shifted = np.stack([data.pixel_array.astype(float) - 1024 for data in slices])
    assert np.abs(shifted - expected[:, : shifted.shape[1]]).max() > 20


def test_a_tilt_of_more_than_30_degrees_is_refused() -> None:
    angle = np.radians(20)
    cosines = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle)))
    slices = [smooth_slice((-20, -30 - 2 * number, 10 + 3 * number), number, cosines) for number in range(4)]
    assert reason(slices) == "a gantry tilt of over 30 degrees"


def test_slices_that_are_not_on_one_line_are_refused() -> None:
    slices = series(ramp())
    slices[5].ImagePositionPatient = [-97, *slices[5].ImagePositionPatient[1:]]
    assert reason(slices) == "slices do not lie on one line"
