import pandas as pd
import pytest

from midrc_ml.tables.keys import is_among

ARROW, PLAIN = "str", object


@pytest.mark.parametrize("one", [ARROW, PLAIN])
@pytest.mark.parametrize("other", [ARROW, PLAIN])
def test_ids_are_found_whatever_holds_them_and_a_missing_one_never(one: str, other: str) -> None:
    values = pd.Series(["b", None, "z", "a", "b"], index=[5, 3, 9, 1, 0], dtype=one)
    others = pd.Series(["a", "b", "b", None], dtype=other)
    found = is_among(values, others)
    assert found.tolist() == [True, False, False, True, True]
    assert found.index.tolist() == values.index.tolist()


def test_nothing_is_among_nothing() -> None:
    empty = pd.Series([], dtype="str")
    assert is_among(pd.Series(["a"], dtype="str"), empty).tolist() == [False]
    assert is_among(empty, pd.Series(["a"], dtype="str")).tolist() == []
