"""The lean import of MONAI, each time in a fresh process."""

import subprocess
import sys

PROGRAM = """
import sys
import numpy, pandas, torch  # what a run has imported before
from midrc_ml.datasets.lean_monai import import_lean
import_lean()
heavy = {"mlflow", "matplotlib", "sklearn", "scipy", "ignite", "nibabel"} & set(sys.modules)
assert not heavy, heavy
from monai.networks.nets import DenseNet121
from midrc_ml.datasets.studies import StudyDataset
assert DenseNet121(2, 1, 1)(torch.zeros(1, 1, 64, 64)).shape == (1, 1)
import matplotlib, mlflow, scipy.signal, sklearn  # refused to MONAI alone
print("lean")
"""


def test_a_lean_monai_has_networks_and_datasets_and_hides_nothing_from_others() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "lean"), done.stderr
