"""What is settled on the validation part, stored as `decision.json` and read again."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from midrc_ml.errors import InputError
from midrc_ml.evaluation.decision import Decision
from midrc_ml.evaluation.recalibration import fit_recalibration
from midrc_ml.evaluation.thresholds import youden_threshold

STORED: dict[str, Any] = {
    "threshold": 0.25,
    "threshold_rule": "youden",
    "chosen_on": "validation",
    "n": 4,
    "n_positive": 2,
    "recalibration": {"method": "platt", "intercept": -1.0, "slope": 2.0},
}


def binary(seed: int, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = (rng.random(count) < 0.4).astype(float)
    return truth, np.clip(0.4 * truth + rng.random(count) * 0.6, 0, 1)


def test_the_threshold_is_chosen_by_the_rule() -> None:
    truth, score = [0, 0, 1, 1, 0], [0.1, 0.4, 0.3, 0.9, 0.2]
    found = Decision.of_validation(truth, score, kind="binary")
    assert (found.threshold, found.rule, found.chosen_on, found.n, found.n_positive) == (
        0.3,
        "youden",
        "validation",
        5,
        2,
    )
    assert found.apply_recalibration(score).tolist() == score
    found = Decision.of_validation(truth, score, kind="binary", rule={"specificity": 0.9}, chosen_on="pilot")
    assert (found.threshold, found.rule, found.chosen_on) == (0.9, "specificity of at least 0.9", "pilot")


def test_a_threshold_that_is_given_was_chosen_on_nothing() -> None:
    found = Decision.of_validation([1, 1], [0.2, 0.3], kind="binary", rule=0.5)
    assert (found.threshold, found.rule, found.chosen_on, found.n, found.n_positive) == (0.5, "0.5", "given", 2, 2)


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_the_threshold_is_one_of_recalibrated_scores(method: str) -> None:
    truth, score = binary(0)
    found = Decision.of_validation(truth, score, kind="binary", recalibration=method)
    assert found.recalibration == fit_recalibration(method, truth, score, "binary")
    recalibrated = found.apply_recalibration(score)
    assert found.threshold == youden_threshold(truth, recalibrated)
    assert found.threshold in recalibrated
    assert found.threshold not in score


def test_one_class_gives_no_threshold() -> None:
    found = Decision.of_validation([0, 0], [0.2, 0.3], kind="binary")
    assert math.isnan(found.threshold)
    assert (found.n, found.n_positive) == (2, 0)
    assert math.isnan(Decision.of_validation([], [], kind="binary").threshold)


@pytest.mark.parametrize(
    ("kind", "truth", "score", "num_positive"),
    [
        ("regression", [0.0, 1.0, 2.0], [0.1, 0.2, 0.3], None),
        ("ordinal", [0, 1, 2], [0.1, 0.2, 0.3], None),
        ("multiclass", [0, 1, 1], [[0.5, 0.5], [0.1, 0.9], [0.2, 0.8]], None),
        ("time_to_event", [[1, 20], [0, 30], [1, 4]], [0.1, 0.2, 0.3], 2),
    ],
)
def test_other_kinds_have_no_threshold(kind: str, truth: list, score: list, num_positive: int | None) -> None:
    found = Decision.of_validation(truth, score, kind=kind)
    assert math.isnan(found.threshold)
    assert (found.rule, found.n, found.n_positive) == ("none", 3, num_positive)
    assert found.recalibration.method == "none"


def test_labels_that_are_numbers_can_be_recalibrated() -> None:
    truth = np.arange(40.0) % 7
    found = Decision.of_validation(truth, 2 + 0.5 * truth, kind="ordinal", recalibration="linear")
    assert found.apply_recalibration([2, 3]) == pytest.approx([0, 2])


def test_wrong_settings_are_refused() -> None:
    truth, score = binary(1)
    with pytest.raises(InputError, match=r"evaluation.threshold is 'best'"):
        Decision.of_validation(truth, score, kind="binary", rule="best")
    with pytest.raises(InputError, match=r"evaluation.recalibration is 'linear'"):
        Decision.of_validation(truth, score, kind="binary", recalibration="linear")
    with pytest.raises(InputError, match="it needs 10 or more of each"):
        Decision.of_validation(truth[:12], score[:12], kind="binary", recalibration="platt")


# Stored and read again.


def test_the_file_has_the_form_that_others_rely_on(tmp_path: Path) -> None:
    truth, score = binary(2)
    found = Decision.of_validation(truth, score, kind="binary", recalibration="platt")
    found.save(tmp_path)
    stored = json.loads((tmp_path / "decision.json").read_text(encoding="utf-8"))
    assert list(stored) == list(STORED)
    assert stored == {
        "threshold": found.threshold,
        "threshold_rule": "youden",
        "chosen_on": "validation",
        "n": 200,
        "n_positive": int(truth.sum()),
        "recalibration": {"method": "platt", **found.recalibration.parameters},
    }


@pytest.mark.parametrize("method", ["none", "temperature", "platt", "isotonic"])
def test_what_is_read_again_decides_the_same(method: str, tmp_path: Path) -> None:
    truth, score = binary(3)
    found = Decision.of_validation(truth, score, kind="binary", recalibration=method)
    found.save(tmp_path)
    again = Decision.load(tmp_path)
    assert again == found
    assert again.apply_recalibration(score).tolist() == found.apply_recalibration(score).tolist()


def test_a_threshold_that_could_not_be_chosen_is_null(tmp_path: Path) -> None:
    Decision.of_validation([0, 0], [0.2, 0.3], kind="binary").save(tmp_path)
    text = (tmp_path / "decision.json").read_text(encoding="utf-8")
    assert json.loads(text)["threshold"] is None
    assert math.isnan(Decision.load(tmp_path).threshold)


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"decision.json does not exist; a finished run has one"):
        Decision.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is damaged: it is no JSON"),
        (json.dumps(STORED)[:-5], "is damaged: it is no JSON"),
        ("[]", "it must have exactly threshold, threshold_rule"),
        (json.dumps({"threshold": 0.5}), "it must have exactly threshold, threshold_rule"),
        (json.dumps(STORED | {"threshold": "0.5"}), "its threshold is '0.5'"),
        (json.dumps(STORED | {"threshold": math.nan}), "its threshold is nan"),
        (json.dumps(STORED | {"threshold": True}), "its threshold is True"),
        (json.dumps(STORED | {"threshold_rule": None}), "its threshold_rule is None"),
        (json.dumps(STORED | {"n": 4.5}), "its n is 4.5"),
        (json.dumps(STORED | {"recalibration": {"method": "beta"}}), "its method is 'beta'"),
        (json.dumps(STORED | {"recalibration": None}), "its method is None"),
    ],
)
def test_a_damaged_file_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "decision.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        Decision.load(tmp_path)
    assert words in str(raised.value)
    assert "decision.json" in str(raised.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "decision.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is damaged: it is no JSON"):
        Decision.load(tmp_path)
