"""`prepare`: which images are decoded, what is counted, what a check finds."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from images.films import as_bytes
from images.films import film as dicom

import midrc_ml.prepare as verb
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.images.cache import ImageCache
from midrc_ml.images.recipe import Recipe
from midrc_ml.training.settings import Compute

RECIPE = Recipe(size=32)


@dataclass(frozen=True)
class Given:
    tables: Tables

    @property
    def query(self) -> Mapping[str, object]:
        return {"cohort": "given"}

    def read(self) -> Tables:
        return self.tables


def film(path: Path, seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 65536, (40, 40), dtype=np.uint16)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return str(path)


def cohort(folder: Path) -> Given:
    """Five series: two films, a CT, one without a file, one whose modality only its study tells."""
    files = [film(folder / f"{number}.png", number) for number in range(4)]
    studies = pd.DataFrame(
        {"study_id": ["s1", "s2", "s3"], "case_id": ["c1", "c1", "c2"], "modality": ["DX", "CT", "CR"]}
    )
    series = pd.DataFrame(
        {
            "series_id": ["a", "b", "c", "d", "e"],
            "study_id": ["s1", "s1", "s2", "s1", "s3"],
            "modality": ["DX", "CR", "CT", "DX", None],
            "file": [files[0], files[1], files[2], None, files[3]],
        }
    )
    cases = pd.DataFrame({"case_id": ["c1", "c2"], "patient_id": ["c1", "c2"]})
    return Given(Tables.checked(origin="test", cases=cases, studies=studies, series=series))


def prepare(folder: Path, given: Given, **settings: object) -> dict:
    output = folder / "out"
    output.mkdir(exist_ok=True)
    arguments: dict = {"task": None, "images": RECIPE, "compute": Compute(num_processes=1), "check": False, **settings}
    return verb.prepare(cohort=given, cache_dir=str(folder / "cache"), output_dir=output, **arguments)


def test_every_film_of_the_cohort_is_decoded_and_no_ct(tmp_path: Path) -> None:
    counts = prepare(tmp_path, cohort(tmp_path))
    assert (counts["series"], counts["images"], counts["unusable"]) == (3, 3, {})
    assert counts["decoders"] == [{"syntax": "", "decoder": "opencv", "n": 3}]
    assert counts["bytes"] == 3 * 32 * 32
    assert counts == json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert not (tmp_path / "out" / "unusable.parquet").exists()


def test_files_of_a_series_that_are_in_no_image_are_counted_by_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = cohort(tmp_path)
    (tmp_path / "several").mkdir()
    for number in range(3):
        film(tmp_path / "several" / f"{number}.png", number)
    (tmp_path / "several" / "0.png").write_bytes(b"not a picture")
    given.tables.series.loc[0, "file"] = str(tmp_path / "several")
    with caplog.at_level("INFO"):
        counts = prepare(tmp_path, given)
    expected = {"another film of the series": 1, "neither DICOM nor a picture that can be decoded": 1}
    assert (counts["images"], counts["left_out"]) == (3, expected)
    assert "  1 of the files in these series left out: another film of the series" in caplog.messages


def test_files_that_cannot_be_used_are_counted_by_reason_and_listed(tmp_path: Path) -> None:
    given = cohort(tmp_path)
    (tmp_path / "1.png").write_bytes(b"")
    counts = prepare(tmp_path, given)
    assert counts["images"] == 2
    assert counts["unusable"] == {"an empty file": 1}
    listed = pd.read_parquet(tmp_path / "out" / "unusable.parquet")
    assert listed[["series_id", "reason"]].to_numpy().tolist() == [["b", "an empty file"]]
    assert "  1 cannot be used: an empty file" in verb.text_of(counts)


def test_a_series_whose_file_is_gone_has_its_image_all_the_same(tmp_path: Path) -> None:
    uid = "1.2.840.1.7"
    pixels = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    (tmp_path / "film.dcm").write_bytes(as_bytes(dicom(pixels, SeriesInstanceUID=uid)))
    given = cohort(tmp_path)
    series = given.tables.series.assign(series_id=["a", "b", "c", uid, "e"])
    files = series["file"].fillna(str(tmp_path / "film.dcm"))
    before = prepare(tmp_path, Given(replace(given.tables, series=series.assign(file=files))))
    (tmp_path / "film.dcm").unlink()
    after = prepare(tmp_path, Given(replace(given.tables, series=series)))  # a reader finds no file any more
    assert (before["images"], before["sources_gone"]) == (4, 0)
    assert (after["images"], after["sources_gone"]) == (4, 1)


def test_a_check_finds_a_changed_record_and_decodes_it_again(tmp_path: Path) -> None:
    given = cohort(tmp_path)
    assert prepare(tmp_path, given)["damaged"] is None
    assert prepare(tmp_path, given, check=True)["damaged"] == 0
    cache = ImageCache(cache_dir=str(tmp_path / "cache"), recipe=RECIPE)
    right = cache.load([str(tmp_path / "1.png")], num_processes=1).gather([0])
    shard = cache.folder / "000000.u8"
    content = bytearray(shard.read_bytes())
    content[1024] ^= 255
    shard.write_bytes(content)
    assert prepare(tmp_path, given, check=True)["damaged"] == 1
    assert cache.damaged().empty
    assert np.array_equal(cache.load([str(tmp_path / "1.png")], num_processes=1).gather([0]), right)


def test_a_cohort_without_films_is_refused_by_name(tmp_path: Path) -> None:
    given = cohort(tmp_path)
    only_ct = given.tables.series[given.tables.series["modality"] == "CT"]
    tables = Tables.checked(origin="test", cases=given.tables.cases, studies=given.tables.studies, series=only_ct)
    with pytest.raises(InputError, match="no series of CR or DX has an image file in the test"):
        prepare(tmp_path, Given(tables))


def test_check_may_be_written_as_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare", "cohort=demo", "--check"])
    seen: list[list[str]] = []
    monkeypatch.setattr(verb, "run_composed", lambda *_, **__: seen.append(sys.argv[1:]))
    verb.main()
    assert seen == [["cohort=demo", "check=true"]]
