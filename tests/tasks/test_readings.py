from functools import partial

import pandas as pd
import pytest
from timelines import studies_on, told

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.readings import class_by_readers, reading

FEW = "missing: fewer than 2 readers"
DISAGREE = "missing: the readers disagree"


def scores(*rows: tuple[str, str, float | None], name: str = "opacity", series: str | None = "1") -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["study_id", "reader", "value"]).assign(name=name, series_id=series)


def tables_of(*readings: pd.DataFrame) -> Tables:
    return Tables.checked(origin="test", readings=pd.concat(readings, ignore_index=True))


TWO_READERS = tables_of(
    scores(("s0", "r1", 3), ("s0", "r2", 4), ("s1", "r1", 0), ("s1", "r2", None), ("s3", "r2", 7)),
    scores(("s0", "r1", 8), name="extent"),
)
FOUR = studies_on(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [3.5, 0.0, "missing: no reader", 7.0]),
        ({"min_readers": 2}, [3.5, FEW, "missing: no reader", FEW]),
        ({"readers": "only"}, ["missing: several readers", 0.0, "missing: no reader", 7.0]),
        ({"readers": "r1"}, [3.0, 0.0, "missing: not read by r1", "missing: not read by r1"]),
    ],
)
def test_the_label_is_of_the_readers_asked_for_and_of_this_reading_alone(
    settings: dict, expected: list[float | str]
) -> None:
    assert told(reading(TWO_READERS, FOUR, name="opacity", **settings)) == expected


def test_mean_and_median_of_several_readers() -> None:
    tables = tables_of(scores(("s0", "r1", 0), ("s0", "r2", 1), ("s0", "r3", 8)))
    assert told(reading(tables, studies_on(0), name="opacity")) == [3.0]
    assert told(reading(tables, studies_on(0), name="opacity", readers="median")) == [1.0]


def test_a_reader_of_two_images_of_a_study_is_one_reader() -> None:
    tables = tables_of(scores(("s0", "r1", 2), ("s1", "r1", 2)), scores(("s0", "r1", 4), ("s1", "r2", 8), series="2"))
    assert told(reading(tables, studies_on(0, 0), name="opacity", min_readers=2)) == [FEW, 5.0]
    assert told(reading(tables, studies_on(0, 0), name="opacity", readers="only")) == [3.0, "missing: several readers"]


def test_a_reading_or_a_reader_that_is_not_there_is_refused_with_those_that_are() -> None:
    words = "no reading with a value is named 'mrale' in the test; readings there: extent, opacity"
    with pytest.raises(InputError, match=words):
        reading(TWO_READERS, FOUR, name="mrale")
    with pytest.raises(InputError, match=r"label.readers is 'r9'; it must be one of mean, median, only, r1, r2"):
        reading(TWO_READERS, FOUR, name="opacity", readers="r9")
    for least in ("abc", 0, 1.5, True):
        with pytest.raises(InputError, match=f"label.min_readers is {least!r}; it must be a whole number of at least"):
            reading(TWO_READERS, FOUR, name="opacity", min_readers=least)


CLASSES = ["negative", "typical", "atypical"]
SEEN = {
    "s0": {"a": "typical", "b": "typical", "c": "typical"},
    "s1": {"a": "typical", "b": "typical", "c": "atypical"},
    "s2": {"a": "typical", "b": "negative", "c": "atypical"},
    "s3": {"a": "typical", "b": "typical", "c": "atypical", "d": "atypical"},
    "s4": {"a": "Negative"},
    "s5": {"a": "typical", "b": "typical", "c": "atypical", "judge": "atypical"},
    "s6": {"a": "typical", "b": "negative", "judge": "negative"},
    "s7": {"judge": "atypical"},
    "s8": {"a": "typical", "b": "typical", "judge": "negative"},
}


def class_tables(seen: dict[str, dict[str, str]]) -> Tables:
    rows = [
        {"study_id": study, "reader": reader, "category": category, "name": "pneumonia_class"}
        for study, readings in seen.items()
        for reader, category in readings.items()
    ]
    return tables_of(pd.DataFrame(rows))


TEN = studies_on(*[0] * 10)  # nobody read the last one
NO_ONE = "missing: no reader"
by_readers = partial(class_by_readers, name="pneumonia_class", classes=CLASSES)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1.0, 1.0, DISAGREE, DISAGREE, 0.0, DISAGREE, 0.0, 2.0, 1.0, NO_ONE]),
        ({"adjudicator": "no one"}, [1.0, 1.0, DISAGREE, DISAGREE, 0.0, DISAGREE, 0.0, 2.0, 1.0, NO_ONE]),
        ({"adjudicator": "judge"}, [1.0, 1.0, DISAGREE, DISAGREE, 0.0, 1.0, DISAGREE, NO_ONE, 1.0, NO_ONE]),
        (
            {"adjudicator": "judge", "rule": "adjudicated"},
            [1.0, 1.0, DISAGREE, DISAGREE, 0.0, 2.0, 0.0, 2.0, 1.0, NO_ONE],
        ),
        (
            {"adjudicator": "judge", "rule": "all"},
            [1.0, DISAGREE, DISAGREE, DISAGREE, 0.0, DISAGREE, DISAGREE, NO_ONE, 1.0, NO_ONE],
        ),
        (
            {"adjudicator": "judge", "min_readers": 2, "first": 1},
            [2.0, 2.0, DISAGREE, DISAGREE, FEW, 2.0, DISAGREE, NO_ONE, 2.0, NO_ONE],
        ),
    ],
)
def test_the_class_is_that_which_the_readers_agree_on_by_the_rule(settings: dict, expected: list[float | str]) -> None:
    assert told(by_readers(class_tables(SEEN), TEN, **settings)) == expected


def test_a_reader_who_gave_a_study_two_classes_leaves_it_missing_and_one_who_repeats_himself_counts_once() -> None:
    rows = [
        ("s0", "a", "1", "typical"),
        ("s0", "a", "2", "atypical"),
        ("s0", "b", "1", "typical"),
        ("s1", "a", "1", "typical"),
        ("s1", "a", "2", "typical"),
        ("s1", "b", "1", "negative"),
    ]
    frame = pd.DataFrame(rows, columns=["study_id", "reader", "series_id", "category"]).assign(name="pneumonia_class")
    expected = ["missing: a reader gave several classes", DISAGREE]
    assert told(by_readers(tables_of(frame), studies_on(0, 0))) == expected


def test_a_class_or_a_setting_that_no_one_knows_is_refused() -> None:
    tables = class_tables({**SEEN, "s9": {"a": "viral", "b": "bacterial", "c": "viral"}})
    words = r"3 readings of 'pneumonia_class' are none of negative, typical, atypical \('bacterial', 'viral'\); map"
    with pytest.raises(InputError, match=words):
        by_readers(tables, TEN)
    tables = class_tables(SEEN)
    for settings, words in (
        ({"rule": "most"}, r"label.rule is 'most'; it must be one of majority, adjudicated, all"),
        ({"rule": "adjudicated"}, r"label.adjudicator must name the reader who was asked"),
        (
            {"rule": "adjudicated", "adjudicator": "king"},
            r"label.adjudicator is 'king'; it must be one of a, b, c, d, judge",
        ),
        ({"classes": "negative"}, r"label.classes is 'negative'; it must be a list of at least two"),
        ({"min_readers": 0}, r"label.min_readers is 0"),
        (
            {"name": "grade"},
            r"no reading with a category is named 'grade' in the test; readings there: pneumonia_class",
        ),
    ):
        with pytest.raises(InputError, match=words):
            by_readers(tables, TEN, **settings)
