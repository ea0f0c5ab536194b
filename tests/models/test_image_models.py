"""Networks of one image: the contract that every model keeps."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from midrc_ml.errors import InputError
from midrc_ml.models.contract import check_contract, check_dimensions
from midrc_ml.models.fusion import fusion
from midrc_ml.models.image import densenet121
from midrc_ml.models.pooling import Halved


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return densenet121(num_outputs=3)


def test_densenet121_keeps_the_contract(network: nn.Module) -> None:
    check_contract(network, num_outputs=3, shapes=[(1, 32, 32)])


def test_densenet121_gives_one_logit_per_output_and_image(network: nn.Module) -> None:
    network.eval()
    with torch.inference_mode():
        output = network(torch.rand(4, 1, 32, 32))
    assert output.shape == (4, 3)


def test_densenet121_has_the_published_number_of_weights() -> None:
    # torchvision's DenseNet-121 has 7,978,856: less its 3-channel first layer and 1000 classes, plus ours.
    first, last = 64 * 7 * 7, 1024 + 1
    expected = 7_978_856 - 3 * first + first - (1024 * 1000 + 1000) + last
    assert sum(weight.numel() for weight in densenet121(num_outputs=1).parameters()) == expected


def test_a_wrong_number_of_outputs_is_refused_in_one_sentence(network: nn.Module) -> None:
    with pytest.raises(InputError) as caught:
        check_contract(network, num_outputs=1, shapes=[(1, 32, 32)])
    assert str(caught.value) == (
        "model: for (2, 1, 32, 32) it gives an output of shape (2, 3); a model must give (2, 1) logits"
    )


def test_a_network_for_films_is_refused_for_volumes_without_being_made() -> None:
    films, volumes = (1, 32, 32), (1, 32, 32, 32)
    flat, deep = partial(densenet121, spatial_dims=2), partial(densenet121, spatial_dims=3)
    for model, shape in ((flat, films), (deep, volumes), (densenet121, films), (partial(fusion, image=deep), volumes)):
        check_dimensions(model, shape)
    for model, shape, words in (
        (
            flat,
            volumes,
            r"model: its spatial_dims is 2, and the images are of 3 dimensions \(32 x 32 x 32\); give",
        ),
        (deep, films, r"model: its spatial_dims is 3, and the images are of 2 dimensions \(32 x 32\)"),
        (densenet121, volumes, r"model: its spatial_dims is 2"),
        (
            partial(fusion, image=flat),
            volumes,
            r"model.image: its spatial_dims is 2, .* give model.image.spatial",
        ),
    ):
        with pytest.raises(InputError, match=words):
            check_dimensions(model, shape)


def test_a_network_that_gives_several_outputs_is_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.layer(table), self.layer(table)

    with pytest.raises(InputError, match=r"for \(2, 4\) it gives a tuple; a model must give \(2, 1\) logits"):
        check_contract(Two(), num_outputs=1, shapes=[(4,)])


def test_a_network_that_returns_maps_is_refused() -> None:
    with pytest.raises(InputError, match=r"output of shape \(2, 1, 32, 32\)"):
        check_contract(nn.Conv2d(1, 1, 1), num_outputs=1, shapes=[(1, 32, 32)])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"in_channels": "abc"}, "model.in_channels is 'abc'; it must be a whole number of at least 1"),
        ({"in_channels": 0}, "model.in_channels is 0; it must be a whole number of at least 1"),
        ({"dropout": 2}, "model.dropout is 2; it must be a number of at least 0 and below 1"),
        ({"dropout": "abc"}, "model.dropout is 'abc'; it must be a number"),
    ],
)
def test_settings_of_densenet121_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        densenet121(num_outputs=1, **wrong)


def of_another_size() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 1))


def of_three_channels() -> nn.Module:
    return densenet121(num_outputs=1, in_channels=3)


@pytest.mark.parametrize("made", [of_another_size, of_three_channels])
def test_a_network_of_other_images_is_told_which_ones_it_gets(made: Callable[[], nn.Module]) -> None:
    with pytest.raises(
        InputError, match=r"images \(2, 1, 32, 32\), which are of 1 channel and 32 x 32 pixels \("
    ) as caught:
        check_contract(made(), num_outputs=1, shapes=[(1, 32, 32)])
    assert "\n" not in str(caught.value)


def test_memory_that_runs_out_is_not_blamed_on_the_network() -> None:
    class Large(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        check_contract(Large(1, 1), num_outputs=1, shapes=[(1, 32, 32)])


def test_a_network_for_volumes_takes_volumes_and_no_films() -> None:
    network = densenet121(num_outputs=2, spatial_dims=3)
    check_contract(network, num_outputs=2, shapes=[(1, 32, 32, 32)])
    with pytest.raises(
        InputError, match=r"cannot take images \(2, 1, 32, 32\), which are of 1 channel and 32 x 32 pixels"
    ):
        check_contract(network, num_outputs=2, shapes=[(1, 32, 32)])
    with pytest.raises(InputError, match=r"model.spatial_dims is 4; it must be 2 \(films\) or 3 \(volumes\)"):
        densenet121(num_outputs=1, spatial_dims=4)


def test_volumes_are_halved_as_torch_does_with_a_gradient_that_has_a_deterministic_form() -> None:
    pool = nn.AvgPool3d(2)
    volumes = torch.randn(2, 3, 5, 6, 7, generator=torch.Generator().manual_seed(0), requires_grad=True)
    torch.testing.assert_close(Halved(pool)(volumes), pool(volumes))
    gradients = [torch.autograd.grad((made(volumes) ** 2).sum(), volumes)[0] for made in (pool, Halved(pool))]
    torch.testing.assert_close(*gradients)
    with pytest.raises(ValueError, match="is no AvgPool3d"):
        Halved(nn.AvgPool3d(3))


def test_a_deterministic_network_of_volumes_has_the_same_weights_and_output() -> None:
    torch.manual_seed(0)
    plain = densenet121(num_outputs=1, spatial_dims=3).eval()
    torch.use_deterministic_algorithms(True)
    try:
        torch.manual_seed(0)
        other = densenet121(num_outputs=1, spatial_dims=3).eval()
    finally:
        torch.use_deterministic_algorithms(False)
    assert not any(isinstance(module, nn.AvgPool3d) for module in other.modules())
    assert list(other.state_dict()) == list(plain.state_dict())
    volumes = torch.randn(1, 1, 34, 33, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(other(volumes), plain(volumes))
