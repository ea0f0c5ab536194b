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
_MOST = 4  # findings that are said before the others
_MOST_NAMED = 4  # checks that could not be made


def verdict(audit: Sequence[AuditEntry], *, reached: Sequence[str] = ()) -> list[str]:
    """Sentences: the worst finding first, then how many there are, and what could not be looked at.

    reached: checks of shortcuts that the model is not shown to be better than, the most telling first.
    """
    found = in_order(audit, reached=reached)
    counts = {status: sum(entry.status == status for entry in audit) for status in ("fail", "warn", "not_applicable")}
    made = len(audit) - counts["not_applicable"]
    without = [entry.check for entry in audit if entry.status == "not_applicable"]
    listed = ", ".join(without) if len(without) <= _MOST_NAMED else f"{len(without)} checks, with the reasons below"
    not_made = f" Not made: {listed}." if without else ""
    if not found:
        return [f"A careful reviewer would find nothing to object to in {made} checks.{not_made}"]
    sentences = [f"A careful reviewer would first say: {_sentence(found[0])}"]
    sentences += [_sentence(entry) for entry in found[1:_MOST]]
    others = ", ".join(entry.check for entry in found[_MOST:])
    more = f"Also: {others}. " if others else ""
    sentences.append(f"{more}Of {made} checks {counts['fail']} fail and {counts['warn']} warn.{not_made}")
    return sentences


def in_order(audit: Sequence[AuditEntry], *, reached: Sequence[str] = ()) -> list[AuditEntry]:
    """What failed, then what warns: leaks, shortcuts that reach the model, and the others in the order of matter."""

    def place(entry: AuditEntry) -> tuple[bool, int, int]:
        rank = _ORDER.index(entry.check) if entry.check in _ORDER else len(_ORDER)
        if entry.check.startswith("leakage") or entry.check == "floor.prevalence":
            return entry.status != "fail", 0, rank
        if entry.check in reached:
            return entry.status != "fail", 1, reached.index(entry.check)
        return entry.status != "fail", 2, rank

    return sorted((entry for entry in audit if entry.status in ("fail", "warn")), key=place)


def _sentence(entry: AuditEntry) -> str:
    text = entry.evidence.rstrip(".")
    return f"{text[:1].upper()}{text[1:]} ({entry.check}: {entry.status})."
