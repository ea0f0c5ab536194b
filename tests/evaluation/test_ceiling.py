"""Readers and model side by side: published agreement of real readers, hand cases, and what is left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import cohen_kappa_score

from midrc_ml.cohorts.brixia import BrixiaCohort
from midrc_ml.cohorts.ralo import RaloCohort
from midrc_ml.evaluation.ceiling import (
    LEAST_STUDIES,
    MODEL_LABEL,
    MODEL_MINUS_READERS,
    MODEL_READER,
    READER_OTHERS,
    READER_READER,
    ceiling_rows,
)
from midrc_ml.evaluation.settings import Evaluation
from midrc_ml.tasks.readings import reading

FEW = Evaluation(num_draws=200)


def rows_of(ratings: np.ndarray, **settings: object) -> dict[tuple[str, str], dict]:
    kind = settings.pop("kind", "ordinal")
    patients = pd.Series([f"p{number}" for number in range(len(ratings))])
    found = ceiling_rows(pd.DataFrame(ratings), patients, kind=str(kind), evaluation=FEW, **settings)  # type: ignore[arg-type]
    return {(row["comparison"], row["metric"]): row for row in found}


def invented(readers: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 9, count).astype(float)
    return truth, np.clip(np.round(truth[:, None] + rng.normal(0, 1, (count, readers))), 0, 9)


def two_readers(cohort: object, name: str) -> np.ndarray:
    tables = cohort.read()  # type: ignore[attr-defined]
    names = sorted(set(tables.readings.loc[tables.readings["name"] == name, "reader"]))
    values = [reading(tables, tables.studies, name=name, readers=one)["label"].to_numpy(dtype=float) for one in names]
    both = np.stack(values, axis=1)
    return both[~np.isnan(both).any(axis=1)]


@pytest.mark.parametrize(("name", "mae", "kappa"), [("geographic_extent", 0.74, 0.894), ("opacity", 0.67, None)])
def test_ralo_s_two_readers_agree_as_measured_before(
    name: str, mae: float, kappa: float | None, midrc_ml_data: Path
) -> None:
    ratings = two_readers(RaloCohort(data_dir=str(midrc_ml_data)), name)
    assert len(ratings) == 2373
    found = rows_of(ratings)
    assert round(found[READER_READER, "mae"]["value"], 2) == mae
    assert kappa is None or round(found[READER_READER, "qwk"]["value"], 3) == kappa


def test_brixia_s_senior_and_junior_agree_as_published(midrc_ml_data: Path) -> None:
    # Signoroni et al.: of the 192 films QWK 0.855, r 0.868, MAE 1.94.
    table = pd.read_csv(midrc_ml_data / "brixia_severity" / "brixia_public_annotations.csv")
    ratings = table[["S-Global", "J-Global"]].to_numpy(dtype=float)
    assert len(ratings) == 192
    found = rows_of(ratings)
    assert round(found[READER_READER, "qwk"]["value"], 3) == 0.855
    assert round(found[READER_READER, "mae"]["value"], 2) == 1.94
    assert round(float(pearsonr(*ratings.T).statistic), 3) == 0.868
    ours = two_readers(BrixiaCohort(data_dir=str(midrc_ml_data)), "brixia_total")
    assert sorted(map(tuple, ours)) == sorted(map(tuple, ratings[:, ::-1]))  # junior comes before senior


def test_two_readers_are_compared_as_scikit_learn_does() -> None:
    _, ratings = invented(2)
    row = rows_of(ratings)[READER_READER, "qwk"]
    levels = list(range(10))
    expected = cohen_kappa_score(ratings[:, 0], ratings[:, 1], weights="quadratic", labels=levels)
    assert row["value"] == pytest.approx(expected, abs=1e-12)
    assert row["low"] < row["value"] < row["high"]
    assert (row["n"], row["num_pairs"], row["p_value"]) == (60, 1, None)


def test_of_three_readers_each_is_also_held_against_the_mean_of_the_others() -> None:
    _, ratings = invented(3)
    found = rows_of(ratings)
    pairs = [np.abs(ratings[:, i] - ratings[:, j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found[READER_READER, "mae"]["value"] == pytest.approx(np.mean(pairs))
    others = [np.abs(ratings[:, i] - np.delete(ratings, i, axis=1).mean(axis=1)).mean() for i in range(3)]
    assert found[READER_OTHERS, "mae"]["value"] == pytest.approx(np.mean(others))
    assert found[READER_OTHERS, "mae"]["num_pairs"] == 3


def test_a_model_is_held_against_each_reader_as_readers_are_against_each_other() -> None:
    truth, ratings = invented(2)
    label, called = ratings.mean(axis=1), truth + 0.25
    found = rows_of(ratings, label=label, called=called)
    of_readers = np.mean([np.abs(ratings[:, i] - called).mean() for i in (0, 1)])
    assert found[MODEL_READER, "mae"]["value"] == pytest.approx(of_readers)
    assert found[MODEL_LABEL, "mae"]["value"] == pytest.approx(np.abs(label - called).mean())
    change = found[MODEL_MINUS_READERS, "mae"]
    assert change["value"] == pytest.approx(of_readers - np.abs(ratings[:, 0] - ratings[:, 1]).mean())
    assert change["high"] < 0  # it knows the truth, of which each reader is one unit off
    assert change["p_value"] < 0.05


def test_a_reader_s_copy_looks_no_better_than_the_readers_allow() -> None:
    _, ratings = invented(2)
    found = rows_of(ratings, called=ratings[:, 0])
    # Against himself he is perfect, so the mean over both readers is half of the readers' own error.
    readers = found[READER_READER, "mae"]["value"]
    assert found[MODEL_READER, "mae"]["value"] == pytest.approx(readers / 2)


def test_studies_that_one_reader_read_do_not_count() -> None:
    truth, ratings = invented(2)
    ratings[40:, 1] = np.nan
    found = rows_of(ratings, label=truth, called=truth)
    assert {row["n"] for row in found.values()} == {40}
    assert found[READER_READER, "mae"]["value"] == pytest.approx(np.abs(ratings[:40, 0] - ratings[:40, 1]).mean())


def test_readers_with_too_few_studies_in_common_are_no_pair() -> None:
    _, ratings = invented(3)
    ratings[LEAST_STUDIES - 1 :, 2] = np.nan
    found = rows_of(ratings)
    assert found[READER_READER, "mae"]["num_pairs"] == 1
    ratings[LEAST_STUDIES - 1 :, 1] = np.nan
    assert rows_of(ratings) == {}


def test_classes_are_compared_by_kappa_and_the_others_by_their_majority() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 80)
    ratings = np.where(rng.random((80, 3)) < 0.7, truth[:, None], rng.integers(0, 3, (80, 3))).astype(float)
    found = rows_of(ratings, kind="multiclass", called=truth.astype(float))
    kappas = [cohen_kappa_score(ratings[:, i], ratings[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found[READER_READER, "cohen_kappa"]["value"] == pytest.approx(np.mean(kappas), abs=1e-12)
    shares = []
    for i in range(3):
        first, second = np.delete(ratings, i, axis=1).T
        agree = first == second  # a majority of two is both
        shares.append((first == ratings[:, i])[agree].mean())
    assert found[READER_OTHERS, "observed_agreement"]["value"] == pytest.approx(np.mean(shares), abs=1e-12)
    assert found[MODEL_READER, "cohen_kappa"]["value"] > found[READER_READER, "cohen_kappa"]["value"]


def test_ratings_that_are_all_the_same_say_why_there_is_no_value() -> None:
    row = rows_of(np.full((30, 2), 3.0))[READER_READER, "icc_2_1"]
    assert (row["value"], row["low"]) == (None, None)
    assert row["reason"] == "all ratings are the same, or those of a reader"


def test_row_order_changes_nothing() -> None:
    truth, ratings = invented(3)
    patients = pd.Series([f"p{number // 2:02d}" for number in range(60)])
    order = np.random.default_rng(2).permutation(60)
    one = ceiling_rows(pd.DataFrame(ratings), patients, kind="ordinal", evaluation=FEW, called=truth)
    other = ceiling_rows(
        pd.DataFrame(ratings[order]), patients.iloc[order], kind="ordinal", evaluation=FEW, called=truth[order]
    )
    for first, second in zip(one, other, strict=True):
        for name in ("value", "low", "high", "p_value"):
            assert first[name] == pytest.approx(second[name], abs=1e-12) or first[name] is second[name] is None
