"""Predictions files from anywhere: what is read, what is refused; every refusal is one sentence with a count."""

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from midrc_ml.cohorts.selection import NOT_REPORTED
from midrc_ml.errors import InputError
from midrc_ml.evaluation.metrics import auroc
from midrc_ml.prediction_files.form import PredictionForm
from midrc_ml.prediction_files.melody import export_melody
from midrc_ml.prediction_files.reading import PredictionFile, read_predictions
from midrc_ml.splits.manifest import Manifest
from midrc_ml.tasks.task import Task

CLASSES = ("negative", "typical", "atypical")
NUM_STUDIES = 12


def task(kind: str = "binary") -> Task:
    return Task(
        name="asked",
        version=2,
        question="?",
        source="test",
        kind=kind,  # type: ignore[arg-type]
        label=partial(lambda tables, rows: rows),
        metrics={"auroc": auroc},
        classes=CLASSES if kind == "multiclass" else (),
    )


def own(kind: str = "binary") -> pd.DataFrame:
    """Two studies a patient; labels 0, 1, 0, 1 ..."""
    number = np.arange(NUM_STUDIES)
    table = pd.DataFrame(
        {
            "study_id": [f"STUDY-{n:02d}" for n in number],
            "patient_id": [f"PATIENT-{n // 2}" for n in number],
            "y_true": number % 2,
            "y_score": np.linspace(0.05, 0.9, NUM_STUDIES),
        }
    )
    if kind == "multiclass":
        table["y_true"] = number % 3
        table = table.drop(columns="y_score")
        for place, name in enumerate(CLASSES):
            table[f"y_score_{name}"] = np.where(number % 3 == place, 0.5, 0.25)
    if kind == "time_to_event":
        table = table.rename(columns={"y_true": "event"}).assign(time=number * 1.5)
    return table


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., PredictionFile]:
    def read_table(table: pd.DataFrame, kind: str = "binary", *, form: dict | None = None, **given) -> PredictionFile:
        path = tmp_path / "scores.csv"
        table.to_csv(path, index=False)
        return read_predictions(path, task(kind), form=PredictionForm(**(form or {})), **given)

    return read_table


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """The folder of a split of `own()`: eight test studies, two of validation, two of train."""
    rows = own().rename(columns={"y_true": "label"}).assign(part=["train"] * 2 + ["validation"] * 2 + ["test"] * 8)
    folder = tmp_path / "run"
    folder.mkdir()
    Manifest.of(rows.assign(case_id=rows["patient_id"]), {"task": "asked"}).save(folder)
    (folder / "config.yaml").write_text("task: {name: asked, version: 2}\n")
    return folder


def refused(act: Callable[[], object]) -> str:
    """The sentence with which this is refused; it names no study and no patient."""
    with pytest.raises(InputError) as caught:
        act()
    text = str(caught.value)
    assert not [word for word in ("STUDY-", "PATIENT-") if word in text]
    assert "\n" not in text
    return text


def test_the_own_form_needs_no_mapping(read: Callable) -> None:
    found = read(own())
    assert found.table["y_score"].tolist() == pytest.approx(own()["y_score"].tolist())
    assert found.table["patient_id"].tolist() == own()["patient_id"].tolist()
    assert set(found.table["part"]) == {"test"}
    assert set(found.table["sex"]) == {NOT_REPORTED}
    assert found.notes == ["not reported, as no column says: site, sex, age_band, race, ethnicity, manufacturer, view"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "parquet", "semicolon.csv"])
def test_every_kind_of_file_gives_the_same_table(ending: str, read: Callable, tmp_path: Path) -> None:
    table = own().assign(sex="Female")
    path = tmp_path / f"file.{ending}"
    if ending == "parquet":
        table.to_parquet(path)
    elif ending == "csv.gz":
        path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    else:
        table.to_csv(path, index=False, sep={"tsv": "\t", "csv": ",", "semicolon.csv": ";"}[ending])
    pd.testing.assert_frame_equal(read_predictions(path, task()).table, read(table).table)


def test_ids_stay_text_and_whole_numbers_of_a_parquet_stay_whole(tmp_path: Path) -> None:
    table = own().assign(study_id=np.arange(NUM_STUDIES), patient_id=np.arange(NUM_STUDIES) * 1.0)
    table.to_parquet(tmp_path / "a.parquet")
    assert read_predictions(tmp_path / "a.parquet", task()).table["patient_id"].tolist()[:2] == ["0", "1"]
    own().assign(study_id=[f"{n:04d}" for n in range(NUM_STUDIES)]).to_csv(tmp_path / "a.csv", index=False)
    assert read_predictions(tmp_path / "a.csv", task()).table["study_id"].tolist()[:2] == ["0000", "0001"]


def test_columns_are_mapped_and_a_list_takes_the_first_that_is_there(read: Callable) -> None:
    table = own().rename(columns={"y_score": "prob", "patient_id": "subject", "y_true": "icu"})
    columns = {"y_score": "prob", "patient_id": ["person", "subject"], "y_true": "icu"}
    found = read(table, form={"columns": columns})
    pd.testing.assert_frame_equal(found.table, read(own()).table)
    assert found.score_name == "prob"


def test_each_study_may_be_declared_a_patient_of_its_own(read: Callable) -> None:
    table = own().drop(columns="patient_id").rename(columns={"study_id": "uid"})
    found = read(table, form={"columns": {"study_id": "uid", "patient_id": "study_id"}})
    assert found.table["patient_id"].tolist() == found.table["study_id"].tolist()
    assert any("each study counts as a patient of its own" in note for note in found.notes)
    assert not any("patient of its own" in note for note in read(own()).notes)


def test_the_age_in_years_gives_midrc_s_band(read: Callable) -> None:
    ages = ["17", "18", "90", "", "unknown"] + ["50"] * 7
    assert read(own().assign(age=ages)).table["age_band"].tolist()[:5] == [
        "0-17", "18-29", "85+", NOT_REPORTED, NOT_REPORTED,
    ]  # fmt: skip


def test_further_columns_are_kept_only_where_they_are_asked_for(read: Callable) -> None:
    table = own().assign(ward=["A", "", "NA", *["B"] * 9], name="somebody")
    found = read(table, further=["ward", "sex"])
    assert found.table["ward"].tolist()[:4] == ["A", NOT_REPORTED, NOT_REPORTED, "B"]
    assert "name" not in found.table.columns
    assert "did you mean ward?" in refused(lambda: read(table, further=["wards"]))


def test_text_labels_are_read_by_the_labels_given(read: Callable) -> None:
    table = own().assign(y_true=["no", "yes"] * 6)
    assert read(table, form={"labels": {"No": 0, True: 1}}).table["y_true"].tolist() == own()["y_true"].tolist()
    ones_and_twos = own().assign(y_true=own()["y_true"] + 1.0)
    assert read(ones_and_twos, form={"labels": {1: 0, 2: 1}}).table["y_true"].tolist() == own()["y_true"].tolist()
    text = refused(lambda: read(table))
    assert "y_true is text in 12 of 12 rows, 2 different values; say what number each of them is: 'labels={" in text
    text = refused(lambda: read(table, form={"labels": {"no": 0}}))
    assert "text in 6 of 12 rows, 1 different values, which labels does not name; it names no" in text


def test_a_label_that_many_rows_have_is_named_and_one_of_few_is_not(read: Callable, tmp_path: Path) -> None:
    many = pd.concat([own().assign(study_id=[f"{k}-{n}" for n in range(NUM_STUDIES)]) for k in range(3)])
    assert "(no, yes)" in refused(lambda: read(many.assign(y_true=["no", "yes"] * 18)))
    assert "yes" not in refused(lambda: read(many.assign(y_true=["no"] * 35 + ["perhaps"]))).split("labels=")[0]


def test_true_and_false_are_labels_of_a_binary_task(read: Callable, tmp_path: Path) -> None:
    expected = own()["y_true"].tolist()
    table = own().assign(y_true=own()["y_true"] == 1)
    assert read(table).table["y_true"].tolist() == expected
    table.to_parquet(tmp_path / "a.parquet")
    assert read_predictions(tmp_path / "a.parquet", task()).table["y_true"].tolist() == expected


def test_classes_may_be_named_or_numbered_and_their_scores_mapped(read: Callable) -> None:
    table = own("multiclass")
    named = table.assign(y_true=[CLASSES[n] for n in table["y_true"]])
    named = named.rename(columns={f"y_score_{name}": f"p{place}" for place, name in enumerate(CLASSES)})
    mapping = {"y_score": {name: f"p{place}" for place, name in enumerate(CLASSES)}}
    pd.testing.assert_frame_equal(
        read(named, "multiclass", form={"columns": mapping}).table, read(table, "multiclass").table
    )
    assert "no column y_score_negative" in refused(lambda: read(named, "multiclass"))
    text = refused(lambda: read(table.assign(y_true=np.arange(12) % 4), "multiclass"))
    assert "3 of 12 y_true are no place of a class, from 0 (negative) to 2 (atypical)" in text


def test_time_to_event_takes_time_and_event(read: Callable) -> None:
    found = read(own("time_to_event"), "time_to_event").table
    assert found["event"].tolist() == [0, 1] * 6
    assert found["time"].tolist() == (np.arange(12) * 1.5).tolist()
    assert "no column time" in refused(lambda: read(own(), "time_to_event"))
    assert "negative time" in refused(lambda: read(own("time_to_event").assign(time=-1), "time_to_event"))


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({0: "", 1: "NaN", 2: "inf"}, "3 of 12 studies have no score (2 blank or NaN, 1 infinite); missing=drop"),
        ({0: -0.01}, "1 of 12 rows have a score outside 0 to 1 (1 below 0, 0 above 1)"),
        ({0: 2.5, 1: -1.0}, "2 of 12 rows have a score outside 0 to 1 (1 below 0, 1 above 1), where a binary task"),
        ({11: 85.0}, "per cent is said by scale.slope=0.01, logits by scores=logit, and scores of which"),
        ({3: "high"}, "1 of 12 y_score are no numbers; each must be a number, or blank"),
        ({3: "0,5"}, "1 of 12 y_score are no numbers; write decimal points, not commas"),
    ],
)  # fmt: skip
def test_scores_that_are_no_probabilities_are_counted_and_refused(scores: dict, words: str, read: Callable) -> None:
    table = own().astype({"y_score": object})
    for row, value in scores.items():
        table.loc[row, "y_score"] = value
    assert words in refused(lambda: read(table))


def test_logits_become_probabilities_and_ranks_stay_as_they_are(read: Callable) -> None:
    logits = own().assign(y_score=[0.0, np.log(3), -np.log(3), 800.0, -800.0] + [0.0] * 7)
    found = read(logits, form={"scores": "logit"}).table["y_score"].tolist()
    assert found[:5] == pytest.approx([0.5, 0.75, 0.25, 1.0, 0.0])
    assert read(logits, form={"scores": "rank"}).table["y_score"].tolist()[3] == 800.0


def test_logits_of_classes_become_probabilities_by_softmax(read: Callable) -> None:
    table = own("multiclass")
    table["y_score_negative"], table["y_score_typical"], table["y_score_atypical"] = np.log(2), 0.0, 0.0
    text = refused(lambda: read(table, "multiclass"))
    assert "12 of 12 rows have probabilities that do not sum to 1" in text
    found = read(table, "multiclass", form={"scores": "logit"}).table
    assert found.loc[0, ["y_score_negative", "y_score_typical"]].tolist() == pytest.approx([0.5, 0.25])
    assert "rank" in refused(lambda: read(table, "multiclass", form={"scores": "rank"}))


def test_scores_are_scaled_before_they_are_checked(read: Callable) -> None:
    table = own().assign(y_score=own()["y_score"] * 18 - 9)
    found = read(table, form={"scale": {"slope": "1/18", "intercept": 0.5}}).table
    assert found["y_score"].tolist() == pytest.approx(own()["y_score"].tolist())


def test_studies_without_a_score_follow_the_rule_that_is_named(read: Callable) -> None:
    table = own()
    table.loc[[0, 1], "y_score"] = np.nan  # a negative and a positive
    found = read(table, form={"missing": "drop"})
    assert len(found.table) == 10
    assert "2 of 12 studies have no score (2 blank or NaN); left out" in found.notes
    found = read(table, form={"missing": "worst"})
    assert found.table["y_score"].tolist()[:2] == [1.0, 0.0]
    text = refused(lambda: read(table, "regression", form={"missing": "worst"}))
    assert "missing=worst is for binary tasks" in text


def test_rows_without_a_label_are_refused_or_left_out(read: Callable) -> None:
    table = own().astype({"y_true": object})
    table.loc[[0, 1, 2], "y_true"] = None
    assert "3 of 12 studies have no y_true; a label that is not known is no negative" in refused(lambda: read(table))
    found = read(table, form={"unlabelled": "drop"})
    assert len(found.table) == 9
    assert "3 studies have no label; left out" in found.notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: pd.concat([t, t[:2]]), "2 studies stand in it more than once (14 rows, 12 studies)"),
        (lambda t: t.assign(study_id=["", *t["study_id"][1:]]), "1 of 12 rows have no study id"),
        (lambda t: t.assign(patient_id=[None, *t["patient_id"][1:]]), "1 of 12 rows have no patient id"),
        (lambda t: t.drop(columns="patient_id"), "each study is a patient of its own: columns.patient_id=study_id"),
        (lambda t: t.drop(columns="study_id"), "no column study_id; it has patient_id, y_true, y_score; name the one"),
        (lambda t: t.drop(columns="y_true"), "no column y_true; it has study_id, patient_id, y_score; name it"),
        (lambda t: t.rename(columns={"y_score": "prob"}), "it has study_id, patient_id, y_true, prob; "
         "name the one that holds the score: columns.y_score=prob"),
        (lambda t: t.assign(part=["train", "test"] * 6), "6 patients are in more than one part"),
        (lambda t: t.assign(part="holdout"), "12 of 12 rows have a part that is none of train, validation, test"),
        (lambda t: t.assign(part="train"), "all 12 rows are of the part train"),
        (lambda t: t.assign(part="val"), "no row of the part test is left"),
        (lambda t: t.assign(y_true=t["y_true"] + 1), "6 of 12 y_true are neither 0 nor 1; say what they are: 'labels="),
        (lambda t: t.assign(y_true=np.nan), "y_true is empty in all 12 rows; name it (columns.y_true=NAME)"),
        (lambda t: t.assign(y_true=np.arange(12) / 12), "between: were the columns of y_true and y_score swapped?"),
        (lambda t: own("multiclass"), "the scores of a task with classes, and this task has none"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_the_task_s_is_refused(change: Callable, words: str, read: Callable) -> None:
    assert words in refused(lambda: read(change(own())))


def test_several_score_columns_are_offered_in_turn(read: Callable) -> None:
    table = own().rename(columns={"y_score": "model_1"}).assign(model_2=0.5, ward="A")
    text = refused(lambda: read(table))
    assert text.endswith("columns.y_score=NAME, or all in turn: -m columns.y_score=model_1,model_2")
    text = refused(lambda: read(table, form={"columns": {"y_score": "model_l"}}))
    assert "no column model_l" in text


def test_a_misspelt_column_is_told_with_the_nearest(read: Callable) -> None:
    text = refused(lambda: read(own().assign(gender="F"), form={"columns": {"sex": "gendr"}}))
    assert "columns.sex=gendr: no such column" in text
    assert "did you mean gender?" in text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\n", "is empty"),
        ("a.csv", b"\xef\xbb\xbf", "is empty"),
        ("a.csv", b"study_id,patient_id\n", "has column names, but no row"),
        ("a.csv", b"PK\x03\x04rest", "is not text, so it is no CSV (an Excel or a binary file?)"),
        ("a.csv", "id,ö\n1,é\n".encode("latin-1"), "is not in UTF-8"),
        ("a.csv", "id,score\n".encode("utf-16"), "is not text"),
        ("a.csv", b"<!DOCTYPE html><html>", "is a web page"),
        ("a.csv", b'[{"a": 1}]', "is JSON"),
        ("a.csv", b"study_id,y_score\nSTUDY-1,0.5,7\n", "is not a table: row 2: Expected 2 columns, got 3"),
        ("a.csv", b"study_id,y_score,y_true\nSTUDY-1,0.5\n", "Expected 3 columns, got 2"),
        ("a.csv", b"a,a,b\n1,2,3\n", "1 column names stand in it more than once"),
        ("a.csv", b"STUDY-1,0.5,1\nSTUDY-2,0.25,0\n", "its first line holds numbers, as if"),
        ("a.csv.gz", b"study_id,y_score\n", "is no gz file"),
        ("a.parquet", b"study_id,y_score\n", "is no Parquet file"),
        ("a.xlsx", b"PK", "a table is read from .csv"),
    ],
)
def test_a_file_that_is_no_table_is_refused(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refused(lambda: read_predictions(tmp_path / name, task()))


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "there is no such file" in refused(lambda: read_predictions(tmp_path / "a.csv", task()))
    assert "is a folder; give a file" in refused(lambda: read_predictions(tmp_path, task()))


def test_a_file_without_columns_of_its_own_names_none_of_its_cells(read: Callable, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("PATIENT-1,STUDY-1,Female,White,0.5\nPATIENT-2,STUDY-2,Male,White,0.25\n")
    refused(lambda: read_predictions(tmp_path / "a.csv", task()))


def test_the_split_gives_patients_parts_and_labels(read: Callable, split: Path) -> None:
    found = read(own()[["study_id", "y_score"]][2:], manifest=split)
    assert found.table["part"].value_counts().to_dict() == {"test": 8, "validation": 2}
    assert found.table["y_true"].tolist() == own()["y_true"].tolist()[2:]
    assert found.split_sha256 == (split / "split.sha256").read_text().strip()
    pd.testing.assert_frame_equal(
        found.table, read(own()[["study_id", "y_score"]][2:], manifest=split / "split.parquet").table
    )


def test_a_file_of_test_studies_alone_needs_no_others(read: Callable, split: Path) -> None:
    assert set(read(own()[["study_id", "y_score"]][4:], manifest=split).table["part"]) == {"test"}


def test_the_train_part_is_left_out_and_said(read: Callable, split: Path) -> None:
    found = read(own(), manifest=split)
    assert set(found.table["part"]) == {"validation", "test"}
    assert "2 studies of the train part are not evaluated" in found.notes


def test_ids_that_the_split_does_not_know_are_refused_or_left_out(read: Callable, split: Path) -> None:
    table = own().assign(study_id=["STUDY-X", *own()["study_id"][1:]])
    assert "1 of 12 studies are not in manifest=" in refused(lambda: read(table, manifest=split))
    found = read(table, manifest=split, form={"unknown": "drop"})
    assert "1 studies of the predictions are not known to the split or the truth; left out" in found.notes
    none = own().assign(study_id=own()["study_id"] + ".jpg")
    assert "none of its 12 study ids is in" in refused(lambda: read(none, manifest=split))
    form = {"study_id_pattern": r"(.+)\.jpg"}
    pd.testing.assert_frame_equal(read(none, manifest=split, form=form).table, read(own(), manifest=split).table)


def test_test_studies_without_a_row_are_counted(read: Callable, split: Path) -> None:
    table = own()[["study_id", "y_score"]][4:-3]
    assert "3 of 8 studies have no score (3 without a row)" in refused(lambda: read(table, manifest=split))
    assert len(read(table, manifest=split, form={"missing": "drop"}).table) == 5
    found = read(table, manifest=split, form={"missing": "worst"}).table
    assert found["y_score"].tolist()[-3:] == [0.0, 1.0, 0.0]


def test_what_contradicts_the_split_is_refused(read: Callable, split: Path) -> None:
    flipped = own().assign(y_true=1 - own()["y_true"])
    assert "12 of 12 labels differ from those of manifest=" in refused(lambda: read(flipped, manifest=split))
    assert "studies are of another part" in refused(lambda: read(own().assign(part="test"), manifest=split))
    regrouped = own().assign(patient_id=own()["patient_id"].to_numpy()[::-1]).sort_values("patient_id")
    assert len(read(regrouped, manifest=split).table) == 10  # other names of the same patients
    regrouped.loc[5, "patient_id"] = "PATIENT-0"
    assert "patients have other studies" in refused(lambda: read(regrouped, manifest=split))
    assert "part=test is given" in refused(lambda: read(own(), manifest=split, form={"part": "test"}))
    assert "none of the 8 test studies" in refused(lambda: read(own()[:4], manifest=split))


def test_files_of_different_tasks_are_refused(read: Callable, split: Path) -> None:
    (split / "config.yaml").write_text("task: {name: other, version: 2}\n")
    assert "files of different tasks" in refused(lambda: read(own(), manifest=split))
    (split / "config.yaml").write_text("task: {name: asked, version: 1}\n")
    assert "in version 1" in refused(lambda: read(own(), manifest=split))
    assert "files of different tasks" in refused(
        lambda: read(own("time_to_event"), "time_to_event", manifest=split / "split.parquet")
    )


def test_a_split_that_is_not_whole_is_refused(read: Callable, split: Path, tmp_path: Path) -> None:
    assert "there is no such file or folder" in refused(lambda: read(own(), manifest=tmp_path / "gone"))
    assert "no split.parquet in this folder" in refused(lambda: read(own(), manifest=tmp_path))
    (split / "split.sha256").unlink()
    assert "no split.sha256 beside it" in refused(lambda: read(own(), manifest=split))
    own().to_parquet(split / "split.parquet")
    assert "no column case_id, part, label" in refused(lambda: read(own(), manifest=split))
    (split / "split.parquet").write_text("no parquet")
    assert "no readable split" in refused(lambda: read(own(), manifest=split))


def test_the_split_beside_a_predictions_file_is_used_by_itself(split: Path) -> None:
    table = own()[4:].assign(case_id="c", part="test", label=own()["y_true"]).drop(columns="y_true")
    table.to_parquet(split / "predictions.parquet")
    for place in (split, split / "predictions.parquet"):
        found = read_predictions(place, task())
        assert found.split_sha256 == (split / "split.sha256").read_text().strip()


def test_groups_that_the_file_lacks_come_from_the_split_s_own_run(read: Callable, split: Path) -> None:
    groups = dict.fromkeys(("site", "age_band", "race", "ethnicity", "manufacturer", "view"), "known")
    own().assign(sex="Female", **groups).to_parquet(split / "predictions.parquet")
    found = read(own().assign(race="told"), manifest=split).table
    assert set(found["sex"]) == {"Female"}
    assert set(found["race"]) == {"told"}


def test_the_truth_may_stand_in_a_file_of_its_own(read: Callable, tmp_path: Path) -> None:
    truth = own().drop(columns="y_score").assign(sex="Male").sample(frac=1, random_state=0)
    truth.to_csv(tmp_path / "truth.csv", index=False)
    found = read(own()[["study_id", "y_score"]], truth=tmp_path / "truth.csv")
    assert found.table["y_true"].tolist() == own()["y_true"].tolist()
    assert set(found.table["sex"]) == {"Male"}
    assert found.truth_sha256 is not None
    fewer = own()[["study_id", "y_score"]][:-2]
    assert "2 of 12 studies have no score (2 without a row)" in refused(
        lambda: read(fewer, truth=tmp_path / "truth.csv")
    )
    more = pd.concat([own(), own()[:1].assign(study_id="STUDY-X")])[["study_id", "y_score"]]
    assert "1 of 13 studies are not in truth=" in refused(lambda: read(more, truth=tmp_path / "truth.csv"))


def test_a_challenge_submission_is_known_by_the_name_of_its_image(read: Callable, tmp_path: Path) -> None:
    columns = {
        "study_id": ["StudyInstanceUID", "fileNamePath"], "patient_id": ["patient_id", "study_id"],
        "y_true": ["mRALE Score"], "y_score": ["score"],
    }  # fmt: skip
    form = {"columns": columns, "study_id_pattern": r"(?:.*/)?(.+?)(?:\.dcm)?"}
    uids = [f"1.2.{n}" for n in range(NUM_STUDIES)]
    pd.DataFrame({"StudyInstanceUID": uids, "mRALE Score": np.arange(NUM_STUDIES)}).to_csv(
        tmp_path / "truth.csv", index=False
    )
    table = pd.DataFrame({"fileNamePath": [f"/in/{uid}.dcm" for uid in uids], "score": np.arange(NUM_STUDIES) + 1})
    found = read(table, "ordinal", form=form, truth=tmp_path / "truth.csv").table
    assert (found["y_score"] - found["y_true"]).tolist() == [1.0] * NUM_STUDIES
    assert found["patient_id"].nunique() == NUM_STUDIES


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"scores": "logits"}, "scores is 'logits'; it must be one of as_given, logit, rank"),
        ({"missing": "zero"}, "missing is 'zero'; it must be one of refuse, drop, worst"),
        ({"part": "holdout"}, "part is 'holdout'"),
        ({"labels": {"no": "0"}}, "labels gives no the value '0'"),
        ({"scale": {"slope": "a"}}, "scale.slope is 'a'"),
        ({"scale": {"slope": 0}}, "scale.slope is 0"),
        ({"scale": {"factor": 2}}, "scale.factor: there is no such setting"),
        ({"study_id_pattern": "("}, "no regular expression"),
        ({"study_id_pattern": r"\d+"}, "0 groups; one group is the id"),
        ({"columns": {"score": "a"}}, "columns.score: there is no such column"),
    ],
)
def test_a_form_that_means_nothing_is_refused(form: dict, words: str) -> None:
    assert words in refused(lambda: PredictionForm(**form))


def test_the_order_of_rows_changes_nothing(read: Callable, split: Path) -> None:
    shuffled = own().sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(read(shuffled, manifest=split).table, read(own(), manifest=split).table)
    assert read(shuffled).split_sha256 == read(own()).split_sha256


def test_what_is_exported_for_melody_is_read_back(read: Callable, tmp_path: Path) -> None:
    table = own().assign(y_true=np.arange(NUM_STUDIES), y_score=np.arange(NUM_STUDIES) + 0.5, sex=["F", "M"] * 6)
    found = read(table, "ordinal", form={"columns": {"patient_id": "study_id"}}).table
    truth, scores = export_melody(found, tmp_path, kind="ordinal", model="mine")
    assert pd.read_csv(truth).columns.tolist() == ["case_name", "truth", "sex"]
    assert pd.read_csv(scores)["mine"].tolist() == (np.arange(NUM_STUDIES) + 1).tolist()
    columns = {"study_id": "case_name", "patient_id": "case_name", "y_true": "truth", "y_score": "mine"}
    back = read_predictions(scores, task("ordinal"), form=PredictionForm(columns=columns), truth=truth).table
    pd.testing.assert_frame_equal(back.drop(columns="y_score"), found.drop(columns="y_score"))


def test_group_values_that_differ_in_capitals_alone_are_told(read: Callable) -> None:
    race = ["White", "white", "Black", "unknown"] * 3
    found = read(own().assign(race=race))
    assert [note for note in found.notes if note.startswith("race: 1 values differ from another in capital letters")]
    assert "Not Reported" in set(found.table["race"])
