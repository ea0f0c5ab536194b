"""Entries of shortcuts and floors: a simple model's score on the test part, and the model's paired difference to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from midrc_ml.audits.entry import AuditEntry, Status, not_applicable
from midrc_ml.audits.rivals import Rival
from midrc_ml.audits.settings import Audit
from midrc_ml.audits.test_part import Held, TestPart, difference_words, value_words
from midrc_ml.evaluation.ceiling import MODEL_READER, READER_READER

PREVALENCE = "floor.prevalence"
# What may look at the lungs, or at the patient: that it knows something is no fault.
_MAY_KNOW = ("shortcut.thumbnail", "floor.age_sex", "floor.clinical", "floor.image")
_WHAT_TO_DO = {
    "shortcut.metadata": "compare within one site and one view; train with split=leave_one_site_out, or with "
    "algorithm.by=[site,label]",
    "shortcut.file": "find out how the files of the classes differ, and make them alike before they are decoded",
    "shortcut.border": "crop the films, or cover letters and markers, and train again",
    "shortcut.thumbnail": "say that a thumbnail does as well; look for what tells the classes apart at that size",
    "shortcut.missingness": "use only what was asked of every patient, or say that what is missing does as well",
    "floor.prevalence": "more training studies, another model, or another question: nothing is shown to be learned",
    "floor.age_sex": "report it beside the model; a model has to be better than age and sex",
    "floor.clinical": "report it beside the model; a model has to be better than the clinical table, or to add to it",
    "floor.image": "report it beside the model; a network has to be better than 32 x 32 pixels and a regression",
}


def held_entries(
    rivals: Sequence[Rival],
    held: Mapping[str, Held],
    part: TestPart,
    settings: Audit,
    *,
    task_name: str,
    apart: Mapping[str, Held],
) -> list[AuditEntry]:
    """An entry for each rival. held: of those that have scores, with the model's differences where there is a model.

    apart: of those that have scores of all studies, each patient by a model of others.
    """
    return [
        _entry(rival, held[rival.check], apart.get(rival.check), part, settings, task_name)
        if rival.check in held
        else not_applicable(rival.check, rival.why_not)
        for rival in rivals
    ]


def reaches_the_model(held: Held, apart: Held | None, part: TestPart) -> bool:
    """Whether it knows something, and the model is not shown to be better."""
    knows = held.knows_something or (apart is not None and apart.knows_something)
    return knows and held.difference is not None and held.is_beaten(part.is_better_low) is not True


def _entry(rival: Rival, held: Held, apart: Held | None, part: TestPart, settings: Audit, task_name: str) -> AuditEntry:
    status = _status(rival.check, held, apart, part, settings)
    alone = "" if rival.check == PREVALENCE else " alone"
    tells = "gives" if rival.check.startswith("floor.") else "tells"
    said = f"{rival.words}{alone} {tells} {task_name} with {value_words(part.name, held.row)} on the test part"
    if apart is not None and apart.row["value"] is not None:
        said += f" ({value_words('', apart.row).strip()} over all studies, cross-fitted)"
    compared = difference_words(held, part.is_better_low)
    row = held.row
    return AuditEntry(
        check=rival.check,
        status=status,
        value=row["value"],
        low=row["low"],
        high=row["high"],
        evidence="; ".join(text for text in (said, compared) if text),
        what_to_do="nothing" if status in ("pass", "not_applicable") else _WHAT_TO_DO[rival.check],
        details=[_detail(held, part), *([] if apart is None else [_detail(apart, part) | {"studies": "all"}])],
    )


def _status(check: str, held: Held, apart: Held | None, part: TestPart, settings: Audit) -> Status:
    if held.row["value"] is None:
        return "not_applicable"
    has_model = held.difference is not None
    if check.startswith("floor."):
        return "warn" if has_model and held.is_beaten(part.is_better_low) is not True else "pass"
    known = [one for one in (held, apart) if one is not None and one.knows_something]
    if check in _MAY_KNOW:
        return "warn" if known and has_model and held.is_beaten(part.is_better_low) is not True else "pass"
    if any(one.worst_knowledge >= settings.shortcut_fail for one in known):
        return "fail"
    if any(one.knowledge >= settings.shortcut_warn for one in known):
        return "warn"
    return "warn" if known and has_model and held.is_beaten(part.is_better_low) is not True else "pass"


def _detail(held: Held, part: TestPart) -> dict[str, Any]:
    """The numbers behind the entry. knowledge: 0 = as the same score for all, 1 = as the truth itself."""
    row, difference = held.row, held.difference
    made: dict[str, Any] = {
        "metric": part.name,
        "knowledge": None if held.knowledge != held.knowledge else held.knowledge,
        "n": row["n"],
        "method": row["method"],
        "reason": row["reason"],
    }
    if difference is not None:
        made |= {"model": difference["value_model"], "model_minus_this": difference["difference"],
                 "difference_low": difference["low"], "difference_high": difference["high"],
                 "p_value": difference["p_value"]}  # fmt: skip
    return made


def readers_entry(agreement: Sequence[Mapping[str, Any]]) -> AuditEntry:
    """`ceiling.readers`: how well readers agree with each other, which a model of their labels cannot be shown to pass.

    agreement: rows of `agreement.json` (`evaluation.ceiling`). value: reader against reader, of its first metric.
    """
    check = "ceiling.readers"
    rows = {row["comparison"]: row for row in reversed(agreement)}
    readers = rows.get(READER_READER)
    if readers is None or readers["value"] is None:
        return not_applicable(check, "the label has no two readers who read 10 studies in common")
    said = f"readers agree with each other with {value_words(readers['metric'], readers)}"
    model = rows.get(MODEL_READER)
    if model is not None and model["value"] is not None:
        said += f", the model with single readers with {value_words(model['metric'], model)}"
    return AuditEntry(
        check=check,
        status="pass",
        value=readers["value"],
        low=readers["low"],
        high=readers["high"],
        evidence=said,
        what_to_do="nothing",
    )
