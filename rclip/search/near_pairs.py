"""Which of many vectors are connected by a high cosine: exactly, without comparing all of them in full.

A vector is compared by its sketch first: its parts along the directions in which the vectors vary most, and the length
of the rest. The product of two sketches is at least that of the vectors (Cauchy and Schwarz), so a pair whose sketches
are too far apart needs no other look.

Of many vectors, even most sketches are not compared. Each belongs to the cell of its nearest centroid. Sketches in two
cells are at least as far apart as both are from the plane between the cells, so one of a near pair is within half its
distance of the plane, and visits the other's cell: only residents and visitors of a cell are compared. Where the cells
leave out too little, as with vectors in all directions, all sketches are compared in blocks.

Memory grows with the number of vectors, by about 400 bytes each.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from rclip.cores import CORES
from rclip.models import blas

SKETCH_DIMENSIONS = 64
"""With 32 the vectors of too many pairs have to be looked at, and with 128 the sketches take as long as the vectors."""

_ROUNDING = 1e-5
"""More than single precision loses in a product of vectors of length 1."""

_FITTED = 1 << 14
_BLOCK_ROWS = 1 << 14
_BLOCK_SCORES = 1 << 20
"""So many are held at once by each thread: 4 MiB, which stay in the processor's cache."""

_COMPARED_WITH_ALL = 1 << 14
_SAMPLE_PER_CELL = 48
_ROUNDS = 4
"""Of k-means: centroids need only be roughly right."""

_CELLS_AT_ONCE = 16
_PAIRS_KEPT = 1 << 18
_CHECKED = 1 << 13

Report = Callable[[float], None]
"""Is given the share of the work that is done."""


def connected(vectors: np.ndarray, similarity: float, report: Report = lambda share: None) -> list[np.ndarray]:
    """Rows of vectors with a cosine of at least this, directly or by others between them. (N, D) -> [(K,) ascending]

    An exception that `report` raises, as well as a signal's, ends it.
    """
    if len(vectors) < 2:
        return []
    components = _Components(vectors, similarity)
    rows = _distinct(vectors, components)
    sketches = _sketches(vectors, rows)
    with blas.limited(1), ThreadPoolExecutor(CORES) as threads:
        try:
            _run(threads, _tasks(sketches, rows, similarity, components), report)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return components.groups()


class _Task(NamedTuple):
    run: Callable[[], None]
    share: float
    """Of the work."""


def _run(threads: ThreadPoolExecutor, tasks: Iterable[_Task], report: Report) -> None:
    """A few ahead of time, so that they need not all be listed."""
    waiting: list[tuple[Future[None], float]] = []
    done = 0.0

    def finish(most: int) -> None:
        nonlocal done
        while len(waiting) > most:
            future, share = waiting.pop(0)
            future.result()
            done += share
            report(min(done, 1.0))

    for task in tasks:
        waiting.append((threads.submit(task.run), task.share))
        finish(2 * CORES)
    finish(0)


# --- components ------------------------------------------------------------------------------------------------------


class _Components:
    """Which vectors are connected so far. For several threads at once."""

    def __init__(self, vectors: np.ndarray, similarity: float):
        self._vectors = vectors
        self._similarity = similarity
        self._labels = np.arange(len(vectors))
        self._found: list[tuple[np.ndarray, np.ndarray]] = []
        self._count = 0
        self._lock = threading.Lock()

    def join(self, one: np.ndarray, other: np.ndarray) -> None:
        """Pairs of rows."""
        with self._lock:
            self._found.append((one, other))
            self._count += len(one)
            if self._count >= _PAIRS_KEPT:
                self._settle()

    def join_if_near(self, one: np.ndarray, other: np.ndarray) -> None:
        """Those of the pairs whose vectors are, but for those that are connected already: of bursts there are many."""
        for start in range(0, len(one), _PAIRS_KEPT):
            part = slice(start, start + _PAIRS_KEPT)
            labels = self._labels
            is_new = labels[one[part]] != labels[other[part]]
            near = [
                (a[is_near], b[is_near])
                for a, b in _parts(one[part][is_new], other[part][is_new])
                if (is_near := self._are_near(a, b)).any()
            ]
            if near:
                self.join(*map(np.concatenate, zip(*near, strict=True)))

    def _are_near(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        cosines = np.einsum("ij,ij->i", unit(self._vectors[one]), unit(self._vectors[other]))
        return cosines >= self._similarity

    def _settle(self) -> None:
        """Gives each pair the lower of both labels, and so whatever had the same label."""
        if not self._found:
            return
        one, other = (np.concatenate(rows) for rows in zip(*self._found, strict=True))
        labels = self._labels.copy()
        while not np.array_equal(low := labels[one], high := labels[other]):
            lower = np.minimum(low, high)
            np.minimum.at(labels, low, lower)
            np.minimum.at(labels, high, lower)
            while not np.array_equal(labels, further := labels[labels]):
                labels = further
        self._labels, self._found, self._count = labels, [], 0

    def groups(self) -> list[np.ndarray]:
        """The rows of each component of several."""
        self._settle()
        order = np.argsort(self._labels, kind="stable")
        starts = np.flatnonzero(np.diff(self._labels[order], prepend=-1))
        return [rows for rows in np.split(order, starts[1:]) if len(rows) > 1]


def _parts(one: np.ndarray, other: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(one), _CHECKED):
        yield one[start : start + _CHECKED], other[start : start + _CHECKED]


def unit(vectors: np.ndarray) -> np.ndarray:
    """In single precision, of length 1 to its last digits. (N, D)"""
    single = vectors.astype(np.float32)
    single /= np.linalg.norm(single, axis=1, keepdims=True)
    return single


def _distinct(vectors: np.ndarray, components: _Components) -> np.ndarray:
    """The first row of each that is there several times, bit for bit; the others are joined to it. (N, D) -> (M,)"""
    width = vectors.shape[1] * vectors.itemsize
    padded = -(-width // 8) * 8
    odd = np.random.default_rng(0).integers(0, 1 << 63, padded // 8, np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = np.empty(len(vectors), np.uint64)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK_ROWS]).view(np.uint8)
        if padded != width:
            block = np.pad(block, ((0, 0), (0, padded - width)))
        words = block.view(np.uint64)
        words = words ^ (words >> np.uint64(29))
        hashes[start : start + len(block)] = (words * odd).sum(axis=1, dtype=np.uint64)
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[which] != np.arange(len(vectors)))
    if len(repeated):
        components.join(repeated, first[which][repeated])
    return np.sort(first)


# --- sketches --------------------------------------------------------------------------------------------------------


def _sketches(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of these rows. (N, D) -> (M, SKETCH_DIMENSIONS) float32 of length 1

    The product of two is at least that of their vectors, but for `_ROUNDING`.
    """
    dimensions = vectors.shape[1]
    if dimensions <= SKETCH_DIMENSIONS:
        return unit(vectors[rows])
    sample = np.sort(np.random.default_rng(0).permutation(rows)[:_FITTED])
    fitted = unit(vectors[sample])
    _, directions = np.linalg.eigh(fitted.T @ fitted)
    directions = np.ascontiguousarray(directions[:, :-SKETCH_DIMENSIONS:-1])
    sketches = np.empty((len(rows), SKETCH_DIMENSIONS), np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        part = sketches[start : start + _BLOCK_ROWS]
        np.matmul(unit(vectors[rows[start : start + _BLOCK_ROWS]]), directions, out=part[:, :-1])
        part[:, -1] = np.sqrt(np.maximum(1 - np.einsum("ij,ij->i", part[:, :-1], part[:, :-1]), 0))
    return sketches


def _tasks(sketches: np.ndarray, rows: np.ndarray, similarity: float, components: _Components) -> Iterator[_Task]:
    """What is to be compared; tasks may run side by side."""
    if len(sketches) > _COMPARED_WITH_ALL:
        cells = _Cells(sketches, similarity)
        if cells.compared_share() < 1 / 2:
            yield from cells.tasks(rows, components)
            return
    yield from _tasks_of_all(sketches, rows, similarity, components)


def _tasks_of_all(
    sketches: np.ndarray, rows: np.ndarray, similarity: float, components: _Components
) -> Iterator[_Task]:
    count = len(sketches)
    for start in range(0, count, _STRIP):
        strip = slice(start, min(start + _STRIP, count))
        share = (strip.stop - start) * (2 * count - start - strip.stop) / count**2
        yield _Task(partial(_compare, sketches, rows, strip, similarity, components), share)


_STRIP = 1 << 10


def _compare(sketches: np.ndarray, rows: np.ndarray, strip: slice, similarity: float, components: _Components) -> None:
    """A strip of sketches with themselves and all after them."""
    compared = sketches[strip.start :]
    for one, other in _near(sketches[strip], compared, similarity):
        is_pair = other > one
        components.join_if_near(rows[one[is_pair] + strip.start], rows[other[is_pair] + strip.start])


def _near(some: np.ndarray, others: np.ndarray, similarity: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of two whose product is that high. (n, d), (m, d)"""
    height = min(len(some), _STRIP)
    width = _BLOCK_SCORES // max(1, height)
    for top in range(0, len(some), height):
        upper = some[top : top + height]
        for left in range(0, len(others), width):
            scores = upper @ others[left : left + width].T
            one, other = np.divmod(np.flatnonzero(scores >= similarity - _ROUNDING), scores.shape[1])
            if len(one):
                yield one + top, other + left


# --- cells -----------------------------------------------------------------------------------------------------------


class _Cells:
    """Sketches by their nearest centroids."""

    def __init__(self, sketches: np.ndarray, similarity: float):
        self._similarity = similarity
        self._sketches = sketches
        self._centroids = _centroids(sketches, round(1.5 * len(sketches) ** 0.5))
        self._nearest = np.empty(len(sketches), np.int32)
        self._scores = np.empty(len(sketches), np.float32)
        """With the nearest centroid."""
        for part, scores in _scored(sketches, self._centroids):
            self._nearest[part] = scores.argmax(axis=1)
            self._scores[part] = scores.max(axis=1)
        self._order = np.argsort(self._nearest, kind="stable")
        self._bounds = np.searchsorted(self._nearest[self._order], np.arange(len(self._centroids) + 1))
        half = np.sqrt(2 - 2 * max(similarity - _ROUNDING, -1.0)) / 2
        products = self._centroids @ self._centroids.T
        self._reach = (half * np.sqrt(np.maximum(2 - 2 * products, 0)) + _ROUNDING).astype(np.float32)
        """How much lower than with its own centroid a visitor's product with another may be. (C, C)"""

    def compared_share(self) -> float:
        """About so much of what comparing all with all takes, by a sample of visitors."""
        sample = np.random.default_rng(0).integers(0, len(self._sketches), 1024)
        sizes = np.diff(self._bounds)
        scores = self._sketches[sample] @ self._centroids.T
        is_near = scores >= self._scores[sample, None] - self._reach[self._nearest[sample]]
        return float((is_near @ sizes).mean()) / (len(self._sketches) / 2)

    def tasks(self, rows: np.ndarray, components: _Components) -> Iterator[_Task]:
        for start in range(0, len(self._centroids), _CELLS_AT_ONCE):
            cells = np.arange(start, min(start + _CELLS_AT_ONCE, len(self._centroids)))
            share = float(self._bounds[cells[-1] + 1] - self._bounds[start]) / len(self._sketches)
            yield _Task(partial(self._compare, cells, rows, components), share)

    def _compare(self, cells: np.ndarray, rows: np.ndarray, components: _Components) -> None:
        """Residents with each other, and with the visitors."""
        visitors = self._visitors(cells)
        for cell, others in zip(cells.tolist(), visitors, strict=True):
            residents = self._order[self._bounds[cell] : self._bounds[cell + 1]]
            if not len(residents):
                continue
            sketches = self._sketches[residents]
            for start in range(0, len(residents), _STRIP):
                strip = slice(start, start + _STRIP)
                for one, other in _near(sketches[strip], sketches[start:], self._similarity):
                    is_pair = other > one
                    components.join_if_near(
                        rows[residents[one[is_pair] + start]], rows[residents[other[is_pair] + start]]
                    )
            for one, other in _near(sketches, self._sketches[others], self._similarity):
                components.join_if_near(rows[residents[one]], rows[others[other]])

    def _visitors(self, cells: np.ndarray) -> list[np.ndarray]:
        """Rows of the sketches of other cells that may be near to one in each of these."""
        centroids = self._centroids[cells]
        found: list[list[np.ndarray]] = [[] for _ in cells]
        for start in range(0, len(self._sketches), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            nearest = self._nearest[part]
            scores = centroids @ self._sketches[part].T
            scores += self._reach[cells[:, None], nearest]
            is_near = scores >= self._scores[part]
            is_near &= nearest != cells[:, None]
            for of_cell, near in zip(found, is_near, strict=True):
                of_cell.append(np.flatnonzero(near) + start)
        return [np.concatenate(of_cell) for of_cell in found]


def _centroids(sketches: np.ndarray, count: int) -> np.ndarray:
    """(count, d) float32 of length 1, by k-means of a sample that is the same every time."""
    rng = np.random.default_rng(0)
    sample = sketches[np.sort(rng.permutation(len(sketches))[: count * _SAMPLE_PER_CELL])]
    centroids = sample[rng.permutation(len(sample))[:count]]
    for _ in range(_ROUNDS):
        sums = np.zeros_like(centroids)
        for part, scores in _scored(sample, centroids):
            np.add.at(sums, scores.argmax(axis=1), sample[part])
        is_used = np.any(sums, axis=1)
        centroids[is_used] = unit(sums[is_used])
    return centroids


def _scored(sketches: np.ndarray, centroids: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows, and their products with all centroids."""
    block = max(1, _BLOCK_SCORES // len(centroids))
    for start in range(0, len(sketches), block):
        part = slice(start, start + block)
        yield part, sketches[part] @ centroids.T
