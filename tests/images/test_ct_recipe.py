"""One CT volume to the network's input: box, windows, key."""

from pathlib import Path

import numpy as np
import pytest
from ct_slices import chest, members_of, series
from omegaconf import OmegaConf

from midrc_ml.config import instantiated
from midrc_ml.errors import InputError
from midrc_ml.images.ct_recipe import CtRecipe
from midrc_ml.images.ct_series import CtVolume
from midrc_ml.images.files import ImageError


def of(hu: np.ndarray, spacing: tuple[float, float, float] = (4.0, 4.0, 4.0)) -> CtVolume:
    return CtVolume(hu.astype(np.int16), spacing, (0, 0, 0), np.eye(3)[::-1], series_uid="1.2", sop_uid="1.2.3")


def small(**settings: object) -> CtRecipe:
    return CtRecipe(**{"size": 8, "center": "volume", "min_extent_mm": 0, **settings})  # type: ignore[arg-type]


def levels(values: list[int]) -> CtVolume:
    """Eight slices, of one value each."""
    return of(np.broadcast_to(np.array(values)[:, None, None], (8, 8, 8)))


def test_the_lung_window_goes_from_minus_1350_to_150() -> None:
    found = small().apply(levels([-1024, -1000, -600, -599, 0, 150, 151, 3000]))
    # (value + 1350) * 255 / 1500, to the nearest: 55.42, 59.5, 127.5, 127.67, 229.5
    assert found[0, :, 3, 3].tolist() == [55, 60, 128, 128, 230, 255, 255, 255]
    assert (found.shape, found.dtype) == ((1, 8, 8, 8), np.uint8)


def test_each_window_is_a_channel() -> None:
    recipe = small(windows=["mediastinal", "bone", "0/1000"])
    assert recipe.record_shape == (3, 8, 8, 8)
    found = recipe.apply(levels([-500, -125, 50, 225, 400, 500, 1300, 2000]))
    # mediastinal -125 to 225, bone -500 to 1300, and -500 to 500
    assert found[0, :, 0, 0].tolist() == [0, 0, 128, 255, 255, 255, 255, 255]
    assert found[1, :, 0, 0].tolist() == [0, 53, 78, 103, 128, 142, 255, 255]
    assert found[2, :, 0, 0].tolist() == [0, 96, 140, 185, 230, 255, 255, 255]


def test_the_window_comes_after_the_resample() -> None:
    stripes = np.full((8, 16, 16), -3000)
    stripes[:, :, ::2] = 1000  # a mean of -1000, which is 60; windowed first, 0 and 255 have a mean of 127.5
    stripes[:, :2] = 0
    found = small().apply(of(stripes, (4.0, 2.0, 2.0)))
    assert (found[0, :, 0] == 230).all()
    assert (found[0, :, 1:] == 60).all()


def test_outside_of_the_volume_is_air() -> None:
    found = small(size=[8, 12, 8]).apply(levels([0, 100, 0, 0, 0, 0, 0, 0]))
    assert (found[0, :, [0, 1, 10, 11]] == 55).all()
    assert (found[0, 0, 2:10] == 230).all()


def test_the_box_is_centred_on_the_lungs_of_a_long_scan() -> None:
    hu = chest()
    long = np.concatenate([np.repeat(hu[:1], 80, axis=0), hu])
    settings = {"size": [40, 48, 48], "spacing_mm": [5, 8, 8]}
    of_chest = CtRecipe(**settings).apply(of(hu, (5.0, 8.0, 8.0)))  # type: ignore[arg-type]
    of_long = CtRecipe(**settings).apply(of(long, (5.0, 8.0, 8.0)))  # type: ignore[arg-type]
    assert np.array_equal(of_long, of_chest)
    of_middle = CtRecipe(**settings, center="volume").apply(of(long, (5.0, 8.0, 8.0)))  # type: ignore[arg-type]
    assert (of_middle == of_chest[:, :1]).all()  # abdomen only


def test_without_lungs_the_box_is_centred_on_the_volume() -> None:
    hu = np.full((30, 8, 8), 0)
    hu[14] = 100
    found = small(center="lungs").apply(of(hu))
    assert found[0, :, 0, 0].argmax() == 3  # slices 11 to 18


def test_a_short_series_is_refused() -> None:
    volume = of(chest()[:20], (4.9, 8.0, 8.0))
    with pytest.raises(ImageError, match="cover less than 100 mm from feet to head"):
        CtRecipe().apply(volume)
    assert CtRecipe(min_extent_mm=98).apply(volume).shape == (1, 96, 96, 96)


def test_a_volume_without_contrast_is_refused() -> None:
    with pytest.raises(ImageError, match="without contrast"):
        small(windows=["mediastinal"]).apply(levels([-1000] * 4 + [-500] * 4))


def test_a_series_is_read_with_its_origin_and_the_files_left_out() -> None:
    slices = series(chest(), spacing=(5.0, 8.0, 8.0))
    slices[3].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    record = CtRecipe().read(iter(members_of(slices)))
    assert record.pixels.shape == (1, 96, 96, 96)
    assert (record.series_uid, record.sop_uid) == ("1.2.3.5", "1.2.3.4.1")
    assert record.left_out == {"a localizer": 1}
    assert (record.syntax, record.decoder) == ("1.2.840.10008.1.2.1", "numpy")


def test_the_same_recipe_has_the_same_key_and_every_changed_setting_another() -> None:
    assert (
        CtRecipe().key == CtRecipe(size=[96, 96, 96], spacing_mm=(4, 4.0, 4), windows=["lung"], min_extent_mm=100).key
    )
    changed = [
        CtRecipe(size=64),
        CtRecipe(size=[64, 96, 96]),
        CtRecipe(spacing_mm=3.5),
        CtRecipe(spacing_mm=[5, 4, 4]),
        CtRecipe(windows=["bone"]),
        CtRecipe(windows=["lung", "-600/1500"]),
        CtRecipe(center="volume"),
        CtRecipe(planes="any"),
        CtRecipe(min_extent_mm=0),
    ]
    keys = {recipe.key for recipe in (CtRecipe(), *changed)}
    assert len(keys) == 10
    assert all("/" not in key for key in keys)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 7}, "images.size is 7; it must be whole numbers from 8 to 1024: one, or a list of three"),
        ({"size": 96.0}, "images.size is 96.0"),
        ({"size": [96, 96]}, r"images.size is \[96, 96\]"),
        ({"spacing_mm": 0}, "images.spacing_mm is 0; it must be numbers from 0.1 to 50"),
        ({"spacing_mm": float("nan")}, "images.spacing_mm is nan"),
        ({"windows": "lung"}, r"images.windows is 'lung'; give a list"),
        ({"windows": []}, r"images.windows is \[\]"),
        ({"windows": ["soft"]}, "images.windows holds 'soft'; it must be lung, mediastinal, bone or a level"),
        ({"windows": ["40/0"]}, "images.windows holds '40/0'"),
        ({"windows": [40]}, "images.windows holds 40"),
        ({"center": "heart"}, "images.center is 'heart'; it must be lungs or volume"),
        ({"planes": "coronal"}, "images.planes is 'coronal'; it must be axial or any"),
        ({"min_extent_mm": -1}, "images.min_extent_mm is -1; it must be a number of at least 0"),
        ({"min_extent_mm": "far"}, "images.min_extent_mm is 'far'"),
        ({"size": 1024}, "takes more than 256 MiB a series"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        CtRecipe(**settings)


def test_the_shipped_config_is_the_default_recipe(checkout: Path) -> None:
    config = OmegaConf.create({"images": OmegaConf.load(checkout / "configs" / "images" / "ct_96.yaml")})
    recipe = instantiated(config)["images"]
    assert recipe == CtRecipe(windows=["lung"])
    assert recipe.key == CtRecipe().key
