import pandas as pd
import pytest
from example_studies import one_study_each, parts_of, studies_of

from midrc_ml.errors import InputError
from midrc_ml.splits.by_site import LeaveOneSiteOut

# p1 was seen at both sites, under two case ids.
TWO_SITES = pd.DataFrame(
    {
        "patient_id": ["p0", "p1", "p1", "p2", "p3", "p4"],
        "case_id": ["p0", "p1", "RICORD-p1", "p2", "p3", "p4"],
        "study_id": list("abcdef"),
        "site": ["A", "A", "B", "B", "B", "B"],
        "label": [0.0, 1.0, 1.0, 0.0, 1.0, 0.0],
    }
)


def test_the_test_part_is_the_site_and_nobody_of_it_is_elsewhere() -> None:
    studies = studies_of(90)
    part = LeaveOneSiteOut(site="B").assign(studies)["part"]
    assert ((part == "test") == (studies["site"] == "B")).all()


def test_the_validation_part_is_its_share_of_the_other_patients_in_each_stratum() -> None:
    studies = one_study_each(site=["A"] * 20 + ["B"] * 80, label=[0.0, 0.0, 0.0, 1.0] * 25)
    others = LeaveOneSiteOut(site="A", validation=0.2, stratify=["label"]).assign(studies)[20:]
    for label, count in ((0.0, 60), (1.0, 20)):
        rows = others[others["label"] == label]
        assert len(rows) == count
        assert abs((rows["part"] == "validation").sum() - 0.2 * count) < 1


def test_folds_go_over_the_sorted_sites() -> None:
    studies = studies_of(60)
    for fold, site in enumerate(["A", "B", "C"]):
        by_fold = LeaveOneSiteOut(fold=fold).assign(studies)
        assert by_fold["part"].equals(LeaveOneSiteOut(site=site).assign(studies)["part"])


def test_a_site_may_be_written_as_a_number() -> None:
    studies = studies_of(60).replace({"site": {"A": "419639"}})
    by_number, by_text = LeaveOneSiteOut(site=419639), LeaveOneSiteOut(site="419639")
    assert parts_of(by_number, studies) == parts_of(by_text, studies)
    assert by_number.query == by_text.query


@pytest.mark.parametrize("column", ["project", "manufacturer"])
def test_another_column_may_stand_for_the_site(column: str) -> None:
    studies = studies_of(60).rename(columns={"site": column}).assign(site="all the same")
    part = LeaveOneSiteOut(site="C", column=column).assign(studies)["part"]
    assert ((part == "test") == (studies[column] == "C")).all()


def test_a_patient_seen_at_two_sites_is_refused_and_counted() -> None:
    for site in ("A", "B"):
        with pytest.raises(InputError, match=r"1 patients of the test site have studies elsewhere too.*seen_at_two"):
            LeaveOneSiteOut(site=site, stratify=[]).assign(TWO_SITES)


def test_by_rule_all_studies_of_a_patient_seen_at_two_sites_are_in_test() -> None:
    assigned = LeaveOneSiteOut(site="A", seen_at_two="test", stratify=[]).assign(TWO_SITES)
    assert assigned.loc[assigned["part"] == "test", "study_id"].tolist() == ["a", "b", "c"]


def test_a_patient_seen_at_two_sites_of_which_neither_is_the_test_one_is_no_matter() -> None:
    studies = pd.concat(
        [TWO_SITES, TWO_SITES.tail(2).assign(site="C", patient_id="p9", case_id="p9", study_id=["g", "h"])]
    )
    part = LeaveOneSiteOut(site="C", stratify=[]).assign(studies)["part"]
    assert (part == "test").sum() == 2


@pytest.mark.parametrize("blank", ["Not Reported", None])
def test_a_study_without_a_site_goes_by_the_named_rule(blank: str | None) -> None:
    studies = studies_of(60)
    studies["site"] = studies["site"].mask(studies["patient_id"].isin(["p1", "p2"]), blank)
    blanks = studies["patient_id"].isin(["p1", "p2"])
    with pytest.raises(InputError, match=f"{blanks.sum()} studies have none recorded.*split.unknown=leave_out"):
        LeaveOneSiteOut(site="A").assign(studies)
    kept = LeaveOneSiteOut(site="A", unknown="leave_out").assign(studies)
    assert sorted(kept["study_id"]) == sorted(studies.loc[~blanks, "study_id"])
    assert LeaveOneSiteOut.left_out == "site not recorded"
    trained = LeaveOneSiteOut(site="A", unknown="train", stratify=["label"]).assign(studies)
    assert len(trained) == len(studies)
    assert not (trained.loc[blanks, "part"] == "test").any()


def test_a_site_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(InputError, match=r"split.site is 'D', which no study has; there are A, B, C"):
        LeaveOneSiteOut(site="D").assign(studies_of(30))


def test_a_site_that_is_not_named_is_refused_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"split.site is not set; .* A, B, C, or split.fold=0 to 2"):
        LeaveOneSiteOut().assign(studies_of(30))


def test_a_fold_beyond_the_last_site_is_refused() -> None:
    with pytest.raises(InputError, match=r"split.fold is 3, but there are 3 \(0 to 2\): A, B, C"):
        LeaveOneSiteOut(fold=3).assign(studies_of(30))


def test_one_site_alone_is_refused() -> None:
    studies = studies_of(30)
    with pytest.raises(InputError, match=r"split.column=site needs two or more to leave one out; the studies have A"):
        LeaveOneSiteOut(site="A").assign(studies[studies["site"] == "A"])


def test_a_test_site_that_saw_every_patient_is_refused() -> None:
    studies = TWO_SITES[TWO_SITES["patient_id"].isin(["p0", "p1"])]
    with pytest.raises(InputError, match="all patients were seen at the test site; nothing is left to train on"):
        LeaveOneSiteOut(site="A", seen_at_two="test").assign(studies)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"site": "A", "fold": 0}, "split.site is 'A' and split.fold is 0; give one of them"),
        ({"site": 1.5}, "split.site is 1.5; it must be a text or a whole number"),
        ({"fold": -1}, "split.fold is -1; it must be at least 0"),
        ({"column": "zip"}, "split.column is 'zip'; it must be one of site, project, manufacturer"),
        ({"seen_at_two": "train"}, "split.seen_at_two is 'train'; it must be one of refuse, test"),
        ({"unknown": "test"}, "split.unknown is 'test'; it must be one of refuse, train, leave_out"),
        ({"validation": 0}, "split.validation is 0; it must be above 0 and below 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        LeaveOneSiteOut(**wrong)


def test_a_column_that_the_cohort_has_not_is_refused() -> None:
    with pytest.raises(InputError, match=r"split.column is project, which the studies do not have; columns are"):
        LeaveOneSiteOut(site="A", column="project").assign(studies_of(30))
