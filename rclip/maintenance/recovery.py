"""Rebuilds a damaged index from everything that can still be read of it.

The damaged file is renamed, never written to and never deleted. Every row that can be read and may be true is taken
over, so that its photo need not go through the model again; the run that follows finds the others.
"""

import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import count
from typing import NamedTuple

from rclip import datadir
from rclip.errors import IndexLocked, NoIndex, RebuildFailed, plain_reason
from rclip.index.location import IndexLocation
from rclip.index.photo_index import PREPROCESSING_VERSION, PhotoIndex
from rclip.index.store import Store, recovery, schema
from rclip.index.store.connections import SUFFIXES, connect_untouched
from rclip.index.store.database import is_inner, refuse_strange_files
from rclip.index.store.importing import note_imported
from rclip.index.store.metadata import METADATA_COLUMNS
from rclip.index.store.schema import FORMER_NAMES
from rclip.photo.failures import FailureKind
from rclip.photo.validation import are_valid, has_unit_length

_STORED_TOGETHER = 8192
_LEAST_ROW_BYTES = 64  # of a table's rows, by which a file's size limits their number

_MOST_ROWS = 1 << 48  # no index will ever have so many, but a damaged number may
_MOST_FAILURES = 100_000
"""So many times reading is tried next to a damage: some seconds."""

_UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)  # the second where SQLite quotes what is damaged

_Row = dict[str, object]

_TYPES = {
    "id": (int,),
    "path": (bytes,),
    "mtime_ns": (int,),
    "size": (int,),
    "device": (int,),
    "inode": (int,),
    "ctime_ns": (int,),
    "digest": (bytes, type(None)),
    "vector": (bytes, type(None)),
    "failure": (str, type(None)),
    "missing_ns": (int, type(None)),
    "has_metadata": (int,),
    "has_capture_time": (int,),
    "is_offline": (int,),
    "failure_kind": (int, type(None)),
    "is_outdated": (int,),
}


class Rebuilt(NamedTuple):
    """What became of a damaged index."""

    kept: int
    """Files of which everything is still known."""
    aside: str
    """Where the damaged file lies now."""


def require_existing(index: PhotoIndex) -> None:
    """Raises `StoreError` where there is nothing to be rebuilt."""
    index.require_adopted()
    if not index.exists():
        raise NoIndex(path=index.path, root=index.location.folder_served)


def rebuild_all(indexes: Sequence[PhotoIndex], lock: AbstractContextManager[object]) -> Iterator[Rebuilt]:
    """Each when it is asked for, with the lock. Raises `StoreError` where there is none, before anything is done."""
    for index in indexes:
        require_existing(index)
    for index in indexes:
        with lock:
            rebuilt = rebuild_index(index)
        yield rebuilt


def rebuild_index(index: PhotoIndex) -> Rebuilt:
    """Sets the index aside and rebuilds it from the rows that can be read, for all folders.

    Raises `StoreError` where there is no index, or another run is at work.
    """
    index.close()
    rebuilt = rebuild(index.path, index.model.key, PREPROCESSING_VERSION, index.location)
    datadir.delete_folder(index.cache_folder)
    return rebuilt


def rebuild(path: str, model_key: str, preprocessing: int, place: IndexLocation) -> Rebuilt:
    """Puts a sound index in the place of the one at `path`, and that aside. It is as open to others as that was.

    Raises `StoreError`, having changed nothing.
    No other run may be at work in the folder; those that start now wait until this is done.
    """
    refuse_strange_files(path, place)
    folder, name = os.path.split(path)
    try:
        claim = datadir.claim(folder)
        try:
            with tempfile.TemporaryDirectory(prefix=datadir.TEMPORARY, dir=folder) as beside:
                fresh = os.path.join(beside, name)
                source = _with_sound_schema(path, beside)
                kept = _copy_sound_rows(source, Store(fresh, model_key, preprocessing, place))
                with suppress(PermissionError):  # on a drive that knows no modes
                    os.chmod(fresh, stat.S_IMODE(os.stat(path).st_mode) & ~stat.S_IWOTH)
                aside = _free_name(f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
                _put_aside(path, aside)
                os.replace(fresh, path)
        finally:
            os.close(claim)
    except BlockingIOError as error:
        raise IndexLocked(path=path) from error
    except OSError as error:
        raise RebuildFailed(path=path, reason=plain_reason(error)) from error
    return Rebuilt(kept, aside)


def _free_name(path: str) -> str:
    """The path, or with a number after it where there is one already: a second may see several."""
    names = (f"{path}-{number}" if number else path for number in count())
    return next(name for name in names if not any(os.path.lexists(name + suffix) for suffix in SUFFIXES))


def _put_aside(path: str, aside: str) -> None:
    """Under its new name the file is complete before the old one goes; a file system without links has but renaming."""
    for suffix in reversed(SUFFIXES):
        try:
            os.link(path + suffix, aside + suffix)
        except FileNotFoundError:
            continue
        except OSError:
            os.rename(path + suffix, aside + suffix)
    for suffix in SUFFIXES[1:]:
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)


def _with_sound_schema(path: str, beside: str) -> str:
    """The file, or a copy of it in which the names and columns of its tables are what they were."""
    connection = connect_untouched(path)
    try:
        if schema.is_sound(connection):
            return path
    except _UNREADABLE:
        pass
    finally:
        connection.close()
    copy = os.path.join(beside, "copy")
    for suffix in ("", "-wal"):
        with suppress(FileNotFoundError):
            shutil.copyfile(path + suffix, copy + suffix)
    try:
        schema.repair(copy)
    except _UNREADABLE:
        return path
    return copy


def _copy_sound_rows(path: str, store: Store) -> int:
    """Returns the number of files taken over, and closes the store."""
    kept = 0
    try:
        connection = connect_untouched(path)
        try:
            tables = recovery.table_columns(store)
            with store.transaction():
                recovery.reserve_ids(store, max(_last_rowid(connection, path, table) for table in tables))
            for table, columns in tables.items():
                rows = _readable_rows(connection, path, table, columns)
                copied = _copy(store, table, rows)
                kept += copied if table == "images" else 0
            with store.transaction():
                recovery.forget_torn_films(store)
                recovery.clear_lost_metadata(store)
                if _has_imported(connection):
                    note_imported(store)
            store.fold_log()
        finally:
            connection.close()
    finally:
        store.close()
    return kept


def _copy(store: Store, table: str, rows: Iterator[_Row]) -> int:
    kept, is_more = 0, True
    while is_more:
        is_more = False
        with store.transaction():
            for row in rows:
                if _MAY_BE_TRUE.get(table, _is_any)(row) and recovery.insert_row(store, table, row):
                    kept += 1
                    if kept % _STORED_TOGETHER == 0:
                        is_more = True
                        break
    return kept


def _has_imported(connection: sqlite3.Connection) -> bool:
    try:
        return bool(connection.execute("SELECT 1 FROM meta WHERE key IN ('has_imported', 'has_adopted')").fetchone())
    except _UNREADABLE:  # doing it twice does no harm
        return False


def _is_any(row: _Row) -> bool:
    return True


def _may_be_change(row: _Row) -> bool:
    return are_valid(("id", "id"), [(row.get("id"), row.get("number"))])


def _may_be_state(row: _Row) -> bool:
    return are_valid(("id", "state"), [(row.get("id"), row.get("state"))])


def _may_be_metadata(row: _Row) -> bool:
    names = [name for name in METADATA_COLUMNS if name in row]
    return are_valid(names, [[row[name] for name in names]])


def _may_be_camera(row: _Row) -> bool:
    return are_valid(("maker", "model"), [(row.get("maker"), row.get("model"))])


def _may_be_photo(row: _Row) -> bool:
    if not all(isinstance(row[name], types) for name, types in _TYPES.items() if name in row):
        return False
    path, vector = row.get("path"), row.get("vector")
    if not isinstance(path, bytes) or not is_inner(path):
        return False
    if isinstance(vector, bytes):
        return (
            row.get("failure") is None
            and row.get("digest") is not None
            and len(vector) % 2 == 0
            and has_unit_length(vector)
        )
    return row.get("failure") is not None and row.get("failure_kind") in set(FailureKind)


def _may_be_film(row: _Row) -> bool:
    """Also in an index from before there were films, whose table has no rows."""
    names = ("at_ms", "moment_count", "duration_ms", "resume_ms")
    failure = row.get("failure")
    return isinstance(failure, str | None) and are_valid(names, [[row.get(name) for name in names]])


def _may_be_moment(row: _Row) -> bool:
    vector = row.get("vector")
    is_vector = isinstance(vector, bytes) and len(vector) % 2 == 0 and has_unit_length(vector)
    return is_vector and are_valid(("film", "at_ms"), [(row.get("film"), row.get("at_ms"))])


_MAY_BE_TRUE = {
    "cameras": _may_be_camera,
    "films": _may_be_film,
    "images": _may_be_photo,
    "metadata": _may_be_metadata,
    "moments": _may_be_moment,
    "own_metadata": _may_be_metadata,
    "reworded": _may_be_change,
    "sidecars": _may_be_state,
}


def _readable_rows(connection: sqlite3.Connection, path: str, table: str, columns: list[str]) -> Iterator[_Row]:
    """All rows that can be read, with those of the columns that the file has; none where it has no such table."""
    try:
        table, stored = _stored_names(connection, table, columns)
        sql = f"SELECT {', '.join(['rowid', *stored.values()])} FROM {table} NOT INDEXED "  # noqa: S608 - of our own schema
        connection.execute(sql + "LIMIT 0")
    except _UNREADABLE:
        return
    ranges = sql + "WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
    for _, *values in _rows_between(connection, ranges, 1, _last_rowid(connection, path, table)):
        row: _Row = dict(zip(stored, values, strict=True))
        yield _from_earlier_version(row) if stored.get("missing_ns") == FORMER_NAMES["missing_ns"] else row


def _stored_names(connection: sqlite3.Connection, table: str, columns: list[str]) -> tuple[str, dict[str, str]]:
    """The name that the file has for the table, and for those of the columns that are in it."""
    former = FORMER_NAMES.get(table, table)
    sql = "SELECT ?1, name FROM pragma_table_info(?1) UNION ALL SELECT ?2, name FROM pragma_table_info(?2)"
    found = {(name, column) for name, column in connection.execute(sql, (table, former))}
    table = table if any(name == table for name, _ in found) else former
    known = {column for name, column in found if name == table}
    stored = {column: column if column in known else FORMER_NAMES.get(column, column) for column in columns}
    return table, {column: name for column, name in stored.items() if name in known}


def _from_earlier_version(row: _Row) -> _Row:
    """A row of a version in which the time of an offline photo was negative, or 0 where it was unknown.

    Failures had no kind.
    """
    if row.get("failure") is not None:
        row["failure_kind"] = FailureKind.LASTING
    missing_ns = row.get("missing_ns")
    is_offline = isinstance(missing_ns, int) and missing_ns <= 0
    return row | {"is_offline": int(is_offline)} | ({"missing_ns": max(1, -missing_ns)} if is_offline else {})  # type: ignore[operator]


def _last_rowid(connection: sqlite3.Connection, path: str, table: str) -> int:
    """As the table or SQLite's own list of numbers given has it, else one that is not below it in all likelihood."""
    for sql, parameters in (
        (f"SELECT max(rowid) FROM {FORMER_NAMES.get(table, table)}", ()),  # noqa: S608 - of our own schema
        (f"SELECT max(rowid) FROM {table}", ()),  # noqa: S608
        ("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)),
    ):
        with suppress(*_UNREADABLE):
            found = connection.execute(sql, parameters).fetchone()
            if found and isinstance(found[0], int) and found[0] < _MOST_ROWS:
                return found[0]
    return os.stat(path).st_size // _LEAST_ROW_BYTES


def _rows_between(connection: sqlite3.Connection, sql: str, first: int, last: int) -> Iterator[tuple[int, ...]]:
    """Halves the range wherever reading stops: a lost page takes its own rows along and no others.

    Wide ranges come first, so that giving up costs what is next to the damage.
    """
    failures = 0
    ranges = deque([(first, last)])
    while ranges and failures < _MOST_FAILURES:
        first, last = ranges.popleft()
        try:
            for row in connection.execute(sql, (first, last)):
                yield row
                first = row[0] + 1
        except _UNREADABLE:
            failures += 1
            if first < last:
                middle = (first + last) // 2
                ranges += [(first, middle), (middle + 1, last)]
