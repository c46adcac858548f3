"""Finds photos in a database that others share, as `Searcher` does in an index: same queries, same filters, same order.

The database does the work: it filters, sorts and merges. What it gives is foreign data: it was checked on its way here,
each photo is judged once more by the filters themselves, and its exact score is worked out here.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rclip.filters import Filters, by_row, shown_here_s
from rclip.globs import Paths, literal_start, longest_literal
from rclip.ignoring import IgnoreRules, TreeRules
from rclip.index.location import Folder
from rclip.index.scope import Scope
from rclip.index.store import PhotoRow
from rclip.photo.metadata import NO_METADATA
from rclip.search import ranking
from rclip.search.query_encoder import EncodedQuery
from rclip.search.scored_photo import ScoredPhoto
from rclip.vectordb import Conditions, ScoredRow, VectorDatabase
from rclip.vectors import MAX_ERROR, exact_dot

if TYPE_CHECKING:
    from rclip.filters import Filter

_MARGIN = 16
"""Asked for beyond what is wanted, to tell near ties apart."""

_MOST_TIES = 1000
"""Beyond which ties are left as they fall."""

_ZONES_S = 16 * 3600
"""By so much no clock differs from UTC."""

_LEAST_SCORES = 2048


class _Nearest(NamedTuple):
    """What is asked for one query."""

    query: EncodedQuery
    top: int
    least: float
    """Lowest score of a hit."""


class RemoteSearcher:
    """Finds photos of one database in one scope."""

    def __init__(
        self,
        database: VectorDatabase,
        folders: Sequence[Folder],
        rules: IgnoreRules,
        *,
        is_everything: bool = False,
        is_opening: bool = False,
    ):
        """`is_everything` says that all photos are in the folders, which is then not asked of each.

        `is_opening` leaves out photos that a link here leads out of the folders: their files are going to be opened.
        """
        self._database = database
        self._is_everything = is_everything
        self._scope = Scope(folders, rules)
        self._is_opening = is_opening

    def has_photos(self) -> bool:
        return self._database.has_photos(self._conditions(None, None))

    def search(self, filters: Filters | None) -> "Callable[[Sequence[EncodedQuery], int], Iterator[list[ScoredPhoto]]]":
        """A function that finds the best photos for each query, each in the database as it is then."""
        selection = _Selection(self._scope, filters, self._is_opening)
        conditions = self._conditions(filters, selection)
        is_approximate: bool | None = None

        def find(queries: Sequence[EncodedQuery], top: int) -> Iterator[list[ScoredPhoto]]:
            nonlocal is_approximate
            if is_approximate is None:
                is_approximate = self._database.is_approximate
            for query in queries:
                with self._database.snapshot():
                    least = self._least(query, filters, conditions)
                    found = self._best(_Nearest(query, top, least), selection, conditions, is_approximate)
                yield found

        return find

    def newest(self, top: int, filters: Filters) -> "list[ScoredPhoto]":
        """The photos that pass the filters, the one taken last first."""
        selection = _Selection(self._scope, filters, self._is_opening)
        conditions = self._conditions(filters, selection)
        k = _asked(top)
        with self._database.snapshot():
            while True:
                found: list[tuple[int, ScoredPhoto]] = []
                count, last = 0, math.inf
                for row in self._database.newest(k, conditions):
                    count, last = count + 1, row.score
                    photo = _photo(row, None)
                    if selection.passes(photo):
                        found.append((_taken_s(photo), photo))
                found = sorted(found, key=lambda taken: (-taken[0], taken[1].path))[:top]
                is_settled = len(found) == top and found[-1][0] >= last + _ZONES_S
                if k is None or count < k or is_settled:
                    return [photo for _, photo in found]
                k *= 8

    def _conditions(self, filters: Filters | None, selection: "_Selection | None") -> Conditions:
        folders = () if self._is_everything else tuple(self._scope.ranges())
        return Conditions(folders, selection.like if selection else (), filters)

    # --- the best ----------------------------------------------------------------------------------------------------

    def _best(
        self, nearest: _Nearest, selection: "_Selection", conditions: Conditions, is_approximate: bool
    ) -> "list[ScoredPhoto]":
        """Asks for ever more photos until the exact scores of enough hits leave no doubt."""
        query, top, least = nearest
        k = _asked(top)
        while True:
            best: list[ScoredPhoto] = []
            count, last = 0, math.inf
            asked = self._database.nearest(query.vector, k, conditions, least - MAX_ERROR, not is_approximate)
            for row in asked:
                count, last = count + 1, row.score
                photo = _photo(row, query)
                if photo.path not in query.pictures and _score(photo) >= least and selection.passes(photo):
                    best.append(photo)
            best = sorted(best, key=lambda hit: (-_score(hit), hit.path))[:top]
            is_settled = len(best) == top and (_score(best[-1]) >= last + MAX_ERROR or count > top + _MOST_TIES)
            if is_settled or ((k is None or count < k) and not is_approximate):
                return best
            if k is not None and count == k:
                k *= 8
            else:  # an approximate index has found no more: all photos are looked at
                is_approximate = False

    def _least(self, query: EncodedQuery, filters: Filters | None, conditions: Conditions) -> float:
        """The lowest score that a hit may have; see `Searcher`."""
        least = -math.inf if filters is None or filters.min_score is None else filters.min_score
        if filters is None or not filters.is_relevant:
            return least
        count = self._database.count(conditions)
        quantiles, in_database = self._database.quantiles(query.vector, ranking.BELL_QUANTILES)
        bell = ranking.Bell.of(quantiles, in_database)
        k = max(_LEAST_SCORES, count // 8)
        scores = self._database.scores(query.vector, k, conditions)
        if len(scores) == k < count and scores[-1] > bell.least:
            scores = self._database.scores(query.vector, count, conditions)
        are_copies = partial(self._are_copies, query, conditions)
        return max(least, ranking.relevance_cutoff(scores, bell, count, are_copies) - MAX_ERROR)

    def _are_copies(self, query: EncodedQuery, conditions: Conditions, first: int) -> np.ndarray:
        """Whether each of the first looks like one before it. -> (first,) bool"""
        found = [row.photo.vector for row in self._database.nearest(query.vector, first, conditions, -math.inf, True)]
        vectors = np.frombuffer(b"".join(found), np.float16).reshape(len(found), -1).astype(np.float32)
        copies = np.ones(first, bool)
        copies[: len(found)] = np.any(np.tril(vectors @ vectors.T, -1) >= ranking.COPY_COSINE, axis=1)
        return copies


class _Selection:
    """Which photos may be found: those in the scope that pass the filters."""

    def __init__(self, scope: Scope, filters: Filters | None, is_opening: bool):
        self._scope = scope
        self._rules = {folder.real: TreeRules(folder.real, scope.rules) for folder in scope.folders}
        self._is_opening = is_opening
        self._by_row: list[Filter] = by_row(filters) if filters else []
        globs = filters.paths if filters else ()
        self._paths = {real: Paths(globs, names) for real, names in scope.names().items()} if globs else None
        self.like = tuple(_like(self._paths)) if self._paths else ()
        """What paths start with and contain that match a glob wanted."""

    def passes(self, photo: ScoredPhoto) -> bool:
        return (
            any(
                not self._rules[folder].ignores_path(relative)
                and (self._paths is None or self._paths[folder].allow(os.fsdecode(relative)))
                and (not self._is_opening or os.path.realpath(photo.path).startswith(folder))
                for folder, relative in self._scope.inside(photo.path)
            )
        ) and all(each.matches(photo) for each in self._by_row)


def _like(paths: dict[bytes, Paths]) -> Iterator[tuple[bytes, bytes]]:
    """None where in one of the folders no glob is wanted, as then all its photos are."""
    if all(inside.wanted for inside in paths.values()):
        for folder, inside in paths.items():
            for wanted in inside.wanted:
                yield folder + os.fsencode(literal_start(wanted)), os.fsencode(longest_literal(wanted))


def _asked(top: int) -> int | None:
    return None if top == sys.maxsize else top + _MARGIN


def _photo(found: ScoredRow, query: EncodedQuery | None) -> ScoredPhoto:
    """Without its vector, which has no more use."""
    photo = found.photo
    row = PhotoRow(0, photo.path, photo.size_bytes, photo.mtime_ns, b"", b"")
    score = exact_dot(photo.vector, query.vector) if query else None
    return ScoredPhoto(score, row, photo.metadata or NO_METADATA)


def _score(photo: ScoredPhoto) -> float:
    assert photo.score is not None
    return photo.score


def _taken_s(photo: ScoredPhoto) -> int:
    """What a camera's clock, or one here, had shown."""
    captured_s = photo.metadata.captured_s
    return shown_here_s(photo.mtime_ns // 10**9) if captured_s is None else captured_s
