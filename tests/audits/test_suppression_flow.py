"""What may be shared of a cohort's flow; hidden counts are looked for by solving the equations of what is told."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from midrc_ml.audits.privacy.suppression import shareable_flow, small_groups_entry
from midrc_ml.audits.privacy.suppression_flow import NOT_SHARED, OTHER_REASONS, OTHER_SITES, small_counts
from midrc_ml.cohorts.flow import CohortFlow

Flow = dict[str, Any]


def flow_of(left: dict[str, int], excluded: list[dict[str, dict[str, int]]], *, per_case: int = 1) -> Flow:
    """A flow from what is left at each site at its end, and what each step excluded: [{reason: {site: n}}]."""
    rows = [{"site": site, "step": len(excluded), "reason": None} for site, n in left.items() for _ in range(n)]
    for place, reasons in enumerate(excluded):
        rows += [
            {"site": site, "step": place, "reason": reason}
            for reason, by_site in reasons.items()
            for site, n in by_site.items()
            for _ in range(n)
        ]
    frame = pd.DataFrame(rows, columns=["site", "step", "reason"])
    frame["case_id"] = frame.groupby("site").cumcount().floordiv(per_case).astype(str) + frame["site"].astype(str)
    frame["label"] = (np.arange(len(frame)) % 2).astype(float)
    flow = CohortFlow(origin="made up")
    for place in range(len(excluded)):
        frame = flow.step(f"step {place}", frame, frame["reason"].where(frame["step"] == place))
    flow.count_labels(frame, kind="binary")
    return flow.as_dict()


def told(flow: Flow) -> list[tuple[Any, ...]]:
    return [
        (step["step"], step["n_in"], step["n_out"], {row["reason"]: row["n"] for row in step["excluded"]})
        for step in flow["steps"]
    ]


def test_a_flow_without_small_counts_is_shared_as_it_is() -> None:
    flow = flow_of({"a": 100, "b": 50}, [{"no image": {"a": 20, "b": 30}}, {}, {"too young": {"a": 40}}])
    shared = shareable_flow(flow)
    assert shared.pop("not_shared") == []
    assert shared == flow


def test_a_step_that_excludes_few_is_joined_with_the_next() -> None:
    flow = flow_of({"a": 100}, [{"no image": {"a": 20}}, {"too young": {"a": 3}}, {}, {"not at risk": {"a": 40}}])
    assert told(shareable_flow(flow)) == [
        ("step 0", 163, 143, {"no image": 20}),
        ("step 1; step 2; step 3", 143, 100, {OTHER_REASONS: 43}),
    ]


def test_a_last_step_that_excludes_few_is_joined_with_the_one_before() -> None:
    flow = flow_of({"a": 100}, [{"no image": {"a": 20}}, {}, {"too young": {"a": 3}}])
    assert told(shareable_flow(flow)) == [("step 0; step 1; step 2", 123, 100, {OTHER_REASONS: 23})]


def test_small_reasons_are_pooled_with_the_next_smallest() -> None:
    flow = flow_of({"a": 100}, [{"x": {"a": 3}, "y": {"a": 4}, "z": {"a": 20}, "w": {"a": 30}}])
    assert told(shareable_flow(flow)) == [("step 0", 157, 100, {OTHER_REASONS: 27, "w": 30})]


def test_a_flow_that_excludes_few_in_all_does_not_say_from_how_many() -> None:
    flow = flow_of({"a": 100}, [{"x": {"a": 3}}, {}]) | {"tables": {"rows": {"studies": 103}}}
    shared = shareable_flow(flow)
    (step,) = shared["steps"]
    assert (step["n_in"], step["n_out"], step["excluded"]) == (None, 100, None)
    assert shared["tables"] == NOT_SHARED


def test_small_sites_are_pooled_in_steps_and_labels_alike() -> None:
    flow = flow_of({"a": 100, "b": 40, "c": 5}, [{"x": {"a": 30, "b": 20}}])
    shared = shareable_flow(flow)
    assert shared["steps"][0]["by_site_out"] == {"a": 100, OTHER_SITES: 45}
    assert [(row["site"], row["n"], row["n_cases"]) for row in shared["labels_by_site"]] == [
        ("a", 100, 100),
        (OTHER_SITES, 45, 45),
    ]


def test_few_cases_between_two_steps_are_not_told() -> None:
    flow = flow_of({"a": 400}, [{"x": {"a": 20}}, {"y": {"a": 40}}], per_case=10)
    # 46 cases go in; 40 are left at the end, and 44 between: all three cannot be told.
    assert [step["n_cases_out"] for step in flow["steps"]] == [44, 40]
    assert [step["n_cases_out"] for step in shareable_flow(flow)["steps"]] == [None, 40]


def test_few_labels_at_a_site_are_not_told() -> None:
    flow = flow_of({"a": 100, "b": 60, "c": 40}, [{}])
    for row, n_positive in zip(flow["labels_by_site"], (50, 3, 20), strict=True):
        row["n_positive"] = n_positive
    assert [row["n_positive"] for row in shareable_flow(flow)["labels_by_site"]] == [50, None, None]


def test_steps_that_could_not_be_taken_stay() -> None:
    flow = flow_of({"a": 100}, [{"x": {"a": 20}}])
    flow["steps"].append({"step": "of the chest", "unit": "study", "not_applicable": "no body part", "excluded": []})
    assert shareable_flow(flow)["steps"] == flow["steps"]


def test_a_flow_of_few_studies_shares_nothing() -> None:
    shared = shareable_flow(flow_of({"a": 7}, [{"x": {"a": 20}}]))
    assert set(shared) == {"origin", "unit", "not_shared"}


def test_other_tables_lose_the_part_that_holds_a_small_count() -> None:
    tables = {"rows": {"studies": 123, "series": 456}, "ages": {"over 89": 3, "blank": 20}}
    groups = [{"group": "Female", "n": 40, "effective_positive": 9.5}]
    missing = [{"column": "sex", "n": 95, "share": 0.95}]
    shares = [{"attribute": "sex", "n_patients": 100, "categories": [{"share": 0.04}, {"share": 0.96}]}]
    more = {"tables": tables, "power": {"family": 3, "groups": groups}, "missing": missing, "represented": shares}
    shared = shareable_flow(flow_of({"a": 100}, [{"x": {"a": 20}}]) | more)
    assert shared["tables"] == {"rows": tables["rows"], "ages": NOT_SHARED}
    assert shared["power"] == {"family": 3, "groups": NOT_SHARED}
    assert shared["missing"] == shared["represented"] == NOT_SHARED
    assert set(shared["not_shared"]) == {"tables.ages", "power.groups", "missing", "represented"}


def test_how_many_are_not_reported_is_no_way_to_the_size_of_a_pooled_group() -> None:
    flow = flow_of({"a": 100}, [{}])
    rows = [{"sex": sex, "n": n, "n_cases": n, "n_positive": 0} for sex, n in (("Female", 80), ("Male", 4), ("-", 16))]
    flow |= {
        "labels_by": {"sex": rows},
        "missing": [{"column": name, "n": 16, "share": 0.16} for name in ("sex", "race")],
    }
    shared = shareable_flow(flow)
    assert [(row["sex"], row["n"]) for row in shared["labels_by"]["sex"]] == [("Female", 80), ("other groups", 20)]
    assert [row["column"] for row in shared["missing"]] == ["race"]


def test_notes_tell_no_small_count() -> None:
    flow = flow_of({"a": 100}, [{}]) | {"notes": ["3 cases have no site", "30 cases have no age"]}
    assert shareable_flow(flow)["notes"] == ["fewer than 11 cases have no site", "30 cases have no age"]


def test_the_entry_looks_at_the_flow_that_is_to_be_shared() -> None:
    flow = flow_of({"a": 100}, [{"x": {"a": 3}, "y": {"a": 30}}])
    assert small_groups_entry([], [], flow_shared=flow).status == "fail"
    assert small_groups_entry([], [], flow_shared=shareable_flow(flow)).status == "pass"


def random_flow(seed: int) -> tuple[Flow, dict[str, int], list[dict[str, dict[str, int]]]]:
    rng = np.random.default_rng(seed)
    sites = [f"site {i}" for i in range(rng.integers(1, 5))]

    def counts(sizes: list[float]) -> dict[str, int]:
        found = {site: int(rng.poisson(rng.choice(sizes))) for site in sites}
        return {site: n for site, n in found.items() if n}

    left = counts([0, 6, 60])
    excluded = [
        {f"{step}-{i}": counts([0, 1, 6, 30]) for i in range(rng.integers(0, 4))} for step in range(rng.integers(1, 6))
    ]
    excluded = [{reason: by_site for reason, by_site in reasons.items() if by_site} for reasons in excluded]
    return flow_of(left, excluded, per_case=int(rng.integers(1, 3))), left, excluded


class Attacker:
    """Unknown: what each step excluded of each site for each reason, and what is left of each site."""

    def __init__(self, left: dict[str, int], excluded: list[dict[str, dict[str, int]]]) -> None:
        sites = sorted(set(left) | {site for reasons in excluded for by_site in reasons.values() for site in by_site})
        self.sites, self.steps = sites, len(excluded)
        self.atoms = [(self.steps, "", site) for site in sites]
        self.atoms += [(step, why, site) for step, reasons in enumerate(excluded) for why in reasons for site in sites]
        at, why, site = zip(*self.atoms, strict=True) if self.atoms else ([], [], [])
        self.at, self.why, self.site = np.array(at), np.array(why), np.array(site)
        self.equations: list[np.ndarray] = []
        self._found: tuple[int, np.ndarray] | None = None

    def sum_of(self, *, steps: range, reasons: set[str] | None = None, sites: set[str] | None = None) -> np.ndarray:
        members = (self.at >= steps.start) & (self.at < steps.stop)
        for column, names in ((self.why, reasons), (self.site, sites)):
            if names is not None:
                members &= np.isin(column, list(names))
        return members.astype(float)

    def learn(self, shared: Flow) -> None:
        named = [row["site"] for row in shared.get("labels_by_site", [])]
        told = [step for step in shared["steps"] if step["by_site_out"] is not None]
        named += [site for step in told for site in step["by_site_out"]]
        named += [site for step in shared["steps"] for row in step["excluded"] or [] for site in row["by_site"] or {}]
        pool = set(self.sites) - set(named) if OTHER_SITES in named else set()
        position = 0
        for step in shared["steps"]:
            end = position + len(step["step"].split("; "))
            within, behind = range(position, end), range(end, self.steps + 1)
            if step["n_in"] is not None:
                self.equations.append(self.sum_of(steps=range(position, self.steps + 1)))
            self.equations.append(self.sum_of(steps=behind))
            self._by_site(step["by_site_out"], pool, steps=behind)
            reasons = {why for at, why, _ in self.atoms if at in within}
            others = reasons - {row["reason"] for row in step["excluded"] or []}
            for row in step["excluded"] or []:
                of_row = others if row["reason"] == OTHER_REASONS else {row["reason"]}
                self.equations.append(self.sum_of(steps=within, reasons=of_row))
                self._by_site(row["by_site"], pool, steps=within, reasons=of_row)
            position = end
        for row in shared.get("labels_by_site", []):
            members = pool if row["site"] == OTHER_SITES else {row["site"]}
            self.equations.append(self.sum_of(steps=range(self.steps, self.steps + 1), sites=members))

    def _by_site(self, counts: dict[str, int] | None, pool: set[str], **which: Any) -> None:
        for site in self.sites if counts is not None else ():
            if site not in pool:
                self.equations.append(self.sum_of(**which, sites={site}))  # one that is not named has none
        if counts is not None and pool:
            self.equations.append(self.sum_of(**which, sites=pool))

    def recomputable(self, wanted: np.ndarray) -> bool:
        basis = self._basis()
        return bool(np.allclose(basis.T @ (basis @ wanted), wanted, atol=1e-8))

    def _basis(self) -> np.ndarray:
        """Orthonormal rows that span the equations."""
        if self._found is None or self._found[0] != len(self.equations):
            _, sizes, rows = np.linalg.svd(np.array(self.equations), full_matrices=False)
            self._found = len(self.equations), rows[sizes > 1e-9]
        return self._found[1]


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_no_small_count_of_a_flow_can_be_recomputed(first: int) -> None:
    num_small = num_told = 0
    for seed in range(first, first + 25):
        flow, left, excluded = random_flow(seed)
        shared = shareable_flow(flow)
        assert small_counts(shared) == [], f"seed {seed}"
        if "steps" not in shared:
            continue
        attacker = Attacker(left, excluded)
        attacker.learn(shared)
        values = np.array(
            [(left if why == "" else excluded[step][why]).get(site, 0) for step, why, site in attacker.atoms]
        )
        num_told += sum(step["by_site_out"] is not None for step in shared["steps"])
        steps = range(attacker.steps + 1)
        cells = [{"steps": range(a, b)} for a, b in itertools.combinations(range(attacker.steps + 2), 2)]
        cells += [{"steps": steps, "reasons": {why}} for _, why, _ in attacker.atoms]
        sited = [cell | {"sites": {site}} for cell in cells for site in attacker.sites]
        for cell in cells + sited:
            wanted = attacker.sum_of(**cell)
            if 0 < wanted @ values < 11:
                num_small += 1
                assert not attacker.recomputable(wanted), f"seed {seed}: {cell}"
    assert num_small > 50
    assert num_told > 10


def test_the_attacker_finds_what_a_hidden_step_excludes() -> None:
    flow, left, excluded = flow_of({"a": 50}, [{"x": {"a": 5}}]), {"a": 50}, [{"x": {"a": 5}}]
    attacker = Attacker(left, excluded)
    attacker.learn(flow)
    assert attacker.recomputable(attacker.sum_of(steps=range(1)))
    assert Counter(small_counts(flow)) == {"n": 1, "a": 1}
