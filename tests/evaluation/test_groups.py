"""Which groups a column makes, and which of them can be judged."""

import numpy as np
import pandas as pd
import pytest

from midrc_ml.errors import InputError
from midrc_ml.evaluation.groups import GroupColumn, group_columns
from midrc_ml.evaluation.settings import Fairness


def studies(**counts: dict[str | None, int]) -> pd.DataFrame:
    """A column for each keyword: so many studies of each value."""
    return pd.DataFrame({name: np.repeat(list(of), list(of.values())) for name, of in counts.items()})


def only(table: pd.DataFrame, **settings: object) -> GroupColumn:
    (found,) = group_columns(table, Fairness(**{"columns": list(table.columns), **settings}))
    return found


def test_every_value_is_a_group_in_sorted_order_and_not_reported_is_one() -> None:
    found = only(studies(sex={"Male": 12, "Female": 20, None: 3, "Not Reported": 9}))
    assert found.values == ("Female", "Male", "Not Reported")
    assert found.sizes.tolist() == [20, 12, 12]
    assert found.codes.tolist() == [1] * 12 + [0] * 20 + [2] * 12


def test_gaps_are_to_the_largest_group_that_is_reported_and_large_enough() -> None:
    found = only(studies(race={"Asian": 12, "Black": 9, "White": 15, "Not Reported": 40}))
    assert found.values[found.reference] == "White"
    assert found.valid.tolist() == [True, False, False, True]  # Asian, Black, Not Reported, White
    assert found.grouping.rows(1).tolist() == []  # too small for a value
    assert len(found.grouping.rows(2)) == 40  # has values, but no gap


def test_of_two_largest_groups_the_first_by_name_is_the_reference() -> None:
    found = only(studies(sex={"Male": 15, "Female": 15}))
    assert found.values[found.reference] == "Female"


def test_the_reference_can_be_set() -> None:
    found = only(studies(sex={"Male": 12, "Female": 20}), reference={"sex": "Male"})
    assert found.values[found.reference] == "Male"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"sex": "male"}, "fairness.reference.sex is 'male'; it must be a group of this column: Female, Male, Other"),
        ({"sex": "Other"}, "fairness.reference.sex is 'Other', of 4 studies; it must be reported and have at least "),
        ({"race": "White"}, r"fairness.reference has race; it is \{column: value\} for columns among sex"),
    ],
)
def test_a_reference_that_cannot_be_one_is_refused(reference: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        only(studies(sex={"Male": 12, "Female": 20, "Other": 4}), reference=reference)


def test_an_intersection_has_the_combinations_and_is_not_reported_where_one_of_them_is_not() -> None:
    table = studies(sex={"Male": 20, "Female": 20})
    table["race"] = ["White"] * 15 + ["Not Reported"] * 5 + ["Black"] * 20
    _, found = group_columns(table, Fairness(columns=["sex"], intersections=[["sex", "race"]]))
    assert found.name == "sex x race"
    assert found.values == ("Female x Black", "Male x White", "Not Reported")
    assert found.sizes.tolist() == [20, 15, 5]


def test_a_column_of_very_many_values_makes_no_groups_and_says_how_many() -> None:
    table = pd.DataFrame({"site": [f"{number}" for number in range(10_000)]})
    found = only(table)
    assert (found.too_many, found.values, found.reference) == (10_000, (), None)
    assert (found.grouping.codes == -1).all()


def test_without_a_group_that_is_large_enough_there_is_no_reference() -> None:
    found = only(studies(sex={"Male": 5, "Female": 6}))
    assert found.reference is None


def test_a_column_that_the_table_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(InputError, match=r"fairness.columns or intersections \(--by\) has gender; columns .* are sex"):
        group_columns(studies(sex={"Male": 5}), Fairness(columns=["gender"]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"intersections": [["sex"]]}, "each is a list of two columns or more"),
        ({"intersections": ["sex"]}, "each is a list of two columns or more"),
        ({"columns": ["sex", "sex"]}, "name each of them once"),
        ({"max_groups": 1}, "fairness.max_groups is 1; it must be at least 2"),
        ({"min_group_size": -1}, "fairness.min_group_size is -1; it must be at least 0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Fairness(**settings)
