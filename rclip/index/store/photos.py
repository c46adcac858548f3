"""The photos of an index and the files that could not be read: the table `images`."""

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from types import NoneType
from typing import Any, NamedTuple

import numpy as np

from rclip.files import SEPARATOR, FileStat
from rclip.index.store.database import CHUNK_ROWS, Database
from rclip.index.store.films import FilmsTable
from rclip.index.store.ignore_files import IgnoreFileTable
from rclip.index.store.metadata import MetadataTable
from rclip.index.store.session import require
from rclip.photo.failures import FailedPhoto, FailureKind
from rclip.photo.metadata import NO_METADATA, PhotoMetadata
from rclip.photo.validation import are_valid, has_unit_length

_COUNTED_ROWS = 4096


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


class PhotoRow(NamedTuple):
    """The row of a photo, or of a moment of a film, that was found."""

    id: int
    path: bytes
    size_bytes: int
    mtime_ns: int
    vector: bytes
    """D float16"""
    digest: bytes
    film_id: int | None = None
    """The id of the film's own row; None for a photo."""
    at_ms: int | None = None
    """The time of the moment; None for a photo."""

    @property
    def photo_id(self) -> int:
        """The id of the file, by which it has metadata."""
        return self.id if self.film_id is None else self.film_id


class PhotoQueries(Database):
    """What is asked of the photos of one open index. Methods raise `StoreError`.

    A range of paths needs no check of their type: SQLite sorts all other values before bytes.
    """

    @property
    def metadata(self) -> MetadataTable:
        """What the photos say of themselves."""
        return MetadataTable(self)

    @property
    def films(self) -> FilmsTable:
        """What is known of those that are films."""
        return FilmsTable(self)

    @cached_property
    def ignore_files(self) -> IgnoreFileTable:
        """What is to be passed over in which folders."""
        return IgnoreFileTable(self)

    # --- reading -----------------------------------------------------------------------------------------------------

    def rows(self, folder: bytes) -> Iterator[FileRow]:
        """All files known below `folder` (which ends in a slash), missing ones too, in path order."""
        return map(FileRow._make, self.row_tuples(folder))

    def row_tuples(self, folder: bytes) -> Iterator[RowTuple]:
        """The same without names, of which to make a tuple takes longer than all else."""
        sql = """
            SELECT id, path, mtime_ns, size, missing_ns, is_offline, ctime_ns FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? ORDER BY path
        """
        with self.reading():
            cursor = self.connection.execute(sql, self.range_of(folder))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                yield from map(self._row, rows) if self.is_portable else rows

    def _row(self, row: RowTuple) -> FileRow:
        return FileRow._make((row[0], self.outer(row[1]), *row[2:]))

    def count(self, folder: bytes) -> tuple[int, int]:
        """How many files are known to be below `folder`, unreadable ones too, and how many are missing from it."""
        sql = """
            SELECT count(*) FILTER (WHERE missing_ns IS NULL), count(missing_ns) FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ?
        """
        with self.errors():
            there, missing = self.connection.execute(sql, self.range_of(folder)).fetchone()
        return there, missing

    def missing(self, folder: bytes, before_ns: int, with_offline: bool) -> list[FileRow]:
        """Files below `folder` that have been missing since `before_ns` or longer; offline ones only if asked.

        In path order.
        """
        sql = """
            SELECT id, path, mtime_ns, size, missing_ns, is_offline, ctime_ns FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND missing_ns <= ? AND is_offline <= ? ORDER BY path
        """
        with self.reading():
            found = self.connection.execute(sql, (*self.range_of(folder), before_ns, with_offline)).fetchall()
            return [self._row(row) for row in found]

    def failures(self, folder: bytes) -> list[FailedPhoto]:
        """The files below `folder` that are there and could not be read, in path order."""
        sql = """
            SELECT path, failure, failure_kind FROM images INDEXED BY images_failure
            WHERE path >= ? AND path < ? AND failure IS NOT NULL AND missing_ns IS NULL ORDER BY path
        """
        with self.reading():
            found = self.connection.execute(sql, self.range_of(folder)).fetchall()
            require(all(type(reason) is str for _, reason, _ in found))
            return [FailedPhoto(self.outer(path), reason, FailureKind(kind)) for path, reason, kind in found]

    def outdated(self, folder: bytes) -> list[bytes]:
        """Paths of the files below `folder` that an older rclip could not decode, or may have decoded wrongly."""
        sql = """
            SELECT path FROM images INDEXED BY images_outdated
            WHERE path >= ? AND path < ? AND is_outdated = 1 AND missing_ns IS NULL
        """
        with self.reading():
            return [self.outer(path) for (path,) in self.connection.execute(sql, self.range_of(folder))]

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
        return self._match(at_path, (self.inner(path), digest)) or self._match(anywhere, (digest,))

    def find_identity(self, stat: FileStat) -> KnownRow | None:
        """A photo that the file system says is this very file under another name, by preference a missing one.

        None where the index travels: other machines number devices and files otherwise, and exFAT by the minute.
        """
        if self.is_portable:
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
        with self.reading():
            found = [
                self.connection.execute("SELECT digest, inode FROM images WHERE id = ?", (id_,)).fetchone()
                for id_ in ids
            ]
            require(all(row is None or type(row[0]) in (bytes, NoneType) for row in found))
            return found

    def _match(self, sql: str, parameters: Sequence[object]) -> KnownRow | None:
        with self.reading():
            found = self.connection.execute(sql, parameters).fetchone()
            require(found is None or type(found[2]) is bytes)
            return KnownRow(found[0], bool(found[1]), self.outer(found[2])) if found else None

    def records(self, ids: Sequence[int]) -> list[PhotoRow | None]:
        """One for each id of a photo or a film's moment, None where the file has gone missing since."""
        sql = "SELECT id, path, size, mtime_ns, vector, digest FROM images WHERE id = ? AND missing_ns IS NULL"
        with self.reading():
            found = [self.connection.execute(sql, (id_,)).fetchone() for id_ in ids]
            records = [self._record(row) if row else None for row in found]
            if not self.films.has_any():
                return records
            return [
                self._as_film(record) if record else self._moment(id_) for id_, record in zip(ids, records, strict=True)
            ]

    def _as_film(self, record: PhotoRow) -> PhotoRow:
        at_ms = self.films.first_moment_ms(record.id)
        return record if at_ms is None else record._replace(film_id=record.id, at_ms=at_ms)

    def _moment(self, id_: int) -> PhotoRow | None:
        sql = """
            SELECT moments.id, path, size, mtime_ns, moments.vector, digest, film, at_ms
            FROM moments JOIN images ON images.id = film WHERE moments.id = ? AND missing_ns IS NULL
        """
        found = self.connection.execute(sql, (id_,)).fetchone()
        if not found:
            return None
        *row, film_id, at_ms = found
        require(are_valid(("film", "at_ms"), [(film_id, at_ms)]))
        return self._record(row)._replace(film_id=film_id, at_ms=at_ms)

    def _record(self, row: Sequence[Any]) -> PhotoRow:
        """Raises ValueError for what was never stored so."""
        record = PhotoRow(*row)
        require(tuple(map(type, row)) == (int, bytes, int, int, bytes, bytes) and has_unit_length(record.vector))
        return record._replace(path=self.outer(record.path), digest=self._digest_mark + record.digest)

    @property
    def _digest_mark(self) -> bytes:
        """Before the digests of an index that may be anybody's: it could have a photo pass for one of the user's."""
        return self.root + b"\0" if self.is_foreign else b""

    def relatives(self, rows: Iterable[PhotoRow]) -> list[list[int]]:
        """For each file the ids of its exact copies, and of the files beside it that differ in their names' endings.

        Copies that have gone missing are among them. Both come from indexes: nearly always there are none.
        """
        sql = """
            SELECT id FROM images INDEXED BY images_digest WHERE digest = ?1 AND vector IS NOT NULL AND id <> ?2
            UNION ALL
            SELECT id FROM images INDEXED BY images_listing
            WHERE path >= ?3 AND path < ?4 AND missing_ns IS NULL AND id <> ?2 AND vector IS NOT NULL AND digest <> ?1
            AND NOT instr(CAST(substr(path, ?5) AS BLOB), x'2e')
        """
        with self.reading():
            found = (self.connection.execute(sql, self._relatives_of(row)) for row in rows)
            return [[id_ for (id_,) in ids] for ids in found]

    def _relatives_of(self, row: PhotoRow) -> tuple[bytes, int, bytes, bytes, int]:
        """Digest, id, the range of the paths that are alike up to the last dot, and where an ending starts in them."""
        digest, start = row.digest.removeprefix(self._digest_mark), self.inner(row.path)
        folder, slash, name = start.rpartition(b"/")
        stem = folder + slash + name.rpartition(b".")[0]
        if stem == folder + slash:  # a name that is all ending
            return digest, row.photo_id, start, start, 1
        return digest, row.photo_id, stem + b".", stem + b"/", len(stem) + 2

    def digest(self, id_: int) -> bytes | None:
        """Of the bytes of the photo, or of the film with the moment, with this id, if it is present.

        None in an index that may be anybody's: it could have the picture in one file pass for that of another.
        """
        if self.is_foreign:
            return None
        sql = """
            SELECT digest FROM images WHERE id = coalesce((SELECT film FROM moments WHERE id = ?1), ?1)
            AND missing_ns IS NULL AND vector IS NOT NULL
        """
        with self.reading():
            found = self.connection.execute(sql, (id_,)).fetchone()
            require(found is None or type(found[0]) is bytes)
            return bytes(found[0]) if found else None

    def ids(self, folders: Iterable[bytes], most: int) -> np.ndarray | None:
        """Ids (N,) int64, ascending, of the photos that are in these folders; None when there are more than `most`.

        Folders must not lie inside one another.
        """
        sql = """
            SELECT id FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND missing_ns IS NULL LIMIT ?
        """
        more = """
            SELECT 1 FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND missing_ns IS NULL LIMIT 1 OFFSET ?
        """
        found: list[int] = []
        with self.reading():
            for folder in folders:
                # Counting is several times faster than fetching, and in a large library it is all.
                if most and self.connection.execute(more, (*self.range_of(folder), most - len(found))).fetchone():
                    return None
                rows = self.connection.execute(sql, (*self.range_of(folder), most + 1 - len(found)))
                found += (id_ for (id_,) in rows)
            return None if len(found) > most else np.sort(np.array(found, np.int64))

    def photos(self, folder: bytes) -> Iterator[tuple[int, bytes]]:
        """Ids and paths of the photos that are below `folder`, in path order."""
        sql = """
            SELECT id, path FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND missing_ns IS NULL
            AND id NOT IN (SELECT id FROM images INDEXED BY images_failure WHERE failure IS NOT NULL) ORDER BY path
        """
        with self.reading():
            cursor = self.connection.execute(sql, self.range_of(folder))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                yield from ((id_, self.outer(path)) for id_, path in rows)

    def paths_like(self, start: bytes, part: bytes, glob: bytes, most: int) -> dict[int, bytes] | None:
        """Ids and paths of the photos that are there and match SQLite's `glob`; None when there are more than `most`.

        All that match begin with `start`, which ends in no 0xff, and contain `part`: that is found faster than a match.
        """
        sql = """
            SELECT id, path FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND instr(path, ?) AND missing_ns IS NULL
            AND CAST(? AS TEXT) || CAST(path AS TEXT) GLOB CAST(? AS TEXT) LIMIT ?
        """
        with self.reading():
            rows = self.connection.execute(sql, (*self.range_of(start), part, self.root, glob, most + 1)).fetchall()
            found = {id_: self.outer(path) for id_, path in rows}
        return None if len(found) > most else found

    def check_counts(self, folders: Iterable[bytes]) -> None:
        """Raises `DamagedIndex` when two indexes of the table do not agree on how many files there are in the folders.

        A page that has lost a row shows nothing of it, and no other query would. Of a small index, whose table is read
        as a whole by each search, the table's own rows are counted, too.
        """
        in_folder = """
            SELECT (SELECT count(*) FROM images INDEXED BY images_listing WHERE path >= ?1 AND path < ?2),
                   (SELECT count(*) FROM images INDEXED BY sqlite_autoindex_images_1 WHERE path >= ?1 AND path < ?2)
        """
        in_table = """
            SELECT (SELECT count(*) FROM images NOT INDEXED),
                   (SELECT count(*) FROM images INDEXED BY images_digest WHERE vector IS NOT NULL)
                 + (SELECT count(*) FROM images INDEXED BY images_failure WHERE failure IS NOT NULL)
        """
        of_moments = """
            SELECT (SELECT count(*) FROM moments NOT INDEXED),
                   (SELECT count(*) FROM moments INDEXED BY moments_film)
        """
        with self.errors():
            counts = [self.connection.execute(in_folder, self.range_of(folder)).fetchone() for folder in folders]
            if self.last_id() < _COUNTED_ROWS:
                counts.append(self.connection.execute(in_table).fetchone())
                counts.append(self.connection.execute(of_moments).fetchone())
        if any(one != other for one, other in counts):
            raise self.damage()

    def has_orphaned(self) -> bool:
        with self.errors():
            return bool(self.connection.execute("SELECT 1 FROM images WHERE path < x'01' LIMIT 1").fetchone())

    # --- vectors -----------------------------------------------------------------------------------------------------

    def vector_at(self, path: bytes, stat: FileStat) -> bytes | None:
        """The vector of a photo that is indexed under this path and has not changed since."""
        sql = "SELECT vector FROM images WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns IN (0, ?)"
        return self._vector(sql, (self.inner(path), stat.size_bytes, stat.mtime_ns, stat.ctime_ns))

    def vector_with(self, digest: bytes) -> bytes | None:
        """The vector of any photo with these bytes; an index that may be anybody's is not believed what others have."""
        if self.is_foreign:
            return None
        return self._vector("SELECT vector FROM images WHERE digest = ? AND vector IS NOT NULL LIMIT 1", (digest,))

    def _vector(self, sql: str, parameters: Sequence[object]) -> bytes | None:
        """Half precision of length 1, of whatever dimension."""
        with self.reading():
            found = self.connection.execute(sql, parameters).fetchone()
            if found is None or found[0] is None:
                return None
            require(type(found[0]) is bytes and has_unit_length(found[0]))
            return bytes(found[0])

    def vectors_above(self, last_id: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids (N,) int64, ascending, and vectors (N, D) float16 of all photos and moments with ids above.

        Some thousands at a time. Gone photos are among them.
        """
        of_photos = "SELECT id, vector FROM images WHERE id > ? AND vector IS NOT NULL ORDER BY id"
        of_all = """
            SELECT id, vector FROM images WHERE id > ?1 AND vector IS NOT NULL
            UNION ALL SELECT id, vector FROM moments WHERE id > ?1 ORDER BY id
        """
        with self.reading():
            cursor = self.connection.execute(of_all if self.films.has_any() else of_photos, (last_id,))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                found, blobs = zip(*rows, strict=True)
                require(len(set(map(len, blobs))) == 1)
                ids = np.array(found, np.int64)
                require(last_id < ids[0] and bool((np.diff(ids) > 0).all()))
                last_id = int(ids[-1])
                yield ids, np.frombuffer(b"".join(blobs), np.float16).reshape(len(blobs), -1)

    def last_id(self) -> int:
        """The highest id in use, of a photo or a moment."""
        with self.errors():
            last = self.value("SELECT coalesce(max(id), 0) FROM images")
            return max(last, self.value("SELECT coalesce(max(id), 0) FROM moments"))

    def vector_count(self) -> int:
        with self.errors():
            photos = self.value("SELECT count(*) FROM images INDEXED BY images_digest WHERE vector IS NOT NULL")
            return photos + self.value("SELECT count(*) FROM moments INDEXED BY moments_film")

    def vector_count_above(self, last_id: int) -> int:
        """How many photos and moments with ids above have a vector."""
        sql = """
            SELECT (SELECT count(*) FROM images WHERE id > ?1 AND vector IS NOT NULL)
                 + (SELECT count(*) FROM moments WHERE id > ?1)
        """
        with self.errors():
            count: int = self.connection.execute(sql, (last_id,)).fetchone()[0]
        return count


class Store(PhotoQueries):
    """One open index. Methods raise `StoreError`; those that write belong inside `with store.transaction():`."""

    def add(
        self, path: bytes, stat: FileStat, digest: bytes, vector: np.ndarray, metadata: PhotoMetadata = NO_METADATA
    ) -> int:
        """A photo with new bytes; whatever was known of the path before is replaced. Returns its id."""
        path = self.inner(path)
        self._orphan(path)
        sql = """
            INSERT INTO images
            (path, size, mtime_ns, device, inode, ctime_ns, digest, vector, has_capture_time, has_metadata)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
        """
        row = (digest, vector.astype("<f2").tobytes(), metadata.captured_s is not None)
        id_ = self.connection.execute(sql, (path, *stat, *row)).lastrowid
        assert id_ is not None
        self.metadata.add(id_, _name(path), metadata)
        return id_

    def add_failure(self, failure: FailedPhoto, stat: FileStat) -> None:
        """A file that cannot be read, remembered until it changes."""
        path = self.inner(failure.path)
        self._orphan(path)
        sql = """
            INSERT INTO images (path, size, mtime_ns, device, inode, ctime_ns, failure, failure_kind, has_metadata)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)
        """
        self.connection.execute(sql, (path, *stat, failure.reason, failure.kind))

    def copy(self, source_id: int, path: bytes, stat: FileStat) -> None:
        """A photo with the same bytes as another one."""
        path = self.inner(path)
        self._orphan(path)
        sql = """
            INSERT INTO images
            (path, size, mtime_ns, device, inode, ctime_ns, digest, vector, has_metadata, has_capture_time)
            SELECT ?, ?, ?, ?, ?, ?, digest, vector, has_metadata, has_capture_time FROM images WHERE id = ?
        """
        id_ = self.connection.execute(sql, (path, *stat, source_id)).lastrowid
        assert id_ is not None
        self.metadata.copy(source_id, id_, _name(path))
        self.films.copy(source_id, id_)

    def move(self, id_: int, path: bytes, stat: FileStat) -> None:
        """The same photo at another path, or at its own with another stat."""
        path = self.inner(path)
        self._orphan(path, but=id_)
        sql = """
            UPDATE images
            SET path = ?, size = ?, mtime_ns = ?, device = ?, inode = ?, ctime_ns = ?, missing_ns = NULL, is_offline = 0
            WHERE id = ?
        """
        self.connection.execute(sql, (path, *stat, id_))
        self.metadata.rename(id_, _name(path))

    def confirm(self, seen: Iterable[tuple[int, FileStat]]) -> None:
        """These are the files that they were, with another identity or change time."""
        sql = "UPDATE images SET device = ?, inode = ?, ctime_ns = ? WHERE id = ?"
        self.connection.executemany(sql, ((*stat[2:], id_) for id_, stat in seen))

    def _orphan(self, path: bytes, but: int = 0) -> None:
        """Frees `path`, as the table has it.

        A vector that was there stays to be found under its digest: the photo may be moved, not lost. No real path
        starts with NUL, so no folder holds it.
        """
        sql = """
            UPDATE images SET path = CAST(char(0) || id AS BLOB), missing_ns = 1
            WHERE path = ? AND id <> ? AND vector IS NOT NULL
        """
        self.connection.execute(sql, (path, but))
        self.connection.execute("DELETE FROM images WHERE path = ? AND id <> ?", (path, but))

    def delete_orphaned(self) -> None:
        """Forgets what has been replaced and not been found elsewhere. For the end of a run."""
        self.connection.execute("DELETE FROM images WHERE path < x'01'")

    def mark_current(self, id_: int) -> None:
        """This rclip, too, has come to what is stored of the file."""
        self.connection.execute("UPDATE images SET is_outdated = 0 WHERE id = ?", (id_,))

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
        self.connection.executemany(sql, ((missing_ns, is_offline, id_) for id_ in ids))

    def forget(self, rows: Iterable[FileRow]) -> int:
        """Deletes those of the rows that are still missing, or still there, and returns how many that were."""
        sql = "DELETE FROM images WHERE id = ? AND path = ? AND missing_ns IS ?"
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('has_gaps', '')")  # in pages that are half full
        return self.connection.executemany(
            sql, ((row.id, self.inner(row.path), row.missing_ns) for row in rows)
        ).rowcount


def _name(path: bytes) -> bytes:
    return path.rpartition(SEPARATOR)[2]


def _now_ns() -> int:
    """A clock may have lost its time."""
    return max(time.time_ns(), 1)
