import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from example_studies import parts_of, studies_of

from midrc_ml.errors import InputError
from midrc_ml.splits.published import PublishedParts, PublishedTest


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"validation": "abc"}, "split.validation is 'abc'; it must be a number"),
        ({"id": "series"}, "split.id is 'series'; it must be one of study, case, patient"),
        ({"unknown": "drop"}, "split.unknown is 'drop'; it must be one of refuse, ignore"),
        ({"validation": 2}, "split.validation is 2; it must be above 0 and below 1"),
        ({"validation": math.nan}, "split.validation is nan; it must be above 0 and below 1"),
        ({"stratify": "label"}, r"split.stratify is 'label'; give a list: \[label\]"),
    ],
)
def test_settings_of_a_published_test_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        PublishedTest(test_ids="ids.txt", **wrong)


def published(tmp_path: Path, *ids: str, **settings) -> PublishedTest:
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    return PublishedTest(test_ids=str(tmp_path / "ids.txt"), stratify=["label"], **settings)


def test_the_test_part_is_the_published_list_and_nothing_else(tmp_path: Path) -> None:
    studies = studies_of(100).sample(frac=1, random_state=1)
    listed = sorted(studies.loc[studies["patient_id"].isin([f"p{i}" for i in range(25)]), "study_id"])
    for seed in (0, 1):
        split = published(tmp_path, *listed, seed=seed).assign(studies)
        assert sorted(split.loc[split["part"] == "test", "study_id"]) == listed
        assert (split.groupby("patient_id")["part"].nunique() == 1).all()
        others = split[split["part"] != "test"].drop_duplicates("patient_id")["part"].value_counts()
        assert abs(others["validation"] - 75 * 0.15) <= 1
        assert others.sum() == 75


def test_a_published_list_that_cuts_through_a_patient_is_refused(tmp_path: Path) -> None:
    studies = pd.DataFrame(
        {"patient_id": ["p", "p", "q"], "case_id": ["p", "RICORD-p", "q"], "study_id": list("abc"), "label": 0.0}
    )
    with pytest.raises(InputError, match=r"puts 1 patients into test and elsewhere \(1 of them known under two"):
        published(tmp_path, "a").assign(studies)


def test_published_ids_without_a_study_are_refused_with_their_number_and_not_their_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lists 3 studies, 2 of which are not among the \d+ labelled ones; the"):
        published(tmp_path, "p0-0", "x", "y").assign(studies_of(10))


@pytest.mark.parametrize("path", [None, "", "nowhere.txt"])
def test_a_published_list_that_is_no_file_is_refused(path: str | None) -> None:
    with pytest.raises(InputError, match="which is not a file; give the published list"):
        PublishedTest(test_ids=path).assign(studies_of(10))


def test_a_list_may_hold_the_ids_of_cases_or_of_patients(tmp_path: Path) -> None:
    studies = studies_of(40)
    of_patients = published(tmp_path, "p1", "p2", "p10", id="patient").assign(studies)
    # p10 is known under two case ids.
    of_cases = published(tmp_path, "p1", "p2", "p10", "MIDRC-RICORD-1A-p10", id="case").assign(studies)
    for split in (of_patients, of_cases):
        assert set(split.loc[split["part"] == "test", "patient_id"]) == {"p1", "p2", "p10"}
        assert ((split["part"] == "test") == split["patient_id"].isin(["p1", "p2", "p10"])).all()


def test_by_rule_unknown_ids_are_ignored_and_counted(tmp_path: Path) -> None:
    split = published(tmp_path, "p1", "p2", "x", "y", "z", id="patient", unknown="ignore")
    assigned = split.assign(studies_of(40))
    assert set(assigned.loc[assigned["part"] == "test", "patient_id"]) == {"p1", "p2"}
    assert split.notes(studies_of(40)) == ["3 of 5 patients of the list of test ids are not among the labelled ones"]
    assert published(tmp_path, "p1", id="patient").notes(studies_of(40)) == []


def test_a_list_of_which_nothing_is_known_is_refused_also_where_unknown_ids_are_ignored(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split\.test_ids lists 2 studies, none of which is among the labelled ones"):
        published(tmp_path, "x", "y", unknown="ignore").assign(studies_of(10))


def test_blank_lines_line_ends_and_a_byte_order_mark_are_no_ids(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbfp1\r\n\r\n p2 \r\n")
    split = PublishedTest(test_ids=str(tmp_path / "ids.txt"), id="patient")
    assigned = split.assign(studies_of(40))
    assert set(assigned.loc[assigned["part"] == "test", "patient_id"]) == {"p1", "p2"}


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InputError, match="which is not a text; give one id a line"):
        PublishedTest(test_ids=str(tmp_path / "ids.txt")).assign(studies_of(10))


def test_the_settings_that_were_always_there_keep_their_query() -> None:
    query = PublishedTest(test_ids="ids.txt", seed=3).query
    assert query == {"split": "published_test", "seed": 3, "validation": 0.15, "stratify": ["label"]}
    assert PublishedTest(test_ids="ids.txt", id="case").query == {
        **PublishedTest(test_ids="ids.txt").query,
        "id": "case",
    }


THREE = ["train"] * 24 + ["validation"] * 6 + ["test"] * 10


def table(
    tmp_path: Path, listed: Sequence[object] = THREE, name: str = "parts.csv", **settings: object
) -> PublishedParts:
    """The split of a table that gives patient i the part `listed[i]`."""
    frame = pd.DataFrame({"Subject": [f"p{i}" for i in range(len(listed))], "Fold": list(listed), "note": "a, b"})
    path = tmp_path / name
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    given = {"id_column": "Subject", "part_column": "Fold", "id": "patient", "stratify": ["label"]}
    return PublishedParts(file=str(path), **{**given, **settings})


@pytest.mark.parametrize("name", ["parts.csv", "parts.tsv", "parts.parquet"])
def test_each_patient_is_in_the_part_that_the_table_names(tmp_path: Path, name: str) -> None:
    studies = studies_of(40).sample(frac=1, random_state=0)
    split = table(tmp_path, name=name)
    assert parts_of(split, studies) == {f"p{i}": part for i, part in enumerate(THREE)}
    assert split.notes(studies) == []


def test_values_of_the_table_are_mapped_to_parts_also_where_they_are_numbers(tmp_path: Path) -> None:
    parts = {0: "train", "1": "validation", 2: "test"}
    values = [["train", "validation", "test"].index(part) for part in THREE]
    for name in ("parts.csv", "parts.parquet"):
        found = parts_of(table(tmp_path, values, name, parts=parts), studies_of(40))
        assert found == {f"p{i}": part for i, part in enumerate(THREE)}


def test_where_the_table_has_two_parts_validation_is_dealt_from_train(tmp_path: Path) -> None:
    found = parts_of(table(tmp_path, ["train"] * 30 + ["test"] * 10, validation=0.2), studies_of(40))
    assert {name for name, part in found.items() if part == "test"} == {f"p{i}" for i in range(30, 40)}
    assert abs(sum(part == "validation" for part in found.values()) - 6) <= 1


def test_a_value_that_is_said_to_be_left_out_leaves_its_studies_out(tmp_path: Path) -> None:
    parts = {"train": "train", "validation": "validation", "test": "test", "unused": "leave_out"}
    studies = studies_of(44)
    assigned = table(tmp_path, [*THREE, *["unused"] * 4], parts=parts).assign(studies)
    assert set(assigned["patient_id"]) == {f"p{i}" for i in range(40)}
    assert PublishedParts.left_out == "not in a part of the published split"


def test_ids_may_be_those_of_studies_each_in_a_row(tmp_path: Path) -> None:
    studies = studies_of(40)
    rows = studies.assign(part=studies["patient_id"].map({f"p{i}": part for i, part in enumerate(THREE)}))
    rows[["study_id", "part"]].to_csv(tmp_path / "studies.csv", index=False)
    assert PublishedParts(file=str(tmp_path / "studies.csv")).assign(studies)["part"].equals(rows["part"])


def test_two_case_ids_of_one_patient_in_different_parts_are_refused_with_the_count(tmp_path: Path) -> None:
    studies = studies_of(40)
    rows = studies[["case_id", "patient_id"]].drop_duplicates()
    two = rows.groupby("patient_id")["case_id"].nunique() == 2
    rows["part"] = rows["case_id"].str.startswith("MIDRC-RICORD").map({True: "test", False: "train"})
    rows.to_csv(tmp_path / "cases.csv", index=False)
    split = PublishedParts(file=str(tmp_path / "cases.csv"), id="case", id_column="case_id")
    count = int(two.sum())
    assert count > 1
    words = rf"split\.file puts {count} patients into more than one part \({count} of them known under two case ids\)"
    with pytest.raises(InputError, match=words):
        split.assign(studies)


def test_studies_that_the_table_does_not_list_go_by_the_named_rule(tmp_path: Path) -> None:
    studies = studies_of(44)
    unlisted = ~studies["patient_id"].isin([f"p{i}" for i in range(40)])
    with pytest.raises(InputError, match=rf"does not list {unlisted.sum()} of the {len(studies)} labelled studies"):
        table(tmp_path).assign(studies)
    assert set(table(tmp_path, unlisted="train").assign(studies).loc[unlisted, "part"]) == {"train"}
    kept = table(tmp_path, unlisted="leave_out").assign(studies)
    assert sorted(kept["study_id"]) == sorted(studies.loc[~unlisted, "study_id"])
    assert table(tmp_path, unlisted="leave_out").notes(studies) == [
        f"{unlisted.sum()} of {len(studies)} studies are not in the published split: split.unlisted is leave_out"
    ]


def test_an_unlisted_study_of_a_listed_test_patient_cannot_go_to_train(tmp_path: Path) -> None:
    studies = studies_of(40)
    several = studies.groupby("patient_id")["study_id"].transform("size") > 1
    patient = studies.loc[several, "patient_id"].iloc[0]
    listed = studies.drop(studies.index[studies["patient_id"] == patient][0])
    rows = listed.assign(part=(listed["patient_id"] == patient).map({True: "test", False: "train"}))
    rows[["study_id", "part"]].to_csv(tmp_path / "studies.csv", index=False)
    with pytest.raises(InputError, match=r"split\.file puts 1 patients into more than one part"):
        PublishedParts(file=str(tmp_path / "studies.csv"), unlisted="train").assign(studies)


def test_ids_of_the_table_that_no_study_has_go_by_the_named_rule(tmp_path: Path) -> None:
    studies = studies_of(38)
    with pytest.raises(InputError, match=r"split\.file lists 40 patients, 2 of which are not among the 38 labelled"):
        table(tmp_path).assign(studies)
    split = table(tmp_path, unknown="ignore")
    assert set(split.assign(studies)["patient_id"]) == set(studies["patient_id"])
    assert split.notes(studies) == ["2 of 40 patients of the published split are not among the labelled ones"]


def test_an_id_that_the_table_puts_into_two_parts_is_refused_and_a_repeated_row_is_not(tmp_path: Path) -> None:
    studies = studies_of(40)
    path = Path(str(table(tmp_path).file))
    path.write_text(path.read_text() + "p39,test,again\n")
    assert set(table(tmp_path).assign(studies)["part"]) == {"train", "validation", "test"}
    path.write_text(path.read_text() + "p39,train,again\n")
    with pytest.raises(InputError, match=r"split\.file puts 1 patients into more than one part; each belongs to one"):
        PublishedParts(file=str(path), id_column="Subject", part_column="Fold", id="patient").assign(studies)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Subject,Fold\np1,dev\n",
            r"split\.file has 'dev' in 'Fold', which split\.parts does not name \(it names",
        ),
        ("Subject,Fold\n,train\n", r"split\.file has 1 rows without an id in 'Subject'"),
        ("Patient,Fold\np1,train\n", r"split\.file has no column 'Subject'; columns are Patient, Fold"),
        ("", "which is not a readable CSV"),
        ('Subject,Fold\n"p1', "which is not a readable CSV"),
    ],
)
def test_a_table_that_cannot_be_taken_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "parts.csv").write_text(text)
    split = PublishedParts(file=str(tmp_path / "parts.csv"), id_column="Subject", part_column="Fold", id="patient")
    with pytest.raises(InputError, match=words):
        split.assign(studies_of(10))


@pytest.mark.parametrize("name", [None, "", "nowhere.csv"])
def test_a_table_that_is_no_file_is_refused(name: str | None) -> None:
    with pytest.raises(InputError, match="which is not a file; give the published split"):
        PublishedParts(file=name).assign(studies_of(10))


def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "parts.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"its name must end in \.csv, \.tsv or \.parquet"):
        PublishedParts(file=str(tmp_path / "parts.xlsx")).assign(studies_of(10))
    (tmp_path / "parts.parquet").write_bytes(b"PK")
    with pytest.raises(InputError, match="which is not a readable PARQUET"):
        PublishedParts(file=str(tmp_path / "parts.parquet")).assign(studies_of(10))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"id": "series"}, "split.id is 'series'; it must be one of study, case, patient"),
        ({"unknown": "drop"}, "split.unknown is 'drop'; it must be one of refuse, ignore"),
        ({"unlisted": "test"}, "split.unlisted is 'test'; it must be one of refuse, train, leave_out"),
        ({"parts": {"dev": "training"}}, "split.parts.dev is 'training'; it must be one of train, validation, test"),
        ({"parts": ["train"]}, r"split.parts is \['train'\]; it must map values of the file to parts"),
        ({"validation": 1.5}, "split.validation is 1.5; it must be above 0 and below 1"),
        ({"file": 7}, "split.file is 7; it must be a text"),
    ],
)
def test_settings_of_published_parts_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        PublishedParts(**{"file": "parts.csv", **wrong})
