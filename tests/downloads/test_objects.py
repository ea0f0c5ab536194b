"""Manifests in all their forms, and names that may be saved."""

import json
from pathlib import Path
from typing import Any

import pytest

from midrc_ml.downloads.objects import RemoteObject, objects_of, read_manifest, safe_path, with_safe_names
from midrc_ml.errors import InputError

MD5 = "0123456789abcdef0123456789abcdef"


def manifest(folder: Path, content: Any) -> Path:
    path = folder / "manifest.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_challenge_manifest_has_ids_alone(tmp_path: Path) -> None:
    path = manifest(tmp_path, [{"object_id": "dg.MD1R/a-1"}, {"object_id": "dg.MD1R/b-2"}])
    assert read_manifest(path) == [RemoteObject(object_id="dg.MD1R/a-1"), RemoteObject(object_id="dg.MD1R/b-2")]


def test_a_portal_manifest_has_names_sizes_and_checksums(tmp_path: Path) -> None:
    entry = {
        "object_id": "dg.MD1R/a",
        "file_name": "c/s/x.zip",
        "file_size": 12,
        "md5sum": MD5.upper(),
        "commons_url": "data.midrc.org",
        "subject_id": "c",
        "project_id": "Open-A1",
    }
    expected = RemoteObject(
        object_id="dg.MD1R/a", name="c/s/x.zip", size=12, md5=MD5, project="Open-A1", host="data.midrc.org"
    )
    assert read_manifest(manifest(tmp_path, [entry])) == [expected]
    assert read_manifest(manifest(tmp_path, {"data": [entry | {"commons_url": "https://data.midrc.org"}]})) == [
        expected
    ]
    assert read_manifest(manifest(tmp_path, [entry | {"file_size": "12"}])) == [expected]


def test_the_sets_of_a_study_record_are_taken_as_ids_only(tmp_path: Path) -> None:
    entry = {"object_id": ["b", "a"], "file_name": ["c/s/x.zip", "c/s/y.zip"], "md5sum": [MD5], "project_id": "Open-R1"}
    assert read_manifest(manifest(tmp_path, [entry])) == [
        RemoteObject(object_id="b", project="Open-R1"),
        RemoteObject(object_id="a", project="Open-R1"),
    ]


def test_an_object_that_stands_in_a_manifest_twice_is_one(tmp_path: Path) -> None:
    assert len(read_manifest(manifest(tmp_path, [{"object_id": "a"}] * 3))) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"manifest.json is not JSON"),
        ("[]", r"holds no list of objects"),
        ('"a"', r"holds no list of objects"),
        ([{"object_id": "../../x"}], r"1 of 1 entries cannot be used: entry 1: object_id is '../../x'"),
        ([{"file_name": "x"}], r"object_id is None; it must be an id"),
        (["a"], r"entry 1: it must be an object with an object_id"),
        ([{"object_id": "a", "file_size": -1}], r"file_size is -1; it must be a whole number of bytes"),
        ([{"object_id": "a", "md5sum": "abc"}], r"md5sum is 'abc'; it must be 32 digits"),
        ([{"object_id": "a", "file_size": 1}, {"object_id": "a", "file_size": 2}], r"entry 2: another size"),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_sentence(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_manifest(manifest(tmp_path, content))


def test_all_bad_entries_are_counted_and_five_are_shown() -> None:
    entries: list[Any] = [{"object_id": "a"}] + [{"object_id": ""}] * 10_000
    with pytest.raises(InputError, match=r"^m: 10000 of 10001 entries") as error:
        objects_of(entries, where="m")
    assert str(error.value).count("object_id is ''") == 5


def test_a_manifest_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such file"):
        read_manifest(tmp_path / "nowhere.json")


@pytest.mark.parametrize("name", ["419639-000001/1.2.3/1.2.3.4.zip", "1.2.3/1.2.3.4.zip", "a b (1).csv", "é.zip"])
def test_a_name_below_the_folder_is_kept(name: str) -> None:
    assert safe_path(name) == name


@pytest.mark.parametrize(
    "name",
    ["../x.zip", "a/../../x.zip", "/etc/passwd", "~/x", "C:/x", "C:x", "a\\..\\x", "\\\\host\\x", "..", "a/.."],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"leads out of the folder"):
        safe_path(name)


@pytest.mark.parametrize("name", ["", "a//b", "a/", "./x", ".midrc_ml_download.jsonl", "a\nb", "a\x00b", "x.zip.part"])
def test_a_name_that_cannot_be_one_of_a_file_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be the name of a file"):
        safe_path(name)


def named(*pairs: tuple[str, str | None]) -> dict[str, str | None]:
    objects, refused = with_safe_names(RemoteObject(object_id=each, name=name) for each, name in pairs)
    assert refused == []
    return {each.object_id: each.name for each in objects}


def test_of_two_objects_of_one_name_the_second_gets_its_id_whatever_the_order() -> None:
    expected = {"dg.MD1R/aa": "c/s/x.zip", "dg.MD1R/bb": "c/s/x_bb.zip"}
    assert named(("dg.MD1R/aa", "c/s/x.zip"), ("dg.MD1R/bb", "c/s/x.zip")) == expected
    assert named(("dg.MD1R/bb", "c/s/x.zip"), ("dg.MD1R/aa", "c/s/x.zip")) == expected


def test_names_that_differ_in_case_alone_are_kept_apart() -> None:
    assert named(("a", "X.zip"), ("b", "x.ZIP")) == {"a": "X.zip", "b": "x_b.ZIP"}


def test_a_point_in_a_folder_is_not_taken_for_an_ending() -> None:
    assert named(("a", "1.2.3/x"), ("b", "1.2.3/x")) == {"a": "1.2.3/x", "b": "1.2.3/x_b"}


def test_an_object_without_a_name_is_saved_under_its_id() -> None:
    assert named(("dg.MD1R/aa-bb", None)) == {"dg.MD1R/aa-bb": "aa-bb"}


def test_a_refused_name_does_not_stop_the_others() -> None:
    bad, good = RemoteObject(object_id="a", name="../x"), RemoteObject(object_id="b", name="y")
    objects, refused = with_safe_names([bad, good])
    assert objects == [good]
    assert refused == [(bad, "its name leads out of the folder")]
