"""The cases and studies of an export, each once, however many projects hold a copy of it."""

import re
from collections.abc import Mapping

import pandas as pd

from midrc_ml.cohorts.contradictions import Contradiction
from midrc_ml.cohorts.midrc_lists import joined, per_distinct
from midrc_ml.cohorts.midrc_patients import one_case_each, site_of
from midrc_ml.tables.checks import parse_list
from midrc_ml.tables.schemas import AGE_OVER_89, CASE_FLAGS

_BATCH_DATE = re.compile(r"(\d{8})$")
_NOT_REPORTED = "Not Reported"
_YEARS_APART = 1.0  # copies in two projects may have been dated differently: 76.00 and 75.76 were seen
_DAYS_IN_YEAR = 365.25
_YEARS_OFF = 2.0  # whole years at both ends, and a study without a day
_ANSWERS = ("sex", "race", "ethnicity")


def read_cases(
    node: pd.DataFrame, ranks: Mapping[str, int], notes: list[str]
) -> tuple[pd.DataFrame, list[Contradiction]]:
    """The cases table without patients, and the cases whose copies in several projects contradict each other."""
    over_89 = node["age_at_index_gt89"] == "Yes"
    both = int((over_89 & (node["age_at_index"] < AGE_OVER_89 - 1)).sum())
    if both:
        notes.append(f"case: {both} rows have an age below 89 and are marked as over 89; the mark is believed")
    copies = pd.DataFrame(
        {
            "case_id": node["submitter_id"],
            "project": node["project_id"],
            "site": node["site_id"].fillna(site_of(node["submitter_id"])),
            **{name: node[name] for name in _ANSWERS},
            "age": node["age_at_index"].mask(over_89, AGE_OVER_89),
            "age_over_89": over_89,
            "covid_ever": _yes_no(node["covid19_positive"]),
            "icu_ever": node["icu_indicator"],
            "ventilated_ever": node["ventilator_indicator"],
            "long_covid": _true_where(node["long_covid_diagnosis"] == "Positive"),
            "arrival_date": per_distinct(node["datasets.submitter_id"], _first_batch),
        }
    )
    repeated = copies["case_id"].duplicated(keep=False)
    if not repeated.any():
        return copies, []
    several = _in_order(copies[repeated], ranks)
    wrong = _disagreeing(several, "case_id")
    for name in _ANSWERS:  # an answer that was not reported is a gap like any other
        several[name] = several[name].mask(several[name] == _NOT_REPORTED)
    by_case = several.groupby("case_id", sort=True)
    merged = by_case.first()
    merged["arrival_date"] = by_case["arrival_date"].min()
    merged["age_over_89"] = by_case["age_over_89"].any()
    asked = copies[repeated].groupby("case_id")[list(_ANSWERS)].agg(lambda answers: answers.notna().any())
    for name in _ANSWERS:
        merged[name] = merged[name].mask(merged[name].isna() & asked[name], _NOT_REPORTED)
    cases = pd.concat([copies[~repeated], merged.reset_index()], ignore_index=True)
    what = "cases stand in several projects with another sex, flag or age"
    return cases, [Contradiction(len(wrong), what, frozenset(wrong))]


def note_odd_ages(cases: pd.DataFrame, studies: pd.DataFrame, notes: list[str]) -> None:
    """Count the studies whose age is not that of their case plus the days between; none is changed."""
    of_case = cases.set_index("case_id")[["age", "age_over_89"]].reindex(studies["case_id"]).set_axis(studies.index)
    apart = studies["age"] - (of_case["age"] + studies["day"].fillna(0) / _DAYS_IN_YEAR)
    apart = apart.mask(of_case["age_over_89"].eq(True) | (studies["age"] >= AGE_OVER_89))
    odd = int((apart.abs() > _YEARS_OFF).sum())
    if odd:
        notes.append(
            f"imaging_study: {odd} studies have an age_at_imaging more than {_YEARS_OFF:g} years from their case's "
            f"age_at_index and the days between; both are kept as they are"
        )


def study_copies(
    node: pd.DataFrame, known_cases: pd.Series, ranks: Mapping[str, int], notes: list[str]
) -> tuple[pd.DataFrame, list[tuple[str, ...]]]:
    """Each row of the imaging_study node with its one case, and the groups of ids that the rows name as one person.

    Columns are those of the studies table, with project, submitter_id, object_id and the days to tests. A row that
    names several cases is under the first one that `known_cases` holds; copies of a study stand in the order of
    `ranks`.
    """
    case_id, groups = one_case_each("imaging_study", node["case_ids"], known_cases, notes)
    over_89 = node["age_at_imaging_gt89"] == "Yes"
    copies = pd.DataFrame(
        {
            "study_id": node["study_uid"],
            "case_id": case_id,
            "project": node["project_id"],
            "submitter_id": node["submitter_id"],
            "object_id": node["object_id"],
            "modality": per_distinct(node["study_modality"], _sorted_items),
            "description": node["study_description"],
            "body_part": per_distinct(node["body_part_examined"], _sorted_items),
            "loinc": node["loinc_code"],
            "loinc_method": node["loinc_method"],
            "loinc_system": node["loinc_system"],
            "day": node["days_to_study"],
            "age": node["age_at_imaging"].mask(over_89, AGE_OVER_89),
            "year": node["study_year"],
            "to_positive": node["days_from_study_to_pos_covid_test"],
            "to_negative": node["days_from_study_to_neg_covid_test"],
        }
    ).dropna(subset="case_id")
    repeated = copies["study_id"].duplicated(keep=False)
    if repeated.any():
        together = _in_order(copies[repeated], ranks)
        groups += [tuple(ids) for ids in together.groupby("study_id")["case_id"].unique() if len(ids) > 1]
        copies = pd.concat([copies[~repeated], together], ignore_index=True)
    return copies, groups


def one_study_each(
    copies: pd.DataFrame, cases: pd.DataFrame, differently_read: frozenset[str], notes: list[str]
) -> tuple[pd.DataFrame, list[Contradiction]]:
    """The studies table, and the cases of copies that contradict each other.

    The first copy is kept; what it leaves blank is filled from the others, its day only from one of the same case,
    because each case has its own timeline. differently_read: studies whose copies have other readings.
    """
    repeated = copies["study_id"].duplicated(keep=False)
    if not repeated.any() and not differently_read:
        return copies, []
    several = copies[repeated].reset_index(drop=True)
    first_case = several.groupby("study_id")["case_id"].transform("first")
    several["day"] = several["day"].where(several["case_id"] == first_case)
    merged = several.groupby("study_id", sort=True).first().reset_index()
    again = len(several) - len(merged)
    if again:
        notes.append(
            f"imaging_study: {again} rows are further copies of a study, in another project or case; each is kept once"
        )
    known_flags = [name for name in CASE_FLAGS if name in cases]
    flags = cases.set_index("case_id")[known_flags].reindex(several["case_id"]).reset_index(drop=True)
    # Days are compared on the timeline that the copies share.
    days = copies[repeated].groupby(["study_id", "case_id"])["day"].nunique()
    wrong = set(_disagreeing(pd.concat([several, flags], axis=1), "study_id")) | set(differently_read)
    wrong |= set(days[days > 1].index.get_level_values("study_id"))
    what = "studies have copies with another day, age, flag of the case, or reading"
    of_wrong = frozenset(copies.loc[copies["study_id"].isin(wrong), "case_id"])
    studies = pd.concat([copies[~repeated], merged], ignore_index=True)
    return studies, [Contradiction(len(wrong), what, of_wrong)]


def _disagreeing(copies: pd.DataFrame, key: str) -> list[str]:
    """The keys whose copies have Female and Male, a flag both True and False, or ages more than a year apart."""
    by_key = copies.groupby(key)
    ages = by_key["age"].agg(["min", "max"])
    wrong = set(ages.index[ages["max"] - ages["min"] > _YEARS_APART])
    if "sex" in copies:
        sexes = copies.loc[copies["sex"].isin(["Female", "Male"])].groupby(key)["sex"].nunique()
        wrong |= set(sexes.index[sexes > 1])
    for name in CASE_FLAGS:
        if name in copies:
            states = copies.dropna(subset=name).groupby(key)[name].nunique()
            wrong |= set(states.index[states > 1])
    return sorted(wrong)


def _in_order(copies: pd.DataFrame, ranks: Mapping[str, int]) -> pd.DataFrame:
    """Copies in the order in which they are believed; the order of the files makes no difference."""
    rank = copies["project"].map(ranks).fillna(len(ranks))
    ordered = copies.assign(_rank=rank).sort_values(["_rank", *copies.columns], na_position="last")
    return ordered.drop(columns="_rank").reset_index(drop=True)


def _yes_no(answers: pd.Series) -> pd.Series:
    return _true_where(answers == "Yes").mask(answers == "No", False)


def _true_where(holds: pd.Series) -> pd.Series:
    """True or missing."""
    return pd.Series(pd.NA, index=holds.index, dtype="boolean").mask(holds, True)


def _first_batch(names: str) -> str | None:
    """The first date of the batches (`<ACR|RSNA>_YYYYMMDD`) that a case came with."""
    dates = [match.group(1) for name in parse_list(names) if (match := _BATCH_DATE.search(name))]
    return min(dates, default=None)


def _sorted_items(cell: str) -> str | None:
    return joined(sorted(set(parse_list(cell))))
