"""Pictures that are there twice: the same pixels, or the same film cropped, turned, re-toned, re-encoded or inverted.

Films of the same pixels are found by their BLAKE3. Of what is left, each film is looked for among all others
(`search`); it is laid on its few candidates (`alignment`), and two films are joined where they agree in what films that
look alike do not share (`likeness`). Films are taken in the order of their hashes: the result depends neither on the
order in which they came nor on the number of cores.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from midrc_ml.audits.films.alignment import align, is_plausible
from midrc_ml.audits.films.blocks import in_blocks
from midrc_ml.audits.films.likeness import Laid, difference, fit, lay, own_likeness, smoothed
from midrc_ml.audits.films.search import OF_EACH, find_candidates
from midrc_ml.audits.films.windows import COARSE, MIDDLE, Films, Images, read_films

SAME_PIXELS, NEAR_DUPLICATE = "same pixels", "near duplicate"
COLUMNS = ("first", "second", "similarity", "relation", "how")
# Measured on planted copies of real and of drawn films: see the tests.
_LEAST_AGREEMENT = {COARSE: 0.84, MIDDLE: 0.82}
_STEPS = {COARSE: 5, MIDDLE: 3}
_FINALISTS = 2  # by agreement, and as many by code
_PEERS, _STAY = 4, 6
# In grey levels of 256: above the first two films are never joined, below the second they may be.
_MOST_DIFFERENCE, _COPY_DIFFERENCE = 2.0, 0.85
_LEAST_OWN, _SURE_OWN = 0.80, 0.95
_OTHER_TONES = 12.0  # grey levels off a line
_QUERIES = 32


@dataclass(frozen=True)
class Chosen:
    """Some images as a set of their own: position i is `indices[i]` of `images`, such as those that are readable."""

    images: Images
    indices: NDArray[np.int64]

    @property
    def record_shape(self) -> tuple[int, ...]:
        """As of the images."""
        return self.images.record_shape

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images (image, *record_shape)."""
        return self.images.gather(self.indices[indices])


def near_duplicates(
    images: Images, *, others: Images | None = None, tell: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Pairs of images that show the same exposure, the most certain first.

    Within `images` (first < second), or with `others` between the two alone, where `second` is a position in `others`.
    first, second: positions. similarity: 1 = the same. relation: `same pixels` or `near duplicate`. how: words of what
    differs. tell: called with how much is done, and of how much.

    Of images of the same pixels each later one is paired with the first, so that a film that is there 1,000 times makes
    999 pairs, and only the first of them is compared with other films. A volume is compared by one picture, the mean
    along the slices of its first channel. A picture without structure is joined by its pixels alone.
    """
    sides = [images] if others is None else [images, others]
    count = sum(len(side) for side in sides)
    progress = _Progress(tell, 3 * max(1, count))
    read = []
    for each in sides:
        read.append(read_films(each, progress.from_here(1)))
    hashes = np.concatenate([found[1] for found in read])
    side = np.repeat(np.arange(len(sides)), [len(each) for each in sides])
    position = np.concatenate([np.arange(len(each)) for each in sides])
    _, first, film = np.unique(hashes, return_index=True, return_inverse=True)
    films = _joined([found[0] for found in read]).take(first)
    del read
    tables = [_same_pixels(film, side, position, is_cross=others is not None)]
    usable = np.flatnonzero(~films.is_flat)
    films = films.take(usable)
    # The place of the first image of each film on each side, -1 = none there.
    places = np.full((len(sides), len(first)), -1, np.int64)
    for number in reversed(range(len(side))):
        places[side[number], film[number]] = position[number]
    places = places[:, usable]
    if others is None:
        tables.append(_named(_search(films, *(np.arange(len(usable)),) * 2, progress), places[0], places[0]))
    else:
        on_first, on_second = (np.flatnonzero(each >= 0) for each in places)
        tables.append(_named(_search(films, on_first, on_second, progress), places[0], places[1]))
        tables.append(_named(_search(films, on_second, on_first, progress), places[1], places[0], turned=True))
    progress.at(progress.total)
    return _table(pd.concat(tables, ignore_index=True), is_cross=others is not None)


class _Progress:
    def __init__(self, tell: Callable[[int, int], None] | None, total: int) -> None:
        self.total, self.reached, self._tell = total, 0, tell

    def from_here(self, weight: float) -> Callable[[int], None]:
        """Of what comes next, to be told its own count of what is done, which counts `weight` each."""
        before = self.reached
        return lambda done: self.at(before + int(weight * done))

    def at(self, done: int) -> None:
        """Say how much is done."""
        self.reached = min(done, self.total)
        if self._tell is not None:
            self._tell(self.reached, self.total)


def _joined(parts: list[Films]) -> Films:
    if len(parts) == 1:
        return parts[0]
    names = ("pictures", "coarse", "middle", "is_flat")
    return Films(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _same_pixels(
    film: NDArray[np.int64], side: NDArray[np.int64], position: NDArray[np.int64], *, is_cross: bool
) -> pd.DataFrame:
    """Each later image of the same pixels beside the first; between two sets, beside the first of the other set."""
    rows = pd.DataFrame({"film": film, "side": side, "position": position})
    firsts = rows.drop_duplicates(["film", "side"]).pivot(index="film", columns="side", values="position")
    if not is_cross:
        pairs = (
            rows.assign(first=rows["film"].map(firsts[0])).rename(columns={"position": "second"})
            if len(rows)
            else (pd.DataFrame({"first": [], "second": []}))
        )
        pairs = pairs[pairs["first"] != pairs["second"]]
    else:
        there = firsts.reindex(columns=[0, 1]).dropna()
        shared = rows[rows["film"].isin(there.index)]
        left, right = (shared[shared["side"] == number] for number in (0, 1))
        pairs = pd.concat(
            [
                pd.DataFrame({"first": left["position"], "second": left["film"].map(there[1])}),
                pd.DataFrame({"first": right["film"].map(there[0]), "second": right["position"]}),
            ]
        ).drop_duplicates()
    return pairs[["first", "second"]].assign(similarity=1.0, relation=SAME_PIXELS, how="")


def _search(films: Films, queries: NDArray[np.int64], targets: NDArray[np.int64], progress: _Progress) -> pd.DataFrame:
    """Rows of films that are joined: query, film, similarity, how."""
    weight = (progress.total - progress.reached) / (2 * max(1, len(queries)))
    if len(films.pictures) < 2 or not len(queries) or not len(targets):
        return pd.DataFrame({"query": [], "film": [], "similarity": [], "how": []})
    candidates = find_candidates(films, queries, targets, progress.from_here(weight))

    def compare(block: slice) -> list[tuple[int, int, float, str]]:
        return _compare(films, queries[block], candidates.second[block], candidates.start[block])

    parts = in_blocks(compare, len(queries), records_each=_QUERIES, tell=progress.from_here(weight))
    rows = [row for part in parts for row in part]
    return pd.DataFrame(rows, columns=["query", "film", "similarity", "how"])


@dataclass(frozen=True)
class _Pairs:
    """Queries by row, and a candidate of each: its place in the list, and how well it agrees where it lies now.

    place: the candidates by windows are before those by codes.
    """

    row: NDArray[np.int64]
    place: NDArray[np.int64]
    film: NDArray[np.int64]
    transform: NDArray[np.float64]
    agrees: NDArray[np.float32]

    @classmethod
    def of(cls, second: NDArray[np.int64], start: NDArray[np.float64]) -> "_Pairs":
        """All that are there."""
        row, place = np.nonzero(second >= 0)
        return cls(row, place, second[row, place], start[row, place], np.zeros(len(row), np.float32))

    def aligned(self, films: Films, queries: NDArray[np.int64], side: int) -> "_Pairs":
        """Aligned at this resolution; of each query the best by agreement and by code, the best first.

        Queries that agree with no candidate are gone. Of the others some candidates stay only as the peers of the best.
        """
        own = films.fields(side, queries)[self.row]
        transform, agrees = align(own, films.fields(side, self.film), self.transform, steps=_STEPS[side])
        best = np.full(len(queries), -1.0)
        np.maximum.at(best, self.row, agrees)
        order = np.lexsort((self.film, -agrees, self.row))
        every = _Pairs(self.row, self.place, self.film, transform, agrees).take(order)
        stays = (best[every.row] >= _LEAST_AGREEMENT[side]) & ((every.rank < _STAY) | every.is_best_by_code)
        return every.take(np.flatnonzero(stays))

    def take(self, pairs: NDArray[np.int64]) -> "_Pairs":
        """These pairs, in this order."""
        return _Pairs(self.row[pairs], self.place[pairs], self.film[pairs], self.transform[pairs], self.agrees[pairs])

    @property
    def rank(self) -> NDArray[np.int64]:
        """Of each among those of its query."""
        return np.arange(len(self.row)) - np.searchsorted(self.row, self.row)

    @property
    def is_best_by_code(self) -> NDArray[np.bool_]:
        """Whether its code is one of the nearest to that of its query."""
        return (self.place >= OF_EACH) & (self.place < OF_EACH + _FINALISTS)

    @property
    def finalists(self) -> NDArray[np.int64]:
        """Which of them are judged."""
        is_best = (self.rank < _FINALISTS) | self.is_best_by_code
        return np.flatnonzero(is_best & (self.agrees >= _LEAST_AGREEMENT[MIDDLE]))


def _compare(
    films: Films, queries: NDArray[np.int64], second: NDArray[np.int64], start: NDArray[np.float64]
) -> list[tuple[int, int, float, str]]:
    """The films that are joined to each query. second: (query, candidate); start: (query, candidate, 2, 3)."""
    pairs = _Pairs.of(second, start)
    for side in _STEPS:
        pairs = pairs.aligned(films, queries, side)
    return _judge(films, queries, pairs)


def _judge(films: Films, queries: NDArray[np.int64], pairs: _Pairs) -> list[tuple[int, int, float, str]]:
    """The candidates that show the same exposure as their query."""
    final = pairs.finalists
    if not len(final):
        return []
    own = smoothed(films.pictures[queries])
    first, second = own[pairs.row[final]], smoothed(films.pictures[pairs.film[final]])
    transforms, is_near = fit(first, second, pairs.transform[final])
    final, first, second = final[is_near], first[is_near], second[is_near]
    if not len(final):
        return []
    laid = lay(first, second, transforms[is_near])
    off = np.array([difference(*each) for each in zip(first, laid, strict=True)])
    off[~is_plausible(np.stack([each.transform for each in laid]))] = np.inf
    joined = []
    for row in np.unique(pairs.row[final[off <= _MOST_DIFFERENCE]]):
        mine = np.flatnonzero(pairs.row[final] == row)
        # What may be another copy says nothing of what films share.
        copies = pairs.film[final[mine[off[mine] <= _COPY_DIFFERENCE]]]
        peers = np.flatnonzero((pairs.row == row) & ~np.isin(pairs.film, copies))
        for number in mine[off[mine] <= _MOST_DIFFERENCE]:
            others = peers[pairs.film[peers] != pairs.film[final[number]]][-_PEERS:]
            beside = _laid_on(own[row], films, pairs.film[others], pairs.transform[others])
            likeness = own_likeness(own[row], laid[number], beside)
            if (off[number] <= _COPY_DIFFERENCE and likeness >= _LEAST_OWN) or (beside and likeness >= _SURE_OWN):
                film = int(pairs.film[final[number]])
                joined.append((int(queries[row]), film, likeness, _words(laid[number])))
    return joined


def _laid_on(
    first: NDArray[np.float32], films: Films, rows: NDArray[np.int64], transforms: NDArray[np.float64]
) -> list[Laid]:
    """Films on one, of which they reach enough."""
    if not len(rows):
        return []
    second = smoothed(films.pictures[rows])
    return [each for each in lay(np.broadcast_to(first, second.shape), second, transforms) if each.reaches]


def _words(laid: Laid) -> str:
    """What differs, as far as the fit tells."""
    linear = laid.transform[:, :2]
    if np.linalg.det(linear) > 1:
        linear = np.asarray(np.linalg.inv(linear), np.float64)
    width, height = np.linalg.norm(linear, axis=0)
    angle = np.degrees(
        np.arctan2(linear[1, 0] / width - linear[0, 1] / height, linear[0, 0] / width + linear[1, 1] / height)
    )
    words = []
    if min(width, height) < 0.97:
        words.append(f"cropped to {100 * min(height, 1):.0f} x {100 * min(width, 1):.0f} %")
    if abs(angle) >= 0.7:
        words.append(f"turned by {abs(angle):.0f} degree{'s' * (round(abs(angle)) != 1)}")
    curve = laid.curve[8:248]
    if curve[-1] < curve[0]:
        words.append("inverted")
    levels = np.arange(len(curve))
    if np.abs(curve - np.polyval(np.polyfit(levels, curve, 1), levels)).max() >= _OTHER_TONES:
        words.append("other tones")
    return ", ".join(words) or "the same view, other pixels"


def _named(
    joined: pd.DataFrame, of_query: NDArray[np.int64], of_film: NDArray[np.int64], *, turned: bool = False
) -> pd.DataFrame:
    """Films by the places of their images. turned: the queries are the second of each pair."""
    first, second = of_query[joined["query"].to_numpy(np.int64)], of_film[joined["film"].to_numpy(np.int64)]
    if turned:
        first, second = second, first
    return pd.DataFrame(
        {"first": first, "second": second, "similarity": joined["similarity"].clip(0, 0.9999).to_numpy(float)}
    ).assign(relation=NEAR_DUPLICATE, how=joined["how"].to_numpy(object))


def _table(found: pd.DataFrame, *, is_cross: bool) -> pd.DataFrame:
    """One row a pair, the best first."""
    pairs = found.astype({"first": np.int64, "second": np.int64})
    if not is_cross:
        ends = np.sort(pairs[["first", "second"]].to_numpy(), axis=1)
        pairs = pairs.assign(first=ends[:, 0], second=ends[:, 1])
    pairs = pairs.assign(similarity=pairs["similarity"].astype(float).round(4))
    pairs = pairs.sort_values(["similarity", "first", "second", "how"], ascending=[False, True, True, True])
    return pairs.drop_duplicates(["first", "second"], ignore_index=True)[list(COLUMNS)]
