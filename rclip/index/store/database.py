"""The file of an index: making and opening it, its transactions and errors, and how paths stand in it."""

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rclip import datadir, errors
from rclip.errors import DamagedIndex, StoreError, plain_reason
from rclip.index.location import IndexLocation, default_location, is_ours
from rclip.index.store import schema
from rclip.index.store.connections import (
    SUFFIXES,
    Connection,
    ConnectionPool,
    check_files,
    connect,
    connect_anywhere,
    connect_copy,
    connect_immutable,
    connect_own,
)

CHUNK_ROWS = 8192
"""So many are fetched at a time of what may be a million."""

_STEPS = 100_000
"""So many of SQLite's own steps between two looks at how many are left, in a place that was not adopted."""
_LEAST_STEPS, _STEPS_A_BYTE = 10_000_000, 4  # a row is looked at in some dozen steps, and takes a thousand bytes


class Database:
    """One open file, for any number of threads at once.

    Each thread has a connection of its own to the file, from a pool. What one thread writes in a transaction, the
    others see when that is done. Writers take turns: those of this process by a lock, those of others by SQLite's.
    `connection` and what goes with it are for the modules of this package, which ask the queries.
    """

    def __init__(self, path: str, model_key: str, preprocessing: int, place: IndexLocation | None = None):
        """Opens the index of that model at `path`, making it when there is none and bringing it up to date.

        Where nothing can be written it is opened for reading alone. `place` is given for an index that lies with the
        photos: it takes no more of the file system than it must, and may be found elsewhere the next time.
        Raises `StoreError`.
        """
        self.path = path
        self._pool: ConnectionPool | None = None
        self._writers = threading.RLock()
        self._watcher: Connection | None = None
        self._watcher_lock = threading.Lock()
        self._lock: int | None = None
        self._place = place
        self.root = place.root if place else b""
        """What comes before the table's paths; only this package knows of it."""
        self.is_portable = place is not None and not place.is_default
        self._is_foreign = place is not None and not place.is_adopted
        self._steps = _StepLimit()
        identity = {"model": model_key, "preprocessing": str(preprocessing)}
        try:
            with self.errors():
                self._open(identity)
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
        if self._is_foreign:
            return self._steps.limit
        return _do_nothing if self.is_portable else _prepare_default

    # --- what is told of it ------------------------------------------------------------------------------------------

    @property
    def folder_served(self) -> str:
        """The folder that a portable index is for; empty for the user's own."""
        return self._place.folder_served if self._place else ""

    @property
    def cache_folder(self) -> str:
        """Where what is derived from it is kept."""
        return (self._place or default_location(os.path.dirname(self.path))).cache_folder(self.path)

    @property
    def modes(self) -> tuple[int, int]:
        """Of folders and of files that are made for this index: as open to others as its folder, if it travels."""
        if not self.is_portable:
            return 0o700, 0o600
        mode = os.stat(os.path.dirname(self.path)).st_mode & 0o2775  # never for all to write
        return mode, mode & 0o664

    @property
    def is_writable(self) -> bool:
        """As far as its permissions and those of its folder tell."""
        return not self._is_foreign and os.access(self.path, os.W_OK) and os.access(os.path.dirname(self.path), os.W_OK)

    # --- making and opening ------------------------------------------------------------------------------------------

    def _open(self, identity: dict[str, str]) -> None:
        if self._is_foreign:
            refuse_strange_files(self.path, self._place)
            self._use(connect_immutable(self.path))
            self._steps.allow(self.path)
            self._steps.limit(self.connection)
            return
        self._share_folder()
        refuse_strange_files(self.path, self._place)
        if not os.path.lexists(self.path):
            self._create(identity)
        opened = connect_anywhere if self.is_portable else connect_own
        self._use(opened(self.path, self.is_writable))

    def _share_folder(self) -> None:
        try:
            datadir.make_private(os.path.dirname(self.path))
            self._lock = datadir.share(os.path.dirname(self.path))
        except OSError as error:
            raise self._not_made(error) from error

    def _not_made(self, error: OSError) -> StoreError:
        return errors.CannotCreate(path=self.path, root=self.folder_served, reason=plain_reason(error))

    def _create(self, identity: dict[str, str]) -> None:
        """Makes the file beside its place and links it there whole: of two runs that make it one is a moment late.

        Where a deleted index has left its log behind, SQLite would play that into the new one. Only for an empty file
        does it know better. One that travels is made in its place, too, as there may be no links; of those who make it
        at once SQLite's locks see to it that the first does, as its journal is not changed.
        """
        if self.is_portable:
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
            self._use(connect(temporary))
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
            descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, os.stat(folder).st_mode & 0o664)
            datadir.open_up(self.path, self.modes[1])
        except OSError as error:
            raise self._not_made(error) from error
        os.close(descriptor)

    def _migrate(self, identity: dict[str, str]) -> None:
        with self.snapshot():  # another run may just be making it
            is_empty = not self.value("SELECT count(*) FROM sqlite_schema")
            application_id = self.value("PRAGMA application_id")
            version = self.value("PRAGMA user_version")
            found = schema.of_file(self.connection)
        if application_id != schema.APPLICATION_ID and not is_empty:
            raise errors.ForeignDatabase(path=self.path, root=self.folder_served)
        if version > schema.VERSION:
            raise errors.NewerIndex(path=self.path)
        if not is_empty and (version < 1 or found != schema.expected(version)):
            raise self.damage()
        if version < schema.VERSION:
            if not is_empty and not self.is_writable:
                self._replace_by_copy()
            self._upgrade(identity)
        self._prepare(self.connection)
        stored = {key: self.note(key) for key in identity}
        if identity != stored:
            raise errors.OtherModel(path=self.path, stored=stored)

    def _replace_by_copy(self) -> None:
        """Works on a temporary copy of an older rclip's index that may not be written, as that can be upgraded."""
        self._use(connect_copy(self.connection))

    def _upgrade(self, identity: dict[str, str]) -> None:
        if self.value("SELECT count(*) FROM sqlite_schema") == 0:
            # Seven rows a page; 4 KiB hold three and waste 600 bytes.
            self.connection.execute("PRAGMA page_size = 8192")
            if not self.is_portable:
                self.connection.execute("PRAGMA journal_mode = WAL")
        with self.transaction():
            schema.upgrade(self.connection, self.value("PRAGMA user_version"))
            self.connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", identity.items())

    # --- transactions and errors -------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none."""
        with self.errors(), self._writers:
            connection = self.connection
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
        """All that is read inside is of one moment, whatever others write meanwhile.

        Yields that state's version: in two snapshots of the same version the content is the same. It is None where
        somebody has written just as this snapshot was begun.
        """
        with self.errors():
            before = self._version()
            connection = self.connection
            connection.execute("BEGIN")
            try:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the moment is the first reading's
                yield before if self._version() == before else None
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _version(self) -> int | None:
        """A number that changes with each commit, by whichever thread or process; None while somebody writes.

        SQLite tells a connection what others have written, so this one never writes. It does not wait for a writer,
        who may be waiting for us. It is opened with the database, before there are other threads.
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
        if self._is_foreign and self._pool:
            self._steps.allow(self.path)
        try:
            yield
        except UnicodeDecodeError as error:  # in a name of the schema
            raise self.damage() from error
        except sqlite3.Error as error:
            if self._is_foreign and self._steps.left < 0:  # it was endless
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

    # --- paths -------------------------------------------------------------------------------------------------------

    def inner(self, path: bytes) -> bytes:
        """The path as the table has it; an empty one, which it never has, for what is not below the root."""
        if not self.root:
            return path
        return path[len(self.root) :] if path.startswith(self.root + b"/") else b""

    def outer(self, path: bytes) -> bytes:
        """The other way round. Raises ValueError for what may lead elsewhere, in an index that may be anybody's."""
        require(not self.is_portable or is_inner(path))
        return self.root + path

    def range_of(self, folder: bytes) -> tuple[bytes, bytes]:
        """Of the table's paths that are below a folder, which ends in a slash."""
        return folder_range(b"/" if (self.root + b"/").startswith(folder) else self.inner(folder))


class _StepLimit(threading.local):
    """How many of SQLite's steps the calling thread may still take; a damaged file may lead in circles."""

    left = 0

    def allow(self, path: str) -> None:
        """So many as a sound file of this size has use for."""
        self.left = 1 + (_LEAST_STEPS + _STEPS_A_BYTE * os.stat(path).st_size) // _STEPS

    def limit(self, connection: Connection) -> None:
        connection.set_progress_handler(self._is_endless, _STEPS)

    def _is_endless(self) -> bool:
        self.left -= 1
        return self.left < 0


def _do_nothing(connection: Connection) -> None:
    pass


def _prepare_default(connection: Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")  # enough for a log


def is_inner(path: bytes) -> bool:
    """Whether a path is one that is below the root, in its plain form, or one of what has been displaced."""
    if path.startswith(b"\0"):
        return path[1:].isdigit()
    if b"//" in path or b"/." in path or b"\0" in path:  # of which the second is usually but a hidden file
        return b"\0" not in path and _PLAIN.fullmatch(path) is not None
    return path.startswith(b"/") and not path.endswith(b"/")


_PLAIN = re.compile(rb"(?:/(?!\.{0,2}(?:/|\Z))[^/]+)+")


def refuse_strange_files(path: str, place: IndexLocation | None) -> None:
    """Raises `StoreError` where one of an index's files is none that rclip makes, or is somebody else's."""
    try:
        if place and not place.is_default:
            check_files(path)
        elif os.path.lexists(path) and not os.path.isfile(path):
            raise ValueError(f"{path} is no plain file")
        if place and not place.is_adopted and not is_ours(path):
            raise ValueError(f"{path} belongs to another user")
    except (OSError, ValueError) as error:
        raise errors.StrangeFile(reason=plain_reason(error)) from error


def folder_range(folder: bytes) -> tuple[bytes, bytes]:
    """The half-open range of all paths below a folder, whose name ends in a slash: `/a/` -> `/a/`, `/a0`."""
    return folder, folder[:-1] + bytes([folder[-1] + 1])


def require(is_sound: bool) -> None:
    """For what is read: raises the ValueError of which `Database.reading` makes a `DamagedIndex`."""
    if not is_sound:
        raise ValueError("damaged")


def _place_unless_there(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not os.path.exists(path):
            os.rename(temporary, path)


def _translated(error: sqlite3.Error, path: str, root: str) -> StoreError:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DamagedIndex(path=path, root=root, reason=str(error))
    if code.startswith("SQLITE_FULL"):
        return errors.DiskFull(path=path)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return errors.IndexLocked(path=path)
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return errors.NotWritable(path=path, root=root, reason=str(error))
    return errors.DatabaseFailed(path=path, root=root, reason=str(error))
