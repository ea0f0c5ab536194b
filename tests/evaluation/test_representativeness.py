"""The Jensen-Shannon distance to a reference population: by hand, by SciPy, its coverage, and what is refused."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from midrc_ml.errors import InputError
from midrc_ml.evaluation.reference_population import ReferencePopulation, least_age, read_reference
from midrc_ml.evaluation.representativeness import (
    distance_by_chance,
    distance_limits,
    jensen_shannon_distance,
    representativeness_rows,
)


def people(**columns: list[str]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    table = pd.DataFrame({"patient_id": [f"p{number}" for number in range(count)]}).assign(
        sex="Not Reported", age_band="Not Reported", race="Not Reported", ethnicity="Not Reported"
    )
    return table.assign(**columns)


def table(folder: Path, *lines: str, header: str = "attribute,category,share") -> Path:
    path = folder / "reference.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_by_hand() -> None:
    # Shares (1, 0) and (1/2, 1/2), middle (3/4, 1/4): (log2(4/3) + (log2(2/3) + log2(2)) / 2) / 2 = 0.311278.
    assert jensen_shannon_distance([1, 0], [0.5, 0.5]) == pytest.approx(math.sqrt(0.31127812), abs=1e-8)
    assert jensen_shannon_distance([3, 0], [0, 7]) == 1
    assert jensen_shannon_distance([2, 4], [1, 2]) == 0
    assert math.isnan(jensen_shannon_distance([0, 0], [1, 2]))


@pytest.mark.parametrize("seed", range(4))
def test_it_is_scipy_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 50, (2, 6))
    expected = jensenshannon(counts[0], counts[1], base=2)
    assert jensen_shannon_distance(*counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("numbers", [([1, -1], [1, 1]), ([1, np.nan], [1, 1]), ([1, 1, 1], [1, 1])])
def test_what_is_no_distribution_is_refused(numbers: tuple[list[float], list[float]]) -> None:
    with pytest.raises(InputError, match="distributions"):
        jensen_shannon_distance(*numbers)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("num_patients", [60, 400])
def test_the_interval_covers(shift: float, num_patients: int) -> None:
    rng = np.random.default_rng(5)
    reference = np.array([0.62, 0.12, 0.06, 0.01, 0.002, 0.188])
    truth = (1 - shift) * reference + shift * np.array([0.02, 0.02, 0.02, 0.02, 0.02, 0.9])
    distance = jensen_shannon_distance(truth, reference)
    covered = 0
    for counts in rng.multinomial(num_patients, truth, 2000):
        low, high = distance_limits(jensen_shannon_distance(counts, reference), num_patients, 6)
        covered += low <= distance + 1e-12 and distance <= high + 1e-12
    assert 0.935 <= covered / 2000 <= 0.985  # of 2,000 a share of 95 % has a standard error of 0.5 %


def test_the_distance_by_chance_is_that_of_samples_of_the_reference() -> None:
    rng, reference = np.random.default_rng(6), np.array([0.4, 0.3, 0.2, 0.1])
    squares = [jensen_shannon_distance(counts, reference) ** 2 for counts in rng.multinomial(300, reference, 3000)]
    assert distance_by_chance(300, 4) == pytest.approx(math.sqrt(np.mean(squares)), rel=0.04)


def test_each_patient_counts_once_and_who_is_not_reported_is_left_out_and_counted() -> None:
    rows = people(sex=["Female"] * 3 + ["Male"] + ["Not Reported"] * 2)
    rows = pd.concat([rows, rows.iloc[:2]])  # two patients have two studies
    (row,) = representativeness_rows(rows, ReferencePopulation("census", {"sex": {"female": 0.5, "male": 0.5}}))
    assert (row["n_patients"], row["n_not_reported"]) == (4, 2)
    assert [one["share"] for one in row["categories"]] == [0.75, 0.25]
    assert row["value"] == pytest.approx(jensenshannon([3, 1], [1, 1], base=2))
    assert row["low"] == 0.0  # four patients


def test_bands_of_both_sides_are_joined_where_their_bounds_differ() -> None:
    rows = people(age_band=["18-29", "30-39", "40-49", "50-64", "85+", "0-17"])
    shares = {"0 - 17 years": 0.2, "18 to 49 years": 0.5, "50 to 64 years": 0.2, "65+ years": 0.1}
    (row,) = representativeness_rows(rows, ReferencePopulation("cdc", {"age_band": shares}))
    assert [one["category"] for one in row["categories"]] == ["0-17", "18-49", "50-64", "65+"]
    assert [round(one["share"], 3) for one in row["categories"]] == [0.167, 0.5, 0.167, 0.167]
    finer = {"<5": 0.1, "5-17": 0.1, "18-29": 0.3, "30-39": 0.2, "40+": 0.3}
    (row,) = representativeness_rows(rows, ReferencePopulation("own", {"age_band": finer}))
    assert [one["category"] for one in row["categories"]] == ["0-17", "18-29", "30-39", "40+"]
    assert [round(one["share_of_reference"], 3) for one in row["categories"]] == [0.2, 0.3, 0.2, 0.3]


def test_a_category_that_one_side_lacks_stays_and_has_no_share_there() -> None:
    rows = people(race=["White", "Asian", "Other"])
    (row,) = representativeness_rows(
        rows, ReferencePopulation("r", {"race": {"white": 0.5, "black or african american": 0.5}})
    )
    found = {one["category"]: (round(one["share"], 3), one["share_of_reference"]) for one in row["categories"]}
    assert found == {
        "asian": (0.333, 0),
        "black or african american": (0, 0.5),
        "other": (0.333, 0),
        "white": (0.333, 0.5),
    }


def test_race_and_ethnicity_together() -> None:
    rows = people(
        race=["White", "Asian", "White", "Not Reported", "White"],
        ethnicity=["Hispanic or Latino", "Not Hispanic or Latino", "Not Hispanic or Latino", "Not Hispanic or Latino",
                   "Not Reported"],
    )  # fmt: skip
    shares = {"hispanic or latino": 0.5, "white, Not Hispanic or Latino": 0.5}
    (row,) = representativeness_rows(rows, ReferencePopulation("r", {"race and ethnicity": shares}))
    assert (row["n_patients"], row["n_not_reported"]) == (3, 2)


def test_nobody_reported_is_said() -> None:
    (row,) = representativeness_rows(
        people(sex=["Not Reported"] * 3), ReferencePopulation("r", {"sex": {"female": 1.0}})
    )
    assert (row["value"], row["reason"]) == (None, "nobody's value is reported")


def test_a_table_is_read_with_its_own_names_and_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    path = table(
        tmp_path, "Sex,Female,30", "Sex,Male,10", "Sex,Not Reported,5", "Race,Black,1", "Race,White,3", "Zip,1,2",
        header="Attribute, Category ,count",
    )  # fmt: skip
    found = read_reference(path)
    assert found.shares == {
        "sex": {"female": 0.75, "male": 0.25},
        "race": {"black or african american": 0.25, "white": 0.75},
    }
    assert (found.name, found.skipped) == ("reference", ("Zip",))


def test_the_workbooks_of_react_are_read(midrc_ml_data: Path) -> None:
    census = read_reference(midrc_ml_data / "midrc" / "react" / "Census_all.xlsx")
    assert census.shares["sex"]["female"] == pytest.approx(0.5075)
    assert census.shares["race"]["black or african american"] == pytest.approx(0.12401354, abs=1e-6)
    assert census.shares["ethnicity"]["hispanic or latino"] == pytest.approx(0.18729877, abs=1e-6)
    batches = read_reference(midrc_ml_data / "midrc" / "react" / "MIDRC_Open_A1_and_R1_-_cumulative_by_batch.xlsx")
    last = pd.read_excel(
        midrc_ml_data / "midrc" / "react" / "MIDRC_Open_A1_and_R1_-_cumulative_by_batch.xlsx", sheet_name="Sex"
    ).iloc[-1]
    women, men = last["Female (CUSUM)"], last["Male (CUSUM)"]
    assert batches.shares["sex"]["female"] == pytest.approx(women / (women + men))
    assert "Covid-19 Positive" in batches.skipped


@pytest.mark.parametrize(
    ("lines", "header", "said"),
    [
        (["sex,Female,a", "sex,Male,1"], None, "sex, 'Female' has the share 'a'; it must be a number of at least 0"),
        (["sex,Female,-1", "sex,Male,1"], None, "has the share '-1'"),
        (["sex,Female,1"], None, "sex needs at least two categories"),
        (["sex,Female,0", "sex,Male,0"], None, "sex needs at least two categories, not all of them 0"),
        (["sex,Female,1", "sex,Female,1"], None, "sex, 'Female' stands there twice"),
        (["zip,1,1", "zip,2,1"], None, "reference.csv has zip; at least one of sex, age, race, ethnicity is needed"),
        (["Female,1"], "category,share", "has the columns category, share; it must have attribute, category and share"),
    ],
)
def test_a_table_that_cannot_be_one_is_refused(lines: list[str], header: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_reference(table(tmp_path, *lines, **({"header": header} if header else {})))
    assert said in str(caught.value)


def test_files_that_are_not_there_or_no_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_reference(tmp_path / "gone.csv")
    (tmp_path / "a.xlsx").write_bytes(b"no workbook")
    with pytest.raises(InputError, match=r"reference=a\.xlsx cannot be read as a table"):
        read_reference(tmp_path / "a.xlsx")


def test_an_age_band_without_a_number_is_refused() -> None:
    with pytest.raises(InputError, match="the age band 'old' is none that can be read"):
        representativeness_rows(
            people(age_band=["18-29"]), ReferencePopulation("r", {"age_band": {"18-29": 0.5, "old": 0.5}})
        )


@pytest.mark.parametrize(
    ("band", "least"),
    [
        ("18-29", 18),
        ("85+", 85),
        (">=65", 65),
        ("\u226565", 65),
        ("over 64", 65),
        ("65 and over", 65),
        ("<18", 0),
        ("under 5", 0),
    ],
)
def test_bands_are_read_in_all_their_spellings(band: str, least: int) -> None:
    assert least_age(band) == least


def test_what_nothing_can_be_said_of_has_no_distance_but_a_reason() -> None:
    rows = people(sex=["Female", "Male"], age_band=["18-29", "65-74"])
    other = ReferencePopulation("r", {"sex": {"woman": 0.5, "man": 0.5}, "age_band": {"0-40": 0.5, "41-90": 0.5}})
    sex, age = representativeness_rows(rows, other)
    assert (sex["value"], sex["reason"]) == (None, "no category is in both: are they named alike?")
    assert (age["value"], age["low"]) == (None, None)
    assert age["reason"].startswith("the bands of both sides have no bound in common")


def test_the_order_of_a_patient_s_studies_changes_nothing() -> None:
    rows = pd.concat([people(sex=["Not Reported"], age_band=["30-39"]), people(sex=["Male"], age_band=["18-29"])])
    reference = ReferencePopulation(
        "r", {"sex": {"male": 0.5, "female": 0.5}, "age_band": {"18-29": 0.5, "30-39": 0.5}}
    )
    first, turned = representativeness_rows(rows, reference), representativeness_rows(rows[::-1], reference)
    assert first == turned
    assert (first[0]["n_patients"], first[0]["n_not_reported"]) == (1, 0)
