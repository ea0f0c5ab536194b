"""What is said of decoders that are missing, broken or wrong."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from midrc_ml.health import decoders
from midrc_ml.health.decoders import decoder_findings, trials_of
from midrc_ml.images.decoders import DECODERS

LOSSLESS = "1.2.840.10008.1.2.4.70"
HTJ2K = "1.2.840.10008.1.2.4.201"


def finding_of(syntax: str) -> Any:
    return next(finding for finding in decoder_findings() if finding.facts["syntax"] == syntax)


def test_every_syntax_is_told_of_and_decodes_here() -> None:
    findings = decoder_findings()
    assert [finding.facts["syntax"] for finding in findings] == list(DECODERS)
    assert {finding.status for finding in findings} == {"ok"}


def test_a_missing_first_choice_is_a_warning_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    finding = finding_of(LOSSLESS)
    assert (finding.status, finding.facts["used"]) == ("warn", "gdcm")
    assert finding.what_to_do.startswith("pip install 'imagecodecs>=")


def test_a_syntax_without_any_decoder_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("imagecodecs", "openjpeg"):
        monkeypatch.setitem(sys.modules, name, None)
    finding = finding_of(HTJ2K)
    assert (finding.status, finding.facts["used"]) == ("fail", None)
    assert "imagecodecs.htj2k not installed; pylibjpeg-openjpeg not installed" in finding.value


def test_a_missing_fallback_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdcm", None)
    finding = finding_of(LOSSLESS)
    assert finding.status == "ok"
    assert finding.value.endswith("then gdcm (not installed)")


def test_a_decoder_that_gives_other_values_is_broken_though_it_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = DECODERS[LOSSLESS]
    wrong = replace(first, decode=lambda *_: np.zeros((16, 16), np.uint16))
    monkeypatch.setitem(decoders.DECODERS, LOSSLESS, (wrong, *others))
    finding = finding_of(LOSSLESS)
    assert finding.status == "fail"
    assert "decodes to wrong values" in finding.value


def test_a_library_that_panics_does_not_end_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    def panics(*_: object) -> np.ndarray:
        raise PanicException("index out of bounds")

    first, *others = DECODERS[LOSSLESS]
    monkeypatch.setitem(decoders.DECODERS, LOSSLESS, (replace(first, decode=panics), *others))
    assert [trial.outcome for trial in trials_of(LOSSLESS)] == ["cannot (index out of bounds)", "decodes"]
    assert finding_of(LOSSLESS).facts["used"] == "gdcm"
