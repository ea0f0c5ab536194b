"""What computes: GPUs and what they can, else the CPU; torch.compile; several processes."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sysconfig
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from midrc_ml.health.findings import Finding
from midrc_ml.health.places import size_text
from midrc_ml.health.versions import install_command
from midrc_ml.processes import num_cores

PART = "GPU and CPU"
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
_SECONDS = 10
_LITTLE_GPU_MEMORY = 2e9
_LITTLE_SHARED_MEMORY = 1e9
_LITTLE_RAM = 4e9
_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, and of Arm
# What the code that torch.compile writes for a CPU includes.
_CPP = "#include <Python.h>\n#include <omp.h>\n#include <cmath>\n#include <vector>\nint main() { return 0; }\n"
_OTHER_TORCH = "install the build of torch for this driver, as https://pytorch.org/get-started/locally says"


def device_findings() -> list[Finding]:
    """GPUs, CPU, torch.compile and the ways for several processes to talk."""
    try:
        torch = import_module("torch")
    except Exception as error:  # a library that it needs may be missing, or of another version
        words = str(error).splitlines() or [""]
        value = f"cannot be imported ({type(error).__name__}: {words[0][:150]})"
        advice = install_command(["torch"])
        return [Finding(part=PART, status="fail", what="torch", value=value, what_to_do=advice), *cpu_findings(None)]
    return [*gpu_findings(torch), *cpu_findings(torch), *compile_findings(torch), *process_findings(torch)]


def gpu_findings(torch: Any) -> list[Finding]:
    """The build of torch, and each GPU: what it is, and that it computes."""
    finding = partial(Finding, part=PART)
    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs alone"
    if getattr(torch.version, "hip", None):
        built_for = f"ROCm {torch.version.hip}"
    build = finding(status="ok", what="torch", value=f"{torch.__version__}, built for {built_for}")
    there, driver = _nvidia()
    if not torch.cuda.is_available():
        if not there:
            return [build, finding(status="not_applicable", what="GPU", value="none; runs use the CPU")]
        reason = "it is built for CPUs alone" if not torch.version.cuda else f"the driver is {driver}"
        value = f"{len(there)} x {there[0]}, which this torch cannot use: {reason}"
        return [build, finding(status="warn", what="GPU", value=value, what_to_do=_OTHER_TORCH)]
    found = [build]
    if driver:
        found.append(finding(status="ok", what="driver", value=driver))
    cudnn = torch.backends.cudnn.version()
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None
    versions = ", ".join(f"{name} {version}" for name, version in (("cuDNN", cudnn), ("NCCL", nccl)) if version)
    if versions:
        found.append(finding(status="ok", what="libraries", value=versions))
    return found + [_gpu(torch, number) for number in range(torch.cuda.device_count())]


def _gpu(torch: Any, number: int) -> Finding:
    finding = partial(Finding, part=PART, what=f"cuda:{number}")
    try:
        name, capability = torch.cuda.get_device_name(number), torch.cuda.get_device_capability(number)
        free, total = torch.cuda.mem_get_info(number)
        ones = torch.ones(64, 64, device=f"cuda:{number}")
        right = float((ones @ ones).sum()) == 64.0**3
    except Exception as error:
        words = (str(error).splitlines() or [""])[0][:150]
        advice = _OTHER_TORCH if "kernel image" in words else "see what holds it: nvidia-smi"
        return finding(status="fail", value=f"does not compute ({words})", what_to_do=advice)
    # Tensor cores: fp16 from 7.0 on, bf16 and TF32 from 8.0 on (CUDA C++ programming guide, table of capabilities).
    on_rocm = bool(getattr(torch.version, "hip", None))
    can = {"fp16": on_rocm or capability >= (7, 0), "bf16": on_rocm or capability >= (8, 0)}
    if not on_rocm:
        can["tf32"] = capability >= (8, 0)
    fast = ", ".join(name for name, good in can.items() if good) or "float32 alone"
    value = f"{name}, {size_text(free)} of {size_text(total)} free, capability {'.'.join(map(str, capability))}"
    value += f", fast in {fast}"
    facts = {"name": name, "free_bytes": free, "total_bytes": total, "capability": list(capability), **can}
    if not right:
        advice = "do not trust results of this GPU; look for its errors: nvidia-smi -q -d ECC"
        return finding(status="fail", value=f"{value}; computes wrongly", what_to_do=advice, facts=facts)
    if free < _LITTLE_GPU_MEMORY:
        advice = "see what holds its memory: nvidia-smi"
        return finding(status="warn", value=value, what_to_do=advice, facts=facts)
    return finding(status="ok", value=value, facts=facts)


def _nvidia() -> tuple[list[str], str | None]:
    """Names of the GPUs and the driver's version, as NVIDIA's own program says; nothing where it is not there."""
    if shutil.which(_NVIDIA_SMI[0]) is None:
        return [], None
    try:
        told = subprocess.run(_NVIDIA_SMI, capture_output=True, text=True, timeout=_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return [], None
    rows = [line.rsplit(", ", 1) for line in told.splitlines() if ", " in line]
    return [name for name, _ in rows], rows[0][1] if rows else None


def cpu_findings(torch: Any | None) -> list[Finding]:
    """Cores, memory and what a container leaves of them, bf16, threads. torch: None where it cannot be imported."""
    import psutil

    finding = partial(Finding, part=PART)
    cores, quota = num_cores(), _limit("cpu.max")
    threads = f", torch uses {torch.get_num_threads()} threads" if torch else ""
    value = f"{cores} cores{threads}"
    if quota and quota < cores:
        value += f"; the container may use {quota:g} of them"
    asked = os.environ.get("OMP_NUM_THREADS", "")
    value += f" (OMP_NUM_THREADS={asked})" if asked.isdecimal() else ""
    found = [finding(status="ok", what="CPU", value=value, facts={"cores": cores, "quota": quota})]
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    cap = _limit("memory.max")
    if cap and cap < total:
        total, free = int(cap), min(free, int(cap))
    value = (
        f"{size_text(free)} of {size_text(total)} free{' (limit of the container)' if total != memory.total else ''}"
    )
    little = total < _LITTLE_RAM
    advice = "give it 4 GB or more, or set compute.num_processes=1" if little else ""
    facts = {"free_bytes": free, "total_bytes": total}
    status = "warn" if little else "ok"
    found.append(finding(status=status, what="memory", value=value, what_to_do=advice, facts=facts))  # type: ignore[arg-type]
    native = bool(set(_cpu_flags()) & set(_CPU_BF16))
    value = "native" if native else "not native: float32 is the faster choice on this CPU"
    found.append(finding(status="ok", what="bf16 on the CPU", value=value, facts={"native": native}))
    return found + _shared_memory()


def _shared_memory() -> list[Finding]:
    place = Path("/dev/shm")
    if not place.is_dir():
        return []
    free = shutil.disk_usage(place).free
    little = free < _LITTLE_SHARED_MEMORY
    advice = "worker processes pass batches through it: docker run --shm-size=8g" if little else ""
    status = "warn" if little else "ok"
    return [
        Finding(
            part=PART,
            status=status,  # type: ignore[arg-type]
            what="shared memory",
            value=f"{size_text(free)} free",
            what_to_do=advice,
            facts={"free_bytes": free},
        )
    ]


def compile_findings(torch: Any) -> list[Finding]:
    """Whether torch.compile can: a C++ compiler that finds Python's headers and OpenMP, and Triton for a GPU."""
    finding = partial(Finding, part=PART, what="torch.compile")
    advice = "only torch.compile needs it: apt-get install g++ python3-dev, or conda install gxx"
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    if shutil.which(compiler[0]) is None:
        value = f"cannot be used: no C++ compiler ({compiler[0]}); training without it works"
        return [finding(status="warn", value=value, what_to_do=advice)]
    include = sysconfig.get_paths()["include"]
    line = [*compiler, "-x", "c++", "-fsyntax-only", "-fopenmp", "-I", include, "-"]
    try:
        tried = subprocess.run(line, input=_CPP, capture_output=True, text=True, timeout=_SECONDS, check=False)
        missing = tried.stderr if tried.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        missing = type(error).__name__
    if missing:
        headers = [name for name in ("Python.h", "omp.h") if name in missing]
        value = f"cannot be used: {compiler[0]} does not find {' and '.join(headers) or 'its own headers'}"
        return [finding(status="warn", value=f"{value}; training without it works", what_to_do=advice)]
    if torch.cuda.is_available() and importlib.util.find_spec("triton") is None:
        value = "cannot be used on the GPU: no Triton; training without it works"
        return [finding(status="warn", value=value, what_to_do="only torch.compile needs it: pip install triton")]
    with_triton = " and Triton" if torch.cuda.is_available() else ""
    return [finding(status="ok", value=f"can be used: {compiler[0]}{with_triton}")]


def process_findings(torch: Any) -> list[Finding]:
    """The back ends of torch.distributed."""
    finding = partial(Finding, part=PART, what="several processes")
    if not torch.distributed.is_available():
        return [finding(status="not_applicable", value="this torch is built without torch.distributed")]
    gloo, nccl = torch.distributed.is_gloo_available(), torch.distributed.is_nccl_available()
    names = [name for name, there in (("gloo", gloo), ("NCCL", nccl)) if there]
    facts = {"gloo": gloo, "nccl": nccl}
    if torch.cuda.is_available() and torch.cuda.device_count() > 1 and not nccl:
        value = f"{', '.join(names) or 'no back end'}; several GPUs want NCCL"
        return [finding(status="warn", value=value, what_to_do=_OTHER_TORCH, facts=facts)]
    return [finding(status="ok" if names else "warn", value=", ".join(names) or "no back end", facts=facts)]


def _limit(name: str) -> float | None:
    """A limit of the control group (version 2): cores, or bytes; None where there is none."""
    try:
        words = Path("/sys/fs/cgroup", name).read_text().split()
        if words[0] == "max":
            return None
        return float(words[0]) / float(words[1]) if len(words) > 1 else float(words[0])
    except (OSError, ValueError, IndexError):
        return None


def _cpu_flags() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return next((line.split(":", 1)[1].split() for line in lines if line.lower().startswith(("flags", "features"))), [])
