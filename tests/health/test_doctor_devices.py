"""What is said of GPUs, compilers and containers that this machine does not have: by a stand-in for torch."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from midrc_ml.health import devices
from midrc_ml.health.devices import compile_findings, cpu_findings, gpu_findings, process_findings

GIB = 1 << 30


class Ones:
    """A matrix of ones of `size` x `size`, or, of a broken GPU, its product with another sum."""

    def __init__(self, product_sum: float) -> None:
        self.product_sum = product_sum

    def __matmul__(self, other: "Ones") -> "Ones":
        return self

    def sum(self) -> float:
        return self.product_sum


def torch_with(
    capability: tuple[int, int] | None = (9, 0), *, free: int = 100 * GIB, product_sum: float = 64.0**3, **cuda: Any
) -> Any:
    there = capability is not None
    return SimpleNamespace(
        __version__="2.13.0",
        version=SimpleNamespace(cuda="13.0" if there else None, hip=None),
        backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 91000)),
        cuda=SimpleNamespace(
            **{
                "is_available": lambda: there,
                "device_count": lambda: int(there),
                "nccl": SimpleNamespace(version=lambda: (2, 27, 3)),
                "get_device_name": lambda number: "a GPU",
                "get_device_capability": lambda number: capability,
                "mem_get_info": lambda number: (free, 140 * GIB),
                **cuda,
            }
        ),
        distributed=SimpleNamespace(
            is_available=lambda: True, is_gloo_available=lambda: True, is_nccl_available=lambda: there
        ),
        ones=lambda *shape, device: Ones(product_sum),
        get_num_threads=lambda: 2,
    )


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_nvidia", lambda: ([], None))


@pytest.mark.parametrize(
    ("capability", "can"),
    [
        ((6, 1), {"fp16": False, "bf16": False, "tf32": False}),
        ((7, 5), {"fp16": True, "bf16": False, "tf32": False}),
        ((8, 0), {"fp16": True, "bf16": True, "tf32": True}),
        ((12, 0), {"fp16": True, "bf16": True, "tf32": True}),
    ],
)
def test_the_precisions_of_a_gpu_follow_its_capability(capability: tuple[int, int], can: dict[str, bool]) -> None:
    finding = gpu_findings(torch_with(capability))[-1]
    assert (finding.what, finding.status) == ("cuda:0", "ok")
    assert {name: finding.facts[name] for name in can} == can


def test_a_gpu_that_computes_wrongly_is_broken() -> None:
    finding = gpu_findings(torch_with(product_sum=1.0))[-1]
    assert finding.status == "fail"
    assert "computes wrongly" in finding.value


def test_a_gpu_that_this_torch_has_no_code_for_is_broken_with_the_remedy() -> None:
    def no_kernel(number: int) -> str:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")

    finding = gpu_findings(torch_with(get_device_name=no_kernel))[-1]
    assert finding.status == "fail"
    assert "pytorch.org" in finding.what_to_do


def test_a_gpu_whose_memory_is_taken_is_a_warning() -> None:
    assert gpu_findings(torch_with(free=GIB))[-1].status == "warn"


def test_a_gpu_that_torch_was_not_built_for_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_nvidia", lambda: (["NVIDIA H200"], "580.1"))
    finding = gpu_findings(torch_with(None))[-1]
    assert finding.status == "warn"
    assert "built for CPUs alone" in finding.value


def test_no_gpu_is_no_fault() -> None:
    assert gpu_findings(torch_with(None))[-1].status == "not_applicable"


def test_without_a_compiler_torch_compile_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = compile_findings(torch_with(None))
    assert finding.status == "warn"
    assert "no C++ compiler (g++)" in finding.value


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")
def test_a_compiler_without_pythons_headers_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(devices.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    (finding,) = compile_findings(torch_with(None))
    assert finding.status == "warn"
    assert "Python.h" in finding.value


def test_the_memory_limit_of_a_container_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_limit", lambda name: {"cpu.max": 0.5, "memory.max": 2e9}[name])
    cpu, memory, *_ = cpu_findings(None)
    assert "the container may use 0.5 of them" in cpu.value
    assert memory.status == "warn"
    assert memory.facts["total_bytes"] == 2_000_000_000


def test_several_gpus_without_nccl_are_a_warning() -> None:
    torch = torch_with(device_count=lambda: 2)
    torch.distributed.is_nccl_available = lambda: False
    (finding,) = process_findings(torch)
    assert finding.status == "warn"
    assert finding.facts == {"gloo": True, "nccl": False}


def test_a_torch_that_cannot_be_imported_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    finding = devices.device_findings()[0]
    assert (finding.what, finding.status) == ("torch", "fail")
    assert finding.what_to_do.startswith("pip install 'torch")
