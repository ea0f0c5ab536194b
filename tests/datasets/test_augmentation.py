"""Augmentation of whole batches: what each draw does, and that nothing else does anything."""

import math

import pytest
import torch

from midrc_ml.datasets.augmentation import (
    ANGLE,
    BRIGHTNESS,
    CONTRAST,
    CROP,
    CROP_X,
    CROP_Y,
    NOISE,
    NOISE_X,
    NUM_DRAWS,
    SHIFT_X,
    SHIFT_Y,
    ZOOM,
    Augmentation,
)
from midrc_ml.errors import InputError

NOTHING = dict.fromkeys(("rotate_degrees", "shift", "zoom", "brightness", "contrast", "crop", "noise", "mixup"), 0.0)
EVERYTHING = Augmentation(rotate_degrees=20, shift=0.1, zoom=0.2, brightness=0.3, contrast=0.4, crop=0.3, noise=0.2)


def batch(count: int = 5, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(1))


def only(draw: int, value: float = 1.0) -> torch.Tensor:
    draws = torch.zeros(1, NUM_DRAWS)
    draws[0, draw] = value
    return draws


def test_all_settings_at_zero_leave_the_images_alone_whatever_is_drawn() -> None:
    images = batch()
    draws = Augmentation().draws(5, torch.Generator().manual_seed(2))
    torch.testing.assert_close(Augmentation(**NOTHING).apply(images, draws), images, atol=1e-5, rtol=0)


def test_draws_of_zero_leave_the_images_alone_whatever_is_set() -> None:
    images = batch()
    torch.testing.assert_close(Augmentation().apply(images, torch.zeros(5, NUM_DRAWS)), images, atol=1e-5, rtol=0)


def test_draws_lie_within_minus_1_and_1_and_differ_between_studies() -> None:
    draws = Augmentation().draws(1000, torch.Generator().manual_seed(3))
    assert draws.shape == (1000, NUM_DRAWS)
    assert draws.min() >= -1
    assert draws.max() < 1
    assert draws.mean(dim=0).abs().max() < 0.06
    assert len(torch.unique(draws, dim=0)) == 1000


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    first, again, other = (Augmentation().draws(7, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_result_of_a_study_does_not_depend_on_its_batch() -> None:
    images, draws = batch(), Augmentation().draws(5, torch.Generator().manual_seed(6))
    whole = Augmentation().apply(images, draws)
    assert not torch.allclose(whole, images, atol=1e-3)
    for rows in ([0, 1], [4], [3, 0, 2]):
        torch.testing.assert_close(Augmentation().apply(images[rows], draws[rows]), whole[rows], atol=1e-6, rtol=0)


def test_brightness_is_added_and_contrast_multiplied() -> None:
    images = batch(1)
    setting = Augmentation(**NOTHING | {"brightness": 0.2, "contrast": 0.5})
    torch.testing.assert_close(setting.apply(images, only(BRIGHTNESS, -0.5)), images - 0.1, atol=1e-5, rtol=0)
    torch.testing.assert_close(setting.apply(images, only(CONTRAST, 0.5)), images * 1.25, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("draw", "axis"), [(SHIFT_X, -1), (SHIFT_Y, -2)])
def test_a_shift_moves_by_its_fraction_of_the_image(draw: int, axis: int) -> None:
    images = batch(1, size=16)
    moved = Augmentation(**NOTHING | {"shift": 0.25}).apply(images, only(draw))
    inner = moved.narrow(axis, 0, 12)  # a quarter of 16 pixels is 4; the last 4 repeat the border
    torch.testing.assert_close(inner, images.narrow(axis, 4, 12), atol=1e-5, rtol=0)


def test_a_rotation_of_90_degrees_is_a_quarter_turn_without_mirroring() -> None:
    images = batch(1)
    turned = Augmentation(**NOTHING | {"rotate_degrees": 90.0}).apply(images, only(ANGLE))
    quarter = [torch.rot90(images, times, (-2, -1)) for times in (1, 3)]
    assert any(torch.allclose(turned, option, atol=1e-4) for option in quarter)


def test_a_zoom_scales_about_the_centre() -> None:
    column = torch.linspace(-1, 1, 17).view(1, 1, 1, 17).expand(1, 1, 17, 17).contiguous()
    zoomed = Augmentation(**NOTHING | {"zoom": 0.5}).apply(column, only(ZOOM, -1.0))
    torch.testing.assert_close(zoomed, column * 0.5, atol=1e-5, rtol=0)  # half the field of view: half the slope


def test_the_images_given_are_left_as_they_are() -> None:
    images = batch()
    before = images.clone()
    Augmentation().apply(images, Augmentation().draws(5, torch.Generator().manual_seed(7)))
    assert torch.equal(images, before)


def test_the_default_settings_never_turn_by_more_than_they_say() -> None:
    """A straight edge through the middle stays within the angle of 7 degrees and the shift of 5 percent."""
    size = 64
    edge = (torch.arange(size) >= size // 2).float().view(1, 1, 1, size).expand(50, 1, size, size).contiguous()
    setting = Augmentation(brightness=0.0, contrast=0.0)
    found = setting.apply(edge, setting.draws(50, torch.Generator().manual_seed(8)))
    reach = size / 2 * math.tan(math.radians(7)) + (0.05 + 0.02) * size + 2
    middle = int(size // 2)
    assert (found[..., : int(middle - reach)] < 0.5).all()
    assert (found[..., int(middle + reach) + 1 :] > 0.5).all()


@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ("abc", "it must be a number"),
        (None, "it must be a number"),
        (True, "it must be a number"),
        (-1, "it must be at least 0"),
        (math.nan, "it must be a finite number"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(name: str, wrong: object, rule: str) -> None:
    with pytest.raises(InputError) as caught:
        Augmentation(**NOTHING | {name: wrong})
    assert str(caught.value) == f"training.augmentation.{name} is {wrong!r}; {rule}"


def smooth_films(count: int = 6, rows: int = 48, columns: int = 40) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    films = [127 + 100 * torch.sin(x / (7 + n)) * torch.cos(y / (9 + n)) for n in range(count)]
    return torch.stack(films).round().to(torch.uint8).unsqueeze(1)


def test_8_bit_films_are_moved_as_floats_are_to_a_few_grey_levels() -> None:
    """OpenCV rounds to a grey level and to a 32nd of a pixel, over which these films change by at most 0.5."""
    films = smooth_films()
    draws = EVERYTHING.draws(6, torch.Generator().manual_seed(9))
    as_floats = EVERYTHING.apply((films.float() - 127.5) / 64, draws)
    as_bytes = EVERYTHING.apply(films, draws)
    assert as_bytes.dtype == torch.float32
    torch.testing.assert_close(as_bytes, as_floats, atol=1.5 * 1.4 / 64, rtol=0)  # contrast multiplies by up to 1.4


def test_a_crop_shows_a_window_of_the_image_as_large_as_it_says() -> None:
    column = torch.linspace(-1, 1, 33).view(1, 1, 1, 33).expand(1, 1, 33, 33).contiguous()
    setting = Augmentation(**NOTHING | {"crop": 0.5})
    draws = only(CROP)  # the most: half of each side is cut off
    torch.testing.assert_close(setting.apply(column, draws), column * 0.5, atol=0.02, rtol=0)
    draws[0, CROP_X] = 1.0  # the window at the far edge
    draws[0, CROP_Y] = -1.0
    found = setting.apply(column, draws)
    torch.testing.assert_close(found, column * 0.5 + 0.5, atol=0.02, rtol=0)


def test_noise_has_the_spread_it_says_and_is_that_of_the_study_not_of_the_batch() -> None:
    setting = Augmentation(**NOTHING | {"noise": 0.5})
    images = torch.zeros(4, 1, 64, 64)
    draws = setting.draws(4, torch.Generator().manual_seed(1))
    draws[:, NOISE] = torch.tensor([1.0, 1.0, 0.5, 0.0])
    found = setting.apply(images, draws)
    assert found[0].std().item() == pytest.approx(0.5, rel=0.05)
    assert found[2].std().item() == pytest.approx(0.25, rel=0.05)
    assert not found[3].any()
    assert not torch.equal(found[0], found[1])
    torch.testing.assert_close(setting.apply(images[[1]], draws[[1]]), found[[1]], atol=0, rtol=0)
    same = draws.clone()
    same[1, NOISE_X:] = same[0, NOISE_X:]
    again = setting.apply(images, same)
    assert torch.equal(again[0], again[1])


def test_mixtures_have_a_partner_each_and_a_share_of_at_least_a_half() -> None:
    assert Augmentation().mixtures(10, torch.Generator()) is None
    setting = Augmentation(**NOTHING | {"mixup": 0.4})
    found = setting.mixtures(2000, torch.Generator().manual_seed(3))
    assert found is not None
    partner, share = found
    assert sorted(partner.tolist()) == list(range(2000))
    assert share.min() >= 0.5
    assert share.max() <= 1
    # Of Beta(0.4, 0.4), mirrored to its upper half: its mean by 100,000 draws of numpy is 0.8393.
    assert share.mean().item() == pytest.approx(0.8393, abs=0.015)


def test_a_zoom_or_crop_of_the_whole_image_is_refused() -> None:
    for name in ("zoom", "crop"):
        with pytest.raises(InputError, match=f"training.augmentation.{name} is 1.0; it must be below 1"):
            Augmentation(**NOTHING | {name: 1.0})


def test_the_slices_of_a_volume_are_all_moved_alike() -> None:
    films = smooth_films(2)
    volumes = films[:, None].expand(2, 1, 5, 48, 40).contiguous()
    draws = EVERYTHING.draws(2, torch.Generator().manual_seed(4))
    draws[:, NOISE] = 0
    found = EVERYTHING.apply(volumes, draws)
    assert found.shape == (2, 1, 5, 48, 40)
    expected = EVERYTHING.apply(films, draws)
    for number in range(5):
        torch.testing.assert_close(found[:, :, number], expected, atol=0, rtol=0)
