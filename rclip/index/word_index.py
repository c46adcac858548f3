"""The words of captions, titles, keywords and file names, so that photos are found by them: SQLite's FTS5.

A cache in a database of its own beside the index, made when words are first asked for. It holds no texts, only which
words are in them, and is never needed for a right answer: all photos that have the words asked for are among those that
it finds, and what else is known of each decides. It takes up what is new by ids, and what has changed by the numbers
that the table gives to changes. Words that a photo no longer has stay until so many have gathered that it is remade.

The table keeps a note of it, as of the matrix: a table put back from a backup has another.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import NamedTuple

import numpy as np

from rclip import datadir, isolation
from rclip.errors import StoreError
from rclip.index.store import Store
from rclip.words import words_of

_NAME = "words.cache"
_NOTE = "words"
_TABLES = """
    DROP TABLE IF EXISTS words;
    DROP TABLE IF EXISTS texts;
    DROP TABLE IF EXISTS state;
    CREATE TABLE state (token TEXT NOT NULL, last_id INTEGER NOT NULL, last_change INTEGER NOT NULL);
    CREATE TABLE texts (number INTEGER PRIMARY KEY, id INTEGER NOT NULL);
    CREATE VIRTUAL TABLE words USING fts5
        (text, content='', columnsize=0, detail=none, prefix='2 3 4', tokenize='unicode61 remove_diacritics 0');
"""
_WAIT_S = 1.0
_MOST_STALE = 10_000
"""Texts that were replaced, beyond as many as there are photos."""


class _State(NamedTuple):
    """How far it has come."""

    token: str
    last_id: int
    last_change: int


class WordIndex:
    """The words of one index's photos."""

    def __init__(self, store: Store):
        self._store = store
        self._path = os.path.join(store.cache_folder, _NAME)

    def catch_up(self) -> None:
        """Takes up what is new. Where it cannot be written, it stays as it is; where it is damaged, it is remade.

        Not to be called within a transaction or snapshot. Raises `StoreError` for the table.
        """
        for _ in range(2):
            try:
                self._catch_up()
            except sqlite3.OperationalError:  # it is locked, may not be written, or this SQLite has no FTS5
                return
            except (sqlite3.Error, ValueError):
                self._discard()
            except OSError:
                return
            else:
                return

    def ids(self, starts: Sequence[str]) -> np.ndarray | None:
        """Ids (N,) int64, ascending, of photos among which are all that have words with these starts.

        None where that cannot be told: it is behind the table, damaged, or not there.
        """
        with suppress(sqlite3.Error, OSError, ValueError), closing(self._open()) as connection:
            state = self._state(connection)
            if state is None or state[1:] != (self._store.vectors.last_id(), self._store.metadata.last_change()):
                return None
            sql = "SELECT DISTINCT id FROM texts WHERE number IN (SELECT rowid FROM words WHERE words MATCH ?)"
            found = connection.execute(sql, (" AND ".join(f'"{start}" *' for start in starts),)).fetchall()
            return np.sort(np.array([int(id_) for (id_,) in found], np.int64))
        return None

    def _catch_up(self) -> None:
        if not os.path.lexists(self._path):
            datadir.make_private(os.path.dirname(self._path))
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        with closing(self._open()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            state = self._state(connection)
            if state is None or self._is_stale(connection):
                connection.rollback()
                self._begin(connection)
                connection.execute("BEGIN IMMEDIATE")
                state = self._state(connection)
                if state is None:
                    raise ValueError("another run is at work")
            self._take_up(connection, state)
            connection.commit()

    def _take_up(self, connection: sqlite3.Connection, state: _State) -> None:
        with self._store.snapshot():
            now = _State(state.token, self._store.vectors.last_id(), self._store.metadata.last_change())
            if now == state:
                return
            for id_, texts in self._store.metadata.texts(state.last_id, state.last_change):
                number = connection.execute("INSERT INTO texts (id) VALUES (?)", (id_,)).lastrowid
                words = " ".join(word for text in texts for word in words_of(text))
                connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, words))
        connection.execute("UPDATE state SET last_id = ?, last_change = ?", now[1:])

    def _begin(self, connection: sqlite3.Connection) -> None:
        token = os.urandom(8).hex()
        with self._store.transaction():
            self._store.set_note(_NOTE, token)
        connection.executescript(_TABLES)
        connection.execute("INSERT INTO state VALUES (?, 0, 0)", (token,))

    def _is_stale(self, connection: sqlite3.Connection) -> bool:
        (count,) = connection.execute("SELECT count(*) FROM texts").fetchone()
        return int(count) > 2 * self._store.vectors.count() + _MOST_STALE

    def _state(self, connection: sqlite3.Connection) -> _State | None:
        """None where it is none of this very table."""
        try:
            row = connection.execute("SELECT token, last_id, last_change FROM state").fetchone()
        except sqlite3.OperationalError:  # no such table
            return None
        is_sound = row and type(row[0]) is str and type(row[1]) is type(row[2]) is int
        return _State(*row) if is_sound and row[0] == self._store.note(_NOTE) else None

    def _open(self) -> sqlite3.Connection:
        os.close(isolation.open_itself(self._path, os.O_RDONLY))  # raises OSError for a link or a pipe
        connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA synchronous = OFF")  # it can be made again
        return connection

    def _discard(self) -> None:
        with suppress(OSError):
            os.unlink(self._path)


def catch_up(store: Store) -> None:
    """Where the words' cache is there to be written; else what is known of each photo is looked at. Never raises."""
    with suppress(StoreError):
        WordIndex(store).catch_up()
