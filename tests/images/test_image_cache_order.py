"""Which row of the image cache counts: the last one, of a record that is still there, whoever wrote it and when."""

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from midrc_ml.images import build as build_module
from midrc_ml.images import shards as shards_module
from midrc_ml.images.cache import CachedImages, ImageCache
from midrc_ml.images.files import Member
from midrc_ml.images.radiograph import read_radiograph
from midrc_ml.images.recipe import Recipe
from midrc_ml.images.shards import ShardWriter, read_index

RECIPE = Recipe(size=32)
RECORD = 32 * 32


def write_film(path: Path, seed: int) -> str:
    """Of one size whatever the seed, at the second `seed`: only its time tells that it changed."""
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".bmp", pixels)[1].tobytes())
    os.utime(path, ns=(seed * 10**9, seed * 10**9))
    return str(path)


def cache(folder: Path) -> ImageCache:
    return ImageCache(cache_dir=str(folder / "cache"), recipe=RECIPE)


def writer_of_another(folder: Path) -> ShardWriter:
    """Another process, which holds the first shard."""
    cache(folder).folder.mkdir(parents=True, exist_ok=True)
    return ShardWriter.take(cache(folder).folder, RECORD)


def load(folder: Path, *files: str) -> CachedImages:
    return cache(folder).load(files, num_processes=1)


def assert_right(folder: Path, *files: str) -> None:
    images = load(folder, *files)
    assert images.reasons == [None] * len(files)
    fresh = [RECIPE.apply(read_radiograph(Member("film.bmp", Path(file).read_bytes()))) for file in files]
    assert np.array_equal(images.gather(range(len(files))), np.stack(fresh))


def test_a_failure_that_was_mended_ends_though_the_new_row_lies_in_an_earlier_shard(tmp_path: Path) -> None:
    other = writer_of_another(tmp_path)
    film = str(tmp_path / "late.bmp")
    assert load(tmp_path, film).reasons == ["cannot be read (No such file or directory)"]
    other.close()
    write_film(tmp_path / "late.bmp", 1)
    assert_right(tmp_path, film)
    assert_right(tmp_path, film)


def test_a_changed_film_is_served_though_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = writer_of_another(tmp_path)
    film, true_time = write_film(tmp_path / "a.bmp", 1), time.time_ns
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: true_time() + 3600 * 10**9)
        assert_right(tmp_path, film)
    other.close()
    write_film(tmp_path / "a.bmp", 2)
    assert_right(tmp_path, film)


def test_a_film_that_failed_for_lack_of_memory_and_is_what_it_was_again_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_film(tmp_path / "a.bmp", 1)
    assert_right(tmp_path, film)
    write_film(tmp_path / "a.bmp", 2)

    def without_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Recipe, "read", without_memory)
        assert load(tmp_path, film).reasons == ["cannot be read (not enough memory)"]
    write_film(tmp_path / "a.bmp", 1)
    assert_right(tmp_path, film)


def test_a_cache_whose_index_lacks_later_columns_is_read_and_gone_on_with(tmp_path: Path) -> None:
    films = [write_film(tmp_path / f"{number}.bmp", number) for number in range(3)]
    load(tmp_path, *films[:2])
    path = cache(tmp_path).folder / "000000.parquet"
    pd.read_parquet(path).drop(columns=["repaired", "written_ns"]).to_parquet(path, index=False)
    before = path.read_bytes()
    assert_right(tmp_path, *films[:2])
    assert path.read_bytes() == before  # nothing was decoded
    write_film(tmp_path / "0.bmp", 7)
    assert_right(tmp_path, *films)
    assert_right(tmp_path, *films)


def moved_films(folder: Path) -> list[str]:
    """Three films whose rows lie in shard 1 and point to records in shard 0, that were made of them elsewhere."""
    films = [write_film(folder / "films" / f"{number}.bmp", number) for number in range(3)]
    load(folder, *films)
    (folder / "films").rename(folder / "moved")
    moved = [film.replace("films", "moved") for film in films]
    other = writer_of_another(folder)
    load(folder, *moved)
    other.close()
    rows = pd.read_parquet(cache(folder).folder / "000001.parquet")
    assert (rows["shard"].tolist(), sorted(rows["file"])) == (["000000"] * 3, moved)
    return moved


def test_a_row_does_not_count_once_the_place_that_it_points_to_was_given_away(tmp_path: Path) -> None:
    """As after an index that was removed by hand."""
    moved = moved_films(tmp_path)
    (cache(tmp_path).folder / "000000.parquet").unlink()
    others = [write_film(tmp_path / "others" / f"{number}.bmp", 10 + number) for number in range(3)]
    assert_right(tmp_path, *others)
    assert pd.read_parquet(cache(tmp_path).folder / "000000.parquet")["file"].tolist() == others
    assert_right(tmp_path, *moved)
    assert_right(tmp_path, *others)


def test_a_check_that_is_killed_between_two_indexes_leaves_no_row_of_a_wrong_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = moved_films(tmp_path)
    os.truncate(cache(tmp_path).folder / "000000.u8", 2 * RECORD)
    replaced: list[str] = []

    def killed_after_the_first(path: Path, rows: pd.DataFrame) -> None:
        if replaced:
            raise KeyboardInterrupt
        replaced.append(path.stem)
        replace(path, rows)

    replace = shards_module._replace_index
    with monkeypatch.context() as patched:
        patched.setattr(shards_module, "_replace_index", killed_after_the_first)
        with pytest.raises(KeyboardInterrupt):
            cache(tmp_path).forget(cache(tmp_path).damaged())
    assert replaced == ["000000"]
    others = [write_film(tmp_path / "others" / f"{number}.bmp", 10 + number) for number in range(2)]
    assert_right(tmp_path, *others)
    assert_right(tmp_path, *moved)
    assert cache(tmp_path).damaged().empty


def test_an_old_row_in_a_shard_that_another_process_adds_to_is_no_news_of_its_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film is as it was at first, its last row tells of what it was between; the row of then stands in shard 0."""
    monkeypatch.setattr(build_module, "_LOOK_SECONDS", 0.0)
    film, late = write_film(tmp_path / "a.bmp", 1), write_film(tmp_path / "b.bmp", 9)
    assert_right(tmp_path, film)
    other = writer_of_another(tmp_path)
    write_film(tmp_path / "a.bmp", 2)
    assert_right(tmp_path, film)
    write_film(tmp_path / "a.bmp", 1)
    index = read_index(cache(tmp_path).folder, (32, 32))
    others = build_module._Others(cache(tmp_path).folder, (32, 32), index)
    row = build_module.decode_file((late, ()), RECIPE)
    other.add(*row)
    other.commit()
    other.close()
    assert list(others.not_done([film, late])) == [[film]]
    assert others.num_done == 1


def test_a_lost_record_in_a_shard_whose_index_was_replaced_is_no_news_of_its_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a check of another process does, that drops some of the lost records and is not done with the others."""
    monkeypatch.setattr(build_module, "_LOOK_SECONDS", 0.0)
    films = [write_film(tmp_path / f"{number}.bmp", number) for number in range(2)]
    load(tmp_path, *films)
    folder = cache(tmp_path).folder
    os.truncate(folder / "000000.u8", 0)
    others = build_module._Others(folder, (32, 32), read_index(folder, (32, 32)))
    os.utime(folder / "000000.parquet", ns=(1, 1))
    assert list(others.not_done(films)) == [films]


def test_a_check_leaves_out_the_old_record_of_a_film_that_cannot_be_used_any_more(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.bmp", 1)
    load(tmp_path, film)
    Path(film).write_bytes(b"")
    assert load(tmp_path, film).reasons == ["an empty file"]
    os.truncate(cache(tmp_path).folder / "000000.u8", 0)
    assert cache(tmp_path).damaged().empty
