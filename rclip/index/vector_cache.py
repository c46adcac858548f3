"""The vectors once more, as one memory-mapped matrix that is scanned at the speed of memory.

Reading a million vectors out of SQLite takes seconds; here they lie one after the other, (N, D) float16, beside their
ids in ascending order. The matrix is derived and disposable: new rows are appended when there are enough of them, a
scan takes newer rows from the table, and on any doubt the files are rebuilt, or ignored where they cannot be.

    <model>.matrix/seal.json                what the two files hold, and the stat they had when that was last checked
    <model>.matrix/vectors-<token>          N · D float16
    <model>.matrix/ids-<token>              N int64

A large matrix has a sketch beside it (`index.sketch`), which a search scans in its place.

The table keeps a note of the same state, written together with it. A table put back from a backup, whose next ids will
stand for other photos than the matrix has under them, has another note, and so gets another matrix.
"""

import mmap
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from rclip import datadir, isolation, manifest
from rclip.errors import CacheNotWritten, plain_reason
from rclip.index.store import Store

if TYPE_CHECKING:
    from rclip.index.sketch import Sketch

APPEND_FROM_ROWS = 4096
"""So many new rows are worth appending; fewer are read from the table by each scan, in some ten milliseconds."""


SKETCH_FROM_ROWS = 200_000
"""Fewer are scanned in full within some milliseconds, and have no sketch."""


class _Manifest(NamedTuple):
    """What the files hold. Bytes after the ones it covers are of an append that did not end, and are not read."""

    token: str
    rows: int
    dimensions: int
    last_id: int
    """All photos with vectors up to this id are in the matrix, but for those that have been replaced or moved out."""
    crc32: list[int]
    """Of the bytes it covers: vectors, ids."""
    stats: list[list[int]]
    """The files' stats when they were last found to have these checksums: vectors, ids."""

    def check(self) -> None:
        """Raises ValueError for what was never written so."""
        is_sound = manifest.is_name(self.token) and manifest.are_counts(
            self.rows, self.dimensions, self.last_id, *self.crc32
        )
        if not is_sound or len(self.crc32) != len(_KINDS):
            raise ValueError("damaged")


class VectorCache:
    """The matrix of one index as it is on disk now; empty where there is none to be trusted."""

    def __init__(self, store: Store, is_read: bool = True):
        """Where it is not read, all comes from the table."""
        self._store = store
        self.folder = store.cache_folder
        self._manifest = self._trusted_manifest() if is_read else None

    @property
    def token(self) -> str:
        """Names this matrix; an appended one keeps its name."""
        return self._manifest.token if self._manifest else ""

    @property
    def rows(self) -> int:
        return self._manifest.rows if self._manifest else 0

    @property
    def last_id(self) -> int:
        """All photos with vectors up to this id are among the rows, but for those that are there no more."""
        return self._manifest.last_id if self._manifest else 0

    @cached_property
    def ids(self) -> np.ndarray:
        """(N,) int64, ascending; a view of the mapped file"""
        if not self.rows or not self._manifest:
            return np.empty(0, np.int64)
        return np.frombuffer(self._mapped_file("ids", self._manifest), np.int64, self.rows)

    @cached_property
    def sketch(self) -> "Sketch":
        """Of the first of its rows."""
        from rclip.index.sketch import Sketch  # a small index has none, and is not to wait for it

        return Sketch(self.folder, self.token, self.rows)

    def is_like(self, other: "VectorCache") -> bool:
        """Whether both are the same files in the same state."""
        return self._manifest == other._manifest and (not self.rows or self.sketch == other.sketch)

    # --- reading -----------------------------------------------------------------------------------------------------

    def map(self) -> tuple[mmap.mmap, np.ndarray] | None:
        """The file of vectors, and the vectors in it, (N, D) float16.

        None where there is no cache, or where it may not be read or was deleted by another run: the table has it all.
        """
        try:
            return self._mapped(self._manifest) if self._manifest and len(self.ids) else None
        except (OSError, ValueError):
            return None

    def vectors_of(self, ids: np.ndarray) -> np.ndarray:
        """The vectors of these photos, by ids that ascend. (N,) -> (N, D) float16

        A view of the mapped file where it holds them in one piece, else a copy. Raises KeyError for photos that are
        not there.
        """
        from_file, parts = ids[ids <= self.last_id], []
        if len(from_file) and self._manifest:
            rows = rows_of(from_file, self.ids)
            if len(rows) < len(from_file):
                raise KeyError("photos are missing")
            vectors = self._mapped(self._manifest)[1]
            is_one_piece = rows[-1] - rows[0] == len(rows) - 1
            parts.append(vectors[rows[0] : rows[-1] + 1] if is_one_piece else vectors[rows])
        if len(from_file) < len(ids):
            tail = self._store.vectors.above(self.last_id)
            parts += [vectors[is_wanted] for found, vectors in tail if (is_wanted := np.isin(found, ids)).any()]
        if sum(map(len, parts)) != len(ids):
            raise KeyError("photos are missing")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _mapped(self, contents: _Manifest) -> tuple[mmap.mmap, np.ndarray]:
        """The file of vectors, and the part of it that the manifest covers. (N, D) float16"""
        mapped = self._mapped_file("vectors", contents)
        vectors = np.frombuffer(mapped, np.float16, contents.rows * contents.dimensions)
        return mapped, vectors.reshape(contents.rows, contents.dimensions)

    def _mapped_file(self, kind: str, contents: _Manifest) -> mmap.mmap:
        with self._open(kind, contents) as file:
            if os.fstat(file.fileno()).st_size < _covered_bytes(kind, contents):  # what is mapped of it would end us
                raise ValueError("cut short")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _path(self, kind: str, contents: _Manifest) -> str:
        return os.path.join(self.folder, f"{kind}-{contents.token}")

    def _open(self, kind: str, contents: _Manifest) -> BinaryIO:
        return open(self._path(kind, contents), "rb", opener=isolation.open_itself)

    def _trusted_manifest(self) -> _Manifest | None:
        """The manifest, if the files are as it says and belong to this very table."""
        try:
            contents = manifest.read(self._manifest_path, _Manifest)
            contents.check()
            if _note(contents) != self._store.note(_NOTE):
                return None
            now = contents._replace(stats=self._stats(contents))
            return manifest.verified(contents, now, lambda: self._checksums(contents), self._write_manifest)
        except (OSError, ValueError, TypeError):
            return None

    @property
    def _manifest_path(self) -> str:
        return os.path.join(self.folder, "seal.json")

    def _stats(self, contents: _Manifest) -> list[list[int]]:
        stats = [os.lstat(self._path(kind, contents)) for kind in _KINDS]
        if any(stat.st_size < _covered_bytes(kind, contents) for kind, stat in zip(_KINDS, stats, strict=True)):
            raise ValueError("cut short")
        return [manifest.identity(stat) for stat in stats]

    def _checksums(self, contents: _Manifest) -> list[int]:
        """Of the bytes that the manifest covers. Raises OSError, and ValueError when there are fewer."""
        checksums = []
        for kind in _KINDS:
            with self._open(kind, contents) as file:
                checksums.append(manifest.crc32_of(file, _covered_bytes(kind, contents)))
        return checksums

    # --- checking ----------------------------------------------------------------------------------------------------

    def corruption(self) -> str | None:
        """Why its files are not to be trusted; None when they are, or there are none.

        A query believes a file whose stat is as it was; this reads it whole.
        """
        if not os.path.exists(self._manifest_path):
            return None
        if self._manifest is None:
            return "cut short, altered, or of another state of the index"
        try:
            is_as_written = self._manifest.crc32 == self._checksums(self._manifest)
        except (OSError, ValueError) as error:
            return plain_reason(error)
        return None if is_as_written else "its bytes are not those that were written"

    def differing(self, ids: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Which of the table's vectors it holds otherwise, or not although it should. (N,), (N, D) float16 -> (N,) bool

        `ids` ascend. For a matrix without `corruption`.
        """
        if self._manifest is None:
            return np.zeros(len(ids), bool)
        if self._manifest.dimensions != vectors.shape[1]:
            return ids <= self._manifest.last_id
        rows = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        held = self.ids[rows] == ids
        differs: np.ndarray = ~held & (ids <= self._manifest.last_id)
        _, stored = self._mapped(self._manifest)
        differs[held] = (stored[rows[held]].view(np.uint16) != vectors[held].view(np.uint16)).any(axis=1)
        return differs

    def discard(self) -> None:
        """Has the next run rebuild it; until then the table answers. Raises OSError where it may not be deleted."""
        self._manifest = None
        with suppress(FileNotFoundError):
            os.unlink(self._manifest_path)

    def remove(self) -> None:
        """Deletes its files. To be called in a transaction, which keeps other writers away. Raises OSError."""
        self.discard()
        for name in os.listdir(self.folder):
            if _is_derived(name) or _is_dependent(name):
                os.unlink(os.path.join(self.folder, name))

    # --- writing -----------------------------------------------------------------------------------------------------

    def catch_up(self, append_from_rows: int = APPEND_FROM_ROWS, sketch_from_rows: int = SKETCH_FROM_ROWS) -> None:
        """Appends the table's newer rows, if there are so many ids; starts over where there is nothing to trust.

        From so many rows on, their sketch follows. Raises `StoreError`, also when the disk is full; what was there
        before is then still good.
        """
        if self._store.vectors.last_id() - self.last_id >= append_from_rows and self._store.vectors.count():
            self._write(self._append)
        if self.rows and self.sketch.is_behind(sketch_from_rows):
            self._write(self._sketch)

    def _write(self, write: Callable[[], None]) -> None:
        """In a transaction, which keeps other writers of these files away, too."""
        with self._store.transaction():
            self._manifest = self._trusted_manifest()
            self._forget_read()
            try:
                write()
            except OSError as error:
                raise CacheNotWritten(path=self.folder, reason=plain_reason(error)) from error
            finally:
                self._forget_read()

    def _forget_read(self) -> None:
        for name in ("ids", "sketch"):
            self.__dict__.pop(name, None)

    def _sketch(self) -> None:
        if (mapped := self.map()) is not None:
            self.sketch.catch_up(*mapped)

    def _append(self) -> None:
        contents = self._manifest
        if contents is None or self._is_mostly_waste(contents):
            contents = self._start_anew()
        try:
            self._append_to(contents)
        except BaseException:
            self._cut_back(contents)
            raise

    def _cut_back(self, contents: _Manifest) -> None:
        """Gives the room back that an append has taken that did not end."""
        for kind in _KINDS:
            with suppress(OSError):
                if contents.rows:
                    os.truncate(self._path(kind, contents), _covered_bytes(kind, contents))
                else:
                    os.unlink(self._path(kind, contents))

    def _append_to(self, contents: _Manifest) -> None:
        paths = [self._path(kind, contents) for kind in _KINDS]
        opened = [open(path, "r+b", opener=isolation.open_itself) for path in paths]  # noqa: SIM115 - closed below
        with opened[0] as vectors_file, opened[1] as ids_file:
            for kind, file in zip(_KINDS, (vectors_file, ids_file), strict=True):
                file.truncate(_covered_bytes(kind, contents))  # what an append that did not end has left
                file.seek(0, os.SEEK_END)
            rows, dimensions, last_id, crc32 = (
                contents.rows,
                contents.dimensions,
                self._store.vectors.last_id(),
                list(contents.crc32),
            )
            for ids, vectors in self._store.vectors.above(contents.last_id):
                for place, (file, array) in enumerate(((vectors_file, vectors), (ids_file, ids))):
                    file.write(array.data)
                    crc32[place] = zlib.crc32(array.data, crc32[place])
                rows, dimensions = rows + len(ids), vectors.shape[1]
            for file in (vectors_file, ids_file):
                file.flush()
                os.fsync(file.fileno())
        self._manifest = _Manifest(contents.token, rows, dimensions, last_id, crc32, self._stats(contents))
        self._store.set_note(_NOTE, _note(self._manifest))
        self._write_manifest(self._manifest)
        self._delete_others()

    def _is_mostly_waste(self, contents: _Manifest) -> bool:
        return contents.rows > 2 * self._store.vectors.count()

    def _start_anew(self) -> _Manifest:
        datadir.make_private(self.folder)
        for name in filter(_is_dependent, os.listdir(self.folder)):
            with suppress(OSError):  # not used any more, and deleted another time
                os.unlink(os.path.join(self.folder, name))
        contents = _Manifest(os.urandom(8).hex(), rows=0, dimensions=0, last_id=0, crc32=[0, 0], stats=[])
        for kind in _KINDS:
            os.close(os.open(self._path(kind, contents), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return contents

    def _write_manifest(self, contents: _Manifest) -> None:
        manifest.write(self._manifest_path, contents)

    def _delete_others(self) -> None:
        """Files of earlier matrices. On systems that forbid deleting what is mapped they go the next time."""
        assert self._manifest
        kept = {os.path.basename(self._path(kind, self._manifest)) for kind in _KINDS}
        for name in os.listdir(self.folder):
            if _is_derived(name) and "-" in name and name not in kept:
                with suppress(OSError):
                    os.unlink(os.path.join(self.folder, name))


def rows_of(wanted: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Where the wanted ids are among the ids, both ascending, as far as they are. (A,), (N,) -> (n,)"""
    rows = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    return rows[ids[rows] == wanted]


_KINDS = ("vectors", "ids")
_NOTE = "matrix"


def _is_derived(name: str) -> bool:
    """Whether a file of this name is one of ours, or of an earlier version that also kept columns of metadata."""
    kind, *tokens = name.split("-")
    is_manifest = name in ("seal.json", "columns.json")  # the second of an earlier version
    return is_manifest or (kind in (*_KINDS, "columns") and all(map(manifest.is_name, tokens)))


_DEPENDENTS = {"sketch.json": ("sketch",), "approximate.json": ("trained", "part")}
"""What other modules derive from the matrix: their manifests, and the kinds of their files."""


def _is_dependent(name: str) -> bool:
    return any(manifest.is_derived(name, *each) for each in _DEPENDENTS.items())


def _note(contents: _Manifest) -> str:
    return f"{contents.token} {contents.rows} {contents.last_id}"


def _covered_bytes(kind: str, contents: _Manifest) -> int:
    return contents.rows * (2 * contents.dimensions if kind == "vectors" else 8)
