"""One model's index at one location: its database, opened when first used, and the caches beside it."""

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rclip import datadir
from rclip.errors import DamagedIndex, ImportedInPart, NotAdopted, NotSorted, RclipError, StoreError
from rclip.index.location import IndexLocation
from rclip.index.store import Store
from rclip.index.vector_cache import APPEND_FROM_ROWS, VectorCache
from rclip.index.vector_search import ExactVectorSearch, VectorSearch
from rclip.models import Model

if TYPE_CHECKING:
    import numpy as np

    from rclip.index.approximate import InvertedFile, Recall
    from rclip.index.store.importing import ImportedRow

PREPROCESSING_VERSION = 1
"""The version of the way from a file to pixels (`photo.image`). An index never mixes two of them."""


class PhotoIndex:
    """The index of one model at one location, for any number of threads at once."""

    def __init__(
        self,
        location: IndexLocation,
        default_dir: str,
        model: Model,
        notify: Callable[[str | RclipError], None],
        approximate_from: int | None = None,
    ):
        """`default_dir` is the folder of the user's own indexes. Nothing is opened yet.

        From so many vectors on, they are searched approximately; None is never.
        """
        self.location = location
        self.model = model
        self._default_dir = default_dir
        self._notify = notify
        self._store: Store | None = None
        self._store_lock = threading.Lock()
        self._approximate_from = approximate_from
        self._vector_cache: VectorCache | None = None
        self._lists: InvertedFile | None = None
        self._cache_lock = threading.Lock()
        """Its owner may wait for a transaction to end, so nobody asks for it in a transaction or snapshot."""
        self._kept: dict[Hashable, tuple[int, Any]] = {}
        self._kept_lock = threading.Lock()
        self._has_warned = self._has_told_of_lists = False

    def close(self) -> None:
        """What is used afterwards is opened again."""
        with self._cache_lock:
            self._vector_cache = self._lists = None
        with self._kept_lock:
            self._kept.clear()
        with self._store_lock:
            store, self._store = self._store, None
        if store:
            store.close()

    @property
    def path(self) -> str:
        return os.path.join(self.location.folder, self.model.key + ".db")

    @property
    def cache_folder(self) -> str:
        return self.location.cache_folder(self.path)

    def require_adopted(self) -> None:
        """Raises `NotAdopted` for an index folder that this user has neither made nor adopted."""
        if not self.location.is_adopted:
            self._has_warned = True
            raise self._not_adopted()

    def warn_unless_adopted(self) -> None:
        """Reports the same, once, where the index is only read."""
        if not self.location.is_adopted and not self._has_warned:
            self._has_warned = True
            self._notify(self._not_adopted())

    def _not_adopted(self) -> NotAdopted:
        return NotAdopted(path=self.location.folder, root=self.location.folder_served)

    def exists(self) -> bool:
        return os.path.exists(self.path)

    @property
    def store(self) -> Store:
        """The database, made where there is none. Raises `StoreError`."""
        with self._store_lock:
            if self._store is None:
                self._store = Store(
                    self.path, self.model.key, PREPROCESSING_VERSION, self.location, lambda: self.model.dimensions
                )
            return self._store

    def size_bytes(self) -> int:
        """The space that the index takes on disk; SQLite's `-shm` is there only while it is open."""
        database = sum(_size_bytes(self.path + suffix) for suffix in ("", "-wal", "-journal"))
        return database + datadir.folder_bytes(self.cache_folder)

    # --- caches ------------------------------------------------------------------------------------------------------

    @property
    def _may_write_caches(self) -> bool:
        """Whether to write search caches: the database must take a note of them."""
        return self.location.is_default or self.store.is_writable

    def write_caches(self) -> None:
        """Writes the search caches where they are behind the database. Raises `StoreError` where it cannot."""
        if self.exists() and self._may_write_caches:
            VectorCache(self.store).catch_up()

    def catch_up_words(self) -> None:
        """Brings the cache of words up to date where it can be written. Not within a transaction or snapshot."""
        if self.exists() and self._may_write_caches:
            from rclip.index import word_index

            word_index.catch_up(self.store)

    def ids_of_words(self, starts: Sequence[str]) -> "np.ndarray | None":
        """What `WordIndex.ids` gives; None where there is no cache to be trusted."""
        from rclip.index.word_index import WordIndex

        return WordIndex(self.store).ids(starts) if self._may_write_caches else None

    def sweep(self) -> None:
        """Deletes temporary files of killed runs."""
        for folder in (self.location.folder, self.cache_folder):
            datadir.sweep(folder)

    def vector_cache(self, append_from_rows: int = APPEND_FROM_ROWS) -> VectorCache:
        """The vector cache, brought up to date; where it cannot be written, that is reported.

        It is kept, with everything that has been read of it, until its files change.
        """
        with self._cache_lock:
            cache = VectorCache(self.store)
            self._write_if_allowed(lambda: cache.catch_up(append_from_rows))
            if self._vector_cache is None or not cache.is_like(self._vector_cache):
                self._vector_cache = cache
            return self._vector_cache

    def vector_search(self) -> VectorSearch:
        """A search of all vectors. Raises `StoreError`, and `MissingPackage` where it needs one."""
        cache = self.vector_cache()
        exact = ExactVectorSearch(self.store, cache)
        lists = self._lists_of(cache)
        if lists is None:
            return exact
        if lists.rows:
            from rclip.index.approximate import ApproximateVectorSearch

            return ApproximateVectorSearch(exact, cache, lists)
        if not self._has_told_of_lists:
            self._has_told_of_lists = True
            self._notify(NotSorted(path=self.path))
        return exact

    def sort(self, sample_queries: "Callable[[], np.ndarray]", progress: Callable[[int, int], None]) -> None:
        """Sorts vectors for an approximate search, if that is asked for: see `InvertedFile.catch_up`.

        Raises `StoreError`, and `MissingPackage`.
        """
        if self._approximate_from is None or not self.exists() or not self._may_write_caches:
            return
        cache = self.vector_cache()
        lists = self._lists_of(cache)
        if lists is not None:
            lists.catch_up(ExactVectorSearch(self.store, cache), sample_queries, progress)

    def recall(self) -> "Recall | None":
        """How well an approximate search finds; None where there is none."""
        from rclip.index.approximate import InvertedFile

        return InvertedFile(VectorCache(self.store)).recall if self.exists() else None

    def _lists_of(self, cache: VectorCache) -> "InvertedFile | None":
        """The lists of that cache as they are now; None where it is searched exactly. Raises `MissingPackage`."""
        if self._approximate_from is None:
            return None
        from rclip.index import approximate

        if cache.rows < max(self._approximate_from, approximate.MIN_ROWS):
            return None
        approximate.load_faiss()
        lists = approximate.InvertedFile(cache)
        with self._cache_lock:
            if self._lists is None or not lists.is_like(self._lists):
                self._lists = lists
            return self._lists

    def kept(self, key: Hashable, version: int | None) -> Any:
        """What was kept under this key, if it is of the same version of the database (`Store.snapshot`); else None."""
        found = self._kept.get(key)
        return found[1] if found and found[0] == version else None

    def keep(self, key: Hashable, version: int | None, value: object) -> None:
        """Keeps it until there is another version, or much else has been kept; without a version, not at all."""
        if version is not None:
            with self._kept_lock:
                if len(self._kept) >= _MOST_KEPT:
                    self._kept.clear()
                self._kept[key] = version, value

    def forget_kept(self) -> None:
        """For a change that makes no new version."""
        with self._kept_lock:
            self._kept.clear()

    def _write_if_allowed(self, write: Callable[[], None]) -> None:
        if self._may_write_caches:
            try:
                write()
            except DamagedIndex:
                raise
            except StoreError as error:
                self._notify(error)

    # --- importing ---------------------------------------------------------------------------------------------------

    def import_from_default(self) -> None:
        """Takes over, once, what the user's default index knows of the photos here: they need no model then."""
        from rclip.index.store import importing

        if not self.store.is_portable or not self.store.is_writable or importing.has_imported(self.store):
            return
        if os.stat(self.path).st_uid != os.geteuid():  # its owner could read it all
            return
        default = os.path.join(self._default_dir, os.path.basename(self.path))
        if not os.path.exists(default):
            return
        try:
            source = Store(default, self.model.key, PREPROCESSING_VERSION)
        except StoreError:  # it is not this run's business
            return
        try:
            for rows in self._rows_to_import(source):
                with self.store.transaction():
                    importing.import_rows(self.store, rows)
        finally:
            source.close()
        with self.store.transaction():
            importing.note_imported(self.store)

    def _rows_to_import(self, source: Store) -> "Iterator[list[ImportedRow]]":
        """The rows of the photos here, up to where the source cannot be read."""
        from rclip.index.store import importing

        try:
            yield from importing.exported_rows(source, self.location.root + b"/")
        except StoreError:
            self._notify(ImportedInPart(path=source.path, root=os.fsdecode(self.location.root)))


_MOST_KEPT = 16


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
