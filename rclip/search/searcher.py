"""Finds photos of one index: the best for each query, or the newest that pass the filters."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope
from rclip.index.store import PhotoRow, Store
from rclip.index.vector_search import VectorSearch
from rclip.photo.metadata import NO_METADATA, PhotoMetadata
from rclip.search import ranking
from rclip.search.folding import COPIES, Folding, Lookup, together
from rclip.search.query_encoder import EncodedQuery
from rclip.search.scored_photo import ScoredPhoto
from rclip.search.selection import Selection
from rclip.vectors import MAX_ERROR, exact_dot

if TYPE_CHECKING:
    from rclip.filters import Filters
    from rclip.index.store.facets import FacetRow

_MARGIN = 16  # looked up beyond what is asked for, to tell near ties apart
_MAX_TIES = 1000  # beyond which ties are left as they fall

_MAX_SCORES = 1 << 24
"""So many are held at once, 64 MiB."""

_LEAST = 256
"""So many of the best are asked for: some may be missing, elsewhere or copies, and another pass would cost more."""

_LOOKED_THROUGH = 2048
"""So many of the best are looked up where filters are wide or scores limited, before the search asks for more."""

_MAX_SORTED = 4096
"""Up to so many photos are put in the order of their times; of more, the newest of all are looked through."""

_STREAMED = 1 << 16
"""So many of the newest are looked through for the few that pass, before these are listed and sorted."""


class _Nearest(NamedTuple):
    """The photos with the highest scores for one query, best first."""

    ids: np.ndarray
    """(K,) int64"""
    scores: np.ndarray
    """(K,) float32, within `vectors.MAX_ERROR`"""
    min_score: float
    k: int
    """How many were asked for."""


class Searcher:
    """Finds photos of one index in one scope."""

    def __init__(self, index: PhotoIndex, scope: Scope, number: int = 0):
        """`number` is that of the index among those of a library, and part of its photos' ids."""
        self._index = index
        self._scope = scope
        self._number = number
        self._ranges = scope.ranges()

    @property
    def store(self) -> Store:
        """The index's database."""
        return self._index.store

    def has_photos(self) -> bool:
        """Whether anything is indexed in the scope's folders."""
        if not self._index.exists():
            return False
        has_some = self.has_photos_in(self._ranges)
        if not has_some:
            self.store.check_counts(self._ranges)
        return has_some

    def has_photos_in(self, ranges: Sequence[bytes]) -> bool:
        """The same for some of the folders."""
        return self._index.exists() and self.store.ids(ranges, most=0) is None

    # --- the best for a query ----------------------------------------------------------------------------------------

    def search(
        self, filters: "Filters | None", fold: float | None = COPIES
    ) -> "Callable[[Sequence[EncodedQuery], int], Iterator[list[ScoredPhoto]]]":
        """A function that finds the best photos for each query, in the index as it is when the first is asked.

        Photos with a cosine of at least `fold` are one result, as exact copies always are; with None, each is its own.
        """
        vectors = self._index.vector_search()
        self._prepare(filters)
        selection: Selection | None = None

        def find(queries: Sequence[EncodedQuery], top: int) -> "Iterator[list[ScoredPhoto]]":
            nonlocal selection
            nearest: list[_Nearest] = []
            for number, query in enumerate(queries):
                with self.store.snapshot() as version:
                    selection = selection or self._selection(filters, version)
                    if not nearest:
                        nearest = self._nearest(vectors, queries[number:], top, selection)
                    found = self._best(vectors, nearest.pop(0), query, top, selection, fold)
                    selection.are_all_present = False  # others may write before the next query
                yield found

        return find

    def _prepare(self, filters: "Filters | None") -> None:
        """What cannot be done within a snapshot."""
        if filters and filters.text:
            self._index.catch_up_words()

    def _selection(self, filters: "Filters | None", version: int | None) -> Selection:
        """Without filters it is kept for as long as the database does not change."""
        if filters is not None:
            return Selection(self._index, self._scope, filters)
        folders = tuple(self._ranges)
        selection: Selection = self._index.kept(folders, version) or Selection(self._index, self._scope, None)
        self._index.keep(folders, version, selection)
        return selection

    def _nearest(
        self, vectors: VectorSearch, queries: Sequence[EncodedQuery], top: int, selection: Selection
    ) -> list[_Nearest]:
        """Of as many of the queries as share a pass over the vectors."""
        if selection.is_relevant:
            return self._relevant(vectors, queries, selection)
        k = max(top + _MARGIN, _LEAST)
        if selection.min_score > -1:
            k = min(k, _LOOKED_THROUGH)
        if selection.ids is None and selection.judges_rows:
            k = max(k, _LOOKED_THROUGH)
        found = vectors.search(_stacked(queries, min(k, self.store.last_id())), k, selection.vector_ids)
        return [_Nearest(ids, scores, selection.min_score, k) for ids, scores in zip(*found, strict=True)]

    def _relevant(self, vectors: VectorSearch, queries: Sequence[EncodedQuery], selection: Selection) -> list[_Nearest]:
        """With the lowest relevant score of each query, judged by all scores that the index has for it."""
        selection.settle()
        count = vectors.count(selection.vector_ids)
        together = _stacked(queries, count)
        quantiles = vectors.score_quantiles(together, ranking.BELL_QUANTILES)
        in_index = vectors.count()
        bells = [ranking.Bell.of(of_query, in_index) for of_query in quantiles]
        k = max(_LOOKED_THROUGH, count // 8)
        found = vectors.search(together, k, selection.vector_ids)
        if k < count and any(scores[-1] > bell.least for scores, bell in zip(found[1], bells, strict=True)):
            k = count
            found = vectors.search(together, k, selection.vector_ids)
        nearest = []
        for ids, scores, bell in zip(*found, bells, strict=True):
            lowest = ranking.relevance_cutoff(scores, bell, count, partial(self._are_copies, ids)) - MAX_ERROR
            nearest.append(_Nearest(ids, scores, max(selection.min_score, lowest), k))
        return nearest

    def _are_copies(self, ids: np.ndarray, first: int) -> np.ndarray:
        """Whether each of the first looks like one before it, or is missing. (K,) -> (first,) bool"""
        rows = self.store.records(ids[:first].tolist())
        present = [number for number, row in enumerate(rows) if row]
        vectors = np.array([np.frombuffer(row.vector, np.float16) for row in rows if row], np.float32)
        copies = np.ones(first, bool)
        if present:
            copies[present] = np.any(np.tril(vectors @ vectors.T, -1) >= ranking.COPY_COSINE, axis=1)
        return copies

    def _best(
        self,
        vectors: VectorSearch,
        nearest: _Nearest,
        query: EncodedQuery,
        top: int,
        selection: Selection,
        fold: float | None,
    ) -> "list[ScoredPhoto]":
        """Looks up the best, and ever more of them until the exact scores of enough results leave no doubt.

        A film is found by its best moment. Photos may be ignored, missing, in other folders, copies, or pass no filter;
        nearly always one round is enough.
        """
        folding = None if fold is None else self._folding(fold, selection, query)
        candidates: list[ScoredPhoto] = []
        best: list[ScoredPhoto] = []
        looked_up = 0
        for ids, rest_is_below in self._by_score(vectors, nearest, query, top, selection):
            left = [id_ for id_ in ids.tolist() if id_ not in folding.folded] if folding else ids.tolist()
            found = [hit for hit in self._passing(left, selection, query) if _score(hit) >= nearest.min_score]
            candidates = sorted(candidates + found, key=lambda hit: -_score(hit))
            best = folding.results(candidates, top) if folding else _each_file_once(candidates)[:top]
            looked_up += len(ids)
            is_settled = len(best) == top and (_score(best[-1]) >= rest_is_below or looked_up > top + _MAX_TIES)
            if is_settled or rest_is_below < nearest.min_score:
                break
        return self._with_metadata(best, selection)

    def _folding(self, similarity: float, selection: Selection, query: EncodedQuery | None = None) -> Folding:
        lookup = Lookup(
            relatives=lambda photos: self.store.relatives(photo.row for photo in photos),
            passing=lambda ids: self._passing(selection.among(ids), selection, query),
            with_metadata=lambda photos: self._with_metadata(photos, selection),
        )
        return Folding(lookup, similarity)

    def _by_score(
        self, vectors: VectorSearch, nearest: _Nearest, query: EncodedQuery, top: int, selection: Selection
    ) -> Iterator[tuple[np.ndarray, float]]:
        """Ids of photos by falling score, each once, ever more at a time, and what the scores of the rest are below."""
        ids, scores, min_score, k = nearest
        seen = np.empty(0, np.int64)
        size = min(top, int(np.count_nonzero(scores >= min_score - MAX_ERROR))) + _MARGIN
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
            ids, scores = (of_one[0] for of_one in vectors.search(query.vector[np.newaxis], k, selection.vector_ids))

    def _passing(
        self, ids: Sequence[int], selection: Selection, query: EncodedQuery | None = None
    ) -> "Iterator[ScoredPhoto]":
        """The photos of these ids that are present and pass, but for the pictures that the query was made of.

        They come without their metadata where no filter asks for it: most of them are only looked up to be ranked.
        """
        found = self.store.records(ids)
        if any(selection.is_missing(row and row.path) for row in found):
            raise self.store.damage()
        rows = [row for row in found if row]
        rows = [row for row in rows if query is None or row.path not in query.pictures]
        metadata = self._metadata_of(rows) if selection.needs_metadata else [NO_METADATA] * len(rows)
        for row, known in zip(rows, metadata, strict=True):
            photo = self._photo(row, known, exact_dot(row.vector, query.vector) if query else None)
            if selection.passes(photo):
                yield photo

    def _with_metadata(self, photos: "Sequence[ScoredPhoto]", selection: Selection) -> "list[ScoredPhoto]":
        """What `_passing` gave, with the metadata that was left out."""
        if selection.needs_metadata:
            return list(photos)
        metadata = self._metadata_of([photo.row for photo in photos])
        return [photo._replace(metadata=known) for photo, known in zip(photos, metadata, strict=True)]

    def _metadata_of(self, rows: Sequence[PhotoRow]) -> list[PhotoMetadata]:
        return self.store.metadata.of([row.photo_id for row in rows])

    # --- all photos --------------------------------------------------------------------------------------------------

    def photos(self) -> tuple[np.ndarray, list[bytes]]:
        """Ids (N,) int64, ascending, and paths of all photos that may be found."""
        found = sorted(self._all_photos())
        return np.array([id_ for id_, _ in found], np.int64), [path for _, path in found]

    def photo_ids(self) -> np.ndarray:
        """The same without the paths, which take far more memory."""
        return np.sort(np.fromiter((id_ for id_, _ in self._all_photos()), np.int64))

    def ids_by_path(self, folder: bytes) -> np.ndarray:
        """The same (N,) of one of `ranges`, in the order of paths."""
        selection = Selection(self._index, self._scope, None)
        known = ((id_, path) for id_, path in self.store.photos(folder) if selection.allows_path(path))
        return np.fromiter((id_ for id_, _ in known), np.int64)

    def offline_paths(self, folder: bytes) -> set[bytes]:
        """Paths of photos below the folder that are missing with all that was beside them: they may come back."""
        missing = self.store.missing(folder, time.time_ns(), with_offline=True)
        return {row.path for row in missing if row.is_offline}

    def _all_photos(self) -> Iterator[tuple[int, bytes]]:
        selection = Selection(self._index, self._scope, None)
        known = (photo for folder in self._ranges for photo in self.store.photos(folder))
        return (photo for photo in known if selection.allows_path(photo[1]))

    def count_excluded(self) -> int:
        """How many photos the index knows in the folders that the user's settings or ignore files exclude."""
        selection = Selection(self._index, self._scope, None)
        if not selection.has_exclusions:
            return 0
        known = (path for folder in self._ranges for _, path in self.store.photos(folder))
        return sum(not selection.allows_path(path) for path in known)

    def photos_of(self, ids: Sequence[int]) -> "list[ScoredPhoto]":
        """Those of the photos that are still present."""
        rows = [row for row in self.store.records(ids) if row]
        metadata = self._metadata_of(rows)
        return [self._photo(row, known) for row, known in zip(rows, metadata, strict=True)]

    @property
    def ranges(self) -> list[bytes]:
        """The scope's folders without those that lie inside another of them."""
        return self._ranges

    def facet_rows(self) -> "Iterator[FacetRow]":
        """What each photo that may be found adds to the facets."""
        from rclip.index.store import facets

        selection = Selection(self._index, self._scope, None)
        rows = (row for folder in self._ranges for row in facets.rows(self.store, folder))
        return (row for row in rows if selection.allows_path(row.path))

    def photo(self, id_: int) -> "ScoredPhoto | None":
        """The photo of this id if a search could find it."""
        found = self.photos_of([id_])
        with self.store.snapshot() as version:
            selection = self._selection(None, version)
            if not found or not selection.allows_path(found[0].path):
                return None
            return self._folding(COPIES, selection).with_copies(found[0])

    def _photo(self, row: PhotoRow, metadata: PhotoMetadata, score: float | None = None) -> ScoredPhoto:
        return ScoredPhoto(score, row, metadata, f"{self._number}-{row.id}")

    def vectors(self) -> tuple[list[bytes], np.ndarray]:
        """Paths and vectors (N, D) float16 of all photos that may be found, by id."""
        while True:
            cache = self._index.vector_cache(append_from_rows=1)
            ids, paths = self.photos()
            if not paths:  # all files are unreadable
                return [], np.empty((0, 0), np.float16)
            try:
                return paths, cache.vectors_of(ids)
            except KeyError:  # somebody has just replaced or added some
                continue

    def ids_and_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids (N,) int64, ascending, and vectors (N, D) float16 of all photos that may be found."""
        while True:
            cache = self._index.vector_cache(append_from_rows=1)
            ids = self.photo_ids()
            if not len(ids):
                return ids, np.empty((0, 0), np.float16)
            try:
                return ids, cache.vectors_of(ids)
            except KeyError:  # somebody has just replaced or added some
                continue

    # --- the newest --------------------------------------------------------------------------------------------------

    def newest(self, top: int, filters: "Filters", fold: float | None = COPIES) -> "list[ScoredPhoto]":
        """The photos that pass the filters, the one taken last first; `fold` as in `search`."""
        found: list[ScoredPhoto] = []
        results: list[ScoredPhoto] = []
        self._prepare(filters)
        with self.store.snapshot():
            selection = Selection(self._index, self._scope, filters)
            folding = None if fold is None else self._folding(fold, selection)
            for ids in self._by_time(filters, top, selection):
                found += self._passing(ids.tolist(), selection)
                if len(found) >= top:
                    results = folding.results(found, top) if folding else found[:top]
                    if len(results) == top:
                        break
            else:
                results = folding.results(found, top) if folding else found[:top]
            return self._with_metadata(results, selection)

    def _by_time(self, filters: "Filters", top: int, selection: Selection) -> Iterator[np.ndarray]:
        """Ids of photos that may pass, the one taken last first, some at a time."""
        from rclip.filters import time_range
        from rclip.index.store import filtering

        if top > _STREAMED:
            selection.settle()
        streamed = 0
        seen = np.empty(0, np.int64)
        if selection.ids is None or len(selection.ids) > _MAX_SORTED:
            for ids in filtering.newest_first(self.store, time_range(filters)):
                passing = ids if selection.ids is None else ids[_are_among(ids, selection.ids)]
                yield passing
                seen = np.concatenate([seen, passing])
                streamed += len(ids)
                if streamed > _STREAMED >= top and (selection.is_wide or selection.ids is not None):
                    break
            else:
                return
            selection.settle()
        assert selection.ids is not None
        yield from _in_parts(filtering.newest_of(self.store, np.setdiff1d(selection.ids, seen).tolist()))


def vectors_of_all(searchers: Sequence[Searcher], dimensions: int) -> tuple[list[bytes], np.ndarray]:
    """What `Searcher.vectors` gives for several indexes, in a copy unless it is one; a photo of two comes once."""
    parts = [part for part in (searcher.vectors() for searcher in searchers) if part[0]]
    if len(parts) == 1:
        return parts[0]
    distinct = {path: vector for paths, vectors in parts for path, vector in zip(paths, vectors, strict=True)}
    vectors = np.array([*distinct.values()], np.float16)
    return [*distinct], vectors.reshape(len(distinct), dimensions)


def merged(
    parts: "Sequence[list[ScoredPhoto]]",
    top: int,
    order: "Callable[[ScoredPhoto], float | bytes]",
    fold: float | None,
) -> "list[ScoredPhoto]":
    """The first of the photos that several indexes have found, each in that order; a photo that two hold comes once."""
    if len(parts) == 1:
        return parts[0]
    return together(sorted((found for part in parts for found in part), key=order), fold, top)


def _each_file_once(photos: "Sequence[ScoredPhoto]") -> "list[ScoredPhoto]":
    """Without the moments of a film that come after another one of it."""
    first: dict[int, ScoredPhoto] = {}
    for photo in photos:
        first.setdefault(photo.row.photo_id, photo)
    return [*first.values()]


def _score(photo: ScoredPhoto) -> float:
    assert photo.score is not None
    return photo.score


def _stacked(queries: Sequence[EncodedQuery], held: int) -> np.ndarray:
    """The vectors (Q, D) of the first queries, of each of which so many scores are held."""
    at_once = max(1, _MAX_SCORES // max(1, held))
    return np.stack([query.vector for query in queries[:at_once]])


def _are_among(ids: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each is one of the others, which ascend and are some. (n,), (N,) -> (n,) bool"""
    is_among: np.ndarray = others[np.searchsorted(others, ids).clip(max=len(others) - 1)] == ids
    return is_among


def _in_parts(ids: np.ndarray) -> Iterator[np.ndarray]:
    start, size = 0, 64
    while start < len(ids):
        yield ids[start : start + size]
        start, size = start + size, 4 * size
