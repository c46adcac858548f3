"""The files that an index knows, as an update compares them with those on disk: the table `images`."""

import time
from collections.abc import Iterable, Iterator, Sequence
from types import NoneType
from typing import NamedTuple

import numpy as np

from rclip.files import SEPARATOR, FileStat
from rclip.index.store.database import CHUNK_ROWS, Database
from rclip.index.store.films import FilmsTable
from rclip.index.store.metadata import MetadataTable
from rclip.index.store.session import require
from rclip.photo.failures import FailedPhoto, FailureKind
from rclip.photo.metadata import NO_METADATA, PhotoMetadata
from rclip.photo.validation import MOST_CHARACTERS


class FileRow(NamedTuple):
    """What the index knows of a file, but for its vector."""

    id: int
    path: bytes
    mtime_ns: int
    size_bytes: int
    missing_ns: int | None
    """When it was first seen to be missing; None while it is present."""
    is_offline: bool
    """Whether its whole folder was empty when it was last looked for: the drive may only be unplugged."""
    ctime_ns: int = 0
    """The file's change time; 0 where it is not known."""


RowTuple = tuple[int, bytes, int, int, int | None, int, int]
"""The fields of a `FileRow`."""


class KnownRow(NamedTuple):
    """A row found by its content or identity."""

    id: int
    missing: bool
    path: bytes


class FileTable:
    """All files of one index, photos and those that could not be read. Methods raise `StoreError`.

    Those that write belong inside `with database.transaction():`.
    """

    def __init__(self, database: Database):
        self._database = database
        self._metadata = MetadataTable(database)
        self._films = FilmsTable(database)

    # --- reading ------------------------------------------------------------------------------------------------------

    def rows(self, folder: bytes) -> Iterator[FileRow]:
        """All files known below `folder` (which ends in a slash), missing ones too, in path order."""
        return map(FileRow._make, self.row_tuples(folder))

    def row_tuples(self, folder: bytes) -> Iterator[RowTuple]:
        """The same without names, of which to make a tuple takes longer than all else."""
        sql = """
            SELECT id, path, mtime_ns, size, missing_ns, is_offline, ctime_ns FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? ORDER BY path
        """
        with self._database.reading():
            cursor = self._database.connection.execute(sql, self._database.range_of(folder))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                yield from map(self._row, rows) if self._database.is_portable else rows

    def _row(self, row: RowTuple) -> FileRow:
        return FileRow._make((row[0], self._database.outer(row[1]), *row[2:]))

    def count(self, folder: bytes) -> tuple[int, int]:
        """How many files are known to be below `folder`, unreadable ones too, and how many are missing from it."""
        sql = """
            SELECT count(*) FILTER (WHERE missing_ns IS NULL), count(missing_ns) FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ?
        """
        with self._database.errors():
            there, missing = self._database.connection.execute(sql, self._database.range_of(folder)).fetchone()
        return there, missing

    def missing(self, folder: bytes, before_ns: int, with_offline: bool) -> list[FileRow]:
        """Files below `folder` that have been missing since `before_ns` or longer; offline ones only if asked.

        In path order.
        """
        sql = """
            SELECT id, path, mtime_ns, size, missing_ns, is_offline, ctime_ns FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND missing_ns <= ? AND is_offline <= ? ORDER BY path
        """
        with self._database.reading():
            found = self._database.connection.execute(
                sql, (*self._database.range_of(folder), before_ns, with_offline)
            ).fetchall()
            return [self._row(row) for row in found]

    def failures(self, folder: bytes) -> list[FailedPhoto]:
        """The files below `folder` that are there and could not be read, in path order."""
        sql = """
            SELECT path, failure, failure_kind FROM images INDEXED BY images_failure
            WHERE path >= ? AND path < ? AND failure IS NOT NULL AND missing_ns IS NULL ORDER BY path
        """
        with self._database.reading():
            found = self._database.connection.execute(sql, self._database.range_of(folder)).fetchall()
            require(all(type(reason) is str for _, reason, _ in found))
            return [
                FailedPhoto(self._database.outer(path), reason[:MOST_CHARACTERS], FailureKind(kind))
                for path, reason, kind in found
            ]

    def outdated(self, folder: bytes) -> list[bytes]:
        """Paths of the files below `folder` that an older rclip could not decode, or may have decoded wrongly."""
        sql = """
            SELECT path FROM images INDEXED BY images_outdated
            WHERE path >= ? AND path < ? AND is_outdated = 1 AND missing_ns IS NULL
        """
        with self._database.reading():
            return [
                self._database.outer(path)
                for (path,) in self._database.connection.execute(sql, self._database.range_of(folder))
            ]

    def find_content(self, digest: bytes, path: bytes) -> KnownRow | None:
        """A photo with these bytes: the one at `path`, else one that is missing from its place, else any.

        Of very many copies only some are looked at: where the missing one is not among them, this is one more copy.
        """
        at_path = """
            SELECT id, missing_ns IS NOT NULL, path FROM images
            WHERE path = ? AND digest = ? AND vector IS NOT NULL AND is_outdated = 0
        """
        anywhere = """
            SELECT id, missing_ns IS NOT NULL, path FROM (
                SELECT id, missing_ns, path FROM images
                WHERE digest = ? AND vector IS NOT NULL AND is_outdated = 0 LIMIT 64
            ) ORDER BY missing_ns IS NULL LIMIT 1
        """
        return self._match(at_path, (self._database.inner(path), digest)) or self._match(anywhere, (digest,))

    def find_identity(self, stat: FileStat) -> KnownRow | None:
        """A photo that the file system says is this very file under another name, by preference a missing one.

        None where the index travels: other machines number devices and files otherwise, and exFAT by the minute.
        """
        if self._database.is_portable:
            return None
        sql = """
            SELECT id, missing_ns IS NOT NULL, path FROM (
                SELECT id, missing_ns, path FROM images
                WHERE inode = ? AND device = ? AND mtime_ns = ? AND size = ? AND vector IS NOT NULL AND is_outdated = 0
                LIMIT 64
            ) ORDER BY missing_ns IS NULL LIMIT 1
        """
        return self._match(sql, (stat.inode, stat.device, stat.mtime_ns, stat.size_bytes))

    def contents(self, ids: Iterable[int]) -> list[tuple[bytes | None, int] | None]:
        """Digest and inode of each of these files; no digest for one that could not be read, None for one forgotten."""
        with self._database.reading():
            found = [
                self._database.connection.execute("SELECT digest, inode FROM images WHERE id = ?", (id_,)).fetchone()
                for id_ in ids
            ]
            require(all(row is None or type(row[0]) in (bytes, NoneType) for row in found))
            return found

    def _match(self, sql: str, parameters: Sequence[object]) -> KnownRow | None:
        with self._database.reading():
            found = self._database.connection.execute(sql, parameters).fetchone()
            require(found is None or type(found[2]) is bytes)
            return KnownRow(found[0], bool(found[1]), self._database.outer(found[2])) if found else None

    def has_orphaned(self) -> bool:
        with self._database.errors():
            return bool(self._database.connection.execute("SELECT 1 FROM images WHERE path < x'01' LIMIT 1").fetchone())

    # --- writing ------------------------------------------------------------------------------------------------------

    def add(
        self, path: bytes, stat: FileStat, digest: bytes, vector: np.ndarray, metadata: PhotoMetadata = NO_METADATA
    ) -> int:
        """A photo with new bytes; whatever was known of the path before is replaced. Returns its id."""
        path = self._database.inner(path)
        self._orphan(path)
        sql = """
            INSERT INTO images
            (path, size, mtime_ns, device, inode, ctime_ns, digest, vector, has_capture_time, has_metadata)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
        """
        row = (digest, vector.astype("<f2").tobytes(), metadata.captured_s is not None)
        id_ = self._database.connection.execute(sql, (path, *stat, *row)).lastrowid
        assert id_ is not None
        self._metadata.add(id_, _name(path), metadata)
        return id_

    def add_failure(self, failure: FailedPhoto, stat: FileStat) -> None:
        """A file that cannot be read, remembered until it changes."""
        path = self._database.inner(failure.path)
        self._orphan(path)
        sql = """
            INSERT INTO images (path, size, mtime_ns, device, inode, ctime_ns, failure, failure_kind, has_metadata)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)
        """
        self._database.connection.execute(sql, (path, *stat, failure.reason, failure.kind))

    def copy(self, source_id: int, path: bytes, stat: FileStat) -> None:
        """A photo with the same bytes as another one."""
        path = self._database.inner(path)
        self._orphan(path)
        sql = """
            INSERT INTO images
            (path, size, mtime_ns, device, inode, ctime_ns, digest, vector, has_metadata, has_capture_time)
            SELECT ?, ?, ?, ?, ?, ?, digest, vector, has_metadata, has_capture_time FROM images WHERE id = ?
        """
        id_ = self._database.connection.execute(sql, (path, *stat, source_id)).lastrowid
        assert id_ is not None
        self._metadata.copy(source_id, id_, _name(path))
        self._films.copy(source_id, id_)

    def move(self, id_: int, path: bytes, stat: FileStat) -> None:
        """The same photo at another path, or at its own with another stat."""
        path = self._database.inner(path)
        self._orphan(path, but=id_)
        sql = """
            UPDATE images
            SET path = ?, size = ?, mtime_ns = ?, device = ?, inode = ?, ctime_ns = ?, missing_ns = NULL, is_offline = 0
            WHERE id = ?
        """
        self._database.connection.execute(sql, (path, *stat, id_))
        self._metadata.rename(id_, _name(path))

    def confirm(self, seen: Iterable[tuple[int, FileStat]]) -> None:
        """These are the files that they were, with another identity or change time."""
        sql = "UPDATE images SET device = ?, inode = ?, ctime_ns = ? WHERE id = ?"
        self._database.connection.executemany(sql, ((*stat[2:], id_) for id_, stat in seen))

    def _orphan(self, path: bytes, but: int = 0) -> None:
        """Frees `path`, as the table has it.

        A vector that was there stays to be found under its digest: the photo may be moved, not lost. No real path
        starts with NUL, so no folder holds it.
        """
        sql = """
            UPDATE images SET path = CAST(char(0) || id AS BLOB), missing_ns = 1
            WHERE path = ? AND id <> ? AND vector IS NOT NULL
        """
        self._database.connection.execute(sql, (path, but))
        self._database.connection.execute("DELETE FROM images WHERE path = ? AND id <> ?", (path, but))

    def delete_orphaned(self) -> None:
        """Forgets what has been replaced and not been found elsewhere. For the end of a run."""
        self._database.connection.execute("DELETE FROM images WHERE path < x'01'")

    def mark_current(self, id_: int) -> None:
        """This rclip, too, has come to what is stored of the file."""
        self._database.connection.execute("UPDATE images SET is_outdated = 0 WHERE id = ?", (id_,))

    def mark_missing(self, ids: Iterable[int]) -> None:
        """These are not where they were; their vectors are kept for when they turn up again."""
        self._mark(ids, _now_ns(), is_offline=False)

    def mark_offline(self, ids: Iterable[int]) -> None:
        """These are not where they were, and nor is anything beside them: their drive may only be unplugged."""
        self._mark(ids, _now_ns(), is_offline=True)

    def mark_present(self, ids: Iterable[int]) -> None:
        self._mark(ids, None, is_offline=False)

    def _mark(self, ids: Iterable[int], missing_ns: int | None, is_offline: bool) -> None:
        sql = "UPDATE images SET missing_ns = ?, is_offline = ? WHERE id = ?"
        self._database.connection.executemany(sql, ((missing_ns, is_offline, id_) for id_ in ids))

    def forget(self, rows: Iterable[FileRow]) -> int:
        """Deletes those of the rows that are still missing, or still there, and returns how many that were."""
        sql = "DELETE FROM images WHERE id = ? AND path = ? AND missing_ns IS ?"
        self._database.connection.execute(
            "INSERT OR REPLACE INTO meta VALUES ('has_gaps', '')"
        )  # in pages that are half full
        return self._database.connection.executemany(
            sql, ((row.id, self._database.inner(row.path), row.missing_ns) for row in rows)
        ).rowcount


def _name(path: bytes) -> bytes:
    return path.rpartition(SEPARATOR)[2]


def _now_ns() -> int:
    """A clock may have lost its time."""
    return max(time.time_ns(), 1)
