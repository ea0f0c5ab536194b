"""Networks of an image and a clinical table."""

import pickle
from functools import partial
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from midrc_ml.config import register, shipped_folder
from midrc_ml.errors import InputError
from midrc_ml.models.contract import check_contract, network_of
from midrc_ml.models.fusion import fusion
from midrc_ml.models.image import densenet121
from midrc_ml.models.late_fusion import LateFusion


def small_image_network(*, num_outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(8 * 8, num_outputs))


def small(*, table_dropout: float = 0.0, dropout: float = 0.0, **settings: Any) -> LateFusion:
    torch.manual_seed(0)
    network = fusion(
        num_outputs=2,
        num_features=5,
        image=small_image_network,
        image_features=6,
        table_dropout=table_dropout,
        dropout=dropout,
        **settings,
    )
    assert isinstance(network, LateFusion)
    return network


def inputs(count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, 8, 8, generator=generator), torch.rand(count, 5, generator=generator) + 0.1


@pytest.mark.parametrize("hidden", [[], [8, 3]])
def test_fusion_gives_one_logit_per_output_and_study(hidden: list[int]) -> None:
    check_contract(small(hidden=hidden), num_outputs=2, shapes=[(1, 8, 8), (5,)])


@pytest.mark.slow
def test_fusion_takes_a_densenet_as_its_image_network() -> None:
    made = partial(fusion, image=partial(densenet121, spatial_dims=2), image_features=16)
    network = network_of(made, num_outputs=1, shapes=[(1, 32, 32), (5,)])
    check_contract(network, num_outputs=1, shapes=[(1, 32, 32), (5,)])


def test_both_branches_learn() -> None:
    network = small()
    network(*inputs()).sum().backward()
    for branch in (network.image, network.table, network.head):
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in branch.parameters())


def test_both_inputs_change_the_logits() -> None:
    network = small().eval()
    images, table = inputs()
    logits = network(images, table)
    assert not torch.allclose(logits, network(images.flip(0), table))
    assert not torch.allclose(logits, network(images, table.flip(0)))


def test_a_study_of_which_the_table_says_nothing_is_scored_from_its_image() -> None:
    network = small().eval()
    with torch.no_grad():
        network.no_table.uniform_()
    images, table = inputs()
    table[1] = 0
    logits = network(images, table)
    assert torch.isfinite(logits).all()
    joined = torch.cat([network.image(images[1:2]), network.no_table[None]], dim=1)
    assert torch.allclose(logits[1:2], network.head(joined), atol=1e-6)


def test_what_stands_for_no_table_is_learned_from_studies_without_one() -> None:
    network = small()
    images, table = inputs()
    network(images, table).sum().backward()
    assert network.no_table.grad is not None
    assert (network.no_table.grad == 0).all()
    table[0] = 0
    network(images, table).sum().backward()
    assert (network.no_table.grad != 0).any()


def test_whole_tables_are_withheld_in_training_at_the_share_that_is_asked_for() -> None:
    network = small(table_dropout=0.3)
    images, table = inputs(1)
    with torch.no_grad():
        with_table = network.eval()(images, table)
        without = network(images, torch.zeros_like(table))
        logits = network.train()(images.expand(4000, -1, -1, -1), table.expand(4000, -1))
    is_withheld = torch.isclose(logits, without).all(dim=1)
    assert (is_withheld | torch.isclose(logits, with_table).all(dim=1)).all()
    assert 0.26 < is_withheld.float().mean() < 0.34  # five standard errors


def test_no_table_is_withheld_when_scoring() -> None:
    network = small(table_dropout=0.9, dropout=0.9).eval()
    assert torch.equal(network(*inputs()), network(*inputs()))


def test_a_mixed_precision_step_is_finite() -> None:
    network = small(table_dropout=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(*inputs())
    logits.float().sum().backward()
    assert torch.isfinite(logits).all()


def test_a_trained_network_can_be_pickled() -> None:
    network = small().eval()
    again = pickle.loads(pickle.dumps(network))
    assert torch.equal(network(*inputs()), again(*inputs()))


def test_a_run_without_a_table_is_told_that_fusion_needs_one() -> None:
    with pytest.raises(InputError, match=r"it reads a clinical table, and clinical=none gives none"):
        network_of(partial(fusion, image=small_image_network), num_outputs=1, shapes=[(1, 8, 8)])


def test_the_image_network_of_the_shipped_fusion_can_be_chosen() -> None:
    register()
    overrides = ["task=icu", "clinical=bedside", "model=fusion", "model@model.image=densenet121_3d"]
    with initialize_config_dir(str(shipped_folder("configs")), version_base="1.3"):
        config = compose("train", overrides=overrides)
    assert config.model.image.spatial_dims == 3
    assert config.model.image._partial_


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image": None}, r"model.image is None; it must be an image network with _partial_: true"),
        ({"image_features": 0}, r"model.image_features is 0; it must be a whole number of at least 1"),
        ({"table_dropout": 1.0}, r"model.table_dropout is 1.0; it must be a number of at least 0 and below 1"),
        ({"hidden": [0]}, r"model.hidden is \[0\]; it must be a list"),
        ({"image": partial(densenet121, spatial_dims=4)}, r"model.spatial_dims is 4; it must be 2"),
    ],
)
def test_settings_of_fusion_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fusion(**({"num_outputs": 1, "num_features": 3, "image": small_image_network} | wrong))
