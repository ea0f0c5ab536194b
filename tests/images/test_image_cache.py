"""The image cache: right pixels, never old ones, whatever happened before or at the same time."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from films import as_bytes, film

from midrc_ml.images import build as build_module
from midrc_ml.images import shards as shards_module
from midrc_ml.images.cache import CachedImages, ImageCache
from midrc_ml.images.files import Member
from midrc_ml.images.radiograph import read_radiograph
from midrc_ml.images.recipe import Recipe

RECIPE = Recipe(size=32)


def write_film(path: Path, seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 65536, (48, 40), dtype=np.uint16)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return str(path)


def expected(path: str, recipe: Recipe = RECIPE) -> np.ndarray:
    return recipe.apply(read_radiograph(Member(Path(path).name, Path(path).read_bytes())))


def films(folder: Path, count: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    return [write_film(folder / f"{number}.png", number) for number in range(count)]


def cache(folder: Path, recipe: Recipe = RECIPE) -> ImageCache:
    return ImageCache(cache_dir=str(folder / "cache"), recipe=recipe)


def assert_right(images: CachedImages, files: list[str], recipe: Recipe = RECIPE) -> None:
    assert images.reasons == [None] * len(files)
    assert np.array_equal(images.gather(range(len(files))), np.stack([expected(file, recipe) for file in files]))


def test_cached_pixels_are_those_of_the_recipe_in_the_order_asked_for(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 5)
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    assert_right(cache(tmp_path).load(files[::-1], num_processes=1), files[::-1])
    images = cache(tmp_path).load(files, num_processes=1)
    assert np.array_equal(images.gather([3, 0, 3])[2], expected(files[3]))


def test_a_film_whose_header_names_another_series_is_not_used(tmp_path: Path) -> None:
    pixels = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    path = tmp_path / "film.dcm"
    path.write_bytes(as_bytes(film(pixels, SeriesInstanceUID="1.2.840.1.7")))
    asked = ["1.2.840.1.7", "1.2.840.1.8", "own-name", "8.1"]
    for _ in ("decoded", "from the cache"):
        images = cache(tmp_path).load([str(path)] * 4, series=asked, num_processes=1)
        other = "the header names another SeriesInstanceUID than the series table"
        assert images.reasons == [None, other, None, None]
        assert images.place[:, 0].tolist() == [0, -1, 0, 0]


def test_a_second_load_decodes_nothing(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 3)
    cache(tmp_path).load(files, num_processes=1)
    before = {path.name: path.stat().st_mtime_ns for path in cache(tmp_path).folder.iterdir()}
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    assert {path.name: path.stat().st_mtime_ns for path in cache(tmp_path).folder.iterdir()} == before


def test_new_files_go_behind_what_is_there(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 4)
    cache(tmp_path).load(files[:2], num_processes=1)
    shard = cache(tmp_path).folder / "000000.u8"
    before = shard.read_bytes()
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    assert shard.read_bytes()[: len(before)] == before
    assert shard.stat().st_size == 4 * 32 * 32


def test_a_file_asked_for_twice_is_stored_once(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 2)
    assert_right(cache(tmp_path).load([*files, files[0]], num_processes=1), [*files, files[0]])
    assert sum(path.stat().st_size for path in cache(tmp_path).folder.glob("*.u8")) == 2 * 32 * 32


def test_many_files_go_over_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "SHARD_RECORDS", 3)
    files = films(tmp_path / "films", 8)
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    assert len(list(cache(tmp_path).folder.glob("*.u8"))) == 3


def test_a_pool_of_processes_gives_the_same_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "_POOL_FROM", 4)
    files = films(tmp_path / "films", 6)
    assert_right(cache(tmp_path).load(files, num_processes=2), files)


def test_another_recipe_never_reads_the_pixels_of_this_one(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 2)
    padded = Recipe(size=32, aspect="pad")
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    assert_right(cache(tmp_path, padded).load(files, num_processes=1), files, padded)
    assert not np.array_equal(expected(files[0]), expected(files[0], padded))
    assert cache(tmp_path).folder != cache(tmp_path, padded).folder
    assert cache(tmp_path).folder == cache(tmp_path, Recipe(size=32)).folder


def test_a_changed_file_is_decoded_again(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 2)
    old = cache(tmp_path).load(files, num_processes=1).gather([0])[0]
    write_film(Path(files[0]), seed=99)
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    assert not np.array_equal(expected(files[0]), old)


def test_a_file_of_the_same_size_but_another_time_is_decoded_again(tmp_path: Path) -> None:
    file = tmp_path / "film.bmp"
    for seed in (1, 2):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40), dtype=np.uint8)
        file.write_bytes(cv2.imencode(".bmp", pixels)[1].tobytes())
        os.utime(file, ns=(seed * 10**9, seed * 10**9))
        assert_right(cache(tmp_path).load([str(file)], num_processes=1), [str(file)])


def test_a_bad_file_is_recorded_with_its_reason_and_does_not_stop_the_others(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 3)
    Path(files[1]).write_bytes(b"<!doctype html><p>sign in</p>")
    images = cache(tmp_path).load([*files, str(tmp_path / "absent.png")], num_processes=1)
    assert images.reasons[0] is None
    assert images.reasons[2] is None
    assert "web page" in str(images.reasons[1])
    assert images.reasons[3] == "cannot be read (No such file or directory)"
    assert np.array_equal(images.gather([2])[0], expected(files[2]))
    with pytest.raises(IndexError, match="web page"):
        images.gather([0, 1])


def test_a_shard_of_nothing_but_bad_files_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    images = cache(tmp_path).load([str(tmp_path / "bad.png")], num_processes=1)
    assert images.reasons == ["an empty file"]
    files = films(tmp_path / "films", 2)
    assert_right(cache(tmp_path).load(files, num_processes=1), files)


def test_a_repaired_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "film.png"
    file.write_bytes(b"")
    assert cache(tmp_path).load([str(file)], num_processes=1).reasons == ["an empty file"]
    write_film(file, 1)
    assert_right(cache(tmp_path).load([str(file)], num_processes=1), [str(file)])


def test_no_files_give_no_images(tmp_path: Path) -> None:
    images = cache(tmp_path).load([], num_processes=1)
    assert images.gather([]).shape == (0, 32, 32)


def test_a_series_of_several_films_stands_for_its_first_readable_one(tmp_path: Path) -> None:
    one, two = films(tmp_path / "films", 2)
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as package:
        package.writestr("a.png", b"not a picture")
        package.write(one, "b.png")
        package.write(two, "c.png")
    images = cache(tmp_path).load([str(tmp_path / "series.zip"), str(tmp_path / "films")], num_processes=1)
    assert np.array_equal(images.gather([0])[0], expected(one))
    assert np.array_equal(images.gather([1])[0], expected(one))
    assert images.left_out == {"another film of the series": 2, "neither DICOM nor a picture that can be decoded": 1}


def test_leftovers_of_a_killed_build_are_never_read_and_are_overwritten_by_the_next(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 4)
    cache(tmp_path).load(files[:2], num_processes=1)
    folder = cache(tmp_path).folder
    with open(folder / "000000.u8", "ab") as shard:
        shard.write(bytes([77]) * 1500)  # a record and a half of which no index tells
    (folder / "000000.unfinished").write_bytes(b"half an index")
    (folder / "000007.u8").write_bytes(bytes([77]) * 1024)
    assert_right(cache(tmp_path).load(files[:2], num_processes=1), files[:2])
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    assert (folder / "000000.u8").stat().st_size == 4 * 32 * 32
    assert not (folder / "000000.unfinished").exists()


BUILD = (
    "import sys; from midrc_ml.images import build, cache, shards; from midrc_ml.images.recipe import Recipe\n"
    "shards.SHARD_RECORDS = 4; build.COMMIT_SECONDS = 0.0\n"
    "images = cache.ImageCache(cache_dir=sys.argv[1], recipe=Recipe(size=32)).load(sys.argv[2:], num_processes=1)\n"
    "sys.stdout.buffer.write(images.gather(range(len(sys.argv) - 2)).tobytes())\n"
)


def test_processes_that_build_at_the_same_time_all_get_the_right_pixels(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 10)
    orders = [files, files[::-1], files[:6]]
    started = [
        subprocess.Popen([sys.executable, "-c", BUILD, str(tmp_path / "cache"), *order], stdout=subprocess.PIPE)
        for order in orders
    ]
    for process, order in zip(started, orders, strict=True):
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert output == np.stack([expected(file) for file in order]).tobytes()


def start_build(folder: Path, files: list[str]) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", BUILD, str(folder / "cache"), *files], stdout=subprocess.DEVNULL)


def committed(folder: Path) -> pd.DataFrame:
    """The rows that an index tells of, whose records are hashed once more."""
    assert cache(folder).damaged().empty
    return cache(folder).index()


def test_a_build_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 120)
    process = start_build(tmp_path, files)
    folder, patience = cache(tmp_path).folder, time.monotonic() + 60
    while len(list(folder.glob("*.parquet"))) < 2 and time.monotonic() < patience:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    before = committed(tmp_path)
    assert 4 <= len(before) < 120
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    after = cache(tmp_path).index().set_index("file").loc[before["file"]].reset_index()
    assert after[["shard", "record"]].equals(before[["shard", "record"]])


@pytest.mark.slow
def test_thirty_kills_at_any_moment_lose_nothing_that_was_committed(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 1500)
    rng, kept, killed = np.random.default_rng(0), pd.DataFrame(columns=["file", "shard", "record"]), 0
    while killed < 30:
        process = start_build(tmp_path, files)
        time.sleep(float(rng.uniform(0.6, 1.6)))  # the start takes most of a second
        process.send_signal(signal.SIGKILL)
        killed += process.wait(timeout=60) == -signal.SIGKILL
        now = committed(tmp_path).set_index("file")
        for name in ("shard", "record"):
            assert now.loc[kept["file"], name].tolist() == kept[name].tolist()
        kept = now.reset_index()
        if len(kept) == len(files):  # begin once more
            for path in cache(tmp_path).folder.iterdir():
                path.unlink()
            kept = kept.iloc[:0]
    assert_right(cache(tmp_path).load(files, num_processes=1), files)


def test_a_cohort_that_was_moved_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = films(tmp_path / "films", 3)
    first = cache(tmp_path).load(files, num_processes=1).gather(range(3))
    (tmp_path / "films").rename(tmp_path / "moved")
    monkeypatch.setattr(Recipe, "read", lambda *_: pytest.fail("decoded again"))
    moved = [file.replace("films", "moved") for file in files]
    images = cache(tmp_path).load(moved, num_processes=1)
    assert np.array_equal(images.gather(range(3)), first)
    os.utime(moved[0], ns=(1, 1))
    assert np.array_equal(cache(tmp_path).load(moved, num_processes=1).gather(range(3)), first)
    assert sum(path.stat().st_size for path in cache(tmp_path).folder.glob("*.u8")) == 3 * 32 * 32


def test_a_file_of_the_name_and_size_of_another_is_still_decoded(tmp_path: Path) -> None:
    files = [str(tmp_path / str(number) / "film.bmp") for number in range(2)]
    for number, file in enumerate(files):
        Path(file).parent.mkdir()
        Path(file).write_bytes(cv2.imencode(".bmp", np.eye(40, k=number, dtype=np.uint8) * 200)[1].tobytes())
    cache(tmp_path).load(files[:1], num_processes=1)
    assert Path(files[0]).stat().st_size == Path(files[1]).stat().st_size
    assert_right(cache(tmp_path).load(files, num_processes=1), files)


def test_files_that_are_gone_are_served_and_counted(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 3)
    first = cache(tmp_path).load(files, num_processes=1).gather(range(3))
    Path(files[1]).unlink()
    images = cache(tmp_path).load(files, num_processes=1)
    assert np.array_equal(images.gather(range(3)), first)
    assert images.num_absent == 1
    assert images.reasons == [None] * 3


def test_a_shard_that_was_removed_or_cut_off_is_decoded_again(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 4)
    cache(tmp_path).load(files, num_processes=1)
    shard = cache(tmp_path).folder / "000000.u8"
    os.truncate(shard, 2 * 32 * 32 + 7)
    # One that is whole, then one that is not: the other that is not must not come to life again.
    assert_right(cache(tmp_path).load([files[0], files[2]], num_processes=1), [files[0], files[2]])
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    shard.unlink()
    assert_right(cache(tmp_path).load(files[:3], num_processes=1), files[:3])
    assert_right(cache(tmp_path).load(files, num_processes=1), files)
    assert cache(tmp_path).damaged().empty


def test_a_row_never_points_to_the_record_of_another_file(tmp_path: Path) -> None:
    """A moved file's row points into another shard; when that is cut off, its places are not given away."""
    files = films(tmp_path / "films", 3)
    cache(tmp_path).load(files, num_processes=1)
    (tmp_path / "films").rename(tmp_path / "moved")
    moved = [file.replace("films", "moved") for file in files]
    cache(tmp_path).load(moved, num_processes=1)
    os.truncate(cache(tmp_path).folder / "000000.u8", 32 * 32)
    others = films(tmp_path / "others", 5)[3:]
    assert_right(cache(tmp_path).load(others, num_processes=1), others)
    assert_right(cache(tmp_path).load(moved, num_processes=1), moved)


def test_a_record_that_changed_on_disk_is_found_by_its_hash(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 3)
    cache(tmp_path).load(files, num_processes=1)
    assert cache(tmp_path).damaged().empty
    shard = cache(tmp_path).folder / "000000.u8"
    content = bytearray(shard.read_bytes())
    content[1024 + 5] ^= 1
    shard.write_bytes(content)
    assert cache(tmp_path).damaged()["file"].tolist() == [files[1]]


FULL = (
    "import resource, signal, sys\n"
    "from midrc_ml.images import build, cache; from midrc_ml.images.recipe import Recipe\n"
    "build.COMMIT_SECONDS = 0.0; build._TASK_FILES = 1\n"
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
    "try: cache.ImageCache(cache_dir=sys.argv[1], recipe=Recipe(size=64)).load(sys.argv[2:], num_processes=1)\n"
    "except build.InputError as error: print(error)\n"
)


def test_a_disk_that_is_full_stops_in_one_sentence_and_the_next_run_goes_on(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 20)
    # No file may grow beyond 30,000 bytes: seven records of 4,096, as a disk that fills up would have it.
    process = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "cache"), *files], capture_output=True, text=True, timeout=120
    )
    assert process.stdout.startswith("image cache: File too large in ")
    assert "make room, or give another paths.cache_dir" in process.stdout
    recipe = Recipe(size=64)
    kept = cache(tmp_path, recipe).index()
    assert 0 < len(kept) < 20
    assert cache(tmp_path, recipe).damaged().empty
    assert_right(cache(tmp_path, recipe).load(files, num_processes=1), files, recipe)


class Deadly(Recipe):
    """Ends the process that decodes one certain film, as a system without memory would."""

    def read(self, members: object) -> object:
        content = list(members)  # type: ignore[call-overload]
        if content[0].name == "3.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(content)


@pytest.mark.slow
def test_a_film_that_ends_its_process_is_recorded_and_the_others_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "_POOL_FROM", 4)
    files = films(tmp_path / "films", 40)
    images = cache(tmp_path, Deadly(size=32)).load(files, num_processes=2)
    assert [number for number, reason in enumerate(images.reasons) if reason] == [3]
    assert str(images.reasons[3]).startswith("cannot be read (the process that decoded it was ended")
    others = [number for number in range(40) if number != 3]
    assert np.array_equal(images.gather(others), np.stack([expected(files[number]) for number in others]))


def test_files_of_an_object_store_are_read_through_fsspec(tmp_path: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    one, two = films(tmp_path / "films", 2)
    store.pipe_file("/bucket/one.png", Path(one).read_bytes())
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as package:
        package.write(two, "two.png")
    store.pipe_file("/bucket/series.zip", (tmp_path / "series.zip").read_bytes())
    urls = ["memory://bucket/one.png", "memory://bucket/series.zip", "memory://bucket/absent.png", "nosuch://x/y.png"]
    images = cache(tmp_path).load(urls, num_processes=1)
    assert np.array_equal(images.gather([0, 1]), np.stack([expected(one), expected(two)]))
    assert images.reasons[2] == "cannot be read (memory://: FileNotFoundError)"
    assert str(images.reasons[3]).startswith("cannot be read (nosuch://")
    store.pipe_file("/bucket/one.png", Path(two).read_bytes())  # changed there
    assert np.array_equal(cache(tmp_path).load(urls[:1], num_processes=1).gather([0])[0], expected(two))


def test_images_can_be_gathered_into_an_array_that_is_there(tmp_path: Path) -> None:
    files = films(tmp_path / "films", 3)
    images = cache(tmp_path).load(files, num_processes=1)
    buffer = np.zeros((4, 32, 32), np.uint8)
    found = images.gather([2, 0], out=buffer)
    assert np.shares_memory(found, buffer)
    assert np.array_equal(found, np.stack([expected(files[2]), expected(files[0])]))
    assert not buffer[2:].any()


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_every_real_file_goes_through_the_cache(midrc_ml_data: Path, tmp_path: Path) -> None:
    table = pd.read_csv(midrc_ml_data / "dicom" / "manifest.csv")
    small = table[table["bytes"] < 600_000]
    files = [str(midrc_ml_data / "dicom" / path) for path in small["path"]]
    images = cache(tmp_path).load(files, num_processes=1)
    for number, (file, reason) in enumerate(zip(files, images.reasons, strict=True)):
        if reason is None and number % 5 == 0:
            assert np.array_equal(images.gather([number])[0], expected(file))
    assert sum(reason is None for reason in images.reasons) > 20
    assert sum(reason is not None for reason in images.reasons) > 20
