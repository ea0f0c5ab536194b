"""The label as each reader alone would make it."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from timelines import studies_on

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import mae
from midrc_ml.tasks.reader_labels import labels_by_reader, load_ratings, save_ratings
from midrc_ml.tasks.readings import class_by_readers, reading
from midrc_ml.tasks.task import Task

ROWS = studies_on(0, 0, 0)


def tables_of(readings: list[tuple], column: str = "value") -> Tables:
    table = pd.DataFrame(readings, columns=["study_id", "reader", "name", column]).assign(series_id="1")
    return Tables.checked(origin="test", readings=table)


def task(label: object, needs: list[str] | None = None, **settings: object) -> Task:
    asked = {"kind": "ordinal"} | settings
    return Task(
        name="t", version=1, question="q", source="s", label=label, metrics={"mae": mae},  # type: ignore[arg-type]
        needs=needs or ["cases", "studies", "readings"], **asked,  # type: ignore[arg-type]
    )  # fmt: skip


SCORES = [
    ("s0", "r1", "opacity", 3), ("s0", "r2", "opacity", 4), ("s1", "r1", "opacity", 0),
    ("s0", "r3", "extent", 8), ("s9", "r4", "opacity", 1),
]  # fmt: skip


def test_each_reader_of_the_label_has_a_column_and_a_missing_reading_stays_missing() -> None:
    found = labels_by_reader(
        task(partial(reading, name="opacity", readers="mean", min_readers=2)), tables_of(SCORES), ROWS
    )
    assert list(found.columns) == ["r1", "r2"]  # r3 read something else, r4 another study
    assert list(found.index) == list(ROWS["study_id"])
    np.testing.assert_array_equal(found.to_numpy(), [[3, 4], [0, np.nan], [np.nan, np.nan]])


def test_a_label_of_one_named_reader_still_has_the_others_beside_it() -> None:
    found = labels_by_reader(task(partial(reading, name="opacity", readers="r1")), tables_of(SCORES), ROWS)
    assert list(found.columns) == ["r1", "r2"]


def test_classes_are_positions_and_an_adjudicator_is_no_reader() -> None:
    named = [("s0", "r1", "class", "yes"), ("s0", "r2", "class", "no"), ("s0", "judge", "class", "yes"),
             ("s1", "r1", "class", "no"), ("s1", "r2", "class", "no")]  # fmt: skip
    label = partial(
        class_by_readers, name="class", classes=["no", "yes"], rule="adjudicated", adjudicator="judge", min_readers=2
    )
    asked = task(label, kind="multiclass", classes=["no", "yes"])
    found = labels_by_reader(asked, tables_of(named, "category"), ROWS)
    assert list(found.columns) == ["r1", "r2"]
    np.testing.assert_array_equal(found.to_numpy(), [[1, 0], [0, 0], [np.nan, np.nan]])


def test_ratings_are_kept_beside_the_split_and_read_back(tmp_path: Path) -> None:
    assert load_ratings(tmp_path) is None
    found = labels_by_reader(task(partial(reading, name="opacity")), tables_of(SCORES), ROWS)
    save_ratings(found, tmp_path)
    pd.testing.assert_frame_equal(load_ratings(tmp_path), found, check_names=False)
    (tmp_path / "ratings.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match=r"ratings\.parquet is damaged"):
        load_ratings(tmp_path)


def test_one_reader_alone_or_a_label_that_is_no_reading_has_none() -> None:
    assert labels_by_reader(task(partial(reading, name="extent")), tables_of(SCORES), ROWS).shape == (3, 0)
    no_reading = task(partial(reading, name="opacity"), needs=["cases", "studies"])
    assert labels_by_reader(no_reading, tables_of(SCORES), ROWS).shape == (3, 0)
