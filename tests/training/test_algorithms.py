"""What is minimised: means by hand, groups drawn alike, weights of the worst group."""

import math

import pandas as pd
import pytest
import torch

from midrc_ml.errors import InputError
from midrc_ml.training.algorithms import Balanced, Erm, GroupDro
from midrc_ml.training.ranks import Ranks

ALONE = Ranks().total
CPU = torch.device("cpu")


def studies() -> pd.DataFrame:
    """40 studies: sex F 30, M 8, not reported 2; every fourth is positive."""
    sex = ["F"] * 30 + ["M"] * 8 + [None] * 2
    return pd.DataFrame({"sex": sex, "site": "s", "label": [float(n % 4 == 0) for n in range(40)]})


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_erm_shows_every_study_once_and_sums_their_losses() -> None:
    session = Erm().begin(studies(), CPU)
    assert sorted(session.order(draw()).tolist()) == list(range(40))
    assert session.loss(torch.tensor([1.0, 2.5]), torch.tensor([3, 4]), ALONE).item() == 3.5
    assert session.state() == {}


def test_balanced_groups_are_shown_equally_often_and_what_is_not_reported_is_a_group() -> None:
    session = Balanced(by=["sex"]).begin(studies(), CPU)
    assert session.groups == {"F": 30, "M": 8, "Not Reported": 2}
    shown = torch.cat([session.order(draw(seed)) for seed in range(300)])
    assert len(shown) == 300 * 40
    counts = studies()["sex"].fillna("-").iloc[shown.tolist()].value_counts()
    # Each a third of 12,000; four standard deviations of that are 207.
    assert (counts - 4000).abs().max() < 207


def test_balanced_by_label_balances_the_classes() -> None:
    session = Balanced().begin(studies(), CPU)
    assert session.groups == {"0": 30, "1": 10}
    shown = torch.cat([session.order(draw(seed)) for seed in range(200)])
    positive = studies()["label"].iloc[shown.tolist()].mean()
    assert abs(positive - 0.5) < 4 * 0.5 / math.sqrt(8000)


def test_the_same_seed_draws_the_same_order() -> None:
    session = Balanced(by=["sex", "label"]).begin(studies(), CPU)
    assert torch.equal(session.order(draw(5)), session.order(draw(5)))
    assert not torch.equal(session.order(draw(5)), session.order(draw(6)))


def test_the_weights_of_the_groups_are_those_of_algorithm_1_by_hand() -> None:
    session = GroupDro(by=["sex"], step_size=0.5).begin(studies(), CPU)
    # A batch of two F (losses 1 and 3: mean 2) and one M (loss 4); none whose sex was not reported.
    loss = session.loss(torch.tensor([1.0, 3.0, 4.0]), torch.tensor([0, 1, 30]), ALONE)
    raised = [math.exp(0.5 * 2), math.exp(0.5 * 4), 1.0]
    share = [weight / sum(raised) for weight in raised]
    assert session.state()["share"].tolist() == pytest.approx(share, rel=1e-6)
    assert loss.item() == pytest.approx(3 * (share[0] * 2 + share[1] * 4), rel=1e-6)


def test_a_group_that_goes_on_losing_takes_nearly_all_the_weight() -> None:
    session = GroupDro(by=["sex"], step_size=0.5).begin(studies(), CPU)
    for _ in range(40):
        session.loss(torch.tensor([0.1, 2.0, 0.1]), torch.tensor([0, 30, 38]), ALONE)
    assert session.state()["share"][1] > 0.99


def test_a_step_of_any_size_takes_the_worst_group_and_no_nan() -> None:
    session = GroupDro(by=["sex"], step_size=1e6).begin(studies(), CPU)
    for _ in range(3):
        session.loss(torch.tensor([0.1, 2.0, 0.1]), torch.tensor([0, 30, 38]), ALONE)
    assert session.state()["share"].tolist() == [0, 1, 0]


def test_the_gradient_flows_through_the_losses_and_not_through_the_weights() -> None:
    session = GroupDro(by=["sex"], step_size=0.5).begin(studies(), CPU)
    losses = torch.tensor([1.0, 3.0, 4.0], requires_grad=True)
    session.loss(losses, torch.tensor([0, 1, 30]), ALONE).backward()
    share = session.state()["share"].tolist()
    assert losses.grad is not None
    assert losses.grad.tolist() == pytest.approx([1.5 * share[0], 1.5 * share[0], 3 * share[1]], rel=1e-6)


def test_a_session_goes_on_from_its_state() -> None:
    first, second = (GroupDro(by=["sex"], step_size=0.5).begin(studies(), CPU) for _ in range(2))
    batch = torch.tensor([1.0, 3.0]), torch.tensor([0, 30])
    first.loss(*batch, ALONE)
    second.load(first.state())
    assert torch.equal(first.loss(*batch, ALONE), second.loss(*batch, ALONE))


@pytest.mark.parametrize("kind", [Balanced, GroupDro])
@pytest.mark.parametrize("by", [[], ["zip"], ["sex", "age"]])
def test_columns_that_make_no_group_are_refused(kind: type, by: list[str]) -> None:
    with pytest.raises(InputError, match=r"algorithm.by is \[.*\]; it must be a list of some of site, sex, age_band"):
        kind(by=by)


def test_one_group_and_a_group_of_each_study_are_refused() -> None:
    with pytest.raises(InputError, match=r"all training studies are of one group \(s\)"):
        GroupDro(by=["site"]).begin(studies(), CPU)
    many = pd.DataFrame({"label": [number / 7 for number in range(200)]})
    with pytest.raises(InputError, match="makes 200 groups of the training studies"):
        Balanced().begin(many, CPU)
