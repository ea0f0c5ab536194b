"""The command line of the verb: what is refused before anything is asked, and with which exit status."""

import sys
from pathlib import Path

import pytest
from portal_server import Portal

from midrc_ml import download
from midrc_ml.download import main
from midrc_ml.downloads.filters import filter_of, project_names, read_filter
from midrc_ml.errors import InputError


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    return int(exit.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing is asked for; give --manifest FILE, --projects or --where"),
        (("--manifest", "m", "--where", "a=b"), "give one of --manifest, --where or --filter, and --export"),
        (("--manifest", "m", "--export", "--projects", "Open-A1"), "give one of --manifest"),
        (("--filter", "f", "--where", "a=b"), "--filter is a whole query"),
        (("--export",), "--export needs --projects"),
        (("--export", "--projects", "Open-A1", "--no-tables"), "leave out one of them"),
        (("--manifest", "m", "--no-tables", "--nodes", "case"), "leave out one of them"),
        (("--manifest", "nowhere.json"), "--manifest nowhere.json: No such file"),
        (("--projects", "A1"), "--projects has 'A1'; a project is named as Open-A1"),
        (("--projects", "Open-A1/../x"), "a project is named as Open-A1"),
        (("--export", "--projects", "Open-A1", "--nodes", "../case"), "--nodes has '../case'"),
        (("--manifest", ""), "--manifest is empty; give a file"),
        (("--filter", " "), "--filter is empty; give a file"),
        (("--projects", ""), "--projects is given but holds no name"),
        (("--projects", ","), "--projects is given but holds no name"),
        (("--projects", "Open-A1", "--projects", ""), "--projects is given but holds no name"),
        (("--projects", "", "--where", "study_modality=DX"), "--projects is given but holds no name"),
        (("--export", "--projects", ""), "--projects is given but holds no name"),
        (("--projects", "Open-A1", "--nodes", " , "), "--nodes is given but holds no name"),
        (("--where", ""), "--where is ''; it must be FIELD=VALUE"),
        (("--where", "age=>18"), "--where is 'age=>18'; it must be FIELD=VALUE"),
        (("--where", "a==b"), "--where is 'a==b'; it must be FIELD=VALUE"),
        (("--where", "age>=nan"), "after >= and <= there must be a number"),
        (("--where", "age<=inf"), "after >= and <= there must be a number"),
        (("--where", "sex"), "--where is 'sex'; it must be FIELD=VALUE"),
        (("--where", "age>=old"), "after >= and <= there must be a number"),
        (("--projects", "Open-A1"), "there is no API key"),
    ],
)
def test_a_line_that_cannot_be_done_is_refused_in_one_sentence(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GEN3_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert ended("midrc", "--to", "data", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("option", ["--patients", "--modality", "--collection"])
@pytest.mark.parametrize("value", ["", ","])
def test_an_option_of_idc_without_a_name_is_refused(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("idc", "--to", "x", "--collection", "covid_19_ny_sbu", option, value) == 2
    assert capsys.readouterr().err.startswith(f"error: {option} is given but holds no name")


def test_an_empty_folder_is_not_taken_for_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("idc", "--to", "", "--collection", "covid_19_ny_sbu") == 2
    assert capsys.readouterr().err.startswith("error: --to is empty")


@pytest.mark.parametrize("text", ['{"AND": []}', '{"OR": [{"IN": {"project_id": []}}]}'])
def test_a_filter_that_restricts_nothing_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "filter.json").write_text(text)
    with pytest.raises(InputError, match=r"has an empty list, which restricts nothing"):
        read_filter(tmp_path / "filter.json")
    with pytest.raises(InputError, match=r"the query has no condition"):
        filter_of([], [])


def test_a_filter_that_is_nested_too_deeply_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "filter.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"is not JSON"):
        read_filter(tmp_path / "filter.json")


@pytest.mark.parametrize("option", [("--jobs", "0"), ("--jobs", "x"), ("--retries", "-1"), ("--timeout", "nan")])
def test_a_number_that_makes_no_sense_is_refused(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("midrc", "--to", "x", "--projects", "Open-A1", *option) == 2
    assert f"argument {option[0]}: {option[1]!r} is not a" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (("midrc", "--projects", "Open-A1"), "gen3", "gen3"),
        (("idc", "--collection", "covid_19_ny_sbu"), "idc_index", "idc"),
    ],
)
def test_without_the_extra_it_is_said_what_to_install(
    arguments: tuple[str, ...],
    module: str,
    extra: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    assert ended(*arguments, "--to", str(tmp_path / "x")) == 2
    assert f"pip install 'midrc_ml[{extra}]'" in capsys.readouterr().err


def test_a_download_that_is_stopped_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(given: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_idc", stopped)
    assert ended("idc", "--collection", "x", "--to", "y") == 130
    assert capsys.readouterr().err == "\nstopped; the same line goes on from here\n"


def test_a_folder_that_cannot_be_written_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(given: object) -> bool:
        raise PermissionError(13, "Permission denied", "/data")

    monkeypatch.setattr(download, "_idc", refused)
    assert ended("idc", "--collection", "x", "--to", "y") == 2
    assert capsys.readouterr().err == "error: /data: Permission denied; give a folder that can be written with --to\n"


def test_the_key_of_one_portal_is_not_taken_for_another(
    portal: Portal, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gen3", reason="the gen3 package is not installed: pip install 'midrc_ml[gen3]'")
    assert ended("midrc", "--to", "x", "--projects", "Open-A1") == 2  # the default endpoint is MIDRC's
    assert "so it is not sent to https://data.midrc.org" in capsys.readouterr().err


def test_conditions_on_one_field_are_alternatives_and_others_hold_together() -> None:
    assert filter_of([], ["a=1", "b!=x", "a=2, 3", "c<=-1.5"]) == {
        "AND": [{"IN": {"a": ["1", "2, 3"]}}, {"!=": {"b": "x"}}, {"<=": {"c": -1.5}}]
    }


def test_projects_are_named_once_in_their_order() -> None:
    assert project_names(["Open-R1, Open-A1", "TCIA-COVID-19-NY-SBU,Open-R1"]) == [
        "Open-R1",
        "Open-A1",
        "TCIA-COVID-19-NY-SBU",
    ]
    with pytest.raises(InputError, match=r"a project is named as"):
        project_names(["Open_A1"])
