"""Vectors of texts that were asked for before, so that a repeated query runs no model.

A small database of its own in the user's folder, for all models and indexes. It is a cache: whatever is wrong with it,
texts are encoded again. Each row has a checksum, as a damaged vector may still have length 1, and would give wrong
answers for ever. Of a text it holds a hash, not the words.
"""

import os
import sqlite3
import stat
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from typing import NamedTuple

import numpy as np

from rclip.index.store.connections import harden

try:
    from _blake2 import blake2b  # hashlib also loads OpenSSL, for milliseconds
except ImportError:
    from hashlib import blake2b

_NAME = "texts.cache"
_TABLE = """CREATE TABLE texts (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, vector BLOB NOT NULL,
is_cut INTEGER NOT NULL, checksum BLOB NOT NULL)"""
_SCHEMA = [("table", "texts", _TABLE), ("index", "sqlite_autoindex_texts_1", None)]
_MOST = 10_000
"""Of all models together, the latest; with vectors of 512 numbers they take 20 MiB."""
_WAIT_S = 0.05
_MOST_VALUE_BYTES = 1 << 17
_MOST_STEPS = 50_000_000
"""Of SQLite's; to add that many takes a tenth of them. A damaged file may lead in circles."""
_TOLERANCE = 1e-3


class TextVector(NamedTuple):
    """What a model makes of a text."""

    vector: np.ndarray
    """(D,) float32, of length 1"""
    is_cut: bool
    """Whether the text is longer than the model reads."""


class TextVectors:
    """The cache in the folder of the user's own indexes."""

    def __init__(self, data_dir: str):
        self._path = os.path.join(data_dir, _NAME)

    def find(self, model: str, texts: Collection[str], dimensions: int | None) -> dict[str, TextVector]:
        """Those that are known; `model` names the weights and the preprocessing of texts.

        `dimensions` is the length of the model's vectors, None where that is not known.
        """
        found: dict[str, TextVector] = {}
        if not texts or not self._is_there():
            return found
        with suppress(sqlite3.Error, OSError, ValueError), closing(self._connect()) as connection:
            _require_schema(connection)
            for text in texts:
                hash_ = _hash(model, text)
                sql = "SELECT vector, is_cut, checksum FROM texts WHERE hash = ?"
                row = connection.execute(sql, (hash_,)).fetchone()
                if row and (known := _sound(hash_, *row)) and known.vector.size == (dimensions or known.vector.size):
                    found[text] = known
        return found

    def add(self, model: str, texts: Mapping[str, TextVector]) -> None:
        """Where it cannot be written, it stays as it is; where it is damaged, it is begun again."""
        if not texts or not os.path.isdir(os.path.dirname(self._path)):
            return
        rows = [_row(_hash(model, text), each) for text, each in texts.items()]
        with suppress(sqlite3.Error, OSError):
            try:
                self._add(rows)
            except sqlite3.DatabaseError as error:
                is_circle = getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT"
                if isinstance(error, sqlite3.OperationalError) and not is_circle:  # locked, or not to be written
                    return
                os.unlink(self._path)
                self._add(rows)

    def _add(self, rows: list[tuple[bytes, bytes, bool, bytes]]) -> None:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600))
        if not self._is_there():
            return
        with closing(self._connect()) as connection, connection:
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("BEGIN IMMEDIATE")
            if not _schema(connection):
                connection.execute(_TABLE)
            _require_schema(connection)
            sql = "INSERT OR REPLACE INTO texts (hash, vector, is_cut, checksum) VALUES (?, ?, ?, ?)"
            connection.executemany(sql, rows)
            connection.execute("DELETE FROM texts WHERE id <= (SELECT max(id) FROM texts) - ?", (_MOST,))

    def _is_there(self) -> bool:
        """Not a link or a pipe, for which SQLite would wait."""
        with suppress(OSError):
            return stat.S_ISREG(os.lstat(self._path).st_mode)
        return False

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        harden(connection)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_VALUE_BYTES)
        connection.set_progress_handler(lambda: True, _MOST_STEPS)
        connection.execute("PRAGMA synchronous = OFF")  # a crash may cost the cache, and nothing else
        return connection


def _schema(connection: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY rowid").fetchall()


def _require_schema(connection: sqlite3.Connection) -> None:
    """Raises DatabaseError for another one: a view or a trigger would answer in the table's place."""
    if _schema(connection) != _SCHEMA:
        raise sqlite3.DatabaseError("another schema")


def _hash(model: str, text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=model.encode()[-64:]).digest()


def _row(hash_: bytes, text: TextVector) -> tuple[bytes, bytes, bool, bytes]:
    vector = text.vector.tobytes()
    return hash_, vector, text.is_cut, _checksum(hash_, vector, text.is_cut)


def _checksum(hash_: bytes, vector: bytes, is_cut: bool) -> bytes:
    return blake2b(hash_ + bytes([is_cut]) + vector, digest_size=8).digest()


def _sound(hash_: bytes, vector: object, is_cut: object, checksum: object) -> TextVector | None:
    """What a row holds, if it is as it was written."""
    if not isinstance(vector, bytes) or len(vector) % 4 or is_cut not in (0, 1):
        return None
    if checksum != _checksum(hash_, vector, bool(is_cut)):
        return None
    numbers = np.frombuffer(vector, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        is_unit = abs(float(numbers @ numbers) - 1) < _TOLERANCE
    return TextVector(numbers, bool(is_cut)) if is_unit else None
