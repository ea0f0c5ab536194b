"""Close runs in MLflow that were killed: nothing but the process itself would have ended them."""

import logging
from collections.abc import Mapping

from midrc_ml.tracking.mlflow_tracker import quiet

log = logging.getLogger(__name__)


def close_runs(store: str, last_signs: Mapping[str, int], *, reason: str) -> list[str]:
    """End these runs as KILLED, where they still are RUNNING; the ids of those that were.

    store: a tracking URI. last_signs: {run id: its last sign of life in ms since 1970, which becomes its end}.
    reason: a tag of the run. A run that was closed can still be gone on with: it is RUNNING again then.
    """
    from mlflow import MlflowClient

    quiet()
    client = MlflowClient(tracking_uri=store)
    closed = []
    for run_id, last_sign in last_signs.items():
        if client.get_run(run_id).info.status != "RUNNING":
            continue
        client.set_tag(run_id, "failed", reason)
        client.set_terminated(run_id, "KILLED", end_time=last_sign)
        closed.append(run_id)
    return closed
