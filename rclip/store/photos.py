"""The photos of an index and the files that could not be read: the table `images`."""

import time
from collections.abc import Iterable, Iterator, Sequence
from io import RawIOBase
from operator import itemgetter
from typing import BinaryIO, NamedTuple

import numpy as np

from rclip.facts import NONE, Facts
from rclip.store.database import CHUNK_ROWS, Database, check
from rclip.store.domains import is_unit, may_hold
from rclip.store.facts import FactsTable

AWAY = 0
"""`gone_ns` up to this is that of a photo whose whole folder was empty: its drive may only be unplugged.

It is minus the time at which that was first seen, or 0 where nothing knows it.
"""


class Row(NamedTuple):
    """What the index knows of a file, but for its vector."""

    id: int
    path: bytes
    mtime_ns: int
    size_bytes: int
    gone_ns: int | None


class Stamp(NamedTuple):
    """A file's stat as the index keeps it: two equal ones, and the bytes are taken to be the same."""

    size_bytes: int
    mtime_ns: int
    device: int
    inode: int


class Match(NamedTuple):
    """A row found by its content or identity."""

    id: int
    gone: bool
    path: bytes


class Record(NamedTuple):
    """What is told of a photo that was found."""

    id: int
    path: bytes
    size_bytes: int
    mtime_ns: int
    vector: bytes
    """D float16"""


class Store(Database):
    """One open index. Methods raise `StoreError`; those that write belong inside `with store.transaction():`."""

    @property
    def facts(self) -> FactsTable:
        """What the photos say of themselves."""
        return FactsTable(self)

    # --- reading -----------------------------------------------------------------------------------------------------

    def rows(self, folder: bytes) -> Iterator[Row]:
        """All files known below `folder` (which ends in a slash), gone ones too, in path order."""
        sql = """
            SELECT id, path, mtime_ns, size, gone_ns FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? ORDER BY path
        """
        with self.reading():
            cursor = self.connection.execute(sql, self.range_of(folder))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                check(set(map(type, map(itemgetter(1), rows))) == {bytes})
                yield from map(self._row if self.travels else Row._make, rows)

    def _row(self, row: tuple[int, bytes, int, int, int | None]) -> Row:
        return Row(row[0], self.outer(row[1]), *row[2:])

    def count(self, folder: bytes) -> tuple[int, int]:
        """How many files are known to be below `folder`, unreadable ones too, and how many are gone from it."""
        sql = """
            SELECT count(*) FILTER (WHERE gone_ns IS NULL), count(gone_ns) FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ?
        """
        with self.errors():
            there, gone = self.connection.execute(sql, self.range_of(folder)).fetchone()
        return there, gone

    def missing(self, folder: bytes, before_ns: int, with_away: bool) -> list[Row]:
        """Files below `folder` that have been gone since `before_ns` or longer; those `AWAY` since then only if asked.

        In path order.
        """
        sql = """
            SELECT id, path, mtime_ns, size, gone_ns FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND gone_ns BETWEEN ? AND ? ORDER BY path
        """
        since = -before_ns if with_away else AWAY + 1
        with self.reading():
            found = self.connection.execute(sql, (*self.range_of(folder), since, before_ns)).fetchall()
            return [self._row(row) for row in found]

    def failures(self, folder: bytes) -> dict[bytes, str]:
        """The files below `folder` that are there and could not be read, with the reasons, in path order."""
        sql = """
            SELECT path, failure FROM images INDEXED BY images_failure
            WHERE path >= ? AND path < ? AND failure IS NOT NULL AND gone_ns IS NULL ORDER BY path
        """
        with self.reading():
            found = self.connection.execute(sql, self.range_of(folder)).fetchall()
            check(all(type(path) is bytes and type(reason) is str for path, reason in found))
            return {self.outer(path): reason for path, reason in found}

    def find_content(self, digest: bytes, path: bytes) -> Match | None:
        """A photo with these bytes: the one at `path`, else one that is gone from its place, else any.

        Of very many copies only some are looked at: where the gone one is not among them, this is one more copy.
        """
        at_path = """
            SELECT id, gone_ns IS NOT NULL, path FROM images
            WHERE path = ? AND digest = ? AND vector IS NOT NULL
        """
        anywhere = """
            SELECT id, gone_ns IS NOT NULL, path FROM (
                SELECT id, gone_ns, path FROM images WHERE digest = ? AND vector IS NOT NULL LIMIT 64
            ) ORDER BY gone_ns IS NULL LIMIT 1
        """
        return self._match(at_path, (self.inner(path), digest)) or self._match(anywhere, (digest,))

    def find_identity(self, stamp: Stamp) -> Match | None:
        """A photo that the file system says is this very file under another name, by preference one that is gone.

        None where the index travels: other machines number devices and files otherwise, and exFAT by the minute.
        """
        if self.travels:
            return None
        sql = """
            SELECT id, gone_ns IS NOT NULL, path FROM (
                SELECT id, gone_ns, path FROM images
                WHERE inode = ? AND device = ? AND mtime_ns = ? AND size = ? AND vector IS NOT NULL LIMIT 64
            ) ORDER BY gone_ns IS NULL LIMIT 1
        """
        return self._match(sql, (stamp.inode, stamp.device, stamp.mtime_ns, stamp.size_bytes))

    def _match(self, sql: str, parameters: Sequence[object]) -> Match | None:
        with self.reading():
            found = self.connection.execute(sql, parameters).fetchone()
            check(found is None or type(found[2]) is bytes)
            return Match(found[0], bool(found[1]), self.outer(found[2])) if found else None

    def records(self, ids: Iterable[int]) -> list[Record | None]:
        """One for each id, None where the photo has gone since."""
        sql = "SELECT id, path, size, mtime_ns, vector FROM images WHERE id = ? AND gone_ns IS NULL"
        with self.reading():
            found = [self.connection.execute(sql, (id_,)).fetchone() for id_ in ids]
            return [self._record(row) if row else None for row in found]

    def _record(self, row: tuple[int, bytes, int, int, bytes]) -> Record:
        """Raises ValueError for what was never stored so."""
        record = Record(*row)
        check(tuple(map(type, row)) == (int, bytes, int, int, bytes) and is_unit(record.vector))
        return record._replace(path=self.outer(record.path))

    def ids(self, folders: Iterable[bytes], most: int) -> np.ndarray | None:
        """Ids (N,) int64, ascending, of the photos that are in these folders; None when there are more than `most`.

        Folders must not lie inside one another.
        """
        sql = """
            SELECT id FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND gone_ns IS NULL LIMIT ?
        """
        more = """
            SELECT 1 FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND gone_ns IS NULL LIMIT 1 OFFSET ?
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

    def paths_like(self, start: bytes, part: bytes, glob: bytes, most: int) -> dict[int, bytes] | None:
        """Ids and paths of the photos that are there and match SQLite's `glob`; None when there are more than `most`.

        All that match begin with `start`, which ends in no 0xff, and contain `part`: that is found faster than a match.
        """
        sql = """
            SELECT id, path FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND instr(path, ?) AND gone_ns IS NULL
            AND CAST(? AS TEXT) || CAST(path AS TEXT) GLOB CAST(? AS TEXT) LIMIT ?
        """
        with self.reading():
            rows = self.connection.execute(sql, (*self.range_of(start), part, self.root, glob, most + 1)).fetchall()
            check(may_hold(("id", "path"), rows))
            found = {id_: self.outer(path) for id_, path in rows}
        return None if len(found) > most else found

    def check_counts(self, folders: Iterable[bytes], with_table: bool) -> None:
        """Raises `DamagedIndex` when the table's indexes do not agree on how many files there are in the folders.

        A page that has lost a row shows nothing of it, and no other query would. `with_table` also counts all of the
        table's own rows, which lie on ten times as many pages.
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
        with self.errors():
            counts = [self.connection.execute(in_folder, self.range_of(folder)).fetchone() for folder in folders]
            if with_table:
                counts.append(self.connection.execute(in_table).fetchone())
        if any(one != other for one, other in counts):
            raise self.damage()

    def has_displaced(self) -> bool:
        with self.errors():
            return bool(self.connection.execute("SELECT 1 FROM images WHERE path < x'01' LIMIT 1").fetchone())

    # --- vectors -----------------------------------------------------------------------------------------------------

    def vector_at(self, path: bytes, stamp: Stamp) -> bytes | None:
        """The vector of a photo that is indexed under this path and has not changed since."""
        sql = "SELECT vector FROM images WHERE path = ? AND size = ? AND mtime_ns = ?"
        return self._vector(sql, (self.inner(path), stamp.size_bytes, stamp.mtime_ns))

    def vector_with(self, digest: bytes) -> bytes | None:
        """The vector of any photo with these bytes."""
        return self._vector("SELECT vector FROM images WHERE digest = ? AND vector IS NOT NULL LIMIT 1", (digest,))

    def _vector(self, sql: str, parameters: Sequence[object]) -> bytes | None:
        """Half precision of length 1, of whatever dimension."""
        with self.reading():
            found = self.connection.execute(sql, parameters).fetchone()
            if found is None or found[0] is None:
                return None
            check(type(found[0]) is bytes and is_unit(found[0]))
            return bytes(found[0])

    def vectors_above(self, last_id: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids (N,) int64, ascending, and vectors (N, D) float16 of all photos with ids above, some thousands at a time.

        Gone photos are among them.
        """
        sql = "SELECT id, vector FROM images WHERE id > ? AND vector IS NOT NULL ORDER BY id"
        with self.reading():
            cursor = self.connection.execute(sql, (last_id,))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                found, blobs = zip(*rows, strict=True)
                check(len(set(map(len, blobs))) == 1)
                ids = np.array(found, np.int64)
                check(last_id < ids[0] and bool((np.diff(ids) > 0).all()))
                last_id = int(ids[-1])
                yield ids, np.frombuffer(b"".join(blobs), np.float16).reshape(len(blobs), -1)

    def last_id(self) -> int:
        """The highest id in use."""
        with self.errors():
            return self.value("SELECT coalesce(max(id), 0) FROM images")

    def vector_count(self) -> int:
        with self.errors():
            return self.value("SELECT count(*) FROM images INDEXED BY images_digest WHERE vector IS NOT NULL")

    # --- writing -----------------------------------------------------------------------------------------------------

    def add(self, path: bytes, stamp: Stamp, digest: bytes, vector: np.ndarray, facts: Facts = NONE) -> None:
        """A photo with new bytes; whatever was known of the path before is replaced."""
        id_ = self._insert(path, stamp, digest, vector.astype("<f2").tobytes(), None)
        self.facts.add(id_, facts)

    def add_failure(self, path: bytes, stamp: Stamp, reason: str) -> None:
        """A file that cannot be read, remembered until it changes."""
        self._insert(path, stamp, None, None, reason)

    def _insert(self, path: bytes, stamp: Stamp, digest: bytes | None, vector: bytes | None, why: str | None) -> int:
        path = self.inner(path)
        self._displace(path)
        sql = """
            INSERT INTO images (path, size, mtime_ns, device, inode, digest, vector, failure, described)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)
        """
        id_ = self.connection.execute(sql, (path, *stamp, digest, vector, why)).lastrowid
        assert id_ is not None
        return id_

    def copy(self, source_id: int, path: bytes, stamp: Stamp) -> None:
        """A photo with the same bytes as another one."""
        path = self.inner(path)
        self._displace(path)
        sql = """
            INSERT INTO images (path, size, mtime_ns, device, inode, digest, vector, described)
            SELECT ?, ?, ?, ?, ?, digest, vector, described FROM images WHERE id = ?
        """
        id_ = self.connection.execute(sql, (path, *stamp, source_id)).lastrowid
        self.facts.copy(source_id, id_)

    def move(self, id_: int, path: bytes, stamp: Stamp) -> None:
        """The same photo at another path, or at its own with another stat."""
        path = self.inner(path)
        self._displace(path, but=id_)
        sql = """
            UPDATE images
            SET path = ?, size = ?, mtime_ns = ?, device = ?, inode = ?, gone_ns = NULL WHERE id = ?
        """
        self.connection.execute(sql, (path, *stamp, id_))
        self.facts.restate(id_)

    def _displace(self, path: bytes, but: int = 0) -> None:
        """Frees `path`, as the table has it.

        A vector that was there stays to be found under its digest: the photo may be moved, not lost. No real path
        starts with NUL, so no folder holds it.
        """
        sql = """
            UPDATE images SET path = CAST(char(0) || id AS BLOB), gone_ns = 0
            WHERE path = ? AND id <> ? AND vector IS NOT NULL
        """
        self.connection.execute(sql, (path, but))
        self.connection.execute("DELETE FROM images WHERE path = ? AND id <> ?", (path, but))

    def drop_displaced(self) -> None:
        """Forgets what has been replaced and not been found elsewhere. For the end of a run."""
        self.connection.execute("DELETE FROM images WHERE path < x'01'")

    def mark_gone(self, ids: Iterable[int], gone_ns: int | None = None) -> None:
        """These are not where they were; their vectors are kept for when they turn up again."""
        when = max(time.time_ns(), 1) if gone_ns is None else gone_ns  # a clock may have lost its time
        self.connection.executemany("UPDATE images SET gone_ns = ? WHERE id = ?", ((when, id_) for id_ in ids))

    def mark_away(self, ids: Iterable[int]) -> None:
        """These are not where they were, and nor is anything beside them: their drive may only be unplugged."""
        self.mark_gone(ids, -time.time_ns())

    def mark_there(self, ids: Iterable[int]) -> None:
        self.connection.executemany("UPDATE images SET gone_ns = NULL WHERE id = ?", ((id_,) for id_ in ids))

    def forget(self, rows: Iterable[Row]) -> int:
        """Deletes those of the rows that are still gone, and returns how many that were."""
        sql = "DELETE FROM images WHERE id = ? AND path = ? AND gone_ns = ?"
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('has_gaps', '')")  # in pages that are half full
        return self.connection.executemany(sql, ((row.id, self.inner(row.path), row.gone_ns) for row in rows)).rowcount


def digest_of(stream: BinaryIO | RawIOBase) -> bytes:
    """What tells a photo's bytes from all others, from where the stream stands to its end: BLAKE2b of 16 bytes."""
    from hashlib import blake2b, file_digest  # OpenSSL behind them takes a while to load

    return file_digest(stream, lambda: blake2b(digest_size=16)).digest()  # type: ignore[arg-type]
