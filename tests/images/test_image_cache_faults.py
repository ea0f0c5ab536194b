"""Faults around the image cache: late writers, replaced slices, odd films, damaged indexes, missing packages."""

import logging
import os
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import as_bytes, film
from test_image_cache import RECIPE, assert_right, cache, expected, films, write_film

from midrc_ml.errors import InputError
from midrc_ml.images.build import decode_file
from midrc_ml.images.files import stamp
from midrc_ml.images.recipe import Recipe
from midrc_ml.images.shards import COLUMNS, ShardWriter


def write_slice(path: Path, seed: int, mtime: float) -> None:
    pixels = np.random.default_rng(seed).integers(0, 4096, (32, 32), dtype=np.uint16)
    path.write_bytes(as_bytes(film(pixels, InstanceNumber=1)))
    os.utime(path, (mtime, mtime))


def test_the_newest_row_counts_whatever_the_shard_that_it_stands_in(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 1)
    here = cache(tmp_path)
    here.folder.mkdir(parents=True)
    first = ShardWriter.take(here.folder, 32 * 32)  # another process, which has the first shard
    here.load(files, num_processes=1)
    first.add(dict.fromkeys(COLUMNS, "") | {"file": "x", "bytes": 1, "mtime_ns": 1, "record": -1, "reason": "?"}, None)
    first.commit()
    first.close()
    write_film(Path(files[0]), seed=7)
    for _ in range(2):
        assert_right(here.load(files, num_processes=1), files)
    assert here.index()["file"].tolist().count(files[0]) == 1
    shards = sorted(path.stat().st_size for path in here.folder.glob("*.u8"))
    assert shards == [32 * 32, 32 * 32]  # it was decoded once more, and not at every load


def test_a_slice_that_was_replaced_by_an_older_one_of_its_size_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    for number in range(3):
        write_slice(folder / f"{number}.dcm", seed=number, mtime=number + 1)
    before = cache(tmp_path).load([str(folder)], num_processes=1).gather([0])
    write_slice(folder / "0.dcm", seed=9, mtime=1.5)  # as `rsync -t` leaves it
    after = cache(tmp_path).load([str(folder)], num_processes=1).gather([0])
    assert not np.array_equal(before, after)
    assert np.array_equal(after[0], expected(str(folder / "0.dcm")))


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (MemoryError("8 GB"), "cannot be read (not enough memory)"),
        (cv2.error("of DOE^JANE"), "cannot be decoded (cv2.error)"),
        (KeyError("DOE^JANE"), "cannot be decoded (KeyError)"),
    ],
)
def test_a_failure_of_any_kind_is_the_files_own_and_lack_of_memory_is_tried_again(
    failure: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Recipe, members: object) -> None:
        raise failure

    monkeypatch.setattr(Recipe, "read", fails)
    files = films(tmp_path / "films", 1)
    assert cache(tmp_path).load(files, num_processes=1).reasons == [reason]
    monkeypatch.undo()
    found = cache(tmp_path).load(files, num_processes=1)
    assert found.reasons == [None if isinstance(failure, MemoryError) else reason]


def test_no_warning_quotes_a_header(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    content = as_bytes(film(np.arange(1024, dtype=np.uint16).reshape(32, 32), InstanceNumber="12"))
    (tmp_path / "film.dcm").write_bytes(content.replace(b"IS\x02\x0012", b"IS\x02\x001A"))
    decode_file((str(tmp_path / "film.dcm"), ()), RECIPE)
    assert not recwarn.list


def test_a_damaged_index_is_told_and_its_images_are_decoded_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = films(tmp_path / "films", 3)
    here = cache(tmp_path)
    here.load(files, num_processes=1)
    index = here.folder / "000000.parquet"
    os.truncate(index, 300)
    with caplog.at_level(logging.WARNING):
        assert here.damaged().empty
    assert "000000.parquet cannot be read (ArrowInvalid): what it told of is decoded again; remove it" in caplog.text
    for _ in range(2):
        assert_right(here.load(files, num_processes=1), files)
    # Rows of others may point to its records: nobody writes there.
    assert sorted(path.name for path in here.folder.glob("*.u8")) == ["000000.u8", "000001.u8"]
    assert index.stat().st_size == 300


def test_records_of_a_shard_that_was_cut_off_are_counted_as_damaged(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 3)
    here = cache(tmp_path)
    here.load(files, num_processes=1)
    os.truncate(here.folder / "000000.u8", 32 * 32 + 5)
    assert sorted(here.damaged()["file"]) == sorted(files[1:])
    (here.folder / "000000.u8").unlink()
    assert sorted(here.damaged()["file"]) == sorted(files)


def test_a_cache_folder_that_is_a_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 1)
    (tmp_path / "cache").write_text("")
    with pytest.raises(InputError, match=r"paths.cache_dir is .* and no image cache can be written there \(.*\); give"):
        cache(tmp_path).load(files, num_processes=1)


def test_a_store_whose_package_is_missing_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def missing(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    found = cache(tmp_path).load(["s3://bucket/series.zip"], num_processes=1)
    assert found.reasons == [
        "cannot be read (the package that reads s3:// is not installed: Install s3fs to access S3)"
    ]


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "huge.dcm", "wb") as file:
        file.truncate((1 << 30) + 1)
    started = time.monotonic()
    found = cache(tmp_path).load([str(tmp_path / "huge.dcm")], num_processes=1)
    assert found.reasons == ["a file of over 1 GiB"]
    assert time.monotonic() - started < 1


def test_what_is_decoded_is_announced_once_and_only_if_there_is_something(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 2)
    said: list[str] = []
    for _ in range(2):
        cache(tmp_path).load(files, num_processes=1, before=lambda: said.append("decoding"))
    assert said == ["decoding"]


def test_series_are_found_by_the_uid_of_their_header(tmp_path: Path) -> None:
    content = as_bytes(film(np.arange(1024, dtype=np.uint16).reshape(32, 32), SeriesInstanceUID="1.2.840.1.7"))
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as package:
        package.writestr("film.dcm", content)
    cache(tmp_path).load([str(tmp_path / "series.zip"), *films(tmp_path / "films", 1)], num_processes=1)
    assert cache(tmp_path).files_by_series() == {"1.2.840.1.7": str(tmp_path / "series.zip")}


def test_the_stamp_of_several_files_tells_names_sizes_and_times(tmp_path: Path) -> None:
    assert stamp(str(tmp_path / "absent")) == (-1, -1)
    seen = set()
    for name, size, mtime in (("a", 3, 1), ("b", 3, 1), ("b", 4, 1), ("b", 4, 2)):
        for old in tmp_path.iterdir():
            old.unlink()
        (tmp_path / name).write_bytes(bytes(size))
        os.utime(tmp_path / name, (mtime, mtime))
        seen.add(stamp(str(tmp_path)))
    assert len(seen) == 4
    assert all(0 <= time_or_hash < 1 << 63 for _, time_or_hash in seen)
