"""The transfer itself, against a bucket on loopback: resumed, verified, none stopping the others."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from portal_server import SECRET_SIGNATURE, Asked, Portal, Stored

from midrc_ml.downloads.failures import Patience, UnobtainableError
from midrc_ml.downloads.finished import RECORD, FinishedFiles
from midrc_ml.downloads.objects import RemoteObject
from midrc_ml.downloads.transfers import Outcome, Transfer, TransferSettings, missing_bytes, split_finished
from midrc_ml.errors import InputError

QUICK = TransferSettings(jobs=4, timeout_s=2.0, patience=Patience(retries=3, first_wait_s=0.01))
SIZE = 300_000


def store(portal: Portal, number: int, size: int = SIZE) -> RemoteObject:
    content = random.Random(number).randbytes(size)
    object_id = f"dg.MD1R/{number:08d}"
    portal.objects[object_id] = Stored(content=content)
    return RemoteObject(
        object_id=object_id, name=f"case/study/{number}.zip", size=size, md5=hashlib.md5(content).hexdigest()
    )


def fetch(portal: Portal, folder: Path, *objects: RemoteObject, settings: TransferSettings = QUICK) -> Outcome:
    folder.mkdir(exist_ok=True)
    return Transfer(folder, portal.signed, settings).fetch(objects)


def is_whole(portal: Portal, folder: Path, remote: RemoteObject) -> bool:
    path = folder / str(remote.name)
    return path.is_file() and path.read_bytes() == portal.objects[remote.object_id].content


def start_of(asked: Asked) -> int:
    return int(str(asked.range).removeprefix("bytes=").removesuffix("-"))


def unfinished(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def test_every_object_comes_whole_under_its_name(portal: Portal, tmp_path: Path) -> None:
    objects = [store(portal, number) for number in range(9)] + [store(portal, 9, size=0)]
    outcome = fetch(portal, tmp_path, *objects)
    assert (outcome.fetched, outcome.already, outcome.failed) == (10, 0, [])
    assert all(is_whole(portal, tmp_path, each) for each in objects)
    assert unfinished(tmp_path) == []


def test_objects_come_side_by_side(portal: Portal, tmp_path: Path) -> None:
    portal.chunk_pause_s = 0.02  # 19 chunks an object: 0.38 s
    objects = [store(portal, number) for number in range(4)]
    fetch(portal, tmp_path, *objects)
    starts = [asked.time_s for asked in portal.of("bytes")]
    assert max(starts) - min(starts) < 0.3


def test_what_is_there_is_not_asked_for_again(portal: Portal, tmp_path: Path) -> None:
    objects = [store(portal, number) for number in range(3)]
    fetch(portal, tmp_path, *objects)
    portal.asked.clear()
    outcome = fetch(portal, tmp_path, *objects)
    assert (outcome.fetched, outcome.already) == (0, 3)
    assert portal.asked == []


def test_what_is_there_is_not_hashed_again(portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = store(portal, 1)
    fetch(portal, tmp_path, remote)
    monkeypatch.setattr("midrc_ml.downloads.transfers.md5_of", lambda path: pytest.fail("it was hashed"))
    assert fetch(portal, tmp_path, remote).already == 1


def test_a_file_fetched_by_other_means_is_kept_if_it_is_right(portal: Portal, tmp_path: Path) -> None:
    right, wrong = store(portal, 1), store(portal, 2)
    (tmp_path / "case" / "study").mkdir(parents=True)
    (tmp_path / str(right.name)).write_bytes(portal.objects[right.object_id].content)
    (tmp_path / str(wrong.name)).write_bytes(bytes(SIZE))
    outcome = fetch(portal, tmp_path, right, wrong)
    assert (outcome.fetched, outcome.already) == (1, 1)
    assert [asked.name for asked in portal.of("bytes")] == [wrong.object_id]
    assert is_whole(portal, tmp_path, wrong)


def test_a_file_that_was_changed_afterwards_is_fetched_again(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    fetch(portal, tmp_path, remote)
    (tmp_path / str(remote.name)).write_bytes(bytes(SIZE))
    assert fetch(portal, tmp_path, remote).fetched == 1
    assert is_whole(portal, tmp_path, remote)


def test_an_object_that_is_new_in_the_portal_is_fetched_again(portal: Portal, tmp_path: Path) -> None:
    fetch(portal, tmp_path, store(portal, 1))
    new = store(portal, 1, size=SIZE + 1)
    assert fetch(portal, tmp_path, new).fetched == 1
    assert is_whole(portal, tmp_path, new)


def test_an_unfinished_file_is_gone_on_with(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    part = tmp_path / f"{remote.name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(portal.objects[remote.object_id].content[:200_000])
    assert missing_bytes(remote, tmp_path) == 100_000
    fetch(portal, tmp_path, remote)
    assert [(asked.range, asked.sent) for asked in portal.of("bytes")] == [("bytes=200000-", 100_000)]
    assert is_whole(portal, tmp_path, remote)


def test_an_unfinished_file_that_has_everything_is_only_verified(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    part = tmp_path / f"{remote.name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(portal.objects[remote.object_id].content)
    assert fetch(portal, tmp_path, remote).fetched == 1
    assert portal.of("bytes") == []
    assert is_whole(portal, tmp_path, remote)


@pytest.mark.parametrize("size", [100_000, SIZE + 5])
def test_an_unfinished_file_of_something_else_is_thrown_away(portal: Portal, tmp_path: Path, size: int) -> None:
    remote = store(portal, 1)
    part = tmp_path / f"{remote.name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(size))
    assert fetch(portal, tmp_path, remote).fetched == 1
    assert is_whole(portal, tmp_path, remote)


def test_a_dropped_connection_is_taken_up_where_it_broke_off(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    portal.fail("bytes", remote.object_id, ["drop"])
    assert fetch(portal, tmp_path, remote).fetched == 1
    first, second = portal.of("bytes")
    assert first.sent == 150_000
    assert 150_000 - 32_768 <= start_of(second) <= 150_000
    assert is_whole(portal, tmp_path, remote)


def test_a_line_that_drops_more_often_than_the_retries_is_gone_on_with_as_long_as_bytes_come(
    portal: Portal, tmp_path: Path
) -> None:
    remote = store(portal, 1, size=3_000_000)
    portal.fail("bytes", remote.object_id, ["drop"] * 6)
    assert fetch(portal, tmp_path, remote).fetched == 1
    assert is_whole(portal, tmp_path, remote)


def test_a_bucket_that_ignores_the_range_and_keeps_dropping_is_given_up(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    portal.fail("bytes", remote.object_id, ["no range, 60 %", "no range, 30 %"] * 50)
    outcome = fetch(portal, tmp_path, remote)
    assert outcome.failed == [(remote, "the connection to the bucket broke off (4 tries)")]
    assert len(portal.of("bytes")) == 4


def test_a_bucket_that_ignores_the_range_is_read_from_the_start(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    portal.fail("bytes", remote.object_id, ["drop", "no range"])
    fetch(portal, tmp_path, remote)
    assert portal.of("bytes")[1].sent == SIZE
    assert is_whole(portal, tmp_path, remote)


def test_a_wrong_checksum_is_fetched_again(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    portal.fail("bytes", remote.object_id, ["wrong"])
    assert fetch(portal, tmp_path, remote).fetched == 1
    assert len(portal.of("bytes")) == 2
    assert is_whole(portal, tmp_path, remote)


def test_a_checksum_that_stays_wrong_is_reported_and_leaves_nothing(portal: Portal, tmp_path: Path) -> None:
    bad, good = store(portal, 1), store(portal, 2)
    portal.fail("bytes", bad.object_id, ["wrong"] * 99)
    outcome = fetch(portal, tmp_path, bad, good)
    assert [(each.object_id, reason) for each, reason in outcome.failed] == [
        (bad.object_id, "what came has another checksum (md5) (3 times)")
    ]
    assert [path.name for path in (tmp_path / "case" / "study").iterdir()] == ["2.zip"]


@pytest.mark.parametrize("stated", [SIZE - 1, SIZE + 1])
def test_an_object_of_another_size_is_refused(portal: Portal, tmp_path: Path, stated: int) -> None:
    remote = store(portal, 1)
    lying = RemoteObject(object_id=remote.object_id, name=remote.name, size=stated, md5=remote.md5)
    outcome = fetch(portal, tmp_path, lying)
    assert outcome.failed == [(lying, f"the bucket has {SIZE} bytes, but it has {stated} (3 times)")]
    assert list(tmp_path.rglob("*.zip*")) == []


def test_a_file_without_a_known_checksum_is_fetched_and_counted(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    nameless = RemoteObject(object_id=remote.object_id, name=remote.name)
    outcome = fetch(portal, tmp_path, nameless)
    assert (outcome.fetched, outcome.unchecked) == (1, 1)
    assert fetch(portal, tmp_path, nameless).already == 1


@pytest.mark.parametrize("status", [429, pytest.param(503, marks=pytest.mark.slow)])
def test_a_busy_bucket_is_left_alone_as_long_as_it_asks(portal: Portal, tmp_path: Path, status: int) -> None:
    remote = store(portal, 1, size=10)
    portal.fail("bytes", remote.object_id, [(status, {"Retry-After": "1"})])
    assert fetch(portal, tmp_path, remote).fetched == 1
    first, second = portal.of("bytes")
    assert 1.0 <= second.time_s - first.time_s < 1.5


def test_a_server_that_stays_broken_is_given_up_after_the_retries(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    portal.fail("bytes", remote.object_id, [500] * 99)
    assert fetch(portal, tmp_path, remote).failed == [(remote, "the bucket answered HTTP 500 (4 tries)")]
    assert len(portal.of("bytes")) == 4


@pytest.mark.parametrize("status", [400, 403])
def test_a_signed_address_that_ran_out_is_asked_for_anew(portal: Portal, tmp_path: Path, status: int) -> None:
    remote = store(portal, 1)
    portal.fail("bytes", remote.object_id, ["drop", status])
    addresses: list[str] = []

    def url_of(object_id: str) -> str:
        addresses.append(portal.signed(object_id))
        return addresses[-1]

    assert Transfer(tmp_path, url_of, QUICK).fetch([remote]).fetched == 1
    assert len(set(addresses)) == 2
    assert start_of(portal.of("bytes")[2]) > 100_000


def test_an_object_that_may_not_be_had_does_not_stop_the_others(portal: Portal, tmp_path: Path) -> None:
    objects = [store(portal, number, size=100) for number in range(20)]

    def url_of(object_id: str) -> str:
        if object_id == objects[3].object_id:
            raise UnobtainableError("no permission")
        return portal.signed(object_id)

    outcome = Transfer(tmp_path, url_of, QUICK).fetch(objects)
    assert outcome.failed == [(objects[3], "no permission")]
    assert outcome.fetched == 19


def test_an_object_that_is_not_in_the_bucket_is_not_asked_for_twice(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    portal.fail("bytes", remote.object_id, [404] * 99)
    assert fetch(portal, tmp_path, remote).failed == [(remote, "not there: the bucket answered HTTP 404")]
    assert len(portal.of("bytes")) == 1


def test_a_login_of_netrc_is_not_sent_beside_a_signature(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    # The bucket answers 400 to a request with a login, as S3 does.
    assert fetch(portal, tmp_path, store(portal, 1)).fetched == 1


def test_a_name_that_cannot_be_written_is_one_failure(portal: Portal, tmp_path: Path) -> None:
    long, good = store(portal, 1), store(portal, 2)
    long = RemoteObject(object_id=long.object_id, name="x" * 300, size=SIZE, md5=long.md5)
    outcome = fetch(portal, tmp_path, long, good)
    assert outcome.failed == [(long, "cannot be written: File name too long")]
    assert outcome.fetched == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here, the disk that is always full")
def test_a_full_disk_ends_the_download_with_one_sentence(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    part = tmp_path / f"{remote.name}.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"the disk of .* is full; make room and give the same line again"):
        fetch(portal, tmp_path, remote)


def test_a_disk_without_room_is_said_before_anything_is_fetched(
    portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**6, 0, SIZE * 2 - 1))
    objects = [store(portal, 1), store(portal, 2)]
    with pytest.raises(InputError, match=r"has 600.0 kB free, but 600.0 kB are still to come"):
        fetch(portal, tmp_path, *objects)
    assert portal.asked == []


def test_no_reason_holds_a_signed_address(portal: Portal, tmp_path: Path) -> None:
    objects = [store(portal, number) for number in range(6)]
    for each, fault in zip(objects, ["drop", 500, 403, 404, 418, "wrong"], strict=True):
        portal.fail("bytes", each.object_id, [fault] * 99)
    nowhere = f"http://127.0.0.1:1/x?X-Amz-Signature={SECRET_SIGNATURE}"
    broken = f"http://[broken/x?X-Amz-Signature={SECRET_SIGNATURE}"
    ids = {objects[0].object_id: nowhere, "dg.MD1R/x": broken}
    strange = RemoteObject(object_id="dg.MD1R/x", name="x.zip")
    unforeseen = RemoteObject(object_id="dg.MD1R/y", name="y.zip")

    def url_of(object_id: str) -> str:
        if object_id == unforeseen.object_id:
            raise RuntimeError(nowhere)
        return ids.get(object_id) or portal.signed(object_id)

    outcome = Transfer(tmp_path, url_of, QUICK).fetch([*objects, strange, unforeseen])
    assert len(outcome.failed) == 8
    assert SECRET_SIGNATURE not in repr(outcome)
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and SECRET_SIGNATURE in path.read_text("latin-1")
    ]


def test_a_record_that_was_cut_off_by_a_kill_still_counts_its_whole_lines(portal: Portal, tmp_path: Path) -> None:
    objects = [store(portal, number) for number in range(3)]
    fetch(portal, tmp_path, *objects)
    record = tmp_path / RECORD
    record.write_bytes(record.read_bytes()[:-20])
    todo, done = split_finished(objects, tmp_path)
    assert (len(todo), len(done)) == (1, 2)
    assert fetch(portal, tmp_path, *objects).already == 3  # the third by its checksum
    assert split_finished(objects, tmp_path)[0] == []


def test_a_record_of_nonsense_is_not_believed(portal: Portal, tmp_path: Path) -> None:
    remote = store(portal, 1)
    (tmp_path / RECORD).write_text('[]\nnull\n{"name": "case/study/1.zip"}\n\x00\n')
    assert not FinishedFiles(tmp_path).has(remote)


@pytest.mark.slow
def test_a_download_that_was_killed_goes_on_where_it_was(portal: Portal, tmp_path: Path) -> None:
    portal.chunk_pause_s = 0.02
    objects = [store(portal, number, size=1_000_000) for number in range(6)]
    code = (
        "import sys; from pathlib import Path; from midrc_ml.downloads.objects import RemoteObject\n"
        "from midrc_ml.downloads.transfers import Transfer, TransferSettings\n"
        f"objects = {objects!r}\n"
        f"Transfer(Path({str(tmp_path)!r}), lambda i: {portal.url + '/bucket/'!r} + i + "
        f"'?X-Amz-Signature={SECRET_SIGNATURE}', TransferSettings(jobs=2)).fetch(objects)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while len(portal.of("bytes")) < 4:  # two are whole, two are on their way
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert unfinished(tmp_path)
    portal.chunk_pause_s = 0.0
    portal.asked.clear()
    outcome = fetch(portal, tmp_path, *objects)
    assert (outcome.already, outcome.failed) == (2, [])
    assert sum(asked.range is not None for asked in portal.of("bytes")) == 2
    assert all(is_whole(portal, tmp_path, each) for each in objects)


@pytest.mark.slow
def test_twenty_thousand_finished_files_are_skipped_as_fast_as_they_can_be_looked_at(tmp_path: Path) -> None:
    objects, lines = [], []
    for number in range(20_000):
        name = f"{number % 1000}/{number}.zip"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        objects.append(RemoteObject(object_id=str(number), name=name, size=0, md5="0" * 32))
        entry = {"name": name, "size": 0, "mtime_ns": (tmp_path / name).stat().st_mtime_ns, "md5": "0" * 32}
        lines.append(json.dumps(entry))
    (tmp_path / RECORD).write_text("\n".join(lines))

    def looked_at() -> float:
        """Seconds to read the record and to ask for the size of each file: less cannot tell that it is finished."""
        start = time.process_time()
        for line in (tmp_path / RECORD).read_text().splitlines():
            (tmp_path / json.loads(line)["name"]).stat()
        return time.process_time() - start

    def skipped() -> float:
        start = time.process_time()
        assert len(split_finished(objects, tmp_path)[1]) == 20_000
        return time.process_time() - start

    # Seconds of this process, which others on the machine do not lengthen; hashing, or a file opened, is ten times it.
    assert min(skipped() for _ in range(3)) < 3 * min(looked_at() for _ in range(3))
