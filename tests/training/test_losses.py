"""Losses and scores of each kind of task, against values by hand and against torch's own."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from midrc_ml.errors import InputError
from midrc_ml.training.losses import (
    LOSSES,
    Amount,
    Binary,
    Classes,
    Hazards,
    Ordered,
    Target,
    as_dict,
    from_dict,
    target_of,
)

HALF = math.log(2)  # the loss of a logit of 0


def test_a_positive_study_weighs_what_the_others_outnumber_it_by() -> None:
    target = target_of("binary", torch.tensor([1.0, 0, 0, 0]), class_weight="balanced")
    losses = target.losses(torch.zeros(2, 1), torch.tensor([1.0, 0.0]))
    assert losses.tolist() == pytest.approx([2 * HALF, 2 / 3 * HALF])


def test_the_focal_loss_leaves_little_of_what_is_sure() -> None:
    # p = 0.9 for the truth: -(1 - 0.9)^2 log 0.9
    logit = torch.tensor([[math.log(9.0)]])
    loss = Binary("focal").losses(logit, torch.tensor([1.0]))
    assert loss.item() == pytest.approx(-0.01 * math.log(0.9), rel=1e-5)


def test_classes_have_the_cross_entropy_of_torch_and_probabilities() -> None:
    output, label = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 2, 0])
    target = target_of("multiclass", label.float(), classes=["a", "b", "c"], class_weight="balanced")
    weight = torch.tensor([5 / 6, 5 / 3, 5 / 6])  # 5 studies / (3 classes x 2, 1, 2 of them)
    expected = functional.cross_entropy(output, label, weight=weight, reduction="none")
    assert torch.allclose(target.losses(output, label.float()), expected)
    assert torch.allclose(target.score(output), output.double().softmax(1))
    assert target.num_outputs == 3


def test_a_class_without_a_training_study_does_not_weigh_infinitely() -> None:
    target = target_of("multiclass", torch.tensor([0.0, 0, 1]), classes=["a", "b", "c"], class_weight="balanced")
    assert isinstance(target, Classes)
    assert all(math.isfinite(weight) for weight in target.weights)


@pytest.mark.parametrize(("loss", "expected"), [("smooth_l1", 0.125), ("l1", 0.5), ("mse", 0.25)])
def test_an_amount_is_learned_in_standard_deviations(loss: str, expected: float) -> None:
    target = target_of("regression", torch.tensor([2.0, 4.0, 6.0]), loss=loss)  # mean 4, SD 2
    assert target.losses(torch.tensor([[0.0]]), torch.tensor([5.0])).item() == pytest.approx(expected)
    assert target.score(torch.tensor([[1.5]])).item() == pytest.approx(7.0)


def test_labels_that_are_all_equal_can_be_learned() -> None:
    assert target_of("regression", torch.tensor([3.0, 3.0])).score(torch.tensor([[0.0]])).item() == 3.0


def test_ordered_labels_are_steps_between_levels() -> None:
    target = target_of("ordinal", torch.tensor([1.0, 4.0, 2.0]))
    assert isinstance(target, Ordered)
    assert target.levels == (1.0, 2.0, 3.0, 4.0)
    sure = torch.tensor([[40.0, 40.0, -40.0]])  # above 1, above 2, not above 3
    assert target.score(sure).item() == pytest.approx(3.0)
    assert target.losses(sure, torch.tensor([3.0])).item() == pytest.approx(0.0)
    # One step of three is wrong, by 40.
    assert target.losses(sure, torch.tensor([2.0])).item() == pytest.approx(40 / 3)
    # Between two levels the middle step is half taken: its loss at a logit of 0 is log 2.
    half = target.losses(torch.tensor([[40.0, 0.0, -40.0]]), torch.tensor([2.5]))
    assert half.item() == pytest.approx(HALF / 3)


@pytest.mark.parametrize("labels", [[2.0, 2.0], [0.0, 500.0]])
def test_labels_that_are_no_levels_are_refused_with_another_loss(labels: list[float]) -> None:
    with pytest.raises(InputError, match=r"task=mrale: the training labels go from .*training.loss=smooth_l1"):
        target_of("ordinal", torch.tensor(labels), name="mrale")
    assert isinstance(target_of("ordinal", torch.tensor(labels), loss="l1", name="mrale"), Amount)


def test_the_hazards_loss_is_the_likelihood_of_the_intervals() -> None:
    target = Hazards(ends=(2.0, 5.0, 10.0))
    hazard = [0.1, 0.3, 0.6]
    output = torch.logit(torch.tensor([hazard])).repeat(6, 1)
    #             event in the 2nd, at its end, in the 1st, censored in the 3rd before and after its middle, on day 0
    label = torch.tensor([[1, 3.0], [1, 5.0], [1, 0.0], [0, 7.0], [0, 8.0], [0, 0.0]])
    likelihood = [0.9 * 0.3, 0.9 * 0.3, 0.1, 0.9 * 0.7, 0.9 * 0.7 * 0.4, 1.0]
    expected = [-math.log(value) for value in likelihood]
    assert target.losses(output, label).tolist() == pytest.approx(expected, abs=1e-5)
    assert target.score(output[:1]).item() == pytest.approx(1 - 0.9 * 0.7 * 0.4)


def test_an_event_after_the_last_interval_was_survived_to_its_end() -> None:
    target = Hazards(ends=(2.0, 5.0))
    output = torch.logit(torch.tensor([[0.2, 0.5]]))
    assert target.losses(output, torch.tensor([[1.0, 9.0]])).item() == pytest.approx(-math.log(0.8 * 0.5), abs=1e-6)


def test_intervals_hold_equally_many_events() -> None:
    times = np.arange(1.0, 101.0)
    label = torch.tensor(np.stack([np.ones(100), times], axis=1), dtype=torch.float32)
    target = target_of("time_to_event", label)
    assert isinstance(target, Hazards)
    assert target.ends[-1] == 100
    starts = (0.0, *target.ends[:-1])
    assert [int(((times > low) & (times <= high)).sum()) for low, high in zip(starts, target.ends, strict=True)] == (
        pytest.approx([10] * 10, abs=1)
    )


def test_without_an_event_there_is_nothing_to_learn() -> None:
    with pytest.raises(InputError, match=r"task=time_to_icu: no event after the first day"):
        target_of("time_to_event", torch.tensor([[0.0, 3.0], [1.0, 0.0]]), name="time_to_icu")


@pytest.mark.parametrize("kind", list(LOSSES))
def test_a_loss_of_another_kind_is_refused(kind: str) -> None:
    others = {name for name in itertools.chain(*LOSSES.values()) if name not in LOSSES[kind]}
    for loss in others:
        with pytest.raises(InputError, match=rf"training.loss is '{loss}'; for task=t, which is of kind {kind}"):
            target_of(kind, torch.zeros(2), loss=loss, name="t")


def test_weights_of_classes_are_refused_where_there_are_none() -> None:
    with pytest.raises(InputError, match=r"class_weight is 'balanced', but task=t is of kind regression; give none"):
        target_of("regression", torch.zeros(2), class_weight="balanced", name="t")


@pytest.mark.parametrize(
    "target",
    [Binary("focal", (0.5, 2.0)), Classes(3, "cross_entropy", (1.0, 2.0, 3.0)), Amount(1.0, 2.0), Ordered((0.0, 1.0)),
     Hazards((1.0, 2.0))],
)  # fmt: skip
def test_a_target_comes_back_from_plain_values(target: Target) -> None:
    assert from_dict(as_dict(target)) == target


@pytest.mark.parametrize(
    ("kind", "label"),
    [("binary", [1.0, 0.0]), ("multiclass", [0.0, 2.0]), ("ordinal", [0.0, 3.0]), ("regression", [0.5, 7.0])],
)
def test_every_loss_has_a_gradient_and_is_finite_for_large_outputs(kind: str, label: list[float]) -> None:
    classes = ["a", "b", "c"] if kind == "multiclass" else []
    for loss in LOSSES[kind]:
        target = target_of(kind, torch.tensor(label), classes=classes, loss=loss)
        output = torch.full((2, target.num_outputs), 60.0, requires_grad=True)
        target.losses(output, torch.tensor(label)).sum().backward()
        assert output.grad is not None
        assert output.grad.isfinite().all()
