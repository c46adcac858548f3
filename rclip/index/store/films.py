"""The moments of films: the tables `films` and `moments`.

A film is a row of `images` like any photo; its vector there is that of its first moment. The others have rows in
`moments`, with ids that no row of `images` has or will have, so that whoever looks for vectors takes all for photos.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rclip.index.store.database import CHUNK_ROWS, Database
from rclip.index.store.session import require
from rclip.photo.validation import are_valid

_MOST_FILMS_LOOKED_UP = 1000


class Moment(NamedTuple):
    """One of a film."""

    at_ms: int
    """From the film's start."""
    vector: bytes
    """D float16"""


class UnfinishedFilm(NamedTuple):
    """A film that was looked at up to some time."""

    id: int
    path: bytes
    is_missing: bool
    resume_ms: int


class BrokenFilm(NamedTuple):
    """A film that could not be looked at to its end."""

    reason: str
    after_ms: int
    """The time of its last moment."""


class StoredFilm(NamedTuple):
    """All that is stored of a film beside its row among the photos."""

    at_ms: int
    duration_ms: int | None
    failure: str | None
    moments: list[Moment]
    """But the first."""


class FilmsTable:
    """The films of one index. Methods raise `StoreError`; those that write belong inside a transaction."""

    def __init__(self, database: Database):
        self._database = database

    # --- reading -----------------------------------------------------------------------------------------------------

    def counts(self, folder: bytes) -> tuple[int, int]:
        """How many films are below `folder` and there, and how many moments they have."""
        sql = """
            SELECT count(*), coalesce(sum(moment_count), 0)
            FROM films JOIN images USING (id) WHERE path >= ? AND path < ? AND missing_ns IS NULL
        """
        with self._database.errors():
            films, moments = self._execute(sql, self._database.range_of(folder)).fetchone()
        return films, moments

    def broken(self, folder: bytes) -> dict[bytes, BrokenFilm]:
        """The films below `folder` that are there and of which an end could not be looked at, by their paths."""
        sql = """
            SELECT path, films.failure, coalesce((SELECT max(at_ms) FROM moments WHERE film = films.id), films.at_ms)
            FROM films JOIN images USING (id)
            WHERE films.failure IS NOT NULL AND path >= ? AND path < ? AND missing_ns IS NULL ORDER BY path
        """
        with self._database.reading():
            found = self._execute(sql, self._database.range_of(folder)).fetchall()
            require(are_valid(("path", "film_failure", "at_ms"), found))
            return {self._database.outer(path): BrokenFilm(*rest) for path, *rest in found}

    def unfinished(self, digest: bytes) -> list[UnfinishedFilm]:
        """Films with these bytes that were not looked at to their end."""
        sql = """
            SELECT images.id, path, missing_ns IS NOT NULL, resume_ms FROM images JOIN films ON films.id = images.id
            WHERE digest = ? AND vector IS NOT NULL AND resume_ms IS NOT NULL
        """
        with self._database.reading():
            found = self._execute(sql, (digest,)).fetchall()
            require(are_valid(("id", "path", "id", "resume_ms"), found))
            return [
                UnfinishedFilm(id_, self._database.outer(path), bool(missing), resume_ms)
                for id_, path, missing, resume_ms in found
            ]

    def first_moment_ms(self, id_: int) -> int | None:
        """The time of the moment that is in a film's own row; None for a photo."""
        found = self._execute("SELECT at_ms FROM films WHERE id = ?", (id_,)).fetchone()
        require(found is None or are_valid(("at_ms",), [found]))
        return found[0] if found else None

    def with_moments(self, ids: np.ndarray) -> np.ndarray:
        """These ids of photos and films, and those of the films' other moments. (N,) int64, both ascending"""
        with self._database.reading():
            films = np.array([id_ for (id_,) in self._execute("SELECT id FROM films")], np.int64)
            films = np.intersect1d(films, ids, assume_unique=True)
            if not len(films):
                return ids
            if len(films) <= _MOST_FILMS_LOOKED_UP:
                sql = "SELECT id FROM moments WHERE film = ?"
                found = [id_ for film in films.tolist() for (id_,) in self._execute(sql, (film,))]
                return np.sort(np.concatenate([ids, np.array(found, np.int64)]))
            cursor = self._execute("SELECT id, film FROM moments INDEXED BY moments_film")
            parts = [ids]
            while rows := cursor.fetchmany(CHUNK_ROWS):
                of_all = np.array(rows, np.int64)
                parts.append(of_all[np.isin(of_all[:, 1], films), 0])
            return np.sort(np.concatenate(parts))

    def of(self, id_: int) -> StoredFilm | None:
        """None for a photo, and for what was never stored so."""
        with self._database.reading():
            found = self._execute("SELECT at_ms, duration_ms, failure FROM films WHERE id = ?", (id_,)).fetchone()
            if not found:
                return None
            rows = self._execute("SELECT at_ms, vector FROM moments WHERE film = ? ORDER BY id", (id_,)).fetchall()
            require(are_valid(("at_ms", "duration_ms", "film_failure"), [found]))
            require(are_valid(("at_ms", "vector"), rows))
            at_ms, duration_ms, failure = found
            return StoredFilm(at_ms, duration_ms, failure, [Moment(*row) for row in rows])

    # --- writing -----------------------------------------------------------------------------------------------------

    def add(self, id_: int, film: StoredFilm, resume_ms: int | None = None) -> None:
        """Notes that the photo with this id is a film, and stores its other moments.

        One that is to be resumed counts as outdated: no other file takes its vector, and the next run reads it again.
        """
        row = (id_, film.at_ms, 1 + len(film.moments), film.duration_ms, resume_ms, film.failure)
        self._execute("INSERT INTO films VALUES (?, ?, ?, ?, ?, ?)", row)
        self._execute("UPDATE images SET is_outdated = ? WHERE id = ?", (resume_ms is not None, id_))
        self._add_moments(id_, film.moments)

    def extend(self, id_: int, moments: Sequence[Moment], resume_ms: int | None, failure: str | None) -> bool:
        """Stores more moments of a film, if it is still there and unfinished."""
        sql = """
            UPDATE films SET resume_ms = ?, failure = ?, moment_count = moment_count + ?
            WHERE id = ? AND resume_ms IS NOT NULL
        """
        if not self._execute(sql, (resume_ms, failure, len(moments), id_)).rowcount:
            return False
        self._execute("UPDATE images SET is_outdated = ? WHERE id = ?", (resume_ms is not None, id_))
        self._add_moments(id_, moments)
        return True

    def copy(self, source_id: int, id_: int) -> None:
        """What is stored of a film, for another one with the same bytes."""
        film = self.of(source_id)
        if film:
            self.add(id_, film)

    def _add_moments(self, film_id: int, moments: Sequence[Moment]) -> None:
        first = self._reserve_ids(len(moments))
        rows = ((first + number, film_id, *moment) for number, moment in enumerate(moments))
        self._database.connection.executemany("INSERT INTO moments VALUES (?, ?, ?, ?)", rows)

    def _reserve_ids(self, count: int) -> int:
        """Takes so many ids from those that `images` would give, and returns the first."""
        (last,) = self._execute("SELECT seq FROM sqlite_sequence WHERE name = 'images'").fetchone()
        self._execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'images'", (last + count,))
        return int(last) + 1

    def _execute(self, sql: str, parameters: Iterable[Any] = ()) -> Any:
        return self._database.connection.execute(sql, tuple(parameters))
