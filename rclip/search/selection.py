"""Which photos of one index a search may find: those in its folders that pass the filters."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rclip import formats
from rclip.files import suffix
from rclip.ignoring import TreeRules
from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope

if TYPE_CHECKING:
    from rclip.filters import Filter, Filters, Photo
    from rclip.globs import Paths

_MAX_IDS = 50_000
"""Up to so many photos that pass a filter, or are in the folders, are listed; of more, the best are looked at."""

_JUDGED_ROWS = 8192
"""Up to so many photos are sooner judged one by one than by listing all that a wide filter lets pass."""

_MOST_FOLDERS = 4096
"""Of so many it is remembered whether they have an ignore file."""

_MAX_PATHS = 20_000
"""The same for paths that match a glob."""


class Selection:
    """The photos that the scope and the filters select, as of the snapshot that it is made in."""

    def __init__(self, index: PhotoIndex, scope: Scope, filters: "Filters | None"):
        """Asks each filter for its photos, in some milliseconds. Raises `StoreError`."""
        self._store = index.store
        self._index = index
        self._location = index.location
        self._scope = scope
        self._rules = _rules_of(index, scope)
        self.min_score = -np.inf if filters is None or filters.min_score is None else filters.min_score
        self.is_relevant = filters is not None and filters.is_relevant
        self._by_row: Sequence[Filter] = _by_row(filters) if filters else ()
        self._paths = self._paths_of(filters.paths) if filters and filters.paths else None
        self._words = filters.text if filters else ""
        self._wide: list[Filter] = []
        self.are_all_present = False
        """Whether all photos among `ids` must be present and in the folders, as long as its snapshot lasts."""
        self.ids = self._narrowed()
        """(N,) int64, ascending: all that pass are among them, but for too wide filters, and others; None for all."""
        self._with_moments: tuple[np.ndarray, np.ndarray] | None = None
        """Some `ids`, and these with the moments of films."""

    @property
    def vector_ids(self) -> np.ndarray | None:
        """`ids` and those of the moments of the films among them, which have vectors of their own."""
        if self.ids is None or not self._store.vectors.include_films():
            return self.ids
        if self._with_moments is None or self._with_moments[0] is not self.ids:
            self._with_moments = self.ids, self._store.films.with_moments(self.ids)
        return self._with_moments[1]

    @property
    def is_wide(self) -> bool:
        """Whether `ids` should take account of filters that let too many pass to be listed at first."""
        return bool(self._wide) and (self.ids is None or len(self.ids) > _JUDGED_ROWS)

    @property
    def judges_rows(self) -> bool:
        """Whether many photos may have to be looked up for each that passes."""
        return bool(self._by_row) or self._paths is not None

    @property
    def needs_metadata(self) -> bool:
        """Whether `passes` looks at the metadata of a photo."""
        return bool(self._by_row)

    @property
    def has_exclusions(self) -> bool:
        """Whether anything is passed over but what always is."""
        rules = self._scope.rules
        return bool(rules.exclude_dirs or rules.exclude) or not self._store.ignore_files.is_empty()

    def among(self, ids: Sequence[int]) -> list[int]:
        """Those of the ids that are not known to be left out."""
        if self.ids is None:
            return list(ids)
        return np.intersect1d(np.array(ids, np.int64), self.ids).tolist()

    def settle(self) -> None:
        """Has `ids` take account of wide filters, too, which takes half a second in an index of a million photos."""
        from rclip.index.store import filtering

        for each in self._wide:
            if self.ids is None or len(self.ids):
                self.ids = _common([self.ids, filtering.ids(self._store, each.clause())])
        self._wide = []

    def allows_path(self, path: bytes) -> bool:
        """Whether a walk of the scope would come to the photo, and the globs allow it."""
        if not self._scope.has_videos and suffix(path) in formats.VIDEO.suffixes:
            return False
        return self._location.contains(path) and any(
            not self._rules[folder].ignores_path(relative)
            and (self._paths is None or self._paths[folder].allow(os.fsdecode(relative)))
            for folder, relative in self._scope.inside(path)
        )

    def is_missing(self, path: bytes | None) -> bool:
        """Whether a photo that the table lists in the folders has another path or none in its row: that is damage."""
        return self.are_all_present and (path is None or not any(self._scope.inside(path)))

    def passes(self, photo: "Photo") -> bool:
        """Whether a photo that is present passes all filters but those by score."""
        return self.allows_path(photo.path) and all(each.matches(photo) for each in self._by_row)

    def _narrowed(self) -> np.ndarray | None:
        found = [self._ids_by_path()]
        words = self._ids_by_words()
        if words is not None:
            found.append(words)
        if self._by_row:
            from rclip.filters import Words
            from rclip.index.store import filtering

            for each in self._by_row:
                if words is not None and isinstance(each, Words):
                    continue
                ids = filtering.ids_up_to(self._store, each.clause(), _MAX_IDS)
                found.append(ids)
                if ids is None:
                    self._wide.append(each)
        return _common(found)

    def _ids_by_words(self) -> np.ndarray | None:
        """By the cache of words; None where it cannot be trusted, or no words are asked for."""
        if not self._words:
            return None
        from rclip.words import wanted

        return self._index.ids_of_words(wanted(self._words).starts)

    # --- paths -------------------------------------------------------------------------------------------------------

    def _ids_by_path(self) -> np.ndarray | None:
        """Ids (N,) int64, ascending, of the photos in the folders, or of those that match a glob; None for many."""
        ranges = self._scope.ranges()
        ids = self._store.ids(ranges, _MAX_IDS)
        if ids is not None:
            self._store.check_counts(ranges)
        if self._paths and any(inside.wanted for inside in self._paths.values()):
            return self._ids_by_glob(self._paths)
        self.are_all_present = ids is not None
        return ids

    def _paths_of(self, globs: Sequence[str]) -> "dict[bytes, Paths]":
        """Which paths pass the globs in each folder."""
        from rclip.globs import Paths

        return {real: Paths(globs, names) for real, names in self._scope.names().items()}

    def _ids_by_glob(self, paths: "dict[bytes, Paths]") -> np.ndarray | None:
        """Of the photos that match one of the globs wanted. Where many match, those looked up will often enough."""
        from rclip.globs import literal_start, longest_literal, sqlite_glob, sqlite_literal

        found: dict[int, bytes] = {}
        for folder, inside in paths.items():
            for wanted in inside.wanted:
                start = folder + os.fsencode(literal_start(wanted))
                start = folder if start.endswith(b"\xff") else start
                glob = sqlite_literal(os.fsdecode(folder)) + sqlite_glob(wanted)
                part = os.fsencode(longest_literal(wanted))
                like = self._store.paths_like(start, part, os.fsencode(glob), _MAX_PATHS)
                if like is None:
                    return None
                found |= like
        return np.array(sorted(id_ for id_, path in found.items() if self.allows_path(path)), np.int64)


def is_excluded_of(index: PhotoIndex, scope: Scope) -> Callable[[bytes], bool]:
    """Says of paths in the scope whether no walk of it would come to them."""
    rules = _rules_of(index, scope)
    return lambda path: all(rules[folder].ignores_path(relative) for folder, relative in scope.inside(path))


def _rules_of(index: PhotoIndex, scope: Scope) -> dict[bytes, TreeRules]:
    """What is passed over in and below each of the folders."""
    remembered = index.store.ignore_files
    ignore_file = None if remembered.is_empty() else lru_cache(_MOST_FOLDERS)(remembered.content)
    return {folder.real: TreeRules(folder.real, scope.rules, ignore_file) for folder in scope.folders}


def _by_row(filters: "Filters") -> "list[Filter]":
    from rclip.filters import by_row  # a query without filters does without

    return by_row(filters)


def _common(several: Iterable[np.ndarray | None]) -> np.ndarray | None:
    """The ids that are in all of the lists there are, ascending; None where there is no list."""
    common: np.ndarray | None = None
    for ids in several:
        if common is None or ids is None:
            common = ids if common is None else common
        else:
            common = np.intersect1d(common, ids, assume_unique=True)
    return common
