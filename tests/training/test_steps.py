"""Single steps: the optimizer, precision, the moving average."""

from typing import Literal

import pandas as pd
import pytest
import torch
from torch import nn

from midrc_ml.training.algorithms import Erm
from midrc_ml.training.batches import Batch
from midrc_ml.training.losses import Binary
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, Training
from midrc_ml.training.steps import EagerAdamW, Stepper


def test_it_steps_as_torchs_own() -> None:
    weights = []
    for kind in (torch.optim.AdamW, EagerAdamW):
        torch.manual_seed(0)
        net = nn.Linear(5, 3)
        optimizer = kind(net.parameters(), lr=0.05, weight_decay=0.1, fused=True)
        for step in range(4):
            optimizer.zero_grad()
            (net(torch.full((2, 5), step - 1.5)) ** 2).sum().backward()
            optimizer.step()
        weights.append([*net.parameters(), *(state["exp_avg_sq"] for state in optimizer.state.values())])
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))


class Halves(nn.Module):
    """Gives what it should not: two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.linear(images), images


def stepper(
    net: nn.Module, precision: Literal["float16", "bfloat16", "float32"] = "float32", **settings: float
) -> Stepper:
    session = Erm().begin(pd.DataFrame(index=range(4)), torch.device("cpu"))
    compute = Compute(device="cpu", precision=precision)
    return Stepper(net, Binary(), Training(**settings), compute, session, Ranks())


def batch() -> Batch:
    images = torch.linspace(-1, 1, 16).view(4, 4)
    return Batch((images,), torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.arange(4), 4)


def test_a_network_that_gives_several_things_is_refused() -> None:
    with pytest.raises(ValueError, match="the network gives a tuple for 4 studies"):
        stepper(Halves()).step([batch()], 4, 0.1)


def test_the_moving_average_is_close_to_the_network_after_a_few_steps() -> None:
    """With 0.999 and no warm-up it would be 99 % of what the network was at first."""
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))
    first = net[1].weight.detach().clone()
    made = stepper(net, ema=0.999)
    for _ in range(10):
        made.step([batch()], 4, 0.1)
    average = made.watched.state_dict()
    assert (average["1.weight"] - net[1].weight).norm() < 0.5 * (net[1].weight - first).norm()
    assert average["0.num_batches_tracked"] == 10
    assert not torch.equal(average["0.running_mean"], torch.zeros(4))


def test_small_gradients_survive_float16() -> None:
    """Without a scale these are 0 in float16, whose least number is 6e-8."""
    net = nn.Linear(4, 1)
    made = stepper(net, "float16", clip_norm=0.0, weight_decay=0.0)
    before = net.weight.detach().clone()
    images = batch().inputs[0] * 2e-7
    made.step([Batch((images,), torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.arange(4), 4)], 4, 0.1)
    assert not torch.equal(net.weight, before)


def test_a_run_goes_on_in_the_precision_in_which_it_was_begun() -> None:
    begun = stepper(nn.Linear(4, 1), "bfloat16")
    begun.step([batch()], 4, 0.1)
    state = begun.state()
    after = stepper(nn.Linear(4, 1), "float16")
    after.load(state)
    assert after.dtype is torch.bfloat16
    after.step([batch()], 4, 0.1)
    other = stepper(nn.Linear(4, 1), "float16")
    other.step([batch()], 4, 0.1)
    plain = stepper(nn.Linear(4, 1), "float32")
    plain.load(other.state())
    assert plain.dtype is torch.float16


def test_a_network_of_volumes_is_computed_in_float32_on_a_cpu_unless_told_otherwise() -> None:
    cpu = torch.device("cpu")
    assert Compute(device="cpu").autocast_dtype(cpu, ndim=5) is None
    assert Compute(device="cpu", precision="bfloat16").autocast_dtype(cpu, ndim=5) is torch.bfloat16
