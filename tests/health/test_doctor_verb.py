"""The verb: its verdict, its exit status, its two forms, and that one broken part stops no other."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from midrc_ml import doctor
from midrc_ml.health import cache_folder, versions
from midrc_ml.health.findings import Finding, as_json, as_text, findings_of, verdict
from midrc_ml.health.versions import data_findings, install_command, version_findings


def finding(status: Any, what: str = "thing", value: str = "value", what_to_do: str = "") -> Finding:
    return Finding(part="part", status=status, what=what, value=value, what_to_do=what_to_do)


class InThisProcess:
    def submit(self, check: Callable[[], list[Finding]]) -> Future:
        future: Future = Future()
        future.set_result([finding("ok", "torch")])
        return future


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Importing torch would take longer than all these tests."""

    @contextmanager
    def pool(num_processes: int) -> Iterator[InThisProcess]:
        yield InThisProcess()

    monkeypatch.setattr("midrc_ml.processes.worker_pool", pool)
    monkeypatch.setattr(cache_folder, "_TRIAL_BYTES", 1 << 20)
    monkeypatch.setattr(cache_folder, "_LITTLE_ROOM", 0)
    monkeypatch.setattr(cache_folder, "_NO_ROOM", 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MIDRC_ML_DATA", raising=False)


def ended(*arguments: str) -> int:
    try:
        doctor.main(arguments)
    except SystemExit as exit:
        return int(exit.code or 0)
    return 0


@pytest.mark.usefixtures("without_torch")
def test_a_machine_that_has_all_is_told_so_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended() == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("all well")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_torch")
def test_what_is_broken_gives_exit_status_1_and_stands_in_the_first_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    assert ended("--log-dir", str(tmp_path)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("1 thing to mend")
    assert lines[3].startswith("FAIL  tracking store: store:")


@pytest.mark.usefixtures("without_torch")
def test_json_is_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] in ("ok", "warn")
    assert {"part", "status", "what", "value", "what_to_do", "facts"} == set(told["findings"][0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images", "nowhere"), "--images nowhere: there is no such file or folder"),
        (("--cache-dir", " "), "--cache-dir is empty"),
        (("--limit", "0"), "'0' is not a whole number of at least 1"),
        (("--close-stale", "-1"), "'-1' is not a number of at least 0"),
        (("--close-stale", "nan"), "'nan' is not a number of at least 0"),
        (("--colse",), "unrecognized arguments"),
    ],
)
def test_a_line_that_cannot_be_done_gives_exit_status_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_part_that_breaks_is_a_finding_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jdoe")

    def breaks() -> list[Finding]:
        raise RuntimeError("cannot open /home/jdoe/x\nand more")

    (found,) = findings_of("GPU and CPU", breaks)
    assert (found.part, found.status) == ("GPU and CPU", "fail")
    assert found.value == "ended with RuntimeError: cannot open ~/x"


def test_the_verdict_counts_remedies_and_tells_the_worst_first() -> None:
    same = [finding("fail", f"syntax {number}", what_to_do="pip install x") for number in range(6)]
    lines = verdict([finding("warn", "a", "slow"), finding("ok"), *same])
    assert lines[0] == "1 thing to mend, 1 to know"
    assert lines[1] == ("FAIL  part: syntax 0, syntax 1, syntax 2, syntax 3 and 2 more: value -> pip install x")
    assert lines[2] == "warn  part: a: slow"
    assert verdict([finding("ok"), finding("not_applicable")]) == ["all well"]


def test_the_status_of_all_is_the_worst() -> None:
    for statuses, worst in ((["ok", "warn"], "warn"), (["warn", "fail"], "fail"), (["ok", "not_applicable"], "ok")):
        assert as_json([finding(each) for each in statuses], version="1", seconds=0)["status"] == worst


def test_no_line_is_wider_than_the_terminal_and_colours_only_come_when_asked() -> None:
    text = as_text([finding("warn", "what", "words " * 40)], heading="h", width=80, colour=False)
    assert max(map(len, text.splitlines())) <= 80
    assert "\033" not in text
    assert "\033[33mwarn" in as_text([finding("warn")], heading="h", width=80, colour=True)


def test_a_missing_and_an_old_package_are_broken_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    required = ((Requirement("midrc-none>=2"), None), (Requirement("numpy>=999"), None), (Requirement("nix"), "more"))
    monkeypatch.setattr(versions, "requirements", lambda: required)
    told = {found.what: found for found in version_findings()}
    assert told["midrc-none"].what_to_do == "pip install 'midrc-none>=2'"
    assert (told["numpy"].status, told["midrc-none"].status) == ("fail", "fail")
    assert (told["extra [more]"].status, told["extra [more]"].what_to_do) == ("not_applicable", "pip install nix")


def test_the_command_asks_for_the_version_that_the_package_wants() -> None:
    command = install_command(["pydicom"])
    assert Requirement(command.removeprefix("pip install ").strip("'")).specifier.contains("3.0.0")


def test_of_the_data_folder_only_known_collections_are_named(tmp_path: Path) -> None:
    for name in ("ralo", "Doe_Jane_1950"):
        (tmp_path / name).mkdir()
    (found,) = data_findings({"MIDRC_ML_DATA": str(tmp_path)})
    assert found.facts == {"collections": ["ralo"]}
    assert "and 1 other folder" in found.value
    assert "Doe" not in str(found)
    assert data_findings({"MIDRC_ML_DATA": str(tmp_path / "no")})[0].status == "warn"
    assert data_findings({})[0].status == "not_applicable"


@pytest.mark.slow
def test_the_whole_verb_runs_in_processes_of_its_own(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "midrc_ml", "doctor", "--json", "--cache-dir", str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False)
    told = json.loads(done.stdout)
    assert {"GPU and CPU", "decoders by transfer syntax", "tracking store"} <= {
        each["part"] for each in told["findings"]
    }
    assert done.returncode == int(told["status"] == "fail")
