"""All photos of an index that a search without a query or filters could find."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rclip.index.location import Folder
from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope
from rclip.index.store import facets
from rclip.search.hits import spelled
from rclip.search.selection import Selection


class AllPhotos:
    """The photos of one index in one scope. Methods raise `StoreError`."""

    def __init__(self, index: PhotoIndex, scope: Scope):
        self._index = index
        self._store = index.store
        self._ranges = scope.ranges()
        self._selection = Selection(index, scope, None)

    def ids(self) -> np.ndarray:
        """(N,) int64, ascending."""
        return np.sort(np.fromiter((id_ for id_, _ in self._ids_and_paths(self._ranges)), np.int64))

    def ids_by_path(self, folder: bytes) -> np.ndarray:
        """The same (N,) of one of the scope's `ranges`, in the order of paths."""
        return np.fromiter((id_ for id_, _ in self._ids_and_paths([folder])), np.int64)

    def _ids_and_paths(self, folders: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        known = (photo for folder in folders for photo in self._store.photos(folder))
        return (photo for photo in known if self._selection.allows_path(photo[1]))

    def vectors(self) -> tuple[list[bytes], np.ndarray]:
        """Paths and vectors (N, D) float16, by id."""
        while True:
            cache = self._index.vector_cache(append_from_rows=1)
            found = sorted(self._ids_and_paths(self._ranges))
            if not found:  # all files are unreadable
                return [], np.empty((0, 0), np.float16)
            try:
                return [path for _, path in found], cache.vectors_of(np.array([id_ for id_, _ in found], np.int64))
            except KeyError:  # somebody has just replaced or added some
                continue

    def ids_and_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids (N,) int64, ascending, and vectors (N, D) float16: paths would take far more memory."""
        while True:
            cache = self._index.vector_cache(append_from_rows=1)
            ids = self.ids()
            if not len(ids):
                return ids, np.empty((0, 0), np.float16)
            try:
                return ids, cache.vectors_of(ids)
            except KeyError:  # somebody has just replaced or added some
                continue

    def facet_rows(self) -> Iterator[facets.FacetRow]:
        """What each photo adds to the facets."""
        rows = (row for folder in self._ranges for row in facets.rows(self._store, folder))
        return (row for row in rows if self._selection.allows_path(row.path))

    def count_excluded(self) -> int:
        """How many photos the index knows in the folders that the user's settings or ignore files exclude."""
        if not self._selection.has_exclusions:
            return 0
        known = (path for folder in self._ranges for _, path in self._store.photos(folder))
        return sum(not self._selection.allows_path(path) for path in known)

    def offline_paths(self, folder: bytes) -> set[bytes]:
        """Paths of photos below the folder that are missing with all that was beside them: they may come back."""
        missing = self._store.files.missing(folder, time.time_ns(), with_offline=True)
        return {row.path for row in missing if row.is_offline}


class Vectors(NamedTuple):
    """Photos and their vectors, in the same order."""

    paths: list[str]
    """Spelled as in a `Hit`."""
    vectors: np.ndarray
    """(N, D) float16, rows of length 1; read-only where it is a view of a mapped file."""


def vectors_of_all(several: Sequence[AllPhotos], folders: Sequence[Folder], dimensions: int) -> Vectors:
    """Of several indexes, in a copy unless it is one; a photo of two comes once."""
    parts = [part for part in (photos.vectors() for photos in several) if part[0]]
    if len(parts) == 1:
        paths, vectors = parts[0]
    else:
        distinct = {path: vector for found in parts for path, vector in zip(*found, strict=True)}
        paths = [*distinct]
        vectors = np.array([*distinct.values()], np.float16).reshape(len(distinct), dimensions)
    return Vectors([spelled(path, folders) for path in paths], vectors)
