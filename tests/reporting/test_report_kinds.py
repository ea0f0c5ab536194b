"""The report of small invented runs of a multiclass and of a time-to-event task."""

import base64
import functools
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from invented_run import CLASSES, cells, small_report

from midrc_ml.evaluation.classes import confusion_matrix
from midrc_ml.reporting import figures
from midrc_ml.reporting.report import Report


@functools.cache
def report_of(kind: str) -> Report:
    return small_report(kind=kind)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    @functools.cache
    def write(kind: str) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        report_of(kind).write(folder)
        return folder

    return write


def texts_in(folder: Path) -> dict[str, str]:
    return {form: (folder / f"report.{form}").read_text(encoding="utf-8") for form in ("html", "md")}


def rows_of_test(kind: str) -> pd.DataFrame:
    """The test part of the predictions."""
    predictions = report_of(kind).predictions
    return predictions[predictions["part"] == "test"]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("multiclass", {"flow", "learning", "groups", "performance", "confusion"}),
        ("time_to_event", {"flow", "learning", "groups", "performance"}),
    ],
)
def test_each_kind_has_its_own_pictures_and_they_stand_in_the_page(
    kind: str, names: set[str], written: Callable[[str], Path]
) -> None:
    folder = written(kind)
    assert {path.stem for path in (folder / "figures").glob("*.png")} == names
    page = texts_in(folder)["html"]
    for path in (folder / "figures").glob("*.png"):
        assert cv2.imread(str(path)).std() > 5  # not an empty sheet
        assert base64.b64encode(path.read_bytes()).decode() in page
    for text in texts_in(folder).values():
        assert not re.search(r"PATIENT|CASE-|STUDY|\bnan\b|\bNone\b", re.sub('base64,[^"]*', "", text))


@pytest.mark.parametrize("form", ["html", "md"])
def test_rows_of_classes_count_them_by_name(form: str, written: Callable[[str], Path]) -> None:
    lines = cells(texts_in(written("multiclass")), form)
    counts = rows_of_test("multiclass")["y_true"].value_counts().sort_index()
    said = " / ".join(map(str, counts))
    assert lines[0] == ["metric", "value", "interval", "n", "negative / typical / atypical"]
    assert next(line[4] for line in lines if line[0] == "auroc_macro") == said
    parts = {line[0]: line[3] for line in lines if line[0] in ("validation", "test") and len(line) == 4}
    assert parts["test"] == ", ".join(f"{name} {n}" for name, n in zip(CLASSES, counts, strict=True))


def test_the_confusion_matrix_stands_in_markdown(written: Callable[[str], Path]) -> None:
    test = rows_of_test("multiclass")
    counts = confusion_matrix(test["y_true"], test[[f"y_score_{name}" for name in CLASSES]])
    lines = cells(texts_in(written("multiclass")), "md")
    start = lines.index(["true class", "called negative", "called typical", "called atypical"])
    assert lines[start + 2 : start + 5] == [[name, *map(str, row)] for name, row in zip(CLASSES, counts, strict=True)]


@pytest.mark.parametrize("form", ["html", "md"])
def test_events_and_the_thirds_of_the_risk_stand_in_the_report(form: str, written: Callable[[str], Path]) -> None:
    lines = cells(texts_in(written("time_to_event")), form)
    test = rows_of_test("time_to_event")
    assert lines[0][4] == "events"
    assert next(line[4] for line in lines if line[0] == "concordance_index") == str(int(test["event"].sum()))
    thirds = {line[0]: line[1:] for line in lines if line[0] in figures.THIRDS}
    ordered = test.sort_values("y_score")
    for name, rows in zip(figures.THIRDS, np.split(ordered["event"].to_numpy(), [27, 53]), strict=True):  # of 80
        assert thirds[name][:2] == [str(len(rows)), str(rows.sum())]
    (followed,) = {line[3] for line in lines if line[0] == "test" and len(line) == 4}
    events, median = int(test["event"].sum()), test["time"].median()
    assert followed == f"{events} events; followed for {median:g} days in the median"
