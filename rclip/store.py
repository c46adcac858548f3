"""The index: one SQLite file, one table of images.

    images(id, path, mtime_ns, size, device, inode, digest, vector, failure, gone_ns)

`path` is the photo's, as bytes, without the index's root before it, which only this module knows of: all paths that go
in and out are absolute. `vector` holds D float16 of length 1; a file that could not be read has a `failure` instead.
`gone_ns` is NULL for a photo that was there when last looked for.

    facts(id, captured_s, offset_min, latitude, longitude, camera, width, height, keywords, rating)
    cameras(id, maker, model)

hold what the photos say of themselves, apart, so that a search that does not ask never touches them. A row of `images`
is `described` when its file was looked through for facts; a photo that has none has no row there.

A row's vector never changes: a photo with new bytes gets a new id, and ids are never used again. What is derived from
the table can so tell by the highest id what it has not seen. What else is told of a photo may change: `restated` holds
the ids of those of which it has, until what is derived from that has taken note.
"""

import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import RawIOBase
from operator import itemgetter
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rclip import datadir
from rclip.errors import DamagedIndex, StoreError, plain_reason
from rclip.facts import EARLIEST_S, LATEST_S, NONE, Facts
from rclip.places import Place

APPLICATION_ID = 0x72636C70  # "rclp" in SQLite's file header, which tells our files from others'
_BUSY_TIMEOUT_S = 60.0
_READERS_TIMEOUT_MS = 3000  # for those who read what has been rewritten; whoever is last shortens the file anyway
_CHUNK_ROWS = 8192
_LENT_ROWS = 512
_OFF_UNIT = 0.01  # half precision is off by a twentieth of it
SUFFIXES = ("", "-wal", "-shm", "-journal")  # of the files that SQLite keeps for one
_MADE_ANEW = ", with the same --model, sets it aside and makes it anew from what can still be read"
_LOCKED = (errno.EACCES, errno.EAGAIN)
_STALE_LOCK_S = 3600.0

AWAY = 0
"""`gone_ns` up to this is that of a photo whose whole folder was empty: its drive may only be unplugged.

It is minus the time at which that was first seen, or 0 where nothing knows it.
"""

# Each entry takes the file from its number to the next; together with the number in one transaction.
_MIGRATIONS = [
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE images (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path BLOB NOT NULL UNIQUE,
        mtime_ns INTEGER NOT NULL,
        size INTEGER NOT NULL,
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        digest BLOB,
        vector BLOB,
        failure TEXT,
        gone_ns INTEGER,
        CHECK ((vector IS NULL) <> (failure IS NULL))
    );
    -- Everything a run compares, in path order, without touching the pages that hold vectors.
    CREATE INDEX images_listing ON images (path, mtime_ns, size, gone_ns);
    CREATE INDEX images_failure ON images (path) WHERE failure IS NOT NULL;
    CREATE INDEX images_digest ON images (digest) WHERE vector IS NOT NULL;
    CREATE INDEX images_inode ON images (inode) WHERE vector IS NOT NULL;
    """,
    """
    CREATE TABLE cameras (id INTEGER PRIMARY KEY, maker TEXT NOT NULL, model TEXT NOT NULL, UNIQUE (maker, model));
    CREATE TABLE facts (
        id INTEGER PRIMARY KEY,
        captured_s INTEGER,
        offset_min INTEGER,
        latitude REAL,
        longitude REAL,
        camera INTEGER REFERENCES cameras (id),
        width INTEGER,
        height INTEGER,
        keywords TEXT,
        rating INTEGER
    );
    CREATE TABLE restated (id INTEGER PRIMARY KEY);
    ALTER TABLE images ADD COLUMN described INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX images_undescribed ON images (path) WHERE described = 0 AND vector IS NOT NULL AND gone_ns IS NULL;
    CREATE TRIGGER images_forget AFTER DELETE ON images BEGIN
        DELETE FROM facts WHERE id = OLD.id;
        DELETE FROM restated WHERE id = OLD.id;
    END;
    """,
]


_WITH_FACTS = 2


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


class Undescribed(NamedTuple):
    """A photo whose file has not been looked through for facts."""

    id: int
    path: bytes
    size_bytes: int
    mtime_ns: int


class Filterable(NamedTuple):
    """What photos are filtered by."""

    id: int
    mtime_ns: int
    path: bytes
    captured_s: int | None
    latitude: float | None
    longitude: float | None
    camera: int | None


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


class Loan(NamedTuple):
    """What one index tells another of a photo."""

    path: bytes
    stamp: Stamp
    digest: bytes
    vector: bytes
    """D float16"""
    facts: Facts | None
    """None when its file has to be looked through."""


class Store:
    """One open index. Methods raise `StoreError`; those that write belong inside `with store.transaction():`."""

    def __init__(self, path: str, model_key: str, preprocessing: int, place: Place | None = None):
        """Opens the index of that model at `path`, making it when there is none and bringing it up to date.

        Where nothing can be written it is opened for reading alone. `place` is given for an index that lies with the
        photos: it takes no more of the file system than it must, and may be found elsewhere the next time.
        """
        self.path = path
        self._lock: int | None = None
        self._connection: sqlite3.Connection
        self._place = place
        self._root = place.root if place else b""
        self.travels = place is not None and not place.is_own
        identity = {"model": model_key, "preprocessing": str(preprocessing)}
        try:
            with self._errors():
                self._share_folder()
                if not os.path.exists(path):
                    self._create(identity)
                self._connection = self._connect()
                self._migrate(identity)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._close_connection()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close_connection(self) -> None:
        if "_connection" in self.__dict__:
            self._connection.close()

    # --- opening -----------------------------------------------------------------------------------------------------

    def _share_folder(self) -> None:
        try:
            datadir.make_private(os.path.dirname(self.path))
            self._lock = datadir.share(os.path.dirname(self.path))
        except OSError as error:
            raise self._not_made(error) from error

    def _not_made(self, error: OSError) -> StoreError:
        if self.travels:
            return StoreError(f"cannot make {self.path} ({plain_reason(error)}): mend that, or delete its folder")
        return StoreError(f"cannot make {self.path} ({plain_reason(error)}): mend that, or set RCLIP_DATADIR")

    def _create(self, identity: dict[str, str]) -> None:
        """Makes the file beside its place and links it there whole: of two runs that make it one is a moment late.

        Where a deleted index has left its log behind, SQLite would play that into the new one. Only for an empty file
        does it know better. One that travels is made in its place, too, as there may be no links; of those who make it
        at once SQLite's locks see to it that the first does, as its journal is not changed.
        """
        if self.travels:
            self._create_in_place()
            return
        folder, name = os.path.split(self.path)
        temporary = os.path.join(folder, f"{datadir.TEMPORARY}{os.urandom(4).hex()}-{name}.new")
        is_log_left = os.path.exists(self.path + "-wal")
        try:
            os.close(os.open(self.path if is_log_left else temporary, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise self._not_made(error) from error
        if is_log_left:
            return
        try:
            self._connection = self._try_connect(temporary)
            self._upgrade(identity)
            self._close_connection()
            _place_unless_there(temporary, self.path)
        finally:
            self._close_connection()
            for suffix in SUFFIXES:
                with suppress(OSError):
                    os.unlink(temporary + suffix)

    def _create_in_place(self) -> None:
        folder = os.path.dirname(self.path)
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR, os.stat(folder).st_mode & 0o666)
            datadir.open_up(self.path, self.modes[1])
        except OSError as error:
            raise self._not_made(error) from error
        os.close(descriptor)

    @property
    def directory(self) -> str:
        """What a command line needs behind its options to mean this index; nothing for the user's own."""
        return self._place.argument if self._place else ""

    @property
    def modes(self) -> tuple[int, int]:
        """Of folders and of files that are made for this index: as open to others as its folder, if it travels."""
        if not self.travels:
            return 0o700, 0o600
        mode = os.stat(os.path.dirname(self.path)).st_mode & 0o2777
        return mode, mode & 0o666

    @property
    def is_writable(self) -> bool:
        """As far as its permissions and those of its folder tell."""
        return os.access(self.path, os.W_OK) and os.access(os.path.dirname(self.path), os.W_OK)

    def _connect(self) -> sqlite3.Connection:
        """Read and write; or read; or, where SQLite cannot even make its own files, read what no one can change."""
        if self.travels:
            return self._connect_anywhere()
        if self.is_writable:
            return self._try_connect(self.path)
        try:
            return self._try_connect(_uri(self.path, "mode=ro"))
        except sqlite3.OperationalError:
            return connect_untouched(self.path)

    def _connect_anywhere(self) -> sqlite3.Connection:
        """The same on a file system that need not have locks.

        Without them a folder beside the file serves as one, for readers, too; a reader that cannot make it is alone.
        """
        if not self.is_writable:
            has_journal = os.path.exists(self.path + "-journal")  # then the file may hold half of what was written
            if not has_journal and not _has_locks(self.path):
                return connect_untouched(self.path)
            try:
                return self._try_connect(_uri(self.path, "mode=ro"))
            except sqlite3.OperationalError as error:
                if has_journal or error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                    raise
                return connect_untouched(self.path)
        try:
            connection = self._try_connect(self.path, timeout_s=0)
        except sqlite3.OperationalError:  # locked, or no locks to be had
            if _has_locks_beside(self.path):
                connection = self._try_connect(self.path)
            else:
                _drop_stale_lock(self.path)
                connection = self._try_connect(_uri(self.path, "vfs=unix-dotfile"))
        connection.execute(f"PRAGMA busy_timeout = {round(_BUSY_TIMEOUT_S * 1000)}")
        with suppress(sqlite3.OperationalError):  # in use, by an rclip that can do with a log
            connection.execute("PRAGMA journal_mode = DELETE")
        return connection

    def _try_connect(self, database: str, timeout_s: float = _BUSY_TIMEOUT_S) -> sqlite3.Connection:
        connection = sqlite3.connect(
            database,
            uri=database.startswith("file:"),
            timeout=timeout_s,
            isolation_level=None,
            check_same_thread=False,  # `reading` looks things up from its threads, one at a time
        )
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, identity: dict[str, str]) -> None:
        with self.snapshot():  # another run may just be making it
            is_empty = not self._value("SELECT count(*) FROM sqlite_schema")
            application_id = self._value("PRAGMA application_id")
            version = self._value("PRAGMA user_version")
        if application_id != APPLICATION_ID and not is_empty:
            otherwise = "" if self.travels else ", or set RCLIP_DATADIR"
            raise StoreError(f"{self.path} is a database of another program: move it away{otherwise}")
        if version > len(_MIGRATIONS):
            raise StoreError(f"{self.path} was written by a newer rclip: update rclip, or move the file away")
        self.has_facts = version >= _WITH_FACTS or is_empty or self.is_writable
        """False for an index of an older rclip that cannot be brought up to date; all else can be asked of it."""
        if version < len(_MIGRATIONS) and self.has_facts:
            self._upgrade(identity)
        if self.travels:
            self._connection.execute("PRAGMA trusted_schema = OFF")  # it may be somebody else's
        else:
            self._connection.execute("PRAGMA synchronous = NORMAL")  # enough for a log
        stored = dict(self._connection.execute("SELECT key, value FROM meta"))
        if not identity.items() <= stored.items():
            raise StoreError(f"{self.path} was made by another model ({stored}): move it away, and it is made anew")

    def _upgrade(self, identity: dict[str, str]) -> None:
        if self._value("SELECT count(*) FROM sqlite_schema") == 0:
            self._connection.execute(
                "PRAGMA page_size = 8192"
            )  # seven rows a page; 4 KiB hold three and waste 600 bytes
            if not self.travels:
                self._connection.execute("PRAGMA journal_mode = WAL")
        with self.transaction():
            for number in range(self._value("PRAGMA user_version"), len(_MIGRATIONS)):
                for statement in _statements(_MIGRATIONS[number]):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {number + 1}")
            self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", identity.items())

    def _value(self, sql: str) -> int:
        value: int = self._connection.execute(sql).fetchone()[0]
        return value

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors as `StoreError`s that say what to do."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise DamagedIndex(
                    f"{self.path}: {error}: it is damaged; rclip --rebuild{self.directory}{_MADE_ANEW}"
                ) from error
            raise StoreError(f"{self.path}: {error}: {_advice(error, self.travels, self.directory)}") from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """The same for what is read: values that are none of their column's tell of damage that SQLite does not see."""
        with self._errors():
            try:
                yield
            except (TypeError, ValueError, OverflowError) as error:
                raise self.damage() from error

    def damage(self) -> DamagedIndex:
        """The error for content that cannot have been stored so."""
        return DamagedIndex(f"{self.path}: it is damaged; rclip --rebuild{self.directory}{_MADE_ANEW}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none."""
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever others write meanwhile."""
        with self._errors():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    # --- paths -------------------------------------------------------------------------------------------------------

    def _inner(self, path: bytes) -> bytes:
        """The path as the table has it; an empty one, which it never has, for what is not below the root."""
        if not self._root:
            return path
        return path[len(self._root) :] if path.startswith(self._root + b"/") else b""

    def _outer(self, path: bytes) -> bytes:
        return self._root + path

    def _row(self, row: tuple[int, bytes, int, int, int | None]) -> Row:
        return Row(row[0], self._outer(row[1]), *row[2:])

    def _range(self, folder: bytes) -> tuple[bytes, bytes]:
        """Of the table's paths that are below a folder, which ends in a slash."""
        return folder_range(b"/" if (self._root + b"/").startswith(folder) else self._inner(folder))

    # --- reading -----------------------------------------------------------------------------------------------------

    def rows(self, folder: bytes) -> Iterator[Row]:
        """All files known below `folder` (which ends in a slash), gone ones too, in path order."""
        sql = """
            SELECT id, path, mtime_ns, size, gone_ns FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? ORDER BY path
        """
        with self._reading():
            cursor = self._connection.execute(sql, self._range(folder))
            while rows := cursor.fetchmany(_CHUNK_ROWS):
                _check(set(map(type, map(itemgetter(1), rows))) == {bytes})
                yield from map(self._row if self._root else Row._make, rows)

    def failures(self, folder: bytes) -> dict[bytes, str]:
        """The files below `folder` that are there and could not be read, with the reasons, in path order."""
        sql = """
            SELECT path, failure FROM images INDEXED BY images_failure
            WHERE path >= ? AND path < ? AND failure IS NOT NULL AND gone_ns IS NULL ORDER BY path
        """
        with self._reading():
            found = self._connection.execute(sql, self._range(folder)).fetchall()
            _check(all(type(path) is bytes and type(reason) is str for path, reason in found))
            return {self._outer(path): reason for path, reason in found}

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
        return self._match(at_path, (self._inner(path), digest)) or self._match(anywhere, (digest,))

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
        with self._reading():
            found = self._connection.execute(sql, parameters).fetchone()
            _check(found is None or type(found[2]) is bytes)
            return Match(found[0], bool(found[1]), self._outer(found[2])) if found else None

    def vector_at(self, path: bytes, stamp: Stamp) -> bytes | None:
        """The vector of a photo that is indexed under this path and has not changed since."""
        sql = "SELECT vector FROM images WHERE path = ? AND size = ? AND mtime_ns = ?"
        return self._vector(sql, (self._inner(path), stamp.size_bytes, stamp.mtime_ns))

    def vector_with(self, digest: bytes) -> bytes | None:
        """The vector of any photo with these bytes."""
        return self._vector("SELECT vector FROM images WHERE digest = ? AND vector IS NOT NULL LIMIT 1", (digest,))

    def _vector(self, sql: str, parameters: Sequence[object]) -> bytes | None:
        """Half precision of length 1, of whatever dimension."""
        with self._reading():
            found = self._connection.execute(sql, parameters).fetchone()
            if found is None or found[0] is None:
                return None
            _check(type(found[0]) is bytes and is_unit(found[0]))
            return bytes(found[0])

    def vectors_above(self, last_id: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids (N,) int64, ascending, and vectors (N, D) float16 of all photos with ids above, some thousands at a time.

        Gone photos are among them.
        """
        sql = "SELECT id, vector FROM images WHERE id > ? AND vector IS NOT NULL ORDER BY id"
        with self._reading():
            cursor = self._connection.execute(sql, (last_id,))
            while rows := cursor.fetchmany(_CHUNK_ROWS):
                found, blobs = zip(*rows, strict=True)
                _check(len(set(map(len, blobs))) == 1)
                ids = np.array(found, np.int64)
                _check(last_id < ids[0] and bool((np.diff(ids) > 0).all()))
                last_id = int(ids[-1])
                yield ids, np.frombuffer(b"".join(blobs), np.float16).reshape(len(blobs), -1)

    def last_id(self) -> int:
        """The highest id in use."""
        with self._errors():
            return self._value("SELECT coalesce(max(id), 0) FROM images")

    def stored_vectors(self) -> Iterator[list[tuple[int, bytes, bytes]]]:
        """Ids, paths and vectors of all photos as they lie there, sound or not, by id, some thousands at a time."""
        sql = "SELECT id, CAST(path AS BLOB), CAST(vector AS BLOB) FROM images WHERE vector IS NOT NULL ORDER BY id"
        with self._errors():
            cursor = self._connection.execute(sql)
            while rows := cursor.fetchmany(_CHUNK_ROWS):
                yield [(id_, self._outer(path), vector) for id_, path, vector in rows]

    def vector_count(self) -> int:
        with self._errors():
            return self._value("SELECT count(*) FROM images INDEXED BY images_digest WHERE vector IS NOT NULL")

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
        with self._reading():
            for folder in folders:
                # Counting is several times faster than fetching, and in a large library it is all.
                if most and self._connection.execute(more, (*self._range(folder), most - len(found))).fetchone():
                    return None
                rows = self._connection.execute(sql, (*self._range(folder), most + 1 - len(found)))
                found += (id_ for (id_,) in rows)
            return None if len(found) > most else np.sort(np.array(found, np.int64))

    def columns(self) -> dict[str, list[str]]:
        """The tables that hold what has been indexed, and their columns."""
        sql = """
            SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
            WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name <> 'meta' ORDER BY t.name, c.cid
        """
        found: dict[str, list[str]] = {}
        with self._errors():
            for table, column in self._connection.execute(sql):
                found.setdefault(table, []).append(column)
        return found

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
        with self._errors():
            counts = [self._connection.execute(in_folder, self._range(folder)).fetchone() for folder in folders]
            if with_table:
                counts.append(self._connection.execute(in_table).fetchone())
        if any(one != other for one, other in counts):
            raise self.damage()

    def paths_like(self, start: bytes, part: bytes, glob: bytes, most: int) -> dict[int, bytes] | None:
        """Ids and paths of the photos that are there and match SQLite's `glob`; None when there are more than `most`.

        All that match begin with `start`, which ends in no 0xff, and contain `part`: that is found faster than a match.
        """
        sql = """
            SELECT id, path FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND instr(path, ?) AND gone_ns IS NULL
            AND CAST(? AS TEXT) || CAST(path AS TEXT) GLOB CAST(? AS TEXT) LIMIT ?
        """
        with self._reading():
            rows = self._connection.execute(sql, (*self._range(start), part, self._root, glob, most + 1)).fetchall()
            _check(may_hold(("id", "path"), rows))
            found = {id_: self._outer(path) for id_, path in rows}
        return None if len(found) > most else found

    def note(self, key: str) -> str | None:
        """Which state of the `matrix`, or of its `columns`, is one of this very table."""
        with self._errors():
            found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def records(self, ids: Iterable[int]) -> list[Record | None]:
        """One for each id, None where the photo has gone since."""
        sql = "SELECT id, path, size, mtime_ns, vector FROM images WHERE id = ? AND gone_ns IS NULL"
        with self._reading():
            found = [self._connection.execute(sql, (id_,)).fetchone() for id_ in ids]
            return [self._record(row) if row else None for row in found]

    def _record(self, row: tuple[int, bytes, int, int, bytes]) -> Record:
        """Raises ValueError for what was never stored so."""
        record = Record(*row)
        _check(tuple(map(type, row)) == (int, bytes, int, int, bytes) and is_unit(record.vector))
        return record._replace(path=self._outer(record.path))

    def facts(self, ids: Sequence[int]) -> list[Facts]:
        """One for each id; `NONE` where nothing is known."""
        sql = """
            SELECT captured_s, offset_min, latitude, longitude, coalesce(maker, ''), coalesce(model, ''),
                   width, height, keywords, rating
            FROM facts LEFT JOIN cameras ON cameras.id = facts.camera WHERE facts.id = ?
        """
        if not self.has_facts:
            return [NONE] * len(ids)
        with self._reading():
            found = [self._connection.execute(sql, (id_,)).fetchone() for id_ in ids]
            _check(may_hold(_TOLD_COLUMNS, [row for row in found if row]))
            return [_facts(row) if row else NONE for row in found]

    def undescribed(self, folder: bytes) -> list[Undescribed]:
        """The photos that are in the folder and whose files have not been looked through for facts, in path order."""
        sql = """
            SELECT id, path, size, mtime_ns FROM images INDEXED BY images_undescribed
            WHERE path >= ? AND path < ? AND described = 0 AND vector IS NOT NULL AND gone_ns IS NULL ORDER BY path
        """
        if not self.has_facts:
            return []
        with self._reading():
            found = self._connection.execute(sql, self._range(folder)).fetchall()
            _check(may_hold(("id", "path", "size", "mtime_ns"), found))
            return [Undescribed(id_, self._outer(path), *row) for id_, path, *row in found]

    def filterable_above(self, last_id: int) -> Iterator[list[Filterable]]:
        """What all photos with ids above are filtered by, in ascending order, some thousands at a time."""
        with self._reading():
            cursor = self._connection.execute(_FILTERABLE_ABOVE, (last_id,))
            while rows := cursor.fetchmany(_CHUNK_ROWS):
                _check(may_hold(Filterable._fields, rows))
                yield list(map(Filterable._make, rows))

    def filterable_restated(self, up_to_id: int) -> list[Filterable]:
        """What photos are filtered by of which it has changed since `restated` was last emptied, in ascending order."""
        with self._reading():
            rows = self._connection.execute(_FILTERABLE_RESTATED, (up_to_id,)).fetchall()
            _check(may_hold(Filterable._fields, rows))
            return list(map(Filterable._make, rows))

    def restated_count(self) -> int:
        with self._errors():
            return self._value("SELECT count(*) FROM restated")

    def cameras(self) -> dict[int, tuple[str, str]]:
        """Maker and model of each."""
        with self._reading():
            rows = self._connection.execute("SELECT id, maker, model FROM cameras").fetchall()
            _check(may_hold(("id", "maker", "model"), rows))
            return {id_: (maker, model) for id_, maker, model in rows}

    def count(self, folder: bytes) -> tuple[int, int]:
        """How many files are known to be below `folder`, unreadable ones too, and how many are gone from it."""
        sql = """
            SELECT count(*) FILTER (WHERE gone_ns IS NULL), count(gone_ns) FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ?
        """
        with self._errors():
            there, gone = self._connection.execute(sql, self._range(folder)).fetchone()
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
        with self._reading():
            found = self._connection.execute(sql, (*self._range(folder), since, before_ns)).fetchall()
            return [self._row(row) for row in found]

    # --- upkeep ------------------------------------------------------------------------------------------------------

    def faults(self) -> list[str]:
        """What is wrong with the file, its table and indexes, in SQLite's words; nothing when they are sound.

        Reads the whole file. Raises `StoreError` when that cannot even be begun.
        """
        with self._errors():
            found = self._at_length("PRAGMA integrity_check")
        lines = [line for (text,) in found for line in text.splitlines() if not line.startswith("***")]
        return [] if lines == ["ok"] else lines

    def misnamed(self) -> list[bytes]:
        """Paths that are not absolute, as bytes, in their plain form."""
        sql = """
            SELECT CAST(path AS BLOB) FROM images INDEXED BY images_listing
            WHERE typeof(path) <> 'blob' OR substr(path, 1, 1) NOT IN (x'2F', x'00') OR instr(path, x'2F2F')
        """  # what has been displaced starts with NUL
        with self._errors():
            return [path for (path,) in self._connection.execute(sql)]

    def impossible_facts(self) -> tuple[int, list[bytes]]:
        """How many photos have facts, and the paths of those whose facts were never stored so."""
        sql = """
            SELECT CAST(path AS BLOB), coalesce(maker, iif(camera IS NULL, '', x'')), coalesce(model, ''),
                   captured_s, offset_min, latitude, longitude, camera, facts.width, facts.height, keywords, rating
            FROM facts JOIN images ON images.id = facts.id LEFT JOIN cameras ON cameras.id = facts.camera
            ORDER BY facts.id
        """
        names = ("path", "maker", "model", *FACTS_COLUMNS)
        count, wrong = 0, []
        with self._errors():
            cursor = self._connection.execute(sql)
            while rows := cursor.fetchmany(_CHUNK_ROWS):
                count += len(rows)
                if not may_hold(names, rows):
                    wrong += [self._outer(row[0]) for row in rows if not may_hold(names, [row])]
        return count, wrong

    def is_worth_compacting(self) -> bool:
        """Whether rows were forgotten since that was last done, or a twentieth of the file or more holds nothing."""
        with self._errors():
            if self._value("SELECT count(*) FROM meta WHERE key = 'has_gaps'"):
                return True
            return 20 * self._value("PRAGMA freelist_count") >= self._value("PRAGMA page_count")

    def compact(self) -> bool:
        """Gives the disk back what the file has no use for; False when others, still reading, put that off.

        Meanwhile it takes the index's size twice over, and others can read. Raises `StoreError`; all is then as before.
        """
        with self._errors():
            self._at_length("VACUUM")
            self._connection.execute("DELETE FROM meta WHERE key = 'has_gaps'")
            self._connection.execute(f"PRAGMA busy_timeout = {_READERS_TIMEOUT_MS}")
            ((was_busy, _, _),) = self._at_length("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute(f"PRAGMA busy_timeout = {round(_BUSY_TIMEOUT_S * 1000)}")
        return not was_busy

    def _at_length(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs what may take minutes within SQLite, so that Ctrl-C can end it."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(lambda: self._connection.execute(sql).fetchall())
            try:
                return running.result()
            except BaseException:
                self._connection.interrupt()
                raise

    # --- writing -----------------------------------------------------------------------------------------------------

    def restore(self, table: str, row: Mapping[str, object]) -> bool:
        """Puts a row back that was read out of another file, unless it breaks the table's rules.

        It replaces those that it cannot stand beside.
        """
        columns, places = ", ".join(row), ", ".join("?" * len(row))
        sql = f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({places})"  # noqa: S608 - names of this very schema
        try:
            self._connection.execute(sql, tuple(row.values()))
        except sqlite3.IntegrityError:
            return False
        return True

    def have_described_again(self) -> None:
        """Photos are looked through once more whose facts, or whose camera, have been lost on the way here."""
        self._connection.execute("DELETE FROM facts WHERE camera > 0 AND camera NOT IN (SELECT id FROM cameras)")
        self._connection.execute(
            "UPDATE images SET described = 0 WHERE vector IS NOT NULL AND id NOT IN (SELECT id FROM facts)"
        )

    def reserve_ids(self, last_id: int) -> None:
        """No id up to this one will be given to a new photo: something may still stand under it."""
        self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'images'")
        self._connection.execute("INSERT INTO sqlite_sequence VALUES ('images', ?)", (last_id,))

    def set_note(self, key: str, note: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, note))

    def add(self, path: bytes, stamp: Stamp, digest: bytes, vector: np.ndarray, facts: Facts = NONE) -> None:
        """A photo with new bytes; whatever was known of the path before is replaced."""
        id_ = self._insert(path, stamp, digest, vector.astype("<f2").tobytes(), None)
        self._set_facts(id_, facts)

    def describe(self, id_: int, facts: Facts) -> None:
        """Adds what a photo's file tells to a row that was stored without, if it is still there."""
        if self._connection.execute("UPDATE images SET described = 1 WHERE id = ?", (id_,)).rowcount:
            self._set_facts(id_, facts)
            self._restate(id_)

    def _set_facts(self, id_: int, facts: Facts) -> None:
        if facts == NONE:
            return
        maker_model = facts.maker, facts.model
        if any(maker_model):
            self._connection.execute("INSERT OR IGNORE INTO cameras (maker, model) VALUES (?, ?)", maker_model)
        sql = """
            INSERT OR REPLACE INTO facts
            VALUES (?, ?, ?, ?, ?, (SELECT id FROM cameras WHERE maker = ? AND model = ?), ?, ?, ?, ?)
        """
        keywords = _BETWEEN_KEYWORDS.join(facts.keywords) or None
        when_and_where = facts[:4]
        self._connection.execute(
            sql, (id_, *when_and_where, *maker_model, facts.width, facts.height, keywords, facts.rating)
        )

    def _restate(self, id_: int) -> None:
        self._connection.execute("INSERT OR IGNORE INTO restated VALUES (?)", (id_,))

    def forget_restated(self) -> None:
        """What is derived has taken note."""
        self._connection.execute("DELETE FROM restated")

    def add_failure(self, path: bytes, stamp: Stamp, reason: str) -> None:
        """A file that cannot be read, remembered until it changes."""
        self._insert(path, stamp, None, None, reason)

    def _insert(self, path: bytes, stamp: Stamp, digest: bytes | None, vector: bytes | None, why: str | None) -> int:
        path = self._inner(path)
        self._displace(path)
        sql = """
            INSERT INTO images (path, size, mtime_ns, device, inode, digest, vector, failure, described)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)
        """
        id_ = self._connection.execute(sql, (path, *stamp, digest, vector, why)).lastrowid
        assert id_ is not None
        return id_

    def lend(self, folder: bytes) -> Iterator[list[Loan]]:
        """What it knows of the photos below `folder` that are there, in path order, some hundreds at a time.

        What was never stored so is left out. Raises `StoreError` where reading ends.
        """
        described = "described" if self.has_facts else "0"
        sql = f"""
            SELECT id, path, size, mtime_ns, device, inode, digest, vector, {described}
            FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND vector IS NOT NULL AND gone_ns IS NULL ORDER BY path
        """  # noqa: S608 - one of two columns
        with self._reading():
            cursor = self._connection.execute(sql, self._range(folder))
            while rows := cursor.fetchmany(_LENT_ROWS):
                yield [self._loan(row) for row in rows if may_hold(_LENT_COLUMNS, [row]) and is_unit(row[7])]

    def _loan(self, row: tuple[Any, ...]) -> Loan:
        id_, path, *stamp, digest, vector, is_described = row
        try:
            facts = self.facts([id_])[0] if is_described else None
        except DamagedIndex:
            facts = None
        return Loan(self._outer(path), Stamp(*stamp), digest, vector, facts)

    def adopt(self, loans: Iterable[Loan]) -> None:
        """Takes over what another index has lent. Of paths that both have this one's own word counts."""
        sql = """
            INSERT OR IGNORE INTO images (path, size, mtime_ns, device, inode, digest, vector, described)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        """
        for path, stamp, digest, vector, facts in loans:
            row = (self._inner(path), *stamp, digest, vector, facts is not None)
            added = self._connection.execute(sql, row)
            if added.rowcount and added.lastrowid and facts:
                self._set_facts(added.lastrowid, facts)

    def note_adopted(self) -> None:
        """All that another index could lend has been taken over."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('has_adopted', '')")

    def may_adopt(self) -> bool:
        """Whether this index lies with its photos and has not taken over yet what the user's own knows of them."""
        with self._errors():
            return self.travels and not self._value("SELECT count(*) FROM meta WHERE key = 'has_adopted'")

    def copy(self, source_id: int, path: bytes, stamp: Stamp) -> None:
        """A photo with the same bytes as another one."""
        path = self._inner(path)
        self._displace(path)
        sql = """
            INSERT INTO images (path, size, mtime_ns, device, inode, digest, vector, described)
            SELECT ?, ?, ?, ?, ?, digest, vector, described FROM images WHERE id = ?
        """
        id_ = self._connection.execute(sql, (path, *stamp, source_id)).lastrowid
        sql = """
            INSERT INTO facts
            SELECT ?, captured_s, offset_min, latitude, longitude, camera, width, height, keywords, rating
            FROM facts WHERE id = ?
        """
        self._connection.execute(sql, (id_, source_id))

    def move(self, id_: int, path: bytes, stamp: Stamp) -> None:
        """The same photo at another path, or at its own with another stat."""
        path = self._inner(path)
        self._displace(path, but=id_)
        sql = """
            UPDATE images
            SET path = ?, size = ?, mtime_ns = ?, device = ?, inode = ?, gone_ns = NULL WHERE id = ?
        """
        self._connection.execute(sql, (path, *stamp, id_))
        self._restate(id_)

    def _displace(self, path: bytes, but: int = 0) -> None:
        """Frees `path`, as the table has it.

        A vector that was there stays to be found under its digest: the photo may be moved, not lost. No real path
        starts with NUL, so no folder holds it.
        """
        sql = """
            UPDATE images SET path = CAST(char(0) || id AS BLOB), gone_ns = 0
            WHERE path = ? AND id <> ? AND vector IS NOT NULL
        """
        self._connection.execute(sql, (path, but))
        self._connection.execute("DELETE FROM images WHERE path = ? AND id <> ?", (path, but))

    def drop_displaced(self) -> None:
        """Forgets what has been replaced and not been found elsewhere. For the end of a run."""
        self._connection.execute("DELETE FROM images WHERE path < x'01'")

    def has_displaced(self) -> bool:
        with self._errors():
            return bool(self._connection.execute("SELECT 1 FROM images WHERE path < x'01' LIMIT 1").fetchone())

    def mark_gone(self, ids: Iterable[int], gone_ns: int | None = None) -> None:
        """These are not where they were; their vectors are kept for when they turn up again."""
        when = max(time.time_ns(), 1) if gone_ns is None else gone_ns  # a clock may have lost its time
        self._connection.executemany("UPDATE images SET gone_ns = ? WHERE id = ?", ((when, id_) for id_ in ids))

    def mark_away(self, ids: Iterable[int]) -> None:
        """These are not where they were, and nor is anything beside them: their drive may only be unplugged."""
        self.mark_gone(ids, -time.time_ns())

    def mark_there(self, ids: Iterable[int]) -> None:
        self._connection.executemany("UPDATE images SET gone_ns = NULL WHERE id = ?", ((id_,) for id_ in ids))

    def forget(self, rows: Iterable[Row]) -> int:
        """Deletes those of the rows that are still gone, and returns how many that were."""
        sql = "DELETE FROM images WHERE id = ? AND path = ? AND gone_ns = ?"
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('has_gaps', '')")  # in pages that are half full
        return self._connection.executemany(
            sql, ((row.id, self._inner(row.path), row.gone_ns) for row in rows)
        ).rowcount


def digest_of(stream: BinaryIO | RawIOBase) -> bytes:
    """What tells a photo's bytes from all others, from where the stream stands to its end: BLAKE2b of 16 bytes."""
    from hashlib import blake2b, file_digest  # OpenSSL behind them takes a while to load

    return file_digest(stream, lambda: blake2b(digest_size=16)).digest()  # type: ignore[arg-type]


_FILTERABLE_ABOVE = """
    SELECT images.id, mtime_ns, path, captured_s, latitude, longitude, camera
    FROM images LEFT JOIN facts ON facts.id = images.id
    WHERE images.id > ? AND vector IS NOT NULL ORDER BY images.id
"""
_FILTERABLE_RESTATED = """
    SELECT images.id, mtime_ns, path, captured_s, latitude, longitude, camera
    FROM restated JOIN images ON images.id = restated.id LEFT JOIN facts ON facts.id = images.id
    WHERE restated.id <= ? AND vector IS NOT NULL ORDER BY restated.id
"""
_BETWEEN_KEYWORDS = "\n"  # there is none in them


class _Domain(NamedTuple):
    """What a column may hold."""

    types: frozenset[type]
    lowest: float | None = None
    highest: float | None = None


_NUMBER, _BYTES, _WORDS = (_Domain(frozenset([type_])) for type_ in (int, bytes, str))


def _whole_between(lowest: int, highest: int) -> _Domain:
    return _Domain(frozenset([int, type(None)]), lowest, highest)


def _degrees_up_to(highest: int) -> _Domain:
    return _Domain(frozenset([float, type(None)]), -highest, highest)


_DOMAINS = {
    "id": _NUMBER,
    "path": _BYTES,
    "size": _NUMBER,
    "mtime_ns": _NUMBER,
    "device": _NUMBER,
    "inode": _NUMBER,
    "digest": _BYTES,
    "vector": _BYTES,
    "described": _NUMBER,
    "maker": _WORDS,
    "model": _WORDS,
    "captured_s": _whole_between(EARLIEST_S, LATEST_S),
    "offset_min": _whole_between(-24 * 60 + 1, 24 * 60 - 1),
    "latitude": _degrees_up_to(90),
    "longitude": _degrees_up_to(180),
    "camera": _whole_between(1, (1 << 31) - 1),
    "width": _whole_between(0, (1 << 31) - 1),
    "height": _whole_between(0, (1 << 31) - 1),
    "keywords": _Domain(frozenset([str, type(None)])),
    "rating": _whole_between(-1, 5),
}
_WHEN_AND_WHERE = ("captured_s", "offset_min", "latitude", "longitude")
_THE_REST = ("width", "height", "keywords", "rating")
FACTS_COLUMNS = (*_WHEN_AND_WHERE, "camera", *_THE_REST)
"""All of the table's but the id."""
_LENT_COLUMNS = ("id", "path", "size", "mtime_ns", "device", "inode", "digest", "vector", "described")
_TOLD_COLUMNS = (*_WHEN_AND_WHERE, "maker", "model", *_THE_REST)


def may_hold(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bool:
    """Whether rows of these columns can have been stored so. SQLite itself takes anything anywhere."""
    return all(
        _is_within(_DOMAINS[name], values) for name, values in zip(columns, zip(*rows, strict=True), strict=False)
    )


def _is_within(domain: _Domain, values: Sequence[Any]) -> bool:
    if not set(map(type, values)) <= domain.types:
        return False
    known = [] if domain.lowest is None else [value for value in values if value is not None]
    return not known or (domain.lowest <= min(known) and max(known) <= domain.highest)


def _facts(row: Sequence[Any]) -> Facts:
    *others, keywords, rating = row
    return Facts._make((*others, tuple(keywords.split(_BETWEEN_KEYWORDS)) if keywords else (), rating))


def folder_range(folder: bytes) -> tuple[bytes, bytes]:
    """The half-open range of all paths below a folder, whose name ends in a slash: `/a/` -> `/a/`, `/a0`."""
    return folder, folder[:-1] + bytes([folder[-1] + 1])


def connect_untouched(path: str) -> sqlite3.Connection:
    """For reading a file that cannot or must not be written to, nor anything beside it, and that nobody else writes to.

    Its log, if a killed run has left one, is read, too; SQLite's own `immutable` would pass over it. The index of the
    log is kept in memory, as it is under exclusive locking, and no lock is asked for.
    """
    has_log = os.path.exists(path + "-wal")
    connection = sqlite3.connect(
        _uri(path, "mode=ro&vfs=unix-none" if has_log else "mode=ro&immutable=1"),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _uri(path: str, parameters: str) -> str:
    from urllib.parse import quote

    return f"file:{quote(os.fsencode(os.path.abspath(path)))}?{parameters}"


def is_unit(vector: bytes) -> bool:
    """Whether these are float16 of length 1, as all that are stored."""
    if len(vector) % 2:
        return False
    numbers = np.frombuffer(vector, np.float16).astype(np.float32)
    return bool(abs(numbers @ numbers - 1) < _OFF_UNIT)


def _check(is_sound: bool) -> None:
    if not is_sound:
        raise ValueError("damaged")


def _has_locks(path: str) -> bool:
    """Whether a file can be locked for reading. Not for one that this process has open in SQLite and writes to."""
    import fcntl

    try:
        with open(path, "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _LOCKED
    return True


def _has_locks_beside(path: str) -> bool:
    """Whether files can be locked in the folder of this one; it is itself not touched, which would free its locks."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), prefix=datadir.TEMPORARY) as probe:
            return _has_locks(probe.name)
    except OSError:
        return True


def _drop_stale_lock(path: str) -> None:
    """SQLite's folder that serves as a lock, if it has been there for longer than any run keeps one."""
    lock = path + ".lock"
    with suppress(OSError):
        if time.time() - os.stat(lock).st_mtime > _STALE_LOCK_S:
            os.rmdir(lock)


def _place_unless_there(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not os.path.exists(path):
            os.rename(temporary, path)


def _statements(script: str) -> Iterator[str]:
    """One by one, because `executescript` would commit first. A trigger holds semicolons of its own."""
    statement = ""
    for part in script.split(";")[:-1]:
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _advice(error: sqlite3.Error, travels: bool, directory: str) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith("SQLITE_FULL"):
        return "make room on that disk and run again; what was stored is kept"
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return "another program keeps it locked; wait for it, or end it"
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        otherwise = "" if travels else ", set RCLIP_DATADIR"
        return f"rclip may not write there; mend its permissions{otherwise}, or search what is indexed with -n"
    return f"run again; if it stays, rclip --rebuild{directory}{_MADE_ANEW}"
