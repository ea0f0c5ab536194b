import pandas as pd
import pytest
from timelines import studies_on, tables_of, told

from midrc_ml.errors import InputError
from midrc_ml.tables.schemas import CASE_FLAGS
from midrc_ml.tasks.flags import flag


@pytest.mark.parametrize("column", CASE_FLAGS)
def test_a_flag_is_a_label_of_three_values(column: str) -> None:
    cases = [{"case_id": "a", column: True}, {"case_id": "b", column: False}, {"case_id": "d", column: None}]
    rows = pd.DataFrame({"study_id": ["1", "2", "3", "4", "5"], "case_id": ["d", "b", "a", "a", "unknown"]})
    missing = f"missing: {column} not recorded"
    assert told(flag(tables_of(cases=cases), rows, column=column)) == [missing, 0.0, 1.0, 1.0, missing]


@pytest.mark.parametrize("column", ["icu", "age_over_89"])
def test_a_flag_that_is_not_there_is_refused_by_name(column: str) -> None:
    with pytest.raises(InputError, match=f"label.column is {column!r}; the flags of the case table are .*icu_ever"):
        flag(tables_of(), studies_on(0), column=column)
