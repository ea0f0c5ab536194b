import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from midrc_ml.tasks.site_guard import constant_sites


def studies_of(**sites: tuple[int, int]) -> pd.DataFrame:
    """One study a case; site: (positive cases, all cases)."""
    rows = [
        {"site": site, "case_id": f"{site}-{i}", "label": float(i < positive)}
        for site, (positive, count) in sites.items()
        for i in range(count)
    ]
    return pd.DataFrame(rows)


def names(studies: pd.DataFrame) -> list[str]:
    return [found.site for found in constant_sites(studies)]


@pytest.mark.parametrize(("positive", "count"), [(30, 100), (150, 1_000), (14, 100)])
def test_the_p_value_of_no_positive_case_is_the_binomial_one(positive: int, count: int) -> None:
    (found,) = constant_sites(studies_of(A=(positive, count), B=(0, 60)))
    assert (found.site, found.value, found.num_cases, found.others_rate) == ("B", 0, 60, positive / count)
    assert found.p_value == pytest.approx(binom.pmf(0, 60, positive / count), rel=1e-9)


def test_the_p_value_of_positive_cases_alone_is_the_binomial_one() -> None:
    (found,) = constant_sites(studies_of(A=(80, 100), B=(50, 50)))
    assert (found.site, found.value) == ("B", 1)
    assert found.p_value == pytest.approx(binom.pmf(50, 50, 0.8), rel=1e-9)


@pytest.mark.parametrize("count", [50, 60, 80, 120])
@pytest.mark.parametrize("rate", [0.05, 0.08, 0.1, 0.13, 0.3])
def test_a_site_is_found_exactly_where_the_binomial_p_is_below_one_in_a_thousand(count: int, rate: float) -> None:
    expected = ["B"] if binom.pmf(0, count, rate) < 0.001 else []
    assert names(studies_of(A=(round(100 * rate), 100), B=(0, count))) == expected


def test_cases_without_a_site_are_no_site() -> None:
    assert names(studies_of(**{"A": (30, 100), "Not Reported": (0, 60)})) == []


def test_fewer_than_50_cases_are_never_called_constant() -> None:
    assert names(studies_of(A=(50, 100), B=(0, 49))) == []
    assert names(studies_of(A=(50, 100), B=(0, 50))) == ["B"]


def test_one_case_that_differs_is_variation() -> None:
    assert names(studies_of(A=(50, 100), B=(1, 200))) == []
    assert names(studies_of(A=(50, 100), B=(199, 200))) == []


def test_studies_of_a_case_are_one_case() -> None:
    few = studies_of(A=(50, 100), B=(0, 20))
    assert names(pd.concat([few] * 5, ignore_index=True)) == []


def test_a_case_with_a_positive_and_a_negative_study_is_variation() -> None:
    studies = studies_of(A=(50, 100), B=(60, 60))
    mixed = pd.DataFrame([{"site": "B", "case_id": "B-0", "label": 0.0}])
    assert names(studies) == ["B"]
    assert names(pd.concat([studies, mixed], ignore_index=True)) == []


def test_missing_labels_count_for_nothing() -> None:
    studies = studies_of(A=(50, 100), B=(0, 60))
    studies.loc[studies["site"].eq("B") & (np.arange(len(studies)) % 2 == 0), "label"] = np.nan
    assert names(studies) == []


def test_nothing_is_found_where_there_is_no_other_site_or_nobody_varies() -> None:
    assert names(studies_of(A=(0, 100))) == []
    assert names(studies_of(A=(0, 100), B=(0, 100))) == []
    assert names(studies_of(A=(100, 100), B=(100, 100))) == []
    assert names(studies_of(A=(50, 100)).iloc[:0]) == []


def test_two_constant_sites_are_both_found_at_the_rate_of_the_others_together() -> None:
    found = {site.site: site for site in constant_sites(studies_of(A=(60, 100), B=(0, 60), C=(0, 100)))}
    assert sorted(found) == ["B", "C"]
    assert found["B"].others_rate == 60 / 200
    assert found["C"].p_value == pytest.approx(binom.pmf(0, 100, 60 / 160), rel=1e-9)


def test_the_sentence_names_site_value_count_and_rate() -> None:
    (found,) = constant_sites(studies_of(A=(30, 100), B=(0, 60)))
    assert str(found).startswith("site B: the label is 0 for all 60 cases where other sites have 30% positive")


def test_a_large_site_that_records_nothing_hides_no_smaller_one() -> None:
    """With B among the others their rate is 30 / 5060, at which 60 cases without the event are no surprise."""
    assert binom.pmf(0, 60, 30 / 5060) > 0.5
    assert names(studies_of(A=(0, 60), B=(0, 5000), C=(30, 60))) == ["A", "B"]
