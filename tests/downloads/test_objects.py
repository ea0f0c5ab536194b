"""Manifests in all their forms, and names that may be saved."""

import json
from pathlib import Path
from typing import Any

import pytest

from midrc_ml.downloads.objects import (
    RemoteObject,
    objects_of,
    objects_of_answer,
    read_manifest,
    safe_path,
    with_safe_names,
)
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


def test_an_object_of_two_projects_is_one() -> None:
    entry = {"object_id": "a", "file_name": "x", "file_size": 1}
    objects = objects_of([entry | {"project_id": "Open-A1"}, entry | {"project_id": "Open-R1"}], where="m")
    assert objects == [RemoteObject(object_id="a", name="x", size=1, project="Open-A1")]


def test_a_bad_record_of_the_portal_stops_no_other() -> None:
    records = [{"object_id": "a"}, {"object_id": None}, {"object_id": "b", "md5sum": "bad"}, "c", {"object_id": "b"}]
    records += [{"object_id": "d", "file_size": 1}, {"object_id": "d", "file_size": 2}]
    objects, failures = objects_of_answer(records)
    assert [each.object_id for each in objects] == ["a"]
    assert [each.object_id for each, _ in failures] == ["", "b", "", "d"]
    assert (
        failures[1][1]
        == "its record in the portal cannot be used: md5sum is 'bad'; it must be 32 digits of 0-9 and a-f"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"manifest.json is not JSON"),
        ("[]", r"holds no list of objects"),
        ('"a"', r"holds no list of objects"),
        ([{"object_id": "../../x"}], r"1 of 1 entries cannot be used: entry 1: object_id is '../../x'"),
        ([{"file_name": "x"}], r"object_id is None; it must be an id"),
        ([{"object_id": []}], r"object_id is \[\]; it must be an id"),
        ("[" * 100_000, r"manifest.json is not JSON"),
        ([{"object_id": "a", "commons_url": "http://["}], r"entry 1: "),
        ([{"object_id": "a", "file_size": "\u00b2"}], r"it must be a whole number of bytes"),
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


@pytest.mark.parametrize(
    "name", ["", "a//b", "a/", "./x", ".midrc_ml_download.jsonl", "a\nb", "a\x00b", "x.part", "x.part/y", "\ud800"]
)
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


def test_a_name_made_from_an_id_is_given_to_no_other_object() -> None:
    assert named(("a1", "x_c1.zip"), ("b1", "x.zip"), ("c1", "x.zip")) == {
        "a1": "x_c1.zip",
        "b1": "x.zip",
        "c1": "x_c1_2.zip",
    }
    assert named(("p/u", "x"), ("q/u", "x"), ("r/u", "x")) == {"p/u": "x", "q/u": "x_u", "r/u": "x_u_2"}
    assert named(("a", "e\u0301"), ("b", "\u00e9")) == {"a": "e\u0301", "b": "\u00e9_b"}


def test_a_name_that_belongs_to_an_object_since_earlier_is_given_to_no_other() -> None:
    both = [RemoteObject(object_id="a", name="x.zip"), RemoteObject(object_id="b", name="X.zip")]
    objects, _ = with_safe_names(both, holders={"x.zip": "b"})
    assert [each.name for each in objects] == ["x_a.zip", "X.zip"]


def test_the_names_of_tables_and_lists_are_given_to_no_object() -> None:
    names = ["not_downloaded.csv", "Open-A1_case.tsv", "covid_19_ny_sbu_series.csv", "a/Open-A1_case.tsv", "x_case.tsv"]
    given = [
        with_safe_names([RemoteObject(object_id="i", name=name)], nodes=["visit", "case"])[0][0].name for name in names
    ]
    assert given == [
        "not_downloaded_i.csv",
        "Open-A1_case_i.tsv",
        "covid_19_ny_sbu_series_i.csv",
        "a/Open-A1_case.tsv",
        "x_case.tsv",
    ]


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
