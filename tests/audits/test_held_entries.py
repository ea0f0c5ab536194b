"""Shortcuts and floors as entries: what they know, whether the model is better, and perfect scores."""

import numpy as np
import pandas as pd
import pytest

from midrc_ml.audits.held_entries import held_entries, reaches_the_model, readers_entry
from midrc_ml.audits.rivals import Rival
from midrc_ml.audits.settings import Audit
from midrc_ml.audits.test_part import TestPart, held_against
from midrc_ml.evaluation.metrics import auroc, mae
from midrc_ml.evaluation.settings import Evaluation


def part_of(label: np.ndarray, name: str = "auroc", kind: str = "binary") -> TestPart:
    studies = pd.DataFrame({"patient_id": [f"p{number}" for number in range(len(label))], "label": label})
    metric = {"auroc": auroc, "mae": mae}[name]
    constant = np.full(len(label), np.median(label) if kind == "regression" else label.mean())
    return TestPart.of(
        studies, constant, metrics={name: metric}, kind=kind, classes=(), evaluation=Evaluation(num_draws=300)
    )


def entries(part: TestPart, scores: dict[str, np.ndarray], model: np.ndarray | None = None) -> dict[str, object]:
    held = held_against(part, scores, model)
    rivals = [Rival(check=check, words="something", scores=values) for check, values in scores.items()]
    made = held_entries(rivals, held, part, Audit(), task_name="icu", apart={})
    return {entry.check: entry for entry in made}


RNG = np.random.default_rng(0)
LABEL = (RNG.random(300) < 0.4).astype(float)
WEAK = LABEL * 0.6 + RNG.normal(0, 1, 300)
STRONG = LABEL * 4 + RNG.normal(0, 1, 300)
NOISE = RNG.normal(0, 1, 300)


def test_knowledge_goes_from_the_same_score_for_all_to_the_truth() -> None:
    part = part_of(LABEL)
    assert (part.no_knowledge, part.perfect) == (0.5, 1.0)
    assert part.knowledge(0.6) == pytest.approx(0.2)
    numbers = part_of(np.arange(20.0), "mae", "regression")
    assert (numbers.no_knowledge, numbers.perfect) == (5.0, 0.0)
    assert numbers.knowledge(2.5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("scores", "status"), [(NOISE, "pass"), (WEAK, "warn"), (STRONG, "fail"), (LABEL, "fail"), (1 - LABEL, "pass")]
)
def test_a_shortcut_passes_warns_or_fails_by_what_it_knows(scores: np.ndarray, status: str) -> None:
    assert entries(part_of(LABEL), {"shortcut.border": scores})["shortcut.border"].status == status


def test_a_perfect_shortcut_has_a_limit_by_its_number_of_patients() -> None:
    # Of 30 positives, Clopper and Pearson: 0.025 ** (1 / 30) = 0.8843.
    label = np.r_[np.ones(30), np.zeros(60)]
    entry = entries(part_of(label), {"shortcut.border": label})["shortcut.border"]
    assert (entry.value, entry.high) == (1.0, 1.0)
    assert entry.low == pytest.approx(0.5 + 0.5 * (2 * 0.025 ** (1 / 30) - 1))
    assert entry.status == "warn"  # too few to say that it knows more than 0.8
    many = np.r_[np.ones(60), np.zeros(60)]
    assert entries(part_of(many), {"shortcut.border": many})["shortcut.border"].status == "fail"


def test_what_may_look_at_the_lungs_warns_only_where_it_reaches_the_model() -> None:
    part = part_of(LABEL)
    assert entries(part, {"shortcut.thumbnail": STRONG})["shortcut.thumbnail"].status == "pass"
    assert entries(part, {"shortcut.thumbnail": STRONG}, STRONG + NOISE / 10)["shortcut.thumbnail"].status == "warn"
    assert entries(part, {"shortcut.thumbnail": WEAK}, STRONG)["shortcut.thumbnail"].status == "pass"


def test_a_model_has_to_be_better_than_its_floors() -> None:
    part = part_of(LABEL)
    constant = np.full(300, 0.4)
    beaten = entries(part, {"floor.prevalence": constant, "floor.age_sex": WEAK}, STRONG)
    assert (beaten["floor.prevalence"].status, beaten["floor.age_sex"].status) == ("pass", "pass")
    assert "the model's" in beaten["floor.prevalence"].evidence
    assert "is better (difference" in beaten["floor.age_sex"].evidence
    lost = entries(part, {"floor.prevalence": constant, "floor.age_sex": STRONG}, NOISE)
    assert (lost["floor.prevalence"].status, lost["floor.age_sex"].status) == ("warn", "warn")
    assert "is worse" in lost["floor.age_sex"].evidence
    alone = entries(part, {"floor.prevalence": constant, "floor.age_sex": STRONG})
    assert (alone["floor.prevalence"].status, alone["floor.age_sex"].status) == ("pass", "pass")


def test_the_difference_is_the_models_value_less_that_of_the_shortcut() -> None:
    part = part_of(LABEL)
    held = held_against(part, {"shortcut.border": WEAK}, STRONG)["shortcut.border"]
    expected = auroc(LABEL, STRONG) - auroc(LABEL, WEAK)
    assert held.difference is not None
    assert held.difference["difference"] == pytest.approx(expected)
    assert held.difference["low"] < expected < held.difference["high"]
    assert not reaches_the_model(held, None, part)
    assert reaches_the_model(held_against(part, {"a": WEAK}, WEAK + NOISE / 100)["a"], None, part)
    assert not reaches_the_model(held_against(part, {"a": NOISE}, WEAK)["a"], None, part)


def test_of_an_error_the_lower_one_is_the_better_one() -> None:
    label = np.arange(60.0) % 7
    part = part_of(label, "mae", "regression")
    noise = np.random.default_rng(1).normal(0, 1, 60)
    constant = np.full(60, 3.0)
    found = entries(part, {"floor.prevalence": constant}, label + noise / 10)["floor.prevalence"]
    assert found.status == "pass"
    assert entries(part, {"floor.prevalence": constant}, constant + 3 * noise)["floor.prevalence"].status == "warn"
    assert entries(part, {"shortcut.file": label + noise / 20})["shortcut.file"].status == "fail"


def test_readers_are_a_ceiling_where_there_are_several() -> None:
    row = {"metric": "qwk", "value": 0.89, "low": 0.86, "high": 0.91, "comparison": "reader against reader"}
    model = {**row, "comparison": "model against reader", "value": 0.5, "low": 0.4, "high": 0.6}
    assert readers_entry([]).status == "not_applicable"
    entry = readers_entry([row, model])
    assert (entry.status, entry.value) == ("pass", 0.89)
    assert "the model with single readers with qwk 0.500" in entry.evidence
