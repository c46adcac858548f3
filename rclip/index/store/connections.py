"""How SQLite opens an index's file: with the locks that its file system has, and as far as it may be written.

Each thread has a connection of its own (`ConnectionPool`), in no transaction. What they raise is SQLite's own.
"""

import errno
import os
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from rclip import datadir, isolation

SUFFIXES = ("", "-wal", "-shm", "-journal")  # of the files that SQLite keeps for one
BUSY_TIMEOUT_S = 60.0
NO_ROOM_FOR_LOG_INDEX = "SQLITE_IOERR_SHMSIZE"
_LOCKED = (errno.EACCES, errno.EAGAIN)
_STALE_LOCK_S = 3600.0
_MOST_VALUE_BYTES = 1 << 17  # far more than any row of ours
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")  # where a journal ends that names a super-journal


class Connection(sqlite3.Connection):
    """A connection that knows how to open others like it."""

    again: Callable[[], "Connection"]
    """Opens another one to the same file, without asking once more what its file system can do.

    Asking would drop the locks of this process: POSIX gives up all that a process has on a file when it closes one.
    """
    is_fixed = False
    """Whether the content cannot change as long as it is open."""
    lacks_room = False
    """Whether it only reads because the disk has no room for the files that SQLite makes beside the index."""


class ConnectionPool:
    """A connection for each thread.

    A thread gets one when it first asks. When the thread ends, the connection is kept for the next new thread.
    """

    def __init__(self, first: Connection, prepare: Callable[[Connection], None]):
        """`first` becomes the calling thread's; `prepare` is called with each of the others."""
        self._open = first.again
        self._prepare = prepare
        self._idle = _IdleConnections()
        self._local = threading.local()
        self._local.lease = _Lease(first, self._idle)

    def current(self) -> Connection:
        """The calling thread's."""
        if self._idle.is_closed:
            raise sqlite3.ProgrammingError("the index was closed")
        lease: _Lease | None = getattr(self._local, "lease", None)
        if lease is None:
            connection = self._idle.take()
            if connection is None:
                connection = self._open()
                self._prepare(connection)
            lease = self._local.lease = _Lease(connection, self._idle)
        return lease.connection

    def close(self) -> None:
        """Closes the calling thread's connection and those that no thread has.

        SQLite's module may crash when a connection is closed while another thread uses it. So that thread's is closed
        when the thread ends or when the pool is deleted, which is after all who use it are done with it.
        """
        self._idle.close()
        self._local.__dict__.clear()


class _IdleConnections:
    """Those of threads that have ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self.is_closed = False

    def take(self) -> Connection | None:
        with self._lock:
            return self._connections.pop() if self._connections else None

    def put(self, connection: Connection) -> None:
        with self._lock:
            if self.is_closed:
                connection.close()
            else:
                self._connections.append(connection)

    def close(self) -> None:
        with self._lock:
            self.is_closed = True
            while self._connections:
                self._connections.pop().close()

    def __del__(self) -> None:
        self.close()


class _Lease:
    """Lies among a thread's own variables, and so is deleted when the thread ends, or the pool."""

    def __init__(self, connection: Connection, idle: _IdleConnections):
        self.connection = connection
        self._idle = idle

    def __del__(self) -> None:
        self._idle.put(self.connection)


def connect(database: str, timeout_s: float = BUSY_TIMEOUT_S) -> Connection:
    """To a file, by its path or a URI, that SQLite can read."""
    connection = sqlite3.connect(
        database,
        uri=database.startswith("file:"),
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,  # long statements are run beside a thread that Ctrl-C can reach (`maintenance`)
        factory=Connection,
    )
    connection.again = partial(connect, database)
    harden(connection)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def connect_own(path: str, is_writable: bool) -> Connection:
    """Read and write; or read; or, where SQLite cannot even make its own files, read what no one can change."""
    if is_writable:
        try:
            return connect(path)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != NO_ROOM_FOR_LOG_INDEX:
                raise
        connection = connect_untouched(path)  # whoever is at work with it has made those files
        connection.lacks_room = True
        return connection
    try:
        return connect(_uri(path, "mode=ro"))
    except sqlite3.OperationalError:
        return connect_untouched(path)


def connect_anywhere(path: str, is_writable: bool) -> Connection:
    """The same on a file system that need not have locks.

    Without them a folder beside the file serves as one, for readers, too; a reader that cannot make it is alone.
    """
    return _connect_to_write(path) if is_writable else _connect_to_read(path)


def _connect_to_read(path: str) -> Connection:
    has_journal = os.path.exists(path + "-journal")  # then the file may hold half of what was written
    if not has_journal and not _has_locks(path):
        return connect_untouched(path)
    try:
        return connect(_uri(path, "mode=ro"))
    except sqlite3.OperationalError as error:
        if has_journal or error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise
        return connect_untouched(path)


def _connect_to_write(path: str) -> Connection:
    try:
        connection = connect(path, timeout_s=0)
    except sqlite3.OperationalError:  # locked, or no locks to be had
        if _has_locks_beside(path):
            connection = connect(path)
        else:
            _drop_stale_lock(path)
            connection = connect(_uri(path, "vfs=unix-dotfile"))
    connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
    with suppress(sqlite3.OperationalError):  # in use, by an rclip that can do with a log
        connection.execute("PRAGMA journal_mode = DELETE")
    return connection


def connect_untouched(path: str) -> Connection:
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
        factory=Connection,
    )
    connection.again = partial(connect_untouched, path)
    connection.is_fixed = True
    harden(connection)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def connect_copy(source: Connection) -> Connection:
    """To a temporary copy, which can be written."""
    copy = connect("")
    source.backup(copy)
    copy.again = partial(connect_copy, copy)
    copy.is_fixed = True
    return copy


def connect_immutable(path: str) -> Connection:
    """For reading a file that may be anybody's: alone, as it is on disk.

    No log or journal beside it is looked at, no lock is asked for, nothing is written.
    """
    connection = sqlite3.connect(
        _uri(path, "mode=ro&immutable=1"),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        factory=Connection,
    )
    connection.again = partial(connect_immutable, path)
    connection.is_fixed = True
    harden(connection)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE_BYTES)
    return connection


def harden(connection: sqlite3.Connection) -> None:
    """Has SQLite trust no schema, and check each page."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def check_files(path: str) -> None:
    """Raises ValueError, in a few words, where the file or one that SQLite keeps beside it is not to be opened.

    SQLite follows links, waits for pipes, and deletes the file that a journal names as the one of several databases:
    the like of which is never made here.
    """
    folder = os.path.dirname(path)
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise ValueError(f"{folder} is no folder, but a link")
    for name in (path + suffix for suffix in SUFFIXES):
        try:
            status = os.lstat(name)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} is no plain file")
        if status.st_nlink > 1:
            raise ValueError(f"{name} has a second name elsewhere")
    with suppress(FileNotFoundError), open(path + "-journal", "rb", opener=isolation.open_itself) as journal:
        journal.seek(max(0, os.fstat(journal.fileno()).st_size - len(_JOURNAL_MAGIC)))
        if journal.read() == _JOURNAL_MAGIC:
            raise ValueError(f"{path}-journal names another file")


def _uri(path: str, parameters: str) -> str:
    from urllib.parse import quote

    return f"file:{quote(os.fsencode(os.path.abspath(path)))}?{parameters}"


# --- locks -----------------------------------------------------------------------------------------------------------


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
