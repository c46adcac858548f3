"""What the photos of a folder have in common, for people to choose from: the values that filters can ask for."""

from collections.abc import Iterator
from typing import NamedTuple

from rclip.index.store.database import CHUNK_ROWS, Database
from rclip.index.store.session import require
from rclip.photo.validation import are_valid


class FacetRow(NamedTuple):
    """What one photo adds to the counts."""

    path: bytes
    mtime_ns: int
    captured_s: int | None
    camera: int | None
    keywords: str | None
    rating: int | None


_COLUMNS = ("path", "mtime_ns", "captured_s", "camera", "keywords", "rating")


def rows(database: Database, folder: bytes) -> Iterator[FacetRow]:
    """One for each photo that is below `folder`, in path order. The pages that hold vectors are not read."""
    sql = """
        SELECT path, mtime_ns, captured_s, camera, keywords, rating
        FROM images INDEXED BY images_listing LEFT JOIN metadata ON metadata.id = images.id
        WHERE path >= ? AND path < ? AND missing_ns IS NULL
        AND images.id NOT IN (SELECT id FROM images INDEXED BY images_failure WHERE failure IS NOT NULL) ORDER BY path
    """
    with database.reading():
        cursor = database.connection.execute(sql, database.range_of(folder))
        while chunk := cursor.fetchmany(CHUNK_ROWS):
            require(are_valid(_COLUMNS, chunk))
            yield from (FacetRow(database.outer(path), *rest) for path, *rest in chunk)
