"""How SQLite opens an index's file: with the locks that its file system has, and as far as it may be written.

All connections are for any thread, one at a time, and in no transaction. What they raise is SQLite's own.
"""

import errno
import os
import sqlite3
import stat
import sys
import time
from contextlib import suppress

from rclip import datadir, isolation

SUFFIXES = ("", "-wal", "-shm", "-journal")  # of the files that SQLite keeps for one
BUSY_TIMEOUT_S = 60.0
_LOCKED = (errno.EACCES, errno.EAGAIN)
_STALE_LOCK_S = 3600.0
_MOST_VALUE_BYTES = 1 << 17  # far more than any row of ours
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")  # where a journal ends that names a super-journal


def connect(database: str, timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """To a file, by its path or a URI, that SQLite can read."""
    connection = sqlite3.connect(
        database,
        uri=database.startswith("file:"),
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,  # `reader` looks things up from its threads, one at a time
    )
    harden(connection)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def connect_own(path: str, is_writable: bool) -> sqlite3.Connection:
    """Read and write; or read; or, where SQLite cannot even make its own files, read what no one can change."""
    if is_writable:
        return connect(path)
    try:
        return connect(_uri(path, "mode=ro"))
    except sqlite3.OperationalError:
        return connect_untouched(path)


def connect_anywhere(path: str, is_writable: bool) -> sqlite3.Connection:
    """The same on a file system that need not have locks.

    Without them a folder beside the file serves as one, for readers, too; a reader that cannot make it is alone.
    """
    return _connect_to_write(path) if is_writable else _connect_to_read(path)


def _connect_to_read(path: str) -> sqlite3.Connection:
    has_journal = os.path.exists(path + "-journal")  # then the file may hold half of what was written
    if not has_journal and not _has_locks(path):
        return connect_untouched(path)
    try:
        return connect(_uri(path, "mode=ro"))
    except sqlite3.OperationalError as error:
        if has_journal or error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise
        return connect_untouched(path)


def _connect_to_write(path: str) -> sqlite3.Connection:
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
    harden(connection)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def connect_immutable(path: str) -> sqlite3.Connection:
    """For reading a file that may be anybody's: alone, as it lies there, and without an end to no query.

    No log or journal beside it is looked at, no lock is asked for, nothing is written.
    """
    connection = sqlite3.connect(
        _uri(path, "mode=ro&immutable=1"), uri=True, isolation_level=None, check_same_thread=False
    )
    harden(connection)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE_BYTES)
    return connection


def harden(connection: sqlite3.Connection) -> None:
    """Has SQLite believe no schema, and doubt each page; what may be done with a file is told by the file to none."""
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
