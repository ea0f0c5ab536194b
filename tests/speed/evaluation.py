"""How fast predictions are scored with intervals, beside MIDRC-MELODY, fairlearn and SciPy on the same work.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install MIDRC-MELODY==0.3.3 fairlearn==0.15.0
    MIDRC_ML_DATA=FOLDER python tests/speed/evaluation.py [/tmp/peers/bin/python]

Without the peers' python, what needs it is left out, and said. Each of ours is the best of five, a peer runs once where
it takes seconds: a disturbed peer would flatter us by little, a disturbed run of milliseconds by much. MELODY resamples
each group by itself and has no clusters; ours draws patients, once for all groups. Both use all cores.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import bootstrap
from sklearn.metrics import recall_score, roc_auc_score

from midrc_ml.evaluation.delong import auroc_interval, clustered_delong, delong
from midrc_ml.evaluation.evaluate import with_threshold
from midrc_ml.evaluation.melody import qwk_of_levels_seen
from midrc_ml.evaluation.metrics import auprc, auroc
from midrc_ml.evaluation.scored_part import Asked, ScoredPart
from midrc_ml.evaluation.settings import Evaluation, Fairness
from midrc_ml.evaluation.thresholded import sensitivity

REPEATS = 5
MELODY_DRAWS, FRAME_DRAWS, SCIPY_DRAWS = 1000, 100, 1000
BINS = [0, 18, 30, 40, 50, 65, 75, 85, np.inf]
BANDS = ["<18", "18-29", "30-39", "40-49", "50-64", "65-74", "75-84", "85+"]
MELODY_COLUMNS = ["age_binned", "ethnicity", "intersectional_race_ethnicity", "race", "sex"]


def invented(count: int, num_patients: int, num_groups: int) -> pd.DataFrame:
    """Studies of a binary task: a fifth positive, an AUROC of about 0.8, patients of several studies, groups `site`."""
    rng = np.random.default_rng(0)
    truth = (rng.random(count) < 0.2).astype(float)
    patient = rng.integers(0, num_patients, count) if num_patients < count else np.arange(count)
    return pd.DataFrame(
        {
            "patient_id": patient.astype(str),
            "y_true": truth,
            "y_score": 1 / (1 + np.exp(-(rng.normal(size=count) + 1.19 * truth - 0.6))),
            "site": rng.integers(0, num_groups, count).astype(str),
        }
    )


def best(work: Callable[[], object], repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def scored(studies: pd.DataFrame, metrics: dict, num_draws: int, columns: list[str], **asked: object) -> ScoredPart:
    bound = {name: with_threshold(metric, 0.5) for name, metric in metrics.items()}
    kind, threshold = str(asked.get("kind", "binary")), 0.5 if "kind" not in asked else np.nan
    fairness = Fairness(columns=columns, positive_from=asked.get("positive_from"))  # type: ignore[arg-type]
    return ScoredPart(studies, bound, Asked(kind, (), {}), Evaluation(num_draws=num_draws), fairness, threshold)


def big() -> None:
    """100,000 predictions of about 40,000 patients, 2,000 draws, three metrics, overall and in 20 groups."""
    studies = invented(100_000, 40_000, 20)
    metrics = {"auroc": auroc, "auprc": auprc, "sensitivity": sensitivity}
    started, busy = time.perf_counter(), time.process_time()
    part = scored(studies, metrics, 2000, ["site"])
    rows = [*part.overall(), *part.by_group(), *part.gaps()]
    wall, cpu = time.perf_counter() - started, time.process_time() - busy
    assert sum(row.get("low") is not None for row in rows) > 60
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))


def line(name: str, ours: str, peer: str, ratio: str, goal: str) -> None:
    print(f"{name:66} {ours:>18} {peer:>12} {ratio:>10} {goal:>16}", flush=True)


def against(name: str, ours: float, peer: float, goal: int) -> None:
    line(name, f"{ours:.4f} s", f"{peer:.2f} s", f"{peer / ours:,.0f} x", f">= {goal} x")


def main() -> None:
    peers = sys.argv[1] if len(sys.argv) > 1 else None
    print(f"{os.cpu_count()} cores")
    line("work", "ours", "peer", "ratio", "goal")
    done = subprocess.run([sys.executable, __file__, "--big"], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    line("100,000 x 2,000 draws, AUROC AUPRC sensitivity, 20 groups, gaps", f"{found['wall']:.1f} s "
         f"({found['cpu']:.1f} cpu)", f"{found['peak']:.2f} GiB", "", "< 10 s, < 1 GB")  # fmt: skip

    studies = invented(100_000, 100_000, 20)
    truth, score = studies["y_true"].to_numpy(), studies["y_score"].to_numpy()
    seconds = best(lambda: auroc_interval(*(value.item() for value in delong(truth, score[None]))))
    line("DeLong, 100,000 rows", f"{seconds:.4f} s", "", "", "< 0.1 s")
    patient = np.random.default_rng(1).integers(0, 40_000, len(truth))
    seconds = best(lambda: clustered_delong(truth, score[None], patient))
    line("DeLong of clusters (Obuchowski), 100,000 rows", f"{seconds:.4f} s", "", "", "")

    few = invented(2000, 2000, 5)
    truth, score = few["y_true"].to_numpy(), few["y_score"].to_numpy()
    for name, metric, peer in (
        ("AUROC", auroc, roc_auc_score),
        ("sensitivity", sensitivity, lambda y_true, y_score: recall_score(y_true, y_score >= 0.5)),
    ):
        asked = {"n_resamples": SCIPY_DRAWS, "paired": True, "vectorized": False, "method": "percentile", "rng": 0}
        theirs = best(lambda peer=peer, asked=asked: bootstrap((truth, score), peer, **asked), 1)
        ours = best(lambda metric=metric: scored(few, {"m": metric}, SCIPY_DRAWS, []).overall())
        against(f"scipy.stats.bootstrap, {name} (scikit-learn's), 2,000 studies", ours, theirs, 10)
    if peers is None:
        print("MIDRC-MELODY and fairlearn: left out, no python of theirs given (see the head of this file)")
        return

    data = Path(os.environ["MIDRC_ML_DATA"]) / "melody"
    frame = invented(10_000, 10_000, 10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "studies.csv"
        frame.to_csv(path, index=False)
        script = Path(__file__).with_name("evaluation_peers.py")
        arguments = [peers, str(script), str(data), str(MELODY_DRAWS), str(path), str(FRAME_DRAWS)]
        done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    theirs = json.loads(done.stdout)
    ours = best(lambda: [
        *(part := scored(frame, {"auroc": auroc, "sensitivity": sensitivity}, FRAME_DRAWS, ["site"])).overall(),
        *part.by_group(), *part.gaps(),
    ])  # fmt: skip
    name = f"fairlearn MetricFrame, AUROC and sensitivity, 10 groups, {FRAME_DRAWS} draws"
    against(name, ours, theirs["seconds"]["metric_frame"], 50)

    cases = pd.read_csv(data / "demo_truthNdemographics.csv").merge(pd.read_csv(data / "demo_scores.csv"))
    cases["age_binned"] = pd.cut(cases["age"], BINS, right=False, labels=BANDS).astype(str)
    cases = cases.rename(columns={"truth": "y_true"}).assign(patient_id=cases["case_name"].astype(str))
    models = [column for column in cases if column.startswith("ai_model")]

    def melody(metrics: dict, **asked: object) -> list[list[dict]]:
        return [
            scored(cases.assign(y_score=cases[model]), metrics, MELODY_DRAWS, MELODY_COLUMNS, kind="ordinal", **asked)
            .gaps()
            for model in models
        ]  # fmt: skip

    ours = best(lambda: melody({}, positive_from=4))
    against("MIDRC-MELODY EOD and AAOD, its demonstration, 1,000 draws", ours, theirs["seconds"]["eod_aaod"], 500)
    ours = best(lambda: melody({"qwk": qwk_of_levels_seen}))
    against("MIDRC-MELODY delta QWK, its demonstration, 1,000 draws", ours, theirs["seconds"]["delta_kappa"], 100)
    values = json.loads((Path(__file__).parents[1] / "oracles" / "melody.json").read_text())["values"]
    found = melody({"qwk": qwk_of_levels_seen}, positive_from=4)
    names = {"gap_to_reference": "delta_kappa", "equal_opportunity_difference": "eod",
             "average_absolute_odds_difference": "aaod"}  # fmt: skip
    off = [
        abs(row["value"] - values[names[row["quantity"]]][row["column"]][model][row["group"]])
        for model, rows in zip(models, found, strict=True)
        for row in rows
        if row["quantity"] in names
    ]
    print(f"{len(off)} point values, the farthest from MELODY's own by {max(off):.1e}")
    print(", ".join(f"{name} {number}" for name, number in theirs["versions"].items()))


if __name__ == "__main__":
    big() if sys.argv[1:] == ["--big"] else main()
