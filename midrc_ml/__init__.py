"""Benchmarks and training on medical-imaging studies of the MIDRC data commons."""

import os

__version__ = "0.1.0"

# MONAI imports mlflow by itself, and mlflow reads this once, at import: it has to be set before either.
# Medical sites do not expect usage data to leave the machine; set it to "false" to allow that.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# OpenMP reads this once, when torch is imported. By default its threads spin while they wait: two runs on two
# cores then train many times slower than with waiting threads asleep. A run alone on a small network pays for it
# with some of its speed; OMP_WAIT_POLICY=ACTIVE in the shell takes that back.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
