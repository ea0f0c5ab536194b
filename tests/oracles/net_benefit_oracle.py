"""Net benefit by dcurves, stored in `net_benefit.json` with the studies that it was computed of.

dcurves needs lifelines, which pins an old pandas: it is run in an environment of its own.

    python -m venv /tmp/dcurves && /tmp/dcurves/bin/pip install dcurves==1.1.7
    /tmp/dcurves/bin/python tests/oracles/net_benefit_oracle.py
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from dcurves import dca

PROBABILITIES = [0.05, 0.1, 0.2, 0.25, 0.35, 0.5, 0.7, 0.9]


def main() -> None:
    rng = np.random.default_rng(20)
    y_true = (rng.random(150) < 0.3).astype(int)
    y_score = np.round(np.minimum(0.25 * y_true + rng.beta(1.5, 3, 150), 1), 2)  # some are a threshold probability
    table = dca(
        data=pd.DataFrame({"y": y_true, "model": y_score}),
        outcome="y",
        modelnames=["model"],
        thresholds=PROBABILITIES,
    ).sort_values("threshold")
    values = {name: table.loc[table["model"] == name, "net_benefit"].tolist() for name in ("model", "all", "none")}
    stored = {
        "command": "python tests/oracles/net_benefit_oracle.py",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("dcurves", "lifelines", "pandas", "numpy")},
        "y_true": y_true.tolist(),
        "y_score": y_score.tolist(),
        "probabilities": PROBABILITIES,
        "net_benefit": values,
    }
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in stored.items())
    Path(__file__).with_name("net_benefit.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
