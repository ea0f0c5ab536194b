"""Time and memory of the main job, from nothing: python tests/speed/main_job.py

The demo cohort is generated, decoded, trained on, evaluated, reported and tracked; the install is not counted.
Prints one line a number; nothing here is an assertion, because a clock is no test.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

JOB = [sys.executable, "-m", "midrc_ml.train"]
REPEATS = 3


def seconds(line: list[str], folder: str) -> float:
    """Wall time of a command that has to succeed."""
    started = time.monotonic()
    environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}
    subprocess.run(line, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def main() -> None:
    """Print the numbers of this machine."""
    cores = len(os.sched_getaffinity(0))
    for name, arguments in {"--help": ["--help"], "--cfg job": ["task=icu", "--cfg", "job"]}.items():
        with tempfile.TemporaryDirectory() as folder:
            times = sorted(seconds([*JOB, *arguments], folder) for _ in range(REPEATS))
        print(f"{name}: {times[REPEATS // 2]:.2f} s (median of {REPEATS}, {cores} cores)")
    with tempfile.TemporaryDirectory() as folder:
        taken = seconds([*JOB, "task=icu"], folder)
        (status,) = Path(folder).glob("logs/icu/runs/*/status.json")
        audit = json.loads(status.read_text())["audit_seconds"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"task=icu, demo cohort generated in it: {taken:.0f} s, peak {peak:.2f} GiB in one process ({cores} cores)")
    print(f"of that the audit: {audit:.1f} s, {audit / taken:.1%}")


if __name__ == "__main__":
    main()
