"""Headers are read once, and again only where a file is new or has changed, whatever happens at the same time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from films import STORED, as_bytes, film

from midrc_ml.images import headers
from midrc_ml.images.headers import COLUMNS, scan_headers


def write(path: Path, number: int, **fields: object) -> Path:
    """A film with this instance number."""
    path.write_bytes(as_bytes(film(STORED, InstanceNumber=number, **fields)))
    return path


def cache_parts(folder: Path) -> list[Path]:
    return sorted((folder / "headers").rglob("*.parquet"))


def test_rows_come_in_the_order_asked_for_also_twice_with_or_without_a_cache(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.dcm", number) for number in (1, 2, 3)]
    order = [files[2], files[0], files[2], files[1]]
    for cache_dir in (None, str(tmp_path / "cache"), str(tmp_path / "cache")):
        table = scan_headers(order, cache_dir=cache_dir)
        assert list(table.columns) == list(COLUMNS)
        assert table["instance_number"].tolist() == [3.0, 1.0, 3.0, 2.0]
    assert len(scan_headers([], cache_dir=str(tmp_path / "cache"))) == 0


def test_a_second_scan_opens_only_what_is_new_or_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    one = headers._header
    monkeypatch.setattr(headers, "_header", lambda file: (opened.append(Path(file).name), one(file))[1])
    files = [write(tmp_path / f"{number}.dcm", number) for number in range(4)]
    cache = str(tmp_path / "cache")
    scan_headers(files[:3], cache_dir=cache)
    assert opened == ["0.dcm", "1.dcm", "2.dcm"]
    opened.clear()
    write(files[1], 11, SeriesDescription="another size")
    write(files[2], 7)
    os.utime(files[2], ns=(1, 1))  # the same size, another time
    assert scan_headers(files, cache_dir=cache)["instance_number"].tolist() == [0.0, 11.0, 7.0, 3.0]
    assert opened == ["1.dcm", "2.dcm", "3.dcm"]
    opened.clear()
    assert scan_headers(files, cache_dir=cache)["instance_number"].tolist() == [0.0, 11.0, 7.0, 3.0]
    assert opened == []


def test_a_file_that_was_not_there_is_tried_again_and_a_bad_one_is_not(tmp_path: Path) -> None:
    late, bad = tmp_path / "late.dcm", tmp_path / "bad.dcm"
    bad.write_bytes(b"text")
    cache = str(tmp_path / "cache")
    assert scan_headers([late, bad], cache_dir=cache)["reason"].notna().all()
    write(late, 1)
    assert scan_headers([late, bad], cache_dir=cache)["reason"].isna().tolist() == [True, False]
    parts = cache_parts(tmp_path / "cache")
    scan_headers([late, bad], cache_dir=cache)
    assert cache_parts(tmp_path / "cache") == parts


def test_leftovers_of_a_killed_scan_and_a_spoiled_part_are_not_read(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.dcm", number) for number in range(3)]
    cache = str(tmp_path / "cache")
    scan_headers(files, cache_dir=cache)
    (part,) = cache_parts(tmp_path / "cache")
    (part.parent / "000001.unfinished").write_bytes(b"half")
    part.write_bytes(part.read_bytes()[:-50])
    assert scan_headers(files, cache_dir=cache)["instance_number"].tolist() == [0.0, 1.0, 2.0]


def test_a_pool_of_processes_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "_POOL_FROM", 2)
    monkeypatch.setattr(headers, "_PART_FILES", 3)
    files = [write(tmp_path / f"{number}.dcm", number) for number in range(7)]
    alone = scan_headers(files, cache_dir=None)
    pd.testing.assert_frame_equal(scan_headers(files, cache_dir=str(tmp_path / "cache"), num_processes=2), alone)
    assert len(cache_parts(tmp_path / "cache")) == 3


SCAN = (
    "import sys; from midrc_ml.images import headers\n"
    "headers._PART_FILES = 5\n"
    "print(headers.scan_headers(sys.argv[2:], cache_dir=sys.argv[1])['instance_number'].sum())\n"
)


@pytest.mark.slow
def test_scans_at_the_same_time_or_killed_in_the_middle_leave_every_file_read_right(tmp_path: Path) -> None:
    files = [str(write(tmp_path / f"{number}.dcm", number)) for number in range(300)]
    cache = str(tmp_path / "cache")
    line = [sys.executable, "-c", SCAN, cache]
    killed = subprocess.Popen([*line, *files], stdout=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while len(cache_parts(tmp_path / "cache")) < 2 and time.monotonic() < patience:
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(timeout=30) == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in cache_parts(tmp_path / "cache")}
    assert 2 <= len(kept) < 60
    running = [subprocess.Popen([*line, *order], stdout=subprocess.PIPE) for order in (files, files[::-1])]
    for process in running:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert float(output) == sum(range(300))
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert len(cache_parts(tmp_path / "cache")) == 60
