"""Opening a series: one file, a folder, a ZIP, and what is refused."""

import os
import zipfile
from pathlib import Path

import pytest

from midrc_ml.images import files
from midrc_ml.images.files import ImageError, members


def write_zip(path: Path, contents: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as package:
        for name, content in contents.items():
            package.writestr(name, content)
    return path


def reason(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        list(members(str(path)))
    return str(caught.value)


def test_a_single_file_is_its_own_only_member(tmp_path: Path) -> None:
    (tmp_path / "film.dcm").write_bytes(b"abc")
    assert [(member.name, member.content) for member in members(str(tmp_path / "film.dcm"))] == [("film.dcm", b"abc")]


def test_a_folder_gives_its_files_by_name_also_from_below(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for name in ("b.dcm", "a.dcm", "deeper/c.dcm"):
        (tmp_path / name).write_bytes(name.encode())
    assert [member.name for member in members(str(tmp_path))] == ["a.dcm", "b.dcm", "c.dcm"]


def test_an_empty_folder_has_no_members(tmp_path: Path) -> None:
    assert list(members(str(tmp_path))) == []


def test_a_zip_gives_its_files_by_name_and_no_folder_entries(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "series.ZIP", {"two/b.dcm": b"B", "two/": b"", "two/a.dcm": b"A"})
    assert [(member.name, member.content) for member in members(str(path))] == [("a.dcm", b"A"), ("b.dcm", b"B")]


@pytest.mark.parametrize("name", ["../outside.dcm", "a/../../outside.dcm", "/etc/outside.dcm"])
def test_a_zip_member_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "forged.zip", {"good.dcm": b"x", name: b"y"})
    assert reason(path) == "the ZIP holds a member whose name points outside of it"


def test_a_zip_member_above_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_MEMBER_BYTES", 1000)
    assert len(list(members(str(write_zip(tmp_path / "fits.zip", {"a.dcm": bytes(1000)}))))) == 1
    assert "member of over" in reason(write_zip(tmp_path / "large.zip", {"a.dcm": bytes(1001)}))


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "series.zip"
    path.write_bytes(b"<html>expired link</html>")
    assert reason(path).startswith("a damaged ZIP")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_cut_of_a_zip_is_refused_with_a_reason_that_names_no_member(tmp_path: Path, compression: int) -> None:
    whole = write_zip(tmp_path / "whole.zip", {"1.2.840.1.dcm": os.urandom(200) + bytes(200)}, compression).read_bytes()
    path = tmp_path / "cut.zip"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert "1.2.840" not in reason(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_changed_bytes_in_a_zip_never_raise_anything_but_an_image_error(tmp_path: Path, compression: int) -> None:
    whole = write_zip(tmp_path / "whole.zip", {"1.2.840.1.dcm": os.urandom(100) + bytes(99)}, compression).read_bytes()
    path = tmp_path / "changed.zip"
    words: set[str] = set()
    for position in range(0, len(whole), 2):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            list(members(str(path)))
        except ImageError as error:
            words.add(str(error))
    assert len(words) >= 1
    assert not any("1.2.840" in reason for reason in words)


def test_a_zip_under_a_password_is_refused_in_these_words(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "locked.zip", {"1.2.840.1.dcm": b"abc"})
    content = bytearray(path.read_bytes())
    content[content.rfind(b"PK\x01\x02") + 8] |= 1  # the encryption bit of the central directory
    path.write_bytes(content)
    assert reason(path) == "the ZIP is locked with a password"


def test_a_file_that_is_not_there_is_told_without_its_path(tmp_path: Path) -> None:
    assert reason(tmp_path / "patient-17.dcm") == "cannot be read (No such file or directory)"
