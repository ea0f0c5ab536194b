"""Tables of a comparison of models."""

from collections.abc import Mapping, Sequence
from typing import Any

from midrc_ml.evaluation.metrics import is_better_low
from midrc_ml.reporting.tables import Table, limits_text, number, p_text

Row = dict[str, Any]
_HEX = 12


def difference_tables(rows: Sequence[Row], *, in_full: bool) -> list[Table]:
    """A table for each metric; of one pair of models one for all of them.

    in_full: also what a terminal has no room for: standard errors, DeLong's p-value and whom the difference favours.
    """
    pairs = {(row["model"], row["reference"]) for row in rows}
    if len(pairs) == 1:
        model, reference = next(iter(pairs))
        names: list[tuple[str, ...]] = [(row["metric"], _sign(row["metric"])) for row in rows]
        header = ["metric", "better", "value", "reference"]
        return [_difference_table(f"{model} against {reference}", header, names, rows, in_full=in_full)]
    references = {row["reference"] for row in rows}
    tables = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        chosen = [row for row in rows if row["metric"] == metric]
        title, header = f"{metric} ({direction(metric)})", ["model", "against", "value", "its value"]
        names = [(row["model"], row["reference"]) for row in chosen]
        if len(references) == 1:
            title, header = f"{title}, against {next(iter(references))}", ["model", "value", "reference"]
            names = [(row["model"],) for row in chosen]
        tables.append(_difference_table(title, header, names, chosen, in_full=in_full))
    return tables


def _difference_table(
    title: str, header: Sequence[str], names: Sequence[tuple[str, ...]], rows: Sequence[Row], *, in_full: bool
) -> Table:
    has_check = in_full and any(row["p_delong"] is not None for row in rows)
    columns = [*header, "difference", "interval", "p", "p (Holm)", *(["p DeLong"] if has_check else [])]
    lines = [(*columns, *(("sampling SE", "seed SE", "combined SE", "favours") if in_full else ()))]
    for name, row in zip(names, rows, strict=True):
        cells = (*name, *_change(row), *((p_text(row["p_delong"]),) if has_check else ()))
        errors = tuple(number(row[error]) for error in ("sampling_se", "seed_se", "combined_se"))
        lines.append((*cells, *((*errors, row["favours"] or "-") if in_full else ())))
    return Table(title, lines, best_first(rows))


def best_first(rows: Sequence[Row]) -> list[int]:
    """The positions of rows of one metric, the best difference first and those without one last."""
    sign = 1 if is_better_low(rows[0]["metric"]) else -1
    known = [place for place, row in enumerate(rows) if row["difference"] is not None]
    known.sort(key=lambda place: sign * rows[place]["difference"])
    return [*known, *(place for place in range(len(rows)) if rows[place]["difference"] is None)]


def value_table(metric: str, rows: Sequence[Row]) -> Table:
    """Each model in one metric: the mean over its seeds, and the two spreads apart."""
    header = ("model", "value", "interval", "seeds", "seed SD", "seed range", "sampling SE", "combined SD", "n")
    lines = [header]
    for row in rows:
        ends = f"{number(row['seed_low'])} to {number(row['seed_high'])}" if row["seed_sd"] is not None else "-"
        value = "not estimable" if row["value"] is None else number(row["value"])
        spreads = (number(row["seed_sd"]), ends, number(row["sampling_se"]), number(row["combined_sd"]))
        interval, seeds = limits_text(row, signed=False), str(row["num_seeds"] or "-")
        lines.append((row["model"], value, interval, seeds, *spreads, str(row["n"])))
    return Table(f"{metric} ({direction(metric)})", lines)


def group_table(metric: str, rows: Sequence[Row]) -> Table:
    """Each pair of models within each group, in one metric."""
    header = ("group", "n", "model", "against", "value", "its value", "difference", "interval", "p", "p (Holm)")
    lines = [header]
    for row in rows:
        group = f"{row['group']['column']}: {row['group']['value']}"
        lines.append((group, str(row["n"]), row["model"], row["reference"], *_change(row)))
    return Table(f"{metric} ({direction(metric)})", lines)


def levelling_table(rows: Sequence[Row]) -> Table:
    """What becomes of the gap between groups."""
    header = ("metric", "by", "model", "against", "largest gap", "its gap", "worst off before", "its change",
              "best off before", "its change", "lose", "gain", "levelling down")  # fmt: skip
    lines = [header]
    for row in rows:
        lines.append(
            (row["metric"], row["column"], row["model"], row["reference"], number(row["gap"]),
             number(row["gap_reference"]), row["worst_group"], number(row["worst_group_difference"], signed=True),
             row["best_group"], number(row["best_group_difference"], signed=True), ", ".join(row["harmed"]) or "-",
             ", ".join(row["helped"]) or "-", "yes" if row["levelling_down"] else "no")
        )  # fmt: skip
    return Table("largest gap between two groups (lose, gain: the interval of the change lies on one side of 0)", lines)


def source_table(sources: Sequence[Mapping[str, Any]]) -> Table:
    """The runs and files, and which model each belongs to."""
    header = ("model", "run or file", "seed", "threshold", "MLflow run", "split SHA-256")
    lines = [header]
    for source in sources:
        seed = "-" if source["seed"] is None else str(source["seed"])
        run_id, split = (str(source[name] or "-")[:_HEX] for name in ("run_id", "split_sha256"))
        lines.append((source["model"], source["shown"], seed, number(source["threshold"]), run_id, split))
    return Table("", lines)


def pair_of(row: Mapping[str, Any]) -> str:
    """The two models of a row."""
    return f"{row['model']} against {row['reference']}"


def _change(row: Row) -> tuple[str, ...]:
    change = "not estimable" if row["difference"] is None else number(row["difference"], signed=True)
    values = (number(row["value"]), number(row["value_reference"]))
    return (*values, change, limits_text(row, signed=True), p_text(row["p_value"]), p_text(row["p_holm"]))


def direction(metric: str) -> str:
    """Which values are the good ones, in words."""
    words = {None: "neither low nor high is better", True: "lower is better", False: "higher is better"}
    return words[is_better_low(metric)]


def _sign(metric: str) -> str:
    return {None: "-", True: "low", False: "high"}[is_better_low(metric)]
