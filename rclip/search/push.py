"""Brings the photos of indexes into a database that others share: those that it lacks or has otherwise, and no others.

Both sides are listed in the order of paths and compared, as the walk and the table are by `indexing.diff`. Each batch
is a transaction of its own, so a push that was interrupted goes on where it was.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from rclip.errors import NothingToPush
from rclip.search.searcher import Searcher
from rclip.vectordb import Conditions, ModelStamp, PushedPhoto, VectorDatabase
from rclip.vectordb.rows import LONGEST_PATH

_BATCH = 2000
"""Photos in a transaction."""


class Pushed(NamedTuple):
    """What a push has done so far."""

    photos: int = 0
    """Looked at."""
    stored: int = 0
    """New or changed."""
    removed: int = 0
    left_out: int = 0
    """Photos whose paths are too long for the database."""


def push(
    searchers: Sequence[Searcher],
    database: VectorDatabase,
    model: ModelStamp,
    report: Callable[[Pushed], None],
) -> Pushed:
    """Makes what the database has below the searchers' folders what they would find there.

    Photos on a drive that is unplugged stay. Raises `StoreError`, and `NothingToPush` for a folder in which nothing
    would be found: it may be a disk that is not mounted, or nothing was ever indexed there on this machine.
    """
    for searcher in searchers:
        for folder in searcher.ranges:
            if not searcher.has_photos_in([folder]):
                raise NothingToPush(folder=os.fsdecode(folder))
    database.prepare(model)
    run = _Push(database, report)
    for searcher in searchers:
        inner = _inside(searcher, searchers)
        for folder in searcher.ranges:
            run.push_folder(searcher, folder, tuple(each for each in inner if each.startswith(folder)))
    return run.pushed


RECALL_TOP = 10


def measured_recall(database: VectorDatabase, queries: np.ndarray) -> float | None:
    """The share of the ten best photos of each query that the database's approximate index finds; None without one.

    (Q, D) float32 of length 1
    """
    if not database.is_approximate:
        return None
    found = total = 0
    for query in queries:
        with database.snapshot():
            exact, approximate = (
                {row.photo.path for row in database.nearest(query, RECALL_TOP, Conditions(), -math.inf, is_exact)}
                for is_exact in (True, False)
            )
        found, total = found + len(exact & approximate), total + len(exact)
    return found / total if total else None


def _inside(searcher: Searcher, searchers: Sequence[Searcher]) -> list[bytes]:
    """Folders of other indexes inside those of this one: theirs count."""
    others = [each for other in searchers if other is not searcher for each in other.ranges]
    return [each for each in others if any(each.startswith(own) and each != own for own in searcher.ranges)]


class _Push:
    """One run."""

    def __init__(self, database: VectorDatabase, report: Callable[[Pushed], None]):
        self._database = database
        self._report = report
        self._photos: list[PushedPhoto] = []
        self._removed: list[bytes] = []
        self._kept: set[bytes] = set()
        self.pushed = Pushed()

    def push_folder(self, searcher: Searcher, folder: bytes, inner: tuple[bytes, ...]) -> None:
        stored = self._database.known(folder)
        self._kept = searcher.all_photos().offline_paths(folder)
        there = next(stored, None)
        for photo in _photos(searcher, folder):
            if photo.path.startswith(inner) and inner:
                continue
            if len(photo.path) > LONGEST_PATH:
                self.pushed = self.pushed._replace(left_out=self.pushed.left_out + 1)
                continue
            while there is not None and there[0] < photo.path:
                self._remove(there[0], inner)
                there = next(stored, None)
            if there is not None and there[0] == photo.path:
                is_same = there[1] == photo.fingerprint
                there = next(stored, None)
            else:
                is_same = False
            self.pushed = self.pushed._replace(photos=self.pushed.photos + 1)
            if not is_same:
                self._photos.append(photo)
            self._flush(_BATCH)
        while there is not None:
            self._remove(there[0], inner)
            there = next(stored, None)
        self._flush(1)
        self._report(self.pushed)

    def _remove(self, path: bytes, inner: tuple[bytes, ...]) -> None:
        if not (path in self._kept or (inner and path.startswith(inner))):
            self._removed.append(path)
            self._flush(_BATCH)

    def _flush(self, least: int) -> None:
        """Stores what waits, if it is so much."""
        if len(self._photos) + len(self._removed) < least:
            if self.pushed.photos % _BATCH == 0:
                self._report(self.pushed)
            return
        self._database.store(self._photos, self._removed)
        self.pushed = self.pushed._replace(
            stored=self.pushed.stored + len(self._photos), removed=self.pushed.removed + len(self._removed)
        )
        self._photos, self._removed = [], []
        self._report(self.pushed)


def _photos(searcher: Searcher, folder: bytes) -> Iterator[PushedPhoto]:
    """Those that a search could find, without films, in the order of their paths."""
    ids = searcher.all_photos().ids_by_path(folder)
    for start in range(0, len(ids), _BATCH):
        for found in searcher.photos_of(ids[start : start + _BATCH].tolist()):
            row = found.row
            if row.at_ms is not None:  # a film has many vectors, and a database one for each path
                continue
            told = repr((row.size_bytes, row.mtime_ns, tuple(found.metadata))).encode("utf-8", "surrogatepass")
            fingerprint = blake2b(row.vector + told, digest_size=16).digest()
            yield PushedPhoto(row.path, row.size_bytes, row.mtime_ns, row.vector, found.metadata, fingerprint)
