import pandas as pd
import pytest
from example_studies import one_study_each, parts_of, studies_of

from midrc_ml.errors import InputError
from midrc_ml.splits.temporal import Temporal

# Ten patients in four batches; 1, 3, 6 and 10 of them arrived in the last one, two, three and four.
DATES = ["20200807"] * 4 + ["20210115"] * 3 + ["20220301"] * 2 + ["20230210"]


def ten(**columns: object) -> pd.DataFrame:
    return one_study_each(**{"arrival_date": DATES, **columns})


def in_part(split: Temporal, studies: pd.DataFrame, part: str) -> list[str]:
    return sorted(name for name, found in parts_of(split, studies).items() if found == part)


def test_the_test_part_is_who_first_arrived_on_the_day_or_later() -> None:
    for begin in ("20220301", 20220301, "20210116"):
        assert in_part(Temporal(test_from=begin, stratify=[]), ten(), "test") == ["p07", "p08", "p09"]


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.1, 1), (0.19, 1), (0.21, 3), (0.25, 3), (0.44, 3), (0.46, 6), (0.9, 6), (0.01, 1)],
)
def test_a_share_is_cut_at_the_nearest_batch_date_and_no_batch_is_cut(share: float, expected: int) -> None:
    assert len(in_part(Temporal(test=share, stratify=[]), ten(), "test")) == expected


def test_of_two_cuts_as_near_the_smaller_test_part_is_taken() -> None:
    assert in_part(Temporal(test=0.2, stratify=[]), ten(), "test") == ["p09"]  # 0.1 and 0.3 are as near


def test_without_a_share_or_a_day_the_latest_quarter_is_the_test_part() -> None:
    assert parts_of(Temporal(stratify=[]), ten()) == parts_of(Temporal(test=0.25, stratify=[]), ten())
    assert Temporal().query == Temporal(test=0.25).query


@pytest.mark.parametrize("seed", range(3))
def test_no_batch_is_in_test_and_elsewhere(seed: int) -> None:
    studies = studies_of(150, seed=seed)
    split = Temporal(test=0.35, seed=seed).assign(studies)
    first = split.groupby("patient_id")["arrival_date"].transform("min")
    assert first[split["part"] == "test"].min() > first[split["part"] != "test"].max()


def test_a_patient_known_under_two_ids_arrived_with_the_earlier_batch() -> None:
    studies = ten()
    alias = studies.tail(1).assign(patient_id="p00", case_id="RICORD-p00", study_id="again")
    both = pd.concat([studies, alias], ignore_index=True)
    assigned = Temporal(test_from="20220301", stratify=[]).assign(both)
    assert set(assigned.loc[assigned["patient_id"] == "p00", "part"]) <= {"train", "validation"}
    assert "p09" in set(assigned.loc[assigned["part"] == "test", "patient_id"])


def test_the_validation_part_is_dealt_among_the_earlier_patients_by_stratum() -> None:
    studies = one_study_each(arrival_date=["20200807"] * 100 + ["20220301"] * 20, label=[0.0, 1.0, 1.0, 1.0] * 30)
    earlier = Temporal(test=0.2, validation=0.2, stratify=["label"]).assign(studies)[:100]
    for label, count in ((0.0, 25), (1.0, 75)):
        assert abs((earlier.loc[earlier["label"] == label, "part"] == "validation").sum() - 0.2 * count) < 1


def test_by_date_the_validation_part_is_the_latest_of_the_earlier_patients() -> None:
    split = Temporal(test_from="20220301", validation=0.3, validation_by="date")
    assert in_part(split, ten(), "validation") == ["p04", "p05", "p06"]
    assert in_part(split, ten(), "train") == ["p00", "p01", "p02", "p03"]


def test_undated_patients_go_by_the_named_rule() -> None:
    studies = ten(arrival_date=[*DATES[:9], None])
    with pytest.raises(InputError, match=r"1 patients have no arrival_date; choose split.undated=train or"):
        Temporal().assign(studies)
    kept = Temporal(test_from="20220301", undated="leave_out", stratify=[]).assign(studies)
    assert sorted(kept["study_id"]) == [f"p{i:02}" for i in range(9)]
    assert Temporal.left_out == "no arrival date"
    for by in ("random", "date"):
        split = Temporal(test_from="20220301", undated="train", validation=0.3, validation_by=by, stratify=[])
        parts = parts_of(split, studies)
        assert parts["p09"] == "train"
        assert sorted(name for name, part in parts.items() if part == "test") == ["p07", "p08"]


def test_a_patient_with_one_dated_and_one_undated_id_is_dated() -> None:
    studies = pd.concat([ten(), ten().tail(1).assign(study_id="again", arrival_date=None)], ignore_index=True)
    assert in_part(Temporal(test=0.1, stratify=[]), studies, "test") == ["p09"]


def test_the_notes_say_where_the_test_part_begins_and_how_many_are_undated() -> None:
    studies = ten(arrival_date=[None, *DATES[1:]])
    assert Temporal(test=0.3, undated="train").notes(studies) == [
        "the test part is the 3 of 9 dated patients whose first batch is of 20220301 or later",
        "1 patients have no arrival_date: split.undated is train",
    ]


@pytest.mark.parametrize(
    ("dates", "settings", "words"),
    [
        (["2022-03-01"] * 10, {}, r"arrival_date must be YYYYMMDD; that of 10 patients is not \(e.g. '2022-03-01'\)"),
        ([*DATES[:9], "20221301"], {}, r"that of 1 patients is not \(e.g. '20221301'\)"),
        ([None] * 10, {"undated": "train"}, "no patient has an arrival_date; choose another split"),
        (["20220301"] * 10, {}, "all dated patients arrived on 20220301; a split in time needs two batch dates"),
        (DATES, {"test_from": "20230211"}, "no patient arrived on or after it; batches are of 20200807 to 20230210"),
        (DATES, {"test_from": "20200807"}, "no patient arrived before it; batches are of 20200807 to 20230210"),
        (
            DATES,
            {"test_from": "20210115", "validation_by": "date"},
            "split.validation_by is date, but all patients before the test part arrived on 20200807",
        ),
    ],
)
def test_dates_that_cannot_be_split_are_refused(dates: list, settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Temporal(**settings).assign(ten(arrival_date=dates))


def test_a_cohort_without_arrival_dates_is_refused() -> None:
    with pytest.raises(InputError, match="goes by is arrival_date, which the studies do not have"):
        Temporal().assign(studies_of(10).drop(columns="arrival_date"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"test_from": "2022-03-01"}, "split.test_from is '2022-03-01'; it must be a date as YYYYMMDD"),
        ({"test_from": 202203}, "split.test_from is 202203; it must be a date as YYYYMMDD"),
        ({"test_from": "20220230"}, "split.test_from is '20220230'; it must be a date"),
        ({"test_from": "20220301", "test": 0.2}, "split.test_from is 20220301 and split.test is 0.2; give one of them"),
        ({"test": 1.5}, "split.test is 1.5; it must be above 0 and below 1"),
        ({"validation": 1}, "split.validation is 1; it must be above 0 and below 1"),
        ({"validation_by": "site"}, "split.validation_by is 'site'; it must be one of random, date"),
        ({"undated": "test"}, "split.undated is 'test'; it must be one of refuse, train, leave_out"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Temporal(**wrong)
