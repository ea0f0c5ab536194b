"""Label time: what lies between an image and the events behind its label, and inputs that are known only later."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.audits.entry import AuditEntry, Status, not_applicable
from midrc_ml.audits.simple_models import named_columns
from midrc_ml.cohorts.reader import Tables
from midrc_ml.datasets.clinical_events import KNOWN_LATER
from midrc_ml.evaluation.weighted import Array
from midrc_ml.tables.schemas import EVENT_KINDS
from midrc_ml.tasks.at_risk import FLAG_OF
from midrc_ml.tasks.task import Task

# Who has begun such an event is no longer somebody of whom it can be predicted.
_NOT_AFTER = ("icu_stay", "ventilation", "death")
_AT_IMAGE = {"icu_stay": "in_icu", "ventilation": "intubation_present"}  # readings of the image itself
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
TELLS_ALL = 0.9  # of the way from nothing to everything that one column may tell of the label
_LEAST_KNOWN = 20
_MOST_WORDS = 12


def distance_entry(task: Task, tables: Tables, studies: pd.DataFrame) -> AuditEntry:
    """`label_time`: how far images are from the events behind their labels; value: studies after such an event began.

    Told anew from the tables, without the label rule. studies: the labelled ones, with day and label.
    """
    check = "label_time"
    kinds = event_kinds(task)
    if "readings" in task.needs and not kinds:
        return not_applicable(check, "the label is read off the image itself: no time lies between them")
    if not kinds:
        return not_applicable(check, "the label comes from no event that has a day")
    details, said = [], []
    inside: NDArray[np.bool_] = np.zeros(len(studies), dtype=bool)
    undated = task.rule_name == "flag"
    for kind in kinds:
        pairs = _pairs(tables, studies, kind)
        after = _seen_in_image(tables, studies, kind)
        if kind in _NOT_AFTER:
            # Who dies on the day of the image was alive when it was taken.
            after = after | _inside(pairs, studies, 0 if kind == "death" else _first_day(task))
        inside = inside | after
        details.append(_distances(kind, pairs, _asked(task, studies), after))
        said.append(_words(details[-1], "positives" if task.kind in ("binary", "time_to_event") else "studies"))
    count, positive = int(inside.sum()), _asked(task, studies)
    status: Status = "fail" if count and not undated else "pass"
    what = "nothing"
    if count:
        said.insert(0, f"{count} of {len(studies)} studies ({int((inside & positive).sum())} of {int(positive.sum())} "
                       f"positives) show a patient in whom {' or '.join(kinds)} had begun")  # fmt: skip
        what = "leave them out: a model that sees the event does not predict it"
    if undated:
        status = "warn"
        dated = int(sum(row["positives with a day"] for row in details))
        others = int(positive.sum()) - dated
        shown = f", and none of the other {others} images can be shown to come before it" if others > 0 else ""
        said.insert(
            0, f"the label is an undated flag: of {int(positive.sum())} positives {dated} have a dated event{shown}"
        )
        what = "take a dated task where the cohort has days; else say that the image may show the event itself"
    return AuditEntry(
        check=check,
        status=status,
        value=float(count),
        evidence="; ".join(said),
        what_to_do=what,
        details=details,
    )


def event_kinds(task: Task) -> list[str]:
    """The kinds of events that the label of a task is made of."""
    asked = task.settings.get("event")
    if asked:
        return [asked] if isinstance(asked, str) else [str(kind) for kind in asked]  # type: ignore[attr-defined]
    column = task.settings.get("column")
    if column:
        return [kind for kind, flag in FLAG_OF.items() if flag == column] + (
            ["covid_test"] if column == "covid_ever" else []
        )
    return [kind for kind in task.needs if kind in EVENT_KINDS]


def inputs_entry(task: Task, tables: Tables, studies: pd.DataFrame, clinical: pd.DataFrame | None) -> AuditEntry:
    """`label_time.inputs`: columns that are known only later, or that alone tell the label; value: how many.

    Looked at are the run's clinical table, and each laboratory value, observation, condition and medication of the
    cohort, whether the run reads it or not: its value, and whether it is there. studies: with part and label.
    """
    check = "label_time.inputs"
    label = _ordered_label(task, studies)
    if label is None:
        return not_applicable(check, "labels have no order, or are all alike")
    used = {} if clinical is None else {str(name): clinical[name] for name in clinical}
    there = _undated_and_dated(tables, studies)
    if not used and not there:
        return not_applicable(check, "the run reads no clinical table, and the cohort has none")
    later = sorted({name for name in there if name in KNOWN_LATER})
    told = [name for name, values in used.items() if column_tells(values, label) >= TELLS_ALL]
    also = [name for name, values in there.items() if name not in later and column_tells(values, label) >= TELLS_ALL]
    missing = [name for name in later if column_tells(there[name].notna().astype("float64"), label) >= TELLS_ALL]
    said = []
    if told:
        said.append(f"the run's own inputs hold {len(told)} columns that alone tell the label: {named_columns(told)}")
    if later:
        more = (
            f" (of {named_columns(missing)} already the pattern of missing values tells the label)" if missing else ""
        )
        said.append(f"known only after the day of the question: {named_columns(later, _MOST_WORDS)}{more}")
    if also:
        said.append(f"alone tell the label, by value or by being there: {named_columns(also)}")
    count = len({*told, *later, *also})
    used_later = [name for name in used if name.split(".", 1)[-1] in KNOWN_LATER]
    status: Status = "fail" if told or used_later else "warn" if count else "pass"
    return AuditEntry(
        check=check,
        status=status,
        value=float(count),
        evidence="; ".join(said) or f"none of {len(there)} columns is known to come later, or alone tells the label",
        what_to_do="take them out of clinical.columns and clinical.events" if status == "fail"
        else "do not read them: the run does not" if count else "nothing",
        details=[{"column": name, "why": why} for names, why in ((told, "tells the label, and is read"),
                 (later, "known later"), (also, "tells the label")) for name in names],
    )  # fmt: skip


def column_tells(values: pd.Series, label: Array) -> float:
    """How much one column alone tells of an ordered label: 0 nothing, 1 all; by its value or by being missing.

    Of numbers the size of Somers' D of the label on them (for two classes |2 AUROC - 1|), of words that of the order
    of their mean labels, where each has 5 studies or more.
    """
    known = values.notna().to_numpy()
    found = [_somers(known.astype(np.float64), label)] if 0 < known.sum() < len(known) else [0.0]
    if known.sum() >= _LEAST_KNOWN and len(np.unique(label[known])) > 1:
        numbers = pd.to_numeric(values[known], errors="coerce")
        if numbers.notna().mean() > 0.5:
            held = numbers.notna().to_numpy()
            found.append(_somers(numbers[held].to_numpy(dtype=np.float64), label[known][held]))
        else:
            words = values[known].astype("str")
            large = words.map(words.value_counts()) >= 5
            means = pd.Series(label[known], index=words.index).groupby(words).transform("mean")
            if large.any() and words[large].nunique() > 1:
                found.append(_somers(means[large].to_numpy(dtype=np.float64), label[known][large.to_numpy()]))
    return max(found)


def _somers(score: Array, label: Array) -> float:
    """|Somers' D| of the score by the label; 0 where one of them does not vary, or too few are of a class."""
    classes, counts = np.unique(label, return_counts=True)
    if len(classes) < 2 or len(label) < _LEAST_KNOWN or np.ptp(score) == 0:
        return 0.0
    if len(classes) > 2:
        return float(abs(np.corrcoef(_ranks(score), _ranks(label))[0, 1]))
    if counts.min() < 5:
        return 0.0
    positive = label == classes[1]
    wins = _ranks(score)[positive].sum() - counts[1] * (counts[1] + 1) / 2
    return float(abs(2 * wins / (counts[0] * counts[1]) - 1))


def _ranks(values: Array) -> Array:
    """From 1 on, equal values sharing the middle of theirs."""
    return pd.Series(values).rank().to_numpy()


def _ordered_label(task: Task, studies: pd.DataFrame) -> Array | None:
    label = studies["label"].to_numpy(dtype=np.float64)
    return None if task.kind == "multiclass" or len(np.unique(label)) < 2 else label


def _undated_and_dated(tables: Tables, studies: pd.DataFrame) -> Mapping[str, pd.Series]:
    """{name: what is last known of it on the day of the study, or undated} of what was measured, aligned."""
    kinds = ("laboratory", "observation", "condition", "medication")
    events = tables.events[tables.events["kind"].isin(kinds) & tables.events["name"].notna()]
    rows = pd.DataFrame({"row": range(len(studies)), "case_id": studies["case_id"].to_numpy(),
                         "day": studies["day"].to_numpy(dtype=np.float64)})  # fmt: skip
    pairs = rows.merge(events[["case_id", "name", "start_day", "value"]], on="case_id")
    pairs = pairs[pairs["start_day"].isna() | (pairs["start_day"] <= pairs["day"])]
    last = pairs.sort_values("start_day", na_position="first", kind="stable").drop_duplicates(
        ["row", "name"], keep="last"
    )
    return {
        str(name): of_name.set_index("row")["value"].fillna("there").reindex(range(len(studies)))
        for name, of_name in last.groupby("name")
    }


def _first_day(task: Task) -> int:
    return int(task.settings.get("first_day", 1))  # type: ignore[call-overload]


def _pairs(tables: Tables, studies: pd.DataFrame, kind: str) -> pd.DataFrame:
    """row, label, days from the study to each event's begin and end."""
    events = tables.events[(tables.events["kind"] == kind) & tables.events["start_day"].notna()]
    rows = pd.DataFrame({"row": range(len(studies)), "case_id": studies["case_id"].to_numpy(),
                         "day": studies["day"].to_numpy(dtype=np.float64)})  # fmt: skip
    pairs = rows.merge(events[["case_id", "start_day", "end_day"]], on="case_id").dropna(subset="day")
    return pairs.assign(begins=pairs["start_day"] - pairs["day"], ends=pairs["end_day"] - pairs["day"])


def _inside(pairs: pd.DataFrame, studies: pd.DataFrame, first_day: int) -> NDArray[np.bool_]:
    """Whether a study lies in such an event, or after one that has no end."""
    began = np.floor(pairs["begins"]) < first_day
    lasts = pairs["ends"].isna() | (pairs["ends"] >= 0)
    # Of an event without an end that began long before, nobody knows: only its own day counts.
    recent = pairs["ends"].notna() | (np.floor(pairs["begins"]) >= -1)
    return np.isin(np.arange(len(studies)), pairs.loc[began & lasts & recent, "row"].to_numpy())


def _seen_in_image(tables: Tables, studies: pd.DataFrame, kind: str) -> NDArray[np.bool_]:
    """Whether a reader noted on the image itself that the event had begun."""
    name = _AT_IMAGE.get(kind)
    readings = tables.readings[(tables.readings["name"] == name) & (tables.readings["value"] == 1)]
    return np.asarray(studies["study_id"].isin(readings["study_id"]).to_numpy(), dtype=bool)


def _asked(task: Task, studies: pd.DataFrame) -> NDArray[np.bool_]:
    """The positives; of tasks that have none, every study."""
    if task.kind in ("binary", "time_to_event"):
        return np.asarray(studies["label"].to_numpy(dtype=np.float64) == 1)
    return np.ones(len(studies), dtype=bool)


def _distances(kind: str, pairs: pd.DataFrame, positive: NDArray[np.bool_], after: NDArray[np.bool_]) -> dict[str, Any]:
    """Days from the study to the first event that does not lie before it, of the positives; counts of the others."""
    ahead = pairs[pairs["begins"] >= 0].groupby("row")["begins"].min()
    days = ahead[positive[ahead.index.to_numpy()]] if len(ahead) else ahead
    made: dict[str, Any] = {
        "kind": kind,
        "positives": int(positive.sum()),
        "positives with a day": int(np.isin(np.flatnonzero(positive), pairs["row"].to_numpy()).sum()),
        "begins later": len(days),
        "on its day": int((np.floor(days) == 0).sum()),
        "had begun": int(after.sum()),
    }
    names = ("least days", "lower quartile", "median days", "upper quartile", "most days")
    values = np.quantile(days, _QUANTILES) if len(days) >= _LEAST_TO_QUOTE else [None] * len(names)
    return made | {name: None if value is None else float(value) for name, value in zip(names, values, strict=True)}


_LEAST_TO_QUOTE = 11  # of fewer, a quantile is a patient's own value


def _words(row: Mapping[str, Any], noun: str) -> str:
    if row["median days"] is None:
        return f"{row['kind']}: in {row['begins later']} of {row['positives']} {noun} it begins after the image"
    return (
        f"{row['kind']}: of {row['positives']} {noun} it begins after the image in {row['begins later']} (median "
        f"{row['median days']:g} days, {row['least days']:g} to {row['most days']:g}; {row['on its day']} on its day)"
    )
