"""How well readers agree with each other and with the model, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from midrc_ml.evaluation.ceiling import MODEL_MINUS_READERS
from midrc_ml.evaluation.metrics import is_better_low
from midrc_ml.reporting.tables import Table, limits_text, number, p_text


def agreement_table(rows: Sequence[Mapping[str, Any]]) -> Table | None:
    """Rows of `agreement.json`, by metric; None where there are none."""
    lines: list[tuple[str, ...]] = [("metric", "of", "value", "interval", "p", "studies", "pairs")]
    for row in rows:
        signed = row["comparison"] == MODEL_MINUS_READERS
        value = "not estimable" if row["value"] is None else number(row["value"], signed=signed)
        better = "low is better" if is_better_low(row["metric"]) else "high is better"
        limits = limits_text(row, signed=signed)
        counts = (str(row["n"]), str(row["num_pairs"]))
        lines.append((f"{row['metric']} ({better})", row["comparison"], value, limits, p_text(row["p_value"]), *counts))
    return Table("", lines) if rows else None
