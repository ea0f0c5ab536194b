"""Metrics of time-to-event tasks by scikit-survival and lifelines, stored in `survival.json` with the studies.

    python -m venv /tmp/survival && /tmp/survival/bin/pip install scikit-survival==0.28.0 lifelines==0.30.3
    /tmp/survival/bin/python tests/oracles/survival_oracle.py

scikit-survival takes the probability of being followed after a study's day, midrc_ml that of being followed until it:
they are the same here, where events come on even days and censoring on odd ones. Its `tau` leaves out that day itself.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
from lifelines import KaplanMeierFitter
from lifelines.utils import concordance_index
from sksurv.metrics import brier_score, concordance_index_censored, concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.util import Surv

HORIZONS = [60, 150, 300]


def values_of(event: np.ndarray, day: np.ndarray, risk: np.ndarray) -> dict[str, object]:
    truth = Surv.from_arrays(event, day)
    curve = KaplanMeierFitter().fit(day, event)
    at_horizons = {
        "concordance_index_ipcw": [concordance_index_ipcw(truth, truth, risk, tau=at + 0.5)[0] for at in HORIZONS],
        "auroc_at_horizon": [cumulative_dynamic_auc(truth, truth, risk, [at])[0][0] for at in HORIZONS],
        "ipcw_brier_loss": [brier_score(truth, truth, 1 - risk, [at])[1][0] for at in HORIZONS],
        "free_of_event": [float(curve.predict(at)) for at in HORIZONS],
    }
    return {
        "concordance_index": {
            "scikit-survival": concordance_index_censored(event, day, risk)[0],
            "lifelines": concordance_index(day, -risk, event),
        },
        **{name: np.asarray(values).tolist() for name, values in at_horizons.items()},
    }


def main() -> None:
    rng = np.random.default_rng(7)
    count = 160
    risk = np.round(rng.random(count), 2)  # a probability, and often tied
    until_event = 6 * np.ceil(rng.exponential(140 / (0.3 + 2 * risk)) / 6)
    until_censored = 8 * np.floor(rng.uniform(0, 440, count) / 8) + 1
    event = until_event < until_censored
    day = np.where(event, until_event, until_censored)
    weight = rng.integers(0, 4, count)
    stored = {
        "command": "python tests/oracles/survival_oracle.py",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("scikit-survival", "lifelines", "numpy")},
        "event": event.astype(int).tolist(),
        "day": day.astype(int).tolist(),
        "risk": risk.tolist(),
        "weight": weight.tolist(),
        "horizon_days": HORIZONS,
        "values": values_of(event, day, risk),
        "values_of_repeated_rows": values_of(*(np.repeat(part, weight) for part in (event, day, risk))),
    }
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in stored.items())
    Path(__file__).with_name("survival.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
