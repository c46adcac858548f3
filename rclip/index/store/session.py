"""Work with the open file of an index: connections for threads, transactions, snapshots, errors."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rclip import errors
from rclip.errors import DamagedIndex, StoreError
from rclip.index.location import IndexLocation
from rclip.index.store.connections import NO_ROOM_FOR_LOG_INDEX, Connection, ConnectionPool

_STEPS = 100_000
"""So many of SQLite's own steps between two looks at how many are left, in a place that was not adopted."""
_LEAST_STEPS, _STEPS_A_BYTE = 10_000_000, 4  # a row is looked at in some dozen steps, and takes a thousand bytes
_LEAST_BYTES, _TIMES_ITS_BYTES = 32 << 20, 4  # that are read at once
_BYTES_OF_ROW, _BYTES_OF_VALUE = 64, 32  # as Python keeps them, beside their content
_BLOCK_BYTES = 512  # as POSIX counts them


class Session:
    """One open file, for any number of threads at once.

    Each thread has a connection of its own to the file, from a pool. What one thread writes in a transaction, the
    others see when that is done. Writers take turns: those of this process by a lock, those of others by SQLite's.
    `connection` and what goes with it are for the modules of this package, which ask the queries.
    """

    def __init__(self, path: str, place: IndexLocation | None):
        """Opens nothing yet: that is done by `_use`."""
        self.path = path
        self._place = place
        self.is_portable = place is not None and not place.is_default
        self.is_foreign = place is not None and not place.is_adopted
        """Whether it may be anybody's, and is read with care."""
        self._pool: ConnectionPool | None = None
        self._writers = threading.RLock()
        self._watcher: Connection | None = None
        self._has_answered = False
        self._watcher_lock = threading.Lock()
        self._limits = _Limits()

    @property
    def folder_served(self) -> str:
        """The folder that a portable index is for; empty for the user's own."""
        return self._place.folder_served if self._place else ""

    def _close_connection(self) -> None:
        with self._watcher_lock:
            if self._watcher:
                self._watcher.close()
            self._watcher = None
        if self._pool:
            self._pool.close()

    @property
    def connection(self) -> Connection:
        """The calling thread's."""
        assert self._pool
        return self._pool.current()

    def _use(self, connection: Connection) -> None:
        """Has this thread use the connection, and others such as are opened like it."""
        self._close_connection()
        self._pool = ConnectionPool(connection, self._prepare)

    @property
    def _prepare(self) -> Callable[[Connection], None]:
        """What is done with each connection. It does not hold this object, which would then never be deleted."""
        if self.is_foreign:
            return self._limits.set_for
        return _do_nothing if self.is_portable else _prepare_default

    # --- transactions and errors -------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none."""
        with self.errors(), self._writers:
            connection = self.connection
            if connection.lacks_room:
                raise errors.DiskFull(path=self.path)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[int | None]:
        """Everything read inside is of one point in time, whatever others write meanwhile.

        Yields that state's version: in two snapshots of the same version the content is the same. It is None where
        somebody has written just as this snapshot was begun, and in the first snapshot: most are the only one, and the
        connection that watches would take longer to open than they last.
        """
        with self.errors():
            before = self._version() if self._has_answered else None
            self._has_answered = True
            connection = self.connection
            connection.execute("BEGIN")
            try:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the moment is the first reading's
                yield before if before is not None and self._version() == before else None
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _version(self) -> int | None:
        """A number that changes with each commit, by whichever thread or process; None while somebody writes.

        SQLite tells a connection what others have written, so this one never writes. It does not wait for a writer,
        who may be waiting for us.
        """
        connection = self.connection
        if connection.is_fixed:
            return 0
        with self._watcher_lock, suppress(sqlite3.OperationalError):
            if self._watcher is None:
                self._watcher = connection.again()
                self._watcher.execute("PRAGMA busy_timeout = 0")
            version: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
            return version
        return None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """SQLite's errors as `StoreError`s."""
        if self.is_foreign and self._pool:
            self._limits.allow(self.path)
        try:
            yield
        except UnicodeDecodeError as error:  # in a name of the schema
            raise self.damage() from error
        except sqlite3.Error as error:
            if self.is_foreign and self._limits.are_reached:  # it was endless
                raise DamagedIndex(path=self.path, root=self.folder_served, reason=str(error)) from error
            raise _translated(error, self.path, self.folder_served) from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """The same for what is read: values that are none of their column's tell of damage that SQLite does not see."""
        with self.errors():
            try:
                yield
            except (TypeError, ValueError, OverflowError) as error:
                raise self.damage() from error

    def damage(self) -> DamagedIndex:
        """The error for content that cannot have been stored so."""
        return DamagedIndex(path=self.path, root=self.folder_served)

    def fold_log(self) -> None:
        """Brings all that the log holds into the file itself, which can then be moved without it. Raises `StoreError`.

        Closing does so, too, but says nothing where the disk has no room: then half of it lies in the file.
        """
        with self.errors():
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    # --- what is noted of the whole ----------------------------------------------------------------------------------

    def value(self, sql: str) -> int:
        """The one number that a query without parameters gives. What it raises is SQLite's own."""
        value: int = self.connection.execute(sql).fetchone()[0]
        return value

    def note(self, key: str) -> str | None:
        """Which state of the `matrix` is one of this very table."""
        with self.errors():
            found = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def set_note(self, key: str, note: str) -> None:
        """Belongs inside a transaction."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, note))


def require(is_sound: bool) -> None:
    """For what is read: raises the ValueError of which `Database.reading` makes a `DamagedIndex`."""
    if not is_sound:
        raise ValueError("damaged")


class _Limits(threading.local):
    """How many of SQLite's steps the calling thread may still take, and how many bytes it may be given.

    A damaged file may lead in circles, and a crafted one may have the same pages in thousands of rows.
    """

    steps_left = bytes_left = 0

    @property
    def are_reached(self) -> bool:
        return min(self.steps_left, self.bytes_left) < 0

    def allow(self, path: str) -> None:
        """As much as a sound file of this size has use for. Holes in it, of which one costs nothing, do not count."""
        status = os.stat(path)
        size_bytes = min(status.st_size, status.st_blocks * _BLOCK_BYTES)
        self.steps_left = 1 + (_LEAST_STEPS + _STEPS_A_BYTE * size_bytes) // _STEPS
        self.bytes_left = _LEAST_BYTES + _TIMES_ITS_BYTES * size_bytes

    def set_for(self, connection: Connection) -> None:
        connection.set_progress_handler(self._is_endless, _STEPS)
        connection.row_factory = self._counted

    def _is_endless(self) -> bool:
        self.steps_left -= 1
        return self.steps_left < 0

    def _counted(self, _: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
        content = sum(len(value) for value in row if isinstance(value, bytes | str))
        self.bytes_left -= _BYTES_OF_ROW + _BYTES_OF_VALUE * len(row) + content
        if self.bytes_left < 0:
            raise sqlite3.DatabaseError("it has more to say than its size has room for")
        return row


def _do_nothing(connection: Connection) -> None:
    pass


def _prepare_default(connection: Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")  # enough for a log


def _translated(error: sqlite3.Error, path: str, root: str) -> StoreError:
    code = getattr(error, "sqlite_errorname", "")
    is_no_text = not code and "decode to UTF-8" in str(error)  # the module's own, of words that no rclip stored
    if is_no_text or code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DamagedIndex(path=path, root=root, reason=str(error))
    if code.startswith("SQLITE_FULL") or code == NO_ROOM_FOR_LOG_INDEX:
        return errors.DiskFull(path=path)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return errors.IndexLocked(path=path)
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return errors.NotWritable(path=path, root=root, reason=str(error))
    return errors.DatabaseFailed(path=path, root=root, reason=str(error))
