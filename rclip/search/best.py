"""The photos of one index with the highest scores for each query."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from rclip.index.photo_index import PhotoIndex
from rclip.search.folding import Folding
from rclip.search.lookup import Lookup
from rclip.search.query_encoder import EncodedQuery
from rclip.search.scored_photo import ScoredPhoto
from rclip.search.selection import Selection
from rclip.vectors import MAX_ERROR

_MARGIN = 16  # looked up beyond what is asked for, to tell near ties apart
_MAX_TIES = 1000  # beyond which ties are left as they fall

_MAX_SCORES = 1 << 24
"""So many are held at once, 64 MiB."""

_LEAST = 256
"""So many of the best are asked for: some may be missing, elsewhere or copies, and another pass would cost more."""

_LOOKED_THROUGH = 2048
"""So many of the best are looked up where filters are wide or scores limited, before the search asks for more."""


class _Nearest:
    """The photos with the highest scores for one query, best first."""

    __slots__ = ("ids", "k", "min_score", "scores")

    def __init__(self, ids: np.ndarray, scores: np.ndarray, min_score: float, k: int):
        """(K,) int64, (K,) float32 within `vectors.MAX_ERROR`, the lowest score of a result, and how many were asked
        for.
        """
        self.ids = ids
        self.scores = scores
        self.min_score = min_score
        self.k = k


class BestSearch:
    """Finds the best photos for queries, in the index as it is when the first is asked."""

    def __init__(
        self,
        index: PhotoIndex,
        number: int,
        select: Callable[[int | None], Selection],
        fold: float | None,
        moments: int = 1,
    ):
        """`select` makes the selection in the snapshot of the first query, whose version it is given.

        Photos with a cosine of at least `fold` are one result, as exact copies always are; with None, each is its own,
        and of a film the best `moments` are results.
        """
        self._store = index.store
        self._vectors = index.vector_search()
        self._number = number
        self._select = select
        self._fold = fold
        self._moments = moments

    def find(self, queries: Sequence[EncodedQuery], top: int) -> Iterator[list[ScoredPhoto]]:
        """The best photos for each query. May be called again for more queries."""
        nearest: list[_Nearest] = []
        for number, query in enumerate(queries):
            with self._store.snapshot() as version:
                selection = self._selected(version)
                if not nearest:
                    nearest = self._nearest(queries[number:], top, selection)
                found = self._best(nearest.pop(0), query, top, selection)
                selection.are_all_present = False  # others may write before the next query
            yield found

    def _selected(self, version: int | None) -> Selection:
        selection = self._select(version)
        self._select = lambda _: selection
        return selection

    # --- by their vectors --------------------------------------------------------------------------------------------

    def _nearest(self, queries: Sequence[EncodedQuery], top: int, selection: Selection) -> list[_Nearest]:
        """Of as many of the queries as share a pass over the vectors."""
        if selection.is_relevant:
            return self._relevant(queries, selection)
        k = max(top + _MARGIN, _LEAST)
        if selection.min_score > -1:
            k = min(k, _LOOKED_THROUGH)
        if selection.ids is None and selection.judges_rows:
            k = max(k, _LOOKED_THROUGH)
        found = self._vectors.search(_stacked(queries, min(k, self._store.vectors.last_id())), k, selection.vector_ids)
        return [_Nearest(ids, scores, selection.min_score, k) for ids, scores in zip(*found, strict=True)]

    def _relevant(self, queries: Sequence[EncodedQuery], selection: Selection) -> list[_Nearest]:
        """With the lowest relevant score of each query, judged by all scores that the index has for it."""
        from rclip.search import ranking  # most searches do without

        selection.settle()
        count = self._vectors.count(selection.vector_ids)
        together = _stacked(queries, count)
        quantiles = self._vectors.score_quantiles(together, ranking.BELL_QUANTILES)
        in_index = self._vectors.count()
        bells = [ranking.Bell.of(of_query, in_index) for of_query in quantiles]
        k = max(_LOOKED_THROUGH, count // 8)
        found = self._vectors.search(together, k, selection.vector_ids)
        if k < count and any(scores[-1] > bell.least for scores, bell in zip(found[1], bells, strict=True)):
            k = count
            found = self._vectors.search(together, k, selection.vector_ids)
        nearest = []
        for ids, scores, bell in zip(*found, bells, strict=True):
            lowest = ranking.relevance_cutoff(scores, bell, count, partial(self._are_copies, ids)) - MAX_ERROR
            nearest.append(_Nearest(ids, scores, max(selection.min_score, lowest), k))
        return nearest

    def _are_copies(self, ids: np.ndarray, first: int) -> np.ndarray:
        """Whether each of the first looks like one before it, or is missing. (K,) -> (first,) bool"""
        from rclip.search.ranking import COPY_COSINE

        rows = self._store.records(ids[:first].tolist())
        present = [number for number, row in enumerate(rows) if row]
        vectors = np.array([np.frombuffer(row.vector, np.float16) for row in rows if row], np.float32)
        copies = np.ones(first, bool)
        if present:
            copies[present] = np.any(np.tril(vectors @ vectors.T, -1) >= COPY_COSINE, axis=1)
        return copies

    # --- the photos themselves ---------------------------------------------------------------------------------------

    def _best(self, nearest: _Nearest, query: EncodedQuery, top: int, selection: Selection) -> list[ScoredPhoto]:
        """Looks up the best, and ever more of them until the exact scores of enough results leave no doubt.

        A film is found by its best moments. Photos may be ignored, missing, in other folders, copies, or pass no
        filter; nearly always one round is enough.
        """
        lookup = Lookup(self._store, self._number, selection, query)
        folding = None if self._fold is None else Folding(lookup, self._fold)
        candidates: list[ScoredPhoto] = []
        best: list[ScoredPhoto] = []
        looked_up = 0
        for ids, rest_is_below in self._by_score(nearest, query, top, selection):
            left = [id_ for id_ in ids.tolist() if id_ not in folding.folded] if folding else ids.tolist()
            found = [hit for hit in lookup.passing(left) if _score(hit) >= nearest.min_score]
            candidates = sorted(candidates + found, key=lambda hit: -_score(hit))
            best = folding.results(candidates, top) if folding else _best_moments(candidates, self._moments)[:top]
            looked_up += len(ids)
            is_settled = len(best) == top and (_score(best[-1]) >= rest_is_below or looked_up > top + _MAX_TIES)
            if is_settled or rest_is_below < nearest.min_score:
                break
        return lookup.with_metadata(best)

    def _by_score(
        self, nearest: _Nearest, query: EncodedQuery, top: int, selection: Selection
    ) -> Iterator[tuple[np.ndarray, float]]:
        """Ids of photos by falling score, each once, ever more at a time, and what the scores of the rest are below."""
        ids, scores, k = nearest.ids, nearest.scores, nearest.k
        seen = np.empty(0, np.int64)
        size = min(top, int(np.count_nonzero(scores >= nearest.min_score - MAX_ERROR))) + _MARGIN
        while True:
            is_all = len(ids) < k
            is_new = np.isin(ids, seen, invert=True)
            ids, scores = ids[is_new], scores[is_new]
            start = 0
            while start < len(ids):
                end = min(start + size, len(ids))
                yield ids[start:end], scores[end - 1] + MAX_ERROR
                start, size = end, 4 * size
            seen = np.concatenate([seen, ids])
            if selection.is_wide:
                selection.settle()
            elif is_all:
                return
            else:
                k *= 16
            found = self._vectors.search(query.vector[np.newaxis], k, selection.vector_ids)
            ids, scores = (of_one[0] for of_one in found)


def _best_moments(photos: Sequence[ScoredPhoto], most: int) -> list[ScoredPhoto]:
    """Without the moments of a film that come after so many others of it."""
    counts: Counter[int] = Counter()
    kept = []
    for photo in photos:
        counts[photo.row.photo_id] += 1
        if counts[photo.row.photo_id] <= most:
            kept.append(photo)
    return kept


def _score(photo: ScoredPhoto) -> float:
    assert photo.score is not None
    return photo.score


def _stacked(queries: Sequence[EncodedQuery], held: int) -> np.ndarray:
    """The vectors (Q, D) of the first queries, of each of which so many scores are held."""
    at_once = max(1, _MAX_SCORES // max(1, held))
    return np.stack([query.vector for query in queries[:at_once]])
