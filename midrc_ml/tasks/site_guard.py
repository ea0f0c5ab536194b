"""A site whose label never varies where others' do does not record it: its labels are missing, not negative."""

from dataclasses import dataclass

import pandas as pd

from midrc_ml.cohorts.selection import NOT_REPORTED

MIN_CASES = 50
ALPHA = 0.001


@dataclass(frozen=True)
class ConstantSite:
    """A site with one and the same label for all its cases, and how likely that is at the other sites' rate."""

    site: str
    value: int
    num_cases: int
    others_rate: float
    p_value: float

    def __str__(self) -> str:
        return (
            f"site {self.site}: the label is {self.value} for all {self.num_cases} cases where other sites have "
            f"{self.others_rate:.0%} positive (binomial p = {self.p_value:.1g}): not recorded there, labels set missing"
        )


def constant_sites(studies: pd.DataFrame) -> list[ConstantSite]:
    """Sites whose 0/1 `label` is the same for every case (at least 50), with binomial p < 0.001 at the others' rate.

    The others are those that are not found themselves: a large site that records nothing would hide a smaller one.
    studies: columns site, case_id, label (0, 1 or missing). A case is positive where any of its studies is.
    """
    known = studies[studies["label"].notna() & studies["site"].notna() & (studies["site"] != NOT_REPORTED)]
    by_case = known.groupby(["site", "case_id"])["label"].agg(["max", "min"])
    by_site = by_case.groupby(level="site").agg(n=("max", "size"), positive=("max", "sum"), all_positive=("min", "min"))
    found: list[ConstantSite] = []
    while more := _found_among(by_site.drop(index=[constant.site for constant in found])):
        found += more
    return sorted(found, key=lambda constant: constant.site)


def _found_among(by_site: pd.DataFrame) -> list[ConstantSite]:
    found = []
    for site, row in by_site.iterrows():
        others = by_site.drop(index=site)
        total = int(others["n"].sum())
        rate = float(others["positive"].sum() / total) if total else 0.0
        n = int(row["n"])
        is_constant = row["positive"] == 0 or (row["positive"] == n and row["all_positive"] == 1)
        if n < MIN_CASES or not is_constant or not 0 < rate < 1:
            continue
        value = int(row["positive"] > 0)
        p_value = rate**n if value else (1 - rate) ** n
        if p_value < ALPHA:
            found.append(ConstantSite(str(site), value, n, rate, p_value))
    return found
