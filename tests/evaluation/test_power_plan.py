"""Power first: which groups of a test part are never judged, and what is said of the others."""

import numpy as np
import pandas as pd
import pytest

from midrc_ml.errors import InputError
from midrc_ml.evaluation.power import PowerAssumptions, auroc_standard_error, effective_size, smallest_gap
from midrc_ml.evaluation.power_plan import Plan, power_plan
from midrc_ml.evaluation.settings import Fairness
from midrc_ml.reporting.power_text import power_lines


def studies(**counts: tuple[int, int]) -> pd.DataFrame:
    """counts: {group: (positive, negative) patients}, two studies each."""
    rows = []
    for group, both in counts.items():
        for label, count in zip((1.0, 0.0), both, strict=True):
            rows += [(f"{group}-{label}-{number // 2}", group, label) for number in range(2 * count)]
    return pd.DataFrame(rows, columns=["patient_id", "race", "label"])


def plan(test: pd.DataFrame, kind: str = "binary", classes: list[str] | None = None, **assumptions: float) -> Plan:
    fairness = Fairness(columns=["race"], min_group_size=10)
    asked = PowerAssumptions(**assumptions)
    return power_plan(test, kind=kind, classes=classes or [], fairness=fairness, assumptions=asked)


def of(found: Plan, group: str) -> dict:
    (row,) = [row for row in found["groups"] if row["group"] == group]
    return row


def test_a_group_is_judged_by_the_formulas_on_what_its_studies_are_worth() -> None:
    found = plan(studies(White=(150, 250), Black=(80, 120)))
    black, white = of(found, "Black"), of(found, "White")
    size = [effective_size([2] * count, 0.5) for count in (80, 120, 150, 250)]
    assert size[0] == pytest.approx(80 * 2 / 1.5)
    assert black["half_width"] == pytest.approx(1.959964 * auroc_standard_error(0.8, size[0], size[1]), rel=1e-6)
    both = (lambda value: auroc_standard_error(value, *size[2:]), lambda value: auroc_standard_error(value, *size[:2]))
    assert black["smallest_gap"] == pytest.approx(smallest_gap(both, 0.8, 0.5, PowerAssumptions()))
    assert (black["reference"], black["never"]) == ("White", None)
    assert (white["reference"], white["never"]) == (None, None)
    assert "smallest_gap" not in white


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ((1, 2), "6 studies, fewer than 10"),
        ((3, 100), "3 patients of the rarer class, fewer than 5: no interval"),
        ((100, 0), "0 patients of the rarer class, fewer than 5: no interval"),
        ((6, 8), "a gap to the reference is missed even where the model is no better than chance in this group"),
    ],
)
def test_groups_that_are_never_judged_are_named_with_the_reason(counts: tuple[int, int], why: str) -> None:
    found = plan(studies(White=(150, 250), Asian=counts))
    assert of(found, "Asian")["never"] == why
    assert any(f"race: Asian: {why}" in line for line in power_lines(found))


def test_people_without_a_reported_group_have_an_interval_and_no_gap() -> None:
    row = of(plan(studies(White=(150, 250), **{"Not Reported": (50, 50)})), "Not Reported")
    assert row["never"] == "not reported: no gap is asked of it"
    assert row["half_width"] > 0


def test_holm_over_all_gaps_makes_the_smallest_gap_larger() -> None:
    found = plan(studies(White=(150, 250), Black=(80, 120), Asian=(70, 100)))
    assert found["family"] == 2
    assert of(found, "Black")["smallest_gap_holm"] > of(found, "Black")["smallest_gap"]


def test_more_alike_studies_of_a_patient_are_worth_less() -> None:
    test = studies(White=(150, 250), Black=(80, 120))
    alike, apart = (plan(test, patient_correlation=value)["overall"] for value in (1.0, 0.0))
    assert alike["effective_patients"] == 600
    assert apart["effective_patients"] == 1200
    assert alike["half_width"] == pytest.approx(apart["half_width"] * np.sqrt(2), rel=0.01)


def test_regression_is_judged_in_standard_deviations_of_the_error() -> None:
    test = studies(White=(150, 250), Black=(50, 50)).assign(label=3.5)
    found = plan(test, kind="regression", patient_correlation=1.0)
    assert found["overall"]["half_width"] == pytest.approx(1.959964 / np.sqrt(500), rel=1e-6)
    assert of(found, "Black")["smallest_gap"] == pytest.approx(2.801585 * np.sqrt(1 / 100 + 1 / 400), rel=1e-6)
    assert of(found, "Black")["effective_positive"] is None
    assert any("SD of the error" in line for line in power_lines(found))


def test_of_several_classes_the_rarest_is_taken_against_the_rest() -> None:
    test = studies(White=(150, 250), Black=(80, 120))
    test["label"] = np.where(np.arange(len(test)) % 10 < 2, 2.0, test["label"])
    found = plan(test, kind="multiclass", classes=["no", "yes", "rare"])
    assert found["overall"]["rarest_class"] == "rare"
    assert any("of rare, the rarest class" in line for line in power_lines(found))


def test_a_test_part_of_one_class_says_that_nothing_can_be_estimated() -> None:
    found = plan(studies(White=(0, 250)))
    assert found["overall"]["half_width"] is None
    assert power_lines(found) == ["Power: the test part has 250 patients; auroc cannot be estimated"]


def test_columns_that_the_studies_do_not_have_are_refused() -> None:
    with pytest.raises(InputError, match="race"):
        plan(studies(White=(5, 5)).drop(columns="race"))


def test_a_column_of_too_many_values_is_said() -> None:
    test = studies(White=(150, 250)).assign(race=[str(number) for number in range(800)])
    (row,) = plan(test)["groups"]
    assert row["never"] == "800 values, too many to be groups"
    assert any("race: 800 values" in line for line in power_lines(plan(test)))
