"""The optimizer that does not import torch's compiler."""

import torch
from torch import nn

from midrc_ml.training.steps import EagerAdamW


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
