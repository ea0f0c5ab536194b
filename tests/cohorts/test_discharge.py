"""Words of discharge, by site."""

import pandas as pd
import pytest
from midrc_export import words

from midrc_ml.cohorts.discharge import DischargeWords
from midrc_ml.errors import InputError


def outcomes(vocabulary: dict | None, *pairs: tuple[str | None, str | None]) -> list[str]:
    site, word = (pd.Series(values, dtype="str") for values in zip(*pairs, strict=True))
    return DischargeWords(vocabulary).outcomes(word, site).fillna("missing").tolist()


def test_a_sites_own_words_go_before_the_default() -> None:
    vocabulary = {
        "default": {"died": ["Expired"], "alive": ["Home"], "unclear": ["Hospice"]},
        "100": {"died": ["Hospice"], "unclear": ["Home"]},
    }
    assert outcomes(vocabulary, ("200", "Hospice"), ("100", "Hospice"), ("100", "Home"), ("100", "Expired")) == [
        "unclear",
        "died",
        "unclear",
        "died",
    ]


def test_case_and_blanks_make_no_difference_and_nothing_else_is_guessed() -> None:
    vocabulary = {"default": {"died": ["Expired in  Facility"], "alive": ["Home"]}}
    pairs = [("1", "EXPIRED in facility "), (None, " home"), ("1", "Homeless shelter"), ("1", "07"), ("1", None)]
    assert outcomes(vocabulary, *pairs) == ["died", "alive", "missing", "missing", "missing"]


def test_site_ids_of_a_yaml_may_be_numbers() -> None:
    assert outcomes({302028: {"alive": [7]}}, ("302028", "7")) == ["alive"]


def test_without_a_vocabulary_no_word_is_known() -> None:
    assert outcomes(None, ("1", "Deceased")) == ["missing"]


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"default": {"dead": ["Expired"]}}, r"cohort.discharge.default is .* died, alive, unclear"),
        ({"default": ["Expired"]}, r"cohort.discharge.default is \['Expired'\]"),
        ({"100": {"died": "Expired"}}, r"cohort.discharge.100.died is 'Expired'; it must be a list of words"),
        ({"100": {"died": ["Gone"], "alive": ["gone "]}}, r"cohort.discharge.100 lists 'gone ' as died and as alive"),
    ],
)
def test_a_vocabulary_of_another_form_is_refused(vocabulary: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DischargeWords(vocabulary)


def test_hospice_is_alive_at_the_university_of_michigan_and_unclear_elsewhere() -> None:
    shipped = words("discharge")
    assert outcomes(shipped, ("302028", "Hospice/Home"), ("100", "Hospice/Home")) == ["alive", "unclear"]
    assert outcomes(shipped, ("302028", "Deceased"), ("100", "Expired")) == ["died", "died"]


# The values of UMich (midrc-data.md 1.6), as they are spelled there.
@pytest.mark.parametrize(
    "word",
    [
        "Home or Self Care",
        "Home-Health Care Svc",
        "Long Term Care",
        "Acute/Inpatient Rehab Facility",
        "Subacute Rehab/Skilled Nursing Facility",
        "Hospice/Home",
        "Hospice/Medical Facility",
        "Left Against Medical Advice",
        "Intermediate Care Facility",
        "Court/Law Enforcement",
        "Short Term Hospital",
    ],
)
def test_the_words_of_the_university_of_michigan_are_discharges_alive(word: str) -> None:
    assert outcomes(words("discharge"), ("302028", word)) == ["alive"]
