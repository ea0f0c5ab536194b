"""Seconds from the start of the process to the first optimizer step, caches warm: python tests/speed/start.py [TURNS]

Ours: `python -m midrc_ml.train task=icu` , the demo cohort written, read and decoded before. Peers, in turns with it:
a program that imports what such programs import (Hydra, MLflow, matplotlib, pandas, scikit-learn, torch, MONAI) and
makes one step of the same network and batch from random numbers: no configuration, cohort, labels or images; and torch
imported, the same network built and stepped, with our way of importing MONAI, which is the limit. Medians of new
processes.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

OURS = """
import os, sys, time
started = time.perf_counter()
def stepped(*_):
    print(time.perf_counter() - started, flush=True)
    os._exit(0)
if __name__ == "__main__":
    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook
    register_optimizer_step_post_hook(stepped)
    import runpy
    runpy.run_module("midrc_ml.train", run_name="__main__")
"""
STEP = """
images, labels = torch.rand(32, 1, 64, 64), torch.zeros(32)
torch.nn.functional.binary_cross_entropy_with_logits(network(images)[:, 0], labels).backward()
optimizer.step()
print(time.perf_counter() - started)
"""
PLAIN = f"""
import time
started = time.perf_counter()
import hydra, mlflow, matplotlib.pyplot, pandas, sklearn.metrics, torch
from monai.networks.nets import DenseNet121
network = DenseNet121(spatial_dims=2, in_channels=1, out_channels=1)
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
{STEP}"""
LIMIT = f"""
import time
started = time.perf_counter()
import torch
from midrc_ml.datasets.lean_monai import import_lean
import_lean()
from midrc_ml.models.image import densenet121
from midrc_ml.training.steps import EagerAdamW
network = densenet121(num_outputs=1)
optimizer = EagerAdamW(network.parameters(), lr=1e-4)
{STEP}"""


def seconds(program: Path, arguments: list[str], folder: str) -> float:
    """What the program says last."""
    # Modules are compiled once, as they are where somebody works.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    line = [sys.executable, str(program), *arguments]
    done = subprocess.run(line, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print the medians, and the ratios."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        cache = f"paths.cache_dir={folder}/cache"
        prepare = [sys.executable, "-m", "midrc_ml.prepare", "cohort=demo", "task=icu", cache]
        subprocess.run(prepare, cwd=folder, check=True, capture_output=True)
        programs = {"ours": (OURS, ["task=icu", cache]), "plain": (PLAIN, []), "limit": (LIMIT, [])}
        taken: dict[str, list[float]] = {name: [] for name in programs}
        for name, (text, _) in programs.items():
            Path(folder, f"{name}.py").write_text(text)
        for turn in range(turns + 1):
            for name, (_, arguments) in programs.items():
                found = seconds(Path(folder, f"{name}.py"), arguments, folder)
                if turn:  # the first compiles
                    taken[name].append(found)
    ours, plain, limit = (median(taken[name]) for name in programs)
    print(f"first optimizer step after {ours:.1f} s (goal: under 2.5 where the plain program takes 4.2 to 5.0)")
    print(f"plain program {plain:.1f} s: ours takes {ours / plain:.2f} of it (goal: under {2.5 / 4.2:.2f})")
    print(f"limit {limit:.1f} s: ours takes {ours / limit:.2f} times as long (2.5 / 1.3 = 1.92)")


if __name__ == "__main__":
    main()
