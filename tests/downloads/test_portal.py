"""The whole download through the gen3 package, against the portal on loopback."""

import csv
import importlib.util
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from portal_server import SECRET_KEY_PART, SECRET_SIGNATURE, SECRET_TOKEN_PART, Portal, Stored, jwt

from midrc_ml.download import main
from midrc_ml.downloads.credentials import find_api_key
from midrc_ml.downloads.failures import Patience, TemporaryError, UnobtainableError
from midrc_ml.downloads.midrc import MidrcRequest, fetch_midrc
from midrc_ml.downloads.objects import RemoteObject
from midrc_ml.downloads.portal import Portal as Client
from midrc_ml.downloads.transfers import TransferSettings
from midrc_ml.errors import InputError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gen3") is None, reason="the gen3 package is not installed: pip install 'midrc_ml[gen3]'"
)
PATIENCE = Patience(retries=2, first_wait_s=0.01)
QUICK = TransferSettings(jobs=3, timeout_s=2.0, patience=PATIENCE)
CASES = b"type\tsubmitter_id\tsex\ncase\t100-1\tFemale\ncase\t100-2\tNot \xc3\xa9\n"
A, B, C = "dg.MD1R/aaaa", "dg.MD1R/bbbb", "dg.MD1R/cccc"


@pytest.fixture(autouse=True)
def filled(portal: Portal, home: Path) -> None:
    """Three objects of two projects, and the cases of one."""
    portal.objects = {
        A: Stored(content=b"a" * 1000, name="100-1/s1/x.zip"),
        B: Stored(content=b"b" * 2000, name="100-1/s1/y.zip"),
        C: Stored(content=b"c" * 3000, name="200-1/s2/z.zip", project="Open/R1"),
    }
    portal.nodes = {("Open-A1", "case"): CASES, ("Open-R1", "case"): b"type\tsubmitter_id\tsex\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def manifest(folder: Path, *ids: str, **more: Any) -> str:
    path = folder.parent / "manifest.json"
    path.write_text(json.dumps([{"object_id": each} | more for each in ids]))
    return str(path)


def fetch(portal: Portal, folder: Path, settings: TransferSettings = QUICK, **request: Any) -> bool:
    return fetch_midrc(MidrcRequest(endpoint=portal.url, folder=str(folder), **request), settings)


def client(portal: Portal, timeout_s: float = 2.0) -> Client:
    return Client(portal.url, find_api_key(None), timeout_s=timeout_s, patience=PATIENCE)


def failures(folder: Path) -> dict[str, str]:
    with (folder / "not_downloaded.csv").open() as file:
        return {row["object"] or row["name"]: row["reason"] for row in csv.DictReader(file)}


def test_a_manifest_of_ids_becomes_named_files_with_the_tables_of_their_projects(portal: Portal, folder: Path) -> None:
    assert fetch(portal, folder, manifest=manifest(folder, A, C))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("[!.]*") if path.is_file())
    assert names == ["100-1/s1/x.zip", "200-1/s2/z.zip", "Open-A1_case.tsv"]
    assert (folder / "100-1/s1/x.zip").read_bytes() == b"a" * 1000
    assert (folder / "Open-A1_case.tsv").read_bytes() == CASES
    assert {asked.name for asked in portal.of("export")} >= {"Open-A1_case", "Open-R1_visit", "Open-R1_dx_series_file"}


def test_the_tables_can_be_read_by_the_cohort(portal: Portal, folder: Path) -> None:
    from midrc_ml.cohorts.midrc import MidrcCohort

    header = "type\tproject_id\tsubmitter_id\tage_at_index\tsex\trace\tethnicity\ticu_indicator\n"
    row = "case\tOpen-A1\t100-1\t50.0\tFemale\tWhite\tNot Reported\tTrue\n"
    portal.nodes = {("Open-A1", "case"): (header + row).encode()}
    fetch(portal, folder, manifest=manifest(folder, A))
    assert MidrcCohort(root=str(folder)).read().cases["case_id"].tolist() == ["100-1"]


def test_a_second_start_asks_for_no_object_again(portal: Portal, folder: Path) -> None:
    fetch(portal, folder, manifest=manifest(folder, A, B))
    portal.asked.clear()
    assert fetch(portal, folder, manifest=manifest(folder, A, B))
    assert portal.of("url") == portal.of("bytes") == []


def test_a_whole_manifest_needs_no_index(portal: Portal, folder: Path) -> None:
    md5 = portal.objects[A].record(A)["hashes"]["md5"]
    whole = manifest(folder, A, file_name="mine/x.zip", file_size=1000, md5sum=md5)
    assert fetch(portal, folder, manifest=whole, tables=False)
    assert portal.of("index") == []
    assert (folder / "mine/x.zip").is_file()


def test_an_index_without_a_file_name_is_helped_by_the_address_in_it(portal: Portal, folder: Path) -> None:
    portal.objects[A].name = None
    fetch(portal, folder, manifest=manifest(folder, A), tables=False)
    assert (folder / "nameless.zip").is_file()


def test_many_objects_are_asked_of_the_index_in_batches(portal: Portal) -> None:
    asked = [RemoteObject(object_id=f"x{number}") for number in range(2500)] + [RemoteObject(object_id=A)]
    found, unknown = client(portal).described(asked)
    assert [len(asked.body) for asked in portal.of("index")] == [1000, 1000, 501]
    assert [(each.name, each.size, each.project) for each in found] == [("100-1/s1/x.zip", 1000, "Open-A1")]
    assert len(unknown) == 2500


def test_a_query_is_put_to_guppy_and_its_files_are_fetched(portal: Portal, folder: Path) -> None:
    portal.files = [
        {"object_id": each, "project_id": "Open-A1", "file_name": portal.objects[each].name, "file_size": size}
        for each, size in ((A, 1000), (B, 2000))
    ]
    conditions = ["covid19_positive=Yes", "study_modality=DX", "study_modality=CR", "age_at_imaging>=18"]
    assert fetch(portal, folder, projects=["Open-A1"], conditions=conditions)
    body = portal.of("query")[0].body
    assert body["type"] == "data_file"
    assert body["filter"] == {
        "AND": [
            {"IN": {"project_id": ["Open-A1"]}},
            {"IN": {"covid19_positive": ["Yes"]}},
            {"IN": {"study_modality": ["DX", "CR"]}},
            {">=": {"age_at_imaging": 18}},
        ]
    }
    assert (folder / "100-1/s1/y.zip").read_bytes() == b"b" * 2000


def test_a_filter_file_is_put_to_guppy_as_it_is(portal: Portal, folder: Path) -> None:
    portal.files = [{"object_id": A}]
    path = folder.parent / "filter.json"
    path.write_text('{"nested": {"path": "imaging_study_annotations", ">=": {"midrc_mRALE_score": 10}}}')
    fetch(portal, folder, filter_file=str(path), tables=False)
    assert portal.of("query")[0].body["filter"] == json.loads(path.read_text())


def test_a_portal_without_one_of_the_fields_is_asked_for_all_it_has(portal: Portal, folder: Path) -> None:
    portal.known_fields = ("object_id",)
    portal.files = [{"object_id": A}]
    assert fetch(portal, folder, projects=["Open-A1"], tables=False)
    assert [asked.body["fields"] is None for asked in portal.of("query")] == [False, True]


def test_a_query_that_finds_nothing_or_is_refused_is_said(
    portal: Portal, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"the query finds no data file"):
        fetch(portal, folder, projects=["Open-A1"])
    portal.fail("query", "", [400] * 2)
    with pytest.raises(InputError, match=r"refuses the query: the portal answered HTTP 400"):
        fetch(portal, folder, projects=["Open-A1"])
    portal.fail("query", "", ["<html>maintenance</html>"] * 9)
    with pytest.raises(InputError, match=r"something that is not JSON"):
        fetch(portal, folder, projects=["Open-A1"])
    assert "maintenance" not in "".join(capfd.readouterr())


def test_the_export_alone_writes_the_tables_that_have_rows(
    portal: Portal, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(portal, folder, projects=["Open-A1", "Open-R1"], nodes=["case"], export_only=True)
    assert [path.name for path in folder.glob("*.tsv")] == ["Open-A1_case.tsv"]
    assert "Open-A1_case.tsv: 2 rows\n1 tables have no rows in the portal" in capsys.readouterr().out


def test_a_node_that_is_named_and_not_there_is_a_failure_and_one_of_the_default_is_not(
    portal: Portal, folder: Path
) -> None:
    assert fetch(portal, folder, projects=["Open-A1"], export_only=True)
    assert not fetch(portal, folder, projects=["Open-A1"], nodes=["case", "visit"], export_only=True)
    assert failures(folder) == {"Open-A1_visit.tsv": "the portal answered HTTP 400"}
    assert not fetch(portal, folder, projects=["Open-X1"], export_only=True)  # a project without any node


def test_a_table_that_cannot_be_had_stops_neither_tables_nor_images_and_leaves_the_old_one(
    portal: Portal, folder: Path
) -> None:
    folder.mkdir()
    (folder / "Open-A1_case.tsv").write_text("old")
    portal.fail("export", "Open-A1_case", ["<html>maintenance</html>"])
    portal.nodes["Open-A1", "visit"] = b"type\tsubmitter_id\nvisit\tv1\n"
    assert not fetch(portal, folder, manifest=manifest(folder, A))
    assert (folder / "Open-A1_case.tsv").read_text() == "old"
    assert (folder / "Open-A1_visit.tsv").is_file()
    assert (folder / "100-1/s1/x.zip").is_file()
    assert "not the node as a TSV" in failures(folder)["Open-A1_case.tsv"]


def test_an_object_without_permission_is_listed_and_stops_no_other(portal: Portal, folder: Path) -> None:
    portal.objects[B].forbidden = True
    ids = manifest(folder, A, B, "dg.MD1R/unknown")
    assert not fetch(portal, folder, manifest=ids, tables=False)
    assert failures(folder) == {
        B: "no permission: the portal answered HTTP 401",
        "dg.MD1R/unknown": "not there: the portal's index does not know it",
    }
    assert (folder / "100-1/s1/x.zip").is_file()
    portal.objects[B].forbidden = False
    assert fetch(portal, folder, manifest=manifest(folder, A, B), tables=False)
    assert not (folder / "not_downloaded.csv").exists()


def test_an_object_of_another_portal_is_listed(portal: Portal, folder: Path) -> None:
    assert not fetch(portal, folder, manifest=manifest(folder, A, commons_url="https://other.org"), tables=False)
    assert failures(folder)[A].startswith("it lies at other.org: --endpoint https://other.org")


def test_a_name_that_leads_out_of_the_folder_is_listed_and_not_written(portal: Portal, folder: Path) -> None:
    portal.objects[A].name = "../../escaped.zip"
    assert not fetch(portal, folder, manifest=manifest(folder, A), tables=False)
    assert failures(folder) == {A: "its name leads out of the folder"}
    assert not list(folder.parent.parent.rglob("escaped.zip"))


def test_a_token_that_is_no_longer_taken_is_renewed(portal: Portal) -> None:
    asking = client(portal)
    asking.sign_in()
    portal.tokens.clear()
    assert asking.url_of(A).startswith(f"{portal.url}/bucket/{A}?")
    assert len(portal.of("token")) == 2


def test_threads_whose_token_ran_out_together_renew_it_once(portal: Portal, folder: Path) -> None:
    for number in range(12):
        portal.objects[f"n{number}"] = Stored(content=b"n", name=f"{number}.zip")
    ids = [f"n{number}" for number in range(12)]

    def forget(first: bool) -> Iterator[None]:
        if first:
            portal.tokens.clear()
        yield from ()

    portal.faults["bytes", "n0"] = forget(True)  # the tokens run out in the middle
    assert fetch(portal, folder, manifest=manifest(folder, *ids), tables=False)
    assert len(portal.of("token")) == 2


def test_a_key_that_is_no_longer_taken_ends_the_download_with_one_sentence(portal: Portal, folder: Path) -> None:
    portal.key_is_refused = True
    with pytest.raises(
        InputError, match=r"does not take the API key from ~/.gen3/credentials.json .any longer.: create"
    ):
        fetch(portal, folder, manifest=manifest(folder, A))


def test_a_key_that_runs_out_in_the_middle_ends_the_download_and_what_is_there_stays(
    portal: Portal, folder: Path
) -> None:
    def run_out() -> Iterator[None]:
        portal.tokens.clear()
        portal.key_is_refused = True
        yield None

    portal.faults["url", B] = run_out()
    one_at_a_time = TransferSettings(jobs=1, timeout_s=2.0, patience=PATIENCE)
    with pytest.raises(InputError, match=r"create a new one: .* then give the same line again"):
        fetch(portal, folder, one_at_a_time, manifest=manifest(folder, A, B, C), tables=False)
    assert (folder / "100-1/s1/x.zip").is_file()
    portal.key_is_refused = False
    assert fetch(portal, folder, manifest=manifest(folder, A, B, C), tables=False)


def test_a_portal_that_is_busy_at_signing_in_is_not_taken_for_a_bad_key(portal: Portal) -> None:
    portal.fail("token", "", [503, 503])
    client(portal).sign_in()
    assert len(portal.of("token")) == 3


def test_a_busy_portal_is_left_alone_as_long_as_it_asks(portal: Portal, folder: Path) -> None:
    portal.fail("url", A, [(429, {"Retry-After": "1"})])
    assert fetch(portal, folder, manifest=manifest(folder, A), tables=False)
    first, second = portal.of("url")
    assert 1.0 <= second.time_s - first.time_s < 1.5


def test_a_portal_that_does_not_answer_is_not_waited_for_without_end(portal: Portal) -> None:
    asking = client(portal, timeout_s=0.2)
    asking.sign_in()

    def silent() -> Iterator[None]:
        time.sleep(0.6)
        yield None

    portal.faults["url", A] = silent()
    with pytest.raises(TemporaryError, match=r"did not answer within 0.2 s"):
        asking.url_of(A)


def test_an_answer_without_an_address_is_asked_for_again(portal: Portal, folder: Path) -> None:
    portal.fail("url", A, ["<html>maintenance</html>"])
    assert fetch(portal, folder, manifest=manifest(folder, A), tables=False)
    portal.fail("url", B, ["<html>maintenance</html>"] * 9)
    assert not fetch(portal, folder, manifest=manifest(folder, B), tables=False)
    assert failures(folder) == {B: "the portal gave no address for it (3 tries)"}


def test_a_portal_that_is_not_there_is_said(portal: Portal, home: Path, folder: Path) -> None:
    nowhere = "http://127.0.0.1:1"
    (home / ".gen3/credentials.json").write_text(json.dumps({"api_key": jwt({"iss": nowhere}, SECRET_KEY_PART)}))
    with pytest.raises(InputError, match=r"cannot sign in to http://127.0.0.1:1: the connection to the portal broke"):
        fetch_midrc(MidrcRequest(endpoint=nowhere, folder=str(folder), projects=["Open-A1"]), QUICK)


def test_a_dry_run_counts_and_writes_nothing(portal: Portal, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = manifest(folder, A, B, "dg.MD1R/unknown")
    assert fetch(portal, folder, manifest=ids, dry_run=True)
    assert capsys.readouterr().out.splitlines() == [
        "2 objects, 3.0 kB",
        "0 are there already; still to come: 2, 3.0 kB",
        "1 not to be had: not there: the portal's index does not know it",
    ]
    assert not folder.exists()
    assert portal.of("url") == portal.of("export") == []
    fetch(portal, folder, manifest=manifest(folder, A), tables=False)
    fetch(portal, folder, manifest=manifest(folder, A, B), dry_run=True)
    assert "1 are there already; still to come: 1, 2.0 kB" in capsys.readouterr().out


def test_two_downloads_do_not_write_into_one_folder(portal: Portal, folder: Path) -> None:
    from midrc_ml.downloads.files import alone_in

    with alone_in(folder), pytest.raises(InputError, match=r"another download is writing into"):
        fetch(portal, folder, manifest=manifest(folder, A))


def test_gen3_neither_prints_nor_logs_what_a_portal_refuses(
    portal: Portal, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asking = client(portal)
    for kind, name in (("url", A), ("query", ""), ("export", "Open-A1_case"), ("index", "")):
        portal.fail(kind, name, [418] * 9)
    with pytest.raises(UnobtainableError):
        asking.url_of(A)
    with pytest.raises(UnobtainableError):
        asking.export_node("Open-A1", "case")
    for call in (lambda: asking.find_files({}), lambda: asking.described([RemoteObject(object_id=A)])):
        with pytest.raises(InputError):
            call()
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("gen3.file").isEnabledFor(logging.CRITICAL)


def everything_written(*folders: Path) -> str:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return "".join(path.read_text("latin-1") for path in files if path.name != "credentials.json")


def test_no_secret_is_printed_logged_or_written_whatever_goes_wrong(
    portal: Portal, home: Path, folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    portal.fail("url", A, [500, (429, {"Retry-After": "0"}), 500, 500])
    portal.fail("bytes", B, ["drop", 403, 500, "wrong", 418])
    portal.fail("export", "Open-A1_visit", [500] * 9)
    ids = manifest(folder, A, B, C)
    with pytest.raises(SystemExit) as ended:
        main(["midrc", "--endpoint", portal.url, "--manifest", ids, "--to", str(folder), "--retries", "0"])
    assert ended.value.code == 1
    portal.key_is_refused = True
    portal.tokens.clear()
    with pytest.raises(SystemExit) as ended:
        main(["midrc", "--endpoint", portal.url, "--manifest", ids, "--to", str(folder), "--retries", "0"])
    assert ended.value.code == 2
    printed = "".join(capfd.readouterr())
    assert "create a new one" in printed
    said = printed + everything_written(folder, home)
    ours = "".join(record.getMessage() for record in caplog.records if record.name.startswith(("midrc_ml", "gen3")))
    for secret in (SECRET_KEY_PART, SECRET_SIGNATURE, SECRET_TOKEN_PART):
        assert secret not in said
        assert secret not in ours
        assert secret not in caplog.text
