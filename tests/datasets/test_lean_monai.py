"""What a start imports, in a fresh process."""

import subprocess
import sys

import pytest

from midrc_ml.datasets import lean_monai

PROGRAM = """
import sys
import numpy, pandas, torch  # what a run has imported before
from midrc_ml.datasets.lean_monai import import_lean
import_lean()
from midrc_ml.models.image import densenet121
from midrc_ml.training.loop import train
from midrc_ml.training.steps import EagerAdamW
network = densenet121(num_outputs=1)
optimizer = EagerAdamW(network.parameters(), lr=0.1, fused=True)
network(torch.zeros(2, 1, 64, 64)).sum().backward()
optimizer.step()
heavy = {"mlflow", "matplotlib", "sklearn", "scipy", "ignite", "nibabel", "pydicom", "torch._dynamo"} & set(sys.modules)
assert not heavy, heavy
import nibabel, scipy.signal  # refused to MONAI alone
print("lean")
"""


@pytest.mark.slow
def test_a_first_step_needs_neither_torchs_compiler_nor_what_monai_would_import_of_others() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "lean"), done.stderr


def test_a_process_of_several_jobs_keeps_all_of_monai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean_monai, "_may_be_lean", True)
    monkeypatch.delitem(sys.modules, "monai", raising=False)
    asked: list[str] = []
    monkeypatch.setattr(lean_monai.importlib, "import_module", asked.append)
    lean_monai.import_lean()
    lean_monai.keep_whole()
    lean_monai.import_lean()
    assert asked == ["monai"]
