"""What is in the folder after several downloads, and after one that ended early."""

import csv
import importlib.util
import json
import shutil
from collections import namedtuple
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from portal_server import Portal, Stored

from midrc_ml.downloads.failures import Patience
from midrc_ml.downloads.finished import RECORD
from midrc_ml.downloads.midrc import MidrcRequest, fetch_midrc
from midrc_ml.downloads.objects import RemoteObject
from midrc_ml.downloads.transfers import Transfer, TransferSettings, split_finished
from midrc_ml.errors import InputError

with_gen3 = pytest.mark.skipif(
    importlib.util.find_spec("gen3") is None, reason="the gen3 package is not installed: pip install 'midrc_ml[gen3]'"
)
SETTINGS = TransferSettings(jobs=1, timeout_s=2.0, patience=Patience(retries=1, first_wait_s=0.01))
A, B, C = "dg.MD1R/aaaa", "dg.MD1R/bbbb", "dg.MD1R/cccc"


@pytest.fixture(autouse=True)
def filled(portal: Portal, home: Path) -> None:
    portal.objects = {
        A: Stored(content=b"a" * 1000, name="x.zip"),
        B: Stored(content=b"b" * 2000, name="x.zip"),
        C: Stored(content=b"c" * 3000, name="z.zip"),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def fetch(portal: Portal, folder: Path, *ids: str, tables: bool = False, **request: Any) -> bool:
    if ids:
        path = folder.parent / "manifest.json"
        path.write_text(json.dumps([{"object_id": each} for each in ids]))
        request["manifest"] = str(path)
    return fetch_midrc(MidrcRequest(endpoint=portal.url, folder=str(folder), tables=tables, **request), SETTINGS)


def listed(folder: Path) -> list[list[str]]:
    with (folder / "not_downloaded.csv").open() as file:
        return list(csv.reader(file))


@with_gen3
def test_objects_of_one_name_are_kept_apart_over_several_downloads(portal: Portal, folder: Path) -> None:
    for ids in ((B,), (A,), (A, B)):
        assert fetch(portal, folder, *ids)
        assert (folder / "x.zip").read_bytes() == b"b" * 2000
    assert (folder / "x_aaaa.zip").read_bytes() == b"a" * 1000
    assert len(portal.of("bytes")) == 2


def test_a_file_of_another_object_is_not_taken_for_this_one(portal: Portal, tmp_path: Path) -> None:
    mine, other = (RemoteObject(object_id=each, name="x.zip") for each in (A, B))
    Transfer(tmp_path, portal.signed, SETTINGS).fetch([mine])
    assert split_finished([mine, other], tmp_path) == ([other], [mine])


def test_a_line_of_the_record_without_an_id_counts_where_the_checksum_is_known(portal: Portal, tmp_path: Path) -> None:
    known = RemoteObject(object_id=A, name="x.zip", size=1000, md5=md5(b"a" * 1000).hexdigest())
    unknown = RemoteObject(object_id=A, name="x.zip")
    Transfer(tmp_path, portal.signed, SETTINGS).fetch([known])
    entry = json.loads((tmp_path / RECORD).read_text())
    assert entry.pop("object_id") == A
    (tmp_path / RECORD).write_text(json.dumps(entry))
    assert split_finished([known], tmp_path)[1] == [known]
    assert split_finished([unknown], tmp_path)[1] == []


def test_an_unfinished_file_is_not_gone_on_with_where_no_checksum_could_tell_whose_it_is(
    portal: Portal, tmp_path: Path
) -> None:
    (tmp_path / "x.zip.part").write_bytes(b"b" * 400)
    outcome = Transfer(tmp_path, portal.signed, SETTINGS).fetch([RemoteObject(object_id=A, name="x.zip", size=1000)])
    assert outcome.fetched == 1
    assert (tmp_path / "x.zip").read_bytes() == b"a" * 1000


def test_what_lies_there_without_a_record_needs_no_room(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemoteObject(object_id=A, name="x.zip", size=1000, md5=md5(b"a" * 1000).hexdigest())
    (tmp_path / "x.zip").write_bytes(b"a" * 1000)
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 10**6, 0))
    assert Transfer(tmp_path, portal.signed, SETTINGS).fetch([remote]).already == 1


@with_gen3
def test_what_failed_before_the_key_ran_out_is_listed(portal: Portal, folder: Path) -> None:
    def run_out() -> Iterator[None]:
        portal.tokens.clear()
        portal.key_is_refused = True
        yield None

    portal.fail("bytes", A, [404])
    portal.faults["url", C] = run_out()
    with pytest.raises(InputError, match=r"create a new one"):
        fetch(portal, folder, A, "dg.MD1R/unknown", C)
    assert listed(folder) == [
        ["object", "name", "reason"],
        ["dg.MD1R/unknown", "", "not there: the portal's index does not know it"],
        [A, "x.zip", "not there: the bucket answered HTTP 404"],
    ]


@with_gen3
def test_a_table_that_failed_before_the_key_ran_out_is_listed(portal: Portal, folder: Path) -> None:
    def run_out() -> Iterator[None]:
        portal.tokens.clear()
        portal.key_is_refused = True
        yield None

    portal.fail("export", "Open-A1_case", ["<html>maintenance</html>"])
    portal.faults["export", "Open-A1_visit"] = run_out()
    with pytest.raises(InputError, match=r"create a new one"):
        fetch(portal, folder, projects=["Open-A1"], nodes=["case,visit"], export_only=True, tables=True)
    assert [row[1] for row in listed(folder)] == ["name", "Open-A1_case.tsv"]


@with_gen3
def test_a_bad_record_of_a_query_is_listed_and_stops_no_other(portal: Portal, folder: Path) -> None:
    portal.files = [{"object_id": A}, {"object_id": B, "file_size": "much"}, {"object_id": None}, None]
    assert not fetch(portal, folder, projects=["Open-A1"])
    assert (folder / "x.zip").is_file()
    assert [row[0] for row in listed(folder)] == ["object", B, "", ""]


@with_gen3
def test_the_list_has_no_column_of_a_table_of_data_files(portal: Portal, folder: Path) -> None:
    portal.objects[A].forbidden = True
    assert not fetch(portal, folder, A)
    assert not set(listed(folder)[0]) & {"object_id", "file_name", "md5sum", "case_ids", "submitter_id"}


@with_gen3
def test_a_table_that_the_portal_has_no_rows_for_any_longer_is_removed(
    portal: Portal, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = b"type\tsubmitter_id\nx\t1\n"
    portal.nodes = {("Open-A1", node): rows for node in ("case", "visit", "imaging_study")}
    fetch(portal, folder, projects=["Open-A1"], export_only=True, tables=True)
    portal.nodes = {("Open-A1", "case"): rows, ("Open-A1", "visit"): b"type\tsubmitter_id\n"}
    assert fetch(portal, folder, projects=["Open-A1"], export_only=True, tables=True)
    assert [path.name for path in folder.glob("*.tsv")] == ["Open-A1_case.tsv"]
    said = capsys.readouterr().out
    for name in ("Open-A1_visit.tsv", "Open-A1_imaging_study.tsv"):
        assert f"{name}: the portal has no rows any longer; the table of an earlier day is removed\n" in said


@with_gen3
def test_an_answer_without_a_header_removes_no_table(
    portal: Portal, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir()
    (folder / "Open-A1_case.tsv").write_text("old")
    portal.nodes = {("Open-A1", "case"): b"", ("Open-A1", "visit"): b""}
    assert not fetch(portal, folder, projects=["Open-A1"], nodes=["case,visit"], export_only=True, tables=True)
    assert listed(folder)[1:] == [
        ["", "Open-A1_case.tsv", "the portal answered with nothing, where there was a table before"]
    ]
    assert (folder / "Open-A1_case.tsv").read_text() == "old"
    assert "Open-A1_case.tsv: not to be had; the table of an earlier day stays" in capsys.readouterr().out


@with_gen3
@pytest.mark.parametrize("end", ["case\tc2", "case", 'case\t"c2\nand'])
def test_a_table_that_was_cut_off_in_a_row_is_refused(end: str, portal: Portal, folder: Path) -> None:
    portal.nodes = {("Open-A1", "case"): f"type\tsubmitter_id\tsex\ncase\tc1\tFemale\n{end}".encode()}
    assert not fetch(portal, folder, projects=["Open-A1"], nodes=["case"], export_only=True, tables=True)
    assert listed(folder)[1:] == [["", "Open-A1_case.tsv", "the portal's answer broke off in the middle of a row"]]
    assert not list(folder.glob("*.tsv"))


@with_gen3
def test_a_cell_over_two_lines_at_the_end_of_a_table_is_whole(portal: Portal, folder: Path) -> None:
    text = b'type\tsubmitter_id\tnote\ncase\tc1\t"two\nlines"\n'
    portal.nodes = {("Open-A1", "case"): text}
    assert fetch(portal, folder, projects=["Open-A1"], nodes=["case"], export_only=True, tables=True)
    assert (folder / "Open-A1_case.tsv").read_bytes() == text
