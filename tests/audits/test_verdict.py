"""What is said first, and what a run does with it."""

import pytest

from midrc_ml.audits.entry import AuditEntry, Status, not_applicable
from midrc_ml.audits.settings import Audit
from midrc_ml.audits.verdict import in_order, verdict
from midrc_ml.errors import InputError


def entry(check: str, status: Status, evidence: str = "something is so") -> AuditEntry:
    return AuditEntry(check=check, status=status, value=1.0, evidence=evidence, what_to_do="act")


def names(audit: list[AuditEntry], **told: list[str]) -> list[str]:
    return [found.check for found in in_order(audit, **told)]


def test_failures_come_first_then_leaks_then_shortcuts_that_reach_the_model() -> None:
    audit = [
        entry("floor.age_sex", "warn"),
        entry("shortcut.metadata", "warn"),
        entry("shortcut.thumbnail", "warn"),
        entry("leakage.image", "warn"),
        entry("privacy", "fail"),
        entry("leakage.patient", "pass"),
    ]
    assert names(audit) == ["privacy", "leakage.image", "shortcut.metadata", "floor.age_sex", "shortcut.thumbnail"]
    reached = ["shortcut.thumbnail"]
    first = ["privacy", "leakage.image", "shortcut.metadata", "shortcut.thumbnail"]
    assert names(audit, reached=reached)[:4] == first
    audit.append(entry("shortcut.border", "warn"))
    assert names(audit, reached=["shortcut.border", *reached])[2:5] == ["shortcut.border", *first[2:]]


def test_a_shortcut_that_reaches_the_model_stands_in_the_first_sentence() -> None:
    audit = [entry("leakage.image", "warn", "twice"), entry("shortcut.thumbnail", "warn", "a thumbnail does")]
    said = verdict(audit, reached=["shortcut.thumbnail"])
    assert said[0] == (
        "A careful reviewer would first say: Twice (leakage.image: warn). And: A thumbnail does "
        "(shortcut.thumbnail: warn)."
    )
    assert len(said) == 2


def test_the_first_sentence_is_the_worst_finding_in_its_own_words() -> None:
    said = verdict([entry("a", "pass"), entry("shortcut.border", "warn", "the border tells it"), entry("b", "warn")])
    assert said[0] == "A careful reviewer would first say: The border tells it (shortcut.border: warn)."
    assert said[-1] == "Of 3 checks 0 fail and 2 warn."


def test_what_could_not_be_made_is_said() -> None:
    assert verdict([entry("a", "pass"), not_applicable("b", "none")]) == [
        "A careful reviewer would find nothing to object to in 1 checks. Not made: b."
    ]
    many = [not_applicable(str(number), "none") for number in range(9)]
    assert "Not made: 9 checks" in verdict([entry("a", "pass"), *many])[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"refuse": "sometimes"}, r"audit.refuse is 'sometimes'; it must be one of fail, warn, never"),
        ({"duplicates": "merge"}, r"audit.duplicates is 'merge'; it must be one of refuse, drop, report"),
        ({"headers": -1}, r"audit.headers is -1"),
        ({"shortcut_warn": 0.9}, r"audit.shortcut_warn is 0.9 and shortcut_fail is 0.8"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Audit(**settings)


def test_strict_refuses_warnings_and_report_nothing() -> None:
    assert Audit().refused == ("fail",)
    assert Audit(refuse="warn").refused == ("fail", "warn")
    assert Audit(refuse="never").refused == ()
