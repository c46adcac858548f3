"""Makes a damaged index anew from what can still be read of it.

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
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from rclip import datadir
from rclip.errors import StoreError, is_full, plain_reason
from rclip.places import Place
from rclip.store import Store, restoring, schema
from rclip.store.connections import SUFFIXES, connect_untouched
from rclip.store.database import is_inner, refuse_strange_files
from rclip.store.domains import is_unit, may_hold
from rclip.store.facts import FACTS_COLUMNS
from rclip.store.lending import note_adopted

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
    "digest": (bytes, type(None)),
    "vector": (bytes, type(None)),
    "failure": (str, type(None)),
    "gone_ns": (int, type(None)),
    "described": (int,),
}


class Rebuilt(NamedTuple):
    """What became of a damaged index."""

    kept: int
    """Files of which everything is still known."""
    aside: str
    """Where the damaged file lies now."""


def rebuild(path: str, model_key: str, preprocessing: int, place: Place) -> Rebuilt:
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
        raise StoreError(f"another run is at work with {path}: wait for it, or end it") from error
    except OSError as error:
        raise StoreError(
            f"cannot rebuild {path} ({plain_reason(error)}): {'make room' if is_full(error) else 'mend that'}, "
            "and run it again; nothing was changed"
        ) from error
    return Rebuilt(kept, aside)


def _free_name(path: str) -> str:
    """The path, or with a number behind it where there is one already: a second may see several."""
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
            tables = restoring.tables(store)
            with store.transaction():
                restoring.reserve_ids(store, max(_last_rowid(connection, path, table) for table in tables))
            for table, columns in tables.items():
                rows = _readable_rows(connection, path, table, columns)
                copied = _copy(store, table, rows)
                kept += copied if table == "images" else 0
            with store.transaction():
                restoring.have_described_again(store)
                if _has_adopted(connection):
                    note_adopted(store)
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
                if _MAY_BE_TRUE.get(table, _is_any)(row) and restoring.restore(store, table, row):
                    kept += 1
                    if kept % _STORED_TOGETHER == 0:
                        is_more = True
                        break
    return kept


def _has_adopted(connection: sqlite3.Connection) -> bool:
    try:
        return bool(connection.execute("SELECT 1 FROM meta WHERE key = 'has_adopted'").fetchone())
    except _UNREADABLE:  # doing it twice does no harm
        return False


def _is_any(row: _Row) -> bool:
    return True


def _may_be_facts(row: _Row) -> bool:
    names = [name for name in FACTS_COLUMNS if name in row]
    return may_hold(names, [[row[name] for name in names]])


def _may_be_camera(row: _Row) -> bool:
    return may_hold(("maker", "model"), [(row.get("maker"), row.get("model"))])


def _may_be_photo(row: _Row) -> bool:
    if not all(isinstance(row[name], types) for name, types in _TYPES.items() if name in row):
        return False
    path, vector = row.get("path"), row.get("vector")
    if not isinstance(path, bytes) or not is_inner(path):
        return False
    if isinstance(vector, bytes):
        return row.get("failure") is None and row.get("digest") is not None and len(vector) % 2 == 0 and is_unit(vector)
    return row.get("failure") is not None


_MAY_BE_TRUE = {"cameras": _may_be_camera, "facts": _may_be_facts, "images": _may_be_photo}


def _readable_rows(connection: sqlite3.Connection, path: str, table: str, columns: list[str]) -> Iterator[_Row]:
    """All rows that can be read of those columns that the file has; none where it has no such table any more."""
    try:
        there = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
        columns = [name for name in columns if name in there]
        sql = f"SELECT {', '.join(['rowid', *columns])} FROM {table} NOT INDEXED "  # noqa: S608 - of our own schema
        connection.execute(sql + "LIMIT 0")
    except _UNREADABLE:
        return
    ranges = sql + "WHERE rowid BETWEEN ? AND ? ORDER BY rowid"
    for _, *row in _rows_between(connection, ranges, 1, _last_rowid(connection, path, table)):
        yield dict(zip(columns, row, strict=True))


def _last_rowid(connection: sqlite3.Connection, path: str, table: str) -> int:
    """As the table or SQLite's own list of numbers given has it, else one that is not below it in all likelihood."""
    for sql, parameters in (
        (f"SELECT max(rowid) FROM {table}", ()),  # noqa: S608 - of our own schema
        ("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)),
    ):
        with suppress(*_UNREADABLE):
            found = connection.execute(sql, parameters).fetchone()
            if found and isinstance(found[0], int) and found[0] < _MOST_ROWS:
                return found[0]
    return os.stat(path).st_size // _LEAST_ROW_BYTES


def _rows_between(connection: sqlite3.Connection, sql: str, first: int, last: int) -> Iterator[tuple[int, ...]]:
    """Halves the range wherever reading stops: a page that is gone takes its own rows along and no others.

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
