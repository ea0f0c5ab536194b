"""The loop in small: a tiny network, drawn squares."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from midrc_ml.datasets.augmentation import Augmentation
from midrc_ml.datasets.studies import StudyDataset
from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import auroc, mae
from midrc_ml.images.cache import CachedImages
from midrc_ml.training.algorithms import GroupDro
from midrc_ml.training.loop import EpochResult, LossIsNotFinite, load_best, train
from midrc_ml.training.losses import Binary, target_of
from midrc_ml.training.monitor import Monitor
from midrc_ml.training.predict import scores
from midrc_ml.training.seeds import seed_everything
from midrc_ml.training.settings import Compute, Training

SIZE = 32
CPU = Compute(device="cpu", precision="float32")
LOSS = Monitor(name="loss", metric=None, lower_is_better=True)


def dataset(count: int, *, seed: int, regression: bool = False) -> StudyDataset:
    """Noise with a square whose brightness is the label."""
    rng = np.random.default_rng(seed)
    label = rng.random(count) * 10 if regression else (np.arange(count) % 2).astype(float)
    pixels = rng.integers(80, 120, (count, SIZE, SIZE)).astype(np.uint8)
    pixels[:, 8:24, 8:24] = (80 + label * (12 if regression else 100)).astype(np.uint8)[:, None, None]
    place = np.stack([np.zeros(count, int), np.arange(count)], axis=1)
    images = CachedImages(shards=[pixels], place=place, reasons=[None] * count, record_shape=(SIZE, SIZE))
    studies = pd.DataFrame({"study_id": [f"s{i}" for i in range(count)], "label": label, "image": range(count)})
    return StudyDataset(studies, images)


def network(seed: int = 0) -> nn.Module:
    seed_everything(seed, 0)
    layers = [nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 1))


def run(
    folder: Path, settings: Training, net: nn.Module, *, regression: bool = False, monitor: Monitor = LOSS
) -> list[EpochResult]:
    data = {
        "train": dataset(41, seed=1, regression=regression),
        "validation": dataset(20, seed=2, regression=regression),
    }
    target = target_of("regression" if regression else "binary", data["train"].labels)
    return list(train(net, data, target, settings, CPU, monitor, seed=3, folder=folder))


def timeless(epoch: EpochResult) -> dict[str, object]:
    """What has to be equal between runs."""
    measured = ("seconds", "images_per_second", "step_ms", "data_wait", "memory_gb")
    return {name: value for name, value in asdict(epoch).items() if name not in measured}


def test_it_learns_what_is_there_to_learn(tmp_path: Path) -> None:
    net = network()
    settings = Training(epochs=12, batch_size=8, lr=0.02, augmentation=Augmentation())
    history = run(tmp_path, settings, net)
    assert history[-1].train_loss < 0.5 * history[0].train_loss
    unseen = dataset(30, seed=4)
    score, _ = scores(net, unseen, load_best(net, tmp_path), batch_size=7, device=torch.device("cpu"), dtype=None)
    assert auroc(unseen.labels.numpy(), score) > 0.95


def test_regression_scores_are_in_the_labels_unit(tmp_path: Path) -> None:
    net = network()
    run(tmp_path, Training(epochs=25, batch_size=8, lr=0.03), net, regression=True)
    unseen = dataset(30, seed=4, regression=True)
    score, _ = scores(net, unseen, load_best(net, tmp_path), batch_size=7, device=torch.device("cpu"), dtype=None)
    assert mae(unseen.labels.numpy(), score) < 1.0


@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_stopped_and_resumed_equals_never_stopped(stop_after: int, tmp_path: Path) -> None:
    settings = Training(epochs=5, batch_size=8, lr=0.01, augmentation=Augmentation())
    whole = network()
    straight = run(tmp_path / "a", settings, whole)
    data = {"train": dataset(41, seed=1), "validation": dataset(20, seed=2)}
    target = target_of("binary", data["train"].labels)
    first = train(network(), data, target, settings, CPU, LOSS, seed=3, folder=tmp_path / "b")
    list(itertools.islice(first, stop_after))
    first.close()
    torch.manual_seed(99)  # whatever happens in between
    resumed = network(seed=7)
    again = list(train(resumed, data, target, settings, CPU, LOSS, seed=3, folder=tmp_path / "b"))
    assert [timeless(epoch) for epoch in again] == [timeless(epoch) for epoch in straight]
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_it_stops_after_patience_epochs_without_a_better_one_and_keeps_the_best(tmp_path: Path) -> None:
    worse_and_worse = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    monitor = Monitor(name="mine", metric=lambda y_true, y_score: next(worse_and_worse), lower_is_better=False)
    history = run(tmp_path, Training(epochs=8, batch_size=8, patience=2), network(), monitor=monitor)
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert history[-1].best_epoch == 1
    assert torch.load(tmp_path / "best.pt", weights_only=True)["epoch"] == 1


def test_a_monitor_that_cannot_be_estimated_never_wins(tmp_path: Path) -> None:
    values = iter([math.nan, 0.6, math.nan, 0.5])
    monitor = Monitor(name="mine", metric=lambda y_true, y_score: next(values), lower_is_better=False)
    history = run(tmp_path, Training(epochs=4, batch_size=8, patience=0), network(), monitor=monitor)
    assert [epoch.best_epoch for epoch in history] == [1, 2, 2, 2]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    run(tmp_path, Training(epochs=1, batch_size=8, lr=0.01), network())
    good = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(LossIsNotFinite, match=r"in epoch 2.*checkpoint of epoch 1 is kept.*Lower training.lr"):
        run(tmp_path, Training(epochs=3, batch_size=8, lr=1e30, clip_norm=0), network())
    assert (tmp_path / "last.pt").read_bytes() == good


def test_an_unfinished_checkpoint_is_never_read(tmp_path: Path) -> None:
    settings = Training(epochs=2, batch_size=8, lr=0.01)
    expected = run(tmp_path / "a", settings, network())
    (tmp_path / "b").mkdir()
    (tmp_path / "b/last.unfinished").write_bytes(b"cut off")
    again = run(tmp_path / "b", settings, network())
    assert [epoch.train_loss for epoch in again] == [epoch.train_loss for epoch in expected]


def test_a_last_batch_of_one_study_joins_the_one_before(tmp_path: Path) -> None:
    # 41 studies in batches of 8: batch statistics of the one left over could not be computed.
    (epoch,) = run(tmp_path, Training(epochs=1, batch_size=8, lr=0.01), network())
    assert math.isfinite(epoch.train_loss)


def test_autocast_in_bfloat16_trains_on_a_cpu(tmp_path: Path) -> None:
    data = {"train": dataset(40, seed=1), "validation": dataset(20, seed=2)}
    target = target_of("binary", data["train"].labels)
    compute = Compute(device="cpu", precision="bfloat16")
    history = list(
        train(
            network(), data, target, Training(epochs=6, batch_size=8, lr=0.02), compute, LOSS, seed=3, folder=tmp_path
        )
    )
    assert history[-1].train_loss < history[0].train_loss


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_mixed_precision_trains_on_a_gpu(tmp_path: Path) -> None:
    data = {"train": dataset(40, seed=1), "validation": dataset(20, seed=2)}
    target = target_of("binary", data["train"].labels)
    for precision in ("auto", "float16"):
        compute = Compute(device="cuda", precision=precision)  # type: ignore[arg-type]
        net = network().cuda()
        settings = Training(epochs=6, batch_size=8, lr=0.02, augmentation=Augmentation())
        history = list(train(net, data, target, settings, compute, LOSS, seed=3, folder=tmp_path / precision))
        assert history[-1].train_loss < history[0].train_loss


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epochs": 0}, "training.epochs is 0; it must be at least 1"),
        ({"batch_size": 1}, "training.batch_size is 1"),
        ({"lr": 0}, "training.lr is 0; it must be above 0"),
        ({"lr": math.nan}, "training.lr is nan"),
        ({"epochs": "abc"}, "training.epochs is 'abc'; it must be a whole number"),
        ({"lr": "fast"}, "training.lr is 'fast'; it must be a number"),
        ({"lr": math.inf}, "training.lr is inf"),
        ({"augmentation": "abc"}, "training.augmentation is 'abc'; give null, or settings of it by name"),
        ({"warmup": -0.1}, "training.warmup is -0.1; it must be at least 0"),
        ({"clip_norm": math.inf}, "training.clip_norm is inf; it must be a finite number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Training(**wrong)


@pytest.mark.parametrize("name", ["num_threads", "num_processes"])
def test_a_number_of_cores_is_at_least_1_or_left_open(name: str) -> None:
    Compute(**{name: None})
    for wrong in (-1, 0):
        with pytest.raises(InputError, match=f"compute.{name} is {wrong}; it must be at least 1"):
            Compute(**{name: wrong})


def plain_network() -> nn.Module:
    """Without batch statistics and dropout: what a batch gives does not depend on how it is cut."""
    seed_everything(0, 0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
    )


@pytest.mark.parametrize(("batch_size", "accumulate"), [(5, 4), (10, 2), (2, 10)])
def test_accumulated_batches_make_the_step_of_one_batch_of_all_of_them(
    batch_size: int, accumulate: int, tmp_path: Path
) -> None:
    """41 studies: two whole steps and one of a single study's rest, each study weighted alike."""
    whole, cut = plain_network(), plain_network()
    first = run(tmp_path / "whole", Training(epochs=2, batch_size=20, lr=0.01), whole)
    second = run(tmp_path / "cut", Training(epochs=2, batch_size=batch_size, accumulate=accumulate, lr=0.01), cut)
    assert [epoch.lr for epoch in first] == [epoch.lr for epoch in second]
    for left, right in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=2e-6, rtol=1e-5)


def test_the_average_of_the_weights_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    settings = Training(epochs=1, batch_size=40, lr=0.05, warmup=0.0, ema=0.5, clip_norm=0.0)
    net, plain = plain_network(), plain_network()
    history = run(tmp_path / "averaged", settings, net)
    run(tmp_path / "plain", Training(epochs=1, batch_size=40, lr=0.05, warmup=0.0, clip_norm=0.0), plain)
    after = {name: value.clone() for name, value in net.state_dict().items()}
    for name, value in plain.state_dict().items():  # the average changes nothing of the training itself
        torch.testing.assert_close(after[name], value, atol=0, rtol=0)
    load_best(net, tmp_path / "averaged")
    # One step (the 41st study joins the others): the first update takes the weights as they are.
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, after[name], atol=0, rtol=0)
    score, loss = scores(net, dataset(20, seed=2), Binary(), batch_size=40, device=torch.device("cpu"), dtype=None)
    assert history[0].validation_loss == pytest.approx(loss, abs=1e-7)
    assert np.isfinite(score).all()


def test_the_average_after_several_steps_is_the_one_by_hand(tmp_path: Path) -> None:
    """Steps 1..3: the average is w1, then 1/10 of itself and 9/10 of w2, then 2/11 of itself and 9/11 of w3."""
    seen: list[torch.Tensor] = []

    class Watched(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.append(self.weight.detach().clone())
            return super().forward(images)

    seed_everything(0, 0)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), Watched(16, 1))
    run(tmp_path, Training(epochs=1, batch_size=14, lr=0.05, ema=0.5), net)
    steps = [*seen[1:], net[2].weight.detach().clone()]
    assert len(steps) == 3
    load_best(net, tmp_path)
    expected = steps[0] * 0.2 / 11 + steps[1] * 1.8 / 11 + steps[2] * 9 / 11
    torch.testing.assert_close(net[2].weight.detach(), expected, atol=1e-6, rtol=1e-5)


def test_a_resumed_average_goes_on_bit_for_bit(tmp_path: Path) -> None:
    settings = Training(epochs=4, batch_size=8, lr=0.01, ema=0.9, accumulate=2, augmentation=Augmentation(mixup=0.4))
    straight = run(tmp_path / "straight", settings, network())
    data = {"train": dataset(41, seed=1), "validation": dataset(20, seed=2)}
    epochs = train(network(), data, Binary(), settings, CPU, LOSS, seed=3, folder=tmp_path / "cut")
    list(itertools.islice(epochs, 2))
    again = run(tmp_path / "cut", settings, network(seed=9))
    assert [timeless(epoch) for epoch in again] == [timeless(epoch) for epoch in straight]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    # 41 studies in batches of 11: 4 steps an epoch, 8 in all, 2 of them to warm up, 6 down to zero.
    [("cosine", (0.75, 0.0)), ("linear", (2 / 3, 0.0)), ("constant", (1.0, 1.0))],
)
def test_the_learning_rate_at_the_end_of_each_epoch_is_the_one_by_hand(
    schedule: str, expected: tuple[float, float], tmp_path: Path
) -> None:
    settings = Training(epochs=2, batch_size=11, lr=0.01, warmup=0.25, schedule=schedule)  # type: ignore[arg-type]
    history = run(tmp_path, settings, network())
    assert [epoch.lr for epoch in history] == pytest.approx([0.01 * share for share in expected], abs=1e-12)


def test_mixup_trains_towards_both_labels(tmp_path: Path) -> None:
    net = network()
    settings = Training(epochs=12, batch_size=8, lr=0.02, augmentation=Augmentation(mixup=0.2))
    run(tmp_path, settings, net)
    unseen = dataset(30, seed=4)
    score, _ = scores(net, unseen, load_best(net, tmp_path), batch_size=7, device=torch.device("cpu"), dtype=None)
    assert auroc(unseen.labels.numpy(), score) > 0.9


def test_the_time_spent_waiting_and_the_memory_are_told(tmp_path: Path) -> None:
    for epoch in run(tmp_path, Training(epochs=2, batch_size=8), network()):
        assert 0 <= epoch.data_wait <= 1
        assert 0.05 < epoch.memory_gb < 64


def test_group_dro_resumed_equals_group_dro_never_stopped(tmp_path: Path) -> None:
    settings = Training(epochs=3, batch_size=8, lr=0.01)
    data = {"train": dataset(41, seed=1), "validation": dataset(20, seed=2)}
    rows = pd.DataFrame({"label": data["train"].labels.numpy(), "sex": ["F", "F", "M"] * 13 + ["M", "F"]})

    def epochs(folder: Path, net: nn.Module) -> Iterator[EpochResult]:
        session = GroupDro(step_size=0.3).begin(rows, torch.device("cpu"))
        return train(net, data, Binary(), settings, CPU, LOSS, seed=3, folder=folder, algorithm=session)

    straight = list(epochs(tmp_path / "straight", network()))
    list(itertools.islice(epochs(tmp_path / "cut", network()), 1))
    again = list(epochs(tmp_path / "cut", network(seed=9)))
    assert [timeless(epoch) for epoch in again] == [timeless(epoch) for epoch in straight]


def test_a_kill_between_the_two_files_of_an_epoch_keeps_the_best_of_those_that_counted(tmp_path: Path) -> None:
    """The best weights wait beside `best.pt` until `last.pt` tells of their epoch."""
    run(tmp_path, Training(epochs=3, batch_size=8, lr=0.01), network())
    kept = (tmp_path / "best.pt").read_bytes()
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    # Killed before `last.pt`: the epoch never counted.
    torch.save({**best, "epoch": 9}, tmp_path / "best.next.pt")
    run(tmp_path, Training(epochs=3, batch_size=8, lr=0.01), network())
    assert (tmp_path / "best.pt").read_bytes() == kept
    assert not (tmp_path / "best.next.pt").exists()
    # Killed after it: it did.
    (tmp_path / "best.pt").rename(tmp_path / "best.next.pt")
    run(tmp_path, Training(epochs=3, batch_size=8, lr=0.01), network())
    assert (tmp_path / "best.pt").read_bytes() == kept


def test_each_epoch_tells_every_metric_that_needs_no_threshold(tmp_path: Path) -> None:
    def never(y_true: np.ndarray, y_score: np.ndarray) -> float:
        return float("nan")

    def above(y_true: np.ndarray, y_score: np.ndarray, threshold: float) -> float:
        raise AssertionError("there is no threshold yet")

    watch = Monitor.of("loss", {"auroc": auroc, "never": never, "above": above}, lower_is_better=True)
    data = {"train": dataset(41, seed=1), "validation": dataset(20, seed=2)}
    net = network()
    settings, compute = Training(epochs=2, batch_size=8, lr=0.01, patience=0), Compute(device="cpu")
    history = list(train(net, data, Binary(), settings, compute, watch, seed=0, folder=tmp_path))
    assert [set(epoch.metrics) for epoch in history] == [{"auroc"}] * 2
    score, _ = scores(net, data["validation"], Binary(), batch_size=8, device=torch.device("cpu"), dtype=None)
    assert history[-1].metrics["auroc"] == roc_auc_score(data["validation"].labels.numpy(), score)
    # They are told again, as they were, by a run that goes on.
    assert list(train(net, data, Binary(), settings, compute, watch, seed=0, folder=tmp_path)) == history
