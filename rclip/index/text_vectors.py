"""Vectors of texts that were asked for before, so that a repeated query runs no model.

A small database of its own in the user's folder, for all models and indexes. It is a cache: whatever is wrong with it,
texts are encoded again. Of a text it holds a hash, not the words.
"""

import os
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from typing import NamedTuple

import numpy as np

try:
    from _blake2 import blake2b  # hashlib also loads OpenSSL, for milliseconds
except ImportError:
    from hashlib import blake2b

_NAME = "texts.cache"
_TABLE = """CREATE TABLE IF NOT EXISTS texts
(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, vector BLOB NOT NULL, is_cut INTEGER NOT NULL)"""
_MOST = 10_000
"""Of all models together, the latest; with vectors of 512 numbers they take 20 MiB."""
_WAIT_S = 0.05
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

    def find(self, model: str, texts: Collection[str]) -> dict[str, TextVector]:
        """Those that are known; `model` names the weights and the preprocessing of texts."""
        if not texts or not os.path.exists(self._path):
            return {}
        found = {}
        with suppress(sqlite3.Error, OSError, ValueError), closing(self._connect()) as connection:
            for text in texts:
                row = connection.execute(
                    "SELECT vector, is_cut FROM texts WHERE hash = ?", (_hash(model, text),)
                ).fetchone()
                if row and (vector := _sound(row[0])) is not None:
                    found[text] = TextVector(vector, bool(row[1]))
        return found

    def add(self, model: str, texts: Mapping[str, TextVector]) -> None:
        """Where it cannot be written, it stays as it is; where it is damaged, it is begun again."""
        if not texts or not os.path.isdir(os.path.dirname(self._path)):
            return
        rows = [(_hash(model, text), each.vector.tobytes(), each.is_cut) for text, each in texts.items()]
        with suppress(sqlite3.Error, OSError):
            try:
                self._add(rows)
            except sqlite3.OperationalError:  # it is locked, or may not be written
                return
            except sqlite3.DatabaseError:
                os.unlink(self._path)
                self._add(rows)

    def _add(self, rows: list[tuple[bytes, bytes, bool]]) -> None:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        with closing(self._connect()) as connection, connection:
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute(_TABLE)
            connection.executemany("INSERT OR REPLACE INTO texts (hash, vector, is_cut) VALUES (?, ?, ?)", rows)
            connection.execute("DELETE FROM texts WHERE id <= (SELECT max(id) FROM texts) - ?", (_MOST,))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_WAIT_S)
        connection.execute("PRAGMA synchronous = OFF")  # a crash may cost the cache, and nothing else
        return connection


def _hash(model: str, text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=model.encode()[-64:]).digest()


def _sound(stored: object) -> np.ndarray | None:
    """The vector, if it is one."""
    if not isinstance(stored, bytes):
        return None
    vector = np.frombuffer(stored, np.float32)
    return vector if abs(float(vector @ vector) - 1) < _TOLERANCE else None
