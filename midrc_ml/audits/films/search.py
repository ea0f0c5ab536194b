"""Which films may be copies of which: a few candidates for each film, out of all.

Each film as a whole is looked for among the windows of all others, and its code among their codes. Many films are
first dealt into cells by k-means (an inverted file: Jegou et al., IEEE TPAMI 33 (2011) 117-128): a film is looked for
among the windows near its own cell.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midrc_ml.audits.films.alignment import Transforms, composed, inverted
from midrc_ml.audits.films.blocks import in_blocks
from midrc_ml.audits.films.codes import coded
from midrc_ml.audits.films.windows import MIDDLE, Films, describe, unit, window_transforms

OF_EACH = 4  # candidates by windows, and as many by codes
_ROWS = 40  # windows kept of a film, of which several may be of one other
_DIMENSIONS = 48
_FILMS_OF_SPREAD = 1000
_FILMS_A_CELL, _LEAST_FILMS = 400, 6000
_TURNS, _FILMS_OF_CELLS = 10, 20_000
_COLUMNS, _QUERIES, _GROUP = 16_384, 512, 64
_SCALE = np.float32(127.0)


@dataclass(frozen=True)
class Candidates:
    """Films that may be copies: by windows, then by codes.

    second: (query, candidate), -1 = none. start: (query, candidate, 2, 3), where each is first laid.
    """

    second: NDArray[np.int64]
    start: Transforms


def find_candidates(
    films: Films, queries: NDArray[np.int64], targets: NDArray[np.int64], tell: Callable[[int], None]
) -> Candidates:
    """For each query the targets that may show the same film. No film is flat; the first are a sample of all."""
    count = OF_EACH
    codes, poses = coded(films)
    scaled = unit(codes)
    rows, _ = best_matches(scaled[queries], scaled[targets], min(count + 1, len(targets)))
    by_code = _others(np.where(rows >= 0, targets[rows], -1), queries, count)
    windows, wholes = _window_vectors(films)
    found = _search_windows(wholes, windows, queries, targets, tell)
    num_windows = windows.shape[1]
    by_window = _others(np.where(found >= 0, targets[found // num_windows], -1), queries, count, also=found)
    starts = np.zeros((len(queries), 2 * count, 2, 3))
    starts[:] = window_transforms()[0]
    starts[:, :count] = window_transforms()[np.where(by_window[1] >= 0, by_window[1] % num_windows, 0)]
    for place in range(count):
        second = by_code[0][:, place]
        starts[:, count + place] = composed(inverted(poses[second]), poses[queries])
    second = np.concatenate([by_window[0], by_code[0]], axis=1)
    # A film that both have found is aligned once, from where its code lies.
    is_twice = (second[:, :count, None] == second[:, None, count:]).any(axis=2)
    second[:, :count][is_twice] = -1
    return Candidates(second, starts)


def best_matches(
    queries: NDArray[np.float32], targets: NDArray[np.float32] | NDArray[np.int8], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows of the `count` targets of the largest products with each query, (query, count), and the products."""

    def search(block: slice) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return _best_of(queries[block], targets, count)

    parts = in_blocks(search, len(queries), records_each=_QUERIES)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _best_of(
    queries: NDArray[np.float32], targets: NDArray[np.float32] | NDArray[np.int8], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """As `best_matches`; of equal products the first target is kept. -1 where there are too few."""
    rows = np.full((len(queries), count), -1, np.int64)
    products = np.full((len(queries), count), -np.inf, np.float32)
    for start in range(0, len(targets), _COLUMNS):
        part = targets[start : start + _COLUMNS]
        product = queries @ (part if part.dtype == np.float32 else part.astype(np.float32)).T
        least = np.maximum(products[:, -1], _least_of_best(product, count))
        query, column = np.nonzero(product >= least[:, None])
        every_query = np.concatenate([np.repeat(np.arange(len(queries)), count), query])
        every_row = np.concatenate([rows.ravel(), column + start])
        every_product = np.concatenate([products.ravel(), product[query, column]])
        order = np.lexsort((every_row, -every_product, every_query))
        first = np.searchsorted(every_query[order], np.arange(len(queries)))
        kept = order[first[:, None] + np.arange(count)]
        rows, products = every_row[kept], every_product[kept]
    return rows, products


def _least_of_best(product: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """A bound that at least `count` of each row reach, (row,): from the largest of each group of columns."""
    groups = product.shape[1] // _GROUP
    if groups < count:
        return np.full(len(product), -np.inf, np.float32)
    largest = product[:, : groups * _GROUP].reshape(len(product), groups, _GROUP).max(axis=2)
    bound: NDArray[np.float32] = np.partition(largest, groups - count, axis=1)[:, groups - count]
    return bound


def _window_vectors(films: Films) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Descriptors of all windows, whitened, (film, window, dimension) in 8 bits; those of the whole films in 32."""
    sample = describe(films.fields(MIDDLE, slice(0, _FILMS_OF_SPREAD)))
    mean = sample[:, 0].mean(axis=0)
    vectors = unit(sample.reshape(-1, sample.shape[-1]) - mean).astype(np.float64)
    values, directions = np.linalg.eigh(np.cov(vectors.T, ddof=0) if len(vectors) > 1 else np.eye(len(mean)))
    top = slice(None, -_DIMENSIONS - 1, -1)
    basis = (directions[:, top] / np.sqrt(values[top] + 1e-3 * values.mean() + 1e-12)).astype(np.float32)
    kept = np.empty((len(films.pictures), sample.shape[1], basis.shape[1]), np.int8)
    wholes = np.empty((len(films.pictures), basis.shape[1]), np.float32)

    def whiten(block: slice) -> None:
        whitened = unit(unit(describe(films.fields(MIDDLE, block)) - mean) @ basis)
        kept[block] = np.rint(whitened * _SCALE)
        wholes[block] = whitened[:, 0]

    in_blocks(whiten, len(films.pictures))
    return kept, wholes


def _search_windows(
    wholes: NDArray[np.float32],
    windows: NDArray[np.int8],
    queries: NDArray[np.int64],
    targets: NDArray[np.int64],
    tell: Callable[[int], None],
) -> NDArray[np.int64]:
    """Rows of the windows of the targets that are most like each query, (query, 40), the best first; -1 = none."""
    of_targets = (
        windows[targets].reshape(-1, windows.shape[2])
        if len(targets) < len(windows)
        else windows.reshape(-1, windows.shape[2])
    )
    if len(targets) < _LEAST_FILMS:
        rows, _ = best_matches(wholes[queries], of_targets, min(_ROWS, len(of_targets)))
        tell(len(queries))
        return rows
    middles = _cell_middles(wholes, max(8, len(targets) // _FILMS_A_CELL))
    cell = _nearest(wholes[queries], middles, 1)[:, 0]
    near = _nearest(of_targets, middles, 4 + len(middles) // 16)
    order = np.argsort(near, axis=None, kind="stable")
    ends = np.r_[0, np.cumsum(np.bincount(near.ravel(), minlength=len(middles)))]
    found = np.full((len(queries), _ROWS), -1, np.int64)

    def search(block: slice) -> int:
        mine = np.flatnonzero(cell == block.start)
        members = order[ends[block.start] : ends[block.start + 1]] // near.shape[1]
        if len(mine) and len(members):
            rows, _ = _best_of(wholes[queries[mine]], of_targets[members], min(_ROWS, len(members)))
            found[mine, : rows.shape[1]] = np.where(rows >= 0, members[rows], -1)
        return len(mine)

    done = 0

    def count(_: int) -> None:
        nonlocal done
        done += 1
        tell(len(queries) * done // len(middles))

    in_blocks(search, len(middles), records_each=1, tell=count)
    return found


def _cell_middles(vectors: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Middles of k-means cells by direction, (cell, dimension), from the first films."""
    sample = vectors[:_FILMS_OF_CELLS]
    middles = sample[np.linspace(0, len(sample) - 1, count).astype(int)].copy()
    for _ in range(_TURNS):
        cell = _nearest(sample, middles, 1)[:, 0]
        sums = np.zeros_like(middles)
        np.add.at(sums, cell, sample)
        middles = np.where(np.abs(sums).sum(axis=1, keepdims=True) > 0, unit(sums), middles)
    return middles


def _nearest(
    vectors: NDArray[np.float32] | NDArray[np.int8], middles: NDArray[np.float32], count: int
) -> NDArray[np.int16]:
    """The cells nearest to each vector, (vector, count), in no order."""
    count = min(count, len(middles))
    result = np.empty((len(vectors), count), np.int16)  # 16 bits are sorted by radix

    def assign(block: slice) -> None:
        product = vectors[block].astype(np.float32) @ middles.T
        if count == 1:
            result[block, 0] = product.argmax(axis=1)
        else:
            result[block] = np.argpartition(-product, count - 1, axis=1)[:, :count]

    in_blocks(assign, len(vectors), records_each=_COLUMNS)
    return result


def _others(
    found: NDArray[np.int64], queries: NDArray[np.int64], count: int, *, also: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first `count` different films of each row that are not the query itself, -1 = none; and what of `also`."""
    films = np.full((len(queries), count), -1, np.int64)
    rest = np.full((len(queries), count), -1, np.int64)
    usable = (found >= 0) & (found != queries[:, None])
    for column in range(found.shape[1]):
        film = found[:, column]
        is_new = usable[:, column] & ~(films == film[:, None]).any(axis=1)
        place = (films >= 0).sum(axis=1)
        rows = np.flatnonzero(is_new & (place < count))
        films[rows, place[rows]] = film[rows]
        if also is not None:
            rest[rows, place[rows]] = also[rows, column]
    return films, rest
