from itertools import product

import pandas as pd
import pytest
from timelines import studies_on, told

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.scores import brixia, mrale

PARTS = ("extent_right", "density_right", "extent_left", "density_left")


def read(
    *studies: dict[str, float], score: str = "mrale", reader: str = "r1", series: str | None = None
) -> pd.DataFrame:
    """One reading a study, s0, s1, ...; keys are the parts."""
    rows = [
        {"study_id": f"s{number}", "name": f"{score}_{part}", "value": value}
        for number, parts in enumerate(studies)
        for part, value in parts.items()
    ]
    return pd.DataFrame(rows).assign(reader=reader, series_id=series)


def tables_of(*readings: pd.DataFrame) -> Tables:
    return Tables.checked(origin="test", readings=pd.concat(readings, ignore_index=True))


def parts(*values: float, **more: float) -> dict[str, float]:
    return {**dict(zip(PARTS, values, strict=True)), **more}


def test_the_total_is_extent_times_density_of_both_lungs() -> None:
    tables = tables_of(read(parts(4, 3, 4, 2), parts(0, 0, 0, 0), parts(1, 2, 3, 1, total=5), {"total": 24}, {}))
    assert told(mrale(tables, studies_on(0, 0, 0, 0, 0))) == [20.0, 0.0, 5.0, 24.0, "missing: no reader"]
    assert told(mrale(tables, studies_on(0, 0, 0, 0), part="density_left")) == [2.0, 0.0, 1.0, "missing: no reader"]


def test_a_total_of_which_a_part_is_not_read_is_missing_unless_it_was_written_down() -> None:
    three = dict.fromkeys(PARTS[:3], 1)
    tables = tables_of(read(three, {**three, "total": 7}))
    assert told(mrale(tables, studies_on(0, 0))) == ["missing: no reader", 7.0]


def test_every_possible_total_is_taken_and_the_others_are_refused_with_their_count() -> None:
    possible = sorted({a * b + c * d for a, b, c, d in product(range(5), range(4), range(5), range(4))})
    assert set(range(25)) - set(possible) == {19, 22, 23}
    assert told(mrale(tables_of(read(*({"total": t} for t in possible))), studies_on(*[0] * len(possible)))) == possible
    others = tables_of(read(*({"total": total} for total in (19, 22, 23, 25, -1, 7.5, 7))))
    words = "readings of the test: 6 mrale_total are not whole, 0 to 24, not 19, 22, 23; correct them"
    with pytest.raises(InputError, match=words):
        mrale(others, studies_on(0))


def test_parts_and_totals_that_cannot_be_are_refused_all_at_once() -> None:
    tables = tables_of(read(parts(5, 3, 0, 0), parts(1, 4, 0, 0.5), parts(1, 1, 1, 1, total=3), parts(1, 1, 1, 1)))
    words = (
        r"1 mrale_extent_right are not whole, 0 to 4; 1 mrale_density_right are not whole, 0 to 3; "
        r"1 mrale_density_left are not whole, 0 to 3; 1 mrale_total are not extent_right x density_right"
    )
    with pytest.raises(InputError, match=words):
        mrale(tables, studies_on(0))


def test_totals_are_made_within_one_reading_and_then_put_together_over_readers() -> None:
    tables = tables_of(read(parts(4, 3, 0, 0)), read(parts(0, 0, 2, 2), reader="r2"))
    assert told(mrale(tables, studies_on(0))) == ["missing: several readers"]
    assert told(mrale(tables, studies_on(0), readers="mean")) == [8.0]
    assert told(mrale(tables, studies_on(0), readers="r2")) == [4.0]
    images = tables_of(read(parts(4, 3, 0, 0), series="1"), read(parts(4, 3, 2, 2), series="2"))
    assert told(mrale(images, studies_on(0))) == [14.0]


def test_brixia_is_the_sum_of_six_zones() -> None:
    zones = dict(zip("ABCDEF", (3, 3, 1, 0, 2, 0), strict=True))
    tables = tables_of(read(zones, {**zones, "total": 9}, {"total": 18}, score="brixia"))
    assert told(brixia(tables, studies_on(0, 0, 0))) == [9.0, 9.0, 18.0]
    assert told(brixia(tables, studies_on(0, 0, 0), part="E")) == [2.0, 2.0, "missing: no reader"]
    wrong = tables_of(read({**zones, "total": 10}, {"A": 4}, {"total": 19}, score="brixia"))
    words = r"1 brixia_A are not .*; 1 brixia_total are not whole, 0 to 18; 1 brixia_total are not A \+ B \+ C"
    with pytest.raises(InputError, match=words):
        brixia(wrong, studies_on(0))


def test_a_score_or_a_part_that_nobody_read_is_refused_by_name() -> None:
    tables = tables_of(read({"total": 5}))
    with pytest.raises(InputError, match="no reading with a value is named 'mrale_extent_left' in the test; readings"):
        mrale(tables, studies_on(0), part="extent_left")
    with pytest.raises(InputError, match="no reading with a value is named 'brixia_total' in the test"):
        brixia(tables, studies_on(0))
    with pytest.raises(
        InputError, match=r"label.part is 'right'; it must be one of total, extent_right, density_right"
    ):
        mrale(tables, studies_on(0), part="right")
