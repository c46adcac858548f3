"""The photos whose files have not been read for all metadata: those of an older rclip, or of another index."""

from operator import itemgetter
from typing import NamedTuple

from rclip.index.store.database import Database
from rclip.index.store.session import require
from rclip.photo.validation import are_valid


class PhotoWithoutMetadata(NamedTuple):
    """A photo whose file has not been read for metadata."""

    id: int
    path: bytes
    size_bytes: int
    mtime_ns: int


def without_metadata(database: Database, folder: bytes) -> list[PhotoWithoutMetadata]:
    """The photos in the folder whose files have not been read for all metadata, in path order."""
    never = """
        SELECT id, path, size, mtime_ns FROM images INDEXED BY images_without_metadata
        WHERE path >= ? AND path < ? AND has_metadata = 0 AND vector IS NOT NULL AND missing_ns IS NULL
        ORDER BY path
    """
    in_part = """
        SELECT id, path, size, mtime_ns FROM images INDEXED BY images_listing
        WHERE path >= ?1 AND path < ?2 AND missing_ns IS NULL
        AND id IN (SELECT id FROM metadata INDEXED BY metadata_outdated WHERE is_outdated = 1)
        ORDER BY path
    """
    any_outdated = "SELECT EXISTS (SELECT 1 FROM metadata INDEXED BY metadata_outdated WHERE is_outdated = 1)"
    with database.reading():
        bounds = database.range_of(folder)
        found = database.connection.execute(never, bounds).fetchall()
        if database.value(any_outdated):
            found = sorted({*found, *database.connection.execute(in_part, bounds)}, key=itemgetter(1))
        require(are_valid(("id", "path", "size", "mtime_ns"), found))
        return [PhotoWithoutMetadata(id_, database.outer(path), *row) for id_, path, *row in found]
