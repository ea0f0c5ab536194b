"""The report of a small invented run: its numbers, its warnings, and nothing of any patient."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from invented_run import cells, small_report

from midrc_ml.evaluation.decision import Decision
from midrc_ml.evaluation.recalibration import Recalibration
from midrc_ml.evaluation.settings import Evaluation
from midrc_ml.reporting.report import Report, interval_text


def write(report: Report, folder: Path) -> dict[str, str]:
    report.write(folder)
    return {name: (folder / f"report.{name}").read_text(encoding="utf-8") for name in ("html", "md")}


@pytest.fixture(scope="module")
def report() -> Report:
    return small_report()


@pytest.fixture(scope="module")
def folder(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    report.write(place)
    return place


@pytest.fixture(scope="module")
def texts(folder: Path) -> dict[str, str]:
    return {name: (folder / f"report.{name}").read_text(encoding="utf-8") for name in ("html", "md")}


both_forms = pytest.mark.parametrize("form", ["html", "md"])


@both_forms
def test_every_overall_row_stands_in_the_report_with_value_interval_and_counts(
    report: Report, texts: dict[str, str], form: str
) -> None:
    rows = cells(texts, form)
    estimated = [row for row in report.metrics if row["low"] is not None]
    assert len(estimated) == 2 * (4 + 1)  # of two parts the metrics, and DeLong's interval of the first
    for row in estimated:
        between = f"{row['low']:.3f} to {row['high']:.3f}"
        assert [row["metric"], f"{row['value']:.3f}", between, str(row["n"]), str(row["n_positive"])] in rows


@both_forms
def test_the_threshold_stands_in_the_report(report: Report, texts: dict[str, str], form: str) -> None:
    row = next(row for row in report.metrics if row["metric"] == "threshold")
    found = [line for line in cells(texts, form) if line[0] == "threshold"]
    assert [line[1:3] for line in found] == [[f"{row['value']:.3f}", "a setting, not an estimate"]]


@both_forms
def test_the_headline_is_the_first_metric_of_the_test_part(report: Report, texts: dict[str, str], form: str) -> None:
    row = next(row for row in report.metrics if (row["part"], row["metric"]) == ("test", "auroc"))
    words = f"auroc {row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}], 80 studies of 40 patients."
    assert words in texts[form]


def test_the_confidence_of_the_intervals_is_the_one_that_was_used(report: Report, tmp_path: Path) -> None:
    metrics = [row | {"method": "percentile bootstrap of patients, 100 draws, 90%"} for row in report.metrics]
    asked = Evaluation(num_draws=100, confidence=0.9)
    for text in write(replace(report, metrics=metrics, evaluation=asked), tmp_path).values():
        assert "100 draws, 90%" in text
        assert not re.search(r"\b95 ?%", text)


def test_groups_stand_in_markdown_and_a_small_one_says_why_it_has_no_value(
    report: Report, texts: dict[str, str]
) -> None:
    rows = cells(texts, "md")
    for row in report.groups:
        if (row["part"], row["metric"], row["group"]["value"]) == ("test", "auroc", "Female"):
            assert ["sex: Female", f"{row['value']:.3f}"] in [line[:2] for line in rows]
    assert ["sex: Not Reported", "not estimable", "5 studies, fewer than 10"] in [line[:3] for line in rows]


@both_forms
def test_exclusions_audit_parts_and_facts_stand_in_the_report(texts: dict[str, str], form: str) -> None:
    rows = cells(texts, form)
    assert ["leakage.patient", "pass", "0", "0 of 120 patients have studies in more than one part", "nothing"] in rows
    assert [line[:3] for line in rows if line[0] in ("train", "validation", "test")] == [
        ["train", "40", "80"],
        ["validation", "40", "80"],
        ["test", "40", "80"],
    ]
    assert "one note on the cohort" in texts[form]
    assert "0123abcd" in texts[form]
    assert "Who goes to intensive care?" in texts[form]


def test_the_flow_stands_in_markdown_with_its_reasons(texts: dict[str, str]) -> None:
    assert ["label known", "228", "114", "12 a stay still open"] in cells(texts, "md")


@both_forms
def test_no_patient_case_or_study_stands_in_the_report(texts: dict[str, str], form: str) -> None:
    assert not re.search("PATIENT|CASE-|STUDY", texts[form])


def test_no_patient_case_or_study_stands_in_a_figures_bytes(folder: Path) -> None:
    for path in (folder / "figures").iterdir():
        assert not re.search(rb"PATIENT|CASE-|STUDY", path.read_bytes())


@both_forms
def test_synthetic_data_are_called_so_at_the_top_and_beside_the_number(texts: dict[str, str], form: str) -> None:
    assert "Synthetic data." in texts[form]
    assert "Test part (synthetic): auroc" in texts[form]
    assert texts[form].index("Synthetic data.") < texts[form].index("auroc")


def test_real_data_are_not_called_synthetic(report: Report, tmp_path: Path) -> None:
    for text in write(replace(report, synthetic=False), tmp_path).values():
        assert "synthetic" not in text.lower()


def test_every_figure_is_written_is_a_picture_and_stands_in_the_page(
    folder: Path, texts: dict[str, str], report: Report, tmp_path: Path
) -> None:
    names = {"calibration", "decision", "flow", "groups", "learning", "performance"}
    assert {path.stem for path in (folder / "figures").glob("*.png")} == names
    for path in (folder / "figures").glob("*.png"):
        picture = cv2.imread(str(path))
        assert min(picture.shape[:2]) > 100
        assert picture.std() > 5  # not an empty sheet
        assert base64.b64encode(path.read_bytes()).decode() in texts["html"]
    written = {path.name for path in report.write(tmp_path)}
    assert written == {f"{name}.png" for name in names} | {"report.html", "report.md"}


def test_the_page_asks_nothing_of_the_network(texts: dict[str, str]) -> None:
    assert not re.search(r"""(src|href)=["']?(https?:)?//|@import|<script""", texts["html"])


def test_a_regression_report_has_no_roc_curve_and_no_positives(tmp_path: Path) -> None:
    report = small_report(kind="regression")
    texts = write(report, tmp_path)
    assert not (tmp_path / "figures" / "performance.png").exists()
    row = next(row for row in report.metrics if (row["part"], row["metric"]) == ("test", "mae"))
    line = ["mae", f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}", "80", "-"]
    assert line in cells(texts, "html")
    assert line in cells(texts, "md")
    assert "median" in texts["md"]


def test_a_headline_that_cannot_be_estimated_says_why_and_shows_no_number(report: Report, tmp_path: Path) -> None:
    unknown = {"value": None, "low": None, "high": None, "method": None, "reason": "one class only: 0 of 80"}
    metrics = [row | unknown if (row["part"], row["metric"]) == ("test", "auroc") else row for row in report.metrics]
    texts = write(replace(report, metrics=metrics), tmp_path)
    for text in texts.values():
        assert "auroc not estimable (one class only: 0 of 80)" in text
        assert not re.search(r"\bnan\b|\bNone\b", text)


def test_words_from_the_data_cannot_become_markup(report: Report, tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    groups = [row | {"group": {"column": "sex", "value": nasty}} for row in report.groups]
    texts = write(replace(report, groups=groups, origin=nasty, facts={"model": nasty}), tmp_path)
    assert nasty not in texts["html"]
    assert "&lt;script&gt;" in texts["html"]


def test_interval_text_by_hand() -> None:
    row = {"metric": "auroc", "value": 0.81234, "low": 0.7, "high": 0.9, "reason": None}
    assert interval_text(row) == "auroc 0.812 [0.700, 0.900]"
    assert interval_text(row | {"low": None, "high": None, "reason": "too few"}) == "auroc 0.812 (no interval: too few)"
    assert interval_text(row | {"value": None, "reason": "one class"}) == "auroc not estimable (one class)"


@both_forms
def test_threshold_and_recalibration_are_said_before_the_numbers(report: Report, tmp_path: Path, form: str) -> None:
    decision = Decision(0.375, "youden", "validation", 80, 26, Recalibration("platt", {"intercept": 0.1, "slope": 0.9}))
    text = write(replace(report, decision=decision), tmp_path)[form]
    assert "Threshold: 0.375, by youden, on validation (80 studies, 26 positive)" in text
    assert "Scores were recalibrated (platt), fitted on 80 studies of validation." in text
    given = replace(decision, chosen_on="given", recalibration=Recalibration())
    text = write(replace(report, decision=given), tmp_path)[form]
    assert "Threshold: 0.375, given as a number; a score" in text
    assert "recalibrated" not in text


@both_forms
def test_calibration_is_told_before_and_after_recalibration(report: Report, tmp_path: Path, form: str) -> None:
    raw = report.predictions["y_score"]
    table = report.predictions.assign(raw_score=raw, y_score=raw**2)
    texts = write(replace(report, predictions=table), tmp_path)
    test = table[table["part"] == "test"]
    after, before = (((test[name] - test["y_true"]) ** 2).mean() for name in ("y_score", "raw_score"))
    assert ["brier_loss", f"{after:.3f}", f"{before:.3f}", "0"] in cells(texts, form)


@both_forms
def test_the_parts_of_the_brier_loss_add_up(texts: dict[str, str], form: str) -> None:
    rows = [line for line in cells(texts, form) if len(line) == 3]  # of the table of calibration
    found = {name: float(value) for name, value, _ in rows if "brier" in name}
    total = found["= brier_reliability_loss"] - found["- brier_resolution"] + found["+ brier_uncertainty"]
    assert total + found["+ brier_within_bins_loss"] == pytest.approx(found["brier_loss"], abs=0.003)  # as rounded


@both_forms
def test_warnings_stand_before_the_headline(report: Report, tmp_path: Path, form: str) -> None:
    text = write(replace(report, warnings=["all of it worse than chance: is the sign right?"]), tmp_path)[form]
    assert text.index("is the sign right?") < text.index("Test part (synthetic)")
    assert "To be asked before these numbers are believed" in text


def test_scores_of_which_only_the_order_counts_have_no_calibration(report: Report, tmp_path: Path) -> None:
    texts = write(replace(report, scores_are_ranks=True), tmp_path)
    assert "Calibration" not in texts["md"]
    assert not (tmp_path / "figures" / "decision.png").exists()


def test_a_test_part_of_one_class_still_has_a_report(report: Report, tmp_path: Path) -> None:
    table = report.predictions.assign(y_true=0.0, label=0.0)
    texts = write(replace(report, predictions=table), tmp_path)
    assert ["calibration_slope", "not estimable", "1"] in cells(texts, "md")
