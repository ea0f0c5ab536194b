from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from planted_copies import FAULTS, PlantedCopies, as_cached, plant

from midrc_ml.audits.films.near_duplicates import Chosen, near_duplicates
from midrc_ml.audits.films.pair_figure import draw_pairs
from midrc_ml.cohorts.demo_films import draw_film
from midrc_ml.cohorts.demo_patients import SITES, invent_patients

SIZE = 64
NUM_FILMS = 40
COPIES = 200


@dataclass(frozen=True)
class Films:
    films: np.ndarray

    @property
    def record_shape(self) -> tuple[int, ...]:
        return self.films.shape[1:]

    def __len__(self) -> int:
        return len(self.films)

    def gather(self, indices: np.ndarray) -> np.ndarray:
        return self.films[indices]


def drawn(number: int) -> np.ndarray:
    """A film of a person of its own, 8 bits."""
    film = draw_film(1.5, shape=(160, 144), anatomy_seed=number, film_seed=number)
    return np.round(255 * film).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [drawn(number) for number in range(NUM_FILMS)]


@pytest.fixture(scope="module")
def films(pictures: list[np.ndarray]) -> np.ndarray:
    return np.stack([as_cached(picture, size=SIZE) for picture in pictures])


def joined(pairs: pd.DataFrame) -> set[tuple[int, int]]:
    return set(zip(pairs["first"].tolist(), pairs["second"].tolist(), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_copy_is_found_whatever_was_done_to_it(fault: str, pictures: list[np.ndarray], films: np.ndarray) -> None:
    sources = (3, 17, 31)
    rng = np.random.default_rng(5)
    copies = [as_cached(FAULTS[fault](pictures[source], rng), size=SIZE) for source in sources]
    pairs = near_duplicates(Films(np.concatenate([films, copies])))
    assert joined(pairs) == {(source, NUM_FILMS + place) for place, source in enumerate(sources)}
    assert set(pairs["relation"]) <= {"near duplicate", "same pixels"}
    assert pairs["similarity"].between(0.8, 1).all()


def test_films_of_different_people_are_not_joined(films: np.ndarray) -> None:
    pairs = near_duplicates(Films(films))
    assert pairs.empty
    assert list(pairs.columns) == ["first", "second", "similarity", "relation", "how"]


def test_it_says_how_a_copy_differs(pictures: list[np.ndarray], films: np.ndarray) -> None:
    source = pictures[7]
    rows, columns = source.shape
    cut = source[: round(rows * 0.8), round(columns * 0.1) :]
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), 4, 1)
    turned = cv2.warpAffine(pictures[9], matrix, (columns, rows), borderMode=cv2.BORDER_REPLICATE)
    copies = [as_cached(copy, size=SIZE) for copy in (cut, turned, 255 - pictures[11])]
    pairs = near_duplicates(Films(np.concatenate([films, copies]))).set_index("second")
    assert pairs.loc[NUM_FILMS, "how"].startswith("cropped to ")
    shares = [int(word) for word in pairs.loc[NUM_FILMS, "how"].split(",")[0].split() if word.isdigit()]
    assert shares == pytest.approx([80, 90], abs=2)
    assert "turned by 4 degrees" in pairs.loc[NUM_FILMS + 1, "how"]
    assert "inverted" in pairs.loc[NUM_FILMS + 2, "how"]


def test_films_of_the_same_pixels_are_each_paired_with_the_first(films: np.ndarray) -> None:
    pairs = near_duplicates(Films(films[[4, 0, 4, 1, 4, 2, 3]]))
    assert joined(pairs) == {(0, 2), (0, 4)}
    assert pairs["relation"].eq("same pixels").all()
    assert pairs["similarity"].eq(1.0).all()


def test_a_film_that_is_there_a_thousand_times_makes_999_pairs(films: np.ndarray) -> None:
    pairs = near_duplicates(Films(np.repeat(films[:1], 1000, axis=0)))
    assert joined(pairs) == {(0, later) for later in range(1, 1000)}


def test_flat_films_are_joined_by_their_pixels_alone() -> None:
    levels = [np.full((SIZE, SIZE), level, np.uint8) for level in (0, 10, 10, 200)]
    ramp = np.tile(np.arange(SIZE, dtype=np.uint8) // 16, (SIZE, 1))
    assert joined(near_duplicates(Films(np.stack([*levels, ramp])))) == {(1, 2)}


def test_between_two_cohorts_only_pairs_of_both_are_given(pictures: list[np.ndarray], films: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    crop = as_cached(FAULTS["crop"](pictures[5], rng), size=SIZE)
    first = np.concatenate([films[:20], films[3:4]])  # 3 is there twice
    second = np.concatenate([films[20:], [films[3], crop]])
    pairs = near_duplicates(Films(first), others=Films(second))
    assert joined(pairs) == {(3, 20), (20, 20), (5, 21)}
    turned = near_duplicates(Films(second), others=Films(first))
    assert joined(turned) == {(there, here) for here, there in joined(pairs)}


def test_the_order_of_films_changes_nothing(pictures: list[np.ndarray], films: np.ndarray) -> None:
    copies = plant(pictures, size=SIZE, count=8, faults_each=1, seed=3)
    every = np.concatenate([films, copies.films])
    order = np.random.default_rng(0).permutation(len(every))
    straight, mixed = near_duplicates(Films(every)), near_duplicates(Films(every[order]))
    back = np.sort(np.stack([order[mixed["first"]], order[mixed["second"]]]), axis=0)
    assert set(zip(*back.tolist(), mixed["similarity"], strict=True)) == set(
        zip(straight["first"], straight["second"], straight["similarity"], strict=True)
    )


@pytest.mark.parametrize("cores", [1, 3])
def test_the_number_of_cores_changes_nothing(
    cores: int, pictures: list[np.ndarray], films: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = plant(pictures, size=SIZE, count=6, faults_each=1, seed=4)
    every = Films(np.concatenate([films, copies.films]))
    before = near_duplicates(every)
    monkeypatch.setattr("midrc_ml.audits.films.blocks.num_threads", lambda: cores)
    pd.testing.assert_frame_equal(near_duplicates(every), before)


@pytest.mark.parametrize("size", [32, 100])
def test_films_of_other_sizes_are_compared(size: int, pictures: list[np.ndarray]) -> None:
    films = [as_cached(picture, size=size) for picture in pictures[:20]]
    copy = as_cached(pictures[6][8:150, 4:140], size=size)
    assert joined(near_duplicates(Films(np.stack([*films, copy])))) == {(6, 20)}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_films_are_no_pair(count: int, films: np.ndarray) -> None:
    assert near_duplicates(Films(films[:count])).empty


def test_two_films_alone_are_joined_where_one_is_a_copy(pictures: list[np.ndarray], films: np.ndarray) -> None:
    copy = as_cached(pictures[0][10:150, 5:140], size=SIZE)
    assert joined(near_duplicates(Films(np.stack([films[0], copy])))) == {(0, 1)}


def test_volumes_are_compared_by_their_mean_along_the_slices(films: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    volumes = np.stack([np.repeat(film[None, None], 6, axis=1) for film in films[:12]])
    # The slices in another order: other pixels, the same mean.
    noisy = np.clip(volumes[2].astype(int) + rng.integers(-20, 21, volumes[2].shape), 0, 255).astype(np.uint8)
    pairs = near_duplicates(Films(np.concatenate([volumes, noisy[None], noisy[None][:, :, ::-1]])))
    assert (12, 13) in joined(pairs)
    assert (2, 12) in joined(pairs) or (2, 13) in joined(pairs)
    assert near_duplicates(Films(volumes[:, 0])).empty


def test_unreadable_films_can_be_left_out(films: np.ndarray) -> None:
    chosen = Chosen(Films(films[[0, 1, 2, 1]]), np.array([3, 0, 1]))
    assert joined(near_duplicates(chosen)) == {(0, 2)}


def test_progress_is_told_to_its_end(films: np.ndarray) -> None:
    told: list[tuple[int, int]] = []
    near_duplicates(Films(films[:12]), tell=lambda done, total: told.append((done, total)))
    assert told[-1] == (36, 36)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_pairs_are_drawn_side_by_side(films: np.ndarray, tmp_path: Path) -> None:
    pairs = near_duplicates(Films(films[[0, 1, 0, 1, 0]]))
    draw_pairs(Films(films[[0, 1, 0, 1, 0]]), pairs, tmp_path / "of" / "pairs.png", captions=["a", "b", "c"], most=2)
    picture = imread(tmp_path / "of" / "pairs.png")
    assert picture.shape[1] > picture.shape[0] > 100


# Films of Cohen's collection that are there under two patient ids; each pair was looked at and is one exposure.
SAME_EXPOSURE = {
    "16660_2_1.jpg": "covid-19-rapidly-progressive-acute-respiratory-distress-syndrome-ards-admission.jpg",
    "16660_3_1.jpg": "covid-19-rapidly-progressive-acute-respiratory-distress-syndrome-ards-day-1.jpg",
    "16660_4_1.jpg": "covid-19-rapidly-progressive-acute-respiratory-distress-syndrome-ards-day-2.jpg",
    "16660_5_1.jpg": "covid-19-rapidly-progressive-acute-respiratory-distress-syndrome-ards-day-3.jpg",
    "streptococcus-pneumoniae-pneumonia-temporal-evolution-1-day1.jpg": "pneumonia-7.jpg",
}


def ralo(data: Path) -> tuple[list[np.ndarray], np.ndarray]:
    table = pd.read_csv(data / "ralo" / "ralo-dataset-metadata.csv", skiprows=1, dtype=str)
    files = [data / "ralo" / "images" / f"{row}.jpg" for row in range(len(table))]
    there = [row for row, file in enumerate(files) if file.exists()]
    pictures = [cv2.imread(str(files[row]), cv2.IMREAD_GRAYSCALE) for row in there]
    return pictures, table["Subject_ID"].to_numpy(str)[there]


def cohen(data: Path) -> tuple[list[np.ndarray], np.ndarray]:
    table = pd.read_csv(data / "cohen" / "metadata.csv", dtype=str).query("modality == 'X-ray'")
    read = [cv2.imread(str(data / "cohen" / file), cv2.IMREAD_GRAYSCALE) for file in table["stored_path"].fillna("")]
    patient = table.set_index("filename")["patientid"].to_dict()
    one_id = {patient[there]: patient[here] for here, there in SAME_EXPOSURE.items()}
    people = table["patientid"].replace(one_id).to_numpy(str)
    there = [row for row, picture in enumerate(read) if picture is not None]
    return [read[row] for row in there], people[there]


def demo(_: Path) -> tuple[list[np.ndarray], np.ndarray]:
    rows = invent_patients(400, seed=0, shortcut=0.5).films.drop_duplicates("sop_uid")
    pictures = [
        draw_film(
            row.severity, shape=SITES[row.site].shape, anatomy_seed=row.anatomy_seed,
            film_seed=int(row.sop_uid.rsplit(".", 1)[-1]) % 2**32, lateral=row.view == "LATERAL",
        )
        for row in rows.itertuples()
    ]  # fmt: skip
    return [np.round(255 * picture).astype(np.uint8) for picture in pictures], rows["patient"].to_numpy(str)


SOURCES: Mapping[str, Callable[[Path], tuple[list[np.ndarray], np.ndarray]]] = {
    "RALO": ralo,
    "Cohen": cohen,
    "demo": demo,
}


def said(name: str, found: Sequence[bool], copies: PlantedCopies) -> str:
    by_fault = [
        f"{fault} {np.mean([hit for hit, done in zip(found, copies.faults, strict=True) if fault in done]):.3f}"
        for fault in FAULTS
    ]
    return f"{name}: {np.mean(found):.3f} ({', '.join(by_fault)})"


@pytest.mark.slow
@pytest.mark.parametrize(("source", "size"), [("RALO", 224), ("RALO", 64), ("Cohen", 224), ("demo", 64)])
def test_planted_copies_are_found_and_different_people_are_not_joined(
    source: str, size: int, midrc_ml_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, patients = SOURCES[source](midrc_ml_data)
    films = np.stack([as_cached(picture, size=size) for picture in pictures])
    for faults_each in (1, 2):
        copies = plant(pictures, size=size, count=COPIES, faults_each=faults_each, seed=faults_each)
        pairs = near_duplicates(Films(np.concatenate([films, copies.films])))
        origin = np.r_[np.arange(len(films)), copies.source]
        first, second = (origin[pairs[end].to_numpy()] for end in ("first", "second"))
        is_true = (
            (first == second) & (pairs["first"] < len(films)).to_numpy() & (pairs["second"] >= len(films)).to_numpy()
        )
        hits = set(pairs.loc[is_true, "second"])
        found = [len(films) + number in hits for number in range(COPIES)]
        num_false = int((patients[first] != patients[second]).sum())
        per_1000 = 1000 * num_false / (len(films) + COPIES)
        with capsys.disabled():
            words = said(f"{source}, {size} px, {faults_each} at once", found, copies)
            print(f"\n{words}; {num_false} false pairs, {per_1000:.2f} per 1,000 films", end="")
        assert np.mean(found) >= 0.95
        assert per_1000 <= 1
