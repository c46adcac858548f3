"""What photos are filtered by, as the `columns` are made of it, and of which of them it has changed."""

from collections.abc import Iterator
from typing import NamedTuple

from rclip.index.store.database import CHUNK_ROWS, Database, require
from rclip.index.store.validation import are_valid

_ABOVE = """
    SELECT images.id, mtime_ns, path, captured_s, latitude, longitude, camera
    FROM images LEFT JOIN metadata ON metadata.id = images.id
    WHERE images.id > ? AND vector IS NOT NULL ORDER BY images.id
"""
_RESTATED = """
    SELECT images.id, mtime_ns, path, captured_s, latitude, longitude, camera
    FROM restated JOIN images ON images.id = restated.id LEFT JOIN metadata ON metadata.id = images.id
    WHERE restated.id <= ? AND vector IS NOT NULL ORDER BY restated.id
"""


class Filterable(NamedTuple):
    """What photos are filtered by."""

    id: int
    mtime_ns: int
    path: bytes
    captured_s: int | None
    latitude: float | None
    longitude: float | None
    camera: int | None


def above(database: Database, last_id: int) -> Iterator[list[Filterable]]:
    """What all photos with ids above are filtered by, in ascending order, some thousands at a time."""
    with database.reading():
        cursor = database.connection.execute(_ABOVE, (last_id,))
        while rows := cursor.fetchmany(CHUNK_ROWS):
            require(are_valid(Filterable._fields, rows))
            yield list(map(Filterable._make, rows))


def restated(database: Database, up_to_id: int) -> list[Filterable]:
    """What photos are filtered by of which it has changed since `forget_restated`, in ascending order."""
    with database.reading():
        rows = database.connection.execute(_RESTATED, (up_to_id,)).fetchall()
        require(are_valid(Filterable._fields, rows))
        return list(map(Filterable._make, rows))


def restated_count(database: Database) -> int:
    with database.errors():
        return database.value("SELECT count(*) FROM restated")


def forget_restated(database: Database) -> None:
    """What is derived has taken note. Belongs inside a transaction."""
    database.connection.execute("DELETE FROM restated")
