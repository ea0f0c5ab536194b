"""What a run sets of its process, and what a process that is not the first says when it ends."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hydra.errors import HydraException

from midrc_ml import train
from midrc_ml.errors import InputError
from midrc_ml.training.ranks import Ranks
from midrc_ml.training.settings import Compute, _threads_before


@pytest.fixture
def threads() -> Iterator[int]:
    """Those of torch before, which it has again after."""
    before = torch.get_num_threads()
    _threads_before.cache_clear()
    yield before
    torch.set_num_threads(before)
    _threads_before.cache_clear()


def test_the_threads_of_one_run_are_not_those_of_the_next(threads: int) -> None:
    for number in (threads + 1, threads + 2):
        Compute(device="cpu", num_threads=number).prepared_device(Ranks())
        assert torch.get_num_threads() == number
    Compute(device="cpu").prepared_device(Ranks())
    assert torch.get_num_threads() == threads


def test_threads_that_no_run_has_set_are_left_alone(threads: int) -> None:
    Compute(device="cpu").prepared_device(Ranks())
    torch.set_num_threads(threads + 1)
    Compute(device="cpu").prepared_device(Ranks())
    assert torch.get_num_threads() == threads + 1


def test_a_gpu_can_turn_deterministic_in_the_second_run_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch looks for the variable once, at the first product of matrices: of a run that needs it not."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    for given, left in ((None, ":4096:8"), (":16:8", ":16:8")):
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        if given:
            monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
        Compute(device="cuda").prepared_device(Ranks())
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == left
        assert torch.backends.cudnn.benchmark
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("the GPU has too little memory;\ngive 16"), "the GPU has too little memory; give 16"),
        (PermissionError(13, "Permission denied", "/cache"), "[Errno 13] Permission denied: '/cache'"),
        (HydraException("You must specify 'task', e.g, task=<OPTION>"), "give a task: task=NAME"),
    ],
)
def test_a_later_error_of_one_process_alone_is_said_in_one_line(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(**settings: Any) -> None:
        raise error

    monkeypatch.setattr(train, "_LET_THE_FIRST_SPEAK", 0)
    monkeypatch.setattr("midrc_ml.pipeline.train_along", fails)
    with pytest.raises(SystemExit) as ended:
        train._train_along(["task=icu"], Ranks(rank=1, world=2, local_rank=1))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: process 1 on {socket.gethostname()}: {words}")


def test_variables_of_torchrun_that_are_no_numbers_end_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "one")
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: RANK=one, ")
