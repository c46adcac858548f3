"""Finds the vectors nearest to a query's: the seam where an approximate or a remote index can dock."""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from rclip.cores import on_cores
from rclip.index.mapped import give_back
from rclip.index.store import Store
from rclip.index.vector_cache import VectorCache, rows_of
from rclip.vectors import dot, top_k

_SCANNED_ROWS = 4096
"""Rows that a thread maps at a time: 4 MiB of 512 dimensions, so that a scan never holds the matrix in memory."""

_MAX_SCORES = 1 << 24
"""So many are held at once, 64 MiB."""

_MAX_KEPT = 4096
"""Up to so many of the best are kept chunk by chunk; for more, all scores are computed before the best are chosen."""

_SAMPLED_SCORES = 1 << 18
"""About so many give quantiles: sorting all would take longer than computing them."""

_MIN_SKETCHED = 16
"""The sketch is scanned first where it holds so many times as many vectors as are wanted."""

_MOST_SKETCHED_QUERIES = 4
"""More queries at once are limited by their products, not by the memory: products of half precision then take less."""

_READ_ROWS = 64
"""Rows that lie apart, each of which the system may map together with two megabytes around it."""

_MAX_COSINE = 1.01  # and half precision's error


class VectorSearch(Protocol):
    """Nearest-neighbour search among the vectors of one index. Photos that are missing are among them."""

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Ids (Q, K) int64 of the nearest photos and their scores (Q, K) float32, best first, K being `k` at most.

        `queries` are (Q, D) float32 of length 1; a score is the cosine, within `vectors.MAX_ERROR`. `allowed` holds ids
        in ascending order, of which only those count that have a vector; None allows all. Raises `StoreError`.
        """

    def score_quantiles(self, queries: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
        """The quantiles of all photos' scores for each query, NaN without photos. (Q, D), L quantiles -> (Q, L)

        Where photos are many, they may be those of some hundred thousand that are spread over the index.

        Raises `StoreError`.
        """

    def count(self, allowed: np.ndarray | None = None) -> int:
        """How many photos have a vector, of all or of those allowed. Raises `StoreError`."""


class _Chunk(NamedTuple):
    """Some vectors, as they lie together, and which of them are asked for."""

    first_row: int
    """Of the vectors, in the cache."""
    vectors: np.ndarray
    """(M, D) float16"""
    ids: np.ndarray
    """(n,) int64, ascending, of those asked for."""
    rows: np.ndarray | None
    """(n,) where these are among the vectors; None for all."""

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """(Q, D) -> (Q, n). Picking a row out takes as long as scoring several."""
        if self.rows is None:
            return dot(self.vectors, queries)
        if len(self.rows) * 4 <= len(self.vectors):
            return dot(self.vectors[self.rows], queries)
        return dot(self.vectors, queries)[:, self.rows]


class ExactVectorSearch:
    """Scores every vector: those of the cache at the speed of memory, newer ones from the table.

    Where the cache has a sketch, that is scanned, and only vectors that may be among the best are scored.
    """

    def __init__(self, store: Store, cache: VectorCache):
        self._store = store
        self._cache = cache

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        found = [self._search_together(group, k, allowed) for group in self._groups(queries, k)]
        ids, scores = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return ids, scores

    def _search_together(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if k > _MAX_KEPT:
            ids, scores = self._all_scores(queries, allowed)
            best = [top_k(of_query, k) for of_query in scores]
            return stacked([ids[rows] for rows in best], np.int64), stacked(
                [of_query[rows] for of_query, rows in zip(scores, best, strict=True)], np.float32
            )
        nearest = [Nearest(k) for _ in queries]
        self.add_all(queries, k, allowed, nearest)
        return stacked([found.ids for found in nearest], np.int64), stacked(
            [found.scores for found in nearest], np.float32
        )

    def add_all(
        self,
        queries: np.ndarray,
        k: int,
        allowed: np.ndarray | None,
        nearest: "Sequence[Nearest]",
        first_row: int = 0,
    ) -> None:
        """Adds the best of all, or of those allowed, from that row of the cache on, for each query."""
        sketched_rows = self._add_sketched(queries, k, allowed, nearest, first_row)
        for ids, scores in self._scored(queries, allowed, max(first_row, sketched_rows)):
            for of_query, found in zip(scores, nearest, strict=True):
                found.add(ids, of_query)

    def _add_sketched(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None, nearest: "Sequence[Nearest]", first_row: int
    ) -> int:
        """Adds the best of those in the sketch, and returns how many rows it has; 0 where it is not used."""
        mapped, enough = self._cache.map(), _MIN_SKETCHED * k
        if mapped is None or len(queries) > _MOST_SKETCHED_QUERIES or self._cache.rows - first_row < enough:
            return 0
        sketch = self._cache.sketch
        if sketch.rows - first_row < enough:
            return 0
        if mapped[1].shape[1] != queries.shape[1]:
            raise self._store.damage()
        rows = None if allowed is None else rows_of(allowed, self._cache.ids[: sketch.rows])
        if first_row:
            rows = np.arange(first_row, sketch.rows) if rows is None else rows[rows >= first_row]
        if rows is not None and len(rows) < enough:
            return 0
        try:
            candidates = sketch.candidates(queries, k, rows)
        except (OSError, ValueError):  # deleted by another run
            return 0
        self.add_rows(*mapped, queries, candidates, nearest)
        return sketch.rows

    def add_rows(
        self,
        memory: mmap.mmap,
        vectors: np.ndarray,
        queries: np.ndarray,
        rows_of_each: Iterable[np.ndarray],
        nearest: "Sequence[Nearest]",
    ) -> None:
        """Adds rows (C,) of the cache, ascending, for each query. `memory` and `vectors` are the cache's `map`."""
        memory.madvise(mmap.MADV_RANDOM)  # else the system reads what lies around each, most of the file
        for query, rows, found in zip(queries, rows_of_each, nearest, strict=True):
            for start in range(0, len(rows), _READ_ROWS):
                some = rows[start : start + _READ_ROWS]
                found.add(self._cache.ids[some], self._sound(dot(vectors[some], query)))
                give_back(memory, int(some[0]) * vectors.strides[0], int(some[-1] + 1) * vectors.strides[0])

    def score_quantiles(self, queries: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
        found = []
        step = max(1, round(self.count() / _SAMPLED_SCORES))
        for group in self._groups(queries, _MAX_SCORES):
            scores = self._every(step, group)
            found.append(
                np.quantile(scores, quantiles, axis=1).T
                if scores.size
                else np.full((len(group), len(quantiles)), np.nan)
            )
        return np.concatenate(found)

    def _every(self, step: int, queries: np.ndarray) -> np.ndarray:
        """The scores of every so many-th vector, of those in the sketch by the sketch. (Q, N)"""
        if not self._cache.rows:
            return self._all_scores(queries, None)[1][:, ::step]
        try:
            sketched = self._cache.sketch.scores(queries, step)
        except (OSError, ValueError):
            return self._all_scores(queries, None)[1][:, ::step]
        return np.concatenate(
            [sketched, self._all_scores(queries, None, self._cache.sketch.rows)[1][:, ::step]], axis=1
        )

    def count(self, allowed: np.ndarray | None = None) -> int:
        if allowed is None:
            return self._cache.rows + self._store.vectors.count_above(self._cache.last_id)
        mapped = self._cache.map()
        cached, last_id = (len(rows_of(allowed, self._cache.ids)), self._cache.last_id) if mapped else (0, 0)
        return cached + sum(len(chunk.ids) for chunk in self._newer_chunks(allowed, last_id))

    def _groups(self, queries: np.ndarray, k: int) -> list[np.ndarray]:
        """The queries that share a pass over the vectors."""
        held = self._store.vectors.last_id() if k > _MAX_KEPT else _SCANNED_ROWS
        at_once = max(1, _MAX_SCORES // max(1, held))
        return [queries[start : start + at_once] for start in range(0, len(queries), at_once)]

    def _all_scores(
        self, queries: np.ndarray, allowed: np.ndarray | None, first_row: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids (N,), ascending, and scores (Q, N)."""
        parts = list(self._scored(queries, allowed, first_row))
        if not parts:
            return np.empty(0, np.int64), np.empty((len(queries), 0), np.float32)
        ids, scores = zip(*parts, strict=True)
        return np.concatenate(ids), np.concatenate(scores, axis=1)

    def _scored(
        self, queries: np.ndarray, allowed: np.ndarray | None, first_row: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids (n,), ascending, and scores (Q, n), chunk by chunk, without the first rows of the cache."""
        last_id = 0
        if (mapped := self._cache.map()) is not None:
            memory, vectors = mapped
            last_id = self._cache.last_id

            def scored(chunk: _Chunk) -> tuple[np.ndarray, np.ndarray]:
                scores = self._scores(chunk, queries)
                begin = chunk.first_row * vectors.strides[0]
                give_back(memory, begin, begin + chunk.vectors.nbytes)
                return chunk.ids, scores

            yield from on_cores(scored, list(self._cached_chunks(vectors, allowed, first_row)))
        for chunk in self._newer_chunks(allowed, last_id):
            yield chunk.ids, self._scores(chunk, queries)

    def _scores(self, chunk: _Chunk, queries: np.ndarray) -> np.ndarray:
        if chunk.vectors.shape[1] != queries.shape[1]:
            raise self._store.damage()
        return self._sound(chunk.scores(queries))

    def _sound(self, scores: np.ndarray) -> np.ndarray:
        """The same scores. Those that no unit vectors have tell of damage."""
        if not (scores.max() < _MAX_COSINE and scores.min() > -_MAX_COSINE):  # false for NaN, too
            raise self._store.damage()
        return scores

    def _cached_chunks(self, vectors: np.ndarray, allowed: np.ndarray | None, first_row: int = 0) -> Iterator[_Chunk]:
        """Of the vectors of the cache (N, D), from that row on, those that have some of the ids allowed."""
        ids = self._cache.ids
        rows = None if allowed is None or _begins_with(allowed, ids) else rows_of(allowed, ids)
        for start in range(first_row, len(vectors), _SCANNED_ROWS):
            chunk = vectors[start : start + _SCANNED_ROWS]
            if rows is None:
                yield _Chunk(start, chunk, ids[start : start + len(chunk)], None)
                continue
            first, end = np.searchsorted(rows, (start, start + len(chunk)))
            if first != end:
                picked = rows[first:end]
                yield _Chunk(start, chunk, ids[picked], picked - start)

    def _newer_chunks(self, allowed: np.ndarray | None, last_id: int) -> Iterator[_Chunk]:
        """The same of the vectors of the table, from above that id on."""
        for ids, vectors in self._store.vectors.above(last_id):
            rows = None if allowed is None else np.flatnonzero(np.isin(ids, allowed))
            if rows is None or len(rows):
                yield _Chunk(0, vectors, ids if rows is None else ids[rows], rows)


def _begins_with(ids: np.ndarray, first: np.ndarray) -> bool:
    """(N,), (M,)"""
    return np.array_equal(ids[: len(first)], first)


class Nearest:
    """The best of the scores that were added so far, best first; of equal ones the first added."""

    def __init__(self, k: int):
        self._k = k
        self.ids = np.empty(0, np.int64)
        self.scores = np.empty(0, np.float32)

    def add(self, ids: np.ndarray, scores: np.ndarray) -> None:
        """(n,), (n,)"""
        if len(self.scores) == self._k:
            better = np.flatnonzero(scores > self.scores[-1])
            if not len(better):
                return
            ids, scores = ids[better], scores[better]
        scores = np.concatenate([self.scores, scores])
        best = top_k(scores, self._k)
        self.ids, self.scores = np.concatenate([self.ids, ids])[best], scores[best]


def stacked(arrays: list[np.ndarray], kind: type) -> np.ndarray:
    return np.stack(arrays) if arrays else np.empty((0, 0), kind)
