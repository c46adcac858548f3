"""Finds photos of one index: the best for each query, or the newest that pass the filters."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope
from rclip.index.store import PhotoRow, Store
from rclip.index.vector_cache import RowSelection, VectorCache
from rclip.photo.metadata import PhotoMetadata
from rclip.search import ranking
from rclip.search.query_encoder import EncodedQuery
from rclip.vectors import MAX_ERROR, exact_dot

if TYPE_CHECKING:
    from rclip.filters import Filters
    from rclip.index.columns import Columns
    from rclip.search.globs import Paths

_MAX_IDS = 50_000
"""Up to so many photos in the folders asked for, only they are scored; above, all are, and the best looked up."""

_MAX_PATHS = 20_000
"""Up to so many paths that match a glob are listed; of more, those of the best photos are looked at."""

_MAX_SCORES = 1 << 24
"""So many are held at once, 64 MiB: where an index has fewer photos, several queries share a pass over its vectors."""

_MARGIN = 16  # looked up beyond what is asked for, to tell near ties apart
_MAX_TIES = 1000  # beyond which ties are left as they fall


class Candidates(NamedTuple):
    """Which photos may be found, if they are present."""

    ids: np.ndarray | None = None
    """(N,) int64, ascending; None for all."""
    selection: RowSelection | None = None
    paths: "Mapping[bytes, Paths] | None" = None
    """Which may be found of each folder asked for; None for all."""
    min_score: float = -np.inf
    must_stand_out: bool = False

    def allow(self, folder: bytes, relative_path: bytes) -> bool:
        return self.paths is None or self.paths[folder].allow(os.fsdecode(relative_path))


class ScoredRows(NamedTuple):
    """The scores of photos for one query, and which of them may be found."""

    ids: np.ndarray
    """(N,) int64"""
    scores: np.ndarray
    """(N,) float32, within `vectors.MAX_ERROR`"""
    candidates: Candidates


class ScoredPhoto(NamedTuple):
    """A photo, its score, which is None where there was no query, and its metadata."""

    score: float | None
    row: PhotoRow
    metadata: PhotoMetadata


class Searcher:
    """Finds photos of one index in one scope."""

    def __init__(self, index: PhotoIndex, scope: Scope):
        self._index = index
        self._scope = scope
        self._ranges = scope.ranges()

    @property
    def store(self) -> Store:
        """The index's database."""
        return self._index.store

    def has_photos(self) -> bool:
        """Whether anything is indexed in the scope's folders."""
        if not self._index.exists():
            return False
        has_some = self._index.store.ids(self._ranges, most=0) is None
        if not has_some:
            self._index.check_counts(self._ranges)
        return has_some

    def search(
        self, filters: "Filters | None"
    ) -> "Callable[[Sequence[EncodedQuery], int], Iterator[list[ScoredPhoto]]]":
        """A function that finds the best photos for each query, in the index as it is when the first is asked."""
        index, store = self._index, self._index.store
        cache = index.vector_cache()
        needs_columns = filters is not None and filters.need_columns
        if needs_columns:
            index.update_columns(cache)
        candidates: Candidates | None = None
        is_first = filters is None
        folders = tuple(self._ranges)

        def find(queries: Sequence[EncodedQuery], top: int) -> "Iterator[list[ScoredPhoto]]":
            nonlocal candidates, is_first
            at_once = max(1, _MAX_SCORES // max(1, store.last_id()))
            scored: list[ScoredRows] = []
            for number, query in enumerate(queries):
                with store.snapshot() as version:
                    kept = index.kept(folders, version) if is_first else None
                    candidates = kept or candidates
                    if candidates is None:
                        candidates = self._candidates(filters, index.columns(cache) if needs_columns else None)
                        self._check_filtered(filters, candidates)
                    are_all_present = is_first and candidates.ids is not None
                    if not scored:
                        scored = _scored(cache, queries[number : number + at_once], candidates)
                    if are_all_present and not kept and candidates.ids is not None:
                        self._check_scored(len(scored[0].ids), len(candidates.ids))
                    if is_first:
                        index.keep(folders, version, candidates)
                    found = self._best(scored.pop(0), query, top, are_all_present)
                is_first = False
                yield found

        return find

    def photos(self) -> tuple[np.ndarray, list[bytes]]:
        """Ids (N,) int64, ascending, and paths of all photos that may be found."""
        known = (photo for folder in self._ranges for photo in self.store.photos(folder))
        found = sorted(photo for photo in known if self._may_find(photo[1], Candidates()))
        return np.array([id_ for id_, _ in found], np.int64), [path for _, path in found]

    def photo_ids(self) -> np.ndarray:
        """The same without the paths, which take far more memory."""
        known = (photo for folder in self._ranges for photo in self.store.photos(folder))
        return np.sort(np.fromiter((id_ for id_, path in known if self._may_find(path, Candidates())), np.int64))

    def photos_of(self, ids: Sequence[int]) -> "list[ScoredPhoto]":
        """Those of the photos that are still there."""
        return self._with_metadata([(None, row) for row in self.store.records(ids) if row])

    def vectors(self) -> tuple[list[bytes], np.ndarray]:
        """Paths and vectors (N, D) float16 of all photos that may be found, by id."""
        while True:
            cache = self._index.vector_cache(append_from_rows=1)
            ids, paths = self.photos()
            try:
                return paths, cache.vectors_of(ids)
            except KeyError:  # somebody has just replaced or added some
                continue

    def newest(self, top: int, filters: "Filters") -> "list[ScoredPhoto]":
        """The photos that pass the filters, the one taken last first."""
        cache = self._index.vector_cache()
        self._index.update_columns(cache)
        with self._index.store.snapshot():
            return self._newest_now(top, filters, self._index.columns(cache))

    def _newest_now(self, top: int, filters: "Filters", columns: "Columns") -> "list[ScoredPhoto]":
        candidates = self._candidates(filters, columns)
        self._check_filtered(filters, candidates)
        ids = columns.newest_first(candidates.selection or columns.chosen(filters), candidates.ids)
        found: list[PhotoRow] = []
        start, count = 0, top + _MARGIN
        while len(found) < top and start < len(ids):
            rows = self._index.store.records(ids[start : start + count].tolist())
            found += (row for row in rows if row and self._may_find(row.path, candidates))
            start, count = start + count, 4 * count
        return self._with_metadata([(None, row) for row in found[:top]])

    def _with_metadata(self, found: "Sequence[tuple[float | None, PhotoRow]]") -> "list[ScoredPhoto]":
        metadata = self._index.store.metadata.of([row.id for _, row in found])
        return [ScoredPhoto(score, row, known) for (score, row), known in zip(found, metadata, strict=True)]

    def _check_scored(self, scored: int, expected: int) -> None:
        """Raises `DamagedIndex` where a photo has silently dropped out of a part of the index."""
        self._index.check_counts(self._ranges)
        unreadable = sum(len(self._index.store.failures(folder)) for folder in self._ranges)
        if scored + unreadable != expected:
            raise self._index.store.damage()

    def _check_filtered(self, filters: "Filters | None", candidates: Candidates) -> None:
        """The same for filtered photos, of which no one knows how many there should be.

        How many a glob has chosen says nothing of how many there are to count.
        """
        if filters is None or candidates.ids is None:
            return
        if not candidates.paths or self._index.store.last_id() <= _MAX_IDS:
            self._index.check_counts(self._ranges)

    def _best(self, scored: ScoredRows, query: EncodedQuery, top: int, are_all_present: bool) -> "list[ScoredPhoto]":
        """Looks up the best, and ever more of them until the exact scores of enough hits leave no doubt.

        Ids may belong to photos that are ignored and, unless `are_all_present`, to missing ones and to those in other
        folders; nearly always one round is enough.
        """
        ids, scores, candidates = scored
        count = min(top, int(np.count_nonzero(scores >= candidates.min_score - MAX_ERROR))) + _MARGIN
        while True:
            best_rows = ranking.top_k(scores, count)
            found = self._index.store.records(ids[best_rows].tolist())
            if are_all_present and not all(row and any(self._scope.inside(row.path)) for row in found):
                raise self._index.store.damage()
            exact = [
                (exact_dot(row.vector, query.vector), row)
                for row in found
                if row and self._may_find(row.path, candidates) and row.path not in query.pictures
            ]
            best = sorted((hit for hit in exact if hit[0] >= candidates.min_score), key=lambda hit: -hit[0])[:top]
            if count >= len(ids):
                return self._with_metadata(best)
            rest_is_below = scores[best_rows[-1]] + MAX_ERROR
            is_settled = len(best) == top and (best[-1][0] >= rest_is_below or count > top + _MAX_TIES)
            if is_settled or rest_is_below < candidates.min_score:
                return self._with_metadata(best)
            count *= 4

    # --- filters -----------------------------------------------------------------------------------------------------

    def _candidates(self, filters: "Filters | None", columns: "Columns | None") -> Candidates:
        """`columns` are needed where the filters need them."""
        if filters is None:
            return Candidates(self._index.store.ids(self._ranges, _MAX_IDS))
        paths = self._paths(filters.paths) if filters.paths else None
        if paths and any(inside.wanted for inside in paths.values()):
            ids = self._ids_by_path(paths)
        else:
            ids = self._index.store.ids(self._ranges, _MAX_IDS)
        selection = columns.chosen(filters) if columns and filters.need_columns else None
        lowest = -np.inf if filters.min_score is None else filters.min_score
        return Candidates(ids, selection, paths, lowest, filters.is_relevant)

    def _paths(self, globs: Sequence[str]) -> "dict[bytes, Paths]":
        """Which paths pass the globs in each folder."""
        from rclip.search.globs import Paths

        return {real: Paths(globs, names) for real, names in self._scope.names().items()}

    def _ids_by_path(self, paths: "Mapping[bytes, Paths]") -> np.ndarray | None:
        """Ids (N,) int64, ascending, of the photos that match one of the globs wanted; None when many do.

        Where many match, those that are looked up will match, too, often enough.
        """
        from rclip.search.globs import literal_start, longest_literal, sqlite_glob, sqlite_literal

        found: dict[int, bytes] = {}
        for folder, inside in paths.items():
            for wanted in inside.wanted:
                start = folder + os.fsencode(literal_start(wanted))
                start = folder if start.endswith(b"\xff") else start
                glob = sqlite_literal(os.fsdecode(folder)) + sqlite_glob(wanted)
                part = os.fsencode(longest_literal(wanted))
                like = self._index.store.paths_like(start, part, os.fsencode(glob), _MAX_PATHS)
                if like is None:
                    return None
                found |= like
        candidates = Candidates(paths=paths)
        return np.array(sorted(id_ for id_, path in found.items() if self._may_find(path, candidates)), np.int64)

    def _may_find(self, path: bytes, candidates: Candidates) -> bool:
        """Whether a walk of the scope would come to the photo, and the globs allow it."""
        if not self._index.location.contains(path):
            return False
        return any(
            not self._scope.rules.ignores_path(relative) and candidates.allow(folder, relative)
            for folder, relative in self._scope.inside(path)
        )


def merged(
    parts: "Sequence[list[ScoredPhoto]]", top: int, order: "Callable[[ScoredPhoto], float]"
) -> "list[ScoredPhoto]":
    """The first of the photos that several indexes have found, each in that order; a photo that two hold comes once."""
    if len(parts) == 1:
        return parts[0]
    distinct = {found.row.path: found for part in parts for found in part}
    return sorted(distinct.values(), key=order)[:top]


def _scored(cache: VectorCache, queries: Sequence[EncodedQuery], candidates: Candidates) -> list[ScoredRows]:
    """Of each query, by one pass over the vectors for all of them."""
    vectors = np.stack([query.vector for query in queries])
    ids, scores = cache.scores(vectors, candidates.ids, candidates.selection)
    if not candidates.must_stand_out:
        return [ScoredRows(ids, of_query, candidates) for of_query in scores]
    is_part = candidates.ids is not None or candidates.selection is not None
    background = cache.scores(vectors)[1] if is_part else scores
    pairs = zip(scores, background, strict=True)
    return [ScoredRows(ids, of_query, _relevant(candidates, of_query, of_all)) for of_query, of_all in pairs]


def _relevant(candidates: Candidates, scores: np.ndarray, background: np.ndarray) -> Candidates:
    """The relevant ones of candidates with these scores, judged by all scores that the index has for the query."""
    lowest = ranking.relevance_cutoff(scores, background) if len(scores) else np.inf
    return candidates._replace(min_score=max(candidates.min_score, lowest - MAX_ERROR))
