"""Hidden cells are looked for as whoever wants them would: by solving the equations of what is told."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from midrc_ml.audits.privacy.suppression import (
    shareable_gaps,
    shareable_groups,
    shareable_metrics,
    small_groups_entry,
)
from midrc_ml.audits.privacy.suppression_cells import hidden_sizes, without_small_counts

Row = dict[str, Any]
NR = "Not Reported"


def row(value: str, n: int, n_positive: Any, *, column: str = "sex", metric: str = "auroc", **other: Any) -> Row:
    told = {"part": "test", "group": {"column": column, "value": value}, "metric": metric, "value": 0.75}
    return told | {"low": 0.5, "high": 1.0, "n": n, "n_positive": n_positive, "method": "draws", "reason": None} | other


def total(n: int, n_positive: Any, metric: str = "auroc") -> Row:
    return {key: value for key, value in row("", n, n_positive, metric=metric).items() if key != "group"}


def told(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, Any]]:
    return {row["group"]["value"]: (row["n"], row["n_positive"]) for row in rows}


def test_a_small_group_and_the_next_smallest_are_hidden() -> None:
    groups = [row("Female", 40, 20), row("Male", 50, 25), row("Other", 60, 30), row(NR, 4, 0)]
    shared = shareable_groups([total(154, 75)], groups)
    assert told(shared) == {"Female": (None, None), "Male": (50, 25), "Other": (60, 30), NR: (None, None)}
    hidden = [row for row in shared if row["n"] is None]
    assert {(row["value"], row["low"], row["high"]) for row in hidden} == {(None, None, None)}
    assert len({row["reason"] for row in hidden}) == 1, "the reason tells which of them is the small one"


def test_groups_without_a_small_count_are_shared_as_they_are() -> None:
    groups = [row("Female", 40, 20), row("Male", 50, 25)]
    assert shareable_groups([total(90, 45)], groups) == groups


def test_none_at_all_is_a_count_that_may_be_shared() -> None:
    groups = [row("Female", 40, 0), row("Male", 50, 25)]
    assert shareable_groups([total(90, 25)], groups) == groups


@pytest.mark.parametrize("n_positive", [3, 37])
def test_few_positives_and_few_negatives_are_hidden_with_the_ratios_that_tell_them(n_positive: int) -> None:
    names = ("auroc", "sensitivity", "brier_loss")
    groups = [row("Female", 40, n_positive, metric=name) for name in names]
    groups += [row("Male", 50, 25, metric=name) for name in names]
    groups += [row("Other", 60, 30, metric=name) for name in names]
    shared = shareable_groups([total(150, 55 + n_positive)], groups)
    assert told(shared) == {"Female": (40, None), "Male": (50, None), "Other": (60, 30)}
    values = {row["metric"]: row["value"] for row in shared if row["group"]["value"] == "Female"}
    assert values == {"auroc": None, "sensitivity": None, "brier_loss": 0.75}


def test_what_is_hidden_is_together_no_small_count() -> None:
    assert hidden_sizes({"a": 1, "b": 2, "c": 30, "d": 40}) == {"a", "b", "c"}
    assert hidden_sizes({"a": 5, "b": 6, "c": 30}) == {"a", "b"}
    assert hidden_sizes({"a": 30, "b": 40}) == set()


def test_a_column_of_which_everything_would_be_known_is_left_out() -> None:
    groups = [row(str(number), 1, 0) for number in range(12)]
    assert shareable_groups([total(12, 0)], groups) == []


def test_a_small_part_shares_no_number() -> None:
    assert shareable_groups([total(9, 4)], [row("Female", 4, 2), row("Male", 5, 2)]) == []
    (shared,) = shareable_metrics([total(9, 4)])
    assert [shared[name] for name in ("n", "n_positive", "value", "low", "high")] == [None] * 5


def test_where_the_part_has_few_positives_no_group_tells_its_own() -> None:
    groups = [row("Female", 40, 0), row("Male", 50, 6)]
    assert told(shareable_groups([total(90, 6)], groups)) == {"Female": (40, None), "Male": (50, None)}
    (shared,) = shareable_metrics([total(90, 6)])
    assert (shared["n"], shared["n_positive"], shared["value"]) == (90, None, None)


def test_a_group_of_few_patients_with_many_studies_is_hidden() -> None:
    groups = [row("a", 40, 20, column="site"), row("b", 50, 25, column="site"), row("c", 60, 30, column="site")]
    shared = shareable_groups([total(150, 75)], groups, num_patients={("test", "site", "c"): 8})
    assert told(shared) == {"a": (None, None), "b": (50, 25), "c": (None, None)}


def test_an_intersection_is_left_out_whole_where_a_cell_or_a_margin_is_hidden() -> None:
    sexes = [row("Female", 40, 20), row("Male", 50, 25)]
    views = [row("AP", 45, 20, column="view"), row("PA", 45, 25, column="view")]
    cells = [row(f"{sex} x {view}", 26, 13, column="sex x view") for sex, view in itertools.product("FM", "AP")]
    assert len(shareable_groups([total(90, 45)], sexes + views + cells)) == 8
    cells[0] |= {"n": 9}
    assert {row["group"]["column"] for row in shareable_groups([total(90, 45)], sexes + views + cells)} == {
        "sex",
        "view",
    }


def test_classes_are_hidden_as_labels_are() -> None:
    groups = [
        row("Female", 40, {"a": 20, "b": 20}),
        row("Male", 50, {"a": 45, "b": 5}),
        row(NR, 60, {"a": 30, "b": 30}),
    ]
    shared = shareable_groups([total(150, {"a": 95, "b": 55})], groups)
    assert told(shared) == {"Female": (40, None), "Male": (50, None), NR: (60, {"a": 30, "b": 30})}


def test_a_task_without_labels_to_count_hides_sizes_only() -> None:
    groups = [row("Female", 40, None, metric="mae"), row("Male", 50, None, metric="mae")]
    assert shareable_groups([total(90, None, "mae")], groups) == groups


def test_gaps_of_hidden_groups_are_left_out() -> None:
    groups = [row("Female", 40, 3), row("Male", 50, 25), row("Other", 60, 30), row("None", 70, 35), row(NR, 4, 0)]
    shared = shareable_groups([total(224, 93)], groups)
    known = {"part": "test", "column": "sex", "quantity": "gap_to_reference", "value": 0.1, "num_patients": 4}
    gaps = [
        known | {"metric": metric, "group": group, "reference": reference, "n": 1, "reason": "it rests on 4 patients"}
        for metric in ("sensitivity", "brier_loss")
        for group, reference in (("Female", "None"), (NR, "None"), ("Other", "None"), ("None", None))
    ]
    kept = shareable_gaps(gaps, shared)
    assert {(gap["metric"], gap["group"]) for gap in kept} == {
        (metric, group) for metric in ("sensitivity", "brier_loss") for group in ("Other", "None")
    }
    assert {gap["num_patients"] for gap in kept} == {None}
    assert {gap["reason"] for gap in kept} == {"it rests on fewer than 11 patients"}


@pytest.mark.parametrize(
    ("said", "shared"),
    [
        ("it rests on 3 patients, and needs 5", "it rests on fewer than 11 patients, and needs 5"),
        ("it rests on 30 patients", "it rests on 30 patients"),
        ("2 of 40 studies are positive", "some of 40 studies are positive"),
        ("38 of 40 studies are positive", "some of 40 studies are positive"),
        ("0 of 40 studies are positive", "0 of 40 studies are positive"),
        ("90 of 1000 bootstrap draws have no value", "90 of 1000 bootstrap draws have no value"),
        ("3 of the files are gone", "fewer than 11 of the files are gone"),
        ("within 7 days", "within 7 days"),
        ("1.5 cases, PS3.15 of 2 cases", "1.5 cases, PS3.15 of fewer than 11 cases"),
    ],
)
def test_sentences_tell_no_small_count(said: str, shared: str) -> None:
    assert without_small_counts(said) == shared


def test_the_entry_counts_what_is_hidden_and_fails_on_what_is_left() -> None:
    groups = [row("Female", 40, 20), row("Male", 50, 25), row(NR, 4, 0)]
    shared = shareable_groups([total(94, 45)], groups)
    entry = small_groups_entry(groups, shared)
    assert (entry.check, entry.status, entry.value) == ("privacy.small_groups", "pass", 1.0)
    assert list(entry.details) == [{"part": "test", "groups": 3, "small": 1, "hidden": 2}]
    assert small_groups_entry(groups, groups).status == "fail"
    assert small_groups_entry([], []).status == "not_applicable"


class Published:
    """Atoms (sex, view, label) of a table, and equations of what is told of them."""

    def __init__(self, counts: np.ndarray) -> None:
        self.counts = counts
        self.equations: list[np.ndarray] = []
        self._found: tuple[int, np.ndarray] | None = None

    def tell(self, members: np.ndarray) -> None:
        self.equations.append(members.ravel().astype(float))

    def recomputable(self, members: np.ndarray) -> bool:
        """Whether a sum over these atoms follows from the equations: whether it is one of their combinations."""
        wanted = members.ravel().astype(float)
        basis = self._basis()
        return bool(np.allclose(basis.T @ (basis @ wanted), wanted, atol=1e-8))

    def _basis(self) -> np.ndarray:
        """Orthonormal rows that span the equations."""
        if self._found is None or self._found[0] != len(self.equations):
            _, sizes, rows = np.linalg.svd(np.array(self.equations), full_matrices=False)
            self._found = len(self.equations), rows[sizes > 1e-9]
        return self._found[1]

    def width(self, members: np.ndarray) -> float:
        """How far apart the least and the largest value are that the sum can have, where no count is negative."""
        wanted = members.ravel().astype(float)
        told = np.array(self.equations)
        given = {"A_eq": told, "b_eq": told @ self.counts.ravel(), "method": "highs"}
        return -linprog(-wanted, **given).fun - linprog(wanted, **given).fun


def masks(counts: np.ndarray, *, sexes: list[str], views: list[str]) -> dict[tuple[str, str], np.ndarray]:
    """The atoms of each group of sex, view and their intersection, where one that is not reported is of no cell."""
    groups: dict[tuple[str, str], np.ndarray] = {}
    for place, sex in enumerate(sexes):
        groups["sex", sex] = np.zeros_like(counts, dtype=bool)
        groups["sex", sex][place] = True
    for place, view in enumerate(views):
        groups["view", view] = np.zeros_like(counts, dtype=bool)
        groups["view", view][:, place] = True
    for sex, view in itertools.product(sexes, views):
        name = NR if NR in (sex, view) else f"{sex} x {view}"
        before = groups.get(("sex x view", name), np.zeros_like(counts, dtype=bool))
        groups["sex x view", name] = before | (groups["sex", sex] & groups["view", view])
    return {key: members for key, members in groups.items() if counts[members].sum()}


def random_table(seed: int) -> tuple[np.ndarray, dict[tuple[str, str], np.ndarray], list[Row], list[Row]]:
    rng = np.random.default_rng(seed)
    # Where everybody's value is reported, cells add up to their margins.
    names = [[f"{letter}{i}" for i in range(rng.integers(2, 5))] + [NR] * int(rng.integers(2)) for letter in "sv"]
    sexes, views = names
    shape = (len(sexes), len(views), 2)
    counts = rng.poisson(rng.choice([0.5, 3, 12, 40], size=shape, p=rng.dirichlet([0.3, 0.3, 1, 2])))
    groups = masks(counts, sexes=sexes, views=views)
    rows = [
        row(value, int(counts[members].sum()), int((counts * members)[..., 1].sum()), column=column)
        for (column, value), members in groups.items()
    ]
    return counts, groups, [total(int(counts.sum()), int(counts[..., 1].sum()))], rows


def published(counts: np.ndarray, groups: Mapping[tuple[str, str], np.ndarray], totals: Any, shared: Any) -> Published:
    everyone = np.ones_like(counts, dtype=bool)
    of_label = np.zeros_like(everyone)
    of_label[..., 1] = True
    found = Published(counts)
    for told_row, members in [(totals[0], everyone)] + [
        (one, groups[one["group"]["column"], one["group"]["value"]]) for one in shared
    ]:
        if told_row["n"] is not None:
            found.tell(members)
        if told_row["n_positive"] is not None:
            found.tell(members & of_label)
    return found


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_no_small_count_can_be_recomputed_from_groups_and_totals(first: int) -> None:
    num_small = num_shown = 0
    for seed in range(first, first + 50):
        counts, groups, totals, rows = random_table(seed)
        shared = shareable_groups(totals, rows)
        num_shown += sum(row["n"] is not None for row in shared)
        attacker = published(counts, groups, shareable_metrics(totals), shared)
        if not attacker.equations:
            continue
        for members in groups.values():
            label = np.zeros_like(members)
            label[..., 1] = True
            for cell in (members, members & label, members & ~label):
                if 0 < counts[cell].sum() < 11:
                    num_small += 1
                    assert not attacker.recomputable(cell), f"seed {seed}"
                    if seed % 10 == 0:
                        assert attacker.width(cell) >= 1, f"seed {seed}"
    assert num_small > 150
    assert num_shown > 50


def test_the_attacker_finds_what_is_hidden_without_a_second_one() -> None:
    counts = np.array([[[20, 20]], [[30, 20]], [[3, 1]]])
    groups = masks(counts, sexes=["a", "b", NR], views=["v"])
    shared = [row("a", 40, 20), row("b", 50, 20)]
    assert published(counts, groups, [total(94, 41)], shared).recomputable(groups["sex", NR])


def test_shared_rows_are_json() -> None:
    _, _, totals, rows = random_table(3)
    json.dumps([shareable_groups(totals, rows), shareable_metrics(totals)], allow_nan=False)
