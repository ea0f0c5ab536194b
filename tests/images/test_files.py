"""Opening a series: one file, a folder, a ZIP, and what is refused."""

import os
import stat
import struct
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from midrc_ml.images import files
from midrc_ml.images.cache import ImageCache
from midrc_ml.images.files import ImageError, file_paths, members, pattern_of
from midrc_ml.images.radiograph import read_radiograph
from midrc_ml.images.recipe import Recipe


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


@pytest.mark.parametrize(
    "name", ["../outside.dcm", "a/../../outside.dcm", "/etc/outside.dcm", "..\\outside.dcm", "C:/outside.dcm"]
)
def test_a_zip_member_that_points_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "forged.zip", {"good.dcm": b"x", name: b"y"})
    assert reason(path) == "the ZIP holds a member whose name points outside of it"


def test_a_zip_member_above_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_MEMBER_BYTES", 1000)
    assert len(list(members(str(write_zip(tmp_path / "fits.zip", {"a.dcm": bytes(1000)}))))) == 1
    assert "member of over" in reason(write_zip(tmp_path / "large.zip", {"a.dcm": bytes(1001)}))


@pytest.mark.parametrize("name", ["a..b.dcm", "..a/b.dcm", "C/b.dcm"])
def test_dots_within_the_name_of_a_zip_member_do_not_point_outside(tmp_path: Path, name: str) -> None:
    assert len(list(members(str(write_zip(tmp_path / "good.zip", {name: b"x"}))))) == 1


def test_a_zip_without_its_ending_is_known_by_its_start(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "0a1b2c3d-0000-4000-8000-000000000001", {"a.dcm": b"A"})
    assert [member.content for member in members(str(path))] == [b"A"]
    # The preamble of a DICOM file may hold anything.
    (tmp_path / "film").write_bytes(b"PK\x03\x04".ljust(128) + b"DICM")
    assert [member.name for member in members(str(tmp_path / "film"))] == ["film"]


def test_a_zip_that_expands_to_far_more_than_images_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RATIO_FROM_BYTES", 100_000)
    film = os.urandom(1000)
    assert len(list(members(str(write_zip(tmp_path / "blank.zip", {"a.dcm": bytes(100_000)}))))) == 1
    assert len(list(members(str(write_zip(tmp_path / "film.zip", {"a.dcm": film * 150}))))) == 1
    words = "the ZIP expands to far more than a series of images would"
    assert reason(write_zip(tmp_path / "bomb.zip", {"a.dcm": bytes(300_000), "b.dcm": bytes(300_000)})) == words
    monkeypatch.setattr(files, "MAX_TOTAL_BYTES", 200_000)
    many = {f"{number}.dcm": os.urandom(50_001) for number in range(4)}
    assert reason(write_zip(tmp_path / "large.zip", many)) == words


def test_a_zip_of_more_members_than_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_MEMBERS", 3)
    assert len(list(members(str(write_zip(tmp_path / "three.zip", dict.fromkeys("abc", b"x")))))) == 3
    assert reason(write_zip(tmp_path / "four.zip", dict.fromkeys("abcd", b"x"))) == "the ZIP holds more than 3 members"


@pytest.mark.parametrize("claimed", [0, 10, 100_000])
def test_a_zip_that_lies_about_the_size_of_a_member_does_not_fill_the_memory(tmp_path: Path, claimed: int) -> None:
    size = 50_000_000
    content = bytearray(write_zip(tmp_path / "bomb.zip", {"a.dcm": bytes(size)}).read_bytes())
    assert content.count(struct.pack("<L", size)) == 2  # in the member's own header, and in the directory
    (tmp_path / "bomb.zip").write_bytes(content.replace(struct.pack("<L", size), struct.pack("<L", claimed)))
    tracemalloc.start()
    assert reason(tmp_path / "bomb.zip").startswith("a damaged ZIP")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_zip_whose_members_share_their_bytes_is_held_to_what_all_of_them_expand_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RATIO_FROM_BYTES", 100_000)
    path = tmp_path / "overlap.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("a.dcm", os.urandom(300) * 200)
        package.filelist *= 1000  # a directory that names the same bytes a thousand times
    assert reason(path) == "the ZIP expands to far more than a series of images would"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_packed_so_that_it_cannot_be_read_in_bounds_is_refused(tmp_path: Path, compression: int) -> None:
    path = write_zip(tmp_path / "packed.zip", {"a.dcm": bytes(1000)}, compression)
    assert reason(path) == "the ZIP is packed in a way that is not read here (only stored and deflated are)"


def test_a_zip_with_a_link_in_it_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.dcm")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as package:
        package.writestr(link, "/etc/passwd")
    assert reason(tmp_path / "link.zip") == "the ZIP holds a link in place of a file"


def test_a_zip_inside_of_a_zip_is_not_opened(tmp_path: Path) -> None:
    inner = BytesIO()
    with zipfile.ZipFile(inner, "w") as package:
        package.writestr("film.dcm", b"film")
    (member,) = members(str(write_zip(tmp_path / "outer.zip", {"inner.zip": inner.getvalue()})))
    assert (member.name, member.content) == ("inner.zip", inner.getvalue())
    with pytest.raises(ImageError):
        read_radiograph(member)


def test_a_pattern_stands_for_the_files_with_this_start_and_ending_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "odd [folder]*"
    folder.mkdir()
    for name in ("[p]*_1.2_b.dcm", "[p]*_1.2_a.dcm", "[p]*_1.2_a.json", "[p]*_1.23_a.dcm", "p_1.2_a.dcm", "[p]*_1.2"):
        (folder / name).write_bytes(name.encode())
    path = pattern_of(str(folder), "[p]*_1.2_", ".dcm")
    assert [member.content for member in members(path)] == [b"[p]*_1.2_a.dcm", b"[p]*_1.2_b.dcm"]
    (folder / "[p]*_1.2_0.dcm").touch()  # files that came later are found too
    os.utime(folder, ns=(1, 1))
    assert os.path.basename(file_paths(path)[0]) == "[p]*_1.2_0.dcm"


def test_a_pattern_that_no_file_is_named_by_is_told_without_its_path(tmp_path: Path) -> None:
    path = Path(pattern_of(str(tmp_path), "patient-17_", ".dcm"))
    assert reason(path) == "cannot be read (No such file or directory)"


def test_a_file_whose_name_has_a_star_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a*.dcm").write_bytes(b"A")
    (tmp_path / "ab.dcm").write_bytes(b"B")
    assert [member.content for member in members(str(tmp_path / "a*.dcm"))] == [b"A"]


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "series.zip"
    path.write_bytes(b"<html>expired link</html>")
    assert reason(path).startswith("a damaged ZIP")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_cut_of_a_zip_is_refused_with_a_reason_that_names_no_member(tmp_path: Path, compression: int) -> None:
    whole = write_zip(tmp_path / "whole.zip", {"1.2.840.1.dcm": os.urandom(200) + bytes(200)}, compression).read_bytes()
    path = tmp_path / "cut.zip"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert "1.2.840" not in reason(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
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


def test_the_image_cache_follows_the_files_of_a_pattern(tmp_path: Path) -> None:
    def picture(name: str, grey: int) -> None:
        pixels = np.full((40, 40), grey, np.uint8)
        pixels[:20] = 0
        (tmp_path / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())

    cache = ImageCache(cache_dir=str(tmp_path / "cache"), recipe=Recipe(size=32))
    path = pattern_of(str(tmp_path), "p_1.2_", ".png")
    assert cache.load([path], num_processes=1).reasons == ["cannot be read (No such file or directory)"]
    picture("p_1.2_b.png", 200)
    alone = cache.load([path], num_processes=1)
    assert (alone.reasons, alone.left_out) == ([None], {})
    picture("p_1.2_a.png", 100)
    picture("p_1.23_a.png", 50)
    images = cache.load([path], num_processes=1)
    assert (images.reasons, images.left_out) == ([None], {"another film of the series": 1})
