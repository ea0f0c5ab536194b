"""What decides which epoch is kept."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import auroc, mae
from midrc_ml.training.monitor import Monitor

STUDIES = pd.DataFrame(
    {
        "sex": ["F", "F", "F", "M", "M", "M", "Not Reported"],
        "site": ["a", "a", "b", "b", "b", "b", "b"],
    }
)
TRUTH = np.array([1, 0, 1, 1, 0, 0, 1])
SCORE = np.array([0.9, 0.1, 0.8, 0.4, 0.6, 0.3, 0.2])
BY_SEX: dict[str, Any] = {"columns": ["sex"], "min_group_size": 2}


def test_the_worst_group_is_watched() -> None:
    monitor = Monitor.of("worst_group_auroc", {"auroc": auroc}, lower_is_better=False, **BY_SEX).on(STUDIES)
    assert list(monitor.groups) == ["sex F", "sex M"]  # one person not reported is below the least size
    # F: both pairs right. M: 0.4 against 0.6 and 0.3, one of two right.
    assert monitor.value(TRUTH, SCORE, loss=0.1) == 0.5


def test_where_low_is_better_the_worst_is_the_highest() -> None:
    monitor = Monitor.of("worst_group_mae", {"mae": mae}, lower_is_better=True, **BY_SEX).on(STUDIES)
    # F: (0.1 + 0.1 + 0.2) / 3. M: (0.6 + 0.6 + 0.3) / 3.
    assert monitor.value(TRUTH, SCORE, loss=0.1) == pytest.approx(0.5)


def test_a_group_that_cannot_be_estimated_is_not_the_worst() -> None:
    monitor = Monitor.of("worst_group_auroc", {"auroc": auroc}, lower_is_better=False, **BY_SEX).on(STUDIES)
    women_of_one_class = np.array([1, 1, 1, 1, 0, 0, 1])
    assert monitor.value(women_of_one_class, SCORE, loss=0.1) == 0.5
    assert math.isnan(monitor.value(np.ones(7), SCORE, loss=0.1))


def test_groups_of_several_columns_are_looked_at_one_column_at_a_time() -> None:
    monitor = Monitor.of(
        "worst_group_auroc", {"auroc": auroc}, lower_is_better=False, columns=["sex", "site"], min_group_size=1
    ).on(STUDIES)
    assert list(monitor.groups) == ["sex F", "sex M", "sex Not Reported", "site a", "site b"]


def test_the_loss_and_a_metric_are_of_everyone() -> None:
    for name, expected in (("loss", 0.1), ("auroc", 9 / 12)):  # of 4 x 3 pairs 0.4 loses one, 0.2 two
        monitor = Monitor.of(name, {"auroc": auroc}, lower_is_better=False, **BY_SEX).on(STUDIES)
        assert monitor.groups == {}
        assert monitor.value(TRUTH, SCORE, loss=0.1) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["aurok", "worst_group_", "worst_group_loss"])
def test_an_unknown_monitor_is_refused_with_the_known_ones(name: str) -> None:
    words = rf"training.monitor is '{name}'; for this task it must be loss or one of auroc, or worst_group_ and one"
    with pytest.raises(InputError, match=words):
        Monitor.of(name, {"auroc": auroc}, lower_is_better=False, **BY_SEX)


def test_without_groups_there_is_no_worst() -> None:
    with pytest.raises(InputError, match=r"fairness.columns is empty; give columns that make the groups"):
        Monitor.of("worst_group_auroc", {"auroc": auroc}, lower_is_better=False)
    small = Monitor.of("worst_group_auroc", {"auroc": auroc}, lower_is_better=False, columns=["sex"], min_group_size=9)
    with pytest.raises(InputError, match=r"none of the 3 groups by sex has 9 of the 7 validation studies"):
        small.on(STUDIES)
