"""One film to the network's input: resample, window, key."""

import numpy as np
import pytest
from films import as_bytes
from films import film as dicom

from midrc_ml.errors import InputError
from midrc_ml.images import radiograph
from midrc_ml.images.files import ImageError, Member
from midrc_ml.images.radiograph import Radiograph
from midrc_ml.images.recipe import Recipe, percentiles


def film(pixels: np.ndarray, window: tuple[float, float] | None = None) -> Radiograph:
    return Radiograph(pixels, sop_uid="", instance_number=0, window=window)


def ramp(low: float, high: float, size: int = 32) -> np.ndarray:
    """Every column one value, from `low` to `high`."""
    return np.broadcast_to(np.linspace(low, high, size, dtype=np.float32), (size, size)).copy()


def test_the_resample_is_the_mean_of_each_block() -> None:
    rng = np.random.default_rng(0)
    pixels = (rng.random((96, 160)) * 1000).astype(np.float32)
    means = pixels.reshape(32, 3, 32, 5).mean(axis=(1, 3))
    found = Recipe(size=32, window="header").apply(film(pixels, window=(0.0, 1000.0)))
    expected = np.floor(means * 255 / 1000 + 0.5)
    assert np.abs(found - expected).max() <= 1  # float32 sums may fall on the other side of a half
    assert (found == expected).mean() > 0.99


def test_a_pixel_between_two_blocks_counts_for_both_by_its_share() -> None:
    pixels = np.zeros((48, 48), np.float32)
    pixels[:, 1] = 90.0  # 48 to 32 columns: each block is 1.5 wide, column 1 lies half in block 0, half in block 1
    found = Recipe(size=32, window="header").apply(film(pixels, window=(0.0, 255.0)))
    assert found[0, :3].tolist() == [30, 30, 0]


def test_means_of_small_values_are_not_rounded_before_the_window() -> None:
    pixels = np.zeros((64, 64), np.float32)
    pixels[::2, ::2] = 1  # blocks of four with a mean of 0.25 ...
    pixels[:, 24:48:2] = 1  # ... of 0.5 ...
    pixels[:, 48:] = 1  # ... and of 1
    found = Recipe(size=32).apply(film(pixels))
    assert found[0, [0, 12, 24]].tolist() == [0, 85, 255]


def test_rows_stay_rows_and_columns_stay_columns() -> None:
    pixels = np.zeros((64, 128), np.uint16)
    pixels[:8] = 1000  # a bright band along the top
    found = Recipe(size=32).apply(film(pixels))
    assert found.shape == (32, 32)
    assert (found[:4] == 255).all()
    assert (found[4:] == 0).all()


def test_the_percentile_window_goes_from_the_1st_to_the_99th_percentile() -> None:
    values = np.arange(1024, dtype=np.float32).reshape(32, 32)
    found = Recipe(size=32).apply(film(values))
    low, high = 10.23, 1012.77  # 1 % and 99 % of the way from 0 to 1023
    assert (found.ravel()[:11] == 0).all()  # up to 10.23 black
    assert found.ravel()[500] == int((500 - low) * 255 / (high - low) + 0.5) == 125
    assert (found.ravel()[1013:] == 255).all()


def test_a_header_window_is_linear_and_clips_outside() -> None:
    found = Recipe(size=32, window="header").apply(film(ramp(-31, 62), window=(0.0, 51.0)))
    expected = [min(255, max(0, int(5 * (-31 + 3 * column) + 0.5))) for column in range(32)]
    assert found[0].tolist() == expected


def test_without_a_window_of_its_own_the_header_recipe_is_the_percentile_recipe() -> None:
    pixels = ramp(0, 500)
    assert np.array_equal(
        Recipe(size=32, window="header").apply(film(pixels)), Recipe(size=32, window="percentile").apply(film(pixels))
    )


def test_the_percentile_recipe_does_not_look_at_the_files_window() -> None:
    pixels = ramp(0, 500)
    assert np.array_equal(Recipe(size=32).apply(film(pixels, window=(0, 10))), Recipe(size=32).apply(film(pixels)))


def test_percentiles_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=(37, 41)), rng.integers(0, 9, (32, 32)), np.array([[5.0]]), np.array([[1.0, 2.0]])):
        found = percentiles(values.astype(np.float32))
        assert found == pytest.approx(np.percentile(values.astype(np.float32), (1, 99)), rel=1e-6)


@pytest.mark.parametrize("top", [32_767, 32_768, 65_535])
def test_values_of_all_16_bits_have_the_means_that_they_have_in_wider_numbers(top: int) -> None:
    pixels = np.random.default_rng(top).integers(0, top, (200, 150), endpoint=True).astype(np.uint16)
    pixels[0, 0] = top
    found = Recipe(size=64).apply(film(pixels)).astype(int)
    assert np.abs(found - Recipe(size=64).apply(film(pixels.astype(np.float32)))).max() <= 1


def test_a_film_with_a_few_bright_pixels_only_still_has_contrast() -> None:
    pixels = np.zeros((32, 32), np.uint16)
    pixels[3, 4] = 7  # below the 99th percentile: the window falls back to the whole range
    found = Recipe(size=32).apply(film(pixels))
    assert found[3, 4] == 255
    assert found.sum() == 255


def test_stretch_and_pad_differ_as_they_say() -> None:
    pixels = np.full((32, 64), 100, np.uint16)
    pixels[0, 0] = 40  # the darkest value, which pads
    stretched = Recipe(size=64, window="header").apply(film(pixels, window=(0, 255)))
    padded = Recipe(size=64, window="header", aspect="pad").apply(film(pixels, window=(0, 255)))
    assert (stretched[2:] == 100).all()
    assert (padded[:16] == 40).all()
    assert (padded[17:48, 1:] == 100).all()
    assert (padded[48:] == 40).all()


@pytest.mark.parametrize("value", [0, 4095])
def test_a_film_without_contrast_is_refused(value: int) -> None:
    with pytest.raises(ImageError, match="without contrast"):
        Recipe(size=32).apply(film(np.full((40, 40), value, np.uint16)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    pixels = ramp(0, 1)
    pixels[5, 5] = value
    with pytest.raises(ImageError, match="not finite"):
        Recipe(size=32).apply(film(pixels))


def test_the_film_itself_is_left_as_it_is() -> None:
    pixels = ramp(0, 500)
    before = pixels.copy()
    Recipe(size=32, aspect="pad").apply(film(pixels))
    assert np.array_equal(pixels, before)


def test_the_same_recipe_has_the_same_key_and_every_changed_setting_another() -> None:
    changed = [Recipe(size=64), Recipe(window="header"), Recipe(aspect="pad")]
    assert Recipe().key == Recipe(size=224, window="percentile", aspect="stretch").key
    assert len({recipe.key for recipe in (Recipe(), *changed)}) == 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 31}, "images.size is 31; it must be 32 to 4096"),
        ({"size": 4097}, "images.size is 4097"),
        ({"window": "wide"}, "images.window is 'wide'; it must be percentile or header"),
        ({"aspect": "crop"}, "images.aspect is 'crop'; it must be stretch or pad"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe(**settings)


def test_a_film_of_one_column_is_padded_when_it_is_small() -> None:
    tall = np.arange(60_000, dtype=np.uint16).reshape(-1, 1)  # as a square it would take 7 GB
    found = Recipe(size=32, aspect="pad").apply(film(tall))
    assert (found[:, 15] > 0).sum() == 31
    assert (np.delete(found, 15, axis=1) == 0).all()


def members(**films: bytes) -> list[Member]:
    return [Member(f"{name}.dcm", content) for name, content in films.items()]


def good(number: int) -> bytes:
    return as_bytes(dicom(ramp(0, 1000).astype(np.uint16), InstanceNumber=number))


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (
            dicom(ramp(0, 1000).astype(np.uint16), InstanceNumber=1, PresentationIntentType="FOR PROCESSING"),
            "a film FOR PROCESSING, not prepared for viewing (images.for_processing=convert reads it)",
        ),
        (
            dicom(np.full((32, 32), 7, np.uint16), InstanceNumber=1),
            "a film without contrast: every pixel has the same value",
        ),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_first_film_that_can_be_used_stands_for_the_series(first: object, why: str, turned: bool) -> None:
    found = members(a=as_bytes(first), b=good(2), c=good(3))  # type: ignore[arg-type]
    record = Recipe(size=32).read(reversed(found) if turned else found)
    assert record.pixels[0, -1] == 255
    assert record.left_out == {why: 1, "another film of the series": 1}


def test_a_window_that_shows_nothing_of_the_film_is_told() -> None:
    with pytest.raises(ImageError, match=r"without contrast in the window of its header \(images.window=percentile"):
        Recipe(size=32, window="header").apply(film(ramp(0, 693), window=(59_950.0, 60_050.0)))


def test_which_film_stands_for_a_series_does_not_hang_on_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = radiograph.Film.read

    def without_a_decoder(self: radiograph.Film) -> Radiograph:
        if self.rank[1] == 1:
            raise ImageError("no decoder for this syntax is installed")
        return read(self)

    monkeypatch.setattr(radiograph.Film, "read", without_a_decoder)
    for found in (members(a=good(1), b=good(2)), members(a=good(2), b=good(1))):
        with pytest.raises(ImageError, match="no decoder for this syntax is installed"):
            Recipe(size=32).read(found)
