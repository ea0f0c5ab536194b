"""Networks of a clinical table."""

from typing import Any

import pytest
import torch

from midrc_ml.errors import InputError
from midrc_ml.models.clinical import mlp
from midrc_ml.models.contract import check_contract, network_of


@pytest.mark.parametrize("hidden", [[], [8], (64, 32)])
def test_an_mlp_gives_one_logit_per_output_and_study(hidden: Any) -> None:
    network = mlp(num_outputs=3, num_features=7, hidden=hidden)
    check_contract(network, num_outputs=3, shapes=[(7,)])
    assert network(torch.rand(1, 7)).shape == (1, 3)


def test_an_mlp_has_the_weights_of_its_layers() -> None:
    count = sum(weight.numel() for weight in mlp(num_outputs=1, num_features=10, hidden=[4, 3]).parameters())
    assert count == (10 * 4 + 4) + (4 * 3 + 3) + (3 * 1 + 1)


@pytest.mark.parametrize(("hidden", "is_linear"), [([], True), ([8], False)])
def test_an_mlp_is_linear_just_without_hidden_layers(hidden: list[int], is_linear: bool) -> None:
    torch.manual_seed(0)
    network = mlp(num_outputs=2, num_features=3, hidden=hidden, dropout=0.5).eval()
    x, y = torch.randn(2, 5, 3)
    both, none = network(x + y), network(torch.zeros(5, 3))
    assert torch.allclose(both + none, network(x) + network(y), atol=1e-5) == is_linear


def test_the_logits_of_a_study_do_not_depend_on_the_others_of_its_batch() -> None:
    network = mlp(num_outputs=2, num_features=4, dropout=0.0).train()
    x = torch.rand(6, 4)
    assert torch.allclose(network(x)[:1], network(x[:1]), atol=1e-6)


def test_dropout_is_for_training_alone() -> None:
    network = mlp(num_outputs=1, num_features=4, dropout=0.5)
    x = torch.rand(8, 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_a_run_without_a_table_is_told_that_an_mlp_needs_one() -> None:
    with pytest.raises(InputError, match=r"it reads a clinical table, and clinical=none gives none"):
        network_of(mlp, num_outputs=1, shapes=[(1, 32, 32)])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"hidden": 64}, r"model.hidden is 64; it must be a list of whole numbers of at least 1, \[\] for none"),
        ({"hidden": [64, 0]}, r"model.hidden is \[64, 0\]; it must be a list of whole numbers"),
        ({"hidden": "64"}, r"model.hidden is '64'; it must be a list"),
        ({"dropout": 1}, r"model.dropout is 1; it must be a number of at least 0 and below 1"),
    ],
)
def test_settings_of_an_mlp_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        mlp(num_outputs=1, num_features=3, **wrong)
