"""The cache folder and the images found: measured, counted, and left as they were."""

import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
from filelock import FileLock

from midrc_ml.health import cache_folder
from midrc_ml.health.cache_folder import cache_findings
from midrc_ml.health.findings import Finding
from midrc_ml.health.frames import trial_file
from midrc_ml.health.image_files import image_findings, look_at
from midrc_ml.health.places import in_shell, is_network, shown, without_names
from midrc_ml.images.ct_recipe import CtRecipe
from midrc_ml.images.recipe import Recipe

LOSSLESS, NATIVE, MPEG4 = "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.102"


@pytest.fixture(autouse=True)
def small_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_folder, "_TRIAL_BYTES", 1 << 20)
    monkeypatch.setattr(cache_folder, "_CHUNK", 1 << 19)


def one(findings: list[Finding], what: str) -> Finding:
    (found,) = [finding for finding in findings if finding.what == what]
    return found


def test_a_cache_folder_is_measured_and_nothing_stays(tmp_path: Path) -> None:
    findings = cache_findings(tmp_path)
    assert one(findings, "speed").facts["write_bytes_per_s"] > 0
    assert one(findings, "speed").facts["bytes"] == 1 << 20
    assert one(findings, "memory mapping").status == "ok"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    findings = cache_findings(tmp_path / "a" / "b")
    assert one(findings, "speed").facts["bytes"] == 1 << 20
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_the_right_to_write_is_broken_also_for_an_administrator(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        before = tmp_path.stat().st_mtime_ns
        finding = one(cache_findings(tmp_path), "writing")
        assert (finding.status, tmp_path.stat().st_mtime_ns) == ("fail", before)
        assert "--cache-dir" in finding.what_to_do
    finally:
        tmp_path.chmod(0o755)


def test_a_full_disk_is_broken_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_folder.os, "write", full)
    findings = cache_findings(tmp_path)
    monkeypatch.undo()
    assert one(findings, "writing").status == "fail"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipe", [Recipe(size=64), CtRecipe(size=8)])
def test_what_is_cached_is_told_by_recipe_and_an_old_one_as_old(recipe: Recipe | CtRecipe, tmp_path: Path) -> None:
    old = recipe.key[:-10] + "0" * 10
    for name in (recipe.key, old):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text(json.dumps(asdict(recipe)))
        (folder / "000000.u8").write_bytes(bytes(64 * 64))
    findings = cache_findings(tmp_path)
    assert one(findings, f"images/{recipe.key}").facts["older_version"] is False
    assert one(findings, f"images/{old}").facts["older_version"] is True


def test_leftovers_are_counted_but_not_those_that_somebody_writes(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "key"
    folder.mkdir(parents=True)
    for name in ("000000.u8", "000001.u8", "000002.unfinished"):
        (folder / name).write_bytes(b"12345")
    with FileLock(folder / "000001.lock"):
        assert one(cache_findings(tmp_path), "leftovers").facts == {"files": 2, "bytes": 10}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, syntax in enumerate((LOSSLESS, LOSSLESS, NATIVE)):
        (tmp_path / f"{number}.dcm").write_bytes(trial_file(syntax))
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as package:
        for number in range(20):
            package.writestr(f"{number}.dcm", trial_file(NATIVE))
    return tmp_path


def test_files_are_counted_by_transfer_syntax_and_those_in_a_zip_up_to_eight(images: Path) -> None:
    seen = look_at(images, limit=100, seconds=60)
    assert seen.syntaxes == {LOSSLESS: 2, NATIVE: 1 + 8}
    assert look_at(images / "series.zip", limit=100, seconds=60).syntaxes == {NATIVE: 20}


def test_damage_is_counted_by_reason_and_no_name_is_told(images: Path) -> None:
    whole = (images / "0.dcm").read_bytes()
    (images / "patient-4711.dcm").write_bytes(b"a text, and a long one" * 20)
    (images / "empty.dcm").write_bytes(b"")
    (images / "cut.zip").write_bytes((images / "series.zip").read_bytes()[:400])
    (images / "unknown.dcm").write_bytes(whole.replace(LOSSLESS.encode(), b"1.2.840.10008.1.2.4.99"))
    findings = image_findings(images, limit=100, seconds=60)
    reasons = {finding.facts["reason"]: finding.facts["files"] for finding in findings if finding.what == "not usable"}
    assert reasons["not a DICOM file"] == 1
    assert reasons["an empty file"] == 1
    assert sum(reasons.values()) == 3
    assert "4711" not in str(findings)
    (strange,) = [finding for finding in findings if finding.facts.get("syntax") == "1.2.840.10008.1.2.4.99"]
    assert strange.status == "warn"


def test_a_sample_is_spread_over_all_files_and_says_so(tmp_path: Path) -> None:
    for number in range(40):
        syntax = LOSSLESS if number < 20 else NATIVE
        (tmp_path / f"{number:02}.dcm").write_bytes(trial_file(syntax))
    findings = image_findings(tmp_path, limit=10, seconds=60)
    counts = {finding.facts["syntax"]: finding.facts["files"] for finding in findings if "syntax" in finding.facts}
    assert counts == {LOSSLESS: 5, NATIVE: 5}
    assert one(findings, "files").value.startswith("10 of 40 looked at, headers only, spread evenly")


def test_the_time_is_kept(images: Path) -> None:
    assert look_at(images, limit=100, seconds=0).out_of_time


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    assert one(image_findings(tmp_path, limit=1, seconds=1), "files").status == "fail"


def test_the_real_files_are_counted_as_their_manifest_counts_them(midrc_ml_data: Path) -> None:
    import csv
    from collections import Counter

    with open(midrc_ml_data / "dicom" / "manifest.csv", newline="", encoding="utf-8") as file:
        expected = Counter(row["transfer_syntax"] for row in csv.DictReader(file) if row["transfer_syntax"])
    seen = look_at(midrc_ml_data / "dicom", limit=1000, seconds=60)
    assert not seen.syntaxes - expected
    assert sum((expected - seen.syntaxes).values()) <= sum(seen.reasons.values())


def test_no_account_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jdoe")
    monkeypatch.setenv("LOGNAME", "jdoe")
    assert shown("/home/jdoe/.cache") == "~/.cache"
    assert shown("/scratch/jdoe/cache") == "/scratch/<account>/cache"
    assert without_names("no /home/jdoe2/x") == "no /home/jdoe2/x"
    assert in_shell("/home/jdoe/my logs/mlflow.db", before="sqlite:///") == "sqlite:///$HOME'/my logs/mlflow.db'"


@pytest.mark.parametrize(("kind", "network"), [("nfs4", True), ("fuse.sshfs", True), ("ext4", False), (None, False)])
def test_network_file_systems_are_known(kind: str | None, network: bool) -> None:
    assert is_network(kind) is network


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="Linux alone has it")
def test_a_network_cache_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_folder, "file_system", lambda _: "nfs4")
    assert one(cache_findings(tmp_path), "file system").status == "warn"
