"""What a careful reviewer would say first, in plain words."""

from collections.abc import Sequence

from midrc_ml.audits.entry import AuditEntry

# Of warnings, in the order in which they matter; what is in none comes after all of these.
_ORDER = (
    "leakage.patient",
    "leakage.study",
    "leakage.image",
    "leakage.near_duplicate",
    "leakage.pretraining",
    "leakage.run_overlap",
    "floor.prevalence",
    "shortcut.file",
    "shortcut.metadata",
    "shortcut.border",
    "shortcut.missingness",
    "shortcut.source",
    "label_time",
    "label_time.inputs",
    "floor.age_sex",
    "floor.clinical",
    "floor.image",
    "shortcut.thumbnail",
    "shortcut.site",
    "shortcut.conditional",
    "shortcut.features",
    "label_time.windows",
    "privacy",
)
_NOT_OF_LUNGS = ("shortcut.file", "shortcut.metadata", "shortcut.border", "shortcut.missingness")
_MOST = 4  # findings that are said before the others
_MOST_NAMED = 4  # checks that could not be made


def verdict(audit: Sequence[AuditEntry], *, reached: Sequence[str] = ()) -> list[str]:
    """Sentences: the worst finding first, then how many there are, and what could not be looked at.

    reached: checks of shortcuts that the model is not shown to be better than, the most telling first: one of them
    always stands in the first sentence.
    """
    found = in_order(audit, reached=reached)
    counts = {status: sum(entry.status == status for entry in audit) for status in ("fail", "warn", "not_applicable")}
    made = len(audit) - counts["not_applicable"]
    without = [entry.check for entry in audit if entry.status == "not_applicable"]
    listed = ", ".join(without) if len(without) <= _MOST_NAMED else f"{len(without)} checks, with the reasons below"
    not_made = f" Not made: {listed}." if without else ""
    if not found:
        return [f"A careful reviewer would find nothing to object to in {made} checks.{not_made}"]
    first = found[:1] + [entry for entry in found[1:] if entry.check in reached][:1]
    rest = [entry for entry in found if entry not in first]
    sentences = ["A careful reviewer would first say: " + " And: ".join(map(_sentence, first))]
    sentences += [_sentence(entry) for entry in rest[: _MOST - len(first)]]
    others = ", ".join(entry.check for entry in rest[_MOST - len(first) :])
    more = f"Also: {others}. " if others else ""
    sentences.append(f"{more}Of {made} checks {counts['fail']} fail and {counts['warn']} warn.{not_made}")
    return sentences


def in_order(audit: Sequence[AuditEntry], *, reached: Sequence[str] = ()) -> list[AuditEntry]:
    """What failed, then what warns: leaks, what no lung can explain, other shortcuts that reach the model, the rest.

    Of each that which reaches the model comes first.
    """

    def place(entry: AuditEntry) -> tuple[bool, int, int]:
        rank = _ORDER.index(entry.check) if entry.check in _ORDER else len(_ORDER)
        if entry.check.startswith("leakage") or entry.check == "floor.prevalence":
            return entry.status != "fail", 0, rank
        level = 1 if entry.check in _NOT_OF_LUNGS else 3
        if entry.check in reached:
            return entry.status != "fail", level, reached.index(entry.check)
        return entry.status != "fail", level + 1 if level == 1 else 4, rank

    return sorted((entry for entry in audit if entry.status in ("fail", "warn")), key=place)


def _sentence(entry: AuditEntry) -> str:
    text = entry.evidence.rstrip(".")
    return f"{text[:1].upper()}{text[1:]} ({entry.check}: {entry.status})."
