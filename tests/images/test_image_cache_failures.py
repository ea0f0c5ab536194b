"""The image cache where something fails: one film, an index, a shard, a folder, a store; never all of the run."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import fsspec
import numpy as np
import pytest

from midrc_ml.errors import InputError
from midrc_ml.images import files as files_module
from midrc_ml.images import shards as shards_module
from midrc_ml.images.cache import ImageCache
from midrc_ml.images.files import Member, stamp
from midrc_ml.images.radiograph import read_radiograph
from midrc_ml.images.recipe import Recipe
from midrc_ml.images.shards import ShardWriter

RECIPE = Recipe(size=32)
RECORD = 32 * 32


def write_film(path: Path, seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".bmp", pixels)[1].tobytes())
    return str(path)


def films(folder: Path, count: int) -> list[str]:
    return [write_film(folder / f"{number}.bmp", number) for number in range(count)]


def cache(folder: Path) -> ImageCache:
    return ImageCache(cache_dir=str(folder / "cache"), recipe=RECIPE)


def expected(file: str) -> np.ndarray:
    return RECIPE.apply(read_radiograph(Member("film.bmp", Path(file).read_bytes())))


def assert_right(folder: Path, files: list[str]) -> None:
    images = cache(folder).load(files, num_processes=1)
    assert images.reasons == [None] * len(files)
    assert np.array_equal(images.gather(range(len(files))), np.stack([expected(file) for file in files]))


def without_memory_in_opencv() -> Exception:
    error = cv2.error("Failed to allocate 8589934592 bytes of MRN-0815")
    error.code = -4  # as OpenCV sets it
    return error


# What is tried again is of this machine and moment, the rest is the film's own for good.
TRIED_AGAIN: list[tuple[Exception, str]] = [
    (MemoryError(), "cannot be read (not enough memory)"),
    (without_memory_in_opencv(), "cannot be read (not enough memory)"),
    (OSError(24, "Too many open files"), "cannot be read (Too many open files)"),
    (ModuleNotFoundError("MRN-0815", name="nibabel"), "no decoder (the package nibabel is not installed)"),
]
FOR_GOOD: list[tuple[Exception, str]] = [
    (cv2.error("bad size of MRN-0815"), "cannot be decoded (cv2.error)"),
    (OSError("image file of MRN-0815 is truncated"), "cannot be decoded (OSError)"),
    (ZeroDivisionError("MRN-0815"), "cannot be decoded (ZeroDivisionError)"),
]


def test_whatever_films_raise_is_their_reason_without_values_and_the_others_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [*TRIED_AGAIN, *FOR_GOOD]
    files, read = films(tmp_path, len(failures) + 1), Recipe.read

    def fails(self: Recipe, members: object) -> object:
        content = list(members)  # type: ignore[call-overload]
        number = int(content[0].name.removesuffix(".bmp"))
        if number < len(failures):
            raise failures[number][0]
        return read(self, content)

    with monkeypatch.context() as patched:
        patched.setattr(Recipe, "read", fails)
        images = cache(tmp_path).load(files, num_processes=1)
    assert images.reasons == [*(words for _, words in failures), None]
    assert np.array_equal(images.gather([len(failures)])[0], expected(files[-1]))
    again = cache(tmp_path).load(files, num_processes=1)
    assert again.reasons == [*(None for _ in TRIED_AGAIN), *(words for _, words in FOR_GOOD), None]


def test_a_film_for_which_there_is_no_memory_when_it_is_read_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(_: object) -> bytes:
        raise MemoryError

    files = films(tmp_path, 1)
    with monkeypatch.context() as patched:
        patched.setattr(files_module, "_whole", without_memory)
        assert cache(tmp_path).load(files, num_processes=1).reasons == ["cannot be read (not enough memory)"]
    assert_right(tmp_path, files)


def spoiled_in_the_first_column(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b".bmp")] ^= 1  # a file's name, within a page
    path.write_bytes(content)


def of_other_columns(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"mtime_ns", b"mtime_nx"))


@pytest.mark.parametrize("damage", [spoiled_in_the_first_column, of_other_columns])
def test_a_damaged_index_is_told_once_and_its_shard_is_left_as_it_is(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pages as they are, so that a name in them can be found.
    plain = shards_module.pd.DataFrame.to_parquet
    monkeypatch.setattr(
        shards_module.pd.DataFrame, "to_parquet", lambda *given, **how: plain(*given, **how, compression=None)
    )
    files = films(tmp_path, 3)
    assert_right(tmp_path, files)
    folder = cache(tmp_path).folder
    damage(folder / "000000.parquet")
    before = [(folder / name).read_bytes() for name in ("000000.parquet", "000000.u8")]
    assert cache(tmp_path).damaged().empty
    assert_right(tmp_path, files)
    assert cache(tmp_path).damaged().empty
    assert [(folder / name).read_bytes() for name in ("000000.parquet", "000000.u8")] == before
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert "000000.parquet cannot be read" in told[0]


def test_no_changed_byte_of_an_index_stops_a_run_or_changes_a_film(tmp_path: Path) -> None:
    files = films(tmp_path, 3)
    assert_right(tmp_path, files)
    index = cache(tmp_path).folder / "000000.parquet"
    whole, rng = index.read_bytes(), np.random.default_rng(0)
    for position in rng.integers(0, len(whole), 4):
        index.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        assert_right(tmp_path, files)
        for later in index.parent.glob("000001.*"):
            later.unlink()


def test_a_check_does_not_count_a_record_that_was_lost_and_decoded_again(tmp_path: Path) -> None:
    files = films(tmp_path, 3)
    assert_right(tmp_path, files)
    os.truncate(cache(tmp_path).folder / "000000.u8", RECORD)
    assert_right(tmp_path, files)
    assert cache(tmp_path).damaged().empty


def test_a_cache_folder_in_which_a_file_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    files = films(tmp_path, 1)
    (cache(tmp_path).folder / "recipe.json").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no image cache can be written there \(Is a directory\)"):
        cache(tmp_path).load(files, num_processes=1)
    (cache(tmp_path).folder / "recipe.json").rmdir()
    (cache(tmp_path).folder / "000000.u8").mkdir()
    with pytest.raises(InputError, match=r"image cache: Is a directory in .*; 0 of 1 files were decoded"):
        cache(tmp_path).load(files, num_processes=1)
    (cache(tmp_path).folder / "000000.u8").rmdir()
    assert_right(tmp_path, files)  # and nobody holds the shard


def test_a_store_whose_package_is_not_installed_is_a_reason_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_installed(_: str) -> None:
        raise ImportError("Install s3fs to access S3")

    [file] = films(tmp_path, 1)
    url = "s3://bucket/0.bmp"
    with monkeypatch.context() as patched:
        patched.setattr(fsspec, "url_to_fs", not_installed)
        assert stamp(url) == (-1, -1)
        reasons = cache(tmp_path).load([file, url], num_processes=1).reasons
    said = "cannot be read (the package that reads s3:// is not installed: Install s3fs to access S3)"
    assert reasons == [None, said]
    store = fsspec.filesystem("memory")
    store.pipe_file("/bucket/0.bmp", Path(file).read_bytes())
    monkeypatch.setattr(fsspec, "url_to_fs", lambda _: (store, "/bucket/0.bmp"))
    assert cache(tmp_path).load([url], num_processes=1).reasons == [None]


def test_a_check_waits_only_for_who_writes_what_is_damaged_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert_right(tmp_path, films(tmp_path, 3))
    folder = cache(tmp_path).folder
    content = bytearray((folder / "000000.u8").read_bytes())
    content[RECORD] ^= 1
    (folder / "000000.u8").write_bytes(content)
    first, second = ShardWriter.take(folder, RECORD), ShardWriter.take(folder, RECORD)
    second.add({"file": "x", "bytes": 1, "mtime_ns": 1, "record": -1, "shard": "", "reason": "an empty file"}, None)
    second.commit()
    damaged = cache(tmp_path).damaged()
    check = threading.Thread(target=cache(tmp_path).forget, args=(damaged,), daemon=True)
    check.start()
    patience = time.monotonic() + 20
    while not waits(caplog) and time.monotonic() < patience:
        time.sleep(0.01)
    assert check.is_alive()
    first.close()
    check.join(20)
    assert not check.is_alive()  # though the second still writes
    second.close()
    assert waits(caplog) == [
        f"Image cache: damaged records are dropped from {folder / '000000.parquet'} once the process that writes it is "
        "done"
    ]
    assert str(damaged["file"].iloc[0]) not in set(cache(tmp_path).index()["file"])


def waits(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if "once the process that writes it" in record.getMessage()
    ]
