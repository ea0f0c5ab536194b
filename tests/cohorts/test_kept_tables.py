"""The tables of an export are read once, and again whenever anything that they depend on has changed."""

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from midrc_export import case, read, series, study, visit, write_node

import midrc_ml.cohorts.kept_tables as kept
from midrc_ml.cohorts.demo import DemoCohort
from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import TableError
from midrc_ml.tables.schemas import FIVE_TABLES

AGAIN = "nothing in it has changed since"


def export(root: Path) -> Path:
    root.mkdir()
    write_node(root / "case.tsv", "case", case("100-1"), case("100-2", age_at_index="61"))
    write_node(root / "imaging_study.tsv", "imaging_study", study("1.2", "100-1"), study("1.3", "100-2"))
    write_node(root / "visit.tsv", "visit", visit("100-1", days_to_hospital_admission="-1"))
    write_node(root / "dx_series_file.tsv", "dx_series_file", series("1.2.3", "1.2"), series("1.3.3", "1.3"))
    return root


@pytest.fixture
def read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., tuple[Tables, bool]]:
    """The tables of `tmp_path/export`, and whether they are those that were kept."""

    def reading(**settings: object) -> tuple[Tables, bool]:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            tables = read(tmp_path / "export", cache_dir=str(tmp_path / "cache"), **settings)
        return tables, any(AGAIN in message for message in caplog.messages)

    return reading


def assert_same(found: Tables, expected: Tables) -> None:
    for table in FIVE_TABLES:
        pd.testing.assert_frame_equal(getattr(found, table.name), getattr(expected, table.name), check_exact=True)
    rest = ("origin", "synthetic", "absent", "notes")
    assert [getattr(found, name) for name in rest] == [getattr(expected, name) for name in rest]
    assert found.fingerprint() == expected.fingerprint()


def test_kept_tables_are_those_that_were_read(tmp_path: Path, read_again: Callable[..., tuple[Tables, bool]]) -> None:
    (export(tmp_path / "export") / "1.2.9.jpg").write_bytes(b"")  # a note tells of it
    first, kept_first = read_again()
    second, kept_second = read_again()
    assert (kept_first, kept_second) == (False, True)
    assert first.notes  # something to keep
    assert_same(second, first)
    assert_same(second, read(tmp_path / "export"))


def test_every_table_of_the_demo_cohort_comes_back_as_it_was(tmp_path: Path) -> None:
    cohort = DemoCohort(cache_dir=str(tmp_path), num_patients=40)
    first = cohort.read()
    assert all(len(getattr(first, table.name)) for table in FIVE_TABLES)
    assert_same(cohort.read(), first)


def _touched(root: Path) -> None:
    os.utime(root / "case.tsv", ns=(0, 0))


def _same_size_and_time(root: Path) -> None:
    status = (root / "case.tsv").stat()
    content = (root / "case.tsv").read_bytes()
    assert b"61" in content
    (root / "case.tsv").write_bytes(content.replace(b"61", b"62"))
    os.utime(root / "case.tsv", ns=(status.st_atime_ns, status.st_mtime_ns))


def _film_came(root: Path) -> None:
    (root / "1.2.3.zip").write_bytes(b"")


def _film_in_a_new_folder(root: Path) -> None:
    (root / "films").mkdir()
    (root / "films" / "1.2.3.dcm").write_bytes(b"")


@pytest.mark.parametrize("change", [_touched, _same_size_and_time, _film_came, _film_in_a_new_folder])
def test_they_are_read_again_when_something_in_the_folder_has_changed(
    change: Callable[[Path], None], tmp_path: Path, read_again: Callable[..., tuple[Tables, bool]]
) -> None:
    root = export(tmp_path / "export")
    read_again()
    change(root)
    tables, was_kept = read_again()
    assert not was_kept
    assert_same(tables, read(root))
    assert read_again()[1]
    (reader,) = [path for path in (tmp_path / "cache" / "tables").iterdir() if path.is_dir()]
    assert len(list(reader.iterdir())) == 1  # the older state is gone


def test_they_are_read_again_by_other_settings_or_other_code(
    tmp_path: Path, read_again: Callable[..., tuple[Tables, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "export")
    read_again()
    assert not read_again(on_contradiction="leave_out")[1]
    assert not read_again(discharge={"100": {"died": ["Gone"], "alive": [], "unclear": [], "open": []}})[1]
    assert not read_again(synthetic=True)[1]
    aliases = tmp_path / "aliases.csv"
    aliases.write_text("id,patient\n100-1,p\n100-2,p\n")
    together, was_kept = read_again(aliases=str(aliases))
    assert (was_kept, together.cases["patient_id"].nunique()) == (False, 1)
    assert read_again()[1]
    monkeypatch.setattr(kept, "_READERS", ("cohorts",))
    assert not read_again()[1]


def test_what_could_not_be_read_this_time_is_tried_again(
    tmp_path: Path, read_again: Callable[..., tuple[Tables, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = export(tmp_path / "export")
    (root / "film.dcm").write_bytes(b"")

    def fails(file: object, mode: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("midrc_ml.images.headers.open", fails, raising=False)
    tables, _ = read_again()
    assert "1 files that are named by no series could not be read this time (a disk, a permission)" in tables.notes
    monkeypatch.undo()
    tables, was_kept = read_again()
    assert not was_kept
    assert not any("this time" in note for note in tables.notes)


def test_errors_are_not_kept(tmp_path: Path, read_again: Callable[..., tuple[Tables, bool]]) -> None:
    root = export(tmp_path / "export")
    write_node(root / "case.tsv", "case", case("100-1", age_at_index="old"))
    for _ in range(2):
        with pytest.raises(TableError, match="age_at_index"):
            read_again()


@pytest.mark.parametrize("name", ["cases.parquet", "tables.json"])
def test_a_damaged_state_is_not_used(
    name: str, tmp_path: Path, read_again: Callable[..., tuple[Tables, bool]], caplog: pytest.LogCaptureFixture
) -> None:
    export(tmp_path / "export")
    first, _ = read_again()
    (file,) = (tmp_path / "cache" / "tables").rglob(name)
    file.write_bytes(file.read_bytes()[:-20])
    tables, was_kept = read_again()
    assert not was_kept
    assert_same(tables, first)
    assert any("was damaged" in message for message in caplog.messages)
    assert read_again()[1]


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = export(tmp_path / "export")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tables").write_text("a file where a folder should be")
    tables = read(root, cache_dir=str(tmp_path / "cache"))
    assert_same(tables, read(root))
    assert any("cannot be kept" in message for message in caplog.messages)


def test_the_rest_is_plain_json(tmp_path: Path, read_again: Callable[..., tuple[Tables, bool]]) -> None:
    export(tmp_path / "export")
    tables, _ = read_again()
    (file,) = (tmp_path / "cache" / "tables").rglob("tables.json")
    assert json.loads(file.read_text())["notes"] == list(tables.notes)
